"""Runs of several ranks for tests: forked from one process that has imported everything, or started by torchrun.

As a script it is that process: one JSON line in, `{"ranks", "words", "folder", "environment"}`, one out,
`{"codes", "stdout", "stderr"}` with a text a rank.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

TIMEOUT_S = 120.0


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Forks:
    """Runs the command line as several ranks without importing torch again."""

    def __init__(self) -> None:
        quiet = {**os.environ, "OMP_NUM_THREADS": "1", "NETWRIGHT_LANG": "en"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet,
            start_new_session=True,
        )  # fmt: skip

    def __call__(self, ranks: int, words: list[Any], folder: Path, **environment: str) -> dict[str, Any]:
        """Run `words` as `ranks` ranks, in `folder`; 1 needs no launcher."""
        order = {"ranks": ranks, "words": [str(word) for word in words], "folder": str(folder),
                 "environment": environment}  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def serve() -> None:
    """Answer orders until nobody asks any more."""
    names = ("torch._dynamo", "netwright.start", "sklearn.linear_model", "sklearn.neighbors", "scipy.stats", "pandas")
    for name in names:
        importlib.import_module(name)  # here once rather than in every child
    from netwright.catalogue import NETWORKS
    from netwright.cli import _run
    from netwright.data.read import read

    assert "mlp" in NETWORKS
    read("digits")

    for line in sys.stdin:
        order = json.loads(line)
        ranks, port = order["ranks"], free_port()
        places = [Path(order["folder"]) / f".rank{rank}" for rank in range(ranks)]
        children = []
        for rank in range(ranks):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # forking beside sleeping threads
                child = os.fork()
            if child == 0:
                _child(order, rank, port, places[rank], _run)
            children.append(child)
        codes = _wait(children)
        texts = {name: [place.with_suffix(f".{name}").read_text() for place in places] for name in ("stdout", "stderr")}
        print(json.dumps({"codes": codes, **texts}), flush=True)


def _child(order: dict[str, Any], rank: int, port: int, place: Path, run: Any) -> None:
    code = 99
    try:
        os.chdir(order["folder"])
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(place.with_suffix(f".{name}"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        os.environ.update(order["environment"])
        os.chdir(order["environment"].get(f"FOLDER_OF_{rank}", "."))
        if order["ranks"] > 1:
            ranks = str(order["ranks"])
            os.environ.update(RANK=str(rank), WORLD_SIZE=ranks, LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=ranks)
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        if "SPY" in order["environment"]:
            _spy(Path(order["environment"]["SPY"]), int(order["environment"].get("STOP_AFTER", 0)), rank)
        code = run(order["words"])
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _spy(path: Path, stop_after: int, rank: int) -> None:
    """Write down which examples each batch counts; rank 0 gets a SIGTERM after so many batches (0: none)."""
    from netwright.training.state import State

    count, taken = State.count, 0

    def watched(self: Any, terms: Any, batch: Any) -> None:
        nonlocal taken
        counted = batch.examples[: len(batch) - batch.spare].tolist()
        with open(path, "a") as file:
            file.write(json.dumps([batch.epoch, counted]) + "\n")
        taken += 1
        if taken == stop_after and rank == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        count(self, terms, batch)

    State.count = watched  # type: ignore[method-assign]


def _wait(children: list[int]) -> list[int]:
    codes: dict[int, int] = {}
    until = time.monotonic() + TIMEOUT_S
    while len(codes) < len(children):
        for child in children:
            if child not in codes:
                found, status = os.waitpid(child, os.WNOHANG)
                if found:
                    codes[child] = os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            for child in set(children) - codes.keys():
                os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return [codes[child] for child in children]


class Torchrun:
    """`torchrun --standalone -m netwright WORDS`, in a process group of its own that ends with the test."""

    def __init__(self, ranks: int, words: list[Any], folder: Path, **environment: str) -> None:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        command += ["-m", "netwright", *map(str, words)]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "NETWRIGHT_LANG": "en", **environment},
        )  # fmt: skip
        self.seen: set[int] = set()

    def ranks(self) -> list[int]:
        """The processes of the ranks, in their order."""
        found = {}
        for place in Path("/proc").iterdir():
            try:
                state = (place / "stat").read_text() if place.name.isdecimal() else ""
                if state and int(state.rpartition(")")[2].split()[1]) == self.process.pid:
                    words = (place / "environ").read_text(errors="replace").split("\0")
                    found.update({int(word[5:]): int(place.name) for word in words if word.startswith("RANK=")})
            except (OSError, IndexError):
                continue
        self.seen |= set(found.values())
        return [found[rank] for rank in sorted(found)]

    def wait_for(self, path: Path, rows: int, seconds: float = TIMEOUT_S) -> None:
        """Wait until metrics.jsonl at `path` has so many lines."""
        until = time.monotonic() + seconds
        while not path.is_file() or path.read_bytes().count(b"\n") < rows:
            assert time.monotonic() < until, f"{path} has too few lines"
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def end(self, seconds: float = TIMEOUT_S) -> tuple[int, str, str]:
        """Exit code, stdout and stderr, once all is over."""
        out, error = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, error

    def close(self) -> None:
        """End everything that is left."""
        for process in {self.process.pid, *self.ranks(), *self.seen}:
            try:
                os.killpg(process, signal.SIGKILL)
            except OSError:
                continue
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


if __name__ == "__main__":
    serve()
