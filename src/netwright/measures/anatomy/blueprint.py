"""Networks built without memory for their weights, to be measured; sizes that cannot be built are explained."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from netwright.errors import NetwrightError, UsageError
from netwright.language import say
from netwright.measures.anatomy import observed
from netwright.measures.anatomy.failure import LARGEST, WrongSize
from netwright.measures.anatomy.passes import FAILURES
from netwright.measures.anatomy.shortcuts import shortcut
from netwright.measures.anatomy.tables import by
from netwright.measures.anatomy.watch import name_of
from netwright.networks.shapes import shape_of

Ends = Mapping[str, Any]
Build = Callable[[Ends], nn.Module]


class Blank(TorchDispatchMode):
    """Fills no weights: where there is no memory, an initializer has nothing to do."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled; True would import torch's compiler at the first operation."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = shortcut(name_of(func), args, kwargs or {})
        return func(*args, **(kwargs or {})) if result is None else result


def blueprint(name: str, inputs: Ends, build: Build) -> nn.Module:
    """The network that `build` makes for `inputs`, on torch's meta device.

    A network whose making needs numbers is built with them. Errors: what `build` says; for a picture too small for the
    network a WrongSize instead, with that message, the layers of the same network up to the one that fails, and the
    smallest picture that works.
    """
    try:
        return _built(inputs, build)
    except UsageError as error:
        if inputs.get("kind") != "image":
            raise
        least = _least(inputs, build)
        if not least:
            raise
        explained = _explained(name, inputs, build, least, error)
        raise explained from (error if explained is not error else None)


def _built(inputs: Ends, build: Build) -> nn.Module:
    try:
        with torch.device("meta"), Blank():
            return build(inputs)
    except NetwrightError:
        raise
    except FAILURES:
        return build(inputs)


def _explained(name: str, inputs: Ends, build: Build, least: int, error: UsageError) -> UsageError:
    """The refusal of a size with the table so far, from the network that is built for the smallest size that works."""
    works = by((inputs["channels"], least, least))
    fix = say("The smallest square input that works is {shape}.", shape=works)
    model = _built({**inputs, "height": least, "width": least}, build)
    try:
        observed(model, shape_of(inputs), name, fix)
    except WrongSize as found:
        explained = WrongSize(f"{error}\n{str(found).partition(chr(10))[2]}")
        explained.layers = found.layers
        return explained
    return error


def _least(inputs: Ends, build: Build) -> int:
    """The smallest side above the given one that can be built; 0 where none up to LARGEST can."""
    below, above = min(inputs["height"], inputs["width"]), max(inputs["height"], inputs["width"])
    while not _possible(above, inputs, build):
        above *= 2
        if above > LARGEST:
            return 0
    while above - below > 1:
        side = (below + above) // 2
        below, above = (below, side) if _possible(side, inputs, build) else (side, above)
    return above


def _possible(side: int, inputs: Ends, build: Build) -> bool:
    try:
        _built({**inputs, "height": side, "width": side}, build)
    except UsageError:
        return False
    return True
