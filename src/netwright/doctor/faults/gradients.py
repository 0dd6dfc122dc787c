"""C4 and C5: gradients that vanish or explode from the last layer to the first."""

import itertools
import math
from statistics import median
from typing import Annotated

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.between import clipped, insert_norms, skips
from netwright.doctor.changes.signal import reinitialise, swap_activations
from netwright.doctor.chart import Chart
from netwright.doctor.gauges.slopes import ELEMENTWISE
from netwright.doctor.gauges.start import Layer
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

Positive = Annotated[float, Range(0, 1e12)]


@FAULTS.add(
    "C4", title="vanishing gradient", source="doctor catalogue C4; Hochreiter 1991; Glorot and Bengio 2010",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(256, 20), torch.randint(0, 2, (256,))
for activation in (nn.Sigmoid, nn.Tanh, nn.ReLU):
    layers = [part for _ in range(10) for part in (nn.Linear(20, 20), activation())]
    net = nn.Sequential(*layers, nn.Linear(20, 2))
    for layer in net[::2]:
        (nn.init.kaiming_normal_ if activation is nn.ReLU else nn.init.xavier_normal_)(layer.weight)
    nn.functional.cross_entropy(net(x), y).backward()
    first, last = (net[place].weight.grad.square().mean().sqrt().item() for place in (0, 20))
    print(f"{activation.__name__:8} gradient: first layer {first:.1e}, last {last:.1e}, ratio {first / last:.1e}")
""",
)  # fmt: skip
def vanishing(
    chart: Chart, *, ratio: Positive = 1e-4, mild: Positive = 3e-2, still: Positive = 1e-6, moves: Positive = 1e-4,
    behind: Positive = 0.05,
) -> Suspicion | None:  # fmt: skip
    """The gradient shrinks from layer to layer on its way back, so that the first layers hardly learn.

    Every layer multiplies it by its weights and by the slope of its activation. A sigmoid's slope is at most 0.25:
    ten layers leave a millionth. The last layers then learn on top of features that stay random.

    Two numbers count together: the gradient's size at the first layer by that at the last (below 1e-4), and the steps
    that come of it, |dw| / |w| (below 1e-6 in the first layer, above 1e-4 in the last). Adam divides by the
    gradient's own size, so a small gradient alone is no fault there.

    Exact zeros are dead units (C6) or frozen parameters (E2). If all layers starve alike, the learning rate is too low
    (D2). A straight line of logarithms over depth speaks for depth and activation, a step for one layer.

    Put ReLU or GELU with He's initialisation in place of sigmoid; add batch or layer norm; add skips; take fewer
    layers. Over time steps LSTM or GRU do the same.
    """
    start = chart.start
    layers = [layer for layer in start.profile if layer.name != "embedding"]
    factor = start.ratio
    if len(layers) < 3 or not math.isfinite(factor) or factor <= 0 or factor > mild:
        return None
    updates = chart.series.median_updates()
    first, last = updates.get(layers[0].weight, math.nan), updates.get(layers[-1].weight, math.nan)
    if not (math.isfinite(first) and math.isfinite(last)) or layers[0].weight not in updates:
        return None
    starved = first < still and last > moves
    lags = first < behind * last
    noise = factor < ratio and _sign_is_noise(start.agreement, layers)
    if not (starved or lags or noise):
        return None
    strength = 0.9 if factor < ratio and starved else 0.65 if lags and factor < 1e-2 else 0.45
    evidence = {
        "gradient_first_by_last": factor, "threshold": ratio, "update_first": first, "update_last": last,
        "update_threshold": still, "profile": [layer.gradient_rms for layer in layers][:6],
    }  # fmt: skip
    squashing = [
        op
        for op in chart.hidden
        if op.name in ELEMENTWISE and op.name not in ("relu", "leaky_relu", "gelu", "silu", "elu", "selu")
    ]
    changes = possible(
        swap_activations(chart, "relu", squashing) if squashing else None,
        insert_norms(chart),
        skips(chart),
        reinitialise(chart),
    )
    share = first / max(last, 1e-30)
    harm = say("the first layers hardly learn: their steps are {share:.0e} of the last layer's", share=share)
    return Suspicion(
        "C4", say("vanishing gradient"), _steepest(layers), evidence, strength, changes=changes, harm=harm
    )  # fmt: skip


def _sign_is_noise(agreement: dict[str, float], layers: list[Layer]) -> bool:
    """Whether two halves of the data disagree on the first layer's gradient while they agree on the last one's."""
    first, last = agreement.get(layers[0].weight, math.nan), agreement.get(layers[-1].weight, math.nan)
    return abs(first) < 0.05 and last > 0.3


def _steepest(layers: list[Layer]) -> str:
    """The layer at which most is lost or gained, or the first where the profile is a straight line."""
    logs = [math.log10(max(layer.gradient_rms, 1e-45)) for layer in layers]
    jumps = [abs(b - a) for a, b in itertools.pairwise(logs)]
    if not jumps:
        return layers[0].path
    top = max(range(len(jumps)), key=jumps.__getitem__)
    return layers[top + 1].path if jumps[top] > 3 * max(median(jumps), 0.1) and len(jumps) > 2 else layers[0].path


@FAULTS.add(
    "C5", title="exploding gradient", source="doctor catalogue C5; Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(256, 50), torch.randn(256, 1)
for gain in (1.0, 2.0, 4.0):
    layers = [part for _ in range(10) for part in (nn.Linear(50, 50), nn.ReLU())]
    net = nn.Sequential(*layers, nn.Linear(50, 1))
    for layer in net[::2]:
        nn.init.normal_(layer.weight, 0, gain * (2 / 50) ** 0.5)
    (net(x) - y).square().mean().backward()
    norm = sum(p.grad.square().sum() for p in net.parameters()).sqrt().item()
    print(f"{gain} x He's weights: length of the gradient {norm:.1e}")
""",
)  # fmt: skip
def exploding(
    chart: Chart, *, ratio: Positive = 1e3, growth: Positive = 2.0, layers: Annotated[int, Range(2, 1000)] = 4
) -> Suspicion | None:
    """The gradient, or the signal, grows by a factor in every layer, until one step throws the weights anywhere.

    With weights too large by a factor g, both grow as g to the power of the depth. The first step is then measured by
    the loudest layer, and either the loss jumps or the learning rate has to be so small that the others stand still.

    It is measured before the first step: the gradient at the first layer over 1,000 times that at the last, a signal
    that doubles (its deviation) in each of four layers and more, or numbers that are not finite.

    If step 0 is healthy and numbers grow later, the learning rate is too high (D1). If only some batches have long
    gradients, while the median is fine, look at those examples (D9).

    Draw weights with He's or Glorot's initialisation; add norms; scale the ends of residual branches down.
    Clipping the gradient's length at 1 is a guard, not a cure. In recurrent networks: orthogonal weights and clipping.
    """
    start = chart.start
    rows = [layer for layer in start.profile if layer.name != "embedding"]
    factor = start.ratio
    stds = [layer.pre_std for layer in rows if not layer.normed]
    steps = [b / a if a > 0 else math.inf for a, b in itertools.pairwise(stds)]
    run = longest = 0
    for step in steps:
        run = run + 1 if step > growth else 0
        longest = max(longest, run)
    backward = math.isfinite(factor) and factor > ratio
    overflows = not start.finite and (longest > 0 or start.largest > 1e3)
    if not (backward or overflows or longest >= layers - 1):  # from small numbers a division or a root makes NaN (D10)
        return None
    evidence = {
        "gradient_first_by_last": factor,
        "threshold": ratio,
        "layers_that_double": longest + (longest > 0),
        "finite": start.finite,
        "profile": [layer.gradient_rms for layer in rows][:6],
    }
    strength = 0.9 if not start.finite or factor > 1e6 else 0.75
    changes = possible(reinitialise(chart), insert_norms(chart, "layer_norm"), clipped(chart))
    return Suspicion(
        "C5",
        say("exploding gradient"),
        _steepest(rows) if rows else "",
        evidence,
        strength,
        changes=changes,
        harm=say("one step of a size that suits the last layer throws the first one far away"),
    )
