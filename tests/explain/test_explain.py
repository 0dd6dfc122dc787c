"""`explain` from end to end: files, data, refusals."""

import io
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import netwright as nw
from netwright.api import explain
from netwright.cli import _run, app
from netwright.data.source import Texts
from netwright.errors import RunError, UsageError
from netwright.explaining.reading import MOST_STEPS

SMALL = {"name": "seq2seq_attention", "hidden": 12, "embedding": 8, "beam": 1}


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    recipe = nw.Recipe(0).override(["data.path=reverse", "data.examples=120", "epochs=1"])
    recipe = recipe.updated({"network": SMALL}, "test")
    return nw.train(recipe=recipe, out=tmp_path_factory.mktemp("runs") / "reverse", quiet=True)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    recipe = nw.Recipe(0).override(["data.path=adding", "data.examples=60", "data.steps=12", "epochs=1"])
    recipe = recipe.updated({"network": {"name": "gru", "hidden": 6}}, "test")
    return nw.train(recipe=recipe, out=tmp_path_factory.mktemp("runs") / "adding", quiet=True)


def names(entry: dict) -> set[str]:
    return {Path(one["file"]).name for one in entry["files"]}


def test_a_translation_is_shown_from_all_sides(translator, tmp_path):
    found = explain(translator, "abcd", out=tmp_path)
    (one,) = found["explanations"]
    pictures = ["gates_encoder_forward", "gates_encoder_backward", "gates_decoder", "attention_attention", "saliency"]
    wanted = {f"{name}{ending}" for name in pictures for ending in (".svg", ".png")}
    assert names(one) == wanted | {"gates.safetensors", "attention.json", "saliency.json", "explanation.json"}
    assert all(Path(row["file"]).is_file() and row["what"] for row in [*one["files"], *found["run"]["files"]])
    assert all(row["differs_by"] < 1e-6 for row in one["gates"])
    folder = Path(one["folder"])
    (weights,) = json.loads((folder / "attention.json").read_text("utf-8"))["maps"]
    assert weights["columns"] == list("abcd")
    assert len(weights["rows"]) == len(weights["weights"])
    assert all(sum(row) == pytest.approx(1) for row in weights["weights"])
    assert one["prediction"] == translator.predict("abcd")[0]["prediction"]
    curve = json.loads((tmp_path / "gradient_over_time.json").read_text("utf-8"))
    assert [row["name"] for row in curve["states"]] == ["encoder forward", "encoder backward", "decoder"]
    assert all(row["norms"][0] == pytest.approx(1) for row in curve["states"])


def test_the_stored_states_are_the_networks_own_in_float32(series, tmp_path):
    x = torch.rand(12, 2)
    (one,) = explain(series, x[None].numpy(), out=tmp_path)["explanations"]
    stored = load_file(Path(one["folder"]) / "gates.safetensors")
    assert sorted(stored) == ["rnn/h", "rnn/n", "rnn/r", "rnn/z"]
    predictor = series.predictor()
    with torch.no_grad():
        own = predictor.forward.model.rnn(predictor.encoder.encode(x[None]))[0][0]
    torch.testing.assert_close(stored["rnn/h"], own, rtol=0, atol=1e-6)
    saliency = json.loads((Path(one["folder"]) / "saliency.json").read_text("utf-8"))
    total = sum(row["integrated"] for row in saliency["steps"])
    assert total == pytest.approx(saliency["score"] - saliency["blank"], rel=2e-3, abs=1e-6)


def test_the_output_that_saliency_explains_can_be_chosen(translator, tmp_path):
    first, second = (explain(translator, "abcd", out=tmp_path, position=at)["explanations"][0] for at in (1, 2))
    assert (first["position"], second["position"]) == (1, 2)
    assert first["explained"] != second["explained"]
    with pytest.raises(UsageError, match="it is 1 to"):
        explain(translator, "abcd", out=tmp_path, position=999)
    with pytest.raises(UsageError, match="-1"):
        explain(translator, "abcd", out=tmp_path, position=-1)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_input_is_refused(translator, tmp_path, text):
    with pytest.raises(UsageError, match="empty"):
        explain(translator, text, out=tmp_path)
    with pytest.raises(UsageError, match="one input"):
        explain(translator, out=tmp_path)


def test_unknown_and_hostile_tokens_are_explained_and_said(translator, tmp_path):
    (one,) = explain(translator, "<script>/../好", out=tmp_path)["explanations"]
    assert Path(one["folder"]).parent == tmp_path
    assert any("not in the vocabulary" in note for note in one["notes"])
    assert "<script>" not in (Path(one["folder"]) / "saliency.svg").read_text("utf-8")


