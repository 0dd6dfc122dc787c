"""Outputs of a trained network: in evaluation mode, without gradients, in large batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from netwright.catalogue import LOSSES
from netwright.data.batches import Inputs
from netwright.data.dataset import Dataset
from netwright.data.targets import NumberTargets, Targets
from netwright.training.state import AUTOCAST

CHUNK = 512


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


def channels_last(model: nn.Module) -> bool:
    """Whether a network gains from channels-last memory: it holds a 2-D convolution."""
    return any(isinstance(module, nn.Conv2d) for module in model.modules())


@dataclass
class Forward:
    """Runs a network over examples and turns its outputs into predictions."""

    model: nn.Module
    targets: Targets
    loss: str
    loss_settings: dict[str, object]
    device: torch.device
    precision: str = "float32"

    def outputs(self, inputs: Tensor) -> Tensor:
        """Float32 network outputs (N, units) for encoded inputs."""
        layout = torch.channels_last if inputs.dim() == 4 and channels_last(self.model) else torch.contiguous_format
        found = []
        with evaluating(self.model):
            for part in inputs.split(CHUNK):
                found.append(self._run(part.to(self.device).contiguous(memory_format=layout)))
        return torch.cat(found) if found else torch.empty(0, 1)

    def split_outputs(self, dataset: Dataset, split: str) -> Tensor:
        """Float32 network outputs for a whole split, in its order; never more than a chunk is encoded at a time."""
        inputs = Inputs(dataset, split, self.device, channels_last(self.model))
        places = np.arange(len(dataset.splits[split]))
        found = []
        with evaluating(self.model):
            for first in range(0, len(places), CHUNK):
                found.append(self._run(inputs.take(places[first : first + CHUNK])))
        return torch.cat(found) if found else torch.empty(0, 1)

    def _run(self, inputs: Tensor) -> Tensor:
        if self.precision == "float32":
            return self.model(inputs).float()
        with torch.autocast(self.device.type, AUTOCAST[self.precision]):
            return self.model(inputs).float()

    def mean_loss(self, outputs: Tensor, targets: Tensor) -> float:
        """The mean loss over examples, in the units of training."""
        if len(outputs) == 0:
            return float("nan")
        with torch.inference_mode():
            values = LOSSES[self.loss](outputs, targets.to(outputs.device), **self.loss_settings)
            return float(values.double().mean())

    def predictions(self, outputs: Tensor) -> np.ndarray:
        """Class probabilities (N, K), or numbers in the data's own units (N,), float64."""
        if isinstance(self.targets, NumberTargets):
            return self.targets.decode(outputs.cpu()).numpy()
        if not len(outputs):
            return np.zeros((0, self.targets.outputs["count"]))
        scores = outputs.double().cpu()
        if self.loss_settings.get("link", LOSSES[self.loss].facts["link"]) == "softmax":
            return scores.softmax(1).numpy()
        chances = scores.sigmoid()
        if chances.shape[1] == 1:
            return torch.cat([1 - chances, chances], 1).numpy()
        return (chances / chances.sum(1, keepdim=True).clamp(min=1e-300)).numpy()
