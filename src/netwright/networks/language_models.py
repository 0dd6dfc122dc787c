"""Language models: at every step the chances of the next token, from all tokens before it."""

from typing import Annotated, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.catalogue import CELLS, NETWORKS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.recurrent import Steps
from netwright.networks.settings import Cell, Hidden, Layers, Share
from netwright.networks.shapes import Ends, described, units
from netwright.parts.initializers import initialise
from netwright.parts.sequences import Sequences

Bptt = Annotated[int, Range(0, 1_000_000)]


@NETWORKS.add(
    source="Karpathy 2015, The Unreasonable Effectiveness of Recurrent Neural Networks; program char-rnn",
    tasks=("generate",),
    inputs=("text",),
    year=2015,
    parents=("lstm",),
    at=(50,),
    tokens_at=69,
    classes_at=69,
)
def char_lm(
    inputs: Ends,
    outputs: Ends,
    *,
    cell: Cell = "lstm",
    hidden: Hidden = 256,
    layers: Layers = 2,
    embedding: Hidden = 64,
    dropout: Share = 0.2,
    forget_bias: Annotated[float, Range(-100, 100)] = 1.0,
    bptt: Bptt = 0,
    init: str = "torch",
) -> nn.Module:
    """Recurrent layers over the characters of a text, and a linear layer that scores every next character.

    Formula: p(x_(t+1) | x_1 .. x_t) = softmax(V h_t + c); 2 LSTM layers of 256

    `bptt` cuts the way of the gradient every so many steps (truncated back-propagation through time); 0 or the whole
    length of a piece: it flows through all of them. `dropout` acts between layers and before the linear layer.
    Differs: the program read one-hot characters; an embedding of them is the same product.
    """
    start = {"forget_bias": forget_bias} if cell == "lstm" else {}
    return _model("char_lm", inputs, outputs, cell, hidden, layers, embedding, dropout, bptt, False, start, init)


@NETWORKS.add(
    source="Zaremba, Sutskever, Vinyals 2014, arXiv:1409.2329; shared embedding: Press and Wolf 2017, arXiv:1608.05859",
    tasks=("generate",),
    inputs=("text",),
    year=2014,
    parents=("lstm",),
    at=(35,),
    tokens_at=10_000,
    classes_at=10_000,
)
def word_lm(
    inputs: Ends,
    outputs: Ends,
    *,
    cell: Cell = "lstm",
    hidden: Hidden = 256,
    layers: Layers = 2,
    embedding: Annotated[int, Range(0, 100_000)] = 0,
    dropout: Share = 0.5,
    forget_bias: Annotated[float, Range(-100, 100)] = 1.0,
    bptt: Bptt = 0,
    tied: bool = True,
    init: str = "torch",
) -> nn.Module:
    """The language model over words or pieces of words; one table both reads them and scores them.

    Formula: p(x_(t+1) | x_1 .. x_t) = softmax(E h_t + c), E the embedding where `tied`, V one of its own otherwise

    `embedding` 0 makes it as wide as `hidden`, which `tied` needs.
    """
    embedding = embedding or hidden
    if tied and embedding != hidden:
        text = say("network 'word_lm': tied = true wants embedding = hidden; they are {embedding} and {hidden}",
                   embedding=embedding, hidden=hidden)  # fmt: skip
        raise UsageError(text)
    start = {"forget_bias": forget_bias} if cell == "lstm" else {}
    return _model("word_lm", inputs, outputs, cell, hidden, layers, embedding, dropout, bptt, tied, start, init)


def _model(
    name: str, inputs: Ends, outputs: Ends, cell: str, hidden: int, layers: int, embedding: int, dropout: float,
    bptt: int, tied: bool, start: dict[str, Any], init: str,
) -> nn.Module:  # fmt: skip
    if inputs["kind"] != "text":
        text = say("network {name!r} takes texts; {came} came.", name=name, came=described(inputs))
        raise UsageError(text + " " + say("Use network {other!r}.", other="lstm"))
    table = nn.Embedding(int(inputs["vocabulary"]), embedding, padding_idx=0)
    core = CELLS[cell](embedding, hidden=hidden, layers=layers, dropout=dropout, **start)
    net = LanguageModel(table, core, units(outputs), dropout, bptt)
    initialise(net, init, "tanh")
    if tied:
        if units(outputs) != table.num_embeddings:
            text = say("network {name!r}: tied = true scores the {count} tokens it reads; {units} are asked for",
                       name=name, count=table.num_embeddings, units=units(outputs))  # fmt: skip
            raise UsageError(text)
        nn.init.normal_(table.weight, std=embedding**-0.5)
        net.out.weight = table.weight
    return net


class LanguageModel(nn.Module):
    """`embedding`, the recurrent layers `rnn`, and `out` at every step."""

    reads_tokens = True

    def __init__(self, table: nn.Embedding, core: nn.RNNBase, count: int, dropout: float, bptt: int) -> None:
        super().__init__()
        self.embedding, self.rnn, self.bptt = table, core, bptt
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.out = nn.Linear(core.hidden_size, count)

    def forward(self, x: Steps) -> Float[Tensor, "batch steps units"]:
        tokens = x.values if isinstance(x, Sequences) else x
        steps = self.embedding(tokens)  # what stands behind an end never reaches a step before it
        states = self._cut(steps) if self.training and 0 < self.bptt < steps.shape[1] else self.rnn(steps)[0]
        out: Tensor = self.out(self.dropout(states))
        return out

    def _cut(self, steps: Tensor) -> Tensor:
        """The states of all steps, where no gradient flows from one stretch of `bptt` steps into the one before."""
        parts, state = [], None
        for stretch in steps.split(self.bptt, 1):
            found, state = self.rnn(stretch, state)
            parts.append(found)
            state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        return torch.cat(parts, 1)

    def step(self, tokens: Int[Tensor, "batch"], state: Any) -> tuple[Float[Tensor, "batch units"], Any]:
        """The scores of the next token and the state behind `tokens`; a state of None is the beginning. The parts of a
        state have the batch in front."""
        return self.read(tokens[:, None], state)

    def read(self, tokens: Int[Tensor, "batch steps"], state: Any = None) -> tuple[Float[Tensor, "batch units"], Any]:
        """The scores of the token behind `tokens`, all of equal length, and the state there."""
        if isinstance(state, tuple):
            state = tuple(part.transpose(0, 1).contiguous() for part in state)
            state = state[0] if len(state) == 1 else state
        states, end = self.rnn(self.embedding(tokens), state)
        parts = end if isinstance(end, tuple) else (end,)
        return self.out(states[:, -1]), tuple(part.transpose(0, 1) for part in parts)
