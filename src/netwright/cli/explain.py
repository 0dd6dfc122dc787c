"""The verb that looks inside: explain."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.console import answer, app, note
from netwright.errors import DataError
from netwright.language import say


@app.command()
def explain(
    run: Annotated[str, typer.Argument(help="A run folder.", metavar="RUN")],
    inputs: Annotated[
        list[str], typer.Argument(help="Texts, files of one text a line, recordings, arrays.", metavar="INPUT...")
    ],
    out: Annotated[Path | None, typer.Option(help="The folder to write to; RUN/explanations without it.")] = None,
    position: Annotated[
        int,
        typer.Option(help="The tag, token or number of the answer that saliency explains, from 1; 0: one."),
    ] = 0,
) -> None:
    """Gates over time, attention, saliency and gradients over time of a network that reads sequences."""
    from netwright.api import explain as explain_run

    items = [_lines() if item == "-" else item for item in inputs]
    answer(explain_run(run, *items, out=out, position=position, say_line=note))


def _lines() -> list[str]:
    """The texts of stdin, one a line."""
    found = [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
    if not found:
        raise DataError(say("stdin held no rows"))
    return found
