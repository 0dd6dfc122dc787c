"""What is explained: one example at a time, as the network reads it, with a label for every step."""

import hashlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.data.sequence_targets import NextTokens
from netwright.data.source import Recordings, Texts
from netwright.data.texts.encoder import TextEncoder
from netwright.deploy.predict import Predictor
from netwright.deploy.sequences import SequencePredictor
from netwright.errors import DataError, UsageError
from netwright.language import say
from netwright.parts.sequences import END, PADDING, START, UNKNOWN, Sequences

MOST_STEPS = 2000
"""Steps of an input that are explained: its beginning."""
MOST_INPUTS = 20
"""Inputs of one place that are explained: the first of them."""
SIGNS = {PADDING: "\u2039pad\u203a", UNKNOWN: "\u2039?\u203a", END: "\u2039end\u203a", START: "\u2039start\u203a"}
"""How the numbers that stand for no text are shown."""
SHOWN = {"\n": "\u21b5", "\t": "\u21e5", " ": "\u2423", "\r": "\u240d"}
"""How white space is shown as a label of its own."""


@dataclass(frozen=True)
class Given:
    """One example: a batch of one, its steps' labels, what it is called."""

    name: str
    inputs: Any
    labels: list[str]
    axis: str
    """What the steps are: tokens, frames, rows, steps."""
    key: str
    """Hexadecimal digits of what came, so that two inputs never share a folder."""
    features: list[str] = field(default_factory=list)
    """Labels of the numbers of a step, where it has no tokens."""
    notes: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return len(self.labels)

    @property
    def is_text(self) -> bool:
        return isinstance(self.inputs, Sequences) and not self.inputs.values.is_floating_point()


def exact(predictor: Predictor) -> nn.Module:
    """A copy of the network on the CPU in float64, in evaluation mode: what is explained is no rounding error."""
    model = deepcopy(predictor.forward.model).cpu().double().eval()
    for weight in model.parameters():
        weight.requires_grad_(False)
    return model


def gather(predictor: Predictor, item: Any, say_line: Callable[[str], None]) -> list[Given]:
    """The examples of one argument: a text, a file of texts, a recording, a place that `read` knows, an array."""
    if isinstance(item, str) and not item.strip():
        raise UsageError(say("an input is empty: there is nothing to explain"))
    if isinstance(predictor, SequencePredictor):
        examples, names = predictor._examples(item, say_line)
        found = _sequences(predictor, examples, names)
    else:
        encoded, names = predictor._encode(item, say_line)
        found = [_numbers(predictor, encoded[at : at + 1], name) for at, name in enumerate(names[:MOST_INPUTS])]
    if not found:
        raise DataError(say("{name} holds nothing to explain", name=item))
    if len(names) > MOST_INPUTS:
        say_line(say("{count} inputs came; the first {most} are explained", count=f"{len(names):,}", most=MOST_INPUTS))
    return found


def _sequences(predictor: SequencePredictor, examples: Texts | Recordings, names: Sequence[str]) -> list[Given]:
    found = []
    for place in range(min(len(examples), MOST_INPUTS)):
        one = examples.take(np.array([place]))
        ragged = predictor.encoder.ragged(one)
        numbers = ragged[0]
        if isinstance(one, Texts):
            found.append(_text(predictor, one.texts[0], numbers, names[place], ragged.traits))
        else:
            found.append(_recording(predictor, one, numbers, names[place]))
    return found


def _text(predictor: SequencePredictor, text: Any, numbers: Tensor, name: str, traits: Tensor | None = None) -> Given:
    encoder: TextEncoder = predictor.encoder
    if not "".join(text).strip():
        raise UsageError(say("an input is empty: there is nothing to explain"))
    tokens, notes = encoder.tokens(text), [f"{one.what}; {one.action}" for one in encoder.remarks(Texts([text]))]
    if len(tokens) != len(numbers):
        tokens = [sign_of(encoder.tokenizer, number) for number in numbers.tolist()]
    if isinstance(predictor.targets, NextTokens) and predictor.targets.facts.get("marked"):
        numbers, tokens = torch.cat([torch.tensor([START]), numbers]), [SIGNS[START], *tokens]
    numbers, tokens = _bounded(numbers, tokens, notes)
    labels = [label(token) for token in tokens]
    return Given(name, _one(numbers, traits), labels, say("tokens"), _key(repr(text).encode()), notes=notes)


def _recording(predictor: SequencePredictor, one: Recordings, numbers: Tensor, name: str) -> Given:
    notes: list[str] = []
    hop = float(predictor.encoder.log_mel.hop_ms) / 1000
    labels = [f"{step * hop:.2f}" for step in range(len(numbers))]
    numbers, labels = _bounded(numbers, labels, notes)
    key = _key(np.ascontiguousarray(one.waves[0]).tobytes())
    bands = [str(band + 1) for band in range(numbers.shape[1])]
    return Given(name, _one(numbers), labels, say("seconds"), key, bands, notes)


def _numbers(predictor: Predictor, encoded: Tensor, name: str) -> Given:
    """A series, or a picture whose rows are steps."""
    notes: list[str] = []
    if encoded.dim() not in (3, 4):
        raise UsageError(_no_sequence(predictor))
    picture = encoded.dim() == 4
    steps = encoded.shape[2 if picture else 1]
    features = encoded.shape[1] * encoded.shape[3] if picture else encoded.shape[2]
    labels = [str(step + 1) for step in range(steps)]
    if not picture:
        kept, labels = _bounded(encoded[0], labels, notes)
        encoded = kept[None]
    key = _key(encoded.numpy().tobytes())
    bands = [str(band + 1) for band in range(features)]
    return Given(name, encoded, labels, say("rows") if picture else say("steps"), key, bands, notes)


def _no_sequence(predictor: Predictor) -> str:
    text = say("this run reads {kind} data: it has no steps to look into.", kind=say(predictor.kind))
    return f"{text} {say('`explain` shows networks that read texts, series, recordings, or pictures row by row.')}"


def _one(numbers: Tensor, traits: Tensor | None = None) -> Sequences:
    told = traits[None, : len(numbers)].long() if traits is not None else None
    return Sequences(numbers[None], torch.tensor([len(numbers)]), told)


def _bounded(numbers: Tensor, labels: list[str], notes: list[str]) -> tuple[Tensor, list[str]]:
    """The beginning of a long input, with a note that says so."""
    if len(numbers) > MOST_STEPS:
        notes.append(
            say("the input has {count} steps; the first {most} are explained", count=f"{len(numbers):,}",
                most=f"{MOST_STEPS:,}")
        )  # fmt: skip
    return numbers[:MOST_STEPS], labels[:MOST_STEPS]


def _key(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def sign_of(tokenizer: Any, number: int) -> str:
    """The text of one token number, or a sign for a number that stands for none."""
    return SIGNS[number] if number in SIGNS else str(tokenizer.decode([number]))


def label(token: str) -> str:
    """A token as a label: white space is made visible, control characters are not let through."""
    if not token.strip():
        return "".join(SHOWN.get(sign, "\u2423") for sign in token) or "\u2205"
    return "".join(
        SHOWN.get(sign, sign) if sign.isprintable() or sign in SHOWN else "\ufffd" for sign in token.strip(" ")
    )
