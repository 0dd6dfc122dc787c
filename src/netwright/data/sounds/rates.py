"""One rate for all recordings: others are filtered and resampled."""

from functools import lru_cache
from math import gcd

import numpy as np
from jaxtyping import Float, Num

from netwright.data.sounds.wav import SAMPLE_LIMIT
from netwright.data.source import Recordings
from netwright.errors import DataError
from netwright.language import say

FULL_SCALE = 2.0**15
"""What int16 samples are divided by."""


def as_float(samples: Num[np.ndarray, "samples"]) -> Float[np.ndarray, "samples"]:
    """Samples as float32, full scale being 1."""
    return samples * np.float32(1 / FULL_SCALE) if samples.dtype == np.int16 else samples.astype(np.float32, copy=False)


def resampled(samples: Num[np.ndarray, "samples"], rate: int, wanted: int) -> Num[np.ndarray, "samples"]:
    """The same sound at `wanted` samples a second; untouched where it has that rate already.

    Formula: y = every D-th of (h * x put U apart), U / D = wanted / rate in lowest terms, h a windowed sinc of
    20 max(U, D) + 1 taps (Kaiser, beta 5) that lets pass what both rates can hold; len(y) = ceil(len(x) U / D).
    Errors: DataError where the result would be too long.
    """
    if rate == wanted:
        return samples
    shared = gcd(rate, wanted)
    up, down = wanted // shared, rate // shared
    if len(samples) * up // down > SAMPLE_LIMIT:
        text = say("{count} samples at {rate} a second are too many to resample to {wanted}",
                   count=f"{len(samples):,}", rate=rate, wanted=wanted)  # fmt: skip
        raise DataError(text)
    from scipy.signal import resample_poly

    found = resample_poly(as_float(samples).astype(np.float64), up, down, window=_taps(max(up, down)))
    return np.asarray(found, dtype=np.float32)


@lru_cache(4)
def _taps(widest: int) -> np.ndarray:
    """The filter of `resampled`, once for all recordings of one rate: of odd rates it has millions of taps."""
    from scipy.signal import firwin

    return np.asarray(firwin(20 * widest + 1, 1 / widest, window=("kaiser", 5.0)))


def at_rate(recordings: Recordings, rate: int) -> Recordings:
    """The same recordings at `rate` samples a second; untouched where they have it already."""
    if recordings.rate == rate:
        return recordings
    return Recordings([resampled(wave, recordings.rate, rate) for wave in recordings.waves], rate)


def behind(first: Recordings, second: Recordings) -> Recordings:
    """The recordings of two places behind one another, at the rate of the first."""
    return Recordings([*first.waves, *at_rate(second, first.rate).waves], first.rate)
