"""What every loss in the catalogue keeps to."""

import math

import pytest
import torch

from netwright.catalogue import LOSSES
from netwright.parts.losses import check_loss
from netwright.recipe import Recipe
from netwright.training.objective import on_outputs

ONE_COLUMN = {"logistic", "hinge", "squared_hinge", "perceptron", "exponential"}
CONVENTIONS = [
    ("cross_entropy", {"over": "mean"}),
    ("cross_entropy", {"eps": 1e-5}),
    ("cross_entropy", {"eps": 1e-300}),
    ("cross_entropy", {"label_smoothing": 0.2, "eps": 1e-5}),
    ("bce", {"eps": 0.0}),
    ("focal", {"gamma": 0.3}),
    ("focal", {"gamma": 0.0, "alpha": 0.25}),
    ("focal", {"link": "sigmoid", "alpha": 0.25, "gamma": 0.5}),
    ("multiclass_hinge", {"over": "sum", "power": 2}),
    ("multiclass_hinge", {"over": "max", "margin": 3.0}),
    ("mse", {"link": "softmax"}),
    ("mae", {"link": "sigmoid", "over": "sum"}),
    ("half_squared_error", {"link": "softmax"}),
    ("least_squares", {"link": "sigmoid"}),
    ("msle", {"eps": 0.0}),
    ("mape", {"eps": 1.0}),
]
CASES = [*((name, {}) for name in LOSSES), *CONVENTIONS]


def example(name, dtype=torch.float64, scale=1.0, rows=6):
    """Plain outputs and a fitting target for a loss, away from kinks."""
    generator = torch.Generator().manual_seed(0)
    columns = 1 if name in ONE_COLUMN else 3
    if LOSSES[name].facts["target"] == "token sequence":
        outputs = scale * (torch.rand(rows, 5, 3, generator=generator, dtype=torch.float64) - 0.47)
        return outputs.to(dtype), torch.tensor([[1, 2], [2, 2], [1, 0]])[torch.arange(rows) % 3]
    outputs = (scale * (torch.rand(rows, columns, generator=generator, dtype=torch.float64) - 0.47)).to(dtype)
    if LOSSES[name].facts["target"] == "number":
        return outputs, torch.randn(rows, columns, generator=generator, dtype=torch.float64).to(dtype)
    return outputs, torch.arange(rows) % max(2, columns)


def test_the_catalogue_holds_every_loss_of_the_notes():
    wanted = "mae half_squared_error mse msle mape logistic nll bce bce_with_logits cross_entropy hinge squared_hinge"
    wanted += " multiclass_hinge exponential least_squares smooth_l1 focal perceptron"
    assert set(wanted.split()) <= set(LOSSES)


@pytest.mark.parametrize(("name", "given"), CASES)
def test_one_value_an_example_none_negative(name, given):
    outputs, target = example(name)
    loss = on_outputs(name, given)(outputs, target)
    assert loss.shape == (6,)
    assert bool((loss >= 0).all())


@pytest.mark.parametrize(("name", "given"), CASES)
def test_each_value_is_its_own_examples(name, given):
    loss = on_outputs(name, given)
    outputs, target = example(name)
    alone = [loss(outputs[i : i + 1], target[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(torch.cat(alone), loss(outputs, target))


@pytest.mark.parametrize(("name", "given"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_with_finite_gradients_far_out(name, given, dtype):
    outputs, target = example(name, dtype)
    signs = torch.where(torch.arange(outputs.numel()).reshape(outputs.shape) % 2 == 0, 1.0, -1.0)
    for scale in (1000.0, -1000.0, 1000 * signs, -1000 * signs):
        far = torch.ones_like(outputs).mul(scale).requires_grad_()
        loss = on_outputs(name, given)(far, target)
        loss.sum().backward()
        assert bool(torch.isfinite(loss).all())
        assert bool(torch.isfinite(far.grad).all())


@pytest.mark.parametrize(("name", "given"), CASES)
def test_gradients_equal_finite_differences(name, given):
    outputs, target = example(name, scale=5.0)
    check_loss(on_outputs(name, given), outputs, target)
    assert torch.autograd.gradcheck(lambda x: on_outputs(name, given)(x, target), (outputs.requires_grad_(),))


@pytest.mark.parametrize(("name", "given"), CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_number_types_stay_and_half_precision_is_computed_in_float32(name, given, dtype):
    loss = on_outputs(name, given)
    outputs, target = example(name, dtype)
    values = loss(outputs, target)
    assert values.dtype == (torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype)
    wider = loss(outputs.double(), target.double() if target.is_floating_point() else target)
    torch.testing.assert_close(values.double(), wider, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "given"), CASES)
def test_an_empty_batch_gives_no_values(name, given):
    outputs, target = example(name)
    assert on_outputs(name, given)(outputs[:0], target[:0]).shape == (0,)


@pytest.mark.parametrize(("name", "given"), CASES)
def test_without_numbers_the_shape_is_still_told(name, given):
    outputs, target = example(name)
    found = on_outputs(name, given)(outputs.to("meta"), target.to("meta"))
    assert (found.shape, found.device.type) == ((6,), "meta")


@pytest.mark.parametrize("name", list(LOSSES))
def test_moving_against_the_gradient_lowers_it(name):
    outputs, target = example(name, scale=5.0)
    outputs.requires_grad_()
    before = on_outputs(name, {})(outputs, target).sum()
    before.backward()
    after = on_outputs(name, {})(outputs.detach() - 1e-3 * outputs.grad / outputs.grad.norm(), target).sum()
    assert float(after) < float(before.detach())


@pytest.mark.parametrize("name", list(LOSSES))
def test_the_card_is_complete(name):
    part = LOSSES[name]
    assert part.facts["target"] in ("class index", "number", "token sequence")
    assert part.facts["link"] in ("softmax", "sigmoid", "identity")
    assert part.facts.get("reads") in (None, "probabilities", "log-probabilities")
    assert len(part.facts["source"]) > 8
    assert part.summary.endswith(".")
    assert part.formula
    assert part.card()["settings"].keys() == part.defaults().keys()
    assert all(not isinstance(value, float) or math.isfinite(value) for value in part.defaults().values())
    assert part.check(part.defaults()) == part.defaults()


@pytest.mark.parametrize(("name", "given"), CASES)
def test_a_recipe_brings_every_setting_back(name, given):
    table = {"name": name, **LOSSES[name].defaults(), **given}
    again = Recipe.parse(Recipe(0, {"loss": table}).text()).check().table("loss")
    assert again == table
    chosen = {key: value for key, value in again.items() if key != "name"}
    outputs, target = example(name)
    assert torch.equal(on_outputs(name, chosen)(outputs, target), on_outputs(name, given)(outputs, target))


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
