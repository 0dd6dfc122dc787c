"""C6, C7 and C9: units that never answer, units that always answer the same, activations that do not belong inside."""

import math
from typing import Annotated

from torch import Tensor

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.between import insert_norms
from netwright.doctor.changes.signal import reinitialise, swap_activations
from netwright.doctor.chart import Chart, named
from netwright.doctor.ops import DROPOUTS, HIDDEN, NORMS, POOLS, WEIGHTED, Op
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

RECTIFIED = ("relu", "relu6", "threshold", "hardtanh")
SQUASHING = ("sigmoid", "tanh", "hardsigmoid", "softsign")
MISPLACED = {
    "softmax": 0.8,
    "log_softmax": 0.7,
    "softmin": 0.8,
    "exp": 0.7,
    "logsigmoid": 0.4,
    "hardsigmoid": 0.4,
    "sigmoid": 0.25,
    "tanhshrink": 0.3,
    "hardshrink": 0.5,
    "softshrink": 0.4,
    "threshold": 0.3,
}
"""Activations that starve a network when they stand between its layers, and how likely each is the trouble."""
FEW = 32
"""Among fewer examples a unit that none of them activates says little."""
Share = Annotated[float, Range(0, 1)]


@FAULTS.add(
    "C6", title="dead ReLU units", source="doctor catalogue C6; Lu et al. 2019, arXiv:1903.06733",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(1000, 10), torch.randn(1000, 1)
for bias in (0.0, -2.0, -20.0):
    net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
    nn.init.constant_(net[0].bias, bias)
    active = (net[:2](x) > 0).any(0).float().mean().item()
    (net(x) - y).square().mean().backward()
    length = net[0].weight.grad.norm()
    print(f"bias {bias}: {1 - active:.0%} of the units are dead, gradient of the first layer {length:.2g}")
""",
)  # fmt: skip
def dead_relu(chart: Chart, *, share: Share = 0.5, note: Share = 0.25) -> Suspicion | None:
    """Units of a ReLU layer that are inactive on every example pass no gradient and never learn again.

    A ReLU has the slope 0 below 0. If a unit's input is negative on all examples, nothing reaches its weights, and it
    stays so. When a whole layer is dead, everything before it is cut off. Negative biases, inputs far from zero mean
    and steps that are too large bring it about.

    Count units that are 0 on all of at least 1,000 examples, layer by layer: half of a layer is a fault, a quarter a
    note. Zeros themselves are no sign: in healthy ReLU layers 50 to 90 percent of the values are 0.

    Dead at step 0: look at biases, initialisation and the input's mean. Died later: the learning rate was too high
    (D1), and a cure that leaves it there does not last. Pruned networks and very narrow layers have such units for
    good reasons.

    Mend the cause first; then take He's initialisation, leaky ReLU, GELU or SELU, or batch norm before the ReLU.
    """
    before = {
        layer.activation_key: (layer.path, layer.dead)
        for layer in chart.start.layers
        if layer.activation in RECTIFIED and math.isfinite(layer.dead)
    }
    hidden = {op.key: op for op in chart.hidden if op.name in RECTIFIED}
    after = {key: value for key, value in chart.whole.dead.items() if key in hidden}
    born = max(((dead, path) for key, (path, dead) in before.items() if key in hidden), default=(0.0, ""))
    died = max(((dead, key[0] or "forward") for key, dead in after.items()), default=(0.0, ""))
    worst = max(born, died)
    if worst[0] < note or chart.start.examples < FEW:
        return None
    at_start = born[0] >= note
    evidence = {"dead_at_start": born[0], "dead_at_end": died[0], "threshold": share, "examples": chart.start.examples}
    strength = 0.3 if worst[0] < share else 0.95 if worst[0] >= 0.999 else 0.55 + 0.35 * worst[0]
    widths = {layer.activation_key: layer.width for layer in chart.start.layers}
    place = next(
        (key for key in hidden if (before.get(key, ("", -1.0))[1] if at_start else after.get(key, -1.0)) == worst[0]),
        ("", -1),
    )
    if worst[0] < 0.999 and widths.get(place, 99) < 16:
        strength *= 0.6  # a few of a few units die by chance
    leaky = swap_activations(chart, "leaky_relu", list(hidden.values()), anew=False)
    anew = reinitialise(chart)
    changes = possible(anew, leaky, insert_norms(chart)) if at_start else possible(leaky, insert_norms(chart), anew)
    return Suspicion(
        "C6",
        say("dead ReLU units"),
        worst[1],
        evidence,
        strength if at_start else 0.45 * strength,  # what made them die stands upstream
        changes=changes,
        harm=say(
            "{share:.0%} of the units of {place} answer no example and get no gradient",
            share=worst[0],
            place=worst[1] or "forward",
        ),
    )


@FAULTS.add(
    "C7", title="saturated units", source="doctor catalogue C7; Glorot and Bengio 2010, section 3",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(1000, 10), torch.randn(1000, 1)
for scale in (1, 10, 100):
    net = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 1))
    h = net[:2](scale * x)
    (net[2](h) - y).square().mean().backward()
    flat = (h.abs() > 0.97).float().mean().item()
    slope = (1 - h.square()).mean().item()
    print(f"input x {scale}: {flat:.0%} of tanh values beyond 0.97, mean slope {slope:.3f}")
""",
)  # fmt: skip
def saturated_units(chart: Chart, *, share: Share = 0.5) -> Suspicion | None:
    """Sigmoid or tanh units that stand at an end of their range have no slope and pass next to no gradient.

    A sigmoid is flat beyond about 4, a tanh beyond 2. Inputs or weights that are too large push units there, and
    pulling them back would take the very gradient that is missing.

    A unit counts as saturated where its slope is below 7 percent of its largest on nine examples in ten; half of a
    hidden layer's units is a fault.

    The last layer does not count: a sure answer is its purpose. Gates of LSTM and GRU open and close on purpose.
    Saturated at step 0 means input scale (A1) or initialisation (C2); later it means a learning rate that is too high
    (D1) or weights that grew without decay.

    Scale the inputs, draw the weights with Glorot's initialisation, put a norm before the activation, or take ReLU in
    hidden layers.
    """
    fed = {op.key for op in chart.hidden if op.name in SQUASHING and reaches_weights(chart.ops, op)}
    found = [layer for layer in chart.start.layers if layer.activation_key in fed and layer.saturated >= share]
    late = {key: value for key, value in getattr(chart.whole, "saturated", {}).items() if key in fed and value >= share}
    if not found and not late:
        return None
    worst = max([layer.saturated for layer in found] + list(late.values()))
    evidence = {
        "saturated": worst,
        "threshold": share,
        "at_start": bool(found),
        "pre_activation_deviation": max((layer.pre_std for layer in found), default=math.nan),
    }
    places = named([layer.path or "forward" for layer in found] or [key[0] or "forward" for key in late])
    own = any(layer.weight_scale > 2.5 for layer in found)
    strength = (0.6 + 0.3 * worst) * (0.6 if chart.start.input_rms > 5 and not own else 1.0)
    changes = possible(
        reinitialise(chart) if own else None, insert_norms(chart), swap_activations(chart, "relu"), reinitialise(chart)
    )
    return Suspicion(
        "C7",
        say("saturated units"),
        places,
        evidence,
        strength if found else 0.6 * strength,
        changes=changes,
        harm=say("{share:.0%} of a hidden layer's units have next to no slope", share=worst),
    )


