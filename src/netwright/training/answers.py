"""What a network says to a split, whatever its task: mean loss, predictions in the task's form, and their metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from netwright.catalogue import METRICS
from netwright.data.batches import Batch, Inputs, by_length, padded
from netwright.data.dataset import Dataset
from netwright.data.sequence_targets import NextTokens, TagTargets, TokenTargets
from netwright.data.sounds.pairs import pairs_for_verification
from netwright.errors import DataError
from netwright.parts.metrics import Likelihoods, arguments
from netwright.parts.sequences import END, Ragged, Sequences
from netwright.training.forward import LEAST, Forward, evaluating
from netwright.training.number_type import number_type
from netwright.training.objective import Draw, Objective, Terms, objective_of

BY_TOKEN = ("tag", "generate", "translate", "transcribe")
"""Tasks whose answers are sequences of numbers, in place of one row of them."""


@dataclass
class Answers:
    """Loss and predictions for some examples."""

    loss: float
    predictions: Any
    """Class probabilities (N, K); numbers (N,) or (N, horizon); one list of tags, or one text, an example."""
    likelihoods: Likelihoods | None = None
    """How likely the true tokens were, where the task has tokens."""
    naive_error: float | None = None
    """What the errors of a forecast are measured by."""
    truth: Any = None
    """What should have been said, where it is not what `truths` gives: of a verified pair whether it is one speaker."""
    outputs: torch.Tensor | None = None
    """The network's plain outputs, where they are one row an example."""

    @property
    def broken(self) -> list[int]:
        """The examples without a finite answer."""
        if self.outputs is not None:
            return (~self.outputs.isfinite().all(1)).nonzero().flatten().tolist()
        assert self.likelihoods is not None
        return np.flatnonzero(~np.isfinite(self.likelihoods.nats)).tolist()

    def of(self, metric: str, truth: Any) -> float | None:
        """The value of a metric of this task; None where it has none here."""
        return METRICS[metric].build(*self.arguments(metric, truth))

    def arguments(self, metric: str, truth: Any) -> tuple[Any, ...]:
        """What a metric is computed from."""
        return arguments(metric, truth, self.predictions, naive_error=self.naive_error, likelihoods=self.likelihoods)


def deciding(dataset: Dataset) -> str:
    """What tells the best epoch: the task's first metric, or the loss where too few recordings make pairs."""
    if dataset.task == "verify" and dataset.examples["validation"]:
        try:
            dataset.pairs("validation")
        except DataError:
            return "loss"
    return dataset.targets.watched[0]


def needs_decoding(names: Sequence[str]) -> bool:
    """Whether any of these metrics looks at what a network writes, and not only at likelihoods."""
    return any(METRICS[name].facts.get("reads") != "likelihoods" for name in names)


def answers(
    forward: Forward, dataset: Dataset, split: str, places: np.ndarray | None = None, decode: bool = True
) -> Answers:
    """What the network says to a split, or to `places` in it; without `decode` texts are not written, only judged."""
    if dataset.task == "verify":
        return _verified(forward, dataset, split, places)
    if dataset.task not in BY_TOKEN:
        outputs = forward.split_outputs(dataset, split, places)
        targets = dataset.target_tensor(split)
        targets = targets if places is None else targets[torch.from_numpy(places)]
        naive = getattr(dataset.targets, "naive_error", None)
        return Answers(forward.mean_loss(outputs, targets), forward.predictions(outputs), None, naive, outputs=outputs)
    return _by_token(forward, dataset, split, places, decode)


def _verified(forward: Forward, dataset: Dataset, split: str, places: np.ndarray | None) -> Answers:
    """Scores of pairs of recordings: the cosine of what the network makes of each."""
    inputs, whole = dataset.sequences(split)[0], places is None
    places = np.arange(len(inputs)) if places is None else places
    targets = dataset.target_tensor(split)
    model = forward.model
    vectors = forward.ragged_outputs(inputs, places, model.embed)  # type: ignore[arg-type]
    if hasattr(model, "scores_of"):  # the rest of the network, behind the vectors
        with evaluating(model), number_type(forward.device, forward.precision):
            outputs = model.scores_of(vectors).float()  # type: ignore[operator]
    else:
        outputs = forward.ragged_outputs(inputs, places)
    loss = forward.mean_loss(outputs, targets[torch.from_numpy(places)])
    try:
        pairs = dataset.pairs(split) if whole else pairs_for_verification(dataset.raw_targets(split)[places], 0)
    except DataError:  # too few recordings: they are judged by the loss alone
        return Answers(loss, np.zeros(0), truth=np.zeros(0, int), outputs=torch.zeros(0, 1))
    vectors = unit_length(vectors)
    scores = (vectors[pairs.first] * vectors[pairs.second]).sum(1)
    return Answers(loss, scores.numpy(), truth=pairs.same.astype(int), outputs=scores[:, None])


def embedded(forward: Forward, inputs: Ragged) -> torch.Tensor:
    """The vector of each recording, of length 1, float64 (N, size)."""
    return unit_length(forward.ragged_outputs(inputs, np.arange(len(inputs)), forward.model.embed))  # type: ignore[arg-type]


def unit_length(vectors: torch.Tensor) -> torch.Tensor:
    """Each vector divided by its length, float64 on the CPU."""
    return torch.nn.functional.normalize(vectors.double().cpu(), dim=1)


