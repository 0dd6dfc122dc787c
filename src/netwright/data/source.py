"""What a reader returns: examples as they were found, before splits, statistics and networks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor

Kind = Literal["image", "vector", "sequence", "table", "text", "recording"]
"""image: uint8 (C, H, W); vector: numbers (F,); sequence: numbers (T, F); table: rows of named cells; text: `Texts`;
recording: `Recordings`."""


@dataclass(frozen=True)
class Problem:
    """Something odd in the data: where it is, what it is, and what was done about it."""

    where: str
    what: str
    action: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} -> {self.action}"


class Examples(Protocol):
    """Raw examples that can be counted and taken by position, in memory or decoded on demand."""

    def __len__(self) -> int: ...

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> Any:
        """The examples at `positions`, in that order: a tensor (batch first), or a `Table`."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Examples that all lie in one tensor, the first axis counting them."""

    tensor: Tensor
    marks: list[bytes] | None = field(default=None, repr=False, compare=False)
    """One digest an example, as `audit.digests` makes it, where it is known already."""

    def __len__(self) -> int:
        return len(self.tensor)

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        import torch

        return self.tensor[torch.as_tensor(positions)]


@dataclass(frozen=True)
class Table:
    """Rows of named cells. A cell is None (missing), a str as it stood in the file, or a float, int, bool or
    datetime where the format is typed (Parquet, JSON Lines, data frames). Columns are object arrays."""

    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> "Table":
        index = np.asarray(positions)
        return Table({name: cells[index] for name, cells in self.columns.items()})


@dataclass(frozen=True)
class Texts:
    """Texts as they stood in the data; one that the data itself divides into tokens is a tuple of them."""

    texts: list[Any]
    """A str, or a tuple of str, an example."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> "Texts":
        return Texts([self.texts[int(place)] for place in positions])


@dataclass(frozen=True)
class Recordings:
    """Sounds of unequal length at one rate: one channel, float32 in -1..1, or int16 where the files held that."""

    waves: list[np.ndarray]
    rate: int
    """Samples a second."""

    def __len__(self) -> int:
        return len(self.waves)

    def take(self, positions: Sequence[int] | np.ndarray | Tensor) -> "Recordings":
        return Recordings([self.waves[int(place)] for place in positions], self.rate)


@dataclass
class Source:
    """Everything a reader found. Positions count examples from 0 over all files together."""

    kind: Kind
    name: str
    """A short name for run folders and reports, such as `digits` or the folder's name."""
    examples: Examples
    targets: np.ndarray | None
    """One entry an example: class names (object array of str), numbers (float64 or int64), texts (object array of str),
    tags (object array of tuples of str, one a token), or future numbers (float64 (N, horizon)); None: unlabelled."""
    ids: Sequence[str]
    """What to call each example to a person: `train/ants/12.jpg`, `row 17`, `t10k-images-idx3-ubyte[4]`."""
    given: dict[str, np.ndarray] = field(default_factory=dict)
    """Positions of the splits that the data itself states: any of `train`, `validation`, `test`."""
    classes: list[str] | None = None
    """Class names in their own order where the format states one (folder order, IDX digits)."""
    groups: np.ndarray | None = None
    """One entry an example; examples of one group never part into different splits."""
    problems: list[Problem] = field(default_factory=list)
    task: str = ""
    """The task that this form of data states (`tag`, `generate`, `translate` ...); empty: the targets tell."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else the data say of themselves, such as a series' season."""
