"""Recurrent networks as recipes: the five structures of the notes (S-217 to S-221), long memory, and char-RNN.

Every one runs as it stands on a set that needs no file, `@char-rnn` apart; a path behind its name puts the person's own
data in place of that.
"""

from typing import Any

from netwright.catalogue import RECIPES

Tables = dict[str, dict[str, Any]]
ADAM = {"name": "adam", "lr": 4e-3}
CYCLE = {"name": "one_cycle"}


@RECIPES.add("one-to-one", source="the notes' structure 1-1 (S-217): no recurrence")
def one_to_one() -> Tables:
    """1-1, one input and one answer: a plain network with one hidden layer, for pictures, vectors and tables.

    Formula: y = softmax(V relu(W x + b) + c)
    """
    return {
        "data": {"path": "circles", "batch_size": 32},
        "network": {"name": "mlp", "hidden": [100]},
        "optimizer": {"name": "adam", "lr": 1e-2},
        "schedule": dict(CYCLE),
        "training": {"epochs": 20},
    }


@RECIPES.add("one-to-many", source="the notes' structure 1-N (S-218); captions: Vinyals et al. 2015, arXiv:1411.4555")
def one_to_many() -> Tables:
    """1-N, one input and a sequence of answers: one vector starts a decoder, which writes until it ends by itself.

    Formula: h_0 = tanh(B v); p(y_t | y_<t, v) = softmax(V h_t + c)

    `network.feed = "each"` shows the decoder the vector at every step. For pairs of a short text and a longer one,
    rows of numbers with a text each, and pictures with captions.
    """
    return {
        "data": {"path": "spelling", "batch_size": 32},
        "network": {"name": "one_to_many", "feed": "start"},
        "optimizer": dict(ADAM),
        "schedule": dict(CYCLE),
        "training": {"epochs": 60},
    }


@RECIPES.add("many-to-one", source="the notes' structure N-1 (S-219)")
def many_to_one() -> Tables:
    """N-1, a sequence and one answer: an LSTM reads all steps, its last state decides.

    Formula: y = V h_T + c

    `network.readout` takes the mean, the maximum or an attention over all steps instead. For series, texts, recordings
    and pictures, whose rows are the steps.
    """
    return {
        "data": {"path": "adding"},
        "network": {
            "name": "lstm", "hidden": 64, "readout": "last", "forget_bias": 1.0, "recurrent_init": "orthogonal",
        },
        "optimizer": {"name": "adam", "lr": 5e-3},
        "schedule": dict(CYCLE),
        "training": {"epochs": 6, "clip_norm": 1.0},
    }  # fmt: skip


@RECIPES.add("many-to-many", source="the notes' structure N-N (S-220)")
def many_to_many() -> Tables:
    """N-N, an answer at every step: an LSTM with a linear layer at each of them, for tags of tokens.

    Formula: p(y_t | x_1 .. x_t) = softmax(V h_t + c)

    One way only, so that every answer rests on what came before; `network.bidirectional = true` looks ahead, too.
    """
    return {
        "data": {"path": "repeats", "batch_size": 32},
        "network": {"name": "tagger", "hidden": 64, "embedding": 32, "bidirectional": False, "dropout": 0.1},
        "optimizer": dict(ADAM),
        "schedule": dict(CYCLE),
        "training": {"epochs": 20},
    }


@RECIPES.add("encoder-decoder", source="the notes' structure N-M (S-221); Bahdanau, Cho, Bengio 2015, arXiv:1409.0473")
def encoder_decoder() -> Tables:
    """N-M, a sequence and another one of its own length: an encoder reads, a decoder with attention writes.

    Formula: c_t = sum_j a_tj h_j; p(y_t | y_<t, x) = softmax(V tanh(W [c_t; s_t]) + b); it stops at the end token
    """
    return {
        "data": {"path": "reverse", "batch_size": 64},
        "network": {"name": "seq2seq_attention", "hidden": 64, "embedding": 32, "dropout": 0.1},
        "optimizer": dict(ADAM),
        "schedule": dict(CYCLE),
        "training": {"epochs": 12},
    }


@RECIPES.add("char-rnn", source="Karpathy 2015, The Unreasonable Effectiveness of Recurrent Neural Networks; char-rnn")
def char_rnn() -> Tables:
    """A character language model as the program char-rnn trains it by default, for any running text.

    Formula: 2 LSTM layers of 128 over pieces of 50 characters; RMSprop at 2e-3, times 0.97 after each epoch from the
    10th of 50 on; gradients within -5 and 5; 95 % of the text to train on

    Differs: each piece starts from a state of 0 where the program hands the last one on; first weights are uniform
    within 1/sqrt(128) = 0.088, not 0.08; the other 5 % are divided, for validation and test.
    """
    return {
        "data": {"window": 50, "batch_size": 50, "test": 0.025, "validation": 0.0257},
        "network": {"name": "char_lm", "hidden": 128, "layers": 2, "embedding": 128, "dropout": 0.0},
        "optimizer": {"name": "rmsprop", "lr": 2e-3, "decay": 0.95},
        "schedule": {"name": "multi_step", "milestones": [epoch / 50 for epoch in range(10, 50)], "gamma": 0.97},
        "training": {"epochs": 50, "clip_value": 5.0},
    }


@RECIPES.add("adding", source="Hochreiter and Schmidhuber 1997, experiment 4; LSTM start: Jozefowicz et al. 2015")
def adding() -> Tables:
    """Long memory: the sum of two numbers marked among 100, which an LSTM learns and a simple network does not.

    Formula: MSE 1/6 = 0.1667 for whoever always answers 1

    `network=rnn` behind it trains the simple network beside it, in the same way.
    """
    found = many_to_one()
    return {**found, "training": {**found["training"], "epochs": 12}}
