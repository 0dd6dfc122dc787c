"""`TableEncoder`: named cells to the numbers a network reads, fitted on the training rows alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from netwright.data.source import Problem, Table
from netwright.data.tables.cells import Column
from netwright.data.tables.kinds import make_plan
from netwright.data.tables.plans import KINDS, Normalize, Plan
from netwright.errors import DataError, hint
from netwright.language import say


@dataclass(frozen=True)
class TableEncoder:
    """One plan a column; columns that tell nothing (identifiers, constants) have none.

    Its state is JSON, travels inside the run, and encodes any later table to the same bits.
    """

    columns: list[str]
    """All feature columns of the training table, in order: what a row given as a list holds."""
    plans: list[Plan]
    problems: list[Problem] = field(default_factory=list, compare=False)

    @classmethod
    def fit(cls, table: Table, normalize: Normalize = "auto") -> "TableEncoder":
        """Learn kinds and statistics of all columns from training rows. Errors: DataError where no column is left."""
        if not len(table):
            raise DataError(say("there are no training rows to learn the columns from"))
        plans: list[Plan] = []
        problems: list[Problem] = []
        for name, cells in table.columns.items():
            plan, found = make_plan(name, Column.of(cells), normalize, len(table.columns) <= 2)
            problems += found
            if plan is not None:
                plans.append(plan)
        if not plans:
            reasons = "; ".join(f"{problem.where}: {problem.what}" for problem in problems[:3])
            raise DataError(say("no column is left to learn from ({reasons})", reasons=reasons))
        return cls(list(table.columns), plans, problems)

    @property
    def inputs(self) -> dict[str, Any]:
        """What the network reads."""
        return {"kind": "vector", "features": len(self.names)}

    @property
    def names(self) -> list[str]:
        """The name of each feature, such as `Age`, `Sex = male`, `Name has mr`."""
        return [name for plan in self.plans for name in plan.features]

    @property
    def used(self) -> list[str]:
        """The columns that a table for prediction must have."""
        return [plan.column for plan in self.plans]

    def encode(self, table: Table) -> Float32[Tensor, "rows features"]:
        """The features of all rows. Columns may stand in any order; others are ignored; a missing one is refused."""
        cells = self._select(table)
        blocks = [plan.encode(Column.of(cells[plan.column])).astype(np.float32) for plan in self.plans]
        return torch.from_numpy(np.concatenate(blocks, axis=1))

    def remarks(self, table: Table) -> list[Problem]:
        """Cells of a table for prediction that cannot be read, or values that training never saw."""
        cells, found = self._select(table), []
        for plan in self.plans:
            column = Column.of(cells[plan.column])
            unread = plan.unread(column)
            if unread.any():
                value, count = column.values[int(np.argmax(unread))][:40], int(column.counts[unread].sum())
                if plan.kind == "category":
                    what = say("training never saw {value!r} ({count} cells)", value=value, count=count)
                else:
                    kinds = {"number": say("number"), "date": say("date"), "boolean": say("true or false")}
                    kind = kinds.get(plan.kind, plan.kind)
                    what = say("{value!r} is no {kind} ({count} cells)", value=value, kind=kind, count=count)
                found.append(Problem(say("column {name}", name=plan.column), what, say("taken as missing")))
        return found

    def _select(self, table: Table) -> Mapping[str, np.ndarray]:
        """The columns by their training names; columns without a header go by their place."""
        found = table.columns
        lacking = [name for name in self.used if name not in found]
        if lacking and len(found) == len(self.columns) and all(map(_UNNAMED, (*found, *self.columns))):
            found = dict(zip(self.columns, found.values(), strict=True))  # the target column is not in the file
            lacking = []
        if lacking:
            spare = [name for name in found if name not in self.columns]
            text = say("the data lack the column {name!r} that the network was trained with.", name=lacking[0])
            more = " " + say("{count} columns are missing: {names}.", count=len(lacking), names=", ".join(lacking[:8]))
            raise DataError(f"{text}{more if len(lacking) > 1 else ''} {hint(lacking[0], spare)}".rstrip())
        return found

    def state(self) -> dict[str, Any]:
        """Everything `encode` needs, as JSON-able data."""
        return {"kind": "table", "columns": list(self.columns), "plans": [plan.state() for plan in self.plans]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "TableEncoder":
        """The encoder that `state` describes (the inverse of `.state()`). Errors: DataError when it is damaged."""
        try:
            plans = [KINDS[plan["kind"]](**{k: v for k, v in plan.items() if k != "kind"}) for plan in state["plans"]]
            return cls([str(name) for name in state["columns"]], plans)
        except (KeyError, TypeError, AttributeError):
            raise DataError(say("the stored table encoder is damaged or of another version")) from None


_UNNAMED = re.compile(r"column\d+").fullmatch
