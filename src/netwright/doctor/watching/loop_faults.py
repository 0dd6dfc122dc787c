"""Faults of the loop's calls: clearing, steps missing or out of order, clipping and accumulation (E1, E4, E6)."""

from collections import Counter
from collections.abc import Iterator

from netwright.doctor.findings import Finding, Remedy
from netwright.doctor.watching.course import Course
from netwright.doctor.watching.diary import Diary
from netwright.language import say

ORDER = "optimizer.zero_grad(); loss.backward(); optimizer.step()"
MANY = 16
"""So many backwards without a step are not an accumulation any more, unless gradients are divided by as many."""


def read_loop(diary: Diary, is_whole: bool) -> Iterator[Finding]:
    """Everything about the order of calls; `is_whole` says that the block is a whole training, not a few batches."""
    detached = list(_detached(diary))
    yield from detached
    for course in diary.courses:
        yield from _uncleared(course)
        yield from _order(course, bool(detached) or not course.ids & diary.owned)
        yield from _clipping(course)
        yield from _accumulation(course, diary)
    yield from _absence(diary, is_whole)


def of(course: Course) -> str:
    """The optimizer's name in a finding."""
    return type(course.optimizer).__name__


def _uncleared(course: Course) -> Iterator[Finding]:
    times = course.times("uncleared")
    if times:
        share = times / max(1, course.steps)
        yield Finding(
            "E1", say("gradients not cleared"), say("loss.backward(), gradients of {optimizer}", optimizer=of(course)),
            {"steps with gradients of earlier steps": times, "steps": course.steps, "share": share, "threshold": 0},
            say("each step also repeats the gradients of the steps before: it goes too far, in old directions"),
            [Remedy({"code": "optimizer.zero_grad() before loss.backward()"},
                    say("a gradient that was used belongs to weights that are no more"))],
        )  # fmt: skip
    lost = course.times("cleared before step")
    if lost:
        yield Finding(
            "E4", say("gradients cleared before the step"), say("zero_grad() between backward() and step()"),
            {"steps without a gradient": lost, "steps": course.steps, "threshold": 0},
            say("the step finds nothing to use: no weight moves"),
            [Remedy({"code": ORDER}, say("clear first, then make the gradients, then use them"))],
        )  # fmt: skip


