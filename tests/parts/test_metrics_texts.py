"""BLEU, chrF and ROUGE against the numbers of their reference programs; edits against the table they are defined by."""

import random
from itertools import pairwise

import pytest

from netwright.catalogue import METRICS
from netwright.errors import UsageError
from netwright.parts import metrics
from netwright.parts.metrics.overlaps import bleu_tokens, chinese, rouge_tokens

ENGLISH = [
    (
        "A man in a blue shirt is standing on a ladder, cleaning a window.",
        "A man in a blue shirt stands on a ladder cleaning a window.",
    ),
    ("Two dogs are playing in the snow; it's 3,000 metres high.", "Two dogs play in the snow, it's 3,000 metres up."),
    (
        "The U.S. price rose 2-3% to $5.00 (about &quot;nothing&quot;).",
        'The price in the U.S. rose by 2-3% to $5.00 ("nothing").',
    ),
    ("Ein Café in Straßburg öffnet um 9 Uhr.", "Ein Cafe in Straßburg öffnet um neun Uhr."),
    ("Nobody answers.", ""),
    ("yes", "yes"),
]
CHINESE = [
    ("今天天气很好，我们去公园吧。", "今天天气真好，我们一起去公园。"),
    ("“你好”——他说：OK 3.14！", "“您好”——他说：OK 3.14!"),
    ("我不知道。", "我知道。"),
    ("他在北京大学学习了两年中文", "他学习了两年中文在北京大学"),
]


def apart(pairs):
    return [true for true, _ in pairs], [said for _, said in pairs]


# sacrebleu 2.6.0: BLEU(tokenize=...).corpus_score(said, [true]).score, CHRF().corpus_score(...).score
@pytest.mark.parametrize(
    ("pairs", "tokenizer", "bleu", "chrf"),
    [
        (ENGLISH, "13a", 47.07338171205011, 59.401832406725966),
        (ENGLISH[:1], "13a", 54.084391427678554, 74.14895273923135),
        (ENGLISH[4:], "13a", 0.0, 15.610540158784278),
        (CHINESE, "zh", 63.081382885330726, 58.48381555873343),
        (CHINESE, "13a", 0.0, 58.48381555873343),
    ],
)
def test_bleu_and_chrf_equal_sacrebleu(pairs, tokenizer, bleu, chrf):
    assert METRICS["bleu"](*apart(pairs), tokenizer=tokenizer) == pytest.approx(bleu, abs=1e-9)
    assert METRICS["chrf"](*apart(pairs)) == pytest.approx(chrf, abs=1e-9)


def test_bleu_by_hand_with_brevity_and_smoothing():
    # 3 words of 5: 1-grams 2/3, 2-grams 1/2, 3-grams none: half of 1; no 4-gram was said: 0
    assert METRICS["bleu"](["a b c d e"], ["a b x"]) == 0.0
    # 5 of 6 words: matches 4/5, 2/4, 1/3, none of 2 (half of 1/2); exp(1 - 6/5)
    expected = 100 * (4 / 5 * 2 / 4 * 1 / 3 * 1 / 4) ** 0.25 * 2.718281828459045 ** (1 - 6 / 5)
    assert METRICS["bleu"](["a b c d e f"], ["a b c x d"]) == pytest.approx(expected, abs=1e-9)
    # orders without a match count 1/2, 1/4 ... of one: 2/4, then 1/(2*3), 1/(4*2), 1/(8*1)
    assert METRICS["bleu"](["a b c d"], ["b a y x"]) == pytest.approx(100 * (0.5 / 6 / 8 / 8) ** 0.25, abs=1e-9)
    assert METRICS["bleu"](["A cat"] * 2 + ["a b c d"], ["a cat"] * 2 + ["a b c d"]) < 100  # case counts
    assert METRICS["bleu"](["a b c d"], ["a b c d"]) == pytest.approx(100)


def test_the_tokenizer_of_bleu_is_chosen_by_the_true_texts():
    assert METRICS["bleu"](*apart(CHINESE)) == METRICS["bleu"](*apart(CHINESE), tokenizer="zh")
    assert METRICS["bleu"](*apart(ENGLISH)) == METRICS["bleu"](*apart(ENGLISH), tokenizer="13a")
    assert chinese(["我用 PyTorch 学习神经网络。"])
    assert not chinese(["He said 你好.", "3.14", ""])
    with pytest.raises(UsageError, match="tokenizer"):
        METRICS["bleu"](["a"], ["a"], tokenizer="14a")


def test_tokens_of_bleu_and_rouge():
    marks = bleu_tokens("It's 3,000.5 (two-thirds), 2-3%.\n", "13a")
    assert " ".join(marks) == "It's 3,000.5 ( two-thirds ) , 2 - 3 % ."
    assert " ".join(bleu_tokens("a &lt;b&gt; end-\nless <skipped>", "13a")) == "a < b > endless"
    assert " ".join(bleu_tokens(" 我爱 Netwright1，“好” ", "zh")) == "我 爱 Netwright1 ， “ 好 ”"
    assert " ".join(rouge_tokens("The café's No. 9_a: 你好ok!")) == "the café s no 9 a 你 好 ok"


