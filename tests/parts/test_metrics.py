"""Metrics against scikit-learn, closed forms and hand-counted examples; undefined values are None."""

import json
import math

import numpy as np
import pytest
import sklearn.metrics as reference

from netwright.catalogue import METRICS
from netwright.errors import UsageError
from netwright.parts import metrics

CLASSIFY = [
    "accuracy",
    "balanced_accuracy",
    "f1",
    "f1_macro",
    "f1_micro",
    "f1_weighted",
    "auc",
    "log_loss",
    "top_5",
    "calibration_error",
]
REGRESS = ["mse", "mae", "rmse", "r2"]
SEQUENCES = {
    "tag": ["entity_f1", "token_accuracy"],
    "generate": ["bits_per_character", "perplexity", "nll"],
    "translate": ["perplexity", "exact_match", "bleu", "chrf", "rouge1", "rougeL"],
    "forecast": ["mse", "mae", "rmse", "mase"],
    "transcribe": ["word_error_rate", "character_error_rate", "exact_match"],
    "verify": ["eer"],
}


def made(n: int, classes: int, seed: int = 0, absent: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    if absent is not None:
        truth[truth == absent] = (absent + 1) % classes
    p = rng.random((n, classes))
    p[np.arange(n), truth] += 0.7
    return truth, p / p.sum(axis=1, keepdims=True)


def test_the_catalogue_holds_the_names_of_the_contract_with_plain_facts():
    assert set(METRICS) == {*CLASSIFY, *REGRESS, *(name for names in SEQUENCES.values() for name in names)}
    assert metrics.names("classify", 2) == [name for name in CLASSIFY if name != "top_5"]
    assert metrics.names("classify", 5) == [name for name in CLASSIFY if name not in ("f1", "top_5")]
    assert metrics.names("classify", 6) == [name for name in CLASSIFY if name != "f1"]
    assert metrics.names("regress") == REGRESS
    assert {task: sorted(metrics.names(task)) for task in SEQUENCES} == {
        task: sorted(names) for task, names in SEQUENCES.items()
    }
    for part in METRICS.values():
        assert part.formula
        assert part.facts["better"] in ("higher", "lower")
        assert json.loads(json.dumps(part.card()))["name"] == part.name


@pytest.mark.parametrize(("classes", "absent"), [(2, None), (3, None), (7, 4), (10, None), (10, 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_classification_equals_scikit_learn(classes: int, absent: int | None, seed: int):
    truth, p = made(97, classes, seed, absent)
    said, labels = p.argmax(axis=1), np.arange(classes)
    expected = {
        "accuracy": reference.accuracy_score(truth, said),
        "balanced_accuracy": np.mean([np.mean(said[truth == k] == k) for k in np.unique(truth)]),
        "f1_macro": reference.f1_score(truth, said, average="macro", zero_division=0),
        "f1_micro": reference.f1_score(truth, said, average="micro"),
        "f1_weighted": reference.f1_score(truth, said, average="weighted", zero_division=0),
        "log_loss": reference.log_loss(truth, p, labels=labels),
    }
    if classes == 2:
        expected["f1"] = reference.f1_score(truth, said)
        expected["auc"] = reference.roc_auc_score(truth, p[:, 1])
    else:
        found = np.unique(truth)
        expected["auc"] = np.mean([reference.roc_auc_score(truth == k, p[:, k]) for k in found])
    if classes > 5:
        expected["top_5"] = reference.top_k_accuracy_score(truth, p, k=5, labels=labels)
    got = metrics.measure("classify", truth, p)
    assert set(got) == {*expected, "calibration_error"}
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=1e-12), name


def test_macro_auc_equals_scikit_learn_one_versus_rest():
    truth, p = made(200, 4)
    assert METRICS["auc"](truth, p) == pytest.approx(reference.roc_auc_score(truth, p, multi_class="ovr"), abs=1e-12)


def test_auc_counts_ties_half_and_is_one_half_for_constant_scores():
    truth = np.array([0, 0, 1, 1, 1])
    scores = np.array([0.2, 0.6, 0.6, 0.6, 0.9])
    p = np.stack([1 - scores, scores], axis=1)
    assert METRICS["auc"](truth, p) == pytest.approx((2 * 3 - 1) / 6)  # of six pairs two are ties, four are right
    assert METRICS["auc"](truth, p) == pytest.approx(reference.roc_auc_score(truth, scores), abs=1e-12)
    assert METRICS["auc"](truth, np.full((5, 2), 0.5)) == 0.5
    assert METRICS["auc"](np.array([0, 1, 2]), np.full((3, 3), 1 / 3)) == 0.5


def test_calibration_error_by_hand_and_by_loop():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    truth = np.array([0, 1, 0, 1])  # bins: (0.9: 1 of 2 right), (0.6: right), (0.7: right)
    assert METRICS["calibration_error"](truth, p) == pytest.approx((2 * 0.4 + 0.4 + 0.3) / 4)
    truth, p = made(500, 4, seed=3)
    sure, right, total = p.max(axis=1), p.argmax(axis=1) == truth, 0.0
    for k in range(15):
        inside = (sure > k / 15) & (sure <= (k + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert METRICS["calibration_error"](truth, p) == pytest.approx(total, abs=1e-12)
    assert METRICS["calibration_error"](truth, p, bins=2) != pytest.approx(total, abs=1e-4)
    with pytest.raises(UsageError, match="bins"):
        METRICS["calibration_error"](truth, p, bins=1)


def test_equal_probabilities_rank_in_class_order_everywhere():
    p = np.full((10, 10), 0.1)
    truth = np.arange(10)
    assert METRICS["accuracy"](truth, p) == pytest.approx(0.1)
    assert METRICS["top_5"](truth, p) == pytest.approx(0.5)
    assert metrics.PER_EXAMPLE["top_5"](truth, p).tolist() == [1.0] * 5 + [0.0] * 5


def test_log_loss_holds_zero_probabilities_and_normalises_rows():
    truth = np.array([0, 1])
    assert METRICS["log_loss"](truth, np.array([[0.0, 1.0], [0.0, 1.0]])) == pytest.approx(-math.log(2.0**-52) / 2)
    assert METRICS["log_loss"](truth, np.array([[0.5, 0.5], [0.0, 0.0]])) == pytest.approx(math.log(2))
    low = np.array([[0.25, 0.25], [0.5, 0.5]], dtype=np.float32)
    assert METRICS["log_loss"](truth, low) == pytest.approx(math.log(2))


@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 3)])
def test_regression_equals_numpy_and_scikit_learn(shape: tuple[int, ...]):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=shape), rng.normal(size=shape)
    got = metrics.measure("regress", a, b)
    assert got["mse"] == pytest.approx(((a - b) ** 2).mean(), abs=1e-12)
    assert got["mse"] == pytest.approx(reference.mean_squared_error(a, b), abs=1e-12)
    assert got["mae"] == pytest.approx(np.abs(a - b).mean(), abs=1e-12)
    assert got["rmse"] == pytest.approx(np.sqrt(((a - b) ** 2).mean()), abs=1e-12)
    assert got["r2"] == pytest.approx(reference.r2_score(a, b), abs=1e-12)


def test_hand_computed_mse():
    assert METRICS["mse"](np.array([1.0, 2.0, 4.0]), np.array([1.0, 4.0, 1.0])) == pytest.approx(13 / 3, abs=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "f1_micro", "top_5", "log_loss"])
