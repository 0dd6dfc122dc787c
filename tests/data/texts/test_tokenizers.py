"""Tokenisers: exact round trips, Unicode, merges equal to the textbook's, states that are checked."""

import json
import random
import sys
import tarfile
from collections import Counter
from functools import partial
from itertools import pairwise
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from netwright.data.texts.tokenizers import (
    BytePairTokenizer,
    CharacterTokenizer,
    WordTokenizer,
    learn_byte_pairs,
    learn_characters,
    learn_words,
    tokenizer_from,
)
from netwright.data.texts.tokenizers.byte_pairs import learn_merges, merged, stretches
from netwright.data.texts.tokenizers.words import _jieba, split_words
from netwright.errors import DataError, MissingError, UsageError

SIGNS = "aabbcAÉéeß \t\n.,!?'’\"-_/&%$0123你好吗のカー。，กำ👩🏽‍🚀🇫🇷\u0301\u200b\u200d\x00\x7f\ufeffйקع한"


ANY = [chr(place) for place in (9, *range(32, 0xD800), *range(0xE000, 0x110000, 7))]


def fuzz(seed, count=200, longest=60):
    draw = random.Random(seed)
    texts = ["".join(draw.choices(SIGNS, k=draw.randrange(longest))) for _ in range(count)]
    return texts + ["".join(draw.choices(ANY, k=30)) for _ in range(20)]


@pytest.mark.parametrize("learn", [learn_characters, lambda texts: learn_byte_pairs(texts, most=6000)])
@pytest.mark.parametrize("seed", range(3))
def test_characters_and_pieces_give_back_any_text_exactly(learn, seed):
    texts = fuzz(seed)
    tokenizer = learn(texts)
    for text in texts:
        numbers = tokenizer.encode(text)
        assert tokenizer.decode(numbers) == text
        assert len(tokenizer.split(text)) == len(numbers)
        assert "".join(tokenizer.split(text)) == text
    assert tokenizer_from(json.loads(json.dumps(tokenizer.state()))) == tokenizer


@pytest.mark.parametrize("learn", [learn_characters, learn_words, lambda texts: learn_byte_pairs(texts, most=500)])
def test_many_texts_at_once_have_the_numbers_of_each(learn):
    texts = fuzz(7)
    tokenizer = learn(texts[: len(texts) // 2])
    flat, lengths = tokenizer.encode_many(texts)
    assert flat.dtype == lengths.dtype == np.int64
    assert flat.tolist() == [number for text in texts for number in tokenizer.encode(text)]
    assert lengths.tolist() == [len(tokenizer.encode(text)) for text in texts]
    assert flat.max() < len(tokenizer)


def test_characters_are_numbered_by_count_then_by_text():
    tokenizer = learn_characters(["bab", "ca\n", "\U0001f600"])
    assert tokenizer.vocabulary == ["a", "b", "\n", "c", "\U0001f600"]
    assert tokenizer.encode("ab?\U0001f600\ud800") == [4, 5, 1, 8, 1]
    assert tokenizer.decode([3, 4, 1, 2, 0]) == "a\ufffd"
    assert len(tokenizer) == 9


def test_the_order_of_texts_does_not_matter():
    texts = fuzz(3)
    turned = random.Random(1).sample(texts, len(texts))
    for learn in (learn_characters, learn_words, lambda t: learn_byte_pairs(t, most=400)):
        assert learn(texts) == learn(turned)


def test_halves_of_pairs_are_never_learnt():
    for learn in (learn_characters, learn_words, lambda texts: learn_byte_pairs(texts, most=99)):
        tokenizer = learn(["a \ud83d b \udc00\udc00"])
        json.dumps(tokenizer.state(), ensure_ascii=False).encode("utf-8")
        assert 1 in tokenizer.encode("\udc00")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I don't know, it's 'fine'.", ["I", "don't", "know", ",", "it's", "'", "fine", "'", "."]),
        ("they 're here ' re", ["they", "'re", "here", "'", "re"]),
        ("L'homme qu’il aime, j'ai aujourd'hui", ["L'", "homme", "qu’", "il", "aime", ",", "j'", "ai", "aujourd'hui"]),
        ("3.14, 1,000,000 at 12:30. 5km 2nd", ["3.14", ",", "1,000,000", "at", "12:30", ".", "5km", "2nd"]),
        ("The U.S. e.g. a. B.", ["The", "U.S.", "e.g.", "a", ".", "B", "."]),
        ("well-known (and/or) $5 50%", ["well", "-", "known", "(", "and", "/", "or", ")", "$", "5", "50", "%"]),
        ("what?!... no -- yes!!!!", ["what", "?", "!", "...", "no", "--", "yes", "!!!", "!"]),
        ("我用Python3写。好！", ["我", "用", "Python3", "写", "。", "好", "！"]),
        ("カード々 ひろ", ["カ", "ー", "ド", "々", "ひ", "ろ"]),
        ("กำลัง ดี", ["ก", "ำ", "ลั", "ง", "ดี"]),
        ("नमस्ते cafe\u0301 한국어 Ünïcode", ["नमस्ते", "cafe\u0301", "한국어", "Ünïcode"]),
        ("hi👩🏽‍🚀🇫🇷❤️😀😀", ["hi", "👩🏽‍🚀", "🇫🇷", "❤️", "😀", "😀"]),
        ("a_b __x", ["a", "_", "b", "__", "x"]),
        (" \t\n\u3000\u00a0 ", []),
    ],
)  # fmt: skip
def test_words(text, tokens):
    assert split_words(text) == tokens


