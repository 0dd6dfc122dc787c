"""What tests of several ranks share."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ranking import Forks


@pytest.fixture(scope="session")
def forks():
    """Runs of several ranks, forked from one process."""
    found = Forks()
    yield found
    found.close()


class Machines:
    """Two machines: two network namespaces with a cable between them, process numbers and host names of their own."""

    def __init__(self) -> None:
        mark = f"nw{os.getpid() % 100_000}"
        self.names, self.ends = [f"{mark}-{side}" for side in "ab"], [f"{mark}{side}" for side in "ab"]
        self.running: list[subprocess.Popen[str]] = []

    def connect(self) -> None:
        """Make both machines, as 10.0.0.1 and 10.0.0.2."""
        _ip("link", "add", self.ends[0], "type", "veth", "peer", "name", self.ends[1])
        for number, (name, end) in enumerate(zip(self.names, self.ends, strict=True), 1):
            _ip("netns", "add", name)
            _ip("link", "set", end, "netns", name)
            _ip("-n", name, "addr", "add", f"10.0.0.{number}/24", "dev", end)
            for link in ("lo", end):
                _ip("-n", name, "link", "set", link, "up")

    def pull(self) -> None:
        """Pull the cable."""
        _ip("-n", self.names[0], "link", "set", self.ends[0], "down")

    def plug(self) -> None:
        """Put the cable back."""
        _ip("-n", self.names[0], "link", "set", self.ends[0], "up")

    def start(self, number: int, command: str, folder: Path, **environment: str) -> "subprocess.Popen[str]":
        """Start a shell command on a machine."""
        inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "bash", "-c"]
        inside.append(f"hostname machine{number + 1}; {command}")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.names[number], *inside], cwd=folder, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "NETWRIGHT_LANG": "en", **environment},
        )  # fmt: skip
        self.running.append(process)
        return process

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, text=True, check=True)


@pytest.fixture
def machines(capsys):
    """Two machines where this one may make network namespaces; elsewhere the test says that it proved nothing."""
    found = Machines()
    try:
        found.connect()
        tried = found.start(0, "true", Path.cwd())
        _, error = tried.communicate(timeout=30)
        if tried.returncode:
            raise OSError(error)
    except (OSError, subprocess.SubprocessError) as error:
        found.close()
        why = getattr(error, "stderr", None) or error
        with capsys.disabled():
            print(f"\n*** TWO MACHINES WERE NOT TESTED HERE: network namespaces cannot be made: {why} ***")
        pytest.skip(f"network namespaces cannot be made: {why}")
    yield found
    found.close()
