"""Cells: what counts as missing, what is a number, a date, a word. Everything works on a column's distinct values.

A cell becomes text first (`3`, `3.0` from JSON and "3" from a CSV file are one value), so that a network
trained on one format predicts alike from another.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

MISSING_WORDS = frozenset({"", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "null", "NULL", "None"})
"""Cells of feature columns that say "missing"; `-` is one too, but only in a column of numbers (`plans.py`)."""


def text_of(cell: Any) -> str | None:
    """A cell as text; None when it is missing."""
    if cell is None:
        return None
    if isinstance(cell, str):
        cell = cell.strip()
        return None if cell in MISSING_WORDS else cell
    return typed_text(cell)


def typed_text(cell: Any) -> str | None:
    """A typed cell as text: `true`, `3` for 3.0, ISO dates; None for NaN and NaT."""
    if isinstance(cell, (bool, np.bool_)):
        return "true" if cell else "false"
    if isinstance(cell, (float, np.floating)):
        value = float(cell)
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(cell, (datetime, date)):
        return None if cell != cell else cell.isoformat()
    text = str(cell).strip()
    return None if text in MISSING_WORDS else text


@dataclass(frozen=True)
class Column:
    """A column by its distinct values: `codes[row]` is the position in `values`, -1 where the cell is missing."""

    values: list[str]
    codes: np.ndarray
    counts: np.ndarray
    """Rows that hold each value."""

    @classmethod
    def of(cls, cells: Iterable[Any]) -> "Column":
        cells = cells.tolist() if isinstance(cells, np.ndarray) else list(cells)
        kinds = set(map(type, cells))
        if bool in kinds and kinds & {int, float}:  # True == 1 would be one key
            cells = [text_of(cell) for cell in cells]
        number: dict[Any, int] = {}
        raw = np.fromiter((number.setdefault(cell, len(number)) for cell in cells), np.int64, len(cells))
        known: dict[str, int] = {}
        place = np.empty(len(number), np.int64)
        for cell, code in number.items():
            text = text_of(cell)
            place[code] = -1 if text is None else known.setdefault(text, len(known))
        codes = place[raw] if len(number) else raw
        return cls(list(known), codes, np.bincount(codes[codes >= 0], minlength=len(known)))

    @property
    def present(self) -> int:
        """How many cells are not missing."""
        return int(self.counts.sum())

    def share(self, chosen: np.ndarray) -> float:
        """The share of present cells whose value is among the `chosen` (a mask over the values)."""
        return float(self.counts[chosen].sum() / max(1, self.present))

    def spread(self, by_value: np.ndarray, missing: float) -> np.ndarray:
        """One number a row from one number a value."""
        return np.asarray(np.append(by_value, missing)[self.codes])  # code -1 reads the last


_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,5})?", re.ASCII).fullmatch
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?", re.ASCII).fullmatch
_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d*),\d+|[+-]?\d{1,3}(?:\.\d{3}){2,}", re.ASCII).fullmatch
_DRESS = re.compile(r"([+-]?)\s*[$€£¥￥]?\s*([+-]?[\d.,]+(?:[eE][+-]?\d+)?)\s*[%€￥]?", re.ASCII).fullmatch


def numbers(values: Sequence[str], decimal: str = ".") -> np.ndarray:
    """Each text as a number, float64; NaN where it is none. Reads 1,234.5 (or 1.234,5), $12, 12 %; not 1_000, inf."""
    return np.fromiter((_number(value, decimal) for value in values), np.float64, len(values))


LONGEST = 64
"""Characters of a number or a date at most; longer cells are not even tried (their patterns could take long)."""


def _number(text: str, decimal: str) -> float:
    if len(text) > LONGEST:
        return math.nan
    if not _PLAIN(text):
        dressed = _DRESS(text.replace("\u2212", "-"))
        if not dressed:
            return math.nan
        text = dressed[1] + dressed[2]
        if decimal == "," and _COMMA(text):
            text = text.replace(".", "").replace(",", ".")
        elif decimal == "." and _THOUSANDS(text):
            text = text.replace(",", "")
        if not _PLAIN(text):
            return math.nan
    value = float(text)
    return value if math.isfinite(value) else math.nan


def decimal_mark(values: Sequence[str]) -> str:
    """`,` when that reads more of the values as numbers than `.` does."""
    if not any("," in value for value in values):
        return "."
    point, comma = (int(np.isfinite(numbers(values, mark)).sum()) for mark in ".,")
    return "," if comma > point else "."


MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
_NAME = "(" + "|".join(MONTHS) + r")[a-z]*\.?"
_CLOCK = r"(?:(?:[T,]\s*|\s+)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*([ap]m)?\s*(z|utc|gmt|[+-]\d{2}:?\d{2})?)?"
_FORMS = {
    "ymd": r"(\d{4})(?:-|/|\.|年)(\d{1,2})(?:(?:-|/|\.|月)(\d{1,2})日?|月)?",
    "dmy": r"(\d{1,2})(?:[-/](\d{1,2})[-/](\d{4}|\d{2})|\.(\d{1,2})\.(\d{4}))",
    "mdy": r"(\d{1,2})(?:[-/](\d{1,2})[-/](\d{4}|\d{2})|\.(\d{1,2})\.(\d{4}))",
    "d month y": rf"(\d{{1,2}})[-\s]{_NAME}[-\s,]+(\d{{4}}|\d{{2}})",
    "month d y": rf"{_NAME}\s+(\d{{1,2}}),?\s+(\d{{4}})",
    "compact": r"(\d{4})(\d{2})(\d{2})",
}
_MATCH = {name: re.compile(form + _CLOCK, re.ASCII | re.IGNORECASE).fullmatch for name, form in _FORMS.items()}
EPOCH = date(1970, 1, 1).toordinal()


def dates(values: Sequence[str], form: str) -> np.ndarray:
    """Each text as days since 1970-01-01 (UTC where a zone is given), float64; NaN where it is no date of that form."""
    match = _MATCH[form]
    found = (match(value) if len(value) <= LONGEST else None for value in values)
    return np.fromiter((_days(each, form) for each in found), np.float64, len(values))


def _days(found: re.Match[str] | None, form: str) -> float:
    if found is None:
        return math.nan
    groups = found.groups()
    day, clock = [group for group in groups[:-5] if group is not None], groups[-5:]
    if form in ("ymd", "compact"):
        year, month, number = int(day[0]), int(day[1]), int(day[2]) if len(day) > 2 else 1
    else:
        year = int(day[2]) + ((1900 if int(day[2]) > 68 else 2000) if len(day[2]) == 2 else 0)
        first, second = (MONTHS[part[:3].lower()] if part[:1].isalpha() else int(part) for part in day[:2])
        number, month = (second, first) if form in ("mdy", "month d y") else (first, second)
    try:
        days = date(year, month, number).toordinal() - EPOCH
    except ValueError:
        return math.nan
    return days + _clock(*clock)


def _clock(hour: str | None, minute: str | None, second: str | None, half: str | None, zone: str | None) -> float:
    """The part of a day; NaN for an impossible time."""
    if hour is None or minute is None:
        return 0.0
    hours, minutes, seconds = int(hour), int(minute), int(second or 0)
    if half:
        if not 1 <= hours <= 12:
            return math.nan
        hours = hours % 12 + (12 if half.lower() == "pm" else 0)
    if hours > 23 or minutes > 59 or seconds > 60:
        return math.nan
    if zone and zone[0] in "+-":
        away = int(zone[1:3]) * 60 + int(zone[-2:])
        minutes -= away if zone[0] == "+" else -away
    return (hours * 3600 + minutes * 60 + seconds) / 86400


def date_form(values: Sequence[str], counts: np.ndarray) -> tuple[str, bool]:
    """The form that reads most of a column, and whether day and month could be swapped; ("", False) when none does."""
    if not any(char.isdigit() for value in values[:50] for char in value):
        return "", False
    likely = [form for form in _FORMS if form != "compact" and np.isfinite(dates(values[:50], form)).any()]
    scores = {form: float(counts[np.isfinite(dates(values, form))].sum()) for form in likely}
    if not scores:
        return "", False
    best = max(scores, key=lambda form: scores[form])
    if best in ("dmy", "mdy") and scores.get("dmy") == scores.get("mdy"):
        dotted = any("." in value[:3] for value in values[:50])
        return ("dmy" if dotted else "mdy"), not dotted
    return best, False


_WORD = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u9fff\uf900-\ufaff]+")
_IDEOGRAPH = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def words(text: str) -> list[str]:
    """The words of a text in lower case; Chinese characters one by one."""
    return _WORD.findall(text.lower())


def is_phrase(text: str) -> bool:
    """Whether a text has several words: two apart by blanks, or more than four Chinese characters."""
    return len(text.split(None, 2)) > 1 or len(_IDEOGRAPH.findall(text)) > 4


TRUE, FALSE = frozenset({"true", "yes", "t", "y", "on"}), frozenset({"false", "no", "f", "n", "off"})


def is_boolean(values: Iterable[str]) -> bool:
    """Whether the distinct values are a pair of true and false words."""
    lowered = {value.lower() for value in values}
    return bool(lowered & TRUE) and bool(lowered & FALSE) and lowered <= TRUE | FALSE
