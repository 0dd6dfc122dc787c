"""How good predictions are: one number for a set of examples.

A classification metric takes the true classes (whole numbers, one an example) and the probabilities
(examples x classes); a regression metric takes the true and the predicted numbers (examples, or examples x outputs).
A value that does not exist (no examples, a class that is missing, outputs that are not finite) is None, never NaN.
"""

import math
from collections.abc import Callable
from typing import Annotated, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Num

from netwright.catalogue import METRICS, Range
from netwright.errors import UsageError
from netwright.language import say

Classes: TypeAlias = Num[np.ndarray, "examples"]
Probabilities: TypeAlias = Num[np.ndarray, "examples classes"]
Numbers: TypeAlias = Num[np.ndarray, "examples *outputs"]
PerExample: TypeAlias = Float[np.ndarray, "examples"]

TOP = 5  # the k of `top_5`


def names(task: str, classes: int = 0) -> list[str]:
    """The metrics that apply to a task: `f1` only with two classes, `top_5` only with more than five."""
    left_out = {"f1"} if classes != 2 else set()
    left_out |= {"top_5"} if classes <= TOP else set()
    return [name for name, part in METRICS.items() if part.facts["task"] == task and name not in left_out]


def measure(task: str, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float | None]:
    """Every metric that applies, by name."""
    classes = outputs.shape[1] if task == "classify" else 0
    return {name: METRICS[name](truth, outputs) for name in names(task, classes)}


def usable(truth: np.ndarray, outputs: np.ndarray) -> bool:
    """Whether there is anything to measure; refuses shapes that do not fit and classes out of range."""
    if len(truth) != len(outputs):
        raise UsageError(say("{a} true values, but {b} predictions", a=len(truth), b=len(outputs)))
    return len(truth) > 0 and bool(np.isfinite(truth).all() and np.isfinite(outputs).all())


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


def _numbers(truth: np.ndarray, predicted: np.ndarray) -> bool:
    if truth.shape != predicted.shape:
        raise UsageError(say("true values of shape {a}, predictions of {b}", a=truth.shape, b=predicted.shape))
    return usable(truth, predicted) and truth.size > 0


def rows(values: np.ndarray) -> Num[np.ndarray, "examples outputs"]:
    """Two axes, whatever the shape of one example; (N,) becomes (N, 1)."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def decide(probabilities: Probabilities) -> Num[np.ndarray, "examples"]:
    """The class of the highest probability; the first of equals."""
    return np.asarray(np.argmax(probabilities, axis=1))


# ---- classification ------------------------------------------------------------------------------------------


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


# ---- regression ----------------------------------------------------------------------------------------------


@METRICS.add(task="regress", better="lower", interval="mean +- t", source="Gauss 1821, Theoria combinationis")
def mse(truth: Numbers, predicted: Numbers) -> float | None:
    """The mean squared error, in the target's unit squared.

    Formula: mean((truth - prediction)^2)
    """
    from sklearn.metrics import mean_squared_error

    return _error(mean_squared_error, truth, predicted)


@METRICS.add(task="regress", better="lower", interval="mean +- t", source="Laplace 1774; Boscovich 1757")
def mae(truth: Numbers, predicted: Numbers) -> float | None:
    """The mean absolute error, in the target's unit.

    Formula: mean(|truth - prediction|)
    """
    from sklearn.metrics import mean_absolute_error

    return _error(mean_absolute_error, truth, predicted)


@METRICS.add(
    task="regress",
    better="lower",
    interval="square root of the interval of mse",
    source="Gauss 1821, Theoria combinationis",
)
def rmse(truth: Numbers, predicted: Numbers) -> float | None:
    """The root of the mean squared error, in the target's unit; over all outputs together where there are several.

    Formula: sqrt(mean((truth - prediction)^2))
    """
    value = mse(truth, predicted)
    return None if value is None else float(np.sqrt(value))


@METRICS.add(
    task="regress",
    better="higher",
    interval="delta method on ln(1 - r2), t quantile",
    source="Wright 1921, J. Agricultural Research 20",
)
def r2(truth: Numbers, predicted: Numbers) -> float | None:
    """The share of the target's variance that is explained: 1 is perfect, 0 is no better than the mean.

    Formula: 1 - sum((truth - prediction)^2) / sum((truth - mean(truth))^2)

    Several outputs: the mean over those that vary. None where the truth does not vary.
    """
    if not _numbers(truth, predicted):
        return None
    a, b = (rows(np.asarray(x, dtype=np.float64)) for x in (truth, predicted))
    varies = a.min(axis=0) < a.max(axis=0)
    if not varies.any():
        return None
    from sklearn.metrics import r2_score

    with np.errstate(over="ignore", invalid="ignore"):
        return _finite(r2_score(a[:, varies], b[:, varies]))


def _error(score: Callable[..., float], truth: np.ndarray, predicted: np.ndarray) -> float | None:
    if not _numbers(truth, predicted):
        return None
    a, b = (rows(np.asarray(x, dtype=np.float64)) for x in (truth, predicted))
    with np.errstate(over="ignore"):
        return _finite(score(a, b))


# ---- one value an example, for the metrics that are a mean of such values -------------------------------------


def _hit(truth: Classes, probabilities: Probabilities) -> PerExample:
    return np.asarray(decide(probabilities) == truth, dtype=np.float64)


def _top_hit(truth: Classes, probabilities: Probabilities) -> PerExample:
    own = np.take_along_axis(probabilities, truth.astype(int)[:, None], axis=1)
    earlier: Bool[np.ndarray, "examples classes"] = np.arange(probabilities.shape[1]) < truth[:, None]
    rank = (probabilities > own).sum(axis=1) + ((probabilities == own) & earlier).sum(axis=1)
    return np.asarray(rank < TOP, dtype=np.float64)


def _surprise(truth: Classes, probabilities: Probabilities) -> PerExample:
    own = np.take_along_axis(normalised(probabilities), truth.astype(int)[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.maximum(own, np.finfo(np.float64).eps)))


def _errors(truth: np.ndarray, predicted: np.ndarray) -> Float[np.ndarray, "examples outputs"]:
    return rows(np.asarray(np.subtract(predicted, truth, dtype=np.float64)))


def _squared(truth: Numbers, predicted: Numbers) -> PerExample:
    with np.errstate(over="ignore"):
        return np.asarray(np.mean(_errors(truth, predicted) ** 2, axis=1))


def _absolute(truth: Numbers, predicted: Numbers) -> PerExample:
    return np.asarray(np.mean(np.abs(_errors(truth, predicted)), axis=1))


PER_EXAMPLE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "accuracy": _hit,
    "f1_micro": _hit,
    "top_5": _top_hit,
    "log_loss": _surprise,
    "mse": _squared,
    "mae": _absolute,
}
"""The metrics that are the mean of one value an example, and the function that gives those values."""
