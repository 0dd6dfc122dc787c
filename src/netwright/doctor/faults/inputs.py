"""Faults of the inputs' numbers: their scale and missing values (A1 to A3)."""

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.data import (
    by_feature,
    filled_inputs,
    rescaled_inputs,
    standardised_inputs,
)
from netwright.doctor.changes.examples import without_examples
from netwright.doctor.chart import Chart
from netwright.doctor.gauges.tables import Scan
from netwright.doctor.ops import NORMS, WEIGHTED, Op, tracing
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion, Unmeasured
from netwright.language import say


@dataclass(frozen=True)
class Scale:
    """How far numbers are from unit scale; each figure is 1 at its threshold."""

    rms: float
    largest: float
    offset: float
    """The largest |mean| / std among features whose mean is far from 0."""
    ratio: float
    """Of the widest feature's scale to the narrowest one's."""

    def over(self, rms: float, largest: float, offset: float, ratio: float) -> float:
        """The farthest figure as a multiple of its threshold."""
        return max(self.rms / rms, self.largest / largest, self.offset / offset, self.ratio / ratio)


FAR = 2.0
"""A mean below this is near 0, however little the feature varies: yes-no columns that are mostly yes."""
MANY = 0.5
"""Where so large a share of the features stand off their spread, they count with smaller means too."""


def scale_of(scan: Scan) -> Scale:
    """The scale of a data set from its scan."""
    return Scale(scan.rms, scan.largest, _offset(scan.mean, scan.std), min(scan.scale_ratio, scan.range_ratio))


def _offset(mean: Any, std: Any) -> float:
    mean, std = torch.as_tensor(mean).double(), torch.as_tensor(std).double()
    varies = std > 0
    if not bool(varies.any()):
        return 0.0
    off = mean[varies].abs() / std[varies]
    if (off > 3).double().mean() < MANY:
        off = off[mean[varies].abs() > FAR]
    return float(off.max()) if len(off) else 0.0


def scale_of_tensor(x: Tensor) -> Scale:
    """The scale of what a layer reads, from one batch."""
    rows = by_feature(x.detach().double().nan_to_num(0.0, 0.0, 0.0))
    mean, std = rows.mean(0), rows.std(0, correction=0)
    spreads, ranges = std[std > 0], (rows.amax(0) - rows.amin(0))[std > 0]
    ratio = min((float(part.max() / part.min()) if len(part) else 1.0) for part in (spreads, ranges))
    return Scale(rows.square().mean().sqrt().item(), rows.abs().max().item(), _offset(mean, std), ratio)


def first_weighted(chart: Chart) -> Op | None:
    """The first operation with weights."""
    return next((op for op in chart.ops if op.name in WEIGHTED), None)


def first_reading(chart: Chart) -> Tensor | None:
    """What the first weighted operation reads in the first batch; None where that is no tensor of floats."""
    op = first_weighted(chart)
    found = (op.inputs[0] if op.inputs else op.settings.get("input")) if op is not None else None
    found = found if isinstance(found, Tensor) else None
    return found if found is not None and found.is_floating_point() and found.numel() else None


def is_normalised(chart: Chart) -> bool:
    """Whether a norm, or an embedding, comes before every other weight."""
    first = next((op for op in chart.ops if op.name in NORMS | WEIGHTED), None)
    return first is not None and (first.name in NORMS or first.name == "embedding")


def norm_follows(chart: Chart) -> bool:
    """Whether a norm stands right behind the first weighted operation."""
    ops = [op for op in chart.ops if op.name in NORMS | WEIGHTED]
    return len(ops) > 1 and ops[0].name in WEIGHTED and ops[1].name in NORMS


def strength_of(over: float, start: float = 0.3, each: float = 0.25) -> float:
    """0.3 at the threshold, a quarter more with every power of ten beyond."""
    return float(min(1.0, max(0.1, start + each * math.log10(max(over, 1e-3)))))


def numbers_place(chart: Chart) -> str:
    return "data.normalize" if chart.subject.recipe is not None else say("inputs")


