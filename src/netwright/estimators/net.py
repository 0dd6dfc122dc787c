"""What the two estimators share: parameters, checks, training, and outputs."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_is_fitted, check_random_state, validate_data
from torch import Tensor, nn
from torch.optim import Optimizer

from netwright.catalogue import LOSSES, NETWORKS, OPTIMIZERS, SCHEDULES, Family, Range, check_settings, settings_of
from netwright.errors import DataError, UsageError, first_line, hint
from netwright.estimators.rows import Rows, Scaling, copies, weighted
from netwright.language import say
from netwright.networks.shapes import AXES
from netwright.parts.schedules import scheduled
from netwright.randomness import seed_of
from netwright.recipe import Recipe
from netwright.training.forward import evaluating
from netwright.training.launch import launch
from netwright.training.loop import NonFinite, steps
from netwright.training.objective import on_outputs
from netwright.training.plan import FULL_BATCH, build, head
from netwright.training.published import with_weights
from netwright.training.state import State

BATCH = 64
"""Rows of a mini-batch by default, in tables of more than `FULL_BATCH` rows."""
UPDATES = 1500
"""About so many updates a training makes by default, within 10 to 300 epochs."""
LR, DECAY_ROWS, MOST_DECAY = 5e-3, 2000, 2.0
"""AdamW for vectors: this rate, and weight decay DECAY_ROWS / rows, at most MOST_DECAY. Chosen on 16 tables of 120
to 40,000 training rows (iris, wine, digits, diabetes, MNIST, noisy and clean synthetic ones): without decay the small
noisy ones lose 1 to 9 points, and decay 1 costs the large clean ones up to 7."""
CHUNK = 4096
"""Rows that go through the network at once when predicting."""
Auto = Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class Simple:
    """The parameters that are no parts of the catalogue, with their limits."""

    epochs: Annotated[int | Auto, Range(1, 10**9)] = "auto"
    batch_size: Annotated[int | Auto, Range(1, 10**9)] = "auto"
    standardize: bool = True
    device: str = "cpu"
    verbose: Annotated[int | bool, Range(0)] = 0


SIMPLE = settings_of(Simple)


class Net(BaseEstimator):
    """A network behind scikit-learn's interface; see `NetClassifier` for the parameters."""

    _task = ""
    loss_curve_: list[float]
    _moments: dict[str, dict[int, dict[str, Any]]]
    """What each optimizer remembers, between calls of `partial_fit`."""
    _outputs: dict[str, Any]
    """What the targets say about the network's last layer."""

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
        schedule: Any = "linear",
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
        """Train a new network. `X`: (rows, features) numbers, an array or a data frame; `y`: one target a row.

        `sample_weight`: a number >= 0 for each row; 0 is as if the row were not there, 3 as if it were there 3 times.
        Errors: DataError for data, UsageError for parameters and where training diverges (both are ValueErrors).
        """
        simple = self._simple()
        X, y, weights = self._read(X, y, sample_weight, reset=True)
        self._learn_targets(y, weights)
        targets = self._encode_targets(y)
        self._begin(X, weights, simple["standardize"])
        self._train(X, targets, weights, simple, self.schedule, fresh=True)
        self._moments = {}  # the rate ended at 0: a partial_fit afterwards starts with fresh moments
        return self

    def _partial(self, X: Any, y: Any, sample_weight: Any, first: bool) -> Self:
        """One more epoch over these rows; the first call builds the network and fits the scaling."""
        simple = self._simple()
        X, y, weights = self._read(X, y, sample_weight, reset=first)
        if first:
            self._learn_targets(y, weights)
        targets = self._encode_targets(y)
        if first:
            self._begin(X, weights, simple["standardize"])
        self._train(X, targets, weights, {**simple, "epochs": 1}, "constant", fresh=False)
        return self

    # parameters and data -------------------------------------------------------------------------------------

    def _simple(self) -> dict[str, Any]:
        """The simple parameters, checked."""
        return check_settings(SIMPLE, {name: plain(getattr(self, name)) for name in SIMPLE}, type(self).__name__)

    def _read(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> tuple[np.ndarray, np.ndarray, Any]:
        """Rows, targets and weights (or None) as arrays; rows of weight 0 are left out."""
        X, y = self._validated(X, y, reset)
        if sample_weight is None:
            return X, y, None
        weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
        weights = np.full(len(X), float(weights)) if weights.ndim == 0 else weights
        if weights.shape != (len(X),):
            raise DataError(
                say("sample_weight has shape {found}; X has {count} rows", found=weights.shape, count=len(X))
            )
        if (weights < 0).any():
            raise DataError(say("sample_weight holds {value:g}; a weight is at least 0", value=weights.min()))
        kept = weights > 0
        if not kept.any():
            raise DataError(say("sample_weight: every weight is zero, so no row is left to learn from"))
        return X[kept], y[kept], weights[kept]

    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """`X` as float64 and `y`, past scikit-learn's checks."""
        raise AssertionError("each estimator has its own")

    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        """Learn from the first targets what the network's last layer has to give; set `_outputs`."""
        raise AssertionError("each estimator has its own")

    def _encode_targets(self, y: np.ndarray) -> Tensor:
        """Targets as the loss reads them: class numbers (rows,) or scaled numbers (rows, targets)."""
        raise AssertionError("each estimator has its own")

    def _class_weights(self, targets: Tensor, weights: np.ndarray | None) -> np.ndarray | None:
        return None

    def _sizes(self, features: int) -> tuple[int, ...]:
        """The shape of one example: `input_shape`, or the features as one vector."""
        sizes = [features] if self.input_shape is None else plain(self.input_shape)
        if not (isinstance(sizes, list) and 1 <= len(sizes) <= 3 and all(type(n) is int and n > 0 for n in sizes)):
            raise UsageError(
                say("input_shape = {shape!r}; it is (features,), (steps, features) or (channels, height, width)",
                    shape=self.input_shape)
            )  # fmt: skip
        if np.prod(sizes) != features:
            raise DataError(
                say("input_shape {shape} holds {count} numbers; a row of X has {features}",
                    shape=tuple(sizes), count=int(np.prod(sizes)), features=features)
            )  # fmt: skip
        return tuple(sizes)

    # training ------------------------------------------------------------------------------------------------

    def _begin(self, X: np.ndarray, weights: np.ndarray | None, standardize: bool) -> None:
        """Settle what the first rows decide: scaling, loss, number type, and the network with its first weights."""
        self._seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        self._shape = self._sizes(X.shape[1])
        runs = self._shape[0] if len(self._shape) == 3 else 0
        self._inputs = Scaling.fit(X, weights, runs) if standardize else Scaling.none(X.shape[1])
        picks = copies(weights)
        kind = next(kind for kind, axes in AXES.items() if len(axes) == len(self._shape))
        inputs = {"kind": kind, **dict(zip(AXES[kind], self._shape, strict=True))}
        facts = network_facts(self.network)
        usual = facts.get("loss") or ("cross_entropy" if self._task == "classify" else "mse")
        self._loss = chosen(LOSSES, self.loss, usual)
        match(self._loss["name"], self._task)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed_of(self._seed, "init"))
            self.network_ = self._new_network(inputs, len(X if picks is None else picks))
            self._try(X[:2])
        self.n_iter_, self.loss_curve_, self._steps, self._moments = 0, [], 0, {}

    def _new_network(self, inputs: dict[str, Any], rows: int) -> nn.Module:
        """The network with its first weights: by name, a copy of the module given, or what a function makes."""
        if isinstance(self.network, (str, Mapping)):
            hidden = [self.hidden] if isinstance(plain(self.hidden), int) else self.hidden
            table = chosen(NETWORKS, self.network, "mlp", hidden=hidden)
            recipe = Recipe(self._seed, {"network": table, "loss": self._loss})
            network = with_weights(build(recipe, inputs, self._outputs), recipe)
            return network.to(torch.float64 if rows <= FULL_BATCH else torch.float32)
        if self.hidden is not None:
            raise UsageError(say("hidden belongs to networks by name; a module of your own has its own layers"))
        if isinstance(self.network, nn.Module):
            return deepcopy(self.network)
        ends = head(self._outputs, self._loss["name"], self._loss)
        made = self.network(inputs, ends) if callable(self.network) else None
        if not isinstance(made, nn.Module):
            raise UsageError(
                say("network = {given!r}; it is a name, a table, a torch.nn.Module, or a function "
                    "(inputs, outputs) that returns one", given=self.network)
            )  # fmt: skip
        return made

    def _try(self, X: np.ndarray) -> None:
        """Let the new network read two rows, so that one that does not fit is refused before training."""
        wanted = (len(X), head(self._outputs, self._loss["name"], self._loss)["units"])
        self.network_.eval()
        try:
            with torch.no_grad():  # not inference mode: a lazy module makes its weights here
                found = self.network_(self._encoded(X))
        except RuntimeError as error:
            raise UsageError(say("the network cannot read inputs of shape {shape}: {why}",
                                 shape=self._shape, why=first_line(error))) from None  # fmt: skip
        if not isinstance(found, Tensor) or found.shape != wanted:
            came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UsageError(
                say("the network gives {came} for {rows} rows; loss {loss!r} wants the shape {wanted}",
                    came=came, rows=len(X), loss=self._loss["name"], wanted=wanted)
            )  # fmt: skip

    def _train(
        self, X: np.ndarray, targets: Tensor, weights: Any, simple: dict[str, Any], schedule: Any, fresh: bool
    ) -> None:
        """Run the loop. `fresh`: weights are brought to mean 1; else they keep their size from call to call."""
        device = place(simple["device"])
        rows, count = self._rows(X, targets, weights, simple["batch_size"], fresh, device)
        epochs = simple["epochs"]
        if epochs == "auto":
            epochs = min(300, max(10, round(UPDATES / rows.per_epoch)))
        model = self.network_.to(device)
        optimizers = self._optimizers(model, count if fresh else 0)
        plan = chosen(SCHEDULES, schedule, "linear")
        loss = on_outputs(self._loss["name"], settings(self._loss), getattr(self, "_targets", None))
        state = State(
            model=model, optimizers=optimizers, seed=self._seed, device=device,
            objective=getattr(model, "objective", None) or weighted(loss),
            total_steps=self._steps + rows.per_epoch * epochs, step=self._steps, epoch=self.n_iter_,
            schedule=scheduled(plan["name"], settings(plan), self.loss_curve_),
        )  # fmt: skip
        try:
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.enable_grad():
                for step in steps(state, rows, self.n_iter_ + epochs):  # type: ignore[arg-type]
                    if step.epoch_done:
                        self._note(step.epoch + 1, state.tally.mean("epoch"), simple["verbose"])
        except NonFinite as error:
            text = say("a smaller lr, standardize=True or rows without giant numbers may cure it")
            raise UsageError(f"{type(self).__name__}: {error}; {text}") from None
        finally:
            self.n_iter_, self._steps = state.epoch, state.step
            self.network_ = model.to("cpu").eval()  # so that a fitted estimator can be pickled and used anywhere
            self._moments = {name: moments(optimizer) for name, optimizer in optimizers.items()}

    def _note(self, epoch: int, loss: float, verbose: int) -> None:
        self.loss_curve_.append(loss)
        if verbose:
            print(say("epoch {epoch}: loss {loss:.6g}", epoch=epoch, loss=loss))

    def _rows(
        self, X: np.ndarray, targets: Tensor, weights: Any, size: int | str, fresh: bool, device: torch.device
    ) -> tuple[Rows, int]:
        """The batches of an epoch, and how many rows there are with copies counted."""
        picks = copies(weights)
        count = len(X) if picks is None else len(picks)
        if size == "auto":
            size = count if count <= FULL_BATCH else BATCH
        pull = self._class_weights(targets, weights)
        if picks is None or count <= int(size):  # one batch: weights and copies are the same
            picks = np.arange(len(X))
            pull = weights if pull is None else pull if weights is None else weights * pull
        if pull is not None and fresh:
            pull = pull / max(pull[picks].mean(), 1e-300)
        scaled = None if pull is None else torch.tensor(pull, dtype=self._dtype, device=device)
        targets = targets.to(device, self._dtype if targets.is_floating_point() else targets.dtype)
        return Rows(self._encoded(X).to(device), targets, scaled, picks, int(size), self._seed), count

    def _optimizers(self, model: nn.Module, rows: int) -> dict[str, Optimizer]:
        """The optimizers by name, with the moments of the `partial_fit` before; `rows` is 0 where more will come."""
        own = getattr(model, "optimizers", None)
        if own is not None:
            found = own()
        else:
            parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
            table = self._rule(rows)
            found = {table["name"]: OPTIMIZERS[table["name"]](parameters, **settings(table))} if parameters else {}
        for name, optimizer in found.items():
            if self._moments.get(name):
                optimizer.load_state_dict({**optimizer.state_dict(), "state": self._moments[name]})
        return found

    def _rule(self, rows: int) -> dict[str, Any]:
        """The optimizer's table: as asked, the network's own, AdamW for vectors, Adam for all else."""
        usual = network_facts(self.network).get("optimizer", "adam")
        lr, decay = self.lr, self.weight_decay
        if isinstance(self.optimizer, str) and self.optimizer == "auto" and usual == "adam" and len(self._shape) == 1:
            usual = "adamw"
            lr = LR if lr is None else lr
            if rows and decay is None and isinstance(self.network, (str, Mapping)):
                decay = min(MOST_DECAY, DECAY_ROWS / rows)  # not for a module of one's own: it may hold trained weights
        return chosen(OPTIMIZERS, self.optimizer, usual, lr=lr, weight_decay=decay)

    # outputs -------------------------------------------------------------------------------------------------

    @property
    def _dtype(self) -> torch.dtype:
        types = [tensor.dtype for tensor in self.network_.parameters() if tensor.is_floating_point()]
        return types[0] if types else torch.float32

    def _encoded(self, X: np.ndarray) -> Tensor:
        return torch.tensor(self._inputs.apply(X), dtype=self._dtype).reshape(len(X), *self._shape)

    def _scores(self, X: Any) -> Tensor:
        """The network's outputs, float64 (rows, units)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        device = place(self._simple()["device"])
        model = self.network_ if device.type == "cpu" else deepcopy(self.network_).to(device)
        with evaluating(model):
            parts = [X[first : first + CHUNK] for first in range(0, len(X), CHUNK)]
            return torch.cat([model(self._encoded(part).to(device)).double().cpu() for part in parts])


def plain(value: Any) -> Any:
    """NumPy's numbers (from search grids) and tuples as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(one) for one in value]
    return {key: plain(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def chosen(family: Family, given: Any, default: str, **more: Any) -> dict[str, Any]:
    """A part's table, name and every setting, from a name, a table or "auto"; `more` that is None is left out."""
    table = dict(plain(given)) if isinstance(given, Mapping) else {"name": given}
    name = table.pop("name", default)
    if not isinstance(name, str):
        raise UsageError(
            say("{family}: {given!r} came; it is a name or a table. {near}",
                family=family.name, given=given, near=hint("", family))
        )  # fmt: skip
    part = family[default if name == "auto" else name]
    table |= {key: plain(value) for key, value in more.items() if value is not None}
    return {"name": part.name, **part.defaults(), **part.check(table)}


def settings(table: dict[str, Any]) -> dict[str, Any]:
    """A part's table without its name."""
    return {name: value for name, value in table.items() if name != "name"}


def network_facts(network: Any) -> dict[str, Any]:
    """What the catalogue says about a network by name; nothing about others and about modules of one's own."""
    name = network.get("name", "mlp") if isinstance(network, Mapping) else network
    return NETWORKS[name].facts if isinstance(name, str) and name in NETWORKS else {}


def match(loss: str, task: str) -> None:
    """Refuse a loss for classes on numbers, and the other way round."""
    wants = "number" if task == "regress" else "class index"
    good = [name for name, part in LOSSES.items() if part.facts["target"] == wants]
    if loss not in good:
        wanted = say("numbers") if task == "regress" else say("classes")
        raise UsageError(
            say("loss {loss!r} does not fit targets that are {wanted}. {near}",
                loss=loss, wanted=wanted, near=hint(loss, good))
        )  # fmt: skip


def place(device: str) -> torch.device:
    """The device of that name; one that is not here is refused."""
    return launch({"device": device, "threads": 1, "precision": "float32"}).device


def moments(optimizer: Optimizer) -> dict[int, dict[str, Any]]:
    """An optimizer's memory on the CPU, by the number of the parameter."""
    state = optimizer.state_dict()["state"]
    return {
        number: {key: value.cpu() if isinstance(value, Tensor) else value for key, value in entry.items()}
        for number, entry in state.items()
    }
