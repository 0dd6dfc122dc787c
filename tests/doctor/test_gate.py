"""The gate: the network beside simple learners, example by example where both answered the same ones."""

import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import nn

from netwright.doctor.chart import Chart, Clock
from netwright.doctor.code import CodeSubject
from netwright.doctor.gate import Gate, measured_gate

X, Y = (torch.tensor(part, dtype=torch.float32) for part in load_diabetes(return_X_y=True))
ORDER = torch.randperm(442, generator=torch.Generator().manual_seed(0))
X, Y = 21 * X[ORDER], ((Y - Y.mean()) / Y.std())[ORDER, None]


def chart(width: int, epochs: int) -> Chart:
    """A network of one hidden layer on 342 patients, judged on 100."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, 1))
    batches = [(X[start : start + 57], Y[start : start + 57]) for start in range(0, 342, 57)]
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    subject = CodeSubject(net, nn.MSELoss(), optimizer, batches, None, epochs, [(X[342:], Y[342:])])
    return Chart(subject, Clock(60.0))


@pytest.fixture(scope="module")
def by_heart() -> Gate:
    return measured_gate(chart(width=200, epochs=80))


def test_learning_few_examples_by_heart_is_harm_though_a_hundred_others_tell_little(by_heart):
    assert by_heart.train > 0.8
    assert by_heart.gap > 0.15
    assert by_heart.harmed


def test_a_network_that_keeps_up_is_not_harmed():
    found = measured_gate(chart(width=8, epochs=10))
    assert abs(found.target - found.reached) < 0.1
    assert not found.harmed


def test_the_error_of_the_difference_is_that_of_drawing_the_same_examples_again(by_heart):
    made = chart(width=200, epochs=80)
    own, learnt = made.whole.shares[made.whole.kept], made.control.scores[made.control.best].shares
    drawn = torch.randint(0, 100, (4000, 100), generator=torch.Generator().manual_seed(0))
    difference = torch.from_numpy(learnt) - own[made.control.asked]
    assert by_heart.error == pytest.approx(difference[drawn].mean(1).std().item(), rel=0.1)
