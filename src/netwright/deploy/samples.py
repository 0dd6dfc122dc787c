"""A few short samples of a language model, drawn from fixed seeds, for its report."""

from typing import Any

from netwright.data.sequence_targets import NextTokens
from netwright.deploy.generate import Manner, Writer
from netwright.training.forward import Forward

TEMPERATURES = (0.5, 0.8, 1.0)
TOKENS = 160


def samples(forward: Forward, targets: Any) -> list[dict[str, Any]]:
    """`temperature text` of three samples of at most 160 tokens; none for a network that writes nothing."""
    if not isinstance(targets, NextTokens) or not hasattr(forward.model, "step"):
        return []
    return [
        {"temperature": heat, "text": Writer(forward, targets, Manner(temperature=heat)).write("", TOKENS, place)}
        for place, heat in enumerate(TEMPERATURES)
    ]
