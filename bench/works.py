"""The works that are measured: what is trained on what, in batches of how many, and the data of each as plain arrays.

Arrays are made once into a folder (`prepare`) that every side reads, so that no side is measured while it decodes.
This module needs numpy alone: it also runs where netwright is not installed.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

LENGTH = 128
"""Characters that the character LSTM reads at a time."""
ENDLESS = 10**6
"""More epochs than will ever be trained: the conductor says when it is enough."""
TARGET = 0.985
"""The accuracy at which W5's training stops."""
MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True)
class Work:
    """One work: its data, its network, and how long each side is measured in a round."""

    key: str
    title: str
    network: str
    data: str
    batch: int
    seconds: float = 0.0
    """About so long each side is measured in a round."""
    warmup: int = 0
    """Steps before the first round."""
    lead: int = 0
    """Untimed steps at the start of each round: caches fill again."""
    unit: str = "images"
    per_example: int = 1
    """How many units (images, characters) one example counts."""
    trains: bool = True

    @property
    def per_step(self) -> int:
        """Images or characters in one step."""
        return self.batch * self.per_example


WORKS = {
    work.key: work
    for work in (
        Work("w1", "the notes' CNN on MNIST, batch 64", "convnet", "mnist", 64, 1.5, 60, 5),
        Work("w2", "the notes' LSTM on MNIST rows, batch 64", "lstm", "mnist", 64, 1.5, 60, 5),
        Work("w3", "ResNet-18 on CIFAR-10, crop and flip, batch 128", "resnet18", "cifar10", 128, 4.5, 2),
        Work("w4", "character LSTM 2 x 256, length 128, batch 64", "char-lstm", "tinyshakespeare", 64, 2.0, 3, 1,
             unit="characters", per_example=LENGTH),
        Work("w5", "from process start to 98.5 % on MNIST", "convnet", "mnist", 64),
        Work("w5-2", "from process start to the end of two epochs of MNIST", "convnet", "mnist", 64),
        Work("w6-1", "ResNet-18 at 224 x 224, inference, batch 1", "resnet18", "random", 1, 2.0, 5, 1, trains=False),
        Work("w6-32", "ResNet-18 at 224 x 224, inference, batch 32", "resnet18", "random", 32, 3.0, 2, trains=False),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What a side's process is told: which work, where its data lies, how precise, and on what device."""

    work: str
    side: str
    folder: str
    """Prepared arrays."""
    source: str
    """The data set's own files, for a side that reads them itself; empty for made data."""
    precision: str
    """`float32`, or `default`: what the side does when nobody chooses."""
    device: str = "cpu"
    batch: int = 0
    """Another batch size than the work's own, for tests; 0: the work's own."""
    warmup: int = -1
    epochs: int = ENDLESS

    @property
    def what(self) -> Work:
        """The work, with this order's own sizes."""
        work = WORKS[self.work]
        changed: dict[str, Any] = {"batch": self.batch} if self.batch else {}
        changed |= {"warmup": self.warmup} if self.warmup >= 0 else {}
        return Work(**{**asdict(work), **changed})

    def array(self, name: str) -> np.ndarray:
        """One prepared array."""
        return np.load(Path(self.folder) / f"{name}.npy")

    def text(self) -> str:
        """This order in one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "Order":
        return cls(**json.loads(text))


def prepare(data: str, source: Path | None, folder: Path, count: int = 0) -> None:
    """Arrays of the data set `data` into `folder`; made ones of its shapes without `source`; at most `count`."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "done").exists():
        return
    if data != "random":
        for name, array in READERS[data](source, count).items():
            np.save(folder / f"{name}.npy", array)
    (folder / "done").touch()


def mnist(source: Path | None, count: int = 0) -> dict[str, np.ndarray]:
    """Grey levels (N, 28, 28) and class numbers, of the training and the test set."""
    names = ("images", "labels", "test_images", "test_labels")
    if source is None:
        return made_images((28, 28), count or 60_000)
    arrays = [idx(source / f"{name}.gz") for name in MNIST_FILES]
    return {name: array[: count or None] for name, array in zip(names, arrays, strict=True)}


def idx(path: Path) -> np.ndarray:
    """An array of bytes in the IDX format: two zeros, type 8, number of axes, each length in 4 bytes, the bytes."""
    content = gzip.decompress(path.read_bytes())
    axes = content[3]
    shape = np.frombuffer(content, ">i4", axes, 4)
    if content[:3] != b"\0\0\x08" or len(content) != 4 + 4 * axes + shape.prod():
        raise SystemExit(f"{path}: this is no IDX file of bytes")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def cifar10(source: Path | None, count: int = 0) -> dict[str, np.ndarray]:
    """Pictures (N, 32, 32, 3) and class numbers of the training set, out of a tar of class folders of JPEG."""
    if source is None:
        return made_images((32, 32, 3), count or 50_000)
    from PIL import Image

    pictures: list[np.ndarray] = []
    labels: list[str] = []
    with tarfile.open(next(iter(sorted(source.glob("*.tar*"))))) as archive:
        for member in archive:
            parts = Path(member.name).parts
            stream = archive.extractfile(member) if member.isfile() and "train" in parts else None
            if stream is None:
                continue
            if count and len(labels) >= count:
                break
            pictures.append(np.asarray(Image.open(io.BytesIO(stream.read())).convert("RGB")))
            labels.append(parts[-2])
    classes = sorted(set(labels))
    numbers = np.array([classes.index(label) for label in labels], np.uint8)
    return {"images": np.stack(pictures), "labels": numbers}


def made_images(shape: Sequence[int], count: int) -> dict[str, np.ndarray]:
    """Random pictures of ten classes: a step takes as long on them as on real ones."""
    random = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for prefix, number in (("", count), ("test_", max(10, count // 6))):
        found[f"{prefix}images"] = random.integers(0, 256, (number, *shape), dtype=np.uint8)
        found[f"{prefix}labels"] = (np.arange(number) % 10).astype(np.uint8)
    return found


def tinyshakespeare(source: Path | None, count: int = 0) -> dict[str, np.ndarray]:
    """Pieces of a text, each of 128 characters and the one behind them, as numbers from 0 on: (N, 129)."""
    if source is None:
        random, vocabulary = np.random.default_rng(0), 65
        tokens = random.integers(0, vocabulary, (count or 8713) * LENGTH + 1)
    else:
        characters, tokens = np.unique(
            np.frombuffer((source / "input.txt").read_bytes(), np.uint8), return_inverse=True
        )
        vocabulary = len(characters)
    number = min(count or len(tokens), (len(tokens) - 1) // LENGTH)
    rows = np.arange(number)[:, None] * LENGTH + np.arange(LENGTH + 1)
    return {"pieces": tokens[rows].astype(np.uint8), "vocabulary": np.array(vocabulary)}


READERS = {"mnist": mnist, "cifar10": cifar10, "tinyshakespeare": tinyshakespeare}


@dataclass
class Outcome:
    """A training from start to end (W5): how long it goes on, and how it went."""

    epochs: int
    until: float
    """The accuracy on held-out pictures at which it stops; 0: after `epochs`."""
    done: int = 0
    reached: float = 0.0

    @classmethod
    def of(cls, order: Order) -> "Outcome":
        """`w5` stops at 98.5 % or after ten epochs, `w5-2` after two epochs."""
        return cls(10, TARGET) if order.work == "w5" else cls(2, 0.0)

    def more(self) -> bool:
        """Whether another epoch follows."""
        return self.done < self.epochs and not (self.until and self.reached >= self.until)

    def epoch(self, accuracy: float) -> None:
        """Count an epoch and its accuracy on held-out pictures."""
        self.done, self.reached = self.done + 1, accuracy

    def end(self, accuracy: float) -> dict[str, Any]:
        """The record: epochs, held-out accuracy, test accuracy."""
        return {"epochs": self.done, "held_out": self.reached, "test": accuracy}
