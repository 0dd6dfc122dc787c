"""Section C: programs that have a fault are suspected of it, with numbers; their look-alikes are not."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from signal_programs import (
    CE,
    Made,
    Reader,
    Residual,
    Writer,
    adam,
    blobs,
    chart,
    cut,
    filled,
    mlp,
    scaled,
    seen,
    sgd,
    text,
    xor,
)
from torch import Tensor, nn

from netwright.catalogue import FAULTS


class Awake(nn.Module):
    """Dropout that nobody told when the network is used."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


def biased() -> nn.Module:
    net = mlp(16, 32, 4)
    nn.init.constant_(net[0].bias, -30.0)  # type: ignore[arg-type]
    return net


def made(net: nn.Module, size: int = 32, rate: float = 1e-2) -> Made:
    return net, CE, adam(net, rate), cut(*blobs(), size)


def first_token(cell: type[nn.RNNBase]) -> Made:
    x = torch.randint(0, 4, (64, 50), generator=torch.Generator().manual_seed(0))
    net = Reader(cell)
    return net, CE, adam(net), cut(x, x[:, 0].clone())


def narrow(width: int) -> Made:
    net = mlp(16, width, 4)
    return net, CE, adam(net), cut(*blobs(classes=4))


def deep_sigmoid() -> Made:
    net = mlp(16, *[24] * 8, 4, act=nn.Sigmoid)
    return net, CE, sgd(net), cut(*blobs())


def writer(**given: object) -> Made:
    net = Writer(**given)  # type: ignore[arg-type]
    return net, CE, adam(net), text()


def linear_rows() -> Made:
    net = mlp(2, 32, 32, 2, act=nn.Identity)
    return net, CE, adam(net), cut(*xor())


def loud() -> Made:
    net, (x, y) = mlp(16, 32, 4, act=nn.Tanh), blobs()
    return net, CE, adam(net), cut(100 * x, y)


def one_by_one() -> Made:
    net = nn.Sequential(nn.Linear(16, 48), nn.LayerNorm(48), nn.ReLU(), nn.Linear(48, 4))
    return net, CE, adam(net, 1e-3), cut(*blobs(96), 1)


def dropping(inside: nn.Module, *behind: nn.Module, width: int = 24) -> nn.Module:
    return nn.Sequential(nn.Linear(16, width), nn.ReLU(), inside, nn.Linear(width, 4), *behind)


def with_norm(size: int, momentum: float = 0.1, last: bool = False) -> Made:
    parts = [nn.Linear(16, 32), nn.BatchNorm1d(32, momentum=momentum), nn.ReLU(), nn.Linear(32, 4)]
    x, y = blobs(192)
    net = nn.Sequential(*parts, *([nn.BatchNorm1d(4)] if last else []))
    return net, CE, adam(net), cut(3 * x + 5, y, size)


