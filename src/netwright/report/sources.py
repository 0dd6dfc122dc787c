"""What the page of a sequence task shows beside the report: the test's own texts and series, read again."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from netwright.data.dataset import Dataset
from netwright.data.sequence_targets import SeriesTargets
from netwright.data.source import Texts
from netwright.report.markup import listing, mapping
from netwright.report.stored import unknown_tokens

PAST = 120
"""At most so many steps of a series are drawn before its forecast."""


def sources(dataset: Dataset, report: Mapping[str, Any]) -> dict[str, Any]:
    """`sources`, the text or tokens behind each mistake by its position; `forecasts`, windows to draw; `unknown`, the
    share of the test's tokens that the vocabulary does not hold, `longest`, the tokens of its longest text."""
    if not dataset.examples["test"] or dataset.task in ("verify", "transcribe"):
        return {}
    positions = [int(mapping(mistake).get("position", -1)) for mistake in listing(report.get("mistakes"))]
    positions = [place for place in positions if 0 <= place < dataset.examples["test"]]
    found: dict[str, Any] = {}
    if dataset.kind == "text":
        inputs = dataset.sequences("test")[0]
        lengths = inputs.lengths
        found = {"unknown": float(unknown_tokens(inputs).sum() / max(lengths.sum(), 1)), "longest": int(lengths.max())}
        found["sources"] = {place: _text(dataset, place) for place in positions}
    if isinstance(dataset.targets, SeriesTargets):
        found["forecasts"] = _forecasts(dataset, dataset.targets, report)
    return found


def _text(dataset: Dataset, place: int) -> str | list[str]:
    """A test text as it stood in the data; for tags its tokens."""
    examples = dataset.source.examples
    assert isinstance(examples, Texts)
    text = examples.take(dataset.splits["test"][[place]]).texts[0]
    if dataset.task == "tag":
        return [str(token) for token in dataset.encoder.tokens(text)]  # type: ignore[attr-defined]
    return text if isinstance(text, str) else " ".join(text)


def _forecasts(dataset: Dataset, targets: SeriesTargets, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The window that went worst and a typical one: `name kind past truth prediction naive`."""
    season, column = int(targets.facts.get("season", 1)), int(targets.facts.get("target_position", 0))
    worst = mapping(next(iter(listing(report.get("mistakes"))), None))
    ids, found = dataset.ids("test"), []
    for kind, window in (("worst", worst), ("typical", mapping(report.get("typical")))):
        place = window.get("position", -1)
        if not 0 <= place < len(ids):
            continue
        rows = dataset.source.examples.take(dataset.splits["test"][[place]])
        past = np.asarray(rows, dtype=np.float64)[0].reshape(rows.shape[1], -1)[:, column]
        steps = np.arange(targets.horizon)
        naive = past[len(past) - season + steps % season] if season <= len(past) else np.repeat(past[-1:], len(steps))
        found.append({
            "name": ids[place], "kind": kind, "past": past[-PAST:].tolist(), "truth": window.get("truth"),
            "prediction": window.get("prediction"), "naive": naive.tolist(), "error": window.get("error"),
        })  # fmt: skip
    return found
