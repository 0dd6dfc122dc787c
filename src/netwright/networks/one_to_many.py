"""One thing in, a sequence out: a token, a vector or a picture becomes a text of any length (captions, spelling)."""

from math import log, prod
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import CELLS, NETWORKS, Range
from netwright.networks.recurrent import Steps
from netwright.networks.settings import Beam, Cell, Hidden, Layers, Share
from netwright.networks.shapes import Ends, shape_of, units
from netwright.networks.writing import Writer
from netwright.parts.initializers import initialise
from netwright.parts.sequences import Sequences


@NETWORKS.add(
    source="one to many: Karpathy 2015; as captions: Vinyals, Toshev, Bengio, Erhan 2015, arXiv:1411.4555",
    tasks=("translate",),
    inputs=("text", "vector", "image", "sequence"),
    year=2015,
    parents=("lstm",),
    at=(1,),
    tokens_at=1000,
    classes_at=1000,
)
def one_to_many(
    inputs: Ends,
    outputs: Ends,
    *,
    feed: Literal["start", "each"] = "start",
    cell: Cell = "lstm",
    hidden: Hidden = 128,
    layers: Layers = 1,
    embedding: Hidden = 64,
    dropout: Share = 0.0,
    longest: Annotated[int, Range(1, 100_000)] = 100,
    sampling: Share = 0.0,
    beam: Beam = 4,
    init: str = "torch",
) -> nn.Module:
    """One vector becomes a sequence: it starts a decoder that then reads only what it has said itself.

    Formula: v = tanh(W x + b); feed = "start": h_0 = tanh(B v), x_t = E y_(t-1); feed = "each": h_0 = 0,
    x_t = [E y_(t-1); v]; p(y_t | y_<t, x) = softmax(V h_t + c)

    x is a vector, or all numbers of a picture or sequence; of a text of few tokens the mean of their embeddings, each
    turned by its place so that their order counts. An answer ends by itself, after `longest` tokens at the latest.
    `sampling` and `beam` are those of `seq2seq`. Differs: Vinyals feeds the picture as the first input, which a first
    state replaces.
    """
    count, table = units(outputs), None
    if inputs["kind"] == "text":
        table = nn.Embedding(int(inputs["vocabulary"]), embedding, padding_idx=0)
    features = embedding if table is not None else prod(shape_of(inputs))
    read = nn.Linear(features, hidden)
    entering = embedding + (hidden if feed == "each" else 0)
    decoder = CELLS[cell](entering, hidden=hidden, layers=layers, dropout=dropout)
    target = nn.Embedding(count, embedding, padding_idx=0)
    net = OneToMany(table, read, feed, target, decoder, count, dropout, longest, sampling, beam)
    initialise(net, init, "tanh")
    return net


class OneToMany(Writer):
    """`source` and `read` make one vector, `bridge` the decoder's first state of it where it is fed at the start."""

    def __init__(
        self, source: nn.Embedding | None, read: nn.Linear, feed: str, target: nn.Embedding, decoder: nn.RNNBase,
        count: int, dropout: float, longest: int, sampling: float, beam_width: int,
    ) -> None:  # fmt: skip
        super().__init__(target, decoder, count, dropout, sampling, beam_width)
        if source is not None:
            self.source = source
        self.reads_tokens, self.read, self.longest = source is not None, read, longest
        self.parts = 2 if decoder.mode == "LSTM" else 1
        if feed == "start":
            places, hidden = decoder.num_layers * self.parts, decoder.hidden_size
            self.bridge = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(places))

    def limits(self, x: Steps) -> Any:
        return self.longest

    def shape(self, x: Steps) -> tuple[int, int]:
        return len(x), self.longest

    def vector(self, x: Steps) -> Float[Tensor, "batch hidden"]:
        """What is known of the one thing that was read."""
        if self.reads_tokens:
            return torch.tanh(self.read(self._gathered(x)))
        values = x.values if isinstance(x, Sequences) else x
        return torch.tanh(self.read(self.dropout(values.flatten(1))))

    def _gathered(self, x: Steps) -> Float[Tensor, "batch features"]:
        """The mean over the tokens of a text, each embedding turned by its place; the first place turns nothing."""
        tokens = x.values if isinstance(x, Sequences) else x
        found = turned_by_place(self.dropout(self.source(tokens)))
        if not isinstance(x, Sequences):
            return found.mean(1)
        count = x.lengths.to(found.device, found.dtype)
        return found.masked_fill(~x.mask[:, :, None], 0.0).sum(1) / count[:, None]

    def encode(self, x: Steps) -> tuple[Any, ...]:
        vector = self.vector(x)
        layers, hidden = self.decoder.num_layers, self.decoder.hidden_size
        if not hasattr(self, "bridge"):
            return (vector.new_zeros(layers, len(vector), hidden),) * self.parts, vector
        states = torch.stack([torch.tanh(bridge(vector)) for bridge in self.bridge])
        return tuple(states.view(self.parts, layers, len(vector), hidden)), None

    def _entering(self, said: Tensor, *looked: Any) -> Tensor:
        steps, vector = super()._entering(said), looked[0]
        if vector is None:
            return steps
        return torch.cat([steps, vector[:, None].expand(-1, said.shape[1], -1)], 2)


def turned_by_place(steps: Float[Tensor, "batch steps features"]) -> Float[Tensor, "batch steps features"]:
    """Each step's numbers turned, pair by pair, by angles that grow with its place from 0.

    Formula: (a, b) -> (a cos w - b sin w, a sin w + b cos w), w = place * 1000^(-pair / pairs) (Su et al. 2021,
    arXiv:2104.09864); an odd number at the end stays
    """
    half = steps.shape[2] // 2
    if half == 0:
        return steps
    rates = torch.exp(torch.arange(half, device=steps.device) * (-log(1000) / half))
    angles = torch.arange(steps.shape[1], device=steps.device)[:, None] * rates
    cos, sin = angles.cos().to(steps.dtype), angles.sin().to(steps.dtype)
    first, second, rest = steps.split([half, half, steps.shape[2] - 2 * half], 2)
    return torch.cat([first * cos - second * sin, first * sin + second * cos, rest], 2)
