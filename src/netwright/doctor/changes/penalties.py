"""Changes of what pulls on the weights: weight decay, penalties in the loss, label smoothing, dropout."""

from itertools import chain
from typing import Any

from torch import Tensor, nn

from netwright.doctor.changes.steps import group_setting, live_of, setting
from netwright.doctor.findings import rounded
from netwright.doctor.subject import Change, Live, Subject
from netwright.language import say


def no_decay(subject: Subject, factor: float = 0.0) -> Change | None:
    """Weight decay times a factor, 0 by default."""
    given = group_setting(subject, "weight_decay")
    if subject.recipe is None:
        given = max((float(group.get("weight_decay", 0) or 0) for group in _groups(subject)), default=0.0)
    if not isinstance(given, (int, float)) or not given > 0:
        return None
    value = rounded(given * factor)
    why = say("the weights then follow the data, not the pull towards 0")
    if subject.recipe is not None:
        return Change(f"weight decay {value:g}", why, {"optimizer.weight_decay": value})

    def apply(live: Live) -> None:
        for optimizer in live.optimizers:
            for group in optimizer.param_groups:
                if "weight_decay" in group:
                    group["weight_decay"] *= factor

    return Change(f"weight decay {value:g}", why, {"code": f"weight_decay={value:g}"}, apply)


def _groups(subject: Subject) -> list[dict[str, Any]]:
    optimizer = getattr(subject, "optimizer", None)
    return list(chain(optimizer.param_groups)) if optimizer is not None else []


def weight_decay(subject: Subject, value: float = 1e-2) -> Change | None:
    """A weight decay, where there was less."""
    given = group_setting(subject, "weight_decay")
    if given is None or given >= value:
        return None
    why = say("smaller weights generalise better")
    if subject.recipe is not None:
        return Change(f"weight decay {value:g}", why, {"optimizer.weight_decay": value})

    def apply(live: Live) -> None:
        for optimizer in live.optimizers:
            for group in optimizer.param_groups:
                group["weight_decay"] = value

    return Change(f"weight decay {value:g}", why, {"code": f"weight_decay={value:g}"}, apply)


def no_penalty(subject: Subject) -> Change | None:
    """No L1 or L2 in the loss."""
    why = say("the weights then follow the data, not the pull towards 0")
    if subject.recipe is not None:
        patch = {f"training.{name}": 0.0 for name in ("l1", "l2") if setting(subject, "training", name)}
        return Change("no penalty", why, patch) if patch else None

    def apply(live: Live) -> None:
        branch = live_of(live)
        branch.without_own_step()
        own = branch.loss

        def loss(outputs: Any, targets: Any) -> Tensor:
            found, penalty = own(outputs, targets), own(detached(outputs), targets)
            return found - (penalty - penalty.detach())  # the same value; its gradient goes through the outputs alone

        branch.loss = loss

    return Change("no penalty", why, {"code": say("leave the penalty on the weights out of the loss")}, apply)


def detached(value: Any) -> Any:
    """Outputs without their history."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {key: detached(item) for key, item in value.items()}
    return type(value)(detached(item) for item in value) if type(value) in (tuple, list) else value


def smoothing(subject: Subject, value: float = 0.0) -> Change | None:
    """Another label smoothing."""
    why = say("the targets then say what the labels say") if not value else say("no answer has to be quite certain")
    if subject.recipe is not None:
        if setting(subject, "loss", "label_smoothing") in (None, value):
            return None
        return Change(f"label smoothing {value:g}", why, {"loss.label_smoothing": value})
    loss = getattr(subject, "loss", None)
    if not isinstance(loss, nn.CrossEntropyLoss) or loss.label_smoothing == value:
        return None

    def apply(live: Live) -> None:
        live_of(live).extras.callback(setattr, loss, "label_smoothing", loss.label_smoothing)
        loss.label_smoothing = value

    return Change(f"label smoothing {value:g}", why, {"code": f"CrossEntropyLoss(label_smoothing={value:g})"}, apply)


def no_dropout(subject: Subject) -> Change | None:
    """Dropout off."""
    why = say("every unit then works at every step")
    if subject.recipe is not None:
        return Change("no dropout", why, {"network.dropout": 0.0}) if setting(subject, "network", "dropout") else None
    model: nn.Module = getattr(subject, "model")  # noqa: B009  only code has one
    drops = [m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0]
    if not drops:
        return None

    def apply(live: Live) -> None:
        for module in drops:
            live_of(live).extras.callback(setattr, module, "p", module.p)
            module.p = 0.0

    return Change("no dropout", why, {"code": "Dropout(0)"}, apply)