@FAULTS.add(
    "C9", title="unsuitable hidden activation", source="doctor catalogue C9; Glorot, Bordes, Bengio 2011",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(1000, 2)
y = (x[:, 0] * x[:, 1] > 0).long()
for activation in (nn.Softmax(-1), nn.Sigmoid(), nn.ReLU()):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 64), activation, nn.Linear(64, 64), activation, nn.Linear(64, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    print(f"{type(activation).__name__:8} accuracy {(net(x).argmax(1) == y).float().mean():.2f}")
""",
)  # fmt: skip
def misplaced_activation(chart: Chart, *, layers: Annotated[int, Range(1, 1000)] = 2) -> Suspicion | None:
    """An activation made for outputs stands between hidden layers and starves those behind it.

    A softmax over n hidden units gives numbers that sum to 1: each is about 1/n and hardly moves. An exponential makes
    the signal's deviation grow until it overflows. Sigmoids pass at most a quarter of the gradient each and are never
    centred on 0; two or three in a row slow a network down, more stop it.

    It shows in the row of operations: softmax, log-softmax, exp, or sigmoids in two layers and more, whose outputs feed
    the next weighted layer.

    Softmax inside attention, and sigmoids that gate something, are in their place: their outputs are multiplied with
    other signals. Sigmoids in one hidden layer usually learn well. Whether it harms is found by trying another.

    Put ReLU, with He's initialisation, or GELU in its place; keep softmax and sigmoid for the outputs, or leave them to
    the loss.
    """
    found = [
        op
        for op in chart.hidden
        if op.name in MISPLACED
        and op.output is not None
        and comes_from_weights(chart.ops, op)
        and reaches_weights(chart.ops, op)
    ]
    strong = [op for op in found if MISPLACED[op.name] > 0.25]
    if not strong and len(found) < layers:
        return None
    chosen = strong or found
    strength = max(MISPLACED[op.name] for op in chosen)
    if not strong:
        strength = min(0.6, 0.15 * len(found))
    evidence = {
        "activation": named(list(dict.fromkeys(op.name for op in chosen))),
        "layers": len(chosen),
        "output_rms": _rms(chosen[0].tensor),
        "threshold": 1 if strong else layers,
    }
    changes = possible(swap_activations(chart, "relu", chosen), swap_activations(chart, "gelu", chosen))
    return Suspicion(
        "C9",
        say("unsuitable hidden activation"),
        named([op.where for op in chosen]),
        evidence,
        strength,
        changes=changes,
        harm=say("{name} between layers passes little signal and little gradient", name=chosen[0].name),
    )


def _rms(x: Tensor) -> float:
    return x.detach().double().square().mean().sqrt().item()


CARRIES = NORMS | DROPOUTS | POOLS | HIDDEN


def _given(op: Op) -> Tensor | None:
    found = op.inputs[0] if op.inputs else op.settings.get("input")
    return found if isinstance(found, Tensor) else None


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are one, or a reshaping of one."""
    return one is other or (one.data_ptr() == other.data_ptr() and one.numel() == other.numel() and one.numel() > 0)


def reaches_weights(ops: list[Op], op: Op) -> bool:
    """Whether an activation's output is what a later weighted operation reads, but for norms, dropouts and poolings."""
    carried = [op.tensor]
    for other in ops:
        if other.index <= op.index:
            continue
        given = _given(other)
        if given is None or not any(_same(given, tensor) for tensor in carried):
            continue
        if other.name in WEIGHTED:
            return other.name != "embedding"
        if other.name in CARRIES:
            carried.append(other.tensor)
    return False


def comes_from_weights(ops: list[Op], op: Op) -> bool:
    """Whether an activation reads what an earlier weighted operation gave, but for norms, dropouts and poolings."""
    wanted = _given(op)
    for other in reversed(ops):
        if other.index >= op.index or wanted is None or not _same(other.tensor, wanted):
            continue
        if other.name in WEIGHTED:
            return True
        if other.name in CARRIES - {"softmax"}:
            wanted = _given(other)
    return False
