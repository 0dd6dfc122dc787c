"""How good predictions are: one number for a set of examples.

A metric takes the truth and the predictions of a task, one entry an example:

    classify               true classes (whole numbers), probabilities (examples x classes)
    regress, forecast      true and predicted numbers (examples, examples x outputs or examples x horizon)
    tag                    true and predicted lists of tags
    generate               nothing, `Likelihoods`
    translate, transcribe  true and predicted texts
    verify                 1 (the same) or 0, scores

A value that does not exist (no examples, a class that is missing, outputs that are not finite) is None, never NaN.
Facts: `task` is a name or a tuple of names; with `reads="likelihoods"` a metric takes `Likelihoods` for predictions,
with `needs="naive_error"` that number in the third place; either may be None, and so is the metric then.
"""

from netwright.parts.metrics.applying import applies, arguments, measure, metrics_of, names
from netwright.parts.metrics.checking import Sums, finite, rows, usable
from netwright.parts.metrics.classes import TOP, auc_by_class, calibration_bins, decide, normalised
from netwright.parts.metrics.differences import edits, longest_common
from netwright.parts.metrics.likelihoods import Likelihoods
from netwright.parts.metrics.per_example import PER_EXAMPLE, SUMS
from netwright.parts.metrics.tags import entities, entity_table, scheme

__all__ = [
    "PER_EXAMPLE",
    "SUMS",
    "TOP",
    "Likelihoods",
    "Sums",
    "applies",
    "arguments",
    "auc_by_class",
    "calibration_bins",
    "decide",
    "edits",
    "entities",
    "entity_table",
    "finite",
    "longest_common",
    "measure",
    "metrics_of",
    "names",
    "normalised",
    "rows",
    "scheme",
    "usable",
]
