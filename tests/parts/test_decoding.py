"""Decoding against the enumeration of every sequence, on networks whose scores are a table."""

import math
from itertools import product

import pytest
import torch

from netwright.errors import UsageError
from netwright.parts.decoding import beam, greedy, narrowed, sample
from netwright.parts.sequences import END, START

VOCABULARY = 7
WORDS = [1, 4, 5, 6]


def table(batch=2, seed=0, scale=2.0):
    """Scores by example, last token and number of tokens so far: they are the network's state."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(batch, 9, VOCABULARY, VOCABULARY, generator=generator, dtype=torch.float64)


def step(tokens, state):
    """A network that remembers its example's table and how far it is, in a nested state."""
    scores, (count,) = state
    rows = torch.arange(len(tokens))
    return scores[rows, count, tokens], (scores, (count + 1,))


def begin(scores):
    batch = len(scores)
    return (scores, (torch.zeros(batch, dtype=torch.long),)), torch.full((batch,), START)


def chances(scores, count, last):
    row = scores[count, last].clone()
    row[[0, 3]] = -math.inf
    return row.log_softmax(0)


def every(scores, most, normalise=0.0):
    """Every answer of one example and its score: those that end, and those of `most` tokens that do not."""
    found = {}
    for length in range(most + 1):
        for words in product(WORDS, repeat=length):
            tokens = [*words, END] if length < most else list(words)
            total, last = 0.0, START
            for count, token in enumerate(tokens):
                total += float(chances(scores, count, last)[token])
                last = token
            found[words] = total / len(tokens) ** normalise
    return found


