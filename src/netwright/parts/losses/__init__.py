"""Losses: one value per example, from a network's outputs (logits or numbers) and the targets.

Averaging, weights and masks are applied once, by the training objective. Facts: `target` is what the target holds
(`class index` or `number`), `link` turns outputs into probabilities or numbers at prediction time. Where a loss has a
setting `link`, the setting wins over the fact. Half precision is computed in float32.

A loss with the fact `reads` wants `probabilities` or `log-probabilities` where the others take plain outputs; one with
`units="data"` wants numbers in the data's own units. Networks give neither, so the objective converts
(`netwright.training.objective.on_outputs`).

Labels and values that cannot be are refused where looking costs nothing: on the CPU, outside compiled code.
"""

from netwright.parts.losses import classes as classes  # the first of the family, whichever loss is imported first
from netwright.parts.losses.checking import check_loss, check_slope
from netwright.parts.losses.pairing import Pairing, pairing

__all__ = ["Pairing", "check_loss", "check_slope", "pairing"]
