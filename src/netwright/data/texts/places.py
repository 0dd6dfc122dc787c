"""Text files at a place: which they are by name, their bytes (gzip read in place), and a bounded look into them."""

import codecs
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from netwright.data.files.tree import Tally, Tree, printable
from netwright.data.source import Problem
from netwright.data.splits import SPLIT_WORDS
from netwright.data.tables.columns import MAX_BYTES, MAX_RATIO
from netwright.data.tables.text import BYTE_ORDER_MARKS, decode
from netwright.errors import DataError
from netwright.language import say

PROSE = frozenset({"", ".txt", ".text", ".md", ".tokens", ".raw"})
"""Endings of files that may be running text."""
SHEETS = frozenset({".csv", ".tsv", ".tab"})
TAGGED = frozenset({".conll", ".conllu", ".bio", ".iob", ".iob2", ".bmes", ".bmeso", ".bioes", ".annotated", ".ner"})
OTHER = frozenset({
    ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".svg", ".ico", ".wav", ".flac", ".mp3", ".ogg",
    ".m4a", ".mid", ".midi", ".mp4", ".avi", ".mov", ".npz", ".npy", ".parquet", ".jsonl", ".ndjson", ".json", ".yml",
    ".yaml", ".toml", ".ini", ".cfg", ".xml", ".html", ".htm", ".css", ".js", ".py", ".ipynb", ".c", ".h", ".cpp",
    ".sh", ".pdf", ".doc", ".docx", ".odt", ".xls", ".xlsx", ".ods", ".pkl", ".pickle", ".pth", ".onnx",
    ".safetensors", ".bin", ".h5", ".mat", ".db", ".sqlite", ".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz",
    ".zst", ".exe", ".so", ".dll", ".arff", ".srt", ".log", ".abc", ".names", ".feat", ".vocab",
})  # fmt: skip
"""Endings of files that are no plain text for a network, or have a reader of their own."""
NOTES = frozenset({"readme", "license", "licence", "copying", "changelog", "authors", "notice", "citation", "about"})
"""Files beside the data that speak about them."""
HEAD = 2**16
"""Bytes of a file that are looked at to find its form."""
MOST_READ = 2**29
"""Bytes that are read for that of all files together; the first may be larger."""
SPLITS = {
    **SPLIT_WORDS, "testb": "test", "eval": "test", "testa": "validation", "development": "validation",
}  # fmt: skip
"""The words of texts also, as CoNLL-2003 and others have them."""
_WORDS = re.compile(r"[-_. ]+")
_JOINED = re.compile(r".*\d(train|dev|valid|test)|(train|dev|valid|test)\d{1,4}")
_NUMBERED = re.compile(r"\d{1,6}[ \t]").match
_LINES = re.compile(r"\r\n|\r|\n")


def ending(name: str) -> str:
    """The lower-case ending of a file's name, `.gz` apart; empty for none (a number is none: `comp.graphics/38.1`)."""
    last = name.lower().removesuffix(".gz").rpartition("/")[2]
    dot = last.rfind(".")
    return last[dot:] if 0 < dot < len(last) - 1 and not last[dot + 1 :].isdigit() else ""


def stem(name: str) -> str:
    """The file's name without folder, `.gz` and ending."""
    last = name.rpartition("/")[2]
    last = last[:-3] if last.lower().endswith(".gz") else last
    found = ending(last)
    return last[: -len(found)] if found else last


def is_note(name: str) -> bool:
    """Whether a file speaks about the data and holds none: README, LICENSE ..."""
    return stem(name).lower() in NOTES


def split_of(name: str) -> str:
    """The split that a file's name states, or else a folder above it; empty for none or several.

    A split is a word of the name (`emerging.dev.conll`, `eng.testa`), or follows a number (`wnut17train`).
    """
    *folders, last = name.split("/")
    last = last[:-3] if last.lower().endswith(".gz") else last
    for text in (last, *reversed(folders)):
        words = [word for word in _WORDS.split(text.lower()) if word]
        said = {SPLITS[word] for word in words if word in SPLITS}
        joined = [_JOINED.fullmatch(word) for word in words]
        said = said or {SPLITS[found[1] or found[2]] for found in joined if found}
        if said:
            return said.pop() if len(said) == 1 else ""
    return ""


def without_split(text: str) -> str:
    """A name without the words in it that state a split."""
    parts = re.split(r"([-_. ]+)", text)
    kept = [place for place in range(0, len(parts), 2) if parts[place] and parts[place].lower() not in SPLITS]
    return "".join(("" if number == 0 else parts[place - 1]) + parts[place] for number, place in enumerate(kept))


