"""Forward passes that stop: which layer wants another size, type or layout than it gets."""

import re
from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn

from netwright.doctor.code import CodeLive
from netwright.doctor.subject import Change, Live
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

SMALL = ("kernel size can't be greater", "output size is too small", "calculated padded input size")


class Stop:
    """Where a forward pass stops: the innermost module, its path and the shape and type of what it was given."""

    def __init__(self, path: str, module: nn.Module, given: Tensor | None, first: bool) -> None:
        self.path, self.module, self.given, self.first = path, module, given, first

    @property
    def where(self) -> str:
        kind = type(self.module).__name__
        return f"{self.path} ({kind})" if self.path else say("forward of {kind}", kind=kind)


def in_forward(model: nn.Module, stop: Stop, text: str) -> Suspicion | None:
    if "same device" in text or "expected device" in text:
        places = sorted({str(t.device) for t in (*model.parameters(), *model.buffers())})
        return Suspicion(
            "E2",
            say("tensors on different devices"),
            stop.where,
            {"devices": ", ".join(places)},
            1.0,
            True,
            harm=say(
                "a tensor kept in a plain attribute does not move with its module: use register_buffer or nn.Parameter"
            ),
        )
    if stop.given is None:
        return _by_words(stop, text)
    found = _types(stop) or _sizes(stop) or _small(stop, text)
    return found or _by_words(stop, text)


def _types(stop: Stop) -> Suspicion | None:
    """Inputs of another type than the weights."""
    given, weight = stop.given, next(stop.module.parameters(recurse=False), None)
    if given is None or weight is None:
        return None
    evidence: dict[str, Any] = {"inputs": type_name(given), "weights": type_name(weight)}
    if isinstance(stop.module, nn.Embedding):
        if given.is_floating_point():
            return Suspicion(
                "A15",
                say("token numbers that are no whole numbers"),
                stop.where,
                evidence,
                1.0,
                True,
                harm=say("an embedding is looked up by whole numbers"),
                changes=[_reading(say("inputs as whole numbers"), "inputs.long()", lambda x: x.long())],
            )
        top, rows = int(given.max()), stop.module.num_embeddings
        if top < rows and int(given.min()) >= 0:
            return None
        evidence = {"lowest": int(given.min()), "highest": top, "rows": rows}
        return Suspicion(
            "A15",
            say("token numbers outside the embedding"),
            stop.where,
            evidence,
            1.0,
            True,
            harm=say("token {token} has no row; nn.Embedding({rows}, ...) would have one", token=top, rows=top + 1),
        )
    if given.dtype == weight.dtype:
        return None
    fix = _reading(
        say("inputs as {kind}", kind=type_name(weight)),
        f"inputs.to(torch.{type_name(weight)})",
        lambda x: x.to(weight.dtype),
    )
    return Suspicion(
        "A1",
        say("inputs of another number type than the weights"),
        stop.where,
        evidence,
        1.0,
        True,
        harm=say("torch multiplies numbers of one type only"),
        changes=[fix],
    )


def _sizes(stop: Stop) -> Suspicion | None:
    """A layer that wants another size than it gets."""
    given, module = stop.given, stop.module
    assert given is not None
    wanted, axis = _wanted(module)
    if wanted is None:
        return None
    dims = (module.weight.dim(),) if isinstance(module, nn.modules.conv._ConvNd) else ()
    came = given.shape[axis] if given.dim() > abs(axis) else 0
    if came == wanted and (not dims or given.dim() in (dims[0], dims[0] - 1)):
        return None
    evidence = {"given": str(tuple(given.shape)), "wanted": wanted, "came": came, "axis": axis}
    fixes = _layouts(stop, wanted, given) if stop.first else []
    harm = say(
        "the layer wants {wanted} numbers along axis {axis}, and {came} come: shape {shape}",
        wanted=wanted,
        axis=axis,
        came=came,
        shape=str(tuple(given.shape)),
    )
    if stop.first:
        return Suspicion(
            "A4",
            say("inputs in another layout than the first layer wants"),
            stop.where,
            evidence,
            1.0,
            True,
            harm=harm,
            changes=fixes or ([_another(module, came)] if came else []),
        )
    return Suspicion(
        "C12",
        say("layers whose sizes do not fit"),
        stop.where,
        evidence,
        1.0,
        True,
        harm=harm,
        changes=[_another(module, came)] if came else [],
    )


