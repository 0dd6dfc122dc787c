"""Reports in a terminal: how good, beside which baseline, with which interval, and what was found."""

from collections.abc import Mapping
from html import escape
from typing import Any

from netwright.catalogue import METRICS
from netwright.language import columns, padded, say
from netwright.report.bag import spread
from netwright.report.markup import mapping
from netwright.report.sections import baseline_label
from netwright.training.progress import duration, number

LEADING = {
    "classify": ("accuracy",), "regress": ("rmse",), "tag": ("entity_f1", "token_accuracy"),
    "generate": ("bits_per_character", "nll"), "translate": ("bleu", "exact_match", "perplexity"),
    "forecast": ("mase", "mae"), "transcribe": ("word_error_rate",), "verify": ("eer",),
}  # fmt: skip
BESIDE = {
    "tag": ("token_accuracy",), "generate": ("perplexity",), "translate": ("bleu", "chrf", "perplexity"),
    "forecast": ("mae", "mase"), "transcribe": ("exact_match",),
}  # fmt: skip
"""Metrics that a terminal shows on the same line as the leading one."""


def main_metric(task: str, metrics: Mapping[str, Any] | None = None) -> str:
    """The metric that a report leads with: the task's first, or the first of them that has a value in `metrics`."""
    if metrics is None:
        return LEADING[task][0]
    values = {name: mapping(found).get("value") for name, found in metrics.items()}
    known = [name for name in LEADING[task] if values.get(name) is not None]
    if values.get("bleu") == 0 and values.get("exact_match"):  # texts of fewer than four words have no BLEU
        known.remove("bleu")
    return (known or LEADING[task])[0]


def shown(name: str, found: dict[str, Any]) -> str:
    """A metric with its interval: `accuracy 0.9912 (0.9890 to 0.9930)`."""
    value, low, high = (found.get(key) for key in ("value", "low", "high"))
    if low is None or high is None:
        return f"{name} {number(value)}"
    return say("{name} {value} ({low} to {high})", name=name, value=number(value), low=number(low), high=number(high))


def best_baseline(task: str, baseline: dict[str, dict[str, Any]], metric: str = "") -> tuple[str, float] | None:
    """The strongest baseline by a metric, the task's first where none is named."""
    metric = metric or main_metric(task)
    scores = {name: found[metric] for name, found in baseline.items() if found.get(metric) is not None}
    if not scores:
        return None
    best = max(scores, key=scores.__getitem__) if _rises(metric) else min(scores, key=scores.__getitem__)
    return best, scores[best]


def _rises(metric: str) -> bool:
    return METRICS[metric].facts["better"] == "higher"


def verdict(task: str, metrics: dict[str, Any], baseline: dict[str, Any]) -> str:
    """One sentence on the best baseline, said plainly when it wins."""
    metric = main_metric(task, metrics)
    best = best_baseline(task, baseline, metric)
    value = metrics.get(metric, {}).get("value")
    if best is None or value is None:
        return ""
    name, score = best
    ahead = value >= score if _rises(metric) else value <= score
    text = (
        "the best baseline, {name}, reaches {score}"
        if ahead
        else "A BASELINE WINS: {name} reaches {score}; use it instead"
    )
    return say(text, name=baseline_name(name), score=number(score))


def baseline_name(name: str) -> str:
    """A baseline as a terminal calls it: `linear`, `bag of words`."""
    return say(name) if name in ("constant", "linear", "nearest") else baseline_label(name)


def examples_text(task: str, count: int) -> str:
    """How many of what were judged."""
    if task == "verify":
        return say("{count:,} pairs", count=count)
    return say("{count:,} windows", count=count) if task == "forecast" else say("{count:,} examples", count=count)


def report_text(report: dict[str, Any]) -> str:
    """What `train` prints at the end."""
    task = report["task"]
    lines = [
        say(
            "{network}: {parameters:,} parameters, {steps:,} steps in {time}, best epoch {best} of {epochs}",
            network=report["network"],
            parameters=report["parameters"],
            steps=report["steps"],
            time=duration(report["seconds"]),
            best=report["best_epoch"],
            epochs=report["epochs"],
        )
    ]
    lines.append(
        say("test ({examples}): {metric}", examples=examples_text(task, report["examples"]),
            metric=_metrics(task, report["metrics"]))
    )  # fmt: skip
    sentence = verdict(task, report["metrics"], report["baseline"])
    if sentence:
        lines.append(f"  {sentence}")
    lines += [f"  {line}" for line in bag_lines(report)]
    if report.get("folds"):
        scores = ", ".join(shown(name, found) for name, found in report["folds"]["metrics"].items())
        lines.append(say("cross-validation ({count} folds): {scores}", count=report["folds"]["count"], scores=scores))
    lines += [f"  {line}" for line in finding_lines(report["findings"], report["notes"])]
    lines.append(say("run folder: {run}", run=report["run"]))
    return "\n".join(lines)


