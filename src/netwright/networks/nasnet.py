"""NASNet-A: two cells found by search on CIFAR-10, stacked by hand (Zoph, Vasudevan, Shlens, Le 2018).

A cell reads h0 (the layer before, through ReLU, 1x1, norm) and h1 (the one before that, matched in size and channels)
and adds pairs of operations. State-dict keys are timm's: conv0, cell_stem_0, cell_0, reduction_cell_0, last_linear.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, Range, variant
from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.blocks import (
    Choices,
    Ends,
    GlobalMean,
    Maps,
    SamePool,
    Scores,
    Share,
    Stem,
    Width,
    dropped,
    maps,
    same_conv,
    small,
)  # fmt: skip
from netwright.networks.layers import DropPath
from netwright.networks.shapes import units
from netwright.parts.initializers import initialise

Pairs = tuple[tuple[str, int, str, int], ...]
NORMAL: Pairs = (
    ("sep5", 0, "sep3", 1), ("sep5", 1, "sep3", 1), ("avg3", 0, "same", 1), ("avg3", 1, "avg3", 1),
    ("sep3", 0, "same", 0),
)  # fmt: skip
"""Each sum: (operation, what it reads, operation, what it reads); 0 and 1 are h0 and h1, 2 and up the sums so far."""
REDUCTION: Pairs = (
    ("sep5", 0, "sep7", 1), ("max3", 0, "sep7", 1), ("avg3", 0, "sep5", 1), ("same", 3, "avg3", 2),
    ("sep3", 2, "max3", 0),
)  # fmt: skip
SMALL = 96
"""Pictures with a side below this get the CIFAR stem: the full one halves them three times before the first cell."""


@dataclass(frozen=True)
class Plan:
    """How cells are stacked."""

    filters: int
    """F, the channels of an operation in the first stage."""
    repeats: int
    first: int
    """Channels of the stem's convolution; 0 for the CIFAR stem."""
    skip: bool
    """Whether the cell behind a reduction reads, as h1, the layer two before the reduction."""
    count_pad: bool
    """Whether strided means count the padding."""
    drop_path: float = 0.0

    @property
    def cells(self) -> int:
        """All cells, those of the stem included."""
        return 3 * self.repeats + 2 + (2 if self.first else 0)


def _nasnet(
    name: str,
    plan: Plan,
    inputs: Ends,
    outputs: Ends,
    *,
    width: Width = 1.0,
    activation: str = "relu",
    norm: str = "batchnorm(eps=0.001)",
    init: str = "he_normal",
    dropout: Share = 0.5,
    stem: Stem = "auto",
    aux: bool = False,
    drop_path: Annotated[float, Range(0, 0.9)] = 0.0,
    count_pad: bool | Literal["auto"] = "auto",
) -> nn.Module:
    """NASNet-A.

    Formula: N normal cells (F), reduction, N normal (2F), reduction, N normal (4F); a normal cell gives 6F maps, a
    reduction 4F, and 24F maps reach the last layer

    `stem`: 3x3/2 and two reduction cells of F/4 and F/2 (`full`), or one 3x3 convolution to 3F maps (`small`; `auto`
    takes it below 96 pixels). `aux` adds the auxiliary head before the second reduction, weight 0.4. `drop_path` drops
    whole operations, more of them in later cells. F is rounded to multiples of 4. `count_pad`: whether strided means
    count their padding; TensorFlow leaves it out, timm's port of the large form counts it, and `auto` follows that.

    Differs: the authors also let `drop_path` grow with the steps; here it is constant in time.
    """
    shape = maps(name, inputs, 1, "")
    look = Choices(width, activation, norm, divisor=4)
    little = not plan.first or small(stem, shape, SMALL)
    if not little:
        maps(name, inputs, 3, say("its first convolution is 3x3 without padding"))
    own = replace(
        plan,
        filters=look.channels(plan.filters),
        first=0 if little else look.channels(plan.first),
        count_pad=plan.count_pad if count_pad == "auto" else bool(count_pad),
        drop_path=drop_path,
    )
    net = NASNet(shape, units(outputs), own, look, dropout, aux)
    initialise(net, init, activation)
    return net


