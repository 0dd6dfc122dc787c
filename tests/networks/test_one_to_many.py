"""One thing in, a sequence out: both ways of feeding, every kind of input, order, padding, answers."""

import pytest
import torch
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.networks.one_to_many import turned_by_place
from netwright.parts.sequences import Sequences

TEXT = {"kind": "text", "vocabulary": 20, "steps": 4, "tokens": "word"}
VECTOR = {"kind": "vector", "features": 7}
IMAGE = {"kind": "image", "channels": 1, "height": 6, "width": 5}
OUT = {"kind": "text", "vocabulary": 30, "tokens": "word", "count": 30}
SAID = Sequences(torch.tensor([[5, 6, 7, 2], [8, 2, 0, 0]]), torch.tensor([4, 2]))


def built(inputs=TEXT, **settings):
    torch.manual_seed(0)
    return NETWORKS["one_to_many"](inputs, OUT, **{"hidden": 8, "embedding": 6, "longest": 9, **settings}).eval()


def given(kind):
    torch.manual_seed(1)
    if kind == "text":
        return Sequences(torch.tensor([[5, 6, 7], [8, 0, 0]]), torch.tensor([3, 1]))
    return torch.randn(2, 7) if kind == "vector" else torch.randn(2, 1, 6, 5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("feed", ["start", "each"])
@pytest.mark.parametrize("inputs", [TEXT, VECTOR, IMAGE])
def test_one_input_gives_as_many_outputs_as_are_asked_for(inputs, feed, cell):
    net, x = built(inputs, feed=feed, cell=cell, layers=2), given(inputs["kind"])
    assert net(x, SAID).shape == (2, 4, 30)
    assert net(x).shape == (2, 9, 30)
    assert all(len(row) <= 9 and not {0, 1, 2, 3} & set(row) for row in net.answer(x))


def test_fed_at_the_start_the_first_state_alone_holds_the_input():
    net, x = built(VECTOR), given("vector")
    state, looked = net.begin(x)
    assert looked is None
    vector = torch.tanh(net.read(x))
    for part, bridge in zip(state, net.bridge, strict=True):
        torch.testing.assert_close(part[:, 0], torch.tanh(bridge(vector)))
    assert net.decoder.input_size == 6


def test_fed_at_every_step_the_state_starts_at_zero_and_the_input_stands_beside_each_token():
    net, x = built(VECTOR, feed="each"), given("vector")
    (h, c), vector = net.begin(x)
    assert not h.any()
    assert not c.any()
    entering = torch.cat([net.target(torch.tensor([[3], [3]])), torch.tanh(net.read(x))[:, None]], 2)
    torch.testing.assert_close(net(x, SAID)[:, :1], net.out(net.decoder(entering)[0]))
    assert vector.shape == (2, 8)


@pytest.mark.parametrize("feed", ["start", "each"])
def test_tokens_one_by_one_are_the_steps_of_one_pass(feed):
    net, x = built(feed=feed), given("text")
    whole, state = net(x, SAID), net.begin(x)
    tokens = torch.tensor([3, 3])
    for place in range(4):
        scores, state = net.step(tokens, state)
        torch.testing.assert_close(scores, whole[:, place], rtol=1e-4, atol=1e-6)
        tokens = SAID.values[:, place]


def test_padding_never_changes_a_result_and_order_counts():
    net = built()
    long = Sequences(torch.tensor([[8, 9, 0, 0, 0]]), torch.tensor([2]))
    torch.testing.assert_close(net(long, SAID[:1]), net(torch.tensor([[8, 9]]), SAID[:1]))
    assert not torch.allclose(net(torch.tensor([[9, 8]]), SAID[:1]), net(torch.tensor([[8, 9]]), SAID[:1]))


def test_places_turn_pairs_of_numbers_by_growing_angles():
    steps = torch.tensor([[[1.0, 0.0, 5.0]] * 3])
    turned = turned_by_place(steps)[0]
    for place in range(3):
        angle = torch.tensor(float(place))
        assert turned[place].tolist() == pytest.approx([float(angle.cos()), float(angle.sin()), 5.0])
    assert torch.equal(turned_by_place(steps[:, :, :1]), steps[:, :, :1])


@pytest.mark.parametrize("feed", ["start", "each"])
def test_learns_a_sentence_for_each_input(feed):
    net, x = built(VECTOR, feed=feed, hidden=16).train(), given("vector")
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-2)
    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x, SAID)[SAID.mask], SAID.values[SAID.mask]).backward()
        optimizer.step()
    assert net.eval().answer(x) == [[5, 6, 7], [8]]
