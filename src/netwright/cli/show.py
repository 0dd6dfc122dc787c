"""Verbs on the catalogue: anatomy, list, show, convert-weights."""

from typing import Annotated

import typer

from netwright.cli.console import Overrides, answer, app
from netwright.errors import UsageError
from netwright.language import say


@app.command()
def anatomy(
    network: Annotated[str, typer.Argument(help="A network of the catalogue.")],
    overrides: Overrides = None,
    input: Annotated[str, typer.Option(help="Features; steps,features; or channels,height,width.")] = "1,28,28",
    outputs: Annotated[int, typer.Option(help="Number of classes.")] = 10,
) -> None:
    """Shapes, parameters, multiply-adds, neurons, connections and receptive fields."""
    from netwright.api import anatomy as measure
    from netwright.recipe import Recipe

    words = [word if "." in word.partition("=")[0] else f"network.{word}" for word in overrides or []]
    settings = Recipe().set("network", network).override(words).table("network")
    answer(measure(settings.pop("name"), inputs=shape_of(input), outputs=outputs, **settings))


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
) -> None:
    """A part's card: what it does, formula, settings, source, facts."""
    from netwright.cards import card_of, card_text

    card = card_of(family, name)
    answer(card, card_text(card))


def shape_of(text: str) -> tuple[int, ...]:
    """`1,28,28` or `1x28x28` as numbers."""
    try:
        return tuple(int(size) for size in text.replace("x", ",").split(","))
    except ValueError:
        raise UsageError(say("--input {text!r}; it is 784, 28,28 or 1,28,28", text=text)) from None
