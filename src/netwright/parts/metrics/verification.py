"""The metric of verification: is this the same voice, face or hand as that?"""

import numpy as np
from jaxtyping import Float, Int

from netwright.catalogue import METRICS
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.metrics.checking import finite, usable


@METRICS.add(
    task="verify",
    better="lower",
    interval="bootstrap of the trials of either kind",
    source="Martin et al. 1997, Eurospeech (the DET curve)",
)
def eer(truth: Int[np.ndarray, "trials"], scores: Float[np.ndarray, "trials"]) -> float | None:
    """The equal error rate: at the threshold where as large a share of the same is rejected as of others accepted.

    Formula: miss(t) = share of trials with truth 1 and score < t; false(t) = share with truth 0 and score >= t;
    the rate where miss = false, on the straight line between the two thresholds around it

    Args:
        truth: 1 where both are the same, else 0.
        scores: higher where they are more likely the same; only their order counts.

    None without trials of both kinds. Constant scores give 0.5. Trials that share recordings depend on each other: the
    interval does not know and is then too narrow.
    """
    counts = trial_counts(truth, scores)
    return None if counts is None else finite(crossing(*counts))


def trial_counts(
    truth: np.ndarray, scores: np.ndarray
) -> tuple[Float[np.ndarray, "distinct"], Float[np.ndarray, "distinct"]] | None:
    """How many trials of truth 1 and of truth 0 have each distinct score, in rising order; None where a kind lacks."""
    truth, scores = np.asarray(truth), np.asarray(scores)
    scores = scores.reshape(-1) if scores.shape == (len(truth), 1) else scores
    if truth.ndim != 1 or scores.ndim != 1:
        text = say("eer takes truth and scores, one number a trial each")
        raise UsageError(f"{text}; {say('got shapes {a} and {b}', a=truth.shape, b=scores.shape)}")
    if not usable(truth, scores):
        return None
    if not np.isin(truth, (0, 1)).all():
        odd = truth[~np.isin(truth, (0, 1))][0]
        raise UsageError(say("the truth of a trial is 1 (the same) or 0; got {value}", value=odd))
    distinct, place = np.unique(scores, return_inverse=True)
    same, others = (np.bincount(place[truth == kind], minlength=len(distinct)).astype(np.float64) for kind in (1, 0))
    return (same, others) if same.any() and others.any() else None


def crossing(
    same: Float[np.ndarray, "*sets distinct"], others: Float[np.ndarray, "*sets distinct"]
) -> Float[np.ndarray, "*sets"]:
    """Where misses and false alarms are equal, from the counts at rising scores; NaN where a kind lacks."""
    with np.errstate(invalid="ignore"):
        missed = np.cumsum(same, axis=-1) / same.sum(axis=-1, keepdims=True)
        alarms = 1 - np.cumsum(others, axis=-1) / others.sum(axis=-1, keepdims=True)
    start = np.zeros((*missed.shape[:-1], 1))
    missed, alarms = np.concatenate([start, missed], axis=-1), np.concatenate([start + 1, alarms], axis=-1)
    above = missed >= alarms
    above[..., -1] = True  # at the end all are rejected: rounding must not hide it
    behind = np.argmax(above, axis=-1)[..., None]
    miss, next_miss = (np.take_along_axis(missed, behind - k, axis=-1)[..., 0] for k in (1, 0))
    gap, next_gap = (np.take_along_axis(alarms - missed, behind - k, axis=-1)[..., 0] for k in (1, 0))
    return np.asarray(miss + (next_miss - miss) * gap / (gap - next_gap))
