"""What every loss in the catalogue keeps to."""

import math

import pytest
import torch

from netwright.catalogue import LOSSES

ONE_COLUMN = {"logistic", "hinge", "perceptron"}


def example(name, dtype=torch.float64, scale=1.0, rows=6):
    """Outputs and a fitting target for a loss, away from kinks."""
    generator = torch.Generator().manual_seed(0)
    columns = 1 if name in ONE_COLUMN else 3
    outputs = (scale * (torch.rand(rows, columns, generator=generator, dtype=torch.float64) - 0.47)).to(dtype)
    if LOSSES[name].facts["target"] == "number":
        return outputs, torch.randn(rows, columns, generator=generator, dtype=torch.float64).to(dtype)
    return outputs, torch.arange(rows) % max(2, columns)


@pytest.mark.parametrize("name", list(LOSSES))
def test_one_value_an_example_none_negative(name):
    loss = LOSSES[name](*example(name))
    assert loss.shape == (6,)
    assert bool((loss >= 0).all())


@pytest.mark.parametrize("name", list(LOSSES))
def test_each_value_is_its_own_examples(name):
    outputs, target = example(name)
    alone = [LOSSES[name](outputs[i : i + 1], target[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(torch.cat(alone), LOSSES[name](outputs, target))


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("scale", [1000.0, -1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_with_finite_gradients_far_out(name, scale, dtype):
    outputs, target = example(name, dtype)
    far = torch.full_like(outputs, scale).requires_grad_()
    loss = LOSSES[name](far, target)
    loss.sum().backward()
    assert bool(torch.isfinite(loss).all())
    assert bool(torch.isfinite(far.grad).all())


@pytest.mark.parametrize("name", list(LOSSES))
def test_gradients_equal_finite_differences(name):
    outputs, target = example(name, scale=5.0)
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, target), (outputs.requires_grad_(),))


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_number_types_stay_and_half_precision_is_computed_in_float32(name, dtype):
    outputs, target = example(name, dtype)
    loss = LOSSES[name](outputs, target)
    assert loss.dtype == (torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype)
    wider = LOSSES[name](outputs.double(), target.double() if target.is_floating_point() else target)
    torch.testing.assert_close(loss.double(), wider, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(LOSSES))
def test_an_empty_batch_gives_no_values(name):
    outputs, target = example(name)
    assert LOSSES[name](outputs[:0], target[:0]).shape == (0,)


@pytest.mark.parametrize("name", list(LOSSES))
def test_moving_against_the_gradient_lowers_it(name):
    outputs, target = example(name, scale=5.0)
    outputs.requires_grad_()
    before = LOSSES[name](outputs, target).sum()
    before.backward()
    after = LOSSES[name](outputs.detach() - 1e-3 * outputs.grad, target).sum()
    assert float(after) < float(before.detach())


@pytest.mark.parametrize("name", list(LOSSES))
def test_the_card_is_complete(name):
    part = LOSSES[name]
    assert part.facts["target"] in ("class index", "number")
    assert part.facts["link"] in ("softmax", "sigmoid", "identity")
    assert len(part.facts["source"]) > 8
    assert part.summary.endswith(".")
    assert part.formula
    assert part.card()["settings"].keys() == part.defaults().keys()
    assert all(not isinstance(value, float) or math.isfinite(value) for value in part.defaults().values())
    assert part.check(part.defaults()) == part.defaults()


@pytest.mark.parametrize(
    "family", ["activations", "optimizers", "schedules", "initializers", "norms", "pooling", "cells", "augmentations"]
)
def test_cards_of_the_other_families(family):
    from netwright.catalogue import FAMILIES

    for part in FAMILIES[family].values():
        assert part.summary.endswith("."), part.name
        assert part.formula, part.name
        assert part.facts["source"], part.name
        assert part.card()["name"] == part.name
