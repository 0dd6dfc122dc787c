"""R2: a kill at every durable call of a save leaves the new generation or the one before, to the last bit."""

import os

import pytest
from fallible_disk import Failing, Quick, Recorder, in_a_child, on
from small_saves import begin, check, load, save, saver

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
SAVES = {
    "periodic": (2, False, ""),
    "new best": (3, True, ""),
    "final": (4, True, "epochs"),
    "same step": (2, True, "x"),
}
"""Kind of save -> (step, whether it brings new best weights, reason to stop); steps before it were saved before."""


@pytest.fixture(autouse=True)
def quick():
    with on(Quick()):
        yield


def saved_so_far(folder, kind):
    step = SAVES[kind][0]
    before = step + 1 if kind == "same step" else step
    found = saver(folder)
    for one in range(1, before):
        assert save(folder, found, one) is None
    found.close()
    return max(1, before - 1)


def interrupted_save(path, kind, disk):
    """Three processes: saves, the one that `disk` ends, and what the caller then does."""
    folder = begin(path)
    before = saved_so_far(folder, kind)
    step, best, stopped = SAVES[kind]

    def work():
        found = saver(folder)
        found.best = "" if best else _digest(folder)
        with on(disk):
            save(folder, found, step, best=best, stopped=stopped, row=kind != "same step")
        os._exit(0)

    return before, in_a_child(work)


def _digest(folder):
    return folder.seal()["sha256"]["best.safetensors"]


def calls_of(path, kind):
    """How many durable calls a save of this kind makes."""
    folder = begin(path)
    saved_so_far(folder, kind)
    step, best, stopped = SAVES[kind]
    found = saver(folder)
    found.best = _digest(folder)
    with on(Recorder()) as disk:
        assert save(folder, found, step, best=best, stopped=stopped, row=kind != "same step") is None
    found.close()
    return len(disk.calls)


@pytest.mark.parametrize(("kind", "least"), [("periodic", 35), ("new best", 60), ("final", 60), ("same step", 55)])
def test_a_kill_at_every_durable_call_leaves_a_whole_generation(tmp_path, kind, least):
    count = calls_of(tmp_path / "counted", kind)
    assert count >= least
    landed = set()
    for point in range(1, count + 2):
        path = tmp_path / str(point)
        before, code = interrupted_save(path, kind, Failing(point, "kill"))
        assert code == (9 if point <= count else 0), f"{kind}, call {point}"
        step = SAVES[kind][0]
        news = {1, 3} | ({step} if SAVES[kind][1] else set())
        try:
            landed.add(recovered(path, before, step, news, kind))
        except AssertionError as error:
            raise AssertionError(f"{kind} save, killed at call {point} of {count}: {error}") from error
        again(path, step + 1, news)
    assert landed >= {before, step} - ({before} if kind == "same step" else set())


def recovered(path, before, step, news, kind):
    """Which generation the loader gives, with the best weights of its own time or (one step saved again) the older."""
    if kind != "same step":
        return check(path, [before, step], new_best=news)
    try:
        return check(path, [1, 2], new_best={1})  # as it was before, or the one before that
    except AssertionError:
        return check(path, [2], new_best={1, 2})


def again(path, step, news):
    """The next save of a later process succeeds, tidies up, and is what is loaded."""
    folder, known = begin(path), load(path)
    folder.cut(known.step if known is not None else 0)
    found = saver(folder)
    assert save(folder, found, step, best=True) is None
    found.close()
    assert check(path, [step], new_best={*news, step}) == step
    left = [entry.name for entry in (path / "checkpoints").iterdir() if entry.name.startswith(".")]
    assert not left, left
    assert len(list((path / "checkpoints").iterdir())) == 2 or step <= 2
