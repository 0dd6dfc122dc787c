"""`fit_texts` and `TextEncoder`: which tokens are chosen, training texts alone, lengths, marks, states."""

import gzip
import json
import random

import numpy as np
import pytest
import torch

from netwright.catalogue import settings_of
from netwright.data.source import Problem, Texts
from netwright.data.texts.encoder import TextEncoder, fit_texts
from netwright.errors import DataError, UsageError

FILMS = Texts(["A good film, really good.", "A bad film.", "not bad at all"])
CHINESE = Texts(["味道不错，送餐很快", "太难吃了！", "还可以 OK"])
NAMES = Texts(["Müller", "Smith", "Da Silva", "Ivanov"])
TAGGED = Texts([("EU", "rejects", "German", "call"), ("Peter", "Blackburn")])
CHARACTERS = Texts([("高", "勇", "：", "男"), ("中", "国")])


def reloaded(encoder):
    return TextEncoder.from_state(json.loads(json.dumps(encoder.state(), ensure_ascii=False).encode("utf-8")))


@pytest.mark.parametrize(
    ("texts", "task", "tokens", "lowercase"),
    [
        (FILMS, "classify", "word", False), (FILMS, "regress", "word", False), (FILMS, "translate", "word", False),
        (FILMS, "generate", "character", False), (CHINESE, "classify", "character", False),
        (CHINESE, "translate", "character", False), (NAMES, "classify", "character", False),
        (TAGGED, "tag", "word", False), (CHARACTERS, "tag", "character", False), (TAGGED, "classify", "word", False),
        (Texts(["これはペンです", "はい"]), "classify", "character", False),
        (Texts(["สวัสดีครับ", "ขอบคุณ"]), "classify", "character", False),
        (Texts(["abcd", "dcba"]), "translate", "character", False),
        (Texts(["a b c", "c b a"]), "translate", "word", False),
        (Texts(["the cat sat on the mat"] * 20_000), "translate", "bpe", False),
    ],
)  # fmt: skip
def test_the_tokens_that_suit(texts, task, tokens, lowercase):
    encoder = fit_texts(texts, task)
    assert encoder.inputs["tokens"] == tokens
    assert encoder.tokenizer.lowercase is lowercase


@pytest.mark.parametrize("tokens", ["character", "word", "bpe"])
def test_the_caller_decides(tokens):
    for texts, task in ((FILMS, "classify"), (CHINESE, "generate")):
        encoder = fit_texts(texts, task, tokens=tokens, lowercase=True)
        assert encoder.inputs["tokens"] == tokens
        assert encoder.tokenizer.lowercase
        assert not fit_texts(texts, task, tokens=tokens, lowercase=False).tokenizer.lowercase


def test_inputs_say_what_a_network_reads():
    assert fit_texts(Texts(["b a b", "c"]), tokens="word").inputs == {
        "kind": "text", "tokens": "word", "vocabulary": 7, "steps": 3,
    }  # fmt: skip
    assert fit_texts(Texts(["abca"]), "generate").inputs == {
        "kind": "text", "tokens": "character", "vocabulary": 7, "steps": 4,
    }  # fmt: skip


def test_numbers_by_hand():
    encoder = fit_texts(Texts(["b a b", "c b a"]), tokens="word")
    ragged = encoder.ragged(Texts(["a b x", "", "c"]))
    assert ragged.flat.dtype == torch.int64
    assert ragged.flat.tolist() == [5, 4, 1, 1, 6]
    assert ragged.starts.tolist() == [0, 3, 4, 5]
    batch = encoder.encode(Texts(["a b x", "", "c"]))
    assert batch.values.tolist() == [[5, 4, 1], [1, 0, 0], [6, 0, 0]]
    assert batch.lengths.tolist() == [3, 1, 1]


@pytest.mark.parametrize(
    ("marks", "flat", "starts"),
    [
        ({"end": True}, [5, 4, 2, 2, 6, 2], [0, 3, 4, 6]),
        ({"start": True}, [3, 5, 4, 3, 3, 6], [0, 3, 4, 6]),
        ({"start": True, "end": True}, [3, 5, 4, 2, 3, 2, 3, 6, 2], [0, 4, 6, 9]),
    ],
)
def test_marks_stand_around_each_text(marks, flat, starts):
    encoder = fit_texts(Texts(["b a b", "c b a"]), tokens="word", length=2)
    ragged = encoder.ragged(Texts(["a b x", "", "c"]), **marks)
    assert ragged.flat.tolist() == flat
    assert ragged.starts.tolist() == starts


