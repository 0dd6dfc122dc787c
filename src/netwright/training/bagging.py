"""Bagging (S-129): several networks, each on a bootstrap sample of its own, that answer together.

All members lie in one network and go through the same loop on the same batches, so saving, resuming and predicting need
nothing of their own. It is variance that falls as members grow, hardly bias (E-46): members that under-fit still do.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from netwright.data.batches import Batch
from netwright.errors import UsageError
from netwright.language import say
from netwright.randomness import uniform
from netwright.training.forward import combined
from netwright.training.objective import Draw, Objective, Terms, supervised


class Bagged(nn.Module):
    """Networks of one kind that answer together, in the form of the outputs of one.

    Formula: softmax: log of the mean probability; sigmoid: log(p / (1 - p)) of the mean probability p; else the mean.
    """

    def __init__(self, members: Sequence[nn.Module], link: str) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.link = link

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = torch.stack([member(inputs) for member in self.members])
        half = outputs.dtype in (torch.float16, torch.bfloat16)
        return combined(outputs.float() if half else outputs, self.link)


def assemble(build: Callable[[int], nn.Module], count: int, link: str) -> Bagged:
    """`count` networks that `build` makes, each from its number; one that does not learn by a loss is refused."""
    first = build(0)
    own = [name for name in ("objective", "update", "optimizers") if hasattr(first, name)]
    if own:
        text = say("training.members = {count}: this network brings its own {names}; members learn by a loss alone",
                   count=count, names=", ".join(own))  # fmt: skip
        raise UsageError(text)
    return Bagged([first, *(build(number) for number in range(1, count))], link)


def bootstrap(seed: int, member: int, length: int) -> Int[np.ndarray, "examples"]:
    """How often each of `length` training examples stands in a member's sample: `length` draws with replacement.

    A pure function of (seed, member). About 37 % of the examples stand in no place: they are out of the bag.
    """
    places = (uniform(np.arange(length), 1, seed, "bag", member)[:, 0] * length).astype(np.int64)
    return np.bincount(places, minlength=length)


def samples(seed: int, members: int, positions: np.ndarray, length: int) -> Tensor:
    """The counts of all members, (members, `length`) int16: those of the training `positions`, 0 elsewhere."""
    found = torch.zeros(members, length, dtype=torch.int16)
    for member in range(members):
        found[member, positions] = torch.from_numpy(bootstrap(seed, member, len(positions))).to(torch.int16)
    return found


def bagged(loss: Callable[[Tensor, Tensor], Tensor], counts: Int[Tensor, "members examples"]) -> Objective:
    """The objective of all members at once: each one's loss on the batch, every example as often as it drew it.

    Formula: sum over members of mean_i(c_mi l_mi); with weights sum_i(w_i c_mi l_mi) / sum_i(w_i)

    The sum keeps the members' gradients apart; what is recorded is its mean. Members see the inputs of all examples
    of a batch: batch normalisation counts those out of the bag too, without their targets.
    """
    single = supervised(loss)

    def objective(model: nn.Module, batch: Batch, draw: Draw) -> Terms:
        assert isinstance(model, Bagged)
        values = torch.stack([single(member, batch, draw).minimised for member in model.members])
        copies = counts[:, torch.from_numpy(batch.examples).to(counts.device)].to(values)
        if batch.weights is None:
            losses = (values * copies).mean(1)
        else:
            losses = (values * copies * batch.weights).sum(1) / batch.weights.sum()
        return Terms((values * copies).mean(0), weight=batch.weights, members=losses)

    return objective
