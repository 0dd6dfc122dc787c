"""Training mode beside evaluation mode."""

import pytest
import torch
import torch.nn.functional as F
from signal_programs import CE, Made, adam, blobs, chart, cut, mlp
from torch import Tensor, nn


def normed(**given: object) -> Made:
    x, y = blobs(256)
    net = nn.Sequential(nn.Linear(16, 24), nn.BatchNorm1d(24, **given), nn.ReLU(), nn.Linear(24, 4))  # type: ignore[arg-type]
    return net, CE, adam(net), cut(3 * x + 5, y)


def test_a_plain_network_is_the_same_in_both() -> None:
    modes = chart(lambda: (net := mlp(16, 24, 4), CE, adam(net), cut(*blobs(96)))).modes
    assert modes.loss_train == modes.loss_eval
    assert modes.similarity == pytest.approx(1)
    assert not modes.random
    assert not modes.depends
    assert modes.steps == 0


def test_batch_norm_with_settled_statistics_agrees() -> None:
    modes = chart(normed, epochs=20).modes
    assert 0.7 < modes.ratio < 1.3
    assert modes.similarity > 0.9
    assert not modes.depends
    assert modes.norms == ("1",)


def test_momentum_nought_leaves_statistics_where_they_began() -> None:
    modes = chart(lambda: normed(momentum=0.0), epochs=20).modes
    assert modes.ratio > 1.5


def test_answers_that_need_their_batch() -> None:
    modes = chart(lambda: normed(track_running_stats=False), epochs=2).modes
    assert modes.depends


def test_dropout_in_use_gives_two_answers() -> None:
    class Awake(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(x, 0.5)

    def made(drop: nn.Module) -> Made:
        net = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), drop, nn.Linear(24, 4))
        return net, CE, adam(net), cut(*blobs(96))

    assert chart(lambda: made(Awake()), epochs=1).modes.random
    assert not chart(lambda: made(nn.Dropout(0.5)), epochs=1).modes.random


def test_examples_of_one_batch_size_one() -> None:
    x, y = blobs(12)
    modes = chart(lambda: (net := mlp(16, 8, 4), CE, adam(net), cut(x, y, 1)), epochs=1).modes
    assert not modes.depends
    assert torch.isfinite(torch.tensor(modes.loss_eval))


class Summing(nn.Module):
    """A recurrent layer over pictures' rows, examples on axis 0."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.read = nn.GRU(4, 8, batch_first=first)
        self.say = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.say(self.read(x.reshape(len(x), 4, 4))[0][:, -1])


@pytest.mark.parametrize("first", [False, True])
def test_time_along_the_batch_makes_later_answers_depend_on_earlier_ones(first: bool) -> None:
    modes = chart(lambda: (net := Summing(first), CE, adam(net), cut(*blobs(96))), epochs=1).modes
    assert modes.depends is not first
