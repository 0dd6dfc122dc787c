"""Two texts and a label a row: which tables are such, how they are joined, and what is refused."""

import json

import numpy as np
import pytest

import netwright as nw
from netwright.catalogue import READERS
from netwright.data.files.opening import open_tree
from netwright.data.readers.joined_texts import couple
from netwright.data.readers.labelled_pairs import labelled_pairs, roles_in
from netwright.errors import DataError, UsageError

KINDS = ("entailment", "neutral", "contradiction")
ROWS = [
    (f"A {who} sleeps in the {where}.", f"The {who} is not in the {where} now.", KINDS[k % 3])
    for k, (who, where) in enumerate((who, where) for who in ("man", "dog", "girl", "boy") for where in
                                     ("park", "house", "garden", "street", "yard"))
]  # fmt: skip


def tsv(*rows):
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def csv(*rows):
    return "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)


@pytest.fixture
def place(tmp_path):
    def write(**files):
        for name, content in files.items():
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return open_tree(tmp_path if len(files) > 1 else tmp_path / next(iter(files)))

    return write


def read(source):
    return list(zip(source.examples.texts, source.targets.tolist(), strict=True))


WANTED = [(f"{one} === {other}", label) for one, other, label in ROWS]
NUMBERED = csv(("id", "Text_A", "Text_B", "Label"), *((k, *row) for k, row in enumerate(ROWS)))
SEMICOLONS = "premise;hypothesis;label\n" + "".join(";".join(row) + "\n" for row in ROWS)
OBJECTS = [{"label": c, "all": [c], "premise": a, "hypothesis": b} for a, b, c in ROWS]
TALK = [{"question": a, "answer": b, "label": c} for a, b, c in ROWS]
FORMS = {
    "named": ("a.tsv", tsv(("premise", "hypothesis", "label"), *ROWS)),
    "counted": ("a.csv", csv(("sentence1", "sentence2", "gold_label"), *ROWS)),
    "lettered, marked, CRLF": ("a.csv", "\ufeff" + NUMBERED.replace("\n", "\r\n")),
    "MRPC": ("a.txt", tsv(("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
                          *((c, k, k, a, b) for k, (a, b, c) in enumerate(ROWS)))),
    "SNLI": ("a.txt", tsv(("gold_label", "sentence1_parse", "sentence2_parse", "sentence1", "sentence2", "label1"),
                          *((c, f"( {a} )", f"( {b} )", a, b, c) for a, b, c in ROWS))),
    "no header": ("a.tsv", tsv(*ROWS)),
    "the label first": ("a.tsv", tsv(*((c, a, b) for a, b, c in ROWS))),
    "unknown names": ("a.csv", csv(("one", "two", "verdict"), *ROWS)),
    "question, answer, label": ("a.csv", csv(("question", "answer", "label"), *ROWS)),
    "JSON Lines": ("a.jsonl", "".join(json.dumps(row) + "\n" for row in OBJECTS)),
    "JSON Lines that look like talk": ("a.jsonl", "".join(json.dumps(row) + "\n" for row in TALK)),
    "semicolons, Windows-1252": ("a.csv", SEMICOLONS.encode("cp1252")),
}  # fmt: skip


@pytest.mark.parametrize("case", FORMS)
def test_both_texts_are_read_as_one_beside_their_label(place, case):
    tree = place(**dict([FORMS[case]]))
    assert [part.name for part in READERS.values() if part.facts["recognises"](tree)] == ["labelled_pairs"]
    assert read(labelled_pairs(tree)) == WANTED


PRICED = [("title", "body", "price", "label"), *((a, b, k / 7, c) for k, (a, b, c) in enumerate(ROWS))]
GERMAN = [(a, f"Ein Satz auf Deutsch, Nummer {k}.", ("wiki", "news")[k % 2]) for k, (a, _, _) in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("name", "text", "reader"),
    [
        ("a.tsv", tsv(*GERMAN), "pairs"),
        ("a.tsv", tsv(("en", "de", "domain"), *GERMAN), "pairs"),
        ("a.tsv", tsv(*((a, b) for a, b, _ in ROWS)), "pairs"),
        ("a.csv", csv(("question", "answer"), *((a, b) for a, b, _ in ROWS)), "pairs"),
        ("a.csv", csv(("id", "text", "label"), *((k, a, c) for k, (a, _, c) in enumerate(ROWS))), "table"),
        ("a.csv", csv(*PRICED), "table"),
        ("a.csv", csv(("label", "text"), *((c, a) for a, _, c in ROWS)), "labelled_text"),
    ],
)  # fmt: skip
def test_other_tables_keep_their_readers(place, name, text, reader):
    tree = place(**{name: text})
    assert roles_in(tree) is None
    assert [part.name for part in READERS.values() if part.facts["recognises"](tree)] == [reader]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["id", "question1", "question2"], (1, 2)), (["text_b", "x", "text_a"], (2, 0)), (["s1", "s2", "y1"], (0, 1)),
        (["Premise", "Hypothesis"], (0, 1)), (["label1", "label2"], None), (["text", "title"], None),
        (["text1", "text2", "q1", "q2"], None), (["#1 String", "#2 String"], (0, 1)), (["sentence1"], None),
    ],
)  # fmt: skip
def test_names_that_are_compared(names, found):
    assert couple(names) == found


