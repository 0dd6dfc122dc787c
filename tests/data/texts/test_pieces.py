"""A corpus in pieces: what is trained on, what is foretold, exactly once, and nothing of the test in training."""

from itertools import pairwise

import numpy as np
import pytest

import netwright as nw
from netwright.data.source import Source, Texts
from netwright.data.texts.pieces import FEW, HELD_OUT, WINDOW, pieces, shifted
from netwright.errors import DataError
from netwright.parts.sequences import END, START, Ragged

SETTINGS = {"window": 0, "test": 0.2, "validation": 0.1, "split_seed": 0, "tokens": "auto"}


def numbered(count, first=0x4E00):
    """A text in which no character comes twice, so that each tells where it stood."""
    return "".join(chr(first + place) for place in range(count))


def corpus(lengths, divided=False, given=None):
    """Documents whose characters are all different."""
    ends = np.cumsum([0, *lengths])
    texts = [numbered(end - begin, 0x4E00 + int(begin)) for begin, end in pairwise(ends)]
    held = [tuple(text) for text in texts] if divided else texts
    return texts, Source("text", "made", Texts(held), None, [f"doc {n}" for n in range(len(texts))], given or {},
                         task="generate")  # fmt: skip


CASES = {
    "one": [1000],
    "shorter than the window": [90],
    "two tokens a split": [20],
    "three": [500, 40, 900],
    "one less than few": [37] * (FEW - 1),
    "few": [37] * FEW,
    "many of unequal length": [1, 2, 3, 5, 8, 13, 21, 34, 55, 89] * 4,
    "many, one very long": [30] * 60 + [9000],
    "few long ones": [5000] * 3,
}


def foretold(source, place):
    """The characters that the example at `place` foretells, in their order, and whether its end too."""
    text = list(source.examples.texts[place])
    begins, ends = bool(source.facts["begins"][place]), bool(source.facts["ends"][place])
    numbers = {character: number for number, character in enumerate(dict.fromkeys(text), 10)}
    known = {number: character for character, number in numbers.items()}
    flat = Ragged.of([[numbers[character] for character in text]])
    reads, says = shifted(flat, np.array([begins]), np.array([ends]))
    assert len(reads[0]) == len(says[0])
    assert reads[0][1:].tolist() == says[0][:-1].tolist()
    assert (int(reads[0][0]) == START) == begins
    said = says[0].tolist()
    if ends:
        assert said[-1] == END
    return [known[number] for number in said if number != END], reads[0].tolist()


@pytest.mark.parametrize("window", [0, 2, 7, 64])
@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_every_character_is_foretold_once_and_none_of_the_test_is_read_in_training(name, divided, window):
    texts, source = corpus(CASES[name], divided)
    found = pieces(source, {**SETTINGS, "window": window})
    everything, marked = set("".join(texts)), found.facts["marked"]
    seen, said = {}, {}
    for split, places in found.given.items():
        seen[split] = {character for place in places for character in found.examples.texts[place]}
        said[split] = [character for place in places for character in foretold(found, int(place))[0]]
        assert len(said[split]) == len(set(said[split])), "a character is foretold twice"
    names = list(seen)
    assert set(names) >= {"train", "test"}
    for one in names:
        for other in names[names.index(one) + 1 :]:
            assert not seen[one] & seen[other]
    assert set().union(*seen.values()) <= everything
    for split in names:
        first = seen[split] - set(said[split])  # of running text the very first of a stretch, which nothing foretells
        assert len(first) <= (0 if marked else len(texts)), split
    if marked:
        assert set().union(*seen.values()) == everything
        assert int(found.facts["begins"].sum()) == int(found.facts["ends"].sum()) == len(texts)
    size = found.facts["window"]
    assert max(len(found.examples.texts[place]) for place in found.given["train"]) <= size + 1
    longest = size if marked and len(texts) >= FEW and max(map(len, texts)) <= 2048 else HELD_OUT * size
    assert max(len(found.examples.texts[place]) for place in found.given["test"]) <= longest + 1
    assert len(found.ids) == len(set(found.ids)) == len(found.examples)


def test_running_text_is_divided_from_front_to_back():
    texts, source = corpus([1000])
    found = pieces(source, SETTINGS)
    joined = {split: "".join(found.examples.texts[place] for place in places) for split, places in found.given.items()}
    order = ["".join(dict.fromkeys(joined[split])) for split in ("train", "validation", "test")]
    assert "".join(order) == texts[0]
    assert [len(part) for part in order] == [720, 80, 200]
    assert found.facts["window"] == WINDOW


def test_stated_splits_stay():
    texts, source = corpus([300, 200, 100], given={"test": np.array([1])})
    found = pieces(source, SETTINGS)
    tested = "".join(dict.fromkeys("".join(found.examples.texts[place] for place in found.given["test"])))
    assert tested == texts[1]
    whole = pieces(source, SETTINGS, all_held_out=True)
    assert sum(map(len, whole.given.values())) == len(whole.given["test"]) == len(whole.examples)


@pytest.mark.parametrize("tokens", ["word", "bpe"])
def test_words_are_not_torn(tokens):
    words = [f"w{number}" for number in range(4000)]
    source = Source("text", "made", Texts([" ".join(words)]), None, ["doc"], task="generate")
    found = pieces(source, {**SETTINGS, "tokens": tokens, "window": 20})
    held = [word for text in found.examples.texts for word in text.split()]
    assert len(found.given["train"]) > 10
    torn = set(words) - set(held)  # only where the splits meet, at a character
    assert len(torn) <= 2
    assert len(words) <= len(held) <= len(words) + 2


@pytest.mark.parametrize("lengths", [[1], [2], [3], [1, 1, 1]])
def test_too_short_a_text_is_refused_or_whole(lengths):
    _, source = corpus(lengths)
    with pytest.raises(DataError, match="too few"):
        pieces(source, SETTINGS)


@pytest.mark.parametrize("tokens", ["character", "word", "bpe"])
@pytest.mark.parametrize("window", [0, 5])
def test_the_files_way_gives_the_same_and_no_step_is_empty(tokens, window, tmp_path):
    text = "the sun sets. a bird sings; the wind blows, and the night is long. " * 40
    (tmp_path / "c.txt").write_text(text)
    data = nw.read(str(tmp_path / "c.txt"), tokens=tokens, window=window)
    for split in ("train", "validation", "test"):
        reads, says = data.sequences(split)
        assert reads.starts.tolist() == says.starts.tolist()
        assert (reads.lengths >= 1).all()
        assert len(reads) == data.examples[split] > 0
