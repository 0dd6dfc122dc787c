"""Sequences that would break a training: empty, of one token, far too long, or not finite; each is named."""

import json
import random
import resource

import numpy as np
import pytest
from sequence_works import BAD, GOOD
from waves import tone, wav

from netwright.cli import _run

SETTLED = ["epochs=2", "threads=1", "precision=float32", "compile=false", "layout=contiguous", "allocator=default"]
MOST_MIB = 600
"""What a training of a tiny network may add to the memory of this process."""


@pytest.fixture
def train(tmp_path, capsys, monkeypatch):
    """A training as it is typed: its code, its JSON, and what it said beside."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        code = _run(["train", *words, *SETTLED, "--out", "run", "--json"])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        assert "defect" not in said.out + said.err
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024 * MOST_MIB
        return code, json.loads(said.out, parse_constant=pytest.fail), said.err

    return run


def table(path, *more, count=160):
    rows = [f"{('bad', 'good')[n % 2]}\t{' '.join(random.Random(n).choices((BAD, GOOD)[n % 2], k=1 + n % 4))} {n}"
            for n in range(count)]  # fmt: skip
    path.write_text("\n".join(["label\ttext", *rows, *more]) + "\n")


SMALL = ["network.hidden=4", "network.embedding=4"]


def test_empty_texts_are_named_and_texts_of_one_token_read(train, tmp_path):
    table(tmp_path / "t.tsv", "good\t", "bad\t  ", "good\tx", "bad\t\N{PILE OF POO}", "good\t.")
    code, found, said = train("t.tsv", "network=lstm", *SMALL)
    assert code == 0
    assert "t.tsv:162" in said
    assert "t.tsv:163" in said
    assert found["test"]["loss"] is not None


@pytest.mark.parametrize("network", ["lstm", "text_cnn", "transformer_encoder"])
def test_a_text_of_a_hundred_thousand_tokens_costs_no_more_than_others(network, train, tmp_path):
    """What is read of it follows from the other texts; only the beginning is, and that is said."""
    table(tmp_path / "t.tsv", f"good\t{'film ' * 100_000}")
    settings = {"lstm": SMALL, "text_cnn": ["network.channels=4"], "transformer_encoder": ["network.hidden=8"]}
    code, found, said = train("t.tsv", f"network={network}", *settings[network], "data.test=0.1")
    assert code == 0
    assert found["test"]["loss"] is not None
    if "longer than" in said:  # it may have fallen into the test split, where it is cut all the same
        assert "1 of" in said


def test_pairs_far_too_long_are_named(train, tmp_path):
    rows = [f"ein satz {n}\tone sentence {n}" for n in range(120)]
    (tmp_path / "p.tsv").write_text("\n".join([*rows, f"{'wort ' * 100_000}\t{'word ' * 100_000}"]) + "\n")
    code, _, said = train("p.tsv", "network=seq2seq_attention", *SMALL, "network.beam=1")
    assert code == 0
    assert "p.tsv" in said


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_recording_with_a_number_that_is_none_is_named(value, train, tmp_path):
    (tmp_path / "sounds").mkdir()
    for take in range(24):
        wave = tone(300 + 200 * (take % 2), 0.05 + 0.002 * take).astype(np.float32) / 32768
        if take == 7:
            wave[100] = value
        (tmp_path / "sounds" / f"{take % 2}_anna_{take}.wav").write_bytes(wav(wave, bits=32))
    code, found, said = train("sounds", "network=lstm", "network.hidden=4", "data.mels=8")
    assert code == 0
    assert "1_anna_7.wav" in said
    assert "sample 100" in said
    assert found["test"]["loss"] is not None


def test_a_sentence_far_longer_than_the_others_is_tagged_whole(train, tmp_path):
    short = "".join(f"anna\tB-PER\nsees\tO\nword{n}\tO\n\n" for n in range(60))
    (tmp_path / "t.conll").write_text(short + "x\tO\n" * 3000)
    code, found, _ = train("t.conll", "network=tagger_crf", *SMALL, "data.batch_size=8")
    assert code == 0
    assert found["test"]["token_accuracy"] is not None
