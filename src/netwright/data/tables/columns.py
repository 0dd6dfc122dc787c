"""The columns of one table file, whatever its format; and the limits that hold for all."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netwright.data.source import Problem

MAX_BYTES, MAX_RATIO = 2**30, 200
"""Limits of one file: bytes, and how many times larger than its gzip it may become (rule P5)."""


@dataclass
class FileTable:
    """The columns of one file as they stood there: None for an empty cell, rows counted from 1."""

    name: str
    columns: dict[str, np.ndarray]
    rows: np.ndarray
    """The number of each row among the data rows of its file (rows that were left out have numbers too)."""
    typed: bool = False
    problems: list[Problem] = field(default_factory=list)
    looks_headed: bool = False
    """A first row that is nearly a header was read as data."""


def as_cells(values: Iterable[Any]) -> np.ndarray:
    """A one-dimensional object array, whatever the cells are."""
    listed = list(values)
    cells = np.empty(len(listed), object)
    cells[:] = listed
    return cells