@pytest.mark.parametrize("seed", range(3))
def test_words_leave_out_nothing_but_spaces(seed):
    for text in fuzz(seed):
        assert "".join(split_words(text)) == "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "A man, a plan: (yes) 50% of $5!",
        'He said "no", then "yes".',
        "A blond-haired boy's dog and/or cat doesn't sleep... ever?!",
        "the dogs' owner's 'quoted words' here",
        "Zwei „junge“ Männer – im T-Shirt; “so” sagt man.",
        "L'homme qu’il aime n'a pas aujourd'hui.",
        "我用Python写代码。“好！”他说，是吗？",
        "これはペンです。",
        "At 12:30 the U.S. team won 1,000.50 points",
        "",
    ],
)
def test_words_come_back_with_their_punctuation(text):
    tokenizer = learn_words([text or "x"])
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_signs_apart_stay_apart():
    tokenizer = learn_words(["so . . . what they 're n't"])
    assert tokenizer.decode(tokenizer.encode("so . . . what they 're")) == "so. . . what they're"
    assert tokenizer.encode(tokenizer.decode(tokenizer.encode("so . . .")) or "") == tokenizer.encode("so . . .")


def test_divided_texts_keep_their_tokens():
    words = learn_words([("New York", "'s", "@-@", ""), ("New York",)])
    assert words.vocabulary == ["New York", "", "'s", "@-@"]
    assert words.encode(("@-@", "New York", "York")) == [7, 4, 1]
    characters = learn_characters([("a", "bc"), ("bc",)])
    assert characters.encode(("bc", "a", "b")) == [4, 5, 1]
    assert characters.encode("abc") == [5, 1, 1]
    flat, lengths = characters.encode_many([("bc", "a"), "a", ()])
    assert (flat.tolist(), lengths.tolist()) == ([4, 5, 5], [2, 1, 0])
    assert learn_words([("A", "a")], lowercase=True).vocabulary == ["a"]
    assert learn_characters([("A", "a")], lowercase=True).encode(("A",)) == [4]


def test_pieces_of_divided_texts_are_refused():
    tokenizer = learn_byte_pairs(["a b"], most=20)
    with pytest.raises(UsageError, match=r"auto, word or character"):
        tokenizer.encode(("a", "b"))


def test_lower_case_is_part_of_the_tokens():
    for learn in (learn_characters, learn_words, partial(learn_byte_pairs, most=9)):
        tokenizer = learn(["Ab İ"], lowercase=True)
        assert tokenizer.encode("AB") == tokenizer.encode("ab")
        flat, lengths = tokenizer.encode_many(["İ", "Ab"])
        assert lengths.tolist() == [len(tokenizer.encode("İ")), len(tokenizer.encode("ab"))]
        assert flat.tolist() == tokenizer.encode("İ") + tokenizer.encode("ab")
        assert tokenizer_from(tokenizer.state()).encode("AB") == tokenizer.encode("ab")


