"""Targets that belong to other examples, and targets that nothing tells (A5, A13)."""

from typing import Annotated, Any

import numpy as np

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.data import advice
from netwright.doctor.changes.examples import repaired_targets
from netwright.doctor.chart import Chart
from netwright.doctor.faults.labels import FEWEST, once, ordered
from netwright.doctor.gauges.control import control, is_signal
from netwright.doctor.gauges.leaks import Alignment, alignment
from netwright.doctor.gauges.reference import arrays
from netwright.doctor.subject import Change, possible
from netwright.doctor.suspicion import Suspicion, Unmeasured
from netwright.language import say


def no_signal(chart: Chart) -> bool:
    """Whether neither simple learners nor the network find anything in examples they have not seen."""

    def make() -> bool:
        found = chart.control
        if found.signal or not found.held_out or found.learnt < FEWEST:
            return False
        if uneven(chart) and even_signal(chart):
            return False
        seen = unseen_skill(chart)
        return not seen > max(0.05, 3 * found.error)

    return once(chart, "no signal", make)


UNEVEN = 3.0
"""Where one class has so many times the examples of another, accuracy hides what is known of the rare one."""


def uneven(chart: Chart) -> bool:
    """Whether accuracy is a poor judge of what can be known."""
    if chart.task.kind != "classes":
        return False
    counts = np.unique(ordered(chart).y, return_counts=True)[1]
    return len(counts) > 1 and bool(counts.max() > UNEVEN * counts.min())


