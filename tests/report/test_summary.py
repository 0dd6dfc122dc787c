"""The report, `evaluate` and `compare` on whole runs: one set of numbers, finite, and equal to scikit-learn's."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, mean_squared_error, r2_score

import netwright as nw
from netwright.errors import RunError, UsageError
from netwright.report import summary
from netwright.report.words import best_baseline, finding_lines, shown, verdict
from netwright.training.answers import truths

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
LABELS = np.array(["ant", "bee", "cat"], object)[np.argmax(X[:, :3] + 0.3 * RNG.normal(size=(300, 3)), 1)]
ADAM = {"name": "adam", "lr": 0.02}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def classes(home):
    return nw.train(nw.read(X, LABELS), "softmax", optimizer=ADAM, epochs=20, out=home / "classes", quiet=True)


@pytest.fixture(scope="module")
def poor(home):
    slow = {"name": "sgd", "lr": 1e-4}
    return nw.train(nw.read(X, LABELS), "softmax", optimizer=slow, epochs=1, out=home / "poor", quiet=True)


@pytest.fixture(scope="module")
def numbers(home):
    y = 100 + 7 * X[:, 0] + RNG.normal(size=300)
    return nw.train(nw.read(X, y), "mlp", optimizer=ADAM, epochs=30, out=home / "numbers", quiet=True)


def numbers_in(value):
    if isinstance(value, dict):
        return [found for item in value.values() for found in numbers_in(item)]
    if isinstance(value, list):
        return [found for item in value for found in numbers_in(item)]
    return [value] if isinstance(value, float) else []


FIELDS = {"run", "task", "network", "parameters", "epochs", "steps", "seconds", "best_epoch", "test", "validation",
          "baseline", "findings", "notes", "metrics", "classes", "examples", "stopped", "wall_seconds"}  # fmt: skip


@pytest.mark.parametrize("name", ["classes", "poor", "numbers"])
def test_the_report_holds_the_contracts_fields_in_finite_numbers(request, name):
    run = request.getfixturevalue(name)
    assert run.report.keys() >= FIELDS
    text = run.folder.read_bytes("report.json").decode()
    assert json.loads(text, parse_constant=lambda word: pytest.fail(word)) == run.report
    assert all(map(math.isfinite, numbers_in(run.report)))
    assert 0 < run.seconds <= run.wall_seconds
    assert run.to_json() == run.report
    for scores in (run.test, run.validation):
        assert all(isinstance(value, (int, float)) or value is None for value in scores.values())
        assert "loss" in scores
    assert set(run.baseline) == {"constant", "linear", "nearest"}


def test_classification_scores_are_scikit_learns(classes):
    saved = load_file(classes.path / "predictions.safetensors")
    p, truth = saved["predictions"], saved["truth"]
    guess = p.argmax(1)
    assert truth.tolist() == truths(classes._dataset, "test").tolist()
    assert classes.test["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    assert classes.test["f1_macro"] == pytest.approx(f1_score(truth, guess, average="macro"))
    assert classes.test["log_loss"] == pytest.approx(log_loss(truth, p))
    assert classes.test["loss"] == pytest.approx(classes.test["log_loss"], rel=1e-5)
    assert classes.confusion == confusion_matrix(truth, guess).tolist()
    assert classes.classes == ["ant", "bee", "cat"]
    assert classes.examples == len(truth) == 60
    for score in classes.metrics.values():
        assert score["low"] is None or score["low"] <= score["value"] <= score["high"]
    assert {name: score["value"] for name, score in classes.metrics.items()}.items() <= classes.test.items()


def test_mistakes_are_named_and_the_surest_come_first(classes):
    saved = load_file(classes.path / "predictions.safetensors")
    wrong = np.flatnonzero(saved["predictions"].argmax(1) != saved["truth"])
    found = classes.mistakes
    assert sorted(mistake["position"] for mistake in found) == wrong.tolist()
    ids = classes._dataset.ids("test")
    for mistake in found:
        assert mistake["input"] == ids[mistake["position"]]
        assert mistake["truth"] == classes.classes[saved["truth"][mistake["position"]]]
        assert mistake["probability"] == pytest.approx(saved["predictions"][mistake["position"]].max())
    sure = [mistake["probability"] for mistake in found]
    assert sure == sorted(sure, reverse=True)


def test_regression_scores_are_scikit_learns_in_the_datas_units(numbers):
    saved = load_file(numbers.path / "predictions.safetensors")
    y, guess = saved["truth"], saved["predictions"]
    assert 60 < y.min() < y.max() < 140
    assert numbers.test["rmse"] == pytest.approx(math.sqrt(mean_squared_error(y, guess)))
    assert numbers.test["r2"] == pytest.approx(r2_score(y, guess))
    scale = numbers.folder.read("data.json")["targets"]["scale"]
    assert numbers.test["loss"] == pytest.approx(mean_squared_error(y, guess) / scale**2, rel=1e-4)
    assert numbers.confusion is None
    assert numbers.residuals["mean"] == pytest.approx((guess - y).mean())


@pytest.mark.parametrize("name", ["classes", "poor", "numbers"])
def test_evaluate_gives_the_reports_numbers(request, name):
    run = request.getfixturevalue(name)
    found = nw.evaluate(run)
    for field in ("metrics", "confusion", "classes", "examples", "mistakes", "baseline"):
        assert found[field] == run.report[field], field
    assert found["loss"] == run.test["loss"]
    assert found["run"] == str(run.path)


@pytest.mark.parametrize("path", ["iris", "diabetes", "spirals"])
def test_evaluate_from_the_folder_alone_gives_the_reports_numbers(home, path):
    run = nw.train(path, epochs=2, out=home / path, quiet=True)
    found = nw.evaluate(str(run.path))
    assert {field: found[field] for field in ("metrics", "baseline", "examples")} == {
        field: run.report[field] for field in ("metrics", "baseline", "examples")
    }


def test_in_memory_data_must_be_handed_over_again(classes):
    with pytest.raises(UsageError, match=r"was given its data in Python; hand it over again: data="):
        nw.open(classes.path).evaluate()
    assert nw.open(classes.path).evaluate(classes._dataset)["metrics"] == classes.metrics


def test_baselines_learn_from_a_seeded_sample_of_the_training_examples(classes, monkeypatch):
    seen = {}
    real = summary.baselines

    def watched(task, x, y, test_x, test_y, count):
        seen.update(x=x, y=y, test=test_x)
        return real(task, x, y, test_x, test_y, count)

    monkeypatch.setattr(summary, "baselines", watched)
    monkeypatch.setattr(summary, "BASELINE_ROWS", 50)
    dataset = classes._dataset
    summary.baseline_scores(dataset)
    first = seen["x"].copy()
    summary.baseline_scores(dataset)
    assert (seen["x"] == first).all()
    assert len(first) == len(seen["y"]) == 50
    train = {row.tobytes() for row in dataset.input_tensor("train").numpy()}
    assert all(row.tobytes() in train for row in first)
    assert (seen["test"] == dataset.input_tensor("test").numpy()).all()


def test_baselines_beside_new_data_are_scored_on_that_data(home, classes):
    """The numbers of the run's own test set would say nothing about other examples."""
    x = X[:40] + 0.5
    found = classes.evaluate(x, LABELS[:40])
    assert set(found["baseline"]) == {"constant", "linear", "nearest"}
    shares = (LABELS[classes._dataset.splits["train"]] == np.array([["ant"], ["bee"], ["cat"]])).mean(1)
    expected = (LABELS[:40] == np.array(["ant", "bee", "cat"])[shares.argmax()]).mean()
    assert found["baseline"]["constant"]["accuracy"] == pytest.approx(expected)
    assert found["baseline"] != classes.baseline
    test = classes._dataset.splits["test"]
    assert classes.evaluate(X[test], LABELS[test])["baseline"] == classes.baseline
    assert nw.open(classes.path).evaluate(x, LABELS[:40])["baseline"] == {}  # the training data are not at hand


