"""The simple-learner control against hand figures and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits, load_iris, load_wine, make_circles, make_friedman1
from sklearn.metrics import r2_score

from netwright.doctor.gauges.control import Score, control, folds, is_signal, score
from netwright.doctor.gauges.learners import Question, examples_of, form_of, linear, nearest, standardised
from netwright.doctor.gauges.small_networks import small_network
from netwright.doctor.task import skill_of
from netwright.errors import DataError, UsageError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("load", "least"), [(load_iris, 0.9), (load_wine, 0.93), (load_digits, 0.95)])
def test_easy_sets_are_learnt(load, least):
    data = load()
    found = control(data.data, data.target, kind="classes")
    assert found.skill > least
    assert found.signal
    assert found.held_out
    assert found.linear > 0.9


def test_numbers_that_bend_are_learnt_by_trees_and_the_network_only():
    x, y = make_friedman1(600, random_state=0)
    found = control(x, y, kind="numbers").scores
    assert found["reference"].skill > 0.85
    assert found["trees"].skill > 0.9
    assert 0.6 < found["linear"].skill < 0.85


def test_circles_are_beyond_a_linear_learner():
    x, y = make_circles(300, noise=0.1, factor=0.5, random_state=0)
    found = control(x, y, kind="classes")
    assert found.linear < 0.2
    assert found.skill > 0.9


def test_xor_of_four_examples_is_scored_on_what_was_learnt():
    found = control(np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]]), np.array([0, 1, 1, 0]), kind="classes")
    assert not found.held_out
    assert set(found.scores) == {"constant", "linear", "reference"}
    assert found.linear == 0
    assert found.scores["reference"].skill == 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_noise_shows_no_signal(kind, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 6))
    y = rng.integers(0, 2, 200) if kind == "classes" else rng.normal(size=200)
    assert not control(x, y, kind=kind, seed=seed).signal


@pytest.mark.parametrize("kind", ["classes", "numbers", "labels"])
def test_skill_is_that_of_the_task(kind):
    rng = np.random.default_rng(3)
    if kind == "classes":
        truth, said = rng.integers(0, 3, 50), rng.random((50, 3))
        answers = torch.from_numpy(said.argmax(1))
    else:
        truth = rng.random((50, 2)) if kind == "numbers" else rng.integers(0, 2, (50, 2)).astype(float)
        said = 0.7 * truth + 0.3 * rng.random((50, 2))
        answers = torch.from_numpy(said if kind == "numbers" else (said > 0.5).astype(float))
    found = score(said, truth, Question(kind, 3 if kind == "classes" else 2))
    assert found.skill == pytest.approx(skill_of(kind, torch.from_numpy(truth), answers), abs=1e-9)


def test_skill_of_one_column_is_r2_and_its_error_shrinks_with_the_root_of_the_examples():
    truth = RNG.normal(size=(4000, 1))
    said = truth + 0.5 * RNG.normal(size=(4000, 1))
    whole, part = (score(said[:n], truth[:n], Question("numbers", 1)) for n in (4000, 1000))
    assert whole.skill == pytest.approx(r2_score(truth, said))
    assert part.error / whole.error == pytest.approx(2, rel=0.15)


def test_the_standard_error_of_accuracy_is_the_binomial_one_against_a_constant_that_is_always_wrong():
    truth = np.repeat(np.arange(4), 25)
    said = np.eye(4)[np.where(np.arange(100) % 5 == 0, (truth + 1) % 4, truth)]
    found = score(said, truth, Question("classes", 4))
    assert found.skill == pytest.approx((0.8 - 0.25) / 0.75)
    wrong = (said.argmax(1) != truth).astype(float)
    base = (truth != 0).astype(float)
    boot = np.random.default_rng(0).integers(0, 100, (4000, 100))
    drawn = 1 - wrong[boot].mean(1) / base[boot].mean(1)
    assert found.error == pytest.approx(drawn.std(), rel=0.1)


def test_given_validation_examples_are_what_is_scored():
    data = load_iris()
    order = np.random.default_rng(0).permutation(150)
    x, y = data.data[order], data.target[order]
    good = control(x[:100], y[:100], kind="classes", x_validation=x[100:], y_validation=y[100:])
    bad = control(x[:100], y[:100], kind="classes", x_validation=x[100:], y_validation=(y[100:] + 1) % 3)
    assert good.skill > 0.85
    assert bad.skill <= 0
    assert bad.best == "constant"
    assert (good.learnt, good.scored) == (100, 50)


def test_one_scored_example_decides_nothing():
    x = np.arange(40.0)[:, None]
    found = control(x, (x[:, 0] > 20).astype(int), kind="classes", x_validation=x[:1], y_validation=np.zeros(1))
    assert not found.signal
    assert is_signal(Score(0.5, 0.2))
    assert not is_signal(Score(0.5, 0.3))


def test_pictures_sequences_and_tokens_are_read_in_their_form():
    digits = load_digits()
    found = control(digits.images[:500, None], digits.target[:500], kind="classes")
    assert found.form == "pictures"
    assert found.skill > 0.9
    steps = RNG.normal(size=(400, 12, 3))
    found = control(steps, steps[:, -1, 0], kind="numbers")
    assert found.form == "sequences"
    assert found.linear > 0.99
    words = RNG.integers(0, 30, (500, 10))
    found = control(words, (words == 3).any(1).astype(int), kind="classes")
    assert found.form == "tokens"
    assert found.linear > 0.95


def test_forms_by_shape():
    assert form_of(np.zeros((2, 3, 4, 4))) == "pictures"
    assert form_of(np.zeros((2, 3, 4))) == "sequences"
    assert form_of(np.zeros((2, 3), dtype=int)) == "tokens"
    assert form_of(np.zeros((2, 3), dtype=np.uint8)) == "rows"
    assert form_of(np.zeros((2, 3))) == "rows"


def test_a_bag_counts_tokens_and_places():
    found = examples_of(np.array([[7, 7, 2], [2, 9, 9]])).rows
    assert found[:, :3].tolist() == [[1, 2, 0], [1, 0, 2]]
    assert found[0, 3:].reshape(3, 3).tolist() == [[0, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_equal_seeds_give_equal_scores_and_the_random_state_stays():
    x, y = load_diabetes(return_X_y=True)
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (control(x, y, kind="numbers", seed=3).scores for _ in range(2))
    assert first == second
    assert first != control(x, y, kind="numbers", seed=4).scores
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_it_works_inside_inference_mode_and_another_default_type():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            said = small_network(np.eye(4), np.arange(4), np.eye(4), kind="classes", outputs=4)
    finally:
        torch.set_default_dtype(torch.float32)
    assert said.argmax(1).tolist() == [0, 1, 2, 3]


EMPTIES = [(rows, kind) for rows in (0, 1, 3, 29) for kind in ("classes", "numbers", "labels")] + [(31, "classes")]
LONG = [pytest.param(31, kind, marks=pytest.mark.slow) for kind in ("numbers", "labels")]


@pytest.mark.parametrize(("rows", "kind"), [*EMPTIES, *LONG])
def test_no_examples_one_class_constants_and_missing_values_are_survived(rows, kind):
    for x in (np.zeros((rows, 2)), np.full((rows, 2), np.nan), np.full((rows, 1), np.inf), np.zeros((rows, 0))):
        found = control(x, np.zeros((rows,)) if kind != "labels" else np.zeros((rows, 2)), kind=kind, seconds=1)
        assert not found.signal
        assert found.scored == rows


def test_missing_and_infinite_values_do_not_hide_the_signal():
    x = RNG.normal(size=(300, 4))
    y = (x[:, 0] > 0).astype(int)
    x[::7, 1], x[::11, 2], x[5] = np.nan, np.inf, 1e300
    assert control(x, y, kind="classes").skill > 0.9
    y = y.astype(float)
    y[3] = np.nan
    assert control(x, y, kind="classes").scored == 299


def test_standardised_columns_have_mean_0_and_spread_1_and_constants_go():
    x = np.c_[RNG.normal(5, 3, 1000), np.full(1000, 7.0), RNG.normal(0, 1e-6, 1000)]
    z, other = standardised(x, x[:10])
    assert z.shape == (1000, 2)
    assert z.mean(0) == pytest.approx(0, abs=1e-5)
    assert z.std(0) == pytest.approx(1, abs=1e-4)
    assert np.array_equal(other, z[:10])


def test_linear_and_nearest_are_those_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    x, y = load_wine(return_X_y=True)
    z = standardised(x)[0]
    question = Question("classes", 3)
    assert linear(z, y, z, question) == pytest.approx(LogisticRegression(tol=1e-3).fit(z, y).predict_proba(z), abs=1e-3)
    assert nearest(z, y, z, question) == pytest.approx(KNeighborsClassifier(5).fit(z, y).predict_proba(z))
    wanted = x[:, :2]
    expected = KNeighborsRegressor(5).fit(z, wanted).predict(z)
    assert nearest(z, wanted, z, Question("numbers", 2)) == pytest.approx(expected)


def test_folds_hold_every_example_once_and_every_class_evenly():
    targets = np.repeat(np.arange(4), [40, 20, 10, 5])
    found = folds(targets, 5, kind="classes", seed=1)
    for fold in range(5):
        assert np.bincount(targets[found == fold]).tolist() == [8, 4, 2, 1]


def test_mistakes_are_named():
    with pytest.raises(UsageError, match="Did you mean 'classes'"):
        control(np.zeros((3, 1)), np.zeros(3), kind="class")
    with pytest.raises(DataError, match="3 examples stand beside 4 targets"):
        control(np.zeros((3, 1)), np.zeros(4), kind="numbers")
    with pytest.raises(DataError, match="do not stand beside"):
        control(np.zeros((3, 1)), np.zeros(3), kind="numbers", x_validation=np.zeros((2, 2)), y_validation=np.zeros(2))
    with pytest.raises(DataError, match="one row of 3"):
        control(np.zeros((3, 1)), np.zeros((3, 2)), kind="classes")
