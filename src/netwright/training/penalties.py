"""L1 and L2 penalties on weights: the elastic net of both, added to the loss that is minimised.

Formula: l1 * sum |w| + l2 / 2 * sum w^2, over all weights with at least two axes; biases, gains and norms stay free.
The gradient gets l1 * sign(w) + l2 * w before any clipping. With plain SGD l2 equals the optimizer's `weight_decay` on
those weights; adaptive optimizers divide the penalty by the running size of the gradient, AdamW's decay is not divided.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from netwright.training.objective import Terms

NORMS = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm, nn.CrossMapLRN2d,
)  # fmt: skip
FREE = ("bias", "gain")


class Penalties(NamedTuple):
    """The factors of both penalties; 0 leaves one out."""

    l1: float = 0.0
    l2: float = 0.0

    def add(self, weights: list[Tensor], terms: Terms) -> None:
        """Add the penalties' gradients to those of `weights`, and their values to the parts of `terms`."""
        if not (self.l1 or self.l2):
            return
        moving = [weight for weight in weights if weight.grad is not None]
        if not moving:
            return
        plain = [weight.detach() for weight in moving]
        slopes = [weight.grad for weight in moving if weight.grad is not None]
        if self.l1:
            terms.parts["l1"] = self.l1 * torch.stack(torch._foreach_norm(plain, 1)).sum()
            torch._foreach_add_(slopes, torch._foreach_sign(plain), alpha=self.l1)
        if self.l2:
            terms.parts["l2"] = self.l2 / 2 * torch.stack(torch._foreach_norm(plain)).square().sum()
            torch._foreach_add_(slopes, plain, alpha=self.l2)


def penalised(model: nn.Module) -> list[Tensor]:
    """The trainable weights that penalties hold: at least two axes, no bias or gain, in no norm."""
    found: dict[int, Tensor] = {}
    for module in model.modules():
        if not isinstance(module, NORMS):
            for name, weight in module.named_parameters(recurse=False):
                if weight.requires_grad and weight.ndim > 1 and not name.startswith(FREE):
                    found[id(weight)] = weight
    return list(found.values())
