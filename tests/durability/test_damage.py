"""R6: every changed byte, every truncation, every file of another time or run is found before use."""

import os
from itertools import permutations

import pytest
from fallible_disk import Quick, on
from small_saves import RUN, begin, load, save, saver, sources, weights

from netwright.errors import RunError
from netwright.rundir import RunFolder
from netwright.training.checkpoints import FILES, _verify, newest

SIZE = 1900
PARTS = (*FILES, "manifest.json")


def make(path, steps=3, size=300):
    folder = begin(path)
    found = saver(folder)
    with on(Quick()):
        for step in range(1, steps + 1):
            assert save(folder, found, step, size=size) is None
    found.close()
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose newest checkpoint has about 50 KB."""
    return make(tmp_path_factory.mktemp("whole"), size=SIZE)


def found_out(place, cause):
    """The quick path of the loader: a generation verifies, or says why not."""
    try:
        _verify(place, RUN)
    except (RunError, OSError):
        return
    raise AssertionError(f"{cause} was not found")


def damage(path, name, flips, cuts):
    """Flip the bytes and cut at the lengths asked for, one at a time; how many cases."""
    file = path / "checkpoints/3" / name
    whole = file.read_bytes()
    cases = 0
    with open(file, "r+b", buffering=0) as handle:
        for place in flips(len(whole)):
            os.pwrite(handle.fileno(), bytes([whole[place] ^ (1 << place % 8)]), place)
            found_out(file.parent, f"{name}: bit {place % 8} of byte {place} flipped")
            os.pwrite(handle.fileno(), whole[place : place + 1], place)
            cases += 1
        for length in sorted(cuts(len(whole)), reverse=True):
            os.ftruncate(handle.fileno(), length)
            found_out(file.parent, f"{name}: cut to {length} bytes")
            cases += 1
    file.write_bytes(whole)
    _verify(file.parent, RUN)
    return cases


@pytest.mark.slow
def test_every_byte_and_every_length_of_a_whole_checkpoint(run):
    total = sum((run / "checkpoints/3" / name).stat().st_size for name in PARTS)
    assert 30_000 <= total <= 60_000
    cases = sum(damage(run, name, range, range) for name in PARTS)
    assert cases == 2 * total


def test_a_sample_of_bytes_and_lengths_of_a_whole_checkpoint(run):
    cases = 0
    for name in PARTS:
        step = 1 if name.endswith(".json") else 61
        cases += damage(run, name, lambda size, by=step: range(0, size, by), lambda size, by=step: range(0, size, by))
    assert cases >= 3000


def test_the_loader_falls_back_and_says_which_and_why(tmp_path):
    path = make(tmp_path / "run")
    for name in PARTS:
        file = path / "checkpoints/3" / name
        whole = file.read_bytes()
        for wrong in (whole[:-1], b"", whole + b"\0", bytes([whole[0] ^ 4]) + whole[1:], None):
            file.unlink()
            if wrong is not None:
                file.write_bytes(wrong)
            said = []
            assert load(path, said).step == 2
            assert len(said) == 1
            assert "checkpoint 3 is not used" in said[0]
            assert name in said[0]
            file.write_bytes(whole)
    assert load(path).step == 3


def test_files_swapped_between_generations_and_runs_are_found(tmp_path):
    """Every ordered pair of files of two generations of one run and one of another run with the same steps."""
    first, other = make(tmp_path / "run"), make(tmp_path / "other")
    places = [first / "checkpoints/2", first / "checkpoints/3", other / "checkpoints/3"]
    changed = other / "checkpoints/3/manifest.json"
    seal = changed.read_bytes()
    assert seal == (places[1] / "manifest.json").read_bytes()  # equal by construction: only its run tells it apart
    cases = 0
    for here, there in permutations(places[:2], 2):
        for name, source in ((a, b) for a in PARTS for b in PARTS):
            kept = (here / name).read_bytes()
            (here / name).write_bytes((there / source).read_bytes())
            found_out(here, f"{there.name}/{source} in place of {here.name}/{name}")
            (here / name).write_bytes(kept)
            cases += 1
    for name, source in permutations(PARTS, 2):
        kept = (places[1] / name).read_bytes()
        (places[1] / name).write_bytes((places[1] / source).read_bytes())
        found_out(places[1], f"{source} in place of {name}")
        (places[1] / name).write_bytes(kept)
        cases += 1
    assert cases == 2 * 16 + 12


def test_a_generation_of_another_run_step_or_recipe_is_refused(tmp_path):
    path = make(tmp_path / "run")
    said = []
    assert newest(path, "f" * 16, sources(RunFolder(path)), said.append) is None
    assert len(said) == 2
    os.rename(path / "checkpoints/3", path / "checkpoints/4")
    assert load(path).step == 2
    os.rename(path / "checkpoints/4", path / "checkpoints/3")
    (path / "recipe.toml").write_text("seed = 1\n")
    assert load(path) is None


@pytest.mark.parametrize("name", ["best.safetensors", "best.json"])
def test_every_byte_and_every_length_of_the_best_is_found(tmp_path, name):
    path = make(tmp_path / "run", size=20)
    folder, file = RunFolder(path), path / name
    whole = file.read_bytes()
    wrong = [whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :] for at in range(len(whole))]
    wrong += [whole[:at] for at in range(len(whole))]
    for number, data in enumerate(wrong):
        file.write_bytes(data)
        try:
            folder.verified()
        except RunError:
            continue
        pytest.fail(f"{name}, case {number} was not found")
    file.write_bytes(whole)
    assert len(wrong) == 2 * len(whole) > 700
    assert folder.verified()


def test_damaged_best_weights_are_refused_at_once_not_after_the_training(tmp_path):
    path = make(tmp_path / "run")
    data = bytearray((path / "best.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "best.safetensors").write_bytes(data)
    with pytest.raises(RunError, match=r"best\.safetensors is damaged"):
        load(path)


def test_a_best_from_after_a_damaged_generation_does_not_stop_the_fall_back(tmp_path):
    path = make(tmp_path / "run")
    (path / "checkpoints/3/state.json").write_bytes(b"{}")
    found = load(path)
    assert found.step == 2
    assert found.best != RunFolder(path).seal()["sha256"]["best.safetensors"]
    assert found.weights["w"].equal(weights(2)["w"])
