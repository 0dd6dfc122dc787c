"""From recordings to what a network reads: standardised log-mel features, fitted on the training split."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from netwright.catalogue import Range
from netwright.data.sounds.features import LogMel, MelScale
from netwright.data.sounds.rates import resampled
from netwright.data.source import Recordings
from netwright.errors import DataError
from netwright.language import say
from netwright.parts.sequences import Ragged, Sequences

Normalize = Literal["auto", "standard", "unit", "none"]


@dataclass(frozen=True)
class SoundEncoder:
    """Recordings as sequences of standardised log-mel features; recordings at another rate are resampled."""

    log_mel: LogMel
    mean: Float[Tensor, "features"]
    scale: Float[Tensor, "features"]
    steps: int
    """Frames of the longest training recording."""

    @property
    def inputs(self) -> dict[str, Any]:
        return {"kind": "sequence", "steps": self.steps, "features": self.log_mel.features, "variable": True}

    @property
    def rate(self) -> int:
        """Samples a second of the waves that features are made of."""
        return self.log_mel.rate

    def ragged(self, recordings: Recordings) -> Ragged:
        """(frames, features) of each recording, standardised, end to end."""
        found = raw_features(self.log_mel, recordings)
        return Ragged(found.flat.sub_(self.mean).mul_(self.scale), found.starts)

    def encode(self, recordings: Recordings) -> Sequences:
        """A batch of them, padded with zeros."""
        return self.ragged(recordings).padded()

    def state(self) -> dict[str, Any]:
        """Plain JSON from which `from_state` makes an encoder that gives the same numbers."""
        numbers = {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "steps": self.steps}
        return {"kind": "recording", "log_mel": self.log_mel.state(), **numbers}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "SoundEncoder":
        """The encoder whose `state` this is."""
        mean, scale = (torch.tensor(state[name], dtype=torch.float32) for name in ("mean", "scale"))
        return cls(LogMel(**state["log_mel"]), mean, scale, int(state["steps"]))


def raw_features(log_mel: LogMel, recordings: Recordings) -> Ragged:
    """The features of recordings before they are standardised."""
    rate = log_mel.rate
    lengths = [-(-len(wave) * rate // recordings.rate) for wave in recordings.waves]
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum([log_mel.steps(length) for length in lengths], out=starts[1:])
    flat = torch.empty(int(starts[-1]), log_mel.features)
    for place, wave in enumerate(recordings.waves):
        found = log_mel(resampled(wave, recordings.rate, rate))
        flat[int(starts[place]) : int(starts[place + 1])] = found
    return Ragged(flat, starts)


def fit_sounds(
    recordings: Recordings,
    *,
    mels: Annotated[int, Range(4, 512)] = 40,
    frame_ms: Annotated[float, Range(2, 1000)] = 25.0,
    hop_ms: Annotated[float, Range(1, 1000)] = 10.0,
    mel_scale: MelScale = "htk",
    deltas: Annotated[int, Range(0, 2)] = 0,
    normalize: Normalize = "auto",
) -> SoundEncoder:
    """The encoder of training recordings.

    Formula: z = (y - mean) / deviation of each feature over all training frames (population deviation).

    Args:
        mels: bands of pitch, 23 to 128 usually.
        frame_ms, hop_ms: milliseconds of a frame, and from one frame to the next.
        mel_scale: `htk` or `slaney`, as in `mel_filters`.
        deltas: 1 adds the slope of each band, 2 the slope of the slope too.
        normalize: `auto` and `standard` as above, `unit` to 0..1 by the training range, `none` the logarithms alone.

    Errors: DataError without recordings, UsageError for bands too narrow for the frames.
    """
    if not len(recordings):
        raise DataError(say("no recording is left to fit features on"))
    log_mel = LogMel(recordings.rate, mels, float(frame_ms), float(hop_ms), mel_scale, deltas)
    found = raw_features(log_mel, recordings)
    mean, scale = _statistics(found.flat, normalize)
    return SoundEncoder(log_mel, mean.float(), scale.float(), int(found.lengths.max()))


def _statistics(flat: Float[Tensor, "steps features"], normalize: Normalize) -> tuple[Tensor, Tensor]:
    """What is taken from each feature, and what it is then multiplied by; summed in float64, part by part."""
    if normalize == "none":
        return torch.zeros(flat.shape[1]), torch.ones(flat.shape[1])
    if normalize == "unit":
        low, high = flat.amin(0).double(), flat.amax(0).double()
        return low, torch.where(high > low, 1 / (high - low), 1.0)
    parts = flat.split(2**16)
    mean = torch.stack([part.double().sum(0) for part in parts]).sum(0) / len(flat)
    square = torch.stack([(part.double() - mean).square().sum(0) for part in parts]).sum(0) / len(flat)
    return mean, torch.where(square > 1e-12, square.rsqrt(), 1.0)
