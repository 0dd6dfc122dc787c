"""Encoders: statistics of the training split alone, to the last digit, stored and read back."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import netwright as nw
from netwright.data import encoders
from netwright.data.encoders import NumberEncoder, number_encoder
from netwright.errors import DataError

RNG = np.random.default_rng(0)
SHAPES = {"vector": (50, 3), "sequence": (50, 7, 3), "image": (50, 3, 4, 5)}
AXES = {"vector": (0,), "sequence": (0, 1), "image": (0, 2, 3)}


def examples(kind, dtype=np.float64):
    return RNG.normal(3, 2, SHAPES[kind]).astype(dtype)


@pytest.mark.parametrize("kind", SHAPES)
def test_encoded_training_examples_have_mean_0_and_deviation_1(kind):
    x = examples(kind)
    encoder = NumberEncoder.fit(kind, torch.from_numpy(x), "auto")
    z = encoder.encode(torch.from_numpy(x))
    assert z.dtype == torch.float32
    assert z.shape == x.shape
    spread = x.std(AXES[kind], keepdims=True)
    expected = (x - x.mean(AXES[kind], keepdims=True)) / spread
    np.testing.assert_allclose(z.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(encoder.mean.flatten(), x.mean(AXES[kind]).ravel(), rtol=1e-14)
    np.testing.assert_allclose(1 / encoder.scale.flatten(), x.std(AXES[kind]).ravel(), rtol=1e-13)


def test_inputs_say_what_a_network_reads():
    kinds = {kind: NumberEncoder.fit(kind, torch.zeros(SHAPES[kind]), "auto").inputs for kind in SHAPES}
    assert kinds == {
        "vector": {"kind": "vector", "features": 3},
        "sequence": {"kind": "sequence", "steps": 7, "features": 3},
        "image": {"kind": "image", "channels": 3, "height": 4, "width": 5},
    }


@pytest.mark.parametrize("count", [1, 2, 2047, 2048, 2049, 5000])
def test_any_number_of_slices_gives_the_same_statistics(count):
    x = RNG.normal(-5, 0.1, (count, 2))
    encoder = NumberEncoder.fit("vector", torch.from_numpy(x), "standard")
    np.testing.assert_allclose(encoder.mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(1 / encoder.scale, x.std(0) if count > 1 else 1.0, rtol=1e-9)


def test_pictures_of_bytes_have_exact_statistics():
    x = RNG.integers(0, 256, (3000, 2, 5, 5)).astype(np.uint8)
    encoder = NumberEncoder.fit("image", torch.from_numpy(x), "auto")
    for channel in range(2):
        values = [int(value) for value in x[:, channel].ravel()]
        count, total, square = len(values), sum(values), sum(value * value for value in values)
        assert encoder.mean[channel].item() == pytest.approx(total / count, rel=1e-15)
        deviation = math.sqrt(count * square - total * total) / count  # in whole numbers up to here
        assert 1 / encoder.scale[channel].item() == pytest.approx(deviation, rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_a_mean_far_from_0_costs_no_digits(dtype):
    """Time stamps in seconds: a mean of 1.7e9 beside a deviation of minutes."""
    x = (1.7e9 + 600 * RNG.normal(size=(500, 1))).astype(dtype)
    data = nw.read(x, np.arange(500) % 2)
    z = data.encoder.encode(torch.from_numpy(x)).double().numpy()
    train = x[data.splits["train"]].astype(np.float64)
    exact = (x - np.float64(1.7e9) - (train - 1.7e9).mean()) / (train - 1.7e9).std()
    np.testing.assert_allclose(z, exact, atol=1e-6)
    assert 2 < np.abs(z).max() < 6


def test_constant_features_stay_0_and_spoil_nothing():
    x = np.stack([np.full(9, 0.1), np.arange(9.0), np.zeros(9), np.full(9, 1e300)], axis=1)
    for normalize in ("auto", "unit"):
        encoder = NumberEncoder.fit("vector", torch.from_numpy(x), normalize)
        z = encoder.encode(torch.from_numpy(x))
        assert z.isfinite().all()
        assert z[:, [0, 2, 3]].abs().max() < 1e-6
        assert encoder.scale[0] == encoder.scale[2] == 1
    single = NumberEncoder.fit("vector", torch.tensor([[0.1, 1e9]], dtype=torch.float32), "auto")
    assert single.scale.tolist() == [1.0, 1.0]


def test_a_float32_feature_that_is_constant_up_to_rounding_keeps_its_scale():
    x = torch.full((100, 1), 1e6, dtype=torch.float32)
    x[0] = torch.nextafter(x[0], torch.tensor(2e6))
    assert NumberEncoder.fit("vector", x, "auto").scale.item() == 1
    wide = x.double()
    wide[0] = 1e6 + 1e-3  # float64 holds this difference well
    assert NumberEncoder.fit("vector", wide, "auto").scale.item() > 1e3


def test_numbers_near_the_largest_have_a_scale():
    x = torch.tensor([[1e200], [2e200], [3e200]], dtype=torch.float64)
    z = NumberEncoder.fit("vector", x, "auto").encode(x)
    assert z.flatten().tolist() == pytest.approx([-1, 0, 1])


def test_nan_and_infinity_stay_what_they_are_and_spoil_no_other_example():
    x = RNG.normal(size=(200, 3))
    clean = NumberEncoder.fit("vector", torch.from_numpy(x[2:]), "auto")
    x[0, 0], x[1, 2] = math.nan, -math.inf
    encoder = NumberEncoder.fit("vector", torch.from_numpy(x), "auto")
    z = encoder.encode(torch.from_numpy(x))
    assert z[0, 0].isnan()
    assert z[1, 2] == -math.inf
    assert z.isfinite().sum() == z.numel() - 2
    np.testing.assert_allclose(encoder.mean, clean.mean, atol=0.05)
    np.testing.assert_allclose(encoder.scale, clean.scale, rtol=0.05)
    empty = NumberEncoder.fit("vector", torch.full((5, 1), math.nan), "unit")
    assert (empty.mean.item(), empty.scale.item()) == (0, 1)


def test_unit_and_none():
    pixels = torch.from_numpy(RNG.integers(10, 200, (20, 1, 3, 3)).astype(np.uint8))
    unit = NumberEncoder.fit("image", pixels, "unit")
    torch.testing.assert_close(unit.encode(pixels), pixels.float() / 255)
    assert torch.equal(NumberEncoder.fit("image", pixels, "none").encode(pixels), pixels.float())
    x = torch.tensor([[-2.0, 5.0], [0.0, 5.0], [6.0, 5.0]])
    z = NumberEncoder.fit("vector", x, "unit").encode(x)
    assert z.tolist() == [[0.0, 0.0], [0.25, 0.0], [1.0, 0.0]]
    assert torch.equal(NumberEncoder.fit("vector", x, "none").encode(x), x)
    for normalize in ("unit", "none", "standard"):
        data = nw.read("digits", normalize=normalize)
        z = data.input_tensor("train")
        if normalize == "standard":
            assert abs(z.mean()) < 1e-5
            assert abs(z.std() - 1) < 1e-3
        else:
            assert (z.min(), z.max()) == (0, 1 if normalize == "unit" else 255)


@pytest.mark.parametrize("normalize", ["auto", "unit", "none"])
@pytest.mark.parametrize("kind", SHAPES)
def test_state_through_json_and_back_encodes_to_the_same_bits(kind, normalize):
    x = torch.from_numpy(examples(kind))
    encoder = NumberEncoder.fit(kind, x, normalize)
    again = number_encoder(json.loads(json.dumps(encoder.state(), allow_nan=False)))
    assert torch.equal(again.encode(x), encoder.encode(x))
    assert again.inputs == encoder.inputs
    assert again.state() == encoder.state()


def test_an_example_of_another_shape_is_refused_with_both_shapes():
    encoder = NumberEncoder.fit("image", torch.zeros(2, 3, 4, 5), "auto")
    with pytest.raises(DataError, match=r"an example has shape \[3, 5, 4\]; this network reads \[3, 4, 5\]"):
        encoder.encode(torch.zeros(1, 3, 5, 4))
    assert encoder.encode(torch.zeros(0, 3, 4, 5)).shape == (0, 3, 4, 5)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([torch.uint8, torch.int32, torch.float16, torch.float32, torch.float64, torch.bool]))
def test_every_number_type_encodes_to_float32_near_the_exact_value(dtype):
    x = torch.from_numpy(RNG.integers(0, 2 if dtype == torch.bool else 100, (40, 2))).to(dtype)
    z = NumberEncoder.fit("vector", x, "auto").encode(x)
    exact = x.double().numpy()
    assert z.dtype == torch.float32
    np.testing.assert_allclose(z.numpy(), (exact - exact.mean(0)) / exact.std(0), atol=2e-6)


# through read -------------------------------------------------------------------------------------------------


def test_only_the_training_split_decides_what_is_stored():
    """Change every test and validation example: nothing that travels inside the run changes."""
    x, y = RNG.normal(size=(100, 4)), np.arange(100) % 3
    before = nw.read(x, y)
    other = x.copy()
    for name in ("validation", "test"):
        other[before.splits[name]] = 1e6 * RNG.normal(size=(len(before.splits[name]), 4))
    after = nw.read(other, y)
    assert after.encoder.state() == before.encoder.state()
    assert torch.equal(after.input_tensor("train"), before.input_tensor("train"))
    assert after.test_fingerprint != before.test_fingerprint
    other[before.splits["train"][0]] += 1
    assert nw.read(other, y).encoder.state() != before.encoder.state()


def test_only_the_training_split_decides_the_scale_of_a_number_target():
    x = RNG.normal(size=(100, 4))
    y = RNG.normal(size=100)
    before = nw.read(x, y)
    y[before.splits["test"]] *= 1e6
    assert nw.read(x, y).targets == before.targets


def test_examples_decoded_on_demand_give_statistics_of_a_seeded_sample(monkeypatch):
    from netwright.data import read as reading
    from netwright.data.source import InMemory, Source

    class Lazy:
        def __init__(self, tensor):
            self.tensor, self.taken = tensor, 0

        def __len__(self):
            return len(self.tensor)

        def take(self, positions):
            self.taken += len(positions)
            return self.tensor[torch.as_tensor(np.asarray(positions))]

    monkeypatch.setattr(reading, "STATISTICS_SAMPLE", 30)
    x = torch.from_numpy(RNG.integers(0, 256, (80, 1, 2, 2)).astype(np.uint8))
    source = Source("image", "lazy", Lazy(x), None, [])
    train = np.arange(10, 70)
    found = [reading.fit_encoder(source, train, {"split_seed": s, "normalize": "auto"}).state() for s in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert source.examples.taken == 3 * (1 + 30)  # one for the shape, and the sample
    everything = Source("image", "all", InMemory(x), None, [])
    whole = reading.fit_encoder(everything, train, {"split_seed": 0, "normalize": "auto"})
    assert whole.mean.item() == pytest.approx(x[10:70].double().mean().item(), rel=1e-14)
    assert found[0]["mean"][0] == pytest.approx(whole.mean.item(), rel=0.2)


def test_statistics_are_found_a_slice_at_a_time(monkeypatch):
    lengths = []
    real = encoders._finite
    monkeypatch.setattr(encoders, "_finite", lambda part: lengths.append(len(part)) or real(part))
    NumberEncoder.fit("vector", torch.zeros(5000, 3, dtype=torch.uint8), "auto")
    assert max(lengths) == 2048
