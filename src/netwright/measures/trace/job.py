"""The work of one step: forward, loss, backward by the rules beside automatic differentiation, update."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netwright.catalogue import LOSSES, OPTIMIZERS, Part
from netwright.errors import NetwrightError, UsageError
from netwright.language import say
from netwright.measures.trace import activations, dense, norms, pooling, recurrent, sliding
from netwright.measures.trace.asked import named
from netwright.measures.trace.losses import KNOWN, Goal, loss_told
from netwright.measures.trace.record import Call, Pulled, Recorder, Told, View, rule_of
from netwright.measures.trace.result import Step
from netwright.measures.trace.rosenblatt import rosenblatt
from netwright.measures.trace.updates import update_told
from netwright.measures.trace.words import by
from netwright.networks.blocks import Scores
from netwright.networks.perceptrons import Perceptron

MOST_CALLS = 300
CLOSE = 1e-9
"""How far a number by formula may lie from automatic differentiation's, relative to the largest one, to be shown."""
WITH_RULES = (activations, dense, norms, pooling, recurrent, sliding)
"""Importing these fills the table of rules."""


@dataclass
class _Back:
    """One layer's way back: its call, the error it got, what its rule made of it, whose numbers the error is."""

    call: Call
    error: Tensor
    pulled: Pulled | None
    by: str


