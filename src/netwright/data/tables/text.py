"""Text tables: which encoding, which delimiter, which cells (RFC 4180 and the ways real files leave it).

Nothing is guessed in silence: an encoding other than UTF-8, backslash escapes and quotes read as plain
characters come back as problems; what cannot be decided is refused with the setting that decides it.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from netwright.data.source import Problem
from netwright.errors import DataError, UsageError, hint
from netwright.language import say

ENCODINGS = (
    "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "gbk", "gb2312", "big5", "shift_jis",
    "cp932", "euc-jp", "iso-2022-jp", "euc-kr", "cp949", "koi8-r", "koi8-u", "cp1250", "cp1251", "cp1252", "cp1253",
    "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "latin-1", "iso-8859-1", "iso-8859-2", "iso-8859-5", "iso-8859-7",
    "iso-8859-9", "iso-8859-15", "tis-620", "cp437", "cp850", "mac-roman", "ascii",
)  # fmt: skip
"""What `data.encoding` may say: text encodings only, so that no codec with side effects is ever looked up."""

BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip
DELIMITERS = ",;\t|"
MAX_COLUMNS, MAX_CELLS = 20_000, 200_000_000
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass
class Rows:
    """The rows of a text table as written, with the line each begins on, and what was odd."""

    cells: list[list[str]]
    lines: list[int]
    delimiter: str
    problems: list[Problem] = field(default_factory=list)


def decode(raw: bytes, where: str, encoding: str = "auto") -> tuple[str, list[Problem]]:
    """The text of `raw`: by its mark, else UTF-8, else GB18030 or Windows-1252 when the text bears it out.

    Raises DataError for NUL characters (with the line) and for an encoding that cannot be decided.
    """
    chosen = _given(encoding) if encoding != "auto" else _decide(raw, where)
    try:
        text = raw.decode(chosen)
    except UnicodeDecodeError as error:
        line = _line_of(raw[: error.start].decode("latin-1"))
        raise DataError(
            say("{where} line {line}: this is no {encoding} text ({reason}).", where=where, line=line, encoding=chosen,
                reason=error.reason) + " " + say("data.encoding=NAME says which encoding it is.")
        ) from None  # fmt: skip
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        line = _line_of(text[: text.index("\0")])
        raise DataError(
            say("{where} line {line}: a NUL character; a table is text without it.", where=where, line=line)
        )
    if encoding != "auto" or chosen in ("utf-8", "utf-8-sig"):
        return text, []
    what = say("it is not UTF-8; it reads as {encoding}", encoding=chosen)
    return text, [Problem(where, what, say("read as {encoding}; data.encoding=NAME decides", encoding=chosen))]


def _given(encoding: str) -> str:
    name = encoding.lower().replace("_", "-")
    for known in ENCODINGS:
        if known.replace("_", "-") == name:
            return known
    raise UsageError(say("data.encoding = {name!r} is not known.", name=encoding) + " " + hint(encoding, ENCODINGS))


def _decide(raw: bytes, where: str) -> str:
    for mark, name in BYTE_ORDER_MARKS:
        if raw.startswith(mark):
            return name
    if b"\0" in raw[:4096]:
        return _with_nul(raw, where)
    shifted = b"\x1b$" in raw or b"\x1b(" in raw  # ISO-2022 is seven-bit, so it passes for UTF-8
    if _decodes(raw, "utf-8") and not shifted:
        return "utf-8"
    if _looks_chinese(raw):
        return "gb18030"
    if _looks_western(raw) and not shifted:
        return "cp1252" if _decodes(raw, "cp1252") else "latin-1"
    raise DataError(
        say("{where}: neither UTF-8 nor surely any other encoding.", where=where)
        + "\n" + say("data.encoding=NAME says which it is: gb18030, big5, shift_jis, euc-kr, cp1251, koi8-r, ...")
    )  # fmt: skip


def _with_nul(raw: bytes, where: str) -> str:
    head = raw[:4096]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) >= max(4, len(head) // 8) and min(even, odd) <= max(even, odd) // 8:
        name = "utf-16-le" if odd > even else "utf-16-be"
        text = say("{where}: this looks like UTF-16 without a byte order mark.", where=where)
        raise DataError(text + " " + say("If so: data.encoding={name}", name=name))
    return "utf-8" if _decodes(raw, "utf-8") else "latin-1"  # `decode` names the line of the NUL


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _looks_chinese(raw: bytes) -> bool:
    """Whether `raw` is GB18030 and reads as Chinese.

    Of the characters outside ASCII at least 90 % are ideographs or their punctuation, at least 80 % of the
    ideographs belong to the 3,755 common ones (GB 2312 level 1: lead bytes B0 to D7), and they are not all in
    the rows B0 to C8 alone, where Korean syllables of EUC-KR lie (Chinese has about 45 % above).
    """
    try:
        text = raw[: 1 << 22].decode("gb18030", errors="strict" if len(raw) <= 1 << 22 else "ignore")
    except UnicodeDecodeError:
        return False
    foreign = [char for char in text if ord(char) > 127]
    ideographs = [char for char in foreign if "\u4e00" <= char <= "\u9fff"]
    marks = sum(char in "，。、；：？！“”‘’（）《》【】·—…￥％　～" or "\uff01" <= char <= "\uff5e" for char in foreign)
    if not ideographs or len(ideographs) + marks < 0.9 * len(foreign):
        return False
    leads = [char.encode("gb18030")[0] for char in ideographs]
    level_one = sum(0xB0 <= lead <= 0xD7 for lead in leads)
    upper = sum(lead > 0xC8 for lead in leads)
    return level_one >= 0.8 * len(leads) and (upper >= 0.15 * len(leads) or len(leads) < 8)


def _looks_western(raw: bytes) -> bool:
    """Whether the bytes above 127 stand between ASCII letters as accents do: runs of three are other scripts."""
    high = len(re.findall(rb"[\x80-\xff]", raw))
    joined = sum(len(run) for run in re.findall(rb"[\x80-\xff]{3,}", raw))
    signs = len(re.findall(rb"[\x80-\x9f]", raw))  # typographic signs in Windows-1252, lead bytes in Shift JIS
    return joined <= 0.15 * high and signs <= 0.5 * high


def _line_of(before: str) -> int:
    """The line that follows the text `before`, counted from 1."""
    return sum(1 for _ in re.finditer(r"\r\n|\r|\n", before)) + 1


def parse(text: str, where: str, delimiter: str = "") -> Rows:
    """Split a text table into rows of cells; the delimiter is found when none is given.

    Raises DataError for a quote that never closes (with the line it opened on), text after a closing quote,
    and cells or rows beyond the budget.
    """
    skip, told = _announced(text)
    text = text[skip:]
    delimiter = delimiter or told or sniff(text)
    if delimiter == "\t" and '"' in text:
        plain = _tab_lines(text, where)
        if plain is not None:
            return plain
    rows = _strict(text, where, delimiter)
    if skip:
        rows.lines = [line + 1 for line in rows.lines]
    return rows


def _announced(text: str) -> tuple[int, str]:
    """A first line `sep=;` as spreadsheets write it: how many characters it takes, and the delimiter."""
    found = re.match(r'"?sep=([,;\t|])"?(?:\r\n|\r|\n)', text, re.IGNORECASE)
    return (found.end(), found[1]) if found else (0, "")


def _strict(text: str, where: str, delimiter: str) -> Rows:
    """Read by RFC 4180; where that fails or leaves uneven rows, try backslash escapes."""
    failure = None
    try:
        best = _read(text, where, delimiter)
    except DataError as error:
        failure, best = error, None
    if best is not None and _uneven(best.cells) == 0:
        return best
    if "\\" in text and re.search(r'\\["' + re.escape(delimiter) + "]", text):
        try:
            escaped = _read(text, where, delimiter, escape="\\")
        except DataError:
            escaped = None
        if escaped is not None and (best is None or _uneven(escaped.cells) < _uneven(best.cells)):
            what = say("a backslash stands before quotes or delimiters")
            escaped.problems.append(Problem(where, what, say("read as an escape")))
            return escaped
    if best is None and failure is not None:
        blanks = re.compile(rf'(?<=[^"\s{re.escape(delimiter)}]")[ \t]+(?=[{re.escape(delimiter)}\r\n]|\Z)')
        if not blanks.search(text):
            raise failure
        best = _read(blanks.sub("", text), where, delimiter)
    assert best is not None
    return best


def _uneven(cells: list[list[str]]) -> int:
    """How many rows do not have the most frequent number of cells."""
    lengths = Counter(map(len, cells))
    return len(cells) - max(lengths.values(), default=0)


def _read(text: str, where: str, delimiter: str, escape: str | None = None) -> Rows:
    """One strict pass of the csv module; blank lines are left out."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t",
        escapechar=escape, doublequote=escape is None,
    )  # fmt: skip
    rows, lines, total, begin = [], [], 0, 1
    try:
        for row in reader:
            if len(row) > 1 or (row and row[0].strip()):
                rows.append(row)
                lines.append(begin)
                total += len(row)
                if len(row) > MAX_COLUMNS or total > MAX_CELLS:
                    raise DataError(_too_large(where, begin))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise DataError(_refusal(str(error), text, where, delimiter, begin, reader.line_num)) from None
    return Rows(rows, lines, delimiter)