def test_rouge_equals_rouge_score_on_plain_english():
    # rouge_score 0.1.2, RougeScorer(["rouge1", "rougeL"]), without stemming, F-measures
    pairs = [ENGLISH[place] for place in (0, 1, 2, 4, 5)]
    first = [0.888888888888889, 0.8, 0.7857142857142857, 0.0, 1.0]
    longest = [0.888888888888889, 0.8, 0.7142857142857143, 0.0, 1.0]
    assert metrics.PER_EXAMPLE["rouge1"](*apart(pairs)) == pytest.approx(first, abs=1e-12)
    assert metrics.PER_EXAMPLE["rougeL"](*apart(pairs)) == pytest.approx(longest, abs=1e-12)
    assert METRICS["rouge1"](*apart(pairs)) == pytest.approx(0.6949206349206349, abs=1e-12)
    assert METRICS["rougeL"](*apart(pairs)) == pytest.approx(0.6806349206349207, abs=1e-12)


def test_rouge_takes_chinese_by_character():
    # 5 of 6 characters of each are shared; in order only 北京大学 (4)
    assert METRICS["rouge1"](["我在北京大学"], ["北京大学我去"]) == pytest.approx(5 / 6)
    assert METRICS["rougeL"](["我在北京大学"], ["北京大学我去"]) == pytest.approx(4 / 6)


def table(first, second):
    """Edit distance and longest common subsequence by the tables of their definitions."""
    edits = {(i, j): i or j for i in range(len(first) + 1) for j in range(len(second) + 1) if not i or not j}
    common = dict.fromkeys(edits, 0)
    for i, a in enumerate(first, 1):
        for j, b in enumerate(second, 1):
            edits[i, j] = min(edits[i - 1, j] + 1, edits[i, j - 1] + 1, edits[i - 1, j - 1] + (a != b))
            common[i, j] = common[i - 1, j - 1] + 1 if a == b else max(common[i - 1, j], common[i, j - 1])
    return edits[len(first), len(second)], common[len(first), len(second)]


def test_edits_and_common_subsequences_equal_their_tables():
    rng = random.Random(0)
    sizes = [0, 1, 2, 3, 7, 31, 32, 33, 64, 65, 120]
    for letters in (2, 5, 26):
        for _ in range(30):
            first, second = (rng.choices(range(letters), k=rng.choice(sizes)) for _ in range(2))
            assert (metrics.edits(first, second), metrics.longest_common(first, second)) == table(first, second)
    assert metrics.edits("kitten", "sitting") == 3
    first, second = (rng.choices("abcd", k=520) for _ in range(2))  # beyond where the places are set by bytes
    assert (metrics.edits(first, second), metrics.longest_common(first, second)) == table(first, second)


def test_word_and_character_error_rates_by_hand():
    true, said = ["one two three four", "five six", "naïve 日本"], ["one too three", "five six seven", " naïve  日本\n"]
    assert METRICS["word_error_rate"](true, said) == pytest.approx(3 / 8)
    # "one two three four" -> "one too three": w -> o, 5 left out; " seven" put in: 12 of 18 + 8 + 8
    assert METRICS["character_error_rate"](true, said) == pytest.approx((1 + 5 + 6) / 34)
    assert METRICS["exact_match"](true, said) == pytest.approx(1 / 3)
    assert METRICS["word_error_rate"](["a"], ["b c d"]) == 3.0
    assert METRICS["word_error_rate"](["", "a b"], ["x", "a b"]) == 0.5


def test_ten_thousand_words_are_measured():
    first = [f"w{k * 7919 % 10_007}" for k in range(10_000)]
    dropped = [word for k, word in enumerate(first) if k % 10]
    assert METRICS["word_error_rate"]([" ".join(first)], [" ".join(dropped)]) == pytest.approx(0.1)
    assert METRICS["rougeL"]([" ".join(first)], [" ".join(dropped)]) == pytest.approx(2 * 9_000 / 19_000)
    swapped = [word for pair in pairwise(first) for word in pair]
    assert METRICS["word_error_rate"]([" ".join(first)], [" ".join(swapped)]) == pytest.approx(0.9998)


NAMES = ["bleu", "chrf", "rouge1", "rougeL", "exact_match", "word_error_rate", "character_error_rate"]


@pytest.mark.parametrize("name", NAMES)
def test_texts_that_cannot_be_measured(name):
    assert METRICS[name]([], []) is None
    with pytest.raises(UsageError, match="2 true values, but 1 predictions"):
        METRICS[name](["a", "b"], ["a"])
    with pytest.raises(UsageError, match="got a single text"):
        METRICS[name]("abc", "abc")
    with pytest.raises(UsageError, match="predicted text 1 is no text but int"):
        METRICS[name](["a", "b"], ["a", 3])
    with pytest.raises(UsageError, match="true text 0 is no text but tuple"):
        METRICS[name]([("a", "b")], ["a"])


def test_empty_texts():
    for name in ("bleu", "chrf", "word_error_rate", "character_error_rate"):
        assert METRICS[name](["", " \n"], ["", "x"]) is None, name
    assert [METRICS[name](["a b c d"], [""]) for name in NAMES] == [0, 0, 0, 0, 0, 1, 1]
    assert METRICS["rouge1"](["", "a"], ["", "a"]) == 0.5
    assert METRICS["exact_match"](["", "a"], ["", "b"]) == 0.5
