"""Networks by name for Python: build one, look at its sizes, own the loop."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.data.dataset import Dataset
from netwright.data.read import read
from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.anatomy import Anatomy
from netwright.measures.anatomy import anatomy as measure
from netwright.measures.anatomy.blueprint import blueprint
from netwright.measures.graph import Graph
from netwright.recipe import Recipe
from netwright.training.job import Job, new_batches, new_state
from netwright.training.launch import launch
from netwright.training.loop import Step
from netwright.training.loop import steps as loop
from netwright.training.plan import build, dataset_of, resolve
from netwright.training.preparing import prepare
from netwright.training.progress import Progress
from netwright.training.published import with_weights

if TYPE_CHECKING:
    from netwright.explaining.writing import Explanations
    from netwright.measures.trace import StepTrace


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
        recipe = resolve(recipe, data)
        return with_weights(build(recipe, data.inputs, data.outputs), recipe)
    if inputs is None or outputs is None:
        raise UsageError(say("network({name!r}) wants data, or inputs= and outputs=", name=name))
    table = {"name": name, **NETWORKS[name].check(settings)}
    shape = inputs_of(inputs)
    kind = NETWORKS[name].facts.get("outputs", "class")
    goal = outputs if isinstance(outputs, dict) else {"kind": kind, "count": int(outputs)}
    loss = NETWORKS[name].facts.get("loss") or ("cross_entropy" if goal["kind"] == "class" else "mse")
    recipe = Recipe(seed, {"network": table, "loss": {"name": loss}})
    return with_weights(build(recipe, shape, goal), recipe)


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
    """Shapes, parameters, multiply-adds, neurons, connections, receptive fields and memory, per layer and in total.

    A network given by its name is built without memory for weights; a module stays as and where it is. Errors:
    WrongSize (a UsageError) with the layers so far where the input does not fit.
    """
    return measure(*_measured(net, data, inputs, outputs, settings))


def diagram(net: nn.Module | str, data: Any = None, *, inputs: Any = None, outputs: Any = None, **settings: Any) -> str:
    """The network as a picture (SVG): layers, branches and sums in the order of the data's flow, sizes at the lines."""
    from netwright.measures.drawing.diagram import diagram as draw

    return draw(*_measured(net, data, inputs, outputs, settings))


def graph(net: nn.Module | str, data: Any = None, *, inputs: Any = None, outputs: Any = None, **settings: Any) -> Graph:
    """The computational graph: every operation with its inputs, each after those that it reads."""
    from netwright.measures.graph import graph as export

    return export(*_measured(net, data, inputs, outputs, settings))


def explain(
    run: Any, *inputs: Any, out: Any = None, position: int = 0, say_line: Callable[[str], None] | None = None
) -> "Explanations":
    """See inside a run on inputs of your own: gates, attention, saliency, gradients over time, as pictures and data.

    `run` is a run folder or what `open` gives; files go to its folder `explanations`, or to `out`. `position` chooses
    the tag, token or number of the answer that saliency explains, from 1. `say_line` hears what was odd.
    """
    from netwright.deploy.predict import Predictor
    from netwright.explaining.whole import explain as look
    from netwright.rundir import RunFolder

    folder = run.folder if hasattr(run, "folder") else RunFolder.open(run)
    predictor = Predictor.open(folder, getattr(run, "_network", None))
    dataset = getattr(run, "_dataset", None)
    return look(folder, predictor, inputs, out=out, position=position, dataset=dataset, say_line=say_line)


def worked_step(
    net: nn.Module | str, *, inputs: Any = None, outputs: Any = None, loss: str = "auto", **settings: Any
) -> "StepTrace":
    """One training step of a small network on a small example, as numbers; `trace` takes an example of your own."""
    from netwright.measures.trace import example, trace

    model = network(net, inputs=inputs, outputs=outputs, **settings) if isinstance(net, str) else net
    given = example(model, inputs_of(inputs), outputs, loss)
    return trace(model, given.inputs, given.target, loss=loss, name=net if isinstance(net, str) else "")


def _measured(
    net: nn.Module | str, data: Any, inputs: Any, outputs: Any, settings: dict[str, Any]
) -> tuple[nn.Module, dict[str, Any], str]:
    """A network, the inputs it is to be measured with, and its name."""
    data = _dataset(data) if data is not None else None
    if isinstance(net, str):
        if data is None and (inputs is None or outputs is None):
            raise UsageError(say("network({name!r}) wants data, or inputs= and outputs=", name=net))
        ends = data.inputs if data is not None else inputs_of(inputs)
        made = blueprint(net, ends, lambda sizes: network(net, data, inputs=sizes, outputs=outputs, **settings))
        return made, ends, net
    if data is None and inputs is None:
        raise UsageError(say("anatomy wants data, or inputs=(channels, height, width)"))
    name = getattr(net, "catalogue_table", {}).get("name", "")
    return net, data.inputs if data is not None else inputs_of(inputs), name


def steps(
    data: Any, net: nn.Module | str | dict[str, Any] = "", *, recipe: Recipe | None = None, seed: int = 0, **parts: Any
) -> Iterator[Step]:
    """Own the loop: yields after every training step; `break` stops it. `parts` are loss=, optimizer=, epochs= ..."""
    chosen = recipe or Recipe(seed)
    for key, value in parts.items():
        if key in ("loss", "optimizer", "schedule"):
            chosen = chosen.updated({key: {"name": value} if isinstance(value, str) else value}, say("arguments"))
        else:
            chosen = chosen.set(key, value, say("arguments"))
    data = dataset_of(data, None, chosen)
    module = net if isinstance(net, nn.Module) else None
    if net and not isinstance(net, nn.Module):
        table = {"name": net} if isinstance(net, str) else dict(net)
        chosen = chosen.updated({"network": table}, say("arguments"))
    chosen = resolve(chosen, data, module)
    model = module if module is not None else with_weights(build(chosen, data.inputs, data.outputs), chosen)
    prepare(model, data, chosen.seed)
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
