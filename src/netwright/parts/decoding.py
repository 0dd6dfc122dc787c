"""Decoding: token sequences out of networks that give one token's scores at a time, and out of CTC outputs.

A step function is `step(tokens (batch,), state) -> (logits (batch, vocabulary), state)`. The state is a tensor, None
or tuples of them, nested as you like; axis 0 of every tensor is the batch (torch's recurrent states have it on axis 1:
transpose them). `beam` takes several rows of each example: what an encoder remembers belongs into the state, too; what
a step hands on as the very same tensor is copied once and never reordered.

Tokens 0 (padding) and 3 (start) are never given; token 2 ends a sequence and is left out of the answer. A score is the
sum of log-probabilities, the end included, the forbidden tokens left out of the softmax.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log1p
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.losses.reading import wide
from netwright.parts.sequences import END, PADDING, START, Sequences

FORBIDDEN = (PADDING, START)
State = Any
Step = Callable[[Int[Tensor, "batch"], State], tuple[Float[Tensor, "batch vocabulary"], State]]
Most = int | Int[Tensor, "batch"]
"""The largest number of tokens, one for all or each its own: then no answer depends on what else is in the batch."""
Prefixes = dict[tuple[int, ...], tuple[float, float]]
"""Log-probability of a token sequence so far, by paths that end in a blank and by those that end in its last token."""
Choose = Callable[[Float[Tensor, "batch vocabulary"]], Int[Tensor, "batch"]]


@dataclass(frozen=True)
class Decoded:
    """What was decoded: of each example its tokens and their score, the best first in `ranked`."""

    tokens: list[list[int]]
    scores: list[float]
    ranked: list[list[tuple[list[int], float]]]
    """All finished candidates of each example with their scores, best first; one only unless a beam looked for more."""


@torch.no_grad()
def greedy(
    step: Step,
    state: State,
    first: Int[Tensor, "batch"],
    *,
    most: Most,
    end: int = END,
    forbidden: Sequence[int] = FORBIDDEN,
) -> Decoded:
    """The likeliest token at every step.

    `first` is the token before the first one of the answer (the start token, or the last of a prompt); `most` the
    largest number of tokens.
    """
    return _walk(step, state, first, most, end, forbidden, lambda logits: logits.argmax(1))


@torch.no_grad()
def sample(
    step: Step,
    state: State,
    first: Int[Tensor, "batch"],
    generator: torch.Generator,
    *,
    most: Most,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    end: int = END,
    forbidden: Sequence[int] = FORBIDDEN,
) -> Decoded:
    """Tokens drawn by their probability: the same generator state gives the same tokens.

    Formula: p = softmax(logits / temperature) over the `top_k` largest (0: all) and of these the fewest likeliest whose
    probabilities reach `top_p` (Holtzman et al. 2020, arXiv:1904.09751)

    Temperature 0 is `greedy`, below 1 bolder, above 1 wilder. The generator is one of the CPU, whatever the device.
    Scores are those of the unchanged probabilities. Errors: UsageError for settings out of range.
    """
    for name, value, fits in (
        ("temperature", temperature, 0 <= temperature < inf),
        ("top_k", top_k, top_k >= 0),
        ("top_p", top_p, 0 < top_p <= 1),
    ):
        if not fits:
            raise UsageError(say("sampling: {name} = {value} is out of range.", name=name, value=value))
    if temperature == 0:
        return greedy(step, state, first, most=most, end=end, forbidden=forbidden)

    def drawn(logits: Tensor) -> Tensor:
        chances = narrowed(logits, temperature, top_k, top_p)
        return torch.multinomial(chances.cpu(), 1, generator=generator)[:, 0].to(logits.device)

    return _walk(step, state, first, most, end, forbidden, drawn)


def narrowed(
    logits: Float[Tensor, "batch vocabulary"], temperature: float, top_k: int = 0, top_p: float = 1.0
) -> Float[Tensor, "batch vocabulary"]:
    """Probabilities at a temperature, all but the likeliest set to 0; they sum to 1."""
    kept, order = logits, None
    if 0 < top_k < logits.shape[1]:
        kept, order = logits.topk(top_k, 1)
    elif top_p < 1:
        kept, order = logits.sort(dim=1, descending=True, stable=True)
    kept = kept.double()
    chances = ((kept - kept.amax(1, keepdim=True)) / temperature).softmax(1)
    if top_p < 1:  # the likeliest stand first
        chances = chances.masked_fill(chances.cumsum(1) - chances >= top_p, 0.0)
        chances = chances / chances.sum(1, keepdim=True)
    return chances if order is None else torch.zeros_like(logits, dtype=chances.dtype).scatter(1, order, chances)


def _walk(
    step: Step,
    state: State,
    first: Int[Tensor, "batch"],
    most: Most,
    end: int,
    forbidden: Sequence[int],
    choose: Choose,
) -> Decoded:
    """One token after another until every example has ended."""
    tokens, scores = first, torch.zeros(len(first), dtype=torch.float64)
    limits = _limits(most, first)
    done = limits < 1
    made: list[list[int]] = [[] for _ in range(len(first))]
    for length in range(1, max(limits.tolist(), default=0) + 1):
        if bool(done.all()):
            break
        logits, state = step(tokens, state)
        logits = _allowed(logits, forbidden)
        tokens = choose(logits)
        gained = wide(logits).log_softmax(1).gather(1, tokens[:, None])[:, 0]
        scores += gained.masked_fill(done, 0.0).double().cpu()
        for row, token, over in zip(made, tokens.tolist(), done.tolist(), strict=True):
            if not over and token != end:
                row.append(token)
        done = done | (tokens == end) | (limits <= length)
    values = scores.tolist()
    return Decoded(made, values, [[pair] for pair in zip(made, values, strict=True)])


def _limits(most: Most, first: Tensor) -> Int[Tensor, "batch"]:
    """The largest number of tokens of each example."""
    return torch.as_tensor(most, device=first.device).expand(len(first))


def _allowed(logits: Tensor, forbidden: Sequence[int]) -> Tensor:
    """Scores with those of forbidden tokens at minus infinity."""
    out = logits.clone()
    out[:, list(forbidden)] = -inf
    return out


@torch.no_grad()
def beam(
    step: Step,
    state: State,
    first: Int[Tensor, "batch"],
    *,
    most: Most,
    width: int = 5,
    normalise: float = 0.0,
    end: int = END,
    forbidden: Sequence[int] = FORBIDDEN,
) -> Decoded:
    """The best sequence among the `width` likeliest beginnings kept at every step.

    Formula: score = sum of log p / length^normalise, the end counted in the length; 0 leaves the sum, 1 takes the mean

    A sequence of `most` tokens counts without an end. The search stops once nothing can overtake the best. A width that
    covers every beginning gives the best sequence there is. Errors: UsageError for a width below 1.

    Differs: Wu et al. 2016 (arXiv:1609.08144, eq. 14) divide by ((5 + length) / 6)^a.
    """
    if width < 1:
        raise UsageError(say("beam search: width = {width}; it is at least {low}", width=width, low=1))
    if not 0 <= normalise < inf:
        raise UsageError(say("beam search: normalise = {value}; it is at least {low}", value=normalise, low=0))
    search = _Beam(_limits(most, first), width, normalise, end)
    rows = torch.arange(len(first), device=first.device).repeat_interleave(width)
    state, tokens = _picked(state, rows), first[rows]
    alike = {id(part): part for part in _tensors(state)}  # the same for all beginnings of an example
    for _ in range(max(search.limits.tolist(), default=0)):
        if search.settled():
            break
        logits, state = step(tokens, state)
        rows, tokens = search.advance(wide(_allowed(logits, forbidden)).log_softmax(1))
        state = _picked(state, rows, alike)
    search.settled()
    return search.answer()


class _Beam:
    """The beginnings kept and the sequences finished, of a whole batch."""

    def __init__(self, limits: Int[Tensor, "batch"], width: int, normalise: float, end: int) -> None:
        self.limits, self.width, self.normalise, self.end, self.length = limits, width, normalise, end, 0
        batch, device = len(limits), limits.device
        self.scores = torch.full((batch, width), -inf, dtype=torch.float64, device=device)
        self.scores[:, :1] = 0.0  # all start alike: one beginning counts
        self.tokens = torch.zeros(batch, width, 0, dtype=torch.long, device=device)
        self.offset = torch.arange(batch, device=device)[:, None] * width
        self.best = torch.full((batch,), -inf, dtype=torch.float64, device=device)
        self.over = torch.zeros(batch, dtype=torch.bool, device=device)
        self.finished: list[list[tuple[list[int], float]]] = [[] for _ in range(batch)]

    def advance(self, gains: Float[Tensor, "rows vocabulary"]) -> tuple[Tensor, Tensor]:
        """Take one step: the row each beginning kept comes from, and its newest token."""
        self.length += 1
        batch, each = len(self.scores), min(2 * self.width, gains.shape[1])
        best, named = gains.topk(each, 1)  # a beginning ends in one way at most, so as many as are kept go on
        total = (self.scores[:, :, None] + best.view(batch, self.width, each)).flatten(1)
        found, place = total.topk(min(2 * self.width, total.shape[1]), 1)
        origin, token = place // each, named.view(batch, -1).gather(1, place)
        before = self.tokens.gather(1, origin[:, :, None].expand(-1, -1, self.tokens.shape[2]))
        self._finish(found.masked_fill((token != self.end) | self.over[:, None], -inf), before)
        kept, chosen = found.masked_fill(token == self.end, -inf).topk(self.width, 1)
        origin, token = origin.gather(1, chosen), token.gather(1, chosen)
        before = before.gather(1, chosen[:, :, None].expand(-1, -1, before.shape[2]))
        self.scores, self.tokens = kept, torch.cat([before, token[:, :, None]], 2)
        return (origin + self.offset).flatten(), token.flatten()

    def settled(self) -> bool:
        """Whether every example is over: it is at its limit, or no beginning can still overtake its best.

        Scores only fall, and lengths grow to the limit. A settled example notes nothing more, so that no answer depends
        on the others. At its limit what has no end counts, too.
        """
        bound = self.scores.amax(1) / self.limits.clamp(min=1) ** self.normalise
        self.over |= self.best >= bound
        stopped = (self.limits <= self.length) & ~self.over
        self._finish(self.scores.masked_fill(~stopped[:, None], -inf), self.tokens)
        self.over |= stopped
        return bool(self.over.all())

    def _finish(self, scores: Float[Tensor, "batch places"], tokens: Int[Tensor, "batch places length"]) -> None:
        """Note the sequences with a finite score."""
        values = scores / max(1, self.length) ** self.normalise
        self.best = torch.maximum(self.best, values.amax(1))
        rows, places = (values > -inf).nonzero(as_tuple=True)
        found = zip(rows.tolist(), tokens[rows, places].tolist(), values[rows, places].tolist(), strict=True)
        for row, sequence, value in found:
            self.finished[row].append((sequence, value))

    def answer(self) -> Decoded:
        """The finished sequences, best first."""
        ranked = [sorted(each, key=lambda pair: -pair[1])[: self.width] for each in self.finished]
        best = [each[0] if each else ([], -inf) for each in ranked]
        return Decoded([tokens for tokens, _ in best], [score for _, score in best], ranked)


def _picked(state: State, rows: Int[Tensor, "rows"], alike: Mapping[int, Tensor] | None = None) -> State:
    """The state of those rows, along axis 0 of every tensor in it but those that are `alike` within an example."""
    if isinstance(state, Tensor):
        return state if alike and id(state) in alike else state[rows]
    if isinstance(state, (tuple, list)):
        return tuple(_picked(part, rows, alike) for part in state)
    return state


def _tensors(state: State) -> Iterator[Tensor]:
    """Every tensor of a state."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, (tuple, list)):
        for part in state:
            yield from _tensors(part)


