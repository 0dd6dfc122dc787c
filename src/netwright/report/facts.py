"""The report's sections on what was found, read, built and used."""

from collections.abc import Mapping
from typing import Any

from netwright.language import say
from netwright.report import drawing, markup
from netwright.report.markup import finite, listing, mapping, named, number, percent, section, text

CLASSES = 30  # bars at most
PROBLEMS = 100
LAYERS = 40  # a longer table of layers is folded away


def findings(found: list[Any], notes: list[Any]) -> str:
    """What the doctor found, with its numbers and remedies; notes show no harm."""
    blocks = [_finding(mapping(finding), "finding") for finding in found]
    if notes:
        blocks.append(f"<h3>{text(say('Notes'))}</h3>" if found else "")
        blocks += [_finding(mapping(note), "finding note") for note in notes]
    return section("findings", text(say("Findings")), *blocks)


def _finding(finding: dict[str, Any], kind: str) -> str:
    if not finding:
        return ""
    code = finding.get("fault")
    title = f"{named(finding.get('name') or markup.NONE)}" + (f" <code>{text(code)}</code>" if code else "")
    parts = [f"<h3>{title}</h3>"]
    if finding.get("where"):
        parts.append(f'<p class="small">{text(markup.words(finding["where"]))}</p>')
    if finding.get("evidence"):
        parts.append(f"<p>{text(markup.words(finding['evidence']))}</p>")
    if finding.get("harm"):
        parts.append(f"<p>{text(finding['harm'])}</p>")
    items = []
    for remedy in map(mapping, listing(finding.get("remedies"))):
        patch = mapping(remedy.get("patch"))
        shown = " ".join(f"{key}={markup.words(value)}" for key, value in patch.items())
        items.append(f"<li><code>{text(shown)}</code> {text(remedy.get('why', ''))}</li>")
    if items:
        parts.append(f"<ul>{''.join(items)}</ul>")
    return f'<div class="{kind}">{"".join(parts)}</div>'


def data(found: dict[str, Any], beside: Mapping[str, Any] | None = None) -> str:
    """What was read: splits, shapes, classes, and what was odd. `beside`: what `sources` counted in the test."""
    if not found:
        return ""
    items = [(say("name"), found.get("name")), (say("kind"), found.get("kind")), (say("task"), found.get("task"))]
    items += [(say("inputs"), shape(found.get("inputs"))), (say("outputs"), shape(found.get("outputs")))]
    for split, count in mapping(found.get("examples")).items():
        known = {
            "train": say("training examples"),
            "validation": say("validation examples"),
            "test": say("test examples"),
        }
        items.append((known.get(split, split), number(count)))
    counted = mapping(beside)
    if finite(counted.get("longest")) is not None:
        items.append((say("longest test text"), say("{count} tokens", count=number(counted["longest"]))))
    if finite(counted.get("unknown")) is not None:
        items.append((say("tokens of the test that the vocabulary lacks"), percent(counted["unknown"])))
    return section("data", text(say("Data")), definitions(items), _classes(found), _problems(found))


def shape(value: Any) -> str:
    """`image 1 x 28 x 28`, `class 10`."""
    if not isinstance(value, Mapping):
        return markup.words(value) if value else ""
    if value.get("kind") == "text":
        units = {"character": say("characters"), "word": say("words"), "bpe": say("pieces of words")}
        tokens = str(value.get("tokens", ""))
        return say("text of {count} {tokens}", count=number(value.get("vocabulary")), tokens=units.get(tokens, tokens))
    if value.get("kind") == "sequence" and value.get("variable"):
        return say("sequence of up to {steps} steps of {features} features", steps=number(value.get("steps")),
                   features=number(value.get("features")))  # fmt: skip
    kept = ("count",) if value.get("kind") == "number" else tuple(value)
    sizes = [
        markup.words(size)
        for key, size in value.items()
        if key in kept and key != "kind" and not isinstance(size, (list, Mapping))
    ]
    return " ".join([str(value.get("kind", "")), " \u00d7 ".join(sizes)]).strip()


def definitions(items: list[tuple[str, Any]]) -> str:
    """Pairs of term and value; pairs without a value are left out."""
    kept = "".join(f"<dt>{text(term)}</dt><dd>{named(value)}</dd>" for term, value in items if value not in (None, ""))
    return f'<dl class="list">{kept}</dl>' if kept else ""


