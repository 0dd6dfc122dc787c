"""The list of the second set's programs: the first set's kind of program, in a half of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.doctor.programs import PROGRAMS as FIRST
from bench.doctor.programs.case import Case
from bench.doctor.programs.registry import Program

FAMILIES = (
    "quantiles", "ripples", "credit", "penguins", "loans", "stripes", "houses", "circuit", "angle", "scurve",
    "pendulum", "parity", "dots", "arrows", "gratings", "patches", "glyphs", "series", "rhythm", "echo", "reviews",
    "topics", "largest", "chords", "ratings", "graphs", "bags", "reconstruct", "embedded",
)  # fmt: skip
"""Sources of data; none stands in the first set, but for the recipes' embedded ones."""


@dataclass(frozen=True)
class Second(Program):
    """A program of the second set; all of them are for reporting."""

    @property
    def half(self) -> str:
        return "second"


PROGRAMS: dict[str, Second] = {}
Builder = Callable[..., Case]


def _add(program: Second) -> None:
    if program.name in PROGRAMS or program.name in FIRST:
        raise ValueError(f"two programs are called {program.name}")
    if program.base not in FAMILIES:
        raise ValueError(f"{program.name}: no family {program.base}")
    PROGRAMS[program.name] = program


def healthy(base: str, reference: float) -> Callable[[Builder], Builder]:
    """A program that is well: `build(seed)`, and the skill it reaches on every seed."""

    def add(build: Builder) -> Builder:
        _add(Second(build.__name__, build, base, reference=reference))
        return build

    return add


def trap(base: str, reference: float) -> Callable[[Builder], Builder]:
    """A program that looks odd and is well."""

    def add(build: Builder) -> Builder:
        _add(Second(build.__name__, build, base, strength="trap", reference=reference))
        return build

    return add


def seeded(
    fault: str, base: str, *, cured: Any = False, also: str = "", contract: str = "", well: float = 0.0,
    **strengths: Any,
) -> Callable[[Builder], Builder]:  # fmt: skip
    """A faulty program: `build(seed, amount)`, once a strength; `cured` is the amount at which nothing is wrong.

    `well`: the cured program is a healthy one of its own, with this reference. A doctor that calls both faulty, or
    both healthy, has not seen the fault.
    """

    def add(build: Builder) -> Builder:
        ids, others = frozenset(fault.split()), frozenset(also.split())
        for strength, amount in (strengths or {"clear": True}).items():
            name = f"{'-'.join(fault.split())}-{build.__name__}-{strength}"
            _add(Second(name, build, base, ids, others, strength, amount, cured, contract=contract))
        if well:
            _add(Second(f"{build.__name__}-mended", lambda seed: build(seed, cured), base, reference=well))
        return build

    return add
