"""The baselines for texts against scikit-learn's own pipeline, hand counts, and input that breaks careless ones."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from netwright.errors import UsageError
from netwright.report.baselines import texts as module
from netwright.report.baselines.texts import (
    bag_of_words,
    character_ngrams,
    joined,
    lead,
    median_words,
    most_frequent_tag,
    retrieval,
    words,
)

GOOD = ["a fine film", "fine acting, fine story", "what a story!", "I don't regret it"]
BAD = ["a dull film", "dull acting, dull story", "what a waste!", "I regret it"]


def test_words_are_runs_of_letters_and_chinese_characters():
    assert words("Don't panic: it's 3 o'clock") == ["don't", "panic", "it's", "3", "o'clock"]
    assert words("我爱NLP啊, ok") == ["我", "爱", "nlp", "啊", "ok"]
    assert words("Ein Hut, ja!", lower=False, marks=True) == ["Ein", "Hut", ",", "ja", "!"]
    assert words(("New York", "!")) == ["new york", "!"]
    assert words("") == words(" \n?!") == []


def test_bag_of_words_equals_scikit_learn():
    train, classes, test = GOOD + BAD, np.array([1] * 4 + [0] * 4), ["a fine waste", "dull dull film", "unheard of"]
    found = bag_of_words(train, classes, test, 2)
    counted = TfidfVectorizer(token_pattern=r"\w+(?:'\w+)*", ngram_range=(1, 2), sublinear_tf=True)
    model = LogisticRegression(C=10.0, max_iter=200).fit(counted.fit_transform(train), classes)
    np.testing.assert_allclose(found, model.predict_proba(counted.transform(test)), atol=1e-9)
    assert found[1, 0] > 0.7


def test_bag_of_words_counts_chinese_by_character():
    train = ["很好吃", "好吃，快", "真好", "很难吃", "难吃，慢", "真难"] * 2
    found = bag_of_words(train, np.array([1, 1, 1, 0, 0, 0] * 2), ["好吃吗", "难吃吗"], 2)
    assert found.argmax(axis=1).tolist() == [1, 0]


def test_character_ngrams_tell_languages_and_keep_classes_without_examples():
    train = ["Rossini", "Bellini", "Puccini", "Novak", "Dvorak", "Horak"]
    found = character_ngrams(train, np.array([2, 2, 2, 0, 0, 0]), ["Paganini", "Kodrak"], 4)
    assert found.shape == (2, 4)
    assert found.argmax(axis=1).tolist() == [2, 0]
    assert (found[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_character_ngrams_see_where_a_text_ends():
    train = ["ca", "da", "ac", "ad"]
    assert character_ngrams(train, np.array([0, 0, 1, 1]), ["qa", "aq"], 2).argmax(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize("train", [["?!", "..."], ["", " "]])
def test_texts_without_a_word_give_the_shares(train):
    np.testing.assert_allclose(bag_of_words(train, np.array([0, 2]), ["hello", ""], 3), [[0.5, 0, 0.5]] * 2)


def test_one_class_and_no_test_text():
    assert bag_of_words(GOOD, np.zeros(4, int), ["fine"], 2).tolist() == [[1, 0]]
    assert bag_of_words(GOOD + BAD, np.array([1] * 4 + [0] * 4), [], 2).shape == (0, 2)


@pytest.mark.parametrize(
    ("train", "classes", "message"),
    [
        ([], [], "no training texts"),
        (["a"], [0, 1], "1 texts, but targets for 2"),
        (["a", "b"], [0, 5], "between 0 and 1"),
    ],
)
def test_mistakes_are_named(train, classes, message):
    with pytest.raises(UsageError, match=message):
        bag_of_words(train, np.array(classes, int), ["a"], 2)


def test_tokens_count_as_they_stand():
    train = [("New York", "wins"), ("new york", "again"), ("York", "lost"), ("York", "again lost")]
    found = bag_of_words(train, np.array([0, 0, 1, 1]), [("New York",), ("York",)], 2)
    assert found.argmax(axis=1).tolist() == [0, 1]


def test_a_small_budget_learns_from_a_part_and_repeats(monkeypatch):
    monkeypatch.setattr(module, "CHARACTERS", 60)
    train, classes = (GOOD + BAD) * 5, np.array(([1] * 4 + [0] * 4) * 5)
    first = bag_of_words(train, classes, ["fine"], 2)
    assert first.tolist() == bag_of_words(train, classes, ["fine"], 2).tolist()
    assert len(module.drawn(np.full(40, 10), 60)) == 6
    assert len(module.drawn(np.full(40, 100), 60)) == 1
    assert module.drawn(np.full(40, 1), 60, 7).tolist() == sorted(module.drawn(np.full(40, 1), 60, 7).tolist())


def test_most_frequent_tag():
    tokens, tags = [("in", "Rome"), ("Rome", "in", "Rome")], [("O", "LOC"), ("PER", "O", "LOC")]
    assert most_frequent_tag(tokens, tags, [("Rome", "in", "Oslo"), ()]) == [("LOC", "O", "O"), ()]
    with pytest.raises(UsageError, match="text 1: 3 tokens, but 2 tags"):
        most_frequent_tag(tokens, [("O", "LOC"), ("PER", "O")], [])
    with pytest.raises(UsageError, match="no training token"):
        most_frequent_tag([()], [()], [("a",)])


def test_retrieval_gives_the_reply_of_the_nearest_source():
    pairs = [
        ("how are you", "fine"),
        ("what is your name", "Eva"),
        ("where are you from", "Oslo"),
        ("hello there", "fine"),
    ]
    asked = ["Your NAME, what is it?", "where from", "zzz", ""]
    assert retrieval(pairs, asked) == ["Eva", "Oslo", "fine", "fine"]
    assert retrieval([("?", "a"), ("!", "b"), (".", "b")], ["x"]) == ["b"]
    assert retrieval([("a b", ("x", "y", "!"))], ["a"]) == ["x y!"]
    with pytest.raises(UsageError, match="no training pairs"):
        retrieval([], ["a"])


def test_retrieval_equals_a_loop_over_all_cosines():
    draw = np.random.default_rng(3)
    sources = [" ".join(draw.choice(list("abcdefgh"), draw.integers(1, 6))) for _ in range(60)]
    pairs = [(source, str(place)) for place, source in enumerate(sources)]
    asked = [" ".join(draw.choice(list("abcdefgh"), 4)) for _ in range(30)]
    counted = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True)
    known = counted.fit_transform(sources).toarray()
    for answer, row in zip(retrieval(pairs, asked), counted.transform(asked).toarray(), strict=True):
        likeness = [float(row @ other) for other in known]
        assert likeness[int(answer)] == pytest.approx(max(likeness), abs=1e-12)


def test_lead_takes_first_words_as_they_stand():
    source = "The fire, which  began at night, is out."
    assert lead([source, "one", "", "我们爱北京。"], 3) == ["The fire, which", "one", "", "我们爱"]
    assert lead([source, ("A", "b", ".")], 0) == ["", ""]
    assert lead([("A", "b", ".", "c")], 3) == ["A b."]
    assert median_words(["a b", "a b c d", "a b c"]) == 3
    assert median_words([]) == median_words([""]) == 1
    with pytest.raises(UsageError, match="-1 words"):
        lead(["a"], -1)


def test_joined_spaces_words_and_not_chinese():
    assert joined(("Ein", "Hut", ",", "ja", "!")) == "Ein Hut, ja!"
    assert joined(("我", "爱", "北", "京", "。")) == "我爱北京。"
    assert joined("as it stands ,") == "as it stands ,"