@FAULTS.add("A1", title="unscaled inputs", source="doctor catalogue A1; LeCun et al. 1998, Efficient BackProp", demo='''
import torch
from sklearn.datasets import load_wine
x, y = (torch.tensor(part) for part in load_wine(return_X_y=True))
for name, data in (("raw", x.float()), ("standardised", ((x - x.mean(0)) / x.std(0)).float())):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(13, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    sgd = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(300):
        sgd.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(data), y)
        loss.backward()
        sgd.step()
    print(name, "loss", round(loss.item(), 3), "accuracy", (net(data).argmax(1) == y).float().mean().item())
''')  # fmt: skip
def unscaled_inputs(
    chart: Chart, *, rms: Annotated[float, Range(0)] = 5.0, largest: Annotated[float, Range(0)] = 20.0,
    offset: Annotated[float, Range(0)] = 3.0, ratio: Annotated[float, Range(1)] = 100.0,
) -> Suspicion | None:  # fmt: skip
    """Features far from unit scale make one learning rate too large for some weights and too small for others.

    A feature in thousands, or one that lies far from zero, gives its weights gradients in thousands: steps that suit
    them are no steps for the others, and steps that suit the others throw them about.

    It shows in the numbers alone: root mean square above 5, a value beyond 20, a mean of more than 3 standard
    deviations, or features whose spreads differ a hundredfold. Numbers between -3 and 5 are no fault.

    A rate that is too high and weights that begin too large diverge alike. Standardise the inputs and change nothing
    else: where that alone mends it, this is the cause. A network whose first layer normalises, or that scales its
    inputs by itself, does not mind, and neither do embeddings.

    Subtract the mean and divide by the standard deviation, both of the training examples, also for validation and test.
    Divide pictures by 255 first. Take logarithms of long-tailed features. Batch normalisation of the input is a
    stop-gap.
    """
    found = scale_of(chart.scan)
    over = found.over(rms, largest, offset, ratio)
    if over <= 1 or chart.scan.non_finite == chart.scan.examples:
        return None
    reading = first_reading(chart)
    read = scale_of_tensor(reading).over(rms, largest, offset, ratio) if reading is not None else 0.0
    harmless = is_normalised(chart) or read <= min(1.0, 0.5 * over) or reading is None
    evidence = {
        "rms": found.rms, "threshold_rms": rms, "largest": found.largest, "threshold_largest": largest,
        "mean_by_std": found.offset, "threshold_mean_by_std": offset, "scale_ratio": found.ratio,
        "threshold_ratio": ratio,
    }  # fmt: skip
    strength = strength_of(over) * (0.6 if norm_follows(chart) else 1.0)
    return Suspicion(
        "A1", say("unscaled inputs"), numbers_place(chart), evidence, 0.2 if harmless else strength, note=harmless,
        changes=[] if harmless else possible(standardised_inputs(chart.subject)),
    )  # fmt: skip


@FAULTS.add("A2", title="squashed inputs", source="doctor catalogue A2", demo='''
import torch
from sklearn.datasets import load_digits
x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
for name, data in (("x / 16", x.float() / 16), ("x / 16 / 255", x.float() / 16 / 255)):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    print(name, "outputs differ between examples by", net(data).std(0).mean().item())
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(200):
        sgd.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(data), y)
        loss.backward()
        sgd.step()
    print("    loss", round(loss.item(), 3))
''')  # fmt: skip
def squashed_inputs(chart: Chart, *, rms: Annotated[float, Range(0, 1)] = 0.05) -> Suspicion | None:
    """Inputs scaled twice are nearly zero, so all examples look the same to the network.

    Dividing by 255 twice, or standardising what was already divided by a large constant, leaves numbers of a few
    thousandths. The biases of the first layer then outweigh what the examples say, the outputs hardly differ from one
    example to the next, and gradients of the first weights are as small as the inputs.

    It shows as a root mean square of the inputs below 0.05 with features that do vary, and at the first step as outputs
    that differ between examples by next to nothing.

    A learning rate that is too low, and weights that begin too small, look alike. Multiply the inputs by one factor and
    change nothing else: where that alone mends it, this is the cause. A network that normalises first does not mind.

    Remove the second scaling; or standardise with the mean and standard deviation of the training examples.
    """
    scan = chart.scan
    if not 0 < scan.rms < rms or scan.spread <= 0:
        return None
    reading = first_reading(chart)
    own = scale_of_tensor(reading).rms if reading is not None else 1.0
    harmless = is_normalised(chart) or own >= rms
    evidence: dict[str, Any] = {"rms": scan.rms, "threshold": rms, "largest": scan.largest}
    if not harmless:
        with suppress(Unmeasured):
            evidence |= {"output_spread": chart.start.spread, "threshold_spread": 1e-3}
    changes = [] if harmless else possible(rescaled_inputs(chart.subject), standardised_inputs(chart.subject))
    return Suspicion(
        "A2", say("squashed inputs"), numbers_place(chart), evidence, 0.2 if harmless else strength_of(rms / scan.rms),
        note=harmless, changes=changes if chart.subject.recipe is None else changes[:1],
    )  # fmt: skip


