"""What one column is (number, boolean, date, category, text or nothing useful), decided and fitted on training rows."""

import math
import re
from collections import Counter

import numpy as np

from netwright.data.source import Problem
from netwright.data.tables.cells import Column, date_form, dates, decimal_mark, is_boolean, is_phrase, numbers, words
from netwright.data.tables.plans import (
    BooleanPlan,
    CategoryPlan,
    DatePlan,
    Normalize,
    NumberPlan,
    Plan,
    TextPlan,
    scaled,
)
from netwright.language import say

NUMERIC_SHARE = 0.9
"""A column with at least this share of numbers (or dates) is one; its other cells are taken as missing."""
MAX_VALUES = 64
"""One-hot values of a category, and words of a text, at most."""
NEARLY_ALL = 0.98
"""A column with at least this share of distinct values may be an identifier (rows that stand twice repeat theirs)."""
HEAVY_TAIL = 10.0
"""Standard deviations from the mean beyond which a column is squashed; 20,000 normal draws reach about 4."""


def make_plan(name: str, column: Column, normalize: Normalize, lonely: bool) -> tuple[Plan | None, list[Problem]]:
    """Decide what a column is and fit it; no plan where it is left out. `lonely`: it is one of at most two columns."""
    if not column.present:
        return None, [_problem(name, say("every cell is missing"), say("left out"))]
    missing = bool((column.codes < 0).any())
    if len(column.values) == 1 and not missing:
        what = say("the same value everywhere ({value!r})", value=column.values[0][:40])
        return None, [_problem(name, what, say("left out"))]
    if is_boolean(column.values):
        return BooleanPlan(name, missing), []
    mark = decimal_mark(column.values)
    parsed = numbers(column.values, mark)
    if len(column.values) > 1 and _mostly(column, np.isfinite(parsed)):
        return _numeric(name, column, parsed, mark, normalize, lonely)
    form, swappable = date_form(column.values, column.counts)
    if form and len(column.values) > 1 and column.share(np.isfinite(dates(column.values, form))) >= NUMERIC_SHARE:
        return fit_dates(name, column, form, swappable, normalize)
    return _texts(name, column, missing)


def _problem(name: str, what: str, action: str) -> Problem:
    return Problem(say("column {name}", name=name), what, action)


def _mostly(column: Column, good: np.ndarray) -> bool:
    """Nearly all cells are numbers; or half of them, many different ones, beside at most three words like `unknown`."""
    share = column.share(good)
    return share >= NUMERIC_SHARE or (share >= 0.5 and int((~good).sum()) <= 3 and int(good.sum()) >= 20)


def _strays(name: str, column: Column, good: np.ndarray, kind: str) -> list[Problem]:
    if good.all():
        return []
    count = int(column.counts[~good].sum())
    shown = ", ".join(repr(column.values[place][:40]) for place in np.flatnonzero(~good)[:3])
    row = int(np.argmax(np.isin(column.codes, np.flatnonzero(~good)))) + 1
    what = say("{count} of {cells} cells are no {kind}: {shown} (first in training row {row})", count=count,
               cells=column.present, kind=kind, shown=shown, row=row)  # fmt: skip
    return [_problem(name, what, say("taken as missing"))]


def _numeric(
    name: str, column: Column, parsed: np.ndarray, mark: str, normalize: Normalize, lonely: bool
) -> tuple[Plan | None, list[Problem]]:
    good = np.isfinite(parsed)
    if _compact_dates(name, column, parsed):
        return fit_dates(name, column, "compact", False, normalize)
    if good.all() and _is_identifier(name, column, parsed, lonely):
        what = say("whole numbers that differ in every row and number them: an identifier")
        return None, [_problem(name, what, say("left out"))]
    problems = _strays(name, column, good, say("number"))
    if mark == ",":
        example = next(value for value in column.values if "," in value)
        what = say("a comma is its decimal mark ({value!r})", value=example[:40])
        problems.append(_problem(name, what, say("read so")))
    plan = fit_numbers(name, column, parsed, mark, normalize)
    if plan is None:
        return None, [*problems, _problem(name, say("one number everywhere"), say("left out"))]
    return plan, problems


def fit_numbers(name: str, column: Column, parsed: np.ndarray, mark: str, normalize: Normalize) -> NumberPlan | None:
    """Statistics of the training rows; None when a single number is left and nothing is missing."""
    rows = column.spread(parsed, math.nan)
    x = rows[np.isfinite(rows)]
    missing = len(x) < len(rows)
    if x.min() == x.max() and not missing:
        return None
    unit = 0.0
    mean, scale = _moments(x)
    if normalize == "unit":
        mean, scale = float(x.min()), float(x.max() / 2 - x.min() / 2) * 2 or 1.0
    elif normalize == "none":
        mean, scale = 0.0, 1.0
    elif normalize == "auto" and max(x.max() - mean, mean - x.min()) > HEAVY_TAIL * scale:
        unit = float(np.median(np.abs(x[x != 0])))
        mean, scale = _moments(np.arcsinh(x / unit))
    scale = scale if math.isfinite(scale) and scale > 0 else 1.0
    draft = NumberPlan(name, mark, unit, mean, scale, math.inf, 0.0, missing)
    z = scaled(x, draft)
    limit = max(HEAVY_TAIL, float(np.abs(z).max())) if normalize != "none" else 3e38
    return NumberPlan(name, mark, unit, mean, scale, limit, float(np.median(z)), missing)


