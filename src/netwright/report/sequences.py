"""The report's sections that only sequences have: tags side by side, texts said and meant, forecasts drawn, samples."""

from collections.abc import Mapping
from typing import Any

from netwright.language import say
from netwright.report import drawing, markup
from netwright.report.drawing import Line
from netwright.report.markup import finite, listing, mapping, named, number, score, section, text

TEXT = 300
"""At most so many characters of a text are shown."""
AROUND = 14
"""Tokens with the right tag that are shown on either side of wrong ones."""
WRONG = 40
"""Wrong tokens of an example that are shown."""
TOKEN = 40
SHOWN = 12
"""So many mistakes are shown."""


def mistakes(report: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """What went most wrong, in a form that suits the task; nothing for tasks that have no such form."""
    rows = [mapping(mistake) for mistake in listing(report.get("mistakes"))][:SHOWN]
    behind, task = mapping(found.get("sources")), report.get("task")
    if not rows:
        return ""
    if task == "tag":
        items = "".join(_tagged(row, behind) for row in rows)
        told = text(say("Under each token with a wrong tag: the true tag, then the one that was said."))
        return section("mistakes", text(say("Largest errors")), f"<p>{told}</p>", f'<ol class="tagged">{items}</ol>')
    if task in ("translate", "transcribe"):
        return section("mistakes", text(say("Largest errors")), _texts(rows, behind))
    if task in ("classify", "regress") and behind:
        told = say("Most confident mistakes") if task == "classify" else say("Largest errors")
        return section("mistakes", text(told), _judged(rows, behind, told))
    if task == "forecast":
        head = map(text, [say("window"), say("mean absolute error")])
        body = [[named(_name(row), 40), number(row.get("error"))] for row in rows]
        grid = markup.table(text(say("Largest errors")), head, body, (1,), quiet=True)
        return section("mistakes", text(say("Largest errors")), grid)
    if task == "generate":
        return section("mistakes", text(say("Hardest to foretell")), _pieces(rows, behind))
    return ""


def _tagged(row: dict[str, Any], behind: Mapping[Any, Any]) -> str:
    truth, said = listing(row.get("truth")), listing(row.get("prediction"))
    tokens = listing(behind.get(row.get("position")))
    tokens = tokens if len(tokens) >= len(truth) else ["\u25a1"] * len(truth)
    gap = " " if any(len(str(token)) > 1 for token in tokens) else ""
    wrong = [place for place, pair in enumerate(zip(truth, said, strict=False)) if pair[0] != pair[1]]
    shown = {near for place in wrong[:WRONG] for near in range(place - AROUND, place + AROUND + 1)}
    end = wrong[WRONG] if len(wrong) > WRONG else len(truth)
    parts, skipped = [], False
    for place in range(min(len(truth), len(said))):
        if place not in shown or place >= end:
            skipped = True
            continue
        if skipped:
            parts.append("\u2026")
        skipped = False
        token = named(tokens[place], TOKEN)
        if truth[place] != said[place]:
            tags = f'<i class="is">{named(truth[place], TOKEN)}</i><i class="said">{named(said[place], TOKEN)}</i>'
            token = f"<span><b>{token}</b>{tags}</span>"
        parts.append(token)
    parts += ["\u2026"] if skipped else []
    count = say("{wrong} of {count} tags are wrong", wrong=len(wrong), count=min(len(truth), len(said)))
    head = f'<p class="small">{named(_name(row), 80)} \u00b7 {text(count)}</p>'
    return f"<li>{head}<div>{gap.join(parts)}</div></li>"


def _judged(rows: list[dict[str, Any]], behind: Mapping[Any, Any], title: str) -> str:
    """Texts that got a wrong class or number."""
    sure = any(finite(row.get("probability")) is not None for row in rows)
    head = [say("example"), say("text"), say("truth"), say("prediction"), say("probability") if sure else say("error")]
    body = [
        [named(_name(row), 40), _long(behind.get(row.get("position"), "")),
         *(named(markup.words(row.get(key)), TOKEN) for key in ("truth", "prediction")),
         markup.percent(row.get("probability")) if sure else number(row.get("error"))]
        for row in rows
    ]  # fmt: skip
    return markup.table(text(title), map(text, head), body, (4,), quiet=True)


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("input") or say("example {position}", position=row.get("position", markup.NONE)))


def _texts(rows: list[dict[str, Any]], behind: Mapping[Any, Any]) -> str:
    read = any(behind.values())
    head = [say("example"), *([say("source")] if read else []), say("truth"), say("prediction"), say("differences")]
    body = []
    for row in rows:
        cells = [named(_name(row), 40)]
        cells += [_long(behind.get(row.get("position"), ""))] if read else []
        body.append([*cells, _long(row.get("truth")), _long(row.get("prediction")), number(row.get("error"))])
    return markup.table(text(say("Largest errors")), map(text, head), body, (len(head) - 1,), quiet=True)


