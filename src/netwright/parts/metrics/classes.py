"""Metrics of classification: true classes (whole numbers, one an example), probabilities (examples x classes)."""

from typing import Annotated, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Num

from netwright.catalogue import METRICS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.metrics.checking import PerExample, usable

Classes: TypeAlias = Num[np.ndarray, "examples"]
Probabilities: TypeAlias = Num[np.ndarray, "examples classes"]

TOP = 5  # the k of `top_5`


def _classes(truth: np.ndarray, probabilities: np.ndarray) -> bool:
    if probabilities.ndim != 2 or truth.ndim != 1:
        text = say("a classification metric takes classes (examples) and probabilities (examples x classes)")
        raise UsageError(f"{text}; {say('got shapes {a} and {b}', a=truth.shape, b=probabilities.shape)}")
    if not usable(truth, probabilities) or probabilities.shape[1] == 0:
        return False
    if truth.min() < 0 or truth.max() >= probabilities.shape[1] or (truth != np.floor(truth)).any():
        count = probabilities.shape[1]
        raise UsageError(say("a true class is a whole number from 0 to {last} here", last=count - 1))
    if probabilities.min() < -1e-3 or probabilities.max() > 1 + 1e-3:
        low, high = float(probabilities.min()), float(probabilities.max())
        text = say("probabilities lie between 0 and 1; got {low:.4g} to {high:.4g}", low=low, high=high)
        raise UsageError(f"{text} {say('(logits?)')}")
    return True


def decide(probabilities: Probabilities) -> Num[np.ndarray, "examples"]:
    """The class of the highest probability; the first of equals."""
    return np.asarray(np.argmax(probabilities, axis=1))


@METRICS.add(
    task="classify",
    better="higher",
    interval="Wilson score",
    source="Fleiss 1981, Statistical Methods for Rates and Proportions",
)
def accuracy(truth: Classes, probabilities: Probabilities) -> float | None:
    """The share of examples classified correctly.

    Formula: sum(prediction = truth) / n
    """
    # One line of NumPy: importing scikit-learn takes a second and 100 MB, and every epoch of a training asks this.
    return float(np.mean(truth == decide(probabilities))) if _classes(truth, probabilities) else None


@METRICS.add(
    task="classify",
    better="higher",
    interval="Wilson scores of the classes, combined",
    source="Brodersen et al. 2010, ICPR",
)
def balanced_accuracy(truth: Classes, probabilities: Probabilities) -> float | None:
    """The mean over the classes of the share found, so that a rare class counts as much as a common one.

    Formula: mean over classes that occur of recall(class)
    """
    if not _classes(truth, probabilities):
        return None
    from sklearn.metrics import recall_score

    found = np.unique(truth)  # balanced_accuracy_score is this mean, but warns of classes only predicted
    return float(recall_score(truth, decide(probabilities), labels=found, average="macro", zero_division=0))


@METRICS.add(
    task="classify",
    better="higher",
    interval="Wilson score of tp / (tp + fp + fn), transformed",
    source="van Rijsbergen 1979, Information Retrieval, chapter 7",
)
def f1(truth: Classes, probabilities: Probabilities) -> float | None:
    """The harmonic mean of precision and recall of the second class, for two classes.

    Formula: 2 tp / (2 tp + fp + fn)

    None for other numbers of classes, and where the second class neither occurs nor is predicted.
    """
    if probabilities.ndim == 2 and probabilities.shape[1] != 2:
        return None
    if not _classes(truth, probabilities) or not ((truth == 1).any() or (decide(probabilities) == 1).any()):
        return None
    return _f1(truth, probabilities, "binary")


@METRICS.add(
    task="classify",
    better="higher",
    interval="Wilson scores of the classes, combined",
    source="Yang 1999, Information Retrieval 1",
)
def f1_macro(truth: Classes, probabilities: Probabilities) -> float | None:
    """The mean of the classes' F1 scores, over the classes that occur or are predicted.

    Formula: mean over classes of 2 tp / (2 tp + fp + fn)
    """
    return _f1(truth, probabilities, "macro") if _classes(truth, probabilities) else None


@METRICS.add(task="classify", better="higher", interval="Wilson score", source="Yang 1999, Information Retrieval 1")
def f1_micro(truth: Classes, probabilities: Probabilities) -> float | None:
    """F1 of all classes' counts together; with one class an example it equals accuracy.

    Formula: 2 sum(tp) / (2 sum(tp) + sum(fp) + sum(fn))
    """
    return _f1(truth, probabilities, "micro") if _classes(truth, probabilities) else None


@METRICS.add(
    task="classify",
    better="higher",
    interval="Wilson scores of the classes, combined",
    source="Yang 1999, Information Retrieval 1, weighted by class",
)
def f1_weighted(truth: Classes, probabilities: Probabilities) -> float | None:
    """The mean of the classes' F1 scores, each weighted by how often its class occurs.

    Formula: sum over classes of share(class) * 2 tp / (2 tp + fp + fn)
    """
    return _f1(truth, probabilities, "weighted") if _classes(truth, probabilities) else None


def _f1(truth: np.ndarray, probabilities: np.ndarray, average: str) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(truth, decide(probabilities), average=average, zero_division=0))


