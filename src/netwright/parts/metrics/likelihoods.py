"""Metrics of what a model expects next: how many nats the text or music that came cost it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from netwright.catalogue import METRICS
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.metrics.checking import Sums, paired, ratio


@dataclass(frozen=True)
class Likelihoods:
    """What each example cost a model, and how long it is: the prediction of the task `generate`.

    One number an example in each, as float64; other lengths and negative counts are refused.
    """

    nats: Float[np.ndarray, "examples"]
    """-ln p of the example, summed over what it holds."""
    tokens: Float[np.ndarray, "examples"]
    """How many tokens or steps were predicted."""
    characters: Float[np.ndarray, "examples"]
    """How many characters those stand for; 0 where there are none, as in music."""

    def __post_init__(self) -> None:
        sizes = []
        for name in ("nats", "tokens", "characters"):
            values = np.asarray(getattr(self, name), dtype=np.float64).reshape(-1)
            object.__setattr__(self, name, values)
            sizes.append(len(values))
            if name != "nats" and (values < 0).any():
                raise UsageError(say("likelihoods: {name} are counts; got {value}", name=name, value=values.min()))
        if len(set(sizes)) > 1:
            text = say("likelihoods: {a} sums of nats, {b} counts of tokens, {c} of characters",
                       a=sizes[0], b=sizes[1], c=sizes[2])  # fmt: skip
            raise UsageError(text)

    def __len__(self) -> int:
        return len(self.nats)

    def take(self, places: Sequence[int] | np.ndarray) -> "Likelihoods":
        """Those of the examples at `places`, in that order."""
        index = np.asarray(places, dtype=np.int64)
        return Likelihoods(self.nats[index], self.tokens[index], self.characters[index])


def _per_token(truth: object, likelihoods: Likelihoods) -> Float[np.ndarray, "examples 2"]:
    _fits(truth, likelihoods)
    return np.stack([likelihoods.nats, likelihoods.tokens], axis=1)


def _per_character(truth: object, likelihoods: Likelihoods) -> Float[np.ndarray, "examples 2"]:
    _fits(truth, likelihoods)
    return np.stack([likelihoods.nats, likelihoods.characters], axis=1)


def _fits(truth: object, likelihoods: Likelihoods) -> None:
    """A corpus has no truth beside itself; where there is one, it has as many examples."""
    if not isinstance(likelihoods, Likelihoods):
        text = say("a metric of likelihoods takes Likelihoods(nats, tokens, characters)")
        raise UsageError(f"{text}; {say('got {kind}', kind=type(likelihoods).__name__)}")
    if truth is not None:
        paired(truth, likelihoods)


def _mean(sums: Float[np.ndarray, "*sets 2"]) -> Float[np.ndarray, "*sets"]:
    return ratio(sums[..., 0], sums[..., 1])


def _bits(sums: Float[np.ndarray, "*sets 2"]) -> Float[np.ndarray, "*sets"]:
    return np.asarray(_mean(sums) / np.log(2))


def _exponential(sums: Float[np.ndarray, "*sets 2"]) -> Float[np.ndarray, "*sets"]:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(_mean(sums)))


BITS = Sums(_per_character, _bits)
NATS = Sums(_per_token, _mean)
PERPLEXITY = Sums(_per_token, _exponential)


@METRICS.add(
    task="generate",
    better="lower",
    interval="bootstrap of examples",
    reads="likelihoods",
    source="Shannon 1951, Bell System Technical Journal 30:50",
)
def bits_per_character(truth: object, likelihoods: Likelihoods | None) -> float | None:
    """How many bits a character of the text costs the model; comparable whatever the tokens.

    Formula: sum(-ln p) / (ln 2 * characters)

    None without characters. `truth` may be None: a corpus is its own truth.
    """
    return None if likelihoods is None else BITS.measure(truth, likelihoods)


@METRICS.add(
    task=("generate", "translate"),
    better="lower",
    interval="bootstrap of examples",
    reads="likelihoods",
    source="Jelinek et al. 1977, J. Acoustical Society of America 62:S63",
)
def perplexity(truth: object, likelihoods: Likelihoods | None) -> float | None:
    """Among how many equally likely tokens the model hesitates; only models with the same tokens compare.

    Formula: exp(sum(-ln p) / tokens)

    None without tokens and where the number is beyond float64.
    """
    return None if likelihoods is None else PERPLEXITY.measure(truth, likelihoods)


@METRICS.add(
    task="generate",
    better="lower",
    interval="bootstrap of examples",
    reads="likelihoods",
    source="Boulanger-Lewandowski et al. 2012, arXiv:1206.6392, section 6",
)
def nll(truth: object, likelihoods: Likelihoods | None) -> float | None:
    """What one step costs the model, in nats; for music a step is all that sounds at a time.

    Formula: sum(-ln p) / steps

    Differs: steps of all pieces count alike; a mean over pieces of each piece's mean is another number.
    """
    return None if likelihoods is None else NATS.measure(truth, likelihoods)
