"""Taggers read what letters tell: sums by hand, without traits as before, and names that training never saw."""

import random

import pytest
import torch

import netwright as nw
from netwright.catalogue import NETWORKS
from netwright.data.source import Texts
from netwright.data.texts.encoder import fit_texts
from netwright.measures.entering import entered_by
from netwright.networks.recurrent import Words
from netwright.parts.sequences import Sequences

INPUTS = {"kind": "text", "tokens": "word", "vocabulary": 7, "steps": 4}
TOLD = {**INPUTS, "traits": {"count": 9, "each": 2}}
TAGS = {"kind": "tags", "count": 3, "tags": ["O", "B-X", "I-X"]}


def batch():
    values = torch.tensor([[4, 1, 6], [5, 0, 0]])
    traits = torch.tensor([[[1, 5], [2, 6], [3, 7]], [[4, 8], [0, 0], [0, 0]]])
    return Sequences(values, torch.tensor([3, 1]), traits)


def test_a_word_is_the_sum_of_its_rows():
    words, some = Words(7, 3, 9, 0.3), batch()
    found = words(some.values, some.traits)
    for row in range(2):
        for step in range(3):
            own = words.weight[some.values[row, step]]
            wanted = own + words.traits.weight[some.traits[row, step]].sum(0)
            torch.testing.assert_close(found[row, step], wanted)
    assert not found[1, 1:].any()
    assert torch.equal(words(some.values), words.weight[some.values])


def test_padding_learns_nothing_and_every_trait_learns():
    words, some = Words(7, 3, 9, 0.3), batch()
    words(some.values, some.traits).sum().backward()
    assert not words.weight.grad[0].any()
    assert not words.traits.weight.grad[0].any()
    assert (words.traits.weight.grad[1:] == 1).all()


@pytest.mark.parametrize("name", ["tagger", "tagger_crf"])
def test_traits_are_read_where_there_are_some_and_asked_for(name):
    sizes = {"hidden": 5, "embedding": 3}
    model = NETWORKS[name](TOLD, TAGS, **sizes).eval()
    some = batch()
    other = Sequences(some.values, some.lengths, some.traits.flip(2) % 8 + 1)
    assert not torch.equal(model(some), model(other))
    for plain in (NETWORKS[name](TOLD, TAGS, **sizes, traits=False), NETWORKS[name](INPUTS, TAGS, **sizes)):
        assert type(plain.embedding) is torch.nn.Embedding
        assert torch.equal(plain.eval()(some), plain(other))
    assert model(some.values).shape == (2, 3, 3)  # a bare tensor: words by their numbers alone


def test_what_enters_counts_the_letters():
    model, some = NETWORKS["tagger"](TOLD, TAGS, hidden=5, embedding=3).eval(), batch()
    torch.testing.assert_close(entered_by(model, some, model), model.embedding(some.values, some.traits))


def test_parameters_are_all_counted():
    model = NETWORKS["tagger"](TOLD, TAGS, hidden=5, embedding=3)
    found = nw.anatomy(model, inputs=TOLD, outputs=TAGS).to_json()
    row = next(layer for layer in found["layers"] if layer["name"] == "embedding")
    assert row["parameters"] == (7 + 9) * 3
    assert found["parameters"] == sum(weight.numel() for weight in model.parameters())


def people(chance, count):
    """Sentences and where a person stands in them: invented people end in -ov, invented things in -ing."""
    stems = ["".join(chance.choices("abdegiklmnoprstu", k=6)) for _ in range(count)]
    kinds = [place % 2 for place in range(count)]
    texts = [("we", "saw", stem + ("ov" if kind else "ing"), "today") for stem, kind in zip(stems, kinds, strict=True)]
    return Texts(texts), torch.tensor([[0, 0, kind, 0] for kind in kinds])


@pytest.mark.parametrize(("told", "right"), [(True, (0.95, 1.0)), (False, (0.3, 0.7))])
def test_names_that_training_never_saw_are_found_by_their_letters(told, right):
    chance = random.Random(0)
    (texts, tags), (others, truth) = people(chance, 300), people(chance, 100)
    encoder = fit_texts(texts, "tag")
    torch.manual_seed(0)
    outputs = {"kind": "tags", "count": 2, "tags": ["O", "B-PER"]}
    model = NETWORKS["tagger_crf"](encoder.inputs, outputs, hidden=8, embedding=8, dropout=0.2, traits=told)
    optimizer, some = torch.optim.Adam(model.parameters(), lr=0.03), encoder.encode(texts)
    for _ in range(60):
        optimizer.zero_grad()
        model.chain(model(some), tags, some.lengths).mean().backward()
        optimizer.step()
    found = torch.tensor(model.eval().answer(encoder.encode(others)))
    assert right[0] <= float((found == truth)[:, 2].float().mean()) <= right[1]
