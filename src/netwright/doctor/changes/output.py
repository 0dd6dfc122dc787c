"""Changes between a network's last layer and its loss: last activation, loss, shapes, sign, head and labels."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.catalogue import ACTIVATIONS
from netwright.doctor.changes.signal import make, network, rewritten, wrap
from netwright.doctor.chart import Chart, named
from netwright.doctor.code import CodeLive
from netwright.doctor.gauges.contract import contract_of, quiet
from netwright.doctor.ops import WEIGHTED, Op
from netwright.doctor.subject import Change, Live
from netwright.doctor.task import Task, first_tensor, flat_targets
from netwright.language import say

Loss = Callable[[Any, Any], Tensor]
WRITTEN = {
    "cross_entropy": "nn.CrossEntropyLoss()", "bce_with_logits": "nn.BCEWithLogitsLoss()", "mse": "nn.MSELoss()",
    "huber": "nn.HuberLoss()",
}  # fmt: skip
NAMES = {"cross_entropy": "cross_entropy", "bce_with_logits": "bce_with_logits", "mse": "mse", "huber": "smooth_l1"}
"""The same in recipes."""


# the last activation ----------------------------------------------------------------------------------------------


def plain_head(chart: Chart, loss: str = "", ops: Sequence[Op] = ()) -> Change | None:
    """Leave out what stands behind the last layer (or `ops` of it); the outputs go to the same loss or to `loss`."""
    part = bool(ops)
    ops = ops or chart.head
    if not ops or not (part or chart.subject.recipe is not None or ends_in(chart, ops[-1])):
        return None

    def apply(live: Live) -> None:
        for op in ops:
            wrap(live, op.key, lambda op, func, inner: op.inputs[0] if op.inputs else op.settings["input"])
        if not part:
            _gives_scores(live)
        if loss:
            _judge_by(live, textbook_loss(live.task, loss))

    names = ", ".join(dict.fromkeys(op.name for op in ops))
    patch = _without_last(chart) | ({"loss": NAMES[loss]} if loss and _own_loss(chart) != NAMES[loss] else {})
    places = named([op.where for op in ops])
    if loss:
        code = say("leave out {names} ({places}) and use {loss}", names=names, places=places, loss=WRITTEN[loss])
        name = say("plain outputs to {loss}", loss=NAMES[loss])
    else:
        code = say("leave out {names} ({places}): give the loss the plain outputs", names=names, places=places)
        name = say("no {names} at the end", names=names)
    why = say("the loss gets outputs of any size and applies what it needs itself")
    return make(chart, name, why, patch, code, apply)


def ends_in(chart: Chart, op: Op) -> bool:
    """Whether what an operation gives is what the network gives, in whatever shape; an activation written by hand may
    have an exponential in it that is only a part of it."""
    given, outputs = op.output, contract_of(chart).outputs
    if not isinstance(given, Tensor) or given.numel() > outputs.numel():
        return False
    first = outputs.reshape(-1)[: given.numel()]
    return bool(torch.allclose(given.reshape(-1).sort().values, first.sort().values.to(given), atol=1e-6))


def undone(chart: Chart, squash: str) -> Change | None:
    """The scores behind a softmax or sigmoid of the person's own, to the same loss: log p, or log p / (1 - p)."""

    def scores(outputs: Any) -> Tensor:
        shares = first_tensor(outputs)
        shares = shares.clamp(1e-7, 1 - 1e-7)
        return shares.log() if squash == "softmax" else shares.logit()

    def apply(live: Live) -> None:
        own = cast(CodeLive, live).loss
        _judge_by(live, lambda outputs, targets: own(scores(outputs), targets))
        cast(CodeLive, live).judged = scores
        _gives_scores(live)

    return make(chart, say("no {names} at the end", names=squash),
                say("the loss gets outputs of any size and applies what it needs itself"), {},
                say("leave out the {squash}: give the loss the plain outputs", squash=squash), apply)  # fmt: skip


def _without_last(chart: Chart) -> dict[str, Any]:
    """The patch of a `stack` whose last items are activations, or of a loss with a link."""
    found: dict[str, Any] = {}
    if network(chart).get("name") == "stack":
        found |= rewritten(chart, _shortened)
    link = chart.recipe.get("loss", {}).get("link", "identity")
    return found | ({"loss.link": "identity"} if link != "identity" else {})


def _shortened(items: list[str]) -> list[str]:
    kept = list(items)
    while len(kept) > 1 and _first_word(kept[-1]) in ACTIVATIONS:
        kept.pop()
    return kept


def _first_word(item: str) -> str:
    return item.strip().replace("(", " ").split(" ")[0]


