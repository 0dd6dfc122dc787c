"""Verbs on data and runs: look, train, resume, rerun, evaluate, predict, compare, report."""

import os
import sys
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.console import Overrides, answer, app, note, talk
from netwright.errors import GateError, UsageError
from netwright.language import say

Out = Annotated[Path | None, typer.Option(help="The run folder to make; refused when it already holds anything.")]
Require = Annotated[
    list[str] | None, typer.Option(help="A gate on the test set, such as accuracy>=0.98 (exit code 4).")
]


@app.command()
def look(data: Annotated[str, typer.Argument(help="A path or an embedded name.")], overrides: Overrides = None) -> None:
    """Read and audit data: counts, shapes, balance, duplicates, leaks, broken records."""
    from netwright.data.read import read
    from netwright.recipe import Recipe

    table = Recipe().override(overrides or []).table("data")
    answer(read(data, **table))


@app.command()
def train(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="[@RECIPE] [DATA or recipe.toml], overrides.", metavar="[@RECIPE] [DATA] [OVERRIDES]..."),
    ] = None,
    out: Out = None,
    require: Require = None,
    fail_on: Annotated[
        list[str] | None, typer.Option(help="A fault, such as E2, that fails the call (exit code 4).")
    ] = None,
) -> None:
    """Train, evaluate and examine; DATA defaults to digits."""
    from netwright.catalogue import FAULTS
    from netwright.start import train as run_training

    recipe = recipe_of(words or [])
    for name in fail_on or []:
        FAULTS[name]  # a typing mistake is refused before anything is trained
    run = run_training(recipe=recipe, out=out, quiet=talk.quiet, require=require or [])
    answer(run)
    apply_gates(require or [], run.report["task"], run.test, fail_on or [], run.findings)


@app.command()
def resume(run: Annotated[str, typer.Argument(help="A run folder.")]) -> None:
    """Continue a run from its newest verified checkpoint, to the same bits."""
    from netwright.start import resume as resume_run

    answer(resume_run(run, quiet=talk.quiet))


@app.command()
def rerun(run: Annotated[str, typer.Argument(help="A run folder.")]) -> None:
    """Train a run again from its own recipe and report the first step that differs."""
    from netwright.repeat import rerun as rerun_run

    answer(rerun_run(run, quiet=talk.quiet))


@app.command()
def diagnose(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="RUN, recipe.toml or DATA, overrides.", metavar="[RUN, recipe.toml or DATA] [OVERRIDES]..."
        ),
    ] = None,
    prove: Annotated[bool, typer.Option(help="Screen the remedies and confirm one on fresh paired seeds.")] = False,
    seeds: Annotated[
        int | None, typer.Option(help="Paired seeds of the proof, 6 at least; 8, or 10 of short trainings.")
    ] = None,
    budget: Annotated[str, typer.Option(help="About so long, such as 60s or 5m.")] = "60s",
    fail_on: Annotated[
        list[str] | None, typer.Option(help="A fault, such as C6, that fails the call (exit code 4).")
    ] = None,
    out: Out = None,
    page: Annotated[
        Path | None, typer.Option(help="A file for the diagnosis as one HTML page.", metavar="FILE.html")
    ] = None,
) -> None:
    """Say why a network does not learn, and prove the cure."""
    from netwright.catalogue import FAULTS
    from netwright.clinic.visits import diagnose as diagnose_it
    from netwright.clinic.visits import write_page

    for name in fail_on or []:
        FAULTS[name]
    words = words or []
    run = words[0] if words and os.path.isfile(os.path.join(words[0], "run.json")) else None
    recipe = recipe_of(words[1:] if run else words)
    found = diagnose_it(
        run, recipe=recipe, prove=prove, seeds=seeds or "auto", budget=budget, out=out, quiet=talk.quiet
    )
    if page is not None:
        write_page(found, page, run or recipe.table("data").get("path", "digits"))
        note(str(page))
    answer(found)
    apply_gates([], "", {}, fail_on or [], [one.to_json() for one in found.findings])


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="A run folder.")],
    data: Annotated[str | None, typer.Argument(help="New data; without it the run's own test examples.")] = None,
    require: Require = None,
) -> None:
    """Metrics with 95 % intervals, confusion matrix and baselines."""
    from netwright.run import evaluate as evaluate_run
    from netwright.run import open_run
    from netwright.training.stopping import Condition

    opened = open_run(run)
    task = opened.folder.read("data.json")["task"]
    for text in require or []:
        Condition.parse(text, task, "--require")
    found = evaluate_run(opened, data, say_line=note)
    answer(found)
    values = {"loss": found["loss"], **{name: value["value"] for name, value in found["metrics"].items()}}
    apply_gates(require or [], task, values, [], [])


@app.command()
def predict(
    run: Annotated[str, typer.Argument(help="A run folder.")],
    inputs: Annotated[
        list[str], typer.Argument(help="Pictures, folders, tables, arrays, or - for JSON Lines.", metavar="INPUT...")
    ],
) -> None:
    """Predictions for files, folders, rows or stdin, with the run's own preprocessing."""
    from netwright.deploy.predict import Predictions
    from netwright.run import open_run

    predictor = open_run(run).predictor()
    found = Predictions()
    for piped, items in groupby(inputs, lambda item: item == "-"):
        found.extend(predictor.predict_lines(sys.stdin or [], note) if piped else predictor.predict(list(items), note))
    answer(found)


@app.command()
def compare(runs: Annotated[list[str], typer.Argument(help="Two run folders or more.", metavar="RUN RUN...")]) -> None:
    """Paired test on the same test examples, and how the recipes differ."""
    from netwright.run import compare as compare_runs

    answer(compare_runs(*runs))


@app.command()
def report(run: Annotated[str, typer.Argument(help="A run folder.")]) -> None:
    """Write the run's self-contained HTML page."""
    from netwright.run import open_run, write_report

    path = str(write_report(open_run(run)))
    answer({"file": path}, path)


def recipe_of(words: list[str]) -> Any:
    """The recipe that a list of words means: [@NAME] [DATA or recipe.toml] first, then overrides."""
    from netwright.recipe import Recipe

    recipe, words = Recipe(), list(words)
    if words and words[0].startswith("@"):
        from netwright.recipes import shipped

        recipe = shipped(words.pop(0).removeprefix("@"))
    first = words[0] if words else ""
    if first and ("=" not in first or os.path.exists(first)):
        words = words[1:]
        if first.endswith(".toml"):
            recipe = recipe.updated(Recipe.read(first).document(), first)
        else:
            recipe = recipe.set("data.path", first)
    for word in words:
        if "=" not in word and os.path.exists(word):
            raise UsageError(say("{word!r} came after the first word; one DATA or recipe.toml stands first", word=word))
    return recipe.override(words)


def apply_gates(
    require: list[str], task: str, values: dict[str, Any], fail_on: list[str], findings: list[dict[str, Any]]
) -> None:
    """Raise GateError where a gate is not met."""
    from netwright.training.stopping import Condition

    for text in require:
        condition = Condition.parse(text, task, "--require")
        if not condition.met(values):
            value = values.get(condition.metric)
            found = say("it has no value here") if value is None else say("it is {value}", value=value)
            raise GateError(say("not met: {gate} ({found})", gate=condition, found=found))
    for finding in findings:
        if finding["fault"] in fail_on:
            raise GateError(say("fault {fault} was found: {name}", fault=finding["fault"], name=finding["name"]))
