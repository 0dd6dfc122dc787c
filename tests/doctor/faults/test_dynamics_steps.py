"""D4 to D11 and F1 to F4: found where they are, quiet where a look-alike is healthy."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netwright.data.read import read
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.code import CodeSubject
from netwright.doctor.faults.generalisation import chosen_badly, error_of, luck_of_the_seed, overfitting, underfitting
from netwright.doctor.faults.loop import not_trained
from netwright.doctor.faults.numbers import heavy_tails, lost_in_half, non_finite_numbers
from netwright.doctor.faults.optimizers import too_few_updates, unsuitable_batch, unsuitable_optimizer
from netwright.doctor.faults.rates import rate_too_high, rate_too_low
from netwright.doctor.faults.regularisation import too_much_regularisation
from netwright.doctor.faults.schedules import schedule_fault
from netwright.doctor.gauges.control import Control, Score
from netwright.doctor.trial import branch
from netwright.doctor.work import RecipeSubject
from netwright.recipe import Recipe

LOSS = nn.CrossEntropyLoss()


def data(count: int = 320) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (count,), generator=draw)
    return torch.randn(count, 8, generator=draw) + 2.5 * nn.functional.one_hot(y, 8).float(), y


def chart_of(
    rule: Any = None, epochs: int = 12, size: int = 32, loss: Any = LOSS, step: Any = None, skill: float = 0.95,
    given: Any = None, held: Any = None, width: int = 32,
) -> Chart:  # fmt: skip
    torch.manual_seed(0)
    x, y = data() if given is None else given
    model = nn.Sequential(nn.Linear(x.shape[1], width), nn.ReLU(), nn.Linear(width, 4))
    optimizer = (rule or (lambda p: torch.optim.Adam(p, 1e-2)))(model.parameters())
    step = step(model, optimizer) if step is not None else None
    loader = list(zip(x.split(size), y.split(size), strict=True))
    chart = Chart(CodeSubject(model, loss, optimizer, loader, step, epochs, held), Clock(60))
    chart.__dict__["control"] = Control(
        "classes", "rows", {"linear": Score(skill, 0.02)}, "linear", True, True, 100, 100, 0.0
    )
    return chart


def cured(chart: Chart, found: Any, steps: int = 120) -> float:
    return branch(chart.subject, found.changes[:1], steps).skill - chart.whole.skill


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        (lambda p: torch.optim.Adadelta(p, 1e-3), "usual_rate"),
        (lambda p: torch.optim.Adagrad(p, 1e-5), "usual_rate"),
        (lambda p: torch.optim.SGD(p, 0.1, momentum=0.999), "momentum"),
        (lambda p: torch.optim.Adam(p, 1e-3, eps=1.0), "eps"),
        (lambda p: torch.optim.Adam(p, 1e-2, betas=(0.9, 0.3)), "beta2"),
    ],
)
def test_odd_settings_of_an_optimizer_are_named(rule: Any, named: str) -> None:
    chart = chart_of(rule)
    found = unsuitable_optimizer(chart)
    assert found is not None
    assert named in found.evidence
    assert found.strength >= 0.7
    assert cured(chart, found) > -0.06


@pytest.mark.parametrize("rule", [lambda p: torch.optim.Adam(p, 1e-2), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)])
def test_usual_optimizers_are_left_alone(rule: Any) -> None:
    assert unsuitable_optimizer(chart_of(rule)) is None


def test_too_large_a_batch_needs_smaller_ones_and_few_epochs_need_more() -> None:
    big = chart_of(lambda p: torch.optim.Adam(p, 1e-3), epochs=10, size=320)
    found = unsuitable_batch(big)
    assert found is not None
    assert found.evidence["updates"] == 10
    assert cured(big, found, 10) > 0.2
    short = chart_of(lambda p: torch.optim.Adam(p, 2e-3), epochs=2)
    assert unsuitable_batch(short) is None
    found = too_few_updates(short)
    assert found is not None
    assert found.evidence["updates"] == 20
    assert cured(short, found, 20) > 0.1
    done = chart_of()
    assert too_few_updates(done) is None
    assert unsuitable_batch(done) is None


@pytest.mark.parametrize("decay", [1.0, 3.0])
def test_weight_decay_that_pulls_harder_than_the_data(decay: float) -> None:
    chart = chart_of(lambda p: torch.optim.Adam(p, 1e-2, weight_decay=decay))
    found = too_much_regularisation(chart)
    assert found is not None
    assert found.strength >= 0.6
    assert found.changes[0].name == "weight decay 0"
    assert cured(chart, found) > 0.3


def test_a_penalty_inside_the_loss_is_seen_and_taken_out() -> None:
    kept: list[nn.Module] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return LOSS(outputs, targets) + sum(p.square().sum() for p in kept[0].parameters())

    torch.manual_seed(0)
    x, y = data()
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    kept.append(model)
    loader = list(zip(x.split(32), y.split(32), strict=True))
    chart = Chart(CodeSubject(model, loss, torch.optim.Adam(model.parameters(), 1e-2), loader, None, 12), Clock(60))
    chart.__dict__["control"] = chart_of().control
    found = too_much_regularisation(chart)
    assert found is not None
    assert found.changes[0].name == "no penalty"
    assert found.evidence["weights_by_start"] < 0.1
    assert cured(chart, found) > 0.3


def test_usual_decay_is_no_fault() -> None:
    assert too_much_regularisation(chart_of(lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.01))) is None


def scheduled_step(every: int) -> Any:
    def make(model: nn.Module, rule: torch.optim.Optimizer) -> Any:
        count = [0]

        def step(batch: Any) -> Tensor:
            rule.zero_grad()
            loss = LOSS(model(batch[0]), batch[1])
            loss.backward()
            rule.step()
            count[0] += 1
            if count[0] % every == 0:
                rule.param_groups[0]["lr"] *= 0.1
            return loss

        return step

    return make


def test_a_schedule_that_takes_the_rate_away_too_early() -> None:
    sick = chart_of(lambda p: torch.optim.SGD(p, 0.02), step=scheduled_step(2))
    found = schedule_fault(sick)
    assert found is not None
    assert found.evidence["area"] < 0.2
    assert found.changes[0].name == "constant rate"
    assert cured(sick, found) > 0.1
    assert schedule_fault(chart_of(lambda p: torch.optim.SGD(p, 0.02), step=scheduled_step(100))) is None
    assert schedule_fault(chart_of()) is None  # nobody schedules anything


def test_a_rate_of_zero_is_certain() -> None:
    found = schedule_fault(chart_of(lambda p: torch.optim.SGD(p, 0.0), step=scheduled_step(10)))
    assert found is not None
    assert found.exact


def test_a_plain_rate_of_zero_is_certain_and_another_optimizer_mends_it() -> None:
    chart = chart_of(lambda p: torch.optim.SGD(p, 0.0))
    found = schedule_fault(chart)
    assert found is not None
    assert found.exact
    assert cured(chart, found) > 0.3


def test_one_corrupt_batch_is_named() -> None:
    x, _y = data()
    targets = x @ torch.linspace(-1, 1, 8)
    targets[70] = 300.0
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    loader = list(zip(x.split(32), targets[:, None].split(32), strict=True))
    rule = torch.optim.SGD(model.parameters(), 0.02)
    chart = Chart(CodeSubject(model, nn.MSELoss(), rule, loader, None, 20), Clock(60))
    found = heavy_tails(chart)
    assert found is not None
    assert found.evidence["batches"] == [2]
    assert found.evidence["targets_far_out"] == 1
    assert [change.name.split()[0] for change in found.changes[:2]] == ["without", "clip"]
    assert heavy_tails(chart_of()) is None


class Root(nn.Module):
    """The slope of a square root at 0 is infinite: outputs are finite, the gradient is not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).square().sum(1, keepdim=True).sqrt() * torch.ones(4)