def test_a_long_input_is_explained_from_its_beginning_and_that_is_said(series, tmp_path):
    long = torch.rand(1, MOST_STEPS + 3, 2)
    from netwright.explaining.reading import _numbers

    given = _numbers(series.predictor(), long, "long")
    assert given.steps == MOST_STEPS == given.inputs.shape[1]
    assert any(f"{MOST_STEPS:,}" in note for note in given.notes)


def test_equal_inputs_share_a_folder_and_others_never_do(series, tmp_path):
    a, b = torch.zeros(1, 12, 2), torch.ones(1, 12, 2)
    folders = [explain(series, x.numpy(), out=tmp_path)["explanations"][0]["folder"] for x in (a, a, b)]
    assert folders[0] == folders[1] != folders[2]


def test_files_go_into_the_run_and_leave_its_seal_alone(series):
    found = explain(series.path, torch.zeros(1, 12, 2).numpy())
    assert Path(found["explanations"][0]["folder"]).parent == series.path / "explanations"
    series.folder.verified()


def test_the_command_line_says_what_it_wrote(translator, tmp_path, capsys):
    assert _run(["explain", str(translator.path), "dcba", "--out", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["explanations"][0]["input"] == "dcba"
    assert said["run"]["examples"] == 8
    assert _run(["explain", str(translator.path), "dcba", "--out", str(tmp_path)]) == 0
    assert "forget gates" in capsys.readouterr().out


def test_runs_without_steps_are_refused_in_words(tmp_path, capsys):
    recipe = nw.Recipe(0).override(["data.path=iris", "epochs=1"])
    run = nw.train(recipe=recipe, out=tmp_path / "iris", quiet=True)
    assert _run(["explain", str(run.path), "iris"]) == 2
    assert "no recurrent layer" in capsys.readouterr().err
    assert _run(["explain", str(tmp_path / "nothing"), "x"]) == 3


def test_a_folder_that_cannot_be_made_is_one_line(series, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        explain(series, torch.zeros(1, 12, 2).numpy(), out=tmp_path / "file")


def test_lines_of_stdin_are_inputs(translator, tmp_path, capsys, monkeypatch):
    words = ["explain", str(translator.path), "-", "--out", str(tmp_path), "--json"]
    monkeypatch.setattr("sys.stdin", io.StringIO("ab\n\ncd\n"))
    assert _run(words) == 0
    assert [one["input"] for one in json.loads(capsys.readouterr().out)["explanations"]] == ["ab", "cd"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert _run(words) == 3


@pytest.mark.slow
@pytest.mark.shared_data
def test_names_from_18_languages(shared_data, tmp_path):
    recipe = nw.Recipe(0).override([f"data.path={shared_data / 'names' / 'names.tar.gz'}", "epochs=1"])
    recipe = recipe.updated({"network": {"name": "lstm", "layers": 2, "bidirectional": True}}, "test")
    run = nw.train(recipe=recipe, out=tmp_path / "names", quiet=True)
    one, other = explain(run, "Nguyễn", "Ivanov")["explanations"]
    assert [row["layer"] for row in one["gates"]] == [
        "rnn layer 1 forward", "rnn layer 1 backward", "rnn layer 2 forward", "rnn layer 2 backward"
    ]  # fmt: skip
    assert other["prediction"] == run.predict("Ivanov")[0]["prediction"]
    stored = load_file(Path(one["folder"]) / "gates.safetensors")
    model, encoder = run.predictor().forward.model.eval(), run.predictor().encoder
    with torch.no_grad():
        tokens = encoder.encode(Texts(["Nguyễn"]))
        own = model.rnn(model.embedding(tokens.values))[0][0]
    ours = torch.cat([stored["rnn_layer_2_forward/h"], stored["rnn_layer_2_backward/h"]], 1)
    torch.testing.assert_close(ours, own, rtol=0, atol=1e-6)


class Fixed(torch.nn.Module):
    """A module from Python that makes a state of float32, whatever its weights are."""

    def __init__(self):
        super().__init__()
        self.cells, self.out = torch.nn.GRU(8, 3, batch_first=True), torch.nn.Linear(3, 10)

    def forward(self, x):
        return self.out(self.cells(x[:, 0], torch.zeros(1, len(x), 3))[0][:, -1])


def test_a_module_that_works_in_float32_alone_is_refused_in_words(tmp_path):
    data = nw.read("digits")
    run = nw.train(data, Fixed(), epochs=1, out=tmp_path / "own", quiet=True)
    with pytest.raises(UsageError, match="float32 alone"):
        explain(run, data.source.examples.take([0]).numpy())


def test_the_verb_is_there():
    assert "INPUT" in CliRunner().invoke(app, ["explain", "--help"]).output
