"""How recurrent layers begin: the forget gate's bias, and the weights between states."""

from typing import Annotated

import torch
from torch import nn

from netwright.catalogue import Range
from netwright.parts.initializers import read_init

Hidden = Annotated[int, Range(1, 1_000_000)]
Layers = Annotated[int, Range(1, 100)]
Share = Annotated[float, Range(0, 0.999)]
Bias = Annotated[float, Range(-100, 100)]


def set_forget_bias(core: nn.RNNBase, value: float) -> None:
    """Let every forget gate of an LSTM begin with this bias; where a gate has two biases their sum is meant.

    Call it after weights and biases are drawn. The gate lies second of i, f, g, o.
    """
    gate = slice(core.hidden_size, 2 * core.hidden_size)
    with torch.no_grad():
        for name, bias in core.named_parameters():
            if name.startswith("bias_ih"):
                bias[gate] = value
            elif name.startswith("bias_hh"):
                bias[gate] = 0.0


def begin(core: nn.RNNBase, recurrent_init: str, forget_bias: float = 0.0) -> nn.RNNBase:
    """The layer with its first weights between states drawn gate by gate (`torch`: as torch does), and its bias set."""
    if recurrent_init != "torch":
        part, settings = read_init(recurrent_init, "recurrent_init")
        gates = {"LSTM": 4, "GRU": 3}.get(core.mode, 1)
        for name, weight in core.named_parameters():
            if name.startswith("weight_hh"):
                for gate in weight.detach().chunk(gates):
                    part.build(gate, None, **settings)
    if forget_bias:
        set_forget_bias(core, forget_bias)
    return core
