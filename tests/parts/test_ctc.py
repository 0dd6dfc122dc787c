"""CTC against the enumeration of every path, and its decoders against the enumeration of every answer."""

from collections import defaultdict
from itertools import groupby, product

import pytest
import torch

from netwright.catalogue import LOSSES
from netwright.errors import UsageError
from netwright.parts.decoding import ctc_beam, ctc_greedy
from netwright.parts.losses import check_loss
from netwright.parts.losses.paths import impossible, needed_steps
from netwright.parts.sequences import Ragged, Sequences

ctc = LOSSES["ctc"]


def outputs(batch=1, steps=5, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(batch, steps, classes, generator=generator, dtype=torch.float64)


def answers(values):
    """The probability of every token sequence, by all paths."""
    found = defaultdict(float)
    chances = values.softmax(1)
    for path in product(range(values.shape[1]), repeat=len(values)):
        answer = tuple(token for token, _ in groupby(path) if token)
        found[answer] += float(torch.stack([chances[t, token] for t, token in enumerate(path)]).prod())
    return found


@pytest.mark.parametrize("target", [[], [1], [2, 1], [1, 1], [1, 2, 1], [2, 2, 1], [1, 2, 1, 2, 1], [1, 1, 1]])
def test_the_loss_equals_the_enumeration_of_every_path(target):
    values = outputs()
    wanted = -torch.tensor(answers(values[0])[tuple(target)], dtype=torch.float64).log()
    padded = torch.tensor([target + [0] * (6 - len(target))])
    assert float(ctc(values, padded)) == pytest.approx(float(wanted), abs=1e-9)


def test_sequences_of_unequal_length_equal_each_alone():
    values, lengths = outputs(3, 7), torch.tensor([7, 3, 5])
    target = Ragged.of([torch.tensor(t) for t in ([1, 2, 2], [2], [1, 2])]).padded()
    batch = Sequences(values.masked_fill((torch.arange(7) >= lengths[:, None])[:, :, None], 9.0), lengths)
    found = ctc(batch, target)
    for row, (length, count) in enumerate(zip([7, 3, 5], [3, 1, 2], strict=True)):
        alone = ctc(values[row : row + 1, :length], target.values[row : row + 1, :count])
        assert float(found[row]) == pytest.approx(float(alone), abs=1e-9)
    torch.testing.assert_close(ctc(batch, target.values), found)


def test_gradients_equal_finite_differences():
    values, target = outputs(3), torch.tensor([[1, 2], [2, 2], [1, 0]])
    check_loss(ctc.build, values, target)
    assert torch.autograd.gradcheck(lambda given: ctc(given, target), (values.requires_grad_(),))


def test_impossible_targets_are_counted_and_infinite_or_nothing():
    values = outputs(3, steps=3).requires_grad_()
    target = torch.tensor([[1, 2, 0], [1, 1, 2], [1, 1, 0]])
    assert needed_steps(target).tolist() == [2, 4, 3]
    assert impossible(values, target) == 1
    assert ctc(values, target).isinf().tolist() == [False, True, False]
    kept = ctc(values, target, zero_infinity=True)
    assert float(kept[1].detach()) == 0
    kept.sum().backward()
    assert torch.isfinite(values.grad).all()
    assert not values.grad[1].any()
    shorter = Sequences(values.detach(), torch.tensor([3, 3, 2]))
    assert impossible(shorter, Sequences(target, torch.tensor([2, 3, 2]))) == 2


@pytest.mark.parametrize(
    ("shape", "target", "words"),
    [
        ((2, 3), [[1], [1]], r"outputs \(2, 3\), target \(2, 1\)"),
        ((2, 4, 3), [1, 1], r"it takes \(batch, steps, classes\) and \(batch, tokens\)"),
        ((2, 4, 3), [[1], [3]], "holds class 3; the outputs speak of classes 0 to 2"),
        ((2, 4, 3), [[1], [-1]], "holds class -1"),
        ((2, 4, 3), [[1.0], [1.0]], "names classes by whole numbers"),
        ((2, 4, 3), [[0, 1], [1, 1]], "0 before its end; 0 is the blank"),
        ((1, 4, 3), [[1], [1]], "outputs"),
    ],
)
def test_targets_that_cannot_be_are_refused(shape, target, words):
    with pytest.raises(UsageError, match=words):
        ctc(torch.zeros(shape), torch.tensor(target))


def test_a_blank_within_a_sequence_of_given_length_is_refused():
    with pytest.raises(UsageError, match="0 before its end"):
        ctc(torch.zeros(1, 4, 3), Sequences(torch.tensor([[1, 0]]), torch.tensor([2])))


def test_no_examples_and_no_numbers():
    values, target = outputs(2), torch.tensor([[1], [2]])
    assert ctc(values[:0], target[:0]).shape == (0,)
    assert ctc(values.to("meta"), target.to("meta")).shape == (2,)
    assert ctc(values.half(), target).dtype == torch.float32


def test_greedy_merges_repeats_and_drops_blanks():
    best = torch.tensor([[0, 1, 1, 0, 1, 2, 2], [2, 2, 0, 0, 0, 1, 1]])
    values = torch.nn.functional.one_hot(best, 3).float()
    assert ctc_greedy(values) == [[1, 1, 2], [2, 1]]
    assert ctc_greedy(Sequences(values, torch.tensor([3, 5]))) == [[1], [2]]


@pytest.mark.parametrize("seed", range(5))
def test_the_beam_finds_every_answer_and_its_probability(seed):
    values = outputs(seed=seed)
    wanted = answers(values[0])
    found = ctc_beam(values, width=1000)[0]
    assert len(found) == len([answer for answer, chance in wanted.items() if chance > 0])
    for answer, chance in found:
        assert chance == pytest.approx(float(torch.tensor(wanted[tuple(answer)]).log()), abs=1e-6)
    assert tuple(found[0][0]) == max(wanted, key=wanted.__getitem__)
    assert [chance for _, chance in found] == sorted((chance for _, chance in found), reverse=True)


def test_the_beam_sees_what_greedy_misses():
    values = torch.tensor([[[0.4, 0.6], [0.4, 0.6]]]).log()  # 1 by three paths: 0.36 + 0.24 + 0.24
    assert ctc_greedy(values) == [[1]]
    values = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]]).log()  # nothing 0.36, 1 by three paths 0.64
    assert ctc_greedy(values) == [[]]
    assert ctc_beam(values)[0][0] == ([1], pytest.approx(float(torch.tensor(0.64).log()), abs=1e-6))
    assert [len(each) for each in ctc_beam(Sequences(values.expand(2, -1, -1), torch.tensor([2, 1])), width=1)] == [
        1,
        1,
    ]
    with pytest.raises(UsageError, match="width = 0"):
        ctc_beam(values, width=0)
