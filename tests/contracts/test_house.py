"""The house around the code: imports, messages, documents, set-up files and rules of style."""

import ast
import re
import runpy
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

sys.path.insert(0, str(Path(__file__).parent))
import collect_messages

from netwright import language
from netwright.catalogue import (
    ACTIVATIONS,
    ATTENTION,
    AUGMENTATIONS,
    CELLS,
    FAMILIES,
    INITIALIZERS,
    LOSSES,
    METRICS,
    NETWORKS,
    NORMS,
    OPTIMIZERS,
    POOLING,
    READERS,
    SCHEDULES,
    Setting,
)
from netwright.cli import _run, app, recipe_of
from netwright.data.embedded import EMBEDDED
from netwright.errors import GateError, MissingError, NetwrightError, RunError, UsageError
from netwright.recipe import DATA, TABLES, TRAINING, Recipe
from netwright.training.stopping import Condition

ROOT = Path(__file__).parents[2]
SOURCES = collect_messages.sources()
PAGES = [
    "README.md", "docs/index.md", "docs/data.md", "docs/training.md", "docs/networks.md", "docs/parts.md",
    "docs/weights.md", "docs/arithmetic.md", "docs/tensorflow.md", "docs/python.md", "docs/machines.md",
    "docs/sequences.md", "docs/recurrent.md", "docs/doctor.md",
]  # fmt: skip
PARTS = [
    name
    for family in (
        LOSSES, ACTIVATIONS, OPTIMIZERS, SCHEDULES, INITIALIZERS, NORMS, POOLING, AUGMENTATIONS, CELLS, ATTENTION,
        METRICS,
    )
    for name in family
]  # fmt: skip
TWINS = {"README.md": "README.zh-CN.md"} | {page: page.replace("docs/", "docs/zh/") for page in PAGES[1:]}
VERBS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def fresh(code: str) -> str:
    """What a new interpreter prints for `code`."""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return found.stdout


# imports ------------------------------------------------------------------------------------------------------


def test_imports_point_one_way():
    code = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert found.returncode == 0, found.stdout


HEAVY = ("torch", "numpy", "pandas", "scipy", "sklearn", "PIL", "typer", "rich")


