"""How one column becomes features: number, boolean, date, category or text, with the statistics that do it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from netwright.data.tables.cells import (
    EPOCH,
    FALSE,
    TRUE,
    Column,
    dates,
    numbers,
    words,
)  # fmt: skip

Normalize = Literal["auto", "standard", "unit", "none"]


@dataclass(frozen=True)
class Plan:
    """What is done with one column; its fields are the statistics that travel inside the run."""

    column: str
    kind: ClassVar[str] = ""

    @property
    def features(self) -> list[str]:
        """The names of the features that it makes."""
        raise TypeError(f"{type(self).__name__} names no features")

    def encode(self, column: Column) -> np.ndarray:
        """The features of each row, float64 (rows, features)."""
        raise TypeError(f"{type(self).__name__} encodes nothing")

    def unread(self, column: Column) -> np.ndarray:
        """Which values of `column` this plan cannot read (a mask over its values); they count as missing."""
        return np.zeros(len(column.values), bool)

    def state(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class NumberPlan(Plan):
    """Formula: z = (f(x) - mean) / scale, f(x) = asinh(x / unit) for heavy tails (unit > 0), else x; |z| <= limit.

    A missing cell becomes the training median, and raises the second feature where training rows had any.
    """

    decimal: str
    unit: float
    mean: float
    scale: float
    limit: float
    fill: float
    missing: bool
    kind: ClassVar[str] = "number"

    @property
    def features(self) -> list[str]:
        return [self.column] + [f"{self.column} is missing"] * self.missing

    def encode(self, column: Column) -> np.ndarray:
        z = column.spread(scaled(numbers(column.values, self.decimal), self), math.nan)
        absent = np.isnan(z)
        z[absent] = self.fill
        return np.stack([z, absent], 1) if self.missing else z[:, None]

    def unread(self, column: Column) -> np.ndarray:
        return np.asarray(np.isnan(numbers(column.values, self.decimal)))


def scaled(x: np.ndarray, plan: NumberPlan) -> np.ndarray:
    """Numbers on the scale of the plan, held within its limit; NaN stays NaN."""
    if plan.unit:
        x = np.arcsinh(np.clip(x / plan.unit, -1e300, 1e300))
    return np.asarray(np.clip(x / plan.scale - plan.mean / plan.scale, -plan.limit, plan.limit))


@dataclass(frozen=True)
class BooleanPlan(Plan):
    """1 for true, yes, t, y, on; 0 for their opposites; a missing cell is 0.5 with its own feature."""

    missing: bool
    kind: ClassVar[str] = "boolean"

    @property
    def features(self) -> list[str]:
        return [self.column] + [f"{self.column} is missing"] * self.missing

    def encode(self, column: Column) -> np.ndarray:
        told = [
            1.0 if value.lower() in TRUE else 0.0 if value.lower() in FALSE else math.nan for value in column.values
        ]
        x = column.spread(np.array(told, np.float64), math.nan)
        absent = np.isnan(x)
        x[absent] = 0.5
        return np.stack([x, absent], 1) if self.missing else x[:, None]

    def unread(self, column: Column) -> np.ndarray:
        return np.array([value.lower() not in TRUE | FALSE for value in column.values], bool)


@dataclass(frozen=True)
class DatePlan(Plan):
    """Days on the training scale, the month on a circle, the weekday one-hot, the hour on a circle if given."""

    form: str
    mean: float
    scale: float
    limit: float
    fill: float
    clock: bool
    missing: bool
    kind: ClassVar[str] = "date"

    @property
    def features(self) -> list[str]:
        days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
        parts = ["day", "month (sin)", "month (cos)", *days]
        parts += ["hour (sin)", "hour (cos)"] * self.clock + ["is missing"] * self.missing
        return [f"{self.column} {part}" for part in parts]

    def encode(self, column: Column) -> np.ndarray:
        days = dates(column.values, self.form)
        known = np.where(np.isnan(days), 0.0, days)
        whole = np.floor(known).astype(np.int64)
        month = 2 * np.pi * (whole.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12) / 12
        weekday = np.eye(7)[(whole + EPOCH - 1) % 7]
        blocks = [scaled(days, NumberPlan("", ".", 0.0, self.mean, self.scale, self.limit, 0.0, False))]
        blocks += [np.sin(month), np.cos(month), *weekday.T]
        if self.clock:
            hour = 2 * np.pi * (known - whole)
            blocks += [np.sin(hour), np.cos(hour)]
        found = np.stack(blocks, 1)
        found[np.isnan(days)] = 0.0
        found[np.isnan(days), 0] = self.fill
        blank = np.zeros((1, found.shape[1]))
        blank[0, 0] = self.fill
        rows = np.concatenate([found, blank])[column.codes]
        absent = column.spread(np.isnan(days).astype(np.float64), 1.0)
        return np.column_stack([rows, absent]) if self.missing else rows

    def unread(self, column: Column) -> np.ndarray:
        return np.asarray(np.isnan(dates(column.values, self.form)))


@dataclass(frozen=True)
class CategoryPlan(Plan):
    """One-hot of the training values; rare and unseen values share "other", missing cells have their own feature.

    Where training rows had neither, such a cell leaves all features at 0: no untrained weight is used.
    """

    values: list[str]
    other: bool
    missing: bool
    kind: ClassVar[str] = "category"

    @property
    def features(self) -> list[str]:
        named = [f"{self.column} = {value}" for value in self.values]
        return named + [f"{self.column} is another"] * self.other + [f"{self.column} is missing"] * self.missing

    def encode(self, column: Column) -> np.ndarray:
        width = len(self.features)
        place = self._places(column.values)
        hot = np.zeros((len(column.values) + 1, width + 1))  # the last feature takes what has no feature
        hot[np.arange(len(place)), np.where(place >= 0, place, len(self.values) if self.other else width)] = 1.0
        hot[-1, width - 1 if self.missing else width] = 1.0
        return np.asarray(hot[column.codes, :width])

    def _places(self, values: Sequence[str]) -> np.ndarray:
        exact = {value: place for place, value in enumerate(self.values)}
        alike = {float(x): place for x, place in zip(numbers(self.values), exact.values(), strict=True) if x == x}
        found = (exact.get(v, alike.get(x, -1)) for v, x in zip(values, numbers(values).tolist(), strict=True))
        return np.fromiter(found, np.int64, len(values))

    def unread(self, column: Column) -> np.ndarray:
        return self._places(column.values) < 0 if not self.other else super().unread(column)


@dataclass(frozen=True)
class TextPlan(Plan):
    """1 where a text holds a word: the most frequent words of the training rows (Chinese characters one by one)."""

    words: list[str]
    kind: ClassVar[str] = "text"

    @property
    def features(self) -> list[str]:
        return [f"{self.column} has {word}" for word in self.words]

    def encode(self, column: Column) -> np.ndarray:
        place = {word: number for number, word in enumerate(self.words)}
        found = np.zeros((len(column.values) + 1, len(self.words)))
        for row, value in enumerate(column.values):
            for word in words(value):
                if word in place:
                    found[row, place[word]] = 1.0
        return np.asarray(found[column.codes])


KINDS: dict[str, type[Plan]] = {
    plan.kind: plan for plan in (NumberPlan, BooleanPlan, DatePlan, CategoryPlan, TextPlan)
}  # fmt: skip
