"""Every message a person may read, collected from the source; as a program, prints those without Chinese as JSON.

    python tests/contracts/collect_messages.py [--all]

Messages are the templates of `say(...)`, what the cards of the catalogue say, and the help of the command line.
Templates that are no literals are followed to the literals they are chosen from, where these stand in the same function
or in a constant of the same module; words that come from data structures are listed in WORDS.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

WORDY = re.compile(r"\b[a-z]{2,} [a-z]{2,}\b")
"""Two words in a row make a formula prose, which has a language."""
SOURCE = Path(__file__).parents[2] / "src" / "netwright"
WORDS = (
    *("image", "vector", "sequence", "table", "class", "number"),  # Source.kind, inputs, outputs
    *("classify", "regress", "train", "validation", "test"),
    *("better", "worse", "no difference"),  # the verdicts of compare
    *("healthy", "faulty", "unsure", "helped", "no proven benefit", "harmed"),  # those of the doctor and of a proof
    *("nothing", "learning rate only", "random change"),  # the controls of a proof
    *("constant", "linear", "nearest"),  # baselines
    *("loss", "gradient"),  # what was not finite
)


@dataclass(frozen=True)
class Message:
    """A template, where it is said, and the values it is given (None: not known from the source)."""

    template: str
    where: str
    given: frozenset[str] | None = None


def fields(template: str) -> set[str]:
    """The names of a template's placeholders."""
    return {name.partition(".")[0].partition("[")[0] for _, name, _, _ in Formatter().parse(template) if name}


def said(path: Path) -> Iterator[Message]:
    """The messages of one source file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = _assigned(tree.body)
    for scope, call in _calls(tree):
        where = f"{path.relative_to(SOURCE)}:{call.lineno}"
        local = {**constants, **_assigned(ast.walk(scope)), **_looped(scope, constants)}
        names = [keyword.arg for keyword in call.keywords]
        given = None if None in names else frozenset(name for name in names if name)
        for template in _strings(call.args[0], local) if call.args else []:
            yield Message(template, where, given)


def built(path: Path) -> list[str]:
    """Places where `say` gets a text put together at run time (f-string, sum, format): no translation can match it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = (ast.JoinedStr, ast.BinOp)
    return [
        f"{path.relative_to(SOURCE)}:{call.lineno}"
        for _, call in _calls(tree)
        if not call.args or isinstance(call.args[0], wrong)
    ]


def _calls(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.Call]]:
    """Every call of `say` with the innermost function around it."""
    pending: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
    while pending:
        scope, node = pending.pop()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
            yield scope, node
        inner = node if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else scope
        pending += [(inner, child) for child in ast.iter_child_nodes(node)]


def _assigned(nodes: Any) -> dict[str, list[str]]:
    """Name -> the string literals that plain assignments give it."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).extend(_strings(node.value, {}))
    return found


def _looped(scope: ast.AST, constants: dict[str, list[str]]) -> dict[str, list[str]]:
    """Name -> the string literals that a loop over a constant gives it."""
    found = {}
    for node in ast.walk(scope):
        if isinstance(node, (ast.For, ast.comprehension)) and isinstance(node.target, ast.Name):
            texts = _strings(node.iter, constants)
            if texts:
                found[node.target.id] = texts
    return found


def _strings(node: ast.AST, names: dict[str, list[str]]) -> list[str]:
    """The string literals an expression may give."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Name(id=name):
            return names.get(name, [])
        case ast.IfExp(body=first, orelse=second):
            return _strings(first, names) + _strings(second, names)
        case ast.BoolOp(values=values):
            return [text for value in values for text in _strings(value, names)]
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return [text for item in items for text in _strings(item, names)]
        case ast.Dict(values=values):
            return [text for value in values for text in _strings(value, names)]
        case ast.Subscript(value=value):
            return _strings(value, names)
        case ast.Call(func=ast.Attribute(value=value, attr="values" | "get")):
            return _strings(value, names)
    return []


def cards() -> Iterator[Message]:
    """What the cards of all parts say in words: summaries, formulas with words in them, and facts for people."""
    from netwright.catalogue import FAMILIES, PROSE

    for family in FAMILIES.values():
        for part in family.values():
            where = f"{family.name} {part.name}"
            yield Message(part.summary, where)
            if WORDY.search(part.formula):
                yield Message(part.formula, where)
            if "demo" in part.facts:  # a fault's card teaches
                yield from (Message(text, where) for text in (part.facts["title"], *part.text))
            for key in PROSE:
                fact = part.facts.get(key, ())
                yield from (Message(text, where) for text in ([fact] if isinstance(fact, str) else fact))


def helps() -> Iterator[Message]:
    """The help of the command line."""
    import typer

    from netwright.cli import app

    group: Any = typer.main.get_command(app)
    for command in [group, *group.commands.values()]:
        texts = [command.help, command.epilog, *(getattr(part, "help", None) for part in command.params)]
        for text in texts:
            if text:
                yield Message(text, f"--help of {command.name}")


def sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def messages() -> list[Message]:
    """All messages, in the order of the source."""
    found = [message for path in sources() for message in said(path)]
    found += [Message(word, "WORDS") for word in WORDS]
    return [message for message in [*found, *cards(), *helps()] if message.template.strip()]


def chinese() -> dict[str, str]:
    """English template -> Chinese template."""
    return dict(json.loads((SOURCE / "zh.json").read_text(encoding="utf-8")))


def missing() -> list[str]:
    """Templates without Chinese, each once."""
    known = chinese()
    return list(dict.fromkeys(message.template for message in messages() if message.template not in known))


if __name__ == "__main__":
    wanted = missing()
    if "--all" in sys.argv:
        wanted = list(dict.fromkeys(message.template for message in messages()))
    print(json.dumps(dict.fromkeys(wanted, ""), ensure_ascii=False, indent=1))
    print(f"{len(wanted)} templates", file=sys.stderr)
