"""Networks for recordings: transcripts by CTC, and speakers by an embedding."""

from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.catalogue import CELLS, NETWORKS, Range
from netwright.networks.recurrent import RowsAsSteps, Steps, features_of_step, on_values
from netwright.networks.settings import Beam, Hidden, Layers, Share
from netwright.networks.shapes import Ends, units
from netwright.parts.cells import outputs_of, width_of
from netwright.parts.decoding import ctc_beam, ctc_greedy
from netwright.parts.initializers import initialise
from netwright.parts.sequences import Sequences


@NETWORKS.add(
    source="Graves et al. 2006, ICML; convolution in front: Amodei et al. 2016, arXiv:1512.02595",
    tasks=("transcribe",),
    inputs=("sequence",),
    year=2006,
    loss="ctc",
    parents=("lstm",),
    at=(300, 26),
    classes_at=62,
)
def ctc(
    inputs: Ends,
    outputs: Ends,
    *,
    cell: str = "lstm",
    hidden: Hidden = 128,
    layers: Layers = 2,
    channels: Hidden = 64,
    stride: Annotated[int, Range(1, 16)] = 2,
    dropout: Share = 0.2,
    beam: Beam = 1,
    init: str = "torch",
) -> nn.Module:
    """A convolution over time, two-way recurrent layers, and the score of every token or of none at each step.

    Formula: steps = floor((n - 1) / stride) + 1 after the convolution over 5 frames; p_t = softmax(V h_t + c), class 0
    is the blank

    Answers are the likeliest class of each step, repeats merged and blanks dropped; a `beam` above 1 adds up all paths
    of a text instead.
    """
    features = features_of_step("ctc", inputs, 1)
    core = CELLS[cell](channels, hidden=hidden, layers=layers, bidirectional=True, dropout=dropout)
    net = Speech(features, channels, stride, core, units(outputs), dropout, beam)
    initialise(net, init, "tanh")
    return net


class Speech(nn.Module):
    """`front` over time, the recurrent layers `rnn`, `out` at every step that is left."""

    def __init__(
        self, features: int, channels: int, stride: int, core: nn.RNNBase, count: int, dropout: float, beam: int
    ) -> None:
        super().__init__()
        self.steps = RowsAsSteps()
        self.front = nn.Conv1d(features, channels, 5, stride, padding=2)
        self.norm, self.activation = nn.LayerNorm(channels), nn.ReLU()
        self.rnn = core
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width_of(core), count)
        self.stride, self.beam = stride, beam

    def forward(self, x: Steps) -> Sequences | Float[Tensor, "batch steps units"]:
        x = self.steps(x)
        values = x.values if isinstance(x, Sequences) else x
        if isinstance(x, Sequences) and not x.even:
            values = values.masked_fill(~x.mask[:, :, None], 0.0)
        maps = self.activation(self.norm(self.front(values.transpose(1, 2)).transpose(1, 2)))
        steps = Sequences(maps, self.steps_left(x.lengths)) if isinstance(x, Sequences) else maps
        return on_values(outputs_of(self.rnn, steps), lambda states: self.out(self.dropout(states)))

    def steps_left(self, lengths: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        """How many steps so many frames leave, behind the convolution."""
        return (lengths - 1) // self.stride + 1

    @torch.no_grad()
    def answer(self, x: Sequences) -> list[list[int]]:
        """The tokens that are heard."""
        scores = self(x)
        if self.beam == 1:
            return ctc_greedy(scores)
        return [ranked[0][0] for ranked in ctc_beam(scores, width=self.beam)]


@NETWORKS.add(
    source="Snyder et al. 2018, X-vectors, ICASSP",
    tasks=("verify",),
    inputs=("sequence",),
    year=2018,
    loss="cross_entropy",
    at=(300, 24),
    classes_at=1000,
)
def speaker(
    inputs: Ends,
    outputs: Ends,
    *,
    channels: Hidden = 128,
    embedding: Hidden = 64,
    dropout: Share = 0.2,
    init: str = "torch",
) -> nn.Module:
    """Convolutions over time, mean and deviation over all frames, and a vector that tells who speaks.

    Formula: e = W [mean_t h_t; sd_t h_t] + b; classes in training from e, a pair's score is cos(e_1, e_2)

    Differs: three layers of 128 where the paper has five of 512 to 1500; frames 1, 2 and 3 apart as there.
    """
    features = features_of_step("speaker", inputs, 1)
    net = Speaker(features, channels, embedding, units(outputs), dropout)
    initialise(net, init, "relu")
    return net


class Speaker(nn.Module):
    """`frames` over time, `embedding` of their statistics, `out` for the speakers of the training."""

    def __init__(self, features: int, channels: int, size: int, count: int, dropout: float) -> None:
        super().__init__()
        self.steps = RowsAsSteps()
        sizes = [features, channels, channels, channels]
        self.frames = nn.ModuleList(
            nn.Conv1d(sizes[place], sizes[place + 1], kernel, dilation=apart, padding=apart * (kernel // 2))
            for place, (kernel, apart) in enumerate(((5, 1), (3, 2), (3, 3)))
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.activations = nn.ModuleList(nn.ReLU() for _ in range(4))
        self.embedding = nn.Linear(2 * channels, size)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(size, count)

    def forward(self, x: Steps) -> Float[Tensor, "batch units"]:
        return self.scores_of(self.embed(x))

    def scores_of(self, vectors: Float[Tensor, "batch size"]) -> Float[Tensor, "batch units"]:
        """Scores of the speakers of the training, from the vectors of recordings."""
        out: Tensor = self.out(self.dropout(self.activations[3](vectors)))
        return out

    def embed(self, x: Steps) -> Float[Tensor, "batch size"]:
        """The vector of each recording."""
        x = self.steps(x)
        mask = x.mask[:, :, None] if isinstance(x, Sequences) and not x.even else None
        h = x.values if isinstance(x, Sequences) else x
        for layer, norm, activation in zip(self.frames, self.norms, self.activations[:3], strict=True):
            h = h if mask is None else h * mask
            h = activation(norm(layer(h.transpose(1, 2)).transpose(1, 2)))
        found: Tensor = self.embedding(_statistics(h, mask))
        return found


def _statistics(h: Tensor, mask: Tensor | None) -> Float[Tensor, "batch features"]:
    """Mean and standard deviation over the real steps."""
    count = h.new_full((1, 1), h.shape[1]) if mask is None else mask.sum(1).to(h)
    h = h if mask is None else h * mask
    mean = h.sum(1) / count
    square = (h.square().sum(1) / count - mean.square()).clamp(min=1e-6)
    return torch.cat([mean, square.sqrt()], 1)
