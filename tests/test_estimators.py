"""Estimators: every check of scikit-learn, weights as copies, purity, messages with the nearest right thing."""

import os
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, load_wine, make_classification, make_friedman1, make_regression
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._testing import SkipTest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from torch import nn

from netwright.errors import DataError, UsageError
from netwright.estimators import NetClassifier, NetRegressor

SKIPPED = set() if os.environ.get("SCIPY_ARRAY_API") == "1" else {"check_array_api_input"}
"""scikit-learn skips this one unless SCIPY_ARRAY_API=1 was set before it was imported; nothing else is skipped."""


def name_of(check) -> str:
    return getattr(check, "func", check).__name__


@parametrize_with_checks([NetClassifier(), NetRegressor(), NetClassifier(network="logistic", lr=0.05)])
def test_every_check_of_scikit_learn(estimator, check):
    skipped = False
    try:
        check(estimator)
    except SkipTest:
        skipped = True
    assert skipped == (name_of(check) in SKIPPED)


@pytest.mark.parametrize(("estimator", "least"), [(NetClassifier(), 63), (NetRegressor(), 60)])
def test_scikit_learn_sees_all_that_the_estimators_can_do(estimator, least):
    """No tag hides checks (scikit-learn would warn): weights, partial_fit and several targets are among them."""
    names = [name_of(check) for _, check in estimator_checks_generator(estimator)]
    assert len(names) >= least
    own = "check_regressor_multioutput" if isinstance(estimator, NetRegressor) else "check_class_weight_classifiers"
    wanted = {"check_sample_weight_equivalence_on_dense_data", "check_estimators_partial_fit_n_features", own}
    assert wanted <= set(names)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


# inside scikit-learn -----------------------------------------------------------------------------------------------


def test_grid_search_over_a_pipeline_of_the_documentation():
    pipeline = make_pipeline(StandardScaler(), NetClassifier(network="mlp", epochs=30))
    search = GridSearchCV(pipeline, {"netclassifier__lr": [1e-5, 1e-2]}, cv=3).fit(*load_wine(return_X_y=True))
    assert search.best_params_ == {"netclassifier__lr": 1e-2}
    assert search.best_score_ > 0.9


def test_numbers_of_search_grids_are_taken_as_numpy_gives_them(iris):
    grid = {"lr": np.logspace(-3, -2, 2), "hidden": [np.array([8, 4]), np.int64(8)], "epochs": np.arange(1, 2)}
    search = GridSearchCV(NetClassifier(), grid, cv=2, error_score="raise").fit(*iris)
    assert len(search.cv_results_["params"]) == 4


def test_a_data_frame_gives_names_and_the_same_numbers(iris):
    X, y = iris
    frame = pd.DataFrame(X, columns=["sepal l", "sepal w", "petal l", "petal w"])
    labels = pd.Series(np.array(["setosa", "versicolor", "virginica"])[y], dtype="category")
    weights = pd.Series(np.linspace(0.5, 1.5, len(y)))
    model = NetClassifier(epochs=20).fit(frame, labels, sample_weight=weights)
    assert model.feature_names_in_.tolist() == list(frame.columns)
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert set(model.predict(frame)) <= set(model.classes_)
    plain = NetClassifier(epochs=20).fit(X, y, weights.to_numpy())
    np.testing.assert_array_equal(model.predict_proba(frame), plain.predict_proba(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"sepal l": "length"}))


@pytest.mark.parametrize(("load", "least"), [(load_iris, 0.93), (load_wine, 0.96)])
def test_defaults_do_as_well_as_a_good_table_model(load, least):
    assert cross_val_score(NetClassifier(), *load(return_X_y=True), cv=5).mean() > least


def test_defaults_fit_a_curved_surface_that_a_line_cannot():
    X, y = make_friedman1(400, noise=0.5, random_state=0)
    line = LinearRegression().fit(X[:300], y[:300]).score(X[300:], y[300:])
    assert NetRegressor().fit(X[:300], y[:300]).score(X[300:], y[300:]) > line + 0.1


# repeating, keeping, continuing ------------------------------------------------------------------------------------


