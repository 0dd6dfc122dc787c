"""The recurrent layers for which torch has fused kernels."""

from typing import Literal

from torch import nn

from netwright.catalogue import CELLS
from netwright.parts.cells.starts import Bias, Hidden, Layers, Share, begin


@CELLS.add(source="Elman 1990, Cognitive Science 14", kind="recurrent")
def rnn(
    features: int,
    *,
    hidden: Hidden,
    layers: Layers = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    nonlinearity: Literal["tanh", "relu"] = "tanh",
    recurrent_init: str = "torch",
) -> nn.RNNBase:
    """The simple recurrent layer: the state is fed back at the next step.

    Formula: h_t = tanh(W x_t + b + U h_(t-1) + b')

    `recurrent_init` names an initializer for U, such as `orthogonal` or `identity`. Dropout acts between layers only.
    """
    between = dropout if layers > 1 else 0.0
    core = nn.RNN(
        features,
        hidden,
        layers,
        nonlinearity=nonlinearity,
        batch_first=True,
        dropout=between,
        bidirectional=bidirectional,
    )
    return begin(core, recurrent_init)


@CELLS.add(source="Hochreiter and Schmidhuber 1997; forget gate: Gers, Schmidhuber, Cummins 2000", kind="recurrent")
def lstm(
    features: int,
    *,
    hidden: Hidden,
    layers: Layers = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    forget_bias: Bias = 0.0,
    recurrent_init: str = "torch",
) -> nn.RNNBase:
    """Long short-term memory: gates decide what the cell keeps, takes in and shows.

    Formula: i, f, o = sigmoid(W x_t + U h_(t-1) + b); g = tanh(same form); c_t = f c_(t-1) + i g; h_t = o tanh(c_t)

    f = 1 keeps the cell, f = 0 clears it. Dropout acts between layers only. `forget_bias` is what the forget gate's two
    biases add up to at first (1 is usual: Jozefowicz, Zaremba, Sutskever 2015; 0 leaves torch's random ones);
    `recurrent_init` names an initializer for each gate of U, such as `orthogonal`.
    """
    between = dropout if layers > 1 else 0.0
    core = nn.LSTM(features, hidden, layers, batch_first=True, dropout=between, bidirectional=bidirectional)
    return begin(core, recurrent_init, forget_bias)


@CELLS.add(source="Cho et al. 2014, arXiv:1406.1078, section 2.3", kind="recurrent")
def gru(
    features: int,
    *,
    hidden: Hidden,
    layers: Layers = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    recurrent_init: str = "torch",
) -> nn.RNNBase:
    """Gated recurrent unit: two gates and no separate cell.

    Formula: r, z = sigmoid(W x_t + U h_(t-1) + b); n = tanh(W x_t + b + r (U h_(t-1) + b'));
    h_t = z h_(t-1) + (1 - z) n

    `recurrent_init` names an initializer for each gate of U. Dropout acts between layers only.

    Differs: the paper applies r before the product with U; PyTorch and cuDNN apply it after.
    """
    between = dropout if layers > 1 else 0.0
    core = nn.GRU(features, hidden, layers, batch_first=True, dropout=between, bidirectional=bidirectional)
    return begin(core, recurrent_init)
