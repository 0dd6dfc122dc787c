"""Gradient flow: how large the gradient is in each layer, so that vanishing and explosion can be seen at once."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.errors import UsageError
from netwright.language import say
from netwright.measures.anatomy.counting import kind_of
from netwright.measures.anatomy.passes import in_mode
from netwright.measures.anatomy.tables import aligned
from netwright.networks.blocks import Scores

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LayerGradient:
    """One layer's part: the norm of the gradient of all its weights, of the weights, and how many they are."""

    name: str
    kind: str
    norm: float
    weight_norm: float
    parameters: int
    matrix: bool
    """Whether it has weights of two axes or more: norms and trained activations have not."""


@dataclass(frozen=True)
class GradientFlow:
    """Layers in the order in which they ran; `norm` is that of the whole gradient.

    A `ratio` below 1 says that the gradient shrinks on its way back, above 1 that it grows.
    """

    layers: list[LayerGradient]
    norm: float
    loss: float
    examples: int

    @property
    def ratio(self) -> float:
        """First layer's gradient norm by that of the last, among layers with weight matrices; NaN without two."""
        found = [layer.norm for layer in self.layers if layer.matrix]
        if len(found) < 2 or not found[-1] > 0:
            return math.nan
        return found[0] / found[-1]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}

    def __str__(self) -> str:
        """A table, and the ratio below it."""
        head = [say("name"), say("kind"), say("gradient norm"), say("weight norm"), say("parameters")]
        rows = [[one.name, one.kind, f"{one.norm:.4g}", f"{one.weight_norm:.4g}", f"{one.parameters:,}"]
                for one in self.layers]  # fmt: skip
        last = say("first to last layer: {ratio}", ratio=f"{self.ratio:.4g}")
        return "\n".join([*aligned([head, *rows], 2), last])


def gradient_flow(
    model: nn.Module, batch: tuple[Float[Tensor, "batch *shape"], Tensor], loss: Loss, *, training: bool = True
) -> GradientFlow:
    """The norm of the gradient in each layer on one batch (inputs, targets).

    Formula: g_l = sqrt(sum over the layer's weights of (dL/dw)^2); ratio = g_first / g_last; with the chain rule g_l
    holds the product of the Jacobians of all layers behind it, so that factors below 1 make it vanish with depth and
    factors above 1 make it explode: for matrices their singular values times the slopes decide, not single weights

    Args: `loss(outputs, targets)` gives one value or one an example (their mean counts). In training mode, as where
    gradients are taken, so batch norm uses the batch's own statistics. The model, its running statistics, its gradients
    and the random generators are as before. Errors: UsageError where nothing is trained or the loss does not
    depend on it.
    """
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    if not named:
        raise UsageError(say("no weight of the network is trained, so there is no gradient."))
    order, buffers = _Order(model), {name: one.detach().clone() for name, one in model.named_buffers()}
    try:
        with (
            in_mode(model, training),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.random.fork_rng(devices=[]),
        ):
            inputs, targets = (one.clone() if one.is_inference() else one for one in batch)
            outputs = model(inputs)
            main = outputs.main if isinstance(outputs, Scores) else outputs
            value = loss(main, targets).mean()
            if not value.requires_grad:
                raise UsageError(say("the loss does not depend on the network's weights, so there is no gradient."))
            found = torch.autograd.grad(value, [weight for _, weight in named], allow_unused=True)
    finally:
        order.remove()
        with torch.no_grad():
            for name, one in model.named_buffers():
                one.copy_(buffers[name])
    gradients = {name: one for (name, _), one in zip(named, found, strict=True) if one is not None}
    layers = [_layer(name, module, gradients) for name, module in order.modules() if _own(name, module, gradients)]
    total = math.sqrt(sum(_square(one) for one in gradients.values()))
    return GradientFlow(layers, total, float(value.detach()), len(batch[0]))


class _Order:
    """Modules in the order in which they first ran; those that did not run come last."""

    def __init__(self, model: nn.Module) -> None:
        self.names = {module: name for name, module in model.named_modules()}
        self.ran: dict[nn.Module, None] = {}
        self.hooks = [module.register_forward_pre_hook(self._enter) for module in self.names]

    def _enter(self, module: nn.Module, _given: Any) -> None:
        self.ran.setdefault(module)

    def remove(self) -> None:
        for hook in self.hooks:
            hook.remove()

    def modules(self) -> list[tuple[str, nn.Module]]:
        return [(self.names[module], module) for module in {**self.ran, **dict.fromkeys(self.names)}]


def _own(name: str, module: nn.Module, gradients: dict[str, Tensor]) -> list[Tensor]:
    """The gradients of a module's own weights, without those of modules inside it."""
    names = [inner for inner, _ in module.named_parameters(name, recurse=False)]
    return [gradients[inner] for inner in names if inner in gradients]


def _layer(name: str, module: nn.Module, gradients: dict[str, Tensor]) -> LayerGradient:
    weights = list(module.parameters(recurse=False))
    return LayerGradient(
        name=name or type(module).__name__,
        kind=kind_of(module),
        norm=math.sqrt(sum(_square(one) for one in _own(name, module, gradients))),
        weight_norm=math.sqrt(sum(_square(one.detach()) for one in weights)),
        parameters=sum(one.numel() for one in weights),
        matrix=any(one.ndim >= 2 for one in weights),
    )


def _square(numbers: Tensor) -> float:
    return float(numbers.double().square().sum())
