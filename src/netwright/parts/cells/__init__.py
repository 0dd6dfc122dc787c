"""Cells: recurrent layers over (steps, features), and the ways to read one vector out of their steps.

Each factory of a recurrent layer takes the features of a step and gives a module that is called as torch's own (batch
first); `recur` runs any of them over sequences of unequal length. PyTorch keeps two biases per gate, so the counts of
`rnn`, `lstm` and `gru` are h(d + h + 2) per gate for d features and h hidden units.
"""

from netwright.parts.cells.gated import LayerNormLSTM, PeepholeLSTM, layer_norm_lstm, peephole_lstm
from netwright.parts.cells.kernels import gru, lstm, rnn
from netwright.parts.cells.passes import Loop, State, Steps
from netwright.parts.cells.readouts import (
    AttentionOverSteps,
    Last,
    MaxOverSteps,
    MeanOverSteps,
    attention,
    last,
    max,
    mean,
)
from netwright.parts.cells.recurrence import Recurrence, last_of, outputs_of, recur, width_of
from netwright.parts.cells.simple import Jordan, Leaky, jordan, leaky
from netwright.parts.cells.starts import begin, set_forget_bias

__all__ = [
    "AttentionOverSteps",
    "Jordan",
    "Last",
    "LayerNormLSTM",
    "Leaky",
    "Loop",
    "MaxOverSteps",
    "MeanOverSteps",
    "PeepholeLSTM",
    "Recurrence",
    "State",
    "Steps",
    "attention",
    "begin",
    "gru",
    "jordan",
    "last",
    "last_of",
    "layer_norm_lstm",
    "leaky",
    "lstm",
    "max",
    "mean",
    "outputs_of",
    "peephole_lstm",
    "recur",
    "rnn",
    "set_forget_bias",
    "width_of",
]
