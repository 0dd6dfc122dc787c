"""The command line: each verb is a few lines around one call. Nothing here imports torch before a verb runs."""

import io
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.errors import GateError, NetwrightError, UsageError, hint
from netwright.language import LANGUAGES, say, speak

app = typer.Typer(
    name="netwright",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From data to a trained, diagnosed and explained classic neural network.",
    epilog="Every verb also takes --json (one object on stdout), --quiet, --lang en|zh and --debug.",
)
GLOBAL = ("--json", "--quiet", "--debug", "--lang")
WrongUsage: Any = typer.BadParameter.__base__  # click's UsageError, which newer releases of typer keep inside
Overrides = Annotated[list[str] | None, typer.Argument(help="table.key=value, network=NAME, epochs=3, seed=1 ...")]
Out = Annotated[Path | None, typer.Option(help="The run folder to make; refused when it already holds anything.")]
Require = Annotated[
    list[str] | None, typer.Option(help="A gate on the test set, such as accuracy>=0.98 (exit code 4).")
]


@dataclass
class Talk:
    """How this call speaks: set from --json, --quiet, --lang and --debug before the verb runs."""

    json: bool = False
    quiet: bool = False
    debug: bool = False


talk = Talk()


def answer(result: Any, text: str | None = None) -> None:
    """The verb's result on stdout: one JSON object, or text."""
    if talk.json:
        from netwright.rundir import to_json

        print(to_json(result.to_json() if hasattr(result, "to_json") else result))
    else:
        print(result if text is None else text)


def note(line: str) -> None:
    """Talk, on stderr."""
    if not talk.quiet:
        print(line, file=sys.stderr)


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
        list[str] | None, typer.Argument(help="[DATA or recipe.toml] and overrides.", metavar="[DATA] [OVERRIDES]...")
    ] = None,
    out: Out = None,
    require: Require = None,
    fail_on: Annotated[
        list[str] | None, typer.Option(help="A fault, such as E2, that fails the call (exit code 4).")
    ] = None,
) -> None:
    """Train, evaluate and examine; DATA defaults to digits."""
    from netwright.catalogue import FAULTS
    from netwright.run import train as run_training

    recipe = recipe_of(words or [])
    for name in fail_on or []:
        FAULTS[name]  # a typing mistake is refused before anything is trained
    run = run_training(recipe=recipe, out=out, quiet=talk.quiet, require=require or [])
    answer(run)
    apply_gates(require or [], run.report["task"], run.test, fail_on or [], run.findings)


@app.command()
def resume(run: Annotated[str, typer.Argument(help="A run folder.")]) -> None:
    """Continue a run from its newest verified checkpoint, to the same bits."""
    from netwright.run import resume as resume_run

    answer(resume_run(run, quiet=talk.quiet))


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
    for item in inputs:
        lines = (sys.stdin or []) if item == "-" else None
        found.extend(predictor.predict([item], note) if lines is None else predictor.predict_lines(lines, note))
    answer(found)


@app.command()
def compare(runs: Annotated[list[str], typer.Argument(help="Two run folders or more.", metavar="RUN RUN...")]) -> None:
    """Paired test on the same test examples, and how the recipes differ."""
    from netwright.run import compare as compare_runs

    answer(compare_runs(*runs))


@app.command()
def anatomy(
    network: Annotated[str, typer.Argument(help="A network of the catalogue.")],
    overrides: Overrides = None,
    input: Annotated[str, typer.Option(help="Features; steps,features; or channels,height,width.")] = "1,28,28",
    outputs: Annotated[int, typer.Option(help="Number of classes.")] = 10,
) -> None:
    """Shapes, parameters, multiply-adds, neurons, connections and receptive fields."""
    from netwright.api import anatomy as measure
    from netwright.recipe import Recipe

    words = [word if "." in word.partition("=")[0] else f"network.{word}" for word in overrides or []]
    settings = Recipe().set("network", network).override(words).table("network")
    answer(measure(settings.pop("name"), inputs=shape_of(input), outputs=outputs, **settings))


@app.command("list")
def list_parts(
    family: Annotated[str | None, typer.Argument(help="losses, networks, optimizers ...; all where left out.")] = None,
) -> None:
    """The catalogue: every part with its summary."""
    from netwright.cards import list_text, parts_of

    parts = parts_of(family)
    answer({"parts": parts}, list_text(parts))


@app.command()
def show(
    family: Annotated[str, typer.Argument(help="A family; `recipe` prints the recipe's JSON Schema.")],
    name: Annotated[str | None, typer.Argument(help="A part.")] = None,
) -> None:
    """A part's card: what it does, formula, settings, source, facts."""
    from netwright.cards import card_of, card_text

    card = card_of(family, name)
    answer(card, card_text(card))


@app.command()
def report(run: Annotated[str, typer.Argument(help="A run folder.")]) -> None:
    """Write the run's self-contained HTML page."""
    from netwright.run import open_run, write_report

    path = str(write_report(open_run(run)))
    answer({"file": path}, path)


def recipe_of(words: list[str]) -> Any:
    """The recipe that a list of words means: [DATA or recipe.toml] first, then overrides."""
    from netwright.recipe import Recipe

    recipe = Recipe()
    first = words[0] if words else ""
    if first and ("=" not in first or os.path.exists(first)):
        words = words[1:]
        if first.endswith(".toml"):
            recipe = Recipe.read(first)
        else:
            recipe = recipe.set("data.path", first)
    for word in words:
        if "=" not in word and os.path.exists(word):
            raise UsageError(say("{word!r} came after the first word; one DATA or recipe.toml stands first", word=word))
    return recipe.override(words)


