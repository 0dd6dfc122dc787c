"""Two networks side by side: totals with difference and ratio, layers aligned by kind and size."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape
from typing import Any

from netwright.language import say
from netwright.measures.anatomy import Anatomy
from netwright.measures.anatomy.layer import Layer
from netwright.measures.anatomy.tables import aligned, by

TOTALS = ("parameters", "trainable", "macs", "training_macs", "neurons", "connections")
MEMORY = ("training", "inference")
MOST = 1500
"""Layers up to which kinds are aligned; longer tables stand row against row."""


@dataclass(frozen=True)
class SideBySide:
    """Two anatomies; prints as two tables."""

    networks: tuple[Anatomy, Anatomy]

    def totals(self) -> dict[str, tuple[int | None, int | None]]:
        """Each total of both networks; None where one could not be measured."""
        a, b = self.networks
        found = {key: (getattr(a, key), getattr(b, key)) for key in TOTALS}
        return found | {f"memory.{use}": (a.memory[use], b.memory[use]) for use in MEMORY}

    def layers(self) -> Iterator[tuple[Layer | None, Layer | None]]:
        """Layers in pairs; None where one network has no layer there."""
        a, b = (network.layers for network in self.networks)
        if len(a) + len(b) > MOST:
            yield from zip(*(rows + [None] * (max(len(a), len(b)) - len(rows)) for rows in (a, b)), strict=True)
            return
        matcher = SequenceMatcher(None, [_look(layer) for layer in a], [_look(layer) for layer in b], autojunk=False)
        for _, start, end, begin, stop in matcher.get_opcodes():
            left: list[Layer | None] = [*a[start:end]]
            right: list[Layer | None] = [*b[begin:stop]]
            length = max(len(left), len(right))
            yield from zip(*(rows + [None] * (length - len(rows)) for rows in (left, right)), strict=True)

    def to_json(self) -> dict[str, Any]:
        """Both anatomies, the differences (second minus first), the ratios (second to first), the pairs of names."""
        known = {key: (a, b) for key, (a, b) in self.totals().items() if a is not None and b is not None}
        return {
            "networks": [network.to_json() for network in self.networks],
            "difference": {key: b - a for key, (a, b) in known.items()},
            "ratio": {key: round(b / a, 6) if a else None for key, (a, b) in known.items()},
            "layers": [[one and one.name, two and two.name] for one, two in self.layers()],
        }

    def __str__(self) -> str:
        a, b = self.networks
        rows = [[say("total"), a.network, b.network, say("difference"), say("ratio")]]
        for key, (one, two) in self.totals().items():
            if one is None or two is None:
                rows.append([_word(key), _number(one), _number(two), "-", "-"])
            else:
                rows.append([_word(key), f"{one:,}", f"{two:,}", f"{two - one:+,}", f"{two / one:.3f}" if one else "-"])
        rows.append([say("output"), by(a.output), by(b.output), "", ""])
        seen = [by(network.receptive_field["size"]) if network.receptive_field else "-" for network in self.networks]
        rows.append([say("receptive field"), *seen, "", ""])
        head = [say("name"), say("kind"), say("output"), say("parameters"), "MACs"]
        table = [[*head, "|", *head]]
        table += [[*_cells(one), "|" if _equal(one, two) else "*", *_cells(two)] for one, two in self.layers()]
        note = say("* marks layers that differ")
        return "\n".join([*(line.rstrip() for line in aligned(rows, 1)), "", *_two(table), "", note])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def side_by_side(a: Anatomy, b: Anatomy) -> SideBySide:
    """Set two networks beside each other.

    Formula: difference = second - first; ratio = second / first
    """
    return SideBySide((a, b))


def _look(layer: Layer) -> tuple[str, tuple[int, ...]]:
    return layer.kind, tuple(layer.output or ())


def _equal(one: Layer | None, two: Layer | None) -> bool:
    if one is None or two is None:
        return False
    return (one.kind, one.output, one.parameters, one.macs) == (two.kind, two.output, two.parameters, two.macs)


def _cells(layer: Layer | None) -> list[str]:
    if layer is None:
        return [""] * 5
    return [layer.name, layer.kind, by(layer.output), f"{layer.parameters:,}", f"{layer.macs:,}"]


def _two(table: list[list[str]]) -> list[str]:
    """Both halves aligned on their own, numbers flushed right."""
    left = aligned([row[:5] for row in table], 3)
    right = aligned([row[6:] for row in table], 3)
    return [f"{a}  {row[5]}  {b}".rstrip() for a, row, b in zip(left, table, right, strict=True)]


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _word(key: str) -> str:
    words = {
        "parameters": say("parameters"),
        "trainable": say("trainable"),
        "macs": "MACs",
        "training_macs": say("MACs in training mode"),
        "neurons": say("neurons"),
        "connections": say("connections"),
        "memory.training": say("bytes kept for the backward pass"),
        "memory.inference": say("bytes alive in use"),
    }
    return words[key]
