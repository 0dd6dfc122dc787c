"""Schedules: the factor on the learning rate as a pure function of the steps done and the steps in all.

Step t counts from 0 to total - 1; shares are shares of the whole training, so a schedule fits any length. Nothing keeps
a state: a resumed run asks for the same factor again. `plateau` also reads the validation losses so far, one an epoch,
which belong to the training's state. A warm-up of W steps multiplies the factor by min(1, (t+1)/W).
"""

from collections.abc import Callable, Sequence
from math import cos, pi
from typing import Annotated, Any, Literal

from netwright.catalogue import SCHEDULES, Range
from netwright.errors import UsageError
from netwright.language import say

Portion = Annotated[float, Range(0, 1)]
Early = Annotated[float, Range(0, 0.99)]
Ratio = Annotated[float, Range(1e-6, 1)]


def scheduled(name: str, settings: dict[str, Any], history: Sequence[float]) -> Callable[[int, int], float]:
    """A schedule with its settings, as a function of (step, total); one that watches also reads `history`.

    `history` is the list that the training appends each epoch's validation loss to.
    """
    part = SCHEDULES[name]
    watched = [history] if part.facts.get("watches") else []
    return lambda step, total: float(part.build(step, total, *watched, **settings))


@SCHEDULES.add(source="Robbins and Monro 1951")
def constant(progress_steps: int, total_steps: int) -> float:
    """The same rate from first step to last.

    Formula: 1
    """
    return 1.0


@SCHEDULES.add(source="Krizhevsky, Sutskever, Hinton 2012, section 5")
def step(
    progress_steps: int,
    total_steps: int,
    *,
    every: Ratio = 1 / 3,
    gamma: Ratio = 0.1,
    warmup: Early = 0.0,
) -> float:
    """Drops the rate by a factor each time a share of the training is done.

    Formula: gamma^floor(t / (every * total)); `every` is a share (1/3: two drops)

    MobileNet and Inception, 0.94 every two of 100 epochs: every = 0.02, gamma = 0.94.
    """
    drops = int(progress_steps / max(every * total_steps, 1e-12) + 1e-9)
    return float(gamma**drops) * _risen(progress_steps, total_steps, warmup)[0]


@SCHEDULES.add(source="He et al. 2016, arXiv:1512.03385, section 4.2: /10 after 32,000 and 48,000 of 64,000 steps")
def multi_step(
    progress_steps: int,
    total_steps: int,
    *,
    milestones: list[float] = [0.5, 0.75],  # noqa: B006  read only; the signature is the schema
    gamma: Ratio = 0.1,
    warmup: Early = 0.0,
) -> float:
    """Drops the rate by a factor at each of the shares in `milestones`.

    Formula: gamma^(number of milestones m with t >= m * total)
    """
    if not all(type(one) in (int, float) and 0 <= one <= 1 for one in milestones):
        text = say("schedule 'multi_step': milestones = {found}", found=list(milestones))
        raise UsageError(text + "; " + say("they are shares of the training, each 0 to 1."))
    passed = sum(progress_steps >= one * total_steps - 1e-9 for one in milestones)
    return float(gamma**passed) * _risen(progress_steps, total_steps, warmup)[0]


@SCHEDULES.add(source="geometric decay, as in Szegedy et al. 2015, arXiv:1512.00567, section 8")
def exponential(
    progress_steps: int,
    total_steps: int,
    *,
    final: Annotated[float, Range(1e-9, 1)] = 0.01,
    warmup: Early = 0.0,
) -> float:
    """Shrinks the rate by the same ratio at every step.

    Formula: final^(t / total); 0.94 every two epochs is final = 0.94^(epochs / 2)
    """
    return float(final ** _share(progress_steps, total_steps)) * _risen(progress_steps, total_steps, warmup)[0]


@SCHEDULES.add(source="Liu et al. 2015, arXiv:1506.04579, section 3.1; power 0.5: Caffe's GoogLeNet")
def poly(
    progress_steps: int,
    total_steps: int,
    *,
    power: Annotated[float, Range(0, 100)] = 0.9,
    final: Portion = 0.0,
    warmup: Early = 0.0,
) -> float:
    """Falls along a power of the rest of the training.

    Formula: final + (1 - final) (1 - t / total)^power
    """
    rest = (1 - _share(progress_steps, total_steps)) ** power
    return (final + (1 - final) * rest) * _risen(progress_steps, total_steps, warmup)[0]


