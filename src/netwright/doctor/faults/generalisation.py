"""F1 to F4: learning by heart, learning too little, choosing badly, and luck."""

import math
from statistics import stdev
from typing import Annotated, Any

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.fitting import against_overfitting, against_underfitting
from netwright.doctor.changes.penalties import smoothing, weight_decay
from netwright.doctor.changes.steps import longer, probed_optimizer, rate_times, setting, stop_at
from netwright.doctor.chart import Chart
from netwright.doctor.gate import LEAST_GAP, standard_error
from netwright.doctor.gauges.lag import lag, lags, windows
from netwright.doctor.gauges.whole import Whole, train_whole
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion, Unmeasured
from netwright.doctor.task import flat_targets, paired_error
from netwright.language import say

Share = Annotated[float, Range(0, 1)]


def error_of(skill: float, count: int, share: float, kind: str) -> float:
    """The standard error of a skill over so many examples; `share` is that of the largest class."""
    if count < 1:
        return math.inf
    if kind != "classes":
        return (1 - min(1.0, max(skill, 0.0))) * math.sqrt(2 / count)
    right = min(1 - 1 / (count + 2), max(share, share + skill * (1 - share)))
    return math.sqrt(right * (1 - right) / count) / max(1e-3, 1 - share)


def validation_error(chart: Chart) -> tuple[int, float]:
    """The examples of validation, and the standard error of the skill on them."""
    held = chart.subject.validation
    count = sum(len(flat_targets(pair.targets)) for pair in held)
    share = 0.0
    if chart.task.kind == "classes":
        truth = [int(label) for pair in held for label in chart.task.truth(pair.targets).tolist()]
        share = max(truth.count(label) for label in set(truth)) / max(1, len(truth)) if truth else 0.0
    return count, error_of(chart.whole.skill_validation, count, share, chart.task.kind)


def fall_error(whole: Whole, best: int, error: float, kind: str) -> float:
    """The standard error of the last score's distance to the best one: both are on the same examples."""
    first, last = (whole.shares[best], whole.shares[-1]) if whole.shares else (None, None)
    return error if first is None or last is None else paired_error(first, last, kind)


def behind_learners(chart: Chart) -> bool:
    """Whether simple learners are better on the same validation examples beyond chance."""
    error = standard_error(chart, chart.control, held=True)
    return chart.control.skill - chart.whole.skill_validation > max(LEAST_GAP, 2 * error)


@FAULTS.add(
    "F1", title="overfitting", source="doctor catalogue F1; Prechelt 1998, Early Stopping - But When?",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(260, 20)
y = ((x[:, 0] + torch.randn(260)) > 0).long()  # one label in four is luck
net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 2))
optimizer = torch.optim.Adam(net.parameters(), 3e-3)
for epoch in range(1, 121):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(x[:60]), y[:60])
    loss.backward()
    optimizer.step()
    if epoch in (5, 15, 40, 120):
        held = nn.functional.cross_entropy(net(x[60:]), y[60:]).item()
        print(f"epoch {epoch}: training loss {loss.item():.2f}, validation loss {held:.2f}")