# connectionist temporal classification -----------------------------------------------------------------------------


def ctc_greedy(outputs: Sequences | Float[Tensor, "batch steps classes"], blank: int = 0) -> list[list[int]]:
    """The likeliest class at every step, repeats merged, blanks dropped."""
    values, lengths = _steps(outputs)
    found = []
    for classes, length in zip(values.argmax(2).tolist(), lengths, strict=True):
        path = classes[:length]
        found.append([now for now, before in zip(path, [blank, *path], strict=False) if now not in (blank, before)])
    return found


def ctc_beam(
    outputs: Sequences | Float[Tensor, "batch steps classes"], *, width: int = 20, blank: int = 0
) -> list[list[tuple[list[int], float]]]:
    """The likeliest token sequences with their log-probabilities, all paths to each added up: best first.

    Formula: p(l) = sum over the paths that become l; of each prefix the share that ends in a blank and the one that
    does not are kept apart (prefix beam search: Graves et al. 2006, section 3.2; Hannun et al. 2014, arXiv:1408.2873)

    A width that covers every prefix gives exact numbers.
    """
    if width < 1:
        raise UsageError(say("beam search: width = {width}; it is at least {low}", width=width, low=1))
    values, lengths = _steps(outputs)
    rows = values.detach().double().log_softmax(2).tolist()
    return [_prefixes(row[:length], width, blank) for row, length in zip(rows, lengths, strict=True)]