def _classes(found: dict[str, Any]) -> str:
    rows = [mapping(row) for row in listing(found.get("classes"))]
    counted = [(str(row.get("name", "")), int(finite(row.get("count")) or 0)) for row in rows]
    if not counted:
        return ""
    title = say("Examples of each class")
    if len(counted) > CLASSES:
        counted = sorted(counted, key=lambda row: row[1])
        title = say("The {few} rarest and the {few} commonest of {all} classes", few=CLASSES // 2, all=len(rows))
        counted = [*counted[: CLASSES // 2], *counted[-CLASSES // 2 :]]
    picture = drawing.bars(title, counted)
    return f'<figure class="chart"><h3>{text(title)}</h3>{picture}</figure>' if picture else ""


def _problems(found: dict[str, Any]) -> str:
    rows = [mapping(row) for row in listing(found.get("problems"))]
    if not rows:
        return ""
    cells = [
        [named(row.get("where", ""), 60), text(row.get("what", "")), text(row.get("action", ""))]
        for row in rows[:PROBLEMS]
    ]
    if len(rows) > PROBLEMS:
        cells.append([text(say("{count} more", count=len(rows) - PROBLEMS)), "", ""])
    head = [say("where"), say("what"), say("what was done")]
    title = text(say("Problems in the data"))
    return f"<h3>{title}</h3>" + markup.table(title, map(text, head), cells, quiet=True)


def anatomy(found: dict[str, Any]) -> str:
    """The network layer by layer."""
    if not found:
        return ""
    items = [(say("network"), found.get("network")), (say("inputs"), shape(found.get("inputs")))]
    items += [(say("outputs"), shape(found.get("outputs")))]
    counted = {
        "parameters": say("parameters"),
        "trainable": say("trainable"),
        "macs": say("multiply-adds per example"),
        "neurons": say("neurons"),
        "connections": say("connections"),
    }
    items += [(word, number(found[key])) for key, word in counted.items() if finite(found.get(key)) is not None]
    layers = [mapping(layer) for layer in listing(found.get("layers"))]
    head = [say("layer"), say("kind"), say("output"), say("parameters"), say("multiply-adds"), say("receptive field")]
    rows = [_layer(layer) for layer in layers]
    caption = text(say("Layers, from input to output"))
    grid = markup.table(caption, map(text, head), rows, (3, 4)) if rows else ""
    grid = markup.more(text(say("{count} layers", count=len(rows))), grid) if len(rows) > LAYERS else grid
    return section("network", text(say("Network")), definitions(items), grid)


def _layer(layer: dict[str, Any]) -> list[str]:
    output = layer.get("output")
    size = "\u00d7".join(markup.words(n) for n in output) if isinstance(output, (list, tuple)) else shape(output)
    seen = listing(mapping(layer.get("receptive_field")).get("size"))
    formula = f'<br><span class="small">{text(layer["formula"])}</span>' if layer.get("formula") else ""
    return [
        f"{named(layer.get('name', ''))}{formula}",
        text(layer.get("kind", "")),
        text(size),
        number(layer.get("parameters")),
        number(layer.get("macs")),
        text("\u00d7".join(markup.words(n) for n in seen)),
    ]


def recipe(source: Any) -> str:
    """The recipe that repeats the run."""
    if not isinstance(source, str) or not source.strip():
        return ""
    words = text(say("Train this file again and the run repeats."))
    code = f'<pre tabindex="0"><code>{text(source.strip())}</code></pre>'
    return section("recipe", text(say("Recipe")), f"<p>{words}</p>", code)


def environment(found: dict[str, Any]) -> str:
    """Versions, device, command: whatever the run recorded of itself."""
    return section("environment", text(say("Environment")), definitions(list(_flat(found))))


def _flat(found: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    items: list[tuple[str, str]] = []
    for key, value in found.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            items += _flat(value, f"{prefix}{key} ")
        elif isinstance(value, list) and all(isinstance(word, str) for word in value):
            items.append((name, " ".join(value)))
        else:
            items.append((name, value if isinstance(value, str) else markup.words(value)))
    return items