def lines_of(text: str) -> list[str]:
    """The lines of a text, ended by LF, CRLF or CR; other separators of Unicode are characters like any."""
    return text.split("\n") if "\r" not in text else _LINES.split(text)


def each_line(text: str) -> Iterator[str]:
    """The lines of `lines_of` one after the other, for files of many short lines."""
    for line in io.StringIO(text, newline=None):
        yield line.removesuffix("\n")


def content(tree: Tree, name: str) -> bytes:
    """The bytes of a file, unpacked where it is gzip. Errors: DataError where it is damaged or too large."""
    raw = tree.read(name, MAX_BYTES)
    return unpacked(name, raw) if raw[:2] == b"\x1f\x8b" else raw


def unpacked(name: str, raw: bytes, most: int = 0) -> bytes:
    """All members of a gzip file, counted while they unpack; with `most`, only the first so many bytes of them.

    Errors: DataError for damaged data, an early end, and content beyond the limits on size and ratio.
    """
    where = printable(name)
    parts: list[bytes] = []
    total, limit = 0, most or min(MAX_BYTES, max(2**20, MAX_RATIO * len(raw)))
    try:
        while raw:
            member = zlib.decompressobj(wbits=31)
            parts.append(member.decompress(raw, limit - total + 1))
            total += len(parts[-1])
            if total > limit and most:
                return b"".join(parts)[:most]
            if total > limit:
                raise DataError(say("{name}: unpacks to more than {limit} bytes", name=where, limit=limit))
            if not member.eof:
                raise DataError(say("{name}: the gzip data ends early", name=where))
            raw = member.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise DataError(say("{name}: damaged gzip data ({reason})", name=where, reason=str(error))) from None
    return b"".join(parts)


def read_text(tree: Tree, name: str, encoding: str) -> tuple[str, list[Problem]]:
    """The text of a file and what was odd about it. Errors: DataError, as `decode` and `content` give it."""
    return decode(content(tree, name), printable(name), encoding)


def read_texts(tree: Tree, names: Iterable[str], encoding: str, tally: Tally) -> dict[str, str]:
    """The texts of many files, each a document: those that cannot be read are reported and left out.

    Errors: DataError where together they are larger than one file may be.
    """
    found: dict[str, str] = {}
    total = 0
    for name in names:
        where = printable(name)
        try:
            text, problems = read_text(tree, name, encoding)
        except DataError as error:
            tally.add(where, say("a text that cannot be read"), say("left out"), str(error).split("\n")[0])
            continue
        for problem in problems:
            tally.add(where, problem.what, problem.action)
        total += len(text)
        if total > MAX_BYTES:
            text = say(
                "{path} holds more than {limit} characters of text", path=printable(str(tree.path)), limit=MAX_BYTES
            )
            raise DataError(text)
        found[name] = "\n".join(lines_of(text))
    return found


@dataclass(frozen=True)
class Peek:
    """The beginning of a file as text, whole lines only where it was cut."""

    name: str
    text: str
    whole: bool
    """Whether `text` is all of the file."""
    binary: bool = False
    too_large: bool = False
    unsure: bool = False
    """Whether Latin-1 stands in for an encoding that cannot be told: its lines can be counted, its letters not."""

    @cached_property
    def lines(self) -> list[str]:
        return lines_of(self.text)

    @cached_property
    def filled(self) -> list[str]:
        """The lines that are not blank, stripped."""
        return [stripped for line in self.lines if (stripped := line.strip())]

    @property
    def reads(self) -> bool:
        """Whether there is text at all."""
        return not self.binary and bool(self.filled)

    @property
    def odd(self) -> bool:
        """Whether nothing can be told of the file: it is empty, no text, or too large to look at."""
        return self.too_large or not self.reads

    @cached_property
    def tabular(self) -> bool:
        """Whether lines are rows: the same number of tabs or bars in nearly all, or of several commas or semicolons."""
        lines = self.filled[:4000]
        for mark, least in (("\t", 1), ("|", 1), (",", 2), (";", 2)):
            count, lots = Counter(line.count(mark) for line in lines).most_common(1)[0] if lines else (0, 0)
            if count >= least and lots >= 0.9 * len(lines) and len(lines) >= 3:
                return True
        return False

    @cached_property
    def numbered(self) -> bool:
        """Whether nearly each line begins with a number."""
        found = sum(_NUMBERED(line) is not None for line in self.filled)
        return len(self.filled) >= 5 and found >= 0.9 * len(self.filled)

    @cached_property
    def prose(self) -> bool:
        """Whether it is running text: letters rather than numbers, and no rows; a file too large to look at may be."""
        if self.too_large:
            return True
        if not self.reads or self.tabular or self.numbered:
            return False
        if self.unsure:
            return True
        signs = sum(len(line) - line.count(" ") for line in self.filled)
        return sum(sum(map(str.isalpha, line)) for line in self.filled) >= 0.4 * signs