@FAULTS.add("A3", title="missing values in the data", source="doctor catalogue A3", demo='''
import netwright as nw, torch
torch.manual_seed(0)
x = torch.randn(256, 4)
y = (x[:, 0] + x[:, 1] > 0).long()
x[17, 2] = float("nan")
net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
adam = torch.optim.Adam(net.parameters(), lr=0.01)
batches = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 256, 32)]
print(nw.examine(net, torch.nn.functional.cross_entropy, adam, batches, epochs=10))
''')  # fmt: skip
def missing_values(chart: Chart, *, share: Annotated[float, Range(0, 1)] = 0.05) -> Suspicion | None:
    """One missing number in a batch makes its loss, its gradients and then every weight of the network not a number.

    Missing values come as NaN, as infinities, or as a code such as -999 that stands far from every real value. A NaN
    spreads in one step to all weights. A code does not, but it outweighs the real values of its feature and ruins the
    mean and scale of a standardisation.

    NaN and infinities are counted exactly. A code shows as one extreme value that over 5 % of the examples share,
    farther from the rest than the rest is wide.

    A training that diverges ends in NaN too. The difference is where the first one stands: here it is in the input,
    before any step. A network that fills its gaps by itself is no fault.

    Drop those examples, or put the median of the training examples in the gaps and add a column that says where a gap
    was. Do the same at prediction.
    """
    try:
        scan = chart.scan
    except Unmeasured:
        scan = None
    rows = non_finite_targets(chart)
    if rows:
        evidence = {"non_finite_targets": len(rows), "examples": rows[:20], "threshold": 0}
        gone = possible(without_examples(chart.subject, rows, "without missing targets"))
        bears = chart.whole.finite
        return Suspicion("A3", say("missing values in the data"), say("targets"), evidence, 0.3 if bears else 1.0,
                         exact=not bears, note=bears, changes=gone, harm="" if bears else no_number())  # fmt: skip
    if scan is not None and scan.non_finite:
        evidence = {"non_finite": scan.non_finite, "threshold": 0, "examples": list(scan.non_finite_rows[:20]),
                    "features": list(scan.non_finite_features[:20])}  # fmt: skip
        bears = reads_finite(chart, scan.non_finite_rows[0])
        return Suspicion(
            "A3", say("missing values in the data"), say("inputs"), evidence, 0.3 if bears else 1.0, exact=not bears,
            note=bears, changes=possible(filled_inputs(chart.subject)), harm="" if bears else no_number(),
        )  # fmt: skip
    if scan is None or not scan.sentinels or scan.sentinels[0].share < share:
        return None
    spikes = [(spike.feature, spike.value) for spike in scan.sentinels]
    first = scan.sentinels[0]
    evidence = {"feature": first.feature, "value": first.value, "share": first.share, "threshold": share,
                "features": len(spikes)}  # fmt: skip
    where = say("inputs, feature {feature}", feature=first.feature)
    changes = possible(filled_inputs(chart.subject, spikes))
    strength = min(0.9, 0.5 + first.share)
    return Suspicion("A3", say("missing values in the data"), where, evidence, strength, changes=changes)


def no_number() -> str:
    return say("the first batch that holds one makes the loss, and with it every weight, not a number")


def non_finite_targets(chart: Chart) -> list[int]:
    """Places of examples with a target that is no number."""
    y = chart.subject.targets()
    if not y.is_floating_point():
        return []
    found: list[int] = (~y.reshape(len(y), -1).isfinite().all(1)).nonzero()[:, 0].tolist()
    return found


def reads_finite(chart: Chart, row: int) -> bool:
    """Whether the network fills the gaps of that example before its first weights, and its loss is a number."""
    first = 0
    for pair in chart.subject.batches:
        if row < first + len(pair):
            with chart.subject.live() as live, torch.no_grad(), tracing(live.model) as trace:
                loss = live.loss_on(pair)
            op = next((op for op in trace.ops if op.name in WEIGHTED), None)
            read = op.inputs[0] if op is not None and op.inputs else None
            whole = not isinstance(read, Tensor) or bool(torch.isfinite(read).all())
            return whole and bool(torch.isfinite(loss).all())
        first += len(pair)
    return False
