"""Networks as scikit-learn estimators: `NetClassifier` and `NetRegressor` for pipelines, searches and cross-validation.

    GridSearchCV(make_pipeline(StandardScaler(), NetClassifier(network="mlp", epochs=30)),
                 {"netclassifier__lr": [1e-3, 1e-2]})

They train with the one loop that everything here trains with, write nothing to disk, and leave the random states of
Python, NumPy and torch and the number of threads as they were.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, check_random_state, validate_data
from torch import Tensor, nn

from netwright.catalogue import LOSSES, NETWORKS, OPTIMIZERS, SCHEDULES, Family, check_settings
from netwright.data.batches import Batch
from netwright.errors import DataError, UsageError
from netwright.language import say
from netwright.networks.shapes import AXES
from netwright.randomness import permutation, seed_of
from netwright.recipe import DATA, TRAINING, Recipe
from netwright.training.forward import evaluating
from netwright.training.launch import launch
from netwright.training.loop import steps
from netwright.training.objective import Draw, Objective, Terms
from netwright.training.plan import FULL_BATCH, build, head
from netwright.training.state import State

BATCH = 64
"""Rows of a mini-batch by default, in tables of more than `FULL_BATCH` rows."""
UPDATES = 1500
"""About so many updates a training makes by default, within 10 to 300 epochs."""
CHUNK = 4096
"""Rows that go through the network at once when predicting."""


@dataclass(frozen=True)
class Scaling:
    """Columns brought to mean 0 and standard deviation 1: (x - mean) / scale."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, weights: np.ndarray | None, channels: int = 0) -> "Scaling":
        """Weighted mean and deviation of each column, so that weights count like copies.

        With `channels`, the columns are that many equal runs (the maps of a picture), each with one mean and scale.
        """
        mean = np.average(x, axis=0, weights=weights)
        square = np.average(np.square(x - mean), axis=0, weights=weights)
        if channels:
            runs = mean.reshape(channels, -1)
            level = runs.mean(1, keepdims=True)
            spread = square.reshape(channels, -1) + np.square(runs - level)
            mean = np.broadcast_to(level, runs.shape).ravel()
            square = np.broadcast_to(spread.mean(1, keepdims=True), runs.shape).ravel()
        scale = np.sqrt(square)
        scale = np.where(scale <= 1e-7 * np.maximum(np.abs(mean), 1e-30), 1.0, scale)  # constant up to rounding
        return cls(mean, scale)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.scale

    def undo(self, x: np.ndarray) -> np.ndarray:
        return x * self.scale + self.mean