def test_similarities_are_numbers_and_the_class_comes_first(tmp_path):
    rows = [(k, a, b, f"{(k * 7) % 50 / 10}", c) for k, (a, b, c) in enumerate(ROWS)]
    (tmp_path / "sick.txt").write_text(
        tsv(("pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment"), *rows)
    )
    assert nw.read(tmp_path / "sick.txt").task == "classify"
    data = nw.read(tmp_path / "sick.txt", target="relatedness_score")
    assert data.task == "regress"
    assert data.source.targets.tolist() == [row[3] for row in rows]


def test_splits_are_stated_and_files_without_labels_left_out(place):
    head = ("index", "sentence1", "sentence2", "label")
    numbered = [(k, *row) for k, row in enumerate(ROWS)]
    source = labelled_pairs(place(**{
        "train.tsv": tsv(head, *numbered[:12]), "dev.tsv": tsv(head, *numbered[12:]),
        "test.tsv": tsv(head[:3], *(row[:3] for row in numbered)),
    }))  # fmt: skip
    assert sorted(read(source)) == sorted(WANTED)
    assert {name: len(places) for name, places in source.given.items()} == {"train": 12, "validation": 8}
    assert ("test.tsv", "it has no column 'label'", "left out") in [
        (p.where, p.what, p.action) for p in source.problems
    ]


def test_rows_of_one_first_text_stay_in_one_split(tmp_path):
    rows = [(a, f"{b} {k}", KINDS[k]) for a, b, _ in ROWS for k in range(3)]
    (tmp_path / "a.tsv").write_text(tsv(("premise", "hypothesis", "label"), *rows))
    data = nw.read(tmp_path / "a.tsv")
    firsts = [{data.source.examples.texts[k].split(" === ")[0] for k in data.splits[name]} for name in data.splits]
    assert sum(map(len, firsts)) == len(ROWS)
    assert all(firsts)


def test_columns_by_name_and_mistakes_in_them(place):
    tree = place(**{"a.tsv": tsv(("premise", "hypothesis", "label", "year"), *((*row, 1999) for row in ROWS))})
    alone = labelled_pairs(tree, source="hypothesis")
    assert read(alone) == [(b, c) for _, b, c in ROWS]
    assert read(labelled_pairs(tree, source="hypothesis, premise", target="year"))[0] == (
        f"{ROWS[0][1]} === {ROWS[0][0]}",
        "1999",
    )
    turned = labelled_pairs(tree, task="translate")
    assert (turned.task, read(turned)) == ("translate", [(a, b) for a, b, _ in ROWS])
    for settings, told in (
        ({"target": "lable"}, "data.target: a.tsv has no column 'lable'. Did you mean 'label'?"),
        ({"source": "premise,hypotesis"}, "data.source: a.tsv has no column 'hypotesis'. Did you mean 'hypothesis'?"),
        ({"source": "premise,premise"}, "data.source names the column 'premise' twice"),
        ({"source": "premise,label"}, "data.source and data.target both name the column 'label'"),
    ):
        with pytest.raises(UsageError) as caught:
            labelled_pairs(tree, **settings)
        assert str(caught.value) == told


