"""Sliding windows and recurrent steps against torch, Fourier transforms and numbers by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.errors import UsageError
from netwright.measures.trace import recurrent_steps, trace
from netwright.networks.layers import EveryStep, FlippedConv2d


def window_of(found, layer):
    step = next(step for step in found.steps if step.phase == "forward" and step.layer == layer)
    return step.numbers["windows"]


def test_a_window_is_worked_out_with_the_bias_apart():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(9, 2)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.arange(9.0).view(1, 1, 3, 3))
        net[0].bias.fill_(0.5)
    x = torch.arange(1.0, 26.0).view(1, 1, 5, 5)
    found = trace(net, x, [0], places=[(0, 0), (1, 1)])
    corner, middle = window_of(found, "0")
    assert corner["window"].tolist() == [[[0, 0, 0], [0, 1, 2], [0, 6, 7]]]
    assert (corner["sum"], corner["bias"], corner["output"]) == (4 + 10 + 42 + 56, 0.5, 112.5)
    assert middle["window"].tolist() == [[[7, 8, 9], [12, 13, 14], [17, 18, 19]]]
    assert middle["output"] == net[0](x.double())[0, 0, 1, 1].item()
    assert torch.equal(middle["products"], middle["window"] * middle["weights"])
    assert "sum = 112, + b = 112 + 0.5 = 112.5" in str(found)


def test_pooling_names_the_chosen_place_and_sends_the_error_there():
    x = torch.tensor([[[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 7.0, 1.0]]]])
    found = trace(nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2)), x, [0], places=[(0, 0), (0, 1)])
    first, second = window_of(found, "0")
    assert (first["chosen"], first["output"], second["chosen"], second["output"]) == ([0, 1], 5.0, [1, 2], 7.0)
    back = next(step for step in found.steps if step.phase == "backward" and step.layer == "0").numbers
    moved = torch.zeros(2, 4).double()
    moved[0, 1], moved[1, 2] = back["error"][0, 0, 0]
    assert torch.equal(back["input_error"][0, 0], moved)
    mean = trace(nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, 2)), x, [0])
    (window,) = window_of(mean, "0")
    assert (window["sum"], window["count"], window["output"]) == (13.0, 4.0, 3.25)


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, divisor_override=3), nn.AdaptiveAvgPool2d((3, 2)),
        nn.AdaptiveMaxPool2d((3, 2)), nn.Conv2d(2, 3, (1, 3), (2, 1), (0, 1), bias=False), FlippedConv2d(2, 3, 3),
        nn.Conv2d(2, 3, (3, 5), padding="same"), nn.Conv2d(2, 4, 3, groups=2), nn.InstanceNorm2d(2), nn.PReLU(2),
        nn.GELU("tanh"), nn.Softmax(1), nn.Mish(), nn.CELU(2.0), nn.Hardtanh(-1, 2), nn.BatchNorm2d(2).eval(),
    ],
)  # fmt: skip
def test_layers_of_torch_hand_errors_back_as_autograd_does(layer):
    torch.manual_seed(0)
    x, net = torch.randn(2, 2, 7, 6).double(), nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(3)).double()
    net(x)
    found = trace(net, x, [0, 2])
    unknown = [step.layer for step in found.steps if step.by == "autograd"]
    assert unknown == (["0"] if isinstance(layer, nn.InstanceNorm2d) else [])
    assert found.difference < 1e-10
    x.requires_grad_(True)
    F.cross_entropy(net.train()(x), torch.tensor([0, 2])).backward()
    back = next(step for step in found.steps if step.phase == "backward" and step.layer == "0")
    torch.testing.assert_close(back.numbers["input_error"], x.grad, rtol=1e-10, atol=1e-12)


def test_the_recurrent_example_of_the_notes():
    inputs, ones = torch.tensor([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]), torch.ones(2, 2)
    found = recurrent_steps(inputs, ones, ones, ones)
    assert found.states.tolist() == [[2, 2], [6, 6], [16, 16]]
    assert found.outputs.tolist() == [[4, 4], [12, 12], [32, 32]]
    # the same through a traced network: max(a, 0) = a here
    core = nn.RNN(2, 2, nonlinearity="relu", bias=False, batch_first=True)
    net = nn.Sequential(EveryStep(core), nn.Linear(2, 2, bias=False))
    for weight in net.parameters():
        nn.init.ones_(weight)
    traced = trace(net, inputs[None], torch.zeros(1, 3, 2))
    assert traced.outputs["1"][0].tolist() == [[4, 4], [12, 12], [32, 32]]
    rows = next(step for step in traced.steps if step.kind == "rnn").numbers["steps"]
    assert [(row["t"], row["h"].tolist()) for row in rows] == [(1, [2, 2]), (2, [6, 6]), (3, [16, 16])]
    with pytest.raises(UsageError, match="do not fit together"):
        recurrent_steps(inputs, torch.ones(2, 3), ones, ones)


def test_two_steps_of_a_simple_recurrent_network_by_hand():
    from math import tanh

    found = recurrent_steps(
        torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5]]), torch.tensor([[-1.0]]), torch.tensor([[3.0]]),
        activation="tanh",
    )  # fmt: skip
    first = tanh(0.5)
    second = tanh(0.5 * 2 - first)
    assert found.states[:, 0].tolist() == pytest.approx([first, second])
    assert found.outputs[:, 0].tolist() == pytest.approx([3 * first, 3 * second])


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("given", [{"batch_first": True}, {"num_layers": 2, "bias": False}, {"bidirectional": True}])
def test_gates_of_every_step_make_torchs_states(kind, given):
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.core = kind(3, 2, **given)
            self.out = nn.Linear(2 * (1 + self.core.bidirectional), 2)

        def forward(self, x):
            states = self.core(x)[0]
            return self.out(states)

    found = trace(Net(), torch.randn(4, 4, 3), torch.randn(4, 4, 2))
    assert {step.by for step in found.steps} == {"formula"}
    assert found.difference < 1e-10
    step = next(step for step in found.steps if step.layer == "core")
    last = {row["t"]: row for row in step.numbers["steps"] if row.get("layer", 1) == 1 or not given.get("num_layers")}
    states = found.outputs["core"] if given.get("batch_first") else found.outputs["core"].transpose(0, 1)
    for t, row in last.items():
        half = states[0, t - 1, 2:] if row.get("direction") == "backward" else states[0, t - 1]
        torch.testing.assert_close(row["h"], half)
        if kind is nn.LSTM:
            torch.testing.assert_close(row["h"], row["o"] * row["c"].tanh())


def test_the_error_of_a_scalar_recurrence_shrinks_and_grows_with_the_weight():
    for weight in (0.5, 2.0):
        net = nn.Sequential(nn.RNN(1, 1, nonlinearity="relu", bias=False, batch_first=True))
        nn.init.ones_(net[0].weight_ih_l0)
        nn.init.constant_(net[0].weight_hh_l0, weight)

        class Last(nn.Module):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def forward(self, x):
                return self.inner(x)[0][:, -1]

        found = trace(Last(net), torch.ones(1, 6, 1), [[0.0]])
        step = next(step for step in found.steps if step.phase == "backward" and step.kind == "rnn")
        norms = [row["norm"] for row in step.numbers["steps"]]
        assert [one / norms[-1] for one in norms] == pytest.approx([weight ** (5 - t) for t in range(6)])