def _too_large(where: str, line: int) -> str:
    return say("{where} line {line}: larger than a table may be ({columns} columns, {cells} cells).",
               where=where, line=line, columns=MAX_COLUMNS, cells=MAX_CELLS)  # fmt: skip


def _refusal(reason: str, text: str, where: str, delimiter: str, begin: int, end: int) -> str:
    if "field limit" in reason:
        opened = _opening(text, delimiter, begin)
        limit = csv.field_size_limit()
        return say(
            "{where} line {line}: a cell longer than {limit} characters.", where=where, line=begin, limit=limit
        ) + (" " + say("A quote opened on line {line} may never close.", line=opened) if opened else "")
    if "unexpected end" in reason:
        line = _opening(text, delimiter, begin) or begin
        return say("{where} line {line}: a quote opens here and never closes.", where=where, line=line)
    if "expected after" in reason:
        line = max(begin, end)
        told = say("{where} line {line}: text follows a closing quote; a quote within quotes is doubled (\"\").",
                   where=where, line=line)  # fmt: skip
        return told + (" " + say("The row begins on line {line}.", line=begin) if line > begin else "")
    return say("{where} line {line}: this row cannot be read ({reason}).", where=where, line=begin, reason=reason)


def _opening(text: str, delimiter: str, begin: int) -> int:
    """The line on which the last quoted cell of the row at line `begin` opens; 0 when there is none."""
    ends = (found.end() for found in re.finditer(r"\r\n|\r|\n", text))
    place = next(islice(ends, begin - 2, None), 0) if begin > 1 else 0
    cell = re.compile(rf'[ ]*"([^"]*(?:""[^"]*)*)("?)|[^{re.escape(delimiter)}\r\n]*')
    while place < len(text):
        found = cell.match(text, place)
        if found is None or (found[1] is not None and not found[2]):
            return _line_of(text[: text.index('"', place)])
        place = found.end() + 1
    return 0


