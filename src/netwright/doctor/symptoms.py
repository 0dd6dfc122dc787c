"""The exact and cheap checks that follow every training: what its records say for certain, with the numbers.

A symptom is `symptom(trace) -> Finding | None`; its id is that of the fault in the catalogue (`netwright list faults`).
Those marked as notes show no harm and never count as faults. What records alone cannot tell, `diagnose` measures.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from netwright.catalogue import LOSSES, Range
from netwright.doctor.findings import Finding, Remedy, rounded
from netwright.language import say
from netwright.parts.losses import pairing


@dataclass(frozen=True)
class Trace:
    """What a finished training left to look at."""

    task: str
    loss: str
    loss_scale: float
    """The loss of the best constant predictor on the training targets, in the units of training; NaN where unknown."""
    lowest_train_loss: float
    train: dict[str, Any]
    """Metrics on (a sample of) the training split at the best epoch."""
    validation: dict[str, Any]
    class_counts: Sequence[int]
    class_names: Sequence[str]
    recalls: Sequence[float | None]
    """Share of each class's examples that the network recognises (validation or test)."""
    still: Sequence[str]
    """Trainable tensors that ended exactly as they began."""
    frozen: Sequence[str]
    """Parameters that do not ask for gradients."""
    non_finite: dict[str, Any] | None
    steps: int
    recipe: dict[str, Any]
    stopped: str = "non-finite"
    """Why the training ended."""
    quotients: Sequence[float] = ()
    """The line quotients of the steps that were measured, in order; see `netwright.training.quotients`."""
    behind: dict[str, Any] | None = None
    """By how much the best simple learner is better, where it is so beyond chance."""


Symptom = Callable[[Trace], Finding | None]
SYMPTOMS: dict[str, tuple[Symptom, bool]] = {}
"""By fault: its symptom, and whether it is only a note."""


def symptom(fault: str, note: bool = False) -> Callable[[Symptom], Symptom]:
    """Decorator: what a finished training's records say about a fault."""

    def register(check: Symptom) -> Symptom:
        SYMPTOMS[fault] = check, note
        return check

    return register


@symptom("D10")
def non_finite_numbers(trace: Trace) -> Finding | None:
    """A loss or gradient stopped being a finite number, at a known step with known examples."""
    found = trace.non_finite
    if found is None:
        return None
    ids = found["examples"]
    evidence = {
        "where": found["where"],
        "step": found["step"],
        "epoch": found["epoch"],
        "batch": found["step"],
        "examples": ids[:20],
    }
    rate = trace.recipe.get("optimizer", {}).get("lr")
    remedies = []
    if isinstance(rate, float):
        remedies.append(Remedy({"optimizer.lr": rounded(rate / 10)}, say("smaller steps keep the numbers in range")))
    remedies.append(Remedy({"training.clip_norm": 1.0}, say("a clipped gradient cannot throw the weights far")))
    return Finding(
        "D10",
        say("non-finite numbers"),
        say("{where} at step {step}", where=say(found["where"]), step=found["step"]),
        evidence,
        say("training stopped there; the weights kept are those of the best epoch before")
        if trace.stopped == "non-finite"
        else say("these examples have no prediction, and the metrics no value"),
        remedies,
    )


@symptom("E2")
def parameters_never_moved(trace: Trace) -> Finding | None:
    """Trainable parameters ended bit for bit as they began."""
    if not trace.still or not trace.steps:
        return None
    return Finding(
        "E2", say("parameters that never moved"), ", ".join(trace.still[:5]),
        {"tensors": list(trace.still[:50]), "count": len(trace.still), "steps": trace.steps},
        say("these parameters learnt nothing: no gradient reaches them, or it is zero on every example"),
        [Remedy({"network.activation": "leaky_relu"}, say("a unit that is never active passes no gradient back"))]
        if trace.recipe.get("network", {}).get("activation") == "relu" else [],
    )  # fmt: skip


@symptom("F2")
def not_below_constant(trace: Trace) -> Finding | None:
    """The training loss never fell below that of the best constant prediction."""
    if (
        trace.non_finite is not None  # that says enough
        or not 1e-9 < trace.loss_scale < math.inf  # below a constant that costs nothing there is no room
        or not math.isfinite(trace.lowest_train_loss)
        or trace.lowest_train_loss < trace.loss_scale
    ):
        return None
    rate = trace.recipe.get("optimizer", {}).get("lr")
    remedies = []
    if isinstance(rate, float):
        remedies = [
            Remedy({"optimizer.lr": rounded(rate / 10)}, say("the steps may be too large")),
            Remedy({"optimizer.lr": rounded(rate * 10)}, say("or far too small")),
        ]
    return Finding(
        "F2", say("loss not below a constant prediction"), say("training loss"),
        {"lowest_train_loss": trace.lowest_train_loss, "constant_loss": trace.loss_scale},
        say("the network has learnt less than the class shares (or the mean) already tell"), remedies,
    )  # fmt: skip


