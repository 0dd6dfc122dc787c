"""The language of everything a person reads: English templates, looked up in Chinese when asked for.

The English sentence is the key, so code stays readable and a missing translation falls back to
English instead of failing. Machine-readable values (JSON keys, names of parts) never pass through here.
"""

import json
import os
from functools import cache
from importlib.resources import files
from unicodedata import east_asian_width

LANGUAGES = ("en", "zh")
_current: str | None = None


def say(template: str, /, **values: object) -> str:
    """Return `template` in the current language with `values` filled in (`str.format` syntax)."""
    if language() == "zh":
        template = _chinese().get(template, template)
    return template.format(**values)


def translated(text: str, /) -> str:
    """`text` in the current language as it stands: for whole sentences of the catalogue, which may hold braces."""
    return _chinese().get(text, text) if language() == "zh" else text


def language() -> str:
    """The current language: set by `speak`, else `NETWRIGHT_LANG`, else the locale, else English."""
    if _current is not None:
        return _current
    for variable in ("NETWRIGHT_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(variable, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def speak(name: str | None) -> None:
    """Set the language for this process: `en`, `zh`, or None for what the environment says."""
    global _current
    if name is not None and name not in LANGUAGES:
        raise ValueError(f"language {name!r} is not known; it is one of: {', '.join(LANGUAGES)}")
    _current = name


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes: a Chinese character takes two."""
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled up with blanks to `width` columns, on its right side, or on its left with `right`."""
    blanks = " " * (width - columns(text))
    return blanks + text if right else text + blanks


@cache
def _chinese() -> dict[str, str]:
    text = files("netwright").joinpath("zh.json").read_text(encoding="utf-8")
    return dict(json.loads(text))
