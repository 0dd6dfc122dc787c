"""Decision boundaries: what a network answers over the plane of two numbers, and where its answer changes.

The lines of a linear network are exact: they are read off its weights, with the standardisation undone. Those of other
networks are followed over a grid.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from netwright.data.dataset import Dataset
from netwright.data.encoders import NumberEncoder
from netwright.data.source import Table
from netwright.data.tables.cells import Column, numbers
from netwright.data.tables.encoder import TableEncoder
from netwright.data.tables.plans import NumberPlan, scaled
from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.perceptrons import Perceptron, ReferenceClass
from netwright.randomness import permutation
from netwright.training.answers import truths
from netwright.training.forward import Forward

SIDE = 128  # places of the grid on each axis
SHOWN = 300  # points of each split at most
MOST_CLASSES = 30  # with more classes the lines between all pairs are left out

Spot = tuple[float, float]
Window = tuple[Spot, Spot]
Weights = Float[np.ndarray, "classes inputs"]
Values = Float[np.ndarray, "places"]


class Trained(Protocol):
    """What `boundary` asks of a predictor: its network with the loss, and its preprocessing."""

    @property
    def forward(self) -> Forward: ...

    @property
    def encoder(self) -> Any: ...


@dataclass(frozen=True)
class PlaneAxis:
    """One of the two inputs: its name, and how its values become what the network reads.

    Formula: z = slope * x + shift where `linear` (slope, shift) is known
    """

    name: str
    read: Callable[[np.ndarray], np.ndarray]
    linear: tuple[float, float] | None


@dataclass(frozen=True)
class Border:
    """A straight piece of the boundary: on it w . x + b = 0, in the data's own units; one class on each side."""

    classes: tuple[str, str]
    weights: tuple[float, float]
    bias: float
    ends: Window


@dataclass(frozen=True)
class Boundary:
    """What a network answers over a window of the plane."""

    names: tuple[str, str]
    classes: list[str]
    window: Window
    """The ends of the first and of the second axis."""
    grid: tuple[np.ndarray, np.ndarray]
    """Places along the first axis and along the second."""
    probabilities: Float[np.ndarray, "rows columns classes"]
    """Rows go with the second axis."""
    points: dict[str, tuple[np.ndarray, np.ndarray]]
    """Training and test points (n, 2) in the data's own units, with their class numbers."""
    borders: list[Border] = field(default_factory=list)
    """The exact lines of a linear network."""
    linear: bool = False

    def to_json(self) -> dict[str, Any]:
        """The lines and the window, without the grid."""
        borders = [
            {"classes": list(one.classes), "weights": list(one.weights), "bias": one.bias,
             "ends": [list(end) for end in one.ends]} for one in self.borders
        ]  # fmt: skip
        return {"names": list(self.names), "classes": self.classes, "window": self.window,
                "linear": self.linear, "borders": borders}  # fmt: skip


def boundary(trained: Trained, dataset: Dataset, window: Window | None = None) -> Boundary:
    """The classes of a network with two inputs over the plane; `trained` is a predictor, or a run that has one.

    Formula: of linear scores z = W x + b, classes i and j meet where (w_i - w_j) . x + b_i - b_j = 0 and no other
    score is greater; one score alone is 0 there

    Args: `window` gives the ends of both axes; without it, all training and test points with some room. Errors:
    UsageError where the data are not two numbers, or ask for no class.
    """
    trained = getattr(trained, "predictor", lambda: trained)()
    axes = plane(trained.encoder)
    if axes is None or not dataset.classes:
        text = say("a decision boundary wants data of two numbers and classes; {name} is another kind.",
                   name=dataset.name)  # fmt: skip
        raise UsageError(text)
    points = {split: _points(trained.encoder, dataset, split) for split in ("train", "test")}
    window = window or _window(np.concatenate([found[0] for found in points.values()]))
    grid = (_centres(*window[0]), _centres(*window[1]))
    across, up = (axis.read(places) for axis, places in zip(axes, grid, strict=True))
    spots = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
    forward = trained.forward
    chances = forward.predictions(forward.outputs(torch.from_numpy(spots).float()))
    weights = linear_scores(forward.model, axes)
    return Boundary(
        names=(axes[0].name, axes[1].name),
        classes=dataset.classes,
        window=window,
        grid=grid,
        probabilities=chances.reshape(SIDE, SIDE, -1),
        points=points,
        borders=borders(*weights, window, dataset.classes) if weights is not None else [],
        linear=weights is not None,
    )


