"""What a remedy is held against: random legal changes, other learning rates, the defaults, a search at random."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netwright.catalogue import (
    ACTIVATIONS,
    CELLS,
    INITIALIZERS,
    LOSSES,
    NORMS,
    OPTIMIZERS,
    SCHEDULES,
    Family,
    Setting,
    family,
)
from netwright.clinic.trainings import ALONE, OutOfTime, Trainings, patched, prepared
from netwright.clinic.yardstick import higher
from netwright.data.dataset import Dataset
from netwright.errors import NetwrightError, UsageError
from netwright.language import say
from netwright.randomness import seed_of
from netwright.recipe import DATA, PARTS, TRAINING, Recipe

FACTORS = (0.1, 10.0, 0.01, 100.0, 0.3, 3.0, 0.001, 1000.0)
"""Learning rates are retuned by these factors, the likeliest first."""
TRIES = 200
"""So many changes are drawn at most until one is legal."""
OPEN = {"data": ("batch_size", "normalize"), "training": ("clip_norm", "clip_value", "l1", "l2", "stop_after")}
"""Settings beside those of the parts that a random change may touch. Not among them: what changes the cost (epochs),
the examples (limit, test), or how a machine computes."""
CLOSED = ("weights", "form", "link", "zero_infinity", "stem", "over", "eps")
"""Settings of parts that name another published thing, or what is asked."""
NAMES: dict[str, Family] = {
    "activation": ACTIVATIONS, "init": INITIALIZERS, "recurrent_init": INITIALIZERS, "norm": NORMS, "cell": CELLS,
}  # fmt: skip
"""Settings that are words: the family that holds them."""
LEAST_RATE, MOST_RATE = 1e-7, 100.0


def random_change(recipe: Recipe, dataset: Dataset, seed: int, avoid: Collection[str] = ()) -> dict[str, Any]:
    """A random legal change of one setting of a settled recipe, by `seed`; keys in `avoid` are left alone.

    Parts are drawn first, then one of their settings (or another part in their place), then a value: a positive number
    times 10^u with u uniform in [-2, 2], a share uniform, a 0 log-uniform in [1e-5, 1], words from the catalogue. What
    these data or parts refuse is drawn again. Returns the patch; empty where no legal change was found.
    """
    draws = np.random.Generator(np.random.PCG64(seed_of("random change", seed)))
    for _ in range(TRIES):
        key, value = _drawn(recipe, draws)
        if key in avoid or value is None or _present(recipe, key) == value:
            continue
        if legal(recipe, dataset, {key: value}):
            return {key: value}
    return {}


def legal(recipe: Recipe, dataset: Dataset, patch: Mapping[str, Any]) -> bool:
    """Whether the changed recipe can be trained on these data."""
    try:
        prepared(patched(recipe, patch), dataset, recipe.seed)
    except (NetwrightError, ValueError):  # torch's own optimizers and layers refuse with ValueError
        return False
    return True


def _drawn(recipe: Recipe, draws: np.random.Generator) -> tuple[str, Any]:
    """A dotted setting and a value for it; None where it has no other."""
    tables = [*PARTS, "data", "training"]
    table = tables[int(draws.integers(len(tables)))]
    if table in PARTS:
        part = family(PARTS[table])[recipe.table(table)["name"]]
        known = {name: setting for name, setting in part.settings.items() if name not in CLOSED}
        options = [*known, *(["name"] if table != "network" else [])]
    else:
        settings = DATA if table == "data" else TRAINING
        known = {name: settings[name] for name in OPEN[table]}
        options = list(known)
    if not options:
        return table, None
    name = options[int(draws.integers(len(options)))]
    if name == "name":
        choices = list({"loss": LOSSES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}[table])
        return f"{table}.name", choices[int(draws.integers(len(choices)))]
    return f"{table}.{name}", _value(known[name], recipe.table(table).get(name, known[name].default), draws)


def _value(setting: Setting, now: Any, draws: np.random.Generator) -> Any:
    """Another value of a setting, within its limits."""
    if isinstance(now, bool):
        return not now
    choices = [choice for choice in setting.choices if choice != now and choice != "auto"]
    if isinstance(now, str) and not choices and setting.name in NAMES:
        choices = [name for name in NAMES[setting.name] if name != now]
    if choices and (isinstance(now, str) or not {int, float} & set(setting.kinds)):
        return choices[int(draws.integers(len(choices)))]
    if isinstance(now, list) and now and all(type(one) is int for one in now):
        return [max(1, round(one * 2.0 ** draws.uniform(-3, 2))) for one in now]
    low, high = (setting.range.low, setting.range.high) if setting.range else (-math.inf, math.inf)
    if isinstance(now, int) and int in setting.kinds:
        factor = 2.0 ** draws.uniform(-3, 3)
        return int(min(high, max(low, round(max(now, 1) * factor))))
    if isinstance(now, float) and float in setting.kinds:
        return float(f"{_number(now, low, high, draws):.3g}")
    return None


def _number(now: float, low: float, high: float, draws: np.random.Generator) -> float:
    if now > 0 and high > 1:
        return min(high, max(low, now * 10 ** draws.uniform(-2, 2)))
    if high <= 1 and (now == 0 or now > 0.01):
        return float(draws.uniform(max(low, 0.0), high))  # a share, such as dropout
    return min(high, max(low, 10 ** draws.uniform(-5, 0)))


def _present(recipe: Recipe, key: str) -> Any:
    table, _, name = key.partition(".")
    return recipe.table(table).get(name)


def rates(recipe: Recipe, count: int) -> list[dict[str, Any]]:
    """At most `count` patches of the learning rate alone: the rate times 0.1, 10, 0.01, 100, 0.3, 3, 0.001, 1000."""
    setting = OPTIMIZERS[recipe.table("optimizer")["name"]].settings.get("lr")
    now = recipe.table("optimizer").get("lr")
    if setting is None or not isinstance(now, float):
        return []
    start = now if now > 0 else 1e-3
    wanted = [start, *(start * factor for factor in FACTORS)] if now == 0 else [start * factor for factor in FACTORS]
    found = [float(f"{rate:.3g}") for rate in wanted if LEAST_RATE <= rate <= MOST_RATE]
    return [{"optimizer.lr": rate} for rate in found if rate != now][:count]


def defaults(recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    """The patch that sets a settled recipe back to the catalogue's defaults; what is asked stays.

    Kept are the data and their split, the network's name, and the number of epochs. Loss, optimizer, schedule, batch
    size, normalisation, augmentation and all other settings are those of a recipe that names data and network alone.
    """
    data, training = recipe.table("data"), recipe.table("training")
    data |= {name: DATA[name].default for name in ("batch_size", "normalize", "augment") if name in data}
    kept: dict[str, Any] = {name: training[name] for name in ("epochs", "device", "threads") if name in training}
    bare = Recipe(recipe.seed, {"data": data, "network": {"name": recipe.table("network")["name"]}, "training": kept})
    fresh = prepared(bare, dataset, recipe.seed).recipe
    patch: dict[str, Any] = {}
    for table in (*PARTS, "data", "training"):
        old, new = recipe.table(table), fresh.table(table)
        if table in PARTS and old.get("name") != new.get("name"):
            patch[f"{table}.name"] = new["name"]
            old = {}
        closed = ("name", "path", *(ALONE if table == "training" else ()), "log_steps")
        patch |= {f"{table}.{name}": new[name] for name in new if name not in closed and old.get(name) != new[name]}
    return patch


def search_draw(recipe: Recipe, dataset: Dataset, seed: int) -> dict[str, Any]:
    """A point of the usual search space, by `seed`: optimizer, its rate, weight decay, batch size, dropout, clipping.

    Formula: optimizer among adam, adamw, momentum, rmsprop; lr 10^u, u in [-5, 0] (sgd's kin) or [-5, -1];
    weight_decay 0 or 10^u, u in [-6, -1]; batch_size 2^k, k in 3 ... 8, up to the training examples; dropout in
    [0, 0.6]; clip_norm 0 or 1
    """
    draws = np.random.Generator(np.random.PCG64(seed_of("search", seed)))
    name = ("adam", "adamw", "momentum", "rmsprop")[int(draws.integers(4))]
    power = draws.uniform(-5, 0 if name == "momentum" else -1)
    patch: dict[str, Any] = {"optimizer.name": name, "optimizer.lr": float(f"{10**power:.3g}")}
    decay = draws.uniform(-6, -1)
    patch["optimizer.weight_decay"] = float(f"{10**decay:.3g}") if draws.random() < 0.5 else 0.0
    size = 2 ** int(draws.integers(3, 9))
    patch["data.batch_size"] = min(size, max(1, dataset.examples["train"]))
    dropout, clip = float(f"{draws.uniform(0, 0.6):.3g}"), draws.random() < 0.5
    if "dropout" in family("networks")[recipe.table("network")["name"]].settings:
        patch["network.dropout"] = dropout
    patch["training.clip_norm"] = 1.0 if clip else 0.0
    return patch


@dataclass(frozen=True)
class Found:
    """What a search came to: the best patch by validation, its score there, and all that was tried."""

    patch: dict[str, Any]
    """Empty where nothing beat the recipe as it was."""
    score: float
    tried: list[tuple[dict[str, Any], float]] = field(default_factory=list)
    seconds: float = 0.0


def searched(
    trainings: Trainings, recipe: Recipe, draw: Callable[[int], dict[str, Any]], *, trials: int = 20, seed: int = 0
) -> Found:
    """Search at random: train `trials` patches of `draw(number)` once each, and keep the best by validation.

    The recipe as it was is the first of them. It ends early at the deadline of `trainings`.
    """
    if trials < 1:
        raise UsageError(say("a search of {count} trials; it takes 1 or more", count=trials))
    sign = 1.0 if higher(trainings.metric) else -1.0
    tried: list[tuple[dict[str, Any], float]] = []
    seconds, number = 0.0, 0
    while len(tried) < trials and number < trials + TRIES:
        patch = draw(seed_of(seed, number)) if number else {}
        number += 1
        if number > 1 and (not patch or not legal(recipe, trainings.dataset, patch)):
            continue
        try:
            found = trainings.run(patched(recipe, patch), recipe.seed)
        except OutOfTime:
            break
        seconds += found.seconds
        tried.append((patch, found.validation))
    if not tried:
        return Found({}, math.nan)
    best = max(tried, key=lambda one: sign * one[1])  # ties go to the first
    return Found(best[0], best[1], tried, seconds)
