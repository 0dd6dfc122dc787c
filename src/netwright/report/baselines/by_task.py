"""Honest baselines of the sequence tasks, each with its task's metrics on the same test examples."""

from typing import Any

import numpy as np

from netwright.data.dataset import Dataset
from netwright.data.music.chords import steps_of as steps_in
from netwright.data.sequence_targets import SeriesTargets
from netwright.parts.metrics import Likelihoods, measure
from netwright.parts.sequences import Ragged
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

Scores = dict[str, dict[str, float | None]]


def sequence_baselines(dataset: Dataset) -> Scores:
    """`{name of the baseline: {metric: number}}`: what simple methods reach that learn from the same training split."""
    return FOR_TASK[dataset.task](dataset)


def _classes(dataset: Dataset) -> Scores:
    train, test = truths(dataset, "train"), truths(dataset, "test")
    count = len(dataset.classes)
    shares = np.bincount(train, minlength=count) / len(train)
    found = {"constant": np.repeat(shares[None], len(test), axis=0)}
    if dataset.kind == "text":
        texts = [_texts(dataset, split) for split in ("train", "test")]
        found["bag_of_words"] = bag_of_words(texts[0], train, texts[1], count)
        found["character_ngrams"] = character_ngrams(texts[0], train, texts[1], count)
    else:
        sounds = [dataset.sequences(split)[0] for split in ("train", "test")]
        found["nearest_spectrum"] = nearest_mean_spectrum(sounds[0], train, sounds[1], count).probabilities
    return {name: measure("classify", test, outputs) for name, outputs in found.items()}


def _numbers(dataset: Dataset) -> Scores:
    test = truths(dataset, "test")
    return {"constant": measure("regress", test, np.full(len(test), truths(dataset, "train").mean()))}


def _tags(dataset: Dataset) -> Scores:
    tokens = [[list(dataset.encoder.tokens(text)) for text in _texts(dataset, split)] for split in ("train", "test")]  # type: ignore[attr-defined]
    found = most_frequent_tag(tokens[0], truths(dataset, "train"), tokens[1])
    return {"most_frequent_tag": measure("tag", truths(dataset, "test"), [list(tags) for tags in found])}


def _next_tokens(dataset: Dataset) -> Scores:
    train, test = (dataset.sequences(split)[1] for split in ("train", "test"))
    whole = dataset.source.facts.get("marked", False)
    learnt, asked = (_documents(one, whole) for one in (train, test))
    every = np.arange(len(test))
    count, steps = characters(dataset, test, every), steps_of(dataset, test, every)
    found = {}
    for name, order in (("unigram", 1), ("ngram_5", 5)):
        nats = ngram_nats(learnt, asked, order, vocabulary=int(dataset.inputs["vocabulary"]))
        likelihoods = Likelihoods(np.add.reduceat(nats, test.starts[:-1]), steps, count)
        found[name] = measure("generate", None, likelihoods)
    return found | _chords(dataset, steps) if dataset.source.facts.get("music") == "chords" else found


def _chords(dataset: Dataset, steps: np.ndarray) -> Scores:
    """Each pitch, and each voice, by its own frequencies, whatever else sounds."""
    train, test = ([steps_in(text) for text in _texts(dataset, split)] for split in ("train", "test"))
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


def _translations(dataset: Dataset) -> Scores:
    train, test = (_texts(dataset, split) for split in ("train", "test"))
    replies, truth = truths(dataset, "train"), truths(dataset, "test")
    pairs = list(zip(train, replies, strict=True))
    found = {
        "word_for_word": word_for_word(pairs, test), "retrieval": retrieval(pairs, test),
        "lead": lead(test, median_words(replies)),
    }  # fmt: skip
    return {name: measure("translate", truth, texts) for name, texts in found.items()}


def _transcripts(dataset: Dataset) -> Scores:
    learnt, truth = truths(dataset, "train"), truths(dataset, "test")
    texts, counts = np.unique(learnt, return_counts=True)
    train, test = (dataset.sequences(split)[0] for split in ("train", "test"))
    found = {
        "most_frequent_text": [str(texts[counts.argmax()])] * len(truth),
        "nearest_spectrum": nearest_mean_words(train, learnt, test),
    }
    return {name: measure("transcribe", truth, said) for name, said in found.items()}


def _pairs(dataset: Dataset) -> Scores:
    train, test = (dataset.sequences(split)[0] for split in ("train", "test"))
    pairs = dataset.pairs("test")
    return {"spectrum_similarity": measure("verify", pairs.same.astype(int), spectrum_similarity(train, test, pairs))}


def _futures(dataset: Dataset) -> Scores:
    targets = dataset.targets
    assert isinstance(targets, SeriesTargets)
    windows = [dataset.source.examples.take(dataset.splits[split]).numpy() for split in ("train", "test")]
    found = forecast_baselines(
        windows[0], truths(dataset, "train"), windows[1], int(targets.facts.get("season", 1)),
        int(targets.facts.get("target_position", 0)),
    )  # fmt: skip
    truth = truths(dataset, "test")
    return {name: measure("forecast", truth, out, naive_error=targets.naive_error) for name, out in found.items()}


def _texts(dataset: Dataset, split: str) -> list[Any]:
    return list(dataset.source.examples.take(dataset.splits[split]).texts)


FOR_TASK = {
    "classify": _classes, "regress": _numbers, "tag": _tags, "generate": _next_tokens, "translate": _translations,
    "transcribe": _transcripts, "verify": _pairs, "forecast": _futures,
}  # fmt: skip
