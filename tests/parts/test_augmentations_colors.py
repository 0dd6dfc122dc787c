"""Colours, covered parts and mixtures: against colorsys, numpy's covariance, and shares by hand."""

import colorsys

import numpy as np
import pytest
import torch

from netwright.errors import UsageError
from netwright.parts.augmentations import Draws, Pixels, read_augment
from netwright.parts.augmentations.colors import _turned, color_axes

RAW = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
STANDARD = Pixels(torch.tensor([120.0, 110, 100]).double(), torch.tensor([1 / 50, 1 / 60, 1 / 70]).double(), 0.0, 255.0)


def encoded(raw=RAW):
    return ((raw.double() - STANDARD.mean[:, None, None]) * STANDARD.scale[:, None, None]).float()


def changed(spec, batch, pixels=None, epoch=0):
    return read_augment(spec, pixels)(batch, np.arange(len(batch)), seed=0, epoch=epoch)


def test_shares_and_inputs_are_inverse():
    shares = STANDARD.shares(encoded())
    torch.testing.assert_close(shares, RAW / 255, rtol=0, atol=1e-6)
    torch.testing.assert_close(STANDARD.encoded(shares), encoded(), rtol=0, atol=1e-5)


def test_brightness_scales_pixels_as_they_stood_in_the_data_and_clips():
    found = STANDARD.shares(changed("color_jitter 0.5 0 0", encoded(), STANDARD))
    factor = 1 + 0.5 * (2 * Draws(np.arange(40), 0, 0, "augment 1 color_jitter").uniform(4)[:, 0] - 1)
    expected = (RAW / 255 * factor[:, None, None, None]).clamp(0, 1).float()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert factor.min() < 0.6
    assert factor.max() > 1.4


def test_contrast_and_saturation_keep_what_they_turn_about():
    shares = RAW / 255 * 0.4 + 0.3  # so that nothing is clipped
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    grey = (shares * weights).sum(1)
    found = changed("color_jitter 0 0.4 0", shares)
    torch.testing.assert_close((found * weights).sum(1).mean((1, 2)), grey.mean((1, 2)), rtol=0, atol=1e-5)
    assert 0.5 < float((found.std((1, 2, 3)) / shares.std((1, 2, 3))).min()) < 0.75
    found = changed("color_jitter 0 0 0.4", shares)
    torch.testing.assert_close((found * weights).sum(1), grey, rtol=0, atol=1e-5)
    assert not torch.allclose(found, shares, atol=1e-2)


def test_hues_turn_as_colorsys_says():
    pure = torch.eye(3)[None, :, [0, 1, 2, 0], None].expand(1, 3, 4, 4)
    x = torch.cat([torch.rand(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.3), pure])
    for turn in (-0.4, 0.1, 0.5):
        found = _turned(x, torch.full((len(x), 1, 1), turn))
        for batch, row, column in np.ndindex(len(x), 4, 4):
            hue, saturation, value = colorsys.rgb_to_hsv(*x[batch, :, row, column].tolist())
            expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
            assert found[batch, :, row, column].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            "color_jitter",
            "color_jitter changes colours, but these pictures have 1 channels and not 3; saturation=0 ",
        ),
        ("color_jitter 0 0 0 hue=0.1", "these pictures have 1 channels"),
        ("pca_lighting", "pca_lighting changes colours, but these pictures have 1 channels and not 3"),
    ],
)
def test_grey_pictures_have_no_colours(spec, words):
    with pytest.raises(UsageError, match=words):
        changed(spec, torch.rand(2, 1, 8, 8))


def test_grey_pictures_have_brightness_and_contrast():
    grey = torch.rand(30, 1, 8, 8)
    found = changed("color_jitter saturation=0 hue=0", grey)
    assert found.shape == grey.shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert not torch.allclose(found, grey, atol=0.05)


