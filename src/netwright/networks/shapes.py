"""What a network is built between: the shape of one input, the number of output units, and clear refusals.

`inputs` is {"kind": "image", "channels": 1, "height": 28, "width": 28}, {"kind": "vector", "features": 64} or
{"kind": "sequence", "steps": 28, "features": 28}; `outputs` is {"kind": "class", "count": 10} or {"kind": "number",
"count": 1}, with "units" where the loss wants another number of columns.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

from netwright.errors import UsageError, hint
from netwright.language import say

Ends = Mapping[str, Any]
Shape = tuple[int, ...]
AXES = {
    "image": ("channels", "height", "width"), "vector": ("features",), "sequence": ("steps", "features"),
    "text": ("steps",),
}  # fmt: skip


def shape_of(inputs: Ends) -> Shape:
    """The shape of one example: (channels, height, width), (features,), (steps, features), or (steps,) of a text."""
    kind = str(inputs.get("kind", ""))
    if kind not in AXES:
        raise UsageError(say("inputs of kind {kind!r} fit no network.", kind=kind) + " " + hint(kind, AXES))
    sizes = tuple(inputs.get(axis) for axis in AXES[kind])
    if not all(type(size) is int and size > 0 for size in sizes):
        given = ", ".join(f"{axis} = {size!r}" for axis, size in zip(AXES[kind], sizes, strict=True))
        raise UsageError(
            say("inputs of kind {kind!r}: {given}; each is a whole number above 0.", kind=kind, given=given)
        )
    return tuple(int(size) for size in sizes if size is not None)


def features_of(inputs: Ends) -> int:
    """How many numbers one example holds. Errors: UsageError for texts, whose tokens are no numbers to add up."""
    if inputs.get("kind") == "text":
        text = say("this network takes numbers; {came} came.", came=described(inputs))
        raise UsageError(text + " " + say("Use network {other!r}.", other="lstm"))
    return prod(shape_of(inputs))


def units(outputs: Ends) -> int:
    """How many output units the network's last layer has: `units`, or else `count`."""
    number = outputs.get("units", outputs.get("count"))
    if type(number) is not int or number < 1:
        raise UsageError(say("outputs: {number!r} units; it is a whole number above 0.", number=number))
    return number


def binary(network: str, outputs: Ends, other: str) -> None:
    """Refuse outputs that one unit cannot decide between, and name the network that can."""
    count = outputs.get("count")
    if outputs.get("kind") != "class":
        text = say("network {name!r} decides between two classes; the data asks for numbers.", name=network)
    elif count != 2:
        text = say("network {name!r} decides between two classes; the data has {count}.", name=network, count=count)
    elif units(outputs) not in (2, 1) or outputs.get("units", 1) != 1:
        wanted = units(outputs)
        text = say("network {name!r} has one output unit; the loss wants {count}.", name=network, count=wanted)
    else:
        return
    raise UsageError(text + " " + say("Use network {other!r}.", other=other))


def maps(network: str, inputs: Ends, least: int, why: str, other: str = "mlp") -> Shape:
    """(channels, height, width) of an image at least `least` pixels high and wide; everything else is refused."""
    shape = shape_of(inputs)
    if len(shape) != 3:
        came = described(inputs)
        text = say("network {name!r} takes images; {came} came.", name=network, came=came)
        other = "lstm" if inputs["kind"] == "text" else other
        raise UsageError(text + " " + say("Use network {other!r}.", other=other))
    if min(shape[1:]) < least:
        text = say(
            "network {name!r}: {came} is too small; it takes {least}x{least} or more",
            name=network,
            came=described(inputs),
            least=least,
        )
        raise UsageError(f"{text} ({why}).")
    return shape


def described(inputs: Ends) -> str:
    """The input in words and numbers, for messages."""
    shape = shape_of(inputs)
    if inputs["kind"] == "text":
        return say("a text of {steps} tokens", steps=shape[0])
    if len(shape) == 3:
        return say("an image of {channels}x{height}x{width}", channels=shape[0], height=shape[1], width=shape[2])
    if len(shape) == 2:
        return say("a sequence of {steps} steps of {features} features", steps=shape[0], features=shape[1])
    return say("a vector of {features} features", features=shape[0])
