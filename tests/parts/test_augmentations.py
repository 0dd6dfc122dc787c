"""Augmentations: pure functions of (seed, epoch, example), against slices and closed forms."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from netwright.catalogue import AUGMENTATIONS
from netwright.errors import UsageError
from netwright.parts.augmentations import Draws, Pixels, read_augment

SPECS = ["crop pad=4", "crop pad=2 fill=reflect", "crop size=6", "crop pad=1 size=8", "flip", "vertical_flip"]
SPECS += ["flip alternate=true"]
SPECS += ["translate pixels=3", "noise std=0.3", "crop, flip, noise", "resize_crop", "resize_crop size=5", "rotate 40"]
SPECS += ["scale 0.5 2", "scale 0.5 2 fill=zeros", "shear 20", "affine", "affine fill=reflect", "elastic 8 2", "blur"]
SPECS += ["color_jitter hue=0.2", "pca_lighting 2", "pca_lighting by=deviation", "cutout 3 holes=2", "random_erasing"]
SPECS += ["random_erasing fill=zeros"]
MIXING = ["mixup 1", "cutmix"]
PIXELS = Pixels(
    torch.tensor([0.4, 0.5, 0.6]).double(), torch.tensor([4.0, 3.0, 2.0]).double(), 0.0, 1.0,
    torch.tensor([0.1, 0.02, 0.01]).double(), torch.linalg.qr(torch.rand(3, 3).double())[0],
)  # fmt: skip


def images(count=24, channels=3, size=9):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def test_every_augmentation_is_tried_here():
    assert set(AUGMENTATIONS) == {word.split()[0] for spec in SPECS + MIXING for word in spec.split(", ")}


@pytest.mark.parametrize("spec", SPECS)
def test_an_example_changes_alike_in_any_batch(spec):
    augment, batch, ids = read_augment(spec, PIXELS), images(), np.arange(100, 124)
    whole = augment(batch, ids, seed=1, epoch=2)
    order = np.random.default_rng(0).permutation(24)
    parts = [augment(batch[some], ids[some], seed=1, epoch=2) for some in np.array_split(order, 5)]
    assert torch.equal(torch.cat(parts), whole[order])


@pytest.mark.parametrize("spec", SPECS)
def test_seed_and_epoch_decide(spec):
    augment, batch, ids = read_augment(spec, PIXELS), images(), np.arange(24)
    first = augment(batch, ids, seed=1, epoch=0)
    assert torch.equal(first, augment(batch, ids, seed=1, epoch=0))
    assert not torch.equal(first, augment(batch, ids, seed=1, epoch=1))
    assert not torch.equal(first, augment(batch, ids, seed=2, epoch=0))


@pytest.mark.parametrize("spec", SPECS)
def test_shape_and_dtype_stay(spec):
    augment = read_augment(spec, PIXELS)
    for dtype in (torch.float32, torch.float64):
        batch = images().to(dtype)[:, :, :, :8]
        changed = augment(batch, np.arange(24), seed=0, epoch=0)
        assert changed.shape == (24, 3, augment.size or 9, augment.size or 8)
        assert changed.dtype == batch.dtype
        assert changed.isfinite().all()


@pytest.mark.parametrize("spec", SPECS)
def test_the_batch_given_is_left_alone(spec):
    batch = images()
    before = batch.clone()
    read_augment(spec, PIXELS)(batch, np.arange(24), seed=0, epoch=0)
    assert torch.equal(batch, before)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("shape", [(0, 3, 9, 9), (1, 3, 8, 8), (2, 3, 9, 30)])
def test_empty_single_and_oblong_batches_pass(spec, shape):
    augment = read_augment(spec, PIXELS)
    changed = augment(torch.rand(shape), np.arange(shape[0]), seed=0, epoch=0)
    assert changed.shape == (*shape[:2], augment.size or shape[2], augment.size or shape[3])


@pytest.mark.parametrize("spec", SPECS)
def test_everything_happens_on_the_batchs_device(spec):
    augment = read_augment(spec, PIXELS)
    changed = augment(torch.empty(4, 3, 9, 8, device="meta"), np.arange(4), seed=0, epoch=0)
    assert changed.device.type == "meta"
    assert changed.shape == (4, 3, augment.size or 9, augment.size or 8)


@pytest.mark.parametrize("spec", MIXING)
def test_mixing_happens_on_the_batchs_device(spec):
    batch = torch.empty(4, 3, 9, 8, device="meta")
    mixed, share = read_augment(spec).mix(batch, batch, np.arange(4), seed=0, epoch=0)
    assert mixed.device.type == share.device.type == "meta"


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


def test_alternating_flips_show_both_sides_of_every_example_in_two_epochs():
    batch, examples = images(400, 1, 3), np.arange(400)
    augment = read_augment("flip alternate=true")
    sides = []
    for epoch in range(4):
        changed = augment(batch, examples, seed=5, epoch=epoch)
        mirrored = (changed == batch.flip(3)).flatten(1).all(1)
        assert torch.equal(changed[~mirrored], batch[~mirrored])
        sides.append(mirrored)
        alone = augment(batch[7:9], examples[7:9], seed=5, epoch=epoch)  # whatever else is in the batch
        assert torch.equal(alone, changed[7:9])
    assert 0.42 < float(sides[0].float().mean()) < 0.58
    assert torch.equal(sides[1], ~sides[0])
    assert torch.equal(sides[2], sides[0])
    assert torch.equal(sides[3], sides[1])
    other = augment(batch, examples, seed=6, epoch=0)
    assert not torch.equal(other, augment(batch, examples, seed=5, epoch=0))
    free = [read_augment("flip")(batch, examples, seed=5, epoch=epoch) for epoch in (0, 1)]
    twice = (free[0] == free[1]).flatten(1).all(1).float().mean()
    assert 0.4 < float(twice) < 0.6  # what free draws do: half of the examples show one side twice


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


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("crop pad=-1", "pad = -1"),
        ("corp", "Did you mean 'crop'"),
        ("flip 2", "probability = 2"),
        ("crop pad=4 flip", "numbers come first"),
        ("", "nothing is written"),
        ("crop size=-1", "size = -1"),
        ("crop pad=reflect", "pad = 'reflect'"),
        ("rotate 400", "degrees = 400"),
        ("rotate fill=black", "fill = 'black'"),
        ("colour_jitter", "Did you mean 'color_jitter'"),
        ("random_crop", "not in the catalogue"),
        ("color_jitter hue=0.6", "hue = 0.6"),
        ("mixup, flip", "'flip' stands behind 'mixup'"),
        ("mixup, cutmix", "'cutmix' stands behind 'mixup'; what mixes examples stands last, once"),
        ("mixup 0", "alpha = 0"),
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