def test_colour_axes_are_numpys():
    raw = RAW.double() @ torch.rand(8, 8).double() + RAW.double().roll(1, 1) * 0.5
    pixels = Pixels(low=0.0, high=float(raw.max()))
    values, vectors = color_axes(raw, pixels)
    covariance = np.cov((raw / raw.max()).movedim(1, 0).flatten(1).numpy(), ddof=0)
    expected, _ = np.linalg.eigh(covariance)
    np.testing.assert_allclose(values.numpy(), expected[::-1], rtol=1e-9)
    np.testing.assert_allclose((vectors * values @ vectors.T).numpy(), covariance, atol=1e-12)
    assert (vectors.gather(0, vectors.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("by", ["eigenvalue", "deviation"])
def test_lighting_adds_one_colour_with_the_papers_covariance(by):
    """Over many pictures the added colour has covariance std^2 P L^2 P^T (P L P^T with deviations)."""
    values, vectors = color_axes(RAW, STANDARD)
    pixels = Pixels(STANDARD.mean, STANDARD.scale, 0.0, 255.0, values, vectors)
    batch = torch.zeros(4000, 3, 2, 2)
    moved = changed(f"pca_lighting 0.1 by={by}", batch, pixels)
    assert torch.equal(moved, moved[:, :, :1, :1].expand_as(moved))  # the same for all pixels of a picture
    shares = (moved[:, :, 0, 0].double() / STANDARD.scale / 255).numpy()
    power = values**2 if by == "eigenvalue" else values
    expected = 0.01 * (vectors * power @ vectors.T).numpy()
    np.testing.assert_allclose(np.cov(shares.T, ddof=0), expected, atol=0.1 * expected.max())
    np.testing.assert_allclose(shares.mean(0), 0, atol=4 * np.sqrt(expected.max() / 4000))


def test_lighting_without_statistics_is_refused():
    with pytest.raises(UsageError, match="wants the colours of training pictures"):
        changed("pca_lighting", torch.rand(2, 3, 8, 8))


def test_cutout_covers_a_square_that_may_stick_out():
    found = changed("cutout 4", torch.ones(4000, 1, 10, 10))
    covered = (found == 0).flatten(1).sum(1)
    assert covered.max() == 16
    assert covered.min() == 4  # the middle stands on a corner: 2 x 2 are left
    share = (found == 0).float().mean(0)[0]
    assert 0.1 < float(share[5, 5]) < 0.22  # 16 of 100 places cover it
    assert (changed("cutout 3", torch.ones(50, 1, 9, 9)) == 0).flatten(1).sum(1).max() == 9


def test_erased_boxes_keep_to_area_and_share():
    found = changed("random_erasing 0.5 fill=zeros", torch.ones(4000, 1, 40, 40))
    covered = (found == 0).flatten(1).float().mean(1)
    hit = covered > 0
    assert 0.45 < float(hit.float().mean()) < 0.55
    assert 0.015 < float(covered[hit].min()) < 0.04
    assert 0.35 < float(covered.max()) < 0.42
    rows = (found == 0).any(3)[hit, 0].sum(1)
    columns = (found == 0).any(2)[hit, 0].sum(1)
    assert torch.equal(rows * columns, (found == 0).flatten(1).sum(1)[hit])  # one box
    assert float((rows / columns).max()) < 1 / 0.3 * 1.3
    noisy = changed("random_erasing 1", torch.zeros(500, 3, 40, 40))
    assert float(noisy[noisy != 0].std()) == pytest.approx(1, abs=0.02)


# mixtures ------------------------------------------------------------------------------------------------------


def mixed(spec, batch, ids, count=1000, **when):
    augment = read_augment(spec)
    when = {"seed": 0, "epoch": 0, **when}
    partners = augment.partners(ids, count, **when)
    return augment.mix(batch, torch.from_numpy(partners)[:, None, None, None].expand_as(batch).float(), ids, **when)


@pytest.mark.parametrize("spec", ["mixup 1", "cutmix"])
def test_partner_and_share_belong_to_the_example(spec):
    batch, ids = torch.zeros(24, 3, 9, 9), np.arange(24)
    whole, share = mixed(spec, batch, ids)
    order = np.random.default_rng(0).permutation(24)
    parts = [mixed(spec, batch[some], ids[some]) for some in np.array_split(order, 5)]
    assert torch.equal(torch.cat([part[0] for part in parts]), whole[order])
    assert torch.equal(torch.cat([part[1] for part in parts]), share[order])
    for other in ({"seed": 1}, {"epoch": 1}):
        assert not torch.equal(mixed(spec, batch, ids, **other)[0], whole)


def test_partners_cover_the_training_examples():
    partners = read_augment("mixup").partners(np.arange(5000), 50, seed=0, epoch=0)
    assert np.bincount(partners, minlength=50).min() > 60
    assert partners.max() == 49


def test_mixup_is_the_weighted_mean():
    batch, other = torch.rand(9, 3, 4, 4), torch.rand(9, 3, 4, 4)
    found, share = read_augment("mixup 1").mix(batch, other, np.arange(9), seed=0, epoch=0)
    for row in range(9):
        torch.testing.assert_close(found[row], share[row] * batch[row] + (1 - share[row]) * other[row])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_beta_distributed(alpha):
    from scipy.stats import beta, kstest

    share = mixed(f"mixup {alpha}", torch.zeros(4000, 1, 1, 1), np.arange(4000))[1]
    assert kstest(share.double().numpy(), beta(alpha, alpha).cdf).pvalue > 0.01


def test_cutmix_pastes_one_box_and_counts_its_area():
    found, share = read_augment("cutmix").mix(
        torch.zeros(500, 2, 20, 30), torch.ones(500, 2, 20, 30), np.arange(500), seed=0, epoch=0
    )
    assert torch.equal(found[:, 0], found[:, 1])
    torch.testing.assert_close(1 - share, found.mean((1, 2, 3)))
    rows, columns = found[:, 0].amax(2).sum(1), found[:, 0].amax(1).sum(1)
    assert torch.equal(rows * columns, found[:, 0].sum((1, 2)))
    inside = (rows < 20) & (columns < 30) & (rows > 4)
    assert float((rows / columns)[inside].median()) == pytest.approx(20 / 30, rel=0.1)
    assert read_augment("cutmix").mix(torch.zeros(0, 2, 4, 4), torch.ones(0, 2, 4, 4), np.arange(0), seed=0, epoch=0)[
        1
    ].shape == (0,)
