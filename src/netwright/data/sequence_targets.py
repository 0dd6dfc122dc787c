"""Targets that are no single class or number: tags, texts, the next token, future numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from netwright.catalogue import settings_of
from netwright.data.source import Texts
from netwright.data.texts.encoder import TextEncoder, fit_texts
from netwright.errors import DataError, hint
from netwright.language import say
from netwright.parts.metrics import scheme
from netwright.parts.sequences import END, Ragged


def own_settings(function: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the `[data]` settings that a function has."""
    return {name: settings[name] for name in settings_of(function) if name in settings}


def fitted_texts(texts: Texts, task: str, settings: Mapping[str, Any]) -> TextEncoder:
    """The encoder of training texts, with those of the `[data]` settings that it has."""
    return fit_texts(texts, task, **own_settings(fit_texts, settings))


@dataclass(frozen=True)
class TagTargets:
    """One tag a token; a target is a tuple of them."""

    tags: list[str]
    ruled: bool = False
    """Whether the training texts keep to a scheme (BIO, BIOES) that says which tag may follow which."""
    task: Literal["tag"] = "tag"

    @property
    def outputs(self) -> dict[str, Any]:
        return {"kind": "tags", "count": len(self.tags), **({"tags": self.tags} if self.ruled else {})}

    @property
    def watched(self) -> tuple[str, ...]:
        """What validation measures, what decides first: entities where the tags begin and end them."""
        return ("entity_f1", "token_accuracy") if scheme(self.tags) else ("token_accuracy",)

    def encode(self, raw: Sequence[Any] | np.ndarray) -> Ragged:
        """Tag numbers; a tag that training never saw is refused."""
        number = {tag: place for place, tag in enumerate(self.tags)}
        unknown = sorted({tag for tags in raw for tag in tags if tag not in number})
        if unknown:
            text = say("tag {name!r} is not one of the {count} known.", name=unknown[0], count=len(number))
            raise DataError(f"{text} {hint(unknown[0], self.tags)}")
        return Ragged.of([[number[tag] for tag in tags] for tags in raw], torch.int64)

    def decode(self, numbers: Sequence[int]) -> list[str]:
        """Tags of their numbers."""
        return [self.tags[number] for number in numbers]

    def state(self) -> dict[str, Any]:
        return {"task": self.task, "tags": self.tags, "ruled": self.ruled}


@dataclass(frozen=True)
class TokenTargets:
    """Texts, as token numbers: what a translation or a transcript says."""

    encoder: TextEncoder
    task: Literal["translate", "transcribe"] = "translate"

    @property
    def outputs(self) -> dict[str, Any]:
        return {"kind": "text", **_sizes(self.encoder)}

    @property
    def watched(self) -> tuple[str, ...]:
        return ("perplexity",) if self.task == "translate" else ("word_error_rate", "exact_match")

    def encode(self, raw: Sequence[Any] | np.ndarray) -> Ragged:
        """Token numbers; a translation ends in the token for its end."""
        return self.encoder.ragged(Texts(list(raw)), end=self.task == "translate")

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of token numbers, up to its end."""
        numbers = list(numbers)
        return self.encoder.tokenizer.decode(numbers[: numbers.index(END)] if END in numbers else numbers)

    def state(self) -> dict[str, Any]:
        return {"task": self.task, "text": self.encoder.state()}


@dataclass(frozen=True)
class NextTokens:
    """The next token at every step of a text: nothing that stands beside the inputs."""

    encoder: TextEncoder
    facts: dict[str, Any] = field(default_factory=dict)
    """What the corpus says of itself: `marked`, whether its texts begin and end; the forms of poems; music's step."""
    task: Literal["generate"] = "generate"

    @property
    def outputs(self) -> dict[str, Any]:
        return {"kind": "text", **_sizes(self.encoder)}

    @property
    def watched(self) -> tuple[str, ...]:
        return ("nll", "perplexity") if "step_mark" in self.facts else ("bits_per_character", "perplexity")

    def encode(self, raw: Sequence[Any] | np.ndarray) -> Ragged:
        raise DataError(say("a language model has no targets beside its texts"))

    def state(self) -> dict[str, Any]:
        return {"task": self.task, "text": self.encoder.state(), "facts": self.facts}


@dataclass(frozen=True)
class SeriesTargets:
    """The next numbers of a series, standardised by the training range: (y - mean) / scale."""

    mean: float
    scale: float
    horizon: int
    naive_error: float
    """The mean error of repeating the last season within the training range: the unit of MASE."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the series says of itself: its season, its step, the column."""
    task: Literal["forecast"] = "forecast"

    @property
    def outputs(self) -> dict[str, Any]:
        places = {"season": self.facts.get("season", 1), "column": self.facts.get("target_position", 0)}
        return {"kind": "number", "count": self.horizon, **places}

    @property
    def watched(self) -> tuple[str, ...]:
        return ("mae", "mase")

    def encode(self, raw: Sequence[Any] | np.ndarray) -> Tensor:
        """Standardised numbers, float32 (N, horizon)."""
        numbers = torch.from_numpy(np.asarray(raw, dtype=np.float64).reshape(len(raw), self.horizon))
        return ((numbers - self.mean) / self.scale).float()

    def decode(self, outputs: Tensor) -> Tensor:
        """Network outputs in the series' own units, float64 (N, horizon)."""
        return outputs.double() * self.scale + self.mean

    def state(self) -> dict[str, Any]:
        return {
            "task": self.task, "mean": self.mean, "scale": self.scale, "horizon": self.horizon,
            "naive_error": self.naive_error, "facts": self.facts,
        }  # fmt: skip


def _sizes(encoder: TextEncoder) -> dict[str, Any]:
    return {"tokens": encoder.inputs["tokens"], "vocabulary": encoder.inputs["vocabulary"],
            "count": encoder.inputs["vocabulary"]}  # fmt: skip


SequenceTargets = TagTargets | TokenTargets | NextTokens | SeriesTargets


def sequence_targets_from(state: dict[str, Any]) -> SequenceTargets:
    """The targets that `state` describes (the inverse of `.state()`)."""
    task = state["task"]
    if task == "tag":
        return TagTargets(list(state["tags"]), state["ruled"])
    if task == "forecast":
        return SeriesTargets(
            state["mean"], state["scale"], state["horizon"], state["naive_error"], dict(state["facts"])
        )
    encoder = TextEncoder.from_state(state["text"])
    return NextTokens(encoder, dict(state["facts"])) if task == "generate" else TokenTargets(encoder, task)
