"""One self-contained HTML page for a run: no script, no request, nothing that is not escaped."""

import io
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import UInt8

from netwright.errors import UsageError
from netwright.language import language, say
from netwright.report import facts, inside, markup, plane, sections, sequences
from netwright.report.markup import finite, listing, mapping, named, number, score, seconds, text
from netwright.report.words import LEADING
from netwright.report.words import main_metric as leading

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def page(run: Mapping[str, Any]) -> str:
    """The report of a run as one HTML page in the current language.

    Args:
        run: `name`, `run` (run.json), `recipe` (TOML text), `report` (report.json, its mistakes with a `picture` of
            PNG bytes or None), `curves` (rows of metrics.jsonl), `anatomy`, `data` (data.json), `beside` (what
            `sources` finds), and what `pictures` finds: `boundary`, `kernels`, `gradients`. What is missing leaves out
            its section.
    """
    report, data = mapping(run.get("report")), mapping(run.get("data"))
    main, beside = main_metric(report), mapping(run.get("beside"))
    title = str(run.get("name") or report.get("run") or report.get("network") or say("run"))
    blocks = [
        sections.scores(report, main),
        sections.members(report),
        sections.curves(listing(run.get("curves")), report, main),
        sections.confusion(report),
        sections.residuals(report),
        sequences.entities(report),
        sequences.confusions(report),
        sequences.forecasts(beside),
        sequences.samples(report),
        sequences.mistakes(report, beside) or sections.mistakes(report),
        plane.boundary(run.get("boundary")),
        inside.kernels(run.get("kernels")),
        inside.gradients(run.get("gradients")),
        facts.findings(listing(report.get("findings")), listing(report.get("notes"))),
        facts.data(data, beside),
        facts.anatomy(mapping(run.get("anatomy"))),
        facts.recipe(run.get("recipe")),
        facts.environment(mapping(run.get("run"))),
    ]
    header = f"{_opening(title, report, data, main)}{_contents(blocks)}"
    return document(title, header, blocks)


def document(title: str, header: str, blocks: Iterable[str]) -> str:
    """A whole page in the house's style, in the current language, that needs nothing beside itself."""
    style = files("netwright.report").joinpath("style.css").read_text(encoding="utf-8")
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">'
        f"<title>{text(title)} \u00b7 Netwright</title><style>{style}</style>"
    )
    tongue = "zh-Hans" if language() == "zh" else "en"
    foot = f"<footer>{text(say('Made by Netwright. This page is complete in itself and works offline.'))}</footer>"
    body = f"<header>{header}</header><main>{''.join(blocks)}</main>{foot}"
    return f'<!doctype html>\n<html lang="{tongue}"><head>{head}</head><body>{body}</body></html>\n'


def main_metric(report: Mapping[str, Any]) -> str:
    """The metric of the headline: accuracy, rmse, or else the first one that has a value."""
    scores, task = sections.scores_of(dict(report)), str(report.get("task"))
    if task in LEADING and (first := leading(task, scores)) in scores:
        return first
    wanted = [name for name in ("accuracy", "rmse") if name in scores]
    return next(iter([*wanted, *(name for name in scores if name != "loss"), *scores]), "")


def _opening(title: str, report: dict[str, Any], data: dict[str, Any], main: str) -> str:
    entry = sections.scores_of(report).get(main, {})
    kicker = " \u00b7 ".join(
        str(word) for word in (say("Training report"), data.get("name"), report.get("network")) if word
    )
    lead = f'<p class="lead">{text(_sentence(main, entry, report))}</p>'
    found = [
        (say("parameters"), number(report.get("parameters"))),
        (say("epochs"), number(report.get("epochs"))),
        (say("best epoch"), number(report.get("best_epoch"))),
        (say("training time"), seconds(report.get("seconds"))),
        (_counted(report), number(report.get("examples"))),
    ]
    items = "".join(
        f"<div><dt>{text(word)}</dt><dd>{text(value)}</dd></div>" for word, value in found if value != markup.NONE
    )
    tiles = f'<dl class="facts">{items}</dl>' if items else ""
    return f'<p class="kicker">{text(kicker)}</p><h1>{named(title)}</h1>{lead}{_against(main, entry, report)}{tiles}'


def _counted(report: dict[str, Any]) -> str:
    """What the test consists of."""
    if report.get("task") == "verify":
        return say("test pairs")
    return say("test windows") if report.get("task") == "forecast" else say("test examples")


def _sentence(main: str, entry: dict[str, Any], report: dict[str, Any]) -> str:
    """How good it is, in words."""
    if not entry:
        return say("There is no score for this run: no test example was judged.")
    low, high = finite(entry.get("low")), finite(entry.get("high"))
    value, count = score(main, entry["value"]), number(report.get("examples"))
    words = {"value": value, "count": count}
    first = _spoken(main, words, report)
    first = first or say("{metric} is {value} on {count} test examples", metric=sections.label(main), **words)
    if low is None or high is None:
        return first + say(".")
    return first + say(" (95 % interval {low} to {high}).", low=score(main, low), high=score(main, high))


