"""Faults between examples and splits: leaks, order, preparation that differs (A8, A9, A10)."""

import math
from typing import Annotated, Any

import numpy as np
import torch

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.data import advice, alike_validation
from netwright.doctor.changes.examples import shuffled_batches
from netwright.doctor.changes.steps import batch_of
from netwright.doctor.chart import Chart
from netwright.doctor.faults.augmentation import is_picture, own_augmentation
from netwright.doctor.faults.labels import once
from netwright.doctor.faults.pairing import elsewhere
from netwright.doctor.gauges.leaks import Leaks, leaks, marks
from netwright.doctor.gauges.reference import arrays
from netwright.doctor.gauges.shifts import Shift, shift
from netwright.doctor.gauges.target_scan import order_of
from netwright.doctor.subject import Change, possible
from netwright.doctor.suspicion import Suspicion, Unmeasured
from netwright.doctor.task import paired_error
from netwright.language import say

MOST = 20_000


def found_leaks(chart: Chart) -> Leaks:
    """What validation shares with training, and the features that tell most; seconds at most."""

    def make() -> Leaks:
        subject = chart.subject
        if not chart.task.is_judged or chart.clock.left < 5:
            raise Unmeasured
        x, y = arrays(subject, subject.sample(MOST))
        held = arrays(subject, list(subject.validation)) if subject.validation else (None, None)
        return leaks(x, y, *held, kind=chart.task.kind, seed=chart.seed)

    return once(chart, "leaks", make)


def is_copy(chart: Chart, feature: int) -> bool:
    """Whether a feature is the target under another name: one value a class, or on a line with it."""
    x, y = once(chart, "rows", lambda: arrays(chart.subject, chart.subject.sample(3000)))
    column = x.reshape(len(x), -1)[:, feature].astype(np.float64)
    if chart.task.kind == "classes":
        pairs = len({(a, b) for a, b in zip(column.tolist(), y.tolist(), strict=True)})
        return pairs == len(np.unique(column)) == len(np.unique(y)) > 1
    target = y.reshape(len(y), -1)[:, 0].astype(np.float64)
    if column.std() == 0 or target.std() == 0 or not np.isfinite(column).all():
        return False
    return bool(abs(np.corrcoef(column, target)[0, 1]) > 0.99999)


FEW_VALUES = 0.9
"""Where so many features have few values, equal examples are no wonder."""


def coincidences(chart: Chart) -> float:
    """The share of training examples that have an equal among the others, where features have few values; else 0."""
    try:
        if chart.scan.whole < FEW_VALUES:
            return 0.0
    except Unmeasured:
        pass  # tokens
    x, _ = arrays(chart.subject, chart.subject.sample(MOST))
    _, counts = np.unique(np.array(marks(x)), return_counts=True)
    return float(counts[counts > 1].sum() / max(1, len(x)))


