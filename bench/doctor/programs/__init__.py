"""All programs by name: `PROGRAMS`."""

from bench.doctor.programs import (
    healthy_numbers,
    healthy_others,
    healthy_tables,
    pairs,
    recipes,
    seeded_data,
    seeded_loop,
    seeded_loss,
    seeded_network,
    seeded_steps,
    traps,
    traps_more,
)
from bench.doctor.programs.registry import HALVES, PROGRAMS, Program

SOURCES = (
    healthy_numbers, healthy_others, healthy_tables, pairs, recipes, seeded_data, seeded_loop, seeded_loss,
    seeded_network, seeded_steps, traps, traps_more,
)  # fmt: skip

__all__ = ["HALVES", "PROGRAMS", "SOURCES", "Program"]