class Rows:
    """Batches of rows that lie in memory, in an order that is a pure function of (seed, epoch).

    A single batch holds all rows in their own order. A left-over of one row joins the batch before it.
    """

    def __init__(
        self, inputs: Tensor, targets: Tensor, weights: Tensor | None, places: np.ndarray, size: int, seed: int
    ) -> None:
        self.inputs, self.targets, self.weights, self.places = inputs, targets, weights, places
        self.size, self.seed = size, seed

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return len(self._edges()) - 1

    def _edges(self) -> list[int]:
        edges = [*range(0, len(self), self.size), len(self)]
        if len(edges) > 2 and edges[-1] - edges[-2] == 1:
            del edges[-2]
        return edges

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from the `start`-th row on."""
        if self.per_epoch == 1:
            yield Batch(self.inputs, self.targets, self.weights, self.places, epoch)
            return
        order, edges = permutation(len(self), self.seed, "order", epoch), self._edges()
        for low, high in zip(edges, edges[1:], strict=False):
            if low >= start:
                index = torch.from_numpy(order[low:high]).to(self.inputs.device)
                weights = None if self.weights is None else self.weights[index]
                places = self.places[order[low:high]]
                yield Batch(self.inputs[index], self.targets[index], weights, places, epoch)


def weighted(loss: str, settings: dict[str, Any]) -> Objective:
    """The mean over a batch of weight * loss; weights have mean 1 over all rows.

    Dividing by the number of rows, not by the batch's own sum of weights, keeps every row's pull the same whichever
    batch it falls into; in a full batch the two are equal.
    """

    def objective(model: nn.Module, batch: Batch, draw: Draw) -> Terms:
        values = LOSSES[loss].build(model(batch.inputs), batch.targets, **settings)
        return Terms(values if batch.weights is None else values * batch.weights)

    return objective


def plain(value: Any) -> Any:
    """NumPy numbers (from search grids) and tuples as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(one) for one in value]
    return {key: plain(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def chosen(family: Family, given: Any, default: str, **settings: Any) -> dict[str, Any]:
    """A part's table with its name and every setting: from a name, a table, or "auto"; None is left out."""
    table = dict(plain(given)) if isinstance(given, Mapping) else {"name": given}
    name = table.pop("name", default)
    if not isinstance(name, str):
        raise UsageError(say("{family}: {given!r} came; it is a name or a table", family=family.name, given=given))
    part = family[default if name == "auto" else name]
    table |= {key: plain(value) for key, value in settings.items() if value is not None}
    return {"name": part.name, **part.defaults(), **part.check(table)}


def settings(table: dict[str, Any]) -> dict[str, Any]:
    """A part's table without its name."""
    return {name: value for name, value in table.items() if name != "name"}


class Net(BaseEstimator):
    """What the two estimators share: parameters, training, outputs."""

    _task = ""

    def __init__(
        self,
        network: Any = "mlp",
        *,
        hidden: Any = None,
        input_shape: Any = None,
        loss: Any = "auto",
        optimizer: Any = "auto",
        lr: float | None = None,
        weight_decay: float | None = None,
        schedule: Any = "auto",
        epochs: int | str = "auto",
        batch_size: int | str = "auto",
        standardize: bool = True,
        random_state: Any = 0,
        device: str = "cpu",
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.hidden = hidden
        self.input_shape = input_shape
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.standardize = standardize
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network on the rows of `X`.

        X: (rows, features) numbers, an array, a list or a data frame. y: one target a row (see the class).
        sample_weight: one weight >= 0 a row; a row of weight 0 is as if it were not there.
        """
        X, y, weights = self._read(X, y, sample_weight, reset=True)
        self._learn_targets(y, weights)
        self._begin(X, weights)
        size = self._batch_size(len(X))
        epochs = self._setting("epochs", TRAINING)
        if epochs == "auto":
            epochs = min(300, max(10, round(UPDATES / max(1, -(-len(X) // size)))))
        self._train(X, y, weights, size, epochs, self.schedule)
        self._moments: dict[str, Any] = {}
        return self

    # reading -------------------------------------------------------------------------------------------------

    def _read(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> tuple[np.ndarray, np.ndarray, Any]:
        """Rows, targets and weights as arrays; rows of weight 0 left out."""
        X, y = self._validated(X, y, reset)
        if sample_weight is None:
            return X, y, None
        weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
        weights = np.full(len(X), float(weights)) if weights.ndim == 0 else weights
        if weights.shape != (len(X),):
            raise DataError(
                say("sample_weight has shape {found}; there are {count} rows", found=weights.shape, count=len(X))
            )
        if (weights < 0).any():
            raise DataError(say("sample_weight holds {value:g}; a weight is at least 0", value=weights.min()))
        kept = weights > 0
        if not kept.any():
            raise DataError(say("sample_weight: every weight is zero, so no row is left to learn from"))
        return X[kept], y[kept], weights[kept]

    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError(self)

    def _setting(self, name: str, known: Mapping[str, Any]) -> Any:
        given = {name: plain(getattr(self, name))}
        return check_settings({name: known[name]}, given, type(self).__name__)[name]

    def _batch_size(self, rows: int) -> int:
        size = self._setting("batch_size", DATA)
        if size == "auto":
            return rows if rows <= FULL_BATCH else BATCH
        return min(size, rows)

    # training ------------------------------------------------------------------------------------------------

    def _begin(self, X: np.ndarray, weights: Any) -> None:
        """Settle what the first rows decide: scaling, number type, loss, and the network with its first weights."""
        self._seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        sizes = [X.shape[1]] if self.input_shape is None else plain(self.input_shape)
        kind, axes = next(((kind, axes) for kind, axes in AXES.items() if len(axes) == len(sizes)))
        shape = {"kind": kind, **dict(zip(axes, sizes))}
        if np.prod(sizes) != X.shape[1]:
            raise DataError(
                say("input_shape {shape} holds {count} numbers; a row has {features}",
                    shape=tuple(sizes), count=int(np.prod(sizes)), features=X.shape[1])
            )
        self._shape = tuple(sizes)
        if self.standardize:
            self._inputs = Scaling.fit(X, weights, sizes[0] if len(sizes) == 3 else 0)
        else:
            self._inputs = Scaling(np.zeros(X.shape[1]), np.ones(X.shape[1]))
        named = isinstance(self.network, (str, Mapping))
        table = chosen(NETWORKS, self.network, "mlp", hidden=self._hidden()) if named else {"name": ""}
        facts = NETWORKS[table["name"]].facts if named else {}
        usual = facts.get("loss") or ("cross_entropy" if self._task == "classify" else "mse")
        self._loss = chosen(LOSSES, self.loss, usual)
        self._rule = facts.get("optimizer", "adam")
        outputs = head(self._outputs, self._loss["name"])
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed_of(self._seed, "init"))
            if named:
                recipe = Recipe(self._seed, {"network": table, "loss": self._loss})
                network = build(recipe, shape, self._outputs)
                network = network.to(torch.float64 if len(X) <= FULL_BATCH else torch.float32)
            else:
                network = deepcopy(self.network) if isinstance(self.network, nn.Module) else self.network(shape, outputs)
        self.network_ = network
        self.n_iter_, self.loss_curve_, self._steps = 0, [], 0

    def _hidden(self) -> Any:
        hidden = plain(self.hidden)
        return [hidden] if isinstance(hidden, int) else hidden

    @property
    def _dtype(self) -> torch.dtype:
        types = [p.dtype for p in self.network_.parameters() if p.is_floating_point()]
        return types[0] if types else torch.float32

    def _encoded(self, X: np.ndarray) -> Tensor:
        return torch.tensor(self._inputs.apply(X), dtype=self._dtype).reshape(len(X), *self._shape)

    def _train(self, X: np.ndarray, y: np.ndarray, weights: Any, size: int, epochs: int, schedule: Any) -> None:
        device = launch({"device": self.device, "threads": 1, "precision": "float32"}).device
        scaled = None if weights is None else torch.tensor(weights / weights.mean(), dtype=self._dtype, device=device)
        rows = Rows(
            self._encoded(X).to(device), self._encode_targets(y).to(device), scaled, np.arange(len(X)), size, self._seed
        )
        model = self.network_.to(device)
        rule = chosen(OPTIMIZERS, self.optimizer, self._rule, lr=self.lr, weight_decay=self.weight_decay)
        own = getattr(model, "optimizers", None)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizers = own() if own is not None else {"main": OPTIMIZERS[rule["name"]](parameters, **settings(rule))}
        plan = chosen(SCHEDULES, schedule, "linear")
        state = State(
            model=model, optimizers=optimizers,
            objective=getattr(model, "objective", None) or weighted(self._loss["name"], settings(self._loss)),
            seed=self._seed, device=device, total_steps=rows.per_epoch * epochs,
            schedule=lambda step, total: SCHEDULES[plan["name"]].build(step, total, **settings(plan)),
            step=self._steps, epoch=self.n_iter_,
        )  # fmt: skip
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.enable_grad():
            for step in steps(state, rows, self.n_iter_ + epochs):
                if step.epoch_done:
                    self.loss_curve_.append(state.take_mean("epoch"))
                    if self.verbose:
                        print(say("epoch {epoch}: loss {loss:.6g}", epoch=step.epoch + 1, loss=self.loss_curve_[-1]))
        self.n_iter_, self._steps = state.epoch, state.step
        self.network_ = model.to("cpu").eval()

    # outputs -------------------------------------------------------------------------------------------------

    def _scores(self, X: Any) -> Tensor:
        """The network's outputs, float64 (rows, units)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        device = launch({"device": self.device, "threads": 1, "precision": "float32"}).device
        model = self.network_ if device.type == "cpu" else deepcopy(self.network_).to(device)
        with evaluating(model):
            found = [model(self._encoded(part).to(device)).double().cpu() for part in np.split(X, range(CHUNK, len(X), CHUNK))]
        return torch.cat(found)


class NetClassifier(ClassifierMixin, Net):
    """A network that tells classes apart, with scikit-learn's interface."""

    _task = "classify"

    def __init__(
        self,
        network: Any = "mlp",
        *,
        hidden: Any = None,
        input_shape: Any = None,
        loss: Any = "auto",
        optimizer: Any = "auto",
        lr: float | None = None,
        weight_decay: float | None = None,
        schedule: Any = "auto",
        epochs: int | str = "auto",
        batch_size: int | str = "auto",
        class_weight: Any = None,
        standardize: bool = True,
        random_state: Any = 0,
        device: str = "cpu",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            network, hidden=hidden, input_shape=input_shape, loss=loss, optimizer=optimizer, lr=lr,
            weight_decay=weight_decay, schedule=schedule, epochs=epochs, batch_size=batch_size,
            standardize=standardize, random_state=random_state, device=device, verbose=verbose,
        )  # fmt: skip
        self.class_weight = class_weight

    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(self, X, y, dtype=np.float64, reset=reset)
        check_classification_targets(y)
        return X, y

    def _learn_targets(self, y: np.ndarray, weights: Any) -> None:
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise DataError(say("y holds one class only ({name}); two classes are needed", name=self.classes_[0]))

    @property
    def _outputs(self) -> dict[str, Any]:
        return {"kind": "class", "count": len(self.classes_)}

    def _encode_targets(self, y: np.ndarray) -> Tensor:
        return torch.from_numpy(np.searchsorted(self.classes_, y))

    def decision_function(self, X: Any) -> np.ndarray:
        scores = self._scores(X)
        if scores.shape[1] == 2:
            return (scores[:, 1] - scores[:, 0]).numpy()
        return scores.squeeze(1).numpy() if scores.shape[1] == 1 else scores.numpy()

    def predict(self, X: Any) -> np.ndarray:
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        return self._scores(X).softmax(1).numpy()


class NetRegressor(RegressorMixin, Net):
    """A network that predicts numbers, with scikit-learn's interface."""

    _task = "regress"

    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(self, X, y, dtype=np.float64, reset=reset, multi_output=True, y_numeric=True)
        return X, y.astype(np.float64)

    def _learn_targets(self, y: np.ndarray, weights: Any) -> None:
        self._single = y.ndim == 1
        wide = y.reshape(len(y), -1)
        if self.standardize:
            self._targets = Scaling.fit(wide, weights)
        else:
            self._targets = Scaling(np.zeros(wide.shape[1]), np.ones(wide.shape[1]))

    @property
    def _outputs(self) -> dict[str, Any]:
        return {"kind": "number", "count": len(self._targets.mean)}

    def _encode_targets(self, y: np.ndarray) -> Tensor:
        return torch.tensor(self._targets.apply(y.reshape(len(y), -1)), dtype=self._dtype)

    def predict(self, X: Any) -> np.ndarray:
        found = self._targets.undo(self._scores(X).numpy())
        return found[:, 0] if self._single else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
