"""When to stop, and which weights to keep: a target to reach, patience, and the best epoch by validation."""

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from netwright.catalogue import METRICS
from netwright.errors import UsageError, hint
from netwright.language import say
from netwright.parts.metrics import metrics_of

_CONDITION = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(>=|<=)\s*(\S+)\s*")


@dataclass(frozen=True)
class Condition:
    """A comparison such as `accuracy>=0.98`: a metric, a direction and a number."""

    metric: str
    sign: str
    limit: float

    @classmethod
    def parse(cls, text: str, task: str, where: str, extra: tuple[str, ...] = ()) -> "Condition":
        """Read a condition; `extra` are names beyond the task's metrics and `loss`."""
        found = _CONDITION.fullmatch(text)
        try:
            limit = float(found[3]) if found else math.nan
        except ValueError:
            limit = math.nan
        if found is None or math.isnan(limit):
            raise UsageError(
                say("{where} = {text!r}; a condition looks like accuracy>=0.98 or loss<=0.1", where=where, text=text)
            )
        known = ["loss", *extra, *metrics_of(task)]
        if found[1] not in known:
            text = say("{where}: there is no metric {name!r} here.", where=where, name=found[1])
            raise UsageError(f"{text} {hint(found[1], known)}")
        return cls(found[1], found[2], limit)

    def met(self, values: dict[str, Any]) -> bool:
        """Whether the condition holds; a missing value never meets it."""
        value = values.get(self.metric)
        if value is None or not math.isfinite(value):
            return False
        return value >= self.limit if self.sign == ">=" else value <= self.limit

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.limit:.15g}"


@dataclass
class Best:
    """The best epoch so far: by one metric or by the loss, ties by the loss; without validation the last epoch."""

    metric: str
    epoch: int = 0
    value: float = math.nan
    loss: float = math.nan
    stale: int = 0
    """Epochs since the best one."""

    def better(self, validation: dict[str, Any]) -> bool:
        """Whether `validation` beats what is kept; without validation every later epoch does."""
        if not validation:
            return True
        value, loss = validation.get(self.metric), validation.get("loss")
        if value is None or loss is None or not (math.isfinite(value) and math.isfinite(loss)):
            return False
        if math.isnan(self.value):
            return True
        rises = self.metric != "loss" and METRICS[self.metric].facts["better"] == "higher"
        gain = value - self.value if rises else self.value - value
        return gain > 0 or (gain == 0 and loss < self.loss)

    def update(self, epoch: int, validation: dict[str, Any]) -> bool:
        """Take an epoch's validation; True when it is the best so far."""
        if not self.better(validation):
            self.stale += 1
            return False
        self.epoch, self.stale = epoch, 0
        self.value, self.loss = validation.get(self.metric, math.nan), validation.get("loss", math.nan)
        return True

    def facts(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Best":
        numbers: dict[str, Any] = {key: math.nan if value is None else value for key, value in facts.items()}
        return cls(**numbers)
