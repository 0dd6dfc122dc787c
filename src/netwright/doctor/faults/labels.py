"""Wrong labels (A6), and examples in the order of their data set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

import numpy as np
from torch import Tensor

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.examples import random_examples_gone, without_examples
from netwright.doctor.changes.penalties import smoothing
from netwright.doctor.chart import Chart
from netwright.doctor.gauges.labels import LabelErrors, label_errors
from netwright.doctor.gauges.leaks import marks
from netwright.doctor.gauges.reference import arrays
from netwright.doctor.subject import Change, Pair, Subject, possible
from netwright.doctor.suspicion import Suspicion, Unmeasured
from netwright.doctor.trial import branch
from netwright.language import say

Found = TypeVar("Found")
FEWEST = 60
"""With fewer examples nothing is said about their labels."""
MOST = 5000
SECONDS = 12.0
"""So much time must be left before labels are judged."""


def once(chart: Chart, name: str, make: Callable[[], Found]) -> Found:
    """A measurement that several faults read, made when the first one asks."""
    kept: dict[str, Any] = vars(chart).setdefault("_data", {})
    if name not in kept:
        try:
            kept[name] = make()
        except Unmeasured as error:
            kept[name] = error
    if isinstance(kept[name], Unmeasured):
        raise Unmeasured
    return cast(Found, kept[name])


@dataclass(frozen=True)
class Ordered:
    """Examples in the order of the data set, where it can be known."""

    x: np.ndarray
    y: np.ndarray
    whole: Pair | None
    """All examples, where the batches mix them."""
    is_order: bool
    """Whether the order is that of the data."""


def dataset_tensors(subject: Subject) -> Pair | None:
    """The tensors behind a loader that draws from them; None for everything else."""
    tensors = getattr(getattr(getattr(subject, "given", None), "dataset", None), "tensors", None)
    if (
        not isinstance(tensors, (tuple, list))
        or len(tensors) < 2
        or not all(isinstance(part, Tensor) for part in tensors)
    ):
        return None
    place = subject.targets().device
    return Pair(tuple(part.to(place) for part in tensors[:-1]), tensors[-1].to(place))


def ordered(chart: Chart) -> Ordered:
    """The examples as arrays; those behind a mixing loader in their own order."""

    def make() -> Ordered:
        subject = chart.subject
        whole = dataset_tensors(subject)
        if whole is not None and len(whole) <= 20_000:
            return Ordered(*arrays(subject, [whole]), whole, True)
        return Ordered(*arrays(subject, subject.sample(20_000)), None, not subject.shuffles)

    return once(chart, "ordered", make)


def trails(chart: Chart) -> bool:
    """Whether the network is behind simple learners, or its training broke."""
    whole = chart.whole
    return not whole.finite or whole.skill < 0.9 * chart.control.skill - max(0.02, 2 * chart.control.error)


def judged_labels(chart: Chart) -> LabelErrors:
    """The estimate of wrong labels; Unmeasured where time or examples are short."""

    def make() -> LabelErrors:
        subject = chart.subject
        if chart.task.kind != "classes" or subject.examples < FEWEST or chart.clock.left < SECONDS:
            raise Unmeasured
        if subject.examples > MOST and not trails(chart):
            raise Unmeasured
        if not chart.control.signal:
            raise Unmeasured
        x, y = arrays(subject, subject.sample(20_000))
        found = label_errors(x, y, seconds=min(5.0, 0.1 * chart.clock.left), seed=chart.seed)
        if found is None:
            raise Unmeasured
        return found

    return once(chart, "labels", make)


def example_names(chart: Chart, places: list[int]) -> list[Any]:
    """What to call these examples: ids of a data set, places in it, or places counted through the batches."""
    subject = chart.subject
    dataset = getattr(subject, "dataset", None)
    if dataset is not None:
        rows = np.concatenate([pair.source.examples for pair in subject.batches])
        return [dataset.source.ids[int(rows[place])] for place in places]
    whole = dataset_tensors(subject)
    if whole is None or not places:
        return list(places)
    known = {mark: place for place, mark in reversed(list(enumerate(marks(arrays(subject, [whole])[0]))))}
    here = marks(arrays(subject, subject.sample(20_000))[0][places])
    return [known.get(mark, place) for mark, place in zip(here, places, strict=True)]


@FAULTS.add("A6", title="wrong labels", source="doctor catalogue A6; Northcutt et al. 2021, arXiv:1911.00068", demo='''
import torch
from netwright.doctor.gauges.labels import label_errors
from sklearn.datasets import load_digits
x, y = load_digits(return_X_y=True)
wrong = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:180].numpy()
y[wrong] = (y[wrong] + 1) % 10  # one label in ten
found = label_errors(x, y)
print("share of wrong labels", round(found.share, 3), "between", round(found.low, 3), "and", round(found.high, 3))
named = [one.index for one in found.suspects[:180]]
print("of the first 180 named,", sum(place in wrong for place in named), "are wrong")
for one in found.suspects[:5]:
    print("example", one.index, "is labelled", one.given, "and looks like", one.likelier)
''')  # fmt: skip
def wrong_labels(chart: Chart, *, share: Annotated[float, Range(0, 1)] = 0.03) -> Suspicion | None:
    """Some examples carry the label of another class, and a network that trains long learns these by heart.

    It first learns the classes, then, example by example, the errors; unseen examples near an error are answered like
    the error.

    It shows when learners that have not seen an example contradict its label although they are sure. Contradictions
    among unsure answers are only hard examples: those die out as the learners grow surer, and wrong labels stay. Here
    the share that stays must be 3 % or more. Training accuracy that still rises when validation accuracy has begun to
    fall is another sign.

    Hard examples, overlapping classes and an undertrained network also make errors, but unsure ones. Labels that are
    all wrong leave no signal at all (A5).

    Look at the examples named, the most suspicious first; correct or drop them, and compare with dropping as many at
    random. Then label smoothing of 0.1, early stopping, or a loss that forgives.
    """
    found = judged_labels(chart)
    if found.share < share or not found.suspects:
        return None
    count = max(1, min(len(found.suspects), round(found.share * found.judged)))
    first = found.suspects[:12]
    names = example_names(chart, [one.index for one in first])
    evidence = {
        "share": found.share, "threshold": share, "low": found.low, "high": found.high, "judged": found.judged,
        "examples": names, "given": [one.given for one in first], "likelier": [one.likelier for one in first],
    }  # fmt: skip
    gone = [one.index for one in found.suspects[:count]]
    changes = possible(without_examples(chart.subject, gone), smoothing(chart.subject, 0.1))
    clear, behind = found.low >= share, trails(chart)
    if behind and not clear and chart.subject.validation and chart.subject.recipe is None:
        without, control = gone_compared(chart, changes[0], random_examples_gone(chart.subject, count))
        evidence |= {"skill_without_suspects": without, "skill_without_random": control}
        clear = without - control > 0.1
    quiet = not clear and not behind
    where = ", ".join(str(name) for name in names[:5])
    harm = say("about {share:.0%} of the labels contradict what all other examples say", share=found.share)
    return Suspicion(
        "A6", say("wrong labels"), say("examples {names}", names=where), evidence, min(1.0, 0.3 + 2 * found.low),
        exact=clear, note=quiet, changes=[] if quiet else changes, harm=harm if clear else "",
    )  # fmt: skip


def gone_compared(chart: Chart, suspects: Change, others: Change | None) -> tuple[float, float]:
    """The skill of a branch without the suspects, and of one without as many random examples."""
    if others is None or chart.clock.left < 0.3 * chart.clock.seconds:
        raise Unmeasured
    spare = 0.15 * chart.clock.left / max(1e-6, chart.whole.per_step)
    steps = min(chart.whole.steps, max(30, round(spare)))
    first, second = (branch(chart.subject, [change], steps, sigmoid=chart.sigmoid) for change in (suspects, others))
    return first.skill, second.skill
