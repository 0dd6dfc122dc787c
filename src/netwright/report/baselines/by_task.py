"""Honest baselines of the sequence tasks, each with its task's metrics on the same test examples."""

from typing import Any

import numpy as np

from netwright.data.dataset import Dataset
from netwright.data.music.chords import steps_of as steps_in
from netwright.data.sequence_targets import SeriesTargets
from netwright.parts.metrics import Likelihoods, measure
from netwright.parts.sequences import Ragged
from netwright.randomness import permutation
from netwright.report.baselines.forecasting import forecast_baselines
from netwright.report.baselines.ngrams import ngram_nats
from netwright.report.baselines.pitches import independent_pitches, independent_voices
from netwright.report.baselines.spectra import nearest_mean_spectrum, nearest_mean_words, spectrum_similarity
from netwright.report.baselines.texts import (
    bag_of_words,
    character_ngrams,
    lead,
    median_words,
    most_frequent_tag,
    retrieval,
)
from netwright.report.baselines.word_for_word import word_for_word
from netwright.training.answers import characters, steps_of, truths

NEIGHBOURS = 4000
"""Training examples among which the nearest is looked for."""
Scores = dict[str, dict[str, float | None]]


def sequence_baselines(dataset: Dataset, asked: Dataset | None = None) -> Scores:
    """`{name of the baseline: {metric: number}}`: what simple methods reach that learn from the same training split.

    They are judged on the test split, or on that of `asked`: other data in the same encoding.
    """
    return FOR_TASK[dataset.task](dataset, asked or dataset)


def _classes(dataset: Dataset, asked: Dataset) -> Scores:
    train, test = truths(dataset, "train"), truths(asked, "test")
    count = len(dataset.classes)
    shares = np.bincount(train, minlength=count) / len(train)
    found = {"constant": np.repeat(shares[None], len(test), axis=0)}
    if dataset.kind == "text":
        texts = _texts(dataset, "train"), _texts(asked, "test")
        found["bag_of_words"] = bag_of_words(texts[0], train, texts[1], count)
        found["character_ngrams"] = character_ngrams(texts[0], train, texts[1], count)
    else:
        sounds = dataset.sequences("train")[0], asked.sequences("test")[0]
        found["nearest_spectrum"] = nearest_mean_spectrum(sounds[0], train, sounds[1], count).probabilities
    return {name: measure("classify", test, outputs) for name, outputs in found.items()}


def _numbers(dataset: Dataset, asked: Dataset) -> Scores:
    test = truths(asked, "test")
    return {"constant": measure("regress", test, np.full(len(test), truths(dataset, "train").mean()))}


def _tags(dataset: Dataset, asked: Dataset) -> Scores:
    train, test = ([list(dataset.encoder.tokens(text)) for text in texts]  # type: ignore[attr-defined]
                   for texts in (_texts(dataset, "train"), _texts(asked, "test")))  # fmt: skip
    found = most_frequent_tag(train, truths(dataset, "train"), test)
    return {"most_frequent_tag": measure("tag", truths(asked, "test"), [list(tags) for tags in found])}


def _next_tokens(dataset: Dataset, asked: Dataset) -> Scores:
    train, test = dataset.sequences("train")[1], asked.sequences("test")[1]
    both = (dataset, train), (asked, test)
    learnt, read = (_documents(one, whose.source.facts.get("marked", False)) for whose, one in both)
    every = np.arange(len(test))
    count, steps = characters(asked, test, every), steps_of(asked, test, every)
    found = {}
    for name, order in (("unigram", 1), ("ngram_5", 5)):
        nats = ngram_nats(learnt, read, order, vocabulary=int(dataset.inputs["vocabulary"]))
        likelihoods = Likelihoods(np.add.reduceat(nats, test.starts[:-1]), steps, count)
        found[name] = measure("generate", None, likelihoods)
    return found | _chords(dataset, asked, steps) if dataset.source.facts.get("music") == "chords" else found


def _chords(dataset: Dataset, asked: Dataset, steps: np.ndarray) -> Scores:
    """Each pitch, and each voice, by its own frequencies, whatever else sounds."""
    train, test = ([steps_in(text) for text in texts] for texts in (_texts(dataset, "train"), _texts(asked, "test")))
    starts = np.concatenate([[0], np.cumsum([len(piece) for piece in test])])[:-1]
    found = {}
    for name, method in (("independent_pitches", independent_pitches), ("independent_voices", independent_voices)):
        nats = np.add.reduceat(method(train, test), starts)
        found[name] = measure("generate", None, Likelihoods(nats, steps, np.zeros(len(test))))
    return found


