"""Readouts: one vector out of the steps of each sequence, padding left out."""

from typing import Annotated

from jaxtyping import Float
from torch import Tensor, cat, finfo, nn

from netwright.catalogue import CELLS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.parts.cells.passes import Steps, at_end
from netwright.parts.sequences import Sequences


@CELLS.add(source="many-to-one recurrent network", kind="readout")
def last(two_way: bool = False, features: int = 0) -> nn.Module:
    """The state after the last step; of a two-way layer each direction's own last state.

    Formula: y = h_T; two-way: (forward h_T, backward h_1)
    """
    return Last(two_way)


@CELLS.add(source="mean over time", kind="readout")
def mean(two_way: bool = False, features: int = 0) -> nn.Module:
    """The mean over all steps.

    Formula: y = sum_t h_t / T
    """
    return MeanOverSteps()


@CELLS.add(source="max over time: Collobert et al. 2011, JMLR 12", kind="readout")
def max(two_way: bool = False, features: int = 0) -> nn.Module:
    """The largest value of each feature over all steps.

    Formula: y_j = max_t h_tj
    """
    return MaxOverSteps()


@CELLS.add(source="Yang et al. 2016, NAACL, eq. 5 to 7", kind="readout")
def attention(two_way: bool = False, features: int = 0, *, hidden: Annotated[int, Range(1, 100_000)] = 64) -> nn.Module:
    """A weighted mean over all steps, the weights worked out from the steps themselves.

    Formula: y = sum_t a_t h_t; a = softmax_t(v . tanh(W h_t + b)); `hidden` numbers in v

    Errors: UsageError without the number of features of a step.
    """
    if features < 1:
        raise UsageError(
            say("readout 'attention' needs the number of features of a step; {count} came.", count=features)
        )
    return AttentionOverSteps(features, hidden)


class Last(nn.Module):
    """The last step; `two_way` takes the second half of the features from the first step, where that direction ends."""

    def __init__(self, two_way: bool = False) -> None:
        super().__init__()
        self.two_way = two_way

    def forward(self, steps: Steps) -> Float[Tensor, "batch features"]:
        values, lengths = (steps.values, steps.lengths) if isinstance(steps, Sequences) else (steps, None)
        end = at_end(values, lengths)
        if not self.two_way:
            return end
        half = values.shape[2] // 2
        return cat([end[:, :half], values[:, 0, half:]], dim=1)


class MeanOverSteps(nn.Module):
    """The mean over the steps."""

    def forward(self, steps: Steps) -> Float[Tensor, "batch features"]:
        if not isinstance(steps, Sequences):
            return steps.mean(1)
        count = steps.lengths.to(steps.device, steps.values.dtype)
        return steps.values.masked_fill(~steps.mask[:, :, None], 0.0).sum(1) / count[:, None]


class MaxOverSteps(nn.Module):
    """The maximum over the steps."""

    def forward(self, steps: Steps) -> Float[Tensor, "batch features"]:
        if not isinstance(steps, Sequences):
            return steps.amax(1)
        return steps.values.masked_fill(~steps.mask[:, :, None], -float("inf")).amax(1)


class AttentionOverSteps(nn.Module):
    """A mean over the steps, weighted by `score`; `weights` gives the weights themselves."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(features, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def weights(self, steps: Steps) -> Float[Tensor, "batch steps"]:
        """How much each step counts: 0 behind the end, 1 in all."""
        values = steps.values if isinstance(steps, Sequences) else steps
        scores: Tensor = self.score(self.inner(values).tanh())[:, :, 0]
        if isinstance(steps, Sequences):
            scores = scores.masked_fill(~steps.mask, finfo(scores.dtype).min)
        return scores.softmax(1)

    def forward(self, steps: Steps) -> Float[Tensor, "batch features"]:
        values = steps.values if isinstance(steps, Sequences) else steps
        return (self.weights(steps)[:, None] @ values)[:, 0]
