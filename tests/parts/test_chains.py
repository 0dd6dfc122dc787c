"""The linear-chain random field against the enumeration of every sequence of tags."""

from itertools import pairwise, product

import pytest
import torch

from netwright.errors import UsageError
from netwright.parts.chains import LinearChain, Rules

TAGS, STEPS = 3, 5
LENGTHS = torch.tensor([5, 1, 3, 2, 4])


def chain(**given):
    layer = LinearChain(TAGS, **given).double()
    for seed, weight in enumerate(layer.parameters()):
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(seed))
    return layer


def scores(seed=9):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(LENGTHS), STEPS, TAGS, generator=generator, dtype=torch.float64)


def by_hand(layer, row, path):
    """s(y), a term at a time."""
    total = layer.starts[path[0]] + layer.ends[path[-1]]
    for t, tag in enumerate(path):
        total = total + row[t, tag]
        if t:
            total = total + layer.transitions[path[t - 1], tag]
    return total


def paths(length, allowed=lambda path: True):
    return [path for path in product(range(TAGS), repeat=length) if allowed(path)]


@torch.no_grad()
def test_log_partition_score_and_likelihood_equal_enumeration():
    layer, x = chain(), scores()
    tags = torch.arange(len(LENGTHS) * STEPS).reshape(len(LENGTHS), STEPS) * 2 % TAGS
    log_z, score, loss = layer.log_partition(x, LENGTHS), layer.score(x, tags, LENGTHS), layer(x, tags, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        every = torch.stack([by_hand(layer, x[row], path) for path in paths(length)])
        own = by_hand(layer, x[row], tags[row, :length].tolist())
        assert float(log_z[row]) == pytest.approx(float(torch.log(torch.exp(every).sum())), abs=1e-9)
        assert float(score[row]) == pytest.approx(float(own), abs=1e-9)
        assert float(loss[row]) == pytest.approx(-float(torch.log(torch.exp(own) / torch.exp(every).sum())), abs=1e-9)


def test_gradients_are_those_of_the_enumeration():
    layer, x = chain(), scores().requires_grad_()
    tags = torch.ones(len(LENGTHS), STEPS, dtype=torch.long)
    layer(x, tags, LENGTHS).sum().backward()
    found = [x.grad.clone(), *(weight.grad.clone() for weight in layer.parameters())]
    x.grad = None
    layer.zero_grad()
    total = 0
    for row, length in enumerate(LENGTHS.tolist()):
        every = torch.stack([by_hand(layer, x[row], path) for path in paths(length)])
        total = total + torch.log(torch.exp(every).sum()) - by_hand(layer, x[row], [1] * length)
    total.backward()
    for gradient, part in zip(found, [x, *layer.parameters()], strict=True):
        torch.testing.assert_close(gradient, part.grad, rtol=0, atol=1e-9)
    assert torch.autograd.gradcheck(lambda given: layer(given, tags, LENGTHS), (x,))


@torch.no_grad()
def test_viterbi_finds_the_best_of_all():
    for seed in range(20):
        layer, x = chain(), 2 * scores(seed)
        best, values = layer.decode(x, LENGTHS)
        for row, length in enumerate(LENGTHS.tolist()):
            wanted = max(paths(length), key=lambda path: float(by_hand(layer, x[row], path)))
            assert tuple(best[row]) == wanted
            assert float(values[row]) == pytest.approx(float(by_hand(layer, x[row], wanted)), abs=1e-9)
        torch.testing.assert_close(layer.score(x, padded(best), LENGTHS), values)


def padded(rows):
    return torch.tensor([row + [0] * (STEPS - len(row)) for row in rows])


def test_forbidden_steps_never_happen_and_carry_no_probability():
    allowed = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 1]], dtype=torch.bool)
    may_start, may_end = torch.tensor([True, False, True]), torch.tensor([True, True, False])
    layer = chain(rules=Rules(allowed, may_start, may_end), everywhere=True)
    x = scores()

    def fits(path):
        return path[0] != 1 and path[-1] != 2 and all(allowed[step] for step in pairwise(path))

    log_z, (best, _) = layer.log_partition(x, LENGTHS), layer.decode(x, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        every = torch.stack([by_hand(layer, x[row], path) for path in paths(length, fits)])
        assert log_z[row].item() == pytest.approx(every.exp().sum().log().item(), abs=1e-9)
        assert fits(best[row])
    log_z.sum().backward()
    assert not layer.transitions.grad[~allowed].any()
    assert list(layer.state_dict()) == ["transitions", "starts", "ends"]


def test_rules_bind_decoding_and_leave_the_likelihood_alone_unless_asked():
    rules = Rules(torch.tensor([[1, 0, 1]] * 3, dtype=torch.bool), torch.ones(3).bool(), torch.ones(3).bool())
    free, ruled, bound = chain(), chain(rules=rules), chain(rules=rules, everywhere=True)
    x, tags = scores(), torch.ones(5, STEPS, dtype=torch.long)  # tag 1 after another: against the rules
    assert torch.equal(ruled(x, tags, LENGTHS), free(x, tags, LENGTHS))
    assert float(bound(x, tags, LENGTHS).detach().max()) > 9_000
    assert ruled.decode(x, LENGTHS)[0] == bound.decode(x, LENGTHS)[0]
    assert all(1 not in path[1:] for path in ruled.decode(x, LENGTHS)[0])
    assert any(1 in path[1:] for path in free.decode(x, LENGTHS)[0])


@torch.no_grad()
def test_marginals_equal_enumeration():
    layer, x = chain(), scores()
    found = layer.marginals(x, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        wanted, total = torch.zeros(STEPS, TAGS, dtype=torch.float64), 0.0
        for path in paths(length):
            weight = float(torch.exp(by_hand(layer, x[row], path)))
            total += weight
            for t, tag in enumerate(path):
                wanted[t, tag] += weight
        torch.testing.assert_close(found[row], wanted / total, rtol=0, atol=1e-9)


def test_padding_changes_nothing():
    layer, x, tags = chain(), scores(), torch.ones(len(LENGTHS), STEPS, dtype=torch.long)
    wider = torch.nn.functional.pad(x, (0, 0, 0, 3), value=7.0)
    going = torch.arange(STEPS + 3) < LENGTHS[:, None]
    wider = wider.masked_fill(~going[:, :, None], 1e6)
    longer = torch.nn.functional.pad(tags, (0, 3), value=-100).masked_fill(~going, -100)
    torch.testing.assert_close(layer(wider, longer, LENGTHS), layer(x, tags, LENGTHS))
    assert layer.decode(wider, LENGTHS)[0] == layer.decode(x, LENGTHS)[0]


def test_long_sequences_and_large_scores_stay_finite():
    layer = LinearChain(TAGS)
    x = torch.randn(2, 2000, TAGS, generator=torch.Generator().manual_seed(0)).mul(100).requires_grad_()
    lengths = torch.tensor([2000, 1500])
    loss = layer(x, torch.zeros(2, 2000, dtype=torch.long), lengths)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(x.grad).all()
    free = x.detach()  # without scores between tags every step is a softmax of its own
    wanted = [free[row, :length].logsumexp(1).sum().item() for row, length in enumerate(lengths.tolist())]
    assert layer.log_partition(free, lengths).tolist() == pytest.approx(wanted, rel=1e-4)
    assert layer.decode(free, lengths)[0][1] == free[1, :1500].argmax(1).tolist()


def test_half_precision_is_computed_in_float32():
    layer, x = LinearChain(TAGS), scores().bfloat16()
    assert layer(x, torch.zeros(5, STEPS, dtype=torch.long), LENGTHS).dtype == torch.float32


@pytest.mark.parametrize("wrong", [3, -1])
def test_tags_out_of_range_are_refused(wrong):
    tags = torch.full((5, STEPS), wrong)
    with pytest.raises(UsageError, match=f"the number {wrong}; there are tags 0 to 2"):
        chain()(scores(), tags, LENGTHS)


def test_rules_read_from_the_names_of_tags():
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    rules = Rules.of(names)
    never = {
        ("O", "I-PER"),
        ("O", "I-LOC"),
        ("B-PER", "I-LOC"),
        ("I-PER", "I-LOC"),
        ("B-LOC", "I-PER"),
        ("I-LOC", "I-PER"),
    }
    found = {(a, b) for i, a in enumerate(names) for j, b in enumerate(names) if not rules.allowed[i, j]}
    assert found == never
    assert rules.may_start.tolist() == [True, True, False, True, False]
    assert rules.may_end.all()
    assert rules.kept([0, 1, 2, 2, 3])
    assert not rules.kept([2, 0])
    plain = Rules.of(["NOUN", "VERB"])
    assert plain.allowed.all()
    assert plain.may_start.all()


def test_rules_where_entities_must_end():
    names = ["O", "B-X", "M-X", "E-X", "S-X"]
    rules = Rules.of(names)
    after = {name: [names[j] for j in range(5) if rules.allowed[i, j]] for i, name in enumerate(names)}
    fresh, inner = ["O", "B-X", "S-X"], ["M-X", "E-X"]
    assert after == {"O": fresh, "B-X": inner, "M-X": inner, "E-X": fresh, "S-X": fresh}
    assert rules.may_start.tolist() == [True, True, False, False, True]
    assert rules.may_end.tolist() == [True, False, False, True, True]