def plane(encoder: Any) -> tuple[PlaneAxis, PlaneAxis] | None:
    """The two axes of data that are exactly two numbers; None for all others."""
    if isinstance(encoder, NumberEncoder):
        if encoder.inputs != {"kind": "vector", "features": 2}:
            return None
        mean, scale = (one.double().flatten().tolist() for one in (encoder.mean, encoder.scale))
        names = [say("input {number}", number=place) for place in (1, 2)]
        first, second = (_plain_axis(*one) for one in zip(names, mean, scale, strict=True))
        return first, second
    if isinstance(encoder, TableEncoder) and len(encoder.plans) == 2 and len(encoder.names) == 2:
        found = [_plan_axis(plan) for plan in encoder.plans if isinstance(plan, NumberPlan)]
        return (found[0], found[1]) if len(found) == 2 else None
    return None


def _plain_axis(name: str, mean: float, scale: float) -> PlaneAxis:
    return PlaneAxis(name, lambda x: (x - mean) * scale, (scale, -mean * scale))


def _plan_axis(plan: NumberPlan) -> PlaneAxis:
    straight = None if plan.unit else (1 / plan.scale, -plan.mean / plan.scale)
    return PlaneAxis(plan.column, lambda x: scaled(x, plan), straight)


def linear_scores(model: nn.Module, axes: tuple[PlaneAxis, PlaneAxis]) -> tuple[Weights, Values] | None:
    """W and b of a network of one linear layer, for inputs in the data's own units; None where there is a curve.

    Formula: W' = W * slope, b' = b + W . shift, for z = slope * x + shift
    """
    children = list(model.children()) if isinstance(model, (nn.Sequential, Perceptron)) else []
    layers = [one for one in children if isinstance(one, nn.Linear)]
    quiet = (nn.Linear, nn.Flatten, nn.Identity, nn.Dropout, ReferenceClass)
    if len(layers) != 1 or not all(isinstance(one, quiet) for one in children):
        return None
    straight = [axis.linear for axis in axes if axis.linear is not None]
    if len(straight) != 2:
        return None
    slope, shift = (np.array(one) for one in zip(*straight, strict=True))
    weights = layers[0].weight.detach().double().cpu().numpy()
    bias = np.zeros(len(weights)) if layers[0].bias is None else layers[0].bias.detach().double().cpu().numpy()
    bias = bias + weights @ shift
    weights = weights * slope
    if any(isinstance(one, ReferenceClass) for one in children):
        weights, bias = np.pad(weights, ((0, 1), (0, 0))), np.pad(bias, (0, 1))
    return weights, bias


def borders(weights: Weights, bias: Values, window: Window, classes: list[str]) -> list[Border]:
    """The pieces of lines in the window at which the class of the greatest score changes.

    One row of weights: the second class where its score is above 0.
    """
    if len(weights) == 1:  # the score of the second class against 0
        weights, bias = np.pad(weights, ((1, 0), (0, 0))), np.pad(bias, (1, 0))
    if len(weights) > MOST_CLASSES or not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        return []
    found = []
    for first, second in combinations(range(len(weights)), 2):
        normal, apart = weights[second] - weights[first], float(bias[second] - bias[first])
        others = [one for one in range(len(weights)) if one not in (first, second)]
        limits = [(weights[first] - weights[one], float(bias[first] - bias[one])) for one in others]
        ends = _clipped(normal, apart, window, limits)
        if ends is not None:
            pair = (float(normal[0]), float(normal[1]))
            found.append(Border((classes[first], classes[second]), pair, apart, ends))
    return found


