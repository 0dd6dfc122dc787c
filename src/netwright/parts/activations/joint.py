"""Activations that read several numbers together: maxout over channels, softmax over classes."""

from typing import Annotated

from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import ACTIVATIONS, Range
from netwright.errors import UsageError
from netwright.language import say


@ACTIVATIONS.add(source="Goodfellow et al. 2013, arXiv:1302.4389", init="he_normal", acts_on="groups of channels")
def maxout(*, pieces: Annotated[int, Range(1, 4096)] = 2) -> nn.Module:
    """The greatest of neighbouring channels: a unit learns the form of its own activation.

    Formula: y_i = max(x_(k i), ..., x_(k i + k - 1)), k = pieces; channels / k come out; derivative 1 for the greatest

    Channels are axis 1 of (batch, channels, ...), and the last of (batch, steps, channels). Errors: UsageError where
    the channels do not divide into the pieces.
    """
    return Maxout(pieces)


@ACTIVATIONS.add(source="Bridle 1990", init="glorot_uniform", acts_on="all classes together")
def softmax(*, dim: Annotated[int, Range(-8, 8)] = 1) -> nn.Module:
    """Probabilities of classes from logits: between 0 and 1, with the sum 1.

    Formula: p_i = exp(z_i - max z) / sum_j exp(z_j - max z); derivative dp_i/dz_j = p_i ([i = j] - p_j)

    `dim` is the axis of the classes. For showing and for layers of your own: networks here end in logits, and losses
    with link softmax apply it themselves; applied twice, no probability comes near 0 or 1.
    """
    return nn.Softmax(dim)


class Maxout(nn.Module):
    """The maximum over each group of neighbouring channels."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *fewer"]:
        axis = 2 if x.ndim == 3 else 1
        if x.ndim < 2 or x.shape[axis] % self.pieces:
            text = say("maxout: {count} channels do not divide into groups of {pieces}",
                       count=x.shape[axis] if x.ndim > 1 else 1, pieces=self.pieces)  # fmt: skip
            raise UsageError(text)
        return x.unflatten(axis, (-1, self.pieces)).amax(axis + 1)

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}"
