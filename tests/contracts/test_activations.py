"""What every activation in the catalogue keeps to."""

import pytest
import torch

from netwright.catalogue import ACTIVATIONS
from netwright.parts.activations import activation, properties
from netwright.recipe import Recipe

ALONE = [name for name, part in ACTIVATIONS.items() if "acts_on" not in part.facts]
"""Functions of one number; the others act on groups of them."""
AWAY = torch.tensor([-7.3, -2.6, -1.1, -0.4, 0.3, 0.9, 1.7, 4.2, 8.8], dtype=torch.float64)
"""Numbers away from kinks."""


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_the_card_is_complete(name):
    part = ACTIVATIONS[name]
    assert part.summary.endswith(".")
    assert part.formula
    assert len(part.facts["source"]) > 8
    assert part.check(part.defaults()) == part.defaults()
    assert part.card()["settings"].keys() == part.defaults().keys()


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_far_numbers_stay_finite_with_finite_slopes(name):
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor([[-1000.0, -30.0, 30.0, 1000.0]], dtype=dtype).requires_grad_()
        y = ACTIVATIONS[name]().to(dtype)(x)
        assert y.dtype == dtype
        y.sum().backward()
        assert bool(y.isfinite().all() and x.grad.isfinite().all())


@pytest.mark.parametrize("name", ALONE)
def test_slopes_equal_finite_differences(name):
    function, x = activation(name).double(), AWAY.clone().requires_grad_()
    function(x).sum().backward()
    step = 1e-6
    with torch.no_grad():
        wanted = (function(AWAY + step) - function(AWAY - step)) / (2 * step)
    # torch's straight-line sigmoid has a slope of 1/6 rounded to 32 bits
    torch.testing.assert_close(x.grad, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ALONE)
def test_every_number_is_answered_for_itself_in_its_shape(name):
    function, x = activation(name), torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    together = function(x)
    assert together.shape == x.shape
    torch.testing.assert_close(together, torch.stack([function(row) for row in x]))


@pytest.mark.parametrize("name", ALONE)
def test_what_is_measured_holds_on_other_numbers(name):
    found = properties(name)
    with torch.no_grad():
        y = activation(name).double()(torch.linspace(-9.7, 9.3, 1009, dtype=torch.float64))
    assert found.low - 1e-6 <= float(y.min())
    assert float(y.max()) <= found.high + 1e-6
    if found.monotonic:
        assert float((y[1:] - y[:-1]).min()) >= -1e-9


@pytest.mark.parametrize("name", ALONE)
def test_a_recipe_names_it(name):
    table = {"name": "mlp", "activation": name}
    again = Recipe.parse(Recipe(0, {"network": table}).check().text())
    assert again.table("network") == Recipe(0, {"network": table}).check().table("network")
