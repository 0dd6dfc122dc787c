"""A person's batches: any iterable of pairs, read within limits, without moving what it draws from."""

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from netwright.doctor.subject import Pair
from netwright.doctor.task import first_tensor
from netwright.errors import UsageError
from netwright.language import say

EXAMPLES = 20_000
"""At most so many examples are kept for the examination."""
NUMBERS = 2**26
"""At most so many numbers of inputs: 256 MB of float32."""


def read_batches(batches: Iterable[Any], place: torch.device, most: int = 0) -> tuple[list[Pair], int]:
    """The first batches on a device, within the limits, and how many an epoch has."""
    if isinstance(batches, (tuple, list)) and len(batches) == 2 and all(isinstance(part, Tensor) for part in batches):
        batches = [tuple(batches)]  # one pair of tensors is one batch
    found: list[Pair] = []
    examples = numbers = 0
    copies = type(batches).__module__ == "builtins" and not inspect.isgenerator(batches)  # a loader's iterator cannot
    source = copy.copy(batches) if isinstance(batches, Iterator) and copies else batches
    for item in islice(source, most or None):
        pair = pair_of(item, place)
        if not len(pair):
            continue
        examples, numbers = examples + len(pair), numbers + first_tensor(pair.inputs[0]).numel()
        if found and (examples > EXAMPLES or numbers > NUMBERS):
            break
        found.append(pair)
    if not found:
        raise UsageError(say("examine: there are no batches; (inputs, targets) pairs are wanted"))
    return found, _length(batches, len(found))


def _length(batches: Any, read: int) -> int:
    """The batches of an epoch where it is known: a loader of an iterable data set has a length that cannot be asked."""
    try:
        return len(batches)
    except TypeError:
        return read


def pair_of(item: Any, place: torch.device) -> Pair:
    """A batch as people write it: (inputs, targets), (inputs, ..., targets), or a table with its targets named."""
    if isinstance(item, Mapping):
        names = [name for name in ("targets", "target", "labels", "label", "y") if name in item]
        if not names:
            text = say(
                "examine: a batch is a table without targets; its names are {names}", names=", ".join(map(str, item))
            )
            raise UsageError(text)
        rest = tuple(_on(value, place) for name, value in item.items() if name != names[0])
        return Pair(rest, _on(item[names[0]], place))
    if isinstance(item, Tensor):
        return Pair((_on(item, place),), _on(item, place))  # an autoencoder's batches are inputs alone
    if not isinstance(item, Sequence) or len(item) < 2:
        raise UsageError(say("examine: a batch is (inputs, targets), {kind} came", kind=type(item).__name__))
    return Pair(tuple(_on(part, place) for part in item[:-1]), _on(item[-1], place))


def _on(value: Any, place: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(place)
    return (
        torch.as_tensor(value).to(place)
        if type(value).__module__ == "numpy" or isinstance(value, (list, int, float))
        else value
    )


def rereads(batches: Any) -> bool:
    return not isinstance(batches, Iterator)


def same(one: Pair, other: Pair) -> bool:
    a, b = first_tensor(one.inputs[0]), first_tensor(other.inputs[0])
    return a.shape == b.shape and bool(torch.equal(a, b))


def generators(batches: Any) -> list[torch.Generator]:
    """The generators that a loader draws from: reading it must leave them where they stood."""
    sampler = getattr(batches, "sampler", None)
    found = [getattr(owner, "generator", None) for owner in (batches, sampler, getattr(batches, "batch_sampler", None))]
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())
