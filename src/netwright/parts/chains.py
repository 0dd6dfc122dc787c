"""A linear-chain conditional random field: scores for tags at each step and for each tag after each other.

Formula: s(y) = start_(y_1) + sum_t x_(t, y_t) + sum_t A_(y_(t-1), y_t) + end_(y_T); p(y) = exp(s(y) - log Z),
log Z = log sum over all y of exp(s(y)) (Lafferty, McCallum, Pereira 2001; Lample et al. 2016, arXiv:1603.01360, eq. 1)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.losses.reading import readable, wide
from netwright.parts.sequences import step_mask

NEVER = -1e4
"""The score of a forbidden step: its probability is exactly 0, its gradient too, and no sum becomes infinite."""

BEGINNING, GOING, ENDING = ("B",), ("I", "M"), ("E", "L")
"""First letters of tags by what they say of an entity."""
Scores = Float[Tensor, "batch steps tags"]
Lengths = Int[Tensor, "batch"]


@dataclass(frozen=True)
class Rules:
    """Which tags may follow each other (from, to), begin a sequence and end one."""

    allowed: Bool[Tensor, "tags tags"]
    may_start: Bool[Tensor, "tags"]
    may_end: Bool[Tensor, "tags"]

    @classmethod
    def of(cls, names: Sequence[str]) -> "Rules":
        """The rules that tags such as `B-PER`, `I-PER`, `O` imply: nothing goes on that has not begun.

        B begins, I or M go on, E or L end, S, U or W are alone; what stands behind the hyphen is the kind. Where tags
        that end are among them, what has begun must end. Any other tag follows any.
        """
        marks = [name.partition("-")[0] if "-" in name else "O" for name in names]
        kinds = [name.partition("-")[2] for name in names]
        must_end = any(mark in ENDING for mark in marks)
        opens = [must_end and mark in (*BEGINNING, *GOING) for mark in marks]
        inside = [mark in (*GOING, *ENDING) for mark in marks]
        allowed = torch.zeros(len(names), len(names), dtype=torch.bool)
        for before, mark in enumerate(marks):
            for after, kind in enumerate(kinds):
                runs = mark in (*BEGINNING, *GOING) and kinds[before] == kind
                allowed[before, after] = runs if inside[after] else not opens[before]
        return cls(allowed, ~torch.tensor(inside), ~torch.tensor(opens))

    def kept(self, path: Sequence[int]) -> bool:
        """Whether a sequence of tags keeps to them: annotations of other conventions do not."""
        steps = all(bool(self.allowed[step]) for step in pairwise(path))
        return steps and bool(self.may_start[path[0]] & self.may_end[path[-1]])


class LinearChain(nn.Module):
    """The layer: learnt scores `transitions` (from, to), `starts` and `ends`, all 0 at first.

    `rules` say which steps `decode` may take; left out, all. `everywhere` binds the likelihood to them, too: then no
    probability goes to what cannot be, but a target that breaks them (real annotations do) has a loss near 10,000.
    Half precision is computed in float32. Lengths stand on the CPU; every sequence has at least 1 step.
    """

    blocked: Bool[Tensor, "places tags"]

    def __init__(self, tags: int, rules: Rules | None = None, *, everywhere: bool = False) -> None:
        super().__init__()
        self.everywhere = everywhere
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.starts = nn.Parameter(torch.zeros(tags))
        self.ends = nn.Parameter(torch.zeros(tags))
        blocked = torch.zeros(tags + 2, tags, dtype=torch.bool)
        if rules is not None:
            blocked = ~torch.cat([rules.allowed, rules.may_start[None], rules.may_end[None]])
        self.register_buffer("blocked", blocked, persistent=False)

    def forward(self, scores: Scores, tags: Int[Tensor, "batch steps"], lengths: Lengths) -> Float[Tensor, "batch"]:
        """The negative log-likelihood of each sequence of tags: log Z - s(y)."""
        return self.log_partition(scores, lengths) - self.score(scores, tags, lengths)

    def log_partition(self, scores: Scores, lengths: Lengths) -> Float[Tensor, "batch"]:
        """log Z of each sequence, by the forward algorithm: O(steps * tags^2)."""
        scores, (transitions, starts, ends) = wide(scores), self._steps(self.everywhere)
        going = step_mask(lengths, scores.shape[1], scores.device)
        total = starts + scores[:, 0]
        for t in range(1, scores.shape[1]):
            onward = torch.logsumexp(total[:, :, None] + transitions, 1) + scores[:, t]
            total = torch.where(going[:, t, None], onward, total)
        return torch.logsumexp(total + ends, 1)

    def score(self, scores: Scores, tags: Int[Tensor, "batch steps"], lengths: Lengths) -> Float[Tensor, "batch"]:
        """s(y) of each sequence; what stands behind a sequence's end does not count."""
        scores, (transitions, starts, ends) = wide(scores), self._steps(self.everywhere)
        going = step_mask(lengths, scores.shape[1], scores.device)
        tags = tags.long().masked_fill(~going, 0)
        self._check(tags)
        at_steps = scores.gather(2, tags[:, :, None])[:, :, 0].masked_fill(~going, 0.0).sum(1)
        between = transitions[tags[:, :-1], tags[:, 1:]].masked_fill(~going[:, 1:], 0.0).sum(1)
        last = tags.gather(1, (lengths - 1).to(tags.device)[:, None])[:, 0]
        return starts[tags[:, 0]] + at_steps + between + ends[last]

    @torch.no_grad()
    def decode(self, scores: Scores, lengths: Lengths) -> tuple[list[list[int]], Float[Tensor, "batch"]]:
        """The best tags of each sequence and their s(y), by Viterbi's algorithm."""
        scores, (transitions, starts, ends) = wide(scores), self._steps(True)
        going = step_mask(lengths, scores.shape[1], scores.device)
        total = starts + scores[:, 0]
        before = []
        for t in range(1, scores.shape[1]):
            found, origin = (total[:, :, None] + transitions).max(1)
            total = torch.where(going[:, t, None], found + scores[:, t], total)
            before.append(origin)
        value, last = (total + ends).max(1)
        origins: Sequence[list[list[int]]] = [origin.tolist() for origin in before]
        paths = []
        for row, (length, tag) in enumerate(zip(lengths.tolist(), last.tolist(), strict=True)):
            path = [tag]
            for t in range(length - 2, -1, -1):
                path.append(origins[t][row][path[-1]])
            paths.append(path[::-1])
        return paths, value

    def marginals(self, scores: Scores, lengths: Lengths) -> Scores:
        """How probable each tag is at each step, all paths counted; 0 behind the end. It is the slope of log Z."""
        with torch.enable_grad():
            leaf = wide(scores).detach().requires_grad_()
            (found,) = torch.autograd.grad(self.log_partition(leaf, lengths).sum(), leaf)
        return found

    def _steps(self, ruled: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Scores between tags, at the start and at the end; those of forbidden steps filled in where rules bind."""
        learnt = torch.cat([wide(self.transitions), wide(self.starts)[None], wide(self.ends)[None]])
        filled = learnt.masked_fill(self.blocked, NEVER) if ruled else learnt
        return filled[:-2], filled[-2], filled[-1]

    def _check(self, tags: Tensor) -> None:
        count = len(self.starts)
        if tags.numel() and readable(tags):
            low, high = (int(end) for end in tags.aminmax())
            if low < 0 or high >= count:
                text = say("the tags hold the number {found}; there are tags 0 to {last}.",
                           found=low if low < 0 else high, last=count - 1)  # fmt: skip
                raise UsageError(text)
