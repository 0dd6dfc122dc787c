"""Log-mel features against plain numpy, resampling, and the encoder fitted on them."""

import json
import time

import numpy as np
import pytest
import torch
from waves import tone

from netwright.data.sounds import features
from netwright.data.sounds.encoder import SoundEncoder, fit_sounds
from netwright.data.sounds.features import LogMel, delta, hz_to_mel, mel_filters, mel_to_hz
from netwright.data.sounds.rates import at_rate, behind, resampled
from netwright.data.source import Recordings
from netwright.errors import DataError, UsageError


def by_hand(x, rate, mels, frame, hop, width, scale):
    """Frame by frame, with a Fourier sum written out and triangles drawn one by one."""
    x = np.asarray(x, np.float64)
    window = np.array([0.5 - 0.5 * np.cos(2 * np.pi * n / frame) for n in range(frame)])
    low = (width - frame) // 2
    f = np.arange(width // 2 + 1) * rate / width
    if scale == "htk":
        top = 2595 * np.log10(1 + rate / 2 / 700)
        edges = [700 * (10 ** (top * m / (mels + 1) / 2595) - 1) for m in range(mels + 2)]
    else:
        top = 15 + np.log(rate / 2 / 1000) / (np.log(6.4) / 27) if rate > 2000 else 3 * rate / 2 / 200
        pitch = [top * m / (mels + 1) for m in range(mels + 2)]
        edges = [p * 200 / 3 if p < 15 else 1000 * 6.4 ** ((p - 15) / 27) for p in pitch]
    rows = []
    for t in range(1 + len(x) // hop):
        piece = np.zeros(width)
        for n in range(frame):
            place = t * hop - width // 2 + low + n
            piece[low + n] = window[n] * (x[place] if 0 <= place < len(x) else 0)
        wave = np.exp(-2j * np.pi * np.outer(np.arange(width // 2 + 1), np.arange(width)) / width)
        power = np.abs(wave @ piece) ** 2
        row = []
        for m in range(mels):
            a, b, c = edges[m : m + 3]
            shape = [(v - a) / (b - a) if a <= v <= b else (c - v) / (c - b) if b < v <= c else 0 for v in f]
            row.append(sum(np.array(shape) * power) * (2 / (c - a) if scale == "slaney" else 1))
        rows.append(np.log(np.array(row) + 1e-8))
    return np.array(rows)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize(("rate", "samples"), [(4000, 333), (8000, 1000), (4000, 1), (4000, 40), (1240, 200)])
def test_log_mel_equals_the_sums_by_hand(scale, rate, samples):
    x = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    made = LogMel(rate, mels=8, scale=scale)
    frame, hop = rate * 25 // 1000, rate // 100
    assert (made.frame, made.hop, made.width) == (frame, hop, {1240: 32, 4000: 128, 8000: 256}[rate])
    found = made(x)
    assert found.shape == (1 + samples // hop, 8) == (made.steps(samples), made.features)
    np.testing.assert_allclose(found, by_hand(x, rate, 8, frame, hop, made.width, scale), rtol=2e-5, atol=2e-4)


def test_int16_is_a_fraction_of_full_scale():
    wave = tone()
    made = LogMel(8000)
    assert torch.equal(made(wave), made((wave / 32768).astype(np.float32)))


def test_long_waves_are_worked_on_in_parts(monkeypatch):
    wave = np.random.default_rng(0).normal(0, 0.1, 3333).astype(np.float32)
    whole = LogMel(8000)(wave)
    for block in (1, 7, 41, 42):
        monkeypatch.setattr(features, "BLOCK", block)
        assert torch.allclose(LogMel(8000)(wave), whole, atol=1e-5)


def test_a_tone_lies_in_its_band():
    for hz in (300, 1000, 2500):
        band = int(LogMel(8000)(tone(hz, 0.3)).mean(0).argmax())
        middle = mel_to_hz(np.linspace(0, hz_to_mel(np.array(4000), "htk"), 42), "htk")[1 + band]
        assert abs(middle - hz) < 60


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_and_back(scale):
    hz = np.array([0.0, 100, 999, 1000, 1001, 4000, 20000])
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz, rtol=1e-12, atol=1e-9)
    assert hz_to_mel(np.array(1000.0), scale) == pytest.approx({"htk": 999.9855, "slaney": 15.0}[scale], abs=1e-3)


def test_filters_have_height_or_area_one():
    assert mel_filters(4097, 16000, 20, "htk").max(axis=0) == pytest.approx(np.ones(20), abs=0.02)
    assert mel_filters(4097, 16000, 20, "slaney").sum(axis=0) * 8000 / 4096 == pytest.approx(np.ones(20), abs=0.01)


def test_silence_is_finite_and_no_louder_than_noise():
    made = LogMel(8000)
    silence = made(np.zeros(800, np.int16))
    noise = made(np.random.default_rng(0).integers(-1, 2, 800).astype(np.int16))
    assert silence.unique().tolist() == pytest.approx([np.log(1e-8)])
    assert noise.mean() > silence.mean() + 1


def test_every_band_holds_a_frequency_at_any_rate():
    for rate in (100, 1234, 4000, 8000, 11025, 16000, 44100, 384_000):
        made = LogMel(rate)
        assert made(np.random.default_rng(0).normal(0, 0.1, rate).astype(np.float32)).std(0).min() > 0.1
        least = 2 ** int(np.ceil(np.log2(made.frame)))
        assert made.width // least in (1, 2, 4, 8, 16, 32, 64)
    assert (LogMel(8000).width, LogMel(16000).width, LogMel(8000, mels=200).width) == (256, 512, 1024)
    found = LogMel(8000, mels=200)(tone(1000, 0.2))[10]
    np.testing.assert_allclose(found, by_hand(tone(1000, 0.2) / 32768, 8000, 200, 200, 80, 1024, "htk")[10], atol=2e-2)


def test_bands_without_a_frequency_are_refused():
    with pytest.raises(UsageError, match=r"data\.mels = 512: at 100 .* 25 ms, \d+ bands hold no frequency"):
        LogMel(100, mels=512)


def test_deltas_are_slopes():
    line = torch.arange(10.0)[:, None] * torch.tensor([1.0, -2.0])
    assert delta(line)[2:-2].tolist() == [[1.0, -2.0]] * 6
    assert delta(torch.ones(1, 3)).tolist() == [[0.0] * 3]
    y = torch.randn(7, 2, generator=torch.Generator().manual_seed(0))
    at = [y[max(0, min(6, 3 + k))] for k in (-2, -1, 1, 2)]
    assert torch.allclose(delta(y)[3], (at[2] - at[1] + 2 * (at[3] - at[0])) / 10)
    both = LogMel(8000, mels=10, deltas=2)(tone())
    assert both.shape[1] == 30
    assert torch.equal(both[:, 20:], delta(delta(both[:, :10])))


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 16000), (44100, 8000), (1234, 8000), (8000, 7999)])
def test_resampling_keeps_a_tone(rate, wanted):
    before = tone(200.0, 0.5, rate)
    found = resampled(before, rate, wanted)
    assert len(found) == -(-len(before) * wanted // rate)
    wave = 0.5 * np.sin(2 * np.pi * 200 * np.arange(len(found)) / wanted)
    inside = slice(len(found) // 5, -len(found) // 5)
    assert np.abs(found[inside] - wave[inside]).max() < 5e-3
    assert resampled(before, rate, rate) is before


def test_recordings_of_two_rates_behind_one_another():
    first, second = Recordings([tone()], 8000), Recordings([tone(rate=16000), tone(300, rate=16000)], 16000)
    found = behind(first, second)
    assert (found.rate, [len(wave) for wave in found.waves]) == (8000, [800, 800, 800])
    assert found.waves[0] is first.waves[0]
    assert at_rate(second, 16000) is second


def test_resampling_equals_the_library_with_its_own_filter():
    from scipy.signal import resample_poly

    x = np.random.default_rng(0).normal(0, 0.1, 500).astype(np.float32)
    for rate, wanted in ((8000, 16000), (44100, 8000), (11025, 8000)):
        shared = np.gcd(rate, wanted)
        there = resample_poly(x.astype(np.float64), wanted // shared, rate // shared)
        np.testing.assert_allclose(resampled(x, rate, wanted), there, atol=1e-7)


def test_what_the_lower_rate_cannot_hold_is_filtered_out():
    found = resampled(tone(6000.0, 0.5, 16000), 16000, 8000)
    assert np.abs(found[200:-200]).max() < 0.005


def test_resampling_to_no_end_is_refused():
    with pytest.raises(DataError, match="too many to resample"):
        resampled(np.zeros(10**6, np.int16), 100, 384_000)


WAVES = [tone(300, 0.3), tone(700, 0.11, loud=0.1), np.zeros(1, np.int16), tone(1500, 0.2).astype(np.float32) / 32768]


def test_the_encoder_standardises_by_all_frames():
    made = fit_sounds(Recordings(WAVES, 8000))
    assert made.rate == 8000
    assert made.inputs == {"kind": "sequence", "steps": 31, "features": 40, "variable": True}
    found = made.ragged(Recordings(WAVES, 8000))
    assert found.lengths.tolist() == [31, 12, 1, 21]
    assert found.flat.dtype == torch.float32
    assert torch.allclose(found.flat.mean(0), torch.zeros(40), atol=1e-5)
    assert torch.allclose(found.flat.std(0, correction=0), torch.ones(40), atol=1e-4)


def test_a_recording_gives_the_same_bits_in_every_company():
    made = fit_sounds(Recordings(WAVES, 8000), deltas=1)
    together = made.ragged(Recordings(WAVES, 8000))
    for place, wave in enumerate(WAVES):
        assert torch.equal(made.ragged(Recordings([wave], 8000)).flat, together[place])
    padded = made.encode(Recordings(WAVES, 8000))
    assert padded.values.shape == (4, 31, 80)
    assert padded.lengths.tolist() == [31, 12, 1, 21]
    assert not padded.values[1, 12:].any()


def test_the_encoder_comes_back_from_its_state():
    made = fit_sounds(Recordings(WAVES, 8000), mels=20, frame_ms=32, hop_ms=8, mel_scale="slaney", deltas=1)
    back = SoundEncoder.from_state(json.loads(json.dumps(made.state())))
    assert back.inputs == made.inputs
    assert torch.equal(back.ragged(Recordings(WAVES, 8000)).flat, made.ragged(Recordings(WAVES, 8000)).flat)


def test_other_rates_are_resampled_by_the_encoder():
    made = fit_sounds(Recordings(WAVES, 8000))
    there = made.ragged(Recordings([tone(500, 0.5, 8000)], 8000)).flat
    other = made.ragged(Recordings([tone(500, 0.5, 44100)], 44100)).flat
    assert other.shape == there.shape
    band = there[10:-10].mean(0).argmax()
    assert torch.allclose(other[10:-10, band], there[10:-10, band], atol=0.02)


def test_other_ways_to_normalise():
    raw = fit_sounds(Recordings(WAVES, 8000), normalize="none").ragged(Recordings(WAVES, 8000)).flat
    assert raw.min() >= np.log(1e-8) - 1e-4
    unit = fit_sounds(Recordings(WAVES, 8000), normalize="unit").ragged(Recordings(WAVES, 8000)).flat
    assert unit.amin(0).tolist() == pytest.approx([0] * 40, abs=1e-6)
    assert unit.amax(0).tolist() == pytest.approx([1] * 40, abs=1e-5)
    same = fit_sounds(Recordings([np.zeros(500, np.int16)], 8000)).ragged(Recordings(WAVES[:1], 8000)).flat
    assert same.isfinite().all()


def test_nothing_to_fit_on_is_refused():
    with pytest.raises(DataError, match="no recording is left"):
        fit_sounds(Recordings([], 8000))


def test_three_thousand_clips_take_seconds():
    clips = Recordings([tone(seconds=0.43)] * 300, 8000)
    made = fit_sounds(Recordings(clips.waves[:3], 8000))
    start = time.perf_counter()
    made.ragged(clips)
    assert time.perf_counter() - start < 1.0
