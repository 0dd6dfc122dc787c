"""Worked arithmetic: one training step of a small network as numbers, equal to automatic differentiation."""

from netwright.measures.trace.recurrent import Unrolled, recurrent_steps
from netwright.measures.trace.result import Step, StepTrace
from netwright.measures.trace.step import Example, example, sizes, trace

__all__ = ["Example", "Step", "StepTrace", "Unrolled", "example", "recurrent_steps", "sizes", "trace"]
