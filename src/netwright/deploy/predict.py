"""Predictions of a run for new files, folders, rows and arrays, with the run's own preprocessing.

Everything is read from the sealed files of the run folder, each verified before use.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.data.dataset import Dataset
from netwright.data.embedded import EMBEDDED
from netwright.data.files.opening import open_tree, typed
from netwright.data.files.tree import Tree
from netwright.data.pictures.headers import looks_like_picture
from netwright.data.read import encoder_from, load
from netwright.data.readers.arrays import from_arrays
from netwright.data.readers.table import from_frame, rows_table, unlabelled
from netwright.data.source import InMemory, Source
from netwright.data.tables.encoder import TableEncoder
from netwright.data.tables.files import ending
from netwright.data.targets import ClassTargets, Targets, targets_from
from netwright.data.targets import number as as_number
from netwright.errors import DataError, UsageError, beside
from netwright.language import say
from netwright.parts.augmentations import ONE, Views
from netwright.recipe import DATA, MODULE, Recipe
from netwright.report.judge import Judgement, judge
from netwright.rundir import RunFolder
from netwright.training.checkpoints import from_bytes
from netwright.training.forward import Forward
from netwright.training.launch import launch
from netwright.training.plan import build, settings
from netwright.training.state import load_weights


class Predictions(list[dict[str, Any]]):
    """One entry an input: `input`, `prediction`, and `probabilities` (classes) or `value` (numbers)."""

    def to_json(self) -> dict[str, Any]:
        return {"predictions": list(self)}

    def __str__(self) -> str:
        lines = []
        for found in self:
            sure = f"  {max(found['probabilities'].values()):.1%}" if "probabilities" in found else ""
            lines.append(f"{found['input']}: {_shown(found['prediction'])}{sure}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass
class Predictor:
    """A trained network with its preprocessing."""

    forward: Forward
    encoder: Any
    targets: Targets
    settings: dict[str, Any]
    reader: str

    @classmethod
    def open(cls, folder: RunFolder, network: nn.Module | None = None) -> "Predictor":
        """Load the best weights and the preprocessing of a run; a changed byte anywhere is refused."""
        files = folder.verified()
        record = json.loads(files["data.json"])
        recipe = Recipe.parse(files["recipe.toml"].decode(), str(folder.path)).check()
        where = launch({**recipe.table("training"), "device": "auto"})
        where.impose()
        if recipe.table("network")["name"] == MODULE and network is None:
            raise UsageError(
                say("{run} trained a module from Python; hand it over: open(path, network=...)", run=folder.path)
            )
        model = network if network is not None else build(recipe, record["inputs"], record["outputs"])
        load_weights(model, from_bytes(files["best.safetensors"]))
        encoder = encoder_from(record["kind"], record["encoder"])
        targets = targets_from(record["targets"])
        forward = Forward(
            model.to(where.device),
            targets,
            recipe.table("loss")["name"],
            settings(recipe, "loss"),
            where.device,
            where.precision,
            where.layout,
        )
        found = sequence_predictor(record["kind"], targets.task) or cls
        return found(forward, encoder, targets, record["settings"], record["reader"])

    @property
    def kind(self) -> Any:
        return "table" if isinstance(self.encoder, TableEncoder) else self.encoder.inputs["kind"]

    @property
    def _views(self) -> Views:
        """The looks at a picture whose answers are averaged."""
        return getattr(self.encoder, "views", ONE)

    def _read(self, examples: Any) -> Tensor:
        """What `Forward.outputs` takes: inputs of the network, or whole pictures where ten crops come."""
        return self.encoder.encode_whole(examples) if self._views.whole else self.encoder.encode(examples)

    def predict(self, inputs: Sequence[Any], say_line: Callable[[str], None] | None = None) -> Predictions:
        """Predict paths (pictures, folders, tables, arrays), arrays, data frames, or lists of rows.

        `say_line` hears what was changed or left out on the way.
        """
        found = Predictions()
        report = say_line or (lambda line: None)
        for item in inputs:
            encoded, names = self._encode(item, report)
            found.extend(self._answers(encoded, names))
        return found

    def predict_lines(self, lines: Iterable[str], say_line: Callable[[str], None] | None = None) -> Predictions:
        """Predict JSON Lines: one row (object or list) a line. `say_line` hears which cells were taken as missing."""
        rows = [json_row(line, number) for number, line in enumerate(lines, 1) if line.strip()]
        if not rows:
            raise DataError(say("stdin held no rows"))
        encoded, names = self._encode_rows(rows, say_line)
        return Predictions(self._answers(encoded, names))

    def _answers(self, encoded: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
        return self._answered(self.forward.predictions(self.forward.outputs(encoded, self._views)), names)

    def _answered(self, outputs: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
        """The form of predictions that are one row of numbers an input."""
        if isinstance(self.targets, ClassTargets):
            classes = self.targets.classes
            return [
                {
                    "input": name,
                    "prediction": classes[int(row.argmax())] if np.isfinite(row).all() else None,
                    "probabilities": dict(zip(classes, row.tolist(), strict=True)),
                }
                for name, row in zip(names, outputs, strict=True)
            ]
        if outputs.ndim == 2:  # future numbers
            rows = [[float(value) if np.isfinite(value) else None for value in row] for row in outputs]
            return [{"input": name, "prediction": row, "value": row} for name, row in zip(names, rows, strict=True)]
        values = [float(value) if np.isfinite(value) else None for value in outputs]
        return [{"input": name, "prediction": v, "value": v} for name, v in zip(names, values, strict=True)]

    def _encode(self, item: Any, report: Callable[[str], None]) -> tuple[Tensor, list[str]]:
        if isinstance(item, (str, os.PathLike)):
            return self._encode_path(item, report)
        if hasattr(item, "columns"):
            import narwhals as nw

            frame = nw.from_native(item, eager_only=True)
            item = frame.rows(named=self.kind == "table")
        if self.kind != "table":
            tensor = self._batch(self._numbers(item))
            return self._read(tensor), [f"[{place}]" for place in range(len(tensor))]
        rows = item if isinstance(item, (list, tuple, dict)) else np.atleast_1d(np.asarray(item)).tolist()
        if isinstance(rows, dict) or (rows and not isinstance(rows[0], (list, tuple, dict))):  # one row, or one column
            rows = [[cell] for cell in rows] if len(self.encoder.columns) == 1 and isinstance(rows, list) else [rows]
        return self._encode_rows(list(rows))

    def _numbers(self, item: Any) -> Tensor:
        """The numbers of an array, a tensor or lists."""
        if isinstance(item, Tensor):
            return item.detach().cpu()
        try:
            found = np.asarray(item)
        except (ValueError, TypeError):  # lists of unequal lengths
            found = np.array(None)
        if found.dtype.kind not in "biuf":
            text = say("rows for this network are lists of numbers of shape {shape}", shape=self.encoder.shape)
            raise DataError(text)
        plain = found.dtype in (np.uint8, bool) or (found.dtype.kind in "if" and found.dtype.itemsize <= 8)
        return torch.from_numpy(np.array(found, found.dtype.newbyteorder("=") if plain else np.float64, order="C"))

    def _batch(self, tensor: Tensor) -> Tensor:
        """One example or a batch of them, in any shape that `read` takes, as a batch in the shape of training."""
        wanted, shape = self.encoder.shape, list(tensor.shape)
        if self.kind == "image" and wanted[0] == 1 and shape[-2:] == wanted[1:] and len(shape) in (2, 3):
            return tensor.reshape(-1, *wanted)
        if self.kind == "image" and shape[-3:] != wanted and shape[-3:] == [*wanted[1:], wanted[0]]:
            tensor = tensor.movedim(-1, -3)
        elif self.kind == "sequence" and wanted[1] == 1 and shape[-1:] == wanted[:1] and shape != wanted:
            tensor = tensor[..., None]
        elif self.kind == "vector" and wanted == [1] and len(shape) == 1:
            tensor = tensor[:, None]
        elif self.kind == "vector" and len(shape) > 2 and math.prod(shape[1:]) == wanted[0]:
            tensor = tensor.flatten(1)
        return tensor[None] if list(tensor.shape) == wanted else tensor

    def _encode_rows(self, rows: list[Any], say_line: Callable[[str], None] | None = None) -> tuple[Tensor, list[str]]:
        names = [say("row {number}", number=number) for number in range(1, len(rows) + 1)]
        if self.kind == "table":
            table = rows_table(rows, self.encoder.columns)
            report = say_line or (lambda line: None)
            for remark in self.encoder.remarks(table):
                report(str(remark))
            return self.encoder.encode(table), names
        return self._read(self._batch(self._numbers(rows))), names

    def _encode_path(self, given: str | os.PathLike[str], report: Callable[[str], None]) -> tuple[Tensor, list[str]]:
        path: Path | str = given if isinstance(given, str) and given in EMBEDDED else typed(given)
        if self.kind == "image" and isinstance(path, Path):
            pictures = _picture_files(path)
            if pictures:
                return self._encode_pictures(pictures, report)
        if self.kind == "table" and isinstance(path, Path):
            form = {name: self.settings.get(name, "auto") for name in ("header", "encoding")}
            source = unlabelled(open_tree(path), **form)
            remarks = [*source.problems, *self.encoder.remarks(source.examples)]
        else:
            source, remarks = self._source(path), []
        for remark in remarks:
            report(str(remark))
        return self._read(source.examples.take(np.arange(len(source.examples)))), list(source.ids)

    def _encode_pictures(self, paths: list[Path], report: Callable[[str], None]) -> tuple[Tensor, list[str]]:
        from netwright.data.pictures.decode import decode_files

        channels, height, width = self.encoder.shape
        tensor, ids, problems = decode_files(paths, (height, width), channels)
        for problem in problems:
            report(str(problem))
        if not ids:
            raise DataError(
                say("none of the {count} files is a readable picture: {first}", count=len(paths), first=paths[0])
            )
        return self._read(tensor), list(ids)

    def _source(self, path: Path | str) -> Source:
        """New examples of this run's kind; the target column may be missing."""
        known, special = self._own_settings()
        if "embedded" in (self.reader, "embedded" if path in EMBEDDED else "") and path != self.settings["path"]:
            special = {}  # they describe another set
        if self.kind == "image" and path not in EMBEDDED and self.encoder.shape[0] in (1, 3):
            special |= {"size": self.encoder.shape[1:], "channels": self.encoder.shape[0]}
        if self.kind != "table" and ending(str(path)):
            raise self._other_kind(path, "table", "table")
        source = self._load(path, known, special, also=("vector",) if self.kind == "table" else ())
        if source.kind == "vector" and self.kind == "table":
            rows = source.examples.take(np.arange(len(source.examples))).tolist()
            source = replace(source, kind="table", examples=rows_table(rows, self.encoder.columns))
        return source

    def _own_settings(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The settings of the run's data: those that all data have, and those of its reader."""
        known = {name: value for name, value in self.settings.items() if name in DATA}
        return known, {name: value for name, value in self.settings.items() if name not in DATA}

    def _load(
        self, path: Path | str, known: dict[str, Any], special: dict[str, Any], also: Sequence[str] = (),
        tree: Tree | None = None,
    ) -> Source:  # fmt: skip
        """The examples at a place, of this run's kind or of those in `also`; groups play no part. `tree`: the place,
        where it is open already."""
        source, reader, _ = load(path, {**known, "group": ""}, special, strict=False, tree=tree)
        if source.kind not in (self.kind, *also):
            raise self._other_kind(path, source.kind, reader)
        return source

    def _other_kind(self, path: Path | str, found: str, reader: str) -> DataError:
        text = say("{path} holds {found} data ({reader}); this run was trained on {wanted} data",
                   path=path, found=say(found), reader=reader, wanted=say(self.kind))  # fmt: skip
        return DataError(text)

    def _labelled(self, data: Any, targets: Any) -> Source:
        """Examples and targets of a path, a data set, a data frame, or arrays in the kind of this run."""
        if isinstance(data, (str, os.PathLike)):
            return self._source(data if isinstance(data, str) else Path(data))
        if isinstance(data, Dataset):
            return replace(data.source, given={"test": data.splits["test"]})
        if hasattr(data, "columns"):
            source: Any = from_frame(data, target=str(self.settings.get("target", "")))
            if self.kind == "table":
                return source
            columns = source.examples.columns.values()
            return replace(source, examples=InMemory(self._batch(self._numbers(list(zip(*columns, strict=True))))))
        if self.kind != "table":
            return from_arrays(data, targets, kind=self.kind)
        rows = rows_table(np.asarray(data).tolist(), self.encoder.columns)
        return replace(from_arrays(data, targets, kind="vector"), examples=rows)

    # evaluation on new data -------------------------------------------------------------------------------------

    def judge(self, truth: np.ndarray, outputs: Tensor) -> Judgement:
        """Metrics with intervals for network outputs whose truth is known."""
        classes = self.targets.classes if isinstance(self.targets, ClassTargets) else []
        return judge(self.targets.task, truth, self.forward.predictions(outputs), classes)

    def judge_source(
        self, data: Any, targets: Any = None, say_line: Callable[[str], None] | None = None
    ) -> tuple[Judgement, float, list[str], tuple[np.ndarray, np.ndarray]]:
        """Judgement, loss and example names on the test set of `data`, or on all of it where it states none; then
        what the network read, one flat row an example, with the truth.

        `say_line` hears what was odd about the data.
        """
        source = self._labelled(data, targets)
        for problem in source.problems if say_line else []:
            assert say_line is not None
            say_line(str(problem))
        if source.targets is None:
            raise DataError(say("{name} holds no targets to evaluate against", name=source.name))
        positions = source.given.get("test", np.arange(len(source.targets)))
        raw = source.targets[positions]
        inputs = self.encoder.encode(source.examples.take(positions))  # first: columns that lack say more than a target
        looks = self._read(source.examples.take(positions)) if self._views.whole else inputs
        encoded, outputs = torch.as_tensor(self.targets.encode(raw)), self.forward.outputs(looks, self._views)
        truth = (
            encoded.numpy() if isinstance(self.targets, ClassTargets) else np.array([as_number(value) for value in raw])
        )
        return (
            self.judge(truth, outputs),
            self.forward.mean_loss(outputs, encoded),
            [source.ids[p] for p in positions.tolist()],
            (inputs.flatten(1).numpy(), truth),
        )


def sequence_predictor(kind: str, task: str) -> type[Predictor] | None:
    """The predictor of texts, recordings and series, which builds on this one; None for other data."""
    from netwright.deploy.sequences import SequencePredictor, SeriesPredictor, WritingPredictor

    if kind in ("text", "recording"):
        return SequencePredictor
    if task == "translate":
        return WritingPredictor
    return SeriesPredictor if task == "forecast" else None


PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
UNREAD_PICTURES = (
    ".tif", ".tiff", ".heic", ".svg", ".eps", ".psd", ".pdf", ".ico", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2",
    ".raw", ".tga", ".fli", ".pcx", ".icns", ".dds",
)  # fmt: skip
"""Endings whose files are refused as pictures, with the reason, and not as data of an unknown kind."""


def _picture_files(path: Path) -> list[Path]:
    """The picture, or the folder of pictures, at a path; empty where it is other data."""
    if os.path.isdir(path):
        return [path] if any(file.suffix.lower() in PICTURES for file in path.rglob("*")) else []
    if not os.path.exists(path):
        raise DataError(f"{say('there is no file {path}', path=path)}. {beside(path)}".removesuffix(". "))
    if not path.suffix and os.path.isfile(path):
        with open(path, "rb") as file:
            return [path] if looks_like_picture(file.read(16)) else []
    return [path] if path.suffix.lower() in (*PICTURES, *UNREAD_PICTURES) else []


def json_row(line: str, number: int) -> Any:
    """One line of strict JSON: an object or a list."""

    def refuse(word: str) -> Any:
        raise ValueError(word)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError(say("a key stands twice"))
        return found

    def finite(digits: str) -> int | float:
        value = float(digits)
        if math.isinf(value):
            raise ValueError(say("the number {digits} is too large", digits=f"{digits[:20]}..."))
        return int(digits) if digits.lstrip("-").isdigit() else value

    try:
        line.encode()  # bytes that are no UTF-8, and escapes of half a character, are no text
        row = json.loads(line, parse_constant=refuse, parse_int=finite, parse_float=finite, object_pairs_hook=once)
        json.dumps(row, ensure_ascii=False).encode()
    except RecursionError:
        raise DataError(say("stdin line {number} is no JSON row: nested too deeply", number=number)) from None
    except UnicodeEncodeError:
        raise DataError(say("stdin line {number} is no JSON row: it is not UTF-8 text", number=number)) from None
    except ValueError as error:
        raise DataError(say("stdin line {number} is no JSON row: {why}", number=number, why=error)) from None
    if not isinstance(row, (dict, list)):
        raise DataError(
            say("stdin line {number} is {found}; a row is an object or a list", number=number, found=type(row).__name__)
        )
    return row
