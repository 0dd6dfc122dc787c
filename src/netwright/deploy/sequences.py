"""Predictions for texts and recordings: classes, tags, translations, transcripts."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.data.dataset import Dataset
from netwright.data.embedded import EMBEDDED
from netwright.data.files.opening import open_tree, typed
from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.read import from_memory, recognise
from netwright.data.readers.joined_texts import joined, texts_of
from netwright.data.readers.recordings import unlabelled as unlabelled_recordings
from netwright.data.readers.series import ending_window
from netwright.data.readers.table import rows_table, unlabelled
from netwright.data.sequence_targets import NextTokens, SeriesTargets, TagTargets, TokenTargets
from netwright.data.source import Problem, Recordings, Source, Table, Texts
from netwright.data.tables.text import decode
from netwright.data.tables.typed import frame_table
from netwright.data.targets import possible_tasks
from netwright.data.texts.encoder import TextEncoder
from netwright.data.texts.forms import data_files, text_files
from netwright.data.texts.pieces import pieces
from netwright.data.texts.places import SHEETS, Peeks, ending, read_texts
from netwright.deploy.generate import continue_texts
from netwright.deploy.predict import Predictions, Predictor, json_row
from netwright.errors import DataError, UsageError
from netwright.language import say
from netwright.parts.sequences import Ragged
from netwright.report.judge import Judgement
from netwright.report.summary import judge_split
from netwright.training.answers import answers, embedded, said

MOST_BYTES = 2**30
MOST_TABLES = 16
_SHEETS = SHEETS | {".jsonl", ".ndjson", ".parquet"}
Report = Callable[[str], None]


class Judging(Predictor):
    """What predictors of sequences share: new data are judged as the run's own test examples are."""

    def judge_source(
        self, data: Any, targets: Any = None, say_line: Report | None = None
    ) -> tuple[Judgement, float, list[str], Any]:
        """Judgement, loss and example names on the test set of `data`, or on all of it where it states none; then the
        data set whose test split that is."""
        source = self._labelled(data, targets)
        for problem in source.problems if say_line else []:
            assert say_line is not None
            say_line(str(problem))
        if self.targets.task not in possible_tasks(source):
            text = say("{name} holds data for {possible}; this run's task is {task}", name=source.name,
                       possible=", ".join(possible_tasks(source)), task=self.targets.task)  # fmt: skip
            raise DataError(text)
        if self.targets.task == "generate":
            source = pieces(source, self.settings, all_held_out="test" not in source.given)
        elif source.targets is None:
            raise DataError(say("{name} holds no targets to evaluate against", name=source.name))
        positions = source.given.get("test", np.arange(len(source.examples)))
        splits = {"train": positions[:0], "validation": positions[:0], "test": positions}
        dataset = Dataset(source, self.reader, self.settings, splits, self.encoder, self.targets, [], "", "")
        found = answers(self.forward, dataset, "test")
        return judge_split(dataset, "test", found), found.loss, dataset.ids("test"), dataset

    def _labelled(self, data: Any, targets: Any) -> Source:
        if isinstance(data, Dataset):
            return replace(data.source, given={"test": data.splits["test"]})
        if isinstance(data, (str, os.PathLike)):
            return self._recognised(data)
        framed = hasattr(data, "columns")
        column = {"source": self.settings["source"]} if framed and self.settings.get("source") else {}
        target = str(self.settings.get("target", "")) if framed else ""
        return from_memory(data, targets, {"target": target, "group": "", "task": self.targets.task}, column)

    def _recognised(self, path: str | os.PathLike[str], tree: Tree | None = None) -> Source:
        place: Any = path if isinstance(path, str) and path in EMBEDDED else typed(path)
        known, special = self._own_settings()
        if isinstance(self.targets, SeriesTargets):  # new data are cut as the run's own were
            facts = self.targets.facts
            known |= {"window": facts["window"], "target": facts["target"]}
            special |= {name: facts[name] for name in ("horizon", "season", "time")}
        return self._load(place, known, special, tree=tree)


