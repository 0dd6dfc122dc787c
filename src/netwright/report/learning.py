"""The learning curves of a report, drawn from the rows of metrics.jsonl."""

from collections.abc import Callable
from typing import Any

from netwright.language import say
from netwright.report import drawing, markup
from netwright.report.drawing import Line
from netwright.report.markup import finite, mapping, number, score, seconds, text

TABLE = 40  # rows of the table beside the curves


def blocks(rows: list[Any], report: dict[str, Any], main: str, label: Callable[[str], str]) -> list[str]:
    """Curves of loss, metric, learning rate and gradient, and the same numbers as a table."""
    found = [mapping(row) for row in rows]
    places, across = _places(found)
    best = finite(report.get("best_epoch")) if across == say("epoch") else None
    watched = _watched(found, main)
    loss = [
        Line(say("single batches"), "batch", _points(places, found, "loss")),
        Line(say("training"), "train", _points(places, found, "train_loss")),
        Line(say("validation"), "validation", _points(places, found, "validation", "loss")),
    ]
    charts = [chart(say("Loss"), loss, across, say("loss"), best)]
    if watched:
        line = Line(say("validation"), "validation", _points(places, found, "validation", watched))
        title = label(watched)[:1].upper() + label(watched)[1:]
        charts.append(chart(title, [line], across, label(watched), best, watched in markup.SHARES))
    for key, title in (("lr", say("Learning rate")), ("gradient_norm", say("Gradient norm"))):
        points = _points(places, found, key)
        if key != "lr" or len({y for _, y in points}) > 1:  # a constant rate stands in the recipe
            charts.append(chart(title, [Line(title, "plain", points)], across, title.lower()))
    charts = [one for one in charts if one]
    return [f'<div class="pair">{"".join(charts)}</div>' if charts else "", _table(found, watched, label)]


def _places(rows: list[dict[str, Any]]) -> tuple[list[float | None], str]:
    """Where each row lies: by epoch, with parts of epochs where there are more rows; else by step."""
    epochs, steps = [finite(row.get("epoch")) for row in rows], [finite(row.get("step")) for row in rows]
    if rows and None not in epochs and len(set(epochs)) == len(epochs):
        return epochs, say("epoch")
    if rows and None not in steps:
        last, end = epochs[-1], steps[-1]
        if last and end and mapping(rows[-1].get("validation")):
            return [step * last / end for step in steps if step is not None], say("epoch")
        return steps, say("step")
    return epochs, say("epoch")


def _watched(rows: list[dict[str, Any]], main: str) -> str:
    names = list(dict.fromkeys(name for row in rows for name in mapping(row.get("validation"))))
    others = [name for name in names if name != "loss"]
    return main if main in others else (others[0] if others else "")


def _points(places: list[float | None], rows: list[dict[str, Any]], *keys: str) -> list[tuple[float, float]]:
    points = []
    for x, row in zip(places, rows, strict=True):
        value: Any = row
        for key in keys:
            value = mapping(value).get(key)
        y = finite(value)
        if x is not None and y is not None:
            points.append((x, y))
    return points


def chart(title: str, lines: list[Line], across: str, up: str, best: float | None = None, shares: bool = False) -> str:
    """A chart with its caption and a key to its lines; empty where there is nothing to draw."""
    picture = drawing.curves(title, lines, across, up, best, shares)
    if not picture:
        return ""
    shown = [line for line in lines if line.points]
    keys = [f'<li><i class="{line.kind}"></i>{text(line.name)}</li>' for line in shown if line.kind != "plain"]
    if 'class="best"' in picture:
        keys.append(f'<li><i class="best"></i>{text(say("best epoch"))}</li>')
    legend = f'<ul class="legend">{"".join(keys)}</ul>' if keys else ""
    return f"<figure><figcaption>{text(title)}</figcaption>{legend}{picture}</figure>"


def _table(rows: list[dict[str, Any]], watched: str, label: Callable[[str], str]) -> str:
    kept = [row for row in rows if mapping(row.get("validation"))] or rows
    if len(kept) > TABLE:
        stride = (len(kept) - 1) / (TABLE - 1)
        kept = [kept[round(i * stride)] for i in range(TABLE)]
    if not kept:
        return ""
    head = [say("epoch"), say("step"), say("training loss"), say("validation loss")] + [label(watched)] * bool(watched)
    head += [say("learning rate"), say("seconds")]
    body = []
    for row in kept:
        validation = mapping(row.get("validation"))
        cells = [number(row.get("step")), number(row.get("train_loss")), number(validation.get("loss"))]
        cells += [score(watched, validation.get(watched))] * bool(watched)
        body.append([number(row.get("epoch")), *cells, number(row.get("lr")), seconds(row.get("seconds"))])
    caption = text(say("The curves as numbers"))
    return markup.more(caption, markup.table(caption, map(text, head), body, range(1, len(head)), quiet=True))