@METRICS.add(
    task="classify",
    better="higher",
    interval="Newcombe 2006 method 5, classes combined",
    source="Hanley and McNeil 1982, Radiology 143; more classes: Provost and Domingos 2000",
)
def auc(truth: Classes, probabilities: Probabilities) -> float | None:
    """How often a random example of a class gets a higher score for it than a random other example.

    Formula: (rank sum of the positives - m (m + 1) / 2) / (m n), ties counted half; m positives, n negatives

    Two classes: the second class's score. More: the mean over the classes that occur, each against the rest.
    None where only one class occurs. Constant scores give 0.5.
    """
    values = auc_by_class(truth, probabilities)[1] if _classes(truth, probabilities) else np.empty(0)
    return float(values.mean()) if len(values) else None


def auc_by_class(
    truth: Classes, probabilities: Probabilities
) -> tuple[Num[np.ndarray, "found"], Float[np.ndarray, "found"]]:
    """The classes that can be ranked and the AUC of each; for two classes the second alone."""
    from scipy.stats import rankdata

    classes, counts = np.unique(truth, return_counts=True)
    if len(classes) < 2:
        return classes[:0], np.empty(0)
    if probabilities.shape[1] == 2:
        classes, counts = classes[1:], counts[1:]
    sums = [rankdata(probabilities[:, int(k)])[truth == k].sum() for k in classes]
    above = np.array(sums) - counts * (counts + 1) / 2
    return classes, above / (counts * (len(truth) - counts))


@METRICS.add(task="classify", better="lower", interval="mean +- t", source="Good 1952, J. Royal Stat. Soc. B 14")
def log_loss(truth: Classes, probabilities: Probabilities) -> float | None:
    """The mean surprise at the true class, in nats; rows of probabilities are first made to sum to 1.

    Formula: -mean(ln p(truth)), with p held at 2.2e-16 from below
    """
    if not _classes(truth, probabilities):
        return None
    if probabilities.shape[1] == 1:
        return 0.0
    from sklearn.metrics import log_loss as score

    return float(score(truth, normalised(probabilities), labels=np.arange(probabilities.shape[1])))


def normalised(probabilities: Probabilities) -> Float[np.ndarray, "examples classes"]:
    """Probabilities in float64, held in [0, 1], whose rows sum to 1 (a row of zeros becomes uniform)."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 0, 1)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1), 1 / p.shape[1])


@METRICS.add(
    task="classify",
    better="higher",
    interval="Wilson score",
    source="Russakovsky et al. 2015, arXiv:1409.0575, section 4",
)
def top_5(truth: Classes, probabilities: Probabilities) -> float | None:
    """The share of examples whose true class is among the five most probable ones.

    Formula: sum(rank of the true class <= 5) / n

    None with five classes or fewer. Equal probabilities rank in the order of the classes, as in `accuracy`.
    """
    if not _classes(truth, probabilities) or probabilities.shape[1] <= TOP:
        return None
    from sklearn.metrics import top_k_accuracy_score

    last = probabilities.shape[1] - 1  # reversed, since scikit-learn prefers the later of equals
    labels = np.arange(last + 1)
    return float(top_k_accuracy_score(last - truth, probabilities[:, ::-1], k=TOP, labels=labels))


@METRICS.add(task="classify", better="lower", interval="draws of each bin's accuracy", source="Guo et al. 2017, eq. 3")
def calibration_error(
    truth: Classes, probabilities: Probabilities, *, bins: Annotated[int, Range(2, 1000)] = 15
) -> float | None:
    """How far confidence and accuracy lie apart: the expected calibration error of the top class.

    Formula: sum over bins of (n(bin) / n) * |accuracy(bin) - mean confidence(bin)|, bins of equal width over [0, 1]
    """
    if not _classes(truth, probabilities):
        return None
    counts, right, confidence = calibration_bins(truth, probabilities, bins)
    return float(np.abs(right - confidence).sum() / counts.sum())


def calibration_bins(
    truth: Classes, probabilities: Probabilities, bins: int = 15
) -> tuple[Float[np.ndarray, "bins"], Float[np.ndarray, "bins"], Float[np.ndarray, "bins"]]:
    """Per bin of confidence (upper edge included): examples, correct ones, sum of confidences."""
    confidence = np.clip(probabilities.max(axis=1).astype(np.float64), 0, 1)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    right = (decide(probabilities) == truth).astype(np.float64)
    counts = np.bincount(place, minlength=bins).astype(np.float64)
    return counts, np.bincount(place, right, minlength=bins), np.bincount(place, confidence, minlength=bins)


def hits(truth: Classes, probabilities: Probabilities) -> PerExample:
    return np.asarray(decide(probabilities) == truth, dtype=np.float64)


def top_hits(truth: Classes, probabilities: Probabilities) -> PerExample:
    own = np.take_along_axis(probabilities, truth.astype(int)[:, None], axis=1)
    earlier: Bool[np.ndarray, "examples classes"] = np.arange(probabilities.shape[1]) < truth[:, None]
    rank = (probabilities > own).sum(axis=1) + ((probabilities == own) & earlier).sum(axis=1)
    return np.asarray(rank < TOP, dtype=np.float64)


def surprises(truth: Classes, probabilities: Probabilities) -> PerExample:
    own = np.take_along_axis(normalised(probabilities), truth.astype(int)[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.maximum(own, np.finfo(np.float64).eps)))
