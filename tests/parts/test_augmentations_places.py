"""Crops, ten crops, and warps: against slices, torch's own turns, and places by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from netwright.errors import UsageError
from netwright.parts.augmentations import Draws, centre_crop, read_augment, ten_crop
from netwright.parts.augmentations.warps import _slanted, _turned, _warped, smoothed


def changed(spec, batch, epoch=0):
    return read_augment(spec)(batch, np.arange(len(batch)), seed=0, epoch=epoch)


def coordinates(count, height, width):
    """Pictures whose two channels say where each pixel stood."""
    rows = torch.arange(float(height))[:, None].expand(height, width)
    columns = torch.arange(float(width)).expand(height, width)
    return torch.stack([rows, columns]).expand(count, 2, height, width)


def test_224_of_256_is_a_window_of_it_and_its_content_is_exact():
    batch = coordinates(40, 256, 256)
    found = changed("crop size=224", batch)
    top, left = (Draws(np.arange(40), 0, 0, "augment 1 crop").uniform(2) * 33).floor().long().unbind(1)
    assert found.shape == (40, 2, 224, 224)
    for row in range(40):
        expected = batch[row, :, top[row] : top[row] + 224, left[row] : left[row] + 224]
        assert torch.equal(found[row], expected)


def test_32_pixels_of_room_give_every_one_of_33_by_33_places():
    seen = torch.zeros(33, 33, dtype=torch.long)
    for epoch in range(10):
        corner = changed("crop size=8", coordinates(1200, 40, 40), epoch)[:, :, 0, 0].long()
        seen.index_put_((corner[:, 0], corner[:, 1]), torch.ones(1200, dtype=torch.long), accumulate=True)
    assert (seen > 0).all()
    assert seen.sum(0).min() > 290  # 364 a column, deviation 19
    assert seen.sum(1).max() < 440


def test_a_crop_of_the_full_size_stands_still_and_padding_widens_it():
    batch = torch.rand(20, 3, 12, 12)
    assert torch.equal(changed("crop size=12", batch), batch)
    windows = changed("crop pad=2 size=10", coordinates(500, 12, 12) + 1)
    tops = {int(value) for value in (windows[:, 0, 5, 5] - 6).tolist()}
    assert tops == set(range(-2, 5))


def test_ten_crops_are_five_windows_and_their_mirrors():
    batch = coordinates(2, 10, 13)
    found = ten_crop(batch, 7)
    assert found.shape == (2, 10, 2, 7, 7)
    corners = [tuple(view[:, 0, 0].tolist()) for view in found[0, :5]]
    assert corners == [(0, 0), (0, 6), (3, 0), (3, 6), (1, 3)]
    assert torch.equal(found[:, 4], centre_crop(batch, 7))
    for view in range(5):
        assert torch.equal(found[:, view + 5], found[:, view].flip(3))


def test_the_middle_of_256_starts_at_16():
    assert torch.equal(centre_crop(coordinates(1, 256, 256), 224)[0, :, 0, 0], torch.tensor([16.0, 16.0]))
    assert torch.equal(centre_crop(coordinates(1, 5, 4), 2)[0, :, 0, 0], torch.tensor([1.0, 1.0]))


@pytest.mark.parametrize("spec", ["crop size=10", "resize_crop size=10"])
def test_crops_larger_than_the_picture_are_refused(spec):
    with pytest.raises(UsageError, match="size = 10 is larger than the pictures, 9x12"):
        changed(spec, torch.zeros(2, 3, 9, 12))
    for function in (ten_crop, centre_crop):
        with pytest.raises(UsageError, match="size = 10 is larger"):
            function(torch.zeros(2, 3, 9, 12), 10)


def test_resized_boxes_keep_to_area_shape_and_picture():
    batch = coordinates(3000, 40, 60)
    found = changed("resize_crop size=30", batch).double()
    top, bottom = found[:, 0, 0, 0], found[:, 0, -1, 0]
    left, right = found[:, 1, 0, 0], found[:, 1, 0, -1]
    tall = (bottom - top) * 30 / 29  # the samples lie in the middles of 30 equal parts of the box
    broad = (right - left) * 30 / 29
    inner = (tall > 31) & (broad > 31)  # smaller boxes are cut at their first and last pixel
    share = (tall * broad)[inner] / 2400
    assert found.min() >= 0
    assert float(bottom.max()) <= 39
    assert float(right.max()) <= 59
    assert 0.9 < float(share.max()) <= 1.001
    ratio = (broad / tall)[inner]
    assert ratio.min() > 0.75 - 0.03
    assert ratio.max() < 4 / 3 + 0.05
    small = (tall * broad / 2400).quantile(0.1)
    assert 0.1 < small < 0.25  # 8 % to 100 %, even: the tenth part lies at 17 %


def test_a_box_of_the_whole_picture_is_the_picture():
    batch = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(changed("resize_crop 1 1 aspect=1", batch), batch, rtol=0, atol=1e-5)


def test_a_box_that_never_fits_becomes_the_largest_of_its_shape():
    found = changed("resize_crop 1 1 aspect=1 size=10", coordinates(3, 10, 40))
    assert found[:, 1].min() == 15  # the middle 10x10 of 10x40
    assert found[:, 1].max() == 24


@pytest.mark.parametrize("height", [8, 9])
def test_a_quarter_turn_is_torchs_rot90(height):
    batch = torch.rand(3, 2, height, height)
    for quarter in (-1, 1, 2):
        matrices = _turned(torch.full((3,), 90.0 * quarter).double())
        torch.testing.assert_close(_warped(batch, matrices, fill="zeros"), torch.rot90(batch, quarter, (2, 3)),
                                   rtol=0, atol=1e-5)  # fmt: skip


def test_turns_shears_and_zooms_against_a_loop():
    """Bilinear reading at A (p - c) + c, by hand."""
    batch, angle = torch.rand(1, 1, 7, 10), torch.tensor([25.0]).double()
    for matrices in (_turned(angle), _slanted(angle), torch.eye(2).double()[None] / 1.5):
        found = _warped(batch, matrices, fill="zeros")[0, 0]
        (a, b), (c, d) = matrices[0].tolist()
        for i in range(7):
            for j in range(10):
                y, x = a * (i - 3) + b * (j - 4.5) + 3, c * (i - 3) + d * (j - 4.5) + 4.5
                value = 0.0
                for row in (math.floor(y), math.floor(y) + 1):
                    for column in (math.floor(x), math.floor(x) + 1):
                        if 0 <= row < 7 and 0 <= column < 10:
                            value += (1 - abs(y - row)) * (1 - abs(x - column)) * float(batch[0, 0, row, column])
                assert float(found[i, j]) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("spec", ["rotate 0", "scale 1 1", "shear 0", "elastic 0", "affine 0 0 1 1 0", "translate 0"])
def test_nothing_changes_at_zero(spec):
    batch = torch.rand(4, 3, 12, 9)
    torch.testing.assert_close(changed(spec, batch), batch, rtol=0, atol=1e-5)


def test_zooms_lie_in_their_range_and_keep_the_middle():
    found = changed("scale 0.5 2", coordinates(2000, 21, 21)).double()
    factor = 1 / (found[:, 0, 11, 10] - found[:, 0, 10, 10])
    torch.testing.assert_close(found[:, :, 10, 10], torch.full((2000, 2), 10.0).double())
    assert 0.5 - 1e-6 < float(factor.min()) < 0.51
    assert 1.98 < float(factor.max()) < 2 + 1e-6
    assert abs(float(factor.log().mean())) < 0.03  # as often larger as smaller


def test_rotations_are_even_in_their_range():
    found = changed("rotate 30", coordinates(2000, 21, 21)).double()
    angle = torch.atan2(found[:, 0, 10, 11] - 10, found[:, 1, 10, 11] - 10) * 180 / math.pi
    assert float(angle.max()) == pytest.approx(30, abs=0.2)
    assert float(angle.min()) == pytest.approx(-30, abs=0.2)
    assert abs(float(angle.mean())) < 1.5


def test_smoothing_is_the_convolution_with_the_outer_product():
    batch = torch.rand(2, 1, 9, 11).double()
    taps = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]).double()
    for row in range(2):
        kernel = torch.outer(taps[row], taps[row])[None, None]
        expected = F.conv2d(batch[row : row + 1], kernel, padding=1)
        torch.testing.assert_close(smoothed(batch, taps, "zeros")[row : row + 1], expected)
        expected = F.conv2d(F.pad(batch[row : row + 1], (1, 1, 1, 1), mode="replicate"), kernel)
        torch.testing.assert_close(smoothed(batch, taps, "replicate")[row : row + 1], expected)


def test_elastic_fields_are_smooth_and_as_large_as_alpha_says():
    batch = coordinates(64, 28, 28)
    field = (changed("elastic 34 4", batch) - batch)[:, :, 8:20, 8:20]
    rough = (changed("elastic 34 0.5", batch) - batch)[:, :, 8:20, 8:20]
    expected = 34 / math.sqrt(3) / (2 * 4 * math.sqrt(math.pi))  # deviation of a blurred uniform field
    assert float(field.std()) == pytest.approx(expected, rel=0.15)
    assert field.diff(dim=3).std() < 0.3 * field.std()
    assert rough.diff(dim=3).std() > rough.std()


def test_blur_keeps_the_mean_and_flattens():
    batch = torch.rand(50, 1, 30, 30)
    found = changed("blur 1 1 probability=1", batch)
    assert float(found[:, :, 8:-8, 8:-8].std()) < 0.35 * float(batch.std())
    constant = torch.full((3, 1, 9, 9), 0.7)
    torch.testing.assert_close(changed("blur probability=1", constant), constant)
    same = (changed("blur probability=0.3", batch) == batch).flatten(1).all(1)
    assert 0.5 < float(same.float().mean()) < 0.9


@pytest.mark.parametrize("name", ["scale", "affine low=2 high=1", "resize_crop", "blur", "random_erasing"])
def test_ranges_the_wrong_way_round_are_refused(name):
    spec = name if "low" in name else f"{name} low=0.9 high=0.5"
    with pytest.raises(UsageError, match="lies above high"):
        changed(spec, torch.rand(2, 3, 9, 9))


def test_vertical_flips_mirror_rows():
    batch = torch.rand(400, 1, 5, 4)
    found = changed("vertical_flip", batch)
    mirrored = (found == batch.flip(2)).flatten(1).all(1)
    assert torch.equal(found[~mirrored], batch[~mirrored])
    assert 0.4 < float(mirrored.float().mean()) < 0.6
