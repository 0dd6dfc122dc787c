"""Hostile surroundings: no traceback, no hang, the right exit code, the right words (R15)."""

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from exactness import environment
from surroundings import CASES, NAMES

SCRIPT = Path(__file__).parents[1] / "support" / "surroundings.py"
LONGEST_S = 20


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    found = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=1500, check=False,
        cwd=tmp_path_factory.mktemp("surroundings"), env=environment(tmp_path_factory.mktemp("cache")),
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    return json.loads(found.stdout)


def test_there_are_more_than_sixty_cases(tried):
    assert len(CASES) >= 60
    assert tried.keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_the_right_code_and_words_and_no_traceback(tried, name):
    case, one = CASES[name], tried[name]
    assert one["code"] == case.code, one
    said = one["out"] + one["err"]
    assert case.says in said, one
    assert "Traceback" not in said, one
    assert "defect" not in said, one
    assert one["seconds"] < LONGEST_S
    if case.code in (1, 2, 3) and one["err"]:
        assert 1 <= len(one["err"][one["err"].index("error: ") :].splitlines()) <= 3, one
    if "--json" in case.words and case.code == 0:
        assert isinstance(json.loads(one["out"]), dict)


@pytest.mark.parametrize("what", NAMES)
def test_every_class_keeps_its_name(tried, what):
    told = json.loads(tried[f"a class named {what}"]["out"])
    names = {one["name"]: one["count"] for one in told["classes"]}
    assert len(names) == 2
    assert sum(names.values()) == 13
    if what not in ("undecodable", "new line", "escape", "right to left"):  # characters that steer are escaped
        assert NAMES[what] in names
    assert unicodedata.is_normalized("NFC" if what == "nfc" else "NFD", next(iter(names))) or what not in ("nfc", "nfd")


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"}, {"LANG": "xx_YY.X"}]
)
def test_a_process_in_the_c_locale_reads_names_of_any_language(tmp_path, more):
    from surroundings import picture

    for place, name in enumerate(("\u7f51\u7edc", "\U0001f431")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(6):
            picture(tmp_path / "pets" / name / f"{number}.bmp", 90 * place + 11 * number)
    surroundings = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **more}
    found = subprocess.run(
        [sys.executable, "-m", "netwright", "look", "pets", "--json"], capture_output=True, timeout=100, check=False,
        cwd=tmp_path, env=environment(tmp_path / "cache", **surroundings),
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert b"Traceback" not in found.stderr
    assert [one["count"] for one in json.loads(found.stdout)["classes"]] == [6, 6]
    assert os.path.isdir(tmp_path / "pets")
