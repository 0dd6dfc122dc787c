"""D4 to D6: the optimizer and its settings, the batch size, the number of updates."""

import math
from typing import Annotated, Any

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.steps import (
    batch_of,
    batch_size,
    default_settings,
    group_setting,
    longer,
    probed_optimizer,
    rate_times,
    rate_to,
    setting,
    usual_length,
)
from netwright.doctor.chart import Chart
from netwright.doctor.faults.rates import rates_of
from netwright.doctor.gauges.lag import further_gain, lags
from netwright.doctor.gauges.noise import noise
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

Share = Annotated[float, Range(0, 1)]
OWN_RATE = {"adadelta": 1.0, "adagrad": 0.01}
"""Rules that divide by all they have seen, and the rate they were made for: 1e-3 is far too small."""


def kind_of(chart: Chart) -> str:
    """The optimizer's name in small letters."""
    if chart.subject.recipe is not None:
        return str(setting(chart.subject, "optimizer", "name"))
    return type(getattr(chart.subject, "optimizer", None)).__name__.lower()


def _betas(chart: Chart) -> tuple[float, float]:
    if chart.subject.recipe is not None:
        found: Any = (setting(chart.subject, "optimizer", "beta1"), setting(chart.subject, "optimizer", "beta2"))
    else:
        found = group_setting(chart.subject, "betas") or (None, None)
    first, second = (float(one) if isinstance(one, (int, float)) else math.nan for one in found[:2])
    return first, second


def odd_settings(chart: Chart, momentum: float, eps: float) -> dict[str, float]:
    """The optimizer's settings that are far from where it works, by name."""
    found: dict[str, float] = {}
    speed, tiny = group_setting(chart.subject, "momentum"), group_setting(chart.subject, "eps")
    first, second = _betas(chart)
    if isinstance(speed, (int, float)) and speed >= momentum:
        found["momentum"] = float(speed)
    scaled = kind_of(chart) in ("adam", "adamw", "nadam", "radam", "adamax", "rmsprop")
    if scaled and isinstance(tiny, (int, float)) and (tiny >= eps or tiny < 1e-14):
        found["eps"] = float(tiny)
    if first >= momentum:
        found["beta1"] = first
    if second < 0.9:
        found["beta2"] = second
    return found