class Job:
    """One step: the copied model, the batch and how to show it."""

    def __init__(self, model: nn.Module, inputs: Tensor, target: Tensor, view: View, title: str, seed: int) -> None:
        self.model, self.inputs, self.target, self.view, self.title, self.seed = (
            model, inputs, target, view, title, seed,
        )  # fmt: skip
        self.names = {id(weight): name for name, weight in model.named_parameters()}
        self.before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        self.worst = 0.0

    def facts(
        self, loss: str, optimizer: dict[str, Any], losses: tuple[float, float], steps: list[Step]
    ) -> dict[str, Any]:
        """What every trace holds."""
        after = {name: weight.detach().clone() for name, weight in self.model.named_parameters()}
        return {
            "network": self.title,
            "input": list(self.inputs.shape[1:]),
            "examples": len(self.inputs),
            "loss_name": loss,
            "optimizer": optimizer,
            "loss": losses[0],
            "loss_after": losses[1],
            "steps": steps,
            "difference": self.worst,
            "before": self.before,
            "after": after,
        }

    def by_rule(self, optimizer: tuple[str, dict[str, Any]]) -> dict[str, Any]:
        """Rosenblatt's rule, which has no gradient: each mistake moves the weights at once."""
        assert isinstance(self.model, Perceptron)
        outputs = self._forward(Recorder(self.model))
        self._check_classes(outputs)
        part = OPTIMIZERS[optimizer[0]]
        table = {"name": part.name, **part.defaults(), **part.check(optimizer[1])}
        made = self._optimizer(part, part.check(optimizer[1]))
        steps, losses = rosenblatt(self.model, self.inputs, self.target, made, self.view.digits)
        values = LOSSES["perceptron"](self.model(self.inputs).detach(), self.target)
        found = self.facts("perceptron", table, (sum(losses) / len(losses), float(values.mean())), steps)
        return {**found, "outputs": {"out": outputs.detach()}, "rule": True}

    def run(self, loss: str | Mapping[str, Any], optimizer: tuple[str, dict[str, Any]]) -> dict[str, Any]:
        """Forward, loss, backward, update; then the loss once more."""
        recorder = Recorder(self.model)
        outputs = self._forward(recorder)
        part, settings = self._loss(loss, outputs)
        values = self._values(part, settings, outputs)
        values.mean().backward()
        steps = [self._told(call) for call in recorder.calls]
        told, first = self._loss_told(part, settings, outputs, values)
        steps += told
        backs = self._back(recorder, outputs, first)
        gradients, sources = self._gradients(backs)
        steps += [self._back_told(back, gradients, sources) for back in backs]
        rule, rate = OPTIMIZERS[optimizer[0]], OPTIMIZERS[optimizer[0]].check(optimizer[1])
        steps += self._update(rule, {**rule.defaults(), **rate}, gradients, sources)
        with torch.no_grad():
            later = self._values(part, settings, self._forward(Recorder(self.model)))
        losses = (float(values.detach().mean()), float(later.mean()))
        found = self.facts(part.name, {"name": rule.name, **rule.defaults(), **rate}, losses, steps)
        return {
            **found,
            "outputs": {call.name: call.returned for call in recorder.calls},
            "errors": {back.call.name: back.error for back in backs},
            "gradients": gradients,
        }

    def _loss_told(
        self, part: Part, settings: dict[str, Any], outputs: Tensor, values: Tensor
    ) -> tuple[list[Step], Tensor]:
        """The loss's two rows, and the error that it sends into the network."""
        goal = Goal(outputs.detach(), self.target, settings)
        formula, slope, rule = KNOWN.get(part.name, (part.formula, "", None))
        told = loss_told(part.name, formula, goal, values.detach(), self.view.digits)
        auto = outputs.grad if outputs.grad is not None else torch.zeros_like(outputs)
        mine = rule(goal) / len(values) if rule and goal.fits else None
        known = mine is not None and self._agrees(mine, auto)
        first = mine if known and mine is not None else auto.clone()
        slope = (slope + "; e = dl/dz / examples" * (len(values) > 1)) if known else ""
        forward = Step("loss", "loss", part.name, *_parts(told), by="formula" if known else "")
        whose = "formula" if known else "autograd"
        return [forward, Step("backward", "loss", part.name, slope, {"error": first}, by=whose)], first

    def _forward(self, recorder: Recorder) -> Tensor:
        torch.random.default_generator.manual_seed(self.seed)  # torch.manual_seed would touch other devices, too
        inputs = self.inputs.clone()
        if inputs.is_floating_point():
            inputs.requires_grad_(True)
        try:
            outputs = recorder.run(inputs)
        except (RuntimeError, ValueError, IndexError, TypeError, AttributeError, AssertionError) as error:
            if isinstance(error, NetwrightError):
                raise
            shape, reason = by(self.inputs.shape[1:]), (str(error).splitlines() or [""])[0][:200]
            text = say(
                "network {name!r} cannot take examples of shape {shape} while it trains", name=self.title, shape=shape
            )
            raise UsageError(f"{text}: {reason}") from error
        if isinstance(outputs, Scores):
            text = say("network {name!r} gives auxiliary outputs while it trains.", name=self.title)
            raise UsageError(text + " " + say("Build it with aux=false."))
        if not isinstance(outputs, Tensor) or outputs.ndim < 2 or len(outputs) != len(self.inputs):
            raise UsageError(say("network {name!r} gives no tensor with one row per example.", name=self.title))
        if len(recorder.calls) > MOST_CALLS:
            raise UsageError(
                say("{count} layers are too many to show; at most {most}.", count=len(recorder.calls), most=MOST_CALLS)
            )
        if outputs.requires_grad and not outputs.is_leaf:
            outputs.retain_grad()
        return outputs

    def _loss(self, loss: str | Mapping[str, Any], outputs: Tensor) -> tuple[Part, dict[str, Any]]:
        name, settings = named(loss)
        if name == "auto":
            classes = not self.target.is_floating_point() and self.target.ndim == 1
            name = "mse" if not classes else "bce_with_logits" if outputs.shape[1] == 1 else "cross_entropy"
        part = LOSSES[name]
        return part, {**part.defaults(), **part.check(settings)}

    def _check_classes(self, outputs: Tensor) -> None:
        """Classes are counted from 0 to outputs - 1; with one output they are 0 and 1."""
        if len(self.target) != len(self.inputs):
            came, count = len(self.target), len(self.inputs)
            raise UsageError(say("{came} targets for {count} examples.", came=came, count=count))
        if self.target.is_floating_point() or self.target.ndim != 1:
            return
        least = 0 if outputs.shape[1] > 1 else -1  # losses of a margin also take the labels -1 and 1
        last = max(outputs.shape[1] - 1, 1)
        low, high = int(self.target.min()), int(self.target.max())
        if low < least or high > last:
            wrong = low if low < least else high
            raise UsageError(
                say("target {wrong}: the classes of this network are 0 to {last}.", wrong=wrong, last=last)
            )

    def _values(self, part: Part, settings: dict[str, Any], outputs: Tensor) -> Tensor:
        self._check_classes(outputs)
        try:
            values: Tensor = part(_read(part, outputs), self.target, **settings)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if isinstance(error, NetwrightError):
                raise
            reason = (str(error).splitlines() or [""])[0][:200]
            shapes = {"outputs": by(outputs.shape), "target": by(self.target.shape)}
            text = say("loss {name!r} cannot take outputs {outputs} and target {target}", name=part.name, **shapes)
            raise UsageError(f"{text}: {reason}") from error
        return values

    def _agrees(self, mine: Tensor, auto: Tensor | None) -> bool:
        """Whether a number by formula is automatic differentiation's; the largest difference is kept."""
        if auto is None or mine.shape != auto.shape or not (mine.isfinite().all() and auto.isfinite().all()):
            return False
        apart = float((mine - auto).abs().max()) if mine.numel() else 0.0
        if apart > CLOSE * (1 + float(auto.abs().max() if auto.numel() else 0.0)):
            return False
        self.worst = max(self.worst, apart)
        return True

    def _told(self, call: Call) -> Step:
        rule = rule_of(call.module)
        told = rule.forward(call, self.view) if rule else Told("", {"input": call.given, "output": call.returned})
        told = Told(told.formula, _kept(told.numbers), told.worked)
        return Step("forward", call.name, call.kind, *_parts(told), by="formula" if rule else "")

    def _back(self, recorder: Recorder, outputs: Tensor, first: Tensor) -> list[_Back]:
        """From the last call to the first: errors added up where a tensor was read more than once."""
        errors = {id(outputs): first}
        found = []
        for call in reversed(recorder.calls):
            auto, mine = call.left.grad, errors.get(id(call.left))
            if auto is None:
                continue
            known = mine is not None and self._agrees(mine, auto)
            error = mine if known and mine is not None else auto
            rule = rule_of(call.module)
            pulled = rule.backward(call, error) if rule else None
            for tensor, piece in pulled.into if pulled else []:
                errors[id(tensor)] = errors[id(tensor)] + piece if id(tensor) in errors else piece
            found.append(_Back(call, error, pulled, "formula" if known else "autograd"))
        return found

    def _gradients(self, backs: list[_Back]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Each trained weight's gradient, and whether it came by formula; a weight used twice adds both up."""
        summed: dict[int, Tensor] = {}
        for back in backs:
            for short, value in back.pulled.weights.items() if back.pulled else []:
                weight = back.call.module.get_parameter(short) if short in back.call.module._parameters else None
                if weight is not None:
                    summed[id(weight)] = summed[id(weight)] + value if id(weight) in summed else value
        gradients, sources = {}, {}
        for name, weight in self.model.named_parameters():
            if weight.grad is None:
                continue
            mine = summed.get(id(weight))
            known = mine is not None and self._agrees(mine, weight.grad)
            gradients[name] = mine if known and mine is not None else weight.grad.clone()
            sources[name] = "formula" if known else "autograd"
        return gradients, sources

    def _back_told(self, back: _Back, gradients: dict[str, Tensor], sources: dict[str, str]) -> Step:
        """A layer's row: its error, its weights' gradients, the error it hands on."""
        pulled = back.pulled
        own = {
            short: self.names[id(weight)]
            for short, weight in back.call.module.named_parameters()
            if self.names.get(id(weight)) in gradients
        }
        numbers: dict[str, Any] = {"error": back.error, **(pulled.told.numbers if pulled else {})}
        shown = {short: gradients[name] for short, name in own.items()}
        for short, name in own.items():
            if pulled and short in pulled.weights and sources[name] == "formula":
                shown[short] = pulled.weights[short]  # of this call alone: a weight used twice adds up in the update
        if shown:
            numbers["gradients"] = shown
        if pulled and len(pulled.into) == 1:
            numbers["input_error"] = pulled.into[0][1]
        elif not pulled and back.call.entered.grad is not None:
            numbers["input_error"] = back.call.entered.grad.clone()
        told = pulled.told if pulled else Told("")
        known = pulled is not None and back.by == "formula" and all(sources[name] == "formula" for name in own.values())
        source = "formula" if known else "autograd"
        return Step("backward", back.call.name, back.call.kind, told.formula, numbers, told.worked, source)

    def _optimizer(self, part: Part, settings: dict[str, Any]) -> torch.optim.Optimizer:
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        try:
            made: torch.optim.Optimizer = part(weights, **settings)
        except (RuntimeError, ValueError, TypeError) as error:
            if isinstance(error, NetwrightError):
                raise
            raise UsageError(say("optimizer {name!r}: {error}", name=part.name, error=error)) from error
        return made

    def _update(
        self, part: Part, settings: dict[str, Any], gradients: dict[str, Tensor], sources: dict[str, str]
    ) -> list[Step]:
        """The optimizer's own step, all weights at once, and each weight's row."""
        if not gradients:
            return []
        self._optimizer(part, settings).step()
        steps = []
        for name, weight in self.model.named_parameters():
            if name in gradients:
                change = (self.before[name], gradients[name], weight.detach().clone())
                told, known = update_told(part.name, part.formula, settings, change, self.view.digits)
                steps.append(Step("update", name, part.name, *_parts(told), by=sources[name] if known else ""))
        return steps


def _read(part: Part, outputs: Tensor) -> Tensor:
    """What a loss reads, as in training: networks end in plain numbers, some losses read (log-)probabilities."""
    reads = part.facts.get("reads")
    if reads == "log-probabilities":
        return outputs.log_softmax(1)
    return outputs.sigmoid() if reads == "probabilities" else outputs


def _parts(told: Told) -> tuple[str, dict[str, Any], list[str]]:
    return told.formula, told.numbers, told.worked


def _kept(value: Any) -> Any:
    """A copy of every array, so that the update to come does not reach into what is told of the step before it."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _kept(one) for key, one in value.items()}
    return [_kept(one) for one in value] if isinstance(value, list) else value