def textbook(words, room):
    """Sennrich et al. 2016, figure 1, with a tie broken by text: count all pairs anew, join the best everywhere."""
    vocabulary = {tuple(word): count for word, count in words.items()}
    pieces = {sign for word in vocabulary for sign in word}
    merges = []
    while room > 0:
        pairs = Counter()
        for word, count in vocabulary.items():
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges += [best] * (best not in merges)
        room -= "".join(best) not in pieces
        pieces.add("".join(best))
        joined = Counter()
        for word, count in vocabulary.items():
            found, place = [], 0
            while place < len(word):
                both = word[place : place + 2] == best
                found.append("".join(best) if both else word[place])
                place += 1 + both
            joined[tuple(found)] += count
        vocabulary = joined
    return merges, vocabulary


@pytest.mark.parametrize("seed", range(40))
def test_merges_equal_the_textbook(seed):
    draw = random.Random(seed)
    signs = "abcdefgh"[: draw.randrange(1, 9)]
    words = Counter("".join(draw.choices(signs, k=draw.randrange(1, 12))) for _ in range(draw.randrange(1, 120)))
    room = draw.choice([0, 1, 5, 30, 1000])
    merges, _ = textbook(words, room)
    assert learn_merges(words, room) == merges


def test_merges_of_sentences_equal_the_textbook_and_divide_as_it_did():
    draw = random.Random(5)
    stock = ["".join(draw.choices("etaoinshr", k=draw.randrange(1, 8))) for _ in range(80)]
    texts = [" ".join(draw.choices(stock, k=12)) + "." for _ in range(60)]
    tokenizer = learn_byte_pairs(texts, most=150)
    words = Counter(part for text in texts for part in stretches(text))
    merges, divided = textbook(words, 150 - 4 - len(tokenizer.characters))
    assert tokenizer.merges == merges
    assert len(tokenizer) == 150
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    assert {tuple(merged(word, ranks)) for word in words} == set(divided)
    assert max(map(len, tokenizer.split(texts[0]))) > 2


def test_a_hand_counted_example():
    words = {"low": 5, "lower": 2, "newest": 6, "widest": 3}  # Sennrich et al. 2016; ties by text
    assert learn_merges(words, 4) == [("e", "s"), ("es", "t"), ("l", "o"), ("lo", "w")]


def test_merges_never_cross_a_space_and_chinese_goes_by_character():
    texts = ["the cat the cat the cat 你好 你好 你好 12345 12345 a  b"] * 5
    tokenizer = learn_byte_pairs(texts, most=500)
    pieces = tokenizer.split(texts[0])
    assert {" the", "the", " cat", "你", "好", " 123", "45"} <= set(pieces)
    assert all(" " not in piece[1:] for piece in pieces)
    assert stretches("x" * 95 + " y") == ["x" * 40, "x" * 40, "x" * 15, " y"]


def test_a_character_that_training_did_not_see_is_one_unknown_piece():
    tokenizer = learn_byte_pairs(["abab abab"], most=50)
    numbers = tokenizer.encode("abéab")
    assert numbers.count(1) == 1
    assert tokenizer.decode(numbers) == "ab\ufffdab"


def test_what_is_decoded_piece_by_piece_is_the_text():
    tokenizer = learn_byte_pairs(["the cat sat on the mat"] * 3, most=60)
    numbers = tokenizer.encode("the cat on the mat")
    assert "".join(tokenizer.decode([number]) for number in numbers) == "the cat on the mat"


def test_numbers_that_no_token_has_are_refused():
    for tokenizer in (learn_characters(["ab"]), learn_words(["ab b"]), learn_byte_pairs(["ab"], most=6)):
        for number in (6, -1):
            with pytest.raises(DataError, match=rf"^{number} is no token's number; they lie between 0 and 5$"):
                tokenizer.decode([number])


def test_too_rare_or_no_tokens_are_refused():
    with pytest.raises(DataError, match=r"occurs 3 times; the most frequent one does 2 times"):
        learn_words(["a a b"], least=3)
    for learn in (learn_characters, learn_words, lambda texts: learn_byte_pairs(texts, most=9)):
        with pytest.raises(DataError, match="hold no token"):
            learn([""])


