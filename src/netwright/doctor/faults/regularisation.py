"""D7: penalties that pull harder than the data."""

from typing import Annotated, Any

from torch import nn

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.penalties import no_decay, no_dropout, no_penalty, smoothing
from netwright.doctor.changes.steps import group_setting, setting
from netwright.doctor.chart import Chart
from netwright.doctor.gauges.lag import lags
from netwright.doctor.gauges.pull import pull_on_weights
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

Share = Annotated[float, Range(0, 1)]


def label_smoothing(chart: Chart) -> float:
    """The label smoothing of the loss, 0 where there is none."""
    found: Any = setting(chart.subject, "loss", "label_smoothing")
    loss = getattr(chart.subject, "loss", None)
    if found is None and isinstance(loss, nn.Module):
        found = getattr(loss, "label_smoothing", 0.0)
    return float(found) if isinstance(found, (int, float)) else 0.0


@FAULTS.add(
    "D7", title="too much regularisation", source="doctor catalogue D7; Loshchilov and Hutter 2019, arXiv:1711.05101",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(500, 10)
y = (x[:, 0] * x[:, 1] > 0).long()
for decay in (0.0, 1e-3, 1e-1, 1.0):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2, weight_decay=decay)
    for step in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    right = (net(x).argmax(1) == y).float().mean().item()
    print(f"weight decay {decay:g}: norm of the first weights {net[0].weight.norm().item():.2f}, {right:.0%} right")
""",
)  # fmt: skip
def too_much_regularisation(
    chart: Chart, *, pull: Annotated[float, Range(0)] = 1.0, shrunk: Share = 0.1, smooth: Share = 0.3
) -> Suspicion | None:
    """Weight decay, a penalty or label smoothing pulls harder on the weights than the data do.

    Weight decay draws every weight towards 0 at each step, a penalty in the loss does the same. Where that pull is
    stronger than the gradient of the data, the weights shrink until the network answers every example alike.

    Measured after a short training: |weight decay times w| beside the gradient (more than 1), the weights' norm beside
    that at the start (below 10 percent), the gradient that a penalty sends past the outputs beside the one through
    them, label smoothing above 0.3. Typical: a few examples cannot be learnt by heart with the penalties, and can
    without.

    A network too small (C10) fails without penalties, too; with a rate too low (D2) the weights keep their size. Near
    a minimum the two pulls balance, so a ratio close to 1 alone proves nothing.

    Divide by 10, or set it to 0 and add it back later; prefer AdamW, whose decay does not mix with the gradient; leave
    biases and norms out.
    """
    subject = chart.subject
    smoothed = label_smoothing(chart)
    coupled = [setting(subject, "training", name) for name in ("l1", "l2")]
    penalised = [float(value) for value in coupled if isinstance(value, (int, float)) and value]
    if not lags(chart):
        return None
    found = pull_on_weights(subject)
    evidence: dict[str, Any] = {}
    strength = 0.0
    if found.largest and (found.decay > 0.5 * pull or found.shrunk < 0.5):
        evidence |= {"weight_decay": found.largest, "pull_by_gradient": found.decay, "threshold": pull,
                     "weights_by_start": found.shrunk, "least": shrunk}  # fmt: skip
        strength = 0.85 if found.decay > pull or found.shrunk < shrunk else 0.6
    penalty = found.penalty > 0.5 * pull or (found.penalty > 0.01 and found.shrunk < 0.5)  # both are 0 after a collapse
    if penalty:
        evidence |= {
            "penalty_by_gradient": found.penalty,
            "threshold": pull,
            "weights_by_start": found.shrunk,
            "least": shrunk,
        }
        strength = max(strength, 0.85 if found.penalty > pull or found.shrunk < shrunk else 0.6)
    if penalised and max(penalised) >= 1e-3:
        evidence |= {"largest_penalty": max(penalised), "threshold_of_penalty": 1e-2}
        strength = max(strength, 0.8 if max(penalised) >= 1e-2 else 0.5)
    if smoothed > smooth:
        evidence |= {"label_smoothing": smoothed, "threshold_of_smoothing": smooth}
        strength = max(strength, 0.6)
    if not strength:
        if not (isinstance(group_setting(subject, "weight_decay"), (int, float)) and found.largest >= 1e-2):
            return None
        evidence, strength = {"weight_decay": found.largest, "pull_by_gradient": found.decay, "threshold": pull}, 0.25
    decay = no_decay(subject) if found.largest else None
    past = no_penalty(subject) if penalty or penalised else None
    even = smoothing(subject) if smoothed > smooth else None
    order = [past, decay, even] if found.penalty > found.decay or penalised else [decay, past, even]
    changes = possible(*order, no_decay(subject, 0.1) if found.largest else None, no_dropout(subject))
    place = "optimizer.weight_decay" if order[0] is decay and decay is not None else "loss"
    return Suspicion("D7", say("too much regularisation"), place, evidence, strength, changes=changes)
