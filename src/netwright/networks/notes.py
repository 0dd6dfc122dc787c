"""The convolutional and the recurrent network of the notes, with the settings that remedies need.

Left alone, `convnet` on 1x28x28 images has 28,938 parameters and `lstm` on 28 rows of 28 has 24,714, under the notes'
own state-dict keys: conv1.0, conv2.0, out; and rnn, out.
"""

from math import prod
from typing import Annotated

from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import CELLS, NETWORKS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.shapes import Ends, described, maps, shape_of, units
from netwright.parts.activations import activation as fresh
from netwright.parts.cells import Last
from netwright.parts.initializers import initialise
from netwright.parts.norms import norm as fresh_norm

Hidden = Annotated[int, Range(1, 100_000)]
Layers = Annotated[int, Range(1, 100)]
Share = Annotated[float, Range(0, 0.999)]


@NETWORKS.add(
    source="the notes' CNN in PyTorch; after LeCun et al. 1998",
    inputs=("image",),
    year=1998,
    stage="beginnings",
    parents=("lenet5",),
    at=(1, 28, 28),
    classes_at=10,
    params=28_938,
    macs=2_838_080,
    bfloat16="MNIST, 3 epochs: test accuracy 99.21 % in bfloat16, 99.23 % in float32 (mean of 4 seeds)",
)
def convnet(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Annotated[float, Range(0.01, 64)] = 1.0,
    activation: str = "relu",
    norm: str = "none",
    dropout: Share = 0.0,
    init: str = "torch",
) -> nn.Module:
    """Two 5x5 convolutions with pooling and one linear layer: the notes' digit classifier.

    Formula: (1, 28, 28) conv 16 5x5 pad 2, ReLU, max 2 (16, 14, 14) conv 32 5x5 pad 2, ReLU, max 2 (32, 7, 7) linear 10

    28,938 parameters and 2,838,080 multiply-adds on 28x28; any image from 4x4 on works. `width` multiplies the
    channels, `norm` stands behind each convolution, `dropout` before the linear layer.
    """
    shape = maps("convnet", inputs, 4, say("two poolings halve it twice"))
    net = ConvNet(shape, units(outputs), max(1, round(16 * width)), activation, norm, dropout)
    initialise(net, init, activation)
    return net


class ConvNet(nn.Module):
    """Stages `conv1` and `conv2`, then `out`."""

    def __init__(
        self, shape: tuple[int, ...], count: int, channels: int, activation: str, norm: str, dropout: float
    ) -> None:
        super().__init__()
        depth, height, width = shape
        self.conv1 = self._stage((depth, height, width), channels, activation, norm)
        self.conv2 = self._stage((channels, height // 2, width // 2), 2 * channels, activation, norm)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.out = nn.Linear(2 * channels * (height // 4) * (width // 4), count)

    @staticmethod
    def _stage(shape: tuple[int, int, int], channels: int, activation: str, norm: str) -> nn.Sequential:
        layers: list[nn.Module] = [nn.Conv2d(shape[0], channels, kernel_size=5, stride=1, padding=2)]
        if norm != "none":
            layers.append(fresh_norm(norm, (channels, *shape[1:]), "network.norm"))
        return nn.Sequential(*layers, fresh(activation, "network.activation"), nn.MaxPool2d(2))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch units"]:
        x = self.conv1(x)
        x = self.conv2(x)
        out: Tensor = self.out(self.dropout(self.flatten(x)))
        return out


@NETWORKS.add(
    source="the notes' LSTM in PyTorch; Hochreiter and Schmidhuber 1997",
    inputs=("image", "sequence"),
    year=1997,
    parents=("rnn",),
    at=(28, 28),
    classes_at=10,
    params=24_714,
    macs=660_096,
    bfloat16="MNIST as rows, 3 epochs: test accuracy 98.19 % in bfloat16, 98.27 % in float32 (mean of 3 seeds)",
)
def lstm(
    inputs: Ends,
    outputs: Ends,
    *,
    hidden: Hidden = 64,
    layers: Layers = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    init: str = "torch",
) -> nn.Module:
    """An LSTM over the rows of an image or the steps of a sequence, and a linear layer on the last state.

    Formula: (28, 28) LSTM 64 (28, 64), the last step (64,), linear 10; parameters 4h(d + h + 2) + (h + 1) * 10 = 24,714

    An image is read as `height` steps of channels x width numbers. The state starts at 0. `dropout` acts between layers
    and before the linear layer. Two-way layers give the last state of each direction.
    """
    return _recurrent("lstm", inputs, outputs, hidden, layers, bidirectional, dropout, init)


@NETWORKS.add(source="Elman 1990, Cognitive Science 14", inputs=("image", "sequence"), year=1990)
def rnn(
    inputs: Ends,
    outputs: Ends,
    *,
    hidden: Hidden = 64,
    layers: Layers = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    init: str = "torch",
) -> nn.Module:
    """The `lstm` network with simple recurrent layers, for comparison.

    Formula: h_t = tanh(W x_t + b + U h_(t-1) + b'); y = V h_T + c
    """
    return _recurrent("rnn", inputs, outputs, hidden, layers, bidirectional, dropout, init)


@NETWORKS.add(source="Cho et al. 2014, arXiv:1406.1078", inputs=("image", "sequence"), year=2014, parents=("lstm",))
def gru(
    inputs: Ends,
    outputs: Ends,
    *,
    hidden: Hidden = 64,
    layers: Layers = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    init: str = "torch",
) -> nn.Module:
    """The `lstm` network with gated recurrent units.

    Formula: the GRU of the cell `gru`; y = V h_T + c
    """
    return _recurrent("gru", inputs, outputs, hidden, layers, bidirectional, dropout, init)


def _recurrent(
    cell: str, inputs: Ends, outputs: Ends, hidden: int, layers: int, bidirectional: bool, dropout: float, init: str
) -> nn.Module:
    shape = shape_of(inputs)
    if len(shape) == 1:
        text = say("network {name!r} takes sequences and images; {came} came.", name=cell, came=described(inputs))
        raise UsageError(text + " " + say("Use network {other!r}.", other="mlp"))
    features = shape[1] if len(shape) == 2 else prod(shape) // shape[1]
    core = CELLS[cell](features, hidden=hidden, layers=layers, bidirectional=bidirectional, dropout=dropout)
    net = Recurrent(core, units(outputs), dropout)
    initialise(net, init, "tanh")
    return net


class RowsAsSteps(nn.Module):
    """An image (channels, height, width) as `height` steps of channels x width features; sequences pass through."""

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch steps features"]:
        return x.transpose(1, 2).flatten(2) if x.ndim == 4 else x


class Recurrent(nn.Module):
    """`rnn` over the steps from a zero state, then `out` on the last state."""

    def __init__(self, core: nn.RNNBase, count: int, dropout: float) -> None:
        super().__init__()
        self.steps = RowsAsSteps()
        self.rnn = core
        self.last = Last(core.bidirectional)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.out = nn.Linear(core.hidden_size * (2 if core.bidirectional else 1), count)

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch units"]:
        states, _ = self.rnn(self.steps(x), None)
        out: Tensor = self.out(self.dropout(self.last(states)))
        return out