@pytest.mark.parametrize(
    ("stage", "where"), [("input", "inputs"), ("forward", "0"), ("loss", "loss"), ("backward", "layer")]
)
def test_the_first_number_that_is_not_finite_is_placed(stage: str, where: str) -> None:
    x, y = data()
    model: nn.Module = Root() if stage == "backward" else nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    loss: Any = (lambda o, t: (o.detach() * 0).sum() / 0 + o.sum()) if stage == "loss" else LOSS
    if stage == "input":
        x = x.clone()
        x[0, 0] = float("nan")
    if stage == "forward":
        with torch.no_grad():
            model[0].weight[0, 0] = float("inf")
    loader = list(zip(x.split(32), y.split(32), strict=True))
    chart = Chart(CodeSubject(model, loss, torch.optim.SGD(model.parameters(), 0.1), loader, None, 4), Clock(60))
    found = non_finite_numbers(chart)
    assert found is not None
    assert found.evidence["stage"] == stage
    assert where in found.evidence["where"]
    assert found.evidence["step"] == 0
    assert non_finite_numbers(chart_of()) is None


def test_gradients_lost_in_float16() -> None:
    x, y = data(64)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).half()
    rule = torch.optim.SGD(model.parameters(), 0.1)
    chart = Chart(CodeSubject(model, lambda o, t: 1e-6 * LOSS(o.float(), t), rule, [(x.half(), y)], None, 4), Clock(60))
    found = lost_in_half(chart)
    assert found is not None
    assert found.evidence["gradients_lost"] > 0.05
    with chart.subject.live(found.changes[:1]) as live:
        live.run(2)
        assert model[0].weight.dtype == torch.float32
    assert model[0].weight.dtype == torch.float16
    assert lost_in_half(chart_of()) is None


