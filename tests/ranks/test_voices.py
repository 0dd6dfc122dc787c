"""Several ranks speak with one voice: one message, one exit code, one answer; what cannot be spread is refused."""

import json

import pytest

SMALL = ["network.hidden=[8]", "data.limit=60", "epochs=1"]
FIRST = ["train", "digits", "network=mlp", *SMALL]


def errors(out):
    return [line for text in out["stderr"] for line in text.splitlines() if line.startswith("error:")]


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["train", "digits", "network=mlpp"], 2, "mlp"),
        (["train", "nowhere/at/all"], 3, "nowhere"),
        (["train", "missing.toml"], 3, "missing.toml"),
        (["train", "digits", "--no-such-option"], 2, "--no-such-option"),
        (["train", "iris", "network=perceptron", "data.classes=2"], 2, "its own update"),
        ([*FIRST, "members=2"], 2, "training.members = 2 trains in one process"),
        (["resume", "runs/none"], 3, "runs/none"),
        (["look", "digits"], 2, "torchrun is for: train, resume"),
        ([*FIRST, "--require", "accuracy>=1.5"], 4, "accuracy>=1.5"),
        ([*FIRST, "device=cuda"], 5, "CUDA"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else None,
)
def test_an_error_is_said_once(words, code, part, forks, tmp_path):
    out = forks(2, words, tmp_path)
    assert out["codes"] == [code, code], out
    assert len(errors(out)) == 1, out["stderr"]
    assert part in errors(out)[0]
    assert not any("Traceback" in text for text in out["stderr"])


def test_rank_0_alone_answers(forks, tmp_path):
    out = forks(2, [*FIRST, "--json", "--out", tmp_path / "run"], tmp_path)
    assert out["codes"] == [0, 0], out["stderr"]
    assert json.loads(out["stdout"][0])["run"] == str(tmp_path / "run")
    assert out["stdout"][1] == out["stderr"][1] == ""
    again = forks(2, ["resume", tmp_path / "run"], tmp_path)
    assert again["codes"] == [0, 0]
    assert "nothing to do" in again["stderr"][0]
    assert again["stderr"][1] == again["stdout"][1] == ""


def test_an_error_as_json_is_one_object(forks, tmp_path):
    out = forks(2, ["train", "nowhere", "--json"], tmp_path)
    assert out["codes"] == [3, 3]
    assert json.loads("".join(out["stdout"]))["error"]["code"] == 3


def test_a_rank_without_its_data_ends_all(forks, tmp_path):
    """Rank 1 stands in a folder of its own, as on another machine."""
    (tmp_path / "1").mkdir()
    (tmp_path / "data.csv").write_text("a,b\n" + "".join(f"{i % 7},{'xy'[i % 2]}\n" for i in range(60)))
    words = ["train", "data.csv", "data.target=b", "network=mlp", "epochs=1"]
    out = forks(2, words, tmp_path, FOLDER_OF_1="1")
    assert out["codes"] == [3, 3], out
    assert len(errors(out)) == 1
    assert "rank 1 on " in errors(out)[0]
    assert "data.csv" in errors(out)[0]


def test_a_rank_with_other_data_is_refused(forks, tmp_path):
    (tmp_path / "1").mkdir()
    for folder, last in ((tmp_path, 60), (tmp_path / "1", 59)):
        text = "a,b\n" + "".join(f"{i % 7},{'xy'[i % 2]}\n" for i in range(last))
        (folder / "data.csv").write_text(text)
    words = ["train", "data.csv", "data.target=b", "network=mlp", "epochs=1"]
    out = forks(2, words, tmp_path, FOLDER_OF_1="1")
    assert out["codes"] == [3, 3], out
    assert [line for line in errors(out) if "rank 1 has read other data than rank 0" in line] == errors(out) != []
    assert not (tmp_path / "runs").exists()


def test_a_rank_with_another_recipe_is_refused(forks, tmp_path):
    (tmp_path / "1").mkdir()
    for folder, rate in ((tmp_path, 0.1), (tmp_path / "1", 0.2)):
        text = '[data]\npath = "iris"\n[network]\nname = "mlp"\n[optimizer]\nname = "sgd"\nlr = ' + str(rate)
        (folder / "recipe.toml").write_text(text)
    out = forks(2, ["train", "recipe.toml", "epochs=1"], tmp_path, FOLDER_OF_1="1")
    assert out["codes"] == [2, 2], out
    assert len(errors(out)) == 1
    assert "rank 1 was started with optimizer.lr = 0.2, rank 0 with 0.1" in errors(out)[0]


def test_a_run_folder_that_other_ranks_cannot_see(forks, tmp_path):
    """The run folder lies on rank 0's machine alone; the other ranks train, resume and end all the same."""
    (tmp_path / "1").mkdir()
    words = [*FIRST, "epochs=3", "log_steps=1", "--out", "run"]
    out = forks(2, words, tmp_path, FOLDER_OF_1="1", SPY=str(tmp_path / "spy"), STOP_AFTER="1")
    assert out["codes"] == [143, 143], out
    out = forks(2, ["resume", "run"], tmp_path, FOLDER_OF_1="1")
    assert out["codes"] == [0, 0], out
    assert list((tmp_path / "1").iterdir()) == []


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (["network=mlp"], []),
        (["network=mlp", "network.dropout=0.5"], ["dropout draws other numbers on each rank"]),
        (["network=convnet", "network.norm=batchnorm"], ["batch normalisation counts each rank's own 10 examples"]),
    ],
    ids=["plain", "dropout", "batchnorm"],
)
def test_what_differs_from_one_process_is_said(network, said, forks, tmp_path):
    words = ["train", "digits", *network, "data.limit=61", "data.batch_size=20", "epochs=1"]
    out = forks(2, [*words, "--out", "run"], tmp_path)
    assert out["codes"] == [0, 0], out["stderr"]
    lines = [line for line in out["stderr"][0].splitlines() if line.startswith("not as in one process")]
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))
    assert out["stderr"][1] == ""


def test_dropout_draws_differ_between_ranks_and_repeat(forks, tmp_path):
    words = ["train", "digits", "network=mlp", "network.dropout=0.5", *SMALL, "log_steps=1", "epochs=2"]
    losses = {}
    for name in ("a", "b"):
        out = forks(2, [*words, "--out", name], tmp_path)
        assert out["codes"] == [0, 0], out["stderr"]
        rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        losses[name] = [row["loss"] for row in rows if "loss" in row]
    assert losses["a"] == losses["b"] != []


def test_numbers_that_are_not_finite_stop_all_ranks_and_name_the_examples(forks, tmp_path):
    words = ["train", "diabetes", "network=mlp", "optimizer=sgd", "optimizer.lr=1000", "epochs=3"]
    out = forks(2, [*words, "data.batch_size=10", "--out", "run"], tmp_path)
    assert out["codes"] == [0, 0], out["stderr"]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    one = forks(1, [*words, "data.batch_size=10", "--out", "one"], tmp_path)
    assert one["codes"] == [0]
    alone = json.loads((tmp_path / "one" / "report.json").read_text())
    assert report["stopped"] == alone["stopped"] == "non-finite"
    for found in (report, alone):
        found["findings"] = [finding for finding in found["findings"] if "finite" in json.dumps(finding)]
    assert report["findings"] == alone["findings"] != []
