"""The second reporting set: programs written without looking at any doctor, on data the first set does not use.

`PROGRAMS` by name. Written after the first reporting half had been looked at once; nobody has looked at this one.
"""

from bench.doctor.second import (
    faulty_data,
    faulty_labels,
    faulty_loop,
    faulty_loss,
    faulty_network,
    faulty_signal,
    faulty_steps,
    healthy,
    healthy_more,
    pairs,
    recipes,
    traps,
    traps_more,
)
from bench.doctor.second.registry import PROGRAMS

SOURCES = (
    faulty_data, faulty_labels, faulty_loop, faulty_loss, faulty_network, faulty_signal, faulty_steps, healthy,
    healthy_more, pairs, recipes, traps, traps_more,
)  # fmt: skip

__all__ = ["PROGRAMS", "SOURCES"]
