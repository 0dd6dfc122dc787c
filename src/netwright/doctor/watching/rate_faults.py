"""Faults of the step size a watch can see: schedules, non-finite numbers, rising losses (D1, D2, D8, D10)."""

import itertools
import math
import statistics
from collections.abc import Iterator

import torch

from netwright.doctor.findings import Finding, Remedy
from netwright.doctor.watching.course import Course
from netwright.doctor.watching.diary import Diary
from netwright.language import say

FALLEN = 0.1
"""A rate below this share of its first (highest) is as good as gone."""
SHORT, LONG = 30, 100
"""Steps before a rise, and before flatness, is said."""
RISE, FLAT = 0.5, 0.01
TINY, STARVED = 1e-3, 1e-5
"""Updates per step, relative to the weights: below the first nothing diverges, below the second nothing moves."""


def read_rates(diary: Diary) -> Iterator[Finding]:
    """Everything about learning rates, and the harm seen in the loss."""
    yield from _non_finite(diary)
    for course in diary.courses:
        yield from _rate(course, diary)
    if len(diary.courses) == 1 and diary.first_bad is None:
        yield from _losses(diary)


def _rate(course: Course, diary: Diary) -> Iterator[Finding]:
    if not course.rates or course.steps < 3:
        return
    start = course.rates[0][1]
    if course.zero_rates > 0.5 * course.steps:
        yield Finding(
            "D8", say("learning rate 0"), f"{type(course.optimizer).__name__}.param_groups[0]['lr']",
            {"steps with rate 0": course.zero_rates, "steps": course.steps, "threshold": 0.5},
            say("a step of size 0 changes nothing"),
            [Remedy({"code": "lr=1e-3 (Adam) or 1e-1 (SGD)"}, say("any rate above 0 moves the weights"))],
        )  # fmt: skip
        return
    scheduler = course.scheduler
    if scheduler is None or course.scheduled < 0.9 * course.steps or start <= 0:
        return
    kind = type(scheduler).__name__
    low = sum(course.rate_at(step) < FALLEN * start for step in range(1, course.steps + 1))
    end = diary.epochs[1] if len(diary.epochs) > 1 else 0
    at_end = course.rate_at(max(1, end)) if end else course.rate_at(course.steps)
    early = bool(end) and at_end < FALLEN * start and course.steps > 1.5 * end
    swings = _swings([rate for _, rate in course.rates]) if kind == "CosineAnnealingLR" else 0
    gone = low > 0.5 * course.steps and course.steps >= 20 and kind != "OneCycleLR"
    if early or gone or swings >= 2:
        yield Finding(
            "D8", say("scheduler stepped in every batch"), f"{kind}.step()",
            {"scheduler steps": course.scheduled, "optimizer steps": course.steps, "first rate": start,
             "rate at the end of the first epoch" if end else "last rate": at_end,
             "steps below a tenth of the first rate": low, "turns": swings, "threshold": FALLEN * start},
            say("the rate swings up and down within an epoch") if swings >= 2 and not (early or gone)
            else say("the rate has all but vanished while most of the training is still to come"),
            [Remedy({"code": "scheduler.step() once an epoch, after the inner loop"},
                    say("this schedule counts epochs")),
             Remedy({"code": "give the schedule the number of steps of the whole training"},
                    say("if it is meant to count steps"))],
        )  # fmt: skip


def _swings(rates: list[float]) -> int:
    """How often a row of rates turns from falling to rising or back."""
    signs = [after > before for before, after in itertools.pairwise(rates) if after != before]
    return sum(one != other for one, other in itertools.pairwise(signs))


