"""Judges what networks say of sequences: metrics with 95 % intervals, and the examples that went most wrong."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netwright.parts.metrics import edits, entity_table, metrics_of
from netwright.parts.metrics.overlaps import chinese
from netwright.report.intervals import limits
from netwright.report.judge import MISTAKES, Judgement, Score, score
from netwright.training.answers import Answers

SHOWN = 400
"""So many characters of a text are shown among the mistakes."""
WORDS, CONFUSED = 300, 40
"""So many words of a transcript are aligned, and so many kinds of confusion are told."""


@dataclass(frozen=True)
class SequenceJudgement(Judgement):
    """A judgement with what only sequences have."""

    more: dict[str, Any] = field(default_factory=dict)
    """`entities` of each type (tag), `confusions` of words (transcribe), a `typical` window (forecast)."""

    def json(self) -> dict[str, Any]:
        return super().json() | self.more


def judge_answers(task: str, truth: Any, answers: Answers) -> Judgement:
    """Judge the answers of a sequence task against `truth`: tags, texts or future numbers, one entry an example."""
    return SequenceJudgement(
        task=task, metrics={name: _score(task, name, answers, truth) for name in metrics_of(task)}, classes=[],
        examples=len(truth), mistakes=_mistakes(task, truth, answers), not_finite=len(answers.broken),
        more=_more(task, truth, answers),
    )  # fmt: skip


def _more(task: str, truth: Any, answers: Answers) -> dict[str, Any]:
    said = answers.predictions
    if not len(truth) or answers.broken:
        return {}
    if task == "tag":
        table = entity_table(truth, said)
        return {"entities": table} if table else {}
    if task == "transcribe":
        return {"confusions": confusions(truth, said)}
    if task == "forecast":
        errors = np.abs(said - truth).mean(1)
        row = int(np.argsort(errors, kind="stable")[(len(errors) - 1) // 2])
        found = {"position": row, "truth": truth[row].tolist(), "prediction": said[row].tolist()}
        return {"typical": {**found, "error": float(errors[row])}}
    return {}


def confusions(truth: Sequence[str], said: Sequence[str]) -> list[dict[str, Any]]:
    """`truth said count` of the words that were taken for others, the most frequent first; None where a word is
    missing or was added."""
    counts = Counter[tuple[str | None, str | None]]()
    for true, told in zip(truth, said, strict=True):
        counts.update(pair for pair in aligned(true.split()[:WORDS], told.split()[:WORDS]) if pair[0] != pair[1])
    order = sorted(counts.items(), key=lambda entry: (-entry[1], str(entry[0][0]), str(entry[0][1])))
    return [{"truth": pair[0], "said": pair[1], "count": count} for pair, count in order[:CONFUSED]]


def aligned(true: Sequence[str], said: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Words side by side with the fewest edits; None stands where one of both has no word."""
    cost = np.zeros((len(true) + 1, len(said) + 1), dtype=int)
    cost[:, 0], cost[0] = np.arange(len(true) + 1), np.arange(len(said) + 1)
    for i, word in enumerate(true, 1):
        for j, other in enumerate(said, 1):
            cost[i, j] = min(cost[i - 1, j - 1] + (word != other), cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    pairs: list[tuple[str | None, str | None]] = []
    i, j = len(true), len(said)
    while i or j:
        if i and j and cost[i, j] == cost[i - 1, j - 1] + (true[i - 1] != said[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((true[i], said[j]))
        elif i and cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
            pairs.append((true[i], None))
        else:
            j -= 1
            pairs.append((None, said[j]))
    return pairs[::-1]


def _score(task: str, name: str, answers: Answers, truth: Any) -> Score:
    value = answers.of(name, truth) if len(truth) and not answers.broken else None
    return score(value, None if value is None else limits(name, *answers.arguments(name, truth), task=task))


def _mistakes(task: str, truth: Any, answers: Answers) -> list[dict[str, Any]]:
    """`position truth prediction error`, the worst first; a language model has none: its `error` is bits a token."""
    said = answers.predictions
    if task == "generate":
        assert answers.likelihoods is not None
        found = answers.likelihoods
        errors = found.nats / np.maximum(found.tokens, 1) / np.log(2)
        said = truth = [None] * len(errors)
    elif task == "verify":
        return []
    elif task == "forecast":
        errors = np.abs(said - truth).mean(1) if len(truth) else np.zeros(0)
        truth, said = truth.tolist(), said.tolist()
    elif task == "tag":
        errors = np.array([sum(a != b for a, b in zip(*pair, strict=True)) for pair in zip(truth, said, strict=True)])
    else:
        parts: Callable[[str], list[str]] = str.split if _spaced(truth) else list
        errors = np.array([edits(parts(a), parts(b)) for a, b in zip(truth, said, strict=True)])
    worst = np.argsort(-errors, kind="stable")[:MISTAKES]
    return [
        {
            "position": int(row),
            "truth": _short(truth[row]),
            "prediction": _short(said[row]),
            "error": float(errors[row]),
        }
        for row in worst
        if errors[row] > 0
    ]


def _spaced(texts: Sequence[str]) -> bool:
    """Whether texts are told in words with white space between them; else their characters count."""
    return any(" " in text.strip() for text in texts) and not chinese(texts)


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= SHOWN else value[: SHOWN - 3] + "..."
    return value[:SHOWN] if isinstance(value, list) else value
