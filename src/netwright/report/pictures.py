"""What a report shows of the network itself: its decision boundary, its first kernels, the gradient in each layer."""

from typing import Any

import numpy as np
import torch

from netwright.data.dataset import Dataset
from netwright.data.targets import NumberTargets
from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.gradients import GradientFlow, gradient_flow
from netwright.measures.kernels import Patch, first_convolution, kernels, strongest_patches
from netwright.randomness import permutation
from netwright.report import markup
from netwright.report.boundary import Trained, boundary, plane
from netwright.report.markup import mapping, named, number, section, text
from netwright.report.page import png
from netwright.report.tiles import MOST, kernel_grid, patch_rows
from netwright.training.objective import on_outputs

BATCH = 64  # training examples that the gradient is taken over
LOOKED = 256  # test pictures that are searched for patches
ROWS, EACH = 16, 6  # kernels with patches, and patches of each
SIDE = 48  # pixels of a patch's longer side, about
"""What is drawn is bounded, so that no network makes a page slow."""


def pictures(trained: Trained, dataset: Dataset) -> dict[str, Any]:
    """What a run's page can show of its network: `boundary`, `kernels`, `gradients`, each where it has them."""
    found: dict[str, Any] = {}
    if plane(trained.encoder) is not None and dataset.classes:
        found["boundary"] = boundary(trained, dataset)
    layer = first_convolution(trained.forward.model) if dataset.kind == "image" else None
    if layer is not None:
        found["kernels"] = first_kernels(trained, dataset, layer)
    flow = flow_of(trained, dataset)
    if flow is not None:
        found["gradients"] = flow
    return found
