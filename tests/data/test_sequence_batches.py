"""Batches of sequences of nearly equal length: every example once an epoch, little padding, pure in (seed, epoch)."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.data.batches import BUCKET, Batches, Part, bucketed
from netwright.parts.sequences import Ragged
from netwright.randomness import permutation


def edges_of(count, size):
    edges = [*range(0, count, size), count]
    if size > 1 and len(edges) > 2 and edges[-1] - edges[-2] == 1:
        del edges[-2]
    return edges


def lengths_of(count, seed=0):
    """As names are long: 2 to 20 letters, 7 on the average."""
    return np.random.default_rng(seed).poisson(5, count).clip(0, 18) + 2


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1000, 1601])
@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_the_same_examples_in_another_order(count, size):
    order, lengths, edges = permutation(count, 3, "order", 0), lengths_of(count), edges_of(count, size)
    found = bucketed(order, lengths, edges, 3, 0)
    assert sorted(found.tolist()) == list(range(count))
    assert found[edges[-2] :].tolist() == order[edges[-2] :].tolist()  # the last batch, in its place
    assert found.tolist() == bucketed(order, lengths, edges, 3, 0).tolist()
    batches = [frozenset(found[low:high].tolist()) for low, high in pairwise(edges)]
    ranked = order[: edges[-2]]
    for first in range(0, len(ranked), BUCKET * size):  # batches hold neighbours among BUCKET of them
        some = ranked[first : first + BUCKET * size]
        near = some[np.argsort(lengths[some], kind="stable")]
        for low in range(0, len(near), size):
            assert frozenset(near[low : low + size].tolist()) in batches


def test_other_epochs_and_seeds_have_other_batches():
    lengths, edges = lengths_of(400), edges_of(400, 8)
    kinds = {
        tuple(bucketed(permutation(400, seed, "order", epoch), lengths, edges, seed, epoch).tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(kinds) == 9


def test_the_batches_do_not_come_by_length():
    lengths, edges = lengths_of(3200), edges_of(3200, 32)
    found = bucketed(permutation(3200, 0, "order", 0), lengths, edges, 0, 0)
    means = [lengths[found[low:high]].mean() for low, high in pairwise(edges)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


@pytest.mark.parametrize("size", [16, 64])
def test_little_is_wasted_on_padding(size):
    """Under 15 % of all steps of names; batches drawn at random waste more than twice that."""
    lengths, edges = lengths_of(6400), edges_of(6400, size)
    order = permutation(6400, 0, "order", 0)
    found = bucketed(order, lengths, edges, 0, 0)

    def wasted(places):
        steps = sum((high - low) * lengths[places[low:high]].max() for low, high in pairwise(edges))
        return 1 - lengths.sum() / steps

    assert wasted(found) < 0.15
    assert wasted(order) > 2 * wasted(found)


@pytest.fixture(scope="module")
def words():
    return nw.read("reverse", examples=150, most=12)


def batches(words, **more):
    return Batches(words, **{"size": 8, "seed": 5, "device": torch.device("cpu"), **more})


@pytest.mark.parametrize("prefetch", [False, True])
def test_a_batch_is_the_examples_it_names(words, prefetch):
    inputs, targets = words.sequences("train")[0], words.encoded_targets("train")
    place = {position: row for row, position in enumerate(words.splits["train"].tolist())}
    for batch in batches(words, prefetch=prefetch).epoch(1):
        rows = [place[position] for position in batch.examples.tolist()]
        for given, ragged in ((batch.inputs, inputs), (batch.targets, targets)):
            assert given.values.shape[1] == given.lengths.max()
            for row, values, length in zip(rows, given.values, given.lengths.tolist(), strict=True):
                assert values[:length].tolist() == ragged[row].tolist()
                assert not values[length:].any()


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_parts_of_the_ranks_are_the_batches(words, ranks):
    whole = batches(words).epoch(0)
    parts = [batches(words, part=Part(rank, ranks)).epoch(0) for rank in range(ranks)]
    for one, *some in zip(whole, *parts, strict=True):
        counted = [position for part in some for position in part.examples[: len(part) - part.spare].tolist()]
        assert counted == one.examples.tolist()
        for part in some:
            assert part.whole.tolist() == one.examples.tolist()
            assert part.inputs.lengths.max() == part.inputs.values.shape[1]


@pytest.mark.parametrize("shape", [(), (3,)])
def test_ragged_and_padded_are_one_another(shape):
    chance = torch.Generator().manual_seed(0)
    parts = [torch.randn(length, *shape, generator=chance) for length in (3, 1, 7, 2)]
    ragged = Ragged.of(parts)
    for places in ([0, 1, 2, 3], [2], [3, 3, 0], [1]):
        padded, taken = ragged.padded(places), ragged.take(places)
        assert padded.values.shape == (len(places), max(len(parts[place]) for place in places), *shape)
        for row, place in enumerate(places):
            assert torch.equal(padded.values[row, : len(parts[place])], parts[place])
            assert torch.equal(taken[row], parts[place])
            assert not padded.values[row, len(parts[place]) :].any()
            assert int(padded.mask[row].sum()) == len(parts[place])
    assert len(ragged.padded([])) == 0
    assert len(ragged.take([])) == 0
    assert torch.equal(ragged[2], parts[2])  # padding wrote nothing into what it reads from
