"""Metrics of texts by what they share: n-grams of words or characters, and common subsequences."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from netwright.catalogue import METRICS
from netwright.parts.metrics.checking import PerExample, Sums, Texts, paired_texts
from netwright.parts.metrics.differences import longest_common

ORDER = 4  # the longest n-grams of BLEU, in words
CHARACTERS = 6  # the longest n-grams of chrF, in characters
BETA = 2  # how many times as much recall counts in chrF as precision

# What sacrebleu's tokenizer `zh` takes apart: ideographs, their marks, full-width forms. It compares texts where it
# means code points beyond 16 bits, so that U+2001-2A6D (dashes, quotation marks, arrows) count too and the rare
# ideographs beyond U+FFFF do not; equal scores need both.
_ZH = re.compile(
    "([\u2001-\u2a6d\u2e80-\u2fdf\u2ff0-\u303f\u3100-\u312f\u31a0-\u31bf\u31c0-\u31ef\u3200-\u33ff\u3400-\u4db5\u4e00-\u9fbb"
    "\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\ufe10-\ufe1f\ufe30-\ufe4f\uff00-\uffef\u2f81-\u2fa1])"
)
_MARKS = (
    (re.compile(r"([{-~\[-` -&(-+:-@/])"), r" \1 "),  # marks, other than apostrophe, comma, dash and full stop
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),  # full stop and comma, unless a digit stands before
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),  # ... or behind
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),  # a dash behind a digit
)
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_ALONE = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
"""Characters that are words of their own: Chinese ones and kana."""
_WORD = re.compile(f"[{_ALONE}]|[^\\W_{_ALONE}]+")
_LETTER = re.compile(r"[^\W\d_]")
_IDEOGRAPH = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")


def chinese(texts: Iterable[str]) -> bool:
    """Whether most letters of texts are Chinese ones."""
    whole = "".join(texts)
    return 2 * len(_IDEOGRAPH.findall(whole)) > len(_LETTER.findall(whole))


def bleu_tokens(text: str, tokenizer: str) -> list[str]:
    """The tokens of BLEU: `13a` as WMT's script mteval-v13a, `zh` the same with each Chinese character apart."""
    text = text.rstrip()
    if tokenizer == "zh":
        text = _ZH.sub(r" \1 ", text.strip())
    else:
        text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
        for written, meant in _ENTITIES:
            text = text.replace(written, meant)
        text = f" {text} "
    for mark, apart in _MARKS:
        text = mark.sub(apart, text)
    return text.split()


def rouge_tokens(text: str) -> list[str]:
    """The words of ROUGE: runs of letters and digits in lower case, each Chinese character or kana alone."""
    return _WORD.findall(text.lower())


def _ngrams(items: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(items[shift:] for shift in range(order)), strict=False))


def _bleu_counts(truth: Texts, predictions: Texts, tokenizer: str = "auto") -> Float[np.ndarray, "examples 10"]:
    """Each example's matching n-grams of 1 to 4 words, its predicted ones, its predicted and its true words."""
    pairs = paired_texts(truth, predictions)
    if tokenizer == "auto":
        tokenizer = "zh" if chinese(true for true, _ in pairs) else "13a"
    counts = np.zeros((len(pairs), 2 * ORDER + 2))
    for row, (true, said) in zip(counts, pairs, strict=True):
        wanted, got = bleu_tokens(true, tokenizer), bleu_tokens(said, tokenizer)
        for order in range(1, ORDER + 1):
            row[order - 1] = (_ngrams(wanted, order) & _ngrams(got, order)).total()
            row[ORDER + order - 1] = max(0, len(got) - order + 1)
        row[2 * ORDER :] = len(got), len(wanted)
    return counts


def _bleu(sums: Float[np.ndarray, "*sets 10"]) -> Float[np.ndarray, "*sets"]:
    matches, totals, said, true = sums[..., :ORDER], sums[..., ORDER : 2 * ORDER], sums[..., -2], sums[..., -1]
    halvings = np.cumsum(matches == 0, axis=-1)  # the k-th order without a match counts as 1 / 2^k of one
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(matches > 0, matches, 0.5**halvings) / totals
        short = np.minimum(1 - true / said, 0)
        score = 100 * np.exp(np.log(precision).mean(axis=-1) + short)
    score = np.where((totals == 0).any(axis=-1) | (matches == 0).all(axis=-1), 0.0, score)
    return np.where(true > 0, score, np.nan)


def _chrf_counts(truth: Texts, predictions: Texts) -> Float[np.ndarray, "examples 18"]:
    """Each example's matching, predicted and true n-grams of 1 to 6 characters."""
    pairs = paired_texts(truth, predictions)
    counts = np.zeros((len(pairs), 3, CHARACTERS))
    for row, (true, said) in zip(counts, pairs, strict=True):
        wanted, got = "".join(true.split()), "".join(said.split())
        for order in range(1, CHARACTERS + 1):
            here = Counter([wanted[place : place + order] for place in range(len(wanted) - order + 1)])
            there = Counter([got[place : place + order] for place in range(len(got) - order + 1)])
            total = max(0, len(wanted) - order + 1)
            # A prediction's n-grams count only where the truth is long enough to have any of that order.
            row[:, order - 1] = (here & there).total(), max(0, len(got) - order + 1) if total else 0, total
    return counts.reshape(len(pairs), 3 * CHARACTERS)


