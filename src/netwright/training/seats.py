"""Which seat the launcher gave this process among the ranks of a training, and what names its machine."""

import os
import socket
from dataclasses import dataclass

from netwright.errors import UsageError
from netwright.language import say
from netwright.training.hearts import Place

TIMEOUT = "NETWRIGHT_RANK_TIMEOUT"
"""The environment variable with the seconds after which a rank that gives no sign of life is given up."""
TIMEOUT_S = 45.0
NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Seat:
    """What the launcher says about this process."""

    number: int
    count: int
    local: int
    beside: int
    """How many ranks this machine has."""
    address: str = ""
    port: int = 0

    @classmethod
    def read(cls) -> "Seat":
        """The seat that the environment describes; one of one where it says nothing (torchrun sets all variables).

        Errors: UsageError where a variable is no number, or where the rank is none of the world.
        """
        found = {name: os.environ.get(name, "") for name in NAMES}
        if (found["WORLD_SIZE"] or "1") != "1" and not all(found.values()):
            missing = ", ".join(name for name, text in found.items() if not text)
            raise UsageError(say("WORLD_SIZE = {world} in the environment, but {missing} is missing; torchrun sets all",
                                 world=found["WORLD_SIZE"], missing=missing))  # fmt: skip
        if not all(found.values()):
            return cls(0, 1, 0, 1)
        given = {**found, **{name: os.environ.get(name) or "" for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE")}}
        numbers: dict[str, int] = {}
        for name, text in given.items():
            if name == "MASTER_ADDR":
                continue
            if text and not text.isdecimal():
                raise UsageError(say("{name} = {text!r} in the environment; it is a number", name=name, text=text))
            numbers[name] = int(text or 0)
        rank, world = numbers["RANK"], numbers["WORLD_SIZE"]
        if not rank < world:
            text = say("RANK = {rank} and WORLD_SIZE = {world} in the environment: ranks count from 0 to one less",
                       rank=rank, world=world)  # fmt: skip
            raise UsageError(text)
        beside = numbers["LOCAL_WORLD_SIZE"] or 1
        return cls(rank, world, numbers["LOCAL_RANK"], beside, found["MASTER_ADDR"], numbers["MASTER_PORT"])


def timeout_s() -> float:
    """The seconds after which a silent rank is given up: 45, or what NETWRIGHT_RANK_TIMEOUT says."""
    text = os.environ.get(TIMEOUT, "")
    try:
        found = float(text or TIMEOUT_S)
    except ValueError:
        found = 0.0
    if not 2 <= found <= 86_400:
        raise UsageError(say("{name} = {text!r}; it is a number of seconds from 2 to 86400", name=TIMEOUT, text=text))
    return found


def place(seat: Seat) -> Place:
    return Place(seat.number, socket.gethostname(), os.getpid(), _machine(), seat.local)


def _machine() -> str:
    """What names this machine since it was started, and its process numbers: signals reach nobody outside of them."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def choose_interface(address: str) -> None:
    """Choose the network interface by which the first machine is reached: many machines call their own name 127.0.1.1,
    and gloo would wait for its partners there. GLOO_SOCKET_IFNAME decides where it is set."""
    if "GLOO_SOCKET_IFNAME" in os.environ or os.name == "nt":
        return
    import fcntl

    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # sends nothing: it only asks for the way
            own = probe.getsockname()[0]
            for _, name in socket.if_nameindex():
                try:
                    found = fcntl.ioctl(probe, 0x8915, name.encode().ljust(256, b"\0"))  # SIOCGIFADDR
                except OSError:
                    continue
                if socket.inet_ntoa(found[20:24]) == own:
                    os.environ["GLOO_SOCKET_IFNAME"] = name
                    return
    except OSError:
        return
