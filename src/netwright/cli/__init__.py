"""The command line: each verb is a few lines around one call. Nothing here imports torch before a verb runs."""

import io
import os
import signal
import sys
from typing import Any

import typer

from netwright.cli import cache, explain, runs, show, write
from netwright.cli.console import GLOBAL, app, talk
from netwright.cli.many import one_voice
from netwright.cli.runs import recipe_of
from netwright.data.telling import hush
from netwright.errors import NetwrightError, UsageError, hint
from netwright.language import LANGUAGES, say, speak

WrongUsage: Any = typer.BadParameter.__base__  # click's UsageError, which newer releases of typer keep inside
VERBS = (cache, explain, runs, show, write)
"""The modules whose verbs the application has."""

__all__ = ["VERBS", "app", "main", "recipe_of"]


def main() -> None:
    """Run one command; errors become one to three lines and an exit code, never a traceback."""
    _open_missing()
    streams = ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace"))
    for stream, errors in streams:  # bytes that are no text, names that do not fit the terminal
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    code = 0
    try:
        _hear()
        code = _run(sys.argv[1:])
        if sys.stdout is not None:
            sys.stdout.flush()  # here, so that a reader who left is noticed before the interpreter ends
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = code or _stopped(error)
    sys.exit(code)


def _open_missing() -> None:
    """Open the streams that the caller has closed: else their numbers would go to files of the run."""
    for handle, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != handle:
                os.dup2(nowhere, handle)
                os.close(nowhere)
            setattr(sys, name, open(handle, "w" if handle else "r", encoding="utf-8"))  # noqa: SIM115  to the end


def _hear() -> None:
    """Make the signals that end a process end it in order: helpers ended, locks and temporary folders gone."""
    from netwright.training.signals import WATCHED, leave

    for number in WATCHED:
        if signal.getsignal(number) is signal.SIG_DFL:  # Ctrl-C has its own exception; `nohup` stays in force
            signal.signal(number, leave)


def _run(words: list[str]) -> int:
    from netwright.training.signals import Interrupted

    try:
        words = _global_options(words)
        if not _somewhere():
            return _fail(3, say("the current folder does not exist any more; go to another one first"))
        sys.excepthook = sys.__excepthook__ if talk.debug else _defect
        command: Any = typer.main.get_command(app)
        _translate(command)
        with one_voice(words, _fail):
            ended = command.main(words or ["--help"], prog_name="netwright", standalone_mode=False)
        if isinstance(ended, int):  # Ctrl-C, as newer releases of typer give it back
            return ended
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
    talk.answered = False
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
    hush(talk.quiet)
    return rest


def _fail(code: int, message: str) -> int:
    """Say an error: on stderr always, with --json as one object on stdout too."""
    message = "\n".join(_shown(line) for line in message.split("\n"))
    print(say("error: {message}", message=message), file=sys.stderr)
    if talk.json and not talk.answered:
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
