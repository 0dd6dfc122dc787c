"""Skill from what each example adds to it, and the error of a difference on the same examples."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, r2_score

from netwright.doctor.task import paired_error, shares_of, skill_of

DRAW = torch.Generator().manual_seed(0)
TRUTH = torch.randint(0, 3, (200,), generator=DRAW)
SAID = torch.where(torch.rand(200, generator=DRAW) < 0.7, TRUTH, (TRUTH + 1) % 3)
NUMBERS = torch.randn(200, 2, generator=DRAW).double()
GUESSED = NUMBERS + 0.5 * torch.randn(200, 2, generator=DRAW).double()


def test_the_skill_of_classes_is_accuracy_on_the_scale_of_the_largest_share():
    common = TRUTH.bincount().max().item() / 200
    wanted = (accuracy_score(TRUTH, SAID) - common) / (1 - common)
    assert shares_of("classes", TRUTH, SAID).mean().item() == pytest.approx(wanted)
    assert skill_of("classes", TRUTH, SAID) == pytest.approx(wanted)


def test_the_skill_of_numbers_is_r2_weighted_by_variance():
    wanted = r2_score(NUMBERS, GUESSED, multioutput="variance_weighted")
    assert shares_of("numbers", NUMBERS, GUESSED).mean().item() == pytest.approx(wanted)
    assert skill_of("numbers", NUMBERS, GUESSED) == pytest.approx(wanted)


def test_labels_are_judged_column_by_column_and_a_column_of_one_value_does_not_count():
    truth = torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 1], [1, 0, 1]])
    said = torch.tensor([[1.0, 0, 0], [0, 1, 1], [1, 1, 1], [1, 0, 1]])
    assert skill_of("labels", truth, said) == pytest.approx(((1 - 0.75) / 0.25 + (0.75 - 0.75) / 0.25) / 2)


def test_the_paired_error_is_that_of_drawing_the_examples_again():
    other = torch.where(torch.rand(200, generator=DRAW) < 0.1, (SAID + 1) % 3, SAID)
    first, second = shares_of("classes", TRUTH, SAID), shares_of("classes", TRUTH, other)
    drawn = np.random.default_rng(0).integers(0, 200, (4000, 200))
    spread = (first - second).numpy()[drawn].mean(1).std()
    assert paired_error(first, second, "classes") == pytest.approx(spread, rel=0.1)
    apart = (first.var() / 200 + second.var() / 200).sqrt().item()
    assert paired_error(first, second, "classes") < 0.6 * apart


def test_equal_answers_on_few_examples_are_not_known_to_be_equally_good():
    shares = shares_of("classes", TRUTH[:20], SAID[:20])
    assert paired_error(shares, shares, "classes") == pytest.approx((shares.max() - shares.min()).item() / 20)
    same = shares_of("numbers", NUMBERS, GUESSED)
    assert paired_error(same, same, "numbers") == 0
