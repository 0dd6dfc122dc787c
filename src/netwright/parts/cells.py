"""Cells: recurrent layers over (steps, features), and the ways to read one vector out of their steps.

Each factory of a recurrent layer takes the features of a step and returns torch's module (batch first). PyTorch keeps
two biases per gate, so the counts are h(d + h + 2) per gate for d features and h hidden units.
"""

from typing import Annotated, Literal

from jaxtyping import Float
from torch import Tensor, cat, nn

from netwright.catalogue import CELLS, Range

Hidden = Annotated[int, Range(1, 1_000_000)]
Layers = Annotated[int, Range(1, 100)]
Share = Annotated[float, Range(0, 0.999)]


@CELLS.add(source="Elman 1990, Cognitive Science 14", kind="recurrent")
def rnn(
    features: int,
    *,
    hidden: Hidden,
    layers: Layers = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    nonlinearity: Literal["tanh", "relu"] = "tanh",
) -> nn.RNNBase:
    """The simple recurrent layer: the state is fed back at the next step.

    Formula: h_t = tanh(W x_t + b + U h_(t-1) + b')
    """
    between = dropout if layers > 1 else 0.0
    return nn.RNN(
        features,
        hidden,
        layers,
        nonlinearity=nonlinearity,
        batch_first=True,
        dropout=between,
        bidirectional=bidirectional,
    )


@CELLS.add(source="Hochreiter and Schmidhuber 1997; forget gate: Gers, Schmidhuber, Cummins 2000", kind="recurrent")
def lstm(
    features: int, *, hidden: Hidden, layers: Layers = 1, bidirectional: bool = False, dropout: Share = 0.0
) -> nn.RNNBase:
    """Long short-term memory: gates decide what the cell keeps, takes in and shows.

    Formula: i, f, o = sigmoid(W x_t + U h_(t-1) + b); g = tanh(same form); c_t = f c_(t-1) + i g; h_t = o tanh(c_t)

    f = 1 keeps the cell, f = 0 clears it. Dropout acts between layers only.
    """
    between = dropout if layers > 1 else 0.0
    return nn.LSTM(features, hidden, layers, batch_first=True, dropout=between, bidirectional=bidirectional)


@CELLS.add(source="Cho et al. 2014, arXiv:1406.1078, section 2.3", kind="recurrent")
def gru(
    features: int, *, hidden: Hidden, layers: Layers = 1, bidirectional: bool = False, dropout: Share = 0.0
) -> nn.RNNBase:
    """Gated recurrent unit: two gates and no separate cell.

    Formula: r, z = sigmoid(W x_t + U h_(t-1) + b); n = tanh(W x_t + b + r (U h_(t-1) + b'));
    h_t = z h_(t-1) + (1 - z) n

    Differs: the paper applies r before the product with U; PyTorch and cuDNN apply it after.
    """
    between = dropout if layers > 1 else 0.0
    return nn.GRU(features, hidden, layers, batch_first=True, dropout=between, bidirectional=bidirectional)


@CELLS.add(source="many-to-one recurrent network", kind="readout")
def last(two_way: bool = False) -> nn.Module:
    """The state after the last step; of a two-way layer each direction's own last state.

    Formula: y = h_T; two-way: (forward h_T, backward h_1)
    """
    return Last(two_way)


@CELLS.add(source="mean over time", kind="readout")
def mean(two_way: bool = False) -> nn.Module:
    """The mean over all steps.

    Formula: y = sum_t h_t / T
    """
    return MeanOverSteps()


@CELLS.add(source="max over time: Collobert et al. 2011, JMLR 12", kind="readout")
def max(two_way: bool = False) -> nn.Module:
    """The largest value of each feature over all steps.

    Formula: y_j = max_t h_tj
    """
    return MaxOverSteps()


class Last(nn.Module):
    """The last step; `two_way` takes the second half of the features from the first step, where that direction ends."""

    def __init__(self, two_way: bool = False) -> None:
        super().__init__()
        self.two_way = two_way

    def forward(self, steps: Float[Tensor, "batch steps features"]) -> Float[Tensor, "batch features"]:
        if not self.two_way:
            return steps[:, -1]
        half = steps.shape[2] // 2
        return cat([steps[:, -1, :half], steps[:, 0, half:]], dim=1)


class MeanOverSteps(nn.Module):
    """The mean over the steps."""

    def forward(self, steps: Float[Tensor, "batch steps features"]) -> Float[Tensor, "batch features"]:
        return steps.mean(1)


class MaxOverSteps(nn.Module):
    """The maximum over the steps."""

    def forward(self, steps: Float[Tensor, "batch steps features"]) -> Float[Tensor, "batch features"]:
        return steps.amax(1)