@FAULTS.add(
    "D4", title="unsuitable optimizer or setting", source="doctor catalogue D4; Zeiler 2012, arXiv:1212.5701",
    demo="""
import torch

rules = {
    "SGD, nearly too fast": lambda w: torch.optim.SGD([w], 1.9e-3),
    "SGD with momentum 0.9": lambda w: torch.optim.SGD([w], 1.9e-3, momentum=0.9),
    "Adam": lambda w: torch.optim.Adam([w], 0.05),
    "Adadelta at the rate of Adam": lambda w: torch.optim.Adadelta([w], 1e-3),
}
for name, rule in rules.items():
    w = torch.tensor([1.0, 1.0], requires_grad=True)
    optimizer = rule(w)
    for step in range(300):
        optimizer.zero_grad()
        (500 * w[0] ** 2 + 0.5 * w[1] ** 2).backward()
        optimizer.step()
    print(f"{name}: {[round(v, 4) for v in w.tolist()]}")
""",
)  # fmt: skip
def unsuitable_optimizer(
    chart: Chart, *, momentum: Share = 0.98, eps: Annotated[float, Range(0)] = 1e-3
) -> Suspicion | None:
    """The update rule, or one of its settings, does not suit the problem, whatever the rate.

    Adadelta and Adagrad divide by everything they have seen; at the rate that Adam likes, 1e-3, they hardly move.
    Momentum 0.999 remembers a thousand steps and overshoots for a thousand. A large eps in Adam swallows the gradient;
    a beta2 of 0.5 lets single batches throw it. Plain SGD crawls through narrow valleys.

    Measured: the settings themselves, the updates |dw| / |w| beside 1e-6, and the same network under Adam at a rate
    from a range test of its own.

    Tune the rate of both rules before one is blamed: nearly always it was the rate (D1, D2). Small gradients are no
    sign with Adam, which divides them away. Badly scaled inputs make the valley narrow: standardise them first (A1).

    Put the setting back to its usual value; then Adam or AdamW at 1e-3, or SGD with momentum 0.9.
    """
    kind, subject = kind_of(chart), chart.subject
    odd = odd_settings(chart, momentum, eps)
    if kind in OWN_RATE and chart.whole.finite:
        found = rates_of(chart)
        rate = group_setting(subject, "lr")
        if (
            isinstance(rate, (int, float))
            and rate < 0.1 * OWN_RATE[kind]
            and found is not None
            and rate < found.steep / 10
        ):
            evidence = {"optimizer": kind, "rate": float(rate), "usual_rate": OWN_RATE[kind], "steep_rate": found.steep}
            changes = possible(probed_optimizer(subject, "adam"), rate_to(subject, OWN_RATE[kind]))
            return Suspicion("D4", say("unsuitable optimizer or setting"), "optimizer", evidence, 0.95, changes=changes)
    if not odd and not lags(chart):
        return None
    names = [{"beta1": "betas", "beta2": "betas"}.get(name, name) for name in odd]
    usual = default_settings(subject, *dict.fromkeys(names)) if odd else None
    evidence = {"optimizer": kind, **odd, "largest_momentum": momentum, "largest_eps": eps}
    if not odd:
        evidence = {"optimizer": kind, "median_q": chart.series.median_q}
        if not math.isfinite(chart.series.median_q):
            del evidence["median_q"]
    plain = kind == "sgd" and not group_setting(subject, "momentum")
    strength = 0.75 if odd else 0.3 if plain and chart.series.median_q > 0.5 else 0.1
    other = "momentum" if kind in ("adam", "adamw") and not odd else "adam"
    changes = possible(usual, probed_optimizer(subject, other))
    return Suspicion("D4", say("unsuitable optimizer or setting"), "optimizer", evidence, strength, changes=changes)


