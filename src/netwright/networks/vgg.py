"""VGG (Simonyan and Zisserman 2015): 3x3 convolutions in five stages, and three linear layers.

Stages at 1, 1/2, 1/4, 1/8 and 1/16 of the input's side; 7x7 maps reach the linear layers at 224. State-dict keys are
torchvision's: features.N by position in the row of convolution, (norm), activation, pooling; classifier.0, 3, 6.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, variant
from netwright.language import say
from netwright.networks.alexnet import neighbours
from netwright.networks.blocks import NONE, Choices, Ends, Maps, Shape, Share, Stem, Width, dropped, maps, small
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise

SMALL = 64
"""Pictures with a side below this get the small form: the full one spends 120 million weights on their 1x1 maps."""
LEAST = 32
"""Five halvings leave one pixel."""
HIDDEN = 4096
PEAK_LR = 1e-3
"""Adam's rate at the peak of a default cycle, for forms without a norm: at 4e-3 the 16 and 19 layers stay at chance."""

COLUMNS = {
    "11": "64 | 128 | 256 256 | 512 512 | 512 512",
    "11_lrn": "64 lrn | 128 | 256 256 | 512 512 | 512 512",
    "13": "64 64 | 128 128 | 256 256 | 512 512 | 512 512",
    "16_c": "64 64 | 128 128 | 256 256 256* | 512 512 512* | 512 512 512*",
    "16": "64 64 | 128 128 | 256 256 256 | 512 512 512 | 512 512 512",
    "19": "64 64 | 128 128 | 256 256 256 256 | 512 512 512 512 | 512 512 512 512",
}
"""The columns A, A-LRN, B, C, D, E of table 1: channels of each convolution, 3x3 or (with a star) 1x1; a bar pools."""


def _vgg(
    name: str,
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "none",
    init: str = "he_normal",
    dropout: Share = 0.5,
    stem: Stem = "auto",
) -> nn.Module:
    """A VGG network.

    Formula: five stages of convolutions 3x3 pad 1 with biases, a max pool 2/2 behind each stage; 7x7x512, 4096, 4096,
    outputs

    An average to 7x7 lets any picture from 32x32 on into the linear layers. `stem="small"` (`auto` takes it below 64
    pixels) has the same convolutions and a thin end: a pooling that would leave less than 2x2 is left out, each map is
    averaged to one number, and one linear layer behind dropout stands in place of three. `norm` stands between each
    convolution and its activation; the biases stay, as in the published files with batch norm. Weights start as He's.
    """
    look, shape = Choices(width, activation, norm), maps(name, inputs, 1, "")
    little = small(stem, shape, SMALL)
    if not little:
        why = say("five halvings leave nothing below that; stem = small takes any size")
        shape = maps(name, inputs, LEAST, why)
    net = VGG(shape, units(outputs), look, COLUMNS[name.removeprefix("vgg").removesuffix("_bn")],
              little=little, dropout=dropout)  # fmt: skip
    initialise(net, init, activation)
    return net


class VGG(nn.Module):
    """The convolutions in `features`, the average that fits other sizes in, and `classifier`."""

    def __init__(
        self, shape: Shape, count: int, look: Choices, column: str, *, little: bool, dropout: float
    ) -> None:  # fmt: skip
        super().__init__()
        poolings: list[nn.Module] = [nn.MaxPool2d(2, 2) for _ in range(5)]
        if little:
            poolings = [pool if min(shape[1:]) >= 4 * 2**i else nn.Identity() for i, pool in enumerate(poolings)]
        last, hidden, side = look.channels(512), look.channels(HIDDEN), 1 if little else 7
        self.column = column
        self.features = convolutions(column, shape[0], look, poolings)
        self.avgpool, self.flatten = nn.AdaptiveAvgPool2d((side, side)), nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Linear(last * side * side, hidden), look.act(), dropped(dropout),
            nn.Linear(hidden, hidden), look.act(), dropped(dropout),
            nn.Linear(hidden, count),
        ) if not little else nn.Sequential(dropped(dropout), nn.Linear(last, count))  # fmt: skip

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        x = self.flatten(self.avgpool(self.features(x)))
        out: Tensor = self.classifier(x)
        return out


def same_places(shallow: VGG, deep: VGG, first: int = 4) -> dict[str, str]:
    """Where a deeper network begins as a shallower one: its layer for each of the shallower one's, for `transfer`.

    Formula: the k-th convolution of a stage is the k-th of the same stage, for the `first` of the shallower network;
    linear layers by name

    As in the paper: column A's first four convolutions and three linear layers begin the deeper columns.
    """
    places = {place: name for name, place in _places(deep).items()}
    pairs = {name: places[place] for name, place in list(_places(shallow).items())[:first] if place in places}
    dense = [name for name, module in shallow.named_modules() if isinstance(module, nn.Linear)]
    names = {name for name, module in deep.named_modules() if isinstance(module, nn.Linear)}
    return pairs | {name: name for name in dense if name in names}


def _places(net: VGG) -> dict[str, tuple[int, int]]:
    """Each convolution's name with its stage and its place there."""
    words = [[word for word in stage.split() if word != "lrn"] for stage in net.column.split("|")]
    places = [(stage, place) for stage, row in enumerate(words) for place in range(len(row))]
    names = [f"features.{name}" for name, one in net.features.named_children() if isinstance(one, nn.Conv2d)]
    return dict(zip(names, places, strict=True))


