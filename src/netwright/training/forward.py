"""Outputs of a trained network: in evaluation mode, without gradients, in large batches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.catalogue import LOSSES
from netwright.data.batches import Inputs, by_length, padded
from netwright.data.dataset import Dataset
from netwright.data.sequence_targets import SeriesTargets
from netwright.data.targets import NumberTargets, Targets
from netwright.parts.augmentations import ONE, Views
from netwright.parts.sequences import Ragged, Sequences
from netwright.training.number_type import keep_outputs_exact, number_type
from netwright.training.objective import on_outputs
from netwright.training.ranks import Ranks

NUMBERS = {"cpu": 2**17, "cuda": 2**22}
"""So many input numbers are answered at a time. On a CPU feature maps then fit into what the allocator keeps: 6,000
pictures of 28x28 took 0.19 s in chunks of 128 and 1.3 s in chunks of 512 (the notes' CNN, float32, two cores)."""
LEAST, MOST = 32, 4096
"""Examples in a chunk."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients; the mode before is restored."""
    before = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(before)


def channels_last(model: nn.Module, layout: str = "auto") -> bool:
    """Whether pictures lie channels-last for a network: it holds a 2-D convolution, and `layout` allows it."""
    return layout != "contiguous" and any(isinstance(module, nn.Conv2d) for module in model.modules())


def combined(outputs: Tensor, link: str, used: Tensor | None = None) -> Tensor:
    """One answer of several, in the form of network outputs, from `outputs` (answers, examples, units).

    Formula: softmax: log of the mean probability; sigmoid: log(p / (1 - p)) of the mean probability p; else the mean.

    `used` (answers, examples): which answers count for which example (at least one each), or how much they count.
    """
    mask = torch.ones(outputs.shape[:2], device=outputs.device) if used is None else used.to(outputs)
    share = (mask / mask.sum(0))[:, :, None]
    if link == "softmax":
        return (outputs.log_softmax(2) + share.log()).logsumexp(0)
    if link == "sigmoid":
        yes, no = (F.logsigmoid(sign * outputs) + share.log() for sign in (1, -1))
        return yes.logsumexp(0) - no.logsumexp(0)
    return (outputs * share).sum(0)


def _chunk(views: Views, numbers: int, device: torch.device) -> int:
    """How many examples of `numbers` numbers each are answered at a time."""
    room = NUMBERS.get(device.type, NUMBERS["cpu"]) // max(1, numbers)
    return max(1, min(MOST, max(LEAST, room)) // len(views.shares))


@dataclass
class Forward:
    """Runs a network over examples and turns its outputs into predictions."""

    model: nn.Module
    targets: Targets
    loss: str
    loss_settings: dict[str, object]
    device: torch.device
    precision: str = "float32"
    layout: str = "auto"
    ranks: Ranks = field(default_factory=Ranks)
    """The ranks that run over a split together, each over its part; all get the outputs of the whole."""

    def __post_init__(self) -> None:
        if self.precision != "float32":
            keep_outputs_exact(self.model)
        self.channels_last = channels_last(self.model, self.layout)
        if self.channels_last:  # weights that lie otherwise would be turned round at every call
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def outputs(self, inputs: Any, views: Views = ONE) -> Tensor:
        """Float32 network outputs (N, units) for encoded inputs; of several `views` their mean (see `combined`)."""
        if isinstance(inputs, Sequences):
            with evaluating(self.model):
                parts = [
                    self._run(inputs[first : first + LEAST].to(self.device)) for first in range(0, len(inputs), LEAST)
                ]
            return torch.cat(parts) if parts else torch.empty(0, 1)
        layout = torch.channels_last if inputs.dim() == 4 and self.channels_last else torch.contiguous_format
        found = []
        with evaluating(self.model):
            for part in inputs.split(_chunk(views, inputs[:1].numel(), self.device)):
                found.append(self._run(part.to(self.device).contiguous(memory_format=layout), views))
        return torch.cat(found) if found else torch.empty(0, 1)

    def split_outputs(self, dataset: Dataset, split: str, places: np.ndarray | None = None) -> Tensor:
        """Float32 network outputs for a whole split, shared among the ranks, or for `places` in it, in that order; no
        more than a chunk is encoded at a time."""
        views = getattr(dataset.encoder, "views", ONE)
        inputs = Inputs(dataset, split, self.device, self.channels_last, whole=views.whole)
        count, mine = len(dataset.splits[split]), places is None
        if places is None:
            own = self.ranks.rows(count)
            places = np.arange(own.start, own.stop)
        if inputs.ragged is not None:
            outputs = self.ragged_outputs(inputs.ragged, places)
            return self.ranks.together(outputs, count) if mine else outputs
        found = []
        with evaluating(self.model):
            chunk = _chunk(views, int(np.prod(dataset.shape)), self.device)
            for first in range(0, len(places), chunk):
                found.append(self._run(inputs.take(places[first : first + chunk]), views))
        if not found:
            return torch.empty(0, 1)
        return self.ranks.together(torch.cat(found), count) if mine else torch.cat(found)

    def ragged_outputs(self, ragged: Ragged, places: np.ndarray, run: Callable[[Any], Tensor] | None = None) -> Tensor:
        """Outputs for the sequences at `places`, one row each: those of nearly equal length run together. `run` is
        what is asked in place of the network itself, a method of it."""
        if not len(places):
            return torch.empty(0, 1)
        parts, rows = [], []
        with evaluating(self.model):
            for group in by_length(ragged.lengths[places]):
                parts.append(self._run(padded(ragged, places[group], self.device), run=run))
                rows.append(group)
        back = torch.from_numpy(np.argsort(np.concatenate(rows)))
        together = torch.cat(parts)
        return together[back.to(together.device)]

    def _run(self, inputs: Any, views: Views = ONE, run: Callable[[Any], Tensor] | None = None) -> Tensor:
        if views.name != ONE.name:
            looks = views(inputs)
            answers = self._run(looks.flatten(0, 1)).unflatten(0, looks.shape[:2]).transpose(0, 1)
            shares = torch.tensor(views.shares, device=answers.device)
            return combined(answers, self.link, shares[:, None].expand(answers.shape[:2]))
        with number_type(self.device, self.precision):
            return (run or self.model)(inputs).float()

    @property
    def link(self) -> str:
        """What makes probabilities or numbers of the outputs: the loss's setting `link`, else its fact."""
        return str(self.loss_settings.get("link", LOSSES[self.loss].facts["link"]))

    def mean_loss(self, outputs: Tensor, targets: Tensor) -> float:
        """The mean loss over examples, in the units of training."""
        if len(outputs) == 0:
            return float("nan")
        with torch.inference_mode():
            units = self.targets if isinstance(self.targets, (NumberTargets, SeriesTargets)) else None
            values = on_outputs(self.loss, self.loss_settings, units)(outputs, targets.to(outputs.device))
            return float(values.double().mean())

    def predictions(self, outputs: Tensor) -> np.ndarray:
        """Class probabilities (N, K), or numbers in the data's own units (N,), float64."""
        if isinstance(self.targets, (NumberTargets, SeriesTargets)):
            return self.targets.decode(outputs.cpu()).numpy()
        if not len(outputs):
            return np.zeros((0, self.targets.outputs["count"]))
        scores = outputs.double().cpu()
        if self.link == "softmax":
            return scores.softmax(1).numpy()
        chances = scores.sigmoid()
        if chances.shape[1] == 1:
            return torch.cat([1 - chances, chances], 1).numpy()
        return (chances / chances.sum(1, keepdim=True).clamp(min=1e-300)).numpy()
