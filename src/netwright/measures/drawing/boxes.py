"""From a network's layers to what a picture shows: boxes of a layer and its followers, repetitions folded."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from netwright.measures.anatomy.layer import Layer
from netwright.measures.anatomy.tables import by

FOLLOWERS = frozenset([
    "batchnorm", "layernorm", "groupnorm", "instancenorm", "rmsnorm", "lrn", "relu", "relu6", "leaky_relu", "prelu",
    "elu", "selu", "gelu", "swish", "hard_swish", "hard_sigmoid", "sigmoid", "tanh", "softplus", "scaled_tanh",
    "softmax", "dropout", "flatten", "pad", "last", "mean", "max",
])  # fmt: skip
"""Kinds that share the box of the layer before them, where nothing else reads that layer."""
LONGEST = 60
"""The most boxes that a repeated block may hold."""


@dataclass(frozen=True)
class Box:
    """A layer with its followers; `sources` are numbers of boxes, -1 the input."""

    lines: tuple[str, ...]
    output: str
    parameters: int
    sources: tuple[int, ...]
    kind: str
    names: tuple[str, ...]


@dataclass
class Plan:
    """Boxes to draw, and which runs of them stand for several: (first, last, times)."""

    boxes: list[Box]
    repeats: list[tuple[int, int, int]] = field(default_factory=list)


def boxes_of(layers: Sequence[Layer]) -> list[Box]:
    """A box for each layer that ran, followers taken in."""
    ran = [layer for layer in layers if layer.output is not None]
    readers = [0] * len(ran)
    for layer in ran:
        for source in layer.sources:
            if source >= 0:
                readers[source] += 1
    place: dict[int, int] = {-1: -1}
    boxes: list[Box] = []
    for number, layer in enumerate(ran):
        before = layer.sources[0] if len(layer.sources) == 1 else -1
        text = " ".join(filter(None, (layer.kind, layer.detail)))
        shape = by(layer.output)
        if layer.kind in FOLLOWERS and before >= 0 and readers[before] == 1 and place[before] == len(boxes) - 1:
            last = boxes[-1]
            boxes[-1] = replace(
                last,
                lines=(*last.lines, text),
                output=shape,
                parameters=last.parameters + layer.parameters,
                names=(*last.names, layer.name),
            )
        else:
            sources = tuple(dict.fromkeys(place[source] for source in layer.sources))
            boxes.append(Box((text,), shape, layer.parameters, sources, layer.kind, (layer.name,)))
        place[number] = len(boxes) - 1
    return boxes


def folded(boxes: list[Box]) -> Plan:
    """Fold runs of equal blocks, each fed by one box and read through its last box alone, into their first one."""
    plan, start = Plan([]), 0
    place: dict[int, int] = {-1: -1}
    while start < len(boxes):
        period, times = _repeat(boxes, start)
        first = len(plan.boxes)
        for number in range(start, start + period):
            box = boxes[number]
            plan.boxes.append(replace(box, sources=tuple(place[source] for source in box.sources)))
            for round_ in range(times):
                place[number + round_ * period] = len(plan.boxes) - 1
        if times > 1:
            plan.repeats.append((first, len(plan.boxes) - 1, times))
        start += period * times
    return plan


def _repeat(boxes: list[Box], start: int) -> tuple[int, int]:
    """The block that begins at `start` and saves most boxes when folded: how many boxes, how often; (1, 1) for none."""
    best = (1, 1)
    for period in range(1, min(LONGEST, (len(boxes) - start) // 2) + 1):
        times = 1
        while _same(boxes, start, start + times * period, period):
            times += 1
        if times > 1 and _closed(boxes, start, period, times) and (times - 1) * period > (best[1] - 1) * best[0]:
            best = (period, times)
    return best


def _same(boxes: list[Box], one: int, other: int, period: int) -> bool:
    """Whether two blocks are equal: kinds, sizes, weights, and where each box reads relative to itself."""
    if other + period > len(boxes):
        return False
    for step in range(period):
        a, b = boxes[one + step], boxes[other + step]
        if (a.lines, a.output, a.parameters, len(a.sources)) != (b.lines, b.output, b.parameters, len(b.sources)):
            return False
        for source, twin in zip(a.sources, b.sources, strict=True):
            inside = source >= one
            if twin - other != source - one if inside else twin != other - 1:
                return False
    return True


def _closed(boxes: list[Box], start: int, period: int, times: int) -> bool:
    """Whether one box feeds the run, and only the last box of each block is read from outside the block."""
    end = start + period * times
    entering = {source for box in boxes[start : start + period] for source in box.sources if source < start}
    if len(entering) != 1:
        return False
    for number, box in enumerate(boxes[start:], start):
        block = (number - start) // period if number < end else times
        for source in box.sources:
            if source < start:
                continue
            home = (source - start) // period if source < end else times
            if home != block and home < times and ((source - start) % period != period - 1 or home != block - 1):
                return False
    return True
