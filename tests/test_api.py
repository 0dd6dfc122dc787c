"""The Python API as the style page shows it, modules of one's own, notebooks, and logistic regression to the digit."""

import importlib
import math
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from torch import nn

import netwright as nw
from netwright.errors import RunError, UsageError
from netwright.networks.perceptrons import ReferenceClass
from netwright.recipe import Recipe

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


@pytest.fixture
def data():
    return nw.read(X, Y, batch_size=32)


# the page of the style guide ------------------------------------------------------------------------------------


def test_the_verbs_of_the_style_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = nw.read("digits", limit=200)
    net = nw.network("mlp", data, hidden=[16])
    sizes = nw.anatomy(net, data)
    assert sizes.parameters == 64 * 16 + 16 + 16 * 10 + 10
    run = nw.train(data, net, loss="cross_entropy", optimizer={"name": "sgd", "lr": 0.1}, epochs=3, quiet=True)
    assert run.path.parent.name == "runs"
    assert run.recipe.table("optimizer")["lr"] == 0.1
    best = nw.train(data, {"name": "mlp", "hidden": (32,)}, epochs=3, seed=1, quiet=True)
    assert nw.compare(run, best)["verdict"] in ("better", "worse", "no difference")
    assert len(best.predict(data.source.examples.take([0, 1]))) == 2
    steps = [step.number for step in nw.steps(data, net, loss="cross_entropy", epochs=1)]
    assert steps == [1, 2, 3, 4]
    same = nw.open(run.path)
    assert (same.test, same.path, same.report) == (run.test, run.path, run.report)
    assert nw.resume(run.path, quiet=True).test == run.test
    assert nw.evaluate(same)["metrics"] == run.metrics


def test_names_and_paths_are_read_where_data_is_wanted():
    assert nw.network("mlp", "iris", hidden=[3]).out.out_features == 3
    assert nw.anatomy("softmax", "iris").parameters == 15
    assert [step.epoch for step in nw.steps("iris", {"name": "mlp", "hidden": [3]}, epochs=2)] == [0, 1]


def test_importing_a_submodule_hides_no_name():
    """`netwright.measures.anatomy` is a module, `netwright.anatomy` a function, whichever is asked for first."""
    code = (
        "import netwright.measures.anatomy, netwright.training.train, netwright.data.read, netwright.report.compare\n"
        "import netwright as nw, types\n"
        "found = [name for name in nw.__all__ if isinstance(getattr(nw, name), types.ModuleType)]\n"
        "print(found, callable(nw.anatomy), callable(nw.train), callable(nw.read), callable(nw.compare))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[] True True True True"
    importlib.import_module("netwright.measures.anatomy")
    assert not isinstance(nw.anatomy, types.ModuleType)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="module 'netwright' has no attribute 'tarin'"):
        _ = nw.tarin
    assert {"train", "read", "open"} <= set(dir(nw))


# training -------------------------------------------------------------------------------------------------------


def test_arguments_are_the_recipes_settings(data, tmp_path):
    base = Recipe(5).override(["optimizer=sgd", "optimizer.lr=0.5", "epochs=7"])
    run = nw.train(
        data, "mlp", recipe=base, epochs=np.int64(2), schedule={"name": "cosine"}, clip_norm=1, out=tmp_path / "run",
        quiet=True,
    )  # fmt: skip
    found = run.recipe
    assert (found.seed, found.table("training")["epochs"], found.table("training")["clip_norm"]) == (5, 2, 1.0)
    assert found.table("optimizer")["lr"] == 0.5
    assert found.table("schedule")["name"] == "cosine"
    assert base == Recipe(5).override(["optimizer=sgd", "optimizer.lr=0.5", "epochs=7"])
    assert nw.train(data, optimizer={"lr": np.float32(0.5)}, epochs=1, out=tmp_path / "b", quiet=True).recipe.table(
        "optimizer"
    )["lr"] == pytest.approx(0.5)


