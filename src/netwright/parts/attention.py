"""Attention: for each query a weighted mean of the steps of a memory; masked steps weigh exactly 0.

A part takes the sizes of a query and of a memory step. The module is called as `attend(query, memory, mask, keys)` and
gives (context, weights). `query` is (batch, size), or (batch, queries, size) for many at once; `memory` is (batch,
steps, size); `mask` (batch, steps) is True for real steps. `keys = attend.keys(memory)` is the work that does not
depend on the query: a decoder does it once. `attend.context(...)` gives the context alone.
"""

from math import sqrt
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from netwright.catalogue import ATTENTION, Range
from netwright.errors import UsageError
from netwright.language import say

Hidden = Annotated[int, Range(1, 100_000)]
Query = Float[Tensor, "batch size"] | Float[Tensor, "batch queries size"]
Memory = Float[Tensor, "batch steps size"]
Mask = Bool[Tensor, "batch steps"] | None


class Attention(nn.Module):
    """What all kinds share: scores to weights, weights to the context. A kind says what its keys and scores are."""

    def keys(self, memory: Memory) -> Tensor:
        """What the scores need of the memory, whatever the query."""
        return memory

    def scores(
        self, queries: Float[Tensor, "batch queries size"], keys: Float[Tensor, "batch steps inner"]
    ) -> Float[Tensor, "batch queries steps"]:
        """How well each step answers each query; the larger, the better."""
        raise TypeError(type(self).__name__)

    def forward(
        self, query: Query, memory: Memory, mask: Mask = None, keys: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(context, weights): (batch, size) and (batch, steps), with an axis of queries between where `query` has it.

        The weights of a query sum to 1; where everything is masked they are 0, and so is the context.
        """
        queries = query[:, None] if query.ndim == 2 else query
        weights = masked_softmax(self.scores(queries, self.keys(memory) if keys is None else keys), mask)
        context = weights @ memory
        return (context[:, 0], weights[:, 0]) if query.ndim == 2 else (context, weights)

    def context(self, query: Query, memory: Memory, mask: Mask = None, keys: Tensor | None = None) -> Tensor:
        """The context without the weights."""
        return self(query, memory, mask, keys)[0]


def masked_softmax(scores: Float[Tensor, "batch queries steps"], mask: Mask) -> Float[Tensor, "batch queries steps"]:
    """The softmax over the steps, exactly 0 where the mask is False."""
    if mask is None:
        return scores.softmax(2)
    blank = ~mask[:, None]
    return scores.masked_fill(blank, torch.finfo(scores.dtype).min).softmax(2).masked_fill(blank, 0.0)


class Additive(Attention):
    """W (`query`), U (`memory`, with the bias) and v (`score`)."""

    def __init__(self, query: int, memory: int, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(query, hidden, bias=False)
        self.memory = nn.Linear(memory, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def keys(self, memory: Memory) -> Tensor:
        found: Tensor = self.memory(memory)
        return found

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        inner = (self.query(queries)[:, :, None] + keys[:, None]).tanh()
        found: Tensor = self.score(inner)[:, :, :, 0]
        return found


class Dot(Attention):
    """Nothing to learn; `scale` multiplies the products."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        return (queries * self.scale) @ keys.transpose(1, 2)

    def context(self, query: Query, memory: Memory, mask: Mask = None, keys: Tensor | None = None) -> Tensor:
        """The context by torch's kernel, which never holds the weights."""
        queries = query[:, None] if query.ndim == 2 else query
        seen = None if mask is None else mask[:, None].expand(-1, queries.shape[1], -1)
        found = F.scaled_dot_product_attention(queries, memory, memory, seen, scale=self.scale)
        if mask is not None:
            found = found.masked_fill(~mask.any(1)[:, None, None], 0.0)
        return found[:, 0] if query.ndim == 2 else found


class General(Attention):
    """W (`memory`), applied to the memory."""

    def __init__(self, query: int, memory: int) -> None:
        super().__init__()
        self.memory = nn.Linear(memory, query, bias=False)

    def keys(self, memory: Memory) -> Tensor:
        found: Tensor = self.memory(memory)
        return found

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        return queries @ keys.transpose(1, 2)


class Concat(Attention):
    """W (`inner`) for the query and the memory step side by side, in that order, and v (`score`)."""

    def __init__(self, query: int, memory: int, hidden: int) -> None:
        super().__init__()
        self.size = query
        self.inner = nn.Linear(query + memory, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)

    def keys(self, memory: Memory) -> Tensor:
        return F.linear(memory, self.inner.weight[:, self.size :])

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        asked = F.linear(queries, self.inner.weight[:, : self.size])
        found: Tensor = self.score((asked[:, :, None] + keys[:, None]).tanh())[:, :, :, 0]
        return found


@ATTENTION.add(source="Bahdanau, Cho, Bengio 2015, arXiv:1409.0473, appendix A.1.2")
def additive(query: int, memory: int, *, hidden: Hidden = 128) -> Attention:
    """A small network scores each step; query and memory may be of different sizes.

    Formula: e_j = v . tanh(W s + U h_j + b); a = softmax(e); c = sum_j a_j h_j

    U h is done once for all queries. In the paper s is the decoder's previous state. `hidden` numbers in v.
    """
    return Additive(query, memory, hidden)


@ATTENTION.add(source="Luong, Pham, Manning 2015, arXiv:1508.04025, eq. 8, dot")
def dot(query: int, memory: int) -> Attention:
    """The product of query and step; nothing to learn.

    Formula: e_j = s . h_j; a = softmax(e); c = sum_j a_j h_j

    In the paper s is the decoder's current state. Errors: UsageError where the sizes differ.
    """
    _equal("dot", query, memory)
    return Dot()


@ATTENTION.add(source="Luong, Pham, Manning 2015, arXiv:1508.04025, eq. 8, general")
def general(query: int, memory: int) -> Attention:
    """The product of query and step through a matrix; sizes may differ.

    Formula: e_j = s . W h_j; a = softmax(e); c = sum_j a_j h_j

    W h is done once for all queries.
    """
    return General(query, memory)


@ATTENTION.add(source="Luong, Pham, Manning 2015, arXiv:1508.04025, eq. 8, concat")
def concat(query: int, memory: int, *, hidden: Hidden = 128) -> Attention:
    """A small network scores query and step side by side.

    Formula: e_j = v . tanh(W [s, h_j]); a = softmax(e); c = sum_j a_j h_j

    The part of W for h is applied once for all queries. `hidden` numbers in v.
    """
    return Concat(query, memory, hidden)


@ATTENTION.add(source="Vaswani et al. 2017, arXiv:1706.03762, eq. 1")
def scaled_dot(query: int, memory: int) -> Attention:
    """The product of query and step, divided by the root of their size so that the softmax does not saturate.

    Formula: e_j = s . h_j / sqrt(d); a = softmax(e); c = sum_j a_j h_j

    Nothing to learn: projections are the network's. Errors: UsageError where the sizes differ.
    """
    _equal("scaled_dot", query, memory)
    return Dot(1 / sqrt(query))


def _equal(name: str, query: int, memory: int) -> None:
    """Refuse sizes whose product is not defined."""
    if query != memory:
        text = say("attention {name!r} multiplies query and memory; their sizes are {query} and {memory}.",
                   name=name, query=query, memory=memory)  # fmt: skip
        raise UsageError(text + " " + say("Use {other!r}.", other="general"))