LEARNT = [learn_characters(["ab"]), learn_words(["ab b"]), learn_byte_pairs(["abab ab"], most=9)]
STATES = [tokenizer.state() for tokenizer in LEARNT]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state["kind"])
def test_damaged_states_are_refused(state):
    assert tokenizer_from(json.loads(json.dumps(state))).state() == state
    wrong = [None, [], "word", {}, {**state, "kind": "sentence"}, {**state, "kind": ["word"]}]
    wrong += [{name: value for name, value in state.items() if name != gone} for gone in state]
    for name, value in state.items():
        for other in (None, 3, "ab", {"a": 1}, [1], [None], [["a"]], [["a", "q"]], [["a", "b", "c"]], ["ab", "ab"]):
            if other != value and name != "kind":
                wrong.append({**state, name: other})
    for each in wrong:
        with pytest.raises(DataError, match="damaged or of another version"):
            tokenizer_from(each)


def test_jieba_is_asked_only_where_it_is_wanted(monkeypatch):
    class Finder:
        def get_dict_file(self):
            return "words"

        def gen_pfdict(self, file):
            return {file: 1}, 1

        def lcut(self, text):
            return [text[place : place + 2] for place in range(0, len(text), 2)]

    module = ModuleType("jieba")
    module.__dict__.update(SimpleNamespace(Tokenizer=Finder).__dict__)
    monkeypatch.setitem(sys.modules, "jieba", module)
    _jieba.cache_clear()
    tokenizer = learn_words(["北京大学 is big。北京"], jieba=True)
    assert tokenizer.vocabulary == ["北京", "big", "is", "。", "大学"]
    assert tokenizer.decode(tokenizer.encode("北京大学。")) == "北京大学。"
    assert tokenizer_from(tokenizer.state()) == tokenizer
    monkeypatch.setitem(sys.modules, "jieba", None)
    _jieba.cache_clear()
    with pytest.raises(MissingError, match=r"netwright\[text\]") as caught:
        tokenizer_from(tokenizer.state())
    assert caught.value.code == 5
    _jieba.cache_clear()


@pytest.mark.shared_data
def test_naughty_strings_and_foreign_texts_come_back(shared_data):
    with tarfile.open(shared_data / "bad-inputs" / "text-encodings.tar.gz") as archive:
        read = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    texts = [line for name, raw in read.items() if "utf-8" in name or "naughty" in name
             for line in raw.decode("utf-8").splitlines(keepends=True)]  # fmt: skip
    plain = ("Big5", "SHIFT_JIS", "EUC-KR", "KOI8-R", "TIS-620", "UTF-16", "GB2312")
    kinds = {name: name.split("/")[1] for name in read}
    texts += [raw.decode(kinds[name], "ignore") for name, raw in read.items() if kinds[name] in plain]
    assert len(texts) > 800
    for tokenizer in (learn_characters(texts), learn_byte_pairs(texts, most=8000), learn_words(texts)):
        assert tokenizer_from(json.loads(json.dumps(tokenizer.state()))) == tokenizer
        for text in texts:
            numbers = tokenizer.encode(text)
            assert 1 not in numbers
            if isinstance(tokenizer, WordTokenizer):
                assert "".join(tokenizer.split(text)) == "".join(text.split())
                assert "".join(tokenizer.decode(numbers).split()) == "".join(text.split())
            else:
                assert tokenizer.decode(numbers) == text


@pytest.mark.shared_data
def test_sentences_come_back_from_words(shared_data):
    text = (shared_data / "tatoeba-cmn-eng" / "cmn.txt").read_text(encoding="utf-8")
    pairs = [line.split("\t")[:2] for line in text.splitlines()]
    for side, share in ((0, 0.99), (1, 0.98)):
        sentences = [pair[side] for pair in pairs]
        tokenizer = learn_words(sentences)
        same = [tokenizer.decode(tokenizer.encode(sentence)) == sentence for sentence in sentences]
        assert np.mean(same) > share


def test_the_kinds_have_their_names():
    kinds = [kind.kind for kind in (CharacterTokenizer, WordTokenizer, BytePairTokenizer)]
    assert kinds == ["character", "word", "bpe"]
