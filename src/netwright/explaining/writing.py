"""The files of an explanation, and what `explain` answers."""

import os
import re
from html import escape
from pathlib import Path
from typing import Any

from netwright.errors import RunError
from netwright.explaining.drawing import Canvas
from netwright.explaining.reading import Given
from netwright.language import say
from netwright.rundir import to_json
from netwright.storage import replace_bytes


class Explanations(dict[str, Any]):
    """What `explain` wrote: `explanations`, one entry an input, each with `files`; `run`: of the whole run."""

    def to_json(self) -> dict[str, Any]:
        return dict(self)

    def __str__(self) -> str:
        lines = []
        for one in self["explanations"]:
            lines.append(f"{one['input']}: {_short(one['prediction'])}")
            lines += [f"  {line}" for line in [*one["reading"], *one["notes"]]]
            lines.append(say("  {count} files in {folder}", count=len(one["files"]), folder=one["folder"]))
        whole = self["run"]
        lines += [*whole["reading"], *whole["notes"]]
        if whole["files"]:
            lines.append(say("  {count} files in {folder}", count=len(whole["files"]), folder=whole["folder"]))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _short(prediction: Any) -> str:
    text = " ".join(map(str, prediction)) if isinstance(prediction, list) else str(prediction)
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:197] + "..."


class Shelf:
    """A folder that files are written into; each is told with what it is."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, list[dict[str, str]]()
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise RunError(say("{path} cannot be made: {why}", path=folder, why=error.strerror or error)) from None

    def put(self, name: str, content: bytes, what: str) -> None:
        """Write one file. Errors: RunError where it cannot be."""
        path = self.folder / name
        try:
            replace_bytes(path, content)
        except OSError as error:
            raise RunError(say("{path} cannot be written: {why}", path=path, why=error.strerror or error)) from None
        self.files.append({"file": str(path), "what": what})

    def draw(self, name: str, canvas: Canvas, what: str) -> None:
        """Write a picture as SVG and as PNG."""
        self.put(f"{name}.svg", canvas.svg().encode("utf-8", "replace"), what)
        self.put(f"{name}.png", canvas.png(), what)

    def data(self, name: str, content: Any, what: str) -> None:
        """Write numbers as JSON."""
        self.put(name, (to_json(content) + "\n").encode("utf-8", "replace"), what)


def folder_of(given: Given) -> str:
    """The name of an input's folder: letters and digits of its name, and a few digits of what came."""
    slug = re.sub(r"[^\w]+", "-", given.name.encode("utf-8", "ignore").decode(), flags=re.UNICODE).strip("-_").lower()
    return f"{slug[:32].strip('-_') or 'input'}-{given.key}"
