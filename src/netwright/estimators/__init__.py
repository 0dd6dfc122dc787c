"""Networks as scikit-learn estimators: `NetClassifier` and `NetRegressor` for pipelines, searches and cross-validation.

    GridSearchCV(make_pipeline(StandardScaler(), NetClassifier(network="mlp", epochs=30)),
                 {"netclassifier__lr": [1e-3, 1e-2]})

They train in the one loop that everything here trains in, write nothing to disk, and leave the random states of NumPy
and torch and the number of threads as they were.
"""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data
from torch import Tensor

from netwright.catalogue import LOSSES
from netwright.errors import DataError, UsageError, hint
from netwright.estimators.net import Net, network_facts, plain
from netwright.estimators.rows import Scaling
from netwright.language import say
from netwright.training.plan import link_of

__all__ = ["NetClassifier", "NetRegressor"]


def _has_probabilities(estimator: "NetClassifier") -> bool:
    """Whether the loss has a link to probabilities; hinge and perceptron have none."""
    loss = estimator.loss.get("name", "auto") if isinstance(estimator.loss, Mapping) else estimator.loss
    if isinstance(loss, str) and loss == "auto":
        loss = network_facts(estimator.network).get("loss", "cross_entropy")
    return not isinstance(loss, str) or loss not in LOSSES or LOSSES[loss].facts["link"] != "identity"


class NetClassifier(ClassifierMixin, Net):
    """A network that tells classes apart, with scikit-learn's interface.

    network: a name of the catalogue (`netwright list networks`), a table such as `{"name": "mlp", "norm": "batch"}`, a
        `torch.nn.Module` (copied at `fit`; it gives logits), or a function `(inputs, outputs)` that returns one.
    hidden: sizes of the hidden layers, `(64, 64)` or `64`, for networks that have this setting. None: its default.
    input_shape: how to read a row: `(steps, features)` or `(channels, height, width)`. None: as a vector.
    loss: a name or table of the catalogue; "auto": the network's own, else cross_entropy (mse for numbers).
    optimizer: a name or table; "auto": the network's own; on vectors AdamW with rate 0.005 and, for networks by
        name, weight decay 2000 / rows, at most 2; on pictures and sequences Adam.
    lr, weight_decay: the optimizer's settings of those names. None: its defaults.
    schedule: a name or table; "linear": the rate falls in a straight line to 0 over `fit`.
    epochs: passes over the rows; "auto": about 1,500 updates, in 10 to 300 epochs.
    batch_size: rows a step; "auto": all of them up to 256 rows (copies counted), else 64.
    class_weight: None, "balanced" (rows / (classes * rows of the class)), or `{label: weight}`, 1 where left out.
    standardize: bring every column to mean 0 and deviation 1 (pictures: every channel), and numbers to predict, too.
    random_state: 0 by default, so that a training repeats; None draws a seed from NumPy's global state.
    device: "cpu", "cuda", "cuda:1" or "auto". verbose: 1 prints the loss of each epoch.

    Numbers: a network of the catalogue trains in float64 on up to 256 rows, where rounding is all that parts weights
    from copies, and in float32 above; a module of your own in the type of its weights.

    Weights: in mini-batches a row of whole-number weight 3 comes three times an epoch (while the weights add up to at
    most 10 times the rows); other weights, and all weights in a single batch, multiply the row's loss.

    After `fit`: `classes_`, `n_features_in_`, `feature_names_in_`, `n_iter_` (epochs), `loss_curve_` (the mean loss of
    each epoch) and `network_`, the trained module, on the CPU. Files of pickle and joblib run code when they are
    loaded: load only your own.
    """

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
        schedule: Any = "linear",
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

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One more epoch over these rows, at a constant rate. The first call wants `classes`: all labels to come."""
        first = not hasattr(self, "network_")
        if isinstance(self.class_weight, str):
            raise UsageError(say("class_weight={weight!r} wants all rows at once; give partial_fit a dict",
                                 weight=self.class_weight))  # fmt: skip
        if first and classes is None:
            raise UsageError(say("classes must be passed on the first call to partial_fit: all labels there will be"))
        given = None if classes is None else np.unique(np.asarray(classes))
        if first:
            self._wanted = given
        elif given is not None and not np.array_equal(given, self.classes_):
            raise UsageError(say("classes={given} differ from those of the first call, {known}",
                                 given=given.tolist(), known=self.classes_.tolist()))  # fmt: skip
        try:
            return self._partial(X, y, sample_weight, first)
        finally:
            self._wanted = None

    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(self, X, y, dtype=np.float64, order="C", reset=reset)
        check_classification_targets(y)
        return X, y

    _wanted: np.ndarray | None = None
    """The classes that the first `partial_fit` was told of."""

    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        self.classes_ = np.unique(y) if self._wanted is None else self._wanted
        if len(self.classes_) < 2:
            raise DataError(say("y holds one class only ({name}); two classes are needed", name=self.classes_[0]))
        if len(self.classes_) > 2 and not self.__sklearn_tags__().classifier_tags.multi_class:
            text = say(
                "network {name!r} decides between two classes; y holds {count}. Use network {other!r}.",
                name=self.network, count=len(self.classes_), other="softmax",
            )  # fmt: skip
            theirs = "Only binary classification is supported."  # scikit-learn's words: its checks look for them
            raise DataError(f"{theirs} {text}")
        self._outputs = {"kind": "class", "count": len(self.classes_)}

    def _encode_targets(self, y: np.ndarray) -> Tensor:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            text = say("y holds {name!r}, which is not among the classes.", name=plain(unknown[0]))
            raise DataError(text + " " + hint(str(unknown[0]), map(str, self.classes_)))
        return torch.from_numpy(np.searchsorted(self.classes_, y))

    def _class_weights(self, targets: Tensor, weights: np.ndarray | None) -> np.ndarray | None:
        """The weight of each row's class; weighted rows count by their weights, as copies do."""
        given, numbers, labels = plain(self.class_weight), targets.numpy(), plain(self.classes_)
        if given is None:
            return None
        if isinstance(given, str) and given == "balanced":
            shares = np.bincount(numbers, weights, minlength=len(labels))
            return (shares.sum() / (len(labels) * np.maximum(shares, 1e-300)))[numbers]
        if not isinstance(given, Mapping):
            near = hint(str(given), ["balanced"]) if isinstance(given, str) else ""
            text = say(
                "class_weight = {given!r}; it is None, 'balanced' or {{label: weight}}.", given=self.class_weight
            )
            raise UsageError(f"{text} {near}".rstrip())
        unknown = [label for label in given if label not in labels]
        if unknown and not set(labels) <= given.keys():  # a class that this fold lacks is no mistake, a wrong name is
            text = say("class_weight names {name!r}, which is not among the classes.", name=unknown[0])
            raise UsageError(text + " " + hint(str(unknown[0]), map(str, labels)))
        for label, value in given.items():
            if not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise UsageError(
                    say("class_weight of {name!r} = {value!r}; it is a number of at least 0", name=label, value=value)
                )
        return np.array([float(given.get(label, 1)) for label in labels])[numbers]

    def _logits(self, X: Any) -> Tensor:
        """Scores (rows, classes) whose softmax gives the probabilities, float64.

        One sigmoid unit z speaks for the second class: (0, z). A sigmoid for each class, each against the rest, is
        normalised: softmax(log sigmoid(z)) = sigmoid(z) / sum of sigmoid(z).
        """
        scores = self._scores(X)
        if scores.shape[1] == 1:
            return F.pad(scores, (1, 0))
        return F.logsigmoid(scores) if link_of(self._loss["name"], self._loss) == "sigmoid" else scores

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores: two classes (rows,), above 0 for the second; more classes (rows, classes), the largest wins."""
        logits = self._logits(X).numpy()
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict(self, X: Any) -> np.ndarray:
        """The label of the highest score, for each row."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(np.int64) if scores.ndim == 1 else scores.argmax(1)]

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (rows, classes) in the order of `classes_`."""
        return self._logits(X).softmax(1).numpy()

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The natural logarithm of the probabilities, without rounding them to 0 first."""
        return self._logits(X).log_softmax(1).numpy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = network_facts(self.network).get("classes") != 2
        return tags


