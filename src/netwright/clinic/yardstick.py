"""What a proof measures by: the metric, the constant answer's score, and the smallest effect of interest."""

from collections.abc import Callable
from typing import Any

import numpy as np

from netwright.catalogue import METRICS
from netwright.data.dataset import Dataset
from netwright.errors import UsageError, hint
from netwright.language import say
from netwright.parts.metrics import Likelihoods, arguments, metrics_of, names
from netwright.parts.sequences import Ragged
from netwright.training.answers import characters, steps_of, truths

POINTS = 0.01
"""One point of a share: the smallest effect of interest for accuracies and error rates; those from 0 to 100 take 1."""
SHARE = 0.02
"""For all other metrics: this share of the constant answer's error."""
PERCENT = ("bleu", "chrf")
RATES = ("word_error_rate", "character_error_rate", "eer", "calibration_error")
WORST = {"calibration_error": 1.0, "word_error_rate": 1.0, "character_error_rate": 1.0, "eer": 0.5}
"""What counts for a training that diverged, where the constant answer is no measure: it may be well calibrated."""


def primary(dataset: Dataset, metric: str = "auto") -> str:
    """The metric that a proof goes by, fixed before anything is trained.

    `auto`: accuracy, rmse, mase (mae where the last season repeats exactly), else what validation watches first:
    entity_f1, bits_per_character, perplexity, word_error_rate, eer. Errors: UsageError for a metric that the task
    does not have.
    """
    if metric == "auto":
        if dataset.task == "forecast":
            return "mase" if getattr(dataset.targets, "naive_error", 0) else "mae"
        return str(dataset.targets.watched[0])
    known = names(dataset.task, len(dataset.classes)) if dataset.task == "classify" else metrics_of(dataset.task)
    if metric not in known:
        text = say("proof: there is no metric {name!r} for this task ({task}).", name=metric, task=dataset.task)
        raise UsageError(f"{text} {hint(metric, known)}")
    return metric


def higher(metric: str) -> bool:
    """Whether larger values of that metric are better."""
    return bool(METRICS[metric].facts["better"] == "higher")


def constant_score(dataset: Dataset, split: str, metric: str) -> float:
    """What the best constant answer, learnt from the training examples, scores on a split.

    Formula: class shares; the mean, or the median for `mae` and `mase`; the most frequent tag; token frequencies
    (c + 1) / (n + vocabulary) for likelihoods. Where it has no score the worst of the metric: 0, or 1 of an error rate
    """
    if metric in WORST or not dataset.examples[split]:
        return WORST.get(metric, 0.0)
    truth, train = truths(dataset, split), truths(dataset, "train")
    likelihoods: Likelihoods | None = None
    said: Any = None
    if dataset.task == "classify":
        shares = np.bincount(train, minlength=len(dataset.classes)) / len(train)
        said = np.repeat(shares[None], len(truth), axis=0)
    elif dataset.task in ("regress", "forecast"):
        middle = np.median if metric in ("mae", "mase", "mape") else np.mean
        said = np.full(truth.shape, middle(train))
    elif dataset.task == "tag":
        tags, counts = np.unique([tag for row in train for tag in row], return_counts=True)
        said = [[str(tags[counts.argmax()])] * len(row) for row in truth]
    elif METRICS[metric].facts.get("reads") == "likelihoods":
        likelihoods = _frequencies(dataset, split)
        truth, said = None, likelihoods
    else:
        return 0.0
    naive = getattr(dataset.targets, "naive_error", None)
    value = METRICS[metric].build(*arguments(metric, truth, said, naive_error=naive, likelihoods=likelihoods))
    return 0.0 if value is None else float(value)


def _frequencies(dataset: Dataset, split: str) -> Likelihoods:
    """What a split costs a model that knows how often each token stood in the training texts, and nothing else."""
    train, asked = dataset.encoded_targets("train"), dataset.encoded_targets(split)
    assert isinstance(train, Ragged)
    assert isinstance(asked, Ragged)
    vocabulary = int(dataset.outputs["count"])
    counts = np.bincount(train.flat.numpy().reshape(-1), minlength=vocabulary) + 1.0
    nats = -np.log(counts / counts.sum())[asked.flat.numpy().reshape(-1)]
    sums = np.concatenate([[0.0], np.cumsum(nats)])
    every = np.arange(len(asked))
    return Likelihoods(np.diff(sums[asked.starts]), steps_of(dataset, asked, every), characters(dataset, asked, every))


def smallest_effect(dataset: Dataset, metric: str) -> float:
    """The smallest effect of interest on the test: 1 point of a share, else 2 % of the constant answer's error."""
    if metric in PERCENT:
        return 100 * POINTS
    if metric == "r2":
        return SHARE  # the constant answer's error is the whole variance
    if higher(metric) or metric in RATES:
        return POINTS
    return SHARE * abs(constant_score(dataset, "test", metric)) or POINTS


def counted(metric: str, value: float | None, constant: Callable[[], float], finished: bool = True) -> float:
    """The score that counts for a training: its own, or the constant answer's where it diverged.

    Errors without an upper end count as the constant answer's at most, and r2 as 0 at least: one training that came to
    1e30 must not decide over a mean of eight.
    """
    if value is None or not finished:
        return constant()
    if metric == "r2":
        return max(float(value), min(constant(), 0.0))
    if higher(metric) or metric == "calibration_error":
        return float(value)
    return min(float(value), constant())
