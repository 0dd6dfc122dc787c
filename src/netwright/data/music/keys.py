"""Keys and metres as ABC writes them: `K:Bb dorian`, `M:6/8`, `L:1/8`."""

import re
from fractions import Fraction

FIFTHS = "FCGDAEB"
"""The order in which sharps come; flats come in the opposite one."""
_TONICS = {letter: place - 1 for place, letter in enumerate(FIFTHS)}  # sharps of the major key on a letter
_MODES = {
    "": 0, "maj": 0, "ion": 0, "m": -3, "min": -3, "aeo": -3, "mix": -1, "dor": -2, "phr": -4, "lyd": 1, "loc": -5,
}  # fmt: skip
_KEY = re.compile(r"([A-G])([#b]?)\s*([A-Za-z]*)(.*)", re.DOTALL)
_ALTERED = re.compile(r"(\^\^|\^|__|_|=)([A-Ga-g])")
_BESIDE = re.compile(
    r"(?:exp|(?:clef=)?(?:treble|bass|alto|tenor|perc|none)\d?(?:[+-]8)?|[a-z]+=\S+)(?=\s|$)", re.IGNORECASE
)
ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
_METRE = re.compile(r"\(?(\d{1,2}(?:\s*\+\s*\d{1,2})*)\)?\s*/\s*(1|2|4|8|16|32|64)")
_UNIT = re.compile(r"1(?:\s*/\s*(1|2|4|8|16|32|64|128|256|512))?")


def signature(text: str) -> dict[str, int] | None:
    """Semitones by which a key alters each letter (`{"F": 1}` for G major); None where it is no key."""
    text = text.strip()
    if text in ("", "none", "Hp", "HP"):
        return {} if text != "Hp" else {"F": 1, "C": 1}
    found = _KEY.fullmatch(text)
    if not found:
        return _altered({}, text)
    letter, sign, mode, rest = found.groups()
    known = _mode(mode)
    if known is None:  # the word belongs to what stands beside: `K:C clef=bass`, `K:G treble`
        known, rest = 0, mode + rest
    if rest.lstrip().lower().startswith("exp"):
        return _altered({}, rest)
    sharps = _TONICS[letter] + 7 * {"#": 1, "b": -1, "": 0}[sign] + known
    if abs(sharps) > 7:
        return None
    altered = FIFTHS[:sharps] if sharps > 0 else FIFTHS[7 + sharps :] if sharps else ""
    return _altered(dict.fromkeys(altered, 1 if sharps > 0 else -1), rest)


def _mode(word: str) -> int | None:
    low = word.lower()
    if low in _MODES and (low != "m" or word == "m"):
        return _MODES[low]
    return _MODES.get(low[:3]) if low[:3] in _MODES and low.isalpha() and len(low) > 3 else None


def _altered(given: dict[str, int], text: str) -> dict[str, int] | None:
    """`given` with the accidentals that follow a key; None where something else stands there."""
    found = dict(given)
    rest = _BESIDE.sub("", text)
    for sign, letter in _ALTERED.findall(rest):
        found[letter.upper()] = ACCIDENTALS[sign]
    return None if _ALTERED.sub("", rest).strip() else {name: by for name, by in found.items() if by}


def metre(text: str) -> tuple[int, int] | None:
    """Beats of a bar and the note that is one beat; (0, 1) for free metre, None where it is no metre."""
    text = text.strip()
    named = {"C": (4, 4), "C|": (2, 2), "none": (0, 1), "": (0, 1)}
    if text in named:
        return named[text]
    found = _METRE.fullmatch(text)
    if not found:
        return None
    beats = sum(map(int, found[1].split("+")))
    return (beats, int(found[2])) if 0 < beats < 100 else None


def unit(text: str) -> Fraction | None:
    """The length of a note without a number, in whole notes; None where it is none."""
    found = _UNIT.fullmatch(text.strip())
    return Fraction(1, int(found[1] or 1)) if found else None


def usual_unit(beats: tuple[int, int]) -> Fraction:
    """The unit of a tune that states none: a sixteenth in bars shorter than 3/4, else an eighth."""
    return Fraction(1, 16) if beats[0] and Fraction(*beats) < Fraction(3, 4) else Fraction(1, 8)
