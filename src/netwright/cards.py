"""The catalogue as `list` and `show` print it: parts by name or by a figure, the family tree, cards."""

import json
import re
from dataclasses import dataclass
from typing import Any

from netwright.catalogue import FAMILIES, FAULTS, NETWORKS, Family, Part, family
from netwright.errors import UsageError, hint
from netwright.language import columns, padded, say, translated
from netwright.recipe import schema

FIGURES = ("year", "params", "macs", "error")
"""The facts that networks can be listed by."""
STAGES = (
    "beginnings", "deeper and wider", "new structure", "combination", "self-learned", "practical", "dense prediction",
)  # fmt: skip
"""The stages of the family tree, in order."""


LABELS = {
    "year": "year",
    "stage": "stage",
    "parents": "after",
    "at": "input of the paper",
    "classes_at": "classes there",
    "tokens_at": "vocabulary there",
    "layout": "names of weights as in",
    "recipe": "training in the paper",
    "params": "parameters",
    "macs": "multiply-adds",
    "params_aux": "parameters with auxiliary heads",
    "macs_aux": "multiply-adds with auxiliary heads",
    "error": "error in %",
    "error_on": "measured on",
    "mean_iou": "mean intersection over union in %",
    "mean_iou_on": "measured on",
    "inputs": "reads",
    "outputs": "gives",
    "peak_lr": "rate at the peak of the default cycle",
    "bfloat16": "may train in bfloat16",
    "loss": "loss",
    "optimizer": "optimizer",
    "classes": "classes",
    "target": "target",
    "link": "link",
    "units": "units",
    "init": "suited initializer",
    "values": "range",
    "low": "lowest value",
    "high": "highest value",
    "monotonic": "monotonic",
    "continuous": "continuous",
    "smooth": "smooth",
    "zero_centred": "centred on 0",
    "mean": "mean on standard normal input",
    "least_slope": "least slope",
    "largest_slope": "largest slope",
    "slope_at_0": "slope at 0",
    "saturates": "saturates",
    "acts_on": "acts on",
    "watches": "watches",
    "kind": "kind",
    "needs": "needs",
    "mixes": "mixes",
    "task": "task",
    "better": "better",
    "interval": "interval",
    "given": "given",
    "note": "note",
    "reads": "reads",
}
"""What a card calls its facts."""


@dataclass(frozen=True)
class Listing:
    """Parts in order, each with its family, name, summary and, where asked for, its figures."""

    parts: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {"parts": self.parts}

    def __str__(self) -> str:
        """An aligned table, a heading for each family."""
        lines: list[str] = []
        width = max((len(part["name"]) for part in self.parts), default=0)
        for index, part in enumerate(self.parts):
            if index == 0 or part["family"] != self.parts[index - 1]["family"]:
                lines.append(part["family"])
            figures = "".join(f"  {cell}" for cell in _cells(part)) if "year" in part else ""
            lines.append(f"  {part['name']:{width}}{figures}  {part['summary']}")
        return "\n".join(lines)


def listing(name: str | None, by: str = "") -> Listing:
    """Every part of a family, or of all; networks in the order of a figure, those without it last."""
    found: list[Family] = [family(name)] if name else list(FAMILIES.values())
    parts = [part for one in found for part in (in_order(one) if one is FAULTS else one.values())]
    rows = [{"family": part.family, "name": part.name, "summary": translated(part.summary)} for part in parts]
    if not by:
        return Listing(rows)
    if by not in FIGURES:
        raise UsageError(say("--by {by!r}: networks are listed by a figure.", by=by) + " " + hint(by, FIGURES))
    if found != [NETWORKS]:
        raise UsageError(say("--by {by} orders networks: netwright list networks --by {by}", by=by))
    figured = [{**row, **figures(part)} for row, part in zip(rows, parts, strict=True)]
    figured.sort(key=lambda row: (row[by] is None, _data(row["error_on"]) if by == "error" else "", row[by] or 0))
    return Listing(figured)


def in_order(faults: Family) -> list[Part]:
    """Faults by section and number: A1, A2, ... F4."""
    return sorted(faults.values(), key=lambda part: (part.name[0], int(part.name[1:])))