def test_training_repeats_and_leaves_random_states_threads_and_folder_alone(iris, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.random.seed(5)  # noqa: NPY002  the global state is what this is about
    torch.manual_seed(5)
    before = np.random.get_state()[1].copy(), torch.get_rng_state(), torch.get_num_threads()  # noqa: NPY002
    model = NetClassifier({"name": "mlp", "dropout": 0.3}, epochs=5)
    first, second = (clone(model).fit(*iris).predict_proba(iris[0]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.get_num_threads() == before[2]
    assert list(tmp_path.iterdir()) == []
    other = clone(model).set_params(random_state=1).fit(*iris).predict_proba(iris[0])
    assert abs(first - other).max() > 1e-3


def test_random_state_none_follows_numpys_global_seed(iris):
    found = []
    for seed in (1, 1, 2):
        np.random.seed(seed)  # noqa: NPY002
        found.append(NetClassifier(epochs=2, random_state=None).fit(*iris).predict_proba(iris[0]))
    np.testing.assert_array_equal(found[0], found[1])
    assert abs(found[0] - found[2]).max() > 1e-3


def test_training_works_where_gradients_are_switched_off(iris):
    with torch.no_grad():
        assert NetClassifier(epochs=100).fit(*iris).score(*iris) > 0.9


def test_clone_and_pickle_keep_everything(iris):
    X, y = iris
    model = NetClassifier(nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3)), epochs=20).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    fresh = clone(model)
    assert not hasattr(fresh, "network_")
    np.testing.assert_array_equal(fresh.fit(X, y).predict_proba(X), model.predict_proba(X))


def test_partial_fit_continues_with_its_moments_through_a_pickle(iris):
    X, y = iris
    model = NetClassifier()
    for _ in range(20):
        model.partial_fit(X, y, classes=[0, 1, 2])
    assert model.n_iter_ == len(model.loss_curve_) == 20
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 2
    again = pickle.loads(pickle.dumps(model))
    model.partial_fit(X, y)
    np.testing.assert_array_equal(again.partial_fit(X, y).predict_proba(X), model.predict_proba(X))
    again._moments = {}
    assert abs(again.partial_fit(X, y).predict_proba(X) - model.partial_fit(X, y).predict_proba(X)).max() > 1e-6
    weights = model.network_.out.weight.detach().clone()
    model.set_params(lr=0.0, weight_decay=0.0).partial_fit(X, y)  # a new rate counts at once
    assert torch.equal(model.network_.out.weight, weights)


def test_partial_fit_learns_a_class_that_the_first_rows_lack(iris):
    X, y = iris
    model = NetClassifier()
    for _ in range(20):
        model.partial_fit(X[:100], y[:100], classes=[0, 1, 2])
    assert not (model.predict(X) == 2).any()
    for _ in range(30):
        model.partial_fit(X, y)
    assert (model.predict(X[100:]) == 2).mean() > 0.8
    with pytest.raises(DataError, match="y holds 7, which is not among the classes"):
        model.partial_fit(X, y + 7)


def test_a_refused_first_call_leaves_no_trace(iris):
    model = NetClassifier()
    with pytest.raises(DataError, match="y holds 2, which is not among the classes"):
        model.partial_fit(*iris, classes=[0, 1])
    assert model.partial_fit(*iris, classes=[0, 1, 2]).classes_.tolist() == [0, 1, 2]


# targets -----------------------------------------------------------------------------------------------------------


def test_predictions_come_back_in_the_targets_own_units():
    X, y = make_regression(80, 5, n_targets=2, noise=1, random_state=0)
    small = NetRegressor(epochs=60).fit(X, y)
    large = NetRegressor(epochs=60).fit(X, y * 1000 - 7)
    assert small.predict(X).shape == (80, 2)
    np.testing.assert_allclose(large.predict(X), small.predict(X) * 1000 - 7, rtol=1e-6)
    np.testing.assert_array_equal(NetRegressor(epochs=60).fit(X, y[:, 0]).predict(X).shape, (80,))


def test_a_network_without_hidden_layers_finds_the_least_squares_line():
    X, y = make_regression(60, 4, noise=5, random_state=1)
    model = NetRegressor(hidden=(), optimizer="adam", lr=0.05, epochs=600).fit(X, y)
    np.testing.assert_allclose(model.predict(X), LinearRegression().fit(X, y).predict(X), atol=0.05)


def test_string_labels_probabilities_and_scores_agree(iris):
    X, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])
    model = NetClassifier(epochs=50).fit(X, names[y])
    chances = model.predict_proba(X)
    np.testing.assert_allclose(chances.sum(1), 1)
    np.testing.assert_array_equal(model.predict(X), names[chances.argmax(1)])
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(chances), rtol=1e-9)
    np.testing.assert_array_equal(model.decision_function(X).argmax(1), chances.argmax(1))


