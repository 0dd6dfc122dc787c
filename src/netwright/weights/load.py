"""Published weights into a network: by a key map, with the first layer and the head adapted, or not at all.

Nothing is copied before everything fits. What may differ: a grey picture's first layer takes the sum over the file's
red, green and blue, which gives equal numbers; for other numbers of channels nothing does, so they are refused;
a head for another number of classes stays fresh; TensorFlow's background class (row 0 of 1001)
is dropped; auxiliary heads are optional on either side; `num_batches_tracked` may be missing. Everything else that
does not fit is refused with the list of what it is.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netwright.data.files.tree import printable
from netwright.errors import DataError
from netwright.language import say
from netwright.weights import forms
from netwright.weights.files import WeightsFile, opened
from netwright.weights.keymaps import Map, Shapes, fits, layout

SHOWN = 20
COUNTER = "num_batches_tracked"
BACKGROUND, CLASSES = 1001, 1000


@dataclass(frozen=True)
class Loaded:
    """What was loaded: the file and its digest, how many tensors, and what was adapted on the way."""

    file: str
    sha256: str
    tensors: int
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One or two lines for the person at the terminal."""
        first = say("weights: {count} tensors of {file}", count=self.tensors, file=printable(self.file))
        return [first, *(["; ".join(self.notes)] if self.notes else [])]

    def to_json(self) -> dict[str, Any]:
        return {"file": self.file, "sha256": self.sha256, "tensors": self.tensors, "notes": self.notes}


class Misfit(DataError):
    """Weights that do not fit a network: which are missing, which are unexpected, which have another shape."""

    def __init__(
        self, where: str, network: str, missing: list[str], unexpected: list[str], wrong: dict[str, list[Any]],
        advice: str = "",
    ) -> None:  # fmt: skip
        self.missing, self.unexpected, self.wrong = missing, unexpected, wrong
        shapes = [say("{name} (file {theirs}, network {own})", name=name, theirs=theirs, own=own)
                  for name, (theirs, own) in wrong.items()]  # fmt: skip
        text = say("weights {path} do not fit network {network!r}:", path=where, network=network)
        parts = [
            say("{count} missing: {names}", count=len(missing), names=_some(missing)) if missing else "",
            say("{count} unexpected: {names}", count=len(unexpected), names=_some(unexpected)) if unexpected else "",
            say("{count} of another shape: {names}", count=len(wrong), names=_some(shapes)) if wrong else "",
        ]
        lines = "\n".join(filter(None, parts))
        super().__init__(f"{text} {lines}" + (f". {advice}" if advice else ""))


def _some(names: list[str]) -> str:
    """The first twenty, and how many more there are."""
    shown = ", ".join(printable(name) for name in names[:SHOWN])
    more = say("{count} more", count=len(names) - SHOWN) if len(names) > SHOWN else ""
    return f"{shown}, {more}" if more else shown


def load(model: nn.Module, path: Path | str, table: dict[str, Any] | None = None, expect: str = "") -> Loaded:
    """Copy the weights in the safetensors file `path` into `model`; returns what was done.

    `table` is the network's recipe table (name and settings), for messages; `expect` is the SHA-256 that the file must
    have, where a run has recorded one. Number types are converted to the network's. Errors: DataError for a file that
    cannot be read, has changed or holds numbers that are not finite; `Misfit` where it does not fit. The network is
    unchanged then.
    """
    table = table or {}
    network = str(table.get("name", type(model).__name__))
    with opened(path) as file:
        if expect and file.digest != expect:
            raise DataError(say("weights {path} are not those this run started with (their SHA-256 differs)",
                                path=printable(str(path))))  # fmt: skip
        notes: list[str] = []
        chosen = fitted(model, file, network, table, notes)
        tensors = {name: _read(file, *how) for name, how in chosen.items()}
    own = model.state_dict()
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor.reshape(own[name].shape))
    notes += forms.notes(model, table, file.shapes)
    return Loaded(str(path), file.digest, len(tensors), notes)


