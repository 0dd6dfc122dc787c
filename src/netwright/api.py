"""Networks by name for Python: build one, look at its sizes, own the loop."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.data.dataset import Dataset
from netwright.data.read import read
from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.anatomy import Anatomy
from netwright.measures.anatomy import anatomy as measure
from netwright.recipe import Recipe
from netwright.training.job import Job, new_batches, new_state
from netwright.training.launch import launch
from netwright.training.loop import Step
from netwright.training.loop import steps as loop
from netwright.training.plan import build, resolve
from netwright.training.progress import Progress


def network(
    name: str,
    data: Any = None,
    *,
    inputs: Any = None,
    outputs: Any = None,
    seed: int = 0,
    **settings: Any,
) -> nn.Module:
    """A network of the catalogue for `data`, or for `inputs=(3, 224, 224), outputs=1000`.

    `inputs`: (C, H, W) pictures, (steps, features) sequences, or a number of features. `outputs`: a number of classes,
    or `{"kind": "number", "count": 1}`. First weights are a pure function of `seed`.
    """
    if data is not None:
        data = _dataset(data)
        recipe = Recipe(seed).updated({"network": {"name": name, **settings}}, say("arguments"))
        return build(resolve(recipe, data), data.inputs, data.outputs)
    if inputs is None or outputs is None:
        raise UsageError(say("network({name!r}) wants data, or inputs= and outputs=", name=name))
    table = {"name": name, **NETWORKS[name].check(settings)}
    shape = inputs_of(inputs)
    goal = outputs if isinstance(outputs, dict) else {"kind": "class", "count": int(outputs)}
    loss = NETWORKS[name].facts.get("loss") or ("cross_entropy" if goal["kind"] == "class" else "mse")
    return build(Recipe(seed, {"network": table, "loss": {"name": loss}}), shape, goal)


def _dataset(data: Any) -> Dataset:
    """A data set as `read` gives it; a name or a path is read."""
    return data if isinstance(data, Dataset) else read(data)


def inputs_of(shape: Any) -> dict[str, Any]:
    """A shape as `inputs`: 784, (28, 28) steps and features, or (1, 28, 28) channels, height, width."""
    if isinstance(shape, dict):
        return shape
    sizes = [shape] if isinstance(shape, int) else list(shape)
    names = {
        1: ("vector", ["features"]),
        2: ("sequence", ["steps", "features"]),
        3: ("image", ["channels", "height", "width"]),
    }
    if len(sizes) not in names or not all(isinstance(size, int) and size >= 1 for size in sizes):
        raise UsageError(
            say("inputs = {shape!r}; it is features, steps,features or channels,height,width", shape=shape)
        )
    kind, keys = names[len(sizes)]
    return {"kind": kind, **dict(zip(keys, sizes, strict=True))}


def anatomy(
    net: nn.Module | str, data: Any = None, *, inputs: Any = None, outputs: Any = None, **settings: Any
) -> Anatomy:
    """Shapes, parameters, multiply-adds, neurons, connections and receptive fields, per layer and in total."""
    if isinstance(net, str):
        net = network(net, data, inputs=inputs, outputs=outputs, **settings)
    if data is None and inputs is None:
        raise UsageError(say("anatomy wants data, or inputs=(channels, height, width)"))
    name = getattr(net, "catalogue_table", {}).get("name", "")
    return measure(net, _dataset(data).inputs if data is not None else inputs_of(inputs), name)


def steps(
    data: Any, net: nn.Module | str | dict[str, Any] = "", *, recipe: Recipe | None = None, seed: int = 0, **parts: Any
) -> Iterator[Step]:
    """Own the loop: yields after every training step; `break` stops it. `parts` are loss=, optimizer=, epochs= ..."""
    data, chosen = _dataset(data), recipe or Recipe(seed)
    for key, value in parts.items():
        if key in ("loss", "optimizer", "schedule"):
            chosen = chosen.updated({key: {"name": value} if isinstance(value, str) else value}, say("arguments"))
        else:
            chosen = chosen.set(key, value, say("arguments"))
    module = net if isinstance(net, nn.Module) else None
    if net and not isinstance(net, nn.Module):
        table = {"name": net} if isinstance(net, str) else dict(net)
        chosen = chosen.updated({"network": table}, say("arguments"))
    chosen = resolve(chosen, data, module)
    model = module if module is not None else build(chosen, data.inputs, data.outputs)
    job = Job(data, chosen, model, launch(chosen.table("training")), Progress(quiet=True))
    state, batches = new_state(job), new_batches(job)
    state.total_steps = batches.per_epoch * job.training["epochs"]
    return _apart(loop(state, batches, job.training["epochs"]))


def _apart(found: Iterator[Step]) -> Iterator[Step]:
    """The same steps, but random numbers of the caller's own do not notice the seeding within."""
    while True:
        with torch.random.fork_rng(devices=[]):
            step = next(found, None)
        if step is None:
            return
        yield step