@pytest.mark.parametrize("loss", ["bce_with_logits", "logistic", "cross_entropy"])
def test_two_classes_have_one_score_whose_sigmoid_is_the_probability(loss, iris):
    X, y = iris[0], iris[1] == 1
    model = NetClassifier(loss=loss, epochs=50).fit(X, y)
    scores = model.decision_function(X)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-scores)), rtol=1e-9)
    np.testing.assert_array_equal(model.predict(X), scores > 0)
    assert model.score(X, y) > 0.8


def test_a_sigmoid_for_each_class_is_normalised(iris):
    model = NetClassifier(loss="bce_with_logits", epochs=20).fit(*iris)
    each = 1 / (1 + np.exp(-model._scores(iris[0]).numpy()))
    np.testing.assert_allclose(model.predict_proba(iris[0]), each / each.sum(1, keepdims=True), rtol=1e-9)


@pytest.mark.parametrize("model", [NetClassifier(loss="hinge"), NetClassifier(network="perceptron", epochs=20)])
def test_a_loss_without_probabilities_offers_none(model, iris):
    X, y = iris[0], iris[1] == 0
    assert not hasattr(model, "predict_proba")
    assert clone(model).fit(X, y).score(X, y) == 1.0


# networks ----------------------------------------------------------------------------------------------------------


def test_a_convolutional_network_reads_rows_as_pictures():
    X, y = load_digits(return_X_y=True)
    model = NetClassifier("convnet", input_shape=(1, 8, 8), epochs=2).fit(X[:1000], y[:1000])
    assert model.score(X[1000:], y[1000:]) > 0.7
    assert any(isinstance(layer, nn.Conv2d) for layer in model.network_.modules())


def test_networks_of_ones_own_by_module_function_and_lazily(iris):
    def small(inputs, outputs):
        return nn.Sequential(nn.Linear(inputs["features"], 8), nn.ReLU(), nn.Linear(8, outputs["units"]))

    lazy = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))
    for network in (small, lazy, small({"features": 4}, {"units": 3}).double()):
        model = NetClassifier(network).fit(*iris)
        assert model.score(*iris) > 0.9
    assert model._dtype == torch.float64


def test_small_tables_compute_in_float64_and_large_ones_in_float32():
    X, y = make_classification(300, random_state=0)
    assert NetClassifier(epochs=1).fit(X[:256], y[:256])._dtype == torch.float64
    assert NetClassifier(epochs=1).fit(X, y)._dtype == torch.float32
    assert NetClassifier(epochs=1).fit(X[:256], y[:256], np.full(256, 2))._dtype == torch.float32  # copies count


def test_tables_of_up_to_256_rows_train_in_full_batches():
    X, y = make_classification(257, random_state=0)
    full, parts = NetClassifier(epochs=4).fit(X[:256], y[:256]), NetClassifier(epochs=4).fit(X, y)
    assert full._steps == 4
    assert parts._steps == 4 * 4  # 257 rows: 64, 64, 64 and 65, for a left-over row joins the batch before


# refusals ----------------------------------------------------------------------------------------------------------

