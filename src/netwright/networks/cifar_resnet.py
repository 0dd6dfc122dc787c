"""Residual networks for pictures of 32x32 (He et al. 2016, section 4.2, and the pre-activation paper), 20 to 1202 deep.

One 3x3 convolution, then three stages of n blocks at 1, 1/2 and 1/4 of the input's side; depth 6n + 2 with basic
blocks, 9n + 2 with bottlenecks.
"""

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, variant
from netwright.networks.blocks import Choices, Ends, GlobalMean, Maps, Share, Width, dropped, maps
from netwright.networks.preact_resnet import PreActResNet, PreBasic, PreBottleneck
from netwright.networks.preact_resnet import silence as silent_ends
from netwright.networks.resnet import Basic, Way, row, silence
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise


def _cifar_resnet(
    name: str,
    blocks: int,
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "batchnorm",
    init: str = "he_normal",
    dropout: Share = 0.0,
    shortcut: Literal["a", "b", "c"] = "a",
    residual: bool = True,
    zero_init: bool = False,
) -> nn.Module:
    """A residual network for small pictures.

    Formula: conv 3x3 16, n blocks of 16, n of 32 (halved), n of 64 (halved), mean, linear; depth = 6n + 2

    Settings as in `resnet18`. Shortcut A learns nothing; B adds 2,752 parameters.
    """
    shape = maps(name, inputs, 1, "")
    look, way = Choices(width, activation, norm), Way(shortcut if residual else "none")
    net = CifarResNet(shape[0], units(outputs), look, blocks, way, dropout)
    initialise(net, init, activation)
    if zero_init:
        silence(net)
    return net


class CifarResNet(nn.Module):
    """A convolution, three stages of basic blocks, the mean of each map, and `fc`."""

    def __init__(self, depth: int, count: int, look: Choices, blocks: int, way: Way, dropout: float) -> None:
        super().__init__()
        first = look.channels(16)
        self.conv1 = nn.Conv2d(depth, first, 3, 1, 1, bias=look.bias)
        self.bn1, self.act1 = look.normed(first), look.act()
        self.layer1, entering = row(Basic, blocks, first, look.channels(16), 1, look, way)
        self.layer2, entering = row(Basic, blocks, entering, look.channels(32), 2, look, way)
        self.layer3, entering = row(Basic, blocks, entering, look.channels(64), 2, look, way)
        self.pool, self.dropout = GlobalMean(), dropped(dropout)
        self.fc = nn.Linear(entering, count)

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        out: Tensor = self.fc(self.dropout(self.pool(x)))
        return out


def _cifar_preact_resnet(
    name: str,
    block: type[PreBasic | PreBottleneck],
    blocks: int,
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "batchnorm",
    init: str = "he_normal",
    dropout: Share = 0.0,
    shortcut: Literal["auto", "a", "b", "c"] = "auto",
    zero_init: bool = False,
) -> nn.Module:
    """A pre-activation residual network for small pictures.

    Formula: conv 3x3 16, n blocks each of 16, 32, 64 (bottlenecks: 64, 128, 256), norm, activation, mean, linear

    `shortcut = "auto"`: A in basic blocks, B in bottlenecks, as in the paper. Depth is 6n + 2, with bottlenecks 9n + 2.
    `zero_init` starts the last convolution of each block at 0: with a thousand layers a thin form learns only so.
    """
    shape = maps(name, inputs, 1, "")
    look = Choices(width, activation, norm)
    chosen = ("a" if block is PreBasic else "b") if shortcut == "auto" else shortcut
    widths = [look.channels(16 * 2**stage) for stage in range(3)]
    first = nn.Conv2d(shape[0], look.channels(16), 3, 1, 1, bias=look.bias)
    counts = (blocks, blocks, blocks)
    net = PreActResNet(first, nn.Identity(), block, counts, widths, look, Way(chosen), units(outputs), dropout)
    initialise(net, init, activation)
    if zero_init:
        silent_ends(net)
    return net


CIFAR: dict[str, Any] = {
    "year": 2015,
    "inputs": ("image",),
    "stage": "new structure",
    "at": (3, 32, 32),
    "classes_at": 10,
    "error_on": "CIFAR-10 test",
    "recipe": "SGD, batch 128, momentum 0.9, weight decay 1e-4, lr 0.1 divided by 10 at 32,000 and 48,000 of 64,000 "
    "steps; pad 4, random crop and mirror. From 110 layers on: 400 steps at 0.01 first.",
}
POST = {
    **CIFAR,
    "source": "He, Zhang, Ren, Sun 2016, CVPR, arXiv:1512.03385, section 4.2",
    "parents": ("resnet18",),
    "traps": ("The paper uses shortcut A throughout; B adds 2,752 parameters.",),
}
PRE = {
    **CIFAR,
    "source": "He, Zhang, Ren, Sun 2016, ECCV, arXiv:1603.05027, tables 2 and 4",
    "year": 2016,
    "parents": ("preact_resnet18",),
    "traps": ("The paper prints 10.2 M parameters for 1001 layers; its own widths add up to 10,327,706.",),
}
GENTLE = 1e-3
"""Adam's rate at the peak of the default cycle for a thousand layers."""
FIGURES = {
    20: (269_722, 40_551_040, 8.75),
    32: (464_154, 68_862_592, 7.51),
    44: (658_586, 97_174_144, 7.17),
    56: (853_018, 125_485_696, 6.97),
    110: (1_727_962, 252_887_680, 6.43),
    1202: (19_421_274, 2_829_238_912, 7.93),
}
PRE_FIGURES: dict[int, tuple[type[PreBasic | PreBottleneck], int, int, float]] = {
    110: (PreBasic, 1_727_962, 252_887_680, 6.37),
    164: (PreBottleneck, 1_703_258, 247_646_720, 5.46),
    1001: (PreBottleneck, 10_327_706, 1_490_995_712, 4.92),
}
for _depth, (_params, _macs, _error) in FIGURES.items():
    _summary = f"Residual network of {_depth} layers for pictures of 32x32."
    _deep = {"peak_lr": GENTLE} if _depth > 1000 else {}
    NETWORKS.add(f"cifar_resnet{_depth}", **POST, **_deep, params=_params, macs=_macs, error=_error)(
        variant(_cifar_resnet, f"cifar_resnet{_depth}", (_depth - 2) // 6, summary=_summary)
    )
for _depth, (_block, _params, _macs, _error) in PRE_FIGURES.items():
    _summary = f"Pre-activation residual network of {_depth} layers for pictures of 32x32."
    _deep = {"peak_lr": GENTLE} if _depth > 1000 else {}
    NETWORKS.add(f"cifar_preact_resnet{_depth}", **PRE, **_deep, params=_params, macs=_macs, error=_error)(
        variant(
            _cifar_preact_resnet,
            f"cifar_preact_resnet{_depth}",
            _block,
            (_depth - 2) // (6 if _block is PreBasic else 9),
            summary=_summary,
        )
    )
