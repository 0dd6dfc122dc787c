"""What `predictions.safetensors` keeps of the test: all that a paired comparison with another run needs."""

from collections.abc import Mapping
from hashlib import sha256

import numpy as np
import torch

from netwright.data.dataset import Dataset
from netwright.data.sequence_targets import NextTokens, SeriesTargets
from netwright.data.source import Texts
from netwright.parts import metrics
from netwright.parts.sequences import UNKNOWN, Ragged
from netwright.training.answers import BY_TOKEN, Answers, truths

KEPT = {
    "tag": ("entity_f1", "token_accuracy"),
    "translate": ("bleu", "chrf", "exact_match"),
    "transcribe": ("word_error_rate", "character_error_rate"),
}
"""Metrics of which every test example's part is kept, by task."""


def stored(dataset: Dataset, found: Answers) -> dict[str, torch.Tensor]:
    """Tensors by name, one row a test example.

    `predictions truth` as numbers (classes, numbers, forecasts, scores of pairs; these with `first second`, the places
    of both recordings); where tokens are told, `nats tokens characters unknown`, and under a metric's name what each
    example adds to it; of a language model also `begins`, where each piece begins in the test text, and the SHA-256
    of that text.
    """
    if found.likelihoods is None:
        return _numbers(dataset, found)
    said = found.likelihoods
    kept = {"nats": said.nats, "tokens": said.tokens, "characters": said.characters}
    targets = dataset.encoded_targets("test")
    if dataset.task != "tag" and isinstance(targets, Ragged):
        kept["unknown"] = unknown_tokens(targets)
    kept |= {name: added(name, truths(dataset, "test"), found.predictions) for name in KEPT.get(dataset.task, ())}
    if isinstance(dataset.targets, NextTokens):
        kept |= _running(dataset)
    return {name: _tensor(values) for name, values in kept.items()}


def is_whole(task: str, found: Mapping[str, np.ndarray]) -> bool:
    """Whether all is there that a run of that task keeps, one row an example."""
    if task in BY_TOKEN:
        names = ("nats", "tokens", "characters", *KEPT.get(task, ()))
        rows = len(found["nats"]) if "nats" in found else -1
    else:
        names = ("predictions", "truth")
        rows = len(found["truth"]) if "truth" in found else -1
    return all(name in found and len(found[name]) == rows for name in names)


def added(name: str, truth: object, predictions: object) -> np.ndarray:
    """What each example adds to that metric: (examples, parts)."""
    if name in metrics.SUMS:
        return metrics.SUMS[name].parts(truth, predictions)
    return metrics.PER_EXAMPLE[name](truth, predictions)[:, None]


def _numbers(dataset: Dataset, found: Answers) -> dict[str, torch.Tensor]:
    truth = truths(dataset, "test") if found.truth is None else found.truth
    kept = {"predictions": _tensor(found.predictions), "truth": torch.from_numpy(truth)}
    if isinstance(dataset.targets, SeriesTargets):
        kept["naive_error"] = torch.tensor([float(dataset.targets.naive_error)], dtype=torch.float64)
    if dataset.task == "verify" and len(truth):
        pairs = dataset.pairs("test")
        kept |= {"first": _tensor(pairs.first), "second": _tensor(pairs.second)}
    return kept


def _running(dataset: Dataset) -> dict[str, np.ndarray]:
    """Where each piece of the test begins in the whole test text, and what that text is.

    A piece of running text ends with the first character of the next one, so that pieces lie one into another.
    """
    examples = dataset.source.examples
    assert isinstance(examples, Texts)
    texts = examples.take(dataset.splits["test"]).texts
    marks = [name.rpartition("@") for name in dataset.ids("test")]
    lowered = bool(getattr(dataset.targets.encoder.tokenizer, "lowercase", False))  # type: ignore[union-attr]
    digest, place, begins = sha256(), 0, []
    for row, text in enumerate(texts):
        following = marks[row + 1] if row + 1 < len(texts) else ("", "", "")
        here = marks[row][0] or marks[row][2]
        length = len(text)
        if following[1] and following[0] == here and following[2].isdecimal():
            own = int(marks[row][2]) if marks[row][1] and marks[row][2].isdecimal() else 0
            length = min(length, max(0, int(following[2]) - own))
        begins.append(place)
        place += length
        plain = text[:length] if isinstance(text, str) else "\x1f".join(text[:length])
        digest.update((plain.lower() if lowered else plain).encode("utf-8", "surrogatepass"))
    return {"begins": np.array([*begins, place], dtype=np.int64), "text": np.frombuffer(digest.digest(), np.uint8)}


def unknown_tokens(sequences: Ragged) -> np.ndarray:
    """How many tokens of each sequence the vocabulary does not hold."""
    unknown = np.concatenate([[0], np.cumsum(sequences.flat.numpy() == UNKNOWN)])
    return np.diff(unknown[sequences.starts])


def _tensor(values: object) -> torch.Tensor:
    return torch.from_numpy(np.array(values))
