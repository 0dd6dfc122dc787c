"""Augmentations: pure functions of (seed, epoch, example), against slices and closed forms."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from netwright.catalogue import AUGMENTATIONS
from netwright.errors import UsageError
from netwright.parts.augmentations import Draws, read_augment

SPECS = ["crop pad=4", "crop pad=2 fill=reflect", "flip", "translate pixels=3", "noise std=0.3", "crop, flip, noise"]


def images(count=24, channels=3, size=9):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def test_every_augmentation_is_tried_here():
    assert set(AUGMENTATIONS) == {word.split()[0] for spec in SPECS for word in spec.split(", ")}


@pytest.mark.parametrize("spec", SPECS)
def test_an_example_changes_alike_in_any_batch(spec):
    augment, batch, ids = read_augment(spec), images(), np.arange(100, 124)
    whole = augment(batch, ids, seed=1, epoch=2)
    order = np.random.default_rng(0).permutation(24)
    parts = [augment(batch[some], ids[some], seed=1, epoch=2) for some in np.array_split(order, 5)]
    assert torch.equal(torch.cat(parts), whole[order])


@pytest.mark.parametrize("spec", SPECS)
def test_seed_and_epoch_decide(spec):
    augment, batch, ids = read_augment(spec), images(), np.arange(24)
    first = augment(batch, ids, seed=1, epoch=0)
    assert torch.equal(first, augment(batch, ids, seed=1, epoch=0))
    assert not torch.equal(first, augment(batch, ids, seed=1, epoch=1))
    assert not torch.equal(first, augment(batch, ids, seed=2, epoch=0))


@pytest.mark.parametrize("spec", SPECS)
def test_shape_and_dtype_stay(spec):
    batch = images().to(torch.float32)[:, :, :, :7]
    changed = read_augment(spec)(batch, np.arange(24), seed=0, epoch=0)
    assert changed.shape == batch.shape
    assert changed.dtype == batch.dtype


def test_every_crop_is_a_window_of_the_padded_picture():
    batch = images(200)
    changed = read_augment("crop pad=2")(batch, np.arange(200), seed=0, epoch=0)
    padded, seen = F.pad(batch, (2, 2, 2, 2)), set()
    for before, after in zip(padded, changed, strict=True):
        found = [(a, b) for a in range(5) for b in range(5) if torch.equal(before[:, a : a + 9, b : b + 9], after)]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 25


def test_shifts_fill_with_the_nearest_pixels():
    ramp = torch.arange(6.0).expand(1, 1, 6, 6)
    rows = {
        tuple(read_augment("translate pixels=1")(ramp, np.array([i]), seed=0, epoch=0)[0, 0, 0].tolist())
        for i in range(40)
    }
    assert rows == {(0, 0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 5)}


def test_flips_mirror_about_the_stated_share():
    batch = images(2000, 1, 3)
    changed = read_augment("flip probability=0.25")(batch, np.arange(2000), seed=0, epoch=0)
    mirrored = (changed == batch.flip(3)).flatten(1).all(1)
    assert torch.equal(changed[~mirrored], batch[~mirrored])
    assert 0.2 < float(mirrored.float().mean()) < 0.3


def test_noise_has_its_deviation():
    changed = read_augment("noise std=0.5")(torch.zeros(50, 3, 20, 20), np.arange(50), seed=0, epoch=0)
    assert float(changed.std()) == pytest.approx(0.5, rel=0.02)
    assert abs(float(changed.mean())) < 0.02


def test_two_of_a_kind_draw_apart():
    batch = images(100)
    twice = read_augment("flip, flip")(batch, np.arange(100), seed=0, epoch=0)
    assert not torch.equal(twice, batch)


def test_whole_numbers_cover_their_range_evenly():
    draws = Draws(np.arange(9000), 0, 0, "test").whole(-1, 1, 1)[:, 0]
    assert torch.bincount(draws + 1).tolist() == pytest.approx([3000] * 3, rel=0.1)


def test_an_empty_batch_passes():
    assert read_augment("crop, flip, noise")(images()[:0], np.arange(0), seed=0, epoch=0).shape == (0, 3, 9, 9)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("crop pad=-1", "pad = -1"),
        ("corp", "Did you mean 'crop'"),
        ("flip 2", "probability = 2"),
        ("crop pad=4 flip", "numbers come first"),
        ("", "nothing is written"),
    ],
)
def test_mistakes_are_answered(spec, words):
    with pytest.raises(UsageError, match=words):
        read_augment(spec)


def test_vectors_and_small_pictures_are_refused():
    with pytest.raises(UsageError, match=r"shape \(5,\)"):
        read_augment("flip")(torch.zeros(2, 5), np.arange(2), seed=0, epoch=0)
    with pytest.raises(UsageError, match="cannot reflect pictures of 9x9"):
        read_augment("crop pad=9 fill=reflect")(images(), np.arange(24), seed=0, epoch=0)
