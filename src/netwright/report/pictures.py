"""What a report shows of the network itself, gathered: its decision boundary, first kernels, gradient in each layer.

What is drawn is bounded, so that no network makes a page slow.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.dataset import Dataset
from netwright.data.encoders import NumberEncoder
from netwright.data.targets import NumberTargets
from netwright.language import say
from netwright.measures.gradients import GradientFlow, gradient_flow
from netwright.measures.kernels import Patch, first_convolution, kernels, strongest_patches
from netwright.randomness import permutation
from netwright.report.boundary import Trained, boundary, plane
from netwright.report.inside import FirstKernels
from netwright.report.markup import number
from netwright.report.page import png
from netwright.training.objective import on_outputs

BATCH, VALUES = 64, 1_000_000  # training examples that the gradient is taken over, and their numbers
LOOKED, PIXELS = 256, 4_000_000  # test pictures that are searched for patches, and their numbers
KERNELS, EACH = 16, 8  # kernels with patches, and patches of each
SIDE = 40  # pixels of a drawn patch's longer side, about


def pictures(trained: Trained, dataset: Dataset) -> dict[str, Any]:
    """What a run's page can show of its network: `boundary`, `kernels` and `gradients`, each where it has them."""
    found: dict[str, Any] = {}
    if plane(trained.encoder) is not None and dataset.classes:
        found["boundary"] = boundary(trained, dataset)
    layer = first_convolution(trained.forward.model) if dataset.kind == "image" else None
    if layer is not None:
        found["kernels"] = first_kernels(trained, dataset, layer)
    flow = flow_of(trained, dataset)
    return found if flow is None else {**found, "gradients": flow}


def first_kernels(trained: Trained, dataset: Dataset, layer: str) -> FirstKernels:
    """The kernels of a layer with the strongest patches of some test pictures, drawn evenly by chance."""
    weights = kernels(trained.forward.model, layer)
    count = min(LOOKED, max(1, PIXELS // int(np.prod(dataset.shape))))
    chosen = np.sort(permutation(dataset.examples["test"], "patches")[:count])
    if not len(chosen):
        return FirstKernels(layer, weights)
    encoded = trained.encoder.encode(dataset.source.examples.take(dataset.splits["test"][chosen]))
    found = strongest_patches(trained.forward.model, layer, encoded, EACH, one_each=True)
    pixels, ids = _pixels(trained.encoder, encoded), dataset.ids("test")
    rows = [
        (kernel, [(_drawn(one, pixels), _caption(one, ids[chosen[one.picture]])) for one in best])
        for kernel, best in enumerate(found[:KERNELS])
    ]
    return FirstKernels(layer, weights, rows)


def flow_of(trained: Trained, dataset: Dataset) -> GradientFlow | None:
    """The gradient in each layer on some training examples; None for networks that learn by a rule of their own."""
    if dataset.is_ragged or dataset.task not in ("classify", "regress", "forecast"):
        return None
    forward, own = trained.forward, ("objective", "update", "members")
    if any(hasattr(forward.model, name) for name in own) or dataset.examples["train"] < 2:
        return None
    if not any(weight.requires_grad for weight in forward.model.parameters()):
        return None
    count = min(BATCH, max(2, VALUES // int(np.prod(dataset.shape))))
    chosen = np.sort(permutation(dataset.examples["train"], "gradients")[:count])
    inputs = trained.encoder.encode(dataset.source.examples.take(dataset.splits["train"][chosen])).to(forward.device)
    targets = dataset.target_tensor("train")[torch.from_numpy(chosen)].to(forward.device)
    units = dataset.targets if isinstance(dataset.targets, NumberTargets) else None
    loss = on_outputs(forward.loss, forward.loss_settings, units)
    return gradient_flow(forward.model, (inputs, targets), loss)


def _pixels(encoder: Any, encoded: Tensor) -> Tensor:
    """Encoded pictures as bytes: in their own grey levels where these lie between 0 and 255, else stretched to them."""
    found = encoded.double()
    if isinstance(encoder, NumberEncoder):
        found = found / encoder.scale.double() + encoder.mean.double()
    low, high = float(found.min()), float(found.max())
    if low < -1 or high > 256 or high <= 1.5:
        found = (found - low) * (255 / (high - low) if high > low else 0.0)
    return found.round().clamp(0, 255).to(torch.uint8)


def _drawn(patch: Patch, pixels: Tensor) -> bytes:
    cut = patch.cut(pixels[patch.picture]).numpy()
    return png(cut, max(1, SIDE // max(cut.shape[1:])))


def _caption(patch: Patch, name: str) -> str:
    return say("{name}: rows {top} to {bottom}, columns {left} to {right}, output {value}", name=name, top=patch.top,
               bottom=patch.bottom - 1, left=patch.left, right=patch.right - 1, value=number(patch.value))  # fmt: skip
