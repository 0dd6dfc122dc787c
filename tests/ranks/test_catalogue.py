"""What spreading relies on holds for every network of the catalogue."""

import numpy as np
import pytest
import torch
from thin import answer_shape, batch, build, cases, task_of

from netwright.networks.blocks import Scores
from netwright.parts.sequences import Sequences
from netwright.training.objective import Batch, Draw, objective_of


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), cases())
def test_every_weight_takes_part_in_every_step(name: str, kind: str):
    """Ranks wait for the gradient of every weight: one without would stop them all."""
    network = build(name, kind)
    if any(hasattr(network, own) for own in ("update", "objective", "optimizers")):
        assert name in {"perceptron"}  # refused for several ranks
        return
    if hasattr(network, "chain"):  # its rows of tags are scored by the objective, not by the network
        tags = torch.arange(6 * answer_shape(name, kind)[0]).view(6, -1) % 4
        given = Batch(batch(name, kind), Sequences(tags, torch.full((6,), tags.shape[1])), None, np.arange(6), 0)
        objective_of(network.train(), task_of(name), "cross_entropy", {})(network, given, Draw(0, 0)).loss.backward()
    else:
        answer = network.train()(batch(name, kind))
        parts = [answer.main, *answer.auxiliary] if isinstance(answer, Scores) else [answer]
        sum(part.float().pow(2).sum() for part in parts).backward()
    idle = [key for key, weight in network.named_parameters() if weight.requires_grad and weight.grad is None]
    assert idle == []
