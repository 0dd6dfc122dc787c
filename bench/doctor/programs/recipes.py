"""Programs as recipes on embedded data: what `netwright diagnose recipe.toml` is given."""

import copy
from typing import Any

from bench.doctor.programs.case import Case
from bench.doctor.programs.registry import healthy, seeded, trap

Tables = dict[str, Any]


def recipe(seed: int, path: str, epochs: int, network: Tables, optimizer: Tables, **more: Tables) -> Case:
    """The tables of a recipe; `data` and `training` in `more` add to what stands here."""
    tables: Tables = {
        "data": {"path": path, **more.pop("data", {})}, "network": network, "optimizer": optimizer,
        "training": {"epochs": epochs, **more.pop("training", {})}, "seed": seed, **more,
    }  # fmt: skip
    return Case(recipe=copy.deepcopy(tables), epochs=epochs)


ADAM = {"name": "adam", "lr": 5e-3}


@healthy("moons", 0.9)
def recipe_moons(seed: int) -> Case:
    return recipe(seed, "moons", 40, {"name": "mlp", "hidden": [32, 32]}, ADAM, data={"batch_size": 32})


@healthy("spirals", 0.85)
def recipe_spirals(seed: int) -> Case:
    net = {"name": "mlp", "hidden": [48, 48], "activation": "tanh"}
    return recipe(seed, "spirals", 60, net, {"name": "adam", "lr": 1e-2}, data={"batch_size": 32})


@healthy("digits", 0.9)
def recipe_digits(seed: int) -> Case:
    return recipe(seed, "digits", 15, {"name": "mlp", "hidden": [64]}, ADAM, data={"batch_size": 64})


@healthy("cancer", 0.85)
def recipe_cancer(seed: int) -> Case:
    return recipe(seed, "breast_cancer", 20, {"name": "mlp", "hidden": [24]}, ADAM, data={"batch_size": 32})


@healthy("xor", 0.85)
def recipe_xor(seed: int) -> Case:
    return recipe(
        seed, "xor", 40, {"name": "mlp", "hidden": [24]}, {"name": "adam", "lr": 1e-2}, data={"batch_size": 32}
    )


@healthy("diabetes", 0.3)
def recipe_diabetes(seed: int) -> Case:
    net = {"name": "mlp", "hidden": [16]}
    return recipe(seed, "diabetes", 25, net, {"name": "adam", "lr": 3e-3}, data={"batch_size": 32})


@trap("circles", 0.9)
def recipe_circles_descent(seed: int) -> Case:
    best = {"name": "momentum", "lr": 0.1}
    return recipe(seed, "circles", 30, {"name": "mlp", "hidden": [32, 32]}, best, data={"batch_size": 32})


@trap("digits", 0.9)
def recipe_digits_one_cycle(seed: int) -> Case:
    best, schedule = {"name": "momentum", "lr": 0.05}, {"name": "cosine"}
    return recipe(seed, "digits", 15, {"name": "mlp", "hidden": [64]}, best, schedule=schedule, data={"batch_size": 64})


@seeded("D7", "moons", cured=0.0, clear=1.0)
def recipe_moons_decayed(seed: int, amount: float) -> Case:
    best = {"name": "adam", "lr": 5e-3, "weight_decay": amount}
    return recipe(seed, "moons", 30, {"name": "mlp", "hidden": [32, 32]}, best, data={"batch_size": 32})


@seeded("D1", "circles", cured=5e-3, clear=1.0, gross=30.0)
def recipe_circles_fast(seed: int, amount: float) -> Case:
    best = {"name": "adam", "lr": amount}
    return recipe(seed, "circles", 30, {"name": "mlp", "hidden": [32, 32]}, best, data={"batch_size": 32})


@seeded("D2", "moons", also="D6", cured=5e-3, clear=1e-6)
def recipe_moons_slow(seed: int, amount: float) -> Case:
    best = {"name": "adam", "lr": amount}
    return recipe(seed, "moons", 30, {"name": "mlp", "hidden": [32, 32]}, best, data={"batch_size": 32})


@seeded("D6", "spirals", also="D2", cured=60, clear=2)
def recipe_spirals_short(seed: int, amount: int) -> Case:
    net = {"name": "mlp", "hidden": [48, 48], "activation": "tanh"}
    return recipe(seed, "spirals", amount, net, {"name": "adam", "lr": 1e-2}, data={"batch_size": 32})


@seeded("C8", "spirals")
def recipe_spirals_linear(seed: int, amount: bool) -> Case:
    net = {"name": "mlp", "hidden": [48, 48], "activation": "identity" if amount else "tanh"}
    return recipe(seed, "spirals", 60, net, {"name": "adam", "lr": 1e-2}, data={"batch_size": 32})


@seeded("C1", "digits")
def recipe_digits_zeros(seed: int, amount: bool) -> Case:
    net = {"name": "mlp", "hidden": [64], "init": "constant" if amount else "auto"}
    return recipe(seed, "digits", 12, net, ADAM, data={"batch_size": 64})


@seeded("A1", "wine")
def recipe_wine_raw(seed: int, amount: bool) -> Case:
    data = {"normalize": "none" if amount else "auto", "batch_size": 16}
    return recipe(seed, "wine", 30, {"name": "mlp", "hidden": [24]}, ADAM, data=data)


@seeded("D1", "digits", cured=3e-3, just=0.3, clear=3.0)
def recipe_digits_fast(seed: int, amount: float) -> Case:
    best = {"name": "adam", "lr": amount}
    return recipe(seed, "digits", 12, {"name": "mlp", "hidden": [64, 64]}, best, data={"batch_size": 32})


@seeded("D7", "cancer", cured=0.0, clear=1.0)
def recipe_cancer_l2(seed: int, amount: float) -> Case:
    net = {"name": "mlp", "hidden": [24]}
    return recipe(seed, "breast_cancer", 20, net, ADAM, data={"batch_size": 32}, training={"l2": amount})


@seeded("C4", "digits", cured="relu", clear="sigmoid")
def recipe_digits_deep_sigmoid(seed: int, amount: str) -> Case:
    net = {"name": "mlp", "hidden": [32] * 8, "activation": amount}
    best = {"name": "momentum", "lr": 0.05}
    return recipe(seed, "digits", 20, net, best, data={"batch_size": 32})


@seeded("D5", "diabetes", also="D6 D2", cured=16, clear=512)
def recipe_diabetes_whole_batch(seed: int, amount: int) -> Case:
    net = {"name": "mlp", "hidden": [16]}
    return recipe(seed, "diabetes", 20, net, {"name": "adam", "lr": 3e-3}, data={"batch_size": amount})


@seeded("E2", "digits")
def recipe_digits_frozen(seed: int, amount: bool) -> Case:
    net = {"name": "mlp", "hidden": [12]}
    frozen = {"freeze": "features"} if amount else {}
    return recipe(seed, "digits", 20, net, {"name": "adam", "lr": 1e-2}, data={"batch_size": 32}, training=frozen)
