"""The scan (P1): the numbers of examples and targets, before any network has seen them."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from netwright.doctor.gauges.layouts import Layout, layout
from netwright.doctor.gauges.learners import form_of
from netwright.doctor.gauges.shifts import Shift, shift
from netwright.doctor.gauges.target_scan import Order, Targets, order_of, scan_targets
from netwright.doctor.stopwatch import Stopwatch

ROWS = 20_000
"""At most so many examples are measured (non-finite numbers: all of them)."""
VALUES = 40_000_000
"""At most so many numbers are measured."""
CHECKED = 2000
"""At most so many features are searched for sentinels."""
NAMED = 50
"""At most so many rows, features or sentinels are named; the rest is counted."""
SPIKE = 0.05
"""A larger share of one extreme value, far from the rest, may be a sentinel."""
CODES = (-99.0, -999.0, -9999.0, -99999.0)
"""Values that stand for `missing` wherever all others are not negative."""


@dataclass(frozen=True)
class Sentinel:
    """One value that many examples share, far from all others of its feature."""

    feature: int
    value: float
    share: float


@dataclass(frozen=True)
class Scan:
    """What the numbers are like. A feature is a column, a channel of pictures, or a column of a sequence's steps."""

    examples: int
    form: str
    dtype: str
    non_finite: int
    non_finite_rows: tuple[int, ...]
    non_finite_features: tuple[int, ...]
    mean: Float[np.ndarray, "features"]
    std: Float[np.ndarray, "features"]
    low: Float[np.ndarray, "features"]
    high: Float[np.ndarray, "features"]
    rms: float
    """Root of the mean square of all numbers."""
    spread: float
    """Root of the mean variance of the features: how far examples differ."""
    largest: float
    """The largest absolute value."""
    constants: tuple[int, ...]
    """Features with one value only."""
    scale_ratio: float
    """Largest over smallest std of the features that vary."""
    range_ratio: float
    """Largest over smallest range: also rare events have a small std, so different units show in both ratios."""
    offset: float
    """Largest |mean| / std of the features that vary."""
    offsets: int
    """Features with |mean| > 3 std."""
    sentinels: tuple[Sentinel, ...]
    whole: float
    """Share of features of whole numbers with at most 20 values: codes, counts, yes or no."""
    targets: Targets | None
    order: Order | None
    layout: Layout | None
    shift: Shift | None
    seconds: float

    @property
    def features(self) -> int:
        return len(self.mean)

    def to_json(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name)[:NAMED].tolist() for name in ("mean", "std", "low", "high")}
        return {**asdict(self), **arrays}


def scan(
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    x_validation: np.ndarray | None = None,
    y_validation: np.ndarray | None = None,
    form: str = "auto",
    kind: str = "auto",
    batch: int = 32,
    seed: int = 0,
) -> Scan:
    """What the numbers of the examples, and of their targets, are like.

    `x` (N, ...) of any shape, `y` (N, ...) or None; `form` and `kind` as for `control`, `auto`: told by shape and
    values. Non-finite numbers are counted in all examples and left out of every other figure, for which at most
    20,000 examples are drawn. `batch` is the size of the batches whose mix of classes `order` tells.

    Formula: rms = sqrt(mean x^2); spread = sqrt(mean over features of var)
    """
    watch = Stopwatch()
    x = np.asarray(x)
    x = x.reshape(-1, 1) if x.ndim < 2 else x
    form = form_of(x) if form == "auto" else form
    count, rows, columns = _non_finite(x, form)
    drawn = _sample(x, seed)
    flat = _by_feature(drawn, form)
    finite = np.isfinite(flat)
    mean, std, low, high = _statistics(flat, finite)
    known = np.where(finite, flat, 0.0)
    varies = (high > low) & np.isfinite(std) & (std > 0)
    ranges, spreads = (high - low)[varies], std[varies]
    offsets = np.abs(mean[varies]) / spreads
    total = max(1, int(finite.sum()))
    spikes = [] if form in ("tokens", "pictures") else sentinels(flat)
    target = None if y is None else scan_targets(y, kind)
    return Scan(
        len(x), form, str(x.dtype), count, rows, columns, mean, std, low, high,
        rms=_root(float(np.square(known / _scale(known)).sum() / total)) * _scale(known),
        spread=float(np.sqrt(np.mean(np.square(std)))) if len(std) else 0.0,
        largest=float(np.abs(known).max()) if known.size else 0.0,
        constants=tuple(np.flatnonzero((high == low) & finite.any(0)).tolist()),
        scale_ratio=float(spreads.max() / spreads.min()) if len(spreads) else 1.0,
        range_ratio=float(ranges.max() / ranges.min()) if len(ranges) else 1.0,
        offset=float(offsets.max()) if len(offsets) else 0.0,
        offsets=int((offsets > 3).sum()),
        sentinels=tuple(spikes[:NAMED]),
        whole=_whole(flat),
        targets=target,
        order=None if y is None or target is None else order_of(y, target.kind, batch=batch, seed=seed),
        layout=layout(x, seed=seed) if form == "pictures" else None,
        shift=None if x_validation is None else shift(
            flat, _by_feature(_sample(np.asarray(x_validation), seed), form), y, y_validation,
            dtypes=(str(x.dtype), str(np.asarray(x_validation).dtype)),
        ),
        seconds=watch.seconds,
    )  # fmt: skip