def _by_token(forward: Forward, dataset: Dataset, split: str, places: np.ndarray | None, decode: bool) -> Answers:
    inputs, targets = Inputs(dataset, split, forward.device), dataset.encoded_targets(split)
    assert isinstance(targets, Ragged)
    places = np.arange(len(targets)) if places is None else places
    lengths = (targets if inputs.ragged is None else inputs.ragged).lengths[places]
    objective = objective_of(forward.model, dataset.task, forward.loss, forward.loss_settings)
    plain = objective_of(forward.model, dataset.task, "cross_entropy", {})
    likely = dataset.task in ("generate", "translate") and not _is_likelihood(forward)
    count = len(places)
    losses, weights, nats = np.zeros(count), np.ones(count), np.zeros(count)
    written: list[Any] = [None] * count
    with evaluating(forward.model):
        for rows in by_length(lengths):
            batch = Batch(
                inputs.take(places[rows]), padded(targets, places[rows], forward.device), None,
                dataset.splits[split][places[rows]], 0,
            )  # fmt: skip
            terms = _terms(forward, objective, batch)
            losses[rows] = terms.per_example.double().cpu().numpy()
            weights[rows] = 1 if terms.weight is None else terms.weight.double().cpu().numpy()
            terms = _terms(forward, plain, batch) if likely else terms
            own = terms.nats if terms.nats is not None else terms.per_example * batch.targets.lengths.to(forward.device)  # type: ignore[union-attr]
            nats[rows] = own.double().cpu().numpy()
            if decode and not isinstance(dataset.targets, NextTokens):
                for row, said in zip(rows, _said(forward, batch.inputs), strict=True):
                    written[row] = dataset.targets.decode(said)  # type: ignore[union-attr, arg-type]
    likelihoods = Likelihoods(nats, steps_of(dataset, targets, places), characters(dataset, targets, places))
    loss = float((losses * weights).sum() / weights.sum()) if count else float("nan")
    return Answers(loss, likelihoods if isinstance(dataset.targets, NextTokens) else written, likelihoods)


def _is_likelihood(forward: Forward) -> bool:
    """Whether the loss itself is minus the log-likelihood of the true tokens."""
    return forward.loss == "cross_entropy" and not forward.loss_settings.get("label_smoothing")


def _terms(forward: Forward, objective: Objective, batch: Batch) -> Terms:
    with number_type(forward.device, forward.precision):
        return objective(forward.model, batch, Draw(0, 0))


def _said(forward: Forward, inputs: Sequences | torch.Tensor) -> list[list[int]]:
    """Token or tag numbers: what the network itself decides on, else the likeliest at every step."""
    with number_type(forward.device, forward.precision):
        if hasattr(forward.model, "answer"):
            return list(forward.model.answer(inputs))  # type: ignore[operator]
        best = forward.model(inputs).argmax(2).cpu()
    assert isinstance(inputs, Sequences)
    return [row[:length].tolist() for row, length in zip(best, inputs.lengths.tolist(), strict=True)]


def said(forward: Forward, inputs: Ragged | torch.Tensor) -> list[list[int]]:
    """What the network answers to new sequences, or to vectors and pictures, as numbers."""
    found: list[Any] = [None] * len(inputs)
    with evaluating(forward.model):
        if isinstance(inputs, torch.Tensor):
            return [row for some in inputs.split(LEAST) for row in _said(forward, some.to(forward.device))]
        for rows in by_length(inputs.lengths):
            for row, numbers in zip(rows, _said(forward, padded(inputs, rows, forward.device)), strict=True):
                found[row] = numbers
    return found


def steps_of(dataset: Dataset, targets: Ragged, places: np.ndarray) -> np.ndarray:
    """How many steps each example counts for: its tokens, or in music the marks behind all that sounds at a time."""
    facts = getattr(dataset.targets, "facts", {})
    if not isinstance(dataset.targets, NextTokens) or "step_mark" not in facts:
        return targets.lengths[places]
    mark = dataset.targets.encoder.tokenizer.encode((facts["step_mark"],))[0]
    return np.array([int((targets[place] == mark).sum()) for place in places])


def characters(dataset: Dataset, targets: Ragged, places: np.ndarray) -> np.ndarray:
    """How many characters the true tokens stand for; the end of a text counts as one, chords stand for none."""
    if "step_mark" in getattr(dataset.targets, "facts", {}):
        return np.zeros(len(places), int)
    tokens, encoder = targets.lengths[places], getattr(dataset.targets, "encoder", None)
    if isinstance(dataset.targets, TagTargets) or encoder is None or encoder.inputs["tokens"] == "character":
        return tokens
    decoder = dataset.targets if isinstance(dataset.targets, TokenTargets) else encoder.tokenizer
    texts = [decoder.decode([number for number in targets[place].tolist() if number > END]) for place in places]
    return np.array([len(text) + int((targets[place] == END).any()) for text, place in zip(texts, places, strict=True)])


def truths(dataset: Dataset, split: str) -> Any:
    """What should have been said: class numbers (int64), numbers in the data's own units (float64), tags or texts."""
    if dataset.task in ("classify", "verify"):
        return dataset.target_tensor(split).numpy()
    if dataset.task == "regress":
        return np.array([float(value) for value in dataset.raw_targets(split)])
    if dataset.task == "forecast":
        return dataset.raw_targets(split).astype(np.float64)
    if dataset.task == "generate":
        return [""] * dataset.examples[split]
    raw = dataset.raw_targets(split).tolist()
    return [list(tags) for tags in raw] if dataset.task == "tag" else raw


def measured(dataset: Dataset, split: str, found: Answers, names: Sequence[str]) -> dict[str, float | None]:
    """The named metrics of `found` on a split, in the data's own units."""
    truth = truths(dataset, split) if found.truth is None else found.truth
    return {name: found.of(name, truth) for name in names}
