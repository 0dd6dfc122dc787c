"""Faults of the inputs (A1 to A4, A11): found where they are, not where healthy data look odd."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from netwright.catalogue import FAULTS
from netwright.doctor.chart import Chart, Clock
from netwright.doctor.code import CodeSubject
from netwright.doctor.faults.inputs import scale_of_tensor
from netwright.doctor.suspicion import Suspicion
from netwright.doctor.work import RecipeSubject
from netwright.recipe import Recipe


def chart_of(
    x: Tensor, y: Tensor, net: nn.Module | None = None, *, loss=F.cross_entropy, outputs: int = 2, epochs: int = 2
):
    torch.manual_seed(0)
    net = net or nn.Sequential(nn.Linear(x.shape[1], 8), nn.ReLU(), nn.Linear(8, outputs))
    sgd = torch.optim.SGD(net.parameters(), lr=0.01)
    batches = list(zip(x.split(32), y.split(32), strict=True))
    return Chart(CodeSubject(net, loss, sgd, batches, epochs=epochs), Clock(60))


def suspicion(fault: str, chart: Chart) -> Suspicion | None:
    found = FAULTS[fault].build(chart)
    assert found is None or (found.fault == fault and found.evidence)
    return found


def drawn(seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(300, 6, generator=draw)
    return x, (x[:, 0] > 0).long()


def unscaled(kind: str) -> Tensor:
    x, _ = drawn()
    return {
        "thousands": x * torch.tensor([1.0, 1, 1, 1, 1, 2000]),
        "far": x + 50,
        "pixels": (x.sigmoid() * 255).round(),
        "apart": x * torch.tensor([1.0, 1, 1, 1, 1, 0.001]),
        "narrow": 0.5 + 0.004 * x,
    }[kind]


@pytest.mark.parametrize("kind", ["thousands", "far", "pixels", "apart", "narrow"])
def test_unscaled_inputs_are_suspected_and_standardised(kind: str) -> None:
    found = suspicion("A1", chart_of(unscaled(kind), drawn()[1]))
    assert found is not None
    assert not found.note
    assert not found.exact
    assert [change.name for change in found.changes] == ["standardised inputs"]
    assert any(found.evidence[name] > found.evidence[limit] for name, limit in (
        ("rms", "threshold_rms"), ("largest", "threshold_largest"), ("mean_by_std", "threshold_mean_by_std"),
        ("scale_ratio", "threshold_ratio")))  # fmt: skip


def test_farther_off_is_a_stronger_suspicion() -> None:
    x, y = drawn()
    strengths = [suspicion("A1", chart_of(x * factor, y)).strength for factor in (10, 100, 1000)]  # type: ignore[union-attr]
    assert strengths == sorted(strengths)
    assert strengths[0] < 0.5 < strengths[2]


def healthy(kind: str) -> Tensor:
    x, _ = drawn()
    draw = torch.Generator().manual_seed(1)
    return {
        "standardised": x,
        "between -3 and 5": x.clamp(-3, 5) + 0.3,
        "one-hot": F.one_hot(torch.randint(0, 40, (300,), generator=draw), 40).float(),
        "sparse": (torch.rand(300, 50, generator=draw) < 0.1).float() * torch.rand(300, 50, generator=draw),
        "mostly yes": (torch.rand(300, 8, generator=draw) < torch.tensor([0.99, 0.95] + [0.5] * 6)).float(),
        "0 to 1": torch.rand(300, 20, generator=draw),
        "long-tailed": torch.randn(300, 6, generator=draw) ** 3 / 4,
    }[kind]


@pytest.mark.parametrize(
    "kind", ["standardised", "between -3 and 5", "one-hot", "sparse", "mostly yes", "0 to 1", "long-tailed"]
)
def test_odd_but_healthy_inputs_raise_nothing(kind: str) -> None:
    x = healthy(kind)
    chart = chart_of(x, torch.arange(len(x)) % 2)
    for fault in ("A1", "A2", "A3", "A4"):
        assert suspicion(fault, chart) is None, fault


@pytest.mark.parametrize("first", ["batch norm", "layer norm", "own scaling"])
def test_a_network_that_normalises_by_itself_does_not_mind(first: str) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head((x - 4000) / 2000)

    net = {"batch norm": nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 2)), "own scaling": Scaled(),
           "layer norm": nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 2))}[first]  # fmt: skip
    x, y = drawn()
    found = suspicion("A1", chart_of(x * 2000 + 4000, y, net))
    assert found is not None
    assert found.note
    assert not found.changes


def test_tokens_have_no_scale() -> None:
    net = nn.Sequential(nn.Embedding(5000, 4), nn.Flatten(), nn.Linear(12, 2))
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    batches = [(torch.randint(0, 5000, (32, 3)), torch.randint(0, 2, (32,))) for _ in range(3)]
    chart = Chart(CodeSubject(net, F.cross_entropy, sgd, batches, epochs=1), Clock(60))
    from netwright.doctor.suspicion import Unmeasured

    for fault in ("A1", "A2"):
        with pytest.raises(Unmeasured):
            FAULTS[fault].build(chart)
    assert FAULTS["A3"].build(chart) is None


def test_the_scale_of_a_tensor_is_that_of_numpy() -> None:
    x = torch.randn(50, 3) * torch.tensor([1.0, 10.0, 0.1]) + 30
    found, numbers = scale_of_tensor(x), x.double().numpy()
    assert found.rms == pytest.approx(np.sqrt((numbers**2).mean()))
    assert found.offset == pytest.approx((numbers.mean(0) / numbers.std(0)).max())
    assert found.ratio <= numbers.std(0).max() / numbers.std(0).min() + 1e-9


def test_inputs_scaled_twice_are_squashed() -> None:
    x, y = drawn()
    found = suspicion("A2", chart_of(x.sigmoid() / 255, y))
    assert found is not None
    assert found.strength >= 0.5
    assert found.evidence["rms"] < 0.05
    assert found.evidence["output_spread"] < 0.01
    assert [change.name for change in found.changes] == ["rescaled inputs", "standardised inputs"]
    assert suspicion("A2", chart_of(torch.zeros(64, 4), y[:64])) is None


def test_missing_values_are_certain_and_named() -> None:
    x, y = drawn()
    x[70, 2] = float("nan")
    x[200, 5] = float("inf")
    found = suspicion("A3", chart_of(x, y))
    assert found is not None
    assert found.exact
    assert found.strength == 1
    assert found.evidence["non_finite"] == 2
    assert found.evidence["examples"] == [70, 200]
    assert found.evidence["features"] == [2, 5]
    assert found.changes[0].name == "filled inputs"


def test_a_network_that_fills_its_gaps_is_no_fault() -> None:
    class Filling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(12, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(torch.cat([x.nan_to_num(0.0), x.isnan().float()], 1))

    x, y = drawn()
    x[5, 1] = float("nan")
    found = suspicion("A3", chart_of(x, y, Filling()))
    assert found is not None
    assert found.note
    assert not found.exact


def test_a_missing_target_is_certain_and_left_out() -> None:
    x, _ = drawn()
    y = x[:, :1].clone()
    y[33] = float("nan")
    found = suspicion("A3", chart_of(x, y, loss=F.mse_loss, outputs=1))
    assert found is not None
    assert found.exact
    assert found.evidence["examples"] == [33]


def test_a_code_for_missing_is_suspected_and_filled() -> None:
    x, y = drawn()
    x[:60, 4] = -999.0
    found = suspicion("A3", chart_of(x, y))
    assert found is not None
    assert not found.exact
    assert (found.evidence["feature"], found.evidence["value"]) == (4, -999.0)
    assert found.evidence["share"] == pytest.approx(0.2)


def pictures(count: int = 96) -> tuple[Tensor, Tensor]:
    """Smooth pictures with the channels last: a bright blob left or right."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, count)
    rows, columns = np.mgrid[0:16, 0:16]
    middle = np.where(y == 1, 11, 4)
    blob = np.exp(-((columns[None] - middle[:, None, None]) ** 2 + (rows[None] - 8) ** 2) / 20)
    tint = draw.uniform(-1, 1, (count, 1, 1, 3))
    return torch.tensor((blob[..., None] * tint).astype(np.float32)), torch.tensor(y)