@FAULTS.add("A8", title="leak", source="doctor catalogue A8; Kaufman et al. 2012", demo='''
import numpy as np
from netwright.doctor.gauges.leaks import leaks
from sklearn.datasets import load_breast_cancer
x, y = load_breast_cancer(return_X_y=True)
order = np.random.default_rng(0).permutation(len(x))
train, held = order[:400], np.concatenate([order[400:], order[:60]])  # 60 examples stand in both
found = leaks(x[train], y[train], x[held], y[held], kind="classes")
print("validation examples that also train:", found.duplicates.across, "of", len(held))
with_copy = np.column_stack([x, 3 * y + 1])  # the answer under another name
found = leaks(with_copy[train], y[train], kind="classes")
print("columns that give the answer away:", [one.feature for one in found.telling])
''')  # fmt: skip
def leak(
    chart: Chart, *, share: Annotated[float, Range(0, 1)] = 0.005, auc: Annotated[float, Range(0.5, 1)] = 0.99,
    points: Annotated[float, Range(0, 1)] = 0.05,
) -> Suspicion | None:  # fmt: skip
    """Validation examples, or the answer itself, are already known in training, so the score is better than the truth.

    The same example in both splits is recognised, not predicted. A feature that is made from the target, such as a bill
    that only follows the illness to be predicted, is there in training and missing when it matters.

    It shows as validation examples that also stand in training, beyond what few distinct values bring by chance; as
    near copies of training examples, more than training has of itself; as one feature that alone ranks the classes
    with an area under the curve of 0.99 or more; or as a validation score above the training score without dropout or
    augmentation.

    Some tasks are simply easy. Remove the copies or the feature and measure again: the score of a leak goes down, and
    that lower score is the honest one.

    Split by group or by time; drop duplicates before splitting; drop the feature; fit every preparation on the training
    examples alone.
    """
    found = found_leaks(chart)
    same, near = found.duplicates, found.near
    evidence: dict[str, Any] = {}
    level = 0.0
    changes: list[Change] = []
    if same is not None and same.across_share > share:
        chance = max(same.by_chance, coincidences(chart))
        beyond = same.across_share - chance
        evidence |= {"in_training_too": same.across, "of": same.compared, "share": same.across_share,
                     "threshold": share,
                     "by_chance": chance, "examples": [held for held, _ in same.pairs[:12]]}  # fmt: skip
        level = 1.0 if same.across >= 5 and beyond >= 0.05 else 0.4 if beyond > share else 0.0
        changes.append(no_copies(chart))
    if near is not None and near.has_excess and near.share > 0.02:
        evidence |= {"near_copies": near.share, "expected_near_copies": near.expected}
        level = max(level, 0.9 if near.share - near.expected >= 0.1 else 0.4)
        changes = changes or [no_copies(chart)]
    telling = [one for one in found.telling if one.auc >= auc]
    if telling and found.features >= 3:
        copies = [one.feature for one in telling if is_copy(chart, one.feature)]
        evidence |= {"features": [one.feature for one in telling[:6]], "auc": telling[0].auc, "threshold_auc": auc}
        level = max(level, 1.0 if copies else 0.4)
        if copies and chart.subject.recipe is None:
            changes.append(no_column(copies))
    if not level:
        return ahead(chart, points)
    certain = level >= 0.9
    where = say("validation") if changes and changes[0].name == "no copies" else say("features")
    harm = say("the score is better than the truth: without the leak it goes down, and that is the honest one")
    harm = harm if certain else ""
    return Suspicion(
        "A8", say("leak"), where, evidence, level, exact=certain, note=not certain, advice=True, harm=harm,
        changes=changes,
    )  # fmt: skip


def no_copies(chart: Chart) -> Change:
    why = say("validation then asks about examples that training has not seen; its score goes down to the honest one")
    if chart.subject.recipe is not None:
        return Change("no copies", why, {"data.drop_duplicates": True})
    return advice(
        "no copies", why, say("drop duplicates before splitting, and split by group where examples belong together")
    )


def no_column(columns: list[int]) -> Change:
    why = say("the score goes down to what can be known at prediction")
    return advice("no column", why, say("drop column {columns}", columns=", ".join(map(str, columns[:5]))))


def ahead(chart: Chart, points: float) -> Suspicion | None:
    """Validation clearly above training, without dropout or augmentation: worth a note."""
    whole = chart.whole
    if not chart.subject.validation or not whole.finite or any("dropout" in op.name for op in chart.ops):
        return None
    count = sum(map(len, chart.subject.validation))
    lead = whole.skill_validation - whole.skill_train
    if not lead > max(points, 3 / math.sqrt(max(1, count))) or chart.recipe.get("data", {}).get("augment"):
        return None
    evidence = {"skill_train": whole.skill_train, "skill_validation": whole.skill_validation, "threshold": points}
    return Suspicion("A8", say("leak"), say("validation"), evidence, 0.2, note=True)