def test_importing_the_package_loads_nothing_heavy():
    loaded = fresh("import sys, netwright; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)
    assert "netwright" in loaded


def test_importing_the_package_takes_under_50_ms():
    code = "import time; start = time.perf_counter(); import netwright; print(time.perf_counter() - start)"
    assert statistics.median(float(fresh(code)) for _ in range(5)) < 0.05


@pytest.mark.parametrize("words", [["--help"], *([verb, "--help"] for verb in VERBS)], ids=" ".join)
def test_help_leaves_torch_unloaded(words: list[str]):
    code = f"""
import sys
from netwright.cli import _run
code = _run({words!r})
print("code", code, *(name for name in {HEAVY[:5]!r} if name in sys.modules))
"""
    printed = fresh(code)
    assert printed.strip().endswith("code 0"), printed[-200:]
    assert "Usage: netwright" in printed


def test_every_public_name_exists():
    import netwright

    for name in netwright.__all__:
        assert getattr(netwright, name) is not None, name
    with pytest.raises(AttributeError, match="diagnoze"):
        _ = netwright.diagnoze
    kinds = fresh(
        "import netwright, netwright.run, netwright.cli as c; c._run(['list', 'losses', '--quiet'])\n"
        "print(*(name for name in netwright.__all__ if type(getattr(netwright, name)).__name__ == 'module'))"
    )
    assert kinds.splitlines()[-1] == "", "a submodule hides a public name of the package"


# messages -----------------------------------------------------------------------------------------------------


def test_the_collector_follows_templates(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_messages, "SOURCE", tmp_path)
    (tmp_path / "one.py").write_text(
        'WORDS = {"a": "first {x}", "b": "second"}\n'
        "def show(ahead, rest):\n"
        '    text = "ahead of {name}" if ahead else "behind"\n'
        '    say(text, name=say("the {thing!r}", thing=1))\n'
        "    return [say(word, **rest) for word in WORDS.values()]\n"
        'def wrong(x):\n    say(f"bad {x}")\n'
    )
    found = {message.template: message.given for message in collect_messages.said(tmp_path / "one.py")}
    assert set(found) == {"ahead of {name}", "behind", "the {thing!r}", "first {x}", "second"}
    assert found["the {thing!r}"] == {"thing"}
    assert found["second"] is None
    assert collect_messages.built(tmp_path / "one.py") == ["one.py:7"]


def test_templates_are_not_put_together_at_run_time():
    assert [place for path in SOURCES for place in collect_messages.built(path)] == []


def test_templates_get_every_value_they_name():
    said = [message for path in SOURCES for message in collect_messages.said(path)]
    assert len(said) > 300
    wrong = [
        f"{message.where}: {message.template!r}"
        for message in said
        if message.given is not None and not collect_messages.fields(message.template) <= message.given
    ]
    assert wrong == []


def test_every_message_has_chinese():
    missing = collect_messages.missing()
    assert not missing, f"{len(missing)} messages have no Chinese in zh.json, such as {missing[:3]}"


def test_chinese_has_the_same_placeholders():
    wrong = [
        english
        for english, chinese in collect_messages.chinese().items()
        if collect_messages.fields(english) != collect_messages.fields(chinese) or not chinese.strip()
    ]
    assert wrong == []


# documents ----------------------------------------------------------------------------------------------------


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """(info string, content) of a page's fenced blocks, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.count("```") % 2 == 0, page
    for found in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield found[1].strip(), found[2]


def commands(content: str) -> Iterator[tuple[list[str], int]]:
    """(words, expected exit code) of each `netwright` line; `# exit 3` says that 3 is expected."""
    for line in content.replace("\\\n", " ").splitlines():
        if line.startswith("netwright "):
            code = re.search(r"# exit (\d+)$", line)
            yield shlex.split(line, comments=True)[1:], int(code[1]) if code else 0


def settled(words: list[str]) -> list[str]:
    """The words without the options that every verb takes."""
    rest = [word for word in words if word not in ("--json", "--quiet", "--debug")]
    return rest[: rest.index("--lang")] + rest[rest.index("--lang") + 2 :] if "--lang" in rest else rest


@pytest.mark.parametrize("page", [*PAGES, *TWINS.values()])
def test_commands_in_documents_are_understood(page: str):
    for info, content in blocks(page):
        if not info.startswith("sh"):
            continue
        for words, expected in commands(content):
            verb, *rest = settled(words)
            assert verb in VERBS, (page, words)
            context = VERBS[verb].make_context(verb, rest)
            assert context.params is not None
            if verb == "train" and expected == 0:
                given = context.params["words"] or []
                if not given or not given[0].endswith(".toml"):
                    recipe_of(given).check()


@pytest.mark.parametrize("page", PAGES)
def test_snippets_in_documents_run(page: str, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setenv("NETWRIGHT_LANG", "en")
    names: dict[str, Any] = {}
    ran = 0
    for number, (info, content) in enumerate(blocks(page)):
        if info == "python":
            script = tmp_path / f"snippet{number}.py"
            script.write_text(content, encoding="utf-8")
            names = {k: v for k, v in runpy.run_path(str(script), names).items() if not k.startswith("__")}
            script.unlink()
            ran += 1
        elif info == "sh":
            for words, expected in commands(content):
                code = _run(words)
                assert code == expected, (words, capsys.readouterr().err)
                ran += 1
        elif info == "toml":
            Recipe.parse(content, page).check()
            ran += 1
    language.speak(None)
    assert ran > 0, f"{page} shows nothing that runs"


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_show_the_same_code(page: str):
    def code(path: str) -> list[tuple[str, list[str]]]:
        found = []
        for info, content in blocks(path):
            if info != "text":
                lines = [re.sub(r"\s+# .*$|^# .*$", "", line).rstrip() for line in content.splitlines()]
                found.append((info, [line for line in lines if line]))
        return found

    assert code(TWINS[page]) == code(page)
    headings = [
        re.findall(r"^(#+) ", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE) for path in (page, TWINS[page])
    ]
    assert headings[0] == headings[1]


@pytest.mark.parametrize("page", [*PAGES, *TWINS.values(), "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_in_documents_lead_somewhere(page: str):
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def shown(setting: Setting) -> str:
    """A default as the tables write it: TOML."""
    default = setting.default
    return (
        f'"{default}"'
        if isinstance(default, str)
        else str(default).lower()
        if isinstance(default, bool)
        else str(default)
    )


def rows(page: str, after: str) -> dict[str, str]:
    """First cell -> second cell of the table that follows the heading `after`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    part = text.split(f"\n## `[{after}]`", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| `([^`]+)` \| `([^`]*)` \|", part, re.MULTILINE))


@pytest.mark.parametrize("page", ["docs/training.md", TWINS["docs/training.md"]])
@pytest.mark.parametrize(("table", "settings"), [("training", TRAINING), ("data", DATA)])
def test_the_recipe_tables_are_the_signatures(page: str, table: str, settings: dict[str, Setting]):
    assert rows(page, table) == {name: shown(setting) for name, setting in settings.items()}
    text = (ROOT / page).read_text(encoding="utf-8")
    for setting in settings.values():
        for choice in setting.choices:
            assert f"`{choice}`" in text or f'"{choice}"' in text, (setting.name, choice)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("docs/data.md", [*READERS, *EMBEDDED]),
        ("docs/networks.md", [*NETWORKS]),
        ("docs/parts.md", PARTS),
        ("docs/training.md", [*TABLES]),
    ],
)
def test_documents_name_the_whole_catalogue(page: str, names: list[str]):
    for path in (page, TWINS[page]):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert [name for name in names if f"`{name}`" not in text and f"[{name}]" not in text] == [], path


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_readme_lists_verbs_and_exit_codes(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [verb for verb in VERBS if f"`{verb}" not in text] == []
    codes = {kind.code for kind in (NetwrightError, UsageError, RunError, GateError, MissingError)} | {0, 129, 130, 143}
    assert [code for code in sorted(codes) if not re.search(rf"^\| {code}\b|, {code}\b", text, re.MULTILINE)] == []
    assert Condition.parse("accuracy>=0.98", "classify", "--require").limit == 0.98


# rules of style -----------------------------------------------------------------------------------------------

FORBIDDEN = {"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve", "torchvision", "torchaudio", "timm"}
FORBIDDEN |= {"torchmetrics", "sklearn.externals"}


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def test_files_and_functions_fit_a_screen(trees):
    long = [f"{path.relative_to(ROOT)}: {n}" for path in SOURCES if (n := len(path.read_text().splitlines())) > 400]
    for where, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno - node.lineno >= 60:
                long.append(f"{where}: {node.name} {node.end_lineno - node.lineno + 1}")
    assert long == []


def test_modules_are_named_for_what_they_hold():
    assert [
        path.name for path in SOURCES if path.stem in ("utils", "common", "base", "core", "helpers", "manager")
    ] == []


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_nothing_unpickles_or_runs_data_as_code(trees):
    wrong = []
    for where, tree in trees.items():
        allowed = {"pickle"} if where.endswith("data/files/plain_pickle.py") else set()
        wrong += [f"{where}: {name}" for name in imported(tree) if name.split(".")[0] in FORBIDDEN - allowed]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "compile", "__import__", "torch.load", "yaml.load"):
                wrong.append(f"{where}:{node.lineno} {called}")
            for keyword in node.keywords:
                harmless = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg == "allow_pickle" and not harmless:
                    wrong.append(f"{where}:{node.lineno} allow_pickle")
    assert wrong == []