class NASNet(nn.Module):
    """Stem, three rows of normal cells with reductions between, the mean of each map, and `last_linear`."""

    auxiliary_weight = 0.4

    def __init__(
        self, shape: tuple[int, ...], count: int, plan: Plan, look: Choices, dropout: float, aux: bool
    ) -> None:
        super().__init__()
        self.plan, self.look = plan, look
        first = plan.first or 3 * plan.filters
        conv = (
            nn.Conv2d(shape[0], first, 3, 2, bias=look.bias) if plan.first else same_conv(shape[0], first, 3, 1, look)
        )
        self.conv0 = nn.Sequential(OrderedDict(conv=conv, bn=look.normed(first)))
        self.before: tuple[int, int] = (first, 0)
        """(channels, halvings) of the layer before last, while cells are added; then of the last but one."""
        self.now: tuple[int, int] = (first, 0)
        self.order: list[str] = []
        if plan.first:
            self.add("cell_stem_0", REDUCTION, plan.filters // 4)
            self.add("cell_stem_1", REDUCTION, plan.filters // 2)
        for stage in range(3):
            for place in range(plan.repeats):
                self.add(f"cell_{stage * plan.repeats + place}", NORMAL, plan.filters * 2**stage)
            if stage == 1 and aux:
                self.aux = self.head(shape, count)
            if stage < 2:
                self.add(f"reduction_cell_{stage}", REDUCTION, plan.filters * 2 ** (stage + 1))
        self.act, self.pool, self.dropout = look.act(), GlobalMean(), dropped(dropout)
        self.last_linear = nn.Linear(self.now[0], count)

    def add(self, name: str, pairs: Pairs, channels: int) -> None:
        """One more cell behind the last two layers."""
        drop = self.plan.drop_path * (len(self.order) + 1) / self.plan.cells
        match: Match = "raw" if not self.order else "halve" if self.before[1] != self.now[1] else "conv"
        stride = 2 if pairs is REDUCTION else 1
        made = partial(operation, look=self.look, count_pad=self.plan.count_pad)
        cell = Cell(pairs, self.now[0], self.before[0], channels, stride, match, self.look, made, drop)
        self.add_module(name, cell)
        self.order.append(name)
        self.before, self.now = self.following(name, self.before, self.now, (cell.leaving, self.now[1] + stride - 1))

    def following(self, name: str, before: Any, now: Any, new: Any) -> tuple[Any, Any]:
        """What the next cell reads as h1 and h0."""
        return (before if self.plan.skip and name.startswith("reduction") else now), new

    def head(self, shape: tuple[int, ...], count: int) -> nn.Module:
        """The auxiliary head on the maps behind the last cell."""
        sizes = [(n - 3) // 2 + 1 if self.plan.first else n for n in shape[1:]]
        sizes = [-(-n // 2 ** self.now[1]) for n in sizes]
        if min(sizes) < 5:
            text = say("the auxiliary head averages windows of 5x5, but maps of {height}x{width} reach it",
                       height=sizes[0], width=sizes[1])  # fmt: skip
            raise UsageError(text + "; " + say("leave it out with {override}.", override="network.aux=false"))
        window = ((sizes[0] - 5) // 3 + 1, (sizes[1] - 5) // 3 + 1)
        return Auxiliary(self.now[0], window, count, self.look)

    def forward(self, x: Maps) -> Float[Tensor, "batch units"] | Scores:
        now = self.conv0(x)
        before, scores = now, None
        for name in self.order:
            if name == "reduction_cell_1" and self.training and hasattr(self, "aux"):
                scores = self.aux(now)
            new = self.get_submodule(name)(now, before)
            before, now = self.following(name, before, now, new)
        out: Tensor = self.last_linear(self.dropout(self.pool(self.act(now))))
        return out if scores is None else Scores(out, (scores,))


Match = Literal["raw", "conv", "halve"]
"""How h1 comes from the layer before last: as it is (first cell), by a 1x1 convolution, or halved."""


class Cell(nn.Module):
    """Five sums of two operations, side by side; a normal cell passes h1 on as well."""

    def __init__(
        self, pairs: Pairs, entering: int, previous: int, channels: int, stride: int, match: Match, look: Choices,
        operation: Callable[..., nn.Module], drop: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pairs, self.match, self.stride = pairs, match, stride
        self.conv_1x1 = Before(entering, channels, look)
        if match == "conv":
            self.conv_prev_1x1 = Before(previous, channels, look)
        elif match == "halve":
            half = channels // 2
            self.act = look.act()
            self.path_1 = nn.Sequential(OrderedDict(conv=nn.Conv2d(previous, half, 1, 2, bias=look.bias)))
            self.path_2 = nn.Sequential(
                OrderedDict(shift=Shift(), conv=nn.Conv2d(previous, channels - half, 1, 2, bias=look.bias))
            )
            self.final_path_bn = look.normed(channels)
        wide = [channels, previous if match == "raw" else channels]
        for number, (left, one, right, other) in enumerate(pairs):
            for side, name, reads in (("left", left, one), ("right", right, other)):
                step = stride if reads < 2 else 1
                made = operation(name, wide[reads] if reads < 2 else channels, channels, step)
                self.add_module(f"comb_iter_{number}_{side}", made)
        narrow = match == "raw" and stride == 1 and previous != channels
        self.unused = narrowed(previous, channels, look) if narrow else nn.Identity()
        self.drop = DropPath(drop) if drop else nn.Identity()
        self.leaving = channels * (6 if stride == 1 else 4)

    def matched(self, previous: Maps) -> Maps:
        """h1: the layer before last in this cell's size and channels."""
        if self.match == "raw":
            return previous
        if self.match == "conv":
            same: Tensor = self.conv_prev_1x1(previous)
            return same
        active = self.act(previous)
        halves: Tensor = self.final_path_bn(torch.cat([self.path_1(active), self.path_2(active)], 1))
        return halves

    def forward(self, now: Maps, before: Maps) -> Float[Tensor, "batch out high wide"]:
        known = [self.conv_1x1(now), self.matched(before)]
        for number, (_, one, _, other) in enumerate(self.pairs):
            left = self.applied(f"comb_iter_{number}_left", known[one])
            known.append(left + self.applied(f"comb_iter_{number}_right", known[other]))
        return torch.cat([self.unused(known[1]), *known[2:]] if self.stride == 1 else known[3:], 1)

    def applied(self, name: str, x: Maps) -> Maps:
        """One operation, dropped now and then while training."""
        made = self.get_submodule(name)
        out: Tensor = x if isinstance(made, nn.Identity) else self.drop(made(x))
        return out


def operation(name: str, into: int, out: int, stride: int, *, look: Choices, count_pad: bool) -> nn.Module:
    """`sep3`, `sep5`, `sep7`, `max3`, `avg3` or `same`; 1x1 where the channels differ."""
    if name == "same":
        return nn.Identity() if into == out else Before(into, out, look)
    kernel = int(name[3:])
    if name.startswith("sep"):
        return Separable(into, out, kernel, stride, look)
    pool: nn.Module
    if stride > 1:
        pool = SamePool("max" if name.startswith("max") else "avg", kernel, stride, count_pad)
    elif name.startswith("max"):
        pool = nn.MaxPool2d(kernel, 1, kernel // 2)
    else:
        pool = nn.AvgPool2d(kernel, 1, kernel // 2, count_include_pad=False)
    return pool if into == out else nn.Sequential(pool, *narrowed(into, out, look))


def narrowed(into: int, out: int, look: Choices) -> nn.Sequential:
    """A 1x1 convolution and a norm."""
    return nn.Sequential(nn.Conv2d(into, out, 1, bias=look.bias), look.normed(out))


class Before(nn.Module):
    """Activation, 1x1 convolution, norm."""

    def __init__(self, into: int, out: int, look: Choices) -> None:
        super().__init__()
        self.act = look.act()
        self.conv, self.bn = nn.Conv2d(into, out, 1, bias=look.bias), look.normed(out)

    def forward(self, x: Maps) -> Float[Tensor, "batch out height width"]:
        out: Tensor = self.bn(self.conv(self.act(x)))
        return out


class Shift(nn.Module):
    """The map moved by one pixel: cut at the top and left, zeros at the bottom and right."""

    def forward(self, x: Maps) -> Maps:
        return F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))


class Separable(nn.Module):
    """Activation, a window per channel, 1x1, norm, all of it twice; the stride acts in the first."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, look: Choices) -> None:
        super().__init__()
        self.act_1, self.act_2 = look.act(), look.act()
        self.separable_1 = split(into, out, kernel, stride, look)
        self.bn_sep_1 = look.normed(out)
        self.separable_2 = split(out, out, kernel, 1, look)
        self.bn_sep_2 = look.normed(out)

    def forward(self, x: Maps) -> Float[Tensor, "batch out high wide"]:
        x = self.bn_sep_1(self.separable_1(self.act_1(x)))
        out: Tensor = self.bn_sep_2(self.separable_2(self.act_2(x)))
        return out


def split(into: int, out: int, kernel: int, stride: int, look: Choices) -> nn.Sequential:
    """A window per channel, then 1x1 across them."""
    window = same_conv(into, into, kernel, stride, Choices(1.0, look.activation, "batchnorm"), groups=into)
    return nn.Sequential(OrderedDict(depthwise_conv2d=window, pointwise_conv2d=nn.Conv2d(into, out, 1, bias=look.bias)))


class Auxiliary(nn.Module):
    """Mean 5x5/3, 1x1 to 128, a convolution over the whole map to 768, linear."""

    def __init__(self, into: int, window: tuple[int, int], count: int, look: Choices) -> None:
        super().__init__()
        self.act, self.pool = look.act(), nn.AvgPool2d(5, 3)
        self.conv0, self.bn0, self.act0 = nn.Conv2d(into, 128, 1, bias=look.bias), look.normed(128), look.act()
        self.conv1, self.bn1, self.act1 = nn.Conv2d(128, 768, window, bias=look.bias), look.normed(768), look.act()
        self.fc = nn.Linear(768, count)

    def forward(self, x: Maps) -> Float[Tensor, "batch units"]:
        x = self.pool(self.act(x))
        x = self.act0(self.bn0(self.conv0(x)))
        x = self.act1(self.bn1(self.conv1(x)))
        out: Tensor = self.fc(x.flatten(1))
        return out


ZOPH: dict[str, Any] = {
    "source": "Zoph, Vasudevan, Shlens, Le 2018, CVPR, arXiv:1707.07012, figure 4 and appendix A",
    "year": 2017,
    "inputs": ("image",),
    "stage": "self-learned",
    "parents": ("inception_resnet_v2", "mobilenet_v1"),
    "layout": "timm",
    "recipe": "Large: 100 workers of 16, RMSprop, lr times 0.97 every 2.4 epochs, label smoothing 0.1, norm clip 10, "
    "drop-path 0.3, weight decay 5e-5. CIFAR-10: batch 32, 600 epochs, lr 0.025 on a cosine, norm clip 5, weight decay "
    "5e-4, drop-path 0.4.",
    "traps": (
        "Strided windows are padded by TensorFlow's rule, the odd pixel at the bottom or right; other padding gives "
        "other numbers and other counts of multiply-adds.",
        "Means leave the padding out; timm's port counts it where the stride is 2.",
        "Behind a reduction the large form reads the layer two before it as h1, the others the layer just before it.",
        "Weights published for TensorFlow have 1001 classes, the background first.",
    ),
}
ONE = "ImageNet validation, top-1, one crop"
SIZES: dict[str, tuple[Plan, str, dict[str, Any]]] = {
    "mobile": (
        Plan(44, 4, 32, skip=False, count_pad=False),
        "NASNet-A for phones: 4 cells a row, 1056 maps at the end.",
        {"params": 5_289_978, "macs": 563_638_816, "at": (3, 224, 224), "error": 26.0, "error_on": ONE},
    ),
    "large": (
        Plan(168, 6, 96, skip=True, count_pad=True),
        "NASNet-A in its large form: 6 cells a row, 4032 maps at the end.",
        {"params": 88_753_150, "macs": 23_783_414_658, "at": (3, 331, 331), "error": 17.3, "error_on": ONE},
    ),
    "cifar": (
        Plan(32, 6, 0, skip=False, count_pad=False),
        "NASNet-A for pictures of 32x32: 6 cells a row, 768 maps at the end.",
        {"params": 3_346_538, "macs": 544_333_312, "at": (3, 32, 32), "classes_at": 10, "error": 3.41,
         "error_on": "CIFAR-10 test"},
    ),
}  # fmt: skip
for _size, (_plan, _summary, _facts) in SIZES.items():
    NETWORKS.add(f"nasnet_{_size}", **ZOPH, **_facts)(variant(_nasnet, f"nasnet_{_size}", _plan, summary=_summary))
