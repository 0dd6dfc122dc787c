"""What the recipe leaves out: chosen by the kind of data, written down, and refused where it cannot fit."""

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright.api import inputs_of
from netwright.catalogue import LOSSES
from netwright.data.embedded import EMBEDDED
from netwright.errors import NetwrightError, UsageError
from netwright.recipe import DATA, TABLES, TRAINING, Recipe
from netwright.training.plan import UPDATES, build, from_catalogue, head, resolve, settings

RNG = np.random.default_rng(0)


def vectors(count, classes=2, **more):
    return nw.read(RNG.normal(size=(count, 3)), np.arange(count) % classes, **more)


def planned(data, *words):
    return resolve(Recipe().override(words), data)


SEQUENCES = RNG.normal(size=(40, 5, 2)).astype(np.float32), np.arange(40) % 2
DEFAULTS = [
    # data, network, loss, schedule, batch, kind of data for the number of updates
    (lambda: nw.read("digits"), "convnet", "cross_entropy", "one_cycle", 64, "pictures"),
    (lambda: nw.read(*SEQUENCES), "lstm", "cross_entropy", "one_cycle", 64, "pictures"),
    (lambda: nw.read("iris"), "mlp", "cross_entropy", "constant", 108, "full batches"),
    (lambda: nw.read("moons"), "mlp", "cross_entropy", "constant", 64, "classify"),
    (lambda: nw.read("diabetes"), "mlp", "mse", "one_cycle", 64, "regress"),
]


