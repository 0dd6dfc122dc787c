"""What the launcher's environment says, and that without a launcher nothing is joined."""

import subprocess
import sys

import pytest
import torch

from netwright.errors import UsageError
from netwright.training.ranks import Joined, Ranks, here
from netwright.training.seats import Seat, choose_interface, timeout_s

TOLD = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29500"}  # fmt: skip


@pytest.fixture
def told(monkeypatch):
    for name in TOLD:
        monkeypatch.delenv(name, raising=False)

    def tell(**changes: str) -> None:
        for name, value in {**TOLD, **changes}.items():
            monkeypatch.setenv(name, value)

    return tell


def test_the_seat_is_read_from_the_environment(told):
    assert Seat.read() == Seat(0, 1, 0, 1)
    told()
    assert Seat.read() == Seat(3, 4, 1, 2, "10.0.0.1", 29500)


def test_without_a_world_there_is_one_rank(told):
    told(WORLD_SIZE="")
    assert Seat.read().count == 1


@pytest.mark.parametrize("missing", ["RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_a_part_of_the_environment_is_refused(missing, told):
    """Each process on its own would train a run of its own."""
    told(**{missing: ""})
    with pytest.raises(UsageError, match=f"WORLD_SIZE = 4 in the environment, but {missing} is missing"):
        Seat.read()


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"RANK": "first"}, "RANK = 'first'"),
        ({"WORLD_SIZE": "2.5"}, "WORLD_SIZE = '2.5'"),
        ({"RANK": "-1"}, "RANK = '-1'"),
        ({"RANK": "4"}, "RANK = 4 and WORLD_SIZE = 4"),
        ({"MASTER_PORT": "x"}, "MASTER_PORT = 'x'"),
    ],
)
def test_a_wrong_environment_is_refused(changes, part, told):
    told(**changes)
    with pytest.raises(UsageError, match=part):
        Seat.read()


def test_the_timeout_is_read_and_checked(monkeypatch):
    monkeypatch.delenv("NETWRIGHT_RANK_TIMEOUT", raising=False)
    assert timeout_s() == 45
    monkeypatch.setenv("NETWRIGHT_RANK_TIMEOUT", "10")
    assert timeout_s() == 10
    for text in ("soon", "0", "-5", "nan", "1e9"):
        monkeypatch.setenv("NETWRIGHT_RANK_TIMEOUT", text)
        with pytest.raises(UsageError, match="from 2 to 86400"):
            timeout_s()


def test_one_rank_gives_back_what_it_gets(told):
    with Joined() as ranks:
        assert ranks is here()
    assert not ranks.many
    assert ranks.share({"a": 1}) == {"a": 1}
    assert ranks.gather(5) == [5]
    assert ranks.in_turn(lambda: 7) == 7
    assert ranks.copy_bytes(b"x") == b"x"
    values = torch.ones(3)
    assert ranks.total(values) is values
    assert ranks.together(values, 3) is values
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("count", [1, 2, 3, 10])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_rows_are_parted_and_every_rank_has_one(count, ranks):
    found = [Ranks(Seat(number, ranks, 0, ranks)).rows(count) for number in range(ranks)]
    assert {row for rows in found for row in rows} == set(range(count))
    assert all(len(rows) >= 1 for rows in found)


def test_the_interface_towards_the_first_machine_is_chosen(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    choose_interface("127.0.0.1")
    import os

    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth7"
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    choose_interface("127.0.0.1")
    assert os.environ.pop("GLOO_SOCKET_IFNAME", "lo") == "lo"


def test_without_a_launcher_the_command_line_loads_nothing_of_it():
    code = (
        "import sys; from netwright.cli import _run; _run(['list', 'losses', '--quiet'])\n"
        "print('netwright.training.ranks' in sys.modules, 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1].startswith("False")