def _root(value: float) -> float:
    return float(np.sqrt(value))


def _scale(known: np.ndarray) -> float:
    """What to divide by so that squares stay finite."""
    return max(1e-300, float(np.abs(known).max())) if known.size else 1.0


def _non_finite(x: np.ndarray, form: str) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """How many numbers are NaN or infinite, in which rows and features; a few thousand numbers at a time."""
    if not np.issubdtype(x.dtype, np.inexact) or not x.size:
        return 0, (), ()
    count = 0
    rows: list[int] = []
    width = 1 if form == "tokens" else x.shape[1] if x.ndim in (2, 4) else x.shape[-1]
    hit = np.zeros(width, dtype=bool)
    step = max(1, 4_000_000 // max(1, x[0].size))
    for first in range(0, len(x), step):
        bad = ~np.isfinite(x[first : first + step])
        if bad.any():
            count += int(bad.sum())
            rows += (first + np.flatnonzero(bad.reshape(len(bad), -1).any(1))).tolist()[: NAMED - len(rows)]
            hit |= _by_feature(bad, form).any(0)
    return count, tuple(rows), tuple(np.flatnonzero(hit).tolist()[:NAMED])


def _sample(x: np.ndarray, seed: int) -> np.ndarray:
    most = max(1, min(ROWS, VALUES // max(1, x[0].size if len(x) else 1)))
    if len(x) <= most:
        return x
    return x[np.sort(np.random.default_rng(seed).choice(len(x), most, replace=False))]


def _by_feature(x: np.ndarray, form: str) -> np.ndarray:
    """One row an observation, one column a feature: channels of pixels, columns of steps; tokens are one feature."""
    x = x.reshape(-1, 1) if x.ndim < 2 or form == "tokens" else x
    if x.ndim == 4:
        x = np.moveaxis(x, 1, -1)
    if x.dtype != bool:
        with np.errstate(over="ignore", invalid="ignore"):
            x = x.astype(np.float64)
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


def _statistics(flat: Float[np.ndarray, "rows features"], finite: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean, std, smallest and largest finite value of each feature; 0 where it has none."""
    count = np.maximum(1, finite.sum(0))
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.where(finite, flat, 0.0).sum(0) / count
        std = np.sqrt(np.square(np.where(finite, flat - mean, 0.0)).sum(0) / count)
    low = np.where(finite, flat, np.inf).min(0, initial=np.inf)
    high = np.where(finite, flat, -np.inf).max(0, initial=-np.inf)
    empty = ~finite.any(0)
    std = np.where(high > low, std, 0.0)
    return mean, std, np.where(empty, 0.0, low), np.where(empty, 0.0, high)


def sentinels(flat: Float[np.ndarray, "rows features"]) -> list[Sentinel]:
    """Values that stand for `missing`: one end of a feature, shared by over 5 %, farther off than the rest is wide.

    Not so are yes-no columns, ordinals, and natural ends such as 0 and 255. A value of -99, -999, ... where all others
    are 0 or more counts at any distance.
    """
    found = []
    columns = range(flat.shape[1])
    if flat.shape[1] > CHECKED:
        columns = np.linspace(0, flat.shape[1] - 1, CHECKED).astype(int).tolist()
    for feature in columns:
        values = flat[:, feature]
        values = values[np.isfinite(values)]
        if len(values) < 20:
            continue
        for end in (float(values.min()), float(values.max())):
            share = float(np.mean(values == end))
            if SPIKE <= share <= 0.7 and _is_far(end, values[values != end]):
                found.append(Sentinel(int(feature), end, share))
    return sorted(found, key=lambda spike: -spike.share)


def _is_far(end: float, rest: np.ndarray) -> bool:
    """Whether `end` lies farther from the nearest other value than the others are wide."""
    if not len(rest):
        return False
    if end in CODES and rest.min() >= 0:
        return True
    if len(np.unique(rest[:2000])) < 5:
        return end in (*CODES, 99.0, 999.0, 9999.0) and abs(end) > 5 * float(np.abs(rest).max())
    gap = float(np.abs(rest - end).min())
    inner, outer = np.quantile(rest, [0.01, 0.99])
    return gap > 1.5 * float(outer - inner)


def _whole(flat: Float[np.ndarray, "rows features"]) -> float:
    """Share of features whose values are whole numbers of at most 20 kinds."""
    some = flat[:2000, :CHECKED]
    if not some.size:
        return 0.0
    with np.errstate(invalid="ignore"):
        integral = np.where(np.isfinite(some), some == np.rint(some), True).all(0)
    few = np.array([len(np.unique(column)) <= 20 for column in some.T])
    return float((integral & few).mean())