def _clipped(normal: np.ndarray, bias: float, window: Window, limits: list[tuple[np.ndarray, float]]) -> Window | None:
    """The part of the line normal . x + bias = 0 inside the window where every limit v . x + c is at least 0."""
    (left, right), (low, high) = window
    size = float(normal @ normal)
    if size == 0:
        return None
    middle = np.array([(left + right) / 2, (low + high) / 2])
    foot = middle - normal * (float(normal @ middle) + bias) / size
    along = np.array([-normal[1], normal[0]]) / np.sqrt(size)
    sides = [(np.array([1.0, 0]), -left), (np.array([-1.0, 0]), right), (np.array([0, 1.0]), -low),
             (np.array([0, -1.0]), high)]  # fmt: skip
    start, stop = -np.inf, np.inf
    for direction, limit in [*sides, *limits]:
        speed, room = float(direction @ along), float(direction @ foot) + limit
        if speed > 0:
            start = max(start, -room / speed)
        elif speed < 0:
            stop = min(stop, -room / speed)
        elif room < 0:
            return None
    if not start < stop or not np.isfinite([start, stop]).all():
        return None
    one, other = foot + start * along, foot + stop * along
    return (float(one[0]), float(one[1])), (float(other[0]), float(other[1]))


def contours(found: Boundary) -> list[tuple[Spot, Spot]]:
    """Short straight pieces along the places where the most probable class changes, between the grid's places.

    Formula: on each side of a cell where log p_k - max over other classes of log p changes its sign, the place where
    the straight line between its ends is 0
    """
    scores = np.log(np.clip(found.probabilities, 1e-12, None))
    best = scores.argmax(2)
    corners = np.stack([best[:-1, :-1], best[:-1, 1:], best[1:, 1:], best[1:, :-1]])
    mixed = (corners != corners[0]).any(0)
    pieces = []
    for row, column in np.argwhere(mixed):
        here = corners[:, row, column]
        places = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
        for one in np.unique(here)[: -1 if len(np.unique(here)) == 2 else None]:
            values = [scores[at][one] - np.delete(scores[at], one).max() for at in places]
            crossed = [_crossing(found, places, values, side) for side in range(4)]
            ends = [spot for spot in crossed if spot is not None]
            pieces += list(zip(ends[::2], ends[1::2], strict=False))
    return pieces


def _crossing(found: Boundary, places: list[Any], values: list[float], side: int) -> Spot | None:
    a, b = values[side], values[(side + 1) % 4]
    if (a > 0) == (b > 0):
        return None
    share = a / (a - b)
    (row, column), (next_row, next_column) = places[side], places[(side + 1) % 4]
    x, y = found.grid
    return (
        float(x[column] + share * (x[next_column] - x[column])),
        float(y[row] + share * (y[next_row] - y[row])),
    )


def _centres(low: float, high: float) -> np.ndarray:
    """The middles of the grid's cells along an axis."""
    return low + (np.arange(SIDE) + 0.5) * ((high - low) / SIDE)


def _points(encoder: Any, dataset: Dataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """At most 300 examples of a split in their own units, drawn evenly; those without both numbers are left out."""
    count = dataset.examples[split]
    chosen = np.sort(permutation(count, "boundary", split)[:SHOWN])
    examples = dataset.source.examples.take(dataset.splits[split][chosen])
    values = _numbers(encoder, examples)
    kept = np.isfinite(values).all(1)
    return values[kept], truths(dataset, split)[chosen][kept]


def _numbers(encoder: Any, examples: Any) -> np.ndarray:
    if not isinstance(examples, Table):
        return np.asarray(examples, np.float64).reshape(-1, 2)
    cells: Mapping[str, np.ndarray] = examples.columns
    columns = [(Column.of(cells[plan.column]), plan.decimal) for plan in encoder.plans]
    return np.stack([one.spread(numbers(one.values, decimal), np.nan) for one, decimal in columns], 1)


def _window(points: np.ndarray) -> Window:
    """Both axes with a twentieth of room on each side."""
    if not len(points):
        return (-1.0, 1.0), (-1.0, 1.0)
    ends = []
    for values in points.T:
        low, high = float(values.min()), float(values.max())
        room = 0.05 * (high - low) or max(abs(low), 1) / 2
        ends.append((low - room, high + room))
    return ends[0], ends[1]