def _tab_lines(text: str, where: str) -> Rows | None:
    """Tab-separated lines that are even without any quoting: quotes are then plain characters.

    A cell wrapped in quotes as a whole is unwrapped, so that files written with quoting read alike.
    """
    rows, lines = [], []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if line.strip():
            rows.append(line.split("\t"))
            lines.append(number)
    if len(set(map(len, rows))) != 1 or len(rows[0]) < 2:
        return None
    wrapped = re.compile(r'\s*"((?:[^"]|"")*)"\s*').fullmatch
    bare = 0
    for row in rows:
        for place, cell in enumerate(row):
            if '"' in cell:
                found = wrapped(cell)
                if found:
                    row[place] = found[1].replace('""', '"')
                bare += found is None
    what = say("{count} cells hold a quote that wraps nothing", count=bare)
    problems = [Problem(where, what, say("quotes read as plain characters"))] if bare else []
    return Rows(rows, lines, "\t", problems)


def sniff(text: str) -> str:
    """The delimiter of a text table: the one that cuts its first 200 lines into equal rows of more than one cell.

    Order of evidence: share of rows with the most frequent length; cells that hold no other delimiter (1,5 is a
    number); cells that are numbers; number of columns; comma before semicolon before tab before bar.
    """
    head = text[: 1 << 18]
    if len(text) > len(head):
        head = head[: max(head.rfind("\n"), head.rfind("\r")) + 1] or head
    scores = {delimiter: _score(head, delimiter) for delimiter in DELIMITERS if delimiter in head}
    return max(scores, key=lambda delimiter: scores[delimiter], default=",")


def _score(head: str, delimiter: str) -> tuple[float, float, float, int]:
    rows = []
    try:
        for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t"):
            if row:
                rows.append(row)
            if len(rows) == 200:
                break
    except csv.Error:
        return (0.0, 0.0, 0.0, 0)
    lengths = Counter(map(len, rows))
    if not lengths:
        return (0.0, 0.0, 0.0, 0)
    width, count = max(lengths.items(), key=lambda item: (item[1], item[0]))
    if width == 1:
        return (0.0, 0.0, 0.0, 0)
    cells = [cell for row in rows if len(row) == width for cell in row]
    clean = sum(_numeric(cell) or not any(other in cell for other in DELIMITERS) for cell in cells) / len(cells)
    numeric = sum(map(_numeric, cells)) / len(cells)
    return (round(count / len(rows), 2), round(clean, 2), round(numeric, 2), width)


_NUMBER = re.compile(r"\s*[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII).fullmatch


def _numeric(cell: str) -> bool:
    return _NUMBER(cell) is not None


def is_header(first: Iterable[str]) -> bool:
    """Whether a first row is a header: distinct, non-empty, non-numeric cells."""
    names = [cell.strip() for cell in first]
    return len(set(names)) == len(names) and all(name and not _numeric(name) for name in names)