def _chrf(sums: Float[np.ndarray, "*sets 18"]) -> Float[np.ndarray, "*sets"]:
    matches, said, true = (sums[..., k * CHARACTERS : (k + 1) * CHARACTERS] for k in range(3))
    used = (said > 0) & (true > 0)
    orders = np.maximum(used.sum(axis=-1), 1)
    precision = np.divide(matches, said, out=np.zeros_like(said), where=used).sum(axis=-1) / orders
    recall = np.divide(matches, true, out=np.zeros_like(true), where=used).sum(axis=-1) / orders
    below = BETA**2 * precision + recall
    score = np.divide((1 + BETA**2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)
    return np.where(true[..., 0] > 0, 100 * score, np.nan)


BLEU = Sums(_bleu_counts, _bleu)
CHRF = Sums(_chrf_counts, _chrf)


@METRICS.add(
    task="translate",
    better="higher",
    interval="bootstrap of examples",
    source="Papineni et al. 2002, ACL, section 2; Post 2018, arXiv:1804.08771 (sacrebleu)",
)
def bleu(truth: Texts, predictions: Texts, *, tokenizer: Literal["auto", "13a", "zh"] = "auto") -> float | None:
    """How many runs of 1 to 4 words of the predictions stand in the true texts, from 0 to 100, over all texts together.

    Formula: 100 * min(1, exp(1 - r / c)) * (p1 p2 p3 p4)^(1/4), p(n) = sum(matching n-grams) / sum(predicted n-grams),
    c predicted and r true words; the k-th p(n) without a match is 1 / (2^k predicted n-grams)

    Args:
        tokenizer: `13a`, the one of WMT; `zh` with each Chinese character a word; `auto` is `zh` where most letters of
            the true texts are Chinese.

    The number is sacrebleu's with one true text each, case kept and its own settings (`tok:13a|smooth:exp`). 0 where
    no prediction has four words or no word is right; None where no true text has a word.
    """
    return BLEU.measure(truth, predictions, tokenizer)


@METRICS.add(
    task="translate",
    better="higher",
    interval="bootstrap of examples",
    source="Popovic 2015, WMT, section 2 (chrF2); Post 2018, arXiv:1804.08771 (sacrebleu)",
)
def chrf(truth: Texts, predictions: Texts) -> float | None:
    """How many runs of 1 to 6 characters predictions and true texts share, from 0 to 100; fair to word endings.

    Formula: 100 * 5 p r / (4 p + r), p and r the means over n = 1 ... 6 of sum(matching n-grams) / sum(predicted
    n-grams) and / sum(true n-grams); white space left out, orders without n-grams left out

    The number is sacrebleu's chrF2 (6 characters, no words). None where all true texts are empty.
    """
    return CHRF.measure(truth, predictions)


def rouge1_values(truth: Texts, predictions: Texts) -> PerExample:
    """The F-measure of single words, one an example."""
    found = []
    for true, said in _rouge_pairs(truth, predictions):
        found.append(_f_measure((Counter(true) & Counter(said)).total(), len(true), len(said)))
    return np.array(found)


def rouge_l_values(truth: Texts, predictions: Texts) -> PerExample:
    """The F-measure of the longest common subsequence of words, one an example."""
    pairs = _rouge_pairs(truth, predictions)
    return np.array([_f_measure(longest_common(true, said), len(true), len(said)) for true, said in pairs])


def _rouge_pairs(truth: Texts, predictions: Texts) -> list[tuple[list[str], list[str]]]:
    return [(rouge_tokens(true), rouge_tokens(said)) for true, said in paired_texts(truth, predictions)]


def _f_measure(shared: int, true: int, said: int) -> float:
    return 2 * shared / (true + said) if shared else 0.0


@METRICS.add(
    task="translate",
    better="higher",
    interval="bootstrap of examples",
    source="Lin 2004, Text Summarization Branches Out, section 2",
)
def rouge1(truth: Texts, predictions: Texts) -> float | None:
    """How many words a summary shares with the true one, in any order, from 0 to 1.

    Formula: mean over examples of 2 m / (words of the truth + words of the prediction), m = sum over words of the
    smaller of both counts

    Words are runs of letters and digits in lower case, not stemmed; every Chinese character is one. An example without
    a shared word counts 0.

    Differs: Google's rouge_score knows the letters a to z alone and drops all others; on plain English the numbers are
    equal.
    """
    values = rouge1_values(truth, predictions)
    return float(values.mean()) if len(values) else None


@METRICS.add(
    task="translate",
    better="higher",
    interval="bootstrap of examples",
    source="Lin 2004, Text Summarization Branches Out, section 3.1",
)
def rougeL(truth: Texts, predictions: Texts) -> float | None:
    """How many words a summary shares with the true one in the same order, from 0 to 1.

    Formula: mean over examples of 2 l / (words of the truth + words of the prediction), l = words of the longest common
    subsequence

    Words as in `rouge1`; the whole text is one sequence.

    Differs: Google's rouge_score knows the letters a to z alone and drops all others; on plain English the numbers are
    equal.
    """
    values = rouge_l_values(truth, predictions)
    return float(values.mean()) if len(values) else None
