"""Each rank's part of a batch, and the terms of a global batch, against sums written out by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from netwright.data.batches import Batch, Batches, Part
from netwright.data.read import read
from netwright.parts.augmentations import read_augment
from netwright.training.objective import Terms
from netwright.training.ranks import Ranks
from netwright.training.seats import Seat
from netwright.training.spread import by_chance, least, shared_terms


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 64])
def test_parts_hold_every_example_once(count: int, ranks: int):
    places = np.arange(100, 100 + count)
    counted = []
    for rank in range(ranks):
        own, spare = Part(rank, ranks).of(places)
        assert len(own) >= 1
        assert set(own) <= set(places)
        counted += own[: len(own) - spare].tolist()
        assert len(own) - spare in (count // ranks, -(-count // ranks))
    assert counted == places.tolist()


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_batch_normalisation_gets_two_examples_a_rank(count: int, ranks: int):
    for rank in range(ranks):
        own, spare = Part(rank, ranks, least=2).of(np.arange(count))
        assert len(own) >= 2
        assert len(own) - spare == count * (rank + 1) // ranks - count * rank // ranks
        if count > 1:
            assert len(set(own[-2:])) == 2  # another example of the batch, not the same one twice


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("augment", ["", "mixup"])
def test_batches_of_ranks_weigh_what_the_whole_weighs(weighted: bool, augment: str):
    data = read("digits", limit=23)
    weights = torch.rand(len(data.splits["train"])) if weighted else None
    how = {"size": 5, "seed": 3, "device": torch.device("cpu"), "weights": weights}
    how["augment"] = read_augment(augment) if augment else None
    whole = list(Batches(data, **how).epoch(2))
    ranks = [list(Batches(data, **how, part=Part(rank, 4)).epoch(2)) for rank in range(4)]
    for place, batch in enumerate(whole):
        parts = [found[place] for found in ranks]
        kept = [len(part) - part.spare for part in parts]
        assert [part.consumed for part in parts] == [len(batch)] * 4
        assert all(np.array_equal(part.whole, batch.examples) for part in parts)
        inputs = torch.cat([part.inputs[:count] for part, count in zip(parts, kept, strict=True)])
        assert torch.equal(inputs, batch.inputs)
        for name in ("weights", "mixture"):
            total = _weight(batch, name)
            assert sum(_weight(part, name) for part in parts) == pytest.approx(total)


def _weight(batch: Batch, name: str) -> float:
    holder = batch.mixture if name == "mixture" else batch
    weights = None if holder is None else holder.weights
    return float(weights.sum()) if weights is not None else len(batch) - batch.spare


class Beside(Ranks):
    """Rank 0 of two, the other of which gives numbers known beforehand."""

    def __init__(self, other: list[float]) -> None:
        super().__init__(Seat(0, 2, 0, 2))
        self.other = torch.tensor(other, dtype=torch.float64)

    def total(self, values):
        return values.add_(self.other)


def test_the_gradient_is_that_of_the_global_weighted_mean():
    scale = torch.tensor(1.0, requires_grad=True)
    losses, weights = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 0.5, 3.0])
    heads = torch.tensor([0.5, 0.5, 1.0])
    terms = Terms(scale * losses, {"auxiliary": heads.mean()}, weights, heads=scale * heads)
    batch = Batch(torch.zeros(3, 1), torch.zeros(3), weights, np.arange(3), 0, whole=np.arange(5))
    # the other rank: sum w l = 6, sum w (l + head) = 8, sum w = 1.5, part 0.25 times 2 examples, 2 examples, a SIGTERM
    found = shared_terms(Beside([6, 8, 1.5, 0.5, 2, 0, 1, 0]), terms, batch)
    own, own_heads, total = 1 + 1 + 12, 0.5 + 0.25 + 3, 4.5 + 1.5
    assert found.value.item() == pytest.approx((own + 6) / total)
    assert found.loss.item() == pytest.approx((own + own_heads + 8) / total)
    assert found.weight.sum().item() == total
    assert found.parts["auxiliary"].item() == pytest.approx((heads.mean().item() * 3 + 0.5) / 5)
    found.loss.backward()
    assert scale.grad.item() == pytest.approx(2 * (own + own_heads) / total)  # halved by the mean over two ranks


def test_a_loss_that_is_not_finite_elsewhere_is_seen_here():
    terms = Terms(torch.ones(2, requires_grad=True))
    batch = Batch(torch.zeros(2, 1), torch.zeros(2), None, np.arange(2), 0, whole=np.arange(4))
    ranks = Beside([float("nan"), float("nan"), 2, 2, 1, 0, 0])
    assert not shared_terms(ranks, terms, batch).loss.isfinite()
    assert ranks.signal == 2  # a SIGINT that the other rank has heard


def test_one_rank_alone_leaves_terms_as_they_are():
    terms = Terms(torch.ones(2))
    batch = Batch(torch.zeros(2, 1), torch.zeros(2), None, np.arange(2), 0)
    assert shared_terms(Ranks(), terms, batch) is terms


def test_what_a_network_does_by_chance_is_found():
    class Own(nn.Module):
        def forward(self, x):
            return x + torch.rand(x.shape) if self.training else x

    inputs = torch.ones(4, 3)
    before = torch.random.get_rng_state()
    assert by_chance(Own(), inputs)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert by_chance(nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.01)), inputs)
    assert not by_chance(nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.0)), inputs)
    assert least(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))) == 2
    assert least(nn.Linear(3, 2)) == 1