def test_errors_are_caught_by_name(trees):
    wrong = []
    for where, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                if {"everything", "Exception", "BaseException"} & set(re.findall(r"\w+", caught)):
                    wrong.append(f"{where}:{node.lineno} {caught}")
    assert wrong == []


def test_nothing_is_left_undone_and_no_machine_is_named():
    own = {Path(__file__).name}
    marks = [
        r"\bTODO\b",
        r"\bFIXME\b",
        r"\bXXX\b",
        r"raise NotImplementedError",
        r"(?<![\w.~])/(work|root|home|Users)/\w",
    ]
    folders = ("src/netwright", "tests", "docs", "bench", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix not in (".pyc", ".png")]
    files += [path for path in ROOT.iterdir() if path.suffix in (".md", ".txt", ".toml", ".cff", ".yaml")] + [
        ROOT / "Makefile"
    ]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files
        if path.is_file() and path.name not in own
        for match in re.finditer("|".join(marks), path.read_text(encoding="utf-8"))
    ]
    assert len(files) > 50
    assert found == []


CHECKS = r"\bassert\b|raises\(|assert_\w+\("


def test_tests_can_fail_and_are_not_skipped():
    wrong = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if path != Path(__file__):
            wrong += [f"{path.name}: {word}" for word in re.findall(r"\bxfail\b|pytest\.skip|mark\.skip\b", text)]
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        checkers = {node.name for node in functions if re.search(CHECKS, ast.unparse(node))}
        for node in functions:
            called = set(re.findall(r"\b(\w+)\(", "\n".join(map(ast.unparse, node.body))))
            if node.name.startswith("test_") and not ({node.name} | called) & checkers:
                wrong.append(f"{path.name}: {node.name} asserts nothing")
    assert wrong == []


def test_every_part_says_what_it_does():
    for family in FAMILIES.values():
        for part in family.values():
            assert re.fullmatch(r"\S.*[.:]", part.summary), f"{family.name} {part.name}: {part.summary!r}"


# set-up files -------------------------------------------------------------------------------------------------


def toml(name: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def test_constraints_pin_every_dependency():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)] == []
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    project = toml("pyproject.toml")["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[<>=]", one)[0].lower().replace("_", "-") for one in wanted} - {"netwright"}
    assert names - pinned == set()


def test_every_file_beside_the_code_travels_in_the_wheel():
    home = ROOT / "src" / "netwright"
    patterns = toml("pyproject.toml")["tool"]["setuptools"]["package-data"]["netwright"]
    packed = {path for pattern in patterns for path in home.glob(pattern)}
    beside = {path for path in home.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {str(path.relative_to(home)) for path in beside - packed} == set()


def test_the_version_is_the_same_everywhere():
    import netwright

    version = toml("pyproject.toml")["project"]["version"]
    assert netwright.__version__ == version
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_continuous_integration_runs_the_tests():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o100
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "set -eu"
    assert lines[-1] == "exec make test"
    planned = subprocess.run(["make", "-n", "test"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    for step in ('pytest -m "not slow"', "ruff check", "ruff format --check", "mypy"):
        assert step in planned


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert toml("pyproject.toml")["project"]["license"] == "Apache-2.0"
