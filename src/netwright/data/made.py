"""Made sequences with a known answer: long memory (adding, copying), reversal, and a process to forecast."""

from typing import Annotated

import numpy as np
import torch

from netwright.catalogue import Range
from netwright.data.readers.arrays import Numbered
from netwright.data.series.windows import Windows, futures, naive_error, walk_forward
from netwright.data.source import InMemory, Source, Texts
from netwright.randomness import normal, uniform

Count = Annotated[int, Range(2, 1_000_000)]
Noise = Annotated[float, Range(0, 10)]
Seed = Annotated[int, Range(0, 2**63 - 1)]
BLANK, BEGIN = "_", ":"
"""Steps of `copy` without a letter, and the one at which it is to answer."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SETTLING = 200
"""Steps of the process before the first that counts."""
AR_WINDOW, AR_CYCLE = 24, 12


def _words(order: np.ndarray, width: int, count: int, *words: int | str) -> np.ndarray:
    """`width` whole numbers below `count` for each example."""
    return np.minimum(count * uniform(order, width, *words), count - 1).astype(np.int64)


def adding(*, examples: Count = 10_000, steps: Annotated[int, Range(2, 10_000)] = 100, made_seed: Seed = 0) -> Source:
    """The adding problem: add two marked numbers that lie far apart: `steps` steps of 2 numbers, the sum as target.

    Formula: x_t = (u_t, m_t), u uniform in [0, 1), m 1 at one step of the first half and one of the second, else 0;
    y = sum_t u_t m_t. Whoever always answers the mean, 1, has an MSE of 1/6 = 0.1667. Source: Hochreiter and
    Schmidhuber 1997, "Long Short-Term Memory", experiment 4; halves as in Arjovsky, Shah and Bengio 2016.
    """
    order = np.arange(examples)
    numbers = uniform(order, steps, "adding", made_seed)
    half = steps // 2
    first = _words(order, 1, half, "adding", made_seed, "first")[:, 0]
    second = half + _words(order, 1, steps - half, "adding", made_seed, "second")[:, 0]
    marks = np.zeros((examples, steps))
    marks[order, first] = marks[order, second] = 1
    values = np.stack([numbers, marks], axis=2).astype(np.float32)
    targets = values[order, first, 0].astype(np.float64) + values[order, second, 0]
    ids = Numbered([("adding", examples)])
    return Source("sequence", "adding", InMemory(torch.from_numpy(values)), targets, ids, task="regress")


def copy(
    *,
    examples: Count = 10_000,
    steps: Annotated[int, Range(1, 10_000)] = 100,
    symbols: Annotated[int, Range(1, 1000)] = 10,
    alphabet: Annotated[int, Range(2, 26)] = 8,
    made_seed: Seed = 0,
) -> Source:
    """The copy problem: repeat `symbols` letters after a pause of `steps` steps; every step is a tag.

    Formula: with S symbols and a pause of T steps, inputs are S letters, T - 1 blanks (_), a sign to begin (:) and S
    blanks; tags are T + S blanks and the S letters. Whoever knows when but not what to answer has a cross-entropy of
    S ln(alphabet) / (T + 2 S) a step, 0.1733 by default. Source: Hochreiter and Schmidhuber 1997; in this form
    Arjovsky, Shah and Bengio 2016, "Unitary Evolution Recurrent Neural Networks".
    """
    letters = np.array(list(LETTERS[:alphabet]), object)
    drawn = letters[_words(np.arange(examples), symbols, alphabet, "copy", made_seed)].tolist()
    pause, behind, before = [BLANK] * (steps - 1) + [BEGIN], [BLANK] * symbols, [BLANK] * (steps + symbols)
    texts = [tuple(row + pause + behind) for row in drawn]
    tags = np.empty(examples, object)
    tags[:] = [tuple(before + row) for row in drawn]
    return Source("text", "copy", Texts(texts), tags, Numbered([("copy", examples)]), task="tag")


def reverse(
    *,
    examples: Count = 10_000,
    least: Annotated[int, Range(1, 1000)] = 5,
    most: Annotated[int, Range(1, 1000)] = 10,
    alphabet: Annotated[int, Range(2, 26)] = 26,
    made_seed: Seed = 0,
) -> Source:
    """Toy translation: a word of `least` to `most` random letters, and the same word backwards.

    Formula: length uniform, letters uniform and independent; target_i = source_(n + 1 - i). `most` below `least`
    counts as `least`.
    """
    order = np.arange(examples)
    most = max(least, most)
    lengths = least + _words(order, 1, most - least + 1, "reverse", made_seed, "length")[:, 0]
    letters = _words(order, most, alphabet, "reverse", made_seed)
    texts = ["".join(LETTERS[letter] for letter in row[:length])
             for row, length in zip(letters.tolist(), lengths.tolist(), strict=True)]  # fmt: skip
    targets = np.empty(examples, object)
    targets[:] = [text[::-1] for text in texts]
    return Source("text", "reverse", Texts(texts), targets, Numbered([("reverse", examples)]), task="translate")


def spelling(*, examples: Annotated[int, Range(2, 1_000_000)] = 1000) -> Source:
    """Numbers and their English names: 0 to 999 by default, such as 347, three hundred forty-seven.

    Formula: example n is the number n in digits, its target the name of n; no two are alike
    """
    targets = np.empty(examples, object)
    targets[:] = [spelt(number) for number in range(examples)]
    texts = [str(number) for number in range(examples)]
    return Source("text", "spelling", Texts(texts), targets, Numbered([("spelling", examples)]), task="translate")


def spelt(number: int) -> str:
    """The English name of a whole number from 0 to 999,999."""
    if number < 20:
        return SMALL[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f"-{SMALL[number % 10]}" if number % 10 else "")
    unit, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    rest = number % unit
    return f"{spelt(number // unit)} {name}" + (f" {spelt(rest)}" if rest else "")


def repeats(
    *,
    examples: Count = 2000,
    steps: Annotated[int, Range(2, 1000)] = 12,
    alphabet: Annotated[int, Range(2, 26)] = 8,
    made_seed: Seed = 0,
) -> Source:
    """Tags that need memory: for each letter of a word whether it stood there before, `again` or `new`.

    Formula: length uniform from 2 to `steps`, letters uniform and independent; a tag is `again` where its letter is one
    of those before it
    """
    order = np.arange(examples)
    lengths = 2 + _words(order, 1, steps - 1, "repeats", made_seed, "length")[:, 0]
    letters = _words(order, steps, alphabet, "repeats", made_seed)
    texts = [tuple(LETTERS[letter] for letter in row[:length])
             for row, length in zip(letters.tolist(), lengths.tolist(), strict=True)]  # fmt: skip
    tags = np.empty(examples, object)
    tags[:] = [
        tuple("again" if letter in text[:place] else "new" for place, letter in enumerate(text)) for text in texts
    ]
    return Source("text", "repeats", Texts(texts), tags, Numbered([("repeats", examples)]), task="tag")


def ar(
    *,
    steps: Annotated[int, Range(60, 1_000_000)] = 2000,
    horizon: Annotated[int, Range(1, 8)] = 1,
    noise: Annotated[float, Range(1e-6, 10)] = 1.0,
    made_seed: Seed = 0,
) -> Source:
    """A series to forecast whose best forecast is known: an autoregression of two steps that swings about every 12.

    Formula: y_t = 1.5 y_(t-1) - 0.75 y_(t-2) + noise e_t, e normal; windows of 24 steps, the last fifth tested. The
    best forecast of the next step is 1.5 y_(t-1) - 0.75 y_(t-2), with a mean error of sqrt(2 / pi) = 0.798 times
    `noise`; the last value misses by 1.252 times. Source: Yule 1927.
    """
    shocks = noise * normal(np.arange(SETTLING + steps), 1, "ar", made_seed)[:, 0]
    before, last = 0.0, 0.0
    values = np.empty(len(shocks))
    for step, shock in enumerate(shocks.tolist()):
        before, last = last, 1.5 * last - 0.75 * before + shock
        values[step] = last
    values = values[SETTLING:]
    starts = np.arange(steps - AR_WINDOW - horizon + 1)
    splits, border = walk_forward(starts, AR_WINDOW, horizon, 0.2, 0.1)
    even = np.zeros(steps, bool)
    facts = {
        "time": "step", "target": "y", "target_position": 0, "features": ["y"], "step": "1 step", "unit": "step",
        "count": 1.0, "season": AR_CYCLE, "window": AR_WINDOW, "horizon": horizon, "steps": steps,
        "naive_error": naive_error(values, even, ~even, border, AR_CYCLE), "train_until": f"{border - 1}",
    }  # fmt: skip
    examples = Windows(torch.from_numpy(values.astype(np.float32))[:, None], starts, AR_WINDOW)
    ids = Numbered([("step", len(starts))], "{part} {position}", first=AR_WINDOW)
    targets = futures(values, starts, AR_WINDOW, horizon)
    return Source("sequence", "ar", examples, targets, ids, splits, task="forecast", facts=facts)
