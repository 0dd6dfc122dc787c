"""One training step of a small network as numbers: forward, loss, errors, gradients, update.

The errors and gradients are worked out by written formulas (the rules of this package), not by automatic
differentiation, and then compared with it. A layer without a rule, and what plain functions between layers do, is
taken from automatic differentiation and marked so.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from netwright.catalogue import LOSSES, NETWORKS
from netwright.measures.trace.asked import inputs_of, named, places_of, ready, target_of
from netwright.measures.trace.job import Job
from netwright.measures.trace.record import View
from netwright.measures.trace.result import StepTrace
from netwright.networks.perceptrons import Perceptron
from netwright.networks.shapes import Ends, Shape, shape_of, units


class Example(NamedTuple):
    """A worked example's numbers: a batch of inputs and its targets."""

    inputs: Tensor
    target: Tensor


def sizes(network: str) -> tuple[Shape, int]:
    """Small inputs and a count of classes for a worked example of a catalogue network, where nobody named any.

    Errors: UsageError for a name that is not in the catalogue.
    """
    facts = NETWORKS[network].facts
    kinds = facts.get("inputs", ())
    if network == "stack":
        return (1, 6, 6), 2
    if "vector" in kinds:
        return (2,), int(facts.get("classes", 3 if network == "softmax" else 2))
    if "sequence" in kinds:
        return (3, 2), 2
    return (
        ((1, 32, 32), 10)
        if network.startswith("lenet")
        else ((1, 8, 8), 2)
        if network == "convnet"
        else ((3, 64, 64), 2)
    )


def example(model: nn.Module, inputs: Ends | Shape, outputs: Ends | int, loss: str = "auto", seed: int = 0) -> Example:
    """Small whole numbers of the right shapes: a pure function of `seed`.

    One example; four for the perceptron, whose rule takes one after the other; two where a norm needs a batch.
    """
    shape = shape_of(inputs) if isinstance(inputs, Mapping) else tuple(inputs)
    goal = outputs if isinstance(outputs, Mapping) else {"kind": "class", "count": int(outputs)}
    batch = any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in model.modules())
    count = 4 if isinstance(model, Perceptron) else 2 if batch else 1
    random = torch.Generator().manual_seed(seed)
    drawn = _lively(model, [_small(random, (count, *shape)) for _ in range(24)])
    if any(isinstance(one, nn.Embedding) for one in model.modules()):
        drawn = drawn.abs().long()
    turns = torch.arange(count) + seed
    if goal.get("kind") != "class":
        return Example(drawn, torch.randint(1, 4, (count, units(goal)), generator=random).double())
    if loss == "auto" or LOSSES[loss].facts["target"] != "number" or units(goal) == 1:
        return Example(drawn, turns % int(str(goal.get("count", units(goal)))))
    return Example(drawn, torch.eye(units(goal), dtype=torch.float64)[turns % units(goal)])


def _small(random: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Whole numbers: 0 to 3 for pictures, else -2 to 3 without 0."""
    drawn = torch.randint(0, 4, shape, generator=random) if len(shape) == 4 else None
    if drawn is None:
        drawn = torch.tensor([-2.0, -1.0, 1.0, 2.0, 3.0])[torch.randint(0, 5, shape, generator=random)]
    return drawn.double()


def _lively(model: nn.Module, drawn: list[Tensor]) -> Tensor:
    """The first draw that wakes a unit in every ReLU layer, so that the example shows errors that are not all 0."""
    copied = ready(model)
    relus = [one for one in copied.modules() if isinstance(one, nn.ReLU)]
    if not relus or len(relus) > 20 or drawn[0].numel() > 10_000:
        return drawn[0]
    awake: list[bool] = []
    for one in relus:
        one.register_forward_hook(lambda module, given, left: awake.append(bool((left > 0).any())))
    for values in drawn:
        awake.clear()
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                copied(values)
        except (RuntimeError, ValueError, IndexError, TypeError):
            break  # `trace` says why it cannot be run
        if all(awake):
            return values
    return drawn[0]


def trace(
    model: nn.Module,
    inputs: Any,
    target: Any,
    *,
    loss: str | Mapping[str, Any] = "auto",
    optimizer: str | Mapping[str, Any] = "sgd",
    name: str = "",
    places: Sequence[tuple[int, int]] = ((0, 0),),
    units: int = 3,
    digits: int = 4,
    most: int = 64,
    seed: int = 0,
) -> StepTrace:
    """One training step in 64-bit numbers on a copy of the model, which itself stays as it is.

    Args: `inputs` (batch, ...) and `target` as networks and losses take them; `loss` and `optimizer` by name or as
    {"name": ..., settings}; `auto` is cross_entropy for classes (bce_with_logits with one output) and mse for numbers;
    `places` are the (row, column) of maps whose windows are worked out, `units` how many units of a layer; `digits`
    decimals in text; arrays of more than `most` numbers are shortened; `seed` is for dropout. A perceptron learns by
    its own rule under `auto`. Errors: UsageError for what does not fit, is too large, or holds no finite numbers.
    """
    copied = ready(model)
    values = inputs_of(copied, inputs)
    view = View(places_of(places), max(1, int(units)), min(max(0, int(digits)), 17))
    title = name or str(getattr(model, "catalogue_table", {}).get("name", "")) or type(model).__name__
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        job = Job(copied, values, target_of(target), view, title, seed)
        own = isinstance(copied, Perceptron) and loss in ("auto", "perceptron")
        found = job.by_rule(named(optimizer)) if own else job.run(loss, named(optimizer))
    return StepTrace(**found, digits=view.digits, most=max(1, int(most)))
