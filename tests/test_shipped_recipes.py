"""The recipes of the notes: on a folder of 512 pictures in the shape of CIFAR-10, and by their stated numbers."""

import json

import numpy as np
import pytest
from PIL import Image

from netwright.cli import _run
from netwright.data.read import read
from netwright.errors import UsageError
from netwright.recipes import shipped

CLASSES = ["airplane", "automobile", "bird", "cat"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """512 pictures of 32x32 in four classes, each brighter in a corner of its own."""
    home, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (home / name).mkdir()
        for index in range(128):
            pixels = generator.integers(0, 140, (32, 32, 3))
            row, column = 16 * (number // 2), 16 * (number % 2)
            pixels[row : row + 16, column : column + 16] += 60
            Image.fromarray(pixels.astype(np.uint8)).save(home / name / f"{index:03}.png")
    return home


def trained(capsys, *words):
    capsys.readouterr()
    assert _run(["train", *map(str, words), "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("data_introduction", 3072 * 4 + 4),
        ("neuron", 3_073),
        ("cifar10-neuron", 3_073),
        ("cifar10-softmax", 3072 * 4 + 4),
        ("neural_network", 307_300 + 10_100 + 10_100 + 404),
        ("convnet", 1_216 + 12_832 + 2048 * 4 + 4),
    ],
)
def test_each_trains_on_a_folder(capsys, tmp_path, pictures, name, parameters):
    found = trained(capsys, f"@{name}", pictures, "epochs=3", "--out", tmp_path / "run")
    assert found["parameters"] == parameters
    assert found["epochs"] == 3
    assert found["test"]["accuracy"] > (0.6 if "neuron" in name else 0.3)


def test_the_neuron_of_the_notes_sees_two_classes_and_the_squared_loss(capsys, tmp_path, pictures):
    trained(capsys, "@cifar10-neuron", pictures, "epochs=1", "--out", tmp_path / "run")
    record = json.loads((tmp_path / "run" / "data.json").read_text())
    assert [row["name"] for row in record["classes"]] == CLASSES[:2]
    recipe = (tmp_path / "run" / "recipe.toml").read_text()
    assert 'name = "mse"' in recipe
    assert 'link = "sigmoid"' in recipe


def test_the_softmax_of_the_notes_starts_at_standard_normal_weights():
    assert shipped("cifar10-softmax").table("network") == {"name": "softmax", "init": "normal(mean=0, std=1)"}


def test_the_preset_with_three_hidden_layers_learns_iris(capsys, tmp_path):
    found = trained(capsys, "@bp-net", "iris", "--out", tmp_path / "run")
    assert found["test"]["accuracy"] > 0.9


def test_the_fast_recipe_brings_its_techniques_to_any_folder(capsys, tmp_path, pictures):
    words = ["network.width=0.1", "data.batch_size=64", "optimizer.bias_lr=3", "epochs=2"]
    found = trained(capsys, "@cifar-fast", pictures, *words, "--out", tmp_path / "run")
    narrow = 9 * (24 * 6 + 6 * 6 + 6 * 26 + 3 * 26 * 26)
    assert found["parameters"] == 312 + narrow + 2 * 6 + 4 * 26 + 26 * 4
    assert 0.4 < found["test"]["accuracy"] < 0.6  # mirrors hide whether left or right is the brighter side
    record = json.loads((tmp_path / "run" / "data.json").read_text())
    assert record["examples"] == {"train": 410, "validation": 0, "test": 102}
    assert record["encoder"]["views"] == "flip_shift"
    assert trained(capsys, "@cifar-fast", pictures, *words, "--out", tmp_path / "two")["test"] == found["test"]


def test_the_fast_recipe_has_the_rates_of_its_source():
    """The source adds up 2000 losses, divides scores by 256 and takes 2e-6 * 2000 off a weight in a step."""
    recipe = shipped("cifar-fast")
    optimizer, size = recipe.table("optimizer"), recipe.table("data")["batch_size"]
    assert optimizer["bias_lr"] == pytest.approx(0.053 * size)
    assert optimizer["output_lr"] == pytest.approx(0.67 * size * (9 / 256) ** 2, rel=0.01)
    assert optimizer["rest_decay"] == pytest.approx(2e-6 * size)
    assert recipe.table("loss")["label_smoothing"] == 0.2
    assert recipe.table("training")["epochs"] == 8


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_fast_recipe_learns_cifar_10_at_reduced_epochs(capsys, tmp_path, shared_data):
    """At a quarter of its width, on 4,000 pictures: two epochs bring it where a linear model (0.32) never comes."""
    words = ["epochs=2", "data.limit=4000", "data.batch_size=250", "network.width=0.25", "data.test_views=flip"]
    found = trained(capsys, "@cifar-fast", shared_data / "cifar10", *words, "--out", tmp_path / "run")
    assert found["test"]["accuracy"] > 0.45


def test_names_are_checked(capsys):
    assert _run(["train", "@cifar10-sofmax", "digits"]) == 2
    assert "cifar10-softmax" in capsys.readouterr().err
    assert _run(["list", "recipes"]) == 0
    assert "cifar10-neuron" in capsys.readouterr().out
    assert _run(["show", "recipe", "neuron"]) == 0
    assert "3,073 parameters" in capsys.readouterr().out


def test_classes_are_kept_by_number_or_by_name(pictures):
    found = read(str(pictures), classes=["cat", "bird"])
    assert list(found.targets.classes) == ["bird", "cat"]
    assert sum(found.examples.values()) == 256
    assert read(str(pictures), classes=3).outputs["count"] == 3
    assert read("digits", classes=2).targets.classes == ["0", "1"]
    for wanted in (1, 5, -1, ["cat"]):
        with pytest.raises(UsageError, match="keeps 2 to 4 classes"):
            read(str(pictures), classes=wanted)
    with pytest.raises(UsageError, match="no class 'dog'"):
        read(str(pictures), classes=["dog", "cat"])
    with pytest.raises(UsageError, match="has no classes"):
        read("diabetes", classes=2)
