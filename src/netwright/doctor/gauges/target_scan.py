"""What the targets are like, and in what order they stand (A7, A9, A12, A15)."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

FEW = 20
"""Float targets of at most so many whole values are classes."""
MANY = 1000
"""Whole-number targets of more values than this are numbers."""
COUNTED = 100
"""At most so many classes are listed with their counts."""


@dataclass(frozen=True)
class Targets:
    """The values of the targets. `kind` is `classes`, `one-hot`, `labels` or `numbers`."""

    kind: str
    shape: tuple[int, ...]
    """The shape of one example's target."""
    dtype: str
    non_finite: int
    distinct: int
    whole: bool
    """Whether all are whole numbers."""
    from_zero: bool
    """Whether classes are 0 to K-1, each with an example."""
    counts: dict[float, int]
    """How many examples each class (one-hot, labels: column) has, the commonest first."""
    ratio: float
    """Most over fewest examples of a class; 1 where there are no classes."""
    mean: float
    std: float
    low: float
    high: float
    offset: float
    """|mean| / std."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Order:
    """How the targets are ordered. What a random order would show stands beside each figure."""

    agreement: float
    """Classes: share of examples with the target of the one before. Numbers: correlation with the one before."""
    chance: float
    error: float
    """Standard error of `agreement` in a random order."""
    batch_entropy: float
    """Mean entropy of the classes in a batch over that of all; numbers: spread in a batch over that of all."""
    random_entropy: float
    """The same in a random order."""
    tail: float
    """Total variation distance of classes in the last fifth from the rest; numbers: difference of means in stds."""
    random_tail: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def scan_targets(y: np.ndarray, kind: str = "auto") -> Targets | None:
    """What the targets (N, ...) are like; None without any. `kind` `auto` is told by type and values."""
    y = np.asarray(y)
    if not y.size or not (np.issubdtype(y.dtype, np.number) or y.dtype == bool):
        return None
    with np.errstate(over="ignore"):
        values = y.astype(np.float64)
    known = values[np.isfinite(values)]
    distinct, counts = np.unique(known, return_counts=True) if known.size else (np.zeros(0), np.zeros(0, dtype=int))
    whole = bool(known.size) and bool((known == np.rint(known)).all())
    kind = _kind(values, distinct, whole, y.dtype) if kind == "auto" else kind
    if kind in ("one-hot", "labels"):
        distinct = np.arange(values.shape[-1], dtype=np.float64)
        counts = (
            (values > np.nanmin(values)).reshape(-1, len(distinct)).sum(0) if known.size else np.zeros(len(distinct))
        )
    has_classes = kind != "numbers" and len(counts) > 0
    order = np.argsort(-counts, kind="stable")[: COUNTED if has_classes else 0]
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = (float(known.mean()), float(known.std())) if known.size else (0.0, 0.0)
    return Targets(
        kind, y.shape[1:], str(y.dtype), int(values.size - known.size), len(np.unique(known)), whole,
        kind == "classes" and bool(np.array_equal(distinct, np.arange(len(distinct)))),
        {float(distinct[i]): int(counts[i]) for i in order},
        float(counts.max() / max(1, counts.min())) if has_classes else 1.0,
        mean, std, float(known.min()) if known.size else 0.0, float(known.max()) if known.size else 0.0,
        abs(mean) / std if std > 0 else 0.0,
    )  # fmt: skip


def _kind(values: np.ndarray, distinct: np.ndarray, whole: bool, dtype: np.dtype) -> str:
    if values.ndim == 2 and values.shape[1] > 1 and np.isin(distinct, (0, 1)).all():
        return "one-hot" if (values.sum(1) == 1).all() else "labels"
    if values.ndim > 1 and values[0].size > 1 and dtype.kind == "f":
        return "numbers"
    is_float = dtype.kind == "f"
    few = len(distinct) <= min(FEW if is_float else MANY, max(2 if is_float else FEW, len(values) / 2))
    return "classes" if whole and few else "numbers"


def order_of(y: np.ndarray, kind: str, *, batch: int = 32, seed: int = 0) -> Order | None:
    """Whether neighbours among the targets are alike, and batches cut from them one-sided; None under 20 examples.

    Formula: agreement = mean [y_i = y_(i-1)], chance = sum p_k^2; entropy = mean over batches of H(batch) / H(all)
    """
    y = np.asarray(y)
    if len(y) < 20:
        return None
    with np.errstate(over="ignore"):
        flat = np.nan_to_num(y.reshape(len(y), -1).astype(np.float64))
    row = flat.argmax(1) if kind == "one-hot" else flat[:, 0]
    if kind == "labels":
        row = flat @ (2.0 ** np.arange(min(30, flat.shape[1])) if flat.shape[1] <= 30 else np.ones(flat.shape[1]))
    shuffled = np.random.default_rng(seed).permutation(row)
    batch = int(np.clip(batch, 2, len(y) // 2))
    if kind == "numbers":
        return _order_of_numbers(row, shuffled, batch)
    names, codes = np.unique(row, return_inverse=True)
    if len(names) < 2:
        return None
    mixed = np.unique(shuffled, return_inverse=True)[1]
    shares = np.bincount(codes) / len(codes)
    chance = float((shares**2).sum())
    return Order(
        float((codes[1:] == codes[:-1]).mean()), chance, float(np.sqrt(chance * (1 - chance) / (len(codes) - 1))),
        _batch_entropy(codes, batch), _batch_entropy(mixed, batch), _tail(codes), _tail(mixed),
    )  # fmt: skip


def _order_of_numbers(row: np.ndarray, shuffled: np.ndarray, batch: int) -> Order | None:
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(row.std())
    if not 0 < spread < np.inf:
        return None
    z, mixed = (row - row.mean()) / spread, (shuffled - row.mean()) / spread
    return Order(
        float((z[1:] * z[:-1]).mean()), 0.0, 1 / (len(z) - 1) ** 0.5,
        _batch_spread(z, batch), _batch_spread(mixed, batch), _tail_of_numbers(z), _tail_of_numbers(mixed),
    )  # fmt: skip


def _batches(row: np.ndarray, batch: int) -> np.ndarray:
    whole = len(row) // batch
    return row[: whole * batch].reshape(whole, batch)


def entropy(counts: Float[np.ndarray, "... classes"]) -> Float[np.ndarray, "..."]:
    """Entropy in nats of counts along the last axis."""
    shares = counts / np.maximum(1, counts.sum(-1, keepdims=True))
    found: np.ndarray = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(-1)
    return found


def _batch_entropy(codes: np.ndarray, batch: int) -> float:
    cut = _batches(codes, batch)[:5000]
    count = int(codes.max()) + 1
    table = np.stack([np.bincount(part, minlength=count) for part in cut]) if len(cut) * count < 50_000_000 else None
    if table is None:
        return 1.0
    return float(entropy(table.astype(float)).mean() / entropy(np.bincount(codes).astype(float)))


def _batch_spread(z: np.ndarray, batch: int) -> float:
    return float(_batches(z, batch).std(1).mean())


def _tail(codes: np.ndarray) -> float:
    cut, count = len(codes) - len(codes) // 5, int(codes.max()) + 1
    head, tail = (np.bincount(part, minlength=count) / len(part) for part in (codes[:cut], codes[cut:]))
    return float(np.abs(head - tail).sum() / 2)


def _tail_of_numbers(z: np.ndarray) -> float:
    cut = len(z) - len(z) // 5
    return float(abs(z[:cut].mean() - z[cut:].mean()))