@pytest.mark.parametrize("tokens", ["character", "word", "bpe"])
@pytest.mark.parametrize("length", [0, 1, 3])
def test_many_texts_equal_one_after_the_other(tokens, length):
    draw = random.Random(4)
    texts = Texts(["".join(draw.choices("ab cÉ,你 ", k=draw.randrange(9))) for _ in range(80)])
    encoder = fit_texts(texts.take(range(40)), tokens=tokens, length=length)
    for start in (False, True):
        for end in (False, True):
            whole = encoder.ragged(texts, start=start, end=end)
            for place, text in enumerate(texts.texts):
                numbers = encoder.tokenizer.encode(text)
                wanted = [3] * start + (numbers[:length] if length else numbers) + [2] * end or [1]
                assert whole[place].tolist() == wanted
                if not (start or end):
                    assert len(encoder.tokens(text)) == len(wanted)
    assert encoder.ragged(Texts([])).starts.tolist() == [0]
    again = reloaded(encoder)
    assert again == encoder
    assert torch.equal(again.ragged(texts).flat, encoder.ragged(texts).flat)
    assert again.inputs == encoder.inputs


def test_tokens_come_from_the_training_texts_alone():
    encoder = fit_texts(Texts(["seen words only here"]))
    assert encoder.ragged(Texts(["seen unseen"])).flat.tolist() == [6, 1]
    assert encoder.remarks(Texts(["seen words"])) == []
    (remark,) = encoder.remarks(Texts(["", "seen", "only unseen here new"]))
    assert remark == Problem(
        "tokens", "2 of 5 tokens (40.0%) are not in the vocabulary, such as 'unseen'", "read as the unknown token"
    )


def test_the_same_texts_in_another_order_give_the_same_encoder():
    draw = random.Random(0)
    texts = ["".join(draw.choices("abcdef ", k=30)) for _ in range(60)]
    for tokens in ("character", "word", "bpe"):
        first, second = (fit_texts(Texts(each), tokens=tokens) for each in (texts, texts[::-1]))
        assert first == second
        assert json.dumps(first.state()) == json.dumps(second.state())


def test_the_vocabulary_counts_all_numbers():
    texts = Texts(["a a a b b c", "d"])
    assert fit_texts(texts, tokens="word", vocabulary=6).tokenizer.vocabulary == ["a", "b"]
    assert fit_texts(texts, tokens="character", vocabulary=6).inputs["vocabulary"] == 6
    assert fit_texts(Texts(["abab abab cdcd"]), tokens="bpe", vocabulary=11).inputs["vocabulary"] == 11
    assert fit_texts(texts, tokens="word", least=2).tokenizer.vocabulary == ["a", "b"]


def test_what_occurs_once_in_many_tokens_trains_the_unknown_one():
    texts = ["x y z"] * 4000 + ["once"]
    assert 1 in fit_texts(Texts(texts)).ragged(Texts(["once"])).flat
    assert 1 not in fit_texts(Texts(texts), least=1).ragged(Texts(["once"])).flat
    assert 1 not in fit_texts(Texts(texts[-100:])).ragged(Texts(["once"])).flat
    assert 1 not in fit_texts(Texts([*texts, "Q"]), "generate").ragged(Texts(["Q"])).flat


def test_far_longer_texts_are_cut_and_counted():
    texts = Texts(["a b c"] * 400 + ["a b " * 50, "b " * 13])
    encoder = fit_texts(texts)
    assert encoder.inputs["steps"] == 12
    assert encoder.ragged(texts).lengths.max() == 12
    assert [problem.what for problem in encoder.problems] == [
        "2 of 402 texts are longer than 12 tokens, the longest has 100"
    ]
    assert encoder.remarks(Texts(["a " * 13]))[0].what == "1 of 1 texts are longer than 12 tokens, the longest has 13"
    for task in ("generate", "tag", "transcribe"):
        whole = fit_texts(texts, task, tokens="word")
        assert (whole.inputs["steps"], whole.problems) == (100, [])
    asked = fit_texts(texts, length=2)
    assert (asked.inputs["steps"], len(asked.problems)) == (2, 1)
    assert "402 of 402" in asked.problems[0].what
    assert asked.encode(Texts(["c a b"])).values.tolist() == asked.encode(Texts(["c a"])).values.tolist()
    assert asked.tokens("c a b") == ["c", "a"]


