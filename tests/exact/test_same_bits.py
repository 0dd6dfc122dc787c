"""What must not change a single bit: where, when, in which locale and how often saved a run is trained (R12)."""

import subprocess
import sys
from pathlib import Path

import pytest
from exactness import environment, rows, same
from six_kinds import KINDS

import netwright as nw

SCRIPT = Path(__file__).parents[1] / "support" / "six_kinds.py"
OTHER_PLACE = {
    "PYTHONHASHSEED": "4321",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "C",
    "LANG": "tr_TR.UTF-8",
    "HOME": "/nowhere",
}
VARIATIONS = {
    "again": ([], {}),
    "hash seed": ([], {"PYTHONHASHSEED": "77"}),
    "locale and time zone": ([], {"LC_ALL": "C", "TZ": "Pacific/Chatham", "NETWRIGHT_LANG": "zh"}),
    "saves": (["save_steps=1", "save_seconds=0"], {}),
    "no saves": (["save_steps=0", "save_seconds=0"], {}),
    "saves by time": (["save_seconds=0.01"], {}),
    "loud, elsewhere": (["--loud", "--at", "/"], {}),
    "workers": (["data.workers=3"], {}),
}


def trained(folder, *words, **more):
    found = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), *words],
        capture_output=True, text=True, timeout=1200, check=False, env=environment(folder / "cache", **more),
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("six"), PYTHONHASHSEED="0")


def test_six_kinds_of_network_repeat_in_another_process_place_and_locale(six, tmp_path):
    """All variations at once; the slow part has them one by one."""
    changes = ["--loud", "--at", "/", "save_steps=2", "save_seconds=0.02", "data.workers=2"]
    other = trained(tmp_path, *changes, **OTHER_PLACE)
    assert {name: same(other / name, six / name) for name in KINDS} == dict.fromkeys(KINDS, "")


def test_the_log_interval_changes_rows_and_nothing_else(six, tmp_path):
    """The epochs' rows, the weights and the report are the same; the rows between them are others."""
    words = ["digits", *KINDS["mlp"]]
    from six_kinds import SETTINGS

    from netwright.cli import recipe_of

    run = nw.train(recipe=recipe_of([*words, *SETTINGS, "log_steps=1"]), out=tmp_path / "run", quiet=True)
    epochs = [[row for row in rows(path) if "train_loss" in row] for path in (run.path, six / "mlp")]
    assert epochs[0] == epochs[1]
    assert len(rows(run.path)) > len(rows(six / "mlp"))
    assert "row" in same(run.path, six / "mlp")


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIATIONS)
def test_each_variation_alone_changes_no_bit(six, tmp_path, name):
    words, more = VARIATIONS[name]
    for turn in range(3):
        other = trained(tmp_path / str(turn), *words, **more)
        assert {kind: same(other / kind, six / kind) for kind in KINDS} == dict.fromkeys(KINDS, ""), turn