def right_axis(chart: Chart, ops: Sequence[Op]) -> Change | None:
    """The softmax over the classes (the last axis) instead of another one."""

    def apply(live: Live) -> None:
        for op in ops:
            wrap(live, op.key, lambda op, func, inner: func(op.inputs[0] if op.inputs else op.settings["input"], -1))

    if chart.subject.recipe is not None or not ops:
        return None
    return make(chart, say("softmax over the classes"), say("each example's shares then sum to one"), {},
                say("dim=-1 in {places}", places=named([op.where for op in ops])), apply)  # fmt: skip


def activated_before(chart: Chart, activation: str) -> Change | None:
    """`log_softmax`, `softmax` or `sigmoid` in front of a loss that wants its values."""
    made: dict[str, Callable[[Tensor], Tensor]] = {
        "log_softmax": lambda o: o.log_softmax(1 if o.dim() > 1 else 0),
        "softmax": lambda o: o.softmax(1 if o.dim() > 1 else 0), "sigmoid": torch.sigmoid,
    }  # fmt: skip

    def apply(live: Live) -> None:
        own = cast(CodeLive, live).loss
        _judge_by(live, lambda outputs, targets: own(made[activation](first_tensor(outputs)), targets))
        _gives_scores(live)

    if chart.subject.recipe is not None:
        return None  # there the objective does it
    return make(chart, say("{activation} before the loss", activation=activation),
                say("the loss reads what {activation} gives", activation=activation), {},
                say("loss({activation}(outputs), targets)", activation=activation), apply)  # fmt: skip


# the loss ---------------------------------------------------------------------------------------------------------


def fitting_name(task: Task, width: int) -> str:
    """The loss that fits a task, for so many outputs an example."""
    if task.kind == "numbers":
        return "mse"
    return "cross_entropy" if task.kind == "classes" and width > 1 else "bce_with_logits"


def other_loss(chart: Chart, name: str) -> Change | None:
    """Another loss on the same outputs: `cross_entropy`, `bce_with_logits`, `mse` or `huber`; targets are recoded."""
    if _own_loss(chart) == NAMES[name]:
        return None

    def apply(live: Live) -> None:
        _judge_by(live, textbook_loss(live.task, name))
        if name in ("cross_entropy", "bce_with_logits"):
            _gives_scores(live)

    return make(chart, say("loss {name}", name=NAMES[name]), say("it is made for these targets"),
                {"loss": NAMES[name]}, say("use {loss}", loss=WRITTEN[name]), apply)  # fmt: skip


def textbook_loss(task: Task, name: str) -> Loss:
    """torch's own loss on plain outputs, averaged, with targets in whatever form they came."""

    def loss(outputs: Any, targets: Any) -> Tensor:
        found = first_tensor(outputs)
        if name == "cross_entropy":
            if task.kind == "classes" and task.form == "index" and found.dim() > 2:
                return F.cross_entropy(found, flat_targets(targets).long())
            return F.cross_entropy(found.reshape(-1, found.shape[-1]), task.truth(targets).reshape(-1).long())
        goal = task.truth(targets)
        if task.kind == "classes" and found.numel() != goal.numel():
            goal = F.one_hot(goal, found.shape[-1])
        goal = goal.to(found).reshape(found.shape)
        if name == "bce_with_logits":
            return F.binary_cross_entropy_with_logits(found, goal)
        return F.mse_loss(found, goal) if name == "mse" else F.huber_loss(found, goal)

    return loss


def aligned(chart: Chart) -> Change | None:
    """Outputs brought to the shape of the targets before the loss compares them."""

    def apply(live: Live) -> None:
        own = cast(CodeLive, live).loss

        def loss(outputs: Any, targets: Any) -> Tensor:
            goal = flat_targets(targets)
            return own(first_tensor(outputs).reshape(goal.shape), targets)

        _judge_by(live, loss)

    if chart.subject.recipe is not None:
        return None
    wide = flat_targets(chart.subject.batches[0].targets).dim() > 1
    return make(chart, say("equal shapes"), say("every output then meets its own target alone"), {},
                say("targets.squeeze(1)") if wide else say("outputs.squeeze(1) before the loss"), apply)  # fmt: skip


def averaged(chart: Chart) -> Change | None:
    """The mean over the batch instead of the sum."""

    def apply(live: Live) -> None:
        own = cast(CodeLive, live).loss
        _judge_by(live, lambda outputs, targets: own(outputs, targets) / max(1, len(flat_targets(targets))))

    return make(chart, say("mean over the batch"), say("the step is then the same for batches of any size"), {},
                say('reduction="mean"'), apply)  # fmt: skip


def negated(chart: Chart) -> Change | None:
    """Minus the loss."""

    def apply(live: Live) -> None:
        own = cast(CodeLive, live).loss
        _judge_by(live, lambda outputs, targets: -own(outputs, targets))

    return make(chart, say("the loss's sign turned"), say("what is minimised must fall as answers improve"), {},
                say("minimise the loss, not minus the loss"), apply)  # fmt: skip