""",
)  # fmt: skip
def overfitting(
    chart: Chart, *, gap: Share = 0.1, errors: Annotated[float, Range(0)] = 3.0, drop: Share = 0.03
) -> Suspicion | None:
    """The network goes on learning its examples by heart while it gets worse on new ones.

    First it learns what all examples share, then what each has for itself: noise. From there on the training score
    rises, and that on validation examples falls.

    Measured: the score on validation examples stands below its best by more than 3 points and 3 standard errors while
    that in training rose, and the gap between the two is above 10 points at the end. Or: better than simple learners on
    training examples, and behind them on validation examples, beyond chance.

    A gap from the first epoch is another preparation of the data (A10) or batch norm (C13); wrong labels make it worse
    (A6). One epoch of rising validation loss is noise. When only the loss rises and the score holds, the network is
    over-confident: smoothing or an earlier end is enough. A gap alone, with a score that holds, is no fault.

    Stop early with the best weights; augment; weight decay 1e-4 to 5e-2; dropout 0.1 to 0.5; a smaller network; more
    data; several networks. Judge by the validation score, not by the gap.
    """
    whole, subject = chart.whole, chart.subject
    curve = [point for point in whole.curve if math.isfinite(point[3]) and math.isfinite(point[2])]
    if not whole.finite or len(curve) < 4 or not subject.validation:
        return None
    count, error = validation_error(chart)
    best = max(curve, key=lambda point: point[3])
    last, first = curve[-1], curve[0]
    fall, final_gap = best[3] - last[3], last[2] - last[3]
    trails = whole.skill_train > chart.control.skill and behind_learners(chart)
    if final_gap <= max(gap, errors * error) or (last[2] <= first[2] + 0.01 and not trails):
        return None
    growing = first[2] - first[3] < 0.6 * final_gap
    fell = fall > max(drop, errors * fall_error(whole, whole.curve.index(best), error, chart.task.kind))
    evidence: dict[str, Any] = {
        "train_skill": last[2], "validation_skill": last[3], "best_validation": best[3], "best_step": best[0],
        "gap": final_gap, "threshold": gap, "standard_error": error, "validation_examples": count,
    }  # fmt: skip
    smooth = smoothing(subject, 0.1)
    early = stop_at(subject, best[0]) if not subject.keeps_best else None
    changes = possible(early if fell else None, weight_decay(subject), smooth, early, rate_times(subject, 0.3))
    changes += against_overfitting(subject)
    strength = 0.7 if fell and growing else 0.6 if trails else 0.35 if growing else 0.15
    quiet = not fell and not trails
    return Suspicion("F1", say("overfitting"), say("validation score"), evidence, strength, note=quiet, changes=changes)


@FAULTS.add(
    "F2", title="underfitting", source="doctor catalogue F2",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x = torch.rand(400, 2) * 4 - 2
y = ((x[:, 0] * 2).sin() * (x[:, 1] * 2).sin() > 0).long()
for width in (2, 8, 64):
    net = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2))
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for step in range(600):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    print(f"{width} units: loss {loss.item():.3f}, {(net(x).argmax(1) == y).float().mean().item():.0%} right")
""",
)  # fmt: skip
def underfitting(chart: Chart, *, flat: Share = 0.01, share: Share = 0.8) -> Suspicion | None:
    """The training loss comes to rest well above what simple learners reach with the same examples.

    Underfitting is not a cause but what many causes look like: a network too small (C10), a rate too low (D2), too
    much regularisation (D7), too few updates (D6), a wrong loss (section B), augmentation that destroys the pictures
    (A11).

    Measured: the loss changes by less than 1 percent of that of constant outputs over the last fifth of the training,
    and the score on the training examples is below 80 percent of what nearest neighbours, trees and a reference
    network reach.

    The causes are told apart by trying each remedy alone from the same state with the same batches. If simple learners
    find nothing either, the data hold no signal (A13). If the score is good on training examples and bad on others, it
    is the opposite (F1).

    In the order of what is cheap to try: a rate from the range test, Adam, no regularisation, more updates, more
    units, a form that suits the data.
    """
    whole = chart.whole
    behind = lag(chart)
    if not whole.finite or not behind > 0.1 or len(whole.losses) < 20:
        return None
    best = chart.control.skill if math.isfinite(behind) else math.nan
    seen = whole.skill_train if math.isfinite(whole.skill_train) else whole.skill
    if not math.isfinite(seen) or seen >= share * best:
        return None
    parts = windows(whole.losses, 20)
    base = whole.base if math.isfinite(whole.base) and whole.base > 0 else max(abs(parts[0]), 1e-12)
    late = parts[-max(2, len(parts) // 5) :]
    slope = abs(late[0] - late[-1]) / base
    if slope > 5 * flat:
        return None
    evidence = {
        "train_skill": seen,
        "simple_learners": best,
        "threshold": share * best,
        "late_change": slope,
        "flat": flat,
    }
    subject = chart.subject
    changes = possible(
        probed_optimizer(subject, "adam"), longer(subject, 4), rate_times(subject, 10), rate_times(subject, 0.1)
    )
    changes += against_underfitting(subject)
    return Suspicion("F2", say("underfitting"), say("training loss"), evidence, 0.05, changes=changes)


@FAULTS.add(
    "F3", title="weights chosen badly", source="doctor catalogue F3; Prechelt 1998",
    demo="""
import random

random.seed(0)
for size in (50, 500, 5000):
    scores = [sum(random.random() < 0.9 for _ in range(size)) / size for epoch in range(50)]
    print(f"{size} examples: what is 90 % right in truth scores {min(scores):.1%} to {max(scores):.1%} in 50 epochs")
""",
)  # fmt: skip
def chosen_badly(chart: Chart, *, error: Share = 0.03, worse: Annotated[float, Range(0)] = 1.0) -> Suspicion | None:
    """The weights that are kept are not the best ones, or the examples that choose them are too few to tell.

    Training ends where it ends, and the last weights are rarely the best. Stopping early needs patience longer than
    the noise of the score, the right metric in the right direction, and validation examples that nothing else uses.
    With 100 examples a score of 90 percent has a standard error of 3 points: the best of fifty epochs is then mostly
    luck.

    Measured: the standard error of the score on validation examples (above 3 points is a note), and the distance
    between the best score and the last (more than one standard error).

    When the score falls steadily after its best, that is overfitting (F1); when it jumps up and down, the rate (D1, D3)
    or the size of the set. Choosing by the test set makes every figure too good.

    Keep the best weights; use 1,000 validation examples or folds; set the patience to several times the noise; monitor
    validation, not training.
    """
    if not chart.subject.validation or not chart.whole.finite or not chart.task.is_judged:
        return None
    count, found = validation_error(chart)
    held = [point[3] for point in chart.whole.curve if math.isfinite(point[3])]
    if not held or not math.isfinite(found):
        return None
    lost = max(held) - held[-1]
    evidence = {
        "standard_error": found,
        "threshold": error,
        "validation_examples": count,
        "best": max(held),
        "last": held[-1],
    }
    steps = [point[0] for point in chart.whole.curve if math.isfinite(point[3])]
    patience = setting(chart.subject, "training", "stop_after")
    if lost > max(worse * found, 0.02) and not chart.subject.keeps_best:
        changes = possible(stop_at(chart.subject, steps[held.index(max(held))]))
        return Suspicion("F3", say("last weights in place of the best"), say("validation score"), evidence, 0.3,
                         note=True, changes=changes)  # fmt: skip
    if isinstance(patience, int) and 0 < patience < 3 and lags(chart):
        return Suspicion(
            "F3", say("too little patience"), "training.stop_after", {**evidence, "patience": patience}, 0.4
        )
    if found > error:
        return Suspicion("F3", say("few validation examples"), say("validation examples"), evidence, 0.5, note=True)
    return None


@FAULTS.add(
    "F4", title="luck of the seed", source="doctor catalogue F4; Lu et al. 2019, arXiv:1903.06733",
    demo="""
import torch
from torch import nn

x, y = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), torch.tensor([[0.0], [1], [1], [0]])
for width in (2, 16):
    solved = 0
    for seed in range(10):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1))
        optimizer = torch.optim.Adam(net.parameters(), 0.05)
        for step in range(150):
            loss = (net(x) - y).square().mean()
            net.zero_grad(), loss.backward(), optimizer.step()
        solved += loss.item() < 0.01
    print(f"{width} units: XOR solved from {solved} of 10 seeds")
""",
)  # fmt: skip
def luck_of_the_seed(chart: Chart, *, spread: Share = 0.05, part: Share = 0.1) -> Suspicion | None:
    """The same training succeeds or fails with nothing changed but its random numbers.

    Small ReLU networks die from some starts and not from others; a rate near the stable limit diverges for some orders
    of the batches. One run then tells little: the good one may be luck, the bad one, too.

    Measured where a training is short enough to be repeated: the score with three seeds; a standard deviation above 5
    points, or one run that fails where others succeed, is a fault. A recipe draws new weights with each seed; code
    draws another order of the batches, for its start is given.

    A small validation set makes scores jump without any luck of training: compare with its standard error (F3). If all
    seeds fail alike, there is a cause (sections A to E).

    Report how many of ten runs fail. Then mend the cause: He's initialisation, leaky units or more of them (C6), a
    lower rate and warm-up (D1), until none fails.
    """
    whole, clock = chart.whole, chart.clock
    if not whole.finite or not math.isfinite(whole.skill) or 2 * whole.seconds > part * max(0.0, clock.left):
        raise Unmeasured
    others = [train_whole(chart.subject, max(0.5, 2 * whole.seconds), chart.sigmoid, seed=seed) for seed in (11, 12)]
    skills = [whole.skill, *(other.skill if math.isfinite(other.skill) else -1.0 for other in others)]
    _, error = validation_error(chart) if chart.subject.validation else (0, 0.0)
    error = error if math.isfinite(error) else 0.0
    if stdev(skills) <= max(spread, 2 * error) and min(skills) > 0.5 * max(skills):
        return None
    evidence = {"skills": skills, "deviation": stdev(skills), "threshold": spread, "standard_error": error}
    lost = min(skills) < 0.5 * max(skills)
    changes = possible(rate_times(chart.subject, 0.3), rate_times(chart.subject, 0.1))
    return Suspicion("F4", say("luck of the seed"), say("seeds"), evidence, 0.4 if lost else 0.2, changes=changes)