def test_nothing_is_normalised_in_silence():
    encoder = fit_texts(Texts(["caf\u00e9 ﬁn", "caf\u00e9"]), "translate", tokens="word")
    assert encoder.ragged(Texts(["cafe\u0301 fin"])).flat.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("texts", "settings", "error", "message"),
    [
        (Texts([]), {}, DataError, "no training texts"),
        (Texts(["", "  "]), {"tokens": "word"}, DataError, "hold no token"),
        (Texts(["a", 3]), {}, DataError, r"text 1 is int; a text is a string, or a tuple"),
        (Texts([("a", None)]), {}, DataError, r"text 0 is tuple"),
        (Texts([["a", "b"]]), {}, DataError, r"text 0 is list"),
        (TAGGED, {"tokens": "bpe"}, UsageError, r"data\.tokens = 'bpe': the data divide .* word or character"),
        (TAGGED, {"words": "jieba"}, UsageError, "divide these already"),
        (CHINESE, {"words": "jieba", "tokens": "bpe"}, UsageError, r"data\.tokens = 'bpe' takes none"),
        (FILMS, {"tokens": "words"}, UsageError, r"data: tokens = 'words'.*Did you mean 'word'"),
        (FILMS, {"vocabulary": 4}, UsageError, r"data\.vocabulary = 4 leaves no token.* 0 \(chosen\) or at least 5"),
        (FILMS, {"vocabulary": -1}, UsageError, "between 0 and 1e\\+06"),
        (FILMS, {"length": 2.5}, UsageError, "length = 2.5; it is a whole number"),
        (FILMS, {"least": 50}, DataError, "no token of the training texts occurs 50 times"),
    ],
)
def test_what_cannot_be_is_refused(texts, settings, error, message):
    with pytest.raises(error, match=message):
        fit_texts(texts, **settings)


def test_later_texts_are_checked_too():
    with pytest.raises(DataError, match="text 1 is float"):
        fit_texts(FILMS).ragged(Texts(["a", 1.5]))


def test_settings_are_read_from_the_signature():
    assert list(settings_of(fit_texts)) == ["tokens", "vocabulary", "lowercase", "least", "length", "words"]


def test_damaged_states_are_refused():
    state = fit_texts(FILMS).state()
    wrong = [None, {}, [], "text", {**state, "steps": 0}, {**state, "steps": "3"}, {**state, "length": -1}]
    wrong += [{**state, "length": 1}, {**state, "length": None}, {**state, "tokenizer": {}}, {**state, "steps": True}]
    wrong += [{name: value for name, value in state.items() if name != gone} for gone in ("steps", "tokenizer")]
    for each in wrong:
        with pytest.raises(DataError, match="damaged or of another version"):
            TextEncoder.from_state(each)


@pytest.mark.shared_data
def test_a_corpus_by_character(shared_data):
    text = (shared_data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    encoder = fit_texts(Texts([text]), "generate")
    assert encoder.inputs == {"kind": "text", "tokens": "character", "vocabulary": 69, "steps": 1_115_394}
    flat = encoder.ragged(Texts([text])).flat
    order = {sign: place for place, sign in enumerate(encoder.tokenizer.vocabulary, 4)}
    assert flat[:5000].tolist() == [order[sign] for sign in text[:5000]]
    counts = np.bincount(flat.numpy())[4:]
    assert (np.diff(counts) <= 0).all()
    assert counts[0] == text.count(" ")


@pytest.mark.shared_data
def test_sentences_by_piece(shared_data):
    lines = gzip.decompress((shared_data / "multi30k" / "val.en.gz").read_bytes()).decode("utf-8").splitlines()
    encoder = fit_texts(Texts(lines), "translate", tokens="bpe", vocabulary=1000, least=1)
    assert encoder.inputs["vocabulary"] == 1000
    ragged = encoder.ragged(Texts(lines), end=True)
    for place, line in enumerate(lines):
        assert encoder.tokenizer.decode(ragged[place].tolist()) == line
    assert ragged.lengths.mean() < 1.6 * np.mean([len(line.split()) for line in lines])