REFUSED = [
    ({"lr": -1}, "lr = -1.0; it lies between 0 and 1000"),
    ({"optimizer": "adm"}, "Did you mean 'adam'"),
    ({"optimizer": 3}, "it is a name or a table"),
    ({"optimizer": "sgd", "weight_decay": -1}, "weight_decay = -1"),
    ({"network": "mpl"}, "Did you mean 'mlp'"),
    ({"network": {"name": "mlp", "dropuot": 0.1}}, "Did you mean 'dropout'"),
    ({"network": 7}, "it is a name, a table, a torch.nn.Module"),
    ({"network": nn.Linear(4, 2)}, r"gives \(2, 2\) for 2 rows; loss 'cross_entropy' wants the shape \(2, 3\)"),
    ({"network": nn.Linear(5, 3)}, r"cannot read inputs of shape \(4,\)"),
    ({"network": nn.Linear(4, 3), "hidden": 5}, "hidden belongs to networks by name"),
    ({"network": "softmax", "hidden": 5}, "has no setting 'hidden'"),
    ({"network": "logistic"}, "Use network 'softmax'"),
    ({"loss": "mse"}, "does not fit targets that are classes"),
    ({"loss": "cros_entropy"}, "Did you mean 'cross_entropy'"),
    ({"schedule": "cosin"}, "Did you mean 'cosine'"),
    ({"epochs": 0}, "epochs = 0; it lies between 1 and"),
    ({"batch_size": "big"}, "batch_size = 'big'; it is a whole number or 'auto'"),
    ({"standardize": "no"}, "standardize = 'no'; it is true or false"),
    ({"input_shape": (2, 3)}, r"input_shape \(2, 3\) holds 6 numbers; a row of X has 4"),
    ({"input_shape": "4"}, "input_shape = '4'; it is"),
    ({"device": "gpu"}, "device = 'gpu'; it is auto, cpu, cuda"),
    ({"class_weight": "balnced"}, "Did you mean 'balanced'"),
    ({"class_weight": {0: 1, 3: 2}}, "class_weight names 3, which is not among the classes"),
    ({"class_weight": {0: -1}}, "class_weight of 0 = -1; it is a number of at least 0"),
    ({"optimizer": "sgd", "lr": 1000, "epochs": 100}, "is not finite at step .* a smaller lr"),
]


@pytest.mark.parametrize(("wrong", "words"), REFUSED, ids=[str(list(wrong)) for wrong, _ in REFUSED])
def test_a_wrong_parameter_is_refused_at_fit_with_the_right_one(wrong, words, iris):
    with pytest.raises((UsageError, DataError), match=words):
        NetClassifier(**{"epochs": 2, **wrong}).fit(*iris)


def test_a_class_weight_may_name_a_class_that_a_fold_lacks(iris):
    X, y = iris
    found = NetClassifier(class_weight={0: 1, 1: 2, 2: 3}, epochs=1).fit(X[:100], y[:100])
    assert found.classes_.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(3), r"sample_weight has shape \(3,\); X has 150 rows"),
        (-np.ones(150), "sample_weight holds -1; a weight is at least 0"),
        (np.zeros(150), "every weight is zero"),
    ],
)
def test_wrong_weights_are_refused(weights, words, iris):
    with pytest.raises(DataError, match=words):
        NetClassifier().fit(*iris, sample_weight=weights)


def test_numbers_too_large_and_single_classes_are_refused(iris):
    X, y = iris
    with pytest.raises(DataError, match=r"column 0 holds numbers too large .* standardize=False"):
        NetClassifier().fit(X * 1e200, y)
    with pytest.raises(DataError, match=r"one class only \(0\)"):
        NetClassifier().fit(X[:50], y[:50])
    with pytest.raises(UsageError, match="does not fit targets that are numbers"):
        NetRegressor(loss="cross_entropy").fit(X, y)
    with pytest.raises(DataError, match="y has 2 columns; the network predicts 1"):
        NetRegressor().partial_fit(X, y).partial_fit(X, np.c_[y, y])


def test_partial_fit_wants_its_classes_once_and_the_same(iris):
    with pytest.raises(UsageError, match="classes must be passed on the first call"):
        NetClassifier().partial_fit(*iris)
    with pytest.raises(UsageError, match="differ from those of the first call"):
        NetClassifier().partial_fit(*iris, classes=[0, 1, 2]).partial_fit(*iris, classes=[0, 1, 5])
    with pytest.raises(UsageError, match="give partial_fit a dict"):
        NetClassifier(class_weight="balanced").partial_fit(*iris, classes=[0, 1, 2])


def test_verbose_prints_one_line_an_epoch(iris, capsys):
    model = NetClassifier(epochs=3, verbose=1).fit(*iris)
    assert capsys.readouterr().out.splitlines() == [f"epoch {n + 1}: loss {model.loss_curve_[n]:.6g}" for n in range(3)]