@pytest.mark.parametrize("normalise", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_wide_enough_finds_the_best_there_is(normalise, seed):
    scores = table(seed=seed)
    state, first = begin(scores)
    found = beam(step, state, first, most=4, width=300, normalise=normalise)
    for row in range(2):
        wanted = every(scores[row], 4, normalise)
        best = max(wanted, key=wanted.__getitem__)
        assert tuple(found.tokens[row]) == best
        assert found.scores[row] == pytest.approx(wanted[best], abs=1e-9)
        for tokens, score in found.ranked[row]:
            assert score == pytest.approx(wanted[tuple(tokens)], abs=1e-9)


@pytest.mark.parametrize("width", [1, 2, 3, 50])
def test_scores_are_true_and_wider_beams_are_no_worse_than_one(width):
    scores = table(5, seed=4)
    state, first = begin(scores)
    found, narrow = (beam(step, state, first, most=5, width=each) for each in (width, 1))
    for row in range(5):
        wanted = every(scores[row], 5) if width == 50 else None
        total, last = 0.0, START
        ended = [*found.tokens[row], END] if len(found.tokens[row]) < 5 else found.tokens[row]
        for count, token in enumerate(ended):
            total += float(chances(scores[row], count, last)[token])
            last = token
        assert found.scores[row] == pytest.approx(total, abs=1e-9)
        assert width < 50 or found.scores[row] >= narrow.scores[row]
        assert wanted is None or found.scores[row] <= max(wanted.values()) + 1e-9


def test_each_answer_is_its_own_examples():
    scores = table(4, seed=2)
    state, first = begin(scores)
    whole = beam(step, state, first, most=8, width=3)
    for row in range(4):
        state, first = begin(scores[row : row + 1])
        alone = beam(step, state, first, most=8, width=3)
        assert alone.tokens[0] == whole.tokens[row]
        assert alone.ranked[0] == whole.ranked[row]


def test_greedy_takes_the_likeliest_allowed_token_and_stops_at_the_end():
    scores = table(6, seed=1)
    scores[:, :, :, [0, 3]] += 50  # padding and start would win every step
    state, first = begin(scores)
    found = greedy(step, state, first, most=8)
    for row in range(6):
        tokens, total, last = [], 0.0, START
        for count in range(8):
            row_chances = chances(scores[row], count, last)
            last = int(row_chances.argmax())
            total += float(row_chances[last])
            if last == END:
                break
            tokens.append(last)
        assert found.tokens[row] == tokens
        assert found.scores[row] == pytest.approx(total, abs=1e-9)
    assert any(len(tokens) < 8 for tokens in found.tokens)
    assert beam(step, *begin(scores), most=8, width=3).tokens != found.tokens


def test_a_limit_of_steps_holds():
    scores = table()
    scores[:, :, :, END] = -1e9  # it never wants to end
    state, first = begin(scores)
    generator = torch.Generator().manual_seed(0)
    assert [len(tokens) for tokens in greedy(step, state, first, most=5).tokens] == [5, 5]
    assert [len(tokens) for tokens in beam(step, state, first, most=5, width=4).tokens] == [5, 5]
    assert [len(tokens) for tokens in sample(step, state, first, generator, most=5).tokens] == [5, 5]
    assert greedy(step, state, first, most=0).tokens == beam(step, state, first, most=0).tokens == [[], []]


def test_each_example_has_a_limit_of_its_own():
    scores = table(4, seed=5)
    scores[:3, :, :, END] = -1e9
    state, first = begin(scores)
    most = torch.tensor([3, 0, 5, 8])
    for decode in (greedy, beam):
        found = decode(step, state, first, most=most)
        assert [len(tokens) for tokens in found.tokens[:3]] == [3, 0, 5]
        for row in range(4):
            alone = decode(step, *begin(scores[row : row + 1]), most=int(most[row]))
            assert (alone.tokens[0], alone.scores[0]) == (found.tokens[row], pytest.approx(found.scores[row]))


@pytest.mark.parametrize("decode", [greedy, beam])
def test_no_examples_give_no_answers(decode):
    assert decode(step, *begin(table(0)), most=4).tokens == []


def test_what_a_step_hands_on_unchanged_is_not_reordered():
    scores = table(3, seed=6)
    handed = []

    def watched(tokens, state):
        handed.append(state[0])
        logits, (same, rest) = step(tokens, state)
        return logits, (same, rest)

    state, first = begin(scores)
    found = beam(watched, state, first, most=5, width=4)
    assert len(handed) > 2
    assert all(part is handed[0] for part in handed)

    def copied(tokens, state):
        logits, (same, rest) = step(tokens, state)
        return logits, (same.clone(), rest)

    assert beam(copied, state, first, most=5, width=4) == found


def test_cold_samples_are_greedy_and_the_same_seed_gives_the_same_tokens():
    scores = table(8, seed=3)
    state, first = begin(scores)

    def drawn(seed, **given):
        return sample(step, state, first, torch.Generator().manual_seed(seed), most=8, **given)

    wanted = greedy(step, state, first, most=8)
    for cold in ({"temperature": 0.0}, {"temperature": 1e-6}, {"temperature": 1e-300}, {"top_k": 1}, {"top_p": 1e-9}):
        assert drawn(0, **cold).tokens == wanted.tokens
        assert drawn(0, **cold).scores == pytest.approx(wanted.scores, abs=1e-9)
    hot = drawn(1, temperature=3.0)
    assert drawn(1, temperature=3.0) == hot
    assert drawn(2, temperature=3.0).tokens != hot.tokens
    assert not {0, 2, 3} & {token for tokens in hot.tokens for token in tokens}


def test_samples_follow_their_probabilities():
    scores = torch.zeros(20_000, 1, VOCABULARY, VOCABULARY, dtype=torch.float64)
    scores[:, 0, START, 4] = math.log(4)
    state, first = begin(scores)
    found = sample(step, state, first, torch.Generator().manual_seed(0), most=1)
    share = sum(tokens == [4] for tokens in found.tokens) / 20_000
    assert share == pytest.approx(4 / 8, abs=0.015)  # against 1, 5, 6 and the end at 1/8 each: 4 standard errors
    warm = sample(step, state, first, torch.Generator().manual_seed(0), most=1, temperature=2.0)
    assert sum(tokens == [4] for tokens in warm.tokens) / 20_000 == pytest.approx(2 / 6, abs=0.015)


def test_narrowing_by_hand():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64).log()
    cases = {
        (1.0, 0, 1.0): [0.5, 0.3, 0.15, 0.05],
        (1.0, 2, 1.0): [0.625, 0.375, 0, 0],
        (1.0, 0, 0.79): [0.625, 0.375, 0, 0],
        (1.0, 0, 0.81): [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0],
        (1.0, 3, 0.6): [0.625, 0.375, 0, 0],
        (0.5, 0, 1.0): [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365],
        (1.0, 99, 1.0): [0.5, 0.3, 0.15, 0.05],
    }
    for (temperature, top_k, top_p), wanted in cases.items():
        assert narrowed(logits, temperature, top_k, top_p)[0].tolist() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    "given", [{"temperature": -1.0}, {"temperature": math.nan}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}]
)
def test_settings_out_of_range_are_refused(given):
    state, first = begin(table())
    with pytest.raises(UsageError, match=f"sampling: {next(iter(given))} = "):
        sample(step, state, first, torch.Generator(), most=2, **given)


@pytest.mark.parametrize("given", [{"width": 0}, {"normalise": -1.0}])
def test_beams_out_of_range_are_refused(given):
    state, first = begin(table())
    with pytest.raises(UsageError, match=f"beam search: {next(iter(given))} = "):
        beam(step, state, first, most=2, **given)