def _another(module: nn.Module, came: int) -> Change:
    """A layer of the size that comes: to be written, for its weights do not exist yet."""
    name = say("a layer for {came} inputs", came=came)
    return Change(name, say("it then fits what comes"), {"code": _written(module, came)})


def _wanted(module: nn.Module) -> tuple[int | None, int]:
    """How many numbers a layer wants along which axis."""
    if isinstance(module, nn.Linear):
        return module.in_features, -1
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.in_channels, 1
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return module.num_features, 1
    if isinstance(module, nn.LayerNorm):
        return int(module.normalized_shape[-1]), -1
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return module.input_size, -1
    return None, 0


def _written(module: nn.Module, came: int) -> str:
    if isinstance(module, nn.Linear):
        return f"nn.Linear({came}, {module.out_features})"
    if isinstance(module, nn.modules.conv._ConvNd):
        return f"nn.{type(module).__name__}({came}, {module.out_channels}, {tuple(module.kernel_size)})"
    return f"nn.{type(module).__name__}({came}, ...)"


def _layouts(stop: Stop, wanted: int, given: Tensor) -> list[Change]:
    """What to do with the inputs, where another reading of the same numbers fits."""
    if isinstance(stop.module, nn.Linear) and given.dim() > 2 and given[0].numel() == wanted:
        return [_reading(say("flat inputs"), "inputs.flatten(1)", lambda x: x.flatten(1))]
    if isinstance(stop.module, nn.Linear) and given.dim() == 2 and given.shape[0] == wanted:
        return [_reading(say("examples as rows"), "inputs.T", lambda x: x.T)]
    if isinstance(stop.module, nn.Linear) and given.dim() == 1 and wanted == 1:
        return [_reading(say("one column"), "inputs.unsqueeze(1)", lambda x: x.unsqueeze(1))]
    if isinstance(stop.module, nn.modules.conv._ConvNd):
        dims = stop.module.weight.dim()
        if given.dim() == dims and given.shape[-1] == wanted:
            return [_reading(say("channels first"), "inputs.movedim(-1, 1)", lambda x: x.movedim(-1, 1))]
        if given.dim() == dims - 1 and wanted == 1:
            return [_reading(say("one channel"), "inputs.unsqueeze(1)", lambda x: x.unsqueeze(1))]
    return []


def _small(stop: Stop, text: str) -> Suspicion | None:
    words = text.lower()
    shape = str(tuple(stop.given.shape)) if stop.given is not None else ""
    if any(part in words for part in SMALL):
        kernel = str(getattr(stop.module, "kernel_size", ""))
        return Suspicion(
            "C12",
            say("maps too small for the layer"),
            stop.where,
            {"given": shape, "kernel": kernel},
            1.0,
            True,
            harm=say("poolings and strides have left fewer pixels than the kernel is wide"),
        )
    if "more than 1 value per channel" in words:
        return Suspicion(
            "C13",
            say("batch normalisation of a single value"),
            stop.where,
            {"given": shape},
            1.0,
            True,
            harm=say("one value has no variance: take larger batches, drop_last=True, or another norm"),
        )
    return None


def _by_words(stop: Stop, text: str) -> Suspicion | None:
    """Products written in a `forward`: torch names the two shapes."""
    found = re.search(r"\((\d+)x(\d+) and (\d+)x(\d+)\)", text)
    if found is None:
        return None
    rows, came, wanted, columns = map(int, found.groups())
    evidence = {"given": f"({rows}, {came})", "weights": f"({wanted}, {columns})", "wanted": wanted, "came": came}
    harm = say(
        "the layer wants {wanted} numbers along axis {axis}, and {came} come: shape {shape}",
        wanted=wanted,
        axis=-1,
        came=came,
        shape=f"({rows}, {came})",
    )
    fault = (
        ("A4", say("inputs in another layout than the first layer wants"))
        if stop.first
        else ("C12", say("layers whose sizes do not fit"))
    )
    return Suspicion(*fault, stop.where, evidence, 1.0, True, harm=harm)


def type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _reading(name: str, code: str, change: Callable[[Tensor], Tensor]) -> Change:
    def apply(live: Live) -> None:
        cast(CodeLive, live).reads.append(lambda inputs: (change(inputs[0]), *inputs[1:]))

    return Change(name, say("the same numbers in the form the network reads"), {"code": code}, apply)
