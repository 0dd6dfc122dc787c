"""The measured properties of activations: against closed forms, and on cards."""

import json
import math
import subprocess
import sys

import pytest
import torch

from netwright.catalogue import ACTIVATIONS
from netwright.cli import _run
from netwright.errors import UsageError
from netwright.parts.activations import measuring, properties, properties_table

INF = math.inf
KNOWN = {
    # low, high, monotonic, continuous, smooth, least and largest slope, slope at 0, saturates
    "relu": (0, INF, True, True, False, 0, 1, 0, "below"),
    "leaky_relu(slope=0.1)": (-INF, INF, True, True, False, 0.1, 1, 0.1, "nowhere"),
    "prelu": (-INF, INF, True, True, False, 0.25, 1, 0.25, "nowhere"),
    "elu": (-1, INF, True, True, True, 0, 1, 1, "below"),
    "elu(alpha=2)": (-2, INF, True, True, False, 0, 2, 2, "below"),
    "celu(alpha=2)": (-2, INF, True, True, True, 0, 1, 1, "below"),
    "selu": (-1.758099, INF, True, True, False, 0, 1.758099, 1.758099, "below"),
    "gelu": (-0.169971, INF, False, True, True, -0.128904, 1.128904, 0.5, "below"),
    "swish": (-0.278465, INF, False, True, True, -0.099839, 1.099839, 0.5, "below"),
    "mish": (-0.308843, INF, False, True, True, -0.112526, 1.088498, 0.6, "below"),
    "hard_swish": (-0.375, INF, False, True, False, -0.5, 1.5, 0.5, "below"),
    "relu6": (0, 6, True, True, False, 0, 1, 0, "both sides"),
    "sigmoid": (0, 1, True, True, True, 0, 0.25, 0.25, "both sides"),
    "hard_sigmoid": (0, 1, True, True, False, 0, 1 / 6, 1 / 6, "both sides"),
    "log_sigmoid": (-INF, 0, True, True, True, 0, 1, 0.5, "above"),
    "tanh": (-1, 1, True, True, True, 0, 1, 1, "both sides"),
    "scaled_tanh": (-1.7159, 1.7159, True, True, True, 0, 1.7159 * 2 / 3, 1.7159 * 2 / 3, "both sides"),
    "hard_tanh": (-1, 1, True, True, False, 0, 1, 1, "both sides"),
    "softsign": (-1, 1, True, True, True, 0, 1, 1, "both sides"),
    "softplus": (0, INF, True, True, True, 0, 1, 0.5, "below"),
    "softplus(beta=1000)": (0, INF, True, True, True, 0, 1, 0.5, "below"),
    "step": (0, 1, True, False, False, 0, 0, 0, "both sides"),
    "identity": (-INF, INF, True, True, True, 1, 1, 1, "nowhere"),
}
CENTRED = {"selu", "tanh", "scaled_tanh", "hard_tanh", "softsign", "identity"}


@pytest.mark.parametrize("spec", KNOWN)
def test_measured_equals_known(spec):
    low, high, monotonic, continuous, smooth, least, largest, at_0, saturates = KNOWN[spec]
    found = properties(spec)
    if spec == "mish":
        at_0 = math.tanh(math.log(2))
    numbers = (found.low, found.high, found.least_slope, found.largest_slope, found.slope_at_0)
    assert numbers == pytest.approx((low, high, least, largest, at_0), abs=2e-6)
    assert (found.monotonic, found.continuous, found.smooth) == (monotonic, continuous, smooth)
    assert found.saturates == saturates


def test_every_activation_of_one_number_is_in_the_table():
    table = properties_table()
    assert set(table) == {spec.split("(")[0] for spec in KNOWN} | {"leaky_relu", "softplus", "celu"}
    assert {name for name, found in table.items() if not found.monotonic} == {"gelu", "swish", "mish", "hard_swish"}
    assert {name for name, found in table.items() if found.zero_centred} == CENTRED
    assert table["relu"].mean == pytest.approx(1 / math.sqrt(2 * math.pi), abs=1e-6)
    assert table["sigmoid"].mean == pytest.approx(0.5, abs=1e-6)


def test_a_function_is_measured_whatever_it_is():
    wave = measuring._measured(torch.sin)
    assert (wave.low, wave.high, wave.monotonic, wave.smooth) == (-1.0, 1.0, False, True)
    steep = measuring._measured(lambda x: torch.tanh(1e4 * x))
    assert (steep.continuous, steep.smooth, steep.largest_slope) == (True, True, 1e4)
    notch = measuring._measured(lambda x: x - 2e-3 * (x > 1))
    assert (notch.continuous, notch.monotonic) == (False, False)


def test_it_is_measured_where_gradients_are_off():
    expected = properties("swish")
    with torch.no_grad():
        assert properties("swish") == expected
    with torch.inference_mode():
        assert properties("swish") == expected


@pytest.mark.parametrize("name", ["maxout", "softmax"])
def test_what_is_no_function_of_one_number_has_no_such_properties(name):
    with pytest.raises(UsageError, match="is no function of one number; it acts on"):
        properties(name)
    assert "low" not in ACTIVATIONS[name].card()["facts"]


def test_mistakes_are_answered():
    with pytest.raises(UsageError, match="Did you mean 'swish'"):
        properties("swich")
    with pytest.raises(UsageError, match="Did you mean 'slope'"):
        properties("leaky_relu(slop=1)")


# cards --------------------------------------------------------------------------------------------------------------


def test_the_card_shows_what_was_measured(capsys):
    assert _run(["show", "activation", "swish", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert facts["monotonic"] is False
    assert facts["low"] == pytest.approx(-0.278465)
    assert facts["high"] is None
    assert facts["init"] == "he_normal"
    assert "measured" not in facts
    assert _run(["show", "activation", "relu6"]) == 0
    assert "range: 0 to 6" in capsys.readouterr().out


def test_a_list_measures_nothing(monkeypatch, capsys):
    def refuse(part):
        raise AssertionError(part.name)

    for part in ACTIVATIONS.values():
        if "measured" in part.facts:
            monkeypatch.setitem(part.facts, "measured", refuse)
    assert _run(["list", "activations"]) == 0
    assert "hard_tanh" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="relu"):
        ACTIVATIONS["relu"].card()


def test_the_family_can_be_asked_for_first():
    code = "from netwright.catalogue import ACTIVATIONS; print(len(ACTIVATIONS), 'maxout' in ACTIVATIONS)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(len(ACTIVATIONS)), "True"]