def _non_finite(diary: Diary) -> Iterator[Finding]:
    found = diary.first_bad
    if found is None:
        return
    places = {
        "input": say("the input of the network"), "weights": say("the weights before the first step"),
        "backward": say("the gradient or the update of the step before"),
        "forward": say("the forward pass"), "loss": say("the loss"), "": say("not known"),
    }  # fmt: skip
    place = places[found["stage"]] + (f", {found['module']}" if found["module"] else "")
    still_good = all(bool(torch.isfinite(p.detach()).all()) for p in diary.named.values() if p.device.type != "meta")
    last = found["last losses"]
    rate = diary.courses[0].highest if diary.courses else 0.0
    smaller = Remedy({"code": f"lr={rate / 10:.3g}"}, say("smaller steps keep the numbers in range"))
    cures = {
        "input": Remedy({"code": "drop or fill the examples with nan or inf"},
        say("one such example spoils the batch")),
        "loss": Remedy({"code": "cross_entropy / binary_cross_entropy_with_logits on logits; eps inside sqrt and log"},
                       say("the written-out formula leaves the range of the numbers")),
        "forward": Remedy({"code": "no division by 0, log(0) or exp of large numbers in this part"},
                          say("this part makes the first such number")),
    }  # fmt: skip
    remedies = [cures[found["stage"]]] if found["stage"] in cures else [smaller]
    if found["stage"] == "backward":
        remedies.append(Remedy({"code": "clip_grad_norm_(model.parameters(), 1.0) between backward() and step()"},
                               say("a clipped gradient cannot throw the weights far")))  # fmt: skip
    scaled = diary.scalers > 0 and still_good
    yield Finding(
        "D10", say("non-finite numbers"), place,
        {"step": found["step"], "backward": found["backward"], "stage": found["stage"], "last finite losses": last,
         "weights still finite": still_good, "threshold": say("finite")},
        "" if scaled else say("from there on nothing is learnt: such a number spreads to every weight it meets"),
        remedies,
    )  # fmt: skip


def _losses(diary: Diary) -> Iterator[Finding]:
    losses = diary.losses
    if len(losses) < SHORT or diary.courses[0].whole_steps < SHORT // 2:
        return
    part = max(5, len(losses) // 5)
    first, last = losses[:part], losses[-part:]
    begin, end = statistics.median(first), statistics.median(last)
    spread = statistics.median(abs(value - begin) for value in first)
    moves = _typical(diary)
    evidence = {"loss of the first fifth": begin, "loss of the last fifth": end, "spread": spread, "updates": moves}
    scale = max(abs(begin), 1e-12)
    if end - begin > max(RISE * scale, 10 * spread) and end > max(first):
        fast = not moves > 0 or moves >= TINY
        steady = sum(b > a for a, b in itertools.pairwise(losses)) > 0.95 * (len(losses) - 1)
        if steady and not fast:
            name, remedy = (
                say("the loss rises steadily"),
                Remedy({"code": "loss = +..."}, say("the sign may be turned round")),
            )
        else:
            rate = diary.courses[0].highest
            name = say("the loss diverges")
            remedy = Remedy({"code": f"lr={rate / 10:.3g}"}, say("smaller steps do not jump over the valley"))
        fault = "B10" if steady and not fast else "D1"
        yield Finding(fault, name, "loss", {**evidence, "threshold": begin + max(RISE * scale, 10 * spread)},
                      say("the loss ends higher than it began"), [remedy])  # fmt: skip
    elif len(losses) >= LONG and 0 < moves < STARVED and abs(end - begin) < max(FLAT * scale, spread):
        rate = diary.courses[0].highest
        yield Finding("D2", say("the steps are too small"), "lr", {**evidence, "threshold": STARVED},
                      say("the loss is where it was"),
                      [Remedy({"code": f"lr={rate * 10:.3g}"}, say("larger steps get somewhere"))])  # fmt: skip


def _typical(diary: Diary) -> float:
    """The median over looks of the median update of the layers, relative to their weights."""
    kept = [float(one.median()) for one in diary.looks.ratios]
    kept = [value for value in kept if math.isfinite(value)]
    return statistics.median(kept) if kept else 0.0