def conv(channels: int = 3, flat: int = 8) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(flat, 2)
    )


def test_the_right_layout_is_not_suspected() -> None:
    x, y = pictures()
    assert suspicion("A4", chart_of(x.permute(0, 3, 1, 2).contiguous(), y, conv())) is None


def test_a_reshape_in_place_of_a_permute_is_found_in_the_data_and_in_the_network() -> None:
    class Reshaping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = conv()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.reshape(-1, 3, 16, 16))

    x, y = pictures()
    for chart, where in ((chart_of(x.reshape(-1, 3, 16, 16), y, conv()), "0"), (chart_of(x, y, Reshaping()), "net.0")):
        found = suspicion("A4", chart)
        assert found is not None
        assert found.exact
        assert found.where == where
        assert found.evidence["layout"] == "memory N H W C"
        assert found.evidence["ratio"] >= 2
        assert found.changes[0].apply is not None


def test_channels_last_is_found_and_the_first_convolution_made_anew() -> None:
    x, y = pictures()
    found = suspicion("A4", chart_of(x, y, conv(16)))
    assert found is not None
    assert found.evidence["layout"] == "N H W C"
    assert "permute" in found.changes[0].patch["code"]
    assert found.changes[0].apply is not None


def test_noise_and_rows_have_no_layout() -> None:
    x, y = torch.randn(64, 3, 12, 12), torch.arange(64) % 2
    assert suspicion("A4", chart_of(x, y, conv())) is None
    assert suspicion("A4", chart_of(*drawn())) is None


class Changed(Dataset):
    def __init__(self, x: Tensor, y: Tensor, noise: float) -> None:
        self.x, self.y, self.transform = x, y, lambda one: one + noise * torch.randn_like(one)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int):
        return (self.transform(self.x[place]) if self.transform else self.x[place]), self.y[place]


def augmented(noise: float) -> Suspicion | None:
    x, y = drawn()
    torch.manual_seed(0)
    net = nn.Linear(6, 2)
    adam = torch.optim.Adam(net.parameters(), lr=0.02)
    loader = DataLoader(Changed(x, y, noise), 32, shuffle=True, generator=torch.Generator().manual_seed(0))
    return suspicion("A11", Chart(CodeSubject(net, F.cross_entropy, adam, loader, epochs=8), Clock(60)))


def test_loud_augmentation_is_suspected_and_mild_one_only_faintly() -> None:
    loud, mild = augmented(20.0), augmented(0.05)
    assert loud is not None
    assert loud.strength >= 0.6
    assert [c.name for c in loud.changes] == ["no augmentation"]
    assert loud.evidence["loss_by_constant"] > 0.7
    assert mild is not None
    assert mild.strength < 0.3
    assert suspicion("A11", chart_of(*drawn())) is None


def test_augmentation_of_a_recipe_is_suspected_by_its_key() -> None:
    from netwright.data.read import read

    dataset = read("digits", augment="flip")
    subject = RecipeSubject(
        Recipe().override(["data.path=digits", "data.augment=flip", "network=mlp", "epochs=1"]), dataset
    )
    found = suspicion("A11", Chart(subject, Clock(20)))
    assert found is not None
    assert found.where == "data.augment"
    assert found.changes[0].patch == {"data.augment": ""}
