"""The verb on the cache of decoded data: cache list, cache prune."""

from typing import Annotated, Any

import typer

from netwright.cli.console import answer, app
from netwright.errors import UsageError, hint
from netwright.language import padded, say

ACTIONS = ("list", "prune")
MOST = 10**9


@app.command()
def cache(
    action: Annotated[str, typer.Argument(help="list shows the entries, prune removes some.", metavar="list|prune")],
    everything: Annotated[bool, typer.Option("--all", help="Remove every entry that is not in use.")] = False,
    older_than: Annotated[
        float | None, typer.Option(help="Remove entries not used for so many days.", metavar="DAYS")
    ] = None,
    to: Annotated[
        float | None, typer.Option(help="Remove what was used longest ago until so much is left.", metavar="GIGABYTES")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte to find broken entries.")] = False,
) -> None:
    """Decoded data that is kept for the next reading: list it, or remove it."""
    from netwright.data.cache.store import Store, listed, prune
    from netwright.places import cache_folder

    if action not in ACTIONS:
        raise UsageError(f"{say('cache has no action {action!r}.', action=action)} {hint(action, ACTIONS)}")
    found = Store(cache_folder().absolute() / "data")
    given = {"--all": everything, "--older-than": older_than, "--to": to}
    if action == "list":
        named = [name for name, value in given.items() if value not in (False, None)]
        if named:
            raise UsageError(say("{option} belongs to cache prune", option=named[0]))
        rows = listed(found, verify)
        answer(rows, text_of(rows))
        return
    for name, value in (("--older-than", older_than), ("--to", to)):
        if value is not None and not 0 <= value <= MOST:
            raise UsageError(say("{option} {value}; it lies between 0 and {most}", option=name, value=value, most=MOST))
    removed = prune(found, everything=everything, older_than=older_than, to=to, verify=verify)
    answer(removed, pruned_text(removed))


def text_of(rows: dict[str, Any]) -> str:
    """The entries as lines: when used, size, kind, name."""
    from netwright.data.cache.store import size

    count, total = len(rows["entries"]), size(rows["bytes"])
    head = say("{folder}: {count} entries, {size}", folder=rows["folder"], count=count, size=total)
    return "\n".join([head, *(_line(row) for row in rows["entries"])])


def pruned_text(rows: dict[str, Any]) -> str:
    """What was removed, as lines."""
    from netwright.data.cache.store import size

    count, total = len(rows["removed"]), size(rows["bytes"])
    head = say("{folder}: {count} entries removed, {size}", folder=rows["folder"], count=count, size=total)
    return "\n".join([head, *(_line(row) for row in rows["removed"])])


def _line(row: dict[str, Any]) -> str:
    from netwright.data.cache.store import size

    kinds = {"pictures": say("pictures"), "table": say("table"), "encoded": say("encoded rows")}
    states = {"unfinished": say("unfinished"), "broken": say("broken")}
    what = states.get(row["state"]) or kinds.get(row["kind"], row["kind"])
    examples = say("{count} examples", count=f"{row['examples']:,}") if row["examples"] is not None else ""
    cells = [row["used"].replace("T", " "), padded(size(row["bytes"]), 10, right=True), padded(what, 13)]
    return "  ".join(["", *cells, f"{row['name'] or row['key']}  {examples}".rstrip()])