@pytest.mark.parametrize(("make", "network", "loss", "schedule", "batch", "kind"), DEFAULTS)
def test_defaults_follow_the_kind_of_data(make, network, loss, schedule, batch, kind):
    data = make()
    found = planned(data)
    names = [found.table(table)["name"] for table in ("network", "loss", "optimizer", "schedule")]
    assert names == [network, loss, "adam", schedule]
    assert found.table("data")["batch_size"] == batch
    updates = -(-data.examples["train"] // batch)
    wanted, most = UPDATES[kind]
    assert found.table("training")["epochs"] == min(most, max(10, round(wanted / updates)))


@pytest.mark.parametrize(
    "word", ["optimizer=sgd", "optimizer=adam", "optimizer.lr=1e-3", "schedule=constant", "until=accuracy>=0.9"]
)
def test_the_default_cycle_gives_way_to_every_choice(word):
    assert planned(nw.read("digits"), word).table("schedule")["name"] == "constant"
    assert planned(nw.read("digits"), "schedule=cosine").table("schedule")["name"] == "cosine"
    assert planned(nw.read("digits"), "epochs=2").table("schedule")["name"] == "one_cycle"


@pytest.mark.parametrize(("train", "batch"), [(1, 1), (10, 10), (255, 255), (256, 256), (257, 64), (3000, 64)])
def test_up_to_256_rows_train_in_full_batches(train, batch):
    data = vectors(train + 2, test=0.0, validation=0.0)
    data.splits["train"] = data.splits["train"][:train]
    assert planned(data).table("data")["batch_size"] == batch


def test_a_batch_size_that_was_asked_for_stays():
    assert planned(vectors(50, batch_size=7)).table("data")["batch_size"] == 7
    assert planned(vectors(50, batch_size=10**6)).table("data")["batch_size"] == 10**6


@pytest.mark.parametrize("path", list(EMBEDDED))
def test_every_default_is_written(path):
    found = planned(nw.read(path))
    for table in TABLES:
        assert "auto" not in [
            v for k, v in found.table(table).items() if k in ("epochs", "batch_size", "log_steps", "task")
        ]
    assert set(TRAINING) == set(found.table("training"))
    assert set(DATA) <= set(found.table("data"))
    from netwright import catalogue

    for table, family in (("network", "networks"), ("loss", "losses"), ("optimizer", "optimizers")):
        part = catalogue.family(family)[found.table(table)["name"]]
        assert set(settings(found, table)) == set(part.settings)
    assert (
        resolve(found, nw.read(**{("data" if k == "path" else k): v for k, v in found.table("data").items()})) == found
    )


def test_settings_without_a_name_go_to_the_part_that_is_chosen():
    found = planned(vectors(50), "optimizer.lr=0.5", "network.hidden=[3]")
    assert found.table("optimizer")["name"] == "adam"
    assert found.table("optimizer")["lr"] == 0.5
    assert found.table("network")["hidden"] == [3]
    with pytest.raises(UsageError, match="optimizer 'adam' has no setting 'momentum'"):
        planned(vectors(50), "optimizer.momentum=0.5")


def test_a_network_may_bring_its_loss_and_optimizer():
    assert planned(vectors(50), "network=logistic").table("loss")["name"] == "bce_with_logits"
    found = planned(vectors(50), "network=perceptron")
    assert [found.table(table)["name"] for table in ("loss", "optimizer")] == ["perceptron", "sgd"]
    assert planned(vectors(50), "network=logistic", "loss=hinge").table("loss")["name"] == "hinge"


def test_a_loss_for_the_other_kind_of_target_is_refused_with_those_that_fit():
    with pytest.raises(UsageError, match=r"this task is regress: .*mse"):
        planned(nw.read("diabetes"), "loss=cross_entropy")
    number = next(name for name, part in LOSSES.items() if part.facts["target"] == "number")
    with pytest.raises(NetwrightError):
        build(planned(nw.read("diabetes"), "network=softmax", f"loss={number}"), {"kind": "vector", "features": 10},
              {"kind": "number", "count": 1})  # fmt: skip


@pytest.mark.parametrize("words", [["network=convnet"], ["network=lenet5"], ["network=lstm"]])
def test_a_recipe_for_another_kind_of_data_is_refused_clearly(words, tmp_path):
    recipe = planned(nw.read("digits"), "epochs=1", *words)
    own = Recipe.parse(recipe.text())
    with pytest.raises(UsageError) as caught:
        nw.train(recipe=own.set("data.path", "iris"), out=tmp_path / "run", quiet=True)
    message = str(caught.value)
    assert words[0].partition("=")[2] in message
    assert "image" in message or "vector" in message or "sequence" in message or "picture" in message
    assert len(message.splitlines()) <= 3
    assert not (tmp_path / "run").exists()  # refused before anything was made


def test_a_recipe_with_settings_of_another_reader_is_refused_clearly(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("a,target\n" + "\n".join(f"{i % 9},{i % 2}" for i in range(50)))
    own = Recipe.parse(planned(nw.read(table), "epochs=1").text())
    with pytest.raises(UsageError, match=r"has no setting '(header|encoding)'"):
        nw.train(recipe=own.set("data.path", "moons"), quiet=True)


# building -------------------------------------------------------------------------------------------------------


def test_first_weights_are_a_function_of_the_seed_alone():
    data = vectors(50)
    torch.manual_seed(1)
    expected = torch.rand(1).item()
    torch.manual_seed(1)
    nets = [build(resolve(Recipe(seed), data), data.inputs, data.outputs) for seed in (3, 3, 4)]
    assert torch.rand(1).item() == expected  # the global generator was left alone
    weights = [torch.cat([p.detach().flatten() for p in net.parameters()]) for net in nets]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    again = nw.network("mlp", inputs=3, outputs=2, seed=3)
    assert torch.equal(torch.cat([p.detach().flatten() for p in again.parameters()]), weights[0])


def test_two_classes_behind_a_sigmoid_need_one_unit():
    classes = {"kind": "class", "count": 2}
    assert head(classes, "cross_entropy")["units"] == 2
    assert head(classes, "bce_with_logits")["units"] == 1
    assert head({"kind": "class", "count": 3}, "bce_with_logits")["units"] == 3
    assert head({"kind": "number", "count": 1}, "mse")["units"] == 1


def test_a_fresh_network_of_the_catalogue_is_known_and_a_changed_one_is_not():
    data = vectors(50)
    net = nw.network("mlp", data, hidden=[4])
    known = from_catalogue(net, Recipe(), data)
    assert known is not None
    assert known.table("network")["name"] == "mlp"
    assert known.table("network")["hidden"] == [4]
    assert from_catalogue(nn.Linear(3, 2), Recipe(), data) is None
    assert from_catalogue(net, Recipe(1), data) is None  # other first weights
    with torch.no_grad():
        next(net.parameters()).add_(1)
    assert from_catalogue(net, Recipe(), data) is None


def test_a_network_of_ones_own_is_named_by_its_class():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(3, 2)

    found = resolve(Recipe(), vectors(50), Own())
    assert found.table("network") == {"name": "module", "class": "Own"}
    assert Recipe.parse(found.text()).check() == found


@pytest.mark.parametrize(("shape", "inputs"), [
    (784, {"kind": "vector", "features": 784}), ((5,), {"kind": "vector", "features": 5}),
    ((28, 12), {"kind": "sequence", "steps": 28, "features": 12}),
    ([3, 8, 9], {"kind": "image", "channels": 3, "height": 8, "width": 9}),
])  # fmt: skip
def test_shapes_name_the_inputs(shape, inputs):
    assert inputs_of(shape) == inputs
    assert inputs_of(inputs) == inputs


@pytest.mark.parametrize("shape", [0, -1, (), (1, 2, 3, 4), (3.0,), ("a",), (3, 0, 3)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(UsageError, match="channels,height,width"):
        nw.network("mlp", inputs=shape, outputs=2)


def test_a_network_wants_data_or_a_shape():
    with pytest.raises(UsageError, match="wants data, or inputs= and outputs="):
        nw.network("mlp")
    with pytest.raises(UsageError, match="wants data, or inputs= and outputs="):
        nw.network("mlp", inputs=3)
    with pytest.raises(UsageError, match="network 'mpl' is not in the catalogue"):
        nw.network("mpl", inputs=3, outputs=2)
    with pytest.raises(UsageError, match="network 'mlp' has no setting 'hiden'"):
        nw.network("mlp", inputs=3, outputs=2, hiden=[3])


# squared errors on classes (S-053, S-089) -------------------------------------------------------------------------


@pytest.mark.parametrize(("link", "classes", "units"), [("softmax", 3, 3), ("softmax", 2, 2), ("sigmoid", 2, 1)])
def test_squared_error_behind_a_link_learns_classes(tmp_path, link, classes, units):
    x = RNG.normal(size=(200, 3))
    y = np.digitize(x[:, 0], [-0.5, 0.5][: classes - 1])
    data = nw.read(x, y)
    run = nw.train(
        data, "mlp", loss={"name": "mse", "link": link}, optimizer={"name": "adam", "lr": 0.01}, epochs=60,
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    assert run.test["accuracy"] > 0.8
    assert run.findings == []
    forward = run.predictor().forward
    outputs = forward.outputs(data.input_tensor("test"))
    assert outputs.shape[1] == units
    p = forward.predictions(outputs)
    expected = outputs.softmax(1) if link == "softmax" else torch.cat([1 - outputs.sigmoid(), outputs.sigmoid()], 1)
    np.testing.assert_allclose(p, expected.numpy(), atol=1e-6)
    truth = np.eye(classes)[data.target_tensor("test").numpy()][:, -units:]
    error = ((p[:, -units:] - truth) ** 2).mean()
    assert run.test["loss"] == pytest.approx(error, rel=1e-5)


def test_links_are_refused_where_they_make_no_sense():
    with pytest.raises(UsageError, match=r"loss 'mse' wants a number; .* With loss\.link=softmax it compares"):
        planned(vectors(50), "loss=mse")
    with pytest.raises(UsageError, match=r"loss 'mse': link = 'softmax' makes probabilities; this task is regress"):
        planned(nw.read("diabetes"), "loss=mse", "loss.link=softmax")
