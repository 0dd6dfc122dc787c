"""A loss of your own, checked before it trains: shape, number type, values, examples apart, gradient."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import gradcheck

from netwright.errors import UsageError
from netwright.language import say


def check_loss(
    loss: Callable[[Tensor, Tensor], Tensor], outputs: Float[Tensor, "batch *columns"], target: Tensor
) -> None:
    """Refuse a loss that training could not rely on; `outputs` and `target` are an example of what it will get.

    It has to give one finite value for each example, computed from that example alone, and its gradient has to equal
    finite differences (in float64, at these outputs: choose them away from kinks, where no derivative exists).

    Errors: UsageError that names what is wrong, with the numbers.
    """
    exact = outputs.detach().double().requires_grad_()
    target = target.double() if target.is_floating_point() else target
    values = loss(exact, target)
    if not isinstance(values, Tensor) or values.shape != exact.shape[:1]:
        came = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        text = say("the loss gives {came} for {count} examples; it is one value per example, shape ({count},)",
                   came=came, count=len(exact))  # fmt: skip
        raise UsageError(text)
    if values.dtype != exact.dtype:
        raise UsageError(say("the loss makes {came} of {given}", came=values.dtype, given=exact.dtype))
    _finite(values, say("the loss"))
    if not values.requires_grad:
        text = say("the loss has no gradient: somewhere its value leaves autograd (detach, item, numpy, a rounding)")
        raise UsageError(text)
    for row, value in enumerate(values):
        (slopes,) = torch.autograd.grad(value, exact, retain_graph=True, allow_unused=True)
        slopes = torch.zeros_like(exact) if slopes is None else slopes
        _finite(slopes.flatten(1).sum(1), say("the gradient of the loss"))
        others = torch.arange(len(exact), device=exact.device) != row
        if bool((slopes[others] != 0).any()):
            text = say("the loss of example {row} depends on other examples; weights cannot work then", row=row)
            raise UsageError(text)
    check_slope(loss, exact, target)


def check_slope(
    loss: Callable[[Tensor, Tensor], Tensor], outputs: Float[Tensor, "batch *columns"], target: Tensor
) -> None:
    """Refuse a loss whose gradient is not its slope by finite differences; training does so for losses of your own.

    Errors: UsageError with the numbers.
    """
    exact = outputs.detach().double().requires_grad_()
    try:
        gradcheck(lambda given: loss(given, target), (exact,))
    except RuntimeError as error:
        numbers = " ".join(str(error).split())
        text = say("the gradient of the loss is not its slope: a wrong backward, or a kink at these outputs.")
        raise UsageError(text + " " + numbers[:300]) from None


def _finite(values: Tensor, what: str) -> None:
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        row = int(bad[0, 0])
        raise UsageError(say("{what} is {value} at example {row}", what=what, value=values[row].item(), row=row))
