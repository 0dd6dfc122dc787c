"""A test set from a place of its own, behind the examples to train on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from netwright.data.sounds.rates import behind
from netwright.data.source import Examples, InMemory, Recordings, Source, Table, Texts
from netwright.errors import DataError
from netwright.language import say


@dataclass(frozen=True)
class Joined:
    """Examples of two places behind one another, at least one of them decoded on demand."""

    first: Examples
    second: Examples

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def take(self, positions: Sequence[int] | np.ndarray | torch.Tensor) -> torch.Tensor:
        index = np.asarray(positions)
        here = index < len(self.first)
        parts = [self.first.take(index[here]), self.second.take(index[~here] - len(self.first))]
        order = np.argsort(np.concatenate([np.flatnonzero(here), np.flatnonzero(~here)]))
        return torch.cat(parts)[torch.from_numpy(order)]


def with_test_set(source: Source, test: Source) -> Source:
    """`source` with all examples of `test` as its given test set."""
    if source.kind != test.kind:
        raise DataError(say("data.test holds {test} examples, data.path {train}", test=test.kind, train=source.kind))
    examples: Any
    if isinstance(source.examples, Table) and isinstance(test.examples, Table):
        missing = source.examples.columns.keys() ^ test.examples.columns.keys()
        if missing:
            raise DataError(say("data.test: columns differ: {names}", names=", ".join(sorted(missing)[:8])))
        first, second = source.examples.columns, test.examples.columns
        examples = Table({name: np.concatenate([first[name], second[name]]) for name in first})
    elif isinstance(source.examples, InMemory) and isinstance(test.examples, InMemory):
        if source.examples.tensor.shape[1:] != test.examples.tensor.shape[1:]:
            raise DataError(
                say(
                    "data.test: examples have shape {test}, in data.path {train}",
                    test=list(test.examples.tensor.shape[1:]), train=list(source.examples.tensor.shape[1:]),
                )
            )  # fmt: skip
        examples = InMemory(torch.cat([source.examples.tensor, test.examples.tensor]))
    elif isinstance(source.examples, Texts) and isinstance(test.examples, Texts):
        examples = Texts([*source.examples.texts, *test.examples.texts])
    elif isinstance(source.examples, Recordings) and isinstance(test.examples, Recordings):
        examples = behind(source.examples, test.examples)
    elif source.task == "forecast":
        text = say("data.test = {path!r}: a series is divided by time; put train.csv and test.csv into one folder",
                   path=test.name)  # fmt: skip
        raise DataError(text)
    else:
        examples = Joined(source.examples, test.examples)
    corpora = source.targets is None and test.targets is None and source.task == "generate"
    if not corpora and (source.targets is None or test.targets is None):
        raise DataError(say("data.test and data.path both need targets"))
    count = len(source.examples)
    given = {"test": np.arange(count, count + len(test.examples))}
    train = np.sort(np.concatenate(list(source.given.values()))) if source.given else np.arange(count)
    classes = source.classes and [*source.classes, *(n for n in test.classes or [] if n not in source.classes)]
    if corpora:
        return replace(source, examples=examples, ids=[*source.ids, *test.ids], given={**given, "train": train},
                       problems=[*source.problems, *test.problems])  # fmt: skip
    assert source.targets is not None
    assert test.targets is not None
    targets = np.concatenate([source.targets.astype(object), test.targets.astype(object)])
    if all(type(value) is float for value in targets):
        targets = targets.astype(np.float64)
    groups = None if source.groups is None else np.concatenate([source.groups, np.full(len(test.targets), "", object)])
    return Source(
        source.kind, source.name, examples, targets, [*source.ids, *test.ids],
        {**given, "train": train}, classes, groups, [*source.problems, *test.problems], source.task, source.facts,
    )  # fmt: skip