def test_no_test_examples_leave_the_scores_empty(home):
    data = nw.read(X, LABELS, test=0.0)
    run = nw.train(data, "softmax", epochs=2, out=home / "untested", quiet=True)
    assert (run.examples, run.test["accuracy"], run.baseline) == (0, None, {})
    assert run.validation["accuracy"] is not None
    assert "test (0 examples)" in str(run)
    assert nw.evaluate(run)["metrics"] == run.metrics
    y = X[:, 0]
    other = nw.train(nw.read(X, y, test=0.0, validation=0.0), "mlp", epochs=2, out=home / "nothing", quiet=True)
    assert (other.examples, other.validation, other.best_epoch) == (0, {}, 2)


# compare --------------------------------------------------------------------------------------------------------


def test_the_better_run_is_better_and_the_other_way_round_worse(poor, classes):
    found = nw.compare(poor, classes)
    assert (found["verdict"], found["metric"]) == ("better", "accuracy")
    assert found["difference"] == pytest.approx(classes.test["accuracy"] - poor.test["accuracy"])
    assert found["values"] == [poor.test["accuracy"], classes.test["accuracy"]]
    assert 0 < found["low"] <= found["difference"] <= found["high"]
    assert found["p_value"] < 0.05
    back = nw.compare(str(classes.path), str(poor.path))
    assert back["verdict"] == "worse"
    assert back["difference"] == -found["difference"]
    assert back["p_value"] == pytest.approx(found["p_value"])
    assert found["recipe"]["optimizer.name"] == ["sgd", "adam"]
    assert found["recipe"]["training.epochs"] == [1, 20]
    assert "optimizer.name: sgd -> adam" in str(found)
    assert "better" in str(found)


