"""Log-mel features: how much power each band of pitch holds, frame by frame."""

from dataclasses import asdict, dataclass
from functools import cached_property
from math import ceil, log2
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn import functional

from netwright.data.sounds.rates import as_float
from netwright.errors import UsageError
from netwright.language import say

FLOOR = 1e-8
"""Added to the power of every band, so that digital silence has a logarithm; 16-bit noise lies above it."""
BLOCK = 2**13
"""Frames that are worked on at once, so that an hour of sound takes no more memory than a minute."""
MelScale = Literal["htk", "slaney"]


def hz_to_mel(hz: Num[np.ndarray, "*any"], scale: MelScale) -> Float[np.ndarray, "*any"]:
    """Pitch in mel.

    Formula: htk 2595 log10(1 + f / 700); slaney 3 f / 200 below 1000 Hz, above 15 + 27 ln(f / 1000) / ln 6.4.
    """
    f = np.asarray(hz, dtype=np.float64)
    if scale == "htk":
        return np.asarray(2595 * np.log10(1 + f / 700))
    return np.where(f < 1000, 3 * f / 200, 15 + 27 * np.log(np.maximum(f, 1000) / 1000) / np.log(6.4))


def mel_to_hz(mel: Num[np.ndarray, "*any"], scale: MelScale) -> Float[np.ndarray, "*any"]:
    """Pitch in Hz, the inverse of `hz_to_mel`."""
    m = np.asarray(mel, dtype=np.float64)
    if scale == "htk":
        return np.asarray(700 * (10 ** (m / 2595) - 1))
    return np.where(m < 15, 200 * m / 3, 1000 * np.exp((m - 15) * np.log(6.4) / 27))


def mel_filters(bins: int, rate: int, mels: int, scale: MelScale) -> Float[np.ndarray, "bins mels"]:
    """Triangles of `mels` bands over the `bins` frequencies 0 ... rate / 2, evenly apart in mel.

    Formula: with edges e_0 ... e_(mels + 1) evenly spaced in mel from 0 to rate / 2, band m at frequency f is
    max(0, min((f - e_(m-1)) / (e_m - e_(m-1)), (e_(m+1) - f) / (e_(m+1) - e_m))): 1 in its middle. Under `slaney`
    each band is divided by half its width in Hz, so that all have the same area.
    """
    edges = mel_to_hz(np.linspace(0, float(hz_to_mel(np.array(rate / 2), scale)), mels + 2), scale)
    f = np.linspace(0, rate / 2, bins)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    found = np.maximum(0, np.minimum((f - low) / (middle - low), (high - f) / (high - middle)))
    return found * (2 / (high - low)) if scale == "slaney" else found


@dataclass(frozen=True)
class LogMel:
    """Log-mel features of waves at one rate."""

    rate: int
    mels: int = 40
    frame_ms: float = 25.0
    hop_ms: float = 10.0
    scale: MelScale = "htk"
    deltas: int = 0

    def __post_init__(self) -> None:
        empty = int((self._filters.sum(axis=0) == 0).sum())
        if empty:
            text = say("data.mels = {mels}: at {rate} samples a second and frames of {frame} ms, {count} bands hold no "
                       "frequency; take fewer bands or longer frames",
                       mels=self.mels, rate=self.rate, frame=f"{self.frame_ms:g}", count=empty)  # fmt: skip
            raise UsageError(text)

    @property
    def frame(self) -> int:
        """Samples of a frame."""
        return max(2, round(self.rate * self.frame_ms / 1000))

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return max(1, round(self.rate * self.hop_ms / 1000))

    @property
    def width(self) -> int:
        """Samples of the Fourier transform: the power of two that holds a frame, or up to 64 times that, so that every
        band holds a frequency (zeros around a frame give its spectrum at more places)."""
        return 2 * (len(self._filters) - 1)

    @property
    def features(self) -> int:
        """Numbers of a frame: the bands, and their first and second derivatives where asked for."""
        return self.mels * (1 + self.deltas)

    def steps(self, samples: int) -> int:
        """Frames of a wave of `samples` samples."""
        return 1 + samples // self.hop

    @cached_property
    def _filters(self) -> np.ndarray:
        least = 2 ** ceil(log2(self.frame))
        for width in (least * 2**more for more in range(7)):
            found = mel_filters(width // 2 + 1, self.rate, self.mels, self.scale)
            if found.any(axis=0).all():
                break
        return found

    @cached_property
    def _bands(self) -> Tensor:
        return torch.from_numpy(self._filters).float()

    @cached_property
    def _window(self) -> Tensor:
        return torch.hann_window(self.frame, dtype=torch.float64).float()

    def __call__(self, wave: Num[np.ndarray, "samples"]) -> Float[Tensor, "steps features"]:
        """The features of one wave; they depend on nothing but that wave.

        Formula: frame t is x[t hop - width / 2 ...] (zeros beyond both ends) times a periodic Hann window of `frame`
        samples in its middle; P = |DFT|^2 of `width` points; y = ln(P W + 1e-8), W from `mel_filters`. Frames:
        1 + floor(samples / hop).
        """
        x = functional.pad(torch.from_numpy(np.ascontiguousarray(as_float(wave))), (self.width // 2, self.width // 2))
        steps = self.steps(len(wave))
        found = torch.empty(steps, self.mels)
        for first in range(0, steps, BLOCK):
            last = min(first + BLOCK, steps)
            piece = x[first * self.hop : (last - 1) * self.hop + self.width]
            spectrum = torch.stft(
                piece, self.width, self.hop, self.frame, self._window, center=False, return_complex=True
            )
            power = spectrum.real.square() + spectrum.imag.square()
            found[first:last] = (power.T @ self._bands + FLOOR).log()
        parts = [found]
        for _ in range(self.deltas):
            parts.append(delta(parts[-1]))
        return torch.cat(parts, 1) if self.deltas else found

    def state(self) -> dict[str, Any]:
        """All settings."""
        return asdict(self)


def delta(features: Float[Tensor, "steps features"], reach: int = 2) -> Float[Tensor, "steps features"]:
    """How fast features change: the slope of the least-squares line over `reach` frames on each side.

    Formula: d_t = sum_(k=1..reach) k (c_(t+k) - c_(t-k)) / (2 sum k^2), the first and last frame repeated at the ends.
    """
    steps = len(features)
    wide = functional.pad(features.T[None], (reach, reach), mode="replicate")[0].T
    found = torch.zeros_like(features)
    for k in range(1, reach + 1):
        found += k * (wide[reach + k : reach + k + steps] - wide[reach - k : reach - k + steps])
    return found / (2 * sum(k * k for k in range(1, reach + 1)))
