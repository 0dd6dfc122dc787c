"""What single examples add to the metrics, for intervals and paired tests."""

from collections.abc import Callable

import numpy as np

from netwright.parts.metrics import classes, differences, likelihoods, numbers, overlaps, tags
from netwright.parts.metrics.checking import Sums

PER_EXAMPLE: dict[str, Callable[..., np.ndarray]] = {
    "accuracy": classes.hits,
    "f1_micro": classes.hits,
    "top_5": classes.top_hits,
    "log_loss": classes.surprises,
    "mse": numbers.squared,
    "mae": numbers.absolute,
    "mase": numbers.scaled,
    "rouge1": overlaps.rouge1_values,
    "rougeL": overlaps.rouge_l_values,
    "exact_match": differences.same_texts,
}
"""The metrics that are the mean of one value an example, and the function that gives those values."""

SUMS: dict[str, Sums] = {
    "entity_f1": tags.ENTITY_F1,
    "token_accuracy": tags.TOKEN_ACCURACY,
    "bits_per_character": likelihoods.BITS,
    "perplexity": likelihoods.PERPLEXITY,
    "nll": likelihoods.NATS,
    "bleu": overlaps.BLEU,
    "chrf": overlaps.CHRF,
    "word_error_rate": differences.WORD_ERRORS,
    "character_error_rate": differences.CHARACTER_ERRORS,
}
"""The metrics that are a function of sums over the examples, and what an example adds."""