def _pieces(rows: list[dict[str, Any]], behind: Mapping[Any, Any]) -> str:
    head = [say("piece of text"), say("how it begins"), say("bits per token")]
    body = [
        [named(_name(row), 60), _begun(behind.get(row.get("position"), "")), number(row.get("error"))] for row in rows
    ]
    return markup.table(text(say("Hardest to foretell")), map(text, head), body, (2,), quiet=True)


def _begun(value: object) -> str:
    """The beginning of a piece of text on one line."""
    return _long(" \u21b5 ".join(str(value)[:TEXT].split("\n")), TEXT // 2)


def _long(value: object, most: int = TEXT) -> str:
    """A text in a cell; its line feeds stay, its end where it is too long does not."""
    plain = "" if value is None else str(value)
    plain = plain if len(plain) <= most else plain[: most - 1] + "\u2026"
    empty = say("(nothing)") if value == "" else markup.NONE
    return f'<bdi class="said">{text(plain)}</bdi>' if plain else f'<span class="small">{text(empty)}</span>'


def forecasts(found: Mapping[str, Any]) -> str:
    """The forecast that is furthest off and a typical one: the past, the truth, the network and the last season."""
    figures = [_forecast(mapping(window)) for window in listing(found.get("forecasts"))]
    inner = "".join(figures)
    return section("forecasts", text(say("Forecasts")), f'<div class="pair">{inner}</div>' if inner else "")


def _forecast(window: dict[str, Any]) -> str:
    past = listing(window.get("past"))
    here = [(0.0, past[-1])] if past else []
    lines = [
        Line(say("past"), "past", [(place - len(past) + 1.0, value) for place, value in enumerate(past)]),
        Line(say("seasonal naive"), "naive", [*here, *_ahead(window.get("naive"))]),
        Line(say("truth"), "truth", [*here, *_ahead(window.get("truth"))]),
        Line(say("this network"), "said", [*here, *_ahead(window.get("prediction"))]),
    ]
    kinds = {"worst": say("The forecast that is furthest off"), "typical": say("A typical forecast")}
    title = kinds.get(str(window.get("kind")), say("Forecast"))
    picture = drawing.curves(title, lines, say("steps from the last known value"), say("value"))
    if not picture:
        return ""
    keys = "".join(f'<li><i class="{line.kind}"></i>{text(line.name)}</li>' for line in lines if line.points)
    told = say("{name}: off by {error} on average", name=str(window.get("name", "")), error=number(window.get("error")))
    return (
        f'<figure><figcaption>{text(title)}</figcaption><p class="small">{text(told)}</p>'
        f'<ul class="legend">{keys}</ul>{picture}</figure>'
    )


def _ahead(values: Any) -> list[tuple[float, float]]:
    numbers = [finite(value) for value in listing(values)]
    return [(place + 1.0, value) for place, value in enumerate(numbers) if value is not None]


def entities(report: Mapping[str, Any]) -> str:
    """Every type of entity with precision, recall and F1."""
    table = {name: mapping(row) for name, row in mapping(report.get("entities")).items()}
    if not table:
        return ""
    head = [say("type"), say("precision"), say("recall"), say("F1"), say("true"), say("said")]
    rows = [
        [named(name, 40), *(score("entity_f1", row.get(key)) for key in ("precision", "recall", "f1")),
         number(row.get("truth")), number(row.get("predicted"))]
        for name, row in sorted(table.items(), key=lambda entry: (-(finite(entry[1].get("truth")) or 0), entry[0]))
    ]  # fmt: skip
    caption = text(say("Entities of each type in the test, the most frequent first."))
    return section("entities", text(say("Entities")), markup.table(caption, map(text, head), rows, range(1, 6)))


def confusions(report: Mapping[str, Any]) -> str:
    """Words of transcripts that were taken for others, left out or added."""
    found = [mapping(row) for row in listing(report.get("confusions"))]
    if not found:
        return ""
    head = [say("true word"), say("taken for"), say("times")]
    rows = [
        [_word(row.get("truth"), say("(none: added)")), _word(row.get("said"), say("(left out)")),
         number(row.get("count"))]
        for row in found
    ]  # fmt: skip
    caption = text(say("The most frequent confusions"))
    title = text(say("Confusions of words"))
    return section("words", title, markup.table(caption, map(text, head), rows, (2,), quiet=True))


def _word(word: object, missing: str) -> str:
    return f'<span class="small">{text(missing)}</span>' if word is None else named(word, TOKEN)


def samples(report: Mapping[str, Any]) -> str:
    """What the network writes by itself, at rising temperatures."""
    items = []
    for row in map(mapping, listing(report.get("samples"))):
        plain = str(row.get("text", ""))
        plain = plain if len(plain) <= 4 * TEXT else plain[: 4 * TEXT - 1] + "\u2026"
        head = text(say("temperature {value}", value=number(row.get("temperature"))))
        items.append(
            f'<figure><figcaption>{head}</figcaption><pre class="sample"><bdi>{text(plain)}</bdi></pre></figure>'
        )
    inner = "".join(items)
    told = text(say("Written by the network itself; a low temperature keeps to what is likely."))
    return section("samples", text(say("Samples")), f"<p>{told}</p>{inner}" if inner else "")