def _moments(x: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, without overflow for numbers near the largest float."""
    top = float(np.abs(x).max()) or 1.0
    part = x / top
    deviation = float(part.std())
    centre = float(part.mean())
    return centre * top, (deviation * top if deviation > 1e-12 * max(abs(centre), 1e-300) else 1.0)


def _compact_dates(name: str, column: Column, parsed: np.ndarray) -> bool:
    """Eight-digit whole numbers that are all days of 1900 to 2100, such as 20240229."""
    if len(column.values) < 3 or not ((parsed >= 19000101) & (parsed <= 21001231)).all():
        return False
    return bool(np.isfinite(dates(column.values, "compact")).all())


_ID_NAME = re.compile(
    r"(?i:^(id|idx|index|no|nr|key|row|rownames?|unnamed: ?\d+)$|[_ .-](id|idx|index)$|编号|序号)|[a-z](Id|ID)$"
)


def _is_identifier(name: str, column: Column, x: np.ndarray, lonely: bool) -> bool:
    """Whole numbers, each once: named like an identifier, or numbering the rows from 0 or 1 (a year does not)."""
    if len(x) < 10 or len(x) < NEARLY_ALL * column.present or not (x == np.round(x)).all():
        return False
    if _ID_NAME.search(name):
        return True
    dense = len(x) == column.present and x.max() - x.min() + 1 <= 3 * len(x) and 0 <= x.min() <= 0.1 * len(x) + 1
    return bool(dense) and not lonely and len(x) >= 50


def fit_dates(
    name: str, column: Column, form: str, swappable: bool, normalize: Normalize
) -> tuple[Plan, list[Problem]]:
    """A date column: its form was decided by the column as a whole."""
    days = dates(column.values, form)
    problems = _strays(name, column, np.isfinite(days), say("date"))
    told = {"ymd": say("year, month, day"), "dmy": say("day, month, year"), "mdy": say("month, day, year")}
    action = say("read as {form}", form=told.get(form, say("dates")))
    what = say("dates ({value!r})", value=column.values[int(np.argmax(np.isfinite(days)))][:40])
    if swappable:
        what += say("; no cell tells day from month")
    fitted = fit_numbers(name, column, days, ".", "none" if normalize == "none" else "standard")
    clock = bool((days[np.isfinite(days)] % 1 > 0).any())
    numeric = fitted or NumberPlan(name, ".", 0.0, float(np.nanmin(days)), 1.0, HEAVY_TAIL, 0.0, False)
    plan = DatePlan(name, form, numeric.mean, numeric.scale, numeric.limit, numeric.fill, clock, numeric.missing)
    return plan, [*problems, _problem(name, what, action)]


def _texts(name: str, column: Column, missing: bool) -> tuple[Plan | None, list[Problem]]:
    """Identifier, text or category."""
    distinct = len(column.values)
    phrases = sum(map(is_phrase, column.values)) / distinct
    if column.present >= 20 and distinct >= NEARLY_ALL * column.present and phrases <= 0.05:
        what = say("words that differ in every row ({value!r}, ...): an identifier", value=column.values[0][:40])
        return None, [_problem(name, what, say("left out"))]
    if phrases >= 0.5 and (distinct > MAX_VALUES or distinct > 0.5 * column.present):
        return _fit_text(name, column)
    return _fit_category(name, column, missing)


def _fit_text(name: str, column: Column) -> tuple[Plan | None, list[Problem]]:
    held: Counter[str] = Counter()
    for value, count in zip(column.values, column.counts.tolist(), strict=True):
        for word in set(words(value)):
            held[word] += count
    rows = len(column.codes)
    common = {word: count for word, count in held.items() if max(2, 0.01 * rows) <= count < rows}
    kept = sorted(common, key=lambda word: (-common[word], word))[:MAX_VALUES]
    if not kept:
        return None, [_problem(name, say("texts that share no words"), say("left out"))]
    what = say("texts ({value!r}, ...)", value=column.values[0][:40])
    shown = ", ".join(kept[:6]) + (", ..." if len(kept) > 6 else "")
    action = say("read as the presence of {count} words: {shown}", count=len(kept), shown=shown)
    return TextPlan(name, kept), [_problem(name, what, action)]


def _fit_category(name: str, column: Column, missing: bool) -> tuple[Plan | None, list[Problem]]:
    rows = len(column.codes)
    least = min(10, max(1, rows // 100))
    order = sorted(range(len(column.values)), key=lambda place: (-int(column.counts[place]), column.values[place]))
    kept = [column.values[place] for place in order if column.counts[place] >= least][:MAX_VALUES]
    other = len(kept) < len(column.values)
    problems = []
    if len(column.values) > max(MAX_VALUES, 0.5 * column.present) or (other and len(column.values) > MAX_VALUES):
        what = say("{values} different values in {rows} rows", values=len(column.values), rows=column.present)
        share = say("the {count} most frequent have a feature each, the rest share one", count=len(kept))
        action = share if kept else say("all share one feature")
        problems.append(_problem(name, what, action))
    if not kept and not missing:
        return None, [_problem(name, say("hardly any value occurs twice"), say("left out"))]
    return CategoryPlan(name, sorted(kept), other, missing), problems