class WritingPredictor(Judging):
    """A network that writes of vectors, rows of a table or pictures: captions."""

    def _answers(self, encoded: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
        assert isinstance(self.targets, TokenTargets)
        found = [self.targets.decode(numbers) for numbers in said(self.forward, encoded)]
        return [{"input": name, "prediction": text} for name, text in zip(names, found, strict=True)]

    def _labelled(self, data: Any, targets: Any) -> Source:
        if isinstance(data, (str, os.PathLike)):
            return self._source(data if isinstance(data, str) else Path(data))
        return Predictor._labelled(self, data, targets)


class SeriesPredictor(Judging):
    """A forecaster: it continues a table over time behind its last row."""

    def _encode_path(self, given: str | os.PathLike[str], report: Report) -> tuple[Tensor, list[str]]:
        if isinstance(given, str) and given in EMBEDDED:
            return super()._encode_path(given, report)
        form = {name: self.settings.get(name, "auto") for name in ("header", "encoding")}
        source = unlabelled(open_tree(typed(given)), **form)
        return self._ending(source.examples, str(given), [*source.problems], report)

    def _encode(self, item: Any, report: Report) -> tuple[Tensor, list[str]]:
        if hasattr(item, "columns"):
            return self._ending(Table(frame_table(item).columns), "frame", [], report)
        return super()._encode(item, report)

    def _encode_rows(self, rows: list[Any], say_line: Report | None = None) -> tuple[Tensor, list[str]]:
        assert isinstance(self.targets, SeriesTargets)
        if rows and isinstance(rows[0], dict):
            table = rows_table(rows, [self.targets.facts["time"], *self.targets.facts["features"]])
            return self._ending(table, say("stdin"), [], say_line or (lambda line: None))
        return super()._encode_rows(rows, say_line)

    def _ending(self, table: Any, name: str, problems: list[Problem], report: Report) -> tuple[Tensor, list[str]]:
        assert isinstance(self.targets, SeriesTargets)
        source = ending_window(table, self.targets.facts, name)
        for problem in [*problems, *source.problems]:
            report(str(problem))
        return self.encoder.encode(source.examples.take(np.array([0]))), [f"{name} {source.ids[0]}"]


class SequencePredictor(Judging):
    """A trained network with its tokens or its sound features."""

    @property
    def kind(self) -> Any:
        return "text" if isinstance(self.encoder, TextEncoder) else "recording"

    def predict(self, inputs: Sequence[Any], say_line: Report | None = None) -> Predictions:
        """Predict texts, files of one text a line, recordings, or places that `read` knows.

        A word on the command line that is no file is the text itself. `say_line` hears what was changed or left out.
        """
        report, found = say_line or (lambda line: None), Predictions()
        parts: list[tuple[Ragged, str]] = []
        for item in inputs:
            examples, names = self._examples(item, report)
            if not len(examples):
                raise DataError(say("{name} holds nothing to predict", name=item))
            if self.targets.task == "verify":
                ragged = self.encoder.ragged(examples)
                parts += [(ragged.take([place]), name) for place, name in enumerate(names)]
            else:
                found.extend(self.answer(examples, names))
        return Predictions(self.verify(parts)) if self.targets.task == "verify" else found

    def verify(self, parts: Sequence[tuple[Ragged, str]]) -> list[dict[str, Any]]:
        """For every two recordings in turn how alike their voices are, -1 to 1. Errors: UsageError for an odd one."""
        if len(parts) % 2:
            text = say("{count} recordings came; verification compares them two by two", count=len(parts))
            raise UsageError(text)
        vectors = torch.cat([embedded(self.forward, part) for part, _ in parts])
        scores = (vectors[0::2] * vectors[1::2]).sum(1).tolist()
        names = [f"{first} {second}" for (_, first), (_, second) in zip(parts[0::2], parts[1::2], strict=True)]
        return [{"input": name, "prediction": v, "value": v} for name, v in zip(names, scores, strict=True)]

    def predict_lines(self, lines: Iterable[str], say_line: Report | None = None) -> Predictions:
        """Predict lines: a JSON string, a JSON list of tokens, an object with one text, or the text itself."""
        if self.kind != "text":
            raise UsageError(say("this run reads recordings; give it files"))
        numbered = [(line.rstrip("\r\n"), number) for number, line in enumerate(lines, 1) if line.strip()]
        texts = [_text(line, number, self._columns) for line, number in numbered]
        if not texts:
            raise DataError(say("stdin held no rows"))
        return Predictions(self.answer(Texts(texts), [_shown(text) for text in texts]))

    def answer(self, examples: Texts | Recordings, names: Sequence[str]) -> list[dict[str, Any]]:
        """One entry an example: `input`, `prediction`, and `probabilities`, `value` or `tokens` where there are any."""
        ragged: Ragged = self.encoder.ragged(examples)
        if isinstance(self.targets, NextTokens):
            assert isinstance(examples, Texts)
            written = continue_texts(self.forward, self.targets, [str(text) for text in examples.texts])
            return [{"input": name, "prediction": text} for name, text in zip(names, written, strict=True)]
        if isinstance(self.targets, (TagTargets, TokenTargets)):
            decoded = [self.targets.decode(numbers) for numbers in said(self.forward, ragged)]
            found = [{"input": name, "prediction": text} for name, text in zip(names, decoded, strict=True)]
            if isinstance(self.targets, TagTargets) and isinstance(examples, Texts):
                for row, text in zip(found, examples.texts, strict=True):
                    row["tokens"] = self.encoder.tokens(text)
            return found
        return self._answered(self.forward.predictions(self.outputs_of(ragged)), names)

    def outputs_of(self, ragged: Ragged) -> Tensor:
        """Network outputs, one row an example."""
        return self.forward.ragged_outputs(ragged, np.arange(len(ragged)))

    # what came ---------------------------------------------------------------------------------------------------

    def _examples(self, item: Any, report: Report) -> tuple[Texts | Recordings, list[str]]:
        if isinstance(item, str) and self.kind == "text" and not os.path.lexists(os.path.expanduser(item)):
            if item.endswith((".txt", ".csv", ".tsv", ".json", ".jsonl", ".conll", ".gz", ".zip")):
                raise DataError(say("there is no file {path}", path=item))
            return Texts([item]), [_shown(item)]
        if isinstance(item, (str, os.PathLike)):
            return self._from_place(typed(item), report)
        if isinstance(item, (list, tuple)) and self.kind == "text":
            texts = [self._given(text) for text in item]
            return Texts(texts), [_shown(text) for text in texts]
        if self.kind == "recording" and isinstance(item, (np.ndarray, Tensor)):
            waves = [np.asarray(item, dtype=np.float32).reshape(-1)]
            return Recordings(waves, self.encoder.rate), ["[0]"]
        raise UsageError(say("{kind} is nothing this run can read; give texts or files", kind=type(item).__name__))

    @property
    def _columns(self) -> list[str]:
        """The columns whose texts, joined, were an example of training; empty where examples were no rows."""
        return list(getattr(self.targets, "facts", {}).get("columns", []))

    def _given(self, text: Any) -> Any:
        """A text, its tokens, or the texts of its columns."""
        if isinstance(text, (list, tuple)) and 1 < len(self._columns) == len(text):
            return joined(map(str, text))
        return tuple(text) if isinstance(text, list) else text

    def _from_place(self, path: Path, report: Report) -> tuple[Texts | Recordings, list[str]]:
        tree = open_tree(path)
        if self.kind == "text" and (found := self._as_trained(tree)) is not None:
            texts, ids, problems = found
            for problem in problems:
                report(str(problem))
            return Texts(texts), ids
        if self._plain(tree):
            name = tree.entries[0].name
            text, problems = decode(tree.read(name, MOST_BYTES), name)
            for problem in problems:
                report(str(problem))
            lines = [line for line in text.split("\n") if line.strip()]
            return Texts(lines), [
                say("{name} line {number}", name=name, number=place + 1) for place in range(len(lines))
            ]
        # recordings need no labels in their names
        source = unlabelled_recordings(tree) if self.kind == "recording" else self._recognised(path, tree)
        for problem in source.problems:
            report(str(problem))
        assert isinstance(source.examples, (Texts, Recordings))
        return source.examples, list(source.ids)

    def _as_trained(self, tree: Tree) -> tuple[list[str], list[str], list[Problem]] | None:
        """Texts, names and problems of rows or files, where examples of training were those; None elsewhere."""
        names = list(data_files(tree))
        encoding = str(self.settings.get("encoding", "auto"))
        sheets = [name for name in names if ending(name) in _SHEETS]
        some = names if len(self._columns) > 1 and len(names) <= MOST_TABLES else []
        tabbed = sheets or [name for name in some if _is_tabbed(tree, name)]
        if self._columns and tabbed:
            return texts_of(tree, tabbed, self._columns, encoding)
        documents = [name for name in text_files(names) if ending(name) not in SHEETS]
        if getattr(self.targets, "facts", {}).get("example") != "file" or sheets or not documents:
            return None
        tally = Tally()
        found = read_texts(tree, documents, encoding, tally)
        for name in [name for name, text in found.items() if not text.strip()]:
            del found[name]
            tally.add(printable(name), say("a file without text"), say("left out"))
        return [text.strip() for text in found.values()], [printable(name) for name in found], tally.problems()

    def _plain(self, tree: Tree) -> bool:
        """Whether a place is one file of texts, a line each: no form that states targets."""
        if self.kind != "text" or len(tree.entries) != 1:
            return False
        try:
            return recognise(tree).name == "corpus"
        except DataError:
            return True


def _is_tabbed(tree: Tree, name: str) -> bool:
    """Whether lines of a file without the ending of a table are rows apart by tabs."""
    lines = Peeks(tree)[name].filled[:200]
    return bool(lines) and sum("\t" in line for line in lines) >= 0.9 * len(lines)


def _text(line: str, number: int, columns: Sequence[str] = ()) -> Any:
    """The text of a line of stdin: a JSON string, list of tokens or object with one text, else the line as it is.

    Where an example is made of the texts in `columns`, an object with these keys, a list of as many texts, and as many
    texts apart by tabs are it.
    """
    several = len(columns) > 1
    if several and len(cells := line.split("\t")) == len(columns):
        return joined(cell.strip() for cell in cells)
    if not line.lstrip().startswith(('"', "[", "{")):
        return line
    try:
        found = json_row(f"[{line}]", number)[0]
    except DataError:
        return line
    if isinstance(found, dict) and columns and all(isinstance(found.get(name), str) for name in columns):
        return joined(found[name] for name in columns)
    if several and isinstance(found, list) and len(found) == len(columns) and all(isinstance(t, str) for t in found):
        return joined(found)
    if isinstance(found, dict):
        texts = [value for value in found.values() if isinstance(value, str)]
        found = found.get("text", texts[0] if len(texts) == 1 else None)
        if not isinstance(found, str):
            raise DataError(say('stdin line {number}: which cell is the text? Name it "text"', number=number))
    if isinstance(found, list) and all(isinstance(token, str) for token in found):
        return tuple(found)
    return found if isinstance(found, str) else line


def _shown(text: Any) -> str:
    """A text as a name: whole, or its beginning."""
    text = " ".join(text) if isinstance(text, tuple) else str(text)
    return text if len(text) <= 200 else text[:197] + "..."
