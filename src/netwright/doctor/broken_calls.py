"""What torch's errors at the first forward pass or loss call mean: which sizes, types or values do not fit, where.

A program that stops at its first step is a finding like any other: a fault, a place, the numbers and what to write.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from netwright.doctor.broken_forward import Stop, in_forward, type_name
from netwright.doctor.changes.output import replace_head
from netwright.doctor.code import CodeLive
from netwright.doctor.gauges.contract import FAILS, quiet
from netwright.doctor.ops import JUDGES, Tracing
from netwright.doctor.subject import Change, Live, Pair, untouched
from netwright.doctor.suspicion import Suspicion
from netwright.doctor.task import first_tensor, flat_targets
from netwright.language import say

Fix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
ABOUT = (
    "size",
    "shape",
    "dimension",
    "target",
    "batch",
    "dtype",
    "type",
    "index",
    "bound",
    "between 0 and 1",
    "number",
)
"""Words of errors about what a loss was handed."""


def broken_call(
    model: nn.Module, loss: Callable[[Any, Any], Any], pair: Pair, error: BaseException
) -> Suspicion | None:
    """What an error of the first forward pass, loss or backward pass says; None where it is none of the known ones.

    The forward pass is run again to see where it stops; nothing of the model or torch's random numbers is changed.
    """
    stop = _walk(model, pair)
    if isinstance(stop, Stop):
        return in_forward(model, stop, str(error))
    try:
        outputs, targets = first_tensor(stop), flat_targets(pair.targets)
    except FAILS:
        return None
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return None
    words = str(error).lower()
    if not any(word in words for word in ABOUT):
        return None  # not about what the loss was handed
    return _in_loss(model, outputs, targets, _judge(loss, stop, pair.targets), words)


def _walk(model: nn.Module, pair: Pair) -> Any:
    """The outputs, or where the forward pass stops."""
    names = {id(module): name for name, module in model.named_modules()}
    stack: list[tuple[nn.Module, Tensor | None]] = []
    done: list[nn.Module] = []

    def enter(module: nn.Module, given: tuple[Any, ...]) -> None:
        stack.append((module, next((one for one in given if isinstance(one, Tensor)), None)))

    def leave(module: nn.Module, *_: Any) -> None:
        if stack and stack[-1][0] is module:
            stack.pop()
        if next(module.parameters(recurse=False), None) is not None:
            done.append(module)

    hooks = [module.register_forward_pre_hook(enter) for module in model.modules()]
    hooks += [module.register_forward_hook(leave) for module in model.modules()]
    try:
        with torch.no_grad(), quiet(), untouched(model):
            return model(*pair.inputs)
    except FAILS:
        module, given = stack[-1] if stack else (model, None)
        return Stop(names.get(id(module), ""), module, given, not done)
    finally:
        for hook in hooks:
            hook.remove()


def _judge(loss: Callable[[Any, Any], Any], outputs: Any, targets: Any) -> str:
    """torch's name of the loss that was called last, whether it answered or not."""
    asked: list[str] = []

    class Asked(Tracing):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") in JUDGES:
                asked.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs)

    try:
        with torch.no_grad(), quiet(), Asked(JUDGES):
            loss(outputs, targets)
    except FAILS:
        pass
    return asked[-1] if asked else ""


# ------------------------------------------------------------------------------------------------------ in the loss


def _in_loss(model: nn.Module, outputs: Tensor, targets: Tensor, judge: str, words: str) -> Suspicion | None:
    evidence: dict[str, Any] = {
        "outputs": str(tuple(outputs.shape)),
        "targets": str(tuple(targets.shape)),
        "target_type": type_name(targets),
    }
    evidence |= {"loss": judge} if judge else {}
    ranged = "between 0 and 1" in words or judge == "binary_cross_entropy"
    return (
        (_out_of_unit(outputs, targets, evidence) if ranged else None)
        or _class_numbers(model, outputs, targets, judge, words, evidence)
        or _shapes(outputs, targets, evidence)
        or _target_type(outputs, targets, evidence)
    )


def _out_of_unit(outputs: Tensor, targets: Tensor, evidence: dict[str, Any]) -> Suspicion | None:
    for fault, found, name in (
        ("B2", outputs, say("the loss wants another activation")),
        ("A15", targets, say("labels in another form than the loss reads")),
    ):
        low, high = float(found.min()), float(found.max())
        if low < 0 or high > 1 or low != low:
            kept = {**evidence, "lowest": low, "highest": high, "wanted": "0..1"}
            if fault == "B2":
                change = Change(
                    say("plain outputs to bce_with_logits"),
                    say("it applies the sigmoid itself"),
                    {"code": "nn.BCEWithLogitsLoss()"},
                    _with_logits,
                )
                harm = say("the loss takes the logarithm of its input, and nothing keeps that above zero")
                return Suspicion(fault, name, say("loss"), kept, 1.0, True, harm=harm, changes=[change])
            harm = say("binary cross-entropy compares with 0 and 1")
            return Suspicion(
                fault, name, say("targets"), kept, 1.0, True, harm=harm, changes=_as_one_hot(outputs, targets)
            )
    return None


