"""What a network says to a split does not depend on how the examples are put together, nor on their order."""

import numpy as np
import pytest
import torch
from sequence_works import recipe_of, write_data

import netwright as nw
from netwright.data import batches
from netwright.parts.metrics import Likelihoods
from netwright.training.answers import answers, measured, said
from netwright.training.forward import Forward
from netwright.training.plan import build, resolve

WORKS = ("text", "tags", "letters", "pairs", "speech", "speakers", "series")


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Data and an untrained network for each kind of work."""
    home, known = write_data(tmp_path_factory.mktemp("works")), {}

    def of(work):
        if work not in known:
            table = recipe_of(work).table("data")
            path = str(table.pop("path"))
            data = nw.read(home / path if (home / path).exists() else path, **table)
            recipe = resolve(recipe_of(work), data)
            model = build(recipe, data.inputs, data.outputs).eval()
            model.width = 1  # a beam takes long where nothing is learnt; the networks' own tests compare beams
            known[work] = data, Forward(model, data.targets, str(recipe.table("loss")["name"]), {}, torch.device("cpu"))
        return known[work]

    return of


def flat(found):
    """The numbers of some answers, one row an example, or the answers themselves where they are words."""
    if isinstance(found.predictions, Likelihoods):
        return found.predictions.nats
    return found.predictions


def alike(found, wanted):
    if isinstance(wanted, np.ndarray):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    else:
        assert bool(found == wanted), "other answers"  # never the long way round of telling all differences


@pytest.mark.parametrize("most", [1, 40])
@pytest.mark.parametrize("work", WORKS)
def test_how_many_are_answered_at_a_time_changes_nothing(work, most, ready, monkeypatch):
    data, forward = ready(work)
    usual = answers(forward, data, "test")
    metrics = measured(data, "test", usual, data.targets.watched) if hasattr(data.targets, "watched") else {}
    monkeypatch.setattr(batches.by_length, "__defaults__", (most,))
    found = answers(forward, data, "test")
    assert found.loss == pytest.approx(usual.loss, rel=1e-6)
    alike(flat(found), flat(usual))
    if metrics:
        assert measured(data, "test", found, data.targets.watched) == pytest.approx(metrics, rel=1e-6)
    if usual.likelihoods is not None:
        np.testing.assert_allclose(found.likelihoods.nats, usual.likelihoods.nats, rtol=1e-5)
        assert found.likelihoods.tokens.tolist() == usual.likelihoods.tokens.tolist()


@pytest.mark.parametrize("work", [work for work in WORKS if work != "speakers"])  # pairs are drawn by place
def test_their_order_changes_nothing(work, ready):
    data, forward = ready(work)
    usual = answers(forward, data, "test")
    order = np.random.default_rng(0).permutation(data.examples["test"])
    found = answers(forward, data, "test", order)
    assert found.loss == pytest.approx(usual.loss, rel=1e-6)
    wanted = flat(usual)
    alike(flat(found), wanted[order] if isinstance(wanted, np.ndarray) else [wanted[place] for place in order])


@pytest.mark.parametrize("work", ["tags", "letters", "pairs"])
def test_the_loss_is_the_mean_over_all_tokens(work, ready):
    """Whatever lies beside what: the nats of all examples through the number of their tokens."""
    data, forward = ready(work)
    found = answers(forward, data, "test", decode=False)
    assert found.loss == pytest.approx(found.likelihoods.nats.sum() / found.likelihoods.tokens.sum(), rel=1e-6)
    some = np.arange(min(5, data.examples["test"]))
    part = answers(forward, data, "test", some, decode=False)
    nats, tokens = found.likelihoods.nats[some].sum(), found.likelihoods.tokens[some].sum()
    assert part.loss == pytest.approx(nats / tokens, rel=1e-6)


@pytest.mark.parametrize("work", ["tags", "pairs", "speech"])
def test_what_is_said_to_one_is_what_is_said_among_others(work, ready):
    data, forward = ready(work)
    inputs = data.sequences("test")[0].take(range(6))
    together = said(forward, inputs)
    for place, words in enumerate(together):
        assert said(forward, inputs.take([place])) == [words]


def test_the_groups_hold_every_example_once_and_never_too_many_steps():
    lengths = np.random.default_rng(1).integers(1, 900, 2000)
    lengths[7] = 100_000
    groups = list(batches.by_length(lengths))
    assert sorted(np.concatenate(groups).tolist()) == list(range(2000))
    for group in groups:
        assert len(group) == 1 or len(group) * lengths[group].max() <= batches.TOKENS
        assert len(group) <= 512
    assert [7] in [group.tolist() for group in groups]
    padding = sum(len(group) * lengths[group].max() for group in groups) / lengths.sum() - 1
    assert padding < 0.02
    assert list(batches.by_length(np.zeros(0, int))) == []


def test_perplexity_is_of_the_likelihood_whatever_the_loss():
    data = nw.read("reverse", examples=80)
    net = nw.network("seq2seq_attention", data, hidden=8, embedding=8, dropout=0.0)
    with torch.no_grad():
        net.out.weight.mul_(20)  # far from uniform, where smoothing changes little
    found = []
    for smoothing in (0.0, 0.2):
        forward = Forward(
            net, data.targets, "cross_entropy", {"label_smoothing": smoothing}, torch.device("cpu"), "float32"
        )
        found.append(answers(forward, data, "test", decode=False))
    assert found[0].likelihoods.nats == pytest.approx(found[1].likelihoods.nats, rel=1e-5)
    assert found[0].loss != pytest.approx(found[1].loss, rel=1e-3)


class Vectors(torch.nn.Module):
    """A network that is not divided behind its vectors."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)

    def embed(self, x):
        return self.net.embed(x)


def test_one_pass_tells_the_loss_and_the_vectors_of_recordings(ready, monkeypatch):
    data, forward = ready("speakers")
    inputs, _ = data.sequences("test")
    rows = np.arange(len(inputs))
    passes = []
    monkeypatch.setattr(forward.model, "embed", lambda x, embed=forward.model.embed: passes.append(len(x)) or embed(x))
    found = answers(forward, data, "test")
    assert sum(passes) == len(inputs)
    assert found.loss == pytest.approx(
        forward.mean_loss(forward.ragged_outputs(inputs, rows), data.target_tensor("test"))
    )
    with torch.no_grad():
        vectors = torch.stack([forward.model.embed(inputs.padded([row]))[0] for row in rows])
    pairs = data.pairs("test")
    cosines = torch.nn.functional.cosine_similarity(vectors[pairs.first], vectors[pairs.second])
    np.testing.assert_allclose(found.predictions, cosines.numpy(), atol=1e-5)
    assert found.truth.tolist() == pairs.same.tolist()
    whole = Forward(Vectors(forward.model), data.targets, forward.loss, {}, torch.device("cpu"))
    undivided = answers(whole, data, "test")
    assert undivided.loss == pytest.approx(found.loss)
    alike(undivided.predictions, found.predictions)