@FAULTS.add("A9", title="examples not shuffled", source="doctor catalogue A9; arXiv:1206.5533, 3.1", demo='''
import torch
from sklearn.datasets import load_digits
x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
x, order = x.float() / 16, y.argsort()  # sorted by class
for name, rows in (("sorted", order), ("shuffled", torch.randperm(len(y)))):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        for batch in rows.split(32):
            sgd.zero_grad()
            torch.nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            sgd.step()
    print(name, "accuracy", (net(x).argmax(1) == y).float().mean().item())
''')  # fmt: skip
def not_shuffled(
    chart: Chart, *, beyond: Annotated[float, Range(0, 1)] = 0.2, mixed: Annotated[float, Range(0, 1)] = 0.5
) -> Suspicion | None:
    """Batches cut from sorted examples each hold one class, and the network forgets the others meanwhile.

    Every step then moves the answers towards the class at hand, and the next batches move them back. The loss saws up
    and down once an epoch, and batch normalisation measures one class at a time.

    It shows as neighbours of one class more often than chance, by 0.2 or more, in batches that come in the same order
    in each epoch; as batches whose classes are mixed less than half as well as the whole; and as a last part of the
    data whose classes differ from the rest, which makes a bad validation split.

    A learning rate that is too high makes the loss rise and fall too, without that period. Shuffle and change nothing
    else: where that alone helps, this is the cause.

    Shuffle anew in each epoch; draw the validation split at random, class by class. Series in time keep their order in
    splits, and their windows are shuffled in training all the same.
    """
    subject = chart.subject
    if subject.recipe is not None or subject.shuffles or len(subject.batches) < 3 or not chart.task.is_judged:
        return None
    truth = torch.cat([chart.task.truth(pair.targets) for pair in subject.batches]).cpu().numpy()
    found = order_of(truth, chart.task.kind, batch=batch_of(subject), seed=chart.seed)
    if found is None or len(truth) != subject.examples:
        return None
    excess = found.agreement - found.chance
    sorted_ = excess > max(beyond, 5 * found.error)
    apart = found.batch_entropy < mixed * found.random_entropy
    if not (sorted_ or apart):
        return None
    evidence = {
        "neighbours_alike": found.agreement, "by_chance": found.chance, "threshold": found.chance + beyond,
        "mix_in_batches": found.batch_entropy, "mix_at_random": found.random_entropy, "threshold_mix": mixed,
        "last_part_differs": found.tail,
    }  # fmt: skip
    strength = 0.4 + 0.5 * max(0.0, min(1.0, 1 - found.batch_entropy / max(1e-9, found.random_entropy)))
    changes = possible(shuffled_batches(subject))
    return Suspicion("A9", say("examples not shuffled"), say("batches"), evidence, strength, changes=changes)


def found_shift(chart: Chart) -> Shift | None:
    """The difference of inputs between training and validation."""

    def make() -> Shift | None:
        subject = chart.subject
        if not subject.validation or subject.recipe is not None:
            raise Unmeasured
        x, _ = arrays(subject, subject.sample(MOST))
        held, _ = arrays(subject, list(subject.validation))
        if x.shape[1:] != held.shape[1:] or (x.dtype.kind != "f" and held.dtype.kind != "f"):
            raise Unmeasured
        x, held = (np.moveaxis(part, 1, -1) if part.ndim == 4 else part for part in (x, held))
        wide = x.shape[-1]
        dtypes = str(x.dtype), str(held.dtype)
        return shift(x.reshape(-1, wide).astype(float), held.reshape(-1, wide).astype(float), dtypes=dtypes)

    return once(chart, "shift", make)