FEWEST = 3
"""So many measured steps at least tell something about a training."""


@symptom("D1")
def steps_too_long(trace: Trace) -> Finding | None:
    """Steps leave their batch worse off than they found it, and the network trails a simple learner."""
    q = sorted(trace.quotients)
    if len(q) < FEWEST or trace.behind is None:
        return None
    middle, unstable = q[len(q) // 2], sum(value < -1 for value in q) / len(q)
    if middle >= -0.5 and unstable <= 0.1:
        return None
    rate = trace.recipe.get("optimizer", {}).get("lr")
    remedies = [Remedy({"optimizer.lr": rounded(rate / 10)}, say("shorter steps"))] if isinstance(rate, float) else []
    evidence = {
        "median_quotient": middle,
        "unstable_share": unstable,
        "threshold": 0.1,
        "steps": len(q),
        **trace.behind,
    }
    return Finding("D1", say("learning rate too high"), "optimizer.lr", evidence, _trails(trace.behind), remedies)


@symptom("D2")
def steps_too_short(trace: Trace) -> Finding | None:
    """Steps are far too short to matter, and the network trails a simple learner."""
    short = sum(value > 0.98 for value in trace.quotients)
    if len(trace.quotients) < FEWEST or trace.behind is None or short <= 0.9 * len(trace.quotients):
        return None
    rate = trace.recipe.get("optimizer", {}).get("lr")
    remedies = [Remedy({"optimizer.lr": rounded(rate * 10)}, say("longer steps"))] if isinstance(rate, float) else []
    evidence = {
        "short_share": short / len(trace.quotients),
        "threshold": 0.98,
        "steps": len(trace.quotients),
        **trace.behind,
    }
    return Finding("D2", say("learning rate too low"), "optimizer.lr", evidence, _trails(trace.behind), remedies)


def _trails(behind: dict[str, Any]) -> str:
    return say("{metric} {reached:.4g}; the {baseline} baseline reaches {value:.4g}", metric=behind["metric"],
               reached=behind["reached"], baseline=behind["baseline"], value=behind["value"])  # fmt: skip


@symptom("F1", note=True)
def train_validation_gap(trace: Trace, *, points: Annotated[float, Range(0, 1)] = 0.1) -> Finding | None:
    """The network is much better on what it has seen than on what it has not."""
    name = "accuracy" if trace.task == "classify" else "r2"
    seen, unseen = trace.train.get(name), trace.validation.get(name)
    if seen is None or unseen is None or seen - unseen <= points:
        return None
    return Finding(
        "F1", say("gap between training and validation"), name,
        {f"train_{name}": seen, f"validation_{name}": unseen, "gap": seen - unseen}, "",
        [Remedy({"optimizer.weight_decay": 1e-2}, say("smaller weights generalise better"))],
    )  # fmt: skip


@symptom("A7", note=True)
def class_imbalance(trace: Trace, *, ratio: Annotated[float, Range(1)] = 10.0) -> Finding | None:
    """The largest class has many times the examples of the smallest."""
    counts = np.array(trace.class_counts)
    if len(counts) < 2 or counts.min() <= 0 or counts.max() <= ratio * counts.min():
        return None
    most, least = int(counts.argmax()), int(counts.argmin())
    evidence = {
        "most": trace.class_names[most], "most_examples": int(counts[most]),
        "least": trace.class_names[least], "least_examples": int(counts[least]),
        "recall": dict(zip(trace.class_names, trace.recalls, strict=False)) if len(counts) <= 50 else {},
    }  # fmt: skip
    return Finding(
        "A7", say("uneven classes"), say("training examples"), evidence, "",
        [Remedy({"training.class_weights": "balanced"}, say("every class then weighs the same in the loss"))],
    )  # fmt: skip


@symptom("B5", note=True)
def loss_made_for_numbers(trace: Trace) -> Finding | None:
    """A loss for numbers judges classes behind a sigmoid or softmax: surely wrong examples pass almost no gradient."""
    if trace.task != "classify" or LOSSES[trace.loss].facts["target"] != "number":
        return None
    pair = pairing(str(trace.recipe.get("loss", {}).get("link", "identity")), trace.loss)
    if pair.fits:
        return None
    evidence = {"activation": pair.activation, "loss": pair.loss, "gradient": pair.gradient, "needed": pair.needed}
    return Finding(
        "B5", say("loss made for numbers"), say("loss"), evidence, "", [Remedy({"loss": pair.instead}, pair.why)]
    )  # fmt: skip


def examine(trace: Trace) -> tuple[list[Finding], list[Finding]]:
    """All findings and all notes for a trace."""
    findings: list[Finding] = []
    notes: list[Finding] = []
    for check, note in SYMPTOMS.values():
        found = check(trace)
        if found is not None:
            (notes if note else findings).append(found)
    if {"D1", "D2"} & {found.fault for found in findings}:  # they say why the loss stayed where it was
        findings = [found for found in findings if found.fault != "F2"]
    return findings, notes
