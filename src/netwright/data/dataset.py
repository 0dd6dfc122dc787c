"""A data set ready to train on: examples, splits, encoder, targets, and what was found odd."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.cache.rows import Mapped
from netwright.data.encoders import Encoder, NumberEncoder
from netwright.data.sequence_targets import NextTokens
from netwright.data.sounds.pairs import Pairs, pairs_for_verification
from netwright.data.source import InMemory, Problem, Source, Table
from netwright.data.splits import Splits
from netwright.data.tables.encoded import encoded_rows
from netwright.data.tables.encoder import TableEncoder
from netwright.data.targets import ClassTargets, Targets, class_name
from netwright.data.texts.pieces import shifted
from netwright.language import say
from netwright.parts.augmentations import read_augment
from netwright.parts.sequences import Ragged

DEVICE_BUDGET = 2**32
"""Bytes of pictures that are kept on a device other than the CPU; more of them cross over batch by batch."""


@dataclass
class Dataset:
    """What `netwright.read` returns. `inputs` and `outputs` say what a network for it looks like."""

    source: Source
    reader: str
    settings: dict[str, Any]
    """The recipe's `[data]` table, every setting filled in."""
    splits: Splits
    encoder: Encoder
    targets: Targets
    problems: list[Problem]
    fingerprint: str
    test_fingerprint: str
    in_memory: bool = False
    """True for arrays and frames handed over in Python: another process cannot read them again."""
    _encoded: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _sequences: dict[str, tuple[Ragged, Ragged]] = field(default_factory=dict, repr=False)
    _pairs: dict[str, Pairs] = field(default_factory=dict, repr=False)
    _rows: Mapped | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def kind(self) -> str:
        return self.source.kind

    @property
    def task(self) -> str:
        return self.targets.task

    @property
    def inputs(self) -> dict[str, Any]:
        return self.encoder.inputs

    @property
    def shape(self) -> list[int]:
        """The shape of one example as training takes it: `inputs`, or a larger picture that it crops."""
        return self.encoder.shape if isinstance(self.encoder, NumberEncoder) else _sizes(self.inputs)

    @property
    def outputs(self) -> dict[str, Any]:
        return self.targets.outputs

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the network's outputs; empty for numbers."""
        return self.targets.classes if isinstance(self.targets, ClassTargets) else []

    @property
    def examples(self) -> dict[str, int]:
        """The number of examples in each split."""
        return {name: len(self.splits[name]) for name in ("train", "validation", "test")}

    def raw_targets(self, split: str) -> np.ndarray:
        """The targets of a split as they stood in the data."""
        assert self.source.targets is not None
        return self.source.targets[self.splits[split]]

    def target_tensor(self, split: str) -> Tensor:
        """The encoded targets of a split, one row an example: class numbers (N,), standardised numbers (N, columns)."""
        found = self.encoded_targets(split)
        assert isinstance(found, Tensor)
        return found

    def encoded_targets(self, split: str) -> Tensor | Ragged:
        """The encoded targets of a split: one row an example, or one sequence of token or tag numbers."""
        if isinstance(self.targets, NextTokens):
            return self.sequences(split)[1]
        return self.targets.encode(self.raw_targets(split))

    @property
    def is_ragged(self) -> bool:
        """Whether examples are sequences of unequal length: texts and recordings."""
        return self.kind in ("text", "recording")

    def sequences(self, split: str) -> tuple[Ragged, Ragged]:
        """The encoded inputs of a split of texts or recordings, and for a language model what it should say at every
        step (the inputs again for every other task)."""
        if split not in self._sequences:
            positions = self.splits[split]
            found: Ragged = self.encoder.ragged(self.source.examples.take(positions))  # type: ignore[attr-defined]
            pair = found, found
            if isinstance(self.targets, NextTokens):
                facts = self.source.facts
                pair = shifted(found, facts["begins"][positions], facts["ends"][positions])
            self._sequences[split] = pair
        return self._sequences[split]

    def pairs(self, split: str) -> Pairs:
        """The pairs of a split's recordings by which verification is measured, always the same.

        Errors: DataError where they make none.
        """
        if split not in self._pairs:
            self._pairs[split] = pairs_for_verification(self.raw_targets(split), 0)
        return self._pairs[split]

    def encode(self, positions: np.ndarray, whole: bool = False) -> Any:
        """What the network reads of the examples at `positions`, a tensor, or `Sequences` of texts and recordings;
        `whole`: pictures before a crop of training."""
        if self._rows is not None:
            return self._rows.take(positions)
        examples = self.source.examples.take(positions)
        cropped = whole and isinstance(self.encoder, NumberEncoder)
        return self.encoder.encode_whole(examples) if cropped else self.encoder.encode(examples)  # type: ignore[attr-defined]

    def map_rows(self) -> None:
        """Encode a table that is too large to be kept ready into the cache, once; batches are then read from there."""
        if self._rows is None and isinstance(self.encoder, TableEncoder) and isinstance(self.source.examples, Table):
            self._rows = encoded_rows(self.name, self.source.examples, self.encoder, self.fingerprint)

    def bytes_on(self, device: torch.device) -> Tensor | None:
        """All pictures as they were read, uint8 (N, C, H, W), copied to a device once; None where they are no bytes in
        memory, or more than a device other than the CPU should hold."""
        examples = self.source.examples
        if not isinstance(examples, InMemory) or examples.tensor.dtype != torch.uint8 or examples.tensor.dim() != 4:
            return None
        if device.type == "cpu":
            return examples.tensor
        if examples.tensor.nbytes > DEVICE_BUDGET:
            return None
        key = f"bytes {device}"
        if key not in self._encoded:
            self._encoded[key] = examples.tensor.to(device)
        return self._encoded[key]

    def input_tensor(self, split: str, whole: bool = False) -> Tensor:
        """The encoded inputs of a whole split (float32); small splits only."""
        key = f"{split} whole" if whole and self.shape != _sizes(self.inputs) else split
        if key not in self._encoded:
            self._encoded[key] = self.encode(self.splits[split], whole)
        return self._encoded[key]

    def ids(self, split: str) -> list[str]:
        """What to call each example of a split."""
        return [self.source.ids[position] for position in self.splits[split].tolist()]

    def class_counts(self) -> list[dict[str, Any]]:
        """Name and number of examples of each class, over all splits."""
        if not self.classes:
            return []
        assert self.source.targets is not None
        used = np.concatenate([self.splits[name] for name in self.splits])
        names, counts = np.unique([class_name(value) for value in self.source.targets[used]], return_counts=True)
        found = dict(zip(names.tolist(), counts.tolist(), strict=True))
        return [{"name": name, "count": found.get(name, 0)} for name in self.classes]

    def to_json(self) -> dict[str, Any]:
        """What `netwright look --json` prints."""
        return {
            "name": self.name,
            "kind": self.kind,
            "task": self.task,
            "examples": self.examples,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "classes": self.class_counts(),
            "problems": [vars(problem) for problem in self.problems],
            "fingerprint": self.fingerprint,
            "reader": self.reader,
        }

    def differs(self, recorded: dict[str, Any]) -> str:
        """The recorded settings that this reading does not share, where they decide splits or statistics."""
        free = ("path", "batch_size", "workers", "augment", "test")
        names = [name for name in recorded if name not in free and self.settings.get(name) != recorded[name]]
        if self.kind == "image" and _asks(recorded.get("augment", "")) != _asks(self.settings.get("augment", "")):
            names.append("augment")  # it decides the size that the network reads
        if isinstance(recorded.get("test"), float) and self.settings["test"] != recorded["test"]:
            names.append("test")  # the path of a test set may be written in another way
        return ", ".join(f"data.{name}" for name in names)

    def record(self) -> dict[str, Any]:
        """data.json: all that prediction, evaluation and resume need to repeat this reading."""
        state = {"encoder": self.encoder.state(), "targets": self.targets.state()}
        return {**self.to_json(), "settings": self.settings, "test_fingerprint": self.test_fingerprint, **state}

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count:,}" for name, count in self.examples.items())
        lines = [
            say(
                "{name}: {kind}, {task}; {counts}",
                name=self.name,
                kind=say(self.kind),
                task=say(self.task),
                counts=counts,
            ),
            say(
                "  inputs {inputs}, outputs {outputs}", inputs=shape_text(self.inputs), outputs=shape_text(self.outputs)
            ),
        ]
        sides = [self.source.facts.get(side) for side in ("source", "target")]
        if self.task == "translate" and all(isinstance(side, str) for side in sides):
            lines.append(say("  from {source} to {target} (data.source and data.target choose)",
                             source=sides[0], target=sides[1]))  # fmt: skip
        classes = [f"{row['name']} {row['count']:,}" for row in self.class_counts()]
        if classes:
            more = ", ..." if len(classes) > 12 else ""
            lines.append(say("  classes: {classes}", classes=", ".join(classes[:12]) + more))
        for problem in self.problems:
            lines.append(f"  ! {problem}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def _asks(augment: str) -> tuple[int, frozenset[str]]:
    """What a row of augmentations asks of the data: the size that the network reads, and statistics."""
    found = read_augment(augment) if augment else None
    return (found.size, found.needs) if found is not None else (0, frozenset())


def _sizes(shape: dict[str, Any]) -> list[int]:
    return [size for size in shape.values() if type(size) is int]


def shape_text(shape: dict[str, Any]) -> str:
    """Inputs or outputs in a few characters: `image 1x28x28`, `class 10`, `vector 13`."""
    if shape["kind"] == "text":
        return say("text of {count} {tokens} tokens", count=shape["vocabulary"], tokens=say(str(shape["tokens"])))
    sizes = [shape["count"]] if shape["kind"] == "number" else _sizes(shape)
    return f"{say(str(shape['kind']))} {'x'.join(map(str, sizes))}"