@FAULTS.add("A10", title="validation prepared otherwise", source="doctor catalogue A10", demo='''
import torch
from sklearn.datasets import load_digits
x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
train, held = (x[:1200] / 16 - 0.3).float(), x[1200:].float()  # validation was never scaled
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
adam = torch.optim.Adam(net.parameters(), lr=0.01)
for _ in range(200):
    adam.zero_grad()
    torch.nn.functional.cross_entropy(net(train), y[:1200]).backward()
    adam.step()
for name, data in (("as given", held), ("prepared as training", held / 16 - 0.3)):
    print(name, (net(data).argmax(1) == y[1200:]).float().mean().item())
''')  # fmt: skip
def prepared_otherwise(
    chart: Chart, *, mean: Annotated[float, Range(0)] = 0.5, scale: Annotated[float, Range(1)] = 2.0
) -> Suspicion | None:
    """The network learns on one kind of numbers and is asked about another.

    Training inputs were standardised and validation inputs not, or pictures run from 0 to 1 here and from 0 to 255
    there, or each split was standardised by its own statistics.

    It shows as features whose means differ between the splits by more than half a standard deviation, or whose spreads
    differ by more than a factor of two, beyond chance; and as a validation score that is poor from the first epoch on.

    Overfitting makes a gap too, but one that grows with time. Data that really changed between the splits, such as
    another hospital or another year, show the same differences; bring the validation inputs to the mean and scale of
    the training inputs: where the score then rises, the preparation was at fault.

    Use one transform for all splits, fitted on the training examples, and save it with the network.
    """
    found = found_shift(chart)
    if found is None or not found.share:
        return other_rule(chart)
    size = max(found.usual_mean / mean, abs(math.log(max(found.usual_scale, 1e-9))) / math.log(scale))
    widest = max(found.mean / mean, abs(math.log(max(found.scale, 1e-9))) / math.log(scale))
    if widest <= 1 or found.share < 0.05 or (found.mean <= mean and own_augmentation(chart) is not None):
        return other_rule(chart)
    change = alike_validation(chart.subject)
    before, after, error = compared(chart, change) if change is not None else (math.nan, math.nan, math.nan)
    evidence = {
        "mean_difference": found.mean, "threshold_mean": mean, "scale_ratio": found.scale, "threshold_scale": scale,
        "features_share": found.share, "range_train": list(found.range_train),
        "range_validation": list(found.range_validation),
        "skill_as_given": before, "skill_prepared_alike": after,
    }  # fmt: skip
    gains = after - before >= max(0.05, 2 * error)
    told = say("the network is asked about numbers it has never met: {before:.2f} as given, {after:.2f} prepared alike",
               before=before, after=after)  # fmt: skip
    return Suspicion(
        "A10", say("validation prepared otherwise"), say("validation"), evidence,
        min(1.0, 0.4 + 0.2 * size) if gains else 0.2, exact=gains, note=not gains, harm=told if gains else "",
        changes=possible(change),
    )  # fmt: skip


def other_rule(chart: Chart) -> Suspicion | None:
    """Validation rows that follow another rule than those of training, though no column by itself differs."""
    if is_picture(chart) or elsewhere(chart) != "inputs":
        return None
    evidence = {"simple_learners": chart.control.skill, "validation_skill": chart.whole.skill_validation}
    harm = say("simple learners find the rule in each split, and none that holds in both")
    return Suspicion("A10", say("validation prepared otherwise"), say("validation"), evidence, 0.9, exact=True,
                     harm=harm)  # fmt: skip


def compared(chart: Chart, change: Change) -> tuple[float, float, float]:
    """The skill on validation examples of one trained branch, as they are and prepared alike, and the standard error
    of the difference."""
    subject = chart.subject
    steps = min(chart.whole.steps, max(30, round(0.15 * max(1.0, chart.clock.left) / max(1e-6, chart.whole.per_step))))
    with subject.live() as live:
        losses = live.run(steps)
        if not losses or losses[-1] != losses[-1]:
            return 0.0, 0.0, 0.0
        before, first = live.scored(subject.validation, chart.sigmoid)
        if change.apply is not None:
            change.apply(live)
        after, second = live.scored(subject.validation, chart.sigmoid)
        error = 0.025 if first is None or second is None else paired_error(first, second, chart.task.kind)
        return before, after, error
