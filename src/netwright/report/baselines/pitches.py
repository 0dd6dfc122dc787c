"""What music costs where every voice plays for itself: the reference of a model of chords over time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from netwright.errors import UsageError
from netwright.language import say

PITCHES = 128
SMOOTHING = 0.5
"""What every outcome counts beforehand (Jeffreys' prior)."""

Pieces = Sequence[Sequence[Sequence[int]]]
"""Pieces of steps of pitches, as `netwright.data.music.chords.steps_of` gives a piece."""


def independent_voices(train: Pieces, test: Pieces) -> Float[np.ndarray, "steps"]:
    """-ln p of every test step where each voice draws its pitch from its own frequencies, whatever else sounds.

    Formula: -sum_v ln((N_v(x_v) + 1/2) / (steps + 129 / 2)), where voice v is the v-th pitch from above, x_v is its
    pitch, or "none" where fewer sound: 129 outcomes. There are as many voices as the fullest training step has, at
    least one; every further pitch of a test step costs ln 128.
    """
    voices = max((len(set(step)) for piece in train for step in piece), default=0) or 1
    counts = np.full((voices, PITCHES + 1), SMOOTHING)
    for row, _ in _rows(train, voices):
        counts[np.arange(voices), row] += 1
    costs = -np.log(counts / counts.sum(axis=1, keepdims=True))
    found = [costs[np.arange(voices), row].sum() + more * np.log(PITCHES) for row, more in _rows(test, voices)]
    return np.array(found, np.float64)


def independent_pitches(train: Pieces, test: Pieces) -> Float[np.ndarray, "steps"]:
    """-ln p of every test step where each of 128 pitches sounds or not by its own frequency, whatever else sounds.

    Formula: -sum_k ln p_k(sounds or not), p_k = (steps with pitch k + 1/2) / (steps + 1).
    """
    steps = sum(map(len, train))
    share = (sum((_sounding(piece).sum(axis=0) for piece in train), np.zeros(PITCHES)) + SMOOTHING) / (steps + 1)
    on, off = -np.log(share), -np.log1p(-share)
    found = [_sounding(piece) @ (on - off) + off.sum() for piece in test]
    return np.concatenate([*found, np.zeros(0)])


def _rows(pieces: Pieces, voices: int) -> list[tuple[np.ndarray, int]]:
    """Of every step the outcome of each voice, and how many pitches are left over."""
    found = []
    for piece in pieces:
        for step in piece:
            pitches = sorted(_checked(step), reverse=True)
            row = np.full(voices, PITCHES)
            row[: len(pitches)] = pitches[:voices]
            found.append((row, max(0, len(pitches) - voices)))
    return found


def _sounding(piece: Sequence[Sequence[int]]) -> np.ndarray:
    """(steps, 128): 1 where a pitch sounds."""
    found = np.zeros((len(piece), PITCHES))
    for place, step in enumerate(piece):
        found[place, list(_checked(step))] = 1
    return found


def _checked(step: Sequence[int]) -> set[int]:
    pitches = set(step)
    if pitches and not (min(pitches) >= 0 and max(pitches) < PITCHES):
        raise UsageError(say("pitches lie between 0 and 127; here are {pitches}", pitches=sorted(pitches)))
    return pitches