def even_signal(chart: Chart) -> bool:
    """Whether simple learners find signal among equally many examples of each class."""

    def make() -> bool:
        found = ordered(chart)
        names, counts = np.unique(found.y, return_counts=True)
        kept = names[counts >= max(5, counts.max() // 100)]
        draw = np.random.default_rng(chart.seed)
        least = int(counts[np.isin(names, kept)].min())
        rows = np.concatenate([draw.choice(np.flatnonzero(found.y == name), least, replace=False) for name in kept])
        rows.sort()
        if len(kept) < 2:
            return False
        again = control(found.x[rows], found.y[rows], kind="classes", seconds=2.0, seed=chart.seed)
        return again.signal

    return once(chart, "even signal", make)


def unseen_skill(chart: Chart) -> float:
    """The network's skill on examples it has not seen: validation, else a third of the batches held back."""
    subject = chart.subject
    if subject.validation:
        return chart.whole.skill_validation
    if subject.recipe is not None or len(subject.batches) < 3:
        raise Unmeasured
    cut = max(1, len(subject.batches) * 2 // 3)
    with subject.live() as live:
        pairs = getattr(live, "pairs")[:cut]  # noqa: B009  only a branch of code has them
        setattr(live, "pairs", pairs)  # noqa: B010
        losses = live.run(min(chart.whole.steps, round(0.2 * chart.clock.seconds / max(1e-6, chart.whole.per_step))))
        return live.skill(subject.batches[cut:], chart.sigmoid) if losses and losses[-1] == losses[-1] else 0.0


def pairing(chart: Chart) -> Alignment:
    """Whether other pairings of examples and targets show signal."""

    def make() -> Alignment:
        if chart.clock.left < 0.25 * chart.clock.seconds:
            raise Unmeasured
        found = ordered(chart)
        return alignment(found.x, found.y, kind=chart.task.kind, seed=chart.seed)

    return once(chart, "pairing", make)


def validation_signal(chart: Chart) -> bool:
    """Whether validation examples by themselves show what training examples do not."""

    def make() -> bool:
        subject = chart.subject
        if sum(map(len, subject.validation)) < FEWEST:
            return False
        x, y = arrays(subject, list(subject.validation))
        found = control(x, y, kind=chart.task.kind, seconds=2.0, seed=chart.seed)
        best = found.scores[found.best]
        return is_signal(best) and best.skill > max(0.1, 4 * best.error)

    return once(chart, "validation signal", make)


APART = 0.25
"""Of skill: so much more must training examples tell of each other than of those of validation."""
JUDGED = 200
"""From so many validation examples on it is known that nothing is to be learnt among them."""


def elsewhere(chart: Chart) -> str:
    """Where training examples show a signal that validation examples do not follow: what is other there, `inputs` or
    `targets`; else nothing."""
    if not chart.subject.validation or not no_signal(chart) or not pairing(chart).has_signal:
        return ""
    if pairing(chart).given.skill < chart.control.skill + APART:
        return ""
    if validation_signal(chart):
        return "inputs"
    return "targets" if sum(map(len, chart.subject.validation)) >= JUDGED else ""


def structure(chart: Chart) -> float:
    """How far inputs are from noise: the first principal component's variance by the largest of independent columns.

    Formula: largest eigenvalue of the correlations / (1 + sqrt(features / examples))^2
    """
    x = ordered(chart).x[:3000].reshape(len(ordered(chart).x[:3000]), -1).astype(np.float64)
    x = x[:, np.linspace(0, x.shape[1] - 1, min(200, x.shape[1])).astype(int)]
    x = x[:, (x.std(0) > 0) & np.isfinite(x).all(0)]
    if x.shape[1] < 2 or len(x) < 10:
        return 0.0
    z = (x - x.mean(0)) / x.std(0)
    top = float(np.linalg.eigvalsh(z.T @ z / len(z))[-1])
    return top / (1 + (x.shape[1] / len(x)) ** 0.5) ** 2


STRUCTURED = 1.3
"""A first component this much stronger than that of independent columns is no noise."""


@FAULTS.add("A5", title="targets of other examples", source="doctor catalogue A5; arXiv:1611.03530", demo='''
import netwright as nw, torch
torch.manual_seed(0)
x = torch.randn(400, 5)
y = (x[:, 0] + x[:, 1] > 0).long()
y = torch.roll(y, 1)  # every example has the target of the one before
net = torch.nn.Sequential(torch.nn.Linear(5, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
adam = torch.optim.Adam(net.parameters(), lr=0.01)
batches = list(zip(x.split(32), y.split(32)))
print(nw.examine(net, torch.nn.functional.cross_entropy, adam, batches, epochs=10, budget=20))
''')  # fmt: skip
def misaligned_targets(chart: Chart, *, skill: Annotated[float, Range(0, 1)] = 0.05) -> Suspicion | None:
    """Every example stands beside the target of another one, so there is nothing to learn but by heart.

    It happens when features are sorted or shuffled and targets are not, when one file has a header line more than the
    other, or when a join loses a row.

    It shows as a network, and simple learners too, that are no better than a constant answer on examples they have
    not seen, while a few examples can still be learnt by heart. Another pairing of the same rows, a few places on or
    back or in reverse, then shows clear signal; or the validation examples do, which were paired by themselves.

    Data without any signal (A13) look the same. Where no other pairing helps, inputs that are clearly no noise
    speak for lost pairing, but only the person who made the data can tell. Labels of which only some are wrong (A6)
    leave some signal.

    Join features and targets by an id before anything is shuffled, and shuffle them together.
    """
    if chart.task.kind not in ("classes", "numbers") or not no_signal(chart):
        return None
    name, where = say("targets of other examples"), say("targets")
    found = pairing(chart)
    evidence: dict[str, Any] = {"simple_learners": chart.control.skill, "threshold": skill}
    if elsewhere(chart) == "targets":
        harm = say("what training examples teach is wrong for the validation examples, and these teach nothing")
        return Suspicion("A5", name, say("targets of validation"), evidence, 0.9, exact=True, harm=harm)
    if found.has_signal:
        return None
    evidence["network_unseen"] = unseen_skill(chart)
    harm = say("nothing can be learnt from these pairs but by heart")
    order = ordered(chart)
    if found.found not in ("given", "none"):
        evidence |= {"pairing": found.found, "with_that_pairing": found.others[found.found].skill}
        change = repaired_targets(chart.subject, found.found, order.whole) if order.is_order else None
        return Suspicion("A5", name, where, evidence, 0.95, exact=True, harm=harm, changes=possible(change))
    changes = [] if chart.subject.recipe is not None else [rejoin()]
    if chart.subject.validation and validation_signal(chart):
        evidence["validation_alone"] = say("shows signal")
        return Suspicion("A5", name, where, evidence, 0.9, exact=True, harm=harm, changes=changes)
    apart = structure(chart)
    evidence |= {"structure": apart, "threshold_structure": STRUCTURED}
    likely = apart >= STRUCTURED
    harm += "; " + say("or the inputs tell nothing about this target (A13)")
    return Suspicion("A5", name, where, evidence, 0.6 if likely else 0.2, exact=likely and is_certain(chart),
                     note=not likely, harm=harm, changes=changes)  # fmt: skip


def rejoin() -> Change:
    return advice("pairing by id", say("examples then meet the targets that belong to them"),
                  say("join features and targets by an id, and shuffle both with one order"))  # fmt: skip


def is_certain(chart: Chart) -> bool:
    """Whether so many examples, of a form that simple learners read well, were asked that no signal means none."""
    return chart.control.form in ("rows", "pictures") and chart.control.scored >= 100 and chart.control.error < 0.15


@FAULTS.add("A13", title="no learnable signal", source="doctor catalogue A13", demo='''
import netwright as nw, torch
torch.manual_seed(0)
x, y = torch.randn(600, 8), torch.randint(0, 2, (600,))  # a coin decides
net = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
adam = torch.optim.Adam(net.parameters(), lr=0.01)
batches = list(zip(x.split(32), y.split(32)))
loss = torch.nn.functional.cross_entropy
print(nw.examine(net, loss, adam, batches[:12], epochs=20, validation=batches[12:], budget=20))
''')  # fmt: skip
def no_learnable_signal(chart: Chart, *, errors: Annotated[float, Range(0)] = 2.0) -> Suspicion | None:
    """Nothing in the inputs tells the target, as far as these examples show.

    A network with enough weights still learns such data by heart: the training loss falls, and unseen examples are
    answered no better than by the commonest class or the mean.

    It shows when neither a linear model, nor neighbours, nor trees, nor a small network is better than a constant
    answer by more than two standard errors on examples they have not seen, and the network examined is not either.

    Examples whose targets were mixed up (A5) look the same: other pairings are tried first. With few examples a faint
    signal goes unseen, and more examples may show it; a learning curve that begins to fall says so.

    No trick of training helps, so none is advised. Look for other inputs; check how the target was made; collect more
    examples.
    """
    if chart.task.kind not in ("classes", "numbers", "labels") or not no_signal(chart):
        return None
    if chart.task.kind != "labels":
        found = pairing(chart)
        shifted = found.has_signal or found.found not in ("given", "none")
        if shifted or (chart.subject.validation and validation_signal(chart)):
            return None
    evidence = {
        "simple_learners": chart.control.skill, "standard_error": chart.control.error,
        "threshold": errors * chart.control.error,
        "network_unseen": unseen_skill(chart), "scored": chart.control.scored,
    }  # fmt: skip
    alone = chart.task.kind == "labels" or structure(chart) < STRUCTURED
    certain = alone and is_certain(chart)
    return Suspicion(
        "A13", say("no learnable signal"), say("inputs and targets"), evidence, 0.7 if certain else 0.4, exact=certain,
        note=not certain, harm=say("on examples it has not seen the network is no better than a constant answer"),
    )  # fmt: skip
