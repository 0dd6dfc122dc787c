"""The references for chords over time against loops over steps, and by enumeration."""

import itertools
import math

import numpy as np
import pytest

from netwright.errors import UsageError
from netwright.report.baselines.pitches import independent_pitches, independent_voices


def test_voices_equal_a_count_by_hand():
    train = [[(60, 48), (60, 50)], [(62,)]]
    # Voice 1: 60 twice, 62 once; voice 2: 48, 50 and none once each; 129 outcomes count a half each beforehand.
    total = 3 + 129 / 2
    expected = [
        -math.log(2.5 / total) - math.log(1.5 / total),  # 60 above 48
        -math.log(1.5 / total) - math.log(1.5 / total),  # 62 alone
        -2 * math.log(0.5 / total),  # 71 above 70
        -math.log(0.5 / total) - math.log(1.5 / total),  # silence
        -2 * math.log(0.5 / total) + math.log(128),  # three notes, of which two are voices
    ]
    found = independent_voices(train, [[(48, 60), (62,)], [(70, 71), (), (10, 20, 30)]])
    np.testing.assert_allclose(found, expected)


def test_pitches_equal_a_loop():
    draw = np.random.default_rng(0)
    train, test = ([[set(draw.integers(40, 60, 3).tolist()) for _ in range(9)] for _ in range(4)] for _ in range(2))
    steps = [step for piece in train for step in piece]
    share = [(sum(pitch in step for step in steps) + 0.5) / (len(steps) + 1) for pitch in range(128)]
    expected = [
        -sum(math.log(share[pitch] if pitch in step else 1 - share[pitch]) for pitch in range(128))
        for piece in test
        for step in piece
    ]
    np.testing.assert_allclose(independent_pitches(train, test), expected)


def test_probabilities_of_all_chords_sum_to_one(monkeypatch):
    monkeypatch.setattr("netwright.report.baselines.pitches.PITCHES", 6)
    train = [[(0, 3), (1, 3), (2,)], [()]]
    chords = [chord for count in range(7) for chord in itertools.combinations(range(6), count)]
    assert len(chords) == 64
    assert np.exp(-independent_pitches(train, [chords])).sum() == pytest.approx(1)


def test_no_pieces():
    assert independent_pitches([], []).shape == independent_voices([], []).shape == (0,)
    np.testing.assert_allclose(independent_voices([], [[(60,)]]), [math.log(129)])
    np.testing.assert_allclose(independent_pitches([], [[(60,)]]), [128 * math.log(2)])


@pytest.mark.parametrize("method", [independent_pitches, independent_voices])
def test_other_pitches_are_refused(method):
    with pytest.raises(UsageError, match=r"between 0 and 127; here are \[60, 128\]"):
        method([[(60,)]], [[(128, 60)]])


@pytest.mark.shared_data
def test_chorales(shared_data):
    import json

    roll = json.loads((shared_data / "jsb-chorales" / "jsb-chorales-quarter.json").read_text())
    assert independent_pitches(roll["train"], roll["test"]).mean() == pytest.approx(11.062, abs=0.002)
    assert independent_voices(roll["train"], roll["test"]).mean() == pytest.approx(11.088, abs=0.002)