@SCHEDULES.add(source="after Krizhevsky et al. 2012, section 5; as torch's ReduceLROnPlateau", watches=True)
def plateau(
    progress_steps: int,
    total_steps: int,
    validation_losses: Sequence[float] = (),
    *,
    factor: Annotated[float, Range(1e-6, 1)] = 0.1,
    patience: Annotated[int, Range(0, 1_000_000)] = 5,
    threshold: Annotated[float, Range(0, 1)] = 1e-4,
    cooldown: Annotated[int, Range(0, 1_000_000)] = 0,
    final: Portion = 0.0,
    warmup: Early = 0.0,
) -> float:
    """Drops the rate when the validation loss has not improved for more than `patience` epochs.

    Formula: max(factor^n, final), n drops so far; an epoch is better when loss < best * (1 - threshold); after a drop
    `cooldown` epochs do not count

    The drops are worked out anew from all validation losses so far, so a resumed run repeats them. Without validation
    examples the training loss is watched.
    """
    best, bad, cooling, value = float("inf"), 0, 0, 1.0
    for loss in validation_losses:
        if loss < best - threshold * abs(best) if best < float("inf") else loss < best:
            best, bad = loss, 0
        else:
            bad += 1
        if cooling > 0:
            cooling, bad = cooling - 1, 0
        if bad > patience:
            value, cooling, bad = max(value * factor, final), cooldown, 0
    return value * _risen(progress_steps, total_steps, warmup)[0]


@SCHEDULES.add(source="Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts")
def cosine(progress_steps: int, total_steps: int, *, warmup: Early = 0.0, final: Portion = 0.0) -> float:
    """Follows half a cosine from 1 down to `final`, after a linear warm-up.

    Formula: (t+1)/W for t < W = warmup * total; then final + (1 - final)(1 + cos(pi q))/2, q = (t - W)/(total - W)
    """
    rising, q = _risen(progress_steps, total_steps, warmup)
    return rising if rising < 1 else final + (1 - final) * (1 + cos(pi * q)) / 2


@SCHEDULES.add(source="Goyal et al. 2017, arXiv:1706.02677 (warm-up); linear decay to the end")
def linear(progress_steps: int, total_steps: int, *, warmup: Early = 0.0, final: Portion = 0.0) -> float:
    """Falls in a straight line from 1 to `final`, after a linear warm-up.

    Formula: (t+1)/W for t < W = warmup * total; then 1 - (1 - final) q, q = (t - W)/(total - W)
    """
    rising, q = _risen(progress_steps, total_steps, warmup)
    return rising if rising < 1 else 1 - (1 - final) * q


@SCHEDULES.add(source="Goyal et al. 2017, arXiv:1706.02677, section 2.2")
def warmup(progress_steps: int, total_steps: int, *, share: Early = 0.1) -> float:
    """Raises the rate in a straight line over the first share of the training, then keeps it.

    Formula: min(1, (t+1)/W), W = share * total
    """
    return _risen(progress_steps, total_steps, share)[0]


@SCHEDULES.add(source="Smith and Topin 2018, arXiv:1708.07120")
def one_cycle(
    progress_steps: int,
    total_steps: int,
    *,
    warmup: Annotated[float, Range(0, 0.99)] = 0.2,
    start: Portion = 0.04,
    final: Portion = 0.0,
    shape: Literal["linear", "cosine"] = "linear",
) -> float:
    """Rises from `start` to 1 and falls to `final`; the optimizer's rate is the peak.

    Formula: start + (1 - start) r, r = t / W for t < W = warmup * total; then 1 - (1 - final) q,
    q = (t - W)/(total - W); `cosine` puts (1 - cos(pi x))/2 in place of r and q
    """
    peak = round(warmup * total_steps)
    bend = (lambda x: (1 - cos(pi * x)) / 2) if shape == "cosine" else (lambda x: x)
    if progress_steps < peak:
        return start + (1 - start) * bend(progress_steps / peak)
    return 1 - (1 - final) * bend(_share(progress_steps - peak, total_steps - peak))


def _share(done: int, total: int) -> float:
    return min(max(done / total, 0.0), 1.0) if total > 0 else 1.0


def _risen(t: int, total: int, share: float) -> tuple[float, float]:
    """The warm-up's factor (1 once it is over) and the share of the rest that is done."""
    steps = round(share * total)
    if t < steps - 1:
        return (t + 1) / steps, 0.0
    return 1.0, _share(t - steps, total - steps)