def _order(course: Course, explained: bool) -> Iterator[Finding]:
    empty = 0 if explained else course.times("no gradient")
    if empty > max(1, course.steps // 20) or (empty and course.steps <= 2):
        yield Finding(
            "E4", say("step without a gradient"), say("{optimizer}.step()", optimizer=of(course)),
            {"steps without a gradient": empty, "steps": course.steps, "threshold": max(1, course.steps // 20)},
            say("the step comes before backward(), or no backward() belongs to it: it moves nothing"),
            [Remedy({"code": ORDER}, say("a step uses what backward() has made just before"))],
        )  # fmt: skip
    if course.times("scheduled before step"):
        yield Finding(
            "E4", say("scheduler steps before the optimizer"), say("scheduler.step() before optimizer.step()"),
            {"optimizer steps at the first scheduler.step()": 0, "threshold": 1},
            say("the first value of the schedule is never used; every later one comes a call too early"),
            [Remedy({"code": "optimizer.step(); scheduler.step()"}, say("the schedule counts steps that were made"))],
        )  # fmt: skip


def _absence(diary: Diary, is_whole: bool) -> Iterator[Finding]:
    steps = sum(course.steps for course in diary.courses)
    behind = diary.times("backward after step")
    if (behind > diary.backwards // 2 and behind > 1) or (behind and diary.times("weights changed before backward")):
        yield Finding(
            "E4", say("step before backward"), say("optimizer.step() between the forward pass and backward()"),
            {"backwards after the step of their own batch": behind, "backwards": diary.backwards, "threshold": 1},
            say("each step uses the gradients of an earlier batch, or none"),
            [Remedy({"code": ORDER}, say("a step uses what backward() has made just before"))],
        )  # fmt: skip
    if steps or not diary.backwards or diary.times("scaler steps") or diary.other_params & diary.owned:
        return
    cleared = sum(course.times("drops") for course in diary.courses)
    evidence = {"optimizer steps": 0, "backwards": diary.backwards, "gradients cleared unused": cleared, "threshold": 1}
    sure = (cleared > 1 or diary.backwards >= MANY) and diary.courses
    yield Finding(
        "E4", say("no optimizer step"), say("the loop"), evidence,
        say("gradients are made and never used: nothing is learnt") if sure or (is_whole
        and diary.backwards > 1) else "",
        [Remedy({"code": "optimizer.step() after loss.backward()"}, say("only the step changes the weights"))],
    )  # fmt: skip


def _detached(diary: Diary) -> Iterator[Finding]:
    times = diary.times("loss without graph")
    reached = diary.looks.graded
    astray = diary.backwards > 1 and not reached and diary.looks.walks > 0 and diary.looks.any_leaf
    if astray and any(course.ids & diary.owned for course in diary.courses) and not times:
        yield Finding(
            "E4", say("backward on another loss"), say("loss.backward()"),
            {"backwards": diary.backwards, "parameters of the network with a gradient": 0, "threshold": 1},
            say("the loss's graph holds no parameter of the network: nothing of it can learn"),
            [Remedy({"code": "loss = criterion(model(inputs), targets)"},
                    say("the loss must be computed from what this network gives"))],
        )  # fmt: skip
    if not times:
        return
    if diary.last_output:
        where, why = (
            say("between the output and the loss"),
            say("loss.item(), detach() and numpy() end the graph there"),
        )
    elif not diary.last_grad:
        where, why = say("the forward pass under no_grad()"), say("no_grad() around a training step forgets the graph")
    else:
        where, why = say("inside the network, or all of it frozen"), say("something in the network ends the graph")
    yield Finding(
        "E4" if diary.last_grad or diary.last_output else "E5",
        say("loss without a graph") if diary.last_grad or diary.last_output else say("gradients disabled in training"),
        where, {"backwards on a loss without a graph": times, "threshold": 0},
        say("no gradient reaches a parameter: nothing is learnt"),
        [Remedy({"code": "loss = criterion(model(inputs), targets)  # no item(), detach(), numpy(), no_grad()"}, why)],
    )  # fmt: skip


def _clipping(course: Course) -> Iterator[Finding]:
    used = max(1, course.times("clips"))
    for what, name, harm in (
        ("clip after step", say("clipping after the step"), say("the gradients were used before they were clipped")),
        ("clip before backward", say("clipping before backward"),
         say("there is nothing to clip yet; the step is unclipped")),
        ("clip before unscale", say("clipping scaled gradients"),
         say("the loss scale makes the gradients thousands of times larger: all is clipped to nearly nothing")),
    ):  # fmt: skip
        times = course.times(what)
        if times > used // 2:
            right = "scaler.unscale_(optimizer); clip_grad_norm_(...); scaler.step(optimizer)"
            code = right if "unscale" in what else "loss.backward(); clip_grad_norm_(...); optimizer.step()"
            yield Finding(
                "E6", name, "clip_grad_norm_ / clip_grad_value_",
                {"misplaced calls": times, "calls": used, "threshold": 0}, harm,
                [Remedy({"code": code}, say("clipping acts on gradients between backward() and step()"))],
            )  # fmt: skip
    touched = course.times("touched after step")
    if touched > 1 and not course.times("clips"):
        yield Finding(
            "E6", say("gradients changed after the step"), of(course), {"times": touched, "threshold": 0}, "",
            [Remedy({"code": "loss.backward(); clip_grad_norm_(...); optimizer.step()"},
                    say("what is changed after the step is not used"))],
        )  # fmt: skip


def _accumulation(course: Course, diary: Diary) -> Iterator[Finding]:
    if len(course.backwards_per_step) < 2 or len(diary.courses) > 1:
        return
    usual = Counter(course.backwards_per_step).most_common(1)[0][0]
    if usual < 2 or course.times("uncleared"):
        return
    if diary.divided is False and _one_forward_each(diary):
        yield Finding(
            "E6", say("accumulated loss not divided"), say("loss.backward(), {k} times per step", k=usual),
            {"backwards per step": usual, "gradient is larger by": float(usual), "threshold": 1}, "",
            [Remedy({"code": f"(loss / {usual}).backward()"},
                    say("the sum of {k} gradients acts like a learning rate {k} times as large", k=usual))],
        )  # fmt: skip
    dropped = course.times("drops")
    if dropped:
        yield Finding(
            "E6", say("last partial accumulation dropped"), say("zero_grad() before the step"),
            {"backwards unused": course.times("dropped"), "times": dropped, "backwards per step": usual,
             "threshold": 0}, "",
            [Remedy({"code": "step also after the last batch of an epoch"},
             say("those batches are computed for nothing"))],
        )  # fmt: skip


def _one_forward_each(diary: Diary) -> bool:
    """Accumulation has a forward pass for each backward; several losses of one pass are no accumulation."""
    return diary.forwards == 0 or sum(forwards >= 1 for forwards, _ in diary.runs) > 0.9 * len(diary.runs)