def test_values_of_the_examples_have_the_metric_as_mean(name: str):
    truth, p = made(80, 8, seed=5)
    values = metrics.PER_EXAMPLE[name](truth, p)
    assert values.shape == (80,)
    assert values.mean() == pytest.approx(METRICS[name](truth, p), abs=1e-12)


@pytest.mark.parametrize("name", ["mse", "mae"])
def test_values_of_the_examples_have_the_regression_metric_as_mean(name: str):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(30, 2)), rng.normal(size=(30, 2)).astype(np.float32)
    assert metrics.PER_EXAMPLE[name](a, b).mean() == pytest.approx(METRICS[name](a, b), abs=1e-12)


def test_what_does_not_exist_is_none():
    none = np.zeros(0, dtype=int), np.zeros((0, 10))
    assert set(metrics.measure("classify", *none).values()) == {None}
    assert set(metrics.measure("regress", np.zeros(0), np.zeros(0)).values()) == {None}
    one_class = np.zeros(4, dtype=int), np.full((4, 2), [0.8, 0.2])
    got = metrics.measure("classify", *one_class)
    assert got["auc"] is None
    assert got["f1"] is None
    assert got["accuracy"] == got["balanced_accuracy"] == 1.0
    assert metrics.measure("regress", np.ones(3), np.array([1.0, 2.0, 3.0]))["r2"] is None
    assert metrics.measure("regress", np.ones(1), np.ones(1)) == {"mse": 0, "mae": 0, "rmse": 0, "r2": None}
    assert METRICS["f1"](*made(20, 3)) is None
    assert METRICS["top_5"](*made(20, 5)) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_outputs_that_are_not_finite_have_no_metric(bad: float):
    truth, p = made(20, 6)
    p[3, 2] = bad
    assert set(metrics.measure("classify", truth, p).values()) == {None}
    assert set(metrics.measure("regress", np.ones(3), np.array([1.0, bad, 2.0])).values()) == {None}


def test_numbers_beyond_float_are_none_without_warning():
    got = metrics.measure("regress", np.array([1.0, 2.0]), np.array([1e200, -1e200]))
    assert got["mse"] is None
    assert got["rmse"] is None
    assert got["r2"] is None
    assert got["mae"] == pytest.approx(1e200)


@pytest.mark.parametrize(
    ("truth", "p", "words"),
    [
        (np.array([0, 3]), np.full((2, 3), 1 / 3), "from 0 to 2"),
        (np.array([0, -1]), np.full((2, 3), 1 / 3), "from 0 to 2"),
        (np.array([0, 1]), np.array([[2.0, -1.0], [0.1, 0.9]]), r"-1 to 2 \(logits\?\)"),
        (np.array([0, 1]), np.full((3, 3), 1 / 3), "2 true values, but 3 predictions"),
        (np.array([0, 1]), np.array([0.1, 0.2]), r"got shapes \(2,\) and \(2,\)"),
    ],
)
def test_wrong_inputs_are_refused_with_what_came(truth: np.ndarray, p: np.ndarray, words: str):
    with pytest.raises(UsageError, match=words):
        METRICS["accuracy"](truth, p)


def test_regression_shapes_must_agree():
    with pytest.raises(UsageError, match=r"\(3,\), predictions of \(3, 1\)"):
        METRICS["mse"](np.zeros(3), np.zeros((3, 1)))
