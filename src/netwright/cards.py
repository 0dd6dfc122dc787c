"""The catalogue as `list` and `show` print it."""

import json
from typing import Any

from netwright.catalogue import FAMILIES, Family, family
from netwright.errors import UsageError, hint
from netwright.language import say
from netwright.recipe import schema


def parts_of(name: str | None) -> list[dict[str, str]]:
    """Family, name and summary of every part of a family, or of all."""
    found: list[Family] = [family(name)] if name else list(FAMILIES.values())
    return [
        {"family": part.family, "name": part.name, "summary": say(part.summary)}
        for parts in found
        for part in parts.values()
    ]


def list_text(parts: list[dict[str, str]]) -> str:
    """An aligned table, a heading for each family."""
    lines: list[str] = []
    width = max((len(part["name"]) for part in parts), default=0)
    for index, part in enumerate(parts):
        if index == 0 or part["family"] != parts[index - 1]["family"]:
            lines.append(part["family"])
        lines.append(f"  {part['name']:{width}}  {part['summary']}")
    return "\n".join(lines)


def card_of(family_name: str, name: str | None) -> dict[str, Any]:
    """A part's card, or the JSON Schema of recipes for `show recipe`."""
    if family_name == "recipe" and name is None:
        return schema()
    parts = family(family_name)
    if name is None:
        raise UsageError(say("show {family} wants a part's name.", family=family_name) + " " + hint("", parts))
    return parts[name].card()


def card_text(card: dict[str, Any]) -> str:
    """A card for reading; a schema as indented JSON."""
    if "family" not in card:
        return json.dumps(card, indent=1, ensure_ascii=False)
    lines = [f"{card['family']} {card['name']}", f"  {card['summary']}"]
    if card["formula"]:
        lines.append(f"  {say('formula')}: {card['formula']}")
    for name, setting in card["settings"].items():
        limits = ", ".join(f"{key} {value}" for key, value in setting.items() if key != "default")
        lines.append(f"  {name} = {setting.get('default', '')}  ({limits})")
    if card["source"]:
        lines.append(f"  {say('source')}: {card['source']}")
    lines += [
        f"  {name}: {value}" for name, value in card["facts"].items() if isinstance(value, (str, int, float, bool))
    ]
    return "\n".join(lines)
