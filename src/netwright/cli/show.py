"""Verbs on the catalogue: anatomy, list, show, convert-weights."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.console import answer, app, note
from netwright.errors import UsageError
from netwright.language import say
from netwright.storage import replace_bytes


@app.command()
def anatomy(
    networks: Annotated[
        list[str],
        typer.Argument(help="A network, or two; then overrides.", metavar="NETWORK [NETWORK] [OVERRIDES]..."),
    ],
    input: Annotated[str, typer.Option(help="Features; steps,features; or channels,height,width.")] = "",
    outputs: Annotated[int | None, typer.Option(help="Number of classes; else as in the network's paper.")] = None,
    step: Annotated[bool, typer.Option("--step", help="One training step as numbers.")] = False,
    graph: Annotated[bool, typer.Option("--graph", help="Every operation, each after those that it reads.")] = False,
    svg: Annotated[str, typer.Option(help="A file for a drawing of the network.", metavar="FILE.svg")] = "",
    vocabulary: Annotated[int, typer.Option(help="--input is a number of tokens, of so many kinds.")] = 0,
) -> None:
    """Shapes, parameters, multiply-adds, neurons, connections and receptive fields."""
    from netwright import api

    names, settings = named(networks)
    worded = vocabulary or (TOKENS if str(settings.get("layers", "")).lstrip().startswith("embedding") else 0)
    shapes = [ends(name, input, outputs, step, worded) for name in names]
    if len(names) > 1:
        if step or graph or svg:
            raise UsageError(say("--step, --graph and --svg show one network; {count} came", count=len(names)))
        from netwright.measures.anatomy.side_by_side import side_by_side

        first, second = (api.anatomy(name, **at, **settings) for name, at in zip(names, shapes, strict=True))
        return answer(side_by_side(first, second))
    other = api.worked_step if step else api.graph if graph else None
    if other:
        answer(other(names[0], **shapes[0], **settings))
    if svg or not other:
        found = api.anatomy(names[0], **shapes[0], **settings)
        if not other:
            answer(found)
        if svg:
            from netwright.measures.drawing import drawn

            written(svg, drawn(found))


@app.command("list")
def list_parts(
    family: Annotated[str | None, typer.Argument(help="losses, networks, optimizers ...; all where left out.")] = None,
    by: Annotated[str, typer.Option(help="Order networks by year, params, macs or error.")] = "",
    tree: Annotated[bool, typer.Option("--tree", help="The family tree of the networks.")] = False,
) -> None:
    """The catalogue: every part with its summary."""
    from netwright.cards import family_tree, listing

    answer(family_tree() if tree else listing(family, by))


@app.command()
def show(
    family: Annotated[str, typer.Argument(help="A family; `recipe` prints the recipe's JSON Schema.")],
    name: Annotated[str | None, typer.Argument(help="A part.")] = None,
    svg: Annotated[str, typer.Option(help="A file for the curve of an activation.", metavar="FILE.svg")] = "",
    beside: Annotated[str, typer.Option("--with", help="Another activation, drawn dashed.", metavar="NAME")] = "",
    demo: Annotated[bool, typer.Option("--demo", help="Run the program that shows a fault.")] = False,
) -> None:
    """A part's card: what it does, formula, settings, source, facts."""
    from netwright.cards import card_of, card_text

    card = card_of(family, name)
    if demo:
        return shown(card)
    drawing = plotted(card, svg, beside) if svg or beside else ""
    answer(card, card_text(card))
    if drawing:
        written(svg, drawing)


@app.command("convert-weights")
def convert_weights(
    source: Annotated[str, typer.Argument(help="A checkpoint that torch has written (.pth, .pt).", metavar="FILE.pth")],
    target: Annotated[str, typer.Argument(help="The file to make.", metavar="FILE.safetensors")],
) -> None:
    """Make a safetensors file of a torch checkpoint, without running any code that it holds."""
    from netwright.weights.convert import convert

    answer(convert(source, target))


def shown(card: Any) -> None:
    """Run the demo of a fault in a process of its own."""
    if "demo" not in card:
        raise UsageError(say("--demo runs the program of a fault: netwright show fault C6 --demo"))
    done = subprocess.run([sys.executable, "-c", card["demo"]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    answer({"fault": card["name"], "output": done.stdout.splitlines()}, done.stdout.rstrip())


def plotted(card: Any, svg: str, beside: str) -> str:
    """The plot of an activation and, where asked for, another one."""
    if card.get("family") != "activations":
        raise UsageError(say("--svg and --with draw activations: netwright show activation relu --svg relu.svg"))
    if not svg:
        raise UsageError(say("--with wants a file to draw to: --svg {name}.svg", name=card["name"]))
    from netwright.report.functions import activation_plot

    return activation_plot(card["name"], beside)


def written(file: str, picture: str) -> None:
    """Write a drawing to the file asked for, and say so."""
    try:
        replace_bytes(Path(file), picture.encode())
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(say("--svg {file}: it cannot be written: {why}", file=file, why=why)) from None
    note(file)


def named(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """One or two networks, and the settings that follow them."""
    from netwright.recipe import Recipe

    names = [word for word in words[:2] if "=" not in word]
    if not names or "=" in words[0]:
        raise UsageError(say("anatomy wants a network first: netwright anatomy convnet"))
    rest = [word if "." in word.partition("=")[0] else f"network.{word}" for word in words[len(names) :]]
    for word in words[len(names) :]:
        if "=" not in word:
            text = say("{word!r} is no override; one looks like width=0.5, after one network or two.", word=word)
            raise UsageError(text)
        table, dot, setting = word.partition("=")[0].rpartition(".")
        if (dot and table != "network") or setting == "name":
            raise UsageError(say("{word!r}: anatomy takes settings of the network only, such as width=0.5.", word=word))
    tables = [Recipe().set("network", name).override(rest).table("network") for name in names]
    settings = tables[0]
    settings.pop("name")
    return names, settings


TOKENS = 10_000
"""So many kinds of tokens a text has where nobody says how many."""


def ends(network: str, input: str, outputs: int | None, step: bool, vocabulary: int = 0) -> dict[str, Any]:
    """The inputs and outputs asked for; left out, those of the network's paper (or of a small worked example).

    One number is that of a text's tokens where a `vocabulary` is given, or the network reads texts and no vectors.
    """
    from netwright.catalogue import NETWORKS

    facts = NETWORKS[network].facts
    shape, count = tuple(facts.get("at", (1, 28, 28))), int(facts.get("classes_at", 1000 if "at" in facts else 10))
    if step:
        from netwright.measures.trace import sizes

        shape, count = sizes(network)
    elif facts.get("classes"):
        count = int(facts["classes"])
    sizes_given = shape_of(input) if input else shape
    reads, known = facts.get("inputs", ()), int(facts.get("tokens_at", 0))
    worded = vocabulary or ("text" in reads and (not input or "vector" not in reads) and (known or TOKENS))
    if len(sizes_given) == 1 and worded and not step:
        words = {"kind": "text", "tokens": "word", "steps": sizes_given[0], "vocabulary": vocabulary or known or TOKENS}
        return {"inputs": words, "outputs": count if outputs is None else outputs}
    return {"inputs": sizes_given, "outputs": count if outputs is None else outputs}


def shape_of(text: str) -> tuple[int, ...]:
    """`1,28,28` or `1x28x28` as numbers."""
    try:
        return tuple(int(size) for size in text.replace("x", ",").split(","))
    except ValueError:
        raise UsageError(say("--input {text!r}; it is 784, 28,28 or 1,28,28", text=text)) from None
