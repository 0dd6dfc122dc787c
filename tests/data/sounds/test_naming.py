"""What file names say, what stands beside them in tables, and choices among fields."""

import numpy as np
import pytest
from waves import tone, wav

from netwright.data.files.opening import open_tree
from netwright.data.files.tree import Tally
from netwright.data.sounds.naming import Pattern, chosen, guessed
from netwright.data.sounds.transcripts import fields_beside
from netwright.errors import DataError, UsageError


def test_a_pattern_reads_a_name():
    found = Pattern.of("{label}_{speaker}_{n}")
    assert found.fields == ("label", "speaker", "n")
    assert found.read("clips/7_jackson_32.wav") == {"label": "7", "speaker": "jackson", "n": "32"}
    assert found.read("7_jackson.wav") is None
    assert Pattern.of("{label}_{n}").read("7_jackson_32.wav") == {"label": "7", "n": "jackson_32"}


def test_a_pattern_with_folders_reads_the_path():
    found = Pattern.of("{speaker}/take-{label}.{n}")
    assert found.read("anna/take-yes.3.wav") == {"speaker": "anna", "label": "yes", "n": "3"}
    assert found.read("take-yes.3.wav") is None
    assert found.read("x/anna/take-yes.3.wav") is None


def test_signs_of_a_pattern_stand_for_themselves():
    found = Pattern.of("a.b({label})+{n}")
    assert found.read("a.b(7)+1.wav") == {"label": "7", "n": "1"}
    assert found.read("axb(7)+1.wav") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("plain", "a pattern of names such as '{label}_{speaker}_{n}' is needed"),
        ("{label", "a pattern of names"),
        ("{}_{n}", "'' is no name for a field"),
        ("{a b}_{n}", "'a b' is no name"),
        ("{n}_{n}", "'n' stands there twice"),
        ("{label}{n}", "between 'label' and 'n'"),
        ("_".join(f"{{f{n}}}" for n in range(17)), "a pattern of names"),
    ],
)
def test_patterns_that_cannot_be_read(text, reason):
    with pytest.raises(UsageError, match=r"data\.label") as caught:
        Pattern.of(text)
    assert reason in str(caught.value)


def test_long_names_take_no_time():
    found = Pattern.of("_".join(f"{{f{n}}}" for n in range(16)))
    assert found.read("_" * 5000 + ".wav") is None
    assert found.read("a_" * 5000 + ".wav") is not None


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["7_jackson_32.wav", "0_theo_1.wav"], "{label}_{speaker}_{n}"),
        (["yes_1.wav", "no_22.wav"], "{label}_{n}"),
        (["yes-anna.wav", "no-otto.wav"], "{label}-{field2}"),
        (["a_b_c.wav", "d_e_f.wav"], "{label}_{field2}_{field3}"),
        (["03-01-02.wav", "03-01-05.wav"], "{label}-{speaker}-{n}"),
        ([*[f"a_{n}.wav" for n in range(19)], "odd.wav"], "{label}_{n}"),
        (["one.wav", "two.wav"], None),
        (["a_1.wav", "b.wav", "c_1_2.wav"], None),
        ([], None),
    ],
)
def test_guesses(names, pattern):
    found = guessed(names)
    assert (found.text if found else None) == pattern


FIELDS = {"n": ["0", "4", "5", "05", "x"], "speaker": ["theo", "anna", "theo", "otto", "1-2"]}


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ("n=0-4", [0, 1]),
        ("n=5", [2, 3]),
        ("n = 4 - 5 ; speaker=theo,otto", [2, 3]),
        ("n=x,0", [0, 4]),
        ("speaker=theo", [0, 2]),
        ("n=0,05-7", [0, 2, 3]),
    ],
)
def test_choices(wanted, rows):
    assert np.flatnonzero(chosen(FIELDS, wanted)).tolist() == rows


