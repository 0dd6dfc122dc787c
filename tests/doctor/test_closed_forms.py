"""Every closed form beside a numeric minimisation or a direct computation."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.doctor import closed_forms as forms


def least(value: Callable[[Tensor], Tensor], start: Tensor, steps: int = 1500, rate: float = 0.05) -> float:
    """The least value that Adam, with a falling rate, finds from a start."""
    free = start.clone().double().requires_grad_()
    search = torch.optim.Adam([free], lr=rate)
    for step in range(steps):
        for group in search.param_groups:
            group["lr"] = rate * (1 - step / steps)
        search.zero_grad()
        found = value(free)
        found.backward()
        search.step()
    return float(value(free).detach())


def test_uniform_cross_entropy() -> None:
    for classes in (2, 10, 100):
        value = F.cross_entropy(torch.zeros(4, classes, dtype=torch.float64), torch.tensor([0, 1, 1, 0]))
        assert forms.uniform_cross_entropy(classes) == pytest.approx(float(value), rel=1e-12)


@pytest.mark.parametrize(("classes", "spread"), [(2, 0.3), (10, 0.3), (10, 0.6), (100, 0.8)])
def test_fresh_cross_entropy(classes: int, spread: float) -> None:
    draw = torch.Generator().manual_seed(3)
    logits = spread * torch.randn(200_000, classes, generator=draw)
    value = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long)).item()
    excess = value - math.log(classes)
    assert forms.fresh_cross_entropy(classes, spread) - math.log(classes) == pytest.approx(excess, rel=0.1, abs=3e-3)


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_softmax_twice(classes: int) -> None:
    low, high = forms.softmax_twice(classes)
    start = torch.randn(1, classes, generator=torch.Generator().manual_seed(0))
    right = torch.tensor([0])
    assert low == pytest.approx(least(lambda z: F.cross_entropy(z.softmax(1), right), start, 3000, 0.2), abs=1e-3)
    assert high == pytest.approx(-least(lambda z: -F.cross_entropy(z.softmax(1), right), start, 3000, 0.2), abs=1e-3)


def test_softmax_twice_in_the_tables_numbers() -> None:
    table = {2: (0.313, 1.313), 3: (0.551, 1.551), 10: (1.461, 2.461), 100: (3.622, 4.622)}
    for classes, (low, high) in table.items():
        assert forms.softmax_twice(classes) == pytest.approx((low, high), abs=6e-4)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (0.0, 6.0)])
def test_bounded_cross_entropy(low: float, high: float) -> None:
    draw = torch.Generator().manual_seed(1)
    right = torch.tensor([0])

    def value(z: Tensor) -> Tensor:
        return F.cross_entropy(low + (high - low) * z.sigmoid(), right)

    start = torch.randn(1, 5, generator=draw)
    found = forms.bounded_cross_entropy(5, low, high)
    assert found[0] == pytest.approx(least(value, start, 2000, 0.2), abs=2e-3)
    assert found[1] == pytest.approx(-least(lambda z: -value(z), start, 2000, 0.2), abs=2e-3)


@pytest.mark.parametrize("positives", [0.0, 0.25, 0.5, 1.0])
def test_sigmoid_twice_floor(positives: float) -> None:
    targets = (torch.arange(8) < 8 * positives).double()
    value = least(lambda z: F.binary_cross_entropy_with_logits(z.sigmoid(), targets), torch.zeros(8), 2000, 0.2)
    assert forms.sigmoid_twice_floor(positives) == pytest.approx(value, abs=2e-3)


def test_bounded_binary_cross_entropy_of_a_relu_head() -> None:
    targets = torch.tensor([0.0, 0, 1, 1], dtype=torch.float64)
    value = least(
        lambda z: F.binary_cross_entropy_with_logits(z.clamp(min=0) + 0 * z, targets), torch.ones(4), 3000, 0.2
    )
    assert forms.bounded_binary_cross_entropy(0.5, 0.0, math.inf) == pytest.approx(value, abs=2e-3)


def test_softmax_of_one_unit() -> None:
    z = torch.randn(40, 1, requires_grad=True)
    targets = (torch.arange(40) < 10).float()[:, None]
    outputs = z.softmax(1)
    found = forms.softmax_of_one_unit(0.25)
    assert (outputs == found["output"]).all()
    (slope,) = torch.autograd.grad(F.mse_loss(outputs, targets), z)
    assert slope.abs().max() == found["slope"] == 0
    assert ((outputs > 0.5).float() == targets).double().mean() == found["accuracy"]
    assert F.mse_loss(outputs, targets).item() == pytest.approx(found["squared_error"])


def test_nll_of_probabilities() -> None:
    low, high = forms.nll_of_probabilities()
    right, start = torch.tensor([0, 2]), torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert low == pytest.approx(least(lambda z: F.nll_loss(z.softmax(1), right), start, 2000, 0.2), abs=1e-3)
    assert high == pytest.approx(-least(lambda z: -F.nll_loss(z.softmax(1), right), start, 2000, 0.2), abs=1e-3)


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_broadcast_floor() -> None:
    targets = torch.tensor([1.0, 2.0, 4.0, -3.0, 0.5], dtype=torch.float64)
    value = least(lambda o: F.mse_loss(o, targets), torch.zeros(5, 1))
    assert forms.broadcast_floor(targets) == pytest.approx(value, rel=1e-6)
    assert value > 1  # with shapes that fit it would be 0


def test_sum_over_mean_and_uncleared_gradients() -> None:
    torch.manual_seed(0)
    net, x, y = nn.Linear(3, 1), torch.randn(16, 3), torch.randn(16, 1)

    def slope(reduction: str, times: int = 1) -> Tensor:
        net.zero_grad()
        for _ in range(times):
            F.mse_loss(net(x), y, reduction=reduction).backward()
        assert net.weight.grad is not None
        return net.weight.grad.clone()

    torch.testing.assert_close(slope("sum"), forms.sum_over_mean(16) * slope("mean"))
    assert torch.equal(slope("mean", 2), forms.uncleared_gradient(2) * slope("mean"))


def test_constant_cross_entropy_and_accuracy() -> None:
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    value = least(lambda z: F.cross_entropy(z.expand(10, 3), labels), torch.zeros(3))
    assert forms.constant_cross_entropy([0.5, 0.3, 0.2]) == pytest.approx(value, rel=1e-6)
    assert forms.constant_cross_entropy([1.0, 0.0]) == 0
    assert forms.constant_accuracy([0.5, 0.3, 0.2]) == max((labels == k).double().mean().item() for k in range(3))


@pytest.mark.parametrize("shape", [(9,), (9, 1), (9, 3)])
def test_constant_errors_of_numbers(shape: tuple[int, ...]) -> None:
    targets = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3 + 5
    start = torch.full(shape[1:], 4.0)
    squares = least(lambda c: (targets - c).square().mean(), start, 2000, 0.1)
    lengths = least(lambda c: (targets - c).abs().mean(), start, 4000, 0.05)
    assert forms.constant_squared_error(targets) == pytest.approx(squares, rel=1e-5)
    assert forms.constant_absolute_error(targets) == pytest.approx(lengths, rel=1e-3)


def test_unreachable_squared_error() -> None:
    targets = torch.tensor([-2.0, -0.5, 0.5, 3.0], dtype=torch.float64)
    value = least(lambda z: F.mse_loss(z.clamp(min=0) + 0 * z, targets), torch.ones(4), 3000)
    assert forms.unreachable_squared_error(targets, 0.0, math.inf) == pytest.approx(value, abs=1e-5)
    value = least(lambda z: F.mse_loss(z.tanh(), targets), torch.zeros(4), 3000, 0.2)
    assert forms.unreachable_squared_error(targets, -1.0, 1.0) == pytest.approx(value, abs=2e-3)


@pytest.mark.parametrize("logit", [-10.0, -2.0, 0.0, 3.0])
def test_squared_error_slope(logit: float) -> None:
    z = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((z.sigmoid() - 1).square(), z)
    assert forms.squared_error_slope(logit) == pytest.approx(float(slope), rel=1e-9)


def test_collapsed_is_the_same_function() -> None:
    torch.manual_seed(1)
    row = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(2, 5)).double()
    weight, bias = forms.collapsed([(part.weight.detach(), part.bias.detach()) for part in row])  # type: ignore[arg-type]
    x = torch.randn(7, 4, dtype=torch.float64)
    torch.testing.assert_close(x @ weight.T + bias, row(x))
    assert torch.linalg.matrix_rank(weight) == 2


@pytest.mark.parametrize(("outgoing", "outputs", "one"), [(True, 3, True), (False, 1, True), (False, 3, False)])
def test_gradient_of_equal_units_has_rank_one(outgoing: bool, outputs: int, one: bool) -> None:
    torch.manual_seed(2)
    x, y = torch.randn(32, 5), torch.randn(32, outputs)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, outputs))
    for layer in (net[0], net[2]) if outgoing else (net[0],):
        nn.init.constant_(layer.weight, 0.1)  # type: ignore[arg-type]
        nn.init.constant_(layer.bias, 0.0)  # type: ignore[arg-type]
    F.mse_loss(net(x), y).backward()
    rest = forms.beyond_rank_one(net[0].weight.grad)  # type: ignore[arg-type]
    assert (rest < 1e-10) == one
    assert forms.beyond_rank_one(torch.zeros(2, 2)) == 0
