"""What pooling is blind to: small shifts more than rotation and scale, at the price of the place."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from netwright.errors import UsageError
from netwright.measures.consistency import shift_consistency, shifted, turned


@pytest.fixture(scope="module")
def digits():
    x = torch.tensor(load_digits().images[:60], dtype=torch.float32)[:, None]
    return nn.functional.pad(nn.functional.interpolate(x, size=(24, 24), mode="bilinear"), (4, 4, 4, 4))


def test_a_small_shift_changes_the_pooled_picture_less_than_the_picture(digits):
    for kind in (nn.MaxPool2d, nn.AvgPool2d):
        left = [shift_consistency(kind(k), digits).shift[1] for k in (1, 4, 8)]
        assert left[0] == shift_consistency(kind(2), digits).raw["shift"][1]
        assert left[0] > left[1] > left[2]
        assert left[2] < 0.6 * left[0]


def test_pooling_is_strong_for_small_shifts_and_weak_for_rotation_and_scale(digits):
    """E-49."""
    found = shift_consistency(nn.MaxPool2d(8), digits)
    assert found.shift[1] < 0.15
    assert found.shift[1] < 0.5 * found.raw["shift"][1]
    assert min(found.rotation[45.0], found.scale[0.5]) > 4 * found.shift[1]
    assert found.rotation[90.0] > 0.7 * found.raw["rotation"][90.0]
    assert found.scale[0.5] > 0.7 * found.raw["scale"][0.5]


def test_the_place_is_known_less_exactly_the_larger_the_windows(digits):
    errors = [shift_consistency(nn.MaxPool2d(k), digits[:2]).position_error for k in (1, 2, 4, 8)]
    assert errors[:2] == pytest.approx([0, 2**0.5 / 2])
    assert errors == sorted(errors)


def test_a_layer_that_changes_nothing_reports_the_pictures_own_change(digits):
    found = shift_consistency(nn.Identity(), digits[:5])
    moved = [shifted(digits[:5], *way) - digits[:5] for way in ((2, 0), (-2, 0), (0, 2), (0, -2))]
    sizes = digits[:5].flatten(1).norm(dim=1)
    expected = sum(float((one.flatten(1).norm(dim=1) / sizes).mean()) for one in moved) / 4
    assert found.shift[2] == pytest.approx(expected)
    assert found.raw["rotation"] == found.rotation


def test_moves_turns_and_sizes():
    x = torch.rand(2, 1, 6, 6)
    assert torch.equal(shifted(x, 2, 1)[:, :, 1:, 2:], x[:, :, :5, :4])
    assert torch.equal(shifted(x, -2, 0)[:, :, :, :4], x[:, :, :, 2:])
    assert float(shifted(x, 0, 2)[:, :, :2].abs().max()) == 0
    torch.testing.assert_close(turned(x, 0.0, 1.0), x)
    quarter = turned(x, 90.0, 1.0)
    assert torch.allclose(quarter, x.rot90(1, (2, 3)), atol=1e-5) or torch.allclose(
        quarter, x.rot90(-1, (2, 3)), atol=1e-5
    )
    wide = torch.zeros(1, 1, 5, 9)
    wide[0, 0, 2, 2:7] = 1
    assert turned(wide, 90.0, 1.0)[0, 0, :, 4].tolist() == pytest.approx([1] * 5, abs=1e-5)
    assert float(turned(wide, 0.0, 0.5).sum()) < float(wide.sum())


def test_vectors_and_modes_are_as_before(digits):
    layer = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(0.5)).train()
    found = shift_consistency(layer, digits)
    assert found.shift[1] == 0
    assert layer.training
    assert "place of a single pixel" in str(found)
    assert found.to_json()["raw"]["scale"]["0.5"] == found.raw["scale"][0.5]


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(UsageError, match=r"not \(3, 4\)"):
        shift_consistency(nn.Identity(), torch.zeros(3, 4))
    with pytest.raises(UsageError, match="all outputs are 0"):
        shift_consistency(nn.Identity(), torch.zeros(1, 1, 4, 4))