WRONG = [
    (("mlp",), {"epoch": 3}, "training has no setting 'epoch'. Did you mean 'epochs'?"),
    (("mlp",), {"optimizer": "adm"}, "optimizer 'adm' is not in the catalogue. Did you mean 'adam'?"),
    (("mlp",), {"optimizer": {"name": "sgd", "lr": "fast"}}, "lr = 'fast'"),
    (("mlp",), {"optimizer": {"name": "sgd", "lr": -1}}, "lr = -1"),
    (("mpl",), {}, "network 'mpl' is not in the catalogue. Did you mean 'mlp'?"),
    (({"name": "mlp", "hiden": [3]},), {}, "network 'mlp' has no setting 'hiden'. Did you mean 'hidden'?"),
    (("mlp",), {"loss": "mse_loss"}, "loss 'mse_loss' is not in the catalogue"),
    (("mlp",), {"seed": -1}, "seed = -1"),
    (("mlp",), {"targets": [1, 2]}, "targets go with arrays"),
    (("mlp",), {"recipe": Recipe().set("data.limit", 3)}, "data settings belong to read()"),
    (("mlp",), {"precision": "float8"}, "precision = 'float8'"),
]


@pytest.mark.parametrize(("given", "more", "words"), WRONG, ids=[words[:40] for _, _, words in WRONG])
def test_wrong_arguments_are_refused_before_anything_is_made(data, tmp_path, monkeypatch, given, more, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        nw.train(data, *given, quiet=True, **more)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3
    assert list(tmp_path.iterdir()) == []


class Own(nn.Module):
    """A network from outside the catalogue."""

    def __init__(self, width=8):
        super().__init__()
        self.hidden, self.out = nn.Linear(4, width), nn.Linear(width, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x)))


def test_any_module_is_a_network(data, tmp_path):
    torch.manual_seed(0)
    net = Own()
    before = net.hidden.weight.detach().clone()
    run = nw.train(data, net, optimizer={"name": "adam", "lr": 0.05}, epochs=20, out=tmp_path / "own", quiet=True)
    assert run.network == "module"
    assert run.recipe.table("network") == {"name": "module", "class": "Own"}
    assert run.test["accuracy"] >= 0.8
    assert not torch.equal(net.hidden.weight, before)  # trained in place, as torch users expect
    with torch.no_grad():
        logits = net.eval()(data.input_tensor("test"))
    assert logits.argmax(1).tolist() == [
        int(p["prediction"]) for p in run.predict(data.source.examples.take(data.splits["test"]))
    ]
    again = nw.open(run.path, network=Own())
    assert again.evaluate(data)["metrics"] == run.metrics
    with pytest.raises(UsageError, match=r"hand it over: open\(path, network=\.\.\.\)"):
        nw.open(run.path).predict(X[:1])
    with pytest.raises(RunError, match="stored weights do not fit"):
        nw.open(run.path, network=Own(9)).predict(X[:1])


def test_data_handed_over_again_must_be_the_same_and_read_the_same(data, tmp_path):
    run = nw.train(data, "softmax", epochs=2, out=tmp_path / "run", quiet=True)
    facts = run.folder.read("run.json")
    run.folder.write("run.json", {**facts, "state": "running"})
    (run.path / "report.json").unlink()
    with pytest.raises(UsageError, match="hand it over again"):
        nw.resume(run.path, quiet=True)
    with pytest.raises(nw.DataError, match="changed since"):
        nw.resume(run.path, data=nw.read(X + 1, Y, batch_size=32), quiet=True)
    with pytest.raises(nw.DataError, match=r"with other settings of data\.normalize, data\.test"):
        nw.resume(run.path, data=nw.read(X, Y, batch_size=32, test=0.4, normalize="unit"), quiet=True)
    again = nw.resume(run.path, data=nw.read(X, Y), quiet=True)
    assert again.test == nw.train(data, "softmax", epochs=2, out=tmp_path / "whole", quiet=True).test


def test_a_recipe_holds_no_code(tmp_path):
    run = nw.train("iris", nn.Linear(4, 3), epochs=1, out=tmp_path / "run", quiet=True)
    with pytest.raises(UsageError, match="network 'module' is not in the catalogue"):
        nw.train(recipe=Recipe.read(run.path / "recipe.toml"), quiet=True)


