"""What `look` finds odd in a table: missing cells, columns left out or read in a special way, and leaks of the target.

Everything but the missing cells is measured on training rows only.
"""

from collections.abc import Sequence

import numpy as np

from netwright.data.source import Problem, Table
from netwright.data.tables.cells import Column, decimal_mark, numbers
from netwright.data.tables.encoder import TableEncoder
from netwright.language import say

FEW = 20
"""Numeric targets with more distinct values than this, or with fractions, are read as numbers."""
LEAK_SHARE, LEAK_AUC, LEAK_R = 0.99, 0.99, 0.999
LEAST_ROWS = 20
"""Fewer training rows tell a leak from luck no more."""


def _in_its_place(kind: str) -> str:
    """What becomes of a missing cell in a column of that kind."""
    if kind in ("number", "date"):
        return say("the training median stands in, and a feature marks it")
    if kind == "boolean":
        return say("one half stands in, and a feature marks it")
    if kind == "category":
        return say("a category of its own")
    return say("a text without words") if kind == "text" else say("left out")


def audit(
    table: Table,
    targets: np.ndarray | None,
    train_positions: Sequence[int] | np.ndarray,
    encoder: TableEncoder | None = None,
) -> list[Problem]:
    """All problems of a table: missing cells, what the encoder left out or found mixed, leaks of the target."""
    positions = np.asarray(train_positions)
    train = table.take(positions)
    encoder = encoder if encoder is not None and encoder.problems else TableEncoder.fit(train)
    problems = [*_missing(table, encoder), *encoder.problems]
    if targets is not None and len(positions) >= LEAST_ROWS:
        problems += _leaks(train, targets[positions], encoder.used)
    return problems


def _missing(table: Table, encoder: TableEncoder) -> list[Problem]:
    kinds, found = {plan.column: plan.kind for plan in encoder.plans}, []
    for name, cells in table.columns.items():
        absent = int((Column.of(cells).codes < 0).sum())
        if absent:
            what = say(
                "{count} of {rows} cells are missing ({share:.1%})",
                count=absent,
                rows=len(cells),
                share=absent / len(cells),
            )
            found.append(Problem(say("column {name}", name=name), what, _in_its_place(kinds.get(name, ""))))
    return found


def _leaks(train: Table, targets: np.ndarray, used: Sequence[str]) -> list[Problem]:
    names, classes = np.unique([str(value) for value in targets], return_inverse=True)
    values = numbers(names.tolist())
    known = values[np.isfinite(values)]
    whole = bool((known == np.round(known)).all())
    regress = np.isfinite(values[classes]).mean() >= 0.95 and not (whole and len(values) <= FEW)
    found = []
    for name, cells in train.columns.items():
        column = Column.of(cells)
        told = _number_leak(column, values[classes]) if regress else _class_leak(column, classes)
        if told:
            kept = say("kept; leave it out if it is not known before the target is")
            action = kept if name in used else say("left out")
            found.append(Problem(say("column {name}", name=name), told, action))
    return found


def _number_leak(column: Column, target: np.ndarray) -> str:
    """Correlation of values or ranks with a numeric target, or of group means; empty when there is no leak."""
    x = column.spread(numbers(column.values, decimal_mark(column.values)), np.nan)
    both = np.isfinite(x) & np.isfinite(target)
    if both.sum() >= max(LEAST_ROWS, 0.5 * len(x)):
        r = max(abs(correlation(x[both], target[both])), abs(correlation(ranks(x[both]), ranks(target[both]))))
        if r >= LEAK_R:
            return say("it alone tells the target (|R| = {r:.4f} of values or ranks)", r=r)
    good = np.isfinite(target)
    codes, y = column.codes[good] + 1, target[good]
    if not len(y) or len(np.unique(codes)) > len(codes) / 5:
        return ""
    means = np.bincount(codes, y) / np.maximum(np.bincount(codes), 1)
    r = abs(correlation(means[codes], y))
    return say("its values alone tell the target (R = {r:.4f} with the mean of each value)", r=r) if r >= LEAK_R else ""


def _class_leak(column: Column, classes: np.ndarray) -> str:
    """Purity of values or of intervals, or AUC for two classes; empty when there is no leak."""
    count = int(classes.max()) + 1
    sizes = np.bincount(classes, minlength=count)
    if count < 2 or sizes.max() > 0.98 * len(classes) or np.sort(sizes)[-2] < 5:
        return ""
    codes = column.codes + 1  # 0: missing
    distinct = len(column.values) + 1
    if distinct <= len(codes) / 5 and distinct * count < 10**7:
        held = np.bincount(codes * count + classes, minlength=distinct * count).reshape(distinct, count)
        share = float(held.max(1).sum() / len(codes))
        if share >= LEAK_SHARE:
            return say("its values alone tell the class of {share:.1%} of the training rows", share=share)
    x = column.spread(numbers(column.values, decimal_mark(column.values)), np.nan)
    good = np.isfinite(x)
    if good.sum() < max(LEAST_ROWS, 0.5 * len(x)):
        return ""
    if count == 2 and min(np.bincount(classes[good], minlength=2)) >= 5:
        area = auc(x[good], classes[good] == 1)
        if max(area, 1 - area) >= LEAK_AUC:
            return say("it alone tells the class (AUC {auc:.4f})", auc=max(area, 1 - area))
    share = _interval_share(x[good], classes[good], count)
    if share >= LEAK_SHARE:
        return say("ordered by it, the rows fall into their classes (one interval a class: {share:.1%})", share=share)
    return ""


def _interval_share(x: np.ndarray, classes: np.ndarray, count: int) -> float:
    """The share of rows that fit when each class is one interval of x: 1 less errors within equal values and less
    the changes of class along x beyond the K - 1 that K intervals need."""
    values, place = np.unique(x, return_inverse=True)
    if len(values) * count > 10**7:
        return 0.0
    held = np.zeros((len(values), count))
    np.add.at(held, (place, classes), 1)
    major = held.argmax(1)
    errors = len(x) - held.max(1).sum()
    changes = int((major[1:] != major[:-1]).sum()) - (len(np.unique(major)) - 1)
    return float(1 - (errors + max(0, changes)) / len(x))


def ranks(x: np.ndarray) -> np.ndarray:
    """Ranks from 1, the mean rank for equal values."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place])


def auc(x: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve of x as a score (Mann-Whitney): P(x+ > x-) + P(x+ = x-) / 2."""
    many = int(positive.sum())
    return float((ranks(x)[positive].sum() - many * (many + 1) / 2) / (many * (len(x) - many)))


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's R; 0 where one of the two is constant."""
    a, b = (v / (np.abs(v).max() or 1.0) for v in (x, y))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / size) if size > 1e-300 else 0.0