def fitted(
    model: nn.Module, file: WeightsFile, network: str, table: dict[str, Any], notes: list[str]
) -> dict[str, tuple[str, str]]:
    """Our name -> (the file's name, how to adapt it), for everything that is loaded. Errors: `Misfit`."""
    own: Shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    _, names = layout(own, file.shapes)
    first = entry(model)
    recounted = {layer: count for layer in heads(model) if (count := _other_count(layer, own, names, file.shapes))}
    chosen: dict[str, tuple[str, str]] = {}
    missing, wrong = [], {}
    absent = {top for top in map(_top, own) if is_auxiliary(top)}
    absent -= {top for top in absent if any(_top(name) == top and names[name] in file.shapes for name in own)}
    for name, shape in own.items():
        if _top(name) in absent:
            continue
        if names[name] not in file.shapes:
            if name.rpartition(".")[2] != COUNTER:
                missing.append(name)
            continue
        theirs, layer = file.shapes[names[name]], name.rpartition(".")[0]
        if fits(shape, theirs) and layer not in recounted:
            chosen[name] = (names[name], "")
        elif layer in recounted:
            if (recounted[layer], shape[0]) == (BACKGROUND, CLASSES):
                chosen[name] = (names[name], "background")
        elif name == first and _grey(shape, theirs):
            chosen[name] = (names[name], "grey")
            notes.append(say("{name}: summed over red, green and blue for grey pictures", name=name))
        else:
            wrong[name] = [list(theirs), list(shape)]
    for layer, count in recounted.items():
        here = own[f"{layer}.weight"][0]
        if (count, here) == (BACKGROUND, CLASSES):
            notes.append(say("{name}: the file's first class, the background, was dropped", name=layer))
        else:
            notes.append(say("{name}: left fresh ({theirs} classes in the file, {own} here)",
                             name=layer, theirs=count, own=here))  # fmt: skip
    unexpected = _unexpected(file.shapes, names, own, notes)
    notes += [say("{name}: left fresh, the file has no auxiliary head", name=top) for top in sorted(absent)]
    if missing or wrong or unexpected:
        advice = _advice(model, missing, wrong, first, table)
        raise Misfit(printable(str(file.path)), network, missing, unexpected, wrong, advice)
    return chosen


def _other_count(layer: str, own: Shapes, names: Map, theirs: Shapes) -> int:
    """The file's number of classes where a head differs from ours in that alone; else 0."""
    mine = [name for name in own if name.rpartition(".")[0] == layer and names[name] in theirs]
    pairs = [(own[name], theirs[names[name]]) for name in mine]
    counts = {other[0] for _, other in pairs if other}
    if len(counts) != 1 or any(not shape or shape[0] in counts for shape, _ in pairs):
        return 0
    (count,) = counts
    return count if all(fits((count, *shape[1:]), other) for shape, other in pairs) else 0


def _unexpected(theirs: Shapes, names: Map, own: Shapes, notes: list[str]) -> list[str]:
    """What the file holds and the network does not; whole auxiliary heads are dropped with a note."""
    used = {names[name] for name in own}
    rest = [name for name in theirs if name not in used and name.rpartition(".")[2] != COUNTER]
    mine = {_top(name) for name in own}
    dropped = sorted({_top(name) for name in rest if is_auxiliary(_top(name)) and _top(name) not in mine})
    notes += [say("{name}: not taken, the network has no auxiliary head", name=top) for top in dropped]
    return [name for name in rest if _top(name) not in dropped]


def _top(name: str) -> str:
    return name.partition(".")[0]


def is_auxiliary(top: str) -> bool:
    """Whether a top-level name is that of an auxiliary head."""
    return top.lower().startswith("aux")


def heads(model: nn.Module) -> list[str]:
    """Names of the layers that make scores of classes: the last linear layer or 1x1 convolution, one an auxiliary head.

    They are the ones that another number of classes leaves fresh.
    """
    found: dict[str, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and set(module.kernel_size) == {1}):
            found[_top(name) if is_auxiliary(_top(name)) else ""] = name
    return list(found.values())


def entry(model: nn.Module) -> str:
    """The name of the weight that reads the picture: the first convolution's."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            return f"{name}.weight" if name else "weight"
    return ""


def _grey(own: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
    """Whether a first layer for one channel meets a file's for three."""
    return len(own) == len(theirs) == 4 and own == (theirs[0], 1, *theirs[2:]) and theirs[1] == 3


def read_finite(file: WeightsFile, name: str) -> Tensor:
    """One tensor of a file. Errors: DataError where it holds numbers that are not finite."""
    tensor = file.tensor(name)
    if tensor.is_floating_point() and not bool(tensor.float().isfinite().all()):
        raise DataError(say("weights {path}: {name} holds numbers that are not finite",
                            path=printable(str(file.path)), name=printable(name)))  # fmt: skip
    return tensor


def _read(file: WeightsFile, name: str, how: str) -> Tensor:
    tensor = read_finite(file, name)
    if how == "grey":
        return tensor.double().sum(1, keepdim=True)
    return tensor[1:] if how == "background" else tensor


def _advice(
    model: nn.Module, missing: list[str], wrong: dict[str, list[Any]], first: str, table: dict[str, Any]
) -> str:
    """The nearest right thing, where one is known."""
    theirs, own = wrong.get(first, [[], []])
    if len(theirs) == len(own) == 4 and [theirs[0], *theirs[2:]] == [own[0], *own[2:]]:
        return say("The file's first layer reads {theirs} channels, this one {own}; a file for colour "
                   "pictures fits 3 channels, or 1 by their sum.", own=own[1], theirs=theirs[1])  # fmt: skip
    if table.get("width", 1.0) != 1.0:
        return say("Published weights are for width = 1; here network.width = {width}.", width=table["width"])
    if wrong and table.get("stem", "full") != "full":
        return say("Small pictures get a smaller network; network.stem=full is the published one.")
    return ""
