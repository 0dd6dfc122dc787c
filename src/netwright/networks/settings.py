"""Types of settings that networks of several families have, each with what may be given."""

from typing import Annotated, Literal

from netwright.catalogue import Range

Hidden = Annotated[int, Range(1, 100_000)]
Layers = Annotated[int, Range(1, 100)]
Share = Annotated[float, Range(0, 0.999)]
Beam = Annotated[int, Range(1, 1000)]
Cell = Literal["lstm", "gru", "rnn"]
"""Cells that torch itself runs over all steps, so that their state can be handed on."""
