"""Attention against its formulas, written out for one example and one query at a time."""

import math

import pytest
import torch

from netwright.catalogue import ATTENTION
from netwright.errors import UsageError

F64 = {"dtype": torch.float64}
SIZES = {"additive": (3, 5), "dot": (4, 4), "general": (3, 5), "concat": (3, 5), "scaled_dot": (4, 4)}
LENGTHS = [6, 2, 1]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **F64)


def made(name, queries=2):
    query, memory = SIZES[name]
    mask = torch.arange(6) < torch.tensor(LENGTHS)[:, None]
    return ATTENTION[name](query, memory).double(), draw(3, queries, query), draw(3, 6, memory, seed=1), mask


def score(name, attend, s, h):
    """The score of one step for one query, by the paper's formula."""
    weights = {key: value.detach() for key, value in attend.named_parameters()}
    if name == "additive":
        inner = weights["query.weight"] @ s + weights["memory.weight"] @ h + weights["memory.bias"]
        return weights["score.weight"][0] @ torch.tanh(inner)
    if name == "concat":
        return weights["score.weight"][0] @ torch.tanh(weights["inner.weight"] @ torch.cat([s, h]))
    if name == "general":
        return s @ weights["memory.weight"] @ h
    return s @ h / (math.sqrt(len(s)) if name == "scaled_dot" else 1)


@pytest.mark.parametrize("name", list(ATTENTION))
def test_contexts_and_weights_by_the_formula(name):
    attend, queries, memory, mask = made(name)
    context, weights = attend(queries, memory, mask)
    for row, length in enumerate(LENGTHS):
        for place in range(2):
            steps = memory[row, :length]
            e = torch.stack([score(name, attend, queries[row, place], h) for h in steps])
            a = torch.exp(e) / torch.exp(e).sum()
            torch.testing.assert_close(weights[row, place, :length], a, rtol=0, atol=1e-10)
            torch.testing.assert_close(context[row, place], a @ steps, rtol=0, atol=1e-10)
    assert (weights[~mask[:, None].expand_as(weights)] == 0).all()


@pytest.mark.parametrize("name", list(ATTENTION))
def test_one_query_keys_done_before_and_the_context_alone_agree(name):
    attend, queries, memory, mask = made(name)
    whole, weights = attend(queries, memory, mask)
    keys = attend.keys(memory)
    for place in range(2):
        context, one = attend(queries[:, place], memory, mask, keys)
        torch.testing.assert_close(context, whole[:, place])
        torch.testing.assert_close(one, weights[:, place])
        torch.testing.assert_close(attend.context(queries[:, place], memory, mask, keys), context)
    torch.testing.assert_close(attend.context(queries, memory, mask), whole)
    torch.testing.assert_close(attend.context(queries, memory), attend(queries, memory)[0])


@pytest.mark.parametrize("name", list(ATTENTION))
def test_what_is_masked_changes_nothing_and_gets_no_gradient(name):
    attend, queries, memory, mask = made(name)
    other = memory.masked_fill(~mask[:, :, None], 1e6).requires_grad_()
    context, _ = attend(queries, other, mask)
    torch.testing.assert_close(context, attend(queries, memory, mask)[0])
    torch.testing.assert_close(attend.context(queries, other, mask), context)
    context.sum().backward()
    assert (other.grad[~mask] == 0).all()
    assert torch.isfinite(other.grad).all()


@pytest.mark.parametrize("name", list(ATTENTION))
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_nothing_left_gives_zeros_and_large_scores_stay_finite(name, scale):
    attend, queries, memory, mask = made(name)
    mask = mask.clone()
    mask[2] = False
    context, weights = attend(scale * queries, scale * memory, mask)
    assert not weights[2].any()
    assert not context[2].any()
    assert not attend.context(scale * queries, scale * memory, mask)[2].any()
    assert torch.isfinite(context).all()


@pytest.mark.parametrize("name", list(ATTENTION))
def test_gradients_equal_finite_differences(name):
    attend, queries, memory, mask = made(name)
    inputs = (queries.requires_grad_(), memory.requires_grad_())
    assert torch.autograd.gradcheck(lambda s, h: attend(s, h, mask), inputs)


@pytest.mark.parametrize("name", ["dot", "scaled_dot"])
def test_products_want_equal_sizes(name):
    with pytest.raises(UsageError, match=rf"'{name}' multiplies .* sizes are 3 and 5. Use 'general'"):
        ATTENTION[name](3, 5)


@pytest.mark.parametrize("name", list(ATTENTION))
def test_the_card_is_complete(name):
    card = ATTENTION[name].card()
    assert card["summary"].endswith(".")
    assert "softmax" in card["formula"]
    assert len(card["source"]) > 8
