"""Which output activations and losses go together, and why not: shown by the gradient of a surely wrong example."""

from dataclasses import dataclass

import torch
from torch import Tensor

from netwright.catalogue import ACTIVATIONS, LOSSES
from netwright.language import say

LOGIT = 10.0
"""How sure the wrong example is: its class has the odds exp(-10)."""
BETTER = {"sigmoid": "bce_with_logits", "softmax": "cross_entropy"}
WANTED = {"probabilities": ("sigmoid", "softmax"), "log-probabilities": ("log_softmax", "log_sigmoid")}


@dataclass(frozen=True)
class Pairing:
    """Whether an output activation and a loss for classes go together."""

    activation: str
    loss: str
    fits: bool
    why: str
    instead: str = ""
    """The loss to take on plain outputs, where the pair does not fit."""
    gradient: float = float("nan")
    """The loss's gradient at the logit of an example that is wrong by `LOGIT`; NaN where it says nothing."""
    needed: float = float("nan")
    """The same for the loss in `instead`: probability minus target."""


def pairing(activation: str, loss: str) -> Pairing:
    """Judge an output activation (`identity` for plain outputs) before a loss, where the targets are classes.

    Formula: for a saturated sigmoid the squared error has the gradient 2 (p - t) p (1 - p), which is 0 for p = 0 and
    t = 1; cross-entropy has p - t

    Squared errors on plain outputs (identity) or behind a ReLU do not vanish: it is the saturated activation that does.
    Errors: UsageError for unknown names.
    """
    facts = LOSSES[loss].facts
    if activation != "log_softmax":
        ACTIVATIONS[activation]
    reads, link = facts.get("reads"), facts["link"]
    better = BETTER.get(activation, "cross_entropy" if link == "identity" else BETTER[link])
    if reads:
        fits = activation in WANTED[reads]
        why = (
            say("the loss reads {reads}", reads=say(reads))
            if fits
            else say(
                "the loss reads {reads}, which {activation} does not give", reads=say(reads), activation=activation
            )
        )
        return Pairing(activation, loss, fits, why, "" if fits else better)  # fmt: skip
    if activation == "identity":
        return Pairing(activation, loss, True, say("the loss reads plain outputs"))
    if facts["target"] == "number":
        if activation not in BETTER:
            return Pairing(activation, loss, True, say("the gradient does not vanish where an output is surely wrong"))
        gradient, needed = _gradient(loss, activation), _gradient(better, "identity")
        why = say("where {activation} is surely wrong, the gradient is {gradient:.2g}; {better} has {needed:.2g}",
                  activation=activation, gradient=gradient, better=better, needed=needed)  # fmt: skip
        return Pairing(activation, loss, False, why, better, gradient, needed)
    if activation == "log_softmax" and link == "softmax":
        return Pairing(activation, loss, True, say("the softmax of log-probabilities gives the probabilities again"))
    if activation in BETTER and link in BETTER:
        why = say("the loss applies {link} itself; twice, no probability comes near 0 or 1", link=link)
        return Pairing(activation, loss, False, why, loss)
    from netwright.parts.activations import properties

    found = None if activation == "softmax" or activation == "log_softmax" else properties(activation)
    if found is not None and found.low < 0 < found.high:
        return Pairing(activation, loss, True, say("scores of either sign pass"))
    why = say("{activation} gives scores of one sign only; the loss needs both", activation=activation)
    return Pairing(activation, loss, False, why, loss)


def _gradient(loss: str, activation: str) -> float:
    """The gradient at the right class's logit of an example that is wrong by `LOGIT`."""
    two = activation == "softmax" or LOSSES[loss].facts["link"] == "softmax"
    z = torch.tensor([[-LOGIT / 2, LOGIT / 2]] if two else [[-LOGIT]], dtype=torch.float64, requires_grad=True)
    outputs: Tensor = z if activation == "identity" else ACTIVATIONS[activation]()(z)
    LOSSES[loss].build(outputs, torch.tensor([0 if two else 1])).sum().backward()
    assert z.grad is not None
    return float(z.grad[0, 0])
