"""Receptive fields behind upsampling, adaptive pooling, slices and gates, against fields measured by gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.measures.anatomy import anatomy


class Calls(nn.Module):
    def __init__(self, function, *layers):
        super().__init__()
        self.layers, self.function = nn.ModuleList(layers), function

    def forward(self, x):
        return self.function(x, *self.layers)


def measured(net, shape, place):
    """First pixel and size of the window that reaches one place of the result."""
    torch.manual_seed(0)
    x = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    net.double()(x)[0, :, place[0], place[1]].sum().backward()
    seen = x.grad[0].abs().sum(0).nonzero()
    return seen.min(0).values.tolist(), (seen.max(0).values - seen.min(0).values + 1).tolist()


CASES = {
    "transposed": (nn.ConvTranspose2d(1, 2, 4, 2, 1), 2),
    "transposed wide": (nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ConvTranspose2d(2, 1, 5, 3, 1)), 3),
    "transposed apart": (nn.ConvTranspose2d(1, 1, 2, 2), 2),
    "bilinear": (Calls(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)), 2),
    "nearest": (Calls(lambda x, c: F.interpolate(c(x), scale_factor=2, mode="nearest"), nn.Conv2d(1, 1, 3)), 2),
    "adaptive": (nn.AdaptiveAvgPool2d(8), 1),
    "slice": (Calls(lambda x, c: c(x)[:, :, 1::2, ::2], nn.Conv2d(1, 2, 3)), 1),
    "shifted": (Calls(lambda x, c: c(F.pad(x, (-1, 1, -1, 1))), nn.Conv2d(1, 2, 3, 2, 1)), 1),
}


@pytest.mark.parametrize("case", CASES)
def test_fields_equal_measured_ones(case):
    net, phase = CASES[case]
    found = anatomy(net, (1, 24, 24)).receptive_field
    sides = anatomy(net.float(), (1, 24, 24)).output[1:]
    middle = [side // 2 // phase * phase for side in sides]
    windows = [measured(net, (1, 24, 24), (middle[0] + step, middle[1] + step)) for step in range(phase)]
    assert found["size"] == [max(size[axis] for _, size in windows) for axis in (0, 1)]
    first = windows[0][0]
    assert first == pytest.approx(
        [o + s * i for o, s, i in zip(found["offset"], found["stride"], middle, strict=True)], abs=0.01
    )


def test_unequal_pooling_windows_and_the_fractions_between_them():
    found = anatomy(nn.AdaptiveAvgPool2d(3), (1, 10, 10)).receptive_field
    assert found == {"size": [4, 4], "stride": [3.3333, 3.3333], "offset": [0, 0]}


def test_a_gate_that_sees_the_whole_map_makes_everything_see_it():
    def gated(x, conv, gate):
        y = conv(x)
        return y * gate(y.mean((2, 3), keepdim=True)).sigmoid()

    net = nn.Sequential(Calls(gated, nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 1)), nn.Conv2d(2, 1, 3, padding=1))
    found = anatomy(net, (1, 12, 12))
    assert found.receptive_field == {"size": [14, 14], "stride": [0, 0], "offset": [-1, -1]}
    first, size = measured(net, (1, 12, 12), (6, 6))
    assert (first, size) == ([0, 0], [12, 12])


def test_branches_put_side_by_side_see_the_larger_window():
    net = Calls(lambda x, a, b: torch.cat([a(x), b(x)], 1), nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, (3, 7), padding=(1, 3)))
    assert anatomy(net, (1, 12, 12)).receptive_field == {"size": [3, 7], "stride": [1, 1], "offset": [-1, -3]}
