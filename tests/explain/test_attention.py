"""Attention maps equal what the networks themselves weigh by."""

import pytest
import torch

from netwright.api import network
from netwright.explaining.attention_map import ROWS, STEPS, AttentionMap, attention_maps, draw
from netwright.explaining.reading import Given
from netwright.parts.sequences import Sequences

TEXT = {"kind": "text", "tokens": "word", "vocabulary": 20, "steps": 12}


def given(length: int) -> Given:
    torch.manual_seed(0)
    inputs = Sequences(torch.randint(4, 20, (1, length)), torch.tensor([length]))
    return Given("some", inputs, [f"w{step}" for step in range(length)], "tokens", "0" * 8)


@pytest.mark.parametrize("attention", ["general", "additive", "concat"])
def test_a_translation_is_mapped_by_the_decoders_own_weights(attention):
    outputs = {"kind": "text", "tokens": "word", "vocabulary": 15, "count": 15}
    model = network(
        "seq2seq_attention", inputs=TEXT, outputs=outputs, hidden=8, embedding=6, attention=attention
    ).eval()  # fmt: skip
    one = given(7)
    said = Sequences(torch.tensor([[5, 9, 6, 2]]), torch.tensor([4]))
    (found,) = attention_maps(model, one, lambda: model(one.inputs, said), ["a", "b", "c", "end"])
    torch.testing.assert_close(found.weights, model.weights(one.inputs, said)[0])
    torch.testing.assert_close(found.weights.sum(1), torch.ones(4))
    assert (found.rows, found.labels) == (["a", "b", "c", "end"], one.labels)
    assert "context" not in vars(model.attention)


def test_attention_pooling_shows_how_much_each_step_counts():
    model = network("lstm", inputs=TEXT, outputs=3, hidden=8, embedding=6, readout="attention").eval()
    one = given(9)
    (found,) = attention_maps(model, one, lambda: model(one.inputs), [])
    states = model.rnn(model.embedding(one.inputs.values))[0]
    torch.testing.assert_close(found.weights, model.last.weights(states).detach())
    assert found.weights.shape == (1, 9)


def test_every_head_of_a_transformer_is_a_map():
    model = network("transformer_encoder", inputs=TEXT, outputs=3, hidden=8, layers=2, heads=2, feed_forward=8).eval()
    one = given(5)
    before = model(one.inputs).detach()
    found = attention_maps(model, one, lambda: model(one.inputs), [])
    assert len(found) == 4
    assert all(torch.allclose(each.weights.sum(1), torch.ones(5)) and each.rows == one.labels for each in found)
    torch.testing.assert_close(model(one.inputs).detach(), before)


def test_networks_without_attention_have_no_map():
    model, one = network("gru", inputs=TEXT, outputs=3, hidden=4).eval(), given(4)
    assert attention_maps(model, one, lambda: model(one.inputs), []) == []


def test_a_large_map_is_bounded_in_the_picture_and_said():
    found = AttentionMap(
        "attention", torch.rand(ROWS + 1, STEPS + 1), ["r"] * (ROWS + 1), ["c"] * (STEPS + 1), "tokens"
    )
    notes = draw(found, "title")[1]
    assert len(notes) == 1
    assert f"{ROWS} x {STEPS} of {ROWS + 1} x {STEPS + 1}" in notes[0]
