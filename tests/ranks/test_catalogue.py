"""What spreading relies on holds for every network of the catalogue."""

import pytest
from thin import batch, build, cases

from netwright.networks.blocks import Scores


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), cases())
def test_every_weight_takes_part_in_every_step(name: str, kind: str):
    """Ranks wait for the gradient of every weight: one without would stop them all."""
    network = build(name, kind)
    if any(hasattr(network, own) for own in ("update", "objective", "optimizers")):
        assert name in {"perceptron"}  # refused for several ranks
        return
    answer = network.train()(batch(name, kind))
    parts = [answer.main, *answer.auxiliary] if isinstance(answer, Scores) else [answer]
    sum(part.float().pow(2).sum() for part in parts).backward()
    idle = [key for key, weight in network.named_parameters() if weight.requires_grad and weight.grad is None]
    assert idle == []
