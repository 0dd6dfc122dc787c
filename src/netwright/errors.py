"""Errors that people read: what came, what was expected, the nearest right thing, where.

Each class carries the exit code of the command line (product contract: 1 failure of ours, 2 usage or
recipe, 3 data or run folder, 4 quality gate, 5 missing extra or device).
"""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from netwright.language import say


class NetwrightError(Exception):
    """A failure with a message of one to three lines and an exit code."""

    code = 1


class UsageError(NetwrightError, ValueError):
    """A wrong command line, recipe or argument."""

    code = 2


class DataError(NetwrightError, ValueError):
    """Data that cannot be read or cannot be used for what was asked."""

    code = 3


class RunError(NetwrightError):
    """A run folder that is missing, damaged, locked or of another kind."""

    code = 3


class GateError(NetwrightError):
    """A quality gate (`--require`, `--fail-on`) that was not met."""

    code = 4


class MissingError(NetwrightError):
    """An optional package or a device that is not there."""

    code = 5


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like `word`, or an empty string when none is near.

    A beginning, or a part of several letters, counts as near: `cros` means `cross_entropy`.
    """
    words = {str(name).lower(): str(name) for name in known}
    lowered = word.lower()
    found = get_close_matches(lowered, words, n=1, cutoff=0.75)
    if not found and len(lowered) >= 3:
        found = [name for name in words if name.startswith(lowered) or (len(name) >= 3 and lowered.startswith(name))]
        found = found or [name for name in words if lowered in name]
    found = found or get_close_matches(lowered, words, n=1, cutoff=0.5)
    return words[found[0]] if found else ""


def hint(word: str, known: Iterable[str]) -> str:
    """A sentence naming the nearest right thing, or all of the choices when none is near."""
    choices = [str(name) for name in known]
    best = nearest(word, choices)
    if best:
        return say("Did you mean {best!r}?", best=best)
    shown = ", ".join(choices[:12]) + (", ..." if len(choices) > 12 else "")
    return say("Known: {names}.", names=shown) if choices else ""


def beside(path: Path | str) -> str:
    """A sentence naming what stands beside a missing path under a similar name; empty where nothing does."""
    place = Path(path)
    try:
        if os.path.lexists(place):
            return ""
        with os.scandir(place.parent) as found:
            best = nearest(place.name, [entry.name for entry in islice(found, 10_000)])
    except (OSError, ValueError):
        return ""
    return say("Did you mean {best!r}?", best=str(place.parent / best)) if best else ""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the name of its kind where it has none."""
    return (str(error) or type(error).__name__).splitlines()[0]
