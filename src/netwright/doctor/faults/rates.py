"""D1 to D3: steps that are too long, too short, or swing to and fro."""

import math
from collections.abc import Mapping
from itertools import pairwise
from statistics import median
from typing import Annotated, Any

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.steps import batch_of, batch_size, clip, rate_times, rate_to, setting, warm_up
from netwright.doctor.chart import Chart
from netwright.doctor.gauges.lag import lags
from netwright.doctor.gauges.rates import Rates
from netwright.doctor.gauges.whole import Whole
from netwright.doctor.subject import Change, possible
from netwright.doctor.suspicion import Suspicion, Unmeasured
from netwright.language import say

Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(0)]


def rates_of(chart: Chart) -> Rates | None:
    """The rates gauge; None where it cannot be read."""
    try:
        return chart.rates
    except Unmeasured:
        return None


def rise(whole: Whole, batch: int) -> float:
    """The highest loss, averaged over some 256 examples, as a multiple of the loss before the first step or of constant
    outputs, whichever is more; NaN where losses are not positive."""
    finite = [loss for loss in whole.losses if math.isfinite(loss)]
    if len(finite) < 3 or min(finite) <= 0:
        return math.nan
    width = min(len(finite) - 1, max(3, -(-256 // batch)))
    means = [sum(finite[place : place + width]) / width for place in range(1, len(finite) - width + 1)]
    floor = max(finite[0], whole.base) if math.isfinite(whole.base) else finite[0]
    return max(means) / floor if floor > 0 else math.nan


def grew(whole: Whole) -> bool:
    """Whether the loss had grown tenfold within the 20 steps before it stopped being a number."""
    tail = [loss for loss in whole.losses if math.isfinite(loss)][-20:]
    return len(tail) > 1 and min(tail) > 0 and max(tail) > 10 * min(tail)


def starts_well(chart: Chart) -> bool:
    """Whether loss and outputs are ordinary before the first step: else the trouble is not the rate's alone."""
    try:
        start = chart.start
    except Unmeasured:
        return True
    return start.finite and not (start.base > 0 and start.loss0 > 4 * start.base)


def slower(chart: Chart) -> list[Change]:
    """Lower rates, the one of the range test first."""
    found = rates_of(chart)
    advised = None
    if found is not None and math.isfinite(found.advised) and found.advised < 0.7 * found.current:
        advised = rate_to(chart.subject, found.advised)
    norms = [one.norm for one in chart.series.measures if math.isfinite(one.norm)]
    gentle = clip(chart.subject, max(1e-3, median(norms))) if norms else None
    return possible(advised, rate_times(chart.subject, 0.1), warm_up(chart.subject), gentle)


@FAULTS.add(
    "D1", title="learning rate too high", source="doctor catalogue D1; Cohen et al. 2021, arXiv:2103.00065",
    demo="""
import torch

# A bowl of curvature 10: plain descent diverges exactly above a rate of 2 / 10.
for rate in (0.02, 0.1, 0.19, 0.21):
    w = torch.tensor(1.0)
    for step in range(20):
        before = 10 * w  # the slope of 5 w^2
        w = w - rate * before
        q = 10 * w / before if step == 0 else q
    print(f"rate {rate}: w after 20 steps {w.item():+.3g}, quotient q = {q.item():.2f}")
""",
)  # fmt: skip
def rate_too_high(
    chart: Chart, *, quotient: float = -0.5, unstable: Share = 0.1, risen: Positive = 1.5, near: Positive = 0.5
) -> Suspicion | None:
    """Every step leaps over the minimum that it aims at, so the loss swings, rises or stops being a number.

    Along a step the loss is a valley. Steps up to twice the distance to its bottom still come down; longer ones climb
    the other side, each higher than the one before. Afterwards units are often dead, and the loss stays flat.

    Measured: the quotient q of the slope after a step by that before it (1: far too short, 0: at the bottom, below -1:
    worse than before), the loss, and the rate beside the one at which a range test diverges. Fault where the median of
    q is below -0.5, the loss has risen by half, or the rate is above half the diverging one.

    A q between 0 and -1 with a falling loss is normal. Unscaled inputs and large weights look the same, but there the
    first loss, before any step, is already far too high; then mend those first.

    Take a third of the steepest rate of the range test, then warm-up, a falling schedule, and clipping last.
    """
    whole, series = chart.whole, chart.series
    high = rise(whole, batch_of(chart.subject))
    falling = whole.finite and whole.last < 0.7 * whole.first
    shaken = bool(series.q) and (series.median_q < quotient or series.unstable > unstable)
    if not whole.finite and (len(whole.losses) < 2 or not math.isfinite(whole.losses[0])):
        return None  # there was no step before the trouble
    if whole.finite and not high > risen and not shaken and not lags(chart):
        return None
    found = rates_of(chart)
    ratio = found.current / found.diverging if found is not None else math.nan
    strength = 0.0
    if shaken:
        strength = 0.25 if falling else 0.5
    if ratio > near:
        strength = max(strength, 0.6 if ratio <= 1 else 0.85)
    elif found is not None and found.current > found.steep:
        strength = max(strength, 0.35)  # past the steepest place, and behind others: another rate is worth a try
    if high > risen:
        strength = max(strength, 0.9 if high > 3 or not falling else 0.5)
    if not whole.finite:
        strength = 0.95 if grew(whole) or ratio > near else 0.6
    if not strength:
        return None
    evidence = {"rate": found.current if found else math.nan, "diverging_rate": found.diverging if found else math.nan,
                "median_q": series.median_q, "threshold": quotient, "unstable_steps": series.unstable,
                "highest_loss_by_first": high, "finite": whole.finite}  # fmt: skip
    return Suspicion("D1", say("learning rate too high"), "optimizer.lr", _numbers(evidence),
                     strength if starts_well(chart) else 0.6 * strength, changes=slower(chart))  # fmt: skip


def _numbers(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was not measured."""
    return {name: value for name, value in evidence.items() if not (isinstance(value, float) and math.isnan(value))}


@FAULTS.add(
    "D2", title="learning rate too low", source="doctor catalogue D2; Smith 2017, arXiv:1506.01186 (range test)",
    demo="""
import torch
from torch import nn

x = torch.linspace(-3, 3, 256)[:, None]
y = torch.sin(x)
for rate in (1e-6, 1e-5, 1e-3, 1e-2):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(net.parameters(), rate)
    for step in range(300):
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
    print(f"rate {rate:g}: loss after 300 steps {loss.item():.4f}")
""",
)  # fmt: skip
def rate_too_low(
    chart: Chart, *, quotient: float = 0.98, share: Share = 0.9, ratio: Annotated[float, Range(1)] = 30.0
) -> Suspicion | None:
    """The steps are so short that the training is over before the network has got anywhere.

    Along each step the slope stays as it was: the loss falls in a straight line, and slowly. Ten or a hundred times
    longer steps would have gone the same way in a fraction of the time.

    Measured: the quotient q of the slope after a step by that before it is above 0.98 in more than 90 percent of the
    steps, and the rate is less than a thirtieth of the one at which a range test finds half of the fall. The updates
    |dw| / |w| are small in all layers alike, below 1e-5 in clear cases.

    When only the first layers starve, gradients vanish on the way (C4); when nothing at all moves, look at the loop
    (E2 to E4); when the rate is right and the epochs few, train longer (D6).

    Raise the rate to a third of the steep rate of the range test, or tenfold until q falls below 0.9.
    """
    whole, series = chart.whole, chart.series
    if not whole.finite or len(series.q) < 4 or sum(q > quotient for q in series.q) <= share * len(series.q):
        return None
    found = rates_of(chart)
    if (
        found is None
        or not found.current < found.steep / ratio
        or not (found.current < found.steep / 100 or lags(chart))
    ):
        return None
    updates = [value for name, value in series.median_updates().items() if value > 0 and not name.endswith("bias")]
    alike = not updates or max(updates) < 1e3 * min(updates)
    evidence = {"rate": found.current, "steep_rate": found.steep, "median_q": series.median_q, "threshold": quotient,
                "largest_update": max(updates, default=0.0), "smallest_update": min(updates, default=0.0)}  # fmt: skip
    strength = (0.9 if found.current < found.steep / 100 else 0.7) * (1 if alike else 0.5)
    changes = possible(
        rate_to(chart.subject, found.advised), rate_times(chart.subject, 10), rate_times(chart.subject, 100)
    )
    return Suspicion("D2", say("learning rate too low"), "optimizer.lr", evidence, strength, changes=changes)


@FAULTS.add(
    "D3", title="oscillating loss", source="doctor catalogue D3",
    demo="""
import torch

# Two curvatures, one rate: the steep direction swings while the flat one creeps.
for rate in (0.199, 0.1, 0.03):
    w = torch.tensor([1.0, 1.0])
    losses = []
    for step in range(30):
        w = w - rate * torch.tensor([10.0, 0.5]) * w
        losses.append(round((5 * w[0] ** 2 + 0.25 * w[1] ** 2).item(), 4))
    print(f"rate {rate}: w after 30 steps {w[0].item():.3f} {w[1].item():.3f}, losses {losses[:5]} ...")
""",
)  # fmt: skip
def oscillating_loss(
    chart: Chart, *, share: Share = 0.5, amplitude: Positive = 0.05, epochs: Annotated[int, Range(3)] = 10
) -> Suspicion | None:
    """The loss of whole epochs goes up and down instead of coming to rest.

    The mean over an epoch hides the noise of single batches; if it still rises every other epoch, the steps are too
    long for where the network stands, the batches too small, or the data come in an order that repeats.

    Measured: the difference from epoch to epoch changes its sign in more than half of at least 10 epochs, by more than
    5 percent of the loss of constant outputs on average.

    What tells the causes apart: q below 0 on the same batch means a rate too high (D1); gradients of two half batches
    that disagree (cosine below 0.1) mean batches too small (D5); a saw-tooth of one epoch means unshuffled data (A9).
    When only validation swings, the validation set is small, or batch norm is to blame (C13). GAN-like games swing by
    nature.

    Divide the rate by 3 or let it fall on a schedule; then larger batches; then an average of the weights.
    """
    whole, size = chart.whole, max(1, chart.subject.epoch)
    if not whole.finite or whole.steps < epochs * size:
        return None
    means = [sum(whole.losses[at : at + size]) / size for at in range(0, whole.steps - size + 1, size)]
    steps = [after - before for before, after in pairwise(means)]
    turns = sum(a * b < 0 for a, b in pairwise(steps)) / max(1, len(steps) - 1)
    scale = whole.base if math.isfinite(whole.base) and whole.base > 0 else abs(means[0])
    swing = sum(map(abs, steps[len(steps) // 2 :])) / max(1, len(steps) - len(steps) // 2) / scale if scale else 0.0
    if turns <= share or not swing > amplitude:
        return None
    evidence = {"turns": turns, "threshold": share, "swing": swing, "least_swing": amplitude, "epochs": len(means),
                "median_q": chart.series.median_q}  # fmt: skip
    subject = chart.subject
    falling = Change("cosine schedule", say("the steps shorten towards the end"), {"schedule": "cosine"})
    steady = setting(subject, "schedule", "name") == "constant"
    changes = possible(rate_times(subject, 0.3), falling if steady else None,
                       batch_size(subject, 4 * batch_of(subject)))  # fmt: skip
    return Suspicion("D3", say("oscillating loss"), say("training loss"), _numbers(evidence), 0.35, changes=changes)