def figures(part: Part) -> dict[str, Any]:
    """A network's figures from its paper and this catalogue; None where it has none."""
    return {key: part.facts.get(key) for key in (*FIGURES, "error_on")}


def _data(error_on: str | None) -> str:
    """The data set an error was measured on, without the protocol."""
    return (error_on or "").split(" ")[0].rstrip(",")


def _cells(row: dict[str, Any]) -> list[str]:
    """Year, parameters, multiply-adds and error, aligned."""
    count = [f"{row[key]:,}" if row[key] is not None else "-" for key in ("params", "macs")]
    error = f"{row['error']:.2f} % {_data(row['error_on'])}" if row["error"] is not None else "-"
    return [f"{row['year'] or '-':>4}", f"{count[0]:>11}", f"{count[1]:>15}", f"{error:<17}"]


@dataclass(frozen=True)
class Tree:
    """The family tree of the networks: stages in order, members by year, each with its parents."""

    stages: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {"stages": self.stages}

    def __str__(self) -> str:
        lines: list[str] = []
        members = [member for stage in self.stages for member in stage["members"]]
        width = max((columns(member["name"]) for member in members), default=0)
        for stage in self.stages:
            lines.append(translated(stage["stage"]))
            for member in stage["members"]:
                after = f"  <- {', '.join(member['parents'])}" if member["parents"] else ""
                lines.append(f"  {member['year']}  {padded(member['name'], width)}{after}".rstrip())
        return "\n".join(lines)


def family_tree() -> Tree:
    """The networks with a place in the family tree (S-209)."""
    placed = [part for part in NETWORKS.values() if "stage" in part.facts]
    placed.sort(key=lambda part: part.facts["year"])
    stages = []
    for stage in STAGES:
        members = [
            {"name": part.name, "year": part.facts["year"], "parents": list(part.facts.get("parents", ()))}
            for part in placed
            if part.facts["stage"] == stage
        ]
        stages.append({"stage": stage, "members": members})
    return Tree(stages)


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
    lines = [f"{card['family']} {card['name']}  {card.get('title', '')}".rstrip(), f"  {card['summary']}"]
    lines += [line for paragraph in card.get("text", ()) for line in ("", *wrapped(paragraph))]
    lines += [""] if "text" in card else []
    if card["formula"]:
        lines.append(f"  {say('formula')}: {card['formula']}")
    for name, setting in card["settings"].items():
        limits = ", ".join(f"{key} {value}" for key, value in setting.items() if key != "default")
        lines.append(f"  {name} = {setting.get('default', '')}  ({limits})")
    if card["source"]:
        lines.append(f"  {say('source')}: {card['source']}")
    facts = card["facts"]
    traps = facts.get("traps", ())
    lines += [
        f"  {say(LABELS.get(name, name))}: {_shown(value)}"
        for name, value in facts.items()
        if name != "traps" and _plain(value)
    ]
    lines += [f"  {say('trap')}: {trap}" for trap in traps]
    if "demo" in card:
        lines += [
            "",
            "  " + say("a program that shows it (netwright show fault {name} --demo runs it):", name=card["name"]),
            "",
        ]
        lines += [f"    {line}" for line in card["demo"].splitlines()]
    return "\n".join(lines)


WIDTH = 100
"""Columns of a card's paragraphs."""


def wrapped(paragraph: str) -> list[str]:
    """A paragraph in lines of at most `WIDTH` columns; Chinese breaks anywhere."""
    lines, line = [], ""
    for word in re.findall(r"\s*[\u3000-\u9fff\uff00-\uffef]|\s*[^\s\u3000-\u9fff\uff00-\uffef]+", paragraph):
        if line and columns(line + word) > WIDTH:
            lines.append(line)
            line = word.lstrip()
        else:
            line += word
    return [f"  {line.strip()}" for line in [*lines, line] if line.strip()]


def _plain(value: Any) -> bool:
    """Whether a fact can be shown on a line."""
    whole = (str, int, float, bool)
    return isinstance(value, whole) or (isinstance(value, (tuple, list)) and all(isinstance(v, whole) for v in value))


def _shown(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ("x" if all(isinstance(item, int) for item in value) else ", ").join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value > 9999 else str(value)
