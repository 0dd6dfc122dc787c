"""R4: whatever a power loss leaves of a disk, the loader gives the new generation or the one before, whole."""

import pytest
from fallible_disk import Quick, Recorder, on
from power_loss import Machine, build, digest, images, seeded
from small_saves import begin, check, save, saver

STEPS = 4
SIZE = 400


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """The calls of four saves: the folder before them, and after how many calls each save was done."""
    folder = begin(tmp_path_factory.mktemp("machine"))
    before = Machine(folder.path)
    found, done = saver(folder), []
    with on(Recorder()) as disk:
        for step in range(1, STEPS + 1):
            assert save(folder, found, step, size=SIZE) is None
            done.append(len(disk.calls))
    found.close()
    return before, disk.calls, done


def enumerate_states(record, place, seed, count, limit):
    """Load every distinct disk, at most `limit` of them; how many there were."""
    before, calls, done = record
    machine = Machine.__new__(Machine)
    machine.path, machine.root = before.path, type(before.root)(before.root.safe)
    for file in machine.root.now.values():
        file.now = file.safe
    rng, seen, landed = seeded(seed), set(), {}
    for point in range(len(calls) + 1):
        if point:
            machine.apply(calls[point - 1])
        saved = sum(end <= point for end in done)
        for image in images(machine, rng, count):
            key = digest(image)
            if key in seen:
                continue
            seen.add(key)
            build(image, place)
            try:
                with on(Quick()):
                    step = check(place, [saved or None, saved + 1], size=SIZE)
            except Exception as error:
                raise AssertionError(f"seed {seed}, after call {point} ({calls[point - 1]}): {error}") from error
            landed[step] = landed.get(step, 0) + 1
            if len(seen) == limit:
                return landed
    return landed


def test_two_thousand_disks_after_a_power_loss_load_to_a_whole_generation(record, tmp_path):
    landed = enumerate_states(record, tmp_path / "disk", seed=1, count=78, limit=10**6)
    assert sum(landed.values()) >= 2000
    assert set(landed) == {None, *range(1, STEPS + 1)}  # every generation was met


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 7))
def test_ten_thousand_disks_a_seed(record, tmp_path, seed):
    landed = enumerate_states(record, tmp_path / "disk", seed=seed, count=60, limit=10_000)
    assert sum(landed.values()) >= 10_000


def test_a_save_that_names_before_it_syncs_is_found_out(record, tmp_path):
    """The enumeration itself: without the fsyncs of files some disk must come out damaged or mixed."""
    before, calls, done = record
    kept = [call.name != "fsync" or call.path.suffix == "" for call in calls]
    careless = [call for call, stays in zip(calls, kept, strict=True) if stays]
    done = [sum(kept[:end]) for end in done]
    with pytest.raises(AssertionError, match=r"seed 1, after call"):
        enumerate_states((before, careless, done), tmp_path / "disk", seed=1, count=1, limit=3000)
