"""Recipes that ship with the product: `netwright train @NAME DATA`. One file for each source they come from.

A recipe here is a function that returns tables; its keyword-only arguments, if it has any, are its settings.
"""

from netwright.catalogue import RECIPES
from netwright.errors import UsageError, hint
from netwright.language import say
from netwright.recipe import Recipe


def shipped(name: str) -> Recipe:
    """The recipe `@name`, checked against the catalogue."""
    if name not in RECIPES:
        text = say("recipe {name!r} is not shipped.", name="@" + name)
        raise UsageError(f"{text} {hint(name, RECIPES)}")
    return Recipe().updated(RECIPES[name](), "@" + name)