def test_choices_that_cannot_be_met():
    for wanted, reason in {
        "n": "has the form n=0-4",
        "=3": "has the form",
        "n=0-4;": "has the form",
        "spaeker=theo": "no field 'spaeker'. Did you mean 'speaker'?",
    }.items():
        with pytest.raises(UsageError) as caught:
            chosen(FIELDS, wanted)
        assert reason in str(caught.value)
    with pytest.raises(DataError, match="names none of the recordings"):
        chosen(FIELDS, "n=77")
    with pytest.raises(DataError, match="names all of the recordings"):
        chosen({"n": ["1", "2"]}, "n=0-9")


def beside(root, names, **texts):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(wav(tone()))
    for name, text in texts.items():
        (root / name.replace("__", ".")).write_text(text, encoding="utf-8")
    tally = Tally()
    found = fields_beside(open_tree(root), sorted(names), tally)
    return found, [f"{problem.where}: {problem.what}" for problem in tally.problems()]


A_AND_B = {"a.wav": {"text": "yes, sir"}, "b.wav": {"text": "no"}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("transcripts__txt", "a.wav\tyes, sir\nb\tno\n"),
        ("transcripts__tsv", "file\tsentence\nb\tno\na\tyes, sir\n"),
        ("metadata__csv", 'path,text\r\na.wav,"yes, sir"\r\n./b.wav,no\r\n'),
        ("metadata__csv", "a|yes, sir\nb|no\n"),
        ("trans__txt", "a yes, sir\nb no\n"),
        ("transcripts__txt", "\ufeffa\tyes, sir\n\nb\tno"),
        ("transcripts__csv", 'what,name\n"yes, sir",a\nno,b\n'),
    ],
)
def test_tables_beside_recordings(tmp_path, name, text):
    found, problems = beside(tmp_path, ["a.wav", "b.wav"], **{name: text})
    assert found == A_AND_B
    assert problems == []


def test_labels_and_further_columns(tmp_path):
    found, _ = beside(tmp_path, ["a.wav", "b.wav"], labels__csv="file,class,speaker\na,yes,anna\nb,no,otto\n")
    assert found["a.wav"] == {"label": "yes", "speaker": "anna"}
    (tmp_path / "two").mkdir()
    found, _ = beside(tmp_path / "two", ["a.wav", "b.wav"], labels__txt="a yes\nb no\n")
    assert found["b.wav"] == {"label": "no"}


def test_rows_that_fit_no_recording_are_told(tmp_path):
    found, problems = beside(tmp_path, ["a.wav", "b.wav"], transcripts__txt="a\tyes\nc\tno\na\tagain\n")
    assert found == {"a.wav": {"text": "yes"}}
    assert problems == [
        "transcripts.txt: a row about no recording that is here: c",
        "transcripts.txt: a second row about one recording: a.wav",
    ]


def test_two_tables_about_one_recording_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"several rows are about a\.wav"):
        beside(tmp_path, ["a.wav"], transcripts__txt="a\tyes\n", metadata__csv="a,no\n")


def test_a_text_for_each_recording(tmp_path):
    found, _ = beside(tmp_path, ["a.wav", "b.wav"], a__txt="yes\n  sir\n")
    assert found == {"a.wav": {"text": "yes sir"}}


def test_names_that_two_recordings_share_need_their_path(tmp_path):
    text = "x/a.wav\tone\ny/a\ttwo\na\tthree\n"
    found, problems = beside(tmp_path, ["x/a.wav", "y/a.wav"], transcripts__txt=text)
    assert found == {"x/a.wav": {"text": "one"}, "y/a.wav": {"text": "two"}}
    assert problems == ["transcripts.txt: a row about no recording that is here: a"]


def test_a_table_with_a_nul_is_refused(tmp_path):
    with pytest.raises(DataError, match="NUL"):
        beside(tmp_path, ["a.wav"], transcripts__txt="a\ty\0es\n")
