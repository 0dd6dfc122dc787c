"""Stacks that read texts: embeddings, recurrent layers, readouts, answers at every token, and what is refused."""

import json

import pytest
import torch

from netwright.catalogue import NETWORKS
from netwright.cli import _run
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy
from netwright.parts.sequences import Sequences

TEXT = {"kind": "text", "vocabulary": 20, "steps": 6, "tokens": "word"}
SOUND = {"kind": "sequence", "steps": 6, "features": 5, "variable": True}
CLASSES, TAGS = {"kind": "class", "count": 3}, {"kind": "tags", "count": 4}
TOKENS = Sequences(torch.tensor([[5, 6, 7, 8, 9], [8, 4, 0, 0, 0]]), torch.tensor([5, 2]))


def built(layers, outputs=CLASSES, inputs=TEXT):
    torch.manual_seed(0)
    return NETWORKS["stack"](inputs, outputs, layers=layers).eval()


@pytest.mark.parametrize(
    "layers",
    [
        "embedding 8, lstm 6 layers=2 bidirectional=true, last, linear out",
        "embedding 8, gru 6 bidirectional=true, max, linear out",
        "embedding 8, rnn 6, linear 5, relu, layernorm, mean, dropout 0.5, linear out",
        "embedding 8, attention 4, linear out",
        "embedding 8, jordan 4, mean, linear out",
        "parallel(embedding 8, lstm 4 | embedding 3), residual(gru 7), max, linear out",
        "embedding 8, residual(lstm 6) project=true, last, linear out",
    ],
)
def test_padding_never_changes_a_result(layers):
    net = built(layers)
    found, alone = net(TOKENS), net(TOKENS.values[1:, :2])
    assert found.shape == (2, 3)
    torch.testing.assert_close(found[1:], alone, rtol=1e-5, atol=1e-6)
    further = Sequences(torch.cat([TOKENS.values, TOKENS.values * 0 + 3], 1), TOKENS.lengths)
    torch.testing.assert_close(net(further), found, rtol=1e-5, atol=1e-6)


def test_is_the_lstm_network_of_the_catalogue():
    mine = built("embedding 8, lstm 6 layers=2 bidirectional=true, last, linear out")
    other = NETWORKS["lstm"](TEXT, CLASSES, hidden=6, layers=2, bidirectional=True, embedding=8, readout="last").eval()
    other.load_state_dict(dict(zip(other.state_dict(), mine.state_dict().values(), strict=True)))
    torch.testing.assert_close(mine(TOKENS), other(TOKENS))


def test_without_a_readout_every_token_is_answered():
    net = built("embedding 8, lstm 4 bidirectional=true, linear out", TAGS)
    found = net(TOKENS)
    assert found.shape == (2, 5, 4)
    torch.testing.assert_close(found[1, :2], net(TOKENS.values[1:, :2])[0], rtol=1e-5, atol=1e-6)


def test_recordings_of_unequal_length_run_through_the_same_layers():
    net = built("lstm 4 bidirectional=true, last, linear out", inputs=SOUND)
    values = torch.randn(2, 5, 5)
    found = net(Sequences(values, torch.tensor([5, 2])))
    torch.testing.assert_close(found[1:], net(values[1:, :2]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layers", "outputs", "words"),
    [
        ("conv 8 3, relu, linear out", CLASSES, r"layer 1 'conv 8 3': conv wants numbers, but up to 6 token numbers"),
        ("linear 10, relu, linear out", CLASSES, r"from 0 to 19 came\. Put `embedding 64` before it"),
        ("residual(embedding 6), last, linear out", CLASSES, r"residual wants numbers"),
        ("embedding 8, conv 4 3, last", CLASSES, r"layer 2 'conv 4 3': conv wants maps .* the shape \(6, 8\) came"),
        (
            "embedding 8, flatten, linear out",
            CLASSES,
            r"layer 2 'flatten': texts differ in length, so up to 6 steps of 8",
        ),
        ("embedding 8, embedding 4, last, linear out", CLASSES, r"layer 2 .* reads word numbers"),
        ("embedding 8, batchnorm, last, linear out", CLASSES, r"sequence of 6 steps"),
        ("embedding 8, lstm 4, linear out", CLASSES, r"gives 6x3; the data needs 3 numbers.* `last`"),
        ("embedding 8, lstm 4, last, linear out", TAGS, r"tags need 4 numbers at every step\. Leave `last`"),
        ("embedding 8, lstm 4, linear 3", TAGS, r"gives 3 numbers; the data needs 4"),
        (
            "embedding 8, lstm 4, linear out",
            {"kind": "text", "count": 20},
            r"it writes no texts\. Use network 'char_lm",
        ),
        ("repeat 2 (embedding 4), last, linear out", CLASSES, r"layer 1\.1 'embedding 4'"),
    ],
)
def test_what_fits_no_text_is_refused_with_layer_and_numbers(layers, outputs, words):
    with pytest.raises(UsageError, match=words):
        built(layers, outputs)


def test_the_anatomy_counts_a_text():
    found = anatomy(built("embedding 8, lstm 6, last, linear out"), TEXT)
    assert found.parameters == 20 * 8 + 4 * 6 * (8 + 6 + 2) + 6 * 3 + 3
    assert found.macs == 6 * 4 * 6 * (8 + 6) + 6 * 3
    assert found.output == [3]


@pytest.mark.parametrize(
    ("words", "shape", "parameters"),
    [
        (["char_lm", "hidden=4", "layers=1", "embedding=3"], [50], 69 * 3 + 4 * 4 * (3 + 4 + 2) + 5 * 69),
        (
            ["lstm", "--input", "12", "--outputs", "2", "--vocabulary", "9", "hidden=4", "embedding=3"],
            [12],
            27 + 144 + 10,
        ),
        (
            ["stack", "--input", "7", "--outputs", "2", "--vocabulary", "9", "layers=embedding 3, last, linear out"],
            [7],
            35,
        ),
        (["lstm"], [28, 28], 24_714),
        (["one_to_many", "--input", "12", "hidden=4", "embedding=2", "--outputs", "5"], [12], 52 + 10 + 128 + 40 + 25),
    ],
)
def test_the_command_counts_networks_of_texts(capsys, words, shape, parameters):
    assert _run(["anatomy", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["input"], found["parameters"]) == (shape, parameters)
