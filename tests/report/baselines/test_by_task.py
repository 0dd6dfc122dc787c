"""Each sequence task's baselines learn from its training split and are judged by its own metrics."""

import math

import numpy as np
import pytest

import netwright as nw
from netwright.parts.metrics import Likelihoods, measure
from netwright.report.baselines.by_task import sequence_baselines

WANTED = {
    "reverse": {"word_for_word", "retrieval", "lead"},
    "copy": {"most_frequent_tag"},
    "ar": {"last_value", "linear_autoregression"},
}


@pytest.mark.parametrize("name", sorted(WANTED))
def test_the_baselines_of_a_task(name):
    data = nw.read(name, examples=200) if name != "ar" else nw.read(name)
    found = sequence_baselines(data)
    assert WANTED[name] <= set(found)
    for scores in found.values():
        assert any(value is not None for value in scores.values())
        assert all(value is None or math.isfinite(value) for value in scores.values())


def test_classes_of_texts(tmp_path):
    kinds = [("good", "yes") if place % 3 else ("bad", "no") for place in range(120)]
    rows = [f"a {word} film that I saw on day {place}\t{label}" for place, (word, label) in enumerate(kinds)]
    (tmp_path / "texts.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    data = nw.read(tmp_path / "texts.tsv")
    found = sequence_baselines(data)
    assert set(found) == {"constant", "bag_of_words", "character_ngrams"}
    assert found["bag_of_words"]["accuracy"] == 1.0
    share = np.mean([target == "yes" for target in data.raw_targets("test")])
    assert found["constant"]["accuracy"] == pytest.approx(max(share, 1 - share))


def test_a_unigram_of_running_text_is_its_entropy(tmp_path):
    generator = np.random.default_rng(0)
    text = "".join(generator.choice(list("ab"), 20_000, p=[0.75, 0.25]))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    data = nw.read(tmp_path / "text.txt", task="generate")
    found = sequence_baselines(data)
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert found["unigram"]["bits_per_character"] == pytest.approx(entropy, abs=0.02)
    assert found["ngram_5"]["bits_per_character"] == pytest.approx(entropy, abs=0.03)


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    nats = Likelihoods(np.full(3, 7 * math.log(50)), np.full(3, 7), np.full(3, 7))
    found = measure("generate", None, nats)
    assert found["perplexity"] == pytest.approx(50)
    assert found["bits_per_character"] == pytest.approx(math.log2(50))
