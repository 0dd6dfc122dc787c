"""Paired comparisons of sequence runs: against every swap counted out, closed forms, and chance."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from netwright.errors import RunError
from netwright.parts.metrics import SUMS, Likelihoods, measure
from netwright.parts.metrics.differences import word_error_rate
from netwright.report.compare_sequences import compare_stored, paired_sums, same_text
from netwright.report.stored import added, is_whole

RNG = np.random.default_rng(5)


def tagged(count: int, right: float, seed: int) -> tuple[list[list[str]], list[list[str]]]:
    rng = np.random.default_rng(seed)
    truth = [list(rng.choice(["O", "B-X", "B-Y"], 8)) for _ in range(count)]
    flip = np.random.default_rng(seed + 1000 * int(100 * right))
    said = [[tag if flip.random() < right else "O" for tag in tags] for tags in truth]
    return truth, said


def tags_of(truth, said) -> dict[str, np.ndarray]:
    count = len(truth)
    kept = {name: added(name, truth, said) for name in ("entity_f1", "token_accuracy")}
    return {"nats": np.ones(count), "tokens": np.full(count, 8), "characters": np.full(count, 8), **kept}


def told(nats: np.ndarray, tokens: np.ndarray, characters: np.ndarray, **more: np.ndarray) -> dict[str, np.ndarray]:
    begins = np.concatenate([[0], np.cumsum(characters)])
    kept = {"nats": nats, "tokens": tokens, "characters": characters, "unknown": np.zeros(len(nats)), "begins": begins}
    return {**kept, "text": np.arange(32, dtype=np.uint8), **more}


def test_the_p_of_few_examples_counts_every_swap():
    errors = np.array([[3.0, 10], [1, 8], [0, 9], [2, 5], [4, 12], [1, 4], [2, 9]])
    other = np.array([[1.0, 10], [1, 8], [1, 9], [0, 5], [1, 12], [0, 4], [1, 9]])
    value = SUMS["word_error_rate"].value
    values, _, _, p = paired_sums(errors, other, value)
    seen, extreme = abs(value(other.sum(0)) - value(errors.sum(0))), 0
    for swaps in itertools.product((0, 1), repeat=7):
        s = np.array(swaps)[:, None]
        a, b = np.where(s, other, errors).sum(0), np.where(s, errors, other).sum(0)
        extreme += abs(value(b) - value(a)) >= seen - 1e-12
    assert p == pytest.approx(extreme / 2**7)
    assert values == pytest.approx([13 / 57, 5 / 57])


def test_tags_compare_in_the_f1_of_entities():
    truth, said = tagged(200, 0.6, 1)
    _, better = tagged(200, 0.9, 1)
    found = compare_stored("tag", tags_of(truth, said), tags_of(truth, better))
    assert (found["metric"], found["verdict"], found["examples"]) == ("entity_f1", "better", 200)
    known = [measure("tag", truth, told_)["entity_f1"] for told_ in (said, better)]
    assert found["values"] == pytest.approx(known)
    assert found["difference"] == pytest.approx(known[1] - known[0])
    assert 0 < found["low"] < found["difference"] < found["high"]
    back = compare_stored("tag", tags_of(truth, better), tags_of(truth, said))
    assert (back["verdict"], back["p_value"]) == ("worse", found["p_value"])


def test_tags_without_entities_compare_in_their_accuracy():
    truth = [["a", "b", "c"]] * 40
    said, better = [["a", "x", "x"]] * 40, [["a", "b", "x"]] * 30 + [["x", "x", "x"]] * 10
    found = compare_stored("tag", tags_of(truth, said), tags_of(truth, better))
    assert found["metric"] == "token_accuracy"
    assert found["values"] == pytest.approx([1 / 3, 0.5])
    assert found["verdict"] == "better"


def test_the_same_run_differs_in_nothing():
    truth, said = tagged(50, 0.6, 1)
    found = compare_stored("tag", tags_of(truth, said), tags_of(truth, said))
    assert (found["difference"], found["p_value"], found["verdict"]) == (0, 1.0, "no difference")


def test_chance_alone_is_seldom_called_a_difference():
    false = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        hard = rng.gamma(2, 50, 40)  # hard examples are hard for both
        runs = [
            told(hard * rng.lognormal(0, 0.2, 40), np.full(40, 60), np.full(40, 60)) for _ in range(2)
        ]  # fmt: skip
        false += compare_stored("generate", *runs)["verdict"] != "no difference"
    assert false <= 8  # 3 are expected; more than 8 happen in 1 of 200 series


def test_language_models_compare_in_bits_and_lower_is_better():
    counts = np.full(60, 100)
    nats = RNG.gamma(50, 4, 60)
    found = compare_stored("generate", told(nats, counts, counts), told(0.9 * nats, counts, counts))
    assert (found["metric"], found["verdict"]) == ("bits_per_character", "better")
    known = measure("generate", None, Likelihoods(nats, counts, counts))["bits_per_character"]
    assert found["values"] == pytest.approx([known, 0.9 * known])
    assert found["high"] < 0


def test_the_same_text_cut_in_other_pieces_is_paired_by_place():
    ends = np.sort(RNG.choice(np.arange(1, 30_000), 399, replace=False))
    cuts = [np.linspace(0, 30_000, 301).astype(int), np.array([0, *ends, 30_000])]
    cost = RNG.gamma(2, 1, 30_000)
    runs = []
    for factor, edges in zip((1.0, 0.95), cuts, strict=True):
        nats = np.add.reduceat(factor * cost, edges[:-1])
        runs.append(told(nats, np.diff(edges) / 4, np.diff(edges)))
    assert same_text(*runs)
    found = compare_stored("generate", *runs, same_tokens=False)
    whole = cost.sum() / 30_000 / np.log(2)
    assert found["metric"] == "bits_per_character"
    assert found["values"] == pytest.approx([whole, 0.95 * whole])
    assert found["verdict"] == "better"
    assert found["unknown"] == [0, 0]
    assert not same_text(runs[0], {**runs[1], "text": np.zeros(32, np.uint8)})


def test_music_without_characters_compares_in_nats_a_step():
    none = np.zeros(30)
    runs = [told(factor * RNG.gamma(9, 1, 30), np.full(30, 5), none, begins=np.arange(31)) for factor in (1, 3)]
    found = compare_stored("generate", *runs)
    assert (found["metric"], found["verdict"]) == ("nll", "worse")
    assert found["values"][0] == pytest.approx(runs[0]["nats"].sum() / 150)


def texts(truth: list[str], said: list[str], nats: float) -> dict[str, np.ndarray]:
    count = len(truth)
    names = ("bleu", "chrf", "exact_match", "word_error_rate", "character_error_rate")
    kept = {name: added(name, truth, said) for name in names}
    return {"nats": np.full(count, nats), "tokens": np.full(count, 4), "characters": np.full(count, 9), **kept}


def test_translations_compare_in_bleu():
    truth = ["the old man sits under a tree by the river"] * 40
    poor, fine = ["the man sat near a tree by a river"] * 40, ["the old man sits under a tree at the river"] * 40
    found = compare_stored("translate", texts(truth, poor, 1.0), texts(truth, fine, 1.0))
    assert (found["metric"], found["verdict"]) == ("bleu", "better")
    assert found["values"][1] == pytest.approx(measure("translate", truth, fine)["bleu"])


def test_texts_of_single_words_compare_in_exact_answers():
    truth = [f"word{number}" for number in range(60)]
    first, second = texts(truth, truth[:20] + ["x"] * 40, 3.0), texts(truth, truth[:50] + ["x"] * 10, 1.0)
    found = compare_stored("translate", first, second)
    assert (found["metric"], found["verdict"]) == ("exact_match", "better")
    assert found["values"] == pytest.approx([1 / 3, 5 / 6])


def test_texts_that_nobody_gets_compare_in_perplexity_where_tokens_agree():
    truth, said = ["word"] * 30, ["x"] * 30
    first, second = texts(truth, said, 4.0), texts(truth, said, 2.0)
    found = compare_stored("translate", first, second)
    assert (found["metric"], found["verdict"]) == ("perplexity", "better")
    assert found["values"] == pytest.approx([np.exp(1.0), np.exp(0.5)])
    assert compare_stored("translate", first, second, same_tokens=False)["metric"] == "chrf"


def test_transcripts_compare_in_word_errors():
    truth = ["one two three", "four five"] * 20
    first, second = ["one two", "four six"] * 20, ["one two three", "four six"] * 20
    found = compare_stored("transcribe", texts(truth, first, 1.0), texts(truth, second, 1.0))
    assert (found["metric"], found["verdict"]) == ("word_error_rate", "better")
    assert found["values"] == pytest.approx([word_error_rate(truth, first), word_error_rate(truth, second)])


def forecast(errors: np.ndarray, horizon: int, naive: float = 2.0) -> dict[str, np.ndarray]:
    truth = np.zeros((len(errors), horizon))
    return {"truth": truth, "predictions": np.repeat(errors[:, None], horizon, 1), "naive_error": np.array([naive])}


def test_forecasts_are_swapped_in_blocks_of_neighbours():
    errors = RNG.gamma(9, 1, 63)
    found = compare_stored("forecast", forecast(errors, 12), forecast(0.5 * errors, 12))
    assert (found["metric"], found["blocks"], found["examples"]) == ("mase", 5, 63)
    assert found["p_value"] == pytest.approx(2 / 2**5)  # five blocks cannot say more
    assert found["verdict"] == "no difference"
    assert found["values"] == pytest.approx([errors.mean() / 2, errors.mean() / 4])
    single = compare_stored("forecast", forecast(errors, 1), forecast(0.5 * errors, 1))
    assert (single["blocks"], single["verdict"]) == (63, "better")


def test_forecasts_of_other_units_compare_in_plain_errors():
    errors = RNG.gamma(9, 1, 30)
    found = compare_stored("forecast", forecast(errors, 2), forecast(errors, 2, naive=3.0))
    assert (found["metric"], found["values"][0]) == ("mae", pytest.approx(errors.mean()))
    with pytest.raises(RunError, match="2 and 3 steps"):
        compare_stored("forecast", forecast(errors, 2), forecast(errors, 3))


def test_few_windows_and_none():
    few = forecast(np.array([1.0]), 12)
    assert compare_stored("forecast", few, few)["verdict"] == "no difference"
    none = forecast(np.zeros(0), 12)
    assert compare_stored("forecast", none, none)["difference"] is None
    nothing = tags_of([], [])
    assert is_whole("tag", nothing)
    with pytest.raises(RunError, match="no metric in common"):
        compare_stored("tag", nothing, nothing)


def trials(right: np.ndarray, **more: np.ndarray) -> dict[str, np.ndarray]:
    truth = np.arange(len(right)) % 2
    return {"truth": truth, "predictions": np.where(right == 1, truth, 1 - truth) * 1.0, **more}


def test_verification_compares_the_pairs_that_are_told_right():
    first, second = np.ones(400), np.ones(400)
    first[:80], second[:20] = 0, 0  # 40 and 10 wrong of either kind
    found = compare_stored("verify", trials(first), trials(second))
    assert (found["metric"], found["verdict"]) == ("accuracy", "better")
    assert found["values"] == pytest.approx([0.8, 0.95])
    assert found["p_value"] == pytest.approx(2 * binom.cdf(0, 60, 0.5))


def test_pairs_that_share_a_recording_count_as_fewer():
    first, second = np.ones(400), np.ones(400)
    first[:24], second[:4] = 0, 0
    alone = compare_stored("verify", trials(first), trials(second))
    shared = {"first": np.where(np.arange(400) < 24, 0, np.arange(400)), "second": np.arange(400, 800)}
    found = compare_stored("verify", trials(first, **shared), trials(second, **shared))
    assert found["p_value"] > 100 * alone["p_value"]  # all that differ hang on one recording
    assert (alone["verdict"], found["verdict"]) == ("better", "no difference")
    assert found["low"] <= 0 <= found["high"]


def test_answers_that_are_no_numbers_are_refused():
    counts = np.full(5, 10)
    broken = told(np.array([1.0, np.nan, 1, 1, np.inf]), counts, counts)
    with pytest.raises(RunError, match="the second run gives NaN or infinity for 2 examples"):
        compare_stored("generate", told(np.ones(5), counts, counts), broken)


def test_many_examples_are_compared_fast_and_the_same_every_time():
    counts = np.full(20_000, 10)
    nats = RNG.gamma(9, 1, 20_000)
    first, second = told(nats, counts, counts), told(nats + RNG.normal(0.05, 1, 20_000), counts, counts)
    found = compare_stored("generate", first, second)
    assert found == compare_stored("generate", first, second)
    assert found["verdict"] == "worse"
    assert found["low"] < found["difference"] < found["high"]


def test_what_a_run_keeps_is_checked_to_be_whole():
    truth, said = tagged(5, 0.5, 0)
    kept = tags_of(truth, said)
    assert is_whole("tag", kept)
    assert not is_whole("tag", {name: kept[name] for name in kept if name != "entity_f1"})
    assert not is_whole("tag", {**kept, "tokens": kept["tokens"][:3]})
    assert not is_whole("forecast", {"predictions": np.zeros((2, 2))})