def _prefixes(steps: list[list[float]], width: int, blank: int) -> list[tuple[list[int], float]]:
    """Prefix beam search over one example's log-probabilities."""
    kept: Prefixes = {(): (0.0, -inf)}
    for chances in steps:
        grown: Prefixes = {}
        for prefix, (blanked, ended) in kept.items():
            both = _sum(blanked, ended)
            _add(grown, prefix, both + chances[blank], ended + chances[prefix[-1]] if prefix else -inf)
            for token, chance in enumerate(chances):
                if token != blank:  # a repeat needs a blank between
                    _add(grown, (*prefix, token), -inf, (blanked if prefix[-1:] == (token,) else both) + chance)
        likely = [(prefix, ends) for prefix, ends in grown.items() if _sum(*ends) > -inf]
        kept = dict(sorted(likely, key=lambda item: -_sum(*item[1]))[:width])
    return [(list(prefix), _sum(*ends)) for prefix, ends in kept.items()]


def _add(grown: Prefixes, prefix: tuple[int, ...], at_blank: float, at_token: float) -> None:
    """Add probability to a prefix."""
    blanked, ended = grown.get(prefix, (-inf, -inf))
    grown[prefix] = (_sum(blanked, at_blank), _sum(ended, at_token))


def _sum(first: float, second: float) -> float:
    """log(e^a + e^b)."""
    high, low = max(first, second), min(first, second)
    return high if low == -inf else high + log1p(exp(low - high))


def _steps(outputs: Sequences | Tensor) -> tuple[Tensor, list[int]]:
    """A network's outputs and their lengths."""
    if isinstance(outputs, Sequences):
        return outputs.values, outputs.lengths.tolist()
    return outputs, [outputs.shape[1]] * len(outputs)
