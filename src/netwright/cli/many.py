"""One voice of many ranks: where torchrun has started several processes, rank 0 alone speaks and answers."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

import typer

from netwright.cli.console import talk
from netwright.errors import UsageError
from netwright.language import say

TOGETHER = ("train", "resume")
"""The verbs that several ranks run together."""


@contextmanager
def one_voice(words: list[str], fail: Callable[[int, str], int]) -> Iterator[None]:
    """Run a verb as one of the ranks that the environment names; without a launcher nothing is done or imported.

    `fail` says an error. An error that another rank has said, or that rank 0 says too, ends this rank silently.
    """
    if os.environ.get("WORLD_SIZE", "1") in ("", "1") or not os.environ.get("RANK"):
        yield
        return
    from netwright.data.telling import hush
    from netwright.training.ranks import Joined
    from netwright.training.seats import Seat

    seat = Seat.read()
    verb = words[0] if words else "--help"
    if verb not in TOGETHER:
        if seat.number:
            raise typer.Exit(2)
        text = say("{count} processes were started for `{verb}`; torchrun is for: {verbs}",
                   count=seat.count, verb=verb, verbs=", ".join(TOGETHER))  # fmt: skip
        raise UsageError(text)
    if seat.number == 0:
        with Joined(fail, typer.Exit):
            yield
        return
    talk.quiet = True
    hush(True)
    with Joined(fail, typer.Exit), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield
    sys.stdout.flush()
