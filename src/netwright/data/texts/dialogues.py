"""Conversations: chatterbot YAML, the Cornell Movie Dialogs format, and JSON of questions and answers or turns."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from netwright.data.files.tree import Tally, Tree
from netwright.data.texts.pairing import MOST_FILES, head_text, sentence_lines, shown
from netwright.data.texts.turns_yaml import KEY
from netwright.language import say

FIELDS = "+++$+++"
"""What stands between the fields of a line in the Cornell format."""
CORNELL_ENDINGS = (".txt", "", ".tsv")
YAML_ENDINGS = (".yml", ".yaml")
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
ASKED = (
    ("question", "answer"), ("prompt", "response"), ("prompt", "completion"), ("query", "reply"), ("query", "response"),
    ("context", "reply"), ("context", "response"), ("message", "reply"),
)  # fmt: skip
"""What the two sides of an exchange are called in a JSON object."""
TURNS = ("turns", "dialogue", "dialog", "conversation", "conversations", "messages")
"""What a list of turns is called in a JSON object."""
SAID = ("text", "content", "value", "utterance")
"""What the words of one turn are called in a JSON object."""


def ending(name: str) -> str:
    """The lower-case ending of a file's name, `.gz` apart."""
    return PurePosixPath(name.lower().removesuffix(".gz")).suffix


def looks_like_dialogue(tree: Tree) -> bool:
    """Whether a place holds conversations in one of the three formats."""
    names = shown(tree) if len(tree.entries) <= MOST_FILES else []
    if not names:
        return False
    endings = set(map(ending, names))
    if endings <= set(YAML_ENDINGS):
        return any(KEY.search(head_text(tree, name)) for name in names[:50])
    if endings <= set(JSON_ENDINGS) and len(names) <= 50:
        return all(_json_turns(head_text(tree, name), ending(name) != ".json") for name in names[:5])
    texts = [name for name in names if ending(name) in CORNELL_ENDINGS]
    return 0 < len(texts) <= 50 and any(is_cornell(head_text(tree, name)) for name in texts)


def is_cornell(text: str) -> bool:
    """Whether most lines hold fields apart by ` +++$+++ `."""
    lines = [line for line in sentence_lines(text)[:200] if line.strip()]
    return bool(lines) and sum(FIELDS in line for line in lines) > 0.5 * len(lines)


def _json_turns(head: str, by_line: bool) -> bool:
    """Whether JSON begins with a conversation: an object of question and answer, or a list of turns."""
    found = re.match(r"\s*(?:\[\s*(?=[\[{]))?", head)
    start = 0 if by_line or found is None else found.end()
    try:
        value, _ = json.JSONDecoder().raw_decode(head.lstrip() if start == 0 else head, start)
    except (ValueError, RecursionError):
        return False
    if start == 0 and isinstance(value, list) and not by_line:
        return False
    return bool(talk_in(value))


def talk_in(value: Any) -> list[list[str]]:
    """The conversations in one JSON value: a list of turns, or an object of question and answer or of turns."""
    if isinstance(value, list):
        turns = _turns(value)
        return [turns] if turns is not None else []
    if not isinstance(value, dict):
        return []
    for first, second in ASKED:
        question, answer = value.get(first), value.get(second)
        if isinstance(question, str) and isinstance(answer, str):
            return [[question, answer]]
    for key in TURNS:
        if isinstance(value.get(key), list):
            turns = _turns(value[key])
            if turns is not None:
                return [turns]
            several = [_turns(item) for item in value[key] if isinstance(item, list)]
            if several and len(several) == len(value[key]):
                return [turns for turns in several if turns is not None]
    return []


def _turns(items: list[Any]) -> list[str] | None:
    """The words of each turn; None where one has none. What a system is told is no turn."""
    found = []
    for item in items:
        if isinstance(item, dict):
            if item.get("role") == "system" or item.get("from") == "system":
                continue
            item = next((item[key] for key in SAID if isinstance(item.get(key), str)), None)
        if not isinstance(item, str):
            return None
        found.append(item)
    return found or None


def cornell_lines(text: str, where: str, tally: Tally) -> dict[str, str]:
    """Line name -> what is said, from a file of lines: the first field names a line, the last is what is said."""
    rows = [(place, line.split(FIELDS)) for place, line in enumerate(sentence_lines(text), start=1) if line.strip()]
    usual = Counter(len(row) for _, row in rows).most_common(1)[0][0] if rows else 0
    found: dict[str, str] = {}
    for place, row in rows:
        here = say("{name} line {line}", name=where, line=place)
        if len(row) < usual or usual < 2:
            tally.add(here, say("fewer fields than other lines"), say("left out"))
            continue
        key = row[0].strip()
        if key in found:
            tally.add(here, say("a line of this name stands there already"), say("left out"), key[:40])
            continue
        found[key] = FIELDS.join(row[usual - 1 :]).strip()
    return found


def cornell_conversations(text: str, where: str, tally: Tally) -> Iterator[tuple[int, list[str]]]:
    """(line, names of the lines that are said) from a file of conversations: the last field is a list of names."""
    for place, line in enumerate(sentence_lines(text), start=1):
        if not line.strip():
            continue
        last = line.split(FIELDS)[-1].strip()
        if not (last.startswith("[") and last.endswith("]")):
            tally.add(say("{name} line {line}", name=where, line=place), say("no list of lines"), say("left out"))
            continue
        yield place, re.findall(r"[^\s,'\"\[\]]+", last)


def is_conversations(head: str) -> bool:
    """Whether a file of the Cornell format lists conversations: its lines end in lists of names."""
    lines = [line for line in sentence_lines(head)[:200] if line.strip()]
    return sum(re.search(r"\+\s*\[[^\[\]]*\]\s*$", line) is not None for line in lines) > 0.5 * len(lines)