def minimised(chart: Chart) -> Change | None:
    """An optimizer that walks downhill, by the ordinary step."""

    def apply(live: Live) -> None:
        for optimizer in live.optimizers:
            for group in optimizer.param_groups:
                if "maximize" in group:
                    group["maximize"] = False
        cast(CodeLive, live).without_own_step()

    return make(chart, say("steps downhill"), say("each step then lowers the loss of its batch"), {},
                say("maximize=False; loss.backward() of the loss itself"), apply)  # fmt: skip


def _judge_by(live: Live, loss: Loss) -> None:
    branch = cast(CodeLive, live)
    branch.loss = loss
    branch.without_own_step()


def _gives_scores(live: Live) -> None:
    """Outputs are scores from here on: a single one says yes above 0, not above one half."""
    vars(live)["gives_scores"] = True


def _own_loss(chart: Chart) -> str:
    return str(chart.recipe.get("loss", {}).get("name", ""))


# the head ---------------------------------------------------------------------------------------------------------


def head_of(chart: Chart) -> tuple[str, nn.Linear] | None:
    """The last linear layer that is a module, where nothing weighted follows it."""
    weighted = [op for op in chart.ops if op.name in WEIGHTED]
    if not weighted:
        return None
    with chart.subject.live() as live:
        found = dict(live.model.named_modules()).get(weighted[-1].path)
        return (weighted[-1].path, found) if type(found) is nn.Linear and weighted[-1].path else None


def head_of_units(chart: Chart, units: int, loss: str = "cross_entropy", values: Tensor | None = None) -> Change | None:
    """A new last layer with so many units and no activation behind it, for the loss `loss`.

    `values`: the numbers the classes stand for, where a task of numbers is answered by classes.
    """
    if chart.subject.recipe is not None:
        return None  # there the head follows the data
    found = head_of(chart)
    if found is None:
        return None
    path, _ = found
    ops = chart.head

    def apply(live: Live) -> None:
        replace_head(live, path, units)
        for op in ops:
            wrap(live, op.key, lambda op, func, inner: op.inputs[0] if op.inputs else op.settings["input"])
        _gives_scores(live)
        if values is None:
            _judge_by(live, textbook_loss(live.task, loss))
            return
        _judge_by(live, _by_place(values, units))
        cast(CodeLive, live).judged = lambda outputs: values[_rows(outputs, units).argmax(1)][:, None].float()

    return make(chart, say("{units} output units", units=units), say("each class then has a score of its own"), {},
                say("nn.Linear({inputs}, {units}) in {path}, with {loss}", inputs=found[1].in_features, units=units,
                    path=path, loss=WRITTEN[loss]), apply)  # fmt: skip


def _rows(outputs: Any, units: int) -> Tensor:
    return first_tensor(outputs).reshape(-1, units)


def _by_place(values: Tensor, units: int) -> Loss:
    """Cross-entropy with targets that are some of `values`, each a class."""

    def loss(outputs: Any, targets: Any) -> Tensor:
        wanted = flat_targets(targets).reshape(-1).to(values)
        return F.cross_entropy(_rows(outputs, units), torch.searchsorted(values, wanted).clamp(max=units - 1))

    return loss


def replace_head(live: Live, path: str, units: int) -> None:
    """A new linear layer in a branch, trained by the optimizer that trained the old one, with its settings."""
    parent, _, name = path.rpartition(".")
    holder = live.model.get_submodule(parent)
    old = cast(nn.Linear, live.model.get_submodule(path))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        new = nn.Linear(old.in_features, units, old.bias is not None, device=old.weight.device, dtype=old.weight.dtype)
    setattr(holder, name, new)
    gone = {id(p) for p in old.parameters()}
    for optimizer in live.optimizers:
        for group in optimizer.param_groups:
            if any(id(p) in gone for p in group["params"]):
                group["params"] = [p for p in group["params"] if id(p) not in gone] + list(new.parameters())
                group.pop("param_names", None)
                return
    if live.optimizers:
        live.optimizers[0].param_groups[0]["params"].extend(new.parameters())


# labels -----------------------------------------------------------------------------------------------------------


def recoded(chart: Chart, low: float, high: float) -> Change | None:
    """Two-valued targets written as `low` and `high` before the loss sees them."""

    def apply(live: Live) -> None:
        own, task = cast(CodeLive, live).loss, live.task

        def loss(outputs: Any, targets: Any) -> Tensor:
            found = flat_targets(targets)
            middle = (task.low + task.high) / 2 if task.form == "binary" else float(found.float().mean())
            coded = torch.where(found.float() > middle, high, low).to(first_tensor(outputs))
            with quiet():
                return own(outputs, coded)

        _judge_by(live, loss)

    if chart.subject.recipe is not None:
        return None
    return make(chart, say("targets as {low:g} and {high:g}", low=low, high=high),
                say("the loss is written for these two values"), {},
                say("targets = {low:g} and {high:g} for the two classes", low=low, high=high), apply)  # fmt: skip
