"""True labels beside shuffled ones: the gap opens where inputs tell, and stays shut where they do not."""

import pytest
import torch
from torch import Tensor, nn

from netwright.doctor.code import CodeSubject
from netwright.doctor.gauges.permutation import Permutation, blank, permutation, shuffled
from netwright.doctor.subject import Pair
from netwright.doctor.suspicion import Unmeasured


def subject(x: Tensor, y: Tensor, size: int = 32, validation: list[tuple[Tensor, Tensor]] | None = None) -> CodeSubject:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(x.shape[1], 16), nn.ReLU(), nn.Linear(16, 3))
    batches = [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
    return CodeSubject(
        net, nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters(), 1e-2), batches, validation=validation
    )


def made(examples: int = 320) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    x = torch.randn(examples, 6)
    return x, (x @ torch.randn(6, 3)).argmax(1)


def test_the_gap_opens_where_inputs_tell_the_targets() -> None:
    x, y = made()
    found = permutation(subject(x, y), steps=60)
    assert found.opens
    assert found.gap > 0.3
    assert found.reads_inputs > 0.3
    assert len(found.true) == len(found.shuffled) == len(found.blank) == 3


@pytest.mark.parametrize("seed", [0, 5])
def test_the_gap_stays_shut_where_pairs_are_broken(seed: int) -> None:
    x, y = made()
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    found = permutation(subject(x, y[order]), steps=60, seed=seed)
    assert not found.opens
    assert abs(found.gap) < 0.3


def test_validation_and_single_batches() -> None:
    x, y = made()
    assert permutation(subject(x[:256], y[:256], validation=[(x[256:], y[256:])]), steps=40, seeds=2).opens
    one = permutation(subject(x[:200], y[:200], size=200), steps=40, seeds=2)
    assert one.held_out
    assert one.opens
    few = permutation(subject(x[:6], y[:6], size=6), steps=2, seeds=1)
    assert not few.held_out
    assert not few.opens


def test_everything_is_left_as_it_was() -> None:
    x, y = made(64)
    examined = subject(x, y)
    before = [p.detach().clone() for p in examined.model.parameters()]
    random = torch.get_rng_state()
    permutation(examined, steps=3, seeds=1)
    assert all(torch.equal(p, q) for p, q in zip(before, examined.model.parameters(), strict=True))
    assert torch.equal(random, torch.get_rng_state())
    assert not examined.optimizer.state


def test_shuffling_keeps_every_label_and_blanks_every_input() -> None:
    pairs = [Pair((torch.ones(3, 2),), torch.tensor([0, 1, 2])), Pair((torch.ones(2, 2),), torch.tensor([3, 4]))]
    found = shuffled(pairs, 1)
    assert sorted(torch.cat([pair.targets for pair in found]).tolist()) == [0, 1, 2, 3, 4]
    assert [len(pair.targets) for pair in found] == [3, 2]
    assert found[0].inputs is pairs[0].inputs
    assert torch.cat([p.targets for p in found]).tolist() != [0, 1, 2, 3, 4]
    assert not blank(pairs[0]).inputs[0].any()
    assert blank(pairs[0]).targets is pairs[0].targets


def test_the_arithmetic() -> None:
    found = Permutation([1.0, 1.2], [2.0, 2.0], [1.5, 1.5], 10, True)
    assert found.gap == pytest.approx(0.9)
    assert found.error == pytest.approx(0.1)
    assert found.reads_inputs == pytest.approx(0.4)
    assert found.opens


def test_what_cannot_be_shuffled_is_unmeasured() -> None:
    x, y = made(32)
    with pytest.raises(Unmeasured):
        permutation(subject(x, y), steps=0)
