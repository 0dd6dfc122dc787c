"""Sequences on several ranks: the result of one process up to rounding, and each example once an epoch."""

import json

import pytest
from safetensors.numpy import load_file
from sequence_works import write_data

WORK = {
    "text": "reviews network=lstm network.hidden=6 network.embedding=5 network.bidirectional=true network.dropout=0 "
    "data.batch_size=7",
    "pairs": "reverse data.examples=80 data.alphabet=5 data.most=8 network=seq2seq_attention network.hidden=6 "
    "network.embedding=5 network.dropout=0 network.beam=1 data.batch_size=9",
    "equal lengths in one part": "reverse data.examples=80 data.alphabet=5 data.least=1 data.most=3 network=seq2seq "
    "network.hidden=6 network.embedding=5 network.dropout=0 network.beam=1 data.batch_size=6",
    "tags": "tags.conll network=tagger_crf network.hidden=5 network.dropout=0 data.batch_size=6",
    "letters": "corpus.txt data.window=24 network=char_lm network.hidden=8 network.dropout=0 data.batch_size=5",
    "speech": "sounds data.join=2 data.joined=40 data.mels=8 network=ctc network.hidden=5 network.dropout=0",
    "speakers": "sounds data.task=verify data.mels=8 network=speaker network.dropout=0 data.batch_size=9",
}
SLOW = set(WORK) - {"text", "pairs"}


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def numbers(row):
    """All that a row records but times."""
    timed = ("seconds", "examples_per_second")
    flat = {name: value for name, value in row.items() if name not in timed and not isinstance(value, dict)}
    return flat | {f"validation.{name}": value for name, value in row.get("validation", {}).items()}


def taken(path):
    """Epoch -> the examples that all ranks counted in it."""
    found = {}
    for epoch, examples in map(json.loads, path.read_text().splitlines()):
        found.setdefault(epoch, []).extend(examples)
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("works"))


@pytest.mark.parametrize(
    "work", [pytest.param(work, marks=pytest.mark.slow) if work in SLOW else work for work in WORK]
)
def test_one_and_two_ranks_train_alike(work, forks, home, tmp_path):
    found = {}
    for ranks in (1, 2):
        run, spy = tmp_path / str(ranks), tmp_path / f"spy{ranks}"
        words = ["train", *WORK[work].split(), "epochs=2", "log_steps=1", "--out", run]
        out = forks(ranks, words, home, SPY=str(spy))
        assert out["codes"] == [0] * ranks, out["stderr"]
        report = json.loads((run / "report.json").read_text())
        found[ranks] = rows(run), load_file(run / "best.safetensors"), taken(spy), report["test"]["loss"]
    assert found[1][3] == pytest.approx(found[2][3], rel=1e-4)
    for epoch, examples in found[1][2].items():
        assert len(examples) == len(set(examples))
        assert sorted(found[2][2][epoch]) == sorted(examples)
    for one, two in zip(found[1][0], found[2][0], strict=True):
        assert numbers(two) == pytest.approx(numbers(one), rel=1e-4)
    for key, tensor in found[1][1].items():
        assert found[2][1][key] == pytest.approx(tensor, rel=1e-3, abs=2e-5), key
