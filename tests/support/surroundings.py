"""Hostile surroundings, about sixty of them: each case is a forked process that types one command line in a bad place.

    python tests/support/surroundings.py [NAME ...]

Prints one JSON object: for each case its exit code, both streams, and seconds.
"""

import ctypes
import json
import os
import resource
import shutil
import signal
import stat
import struct
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import kills

NAMES = {
    "long": "n" * 251,
    "long utf-8": "\u7f51" * 83,
    "nfc": unicodedata.normalize("NFC", "Caf\u00e9 \u00fcber"),
    "nfd": unicodedata.normalize("NFD", "Caf\u00e9 \u00fcber"),
    "emoji": "\U0001f431\u200d\U0001f464 cats",
    "right to left": "\u202e\u05d0\u05d1\u05d2 \u0645\u0631\u062d\u0628\u0627",
    "new line": "two\nlines\ttab",
    "escape": "red\x1b[31m\x07",
    "undecodable": "latin \udce9\udcff",
    "blanks": "  spaces  ",
    "dash": "-rf",
    "quotes": "a'b\"c`$(d);e&",
    "percent": "100%s {0} {x} %n",
}
"""Names of files, classes, columns and run folders."""
SMALL = ["network=mlp", "network.hidden=[4]", "epochs=1", "threads=1", "precision=float32", "layout=contiguous",
         "allocator=default", "compile=false"]  # fmt: skip


@dataclass
class Case:
    """A place to make, what a process does to itself, the words it types, and what has to come."""

    words: list[str]
    code: int = 0
    says: str = ""
    make: Callable[[], None] = lambda: None
    before: Callable[[], None] = lambda: None


