"""C1 to C3: weights that begin alike, too large or too small."""

import math
from typing import Annotated

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.between import insert_norms
from netwright.doctor.changes.signal import reinitialise, smaller_head, swap_activations
from netwright.doctor.chart import Chart, named
from netwright.doctor.gauges.start import Layer, Start
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

SQUASHING = ("tanh", "sigmoid", "hardtanh", "hardsigmoid", "softsign")
Share = Annotated[float, Range(0, 1)]
Times = Annotated[float, Range(0, 1e9)]


@FAULTS.add(
    "C1", title="units that begin alike", source="doctor catalogue C1; Goodfellow et al. 2016, Deep Learning, 8.4",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(200, 5), torch.randn(200, 1)
net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
for p in net.parameters():
    nn.init.constant_(p, 0.1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(200):
    optimizer.zero_grad()
    (net(x) - y).square().mean().backward()
    optimizer.step()
rank = torch.linalg.matrix_rank(net[0].weight)
print("after 200 steps the 8 units are still one:", net[0].weight[:, 0].tolist(), "rank", rank.item())
""",
)  # fmt: skip
def units_alike(chart: Chart, *, share: Share = 0.5) -> Suspicion | None:
    """Units of a layer that begin with the same weights get the same gradient and stay copies of each other for ever.

    A layer of a hundred such units computes no more than one. If all weights are zero, even the gradient is zero
    behind the first step, and only the last bias learns.

    It shows before the first step and after four: rows of a weight are equal, and so are the rows of its gradient (to
    1e-6). The threshold is half of a hidden layer's rows.

    It is not the same as a layer of zeros in its place. A last layer, or the last layer of a residual branch, may
    begin at zero: its rows get different gradients and part. Zero biases are harmless too. What looks alike
    from outside is a dead network (C6): there the weights differ and the gradients are zero.

    Draw the weights at random: He's initialisation for ReLU and its kind, Glorot's for tanh and sigmoid, orthogonal
    weights from step to step in recurrent layers. Never fill weights with one number.
    """
    start = chart.start
    head = _head(start)
    hidden = [layer for layer in start.layers if layer.weight and layer.weight != head and layer.width > 1]
    names = [name for name in start.twins if name != head] if hidden else []
    alike = {name: start.twins[name] for name in names if start.twins[name] >= share}
    rows = {
        name: start.equal_rows[name] for name in names if start.equal_rows[name] >= share and name not in start.zero
    }
    found = alike or rows
    if not found:
        return None
    worst = max(found.values())
    evidence = {
        "weights": list(found)[:5],
        "equal_rows": worst,
        "equal_gradients": max(alike.values(), default=0.0),
        "threshold": share,
    }
    strength = (0.6 + 0.35 * worst) if alike else 0.4
    return Suspicion(
        "C1",
        say("units that begin alike"),
        named(list(found)),
        evidence,
        strength,
        exact=bool(alike) and worst == 1 and len(alike) == len(names),
        harm=say("equal units get equal gradients: a layer of them computes no more than one"),
        changes=possible(reinitialise(chart)),
    )


@FAULTS.add(
    "C2", title="initial weights too large",
    source="doctor catalogue C2; Glorot and Bengio 2010; He et al. 2015, arXiv:1502.01852",
    demo="""
import math, torch
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(500, 20), torch.randint(0, 10, (500,))
for scale in (0.05, 0.3, 1.0):
    net = nn.Sequential(nn.Linear(20, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10))
    for p in net.parameters():
        nn.init.normal_(p, 0, scale)
    logits = net(x)
    loss = nn.functional.cross_entropy(logits, y)
    print(f"N(0, {scale}^2): logits' deviation {logits.std():8.3f}, loss {loss:8.3f}, ln 10 = {math.log(10):.3f}")
""",
)  # fmt: skip
def weights_too_large(
    chart: Chart, *, deviation: Times = 10.0, loss: Times = 4.0, mild: Times = 2.0, scale: Times = 2.5,
    saturated: Share = 0.5,
) -> Suspicion | None:  # fmt: skip
    """Weights that are too large make the untrained network sure of itself: it must unlearn before it can learn.

    A fresh classifier should be undecided: logits of deviation below 1, a loss near ln K (2.303 for ten classes). With
    large weights logits of deviation s cost about ln K + s^2 / 2, tanh and sigmoid units sit where they have no
    slope, and every layer multiplies the error of the one before.

    The numbers are taken before any step: deviation of logits (over 10 critical), loss by its constant's (over 4), the
    weights' scale beside He's sqrt(2 / fan_in) (over 2.5), saturated units (over half).

    It is confused with unscaled input (A1: then the weights' scale is right and the input's is not) and with a
    learning rate that is too high (D1: then step 0 is healthy).

    Draw weights with He's or Glorot's initialisation; a norm behind each layer forgives the rest. Multiplying the
    last layer by 0.1 settles large logits alone.
    """
    start = chart.start
    head = _head(start)
    reference = math.log(max(2, chart.task.count)) if chart.task.kind == "classes" else start.base
    relative = start.loss0 / reference if reference > 0 else math.nan
    large = start.logit_std / max(start.target_std, 1e-12)
    largest = max(
        (layer for layer in start.layers if layer.weight and layer.name != "embedding"),
        key=lambda layer: _number(layer.weight_scale),
        default=None,
    )
    size = _number(largest.weight_scale) if largest is not None else 0.0
    squashed = [layer.saturated for layer in start.layers if layer.activation in SQUASHING]
    shut = max((share for share in squashed if share == share), default=0.0)
    loud = large > deviation or not start.finite or (chart.task.kind == "classes" and relative > loss)
    somewhat = large > deviation / 3 or relative > mild
    if not (loud or (size > scale and (somewhat or shut > saturated)) or (somewhat and chart.task.kind == "classes")):
        return None
    own = size > scale
    strength = min(0.95, 0.5 + 0.1 * math.log10(max(size, 1.0)) + 0.2 * loud) if own else 0.35 if loud else 0.15
    if start.input_rms > 5 and not own:
        strength *= 0.5  # the input's scale explains it (A1)
    evidence = {
        "output_deviation": large, "threshold": deviation, "loss": start.loss0, "undecided": reference,
        "weight_scale": size, "scale_threshold": scale, "saturated": shut,
    }  # fmt: skip
    changes = possible(reinitialise(chart), insert_norms(chart, "layer_norm"), smaller_head(chart))
    where = (largest.path or largest.weight) if own and largest is not None else head
    return Suspicion(
        "C2",
        say("initial weights too large"),
        where,
        evidence,
        strength,
        changes=changes,
        harm=say("the untrained network is sure of wrong answers and must unlearn them first"),
    )


@FAULTS.add(
    "C3", title="signal dies on its way", source="doctor catalogue C3; He et al. 2015, arXiv:1502.01852, section 2.2",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(256, 50)
for scale, name in ((0.01, "N(0, 0.01^2)"), ((2 / 50) ** 0.5, "He: N(0, 2/50)")):
    h, row = x, []
    for layer in range(8):
        h = torch.relu(h @ (torch.randn(50, 50) * scale))
        row.append(f"{h.std(0).mean():.1e}")
    print(name, "deviation across examples, layer by layer:", *row)
""",
)  # fmt: skip
def signal_dies(chart: Chart, *, share: Times = 1e-3, spread: Times = 1e-3, scale: Times = 0.15) -> Suspicion | None:
    """What tells one example from another shrinks from layer to layer until all of them get the same answer.

    With weights that are too small every layer multiplies the signal by less than 1. Behind ten such layers only
    biases are left, the outputs are constant, and so is everything that a gradient could be made of.

    It shows before the first step as the deviation across examples: in the last hidden layer less than a thousandth
    of that in the first, or outputs that differ by less than 0.001. The loss stands at that of a constant answer.
    Layers are counted together: torch's default shrinks a ReLU signal to 0.41 in each and trains well at usual depth.

    Dead units (C6) cut the signal exactly to 0; squashed input (A2) is small before the first layer already; a last
    layer that begins at zero is no fault.

    Draw weights with He's or Glorot's initialisation, put norms behind the layers, or skips around them.
    """
    start = chart.start
    layers = [layer for layer in start.layers if layer.name != "embedding" and math.isfinite(layer.spread)]
    hidden = layers[:-1]
    if not hidden or start.examples < 8:
        return None
    zero = _head(start) in start.zero and start.gradients.get(_head(start), 0.0) > 0
    fall = hidden[-1].spread / hidden[0].spread if hidden[0].spread > 0 else 0.0
    quiet = not zero and start.spread < spread * max(start.target_std, 1e-12)
    if not (fall < share and len(hidden) > 1) and not quiet:
        return None
    sizes = [layer.weight_scale for layer in layers if math.isfinite(layer.weight_scale)]
    small = bool(sizes) and sorted(sizes)[len(sizes) // 2] < scale
    strength = 0.4 + 0.45 * small if fall < share else 0.4 + 0.4 * small
    if start.input_rms < 0.05:
        strength *= 0.5  # the input is squashed already (A2)
    evidence = {
        "last_by_first": fall,
        "threshold": share,
        "output_spread": start.spread,
        "spread_threshold": spread,
        "weight_scale": sorted(sizes)[len(sizes) // 2] if sizes else math.nan,
    }
    where = next((layer.path for layer in hidden if layer.spread < share * hidden[0].spread), layers[-1].path)
    changes = possible(reinitialise(chart), insert_norms(chart), swap_activations(chart, "relu"))
    return Suspicion(
        "C3",
        say("signal dies on its way"),
        where,
        evidence,
        strength,
        changes=changes,
        harm=say("all examples get the same answer, and gradients have nothing to work with"),
    )


def _head(start: Start) -> str:
    """The weight of the last layer."""
    found: Layer | None = next((layer for layer in reversed(start.layers) if layer.weight), None)
    return found.weight if found is not None else ""


def _number(value: float) -> float:
    return value if math.isfinite(value) else 0.0