def _spoken(main: str, words: dict[str, str], report: dict[str, Any]) -> str:
    """The headline of the metrics that tasks lead with."""
    if main == "mase":
        mean = score("mae", mapping(sections.scores_of(report).get("mae")).get("value"))
        return say("Forecasts are off by {mean} on average, {value} times the seasonal naive error in training, on "
                   "{count} test windows", mean=mean, **words)  # fmt: skip
    known = {
        "accuracy": say("{value} of {count} test examples are classified correctly", **words),
        "rmse": say("A prediction is off by {value} (root mean square) on {count} test examples", **words),
        "entity_f1": say("Entities are found with an F1 of {value} in {count} test sequences", **words),
        "token_accuracy": say("{value} of the tokens of {count} test sequences get the right tag", **words),
        "bits_per_character": say("A character costs {value} bits, in {count} pieces of test text", **words),
        "nll": say("A step costs {value} nats, in {count} test pieces", **words),
        "bleu": say("The answers to {count} test texts reach a BLEU of {value}", **words),
        "exact_match": say("{value} of {count} test texts are answered exactly as they should be", **words),
        "perplexity": say("The network hesitates among {value} tokens, on {count} test texts", **words),
        "mae": say("Forecasts are off by {value} on average, on {count} test windows", **words),
        "word_error_rate": say("The word error rate is {value} on {count} test recordings", **words),
        "eer": say("The equal error rate is {value} on {count} pairs of test recordings", **words),
    }
    return known.get(main, "")


def _against(main: str, entry: dict[str, Any], report: dict[str, Any]) -> str:
    """The network beside the best baseline, plainly where that one wins."""
    best, name = None, ""
    for candidate, mine in mapping(report.get("baseline")).items():
        value = finite(mapping(mine).get(main))
        if value is not None and (best is None or sections.is_better(main, value, best)):
            best, name = value, candidate
    own = finite(entry.get("value"))
    if best is None or own is None or sections.is_better(main, own, best) is None:
        return ""
    shown = score(main, best)
    low, high = finite(entry.get("low")), finite(entry.get("high"))
    inside = low is None or high is None or low <= best <= high
    if sections.is_better(main, best, own):
        kind, pill, words = "behind", say("behind the baseline"), _wins(name, shown)
        words += " " + say("The difference is within the interval of the network.") if inside else ""
    elif best == own:
        kind, pill = "level", say("level with the baseline")
        words = say("The best baseline, {name}, does just as well.", name=sections.baseline_label(name))
    elif inside:
        kind, pill = "level", say("not clearly ahead")
        words = say(
            "The best baseline, {name}, reaches {value}; that is within the interval, so the gain may be chance.",
            name=sections.baseline_label(name), value=shown,
        )  # fmt: skip
    else:
        kind, pill = "ahead", say("ahead of the baselines")
        words = say("The best baseline, {name}, reaches {value}.", name=sections.baseline_label(name), value=shown)
    return f'<p class="against"><span class="pill {kind}">{text(pill)}</span> {text(words)}</p>'


def _wins(name: str, value: str) -> str:
    if name == "linear":
        return say("A linear model does better: {value}.", value=value)
    if name == "nearest":
        return say("The nearest neighbours do better: {value}.", value=value)
    if name == "constant":
        return say("A constant answer does better: {value}.", value=value)
    return say("The baseline {name} does better: {value}.", name=sections.baseline_label(name), value=value)


def _contents(blocks: list[str]) -> str:
    links = []
    for block in blocks:
        if block:
            anchor = block.split('id="', 1)[1].split('"', 1)[0]
            title = block.split(f'id="{anchor}-h">', 1)[1].split("</h2>", 1)[0]
            links.append(f'<a href="#{anchor}">{title}</a>')
    return f'<nav aria-label="{text(say("Contents"))}">{"".join(links)}</nav>' if links else ""


def png(picture: UInt8[np.ndarray, "channels height width"], scale: int = 1) -> bytes:
    """A picture as PNG bytes, each pixel enlarged to `scale` x `scale`; 1 channel is grey, 3 are RGB, 4 RGBA."""
    from PIL import Image

    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.dtype != np.uint8 or 0 in picture.shape or scale < 1:
        text_ = say("a picture is uint8 (channels, height, width); got {kind} of shape", kind=picture.dtype)
        raise UsageError(f"{text_} {picture.shape}")
    if picture.shape[0] not in (1, 3, 4):
        picture = picture[:1]  # two channels, or many bands: the first as grey
    pixels = np.ascontiguousarray(picture.transpose(1, 2, 0))
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if scale > 1:
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    target = io.BytesIO()
    image.save(target, format="PNG", optimize=True)
    return target.getvalue()
