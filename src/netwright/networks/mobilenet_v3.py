"""MobileNet v3, large and small: inverted residuals with squeeze-and-excitation and hard-swish, found by search.

State-dict keys are torchvision's: features.0.0, features.1.block.0.0, ..., features.16.0, classifier.0, classifier.3.
"""

from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, variant
from netwright.networks.blocks import Choices, Ends, GlobalMean, Maps, Share, Stem, Width, dropped, maps, small
from netwright.networks.mobilenet import SMALL, unit
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise

Row = tuple[int, int, int, bool, str, int]
"""Kernel, expanded channels, output channels, squeeze-and-excitation, activation, stride."""
RE, HS = "relu", "hard_swish"
LARGE: tuple[Row, ...] = (
    (3, 16, 16, False, RE, 1), (3, 64, 24, False, RE, 2), (3, 72, 24, False, RE, 1), (5, 72, 40, True, RE, 2),
    (5, 120, 40, True, RE, 1), (5, 120, 40, True, RE, 1), (3, 240, 80, False, HS, 2), (3, 200, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1), (3, 184, 80, False, HS, 1), (3, 480, 112, True, HS, 1), (3, 672, 112, True, HS, 1),
    (5, 672, 160, True, HS, 2), (5, 960, 160, True, HS, 1), (5, 960, 160, True, HS, 1),
)  # fmt: skip
LITTLE: tuple[Row, ...] = (
    (3, 16, 16, True, RE, 2), (3, 72, 24, False, RE, 2), (3, 88, 24, False, RE, 1), (5, 96, 40, True, HS, 2),
    (5, 240, 40, True, HS, 1), (5, 240, 40, True, HS, 1), (5, 120, 48, True, HS, 1), (5, 144, 48, True, HS, 1),
    (5, 288, 96, True, HS, 2), (5, 576, 96, True, HS, 1), (5, 576, 96, True, HS, 1),
)  # fmt: skip


def _mobilenet_v3(
    name: str,
    rows: tuple[Row, ...],
    last: int,
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "auto",
    norm: str = "batchnorm(eps=0.001, momentum=0.01)",
    init: str = "he_normal",
    dropout: Share = 0.2,
    stem: Stem = "auto",
) -> nn.Module:
    """MobileNet v3.

    Formula: expand 1x1, filter k x k per channel, scale each channel by hard-sigmoid(W2 relu(W1 mean)), project 1x1

    `activation = "auto"` is the paper's: ReLU in the rows marked RE, hard-swish elsewhere; another name takes the place
    of both. Channels are rounded to multiples of 8. `stem = "small"` leaves out the first two halvings (`auto`: below
    64 pixels).
    """
    shape = maps(name, inputs, 1, "")
    look = Choices(width, activation, norm, divisor=8)
    net = MobileNetV3(shape[0], units(outputs), rows, last, look, small(stem, shape, SMALL), dropout)
    initialise(net, init, "relu" if activation == "auto" else activation)
    return net


class MobileNetV3(nn.Module):
    """`features`: stem, blocks, 1x1 to six times the channels; the mean of each map; `classifier`."""

    def __init__(
        self, depth: int, count: int, rows: tuple[Row, ...], last: int, look: Choices, little: bool, dropout: float
    ) -> None:
        super().__init__()
        hard = meant(look, HS)
        entering = look.channels(16)
        self.features = nn.Sequential(unit(depth, entering, hard, stride=1 if little else 2))
        halvings = 1 if little else 0
        for kernel, expanded, channels, squeeze, active, step in rows:
            stride = 1 if halvings and step == 2 else step
            halvings -= halvings and step == 2
            wide, leaving = look.channels(expanded), look.channels(channels)
            self.features.append(Inverted(entering, wide, leaving, kernel, stride, squeeze, meant(look, active)))
            entering = leaving
        self.features.append(unit(entering, 6 * entering, hard, kernel=1))
        self.pool = GlobalMean()
        between = look.channels(last)
        self.classifier = nn.Sequential(
            nn.Linear(6 * entering, between), hard.act(), dropped(dropout), nn.Linear(between, count)
        )

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        out: Tensor = self.classifier(self.pool(self.features(x)))
        return out


def meant(look: Choices, active: str) -> Choices:
    """The choices with the activation of a row, where `auto` leaves it to the table."""
    return replace(look, activation=active) if look.activation == "auto" else look


class Inverted(nn.Module):
    """Expand, filter each channel, squeeze and excite, project linearly; x is added where the shapes agree."""

    def __init__(
        self, entering: int, wide: int, leaving: int, kernel: int, stride: int, squeeze: bool, look: Choices
    ) -> None:
        super().__init__()
        self.block = nn.Sequential()
        if wide != entering:
            self.block.append(unit(entering, wide, look, kernel=1))
        self.block.append(unit(wide, wide, look, kernel=kernel, stride=stride, groups=wide))
        if squeeze:
            self.block.append(SqueezeExcite(wide, replace(look, width=1.0).channels(wide // 4)))
        self.block.append(nn.Sequential(nn.Conv2d(wide, leaving, 1, bias=look.bias), look.normed(leaving)))
        self.adds = stride == 1 and entering == leaving

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        y: Tensor = self.block(x)
        return x + y if self.adds else y


class SqueezeExcite(nn.Module):
    """Scales each channel by a number between 0 and 1 that depends on the means of all channels."""

    def __init__(self, channels: int, few: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.relu = nn.Conv2d(channels, few, 1), nn.ReLU()
        self.fc2, self.gate = nn.Conv2d(few, channels, 1), nn.Hardsigmoid()

    def forward(self, x: Maps) -> Maps:
        scale: Tensor = self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))
        return x * scale


HOWARD: dict[str, Any] = {
    "source": "Howard et al. 2019, ICCV, arXiv:1905.02244, tables 1 and 2",
    "year": 2019,
    "inputs": ("image",),
    "stage": "practical",
    "parents": ("mobilenet_v2",),
    "at": (3, 224, 224),
    "layout": "torchvision",
    "error_on": "ImageNet validation, top-1, one crop",
    "recipe": "RMSprop, momentum 0.9, lr 0.1, batch 4096, times 0.99 every 3 epochs, weight decay 1e-5, dropout 0.2, "
    "weights averaged with 0.9999.",
    "traps": (
        "Batch norm adds 1e-3 to the variance; with 1e-5 the same weights give other numbers.",
        "Squeeze-and-excitation uses ReLU inside and hard-sigmoid at its end.",
        "The first block of the large form has no expansion.",
        "No norm stands behind the 1280 (1024) units before the last layer.",
    ),
}
SIZES: dict[str, tuple[tuple[Row, ...], int, dict[str, Any]]] = {
    "large": (LARGE, 1280, {"params": 5_483_032, "macs": 216_589_760, "error": 24.8}),
    "small": (LITTLE, 1024, {"params": 2_542_856, "macs": 56_510_400, "error": 32.6}),
}
for _size, (_rows, _last, _facts) in SIZES.items():
    _summary = f"MobileNet v3 in its {_size} form."
    NETWORKS.add(f"mobilenet_v3_{_size}", **HOWARD, **_facts)(
        variant(_mobilenet_v3, f"mobilenet_v3_{_size}", _rows, _last, summary=_summary)
    )
