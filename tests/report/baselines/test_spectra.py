"""The baseline of recordings against loops by hand, and pairs for verification."""

import numpy as np
import pytest
import torch

from netwright.data.sounds.pairs import Pairs, pairs_for_verification
from netwright.errors import DataError
from netwright.parts.sequences import Ragged
from netwright.report.baselines.spectra import (
    mean_spectra,
    nearest_mean_spectrum,
    nearest_mean_words,
    spectrum_similarity,
)


def clips(count, classes, seed=0, apart=3.0):
    draw = np.random.default_rng(seed)
    numbers = draw.integers(classes, size=count)
    centres = np.random.default_rng(99).normal(0, apart, (classes, 6))
    waves = [draw.normal(centres[c], 1, (draw.integers(1, 9), 6)).astype(np.float32) for c in numbers]
    return Ragged.of(waves), numbers, waves


def test_mean_and_deviation_over_time():
    found, _, waves = clips(20, 3)
    wanted = [np.concatenate([w.astype(np.float64).mean(0), w.astype(np.float64).std(0)]) for w in waves]
    np.testing.assert_allclose(mean_spectra(found), wanted, atol=1e-12)


def test_the_nearest_class_mean_answers():
    train, numbers, _ = clips(200, 4)
    test, truth, _ = clips(60, 4, seed=1)
    found = nearest_mean_spectrum(train, numbers, test, 5)
    a, b = mean_spectra(train), mean_spectra(test)
    centre, scale = a.mean(0), a.std(0)
    means = [((a - centre) / scale)[numbers == c].mean(0) for c in range(4)]
    wanted = [int(np.argmin([np.sum((z - m) ** 2) for m in means])) for z in (b - centre) / scale]
    assert found.labels.tolist() == wanted
    assert (found.labels == truth).mean() > 0.8
    assert found.probabilities.shape == (60, 5)
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    assert found.probabilities.argmax(1).tolist() == wanted
    assert not found.probabilities[:, 4].any()  # a class without training recordings


def test_probabilities_are_honest():
    train, numbers, _ = clips(2000, 4, apart=0.4)
    test, truth, _ = clips(2000, 4, seed=1, apart=0.4)
    found = nearest_mean_spectrum(train, numbers, test, 4)
    sure = found.probabilities.max(1).mean()
    assert abs(sure - (found.labels == truth).mean()) < 0.05
    likely = np.log(found.probabilities[np.arange(2000), truth]).mean()
    assert likely > np.log(0.25)


def test_recordings_all_alike_are_no_trouble():
    same = Ragged.of([torch.ones(3, 2)] * 4)
    found = nearest_mean_spectrum(same, np.array([0, 1, 0, 1]), same, 2)
    assert found.labels.tolist() == [0, 0, 0, 0]
    assert found.probabilities.tolist() == [[0.5, 0.5]] * 4


def test_similarity_is_the_cosine_of_mean_spectra():
    train, _, _ = clips(50, 3)
    test, _, _ = clips(10, 3, seed=1)
    pairs = Pairs(np.array([0, 3, 3]), np.array([1, 9, 3]), np.array([True, False, True]))
    found = spectrum_similarity(train, test, pairs)
    a, b = mean_spectra(train), mean_spectra(test)
    z = (b - a.mean(0)) / a.std(0)
    wanted = [z[i] @ z[j] / np.linalg.norm(z[i]) / np.linalg.norm(z[j]) for i, j in ((0, 1), (3, 9), (3, 3))]
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert found[2] == pytest.approx(1)


def test_words_are_cut_out_evenly():
    draw = np.random.default_rng(0)
    tone_of = {"no": [5.0, 0, 0], "yes": [0, 5.0, 0], "so": [0, 0, 5.0]}
    texts = [" ".join(draw.choice(list(tone_of), size=3 if n % 4 else 2)) for n in range(60)]
    clean = [np.repeat([tone_of[word] for word in text.split()], 4, axis=0) for text in texts]
    made = [wave + draw.normal(0, 0.5, wave.shape) for wave in clean]
    train, test = Ragged.of(made[:40], torch.float32), Ragged.of(made[40:], torch.float32)
    found = nearest_mean_words(train, texts[:40], test)
    wanted = texts[40:]
    three = [place for place, text in enumerate(wanted) if text.count(" ") == 2]
    assert [found[place] for place in three] == [wanted[place] for place in three]
    assert {len(text.split()) for text in found} == {3}
    uneven = Ragged.of([torch.zeros(5, 3), torch.zeros(1, 3)])  # fewer frames than words
    assert [len(text.split()) for text in nearest_mean_words(train, texts[:40], uneven)] == [3, 3]
    assert nearest_mean_words(train, [""] * 40, uneven) == ["", ""]
    assert nearest_mean_words(train, ["", *texts[1:40]], test) == found


SPEAKERS = np.array(list("aabbbcd"), object)


def test_pairs_are_balanced_distinct_and_true():
    found = pairs_for_verification(SPEAKERS, 0, 6)
    assert len(found) == 6
    assert found.same.sum() == 3
    assert [SPEAKERS[i] == SPEAKERS[j] for i, j in zip(found.first, found.second, strict=True)] == found.same.tolist()
    assert all(found.first < found.second)
    assert len(set(zip(found.first.tolist(), found.second.tolist(), strict=True))) == 6
    assert len(pairs_for_verification(SPEAKERS, 0, 10**6)) == 8  # four pairs of one speaker are all there are


def test_pairs_depend_on_the_seed_alone():
    many = np.random.default_rng(0).integers(6, size=300).astype(str)
    one, again, other = (pairs_for_verification(many, seed, 1000) for seed in (3, 3, 4))
    assert one.first.tolist() == again.first.tolist()
    assert one.first.tolist() != other.first.tolist()
    assert (one.same.sum(), len(one)) == (500, 1000)


def test_pairs_among_very_many_recordings():
    found = pairs_for_verification(np.arange(20_000) % 50, 0, 4000)
    assert (len(found), found.same.sum()) == (4000, 2000)
    assert max(found.first.max(), found.second.max()) > 2000


def test_no_pairs_are_refused():
    for speakers in (np.array(["a", "b"]), np.array(["a", "a", "a"]), np.array(["a"]), np.array([], str)):
        with pytest.raises(DataError, match="make no pairs"):
            pairs_for_verification(speakers, 0, 10)