class NetRegressor(RegressorMixin, Net):
    """A network that predicts numbers, one or several a row, with scikit-learn's interface.

    The parameters are those of `NetClassifier` without `class_weight`. With `standardize` the targets, too, are brought
    to mean 0 and deviation 1, and predictions come back in their own units; a loss's settings (the `beta` of smooth_l1)
    then count in deviations.
    """

    _task = "regress"

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One more epoch over these rows, at a constant rate. The first call fits the scaling of rows and targets."""
        return self._partial(X, y, sample_weight, first=not hasattr(self, "network_"))

    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        rules = {"dtype": np.float64, "order": "C", "multi_output": True, "y_numeric": True}
        X, y = validate_data(self, X, y, reset=reset, **rules)
        columns = 1 if y.ndim == 1 else y.shape[1]
        if not reset and columns != self._outputs["count"]:
            raise DataError(say("y has {found} columns; the network predicts {count}",
                                found=columns, count=self._outputs["count"]))  # fmt: skip
        return X, y.astype(np.float64)

    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        self._flat = y.ndim == 1
        wide = y.reshape(len(y), -1)
        self._targets = Scaling.fit(wide, weights) if self.standardize else Scaling.none(wide.shape[1])
        self._outputs = {"kind": "number", "count": wide.shape[1]}

    def _encode_targets(self, y: np.ndarray) -> Tensor:
        return torch.from_numpy(self._targets.apply(y.reshape(len(y), -1)))

    def predict(self, X: Any) -> np.ndarray:
        """Numbers in the targets' own units: (rows,), or (rows, targets) where `y` had columns."""
        scores = self._scores(X).numpy()
        found = self._targets.undo(scores)
        return found[:, 0] if self._flat else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
