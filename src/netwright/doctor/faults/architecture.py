"""C8, C10, C11 and C12: linear layers in a row, too few units, too many layers, maps that collapse."""

import math
from typing import Annotated

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.between import insert_norms, skips
from netwright.doctor.changes.signal import insert_activation
from netwright.doctor.changes.structure import half_depth, hidden_layer, later_pooling, wider
from netwright.doctor.chart import Chart, named
from netwright.doctor.gauges.linearity import linear_pairs
from netwright.doctor.gauges.start import Layer
from netwright.doctor.ops import POOLS, Op, tracing
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

Share = Annotated[float, Range(0, 1)]
Count = Annotated[int, Range(1, 1_000_000)]


@FAULTS.add(
    "C8", title="missing non-linearity", source="doctor catalogue C8; Minsky and Papert 1969",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(1000, 2)
y = (x[:, 0] * x[:, 1] > 0).long()
for activation in (nn.Identity(), nn.ReLU()):
    net = nn.Sequential(nn.Linear(2, 64), activation, nn.Linear(64, 64), activation, nn.Linear(64, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    residue = (net(x + x[:1]) - net(x) - net(x[:1]) + net(0 * x)).abs().max().item()
    print(f"{type(activation).__name__:8} residue {residue:.1e}, accuracy {(net(x).argmax(1) == y).float().mean():.2f}")
""",
)  # fmt: skip
def missing_nonlinearity(chart: Chart) -> Suspicion | None:
    """Two linear or convolutional layers with nothing bent between them compute no more than one such layer.

    A product of matrices is a matrix. However many layers stand in a row without an activation, the network draws
    straight lines only, and exclusive-or stays out of reach.

    It shows in the row of operations and is then tested exactly: for what the second layer reads, as a function f of
    what the first one reads, f(a + b) - f(a) - f(b) + f(0) is 0 (to 1e-4 of f). So activations written by hand,
    max pooling and attention count as what they are.

    It harms only where a linear model is not enough; the simple linear learner tells. A narrow layer between two wide
    ones, LoRA, and separable convolutions are factors on purpose.

    Put ReLU (or GELU, tanh) between the layers; the network must then beat the linear learner.
    """
    found = linear_pairs(chart.subject, chart.ops)
    plain = [pair for pair in found if not pair.narrow]
    if not found:
        return None
    weighted = [layer for layer in chart.start.layers if layer.name != "embedding"]
    chosen = plain or found
    everywhere = len(found) >= len(weighted) - 1
    places = [pair.first.where for pair in chosen]
    evidence = {
        "pairs": len(chosen),
        "of": max(1, len(weighted) - 1),
        "residue": max(pair.residue for pair in chosen),
        "threshold": 1e-4,
    }
    strength = (0.85 if everywhere else 0.5) if plain else 0.15
    changes = possible(insert_activation(chart, [pair.second.key for pair in chosen], places))
    return Suspicion(
        "C8",
        say("missing non-linearity"),
        named(places),
        evidence,
        strength,
        note=not plain,
        changes=changes,
        harm=say("{count} pairs of layers compute no more than one layer each", count=len(chosen)),
    )


@FAULTS.add(
    "C10", title="too few units", source="doctor catalogue C10; Goodfellow et al. 2016, Deep Learning, 5.2",
    demo="""
import torch
from torch import nn

x = torch.linspace(-3, 3, 400)[:, None]
y = torch.sin(3 * x)
for width in (2, 8, 64):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for step in range(800):
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
    print(f"{width:3} hidden units: loss {loss.item():.4f}, that of the mean {y.var().item():.4f}")
""",
)  # fmt: skip
def too_small(chart: Chart, *, width: Count = 32, learnt: Share = 0.97) -> Suspicion | None:
    """The network has too few units, or none hidden, to hold what the data ask for: training itself stays poor.

    Two hidden units draw two lines. A network without a hidden layer draws one. More epochs and other learning rates
    do not help, for the loss has come to rest: its steps end near the minimum along their line (q about 0).

    It shows as a training score that stays below that of simple learners while 32 examples are learnt by heart
    without trouble; hidden layers have a handful of units, or a layer in between has fewer units than there are
    classes.

    It is confused with a learning rate that is too low (D2: q near 1, loss still falling) and with too much
    regularisation (D7). Four times the units must lower the training loss; other changes must not.

    Widen the layers, add one, or take a network that fits the data: convolutions for pictures, recurrence or attention
    for sequences.
    """
    whole, start = chart.whole, chart.start
    skill = whole.skill_train
    layers = [layer for layer in start.layers if layer.name != "embedding"]
    if not layers or (math.isfinite(skill) and skill >= learnt) or not whole.finite:
        return None
    hidden = layers[:-1]
    narrow = min(hidden, key=_room, default=None)
    least = _room(narrow) if narrow is not None else 0
    if least > width:
        return None
    change = wider(chart) if hidden else hidden_layer(chart)
    evidence = {
        "narrowest": least,
        "threshold": width,
        "hidden_layers": len(hidden),
        "parameters": _count(chart),
        "train_skill": skill,
    }
    strength = 0.5 if not hidden else 0.65 if least <= 2 else 0.5 if least <= 4 else 0.35 if least <= 8 else 0.2
    where = narrow.path if narrow is not None else layers[-1].path
    return Suspicion(
        "C10",
        say("too few units"),
        where,
        evidence,
        strength,
        changes=possible(change),
        harm=say("the network cannot hold what the data ask for: its training score stays at {skill:.2f}", skill=skill),
    )


def _room(layer: Layer) -> int:
    """A layer's units; a channel of maps counts as four, for it answers at many places."""
    return layer.width * (4 if layer.name.startswith("conv") else 1)


def _count(chart: Chart) -> int:
    with chart.subject.live() as live:
        return sum(p.numel() for p in live.parameters.values())


@FAULTS.add(
    "C11", title="too deep without skips",
    source="doctor catalogue C11; He, Zhang, Ren, Sun 2016, arXiv:1512.03385, figure 1",
    demo="""
import torch
from torch import nn
Skip = type("Skip", (nn.Sequential,), {"forward": lambda self, x: x + nn.Sequential.forward(self, x)})
x = torch.randn(500, 10, generator=torch.Generator().manual_seed(0))
y = (x[:, 0] * x[:, 1] > 0).long()
for depth, block in ((2, nn.Sequential), (30, nn.Sequential), (30, Skip)):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(10, 32), *(block(nn.Linear(32, 32), nn.ReLU()) for _ in range(depth)))
    net.append(nn.Linear(32, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for step in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    print(f"{depth} layers of {block.__name__:10}: training accuracy {(net(x).argmax(1) == y).float().mean():.2f}")
""",
)  # fmt: skip
def too_deep(chart: Chart, *, depth: Count = 10) -> Suspicion | None:
    """A deep row of layers without skips trains worse than one of half its depth, though it could do all the same.

    The deeper network could copy the shallower one and let the other layers pass everything on. Plain layers find
    that hard to learn: signals and gradients are worn away or twisted in each of them.

    It shows as ten and more hidden weighted layers, hardly any additions of a layer's input to its output, and a
    training score that trails simple learners. The proof is the network of half the depth, which reaches more in as
    many steps.

    A vanishing gradient (C4) is one way there, but degradation comes with healthy gradients too. With skips at every
    block depth is no fault.

    Add residual skips around blocks of one or two layers; put batch or layer norm into them; warm the learning rate
    up; or take fewer layers.
    """
    hidden = [
        layer for layer in chart.start.layers[:-1] if layer.name in ("linear", "conv1d", "conv2d", "conv3d", "addmm")
    ]
    distinct = {layer.key for layer in hidden}
    if len(distinct) < depth:
        return None
    added = _skips(chart)
    if added >= len(distinct) / 6:
        return None
    evidence = {
        "hidden_layers": len(distinct),
        "threshold": depth,
        "skips": added,
        "gradient_first_by_last": chart.start.ratio,
    }
    strength = min(0.65, 0.25 + len(distinct) / 60)
    return Suspicion(
        "C11",
        say("too deep without skips"),
        "",
        evidence,
        strength,
        changes=possible(skips(chart), insert_norms(chart), half_depth(chart)),
        harm=say("{count} layers in a row without a skip train worse than fewer", count=len(distinct)),
    )


def _skips(chart: Chart) -> int:
    """How many additions or concatenations of signals a forward pass makes."""
    kinds = frozenset(("add", "iadd", "__add", "__iadd", "__radd", "cat", "concat"))
    with chart.subject.live() as live, tracing(live.model, kinds=kinds) as trace:
        live.outputs(chart.subject.batches[0])
    return sum(op.name in ("cat", "concat") or _of_one_shape(op) for op in trace.ops)


def _of_one_shape(op: Op) -> bool:
    shapes = [getattr(part, "shape", ()) for part in op.inputs[:2]]
    return len(shapes) == 2 and shapes[0] == shapes[1] and len(shapes[0]) > 1


@FAULTS.add(
    "C12", title="collapsed maps", source="doctor catalogue C12; Luo et al. 2016, arXiv:1701.04128",
    demo="""
import torch
from torch import nn

x = torch.randn(1, 1, 16, 16)
net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4),
    nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4),
    nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 10),
)
for layer in net:
    x = layer(x)
    print(f"{type(layer).__name__:10} {tuple(x.shape[1:])}")
print("the last convolution reads maps of one pixel: eight of its nine weights never meet a picture")
""",
)  # fmt: skip
def collapsed_maps(chart: Chart, *, area: Count = 16) -> Suspicion | None:
    """Maps shrink to a point, or a layer to a unit or two, before the layers that should read them.

    A pooling behind every convolution, or strides that are too large, leave one pixel while convolutions still follow:
    most of their weights then only meet padding. A hidden layer with fewer units than classes lets too little through.

    It shows in the row of shapes: one place before the last convolution, an operation that leaves less than a
    sixteenth of the places, a first kernel larger than half the picture, or a bottleneck narrower than the number of
    classes.

    Classifiers may well pool everything at their end, and an autoencoder's narrow layer is its purpose. The proof is
    the same network with one pooling left out, or the narrow layer widened.

    Leave a pooling out or use smaller strides early; pad convolutions; widen the narrow layer.
    """
    maps = [op for op in chart.ops if (op.name.startswith("conv") and "transpose" not in op.name) or op.name in POOLS]
    maps = [op for op in maps if op.tensor.dim() >= 3]
    convs = [op for op in maps if op.name.startswith("conv")]
    evidence: dict[str, float | int | str] = {}
    shrink: Op | None = None
    if len(convs) > 1:
        before = [op for op in maps if op.index < convs[-1].index]
        places = math.prod(convs[-1].inputs[0].shape[2:]) if convs[-1].inputs else 2
        kernel = math.prod(convs[-1].inputs[1].shape[2:]) if len(convs[-1].inputs) > 1 else 1
        if places <= 1 < kernel:
            evidence["places_before_last_convolution"] = places
            shrink = next((op for op in before if op.name in POOLS), None)
    for op in maps[:-1]:
        given, left = (math.prod(x.shape[2:]) for x in (op.inputs[0], op.tensor)) if op.inputs else (1, 1)
        if given > area * left and left < area and op is not maps[-1] and convs and op.index < convs[-1].index:
            evidence.update(places_before=given, places_after=left, threshold=area)
            shrink = shrink or (op if op.name in POOLS else None)
    narrow = _bottleneck(chart)
    if narrow is not None:
        evidence.update(units=narrow.width, classes=chart.task.count)
    if not evidence:
        return None
    changes = possible(
        wider(chart) if narrow is not None else None, later_pooling(chart, shrink) if shrink is not None else None
    )
    where = narrow.path if narrow is not None else shrink.where if shrink is not None else convs[-1].where
    return Suspicion(
        "C12",
        say("collapsed maps"),
        where,
        evidence,
        0.5 if narrow is not None else 0.35,
        changes=changes,
        harm=say("what the next layers should read is gone before it reaches them"),
    )


def _bottleneck(chart: Chart) -> Layer | None:
    """A hidden layer with fewer units than classes between wider ones."""
    layers = [layer for layer in chart.start.layers if layer.name in ("linear", "conv1d", "conv2d")]
    if chart.task.kind != "classes" or chart.task.count < 3:
        return None
    for before, layer, after in zip(layers, layers[1:], layers[2:], strict=False):
        if layer.width < min(chart.task.count, before.width, after.width) and layer.width <= max(
            2, chart.task.count // 4
        ):
            return layer
    return None
