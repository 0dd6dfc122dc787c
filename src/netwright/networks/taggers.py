"""Taggers: one answer at every token of a text, or at every step of a sequence."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import CELLS, NETWORKS
from netwright.networks.recurrent import (
    DEVIATION,
    RowsAsSteps,
    Steps,
    embedded,
    features_of_step,
    on_values,
    vectors_of,
)
from netwright.networks.settings import Hidden, Layers, Share
from netwright.networks.shapes import Ends, units
from netwright.parts.cells import outputs_of, width_of
from netwright.parts.chains import LinearChain, Rules
from netwright.parts.initializers import initialise
from netwright.parts.sequences import Sequences


@NETWORKS.add(
    source="Graves and Schmidhuber 2005, Neural Networks 18:602",
    tasks=("tag",),
    inputs=("text", "sequence", "image"),
    year=2005,
    at=(25,),
    tokens_at=10_000,
    classes_at=9,
)
def tagger(
    inputs: Ends,
    outputs: Ends,
    *,
    cell: str = "lstm",
    hidden: Hidden = 128,
    layers: Layers = 1,
    bidirectional: bool = True,
    embedding: Hidden = 128,
    traits: bool = True,
    dropout: Share = 0.5,
    init: str = "torch",
) -> nn.Module:
    """A two-way LSTM over the tokens, and a linear layer at each of them.

    Formula: p(tag_t) = softmax(V [h_t forward, h_t backward] + c); a word enters as E_word + sum of its traits' E

    `cell` names any recurrent layer; `dropout` acts on embeddings, between layers and before the linear layer. `traits`
    adds to each word's embedding one for its lower case, its first letter, first three, last three and last two
    letters, and its form (Xx, dd:dd), so that a word that training never saw says something, too. Tokens that are
    characters have none.
    """
    return _tagger(
        "tagger", inputs, outputs, cell, hidden, layers, bidirectional, embedding, traits, dropout, init, False
    )


@NETWORKS.add(
    source="Huang, Xu, Yu 2015, arXiv:1508.01991; Lample et al. 2016, arXiv:1603.01360",
    loss="nll",
    own_loss=True,
    tasks=("tag",),
    inputs=("text", "sequence", "image"),
    year=2015,
    parents=("tagger",),
    at=(25,),
    tokens_at=10_000,
    classes_at=9,
)
def tagger_crf(
    inputs: Ends,
    outputs: Ends,
    *,
    cell: str = "lstm",
    hidden: Hidden = 128,
    layers: Layers = 1,
    bidirectional: bool = True,
    embedding: Hidden = 128,
    traits: bool = True,
    dropout: Share = 0.5,
    init: str = "torch",
) -> nn.Module:
    """The tagger with a linear-chain conditional random field behind it: it scores whole rows of tags.

    Formula: s(y) = sum_t x_(t, y_t) + A_(y_(t-1), y_t); trained on log Z - s(y), answered by the best row (Viterbi)
    """
    return _tagger(
        "tagger_crf", inputs, outputs, cell, hidden, layers, bidirectional, embedding, traits, dropout, init, True
    )


def _tagger(
    name: str, inputs: Ends, outputs: Ends, cell: str, hidden: int, layers: int, two_way: bool, embedding: int,
    traits: bool, dropout: float, init: str, chain: bool,
) -> nn.Module:  # fmt: skip
    features = features_of_step(name, inputs, embedding)
    core = CELLS[cell](features, hidden=hidden, layers=layers, bidirectional=two_way, dropout=dropout)
    count = units(outputs)
    names = outputs.get("tags")
    rules = Rules.of(names) if isinstance(names, list) and len(names) == count else None
    table = embedded(inputs if traits else {**inputs, "traits": None}, embedding, DEVIATION)
    net = Tagger(table, core, count, dropout, LinearChain(count, rules) if chain else None)
    initialise(net, init, "tanh")
    return net


class Tagger(nn.Module):
    """`embedding`, the recurrent layers `rnn`, `out` at every step, and `chain` where rows of tags are scored."""

    def __init__(
        self, table: nn.Embedding | None, core: nn.RNNBase, count: int, dropout: float, chain: LinearChain | None
    ) -> None:
        super().__init__()
        if table is not None:
            self.embedding = table
        self.reads_tokens = table is not None
        self.steps = RowsAsSteps()
        self.rnn = core
        self.entering, self.leaving = nn.Dropout(dropout), nn.Dropout(dropout)
        self.out = nn.Linear(width_of(core), count)
        if chain is not None:
            self.chain = chain

    def forward(self, x: Steps) -> Float[Tensor, "batch steps units"]:
        steps = vectors_of(self.embedding, x) if self.reads_tokens else self.steps(x)
        states: Any = outputs_of(self.rnn, on_values(steps, self.entering))
        out: Tensor = self.out(self.leaving(states.values if isinstance(states, Sequences) else states))
        return out

    @torch.no_grad()
    def answer(self, x: Sequences) -> list[list[int]]:
        """The tags of every step: the best row of a chain, else the best tag of each step by itself."""
        scores = self(x)
        if hasattr(self, "chain"):
            return self.chain.decode(scores, x.lengths)[0]
        best = scores.argmax(2).cpu()
        return [row[:length].tolist() for row, length in zip(best, x.lengths.tolist(), strict=True)]
