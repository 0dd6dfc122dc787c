"""Recipes of the second set: embedded data with other networks, rates and settings than the first set's."""

from bench.doctor.programs.case import Case
from bench.doctor.programs.recipes import recipe
from bench.doctor.second.registry import healthy, seeded, trap


@healthy("embedded", 0.85)
def recipe_wine_small(seed: int) -> Case:
    best = {"name": "adam", "lr": 1e-2}
    return recipe(seed, "wine", 30, {"name": "mlp", "hidden": [16]}, best, data={"batch_size": 16})


@healthy("embedded", 0.8)
def recipe_iris_tanh(seed: int) -> Case:
    net = {"name": "mlp", "hidden": [16, 16], "activation": "tanh"}
    return recipe(seed, "iris", 50, net, {"name": "adam", "lr": 1e-2}, data={"batch_size": 16})


@healthy("embedded", 0.85)
def recipe_circles_gelu(seed: int) -> Case:
    net = {"name": "mlp", "hidden": [24, 24], "activation": "gelu"}
    return recipe(seed, "circles", 40, net, {"name": "adamw", "lr": 5e-3}, data={"batch_size": 20})


@trap("embedded", 0.85)
def recipe_moons_fast_descent(seed: int) -> Case:
    best = {"name": "sgd", "lr": 0.5}
    return recipe(seed, "moons", 60, {"name": "mlp", "hidden": [32, 32]}, best, data={"batch_size": 32})


@trap("embedded", 0.85)
def recipe_cancer_dropout(seed: int) -> Case:
    net = {"name": "mlp", "hidden": [64], "dropout": 0.4}
    return recipe(seed, "breast_cancer", 30, net, {"name": "adam", "lr": 3e-3}, data={"batch_size": 32})


@seeded("A1", "embedded")
def recipe_cancer_raw(seed: int, amount: bool) -> Case:
    best, data = {"name": "momentum", "lr": 0.02}, {"normalize": "none" if amount else "auto", "batch_size": 32}
    return recipe(seed, "breast_cancer", 20, {"name": "mlp", "hidden": [24]}, best, data=data)


@seeded("D1", "embedded", cured=0.05, clear=5.0)
def recipe_wine_descent_too_fast(seed: int, amount: float) -> Case:
    best = {"name": "momentum", "lr": amount}
    return recipe(seed, "wine", 30, {"name": "mlp", "hidden": [24]}, best, data={"batch_size": 16})


@seeded("D2", "embedded", also="D6", cured=0.1, clear=1e-4)
def recipe_digits_descent_too_slow(seed: int, amount: float) -> Case:
    best = {"name": "momentum", "lr": amount}
    return recipe(seed, "digits", 12, {"name": "mlp", "hidden": [48]}, best, data={"batch_size": 64})


@seeded("C4", "embedded", cured="relu", clear="sigmoid")
def recipe_moons_sigmoid_in_depth(seed: int, amount: str) -> Case:
    net = {"name": "mlp", "hidden": [24] * 7, "activation": amount}
    return recipe(seed, "moons", 40, net, {"name": "momentum", "lr": 0.05}, data={"batch_size": 32})


@seeded("C8", "embedded")
def recipe_circles_linear(seed: int, amount: bool) -> Case:
    net = {"name": "mlp", "hidden": [32, 32], "activation": "identity" if amount else "relu"}
    return recipe(seed, "circles", 30, net, {"name": "adam", "lr": 5e-3}, data={"batch_size": 32})


@seeded("C14", "embedded", cured=0.0, clear=0.9)
def recipe_spirals_dropout(seed: int, amount: float) -> Case:
    net = {"name": "mlp", "hidden": [48, 48], "activation": "tanh", "dropout": amount}
    return recipe(seed, "spirals", 60, net, {"name": "adam", "lr": 1e-2}, data={"batch_size": 32})


@seeded("C10", "embedded", cured=32, clear=1)
def recipe_xor_one_unit(seed: int, amount: int) -> Case:
    net = {"name": "mlp", "hidden": [amount]}
    return recipe(seed, "xor", 40, net, {"name": "adam", "lr": 1e-2}, data={"batch_size": 32})
