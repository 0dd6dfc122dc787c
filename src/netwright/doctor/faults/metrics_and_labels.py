"""B12 and A15: a metric that does not measure the task, and labels written in another form than the loss reads."""

import math
from typing import Annotated

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.output import other_loss, recoded
from netwright.doctor.chart import Chart
from netwright.doctor.gauges.contract import Contract, contract_of
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


@FAULTS.add(
    "B12", title="a metric that does not measure the task", source="doctor catalogue B12; Humbatova et al. 2020",
    demo='''
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(500, 3)
y = (x.sum(1, keepdim=True) > 0).float()
net = nn.Linear(3, 1)
search = torch.optim.Adam(net.parameters(), 5e-2)
for step in range(101):
    search.zero_grad()
    z = net(x)
    loss = nn.functional.binary_cross_entropy_with_logits(z, y)
    loss.backward(); search.step()
    if step % 50 == 0:
        wrong = (z.argmax(1) == y[:, 0]).float().mean()
        right = ((z > 0).float() == y).float().mean()
        print(f"step {step}: loss {loss.item():.3f}, argmax of one unit {wrong:.2f}, threshold at 0 {right:.2f}")
''',
)  # fmt: skip
def metric(
    chart: Chart, *, fall: Annotated[float, Range(0, 1)] = 0.5, still: Annotated[float, Range(0, 1)] = 0.01
) -> Suspicion | None:
    """The loss falls well below that of constant answers, and the number that is watched does not move.

    The argmax of a single unit is always 0: such an accuracy is the share of class 0, whatever the network learnt.
    Scores compared with one half instead of zero (or probabilities with zero) shift the boundary. Accuracy of numbers
    counts exact hits, which hardly ever happen. A metric taken in training mode has dropout in it. Shapes (N, 1) and
    (N,) compare N x N answers.

    It shows as a loss that falls by half below the best constant one while the metric stays within one point, or
    as a metric that differs from the same one computed anew. With rare classes the accuracy may also stand still while
    the loss falls to the entropy of the shares, but no further.

    Nothing has to be trained again: compute the metric in evaluation mode, on equal shapes, with the threshold that
    belongs to the outputs: 0 for scores, 0.5 for probabilities, argmax for two units or more; for numbers the absolute
    error or R2.
    """
    found = contract_of(chart)
    whole = chart.whole
    curve = [point for point in whole.curve if math.isfinite(point[1]) and math.isfinite(point[2])]
    if found.task.kind != "classes" or len(curve) < 4 or not whole.finite or not whole.base > 1e-6:
        return None
    loss, skills = curve[-1][1], [point[2] for point in curve[1:]]
    if loss > fall * whole.base or max(skills) - min(skills) > still or max(skills) > 0.05:
        return None
    evidence = {"loss": loss, "constant_loss": whole.base, "threshold": fall, "metric_moved": max(skills) - min(skills)}
    return Suspicion("B12", say("a metric that does not measure the task"), say("metric"), evidence, 0.5, note=True)


@FAULTS.add(
    "A15", title="labels in another form than the loss reads", source="doctor catalogue A15; PyTorch documentation",
    demo='''
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(300, 4)
ones = (x.sum(1, keepdim=True) > 0).float()
for name, y in (("0 and 1", ones), ("-1 and 1", 2 * ones - 1), ("1 and 2", ones + 1)):
    net = nn.Linear(4, 1)
    search = torch.optim.SGD(net.parameters(), 0.5)
    for _ in range(120):
        search.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(net(x), y)
        loss.backward(); search.step()
    print(f"labels {name}: loss {loss.item():.2f}, accuracy {((net(x) > 0) == (ones > 0)).float().mean():.2f}")
''',
)  # fmt: skip
def label_encoding(chart: Chart) -> Suspicion | None:
    """The labels are right but written in a form that the loss reads as something else.

    Binary cross-entropy wants 0 and 1 (or a probability between): with -1 and 1, or class numbers above 1, it has no
    lower end and rewards outputs that grow for ever. Hinge and soft-margin losses want -1 and 1: with 0 the examples
    of that class count for nothing or teach no direction. Class numbers run from 0 to K - 1 as whole numbers; counted
    from 1 they need an extra unit or make torch stop. Shares cast to whole numbers all become 0.

    It shows in the label histogram beside the loss: range, type, number of distinct values. It is exact and needs no
    training. Rare classes that happen to be missing also leave holes in the numbers, but no value the loss cannot read.

    Recode before training: subtract the smallest class number, write 0 and 1 (or -1 and 1) as the loss wants, and check
    that every class still has its examples afterwards.
    """
    found = contract_of(chart)
    values = chart.subject.targets()
    if values.numel() == 0 or chart.subject.recipe is not None:
        return None
    seen = values.reshape(-1).unique()
    low, high = float(seen.min()), float(seen.max())
    evidence = {"lowest": low, "highest": high, "distinct": len(seen), "loss": found.kind}
    title = say("labels in another form than the loss reads")
    ids = len(seen) > 2 and low >= 0 and bool((seen == seen.round()).all())  # classes for one unit: B7
    if found.kind in BINARY and (low < -1e-6 or high > 1 + 1e-6) and not (ids and found.task.count == 1):
        return Suspicion("A15", title, say("targets"), {**evidence, "wanted": "0..1"}, 1.0, exact=True,
                         harm=say("the loss has no lower end for labels outside 0..1: outputs grow for ever"),
                         changes=possible(recoded(chart, 0.0, 1.0) if len(seen) == 2 else None,
                                      other_loss(chart, "mse") if len(seen) > 2 else None))  # fmt: skip
    if _zeros_for_signs(found, low, len(seen)):
        return Suspicion("A15", title, say("targets"), {**evidence, "wanted": "-1, 1"}, 1.0, exact=True,
                         harm=say("examples labelled 0 pull no output in any direction"),
                         changes=possible(recoded(chart, -1.0, 1.0)))  # fmt: skip
    if len(seen) == 1 and len(values) >= 8 and found.reads_targets() and found.task.kind in ("classes", "numbers"):
        return Suspicion("A15", title, say("targets"), evidence, 1.0, exact=True,
                         harm=say("all labels are equal: there is nothing to learn"))  # fmt: skip
    if found.kind == "cross_entropy" and found.task.form == "index" and low >= 1 and len(seen) == high - low + 1:
        return Suspicion("A15", title, say("targets"), {**evidence, "units": found.task.count}, 0.2, note=True)
    return None


def _zeros_for_signs(found: Contract, low: float, distinct: int) -> bool:
    """Whether a loss of signs gets 0 and 1; a hinge written by hand shows it by a slope that is zero for the zeros."""
    if distinct != 2 or low != 0:
        return False
    if found.judge is not None:
        return found.judge.name in ("soft_margin_loss", "hinge_embedding_loss")
    if not found.plain or found.task.form != "binary":
        return False
    zeros = (found.targets.reshape(-1) == 0).nonzero().reshape(-1)
    made = found.outputs.detach() * 0 + 0.3
    moved = made.clone()
    moved.reshape(-1)[zeros] = -0.3
    ones = made.clone()
    ones.reshape(-1)[(found.targets.reshape(-1) != 0).nonzero().reshape(-1)] = -0.3
    base = found.ask(made)
    return math.isfinite(base) and abs(found.ask(moved) - base) < 1e-9 and found.ask(ones) > base + 1e-3
