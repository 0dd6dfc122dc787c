"""One self-contained HTML page for a diagnosis: the verdict, what shows it, what to do, and the pictures behind it."""

from collections.abc import Mapping
from typing import Any

from netwright.language import say
from netwright.report import facts, markup
from netwright.report.drawing import Line
from netwright.report.learning import chart
from netwright.report.markup import finite, listing, mapping, named, number, seconds, section, text
from netwright.report.page import document

UNITS = {"spread": "std", "gradient": "RMS", "update": "|dw| / |w|"}
"""What the charts over layers count."""


def page(found: Mapping[str, Any], name: str) -> str:
    """The page of a diagnosis, given as its JSON, in the current language; `name` is what was examined."""
    evidence = mapping(found.get("evidence"))
    blocks = [
        facts.findings(listing(found.get("findings")), listing(found.get("notes"))),
        _proof(mapping(found.get("proof"))),
        _pictures(mapping(found.get("curves")), listing(found.get("layers"))),
        _excluded(listing(found.get("excluded"))),
    ]
    tiles = [
        (say("skill reached"), number(evidence.get("reached"))),
        (say("simple learners"), number(evidence.get("simple_learners"))),
        (say("unstable steps"), markup.percent(evidence.get("unstable_steps"))),
        (say("time"), seconds(found.get("seconds"))),
    ]
    items = "".join(f"<div><dt>{text(word)}</dt><dd>{text(value)}</dd></div>" for word, value in tiles)
    verdict = str(found.get("verdict"))
    says = text(say("Verdict: {verdict}.", verdict=say(verdict)))
    lead = f'<p class="lead">{says}</p><p>{text(_sentence(evidence))}</p>'
    header = f'<p class="kicker">{text(say("Diagnosis"))}</p><h1>{named(name)}</h1>{lead}<dl class="facts">{items}</dl>'
    return document(name, header, [block for block in blocks if block])


def _sentence(evidence: dict[str, Any]) -> str:
    """Skill in words."""
    reached, others = finite(evidence.get("reached")), finite(evidence.get("simple_learners"))
    if reached is None or others is None:
        return ""
    return say(
        "Skill is 0 for the best constant answer and 1 for perfect ones: the network reaches {reached:.2f}, "
        "simple learners with the same examples {others:.2f}.",
        reached=reached,
        others=others,
    )


def _proof(proof: dict[str, Any]) -> str:
    """The paired proof, where there is one."""
    if not proof:
        return ""
    from netwright.doctor.findings import proof_text

    lines = "".join(f"<p>{text(line.strip())}</p>" for line in proof_text(proof).splitlines())
    rows = [(say("controls"), "")] if proof.get("controls") else []
    for control in map(mapping, listing(proof.get("controls"))):
        patch = " ".join(f"{key}={markup.words(value)}" for key, value in mapping(control.get("patch")).items())
        rows.append((f"{control.get('name', '')} {patch}".strip(), number(control.get("score"))))
    table = "".join(f"<tr><td>{text(a)}</td><td>{text(b)}</td></tr>" for a, b in rows)
    return section("proof", text(say("Proof")), lines, f"<table>{table}</table>" if table else "")


def _pictures(curves: dict[str, Any], layers: list[Any]) -> str:
    """Loss beside that of constant outputs, skill, quotients over steps; signals, gradients and updates over layers."""
    lines = {name: [(float(x), float(y)) for x, y in points] for name, points in curves.items()}
    step = say("step")
    loss = [
        Line(say("loss"), "train", lines.get("loss", ())),
        Line(say("best constant outputs"), "validation", lines.get("constant", ())),
    ]
    charts = [
        chart(say("Loss"), loss, step, say("loss")),
        chart(say("Skill"), [Line(say("skill"), "validation", lines.get("skill", ()))], step, say("skill")),
        chart(say("Line quotient of steps"), [Line("q", "plain", lines.get("quotient", ()))], step, "q"),
    ]
    layer = say("layer")
    titles = {
        "spread": say("Signal before the first step"),
        "gradient": say("Gradient before the first step"),
        "update": say("Median update |dw| / |w|"),
    }
    for name, title in titles.items():
        if len(lines.get(name, ())) > 1:
            charts.append(chart(title, [Line(title, "plain", lines[name])], layer, UNITS[name]))
    shown = [one for one in charts if one]
    if not shown:
        return ""
    key = ", ".join(f"{place + 1} {path}" for place, path in enumerate(layers[:60]) if path)
    legend = f'<p class="small">{text(say("layers: {names}", names=key))}</p>' if key else ""
    guide = say(
        "q is 1 where a step is far too short, 0 where it ends in the minimum along its line; "
        "below -1 it left its batch worse off."
    )
    return section(
        "pictures",
        text(say("What was measured")),
        f'<div class="pair">{"".join(shown)}</div>',
        f'<p class="small">{text(guide)}</p>',
        legend,
    )


def _excluded(causes: list[Any]) -> str:
    """What was tried, or measured, and is not it."""
    if not causes:
        return ""
    items = "".join(f"<li>{text(cause)}</li>" for cause in causes)
    return section("excluded", text(say("Excluded")), f"<ul>{items}</ul>")
