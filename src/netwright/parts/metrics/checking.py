"""What predictions are checked for before they are measured."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Num

from netwright.errors import UsageError
from netwright.language import say

PerExample: TypeAlias = Float[np.ndarray, "examples"]
Texts: TypeAlias = Sequence[str] | np.ndarray


def usable(truth: np.ndarray, outputs: np.ndarray) -> bool:
    """Whether there is anything to measure; refuses unequal counts."""
    paired(truth, outputs)
    return len(truth) > 0 and bool(np.isfinite(truth).all() and np.isfinite(outputs).all())


def paired(truth: Any, predictions: Any) -> None:
    """Refuse unequal numbers of examples, with both."""
    if len(truth) != len(predictions):
        raise UsageError(say("{a} true values, but {b} predictions", a=len(truth), b=len(predictions)))


def paired_texts(truth: Texts, predictions: Texts) -> list[tuple[str, str]]:
    """Each true text with its prediction; anything else than two equally long lists of texts is refused."""
    for texts in (truth, predictions):
        if isinstance(texts, str):
            raise UsageError(say("a list of texts is measured, one an example; got a single text"))
    paired(truth, predictions)
    for place, text in enumerate([*truth, *predictions]):
        if not isinstance(text, str):
            whose = say("true text") if place < len(truth) else say("predicted text")
            position, kind = place % len(truth), type(text).__name__
            raise UsageError(say("{whose} {place} is no text but {kind}", whose=whose, place=position, kind=kind))
    return list(zip(truth, predictions, strict=True))


def rows(values: np.ndarray) -> Num[np.ndarray, "examples outputs"]:
    """Two axes, whatever the shape of one example; (N,) becomes (N, 1)."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def finite(value: Any) -> float | None:
    """A number as a float; None for NaN and infinities."""
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True)
class Sums:
    """A metric that is a function of sums over the examples, so that it can be told of any resampled set of them."""

    parts: Callable[..., Float[np.ndarray, "examples parts"]]
    """What each example adds, from the truth and the predictions."""
    value: Callable[[Float[np.ndarray, "*sets parts"]], Float[np.ndarray, "*sets"]]
    """The metric of sums of parts (last axis); NaN where it does not exist."""

    def measure(self, *given: Any) -> float | None:
        """The metric of all examples together."""
        parts = self.parts(*given)
        return finite(self.value(parts.sum(axis=0))) if len(parts) else None


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """`above / below`; NaN where nothing stands below."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)