@FAULTS.add(
    "D5", title="unsuitable batch size", source="doctor catalogue D5; McCandlish et al. 2018, arXiv:1812.06162",
    demo="""
import torch

torch.manual_seed(0)
x = torch.randn(4096, 20)
y = x @ torch.randn(20) + 0.5 * torch.randn(4096)
for size in (4096, 256, 32, 2):
    w = torch.zeros(20, requires_grad=True)
    optimizer = torch.optim.SGD([w], 0.02)
    for epoch in range(3):
        for rows in torch.randperm(4096).split(size):
            optimizer.zero_grad()
            (x[rows] @ w - y[rows]).square().mean().backward()
            optimizer.step()
    loss = (x @ w - y).square().mean().item()
    print(f"batches of {size}: {3 * 4096 // size} updates in 3 epochs, loss {loss:.3f} (0.25 is all that noise leaves)")
""",
)  # fmt: skip
def unsuitable_batch(
    chart: Chart, *, updates: Annotated[int, Range(1)] = 500, scale: Annotated[float, Range(1)] = 50.0
) -> Suspicion | None:
    """So large a batch that the epochs hold too few updates, or so small a one that gradients are mostly noise.

    A step costs as much as its batch is long. Above the noise scale, more examples hardly better the gradient, and a
    fixed number of epochs makes fewer steps. Far below it, single steps point anywhere, and batch norm has too little
    to average.

    Measured: updates in the whole training (fewer than 500), batches an epoch, whether the loss is still falling at
    the end; for small batches the noise scale tr(Sigma) / |G|^2 as a multiple of the batch (more than 50) and the
    cosine between gradients of two batches.

    With a rate too low (D2), longer steps help at equal updates; here only more updates do. With too few epochs (D6),
    batches are small and the epochs are few. Batch size 1 with layer norm and a small rate is fine.

    Halve or double towards the noise scale; move the rate along, linearly for SGD, by the square root for Adam.
    """
    whole, subject, size = chart.whole, chart.subject, batch_of(chart.subject)
    if not whole.finite or not lags(chart):
        return None
    if size >= 128 and subject.epoch <= 16 and subject.total and whole.steps < updates and whole.complete:
        gain = further_gain(whole)
        scale_of_loss = whole.base if whole.base > 0 else abs(whole.first)
        if gain > 0.02 * scale_of_loss or whole.last > 0.3 * scale_of_loss:
            evidence: dict[str, Any] = {
                "batch": size,
                "updates": whole.steps,
                "threshold": updates,
                "batches_an_epoch": subject.epoch,
            }
            changes = possible(batch_size(subject, 32), batch_size(subject, max(1, size // 4)))
            return Suspicion("D5", say("unsuitable batch size"), "data.batch_size", evidence, 0.65, changes=changes)
    if size > 8:
        return None
    found = noise(subject)
    if found.scale < scale * size and found.cosine > 0.1:
        return None
    evidence = {"batch": size, "noise_scale": min(found.scale, 1e9), "threshold": scale * size, "cosine": found.cosine}
    changes = possible(batch_size(subject, 32), rate_times(subject, 0.2))
    return Suspicion("D5", say("unsuitable batch size"), "data.batch_size", evidence, 0.4, changes=changes)


@FAULTS.add(
    "D6", title="too few updates", source="doctor catalogue D6",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x = torch.rand(512, 2) * 4 - 2
y = (x[:, :1] * x[:, 1:] > 0).float()
net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(net.parameters(), 3e-3)
for step in range(1, 801):
    optimizer.zero_grad()
    loss = nn.functional.binary_cross_entropy_with_logits(net(x), y)
    loss.backward()
    optimizer.step()
    if step in (25, 50, 100, 200, 400, 800):
        print(f"after {step} updates: loss {loss.item():.3f}")
""",
)  # fmt: skip
def too_few_updates(chart: Chart, *, gain: Share = 0.05) -> Suspicion | None:
    """The training ends while the loss is still falling at a good pace.

    Nothing is wrong with the steps: they go down, there are only too few of them. What counts is the number of
    updates, epochs times batches; 10 epochs of 20 batches are 200 updates.

    Measured: a power law through the last two thirds of the loss predicts a further fall of at least 5 percent of the
    loss of constant outputs in as many steps again, the steps are stable, and the score on validation examples does
    not fall.

    With a rate too low (D2) the same happens, and more epochs are the dear cure; the range test decides. With large
    batches (D5) the epochs hold few updates. When validation gets worse while the loss falls, that is overfitting
    (F1): stop instead.

    Train 2 to 10 times as long, or let a one-cycle schedule use a rate near the highest stable one. Say what it costs.
    """
    whole, subject = chart.whole, chart.subject
    if not whole.finite or not whole.total or not whole.complete or not lags(chart):
        return None
    base = whole.base if math.isfinite(whole.base) and whole.base > 0 else abs(whole.first)
    further = further_gain(whole)
    if further < gain * base and not (whole.steps < 100 and whole.last > 0.5 * base):
        return None
    held = [point[3] for point in whole.curve if math.isfinite(point[3])]
    if held and max(held) - held[-1] > 0.05:
        return None
    evidence: dict[str, Any] = {
        "updates": whole.steps,
        "predicted_further_fall": further,
        "threshold": gain * base,
        "last_loss": whole.last,
    }
    steps = max(1, whole.steps)
    found = rates_of(chart) if steps >= 20 else None
    slow = found is not None and found.current < found.steep / 30
    faster = rate_to(subject, found.advised) if found is not None else None
    changes = possible(usual_length(subject), longer(subject, 4), longer(subject, 10), faster)
    return Suspicion("D6", say("too few updates"), "training.epochs", evidence, 0.3 if slow else 0.6, changes=changes)