def _as_one_hot(outputs: Tensor, targets: Tensor) -> list[Change]:
    """Class numbers as rows of 0 and 1, where every class has its unit."""
    units = outputs.shape[1] if outputs.dim() == 2 else 0
    whole = bool((targets.double() == targets.double().round()).all()) and targets.numel() == len(outputs)
    if units < 2 or not whole or not 0 <= int(targets.min()) <= int(targets.max()) < units:
        return []
    return [
        _fitted(
            say("one-hot targets"),
            _flat(f"F.one_hot(targets.long(), {units}).float()", targets),
            lambda o, y: (o, torch.nn.functional.one_hot(y.reshape(-1).long(), units).to(o.dtype)),
        )
    ]


def _with_logits(live: Live) -> None:
    branch = cast(CodeLive, live)
    judge = torch.nn.functional.binary_cross_entropy_with_logits
    branch.loss = lambda outputs, targets: judge(first_tensor(outputs), flat_targets(targets))
    branch.without_own_step()
    vars(live)["gives_scores"] = True


def _class_numbers(
    model: nn.Module, outputs: Tensor, targets: Tensor, judge: str, words: str, evidence: dict[str, Any]
) -> Suspicion | None:
    """A loss by class numbers: their type, their form and their range."""
    by_index = (
        judge in ("cross_entropy", "nll_loss", "multi_margin_loss") or "out of bounds" in words or "index" in words
    )
    if not by_index or outputs.dim() < 2 or targets.numel() == 0:
        return None
    name, units = say("labels in another form than the loss reads"), outputs.shape[1]
    whole = bool((targets.double() == targets.double().round()).all())
    column = targets.numel() == len(outputs)
    other = targets.dtype not in (torch.int64, torch.uint8) and targets.shape != outputs.shape
    if other and whole and column and targets.dim() <= 2:
        longs = _fitted(
            say("class numbers as whole numbers"), _flat("targets.long()", targets),
            lambda o, y: (o, y.reshape(-1).long()),
        )  # fmt: skip
        harm = say("class numbers are whole numbers (int64), and {kind} came", kind=type_name(targets))
        return Suspicion("A15", name, say("targets"), evidence, 1.0, True, harm=harm, changes=[longs])
    if targets.is_floating_point():
        return None
    low, high = int(targets.min()), int(targets.max())
    if (high >= units or low < 0) and (column or targets.dim() == outputs.dim() - 1):
        return _outside(model, targets, units, low, high, evidence)
    if targets.dim() == 2 and targets.shape[1] == 1 and outputs.dim() == 2:
        harm = say("class numbers have the shape (N,), and {shape} came", shape=str(tuple(targets.shape)))
        row = _fitted(say("class numbers in one row"), "targets.squeeze(1)", lambda o, y: (o, y.reshape(-1)))
        return Suspicion("A15", name, say("targets"), evidence, 1.0, True, harm=harm, changes=[row])
    if targets.shape == outputs.shape:
        harm = say("one-hot targets are shares and so of a floating type; {kind} came", kind=type_name(targets))
        floats = _fitted(say("targets as numbers"), "targets.float()", lambda o, y: (o, y.to(o.dtype)))
        return Suspicion("A15", name, say("targets"), evidence, 1.0, True, harm=harm, changes=[floats])
    if outputs.dim() == 3 and targets.shape == outputs.shape[:2]:
        harm = say("the loss reads classes on axis 1: (N, K, T); {shape} came", shape=str(tuple(outputs.shape)))
        turned = _fitted(say("classes on axis 1"), "outputs.transpose(1, 2)", lambda o, y: (o.transpose(1, 2), y))
        where = say("loss")
        return Suspicion(
            "B9", say("classes on the wrong axis"), where, evidence, 1.0, True, harm=harm, changes=[turned]
        )  # fmt: skip
    return None