def bag_lines(report: dict[str, Any]) -> list[str]:
    """What bagging brought: members by themselves, and the estimate out of the bag; none for a single network."""
    name, found = main_metric(report["task"]), report.get("out_of_bag") or {}
    lines, alone = [], spread(report, name)
    if alone is not None:
        low, mean, high = map(number, alone)
        lines.append(
            say("{count} members alone: {name} {low} to {high}, mean {mean}",
                count=len(report["members"]), name=name, low=low, high=high, mean=mean)
        )  # fmt: skip
    if found.get("examples"):
        metric = shown(name, found["metrics"][name])
        lines.append(say("out of bag ({count:,} training examples): {metric}", count=found["examples"], metric=metric))
    return lines


def _metrics(task: str, metrics: dict[str, Any]) -> str:
    first = main_metric(task, metrics)
    beside = BESIDE.get(task, ()) if first != "nll" else ()  # the perplexity of all that sounds at a time says little
    names = [first, *(name for name in beside if name != first)]
    told = [shown(name, metrics[name]) for name in names if mapping(metrics.get(name)).get("value") is not None]
    return ", ".join(told) or "-"


def finding_lines(findings: list[dict[str, Any]], notes: list[dict[str, Any]]) -> list[str]:
    """The doctor's verdict: findings with place and numbers, then notes."""
    lines = []
    for found in findings:
        evidence = ", ".join(f"{key} {_value(value)}" for key, value in found["evidence"].items())
        lines.append(say("fault {fault}: {name} at {where} ({evidence})", **{**found, "evidence": evidence}))
        lines.append(f"    {found['harm']}")
        lines += [f"    {_patch(remedy['patch'])}: {remedy['why']}" for remedy in found["remedies"]]
    for note in notes:
        evidence = ", ".join(
            f"{key} {_value(value)}" for key, value in note["evidence"].items() if not isinstance(value, dict)
        )
        lines.append(
            say("note {fault}: {name} ({evidence})", fault=note["fault"], name=note["name"], evidence=evidence)
        )
    return lines or [say("no fault was found by the checks that follow every training")]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value[:5]) + (", ..." if len(value) > 5 else "")
    return number(value) if isinstance(value, float) else str(value)


def _patch(patch: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in patch.items())


class Found(dict[str, Any]):
    """What a verb found: the JSON's fields by name, shown as text in a notebook."""

    def to_json(self) -> dict[str, Any]:
        return dict(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


class Evaluation(Found):
    """What `evaluate` found: metrics, baseline, confusion, classes, examples."""

    def __str__(self) -> str:
        return evaluation_text(self)


class Comparison(Found):
    """What `compare` found; `pairs` holds every run against the first where there are more than two."""

    def __str__(self) -> str:
        return comparison_text(self)


def evaluation_text(found: dict[str, Any]) -> str:
    """What `evaluate` prints."""
    lines = [examples_text(str(found.get("task", "")), found["examples"])]
    lines += [f"  {shown(name, value)}" for name, value in found["metrics"].items() if value["value"] is not None]
    for name, scores in found["baseline"].items():
        values = ", ".join(f"{metric} {number(value)}" for metric, value in scores.items() if value is not None)
        lines.append(say("baseline {name}: {scores}", name=baseline_name(name), scores=values))
    if found["confusion"] and len(found["classes"]) <= 20:
        lines.append(say("confusion (truth in rows):"))
        width = max([len(str(count)) for row in found["confusion"] for count in row] + [3]) + 1
        label = max(columns(name) for name in found["classes"])
        for name, row in zip(found["classes"], found["confusion"], strict=True):
            lines.append(f"  {padded(name, label, right=True)} " + "".join(f"{count:>{width}}" for count in row))
    return "\n".join(lines)


def comparison_text(found: dict[str, Any]) -> str:
    """What `compare` prints."""
    lines = []
    for pair in found.get("pairs", [found]):
        lines.append(
            say(
                "{second} against {first}: {verdict}"
                " ({metric} {b} against {a}, difference {d}, 95 % {low} to {high}, p = {p})",
                second=pair["second"],
                first=pair["first"],
                verdict=say(pair["verdict"]),
                metric=pair["metric"],
                a=number(pair["values"][0]),
                b=number(pair["values"][1]),
                d=number(pair["difference"]),
                low=number(pair["low"]),
                high=number(pair["high"]),
                p=number(pair["p_value"]),
            )
        )
        if pair.get("unknown"):
            a, b = (number(share) for share in pair["unknown"])
            lines.append(
                say("  tokens that the vocabulary does not hold, which cost few bits: {a} and {b} of all", a=a, b=b)
            )
        lines += [f"  {name}: {values[0]} -> {values[1]}" for name, values in pair["recipe"].items()]
    return "\n".join(lines)
