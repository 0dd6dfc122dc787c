"""`explain`: everything that can be shown of a run on a person's own inputs, as pictures and data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from netwright.data.dataset import Dataset
from netwright.deploy.predict import Predictor
from netwright.errors import DataError, UsageError
from netwright.explaining import attention_map, gates, gradients_over_time
from netwright.explaining.answering import Answer, answer
from netwright.explaining.drawing import shows_chinese
from netwright.explaining.heatmaps import Panel, heat_maps
from netwright.explaining.reading import Given, exact, gather
from netwright.explaining.saliency import Saliency, saliency
from netwright.explaining.tokens import MOST, coloured_tokens
from netwright.explaining.writing import Explanations, Shelf, folder_of
from netwright.language import columns, say
from netwright.measures.entering import as_steps, values_of
from netwright.measures.unrolled import known
from netwright.rundir import RunFolder
from netwright.training.checkpoints import to_bytes

TOP = 3
"""Steps that the short reading names."""


def explain(
    folder: RunFolder, predictor: Predictor, inputs: Sequence[Any], *, out: Path | str | None = None, position: int = 0,
    dataset: Dataset | None = None, say_line: Callable[[str], None] | None = None,
) -> Explanations:  # fmt: skip
    """Explain a run on inputs; files go to RUN/explanations, or to `out`.

    For each input: gates, cells and states of every recurrent layer over time; attention; saliency of every step. For
    the run: gradients over time on some of its training examples. `position` chooses the output that saliency explains
    (a tag, a token, a number of a forecast), from 1; 0 takes a telling one. Errors: UsageError for runs that read no
    sequences and for empty inputs; RunError where files cannot be written.
    """
    report = say_line or (lambda line: None)
    if position < 0:
        raise UsageError(say("--position {position}: it is 1 or more, or 0 for a telling one", position=position))
    if not inputs:
        raise UsageError(say("explain wants one input or more"))
    model = exact(predictor)
    _check(predictor, model)
    home = Path(out) if out is not None else folder.path / "explanations"
    found = [given for item in inputs for given in gather(predictor, item, report)]
    rows = [_one(predictor, model, given, home, position) for given in found]
    return Explanations(explanations=rows, run=_whole(folder, predictor, model, home, dataset))


def _check(predictor: Predictor, model: nn.Module) -> None:
    """Refuse runs that have nothing to show here."""
    kind = predictor.kind
    if kind in ("text", "recording", "sequence") or any(known(module) for module in model.modules()):
        return
    text = say("this run reads {kind} data and has no recurrent layer.", kind=say(kind))
    more = say("`explain` shows gates, attention and saliency of sequences; it draws no feature maps of pictures.")
    raise UsageError(f"{text}\n{more}")


def _one(predictor: Predictor, model: nn.Module, given: Given, home: Path, position: int) -> dict[str, Any]:
    inputs = given.inputs if given.is_text else given.inputs.to(dtype=next(model.parameters()).dtype)
    given = Given(**{**vars(given), "inputs": inputs})
    said = _answer(predictor, model, given, position)
    shelf, notes = Shelf(home / folder_of(given)), list(given.notes)
    reading: list[str] = []
    entry: dict[str, Any] = {
        "input": given.name, "prediction": said.prediction, "steps": given.labels, "explained": said.of,
        "position": said.position,
    }  # fmt: skip
    if any(known(module) for module in model.modules()):
        entry["gates"] = _gates(shelf, model, given, said, notes, reading)
    entry["attention"] = _attention(shelf, model, given, said, notes)
    entry["saliency"] = _saliency(shelf, model, given, said, notes, reading)
    if not shows_chinese() and any(columns(one) != len(one) for one in [*given.labels, *said.written]):
        notes.append(say("no font with Chinese signs is on this system: use the SVG files, which show them everywhere"))
    summary = {**entry, "notes": notes, "reading": reading}
    shelf.data("explanation.json", summary, say("what was explained: prediction, steps, layers, notes"))
    entry["steps"] = len(given.labels)
    return {**entry, "notes": notes, "reading": reading, "folder": str(shelf.folder), "files": shelf.files}


def _answer(predictor: Predictor, model: nn.Module, given: Given, position: int) -> Answer:
    """The answer of the copy in float64; a module that makes float32 numbers of its own is refused."""
    try:
        return answer(predictor, model, given, position)
    except RuntimeError as error:
        if "dtype" not in str(error):
            raise
        text = say("this network works in float32 alone: `explain` runs a copy of it in float64 ({why})", why=error)
        raise UsageError(text) from None


def _gates(
    shelf: Shelf, model: nn.Module, given: Given, said: Answer, notes: list[str], reading: list[str]
) -> list[dict[str, Any]]:
    found = gates.gates(model, given, said.run, said.decoded, say("tokens"))
    rows = []
    for one in found:
        name = f"gates_{one.name.replace('.', '_').replace(' ', '_')}"
        canvas, more = gates.draw(one, say("Gates over time: {input}", input=_title(given)))
        shelf.draw(name, canvas, say("gates and memory of {layer} over time", layer=one.name))
        notes += more
        rows.append({
            "layer": one.name, "kind": one.kind, "backward": one.backward, "parts": list(one.parts),
            "steps": len(one.labels), "units": one.parts["h"].shape[1], "mean": one.means(), "differs_by": one.apart,
        })  # fmt: skip
        if "f" in one.parts:
            share = f"{one.means()['f']:.2f}"
            reading.append(say("{layer}: forget gates keep {share} of the cell a step", layer=one.name, share=share))
        elif "z" in one.parts:
            share = f"{one.means()['z']:.2f}"
            reading.append(say("{layer}: update gates keep {share} of the state a step", layer=one.name, share=share))
    facts = {f"steps of {one.name}": "\n".join(one.labels) for one in found}
    shelf.put("gates.safetensors", to_bytes(gates.tensors(found), facts),
              say("all gates, cells and states: layer/part, steps x units"))  # fmt: skip
    return rows


def _attention(shelf: Shelf, model: nn.Module, given: Given, said: Answer, notes: list[str]) -> list[str]:
    maps = attention_map.attention_maps(model, given, said.run, said.written)
    for one in maps:
        name = f"attention_{one.name.replace('.', '_').replace(' ', '_')}"
        canvas, more = attention_map.draw(one, say("Attention: {input}", input=_title(given)))
        shelf.draw(name, canvas, say("attention of {name}", name=one.name))
        notes += more
    if maps:
        shelf.data("attention.json", {"prediction": said.prediction, "maps": [one.to_json() for one in maps]},
                   say("attention weights with both axes"))  # fmt: skip
    return [one.name for one in maps]


def _saliency(
    shelf: Shelf, model: nn.Module, given: Given, said: Answer, notes: list[str], reading: list[str]
) -> dict[str, Any]:
    found = saliency(model, given.inputs, said.score)
    gradient, integrated = found.gradient.sum(1), found.integrated.sum(1)
    numbers = {"score": found.score, "blank": found.blank, "nodes": found.nodes, "gap": found.gap}
    rows = [
        {"step": place + 1, "label": words, "gradient": float(gradient[place]), "integrated": float(integrated[place])}
        for place, words in enumerate(given.labels)
    ]
    whole: dict[str, Any] = {"explained": said.of, "position": said.position, **numbers, "steps": rows}
    if not given.is_text:
        whole["by_feature"] = {"gradient": found.gradient.tolist(), "integrated": found.integrated.tolist()}
    shelf.data("saliency.json", whole, say("saliency of every step: gradient times input, integrated gradients"))
    canvas = _tokens(given, said, found) if given.is_text else _features(given, said, found)
    shelf.draw("saliency", canvas, say("what each step adds to {score}", score=said.of))
    if given.is_text and given.steps > MOST:
        notes.append(say("saliency: the picture shows the first {most} tokens", most=f"{MOST:,}"))
    if abs(found.gap) > 0.01 * abs(found.score - found.blank):
        gap = f"{found.gap:.2g}"
        notes.append(say("integrated gradients miss the difference of the scores by {gap}", gap=gap))
    if given.is_text:
        order = integrated.abs().argsort(descending=True)[:TOP].tolist()
        words = ", ".join(f"{given.labels[at]} {float(integrated[at]):+.3g}" for at in order)
        reading.append(say("{score} hangs most on: {words}", score=said.of, words=words))
    return numbers


def _title(given: Given) -> str:
    return given.name if len(given.name) <= 60 else given.name[:59] + "\u2026"


def _tokens(given: Given, said: Answer, found: Saliency) -> Any:
    told = say("red adds to the score, blue takes from it; score {score}, on a blank input {blank}",
               score=f"{found.score:.4g}", blank=f"{found.blank:.4g}")  # fmt: skip
    blocks = [
        (say("integrated gradients"), found.integrated.sum(1).numpy()),
        (say("gradient times input"), found.gradient.sum(1).numpy()),
    ]
    marked = said.position if said.tags or not said.written else 0
    return coloured_tokens(say("What adds to {score}", score=said.of), blocks, given.labels, told, marked)


def _features(given: Given, said: Answer, found: Saliency) -> Any:
    """Steps across, the numbers of a step upwards (the first at the foot)."""
    panels = []
    steps = slice(0, gates.STEPS)
    shown = values_of(given.inputs)
    parts = [(say("what was read"), as_steps(shown)[0]), (say("integrated gradients"), found.integrated),
             (say("gradient times input"), found.gradient)]  # fmt: skip
    for name, part in parts:
        numbers = part[steps].T.flip(0).numpy()
        most = max(float(np.abs(numbers).max()), 1e-12)
        count = numbers.shape[0]
        panels.append(Panel(name, numbers, True, most, numbered=list(range(count, 0, -1))))
    told = say("red adds to the score, blue takes from it; score {score}, on a blank input {blank}",
               score=f"{found.score:.4g}", blank=f"{found.blank:.4g}")  # fmt: skip
    return heat_maps(say("What adds to {score}", score=said.of), panels, given.labels[steps], given.axis, told)


def _whole(
    folder: RunFolder, predictor: Predictor, model: nn.Module, home: Path, dataset: Dataset | None
) -> dict[str, Any]:
    """The gradient over time of the run; a note in its place where its data are gone."""
    if not any(known(module) for module in model.modules()):
        return {"files": [], "reading": [], "notes": [], "folder": str(home)}
    try:
        found = gradients_over_time.of_run(folder, predictor, model, dataset)
    except (DataError, UsageError) as error:
        text = say("gradients over time need the training data: {why}", why=error)
        return {"files": [], "reading": [], "notes": [text], "folder": str(home)}
    shelf = Shelf(home)
    for name, what, canvas in gradients_over_time.draw(found, say("How much of a change is left, by distance in time")):
        shelf.draw(name, canvas, what)
    shelf.data("gradient_over_time.json", found.to_json(), say("gradient norms by distance in time"))
    reading = [
        say(
            "{layer}: of a change of the state {factor} is left a step",
            layer=one.name,
            factor=f"{one.factor:.3g}",
        )
        for one in found.states
    ]
    return {
        **found.to_json(), "reading": reading, "notes": found.notes, "folder": str(shelf.folder), "files": shelf.files,
    }  # fmt: skip