def shape_of(text: str) -> tuple[int, ...]:
    """`1,28,28` or `1x28x28` as numbers."""
    try:
        return tuple(int(size) for size in text.replace("x", ",").split(","))
    except ValueError:
        raise UsageError(say("--input {text!r}; it is 784, 28,28 or 1,28,28", text=text)) from None


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


def main() -> None:
    """Run one command; errors become one to three lines and an exit code, never a traceback."""
    streams = ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace"))
    for stream, errors in streams:  # bytes that are no text, names that do not fit the terminal
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    code = 0
    try:
        code = _run(sys.argv[1:])
        if sys.stdout is not None:
            sys.stdout.flush()  # here, so that a reader who left is noticed before the interpreter ends
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = code or _stopped(error)
    sys.exit(code)


def _run(words: list[str]) -> int:
    from netwright.training.signals import Interrupted

    try:
        words = _global_options(words)
        if not _somewhere():
            return _fail(3, say("the current folder does not exist any more; go to another one first"))
        sys.excepthook = sys.__excepthook__ if talk.debug else _defect
        command: Any = typer.main.get_command(app)
        _translate(command)
        command.main(words or ["--help"], prog_name="netwright", standalone_mode=False)
    except NetwrightError as error:
        return _fail(error.code, str(error))
    except WrongUsage as error:
        return _fail(2, _usage(error))
    except typer.Exit as error:
        return error.exit_code
    except Interrupted as error:
        return 128 + error.number
    except (KeyboardInterrupt, typer.Abort):
        return 128 + signal.SIGINT
    except OSError as error:
        return _stopped(error)
    except SystemExit:  # so click ends when the reader of our output has left
        return 128 + getattr(signal, "SIGPIPE", 13)
    return 0


def _somewhere() -> bool:
    """Whether this process stands in a folder that still exists: torch cannot even be imported elsewhere."""
    try:
        return bool(os.getcwd())
    except OSError:
        return False


def _global_options(words: list[str]) -> list[str]:
    """Take --json, --quiet, --debug and --lang out of the words, wherever they stand."""
    talk.json, talk.quiet, talk.debug = (f"--{name}" in words for name in ("json", "quiet", "debug"))
    rest, language = [], None
    pending = iter(words)
    for word in pending:
        if word == "--lang":
            language = next(pending, "")
        elif word.startswith("--lang="):
            language = word.removeprefix("--lang=")
        elif word not in GLOBAL:
            rest.append(word)
    if language not in (None, *LANGUAGES):
        raise UsageError(f"--lang {language!r}; it is one of: {', '.join(LANGUAGES)}")
    speak(language)
    return rest


def _fail(code: int, message: str) -> int:
    """Say an error: on stderr always, with --json as one object on stdout too."""
    message = "\n".join(_shown(line) for line in message.split("\n"))
    print(say("error: {message}", message=message), file=sys.stderr)
    if talk.json:
        from netwright.rundir import to_json

        print(to_json({"error": {"code": code, "message": message}}))
    return code


def _stopped(error: OSError) -> int:
    """The system refused: a full disk, a pipe whose reader has left, a folder that became read-only."""
    if talk.debug:
        raise error
    if isinstance(error, BrokenPipeError):
        return 128 + getattr(signal, "SIGPIPE", 13)
    where = error.filename if error.filename is not None else say("output")
    return _fail(1, f"{where}: {error.strerror or error}")


def _shown(line: str) -> str:
    """A line as it can be shown anywhere: control characters and lone surrogates escaped, an endless one cut."""
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
    return line if len(line) <= 1200 else f"{line[:600]} ... {line[-500:]}"


def _defect(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """An error that nobody foresaw: one line; --debug shows where it came from."""
    _fail(
        1, say("this is a defect in netwright: {kind}: {error} (--debug shows where)", kind=kind.__name__, error=error)
    )


def _usage(error: Any) -> str:
    """A wrong command line in our words, with the nearest right thing."""
    message = str(error.format_message()).partition(" Did you mean")[0].rstrip(".") + "."
    if error.ctx is None:
        return message
    near = ""
    if message.startswith("No such option"):
        missed = str(error.option_name)
        options = [name for parameter in error.ctx.command.params for name in parameter.opts]
        known = [*(name for name in options if name.startswith("-")), *GLOBAL, "--help"]
        message, near = say("there is no option {name!r}.", name=missed), hint(missed, known)
    elif message.startswith("No such command"):
        missed = message.split("'")[1] if "'" in message else ""
        message = say("there is no command {name!r}.", name=missed)
        near = hint(missed, list(getattr(error.ctx.command, "commands", {})))
    return f"{message} {near} {say('See: {command} --help', command=error.ctx.command_path)}".replace("  ", " ")


def _translate(command: Any) -> None:
    """Help texts in the current language."""
    for part in [command, *getattr(command, "commands", {}).values()]:
        part.help = part.help and say(part.help)
        part.epilog = part.epilog and say(part.epilog)
        for parameter in part.params:
            if getattr(parameter, "help", None):
                parameter.help = say(parameter.help)
