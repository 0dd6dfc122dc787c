"""B3 and B4: a softmax along the wrong axis, and outputs that cannot reach what they should."""

import math
from typing import Annotated

from torch import Tensor

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.output import head_of_units, other_loss, plain_head, right_axis
from netwright.doctor.chart import Chart
from netwright.doctor.closed_forms import (
    bounded_binary_cross_entropy,
    bounded_cross_entropy,
    unreachable_squared_error,
)
from netwright.doctor.faults.last_activations import NEAR, behind
from netwright.doctor.gauges.contract import Contract, argument, contract_of
from netwright.doctor.subject import Change, possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say


@FAULTS.add(
    "B3", title="softmax over one unit or over the wrong axis", source="doctor catalogue B3; Bridle 1990",
    demo='''
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(300, 4)
y = (x[:, :1] > 0).float()
for head in (nn.Softmax(dim=1), nn.Sigmoid()):
    net = nn.Sequential(nn.Linear(4, 1), head)
    loss = nn.functional.mse_loss(net(x), y)
    loss.backward()
    outputs = net(x)
    print(type(head).__name__, "outputs", outputs.min().item(), "to", outputs.max().item())
    print("  gradient of the weights", net[0].weight.grad.abs().max().item())
''',
)  # fmt: skip
def softmax_axis(chart: Chart, *, tolerance: Annotated[float, Range(0, 0.01)] = NEAR) -> Suspicion | None:
    """A softmax over a single unit is 1 for every example; over the batch axis it makes examples compete.

    The softmax divides each exponential by their sum along one axis. With one unit the sum is the unit itself: the
    output is exactly 1, its gradient exactly 0, and nothing before it can learn. Accuracy is the share of the positive
    class. Along axis 0 the examples of a batch share one probability mass: each answer depends on which others happen
    to be in the batch, and the last, smaller batch answers on another scale.

    It shows exactly: outputs that do not vary while the values before the softmax do; sums of one along axis 0 and not
    along the classes. A dead network also answers the same for all, but there the values before the softmax are
    constant as well.

    For two classes use one unit with BCEWithLogitsLoss (a sigmoid when showing probabilities), or two units with
    CrossEntropyLoss. For more classes give each its unit, and name the axis: dim=-1.
    """
    found = contract_of(chart)
    for op in [*chart.head, *found.ops]:
        given = argument(op, 0, "input")
        if op.name not in ("softmax", "log_softmax", "cross_entropy") or given is None or len(given) < 2:
            continue
        where = op.where if op in chart.head else say("loss")
        name = say("softmax over one unit or over the wrong axis")
        if given.dim() > 1 and given.shape[1] == 1 and given.numel() == len(given):
            evidence = {"units": 1, "spread_before": float(given.std()), "spread_after": 0.0, "threshold": 1e-7}
            return Suspicion(
                "B3", name, where, evidence, 1.0, exact=True,
                harm=say("the output is the same for every example and passes no gradient"),
                changes=_one_unit(chart))  # fmt: skip
        if op.name == "cross_entropy" or not isinstance(op.output, Tensor):
            continue
        shares = op.output.exp() if op.name == "log_softmax" else op.output
        mixed = float((shares.sum(0) - 1).abs().max())
        if mixed <= tolerance and (shares.dim() == 1 or float((shares.sum(-1) - 1).abs().max()) > 10 * tolerance):
            evidence = {"largest_error_of_sums_over_the_batch": mixed, "threshold": tolerance, "axis": 0}
            changes = _one_unit(chart) if shares.dim() == 1 else possible(
                right_axis(chart, [op]) if op in chart.head else other_loss(chart, "cross_entropy"))  # fmt: skip
            return Suspicion("B3", name, where, evidence, 1.0, exact=True, changes=changes,
                             harm=say("examples of a batch compete: one's answer depends on the others"))  # fmt: skip
    return None


def _one_unit(chart: Chart) -> list[Change]:
    """One unit judged by a sigmoid; for more than two classes that is only the first half of the cure (B7)."""
    loss = "mse" if chart.task.kind == "numbers" else "bce_with_logits"
    if chart.task.kind == "classes" and chart.task.count > 2:
        return possible(head_of_units(chart, chart.task.count))
    return possible(plain_head(chart, loss) if chart.head else other_loss(chart, loss))


