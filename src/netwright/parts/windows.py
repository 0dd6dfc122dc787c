"""Sliding windows: output sizes and padding of convolution and pooling, as plain integers before any tensor exists."""

from math import ceil
from typing import Any

from netwright.errors import UsageError
from netwright.language import say

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]
"""((top, bottom), (left, right))."""


def output_size(n: int, k: int, s: int = 1, p: int = 0, d: int = 1) -> int:
    """How many places a window of `k` takes on `n` pixels with stride `s`, `p` pixels of padding on each side.

    Formula: floor((n + 2p - (d(k-1)+1)) / s) + 1, with dilation d (1: the pixels of the window touch)

    A result below 1 means that the window does not fit.
    """
    return (n + 2 * p - (d * (k - 1) + 1)) // s + 1


def padded_size(n: int, k: int, s: int, sides: Pair, d: int = 1, *, up: bool = False) -> int:
    """`output_size` with unequal sides; `up` rounds up, but the last window never starts in the far padding."""
    rest = n + sum(sides) - (d * (k - 1) + 1)
    if not up or rest < 0:
        return rest // s + 1
    places = ceil(rest / s) + 1
    return places - 1 if (places - 1) * s >= n + sides[0] else places


def same_sides(n: int, k: int, s: int = 1, d: int = 1) -> Pair:
    """The padding of TensorFlow's `same`: ceil(n/s) outputs, the odd pixel at the bottom or right.

    Formula: total = max((ceil(n/s) - 1) s + d(k-1)+1 - n, 0); before = floor(total/2); after = total - before
    """
    total = max((ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
    return total // 2, total - total // 2


def size_formula(n: int, k: int, s: int, sides: Pair, d: int = 1) -> str:
    """The output size with its numbers in it: `floor((28 + 2*2 - 5)/1) + 1 = 28`."""
    wide = d * (k - 1) + 1
    pads = f"2*{sides[0]}" if sides[0] == sides[1] else f"{sides[0]} + {sides[1]}"
    return f"floor(({n} + {pads} - {wide})/{s}) + 1 = {padded_size(n, k, s, sides, d)}"


def pair(value: Any, name: str, where: str, least: int = 1, most: int = 10_000) -> Pair:
    """A number for both axes, or [height, width]; refused outside least..most."""
    both = list(value) if isinstance(value, (list, tuple)) else [value, value]
    right = len(both) == 2 and all(type(one) is int and least <= one <= most for one in both)
    if not right:
        expected = say("a whole number or [height, width], each {least} to {most}", least=least, most=most)
        raise UsageError(
            say("{where}: {name} = {value}; it is {expected}", where=where, name=name, value=value, expected=expected)
        )
    return both[0], both[1]


def sides_of(pad: Any, size: Pair, kernel: Pair, stride: Pair, dilation: Pair, where: str) -> Sides:
    """The padding that `pad` asks for: `valid`, `same`, `full`, a number, or [[0,0],[top,bottom],[left,right],[0,0]].

    The list may also stand in the order batch, channels, height, width; where both orders fit, the first is meant.
    Errors: UsageError.
    """
    spread = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    if pad == "valid":
        return (0, 0), (0, 0)
    if pad == "same":
        tops, lefts = (same_sides(*axis) for axis in zip(size, kernel, stride, dilation, strict=True))
        return tops, lefts
    if pad == "full":
        return (spread[0], spread[0]), (spread[1], spread[1])
    if type(pad) is int and 0 <= pad <= 10_000:
        return (pad, pad), (pad, pad)
    if isinstance(pad, (list, tuple)):
        return _listed(pad, where)
    expected = say("valid, same, full, a whole number or [[0,0],[top,bottom],[left,right],[0,0]]")
    raise UsageError(say("{where}: pad = {pad!r}; it is {expected}", where=where, pad=pad, expected=expected))


def _listed(pad: Any, where: str) -> Sides:
    rows = [list(row) if isinstance(row, (list, tuple)) else [] for row in pad]
    if len(rows) != 4 or any(
        len(row) != 2 or not all(type(n) is int and 0 <= n <= 10_000 for n in row) for row in rows
    ):
        form = "[[0,0],[top,bottom],[left,right],[0,0]]"
        raise UsageError(say("{where}: pad = {pad}; as a list it is {form}", where=where, pad=pad, form=form))
    if rows[0] != [0, 0] or (rows[3] != [0, 0] and rows[1] != [0, 0]):
        text = say("{where}: pad = {pad} pads the batch or the channels; those entries are [0,0]", where=where, pad=pad)
        raise UsageError(text)
    high, wide = rows[1:3] if rows[3] == [0, 0] else rows[2:4]
    return (high[0], high[1]), (wide[0], wide[1])
