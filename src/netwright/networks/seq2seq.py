"""Encoder and decoder: a sequence in, another one out, of any length (translation, summaries, replies)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import ATTENTION, CELLS, NETWORKS
from netwright.networks.recurrent import RowsAsSteps, Steps, embedded, features_of_step, on_values
from netwright.networks.settings import Beam, Cell, Hidden, Layers, Share
from netwright.networks.shapes import Ends, units
from netwright.networks.writing import Writer
from netwright.parts.cells import recur, width_of
from netwright.parts.cells.passes import turned
from netwright.parts.initializers import initialise
from netwright.parts.sequences import Sequences

LONGER, MORE = 2, 10
"""An answer has at most `LONGER` times the tokens of what was read, and `MORE` of them."""


@NETWORKS.add(
    source="Sutskever, Vinyals, Le 2014, arXiv:1409.3215",
    tasks=("translate",),
    inputs=("text", "sequence"),
    year=2014,
    parents=("lstm",),
    at=(20,),
    tokens_at=10_000,
    classes_at=10_000,
)
def seq2seq(
    inputs: Ends,
    outputs: Ends,
    *,
    cell: Cell = "lstm",
    hidden: Hidden = 256,
    layers: Layers = 1,
    embedding: Hidden = 256,
    dropout: Share = 0.3,
    reverse: bool = True,
    sampling: Share = 0.0,
    beam: Beam = 4,
    init: str = "torch",
) -> nn.Module:
    """An LSTM reads the source into one vector, another one writes the target from it, token by token.

    Formula: v = last state of the encoder over the reversed source; p(y_t | y_<t, x) = softmax(V h_t + c), h_0 = v

    `reverse` reads the source back to front, as the paper does. Training gives the decoder the true tokens (teacher
    forcing); `sampling` is the share that is replaced by the network's own likeliest ones (Bengio et al. 2015,
    arXiv:1506.03099, in the parallel form of Mihaylova and Martins 2019, arXiv:1906.07651). Answers come from a beam of
    that width. Differs: 4 layers of 1000 in the paper.
    """
    return _network(
        "seq2seq", inputs, outputs, cell, hidden, layers, embedding, dropout, reverse, False, "", sampling, beam, init
    )


@NETWORKS.add(
    source="Luong, Pham, Manning 2015, arXiv:1508.04025; Bahdanau, Cho, Bengio 2015, arXiv:1409.0473",
    tasks=("translate",),
    inputs=("text", "sequence"),
    year=2015,
    parents=("seq2seq",),
    at=(20,),
    tokens_at=10_000,
    classes_at=10_000,
)
def seq2seq_attention(
    inputs: Ends,
    outputs: Ends,
    *,
    cell: Cell = "lstm",
    hidden: Hidden = 256,
    layers: Layers = 1,
    embedding: Hidden = 256,
    dropout: Share = 0.3,
    attention: str = "general",
    sampling: Share = 0.0,
    beam: Beam = 4,
    init: str = "torch",
) -> nn.Module:
    """The encoder-decoder whose every answer looks back at all the steps of the source.

    Formula: a_tj = softmax_j(score(s_t, h_j)); c_t = sum_j a_tj h_j; p(y_t) = softmax(V tanh(W [c_t; s_t]) + b)

    The encoder is two-way; `attention` names a score of the catalogue, asked with the decoder's present state s_t.
    Differs: Luong feeds tanh(W [c; s]) into the next step and Bahdanau asks with the state before; without either the
    whole decoder runs in one fused call.
    """
    return _network(
        "seq2seq_attention", inputs, outputs, cell, hidden, layers, embedding, dropout, False, True, attention,
        sampling, beam, init,
    )  # fmt: skip


def _network(
    name: str, inputs: Ends, outputs: Ends, cell: str, hidden: int, layers: int, embedding: int, dropout: float,
    reverse: bool, two_way: bool, attention: str, sampling: float, beam_width: int, init: str,
) -> nn.Module:  # fmt: skip
    features = features_of_step(name, inputs, embedding)
    encoder = CELLS[cell](features, hidden=hidden, layers=layers, bidirectional=two_way, dropout=dropout)
    decoder = CELLS[cell](embedding, hidden=hidden, layers=layers, dropout=dropout)
    count = units(outputs)
    looking = ATTENTION[attention](hidden, width_of(encoder)) if attention else None
    net = Seq2Seq(
        embedded(inputs, embedding), encoder, nn.Embedding(count, embedding, padding_idx=0), decoder, looking, count,
        dropout, reverse, sampling, beam_width,
    )  # fmt: skip
    initialise(net, init, "tanh")
    return net


class Seq2Seq(Writer):
    """`source` and `encoder` read, `bridge` hands their last state over, `target` and `decoder` write, `out` scores."""

    attention: Any

    def __init__(
        self, source: nn.Embedding | None, encoder: nn.RNNBase, target: nn.Embedding, decoder: nn.RNNBase,
        attention: nn.Module | None, count: int, dropout: float, reverse: bool, sampling: float, beam_width: int,
    ) -> None:  # fmt: skip
        super().__init__(target, decoder, count, dropout, sampling, beam_width)
        if source is not None:
            self.source = source
        self.reads_tokens = source is not None
        self.steps = RowsAsSteps()
        self.encoder = encoder
        width, hidden, states = width_of(encoder), decoder.hidden_size, 2 if decoder.mode == "LSTM" else 1
        self.bridge = nn.ModuleList(nn.Linear(width, hidden) for _ in range(states))
        if attention is not None:
            self.attention = attention
            self.joined = nn.Linear(width + hidden, hidden)
        self.reverse = reverse

    def shape(self, x: Steps) -> tuple[int, int]:
        """As many steps as were read."""
        values = x.values if isinstance(x, Sequences) else x
        return values.shape[0], values.shape[1]

    def limits(self, x: Steps) -> Any:
        """A multiple of what was read, and some more."""
        assert isinstance(x, Sequences)
        return LONGER * x.lengths + MORE

    def encode(self, x: Steps) -> tuple[Any, ...]:
        """What the decoder starts from and looks at: (its first state, memory, keys of the attention, mask)."""
        x = self.steps(x)
        lengths = x.lengths if isinstance(x, Sequences) else None
        read = (lambda tokens: self.dropout(self.source(tokens))) if self.reads_tokens else self.dropout
        entering = on_values(x, read)
        if self.reverse:
            entering = on_values(entering, lambda values: turned(values, lengths))
        memory, end = recur(self.encoder, entering)
        parts = end if isinstance(end, tuple) else (end,)
        start = tuple(
            torch.tanh(bridge(_sides(part, self.encoder.bidirectional)))
            for bridge, part in zip(self.bridge, parts, strict=True)
        )
        if not hasattr(self, "attention"):
            return start, None, None, None
        values = memory.values if isinstance(memory, Sequences) else memory
        mask = memory.mask if isinstance(memory, Sequences) and not memory.even else None
        return start, values, self.attention.keys(values), mask

    def _leaving(self, states: Tensor, *looked: Any) -> Tensor:
        """The decoder's states, joined with what they looked at."""
        values, keys, mask = looked
        if values is None:
            return states
        context = self.attention.context(states, values, mask, keys)
        return torch.tanh(self.joined(torch.cat([context, states], 2)))

    @torch.no_grad()
    def weights(self, x: Sequences, targets: Sequences) -> Float[Tensor, "batch steps source"] | None:
        """How much each token of `targets` looked at each step of the source; None without attention."""
        if not hasattr(self, "attention"):
            return None
        memory = self.encode(x)
        _, values, keys, mask = memory
        states = self.states(self._before(x, targets), memory)[0]
        found: Tensor = self.attention(states, values, mask, keys)[1]
        return found


def _sides(state: Float[Tensor, "places batch units"], two_way: bool) -> Float[Tensor, "layers batch width"]:
    """The last states of each layer, both directions side by side."""
    return torch.cat([state[0::2], state[1::2]], 2) if two_way else state
