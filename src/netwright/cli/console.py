"""What every verb shares: the Typer application, and how a call speaks."""

import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="netwright",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From data to a trained, diagnosed and explained classic neural network.",
    epilog="Every verb also takes --json (one object on stdout), --quiet, --lang en|zh and --debug.",
)
GLOBAL = ("--json", "--quiet", "--debug", "--lang")
Overrides = Annotated[list[str] | None, typer.Argument(help="table.key=value, network=NAME, epochs=3, seed=1 ...")]


@dataclass
class Talk:
    """How this call speaks: set from --json, --quiet, --lang and --debug before the verb runs."""

    json: bool = False
    quiet: bool = False
    debug: bool = False
    answered: bool = False
    """Whether the one object of --json stands on stdout already: a gate that is not met then speaks on stderr alone."""


talk = Talk()


def answer(result: Any, text: str | None = None) -> None:
    """The verb's result on stdout: one JSON object, or text."""
    if talk.json:
        from netwright.rundir import to_json

        talk.answered = True
        print(to_json(result.to_json() if hasattr(result, "to_json") else result))
    else:
        print(result if text is None else text)


def note(line: str) -> None:
    """Talk, on stderr."""
    if not talk.quiet:
        print(line, file=sys.stderr)
