"""LSTM layers without a kernel: with peepholes, and with layer normalisation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.catalogue import CELLS
from netwright.parts.cells.passes import Loop
from netwright.parts.cells.starts import Bias, Hidden, Layers, Share, begin


class PeepholeLSTM(Loop):
    """The layer behind `peephole_lstm`: torch's LSTM parameters and the rows i, f, o of `peephole`."""

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.hidden_size, self.hidden_size)

    def shapes(self, entering: int) -> dict[str, tuple[int, ...]]:
        h = self.hidden_size
        gates = {"weight_ih": (4 * h, entering), "weight_hh": (4 * h, h), "bias_ih": (4 * h,), "bias_hh": (4 * h,)}
        return {**gates, "peephole": (3, h)}

    def run(self, inputs: Tensor, start: tuple[Tensor, ...], weights: dict[str, Tensor]) -> tuple[Tensor, ...]:
        (h, c), shown, kept = start, [], []
        back, (at_i, at_f, at_o) = weights["weight_hh"].T, weights["peephole"]
        into = F.linear(inputs, weights["weight_ih"], weights["bias_ih"] + weights["bias_hh"])
        for step in into.unbind(1):
            i, f, g, o = torch.addmm(step, h, back).chunk(4, 1)
            c = (f + at_f * c).sigmoid() * c + (i + at_i * c).sigmoid() * g.tanh()
            h = (o + at_o * c).sigmoid() * c.tanh()
            shown.append(h)
            kept.append(c)
        outputs = torch.stack(shown, 1)
        return outputs, outputs, torch.stack(kept, 1)


class LayerNormLSTM(Loop):
    """The layer behind `layer_norm_lstm`: gains for W x, U h and c, a shift for c, one bias."""

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.hidden_size, self.hidden_size)

    def shapes(self, entering: int) -> dict[str, tuple[int, ...]]:
        h = self.hidden_size
        gates = {"weight_ih": (4 * h, entering), "weight_hh": (4 * h, h), "bias_ih": (4 * h,)}
        return {**gates, "gain_ih": (4 * h,), "gain_hh": (4 * h,), "gain_c": (h,), "shift_c": (h,)}

    def reset_parameters(self) -> None:
        """As torch draws them; gains begin at 1, the shift at 0."""
        super().reset_parameters()
        for name, weight in self.named_parameters():
            if name.startswith(("gain", "shift")):
                nn.init.constant_(weight, float(name.startswith("gain")))

    def run(self, inputs: Tensor, start: tuple[Tensor, ...], weights: dict[str, Tensor]) -> tuple[Tensor, ...]:
        (h, c), shown, kept, wide, one = start, [], [], (4 * self.hidden_size,), (self.hidden_size,)
        into = F.layer_norm(F.linear(inputs, weights["weight_ih"]), wide, weights["gain_ih"], weights["bias_ih"])
        back, gain = weights["weight_hh"].T, weights["gain_hh"]
        for step in into.unbind(1):
            i, f, g, o = (step + F.layer_norm(h @ back, wide, gain)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * F.layer_norm(c, one, weights["gain_c"], weights["shift_c"]).tanh()
            shown.append(h)
            kept.append(c)
        outputs = torch.stack(shown, 1)
        return outputs, outputs, torch.stack(kept, 1)


@CELLS.add(source="Gers and Schmidhuber 2000, IJCNN; Gers, Schraudolph, Schmidhuber 2002, JMLR 3", kind="recurrent")
def peephole_lstm(
    features: int,
    *,
    hidden: Hidden,
    layers: Layers = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    forget_bias: Bias = 0.0,
    recurrent_init: str = "torch",
) -> nn.RNNBase:
    """LSTM whose gates also look at the cell, each unit at its own: made for exact timing.

    Formula: i, f = sigmoid(W x_t + U h_(t-1) + p c_(t-1) + b); o = sigmoid(W x_t + U h_(t-1) + p c_t + b);
    g, c_t and h_t as in `lstm`; 3h parameters p more than `lstm`

    Dropout acts between layers only. `forget_bias` and `recurrent_init` are those of `lstm`. The loop over time runs in
    Python, several times slower than `lstm`.
    """
    core = PeepholeLSTM("LSTM", features, hidden, layers, bidirectional, dropout)
    return begin(core, recurrent_init, forget_bias)


@CELLS.add(source="Ba, Kiros, Hinton 2016, arXiv:1607.06450, eq. 20 to 22", kind="recurrent")
def layer_norm_lstm(
    features: int,
    *,
    hidden: Hidden,
    layers: Layers = 1,
    bidirectional: bool = False,
    dropout: Share = 0.0,
    forget_bias: Bias = 0.0,
    recurrent_init: str = "torch",
) -> nn.RNNBase:
    """LSTM with layer normalisation of what enters, of what is fed back and of the cell.

    Formula: (i, f, g, o) = LN(W x_t) a + LN(U h_(t-1)) a' + b; c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g);
    h_t = sigmoid(o) tanh(LN(c_t) a'' + b''); LN over all 4h numbers of the gates together, over the h of the cell

    Parameters 4h(d + h) + 12h + 2h. Dropout acts between layers only. `forget_bias` and `recurrent_init` are those of
    `lstm`. The loop over time runs in Python, several times slower than `lstm`.

    Differs: the paper's two shifts and bias before the gates are one bias here, since only their sum counts.
    """
    core = LayerNormLSTM("LSTM", features, hidden, layers, bidirectional, dropout)
    return begin(core, recurrent_init, forget_bias)
