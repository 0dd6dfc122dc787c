"""Windows of a series, cut when asked for, and splits in the order of time that let no target be seen before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Windows of one series: example i is the `window` steps of `values` from `starts[i]` on."""

    values: Float[Tensor, "steps features"]
    starts: Int[np.ndarray, "examples"]
    window: int

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> Float[Tensor, "batch window features"]:
        """The windows at `positions`, in that order."""
        chosen = torch.from_numpy(self.starts)[torch.as_tensor(positions, dtype=torch.int64)]
        return self.values[chosen[:, None] + torch.arange(self.window)]


def futures(
    values: Float[np.ndarray, "steps"], starts: Int[np.ndarray, "examples"], window: int, horizon: int
) -> Float[np.ndarray, "examples horizon"]:
    """The `horizon` values that follow each window."""
    return np.asarray(values[(starts + window)[:, None] + np.arange(horizon)])


def whole_windows(
    breaks: np.ndarray, unusable: np.ndarray, filled: np.ndarray, window: int, horizon: int
) -> tuple[np.ndarray, int]:
    """Where windows can start, and how many more could but for filled values among their targets.

    A window with its targets has no `unusable` step and no break (a large gap before a step) within; at most a
    quarter of its targets are `filled`. All three are masks over the steps.
    """
    count = len(breaks) - window - horizon + 1
    if count < 1:
        return np.zeros(0, np.int64), 0
    start = np.arange(count)
    end = start + window + horizon
    cuts, bad, made = (np.concatenate([[0], np.cumsum(mask)]) for mask in (breaks, unusable, filled))
    whole = (cuts[end] == cuts[start + 1]) & (bad[end] == bad[start])
    honest = made[end] - made[start + window] <= horizon // 4
    return start[whole & honest], int((whole & ~honest).sum())


def walk_forward(
    starts: Int[np.ndarray, "examples"],
    window: int,
    horizon: int,
    test: float,
    validation: float,
    borders: Mapping[str, int] | None = None,
) -> tuple[dict[str, np.ndarray], int]:
    """Positions of `train`, `validation` and `test` windows in the order of time, and the step where training ends.

    The last share `test` of the windows is tested, the last share `validation` of the rest validates; `borders`
    names the first step of a split's targets instead. Windows whose targets reach into the targets of a later split
    belong to none, so that no number is a target of two; a share above 0 has at least one window. Windows of a later
    split may read what came before.
    Formula: with M windows, test = round(test (M - d)), d the windows lost at borders, horizon - 1 at each.
    """
    borders = borders or {}
    splits: dict[str, np.ndarray] = {}
    pool = np.arange(len(starts))
    border = int(starts[-1]) + window + horizon
    shares = [("test", test), ("validation", validation)]
    for place, (name, share) in enumerate(shares):
        lost = (horizon - 1) * sum(later > 0 for _, later in shares[place:])
        count = max(1, round(share * max(0, len(pool) - lost))) if share > 0 else 0
        if name in borders:
            count = int((starts[pool] + window >= borders[name]).sum())
        elif not count:
            continue
        splits[name] = pool[len(pool) - count :]
        if not len(splits[name]):
            return splits, border
        border = borders.get(name, int(starts[splits[name][0]]) + window)
        pool = pool[: len(pool) - count]
        pool = pool[starts[pool] + window + horizon <= border]
    return {**splits, "train": pool}, border


def naive_error(values: np.ndarray, breaks: np.ndarray, known: np.ndarray, end: int, season: int) -> float:
    """The mean error of repeating the value of `season` steps before, over the steps before `end`.

    Formula: mean |y_t - y_(t-season)| over t < end with both values `known` and no break between; 0 for none.
    """
    later = np.arange(season, max(season, end))
    cuts = np.cumsum(breaks)
    good = known[later] & known[later - season] & (cuts[later] == cuts[later - season])
    later = later[good]
    return float(np.abs(values[later] - values[later - season]).mean()) if len(later) else 0.0


def measured_season(values: np.ndarray) -> int:
    """The season of a series by its autocorrelation: 2 or more steps, or 1 where none stands out.

    Formula: r_k = sum_t x_t x_(t+k) / sum_t x_t^2 of x, the series less its straight line; the lag k from 2 to a
    third of the length at which r_k is largest, where it is a local maximum of at least 0.3 and above 3 / sqrt(n).
    """
    values = values[-20_000:]
    count = len(values)
    if count < 12 or not np.isfinite(values).all():
        return 1
    top = float(np.abs(values).max())
    if top == 0:
        return 1
    steps = np.arange(count) - (count - 1) / 2
    x = values / top - (values / top).mean()
    x = x - steps * float((steps * x).sum() / (steps * steps).sum())
    power = float((x * x).sum())
    if power <= 1e-12 * count:
        return 1
    size = 1 << (2 * count - 1).bit_length()
    spectrum = np.fft.rfft(x, size)
    r = np.fft.irfft(spectrum * spectrum.conj(), size)[: count // 3 + 2] / power
    lags = np.arange(2, len(r) - 1)
    peaks = lags[(r[lags] >= r[lags - 1]) & (r[lags] >= r[lags + 1]) & (r[lags] >= max(0.3, 3 / np.sqrt(count)))]
    return int(peaks[r[peaks].argmax()]) if len(peaks) else 1