def test_a_network_of_the_catalogue_is_written_by_name_and_repeats(data, tmp_path):
    first = nw.train(data, nw.network("mlp", data, hidden=[5]), epochs=2, out=tmp_path / "a", quiet=True)
    assert first.recipe.table("network")["hidden"] == [5]
    again = nw.train(data, {"name": "mlp", "hidden": [5]}, epochs=2, out=tmp_path / "b", quiet=True)
    assert again.test == first.test
    trained = first.predictor().forward.model
    assert nw.train(data, trained, epochs=1, out=tmp_path / "c", quiet=True).network == "module"  # no longer fresh


def test_a_run_answers_for_its_fields_alone(data, tmp_path):
    run = nw.train(data, "softmax", epochs=1, out=tmp_path / "run", quiet=True)
    assert run.best_epoch == run.report["best_epoch"] == 1
    with pytest.raises(AttributeError, match=r"a run has no field 'acuracy'; it has: run, task, network"):
        _ = run.acuracy
    assert not hasattr(run, "_ipython_display_")
    assert repr(run) == f"Run({str(tmp_path / 'run')!r})"
    assert run._repr_html_().startswith("<pre>softmax: 10 parameters")
    assert run.write_report() == tmp_path / "run" / "report.html"


def test_the_callers_random_numbers_go_on_undisturbed(data, tmp_path):
    def draws():
        return torch.rand(1).item(), np.random.rand()  # noqa: NPY002

    def seeded():
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002

    seeded()
    expected = [draws() for _ in range(4)]
    seeded()
    found = [draws()]
    for step in nw.steps(data, {"name": "mlp", "dropout": 0.5}, epochs=1):
        if step.number <= 2:
            found.append(draws())
    nw.network("mlp", data)
    nw.train(data, {"name": "mlp", "dropout": 0.5}, epochs=1, out=tmp_path / "run", quiet=True)
    found.append(draws())
    assert found == expected


def test_own_steps_do_what_train_does(data, tmp_path):
    settings = {"optimizer": {"name": "adam", "lr": 0.01}, "epochs": 3}
    net = nw.network("mlp", data, hidden=[4])
    losses = [step.terms.loss.item() for step in nw.steps(data, net, log_steps=1, **settings)]
    run = nw.train(data, {"name": "mlp", "hidden": [4]}, log_steps=1, out=tmp_path / "run", quiet=True, **settings)
    rows = [row["loss"] for row in run.folder.rows() if "loss" in row]
    assert rows == pytest.approx(losses, rel=1e-6)
    stopped = nw.steps(data, "mlp", epochs=10**6)
    assert next(stopped).number == 1  # a person may stop whenever they like


# one neuron, softmax ----------------------------------------------------------------------------------------------


