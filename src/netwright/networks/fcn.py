"""Fully convolutional networks (Long, Shelhamer, Darrell 2015): a score for every pixel, on VGG-16's convolutions.

Trace at 500: 698 behind a border of 100, then 349, 175, 88, 44, 22 (poolings round up), 16 behind fc6; the scores are
enlarged by fixed bilinear kernels and cut to 500. State-dict keys: VGG-16's features.N, then the authors' Caffe names
fc6, fc7, score_fr, score_pool4, score_pool3, upscore ...
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, variant
from netwright.networks.blocks import Choices, Ends, GlobalMean, Maps, Share, Stem, Width, dropped, maps, small
from netwright.networks.shapes import units
from netwright.networks.vgg import COLUMNS, PEAK_LR, convolutions
from netwright.parts.initializers import initialise

SMALL = 64
"""Pictures with a side below this get the small form: a border of 100 pixels would make 32x32 fifty times as dear."""
HIDDEN, SMALL_HIDDEN = 4096, 512
CROPS = {32: 19, 16: 27, 8: 31}
"""Where the picture begins in the last enlarged map, by its stride; the border of 100 and all kernels add up to it."""
CROP_POOL4, CROP_POOL3 = 5, 9
"""Where the enlarged scores begin in the maps of the fourth and third pooling."""


def _fcn(
    stride: Literal[32, 16, 8],
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
    """A fully convolutional network.

    Formula: enlarged side = (n - 1) s + k with k = 2s; at 500: (16 - 1)*32 + 64 = 544, cut at 19 to 500

    For outputs of kind "mask" it gives score maps as large as the picture, of any size; for classes and numbers the
    mean of each score map. Convolution and pooling alone shrink maps: transposed convolutions with fixed bilinear
    kernels bring them back. They are no parameters and are not counted as multiply-adds.
    `stem="small"` (`auto` takes it below 64 pixels): a border of 1 in place of 100, fc6 3x3 with a border, 512 channels
    in fc6 and fc7, nothing to cut away. `norm` stands between each convolution and its activation. Weights start as
    He's; the authors start from VGG-16 and from scores of 0.
    Differs: one bilinear kernel serves every class; the authors store one for each pair of classes, zeros apart from
    the diagonal (for 21 classes 1,806,336, 458,640 or 127,008 fixed numbers).
    """
    shape = maps(f"fcn{stride}s", inputs, 1, "")
    look, little = Choices(width, activation, norm), small(stem, shape, SMALL)
    masks = outputs.get("kind") == "mask"
    net = FCN(shape[0], units(outputs), look, stride, masks=masks, little=little, dropout=dropout)
    initialise(net, init, activation)
    return net


class FCN(nn.Module):
    """VGG-16's convolutions, its linear layers as convolutions, scores at one to three scales, and enlargements."""

    def __init__(
        self, depth: int, count: int, look: Choices, stride: int, *, masks: bool, little: bool, dropout: float
    ) -> None:
        super().__init__()
        poolings = [nn.MaxPool2d(2, 2, ceil_mode=True) for _ in range(5)]
        self.features = convolutions(COLUMNS["16"], depth, look, poolings, 1 if little else 100)
        hidden = look.channels(SMALL_HIDDEN if little else HIDDEN)
        kernel, border = (3, 1) if little else (7, 0)
        self.fc6 = nn.Conv2d(look.channels(512), hidden, kernel, padding=border)
        self.norm6, self.act6, self.dropout6 = look.normed(hidden), look.act(), dropped(dropout)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        self.norm7, self.act7, self.dropout7 = look.normed(hidden), look.act(), dropped(dropout)
        self.score_fr = nn.Conv2d(hidden, count, 1)
        if stride <= 16:
            self.upscore2 = Enlarged(2, cut=little)
            self.score_pool4 = nn.Conv2d(look.channels(512), count, 1)
        if stride == 8:
            self.upscore_pool4 = Enlarged(2, cut=little)
            self.score_pool3 = nn.Conv2d(look.channels(256), count, 1)
        self.upscore = Enlarged(stride, cut=little)
        self.stride = stride
        self.crops = (0, 0, 0) if little else (CROP_POOL4, CROP_POOL3, CROPS[stride])
        self.whole = nn.Identity() if masks else GlobalMean()

    def forward(self, x: Maps) -> Float[Tensor, "batch units"] | Float[Tensor, "batch units height width"]:
        high, wide = x.shape[2:]
        pooled = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(x)
        at_pool4, at_pool3, at_picture = self.crops
        x = self.dropout6(self.act6(self.norm6(self.fc6(x))))
        x = self.score_fr(self.dropout7(self.act7(self.norm7(self.fc7(x)))))
        if self.stride <= 16:
            x = added(self.upscore2(x), self.score_pool4(pooled[3]), at_pool4)
        if self.stride == 8:
            x = added(self.upscore_pool4(x), self.score_pool3(pooled[2]), at_pool3)
        x = self.upscore(x)[:, :, at_picture : at_picture + high, at_picture : at_picture + wide]
        out: Tensor = self.whole(x)
        return out


