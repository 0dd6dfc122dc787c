"""Padding, order and company in a batch change nothing: outputs, losses, gradients and answers of every network."""

import pytest
import torch
from ragged_nets import FIXED, LENGTHS, cases, inputs_of, judged, longer

from netwright.catalogue import NETWORKS
from netwright.parts.sequences import Sequences

ALL = list(range(len(LENGTHS)))
OTHER = [3, 5, 0, 2, 4, 1]
CLOSE = {"rtol": 1e-6, "atol": 1e-12}
CASES = [pytest.param(case, id=str(case)) for case in cases()]


def test_every_network_that_reads_sequences_is_tried():
    known = {name for name, part in NETWORKS.items() if {"text", "sequence"} & set(part.facts["inputs"])}
    assert known == {case.name for case in cases()} | set(FIXED)


def said(model, batch):
    """Outputs of the real steps of each example."""
    with torch.no_grad():
        found = model(batch)
    if isinstance(found, Sequences):
        return [row[:length] for row, length in zip(found.values, found.lengths.tolist(), strict=True)]
    if found.dim() == 3 and found.shape[1] == batch.values.shape[1]:
        return [row[:length] for row, length in zip(found, batch.lengths.tolist(), strict=True)]
    return list(found)


def answered(model, batch):
    return model.answer(batch) if hasattr(model, "answer") else None


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_each_sequence_alone(case):
    model, inputs = case.build().eval(), inputs_of(case)
    together = inputs.padded(ALL)
    first, words = said(model, together), answered(model, together)
    wide, turned = longer(together, 5), inputs.padded(OTHER)
    assert answered(model, wide) == words
    assert answered(model, turned) == (words and [words[place] for place in OTHER])
    for place in ALL:
        torch.testing.assert_close(said(model, wide)[place], first[place], **CLOSE)
        torch.testing.assert_close(said(model, turned)[OTHER.index(place)], first[place], **CLOSE)
        alone = inputs.padded([place])
        torch.testing.assert_close(said(model, alone)[0], first[place], **CLOSE)
        assert answered(model, alone) == (words and words[place : place + 1])


@pytest.mark.parametrize("case", CASES)
def test_the_loss_and_its_gradient_are_those_of_the_examples(case):
    """A batch's loss is the weighted mean of its examples' own, padded further, turned round or one by one."""
    model = case.build().train()
    values, weights, loss, gradient = judged(case, model, ALL)
    assert loss.isfinite()
    assert gradient.abs().max() > 0
    wide, turned = judged(case, model, ALL, more=5), judged(case, model, OTHER)
    for found, order in ((wide, ALL), (turned, OTHER)):
        torch.testing.assert_close(found[0], values[order], **CLOSE)
        torch.testing.assert_close(found[1], weights[order], **CLOSE)
        torch.testing.assert_close(found[2], loss, **CLOSE)
        torch.testing.assert_close(found[3], gradient, rtol=1e-6, atol=1e-10)
    alone = [judged(case, model, [place]) for place in ALL]
    torch.testing.assert_close(torch.cat([one[0] for one in alone]), values, **CLOSE)
    share = torch.cat([one[1] for one in alone])
    torch.testing.assert_close(share, weights, **CLOSE)
    share = share / share.sum()
    torch.testing.assert_close((share * values).sum(), loss, **CLOSE)
    summed = sum(part * one[3] for part, one in zip(share, alone, strict=True))
    torch.testing.assert_close(summed, gradient, rtol=1e-6, atol=1e-10)