def convolutions(
    column: str, depth: int, look: Choices, poolings: Sequence[nn.Module], border: int = 1
) -> nn.Sequential:
    """The stages of a column of table 1, a pooling behind each; `border` is the first convolution's padding."""
    layers: list[nn.Module] = []
    entering, around = depth, border
    for stage, pool in zip(column.split("|"), poolings, strict=True):
        for word in stage.split():
            if word == "lrn":
                layers.append(neighbours(entering))
                continue
            kernel, leaving = 1 if word.endswith("*") else 3, look.channels(int(word.rstrip("*")))
            layers.append(nn.Conv2d(entering, leaving, kernel, padding=around if kernel == 3 else 0))
            layers += [look.normed(leaving), look.act()] if look.norm != NONE else [look.act()]
            entering, around = leaving, 1
        layers.append(pool)
    return nn.Sequential(*layers)


def _normed(
    name: str,
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "batchnorm",
    init: str = "he_normal",
    dropout: Share = 0.5,
    stem: Stem = "auto",
) -> nn.Module:
    given: dict[str, Any] = {"width": width, "activation": activation, "norm": norm, "init": init}
    return _vgg(name, inputs, outputs, **given, dropout=dropout, stem=stem)


_normed.__doc__ = _vgg.__doc__

PAPER: dict[str, Any] = {
    "source": "Simonyan and Zisserman 2015, ICLR, arXiv:1409.1556, table 1",
    "year": 2014,
    "inputs": ("image",),
    "stage": "deeper and wider",
    "at": (3, 224, 224),
    "recipe": "SGD, batch 256, momentum 0.9, weight decay 5e-4, lr 1e-2 divided by 10 three times, 370,000 steps (74 "
    "epochs), dropout 0.5; column A from N(0, 0.01), deeper ones start from A's first four convolutions and its linear "
    "layers. Scale 256, 384 or drawn from 256 to 512, random crops of 224, mirrors, colour shift.",
}
BGR = "The authors' Caffe weights read blue, green, red from 0 to 255 less a mean; torchvision's read red first."
FITS = "The average to 7x7 is torchvision's: it lets any size from 32 on in, and at 224 it changes nothing."
ENDS = "Style transfer and fully convolutional networks read the maps of `features` only."
DENSE = "ImageNet 2012 validation, top-1, one network, dense at scale 256"
CROP = "ImageNet validation, top-1, one crop, torchvision's weights"
WAYS: dict[str, dict[str, Any]] = {
    "vgg11": {"params": 132_863_336, "macs": 7_609_090_048, "error": 29.6, "parents": ("alexnet_2012",)},
    "vgg11_lrn": {"params": 132_863_336, "macs": 7_609_090_048, "error": 29.7, "parents": ("vgg11",)},
    "vgg13": {"params": 133_047_848, "macs": 11_308_466_176, "error": 28.7, "parents": ("vgg11",)},
    "vgg16_c": {"params": 133_638_952, "macs": 11_770_888_192, "error": 28.1, "parents": ("vgg13",)},
    "vgg16": {"params": 138_357_544, "macs": 15_470_264_320, "error": 27.0, "parents": ("vgg13",)},
    "vgg19": {"params": 143_667_240, "macs": 19_632_062_464, "error": 27.3, "parents": ("vgg16",)},
}
OWN = {
    "vgg11_lrn": "Local response norm stands behind the first activation, with AlexNet's numbers; it did not help.",
    "vgg16_c": "The starred convolutions are 1x1 without padding: deeper, but no wider view.",
}
for _name, _facts in WAYS.items():
    _column = _name.removeprefix("vgg")
    _summary = f"VGG network of {_column[:2]} layers{', with local response norm' * _column.endswith('lrn')}" + (
        ", a 1x1 convolution at the end of the last three stages." if _column.endswith("c") else "."
    )
    _traps = ((OWN[_name],) if _name in OWN else ()) + (FITS, BGR, ENDS)
    _layout = "torchvision" if _name not in OWN else "torchvision's rule: the position in the row"
    NETWORKS.add(_name, **PAPER, **_facts, error_on=DENSE, layout=_layout, traps=_traps, peak_lr=PEAK_LR)(
        variant(_vgg, _name, summary=_summary)
    )
NORMED = {11: (132_868_840, 29.63), 13: (133_053_736, 28.414), 16: (138_365_992, 26.64), 19: (143_678_248, 25.782)}
for _depth, (_params, _error) in NORMED.items():
    NETWORKS.add(
        f"vgg{_depth}_bn",
        **PAPER,
        params=_params,
        macs=WAYS[f"vgg{_depth}"]["macs"],
        error=_error,
        error_on=CROP,
        parents=(f"vgg{_depth}",),
        layout="torchvision",
        traps=(
            "The paper has no batch norm: these forms came later, and their convolutions keep their biases.",
            FITS,
            ENDS,
        ),
    )(variant(_normed, f"vgg{_depth}_bn", summary=f"VGG network of {_depth} layers with batch norm."))