def noisy(count: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(count, 10, generator=draw)
    return x, (x[:, 0] + 1.5 * torch.randn(count, generator=draw) > 0).long()


def test_learning_noise_by_heart_is_overfitting_and_a_sound_training_is_not() -> None:
    x, y = noisy(1040)
    chart = chart_of(
        lambda p: torch.optim.Adam(p, 1e-2), 150, given=(x[:80], y[:80]), held=[(x[80:], y[80:])], width=128
    )
    found = overfitting(chart)
    assert found is not None
    assert found.evidence["gap"] > 0.3
    x, y = data(960)
    sound = chart_of(given=(x[:480], y[:480]), held=[(x[480:], y[480:])])
    assert overfitting(sound) is None


def test_few_validation_examples_are_a_note() -> None:
    x, y = data(400)
    few = chosen_badly(
        chart_of(lambda p: torch.optim.Adam(p, 1e-3), given=(x[:320], y[:320]), held=[(x[320:350], y[320:350])])
    )
    assert few is None or few.note
    assert error_of(0.8, 100, 0.5, "classes") == pytest.approx(2 * math.sqrt(0.9 * 0.1 / 100))


def test_underfitting_only_where_simple_learners_are_far_ahead() -> None:
    assert underfitting(chart_of()) is None
    behind = underfitting(chart_of(lambda p: torch.optim.Adam(p, 1e-9), skill=0.95))
    assert behind is not None
    assert behind.strength < 0.1
    assert behind.changes


def test_luck_shows_where_orders_of_the_batches_differ() -> None:
    assert luck_of_the_seed(chart_of()) is None


def recipe_chart(*words: str) -> Chart:
    subject = RecipeSubject(Recipe().override(["network=mlp", "epochs=3", *words]), read("digits", limit=200))
    chart = Chart(subject, Clock(30))
    chart.__dict__["control"] = Control(
        "classes", "rows", {"linear": Score(0.9, 0.02)}, "linear", True, True, 9, 9, 0.0
    )
    return chart


@pytest.mark.parametrize(
    ("words", "detector", "patch"),
    [
        (("optimizer=sgd", "optimizer.lr=50"), rate_too_high, "optimizer.lr"),
        (("optimizer.lr=1e-8",), rate_too_low, "optimizer.lr"),
        (("training.l2=5",), too_much_regularisation, "training.l2"),
        (("schedule=exponential", "schedule.final=1e-9"), schedule_fault, "schedule"),
        (("training.freeze=",), None, ""),
    ],
)
def test_recipes_get_patches(words: tuple[str, ...], detector: Any, patch: str) -> None:
    if detector is None:
        assert not_trained(recipe_chart()) is None
        return
    found = detector(recipe_chart(*words))
    assert found is not None
    assert patch in found.changes[0].patch


def test_a_recipe_that_freezes_its_head_is_certain() -> None:
    chart = recipe_chart()
    with chart.subject.live() as live:
        last = [name for name, _ in live.model.named_parameters()][-1].rpartition(".")[0]
    found = not_trained(recipe_chart(f"training.freeze={last}"))
    assert found is not None
    assert found.exact
    assert found.changes[0].patch == {"training.freeze": ""}