def converged(net, loss):
    """Minimise `loss(net)` by L-BFGS in double precision."""
    search = torch.optim.LBFGS(net.parameters(), max_iter=2000, tolerance_grad=1e-11, tolerance_change=1e-15,
                               history_size=50, line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        search.zero_grad()
        value = loss(net)
        value.backward()
        return value

    search.step(closure)
    return net


def test_logistic_regression_has_scikit_learns_unpenalised_coefficients():
    """S-049, on versicolor against virginica: the pair of iris that no plane separates."""
    from netwright.catalogue import LOSSES

    flowers = load_iris()
    chosen = flowers.target > 0
    data = nw.read(flowers.data[chosen], flowers.target[chosen] - 1, test=0.0, validation=0.0)
    x, y = data.input_tensor("train").double(), data.target_tensor("train")
    assert x.shape == (100, 4)
    net = nw.network("logistic", data).double()
    converged(net, lambda net: LOSSES["bce_with_logits"](net(x), y).mean())
    reference = LogisticRegression(C=math.inf, tol=1e-12, max_iter=100_000).fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(net.out.weight.detach().numpy(), reference.coef_, atol=1e-3)
    np.testing.assert_allclose(net.out.bias.detach().numpy(), reference.intercept_, atol=1e-3)
    with torch.no_grad():
        chance = net(x).sigmoid()[:, 0].numpy()
    np.testing.assert_allclose(chance, reference.predict_proba(x.numpy())[:, 1], atol=1e-5)


def test_training_in_batches_comes_near_the_same_coefficients(tmp_path):
    """The same by the loop itself, in single precision, on examples that overlap more."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 3))
    y = (rng.random(400) < 1 / (1 + np.exp(-(x @ [1.0, -0.5, 0.25] + 0.3)))).astype(int)
    data = nw.read(x, y, test=0.0, validation=0.0, normalize="none", batch_size=400)
    sgd = {"name": "sgd", "lr": 2.0}
    run = nw.train(data, "logistic", optimizer=sgd, epochs=400, out=tmp_path / "run", quiet=True)
    reference = LogisticRegression(C=math.inf, tol=1e-12, max_iter=10_000).fit(x, y)
    out = run.predictor().forward.model.out
    np.testing.assert_allclose(out.weight.detach().numpy(), reference.coef_, atol=1e-3)
    np.testing.assert_allclose(out.bias.detach().numpy(), reference.intercept_, atol=1e-3)


def test_the_reference_form_is_the_k_form_with_the_last_logit_0():
    """S-050: K - 1 rows of weights, the last class's score fixed at 0."""
    torch.manual_seed(0)
    short = nw.network("softmax", inputs=4, outputs=3, form="reference")
    full = nw.network("softmax", inputs=4, outputs=3)
    assert sum(p.numel() for p in short.parameters()) == 2 * 5
    assert sum(p.numel() for p in full.parameters()) == 3 * 5
    assert isinstance(short.reference, ReferenceClass)
    with torch.no_grad():
        full.out.weight.copy_(torch.cat([short.out.weight, torch.zeros(1, 4)]))
        full.out.bias.copy_(torch.cat([short.out.bias, torch.zeros(1)]))
    x = torch.randn(9, 4)
    torch.testing.assert_close(short(x), full(x))
    assert (short(x)[:, 2] == 0).all()
    scores = short.out(x)
    p = torch.exp(scores) / (1 + torch.exp(scores).sum(1, keepdim=True))  # the notes' form: e^(wx) beside a 1
    torch.testing.assert_close(short(x).softmax(1)[:, :2], p)
    with pytest.raises(UsageError, match="form = 'referenz'"):
        nw.network("softmax", inputs=4, outputs=3, form="referenz")


def test_the_gradient_of_softmax_regression_is_p_minus_one_hot():
    """S-051, with the invariance to a constant added to every score."""
    from netwright.catalogue import LOSSES

    net = nw.network("softmax", inputs=4, outputs=3).double()
    x, y = torch.randn(7, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 2])
    scores = net(x)
    scores.retain_grad()
    losses = LOSSES["cross_entropy"](scores, y)
    losses.sum().backward()
    error = scores.softmax(1).detach() - nn.functional.one_hot(y, 3)
    torch.testing.assert_close(scores.grad, error)
    torch.testing.assert_close(net.out.weight.grad, error.T @ x)
    torch.testing.assert_close(net.out.bias.grad, error.sum(0))
    torch.testing.assert_close(LOSSES["cross_entropy"](scores + 100.0, y), losses)


def test_the_worked_example_of_the_notes():
    """S-052: softmax of (3, 1, -1)."""
    found = torch.tensor([3.0, 1.0, -1.0]).softmax(0)
    torch.testing.assert_close(found, torch.tensor([0.8668, 0.1173, 0.0159]), atol=1e-4, rtol=0)


def test_both_forms_learn_the_same_probabilities():
    from netwright.catalogue import LOSSES

    x, y = (torch.from_numpy(part) for part in load_iris(return_X_y=True))
    x = (x - x.mean(0)) / x.std(0)

    def objective(net):  # a little penalty on differences of scores gives both forms one optimum
        scores = net(x)
        apart = scores - scores.mean(1, keepdim=True)
        return LOSSES["cross_entropy"](scores, y).mean() + 1e-2 * apart.square().mean()

    found = []
    for form in ("k", "reference"):
        net = converged(nw.network("softmax", inputs=4, outputs=3, form=form).double(), objective)
        with torch.no_grad():
            found.append(net(x).softmax(1))
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=0)
    assert found[0].argmax(1).eq(y).double().mean() > 0.95
