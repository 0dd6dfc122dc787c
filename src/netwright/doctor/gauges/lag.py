"""How far a training stays behind what simple learners reach, and whether its loss is still falling."""

import math
from statistics import median

from netwright.doctor.chart import Chart
from netwright.doctor.gauges.whole import Whole
from netwright.doctor.suspicion import Unmeasured


def lag(chart: Chart) -> float:
    """The skill that simple learners are ahead by, 0 where the network keeps up; NaN where nobody knows."""
    whole = chart.whole
    if not whole.finite:
        return 1.0
    try:
        best = chart.control.skill
    except Unmeasured:
        best = math.nan
    if math.isfinite(best) and math.isfinite(whole.skill):
        return max(0.0, best - whole.skill)
    if whole.base > 0 and math.isfinite(whole.last):
        return max(0.0, min(1.0, whole.last / whole.base))
    return math.nan


def lags(chart: Chart, margin: float = 0.05) -> bool:
    """Whether it stays behind by more than a margin; where nobody knows, it may."""
    found = lag(chart)
    return not found <= margin


def windows(losses: list[float], count: int = 20) -> list[float]:
    """The medians of so many equal parts of a row of losses, in order."""
    size = max(1, len(losses) // count)
    parts = [losses[place : place + size] for place in range(0, len(losses) - size + 1, size)]
    return [median(part) for part in parts]


def further_gain(whole: Whole) -> float:
    """How far the loss would still fall in as many steps again, by a power law through the last half of it.

    Formula: L (1 - 2^s), s the slope of log L over log t; for losses that are not positive -b log 2, b the slope of L
    """
    if not whole.finite or whole.steps < 8:
        return 0.0
    size = max(1, whole.steps // 40)
    points = [
        (math.log(place + size / 2), sum(whole.losses[place : place + size]) / size)
        for place in range(whole.steps // 3, whole.steps - size + 1, size)
    ]
    points = [(t, loss) for t, loss in points if math.isfinite(loss)]
    if len(points) < 3:
        return 0.0
    if min(loss for _, loss in points) > 0:
        slope, at_end = line([(t, math.log(loss)) for t, loss in points], math.log(whole.steps))
        return float(math.exp(at_end) * (1 - 2**slope)) if slope < 0 else 0.0
    slope, _ = line(points, math.log(whole.steps))
    return max(0.0, -slope * math.log(2))


def line(points: list[tuple[float, float]], place: float) -> tuple[float, float]:
    """The slope of the straight line through points by least squares, and its value at a place."""
    count = len(points)
    mean_t, mean_y = sum(t for t, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    slope = sum((t - mean_t) * (y - mean_y) for t, y in points) / spread if spread else 0.0
    return slope, mean_y + slope * (place - mean_t)
