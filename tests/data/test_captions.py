"""Pictures with captions: which file names them, what is left out, and the captions of one picture in one split."""

import numpy as np
import pytest
from PIL import Image

import netwright as nw
from netwright.catalogue import READERS
from netwright.data.files.opening import open_tree
from netwright.data.readers.captions import captions

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture
def place(tmp_path):
    def write(text, name="captions.txt", folder="Images", count=24):
        (tmp_path / folder).mkdir(exist_ok=True)
        for number in range(count):
            colour = list(COLOURS.values())[number % 3]
            Image.new("RGB", (8, 8), colour).save(tmp_path / folder / f"{number}.png")
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return write


def told(number):
    return f"a {list(COLOURS)[number % 3]} square, number {number}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.txt", "image,caption\n" + "".join(f"{n}.png,{told(n)}\n" for n in range(24))),
        ("captions.csv", "\ufefffile,text\r\n" + "".join(f'Images/{n}.png,"{told(n)}"\r\n' for n in range(24))),
        ("Flickr8k.token.txt", "".join(f"{n}.png#0\t{told(n)}\n" for n in range(24))),
        (
            "results.csv",
            "image_name| number| comment\n" + "".join(f"{n}.png| 0| {told(n)}\n" for n in range(24)),
        ),
    ],
)
def test_every_form_of_the_file(place, name, text):
    tree = open_tree(place(text, name))
    assert [part.name for part in READERS.values() if part.facts["recognises"](tree)] == ["captions"]
    source = captions(tree)
    found = dict(zip(source.ids, source.targets.tolist(), strict=True))
    assert found == {f"Images/{n}.png#1": told(n) for n in range(24)}
    pictures = source.examples.take(np.arange(24))
    for row, name in enumerate(source.ids):
        number = int(name.split("/")[1].split(".")[0])
        assert pictures[row, :, 0, 0].tolist() == list(list(COLOURS.values())[number % 3])
    assert source.problems == []


def test_all_captions_of_a_picture_stay_in_one_split(place):
    text = "".join(f"{n}.png\t{told(n)}\n{n}.png\tit is {list(COLOURS)[n % 3]} ({n})\n" for n in range(24))
    data = nw.read(place(text))
    assert (data.task, data.kind, sum(data.examples.values())) == ("translate", "image", 48)
    seen = [{data.source.ids[k].split("#")[0] for k in data.splits[name]} for name in data.splits]
    assert sum(map(len, seen)) == 24


def test_what_has_no_partner_is_left_out(place):
    text = "image,caption\n" + "".join(f"{n}.png,{told(n)}\n" for n in range(20)) + "20.png,\nlost.png,nothing\n"
    source = captions(open_tree(place(text)))
    assert len(source.examples) == 20
    assert sorted((problem.where, problem.what) for problem in source.problems) == [
        *((f"Images/{n}.png", "a picture without a caption") for n in range(20, 24)),
        ("captions.txt:22", "a picture without a caption"), ("captions.txt:23", "a caption without its picture"),
    ]  # fmt: skip


def test_other_texts_beside_pictures_are_no_captions(place):
    tree = open_tree(place("These are twenty pictures.\nThey were taken in May.\n", "about them.txt"))
    assert not any(part.facts["recognises"](tree) for part in READERS.values())


@pytest.mark.slow
def test_it_trains_predicts_and_is_judged(place, tmp_path):
    text = "".join(f"{n}.png\ta {list(COLOURS)[n % 3]} square\n" for n in range(60))
    home = place(text, folder="pictures", count=60)
    small = {"name": "one_to_many", "hidden": 16, "embedding": 8, "beam": 1, "longest": 6}
    run = nw.train(
        nw.read(home), small, epochs=60, optimizer={"name": "adam", "lr": 0.02}, out=tmp_path / "run", quiet=True
    )
    assert run.test["exact_match"] == 1.0
    assert set(run.baseline) == {"nearest", "most_frequent_text"}
    found = nw.open(tmp_path / "run").predict(home / "pictures" / "1.png")
    assert [row["prediction"] for row in found] == ["a green square"]
    again = nw.open(tmp_path / "run").evaluate(home)
    assert again["metrics"]["exact_match"]["value"] == 1.0
    assert again["baseline"]["nearest"]["exact_match"] == 1.0
