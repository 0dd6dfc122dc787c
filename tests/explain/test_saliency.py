"""Saliency against closed forms; integrated gradients sum up to the difference of the outputs."""

import pytest
import torch
from torch import nn

from netwright.api import network
from netwright.explaining.saliency import MOST_NODES, saliency
from netwright.parts.sequences import Sequences

TEXT = {"kind": "text", "tokens": "word", "vocabulary": 30, "steps": 12}
NETWORKS = [
    ("lstm", {"hidden": 8, "embedding": 6}),
    ("gru", {"hidden": 8, "embedding": 6, "bidirectional": True, "layers": 2}),
    ("rnn", {"hidden": 8, "embedding": 6, "readout": "attention"}),
    ("text_cnn", {"channels": 5, "embedding": 6}),
    ("transformer_encoder", {"hidden": 8, "layers": 1, "heads": 2, "feed_forward": 12}),
]


def texts(*lengths: int) -> Sequences:
    torch.manual_seed(3)
    return Sequences(torch.randint(4, 30, (1, lengths[0])), torch.tensor(lengths))


@pytest.mark.parametrize(("name", "settings"), NETWORKS, ids=[name for name, _ in NETWORKS])
def test_integrated_gradients_are_complete(name, settings):
    model = network(name, inputs=TEXT, outputs=4, **settings).double().eval()
    inputs = texts(9)
    found = saliency(model, inputs, lambda x: model(x)[:, 2])
    outputs = model(inputs).detach()
    assert found.score == pytest.approx(float(outputs[0, 2]), abs=1e-12)
    table = model.embedding
    with torch.no_grad():
        kept = table.weight.clone()
        table.weight.zero_()
        blank = float(model(inputs)[0, 2])
        table.weight.copy_(kept)
    assert found.blank == pytest.approx(blank, abs=1e-12)
    assert float(found.integrated.sum()) == pytest.approx(found.score - blank, rel=2e-3, abs=1e-8)
    assert found.nodes <= MOST_NODES


def test_of_a_linear_network_both_measures_are_weight_times_input():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 1)).double()
    x = torch.randn(1, 3, 2, dtype=torch.float64)
    found = saliency(model, x, lambda inputs: model(inputs)[:, 0])
    wanted = (model[1].weight.view(3, 2) * x[0]).detach()
    torch.testing.assert_close(found.gradient, wanted)
    torch.testing.assert_close(found.integrated, wanted)
    assert found.gap == pytest.approx(0, abs=1e-12)


def test_gradient_times_input_equals_a_difference_quotient():
    model = network("lstm", inputs={"kind": "sequence", "steps": 5, "features": 3}, outputs=2, hidden=4).double().eval()
    x = torch.randn(1, 5, 3, dtype=torch.float64)
    found = saliency(model, x, lambda inputs: model(inputs)[:, 1])
    for step, feature in ((0, 0), (4, 2)):
        moved = x.clone()
        moved[0, step, feature] += 1e-6
        with torch.no_grad():
            slope = float((model(moved) - model(x))[0, 1]) / 1e-6
        assert float(found.gradient[step, feature]) == pytest.approx(slope * float(x[0, step, feature]), abs=1e-6)


def test_pictures_are_told_row_by_row():
    model = network("gru", inputs=(2, 4, 3), outputs=2, hidden=4).double().eval()
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64)
    found = saliency(model, x, lambda inputs: model(inputs)[:, 0])
    assert found.integrated.shape == (4, 6)
    assert found.gap == pytest.approx(0, abs=1e-3 * abs(found.score - found.blank) + 1e-8)


def test_a_long_input_is_integrated_in_parts_of_the_same_sum():
    model = network("lstm", inputs=TEXT, outputs=2, hidden=4, embedding=64).double().eval()
    inputs = texts(150)  # 9,600 numbers: few nodes at a time
    found = saliency(model, inputs, lambda x: model(x)[:, 0])
    assert abs(found.gap) <= 2e-3 * abs(found.score - found.blank)