def test_rows_that_cannot_be_read_are_reported_with_their_line(place):
    odd = [
        ("a b c", "d e f", ""),
        ("", "d e", "neutral"),
        ("a b", "c d", "-"),
        ("a b", "c d"),
        ("a", 'say "so', "neutral"),
    ]
    source = labelled_pairs(place(**{"a.tsv": tsv(("premise", "hypothesis", "label"), *ROWS, *odd)}))
    assert read(source) == [*WANTED, ('a === say "so', "neutral")]
    assert [(p.where, p.what) for p in source.problems if p.action == "left out"] == [
        ("a.tsv:22", "a row without a label"), ("a.tsv:23", "a row without a text"),
        ("a.tsv:24", "a row without a label"), ("a.tsv:25", "a row that has not 3 cells: 2 cells"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.tsv", tsv(("premise", "hypothesis", "label")), "none of its labelled texts can be read"),
        ("a.tsv", tsv(("premise", "hypothesis", "label"), ("a", "b", "")), "row without a label"),
        ("a.tsv", tsv(("premise", "hypothesis", "label"), ("a", "b", "yes")), "one class only"),
        ("a.jsonl", '{"premise": "a", "hypothesis": "b", "label": 1}\n[1]\n', r"a\.jsonl line 2"),
        ("a.csv", 'premise,hypothesis,label\na,b,c\na,"b,c\n', "quote"),
    ],
)
def test_what_cannot_be_learnt_is_refused(tmp_path, name, text, told):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        nw.read(tmp_path / name)


def test_new_pairs_are_predicted_in_every_form(tmp_path):
    (tmp_path / "a.tsv").write_text(tsv(("premise", "hypothesis", "label"), *ROWS * 3), encoding="utf-8")
    small = {"name": "lstm", "hidden": 8, "embedding": 8}
    run = nw.train(tmp_path / "a.tsv", small, epochs=1, out=tmp_path / "run", quiet=True)
    one, other, _ = ROWS[0]
    wanted = run.predict(f"{one} === {other}")[0]["probabilities"]
    assert wanted != run.predict(f"{other} === {one}")[0]["probabilities"]
    files = {
        "new.tsv": tsv(("hypothesis", "premise"), (other, one)), "bare.tsv": tsv((one, other)),
        "other.csv": csv(("sentence2", "sentence1", "label"), (other, one, "unheard")),
        "new.jsonl": json.dumps({"id": 1, "hypothesis": other, "premise": one}) + "\n", "new.txt": tsv((one, other)),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert [row["probabilities"] for row in run.predict(tmp_path / name)] == [pytest.approx(wanted)], name
    told = [
        json.dumps({"premise": one, "hypothesis": other}),
        json.dumps([one, other]),
        f"{one}\t{other}",
        f"{one} === {other}",
    ]
    predictor = nw.open(tmp_path / "run").predictor()
    assert [row["probabilities"] for row in predictor.predict_lines(told)] == [pytest.approx(wanted)] * 4
    assert predictor.predict([[(one, other)]])[0]["probabilities"] == pytest.approx(wanted)
    (tmp_path / "odd.csv").write_text(csv(("a", "b", "c"), ("x", "y", "z")))
    with pytest.raises(DataError, match=r"odd\.csv: there is no column 'premise'"):
        run.predict(tmp_path / "odd.csv")
    found = run.evaluate(tmp_path / "a.tsv")
    assert found["examples"] == 60
    assert {"constant", "bag_of_words"} <= set(found["baseline"])


def test_several_named_columns_of_any_table(tmp_path):
    rows = [(a, b, k / 7, c) for k, (a, b, c) in enumerate(ROWS)]
    (tmp_path / "a.csv").write_text(csv(("title", "body", "price", "label"), *rows), encoding="utf-8")
    data = nw.read(tmp_path / "a.csv", source="title,body")
    assert data.source.examples.texts[3] == f"{ROWS[3][0]} === {ROWS[3][1]}"
    assert data.targets.facts == {"columns": ["title", "body"]}
    with pytest.raises(DataError, match="there is no column 'bodi'"):
        nw.read(tmp_path / "a.csv", source="title,bodi")


@pytest.mark.shared_data
def test_sick(shared_data):
    data = nw.read(shared_data / "sick")
    assert (data.reader, data.task, data.examples["test"]) == ("labelled_pairs", "classify", 4927)
    assert {row["name"]: row["count"] for row in data.class_counts()} == {
        "CONTRADICTION": 1459,
        "ENTAILMENT": 2857,
        "NEUTRAL": 5611,
    }
    assert np.isin(["==="], data.encoder.tokens(data.source.examples.texts[0])).all()