@FAULTS.add(
    "B4", title="outputs that cannot reach the targets", source="doctor catalogue B4; Bishop 1995, section 6.6",
    demo='''
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(300, 3)
y = x.sum(1, keepdim=True)
for head in (nn.ReLU(), nn.Sigmoid(), nn.Identity()):
    net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1), head)
    search = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(150):
        search.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        search.step()
    print(f"{type(head).__name__}: loss {loss.item():.3f}, outputs {net(x).min():.2f} to {net(x).max():.2f}")
''',
)  # fmt: skip
def unreachable_targets(chart: Chart, *, share: Annotated[float, Range(0, 1)] = 0.0) -> Suspicion | None:
    """The last activation keeps the outputs in a range in which some targets, or needed scores, do not lie.

    A ReLU gives no negative number, a sigmoid nothing outside 0..1, a tanh nothing outside -1..1. Where a target lies
    beyond, the best the network can do is to stand at the end of its range, where the slope is nearly or exactly zero.
    Cross-entropy has no targets to reach, but it needs scores of both signs: behind a ReLU, scores that should fall
    stop at zero, and units whose score is negative get no gradient.

    It shows as residuals of one sign only and a loss stuck at the clipping distance, even on a few examples that any
    network learns by heart. Targets of another scale also start with a large loss, but linear outputs do reach them.

    Leave the last layer linear for numbers; for targets of a known range rescale the targets into the activation's
    range; for classes hand the loss plain scores.
    """
    found = contract_of(chart)
    low, high = found.reach
    if not (math.isfinite(low) or math.isfinite(high)):
        return None
    if found.kind in ("cross_entropy", "binary_cross_entropy_with_logits"):
        return _bounded_scores(chart, found)
    wanted = found.targets
    if not _compares(found) or found.task.kind not in ("numbers", "classes", "labels") or wanted.numel() == 0:
        return None
    values = wanted.double()
    below, above = values < low - 1e-4 * max(1.0, abs(low)), values > high + 1e-4 * max(1.0, abs(high))
    outside = (below | above).double().mean().item()
    if outside <= share:
        return None
    floor = unreachable_squared_error(values, low, high)
    spread = float(values.var(correction=0))
    evidence = {"lowest_output": low, "highest_output": high, "lowest_target": float(values.min()),
                "highest_target": float(values.max()), "share_outside": outside, "threshold": share,
                "unreachable_error": floor}  # fmt: skip
    strength = min(0.95, max(0.1, 2 * math.sqrt(floor / spread) if spread else 0.9))
    return Suspicion("B4", say("outputs that cannot reach the targets"), behind(chart), evidence, strength,
                     changes=possible(plain_head(chart)))  # fmt: skip


def _compares(found: Contract) -> bool:
    """Whether the loss compares outputs with targets of the same meaning."""
    return found.kind in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss") and not (
        found.task.kind == "classes" and found.task.form == "index" and found.outputs.numel() != found.targets.numel()
    )


def _bounded_scores(chart: Chart, found: Contract) -> Suspicion | None:
    """Scores for cross-entropy that an activation keeps in a range: ReLU, tanh, clipped."""
    low, high = found.reach
    classes = found.outputs.shape[1] if found.outputs.dim() > 1 else 1
    if found.bounded(0, 1):
        return None  # B1
    if found.kind == "cross_entropy":
        if classes < 2 or not any(op.name in BOUNDS for op in chart.head):
            return None
        floor = bounded_cross_entropy(classes, low, high)[0] if math.isfinite(high - low) else 0.0
    else:
        ones = float((found.targets > 0.5).double().mean())
        floor = bounded_binary_cross_entropy(ones, low, high)
    if floor < 0.02 and low < -1:
        return None  # scores clipped far out, as a guard
    zero = float((found.outputs <= low + 1e-6).double().mean()) if math.isfinite(low) else 0.0
    evidence = {"lowest_output": low, "highest_output": high, "floor": floor, "share_at_the_lower_end": zero}
    strength = min(0.9, 0.35 + floor)
    return Suspicion("B4", say("outputs that cannot reach the targets"), behind(chart), evidence, strength,
                     changes=possible(plain_head(chart)))  # fmt: skip


BOUNDS = ("relu", "relu6", "tanh", "hardtanh", "softsign", "sigmoid", "hardsigmoid", "softplus", "exp", "threshold",
          "logsigmoid", "elu", "selu", "softmax")  # fmt: skip
