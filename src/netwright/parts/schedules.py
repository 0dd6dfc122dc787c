"""Schedules: the factor on the learning rate as a pure function of the steps done and the steps in all.

Step t counts from 0 to total - 1; shares are shares of the whole training, so a schedule fits any length. Nothing keeps
a state: a resumed run asks for the same factor again.
"""

from math import cos, pi
from typing import Annotated, Literal

from netwright.catalogue import SCHEDULES, Range

Portion = Annotated[float, Range(0, 1)]
Early = Annotated[float, Range(0, 0.99)]


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
    every: Annotated[float, Range(1e-6, 1)] = 1 / 3,
    gamma: Annotated[float, Range(1e-6, 1)] = 0.1,
) -> float:
    """Drops the rate by a factor each time a share of the training is done.

    Formula: gamma^floor(t / (every * total)); `every` is a share (1/3: two drops)
    """
    return float(gamma ** int(progress_steps / max(every * total_steps, 1e-12) + 1e-9))


@SCHEDULES.add(source="geometric decay, as in Szegedy et al. 2015, arXiv:1512.00567, section 8")
def exponential(progress_steps: int, total_steps: int, *, final: Annotated[float, Range(1e-9, 1)] = 0.01) -> float:
    """Shrinks the rate by the same ratio at every step.

    Formula: final^(t / total)
    """
    return float(final ** _share(progress_steps, total_steps))


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