class Peeks:
    """Looks into the files of one tree, each taken once."""

    def __init__(self, tree: Tree) -> None:
        self._tree, self._known = tree, dict[str, Peek]()
        self._sizes = {entry.name: entry.size for entry in tree.entries}
        self._read = 0

    def __getitem__(self, name: str) -> Peek:
        if name not in self._known:
            self._known[name] = self._look(name)
        return self._known[name]

    def _look(self, name: str) -> Peek:
        size = self._sizes.get(name, 0)
        if size > MAX_BYTES or (self._read and self._read + size > MOST_READ):
            return Peek(name, "", False, too_large=True)
        self._read += size
        try:
            raw = self._tree.read(name, MAX_BYTES)
            if raw[:2] == b"\x1f\x8b":
                raw = unpacked(name, raw, HEAD + 1)
        except DataError:
            return Peek(name, "", True, binary=True)
        return peek(name, raw)


def peek(name: str, raw: bytes) -> Peek:
    """The beginning of the bytes `raw` as text; Latin-1 stands in where the encoding cannot be told from it."""
    head, whole = raw[:HEAD], len(raw) <= HEAD
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            text = codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")
            return Peek(name, text, whole, binary="\0" in text)
    if b"\0" in head:
        return _with_nul(name, head, whole)
    cut = max(head.rfind(b"\n"), head.rfind(b"\r")) + 1
    if not whole and cut:
        head = head[:cut]
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
        return Peek(name, text, whole, unsure="\x1b$" in text or "\x1b(" in text)  # ISO-2022 passes for UTF-8
    except UnicodeDecodeError:
        pass
    controls = sum(byte < 32 and byte not in (9, 10, 11, 12, 13, 27) for byte in head)
    if controls > len(head) // 100:
        return Peek(name, "", whole, binary=True)
    try:
        return Peek(name, decode(head, name)[0], whole)
    except DataError:
        return Peek(name, head.decode("latin-1"), whole, unsure=True)


def _with_nul(name: str, head: bytes, whole: bool) -> Peek:
    """Text with a NUL or UTF-16 without its mark still show their lines, so that the reader can say what is wrong."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) >= max(4, len(head) // 8) and min(even, odd) <= max(even, odd) // 8:
        return Peek(name, head.decode("utf-16-le" if odd > even else "utf-16-be", "replace"), whole)
    controls = sum(byte < 32 and byte not in (9, 10, 11, 12, 13) for byte in head)
    text = head.replace(b"\0", b"").decode("utf-8", "replace")
    if controls > max(3, len(head) // 500) or "\ufffd" in text[:-4]:
        return Peek(name, "", whole, binary=True)
    return Peek(name, text, whole)


def given_splits(parts: Sequence[tuple[str, str, int]], tally: Tally) -> dict[str, np.ndarray]:
    """Positions by split, from (file, split or an empty string, examples) in order; none without a training part.

    Files that state no split beside others that do belong to training, and that is reported.
    """
    stated = {split for _, split, _ in parts if split}
    whole = all(split for _, split, _ in parts)
    if not stated or (whole and (len(stated) == 1 or "train" not in stated)):
        return {}
    found: dict[str, list[np.ndarray]] = {}
    start = 0
    for name, split, count in parts:
        if not split and "train" in stated:
            tally.add(name, say("its name states no split, beside files that do"), say("read as training examples"))
        found.setdefault(split or "train", []).append(np.arange(start, start + count))
        start += count
    order = ("train", "validation", "test")
    return {split: np.concatenate(found[split]) for split in order if split in found}


def short_name(tree: Tree) -> str:
    """A short name of a place for run folders: its own without the endings of archives and texts."""
    name = tree.path.expanduser().resolve().name
    for last in (".gz", ".tgz", ".tar", ".zip", *sorted(PROSE - {""}), *sorted(SHEETS), *sorted(TAGGED)):
        if name.lower().endswith(last) and len(name) > len(last):
            name = name[: -len(last)]
    return printable(name) or "texts"