def _outside(model: nn.Module, targets: Tensor, units: int, low: int, high: int, evidence: dict[str, Any]) -> Suspicion:
    """Class numbers below 0 or above what the head has units for."""
    seen = len(targets.unique())
    kept = {**evidence, "lowest": low, "highest": high, "classes": seen, "units": units}
    if high - low < units and low != 0:
        name = say("labels in another form than the loss reads")
        return Suspicion(
            "A15",
            name,
            say("targets"),
            kept,
            1.0,
            True,
            harm=say(
                "class numbers run from 0 to {last}; these run from {low} to {high}", last=units - 1, low=low, high=high
            ),
            changes=[_fitted(say("class numbers from 0"), f"targets - {low}", lambda o, y: (o, y - low))],
        )
    return Suspicion(
        "B7",
        say("a head of the wrong width"),
        say("last layer"),
        kept,
        1.0,
        True,
        harm=say(
            "class {label} has no unit: the last layer has {units}, it needs {wanted}",
            label=high,
            units=units,
            wanted=high + 1,
        ),
        changes=_more_units(model, units, high + 1) if low >= 0 else [],
    )


def _more_units(model: nn.Module, units: int, wanted: int) -> list[Change]:
    """The last linear layer of so many units with more of them."""
    paths = [
        name for name, part in model.named_modules() if type(part) is nn.Linear and part.out_features == units and name
    ]
    if not paths:
        return []
    inputs = cast(nn.Linear, model.get_submodule(paths[-1])).in_features
    return [
        Change(
            say("{units} output units", units=wanted),
            say("each class then has a score of its own"),
            {"code": f"{paths[-1]} = nn.Linear({inputs}, {wanted})"},
            lambda live: replace_head(live, paths[-1], wanted),
        )
    ]


def _shapes(outputs: Tensor, targets: Tensor, evidence: dict[str, Any]) -> Suspicion | None:
    """Outputs and targets of different shapes, where the loss compares number with number."""
    if outputs.shape == targets.shape:
        return None
    if outputs.numel() == targets.numel():
        code = _reshaped(outputs, targets)
        return Suspicion(
            "B8",
            say("shapes that do not fit in the loss"),
            say("loss"),
            evidence,
            1.0,
            True,
            harm=say("the loss compares number with number and wants equal shapes"),
            changes=[_fitted(say("equal shapes"), code, lambda o, y: (o.reshape(y.shape), y.to(o.dtype)))],
        )
    if outputs.dim() and targets.dim() and len(outputs) != len(targets):
        return Suspicion(
            "A4",
            say("outputs and targets of different lengths"),
            say("loss"),
            evidence,
            1.0,
            True,
            harm=say(
                "{outputs} rows of outputs meet {targets} rows of targets: a view mixes examples",
                outputs=len(outputs),
                targets=len(targets),
            ),
        )
    return Suspicion(
        "B7",
        say("a head of the wrong width"),
        say("last layer"),
        evidence,
        1.0,
        True,
        harm=say(
            "each example has {outputs} outputs and {targets} targets",
            outputs=outputs[0].numel() if outputs.dim() else 1,
            targets=targets[0].numel() if targets.dim() else 1,
        ),
    )


def _reshaped(outputs: Tensor, targets: Tensor) -> str:
    """What brings both to one shape."""
    if targets.dim() == outputs.dim() - 1 and outputs.shape[1] == 1:
        return "outputs.squeeze(1)"
    column = targets.dim() == outputs.dim() + 1 and targets.shape[1] == 1
    return "targets.squeeze(1)" if column else "outputs.reshape(targets.shape)"


def _flat(code: str, targets: Tensor) -> str:
    return f"{code}.squeeze(1)" if targets.dim() == 2 else code


def _target_type(outputs: Tensor, targets: Tensor, evidence: dict[str, Any]) -> Suspicion | None:
    """Targets of equal shape and another number type."""
    if outputs.dtype == targets.dtype:
        return None
    return Suspicion(
        "A15",
        say("labels in another form than the loss reads"),
        say("targets"),
        evidence,
        1.0,
        True,
        harm=say(
            "the loss compares numbers of one type: outputs are {outputs}, targets {targets}",
            outputs=type_name(outputs),
            targets=type_name(targets),
        ),
        changes=[
            _fitted(
                say("targets as numbers"), f"targets.to(torch.{type_name(outputs)})", lambda o, y: (o, y.to(o.dtype))
            )
        ],
    )


def _fitted(name: str, code: str, fix: Fix) -> Change:
    """The person's own loss with outputs and targets brought into its form."""

    def apply(live: Live) -> None:
        branch = cast(CodeLive, live)
        own = branch.loss
        branch.loss = lambda outputs, targets: own(*fix(first_tensor(outputs), flat_targets(targets)))
        branch.without_own_step()

    return Change(name, say("the loss then reads what was meant"), {"code": code}, apply)