def _documents(sequences: Ragged, whole: bool) -> Any:
    """Texts by themselves where they are whole, else the running text that the pieces make up."""
    flat = sequences.flat.numpy()
    return [flat[a:b] for a, b in zip(sequences.starts[:-1], sequences.starts[1:], strict=True)] if whole else flat


def _translations(dataset: Dataset, asked: Dataset) -> Scores:
    if dataset.kind != "text":
        return _captions(dataset, asked)
    train, test = _texts(dataset, "train"), _texts(asked, "test")
    replies, truth = truths(dataset, "train"), truths(asked, "test")
    pairs = list(zip(train, replies, strict=True))
    found = {
        "word_for_word": word_for_word(pairs, test), "retrieval": retrieval(pairs, test),
        "lead": lead(test, median_words(replies)),
    }  # fmt: skip
    return {name: measure("translate", truth, texts) for name, texts in found.items()}


def _captions(dataset: Dataset, asked: Dataset) -> Scores:
    """The text of the nearest of the training examples, as the network reads them, and the most frequent text."""
    replies, truth = truths(dataset, "train"), truths(asked, "test")
    chosen = np.sort(permutation(len(replies), 0, "baselines")[:NEIGHBOURS])
    texts, counts = np.unique(replies, return_counts=True)
    known, read = _flat(dataset, dataset.splits["train"][chosen]), _flat(asked, asked.splits["test"])
    found = {
        "most_frequent_text": [str(texts[counts.argmax()])] * len(truth),
        "nearest": [replies[chosen[place]] for place in _nearest(known, read)],
    }
    return {name: measure("translate", truth, texts) for name, texts in found.items()}


def _flat(dataset: Dataset, positions: np.ndarray) -> np.ndarray:
    """What the network reads, one flat row an example."""
    return dataset.encoder.encode(dataset.source.examples.take(positions)).flatten(1).numpy()


def _nearest(known: np.ndarray, read: np.ndarray) -> np.ndarray:
    """For each row that of the known ones at the least distance, the first of equally near ones."""
    squares = (known.astype(np.float64) ** 2).sum(1)
    parts = [read[first : first + 256].astype(np.float64) for first in range(0, len(read), 256)]
    return np.concatenate([(squares - 2 * part @ known.T).argmin(1) for part in parts] or [np.zeros(0, np.int64)])


def _transcripts(dataset: Dataset, asked: Dataset) -> Scores:
    learnt, truth = truths(dataset, "train"), truths(asked, "test")
    texts, counts = np.unique(learnt, return_counts=True)
    train, test = dataset.sequences("train")[0], asked.sequences("test")[0]
    found = {
        "most_frequent_text": [str(texts[counts.argmax()])] * len(truth),
        "nearest_spectrum": nearest_mean_words(train, learnt, test),
    }
    return {name: measure("transcribe", truth, said) for name, said in found.items()}


def _pairs(dataset: Dataset, asked: Dataset) -> Scores:
    train, test = dataset.sequences("train")[0], asked.sequences("test")[0]
    pairs = asked.pairs("test")
    return {"spectrum_similarity": measure("verify", pairs.same.astype(int), spectrum_similarity(train, test, pairs))}


def _futures(dataset: Dataset, asked: Dataset) -> Scores:
    targets = dataset.targets
    assert isinstance(targets, SeriesTargets)
    places = (dataset, "train"), (asked, "test")
    windows = [one.source.examples.take(one.splits[split]).numpy() for one, split in places]
    found = forecast_baselines(
        windows[0], truths(dataset, "train"), windows[1], int(targets.facts.get("season", 1)),
        int(targets.facts.get("target_position", 0)),
    )  # fmt: skip
    truth = truths(asked, "test")
    return {name: measure("forecast", truth, out, naive_error=targets.naive_error) for name, out in found.items()}


def _texts(dataset: Dataset, split: str) -> list[Any]:
    return list(dataset.source.examples.take(dataset.splits[split]).texts)


FOR_TASK = {
    "classify": _classes, "regress": _numbers, "tag": _tags, "generate": _next_tokens, "translate": _translations,
    "transcribe": _transcripts, "verify": _pairs, "forecast": _futures,
}  # fmt: skip
