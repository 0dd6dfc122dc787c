"""Tags, texts, next tokens and future numbers: there and back, and through their stored state."""

import json

import numpy as np
import pytest
import torch

from netwright.data.sequence_targets import NextTokens, SeriesTargets, TagTargets, TokenTargets
from netwright.data.source import Texts
from netwright.data.targets import targets_from
from netwright.data.texts.encoder import fit_texts
from netwright.errors import DataError

ENCODER = fit_texts(Texts(["a cat", "a dog"] * 10), "translate", tokens="word")


def through_json(targets):
    return targets_from(json.loads(json.dumps(targets.state())))


def test_tags_to_numbers_and_back():
    targets = TagTargets(["B-PER", "I-PER", "O"])
    found = targets.encode([("O", "B-PER"), ("I-PER",)])
    assert found[0].tolist() == [2, 0]
    assert targets.decode(found[1].tolist()) == ["I-PER"]
    assert through_json(targets) == targets
    assert targets.watched[0] == "entity_f1"
    assert TagTargets(["a", "b"]).watched == ("token_accuracy",)
    with pytest.raises(DataError, match=r"tag 'B-PRE' is not one of the 3 known.*B-PER"):
        targets.encode([("B-PRE",)])


def test_a_translation_ends_and_a_transcript_does_not():
    targets = TokenTargets(ENCODER, "translate")
    ids = targets.encode(["a dog"])[0].tolist()
    assert ids[-1] == 2
    assert targets.decode([*ids, 5, 5]) == "a dog"
    heard = TokenTargets(ENCODER, "transcribe")
    assert heard.encode(["a dog"])[0].tolist() == ids[:-1]
    assert through_json(targets).encode(["a dog"])[0].tolist() == ids
    assert through_json(heard).task == "transcribe"


def test_a_language_model_has_no_targets_beside_its_texts():
    targets = NextTokens(ENCODER, {"marked": True})
    assert through_json(targets).facts == {"marked": True}
    assert targets.outputs["count"] == len(ENCODER.tokenizer)
    with pytest.raises(DataError, match="no targets beside"):
        targets.encode(["a"])


def test_future_numbers_on_the_scale_of_training():
    targets = SeriesTargets(10.0, 4.0, 3, 2.5, {"season": 12, "target_position": 1})
    raw = np.array([[10.0, 14.0, 2.0]])
    assert targets.encode(raw).tolist() == [[0.0, 1.0, -2.0]]
    assert np.allclose(targets.decode(torch.tensor([[0.0, 1.0, -2.0]])).numpy(), raw)
    assert targets.outputs == {"kind": "number", "count": 3, "season": 12, "column": 1}
    assert through_json(targets) == targets
