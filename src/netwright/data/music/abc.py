"""A strict reader of ABC notation: one tune in, its notes and bars out, or what is wrong with line and column.

Read: header and inline fields, notes with accidentals, octaves and lengths, rests, chords, tuplets, broken rhythm,
ties, slurs, grace notes, decorations, chord symbols, bars, repeats, endings, voices, comments and lyrics lines.
Repeats and endings are read and not played out: notes stand as they are written. Grace notes take no time.
An accidental holds for its own octave up to the end of the bar, and for a note tied over it. Voice overlays (`&`) are
refused by name.
Source: ABC standard 2.1, abcnotation.com/wiki/abc:standard:v2.1.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from netwright.data.music.keys import ACCIDENTALS, metre, signature, unit, usual_unit
from netwright.data.music.notes import HIGHEST, LOWEST, Note
from netwright.data.music.tunes import AbcError, Bar, Tune, Voice
from netwright.errors import DataError
from netwright.language import say

MOST = 200_000
"""Characters of one tune."""
_FIELD = re.compile(r"([A-Za-z+]):(?![|:])(.*)", re.DOTALL)
_INLINE = re.compile(r"\[([A-Za-z]):([^\]\n]*)\]")
_PITCH = re.compile(r"(\^\^|\^|__|_|=)?([A-Ga-g])([,']*)")
_LENGTH = re.compile(r"(\d{0,4})(?:(/+)(\d{0,4}))?")
_BAR = re.compile(r":*\|\]?:+|:*\[?\|{1,2}[\]:]*|::+|\|\]|\[\|")
_ENDING = re.compile(r"\[?\d{1,2}(?:[,-]\d{1,2})*\.?")
_TUPLET = re.compile(r"\(([1-9])(?::([1-9]?)(?::(\d{0,2}))?)?")
_REST = re.compile(r"[zx]")
_LONG_REST = re.compile(r"[ZX](\d{0,3})")
_NAMED = re.compile(r'"[^"\n]*"|![A-Za-z0-9<>()+.~/ -]{1,32}!|\+[A-Za-z0-9<>().]{1,32}\+|[.~HLMOPSTuv]')
_SPACE = re.compile(r"[ \t\r\f\v`]+|y\d{0,3}|\\[ \t]*(?=%|$)")
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ONE = Fraction(1)
_DOTTED = {3: 2, 6: 2, 2: 3, 4: 3, 8: 3}
"""Into the time of how many notes a tuplet goes; 5, 7 and 9 go by the metre."""


def parse(text: str) -> Tune:
    """The tune that `text` holds. Errors: AbcError with line, column, and what was expected."""
    if not text.strip():
        raise AbcError(1, 1, say("no tune is here, but an empty text"))
    if len(text) > MOST:
        raise DataError(say("a tune of {count} characters; at most {most} are read", count=len(text), most=MOST))
    return _Reader(text).tune


class _Reader:
    """Goes through a tune line by line and sign by sign."""

    def __init__(self, text: str) -> None:
        self.tune = Tune()
        self.key: dict[str, int] = {}
        self.metre, self.unit = (0, 1), Fraction(0)
        self.line, self.column, self.here = 0, 0, ""
        self.in_body, self.slurs = False, 0
        self.voices: dict[str, Voice] = {"1": Voice()}
        self.voice = self.voices["1"]
        for number, line in enumerate(text.replace("\r\n", "\n").rstrip().split("\n"), 1):
            self.line, self.column = number, 0
            self._line(line)
        self._end()

    def wrong(self, what: str, column: int | None = None) -> AbcError:
        return AbcError(self.line, (self.column if column is None else column) + 1, what)

    def _line(self, line: str) -> None:
        for place, sign in enumerate(line):
            if sign < " " and sign not in "\t\r\f\v":
                raise self.wrong(say("a control character ({sign!r})", sign=sign), place)
        found = _FIELD.fullmatch(line)
        if line.startswith("%"):
            return
        if found:
            self._field(found[1], found[2].partition("%")[0].strip() if found[1] not in "TwW" else found[2].strip())
        elif not line.strip():
            raise self.wrong(say("an empty line stands between tunes, and not within one"))
        elif not self.in_body:
            raise self.wrong(say("music before the header's last field, K: (the key)"))
        else:
            self._music(line)

    def _field(self, letter: str, value: str) -> None:
        if letter != "X" and "X" not in self.tune.fields:
            raise self.wrong(say("a tune begins with its number, X:1; here is {letter}:", letter=letter))
        if letter == "X":
            if "X" in self.tune.fields:
                raise self.wrong(say("a second X: in one tune"))
            if not value.isascii() or not value.isdigit() or len(value) > 9:
                raise self.wrong(say("X: is followed by the tune's number; here is {value!r}", value=value[:20]))
        if not self.in_body:
            self.tune.fields.setdefault(letter, value)
        self._state(letter, value)

    def _state(self, letter: str, value: str) -> None:
        """A field that changes how what follows is read."""
        if letter == "K":
            key = signature(value)
            if key is None:
                raise self.wrong(say("K:{value} is no key; a key is as Bb, Am or D dor", value=value[:40]))
            self.key = key
            self._begin()
        elif letter == "M":
            beats = metre(value)
            if beats is None:
                raise self.wrong(say("M:{value} is no metre; a metre is as 6/8, C or none", value=value[:40]))
            self.metre = beats
            self._begin_metre()
        elif letter == "L":
            length = unit(value)
            if length is None:
                raise self.wrong(say("L:{value} is no length; a length is as 1/8", value=value[:40]))
            self.unit = length
        elif letter == "V" and self.in_body:
            name = value.split()[0] if value.split() else ""
            if not name or (name not in self.voices and len(self.voices) >= 64):
                raise self.wrong(say("V: is followed by the name of a voice, of at most 64"))
            first = len(self.voices) == 1 and not self.voice.time and not self.voice.notes
            if first and name not in self.voices:
                self.voices = {name: self.voice}
            self.voice = self.voices.setdefault(name, Voice())
        elif letter == "P" and self.in_body:
            self.voice.opened = True

    def _begin(self) -> None:
        """The first key ends the header."""
        if self.in_body:
            return
        self.in_body = True
        self.unit = self.unit or usual_unit(self.metre)
        self.tune.metre = self.metre

    def _begin_metre(self) -> None:
        if self.in_body and not any(voice.time for voice in self.voices.values()):
            self.tune.metre = self.metre  # some write the metre behind the key, before any note

    def _music(self, line: str) -> None:
        self.here = line
        while self.column < len(line):
            if line[self.column] == "%":
                return
            for pattern, take in _TAKEN:
                found = pattern.match(line, self.column)
                if found and found.end() > self.column:
                    take(self, found)
                    break
            else:
                raise self.wrong(say("{sign!r} means nothing here", sign=line[self.column]))

    def _pass(self, found: re.Match[str]) -> None:
        self.column = found.end()

    def _annotated(self, found: re.Match[str]) -> None:
        if found[0].startswith('"'):
            self.tune.chords.append((self.voice.time, found[0][1:-1]))
        self.column = found.end()

    def _inline(self, found: re.Match[str]) -> None:
        if found[1] not in "IKLMmNPQRrUV":
            raise self.wrong(say("[{letter}:] cannot stand within a line", letter=found[1]))
        self._state(found[1], found[2].strip())
        self.column = found.end()

    def _bar(self, found: re.Match[str]) -> None:
        voice, length = self.voice, self.voice.time - self.voice.bar_start
        self.column = found.end()
        ending = _ENDING.match(self.here, self.column)
        edge = found[0] not in ("|",) or ending is not None
        if ending:
            self.column = ending.end()
        if length:
            expected = Fraction(*self.metre) if self.metre[0] else Fraction(0)
            self.tune.bars.append(Bar(self.line, length, expected, edge or voice.opened))
            voice.opened = edge
        else:
            voice.opened = voice.opened or edge
        voice.bar_start, voice.altered = voice.time, {}

    def _ending(self, found: re.Match[str]) -> None:
        self.voice.opened = True
        self.column = found.end()

    def _slur(self, found: re.Match[str]) -> None:
        self.slurs += 1 if found[0] == "(" else -1
        if self.slurs < 0:
            raise self.wrong(say("a slur ends that never began"))
        self.column = found.end()

    def _tuple(self, found: re.Match[str]) -> None:
        count = int(found[1])
        if count < 2:
            raise self.wrong(say("a tuplet is of 2 to 9 notes"))
        usual = _DOTTED.get(count, 3 if self.metre[0] in (6, 9, 12) and self.metre[1] == 8 else 2)
        into, most = int(found[2] or usual), int(found[3] or count)
        if self.voice.tuplet:
            raise self.wrong(say("a tuplet within another one"))
        if not most:
            raise self.wrong(say("a tuplet of no notes"))
        self.voice.tuplet = [(Fraction(into, count), most)]
        self.column = found.end()

    def _broken(self, found: re.Match[str]) -> None:
        voice, depth = self.voice, len(found[0])
        if not voice.last_length or voice.factor != 1:
            raise self.wrong(say("{signs} stands between two notes", signs=found[0]))
        less = Fraction(1, 2**depth)
        first, second = (2 - less, less) if found[0][0] == ">" else (less, 2 - less)
        longer = voice.last_length * (first - 1)
        for place in voice.last:
            note = voice.notes[place]
            voice.notes[place] = Note(note.start, note.duration + longer, note.pitch)
        voice.time += longer
        voice.factor, voice.last_length = second, Fraction(0)
        self.column = found.end()

    def _tie(self, found: re.Match[str]) -> None:
        if not self.voice.last:
            raise self.wrong(say("a tie follows a note"))
        self.voice.tied.update({self.voice.notes[place].pitch: place for place in self.voice.last})
        self.column = found.end()

    def _rest(self, found: re.Match[str]) -> None:
        self.column = found.end()
        self._advance([], self._length() * self.unit, {})

    def _long_rest(self, found: re.Match[str]) -> None:
        if not self.metre[0] or self.voice.time != self.voice.bar_start or found[1] == "0":
            raise self.wrong(say("{sign} rests whole bars: it stands at the beginning of one", sign=found[0][0]))
        bars = int(found[1] or 1)
        if bars > 100:
            raise self.wrong(say("a rest of {count} bars; at most 100 are read", count=bars))
        self.column = found.end()
        self._advance([], bars * Fraction(*self.metre), {})
        self.voice.bar_start = self.voice.time

    def _note(self, found: re.Match[str]) -> None:
        pitch = self._pitch(found)
        self._advance([pitch], self._length() * self.unit, {})

    def _pitch(self, found: re.Match[str]) -> int:
        sign, letter, octave = found.groups()
        plain = 60 + _STEPS[letter.upper()] + 12 * (letter.islower() + octave.count("'") - octave.count(","))
        if sign:
            self.voice.altered[plain] = ACCIDENTALS[sign]
        usual = plain + self.key.get(letter.upper(), 0)
        tied = (pitch for pitch in self.voice.tied if self.voice.plain[pitch] == plain)
        pitch = plain + self.voice.altered[plain] if plain in self.voice.altered else next(tied, usual)
        if not LOWEST <= pitch <= HIGHEST:
            raise self.wrong(say("{note} lies outside the range of pitches", note=found[0][:12]))
        self.voice.plain[pitch] = plain
        self.column = found.end()
        return pitch

    def _length(self) -> Fraction:
        """The number behind a note: `3`, `/`, `//`, `/4`, `3/2`."""
        found = _LENGTH.match(self.here, self.column)
        assert found is not None
        above, strokes, below = found.groups()
        if not strokes and (not above or above == "1"):
            self.column = found.end()
            return _ONE
        if strokes and len(strokes) > 1 and (below or len(strokes) > 8):
            raise self.wrong(say("{length} is no length", length=found[0][:12]))
        under = int(below) if below else 2 ** len(strokes or "")
        over = int(above) if above else 1
        plain = under
        for prime in (2, 3):
            while plain and plain % prime == 0:
                plain //= prime
        if not over or plain != 1 or under > 768:
            raise self.wrong(say("{length} is no length of a note", length=found[0]))
        self.column = found.end()
        return Fraction(over, under)

    def _chord(self, found: re.Match[str]) -> None:
        begun, self.column = self.column, found.end()
        pitches: list[int] = []
        lengths: list[Fraction] = []
        ties = set[int]()
        while self.column < len(self.here) and self.here[self.column] != "]":
            note, beside = _PITCH.match(self.here, self.column), _NAMED.match(self.here, self.column)
            if note:
                pitches.append(self._pitch(note))
                lengths.append(self._length())
                if self.here.startswith("-", self.column):
                    ties.add(pitches[-1])
                    self.column += 1
            elif beside or self.here[self.column] == " ":
                self.column = beside.end() if beside else self.column + 1
            else:
                raise self.wrong(say("{sign!r} means nothing within a chord", sign=self.here[self.column]))
        if self.column == len(self.here):
            raise self.wrong(say("a chord without its end, ]"), begun)
        if not pitches or len(pitches) > 32:
            raise self.wrong(say("a chord of {count} notes; it has 1 to 32", count=len(pitches)), begun)
        self.column += 1
        self._advance(pitches, lengths[0] * self._length() * self.unit, dict.fromkeys(ties, 0))

    def _grace(self, found: re.Match[str]) -> None:
        end = self.here.find("}", self.column)
        if end < 0:
            raise self.wrong(say("grace notes without their end, }}"))
        begun, self.column = self.column, found.end()
        kept, count = dict(self.voice.altered), 0
        while self.column < end:
            note = _PITCH.match(self.here, self.column)
            if note:
                self._pitch(note)
                self._length()
                count += 1
            elif self.here[self.column] in " ()-~.":
                self.column += 1
            else:
                raise self.wrong(say("{sign!r} means nothing among grace notes", sign=self.here[self.column]))
        if not count:
            raise self.wrong(say("grace notes without a note"), begun)
        self.voice.altered, self.column = kept, end + 1

    def _advance(self, pitches: list[int], length: Fraction, ties: dict[int, int]) -> None:
        """Put notes (or a rest) at the voice's time and go on by their length."""
        voice = self.voice
        if voice.factor != 1:
            length *= voice.factor
            voice.factor = Fraction(1)
        if voice.tuplet:
            factor, left = voice.tuplet[0]
            length *= factor
            voice.tuplet = [(factor, left - 1)] if left > 1 else []
        if len(voice.notes) + len(pitches) > MOST:
            raise self.wrong(say("more notes than a tune has"))
        before, voice.tied, voice.last = voice.tied, {}, []
        for pitch in dict.fromkeys(pitches):
            place = before.pop(pitch, -1)
            if place >= 0 and voice.notes[place].start + voice.notes[place].duration == voice.time:
                longer = voice.notes[place]
                voice.notes[place] = Note(longer.start, longer.duration + length, pitch)
            else:
                self.tune.loose_ties += place >= 0
                place = len(voice.notes)
                voice.notes.append(Note(voice.time, length, pitch))
            voice.last.append(place)
            if pitch in ties:
                voice.tied[pitch] = place
        self.tune.loose_ties += len(before)
        voice.last_length, voice.time = length, voice.time + length

    def _end(self) -> None:
        self.column = len(self.here) if self.in_body else 0
        if not self.in_body:
            raise self.wrong(say("the header has no key, K:"))
        for name, voice in self.voices.items():
            if voice.tuplet or voice.factor != 1:
                raise self.wrong(say("the tune ends within a tuplet or a broken rhythm"))
            if voice.time > voice.bar_start:
                expected = Fraction(*self.metre) if self.metre[0] else Fraction(0)
                self.tune.bars.append(Bar(self.line, voice.time - voice.bar_start, expected, True))
            self.tune.loose_ties += len(voice.tied)
            self.tune.voices[name] = sorted(voice.notes)
        if self.slurs:
            raise self.wrong(say("the tune ends within a slur"))
        if not any(self.tune.voices.values()):
            raise self.wrong(say("the tune has no note"))


_TAKEN: tuple[tuple[re.Pattern[str], Callable[[_Reader, re.Match[str]], None]], ...] = (
    (_SPACE, _Reader._pass),
    (_PITCH, _Reader._note),
    (_INLINE, _Reader._inline),
    (_BAR, _Reader._bar),
    (re.compile(r"\[\d{1,2}(?:[,-]\d{1,2})*\.?"), _Reader._ending),
    (re.compile(r"\["), _Reader._chord),
    (_TUPLET, _Reader._tuple),
    (re.compile(r"[()]"), _Reader._slur),
    (_REST, _Reader._rest),
    (_LONG_REST, _Reader._long_rest),
    (re.compile(r"\{/?"), _Reader._grace),
    (re.compile(r"<{1,3}|>{1,3}"), _Reader._broken),
    (re.compile(r"-"), _Reader._tie),
    (_NAMED, _Reader._annotated),
)