def maps(pooling: int) -> Made:
    first, second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
    end = nn.Linear(8 * (16 // pooling) ** 2, 4)
    enter = nn.Unflatten(1, (1, 16, 16))
    net = nn.Sequential(enter, first, nn.ReLU(), nn.MaxPool2d(pooling), second, nn.ReLU(), nn.Flatten(), end)
    x, y = blobs(128, 256)
    return net, CE, adam(net), cut(x, y)


FAULTY: dict[str, tuple[str, Callable[[], Made]]] = {
    "constant weights": ("C1", lambda: made(filled(mlp(16, 24, 4), 0.1))),
    "zero weights": ("C1", lambda: made(filled(mlp(16, 24, 24, 4), 0.0))),
    "weights x 20": ("C2", lambda: made(scaled(mlp(16, 32, 32, 4), 20.0))),
    "tanh weights x 20": ("C2", lambda: made(scaled(mlp(16, 32, 32, 4, act=nn.Tanh), 20.0))),
    "weights x 0.02": ("C3", lambda: made(scaled(mlp(16, 32, 32, 32, 4), 0.02))),
    "eight sigmoids": ("C4", deep_sigmoid),
    "weights x 8, six layers": ("C5", lambda: made(scaled(mlp(16, *[32] * 6, 4), 8.0))),
    "biases -30": ("C6", lambda: made(biased())),
    "tanh on input x 100": ("C7", loud),
    "no activations": ("C8", linear_rows),
    "softmax inside": ("C9", lambda: made(mlp(16, 32, 32, 4, act=lambda: nn.Softmax(-1)))),
    "one unit": ("C10", lambda: narrow(1)),
    "24 layers": ("C11", lambda: made(mlp(16, *[16] * 24, 4))),
    "pooled to a point": ("C12", lambda: maps(16)),
    "batches of 2 for batch norm": ("C13", lambda: with_norm(2)),
    "momentum 0": ("C13", lambda: with_norm(32, 0.0)),
    "norm behind the head": ("C13", lambda: with_norm(32, 0.1, True)),
    "dropout 0.9": ("C14", lambda: made(dropping(nn.Dropout(0.9)))),
    "dropout in use": ("E5", lambda: made(dropping(Awake()))),
    "dropout on scores": ("C14", lambda: made(dropping(nn.Identity(), nn.Dropout(0.3)))),
    "simple recurrence over 50 steps": ("C15", lambda: first_token(nn.RNN)),
    "no causal mask": ("C16", lambda: writer(mask=False)),
    "scores x 30": ("C16", lambda: writer(sharp=30.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTY)
def test_fault_is_suspected_with_numbers(name: str) -> None:
    fault, make = FAULTY[name]
    found = seen(chart(make, 2), fault)
    assert fault in found
    one = found[fault]
    assert one.name
    assert 0 < one.strength <= 1
    assert one.evidence
    assert one.fault == fault
    assert one.harm


HEALTHY: dict[str, Callable[[], Made]] = {
    "MLP of torch's default": lambda: made(mlp(16, 48, 48, 4)),
    "tanh": lambda: made(mlp(16, 48, 48, 4, act=nn.Tanh)),
    "one layer of sigmoids": lambda: made(mlp(16, 48, 4, act=nn.Sigmoid)),
    "SELU": lambda: made(mlp(16, 48, 48, 48, 4, act=nn.SELU)),
    "SGD with momentum": lambda: (net := mlp(16, 48, 4), CE, sgd(net), cut(*blobs())),
    "zero residual ends and head": lambda: made(Residual()),
    "dropout 0.5 on 128 units": lambda: made(dropping(nn.Dropout(0.5), width=128)),
    "batch norm": lambda: with_norm(32),
    "layer norm, batches of 1": one_by_one,
    "convolutions": lambda: maps(4),
    "causal attention": writer,
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_program_raises_nothing_strong(name: str) -> None:
    found = seen(chart(HEALTHY[name]))
    assert {fault: one.strength for fault, one in found.items() if one.strength >= 0.5 or one.exact} == {}


def test_low_rank_factor_is_a_note() -> None:
    found = seen(
        chart(
            lambda: made(
                nn.Sequential(
                    nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4), nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 4)
                )
            )
        ),
        "C8",
    )
    assert found["C8"].note
    assert found["C8"].strength < 0.5


def test_activation_by_hand_is_one() -> None:
    class Bent(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp(min=0)

    assert not seen(chart(lambda: made(mlp(16, 32, 32, 4, act=Bent))), "C8")


def test_skip_between_linear_layers_is_no_missing_activation() -> None:
    class Stream(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.wide, self.back, self.out = (
                nn.Linear(16, 8),
                nn.Linear(8, 32),
                nn.Linear(32, 8),
                nn.Linear(8, 4),
            )

        def forward(self, x: Tensor) -> Tensor:
            h = F.gelu(self.enter(x))
            return self.out(h + self.back(F.gelu(self.wide(h))))

    assert not seen(chart(lambda: made(Stream())), "C8")


def test_order_of_a_set_is_seen_without_places() -> None:
    net = nn.Sequential()
    found = seen(chart(lambda: (net := Writer(places=False, mask=False), CE, adam(net), text(shift=False))), "C16")
    assert len(list(net)) == 0
    assert found["C16"].evidence["moves_when_shuffled"] < 1e-4
    assert found["C16"].changes


def test_all_zero_is_exact_and_names_the_weights() -> None:
    one = seen(chart(FAULTY["zero weights"][1]), "C1")["C1"]
    assert one.exact
    assert one.evidence["equal_rows"] == 1.0
    assert "0.weight" in one.where
    assert "4.weight" not in one.where


def test_titles_are_the_catalogue() -> None:
    assert [name for name in FAULTS if name.startswith("C")]
    assert all(FAULTS[f"C{i}"].facts["title"] for i in range(1, 17))


def test_one_example_tells_nothing_of_units() -> None:
    x, y = blobs(1)
    assert not seen(chart(lambda: (net := mlp(16, 24, 4), CE, adam(net), cut(x, y))), "C3", "C6")


def test_double_precision_is_widened() -> None:
    x, y = blobs(96)
    found = seen(chart(lambda: (net := mlp(16, 1, 4).double(), CE, adam(net), cut(x.double(), y))), "C10")
    assert found["C10"].changes
