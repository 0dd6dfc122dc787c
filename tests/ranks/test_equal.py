"""The same global batch gives the same result for any number of ranks, and an interrupted run the same bits."""

import json

import pytest
from safetensors.numpy import load_file

WORK = {
    "an example less than ranks at the end": "iris network=mlp epochs=2 data.batch_size=3 data.limit=89",
    "weights, clipping and penalties": "digits network=mlp network.hidden=[16] epochs=1 data.limit=203 "
    "data.batch_size=40 class_weights=balanced clip_norm=0.5 l2=0.001 l1=1e-5 log_steps=2",
    "mixed pictures with weights": "digits network=convnet epochs=1 data.limit=103 data.batch_size=50 "
    "data.augment=mixup class_weights=balanced",
    "a schedule that watches, and patience": "diabetes network=mlp schedule=plateau epochs=4 stop_after=2",
}
SLOW = {"mixed pictures with weights", "a schedule that watches, and patience"}


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def numbers(row):
    """All that a row records but times."""
    timed = ("seconds", "examples_per_second")
    flat = {name: value for name, value in row.items() if name not in timed and not isinstance(value, dict)}
    for name in ("validation", "parts"):
        flat |= {f"{name}.{key}": value for key, value in row.get(name, {}).items()}
    return flat


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in WORK]
)
def test_one_two_and_four_ranks_train_alike(name: str, forks, tmp_path):
    found = {}
    for ranks in (1, 2, 4):
        run = tmp_path / str(ranks)
        out = forks(ranks, ["train", *WORK[name].split(), "--out", run], tmp_path)
        assert out["codes"] == [0] * ranks, out["stderr"]
        assert out["stdout"][1:] == [""] * (ranks - 1)
        assert out["stderr"][1:] == [""] * (ranks - 1)
        found[ranks] = rows(run), load_file(run / "best.safetensors")
        assert json.loads((run / "run.json").read_text())["environment"]["ranks"] == ranks
    first, weights = found[1]
    assert len(first) >= 2
    for ranks in (2, 4):
        assert len(found[ranks][0]) == len(first)
        for one, many in zip(first, found[ranks][0], strict=True):
            assert numbers(many) == pytest.approx(numbers(one), rel=2e-5)
        for key, tensor in weights.items():
            assert found[ranks][1][key] == pytest.approx(tensor, rel=1e-3, abs=2e-6), key


WORDS = "digits network=mlp network.hidden=[16] data.limit=203 data.batch_size=40 epochs=4 save_seconds=0 log_steps=1"


def taken(path):
    """Epoch -> the examples that all ranks counted in it."""
    found = {}
    for line in path.read_text().splitlines():
        epoch, examples = json.loads(line)
        found.setdefault(epoch, []).extend(examples)
    return found


def untimed(run):
    return [{k: v for k, v in row.items() if k not in ("seconds", "examples_per_second")} for row in rows(run)]


@pytest.fixture(scope="module")
def whole(forks, tmp_path_factory):
    """A run of two ranks that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    out = forks(2, ["train", *WORDS.split(), "--out", folder / "run"], folder, SPY=str(folder / "spy"))
    assert out["codes"] == [0, 0], out["stderr"]
    return folder


def test_every_example_counts_once_an_epoch(whole):
    found = taken(whole / "spy")
    assert sorted(found) == [0, 1, 2, 3]
    for examples in found.values():
        assert len(examples) == len(set(examples)) == len(found[0])
        assert set(examples) == set(found[0])


def test_interrupted_ranks_continue_to_the_same_bits(whole, forks, tmp_path):
    run = tmp_path / "run"
    out = forks(2, ["train", *WORDS.split(), "--out", run], tmp_path, SPY=str(tmp_path / "spy"), STOP_AFTER="8")
    assert out["codes"] == [143, 143], out["stderr"]
    assert json.loads((run / "run.json").read_text())["state"] == "interrupted"
    assert rows(run)[-1]["step"] == 9  # heard after step 8, agreed on in the next
    out = forks(2, ["resume", run], tmp_path)
    assert out["codes"] == [0, 0], out["stderr"]
    assert "not bit-exact" not in out["stderr"][0]
    assert (run / "best.safetensors").stat().st_size == (whole / "run" / "best.safetensors").stat().st_size
    for key, tensor in load_file(whole / "run" / "best.safetensors").items():
        assert load_file(run / "best.safetensors")[key].tobytes() == tensor.tobytes(), key
    assert untimed(run) == untimed(whole / "run")


def test_two_ranks_then_one_then_two(whole, forks, tmp_path):
    run, spies = tmp_path / "run", [tmp_path / f"spy{leg}" for leg in range(3)]
    out = forks(2, ["train", *WORDS.split(), "--out", run], tmp_path, SPY=str(spies[0]), STOP_AFTER="8")
    assert out["codes"] == [143, 143], out["stderr"]
    out = forks(1, ["resume", run], tmp_path, SPY=str(spies[1]), STOP_AFTER="5")
    assert out["codes"] == [143], out["stderr"]
    assert "not bit-exact: 2 -> 1 ranks" in out["stderr"][0]
    out = forks(2, ["resume", run], tmp_path, SPY=str(spies[2]))
    assert out["codes"] == [0, 0], out["stderr"]
    legs = [taken(spy) for spy in spies]
    for epoch, examples in taken(whole / "spy").items():
        counted = [example for leg in legs for example in leg.get(epoch, [])]
        assert sorted(counted) == sorted(examples)
    for one, many in zip(untimed(whole / "run"), untimed(run), strict=True):
        assert numbers(many) == pytest.approx(numbers(one), rel=1e-3)
