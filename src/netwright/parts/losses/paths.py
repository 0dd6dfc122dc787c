"""Losses over all paths: a target sequence without saying which step stands for which of its tokens."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from netwright.catalogue import LOSSES
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.losses.reading import check_index, misfit, readable, whole, wide
from netwright.parts.sequences import Sequences

BLANK = 0
"""The class that stands for no token; it is also the padding of targets, which never contain it."""
Outputs = Sequences | Float[Tensor, "batch steps classes"]
Tokens = Sequences | Int[Tensor, "batch tokens"]


@LOSSES.add(target="token sequence", link="softmax", source="Graves, Fernandez, Gomez, Schmidhuber 2006, ICML, eq. 8")
def ctc(outputs: Outputs, target: Tokens, *, zero_infinity: bool = False) -> Float[Tensor, "batch"]:
    """Reads a sequence off many more steps without being told where each token lies (speech, handwriting).

    Formula: -log sum over all paths of T steps that become the target once repeats are merged and blanks dropped, of
    prod_t softmax(outputs_t)_(path_t); the blank is class 0

    `outputs` are plain numbers (batch, steps, classes), as Sequences where their lengths differ. `target` holds class
    numbers from 1 on, padded with 0 behind each one's end. A target with more tokens and repeats than there are steps
    has no path: its loss is infinite, or 0 without a gradient under `zero_infinity` (`impossible` counts them). The
    value is not divided by the target's length.
    """
    values, lengths = _outputs(outputs)
    tokens, counts = _tokens(values, target)
    if not len(values) or values.is_meta:
        return wide(values).sum((1, 2))
    return F.ctc_loss(
        wide(values).log_softmax(2).transpose(0, 1),
        tokens.to(values.device),
        lengths,
        counts,
        blank=BLANK,
        reduction="none",
        zero_infinity=zero_infinity,
    )


def needed_steps(target: Tokens) -> Int[Tensor, "batch"]:
    """The fewest steps that can spell each target: its tokens, and a blank between two equal ones."""
    tokens, counts = _split(target)
    repeats = (tokens[:, 1:] == tokens[:, :-1]) & (tokens[:, 1:] != BLANK)
    return counts + repeats.sum(1).cpu()


def impossible(outputs: Outputs, target: Tokens) -> int:
    """How many examples have fewer steps than their target needs, so that no path spells it."""
    _, lengths = _outputs(outputs)
    return int((needed_steps(target) > lengths).sum())


def _outputs(outputs: Outputs) -> tuple[Tensor, Tensor]:
    """Numbers and lengths of a network's outputs."""
    if isinstance(outputs, Sequences):
        return outputs.values, outputs.lengths
    return outputs, torch.full((len(outputs),), outputs.shape[1] if outputs.ndim == 3 else 0)


def _split(target: Tokens) -> tuple[Tensor, Tensor]:
    """Class numbers with 0 behind each one's end, and how many there are."""
    if isinstance(target, Sequences):
        return target.values.masked_fill(~target.mask, BLANK), target.lengths
    if target.is_meta:
        return target, torch.zeros(len(target), dtype=torch.long)
    return target, (target != BLANK).sum(1).cpu()


def _tokens(values: Tensor, target: Tokens) -> tuple[Tensor, Tensor]:
    """Class numbers and counts of the targets, after shape, type and (on the CPU) the numbers are checked."""
    given = target.values if isinstance(target, Sequences) else target
    if values.ndim != 3 or given.ndim != 2 or len(values) != len(given):
        raise misfit("ctc", values, given, "(batch, steps, classes)", "(batch, tokens)")
    if not whole(given):
        text = say("loss {name!r}: the target holds {kind}, but it names classes by whole numbers.",
                   name="ctc", kind=given.dtype)  # fmt: skip
        raise UsageError(text)
    tokens, counts = _split(target)
    check_index("ctc", tokens, values.shape[2])
    if readable(tokens):
        held = tokens != BLANK
        if bool((held[:, 1:] & ~held[:, :-1]).any() or (held.sum(1) != counts).any()):
            text = say("loss {name!r}: a target holds 0 before its end; 0 is the blank, tokens begin at 1.", name="ctc")
            raise UsageError(text)
    return tokens.long(), counts
