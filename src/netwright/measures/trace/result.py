"""One training step as numbers, ready to read: as text, as JSON, as a page in a notebook."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import torch
from torch import Tensor

from netwright.language import say
from netwright.measures.trace.words import WIDE, block, by, columns_beside, folded, number, plain

Phase = Literal["forward", "loss", "backward", "update"]
LABELS = (
    "input", "output", "weight", "bias", "error", "input error", "target", "outputs", "one hot", "exponentials", "sum",
    "probabilities", "difference", "predicted", "per example", "loss", "before", "gradient", "after", "derivative",
    "mean", "variance", "mask", "gain", "count", "shifted", "score", "margin", "mistake", "bias before", "bias after",
)  # fmt: skip
"""What numbers are called; keys of `numbers` have an underscore in place of the blank."""
BATCHED = (
    "input", "output", "error", "input_error", "outputs", "one_hot", "exponentials", "probabilities", "mask", "sum",
    "difference", "derivative", "shifted", "body", "project", "per_example", "target", "predicted",
)  # fmt: skip
"""Arrays whose first axis counts the examples; with one example the axis is left out in text."""
MOST_ROWS = 12


@dataclass(frozen=True)
class Step:
    """One piece of the step's arithmetic.

    `by` is `formula` where the numbers come from the formula shown, `autograd` where automatic differentiation gave
    them because this kind of layer is not written out, and `` for what was only read (before and after).
    """

    phase: Phase
    layer: str
    kind: str
    formula: str
    numbers: dict[str, Any] = field(default_factory=dict)
    worked: list[str] = field(default_factory=list)
    by: str = "formula"


@dataclass(frozen=True)
class StepTrace:
    """What `trace` found; prints as a page of arithmetic.

    The whole arrays: `outputs` and `errors` (dL/d(output)) by layer, `gradients`, `before` and `after` by weight.
    """

    network: str
    input: list[int]
    examples: int
    loss_name: str
    optimizer: dict[str, Any]
    loss: float
    loss_after: float
    steps: list[Step]
    difference: float
    """The largest difference between a number worked out by formula and automatic differentiation's."""
    outputs: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    errors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    gradients: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    before: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    after: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    rule: bool = False
    """Whether the network learnt by a rule of its own, one example after the other, without gradients."""
    digits: int = 4
    most: int = 64

    def to_json(self) -> dict[str, Any]:
        """Finite numbers or null; an array of more than `most` numbers is {shape, truncated, values}: its corner."""
        return {
            "network": self.network,
            "input": self.input,
            "examples": self.examples,
            "loss": plain({"name": self.loss_name, "before": self.loss, "after": self.loss_after}, self.most),
            "optimizer": plain(self.optimizer, self.most),
            "difference_from_autograd": plain(self.difference, self.most),
            "steps": [self._row(step) for step in self.steps],
        }

    def _row(self, step: Step) -> dict[str, Any]:
        numbers = {key: plain(_short(value), self.most) for key, value in step.numbers.items()}
        facts = {"phase": step.phase, "layer": step.layer, "kind": step.kind, "formula": step.formula}
        return {**facts, "by": step.by, "numbers": numbers, "worked": step.worked}

    def __str__(self) -> str:
        lines, part = self._title(), ""
        for place, step in enumerate(self.steps):
            now = step.layer if self.rule else step.phase
            if now != part:
                part = now
                lines += ["", step.layer if self.rule else _heading(step.phase), "-" * WIDE]
            lines += ["", *self._lines(step, self._said(place))]
        return "\n".join([*lines, "", *self._end()])

    def _title(self) -> list[str]:
        text = say(
            "{network}: one training step as numbers; input {input}, examples: {examples}, 64-bit numbers",
            network=self.network,
            input=by(self.input),
            examples=self.examples,
        )
        return folded(text, 2)

    def _end(self) -> list[str]:
        change = say(
            "loss {name} on the same examples: {before} before, {after} after the step",
            name=self.loss_name,
            before=number(self.loss, self.digits),
            after=number(self.loss_after, self.digits),
        )
        if self.rule:
            return folded(change, 2)
        proof = say(
            "Errors and gradients follow from the formulas; largest difference from autograd: {difference}",
            difference=f"{self.difference:.1e}",
        )
        return [*folded(change, 2), *folded(proof, 2)]

    def _said(self, place: int) -> set[str]:
        """What the neighbouring rows show: a layer's input is the output above, its input's error the error below."""
        step, rest = self.steps[place], self.steps[place + 1 : place + 2]
        above = self.steps[place - 1 : place]
        hidden: set[str] = set()
        if above and step.phase == above[0].phase == "forward" and _same(step, "input", above[0], "output"):
            hidden.add("input")
        if above and step.phase == "loss" and _same(step, "outputs", above[0], "output"):
            hidden.add("outputs")
        if rest and step.phase == rest[0].phase == "backward" and _same(step, "input_error", rest[0], "error"):
            hidden.add("input_error")
        return hidden

    def _lines(self, step: Step, hidden: set[str]) -> list[str]:
        mark = say(" (numbers by autograd)") if step.by == "autograd" else ""
        title = f"{step.layer} ({step.kind})" if step.kind and step.kind != step.layer else step.layer
        lines = folded(f"{title}{mark}: {step.formula}" if step.formula else f"{title}{mark}", 4)
        names = labels()
        for key, value in step.numbers.items():
            if key not in hidden:
                lines += self._values(names.get(key, key), key, value)
        for line in step.worked:
            lines += folded(f"    {line}", 8)
        return lines

    def _values(self, label: str, key: str, value: Any) -> list[str]:
        if isinstance(value, bool):
            return [f"    {label}: {say('yes') if value else say('no')}"]
        if key == "windows":
            return [line for one in value for line in self._window(one)]
        if key == "gradients":
            named = [(f"dL/d({name})", one) for name, one in value.items()]
            return [line for name, one in named for line in block(name, one, 4, self.digits, self.most)]
        if key == "steps":
            return self._over_time(value)
        if key in BATCHED and isinstance(value, Tensor) and self.examples == 1 and value.ndim and len(value) == 1:
            value = value[0]
        return block(label, value, 4, self.digits, self.most)

    def _over_time(self, rows: list[dict[str, Any]]) -> list[str]:
        lines = []
        for row in rows[:MOST_ROWS]:
            rest = {key: value for key, value in row.items() if key != "t"}
            lines += block(f"t = {row['t']}", rest, 4, self.digits, self.most)
        return [*lines, f"    ... ({len(rows)})"] if len(rows) > MOST_ROWS else lines

    def _window(self, found: dict[str, Any]) -> list[str]:
        """A convolution's window beside its kernel and their products, channel by channel, where that fits."""
        if "products" not in found or found["window"].numel() > self.most:
            return []
        at = {"kernel": found["kernel"], "row": found["row"], "column": found["column"]}
        lines = [f"    {say('window of kernel {kernel} at row {row}, column {column}: x * w = products', **at)}"]
        for x, w, made in zip(found["window"], found["weights"], found["products"], strict=True):
            beside = columns_beside([(x, "*"), (w, "="), (made, "")], 8, self.digits)
            lines += [*beside, ""] if len(found["window"]) > 1 else beside
        total = f"        sum = {number(found['sum'], self.digits)}"
        if "bias" in found:
            bias, out = number(found["bias"], self.digits), number(found["output"], self.digits)
            total += f", + b = {number(found['sum'], self.digits)} + {bias} = {out}"
        return [] if any(len(line) > WIDE for line in lines) else [*lines, total]

    def _repr_html_(self) -> str:
        rows = []
        for place, step in enumerate(self.steps):
            numbers = "\n".join(self._lines(step, self._said(place))[1:])
            cells = [step.phase, f"{step.layer} {step.kind}", step.formula]
            text = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            rows.append(f"<tr>{text}<td><pre>{escape(numbers)}</pre></td></tr>")
        caption = escape(" ".join(self._title()))
        end = escape(" ".join(self._end()))
        return f"<table><caption>{caption}</caption>{''.join(rows)}</table><p>{end}</p>"


def labels() -> dict[str, str]:
    """The key of a number to its word in the current language."""
    words = [say(word) for word in LABELS]
    return {word.replace(" ", "_"): shown for word, shown in zip(LABELS, words, strict=True)}


def _heading(phase: str) -> str:
    titles = {
        "forward": say("FORWARD: from the input to the outputs, layer by layer"),
        "loss": say("LOSS: how wrong the outputs are, as one number L"),
        "backward": say("BACKWARD: the error e = dL/d(output) of each layer, last to first; weights stay as they are"),
        "update": say("UPDATE: only now do the weights change; every gradient was computed with the old ones"),
    }
    return titles[phase]


def _same(one: Step, key: str, other: Step, name: str) -> bool:
    """Whether two rows show the same array."""
    a, b = one.numbers.get(key), other.numbers.get(name)
    return isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and torch.equal(a, b)


def _short(value: Any) -> Any:
    """A long list of records as {shape, truncated, values} with the first ones."""
    if isinstance(value, list) and len(value) > MOST_ROWS:
        return {"shape": [len(value)], "truncated": True, "values": value[:MOST_ROWS]}
    return value
