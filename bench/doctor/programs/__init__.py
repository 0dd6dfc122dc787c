"""All programs by name: `PROGRAMS`."""

from bench.doctor.programs import healthy_numbers, healthy_others, healthy_tables
from bench.doctor.programs.registry import HALVES, PROGRAMS, Program

__all__ = ["HALVES", "PROGRAMS", "Program", "healthy_numbers", "healthy_others", "healthy_tables"]