def test_a_run_against_itself_is_no_difference(classes, numbers):
    for run in (classes, numbers):
        found = nw.compare(run, run)
        assert (found["verdict"], found["difference"], found["p_value"], found["recipe"]) == (
            "no difference",
            0,
            1.0,
            {},
        )


def test_more_than_two_runs_are_compared_with_the_first(classes, poor):
    found = nw.compare(classes, poor, classes)
    assert [pair["verdict"] for pair in found["pairs"]] == ["worse", "no difference"]
    assert found["runs"] == [str(run.path) for run in (classes, poor, classes)]
    assert found["verdict"] == "worse"
    assert "pairs" not in nw.compare(classes, poor)


def test_numbers_are_compared_by_their_error(home, numbers):
    data = numbers._dataset
    slow = nw.train(data, "mlp", optimizer={"name": "sgd", "lr": 1e-5}, epochs=1, out=home / "slow", quiet=True)
    found = nw.compare(slow, numbers)
    assert (found["metric"], found["verdict"]) == ("rmse", "better")
    assert found["difference"] < 0


def test_runs_that_cannot_be_compared_are_refused(home, classes, numbers):
    with pytest.raises(RunError, match="were tested on different examples"):
        nw.compare(classes, numbers)
    other = nw.train(nw.read(X, LABELS, split_seed=1), "softmax", epochs=1, out=home / "split", quiet=True)
    with pytest.raises(RunError, match="were tested on different examples"):
        nw.compare(classes, other)
    labels = LABELS.copy()
    labels[:5] = "aardvark"  # the same test examples, but another class stands first
    given = [nw.read(X[:200], y[:200], x_test=X[200:], y_test=y[200:]) for y in (LABELS, labels)]
    pair = [nw.train(given[n], "softmax", epochs=1, out=home / f"pair{n}", quiet=True) for n in (0, 1)]
    with pytest.raises(RunError, match=r"tells 3 classes apart, .*pair1 others \(4\)"):
        nw.compare(*pair)
    with pytest.raises(UsageError, match="two runs or more, 1 came"):
        nw.compare(classes)
    with pytest.raises(RunError, match="there is no run folder"):
        nw.compare(classes, home / "absent")


