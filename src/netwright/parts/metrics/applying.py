"""Which metrics apply to a task, and all of them at once."""

from typing import Any

from netwright.catalogue import METRICS
from netwright.parts.metrics.classes import TOP
from netwright.parts.metrics.likelihoods import Likelihoods


def metrics_of(task: str) -> list[str]:
    """The metrics of a task, in the order of the catalogue; the fact `task` is one name or several."""
    return [name for name, part in METRICS.items() if applies(part.facts["task"], task)]


def applies(fact: str | tuple[str, ...], task: str) -> bool:
    """Whether a metric's fact `task` names that task."""
    return task == fact if isinstance(fact, str) else task in fact


def names(task: str, classes: int = 0) -> list[str]:
    """The metrics that apply to a task: `f1` only with two classes, `top_5` only with more than five."""
    left_out = {"f1"} if classes != 2 else set()
    left_out |= {"top_5"} if classes <= TOP else set()
    return [name for name in metrics_of(task) if name not in left_out]


def measure(
    task: str,
    truth: Any,
    outputs: Any,
    *,
    naive_error: Any = None,
    likelihoods: Likelihoods | None = None,
) -> dict[str, float | None]:
    """Every metric that applies, by name; None where a number does not exist.

    Args:
        task: what the network does: `classify`, `regress`, `tag`, `generate`, `translate`, `forecast`, `transcribe`
            or `verify`.
        truth: one entry an example: class numbers, numbers (N,) or (N, M), lists of tags, texts, numbers
            (N, horizon), texts, 0 or 1; of no use to `generate`.
        outputs: probabilities (N, K), numbers, lists of tags, `Likelihoods`, texts, numbers (N, horizon), texts,
            scores (N,).
        naive_error: what `mase` divides by, in the data's units; without it `mase` is None.
        likelihoods: what `perplexity` reads where the outputs are texts; without them it is None.
    """
    classes = outputs.shape[1] if task == "classify" else 0
    extra = {"naive_error": naive_error, "likelihoods": likelihoods}
    return {name: METRICS[name](*arguments(name, truth, outputs, **extra)) for name in names(task, classes)}


def arguments(
    name: str, truth: Any, outputs: Any, *, naive_error: Any = None, likelihoods: Likelihoods | None = None
) -> tuple[Any, ...]:
    """What that metric is called with, by its facts `reads` and `needs`."""
    facts = METRICS[name].facts
    if facts.get("reads") == "likelihoods" and not isinstance(outputs, Likelihoods):
        return truth, likelihoods
    return (truth, outputs, naive_error) if facts.get("needs") == "naive_error" else (truth, outputs)
