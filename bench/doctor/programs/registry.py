"""The list of programs, and the rule by which they fall into a half for tuning and a half for reporting."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from bench.doctor.programs.case import Case

FAMILIES = {
    "tables": (
        "moons", "circles", "blobs", "xor", "spirals", "iris", "wine", "cancer", "rings", "hastie", "checkers",
        "clouds",
    ),
    "numbers": ("diabetes", "friedman", "roll", "counts", "arm", "waveline"),
    "pictures": ("digits", "bars", "shapes", "faces"),
    "sequences": ("adding", "recall", "reversal", "sorting", "letters", "waves", "brackets", "majority"),
    "others": ("multilabel", "density", "siamese", "tags"),
}  # fmt: skip
"""Families of programs: one a source of data, so that no two families share examples."""


def halves() -> dict[str, str]:
    """Which half each family is in: the rule was written down before any doctor ran.

    Formula: within each kind the families stand in the order of the SHA-256 of their name; the first, third, ...
    are for tuning, the others for reporting
    """
    found = {}
    for names in FAMILIES.values():
        ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        found.update({name: ("tuning", "reporting")[place % 2] for place, name in enumerate(ordered)})
    return found


HALVES = halves()


@dataclass(frozen=True)
class Program:
    """A program under its name. `truth`: what was done to it (nothing: healthy); `also`: causes as good to name."""

    name: str
    build: Callable[..., Case]
    base: str
    truth: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()
    strength: str = ""
    """`just`, `clear` or `gross` where a fault was seeded; `trap` where healthy looks odd."""
    amount: Any = None
    cured: Any = None
    reference: float = 0.0
    """What a healthy program reaches on every seed, as skill."""
    contract: str = ""
    """Where a fault breaks a rule exactly: which one. Such a program stays whatever its skill."""

    @property
    def half(self) -> str:
        return HALVES[self.base]

    @property
    def healthy(self) -> bool:
        return not self.truth

    @property
    def epochs(self) -> int:
        return self.make(0).epochs

    def make(self, seed: int) -> Case:
        """The program as it stands, the same for the same seed."""
        torch.manual_seed(seed)
        return self.build(seed) if self.healthy else self.build(seed, self.amount)

    def fixed(self, seed: int) -> Case:
        """The program with its reference fix."""
        torch.manual_seed(seed)
        return self.build(seed) if self.healthy else self.build(seed, self.cured)


PROGRAMS: dict[str, Program] = {}
Builder = Callable[..., Case]


def _add(program: Program) -> None:
    if program.name in PROGRAMS:
        raise ValueError(f"two programs are called {program.name}")
    if program.base not in HALVES:
        raise ValueError(f"{program.name}: no family {program.base}")
    PROGRAMS[program.name] = program


def healthy(base: str, reference: float, name: str = "") -> Callable[[Builder], Builder]:
    """A program that is well: `build(seed)`, and the skill it reaches on every seed."""

    def add(build: Builder) -> Builder:
        _add(Program(name or build.__name__, build, base, reference=reference))
        return build

    return add


def trap(base: str, reference: float, name: str = "") -> Callable[[Builder], Builder]:
    """A program that looks odd and is well."""

    def add(build: Builder) -> Builder:
        _add(Program(name or build.__name__, build, base, strength="trap", reference=reference))
        return build

    return add


def seeded(
    fault: str, base: str, *, cured: Any = False, also: str = "", contract: str = "", **strengths: Any
) -> Callable[[Builder], Builder]:
    """A faulty program: `build(seed, amount)`, once a strength; `cured` is the amount at which nothing is wrong.

    `fault`: one id, or several of a pair with a space between. Without strengths: one program, amount True, `clear`.
    """

    def add(build: Builder) -> Builder:
        ids = frozenset(fault.split())
        for strength, amount in (strengths or {"clear": True}).items():
            name = f"{'-'.join(fault.split())}-{build.__name__}-{strength}"
            _add(Program(name, build, base, ids, frozenset(also.split()), strength, amount, cured, contract=contract))
        return build

    return add
