"""What writes a sequence token by token, whatever it starts from: teacher forcing in training, a beam in answering."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.networks.recurrent import Steps
from netwright.parts.decoding import FORBIDDEN, Decoded, beam, greedy
from netwright.parts.sequences import START, UNKNOWN, Sequences

NEVER = (*FORBIDDEN, UNKNOWN)
"""Tokens that no answer holds."""


class Writer(nn.Module):
    """`target` and `decoder` say one token after another, `out` scores them; a subclass says what they start from.

    A subclass gives `encode`, `limits` and `shape`, and changes `_entering` or `_leaving` where its decoder looks at
    more than the tokens so far.
    """

    def __init__(
        self, target: nn.Embedding, decoder: nn.RNNBase, count: int, dropout: float, sampling: float, width: int
    ) -> None:
        super().__init__()
        self.target, self.decoder = target, decoder
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(decoder.hidden_size, count)
        self.sampling, self.width = sampling, width

    def encode(self, x: Steps) -> tuple[Any, ...]:
        """What the decoder starts from, its first state, and then whatever it looks at (batch in front, or None)."""
        raise TypeError(type(self).__name__)

    def limits(self, x: Steps) -> Any:
        """The largest number of tokens that are answered, one for all or each its own."""
        raise TypeError(type(self).__name__)

    def shape(self, x: Steps) -> tuple[int, int]:
        """(batch, steps) that are written where no targets are given, for measuring."""
        raise TypeError(type(self).__name__)

    def _entering(self, said: Int[Tensor, "batch steps"], *looked: Any) -> Float[Tensor, "batch steps features"]:
        """What the decoder reads after each token."""
        found: Tensor = self.dropout(self.target(said))
        return found

    def _leaving(self, states: Float[Tensor, "batch steps hidden"], *looked: Any) -> Float[Tensor, "batch steps width"]:
        """What is scored."""
        return states

    def forward(self, x: Steps, targets: Sequences | None = None) -> Float[Tensor, "batch steps units"]:
        """The scores of every token of `targets`, each after the true ones before it; without targets of so many steps
        as `shape` says."""
        memory = self.encode(x)
        said = self._before(x, targets)
        if self.training and self.sampling and targets is not None:
            said = self._mixed(said, memory)
        return self._written(said, memory)[0]

    def _before(self, x: Steps, targets: Sequences | None) -> Int[Tensor, "batch steps"]:
        """The token before each that is to be said."""
        if targets is None:
            device = x.values.device if isinstance(x, Sequences) else x.device
            return torch.full(self.shape(x), START, dtype=torch.long, device=device)
        first = torch.full_like(targets.values[:, :1], START)
        return torch.cat([first, targets.values[:, :-1]], 1)

    def _mixed(self, said: Tensor, memory: Any) -> Tensor:
        """True tokens, a share of them replaced by what the network itself would have said there."""
        with torch.no_grad():
            own = self._written(said, memory)[0][:, :-1].argmax(2)
        drawn = torch.rand(own.shape, device="cpu").to(own.device) < self.sampling
        return torch.cat([said[:, :1], torch.where(drawn, own, said[:, 1:])], 1)

    def states(self, said: Int[Tensor, "batch steps"], memory: Any) -> tuple[Tensor, Any]:
        """The decoder's states behind every token of `said`, and its last one."""
        start, *looked = memory
        states, end = self.decoder(self._entering(said, *looked), start if len(start) > 1 else start[0])
        return states, end if isinstance(end, tuple) else (end,)

    def _written(self, said: Int[Tensor, "batch steps"], memory: Any) -> tuple[Tensor, Any]:
        """Scores behind every token of `said`, and the state behind the last."""
        states, end = self.states(said, memory)
        return self.out(self.dropout(self._leaving(states, *memory[1:]))), end

    # answering ---------------------------------------------------------------------------------------------------

    def begin(self, x: Steps) -> Any:
        """The state before the first token, every part with the batch in front."""
        start, *looked = self.encode(x)
        return tuple(part.transpose(0, 1) for part in start), *looked

    def step(self, tokens: Int[Tensor, "batch"], state: Any) -> tuple[Float[Tensor, "batch units"], Any]:
        """The scores of the next token and the state behind `tokens`."""
        start, *looked = state
        memory = (tuple(part.transpose(0, 1).contiguous() for part in start), *looked)
        scores, end = self._written(tokens[:, None], memory)
        return scores[:, 0], (tuple(part.transpose(0, 1) for part in end), *looked)

    @torch.no_grad()
    def answer(self, x: Steps) -> list[list[int]]:
        """The best target for each source, by a beam."""
        return self.decoded(x).tokens

    def decoded(self, x: Steps, decode: Callable[..., Decoded] | None = None) -> Decoded:
        """What `decode` (a beam of the network's width, if None) makes of each source."""
        device = x.values.device if isinstance(x, Sequences) else x.device
        first = torch.full((len(x),), START, dtype=torch.long, device=device)
        most = self.limits(x)
        if decode is not None:
            return decode(self.step, self.begin(x), first, most=most, forbidden=NEVER)
        if self.width == 1:
            return greedy(self.step, self.begin(x), first, most=most, forbidden=NEVER)
        return beam(self.step, self.begin(x), first, most=most, width=self.width, normalise=1.0, forbidden=NEVER)
