"""Simple recurrent layers without a kernel: Jordan's, which feeds its output back, and leaky units."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.catalogue import CELLS, Range
from netwright.parts.cells.passes import Loop
from netwright.parts.cells.starts import Hidden, Layers, Share, begin

Bend = Literal["tanh", "relu", "identity"]
BENDS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu, "identity": lambda x: x}


class Jordan(Loop):
    """The layer behind `jordan`: weight_ih is W, weight_hh U, bias_ih b, weight_ho V and bias_ho c."""

    def __init__(
        self,
        features: int,
        hidden: int,
        outputs: int,
        layers: int,
        bidirectional: bool,
        dropout: float,
        nonlinearity: str,
    ) -> None:
        self.outputs, self.nonlinearity = outputs or hidden, nonlinearity  # Loop asks for the shapes
        super().__init__("JORDAN", features, hidden, layers, bidirectional, dropout)

    @property
    def shown(self) -> int:
        return self.outputs

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.shown,)

    def shapes(self, entering: int) -> dict[str, tuple[int, ...]]:
        h, o = self.hidden_size, self.shown
        return {"weight_ih": (h, entering), "weight_hh": (h, o), "bias_ih": (h,), "weight_ho": (o, h), "bias_ho": (o,)}

    def run(self, inputs: Tensor, start: tuple[Tensor, ...], weights: dict[str, Tensor]) -> tuple[Tensor, ...]:
        bend, (y,), made = BENDS[self.nonlinearity], start, []
        back, out = weights["weight_hh"].T, weights["weight_ho"].T
        for step in F.linear(inputs, weights["weight_ih"], weights["bias_ih"]).unbind(1):
            y = torch.addmm(weights["bias_ho"], bend(torch.addmm(step, y, back)), out)
            made.append(y)
        outputs = torch.stack(made, 1)
        return outputs, outputs


class Leaky(Loop):
    """The layer behind `leaky`: weight_ih is W, weight_hh U (absent where units do not see each other), bias_ih b."""

    def __init__(
        self,
        features: int,
        hidden: int,
        layers: int,
        bidirectional: bool,
        dropout: float,
        alpha: float,
        nonlinearity: str,
        recurrent: bool,
    ) -> None:
        self.alpha, self.nonlinearity, self.recurrent = (
            alpha,
            nonlinearity,
            recurrent,
        )  # Loop asks for the shapes
        super().__init__("LEAKY", features, hidden, layers, bidirectional, dropout)

    def shapes(self, entering: int) -> dict[str, tuple[int, ...]]:
        h = self.hidden_size
        back = {"weight_hh": (h, h)} if self.recurrent else {}
        return {"weight_ih": (h, entering), **back, "bias_ih": (h,)}

    def run(self, inputs: Tensor, start: tuple[Tensor, ...], weights: dict[str, Tensor]) -> tuple[Tensor, ...]:
        bend, (m,), made = BENDS[self.nonlinearity], start, []
        keep, into = self.alpha, F.linear(inputs, weights["weight_ih"], weights["bias_ih"])
        back = weights["weight_hh"].T if "weight_hh" in weights else None
        for step in (into if back is not None else bend(into)).unbind(1):
            fresh = step if back is None else bend(torch.addmm(step, m, back))
            m = keep * m + (1 - keep) * fresh
            made.append(m)
        outputs = torch.stack(made, 1)
        return outputs, outputs


@CELLS.add(source="Jordan 1986, Institute for Cognitive Science report 8604", kind="recurrent")
def jordan(
    features: int,
    *,
    hidden: Hidden,
    outputs: Annotated[int, Range(0, 1_000_000)] = 0,
    layers: Layers = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    nonlinearity: Bend = "tanh",
    recurrent_init: str = "torch",
) -> nn.RNNBase:
    """Jordan's recurrent layer: the previous output, not the hidden state, is fed back.

    Formula: h_t = tanh(W x_t + U y_(t-1) + b); y_t = V h_t + c; parameters h(d + o + 1) and (h + 1) o for the output

    The layer gives y; its state is the last y. `outputs` is the size o of y (0: as many as `hidden`). Dropout acts
    between layers only.

    Differs: Jordan's context units also kept a share of their own last value; here the output alone is fed back.
    """
    return begin(Jordan(features, hidden, outputs, layers, bidirectional, dropout, nonlinearity), recurrent_init)


@CELLS.add(source="Mozer 1992, NIPS 4; Goodfellow, Bengio, Courville 2016, section 10.9.2", kind="recurrent")
def leaky(
    features: int,
    *,
    hidden: Hidden,
    layers: Layers = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    alpha: Annotated[float, Range(0, 1)] = 0.9,
    nonlinearity: Bend = "tanh",
    recurrent: bool = True,
    recurrent_init: str = "torch",
) -> nn.RNNBase:
    """Leaky units: each keeps a fixed share of its last value, so it forgets slowly.

    Formula: m_t = alpha m_(t-1) + (1 - alpha) v_t; v_t = tanh(W x_t + U m_(t-1) + b)

    m is the exponential average of v over about 1 / (1 - alpha) steps. alpha = 0 is the simple recurrent layer;
    `recurrent = false` leaves U out, so that each unit sees its own past only. Dropout acts between layers only.
    """
    core = Leaky(features, hidden, layers, bidirectional, dropout, alpha, nonlinearity, recurrent)
    return begin(core, recurrent_init if recurrent else "torch")
