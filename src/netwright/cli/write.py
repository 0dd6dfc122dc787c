"""Verbs of networks that write: generate and chat."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.console import answer, app, talk
from netwright.language import say

RunFolder = Annotated[str, typer.Argument(help="A run folder.", metavar="RUN")]
TopK = Annotated[int, typer.Option(help="Draw among so many likeliest tokens; 0: all.")]
TopP = Annotated[float, typer.Option(help="Draw among the likeliest tokens that reach this probability together.")]
Seed = Annotated[int, typer.Option(help="The same seed draws the same text.")]


@app.command()
def generate(
    run: RunFolder,
    prompt: Annotated[str, typer.Argument(help="Where the text begins, or what is to be answered.")] = "",
    length: Annotated[int, typer.Option(help="The most tokens; 0: 500.")] = 0,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token, 1 draws by probability.")] = 0.8,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    samples: Annotated[int, typer.Option(help="So many texts.")] = 1,
    form: Annotated[str, typer.Option(help="Hold the form of a poem, verses x characters: 4x7.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write music to this name, as MIDI and ABC.")] = None,
) -> None:
    """Samples from a network that writes: text, poems, music, translations."""
    from netwright.run import open_run

    found = open_run(run).generate(
        prompt, length=length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, count=samples, form=form,
        out=out,
    )  # fmt: skip
    answer(found)


@app.command()
def chat(
    run: RunFolder,
    temperature: Annotated[float, typer.Option(help="0 takes the best reply, above it is drawn.")] = 0.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
) -> None:
    """Talk with a network: a line in, a reply out; an empty end of input (Ctrl-D) ends it."""
    from netwright.deploy.generate import Manner, Samples
    from netwright.deploy.generate import chat as talk_with
    from netwright.run import open_run

    trained = open_run(run).predictor()
    turns = talk_with(
        trained.forward, trained.targets, trained.encoder, sys.stdin, Manner(temperature, top_k, top_p, seed)
    )
    if talk.json:
        answer(Samples(turns))
        return
    if sys.stdin.isatty():
        print(say("Type a line; Ctrl-D ends the talk."), file=sys.stderr)
    for turn in turns:
        print(turn["text"], flush=True)