def added(enlarged: Maps, scores: Maps, first: int) -> Float[Tensor, "batch channels high wide"]:
    """The sum where both maps lie above each other; the enlarged one begins at pixel `first` of the other."""
    high, wide = (min(n, m - first) for n, m in zip(enlarged.shape[2:], scores.shape[2:], strict=True))
    return enlarged[:, :, :high, :wide] + scores[:, :, first : first + high, first : first + wide]


class Enlarged(nn.Module):
    """Maps enlarged `factor` times by a fixed bilinear kernel of twice that size; (n - 1) factor + 2 factor pixels.

    `cut` leaves half a kernel off on each side, so that factor * n pixels remain.
    """

    def __init__(self, factor: int, *, cut: bool) -> None:
        super().__init__()
        self.factor, self.cut = factor, factor // 2 if cut else 0
        self.kernel: Tensor
        self.register_buffer("kernel", bilinear_kernel(2 * factor))

    def forward(self, x: Maps) -> Float[Tensor, "batch channels high wide"]:
        channels, size = x.shape[1], 2 * self.factor
        kernels = self.kernel.expand(channels, 1, size, size)
        return F.conv_transpose2d(x, kernels, stride=self.factor, padding=self.cut, groups=channels)

    def counted(self, shape: tuple[int, ...], output: tuple[int, ...]) -> dict[str, Any]:
        """Numbers for the anatomy: nothing is learned and nothing counted, only the size is stated."""
        size, twice = 2 * self.factor, f" - 2*{self.cut}" if self.cut else ""
        axes = [f"({n} - 1)*{self.factor} + {size}{twice} = {m}" for n, m in zip(shape[1:], output[1:], strict=True)]
        return {"kind": "upsample", "formula": "out = " + (axes[0] if axes[0] == axes[1] else ", ".join(axes))}


def bilinear_kernel(size: int) -> Float[Tensor, "size size"]:
    """The kernel by which a transposed convolution of stride f = ceil(size/2) draws straight lines between pixels.

    Formula: w(i, j) = (1 - |i - c|/f) (1 - |j - c|/f); c = f - 1 for odd sizes, f - 0.5 for even ones

    `size` is 2f - f mod 2 for enlarging f times (FCN: 2f). Inside the picture the result is that of bilinear
    interpolation; at its edge the missing neighbours count as 0.
    """
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - (torch.arange(size) - centre).abs() / factor
    return line[:, None] * line


LONG: dict[str, Any] = {
    "source": "Long, Shelhamer, Darrell 2015, CVPR, arXiv:1411.4038, section 4",
    "year": 2014,
    "inputs": ("image",),
    "outputs": "mask",
    "stage": "dense prediction",
    "at": (3, 500, 500),
    "classes_at": 21,
    "peak_lr": PEAK_LR,
    "mean_iou_on": "PASCAL VOC seg11valid, the authors' released models",
    "layout": "torchvision's VGG-16 for features; the authors' Caffe names behind it",
    "recipe": "The authors' solver: batch 1, loss summed over pixels, momentum 0.99, decay 5e-4, lr 1e-10 (32s), "
    "1e-12 (16s), 1e-14 (8s), biases twice that, 100,000 steps, label 255 ignored; each from the coarser one, "
    "32s from VGG-16; pictures blue, green, red less (104.00699, 116.66877, 122.67892).",
    "traps": (
        "Convolution and pooling alone give smaller maps than the picture: only the enlargement brings the size back.",
        "The tiny learning rates belong to a loss that is summed, not averaged, over the pixels.",
        "The crops (5 and 9 at the poolings, 19, 27 or 31 at the end) follow from the border of 100; other numbers "
        "shift the masks.",
        "The bilinear kernels are fixed, as in the authors' code; the paper's first version learned them.",
        "torchvision's fcn_resnet50 is another design: a dilated ResNet and one enlargement by 8.",
    ),
}
SIZES: dict[Literal[32, 16, 8], dict[str, Any]] = {
    32: {"params": 134_346_581, "macs": 180_903_432_960, "mean_iou": 63.6, "parents": ("vgg16",)},
    16: {"params": 134_357_354, "macs": 180_924_248_832, "mean_iou": 65.0, "parents": ("fcn32s",)},
    8: {"params": 134_362_751, "macs": 180_965_880_576, "mean_iou": 65.5, "parents": ("fcn16s",)},
}
FROM = {32: "the last maps alone", 16: "the last maps and the fourth pooling", 8: "three scales"}
for _stride, _facts in SIZES.items():
    _summary = f"Fully convolutional VGG-16 that scores every pixel from {FROM[_stride]} (stride {_stride})."
    NETWORKS.add(f"fcn{_stride}s", **LONG, **_facts)(variant(_fcn, _stride, summary=_summary))