def picture(path: str | Path, shade: int) -> None:
    """A small BMP, written by hand."""
    body = bytes((shade + 7 * place) % 256 for place in range(8 * 8 * 3))
    head = struct.pack("<2sIHHI", b"BM", 54 + len(body), 0, 0, 54)
    data = head + struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 24, 0, len(body), 0, 0, 0, 0) + body
    handle = os.open(os.fsencode(path), os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(handle, data)
    os.close(handle)


def classes(*names: str) -> None:
    for place, name in enumerate(names or ("a", "b")):
        os.makedirs(os.fsencode(f"pets/{name}"), exist_ok=True)
        for number in range(6):
            picture(f"pets/{name}/{number}.bmp", 90 * place + 11 * number)


def named(name: str) -> Callable[[], None]:
    """A class and a picture of a strange name."""

    def make() -> None:
        classes(name, "other")
        picture(f"pets/other/{name[:83] if len(name) < 100 else name[:240]}.bmp", 33)

    return make


def table(path: str, column: str = "b") -> None:
    text = f'a,"{column}",label\n'.replace("\n,", "\\n,") + "".join(
        f"{n % 7},{n % 5},{'xy'[n % 2]}\n" for n in range(40)
    )
    handle = os.open(os.fsencode(path), os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(handle, text.encode("utf-8", "surrogateescape"))
    os.close(handle)


# what a process does to itself -------------------------------------------------------------------------------------


def powerless() -> None:
    """Give up root's power to write everywhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if os.geteuid() == 0 and libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")


def read_only(path: str) -> Callable[[], None]:
    def before() -> None:
        for place in [Path(path), *Path(path).rglob("*")]:
            place.chmod(place.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
        powerless()

    return before


def limited(what: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (most, most))


def closed(*handles: int) -> Callable[[], None]:
    """As `<&-` and `>&-` do: Python then finds no such stream."""

    def before() -> None:
        for handle in handles:
            os.close(handle)
            setattr(sys, ("stdin", "stdout", "stderr")[handle], None)

    return before


def fresh(handle: int) -> None:
    """A stream object as a new process would make it."""
    setattr(sys, ("stdin", "stdout", "stderr")[handle], open(handle, "w", closefd=False))  # noqa: SIM115


def onto(path: str, *handles: int) -> Callable[[], None]:
    def before() -> None:
        for handle in handles:
            os.dup2(os.open(path, os.O_RDWR), handle)
            fresh(handle)

    return before


def nobody_reads() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)
    fresh(1)


def set_environment(**values: str | None) -> Callable[[], None]:
    def before() -> None:
        for name, value in values.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        time.tzset()

    return before


def clock(jump: float, zone: str = "UTC") -> Callable[[], None]:
    """The wall clock jumps by so many seconds at each look at it."""

    def before() -> None:
        set_environment(TZ=zone)()
        now = [time.time()]

        def jumping() -> float:
            now[0] += jump
            return now[0]

        time.time = jumping
        real = time.strftime
        time.strftime = lambda form, *when: real(form, *(when or (time.localtime(jumping()),)))

    return before


def vanishing(what: str, replace: Callable[[str], None] = os.remove) -> Callable[[], None]:
    """A file goes away, or becomes something else, between the listing of its folder and its opening."""

    def before() -> None:
        real = os.scandir

        def scan(path=".", *more):
            found = list(real(path, *more))
            if any(os.fsdecode(entry.name) == what for entry in found):
                os.scandir = real
                replace(os.path.join("pets", "a", what))

            class Listing:
                def __enter__(self):
                    return iter(found)

                def __exit__(self, *error):
                    return None

                def __iter__(self):
                    return iter(found)

                def close(self):
                    return None

            return Listing()

        os.scandir = scan

    return before


def become(make: Callable[[str], None]) -> Callable[[str], None]:
    def replace(path: str) -> None:
        os.remove(path)
        make(path)

    return replace


def loop() -> None:
    classes()
    os.symlink("..", "pets/a/up")
    os.symlink(".", "pets/b/here")
    os.symlink("me", "pets/me")


def odd_files() -> None:
    classes()
    os.mkfifo("pets/a/pipe.bmp")
    os.symlink("/dev/zero", "pets/b/zero.bmp")
    os.symlink("gone", "pets/b/gone.bmp")
    os.mkdir("pets/b/folder.bmp")


def finished() -> None:
    shutil.copytree("../run", "run")


def unfinished() -> None:
    finished()
    facts = json.loads(Path("run/run.json").read_text())
    Path("run/run.json").write_text(json.dumps({**facts, "state": "running"}))
    Path("run/report.json").unlink()


def gone() -> None:
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")


IRIS = ["train", "iris", *SMALL]
CASES = {
    "read-only current folder": Case(IRIS, 3, "cannot be made", lambda: os.mkdir("x"), read_only(".")),
    "read-only parent of --out": Case([*IRIS, "--out", "x/run"], 3, "x/run", lambda: os.mkdir("x"), read_only("x")),
    "read-only --out": Case([*IRIS, "--out", "x"], 3, "x", lambda: os.mkdir("x"), read_only("x")),
    "read-only run, resume": Case(["resume", "run"], 3, ".lock", unfinished, read_only("run")),
    "read-only run, evaluate": Case(["evaluate", "run"], 0, "accuracy", finished, read_only("run")),
    "read-only run, compare": Case(["compare", "run", "run"], 0, "", finished, read_only("run")),
    "read-only run, rerun": Case(["rerun", "run"], 0, "repeats to the bit", finished, read_only("run")),
    "read-only run, report": Case(["report", "run"], 3, "report.html", finished, read_only("run")),
    "largest file 2 KB": Case([*IRIS, "--out", "r"], 3, "File too large", before=limited(resource.RLIMIT_FSIZE, 2000)),
    "no more open files": Case([*IRIS, "--out", "r"], 1, "Too many open files",
                               before=limited(resource.RLIMIT_NOFILE, 5)),
    "unreadable data": Case(["look", "t.csv"], 3, "t.csv", lambda: (table("t.csv"), os.chmod("t.csv", 0)), powerless),
    "unreadable picture": Case(["look", "pets"], 0, "1.bmp",
                               lambda: (classes(), os.chmod("pets/a/1.bmp", 0)), powerless),
    "unreadable class": Case(["look", "pets"], 3, "pets", lambda: (classes(), os.chmod("pets/a", 0)), powerless),
    "the clock goes back a day": Case([*IRIS, "--out", "r"], before=clock(-86_400)),
    "the clock goes on a day": Case([*IRIS, "--out", "r"], before=clock(86_400)),
    "summer time ends": Case([*IRIS, "--out", "r"], before=clock(-3600, "Europe/Berlin")),
    "no time zone": Case([*IRIS, "--out", "r"], before=set_environment(TZ="Nowhere/Nothing")),
    "no home": Case([*IRIS, "--out", "r"], before=set_environment(HOME=None, NETWRIGHT_CACHE=None)),
    "home is nowhere": Case([*IRIS, "--out", "r"], before=set_environment(HOME="/nowhere", NETWRIGHT_CACHE=None)),
    "home is a device": Case([*IRIS, "--out", "r"], before=set_environment(HOME="/dev/null", NETWRIGHT_CACHE=None)),
    "cache is read-only": Case(["train", "pets", *SMALL, "--out", "r"], 0, "", lambda: (classes(), os.mkdir("c")),
                               lambda: (set_environment(NETWRIGHT_CACHE="c")(), read_only("c")())),
    "cache is a file": Case(["train", "pets", *SMALL, "--out", "r"], 0, "", lambda: (classes(), Path("c").touch()),
                            set_environment(NETWRIGHT_CACHE="c")),
    "cache is a device": Case(["train", "pets", *SMALL, "--out", "r"], 0, "", classes,
                              set_environment(NETWRIGHT_CACHE="/dev/full")),
    "cache is a loop": Case(["train", "pets", *SMALL, "--out", "r"], 0, "", lambda: (classes(), os.symlink("c", "c")),
                            set_environment(NETWRIGHT_CACHE="c")),
    "no stdin": Case([*IRIS, "--out", "r"], before=closed(0)),
    "no stdin, predict -": Case(["predict", "run", "-", "--json"], 3, "held no rows", finished, closed(0)),
    "no stdout": Case([*IRIS, "--out", "r"], before=closed(1)),
    "no stderr": Case([*IRIS, "--out", "r"], before=closed(2)),
    "no stream at all": Case([*IRIS, "--out", "r"], before=closed(0, 1, 2)),
    "no stream, a mistake": Case(["look", "nothing.csv", "--json"], 3, before=closed(0, 1, 2)),
    "stdout is full": Case(["look", "iris"], 1, "No space left", before=onto("/dev/full", 1)),
    "stdout is full, --json": Case(["look", "iris", "--json"], 1, "No space left", before=onto("/dev/full", 1)),
    "stderr is full": Case(["look", "iris"], 0, "setosa 50", before=onto("/dev/full", 2)),
    "nobody reads": Case(["look", "iris"], 128 + signal.SIGPIPE, before=nobody_reads),
    "the current folder is gone": Case(["look", "iris"], 3, "does not exist any more", before=gone),
    "links in circles": Case(["look", "pets"], 0, "a link", loop),
    "no pictures but pipes, devices": Case(["look", "pets"], 0, "a FIFO", odd_files),
    "data is a pipe": Case(["look", "p.csv"], 3, "a FIFO", lambda: os.mkfifo("p.csv")),
    "a picture vanishes": Case(["look", "pets"], 0, "3.bmp", classes, vanishing("3.bmp")),
    "a picture becomes a pipe": Case(["look", "pets"], 0, "3.bmp", classes, vanishing("3.bmp", become(os.mkfifo))),
    "a picture becomes a folder": Case(["look", "pets"], 0, "a 5, b 6", classes, vanishing("3.bmp", become(os.mkdir))),
    "a picture becomes a link": Case(["look", "pets"], 0, "3.bmp", classes,
                                     vanishing("3.bmp", become(lambda path: os.symlink("/etc/passwd", path)))),
    "a picture becomes empty": Case(["look", "pets"], 0, "3.bmp", classes,
                                    vanishing("3.bmp", become(lambda path: Path(path).touch()))),
}  # fmt: skip
CASES |= {f"a class named {what}": Case(["look", "pets", "--json"], 0, "", named(name)) for what, name in NAMES.items()}
CASES |= {
    f"trained on names: {what}": Case(["train", "pets", *SMALL, "--out", "r", "--json"], 0, "", named(name))
    for what, name in NAMES.items()
    if what in ("nfd", "emoji", "right to left", "new line", "undecodable", "percent")
}
CASES |= {
    f"a run named {what}": Case([*IRIS, "--out", f"./{name}"], 3 if what == "undecodable" else 0)
    for what, name in NAMES.items()
    if what not in ("nfc", "blanks", "dash")
}
CASES |= {
    f"a table named {what}": Case(["look", f"./{name[:100]}.csv"], 0, "", lambda name=name: table(f"{name[:100]}.csv"))
    for what, name in NAMES.items()
    if what in ("nfd", "emoji", "new line", "undecodable", "percent", "quotes")
}


def _typed(case: Case, place: Path) -> Callable[[], None]:
    def job() -> None:
        os.chdir(place)
        for name, handle in (("out", 1), ("err", 2)):
            os.dup2(os.open(f"../{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), handle)
        case.before()
        sys.argv = ["netwright", *case.words]
        from netwright.cli import main

        main()

    return job


def _tried(case: Case, home: Path) -> dict:
    place = home / "place"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    os.chdir(place)
    case.make()
    os.chdir(home)
    started = time.monotonic()
    child, reader = kills.fork(_typed(case, place), home / "log")
    code = kills.ended(child)
    os.close(reader)
    streams = {name: (home / name).read_text(errors="backslashreplace") for name in ("out", "err")}
    return {"code": code, **streams, "seconds": time.monotonic() - started}


def main() -> None:
    os.environ |= {"NETWRIGHT_LANG": "en"}
    kills.LONGEST_S = 30.0
    import torch

    torch.set_num_threads(1)
    home = Path(tempfile.mkdtemp(prefix="netwright-surroundings-"))
    os.chdir(home)
    os.environ["NETWRIGHT_CACHE"] = str(home / "cache")
    from netwright.cli import _run

    classes()
    keep = os.dup(1)
    os.dup2(2, 1)
    for words in ([*IRIS, "--out", "run"], ["train", "pets", *SMALL, "--out", "warm"], ["evaluate", "run"]):
        assert _run(words) == 0, words
    sys.stdout.flush()
    os.dup2(keep, 1)
    try:
        found = {name: _tried(CASES[name], home) for name in sys.argv[1:] or CASES}
    finally:
        os.chdir("/")
        shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