# words ----------------------------------------------------------------------------------------------------------


def test_a_winning_baseline_is_said_plainly(poor, classes):
    assert "A BASELINE WINS: linear reaches" in str(poor)
    assert "use it instead" in str(poor)
    assert "A BASELINE WINS" not in str(classes) or classes.test["accuracy"] < classes.baseline["linear"]["accuracy"]
    scores = {"constant": {"accuracy": 0.5, "rmse": 2.0}, "linear": {"accuracy": 0.9, "rmse": 1.0}}
    assert best_baseline("classify", scores) == ("linear", 0.9)
    assert best_baseline("regress", scores) == ("linear", 1.0)
    assert best_baseline("classify", {"constant": {"accuracy": None}}) is None
    assert verdict("classify", {"accuracy": {"value": 0.9}}, scores) == "the best baseline, linear, reaches 0.9"
    assert verdict("regress", {"rmse": {"value": 1.1}}, scores).startswith("A BASELINE WINS: linear reaches 1;")
    assert verdict("regress", {"rmse": {"value": None}}, scores) == verdict("regress", {}, {}) == ""


def test_scores_are_shown_with_their_interval_where_there_is_one():
    assert shown("accuracy", {"value": 0.98765, "low": 0.9, "high": 1.0}) == "accuracy 0.9877 (0.9 to 1)"
    assert shown("accuracy", {"value": None, "low": None, "high": None}) == "accuracy -"
    assert shown("mae", {"value": 1.0}) == "mae 1"


def test_findings_and_notes_in_lines():
    finding = {"fault": "F2", "name": "loss", "where": "here", "evidence": {"a": 0.123456, "b": list("xyzuvw")},
               "harm": "bad", "remedies": [{"patch": {"optimizer.lr": 0.1}, "why": "because"}]}  # fmt: skip
    assert finding_lines([finding], []) == [
        "fault F2: loss at here (a 0.1235, b x, y, z, u, v, ...)", "    bad", "    optimizer.lr=0.1: because",
    ]  # fmt: skip
    assert finding_lines([], []) == ["no fault was found by the checks that follow every training"]
    [note] = finding_lines([], [{**finding, "evidence": {"a": 1, "recall": {"x": 1.0}}}])
    assert note == "note F2: loss (a 1)"


def test_what_notebooks_show_is_escaped(home, classes):
    data = nw.read(X, np.array(["<i>x</i>", "b&c", '"q"'], object)[np.arange(300) % 3])
    run = nw.train(data, "softmax", epochs=1, out=home / "<b>run", quiet=True)
    for found in (run, nw.evaluate(run), nw.compare(run, run)):
        html = found._repr_html_()
        assert html.startswith("<pre>")
        assert "<i>" not in html
        assert "<b>" not in html
        assert json.loads(json.dumps(found.to_json())) == found.to_json()
    assert "&lt;b&gt;run" in run._repr_html_()
    assert "&lt;i&gt;x" in nw.evaluate(run)._repr_html_()
    assert torch.is_tensor(data.input_tensor("test"))


def test_long_confusions_stay_out_of_the_text(home, classes):
    assert "confusion (truth in rows):" in str(nw.evaluate(classes))
    rows = str(nw.evaluate(classes)).splitlines()
    assert [row.split()[0] for row in rows[-3:]] == ["ant", "bee", "cat"]
    assert [[int(cell) for cell in row.split()[1:]] for row in rows[-3:]] == classes.confusion
    many = nw.read(X, np.array([f"c{n}" for n in np.arange(300) % 30], object))
    run = nw.train(many, "softmax", epochs=1, out=home / "many", quiet=True)
    assert "confusion" not in str(nw.evaluate(run))
