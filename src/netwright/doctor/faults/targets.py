"""Faults of the targets as a whole: uneven classes, their scale, too few of them (A7, A12, A14)."""

from typing import Annotated, Any

import numpy as np
import torch

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.data import standardised_targets
from netwright.doctor.changes.examples import balanced_batches
from netwright.doctor.changes.penalties import weight_decay
from netwright.doctor.chart import Chart
from netwright.doctor.faults.inputs import strength_of
from netwright.doctor.faults.labels import MOST, SECONDS, once, trails
from netwright.doctor.gauges.learning_curve import Curve, Imbalance, imbalance, learning_curve
from netwright.doctor.gauges.reference import arrays
from netwright.doctor.gauges.target_scan import scan_targets
from netwright.doctor.subject import Change, possible
from netwright.doctor.suspicion import Suspicion, Unmeasured
from netwright.doctor.task import first_tensor
from netwright.language import say


def class_counts(chart: Chart) -> np.ndarray:
    """Training examples of each class that occurs."""
    truth = torch.cat([chart.task.truth(pair.targets) for pair in chart.subject.batches]).cpu()
    return np.unique(truth.numpy(), return_counts=True)[1]


def answered_classes(chart: Chart, changes: tuple[Change, ...] = ()) -> Imbalance:
    """How each class fares after a training with these changes, on validation examples where there are some."""
    subject = chart.subject
    pairs = list(subject.validation) or subject.sample(4096)
    steps = min(chart.whole.steps, max(30, round(0.15 * max(1.0, chart.clock.left) / max(1e-6, chart.whole.per_step))))
    with subject.live(changes) as live:
        live.run(steps)
        outputs = [first_tensor(live.outputs(pair)).detach().float() for pair in pairs]
    truth = torch.cat([subject.task.truth(pair.targets) for pair in pairs]).cpu().numpy()
    found = torch.cat([part.reshape(len(part), -1) for part in outputs]).cpu()
    if len(found) != len(truth):
        raise Unmeasured
    if found.shape[1] == 1 and subject.task.form == "binary" and subject.task.low < 0:
        return imbalance(truth, found.numpy())
    return imbalance(truth, (found - 0.5 if found.shape[1] == 1 and chart.sigmoid else found).numpy())


GAINS = 0.15
"""Uneven classes do harm where balanced batches raise the balanced accuracy by so much; letters of texts gain 0.07."""


@FAULTS.add("A7", title="uneven classes", source="doctor catalogue A7; He and Garcia 2009", demo='''
import torch
from netwright.doctor.gauges.learning_curve import imbalance
torch.manual_seed(0)
y = (torch.rand(4000) < 0.02).long()
x = torch.randn(4000, 4) + 1.2 * y[:, None]
for name, weight in (("plain", torch.tensor([1.0, 1.0])), ("weighted", 1 / y.bincount().float())):
    net = torch.nn.Linear(4, 2)
    adam = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(300):
        adam.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y, weight=weight).backward()
        adam.step()
    found = imbalance(y.numpy(), net(x).detach().numpy())
    print(name, "accuracy", round(found.accuracy, 3), "recalls", [round(r, 3) for r in found.recalls])
''')  # fmt: skip
def uneven_classes(chart: Chart, *, ratio: Annotated[float, Range(1)] = 10.0) -> Suspicion | None:
    """A rare class hardly counts in the loss, so the network does best by never answering it.

    With 98 examples of one class for two of another, a network that always says the first is right in 98 cases of 100.
    Accuracy looks splendid, and the class that mattered is never found.

    It shows as a largest class over ten times the smallest together with harm: the rare class is recognised less than
    half as often as the common one, or the mean over classes lies 0.15 below the accuracy. Uneven classes without that
    are no fault.

    A network that has learnt nothing also says one class only. Its scores then rank the classes no better than chance;
    where the area under the curve is above 0.6 it has learnt, and only the threshold or the weights are wrong.

    Judge by balanced accuracy or the area under the curve. Move the threshold, which costs nothing; weigh the classes
    in the loss, or draw batches evenly; then focal loss or more examples of the rare class.
    """
    if chart.task.kind != "classes":
        return None
    counts = class_counts(chart)
    if len(counts) < 2 or counts.max() <= ratio * counts.min():
        return None
    evidence: dict[str, Any] = {"ratio": float(counts.max() / counts.min()), "threshold": ratio}
    evidence |= {"most_examples": int(counts.max()), "least_examples": int(counts.min())}
    found = once(chart, "classes", lambda: answered_classes(chart))
    evidence |= {"accuracy": found.accuracy, "balanced": found.balanced, "auc": found.mean_auc, "threshold_auc": 0.6,
                 "recalls": [round(value, 3) for value in found.recalls[:6] if value is not None]}  # fmt: skip
    name, where = say("uneven classes"), say("training examples")
    changes = possible(balanced_batches(chart.subject))
    if not found.is_harmed or found.mean_auc <= 0.6 or found.is_constant:
        return Suspicion("A7", name, where, evidence, 0.3, note=True)
    better = 0.0
    if changes:
        after = once(chart, "classes balanced", lambda: answered_classes(chart, tuple(changes[:1])))
        better = after.balanced - found.balanced
        evidence |= {"balanced_with_remedy": after.balanced}
    harm = say("the rarest classes are recognised in {least:.0%} of cases, the commonest in {most:.0%}",
               least=min(value for value in found.recalls if value is not None),
               most=max(value for value in found.recalls if value is not None))  # fmt: skip
    told = [Change(change.name, change.why, change.patch) for change in changes]
    exact = better >= GAINS or not changes
    strength = min(0.9, 0.5 + better)
    return Suspicion(
        "A7", name, where, evidence, strength, exact=exact, note=not exact, advice=True, harm=harm, changes=told
    )


@FAULTS.add("A12", title="targets far from unit scale", source="doctor catalogue A12", demo='''
import torch
torch.manual_seed(0)
x = torch.randn(500, 3)
y = 300 + 50 * x.sum(1, keepdim=True)
for name, target in (("raw", y), ("standardised", (y - y.mean()) / y.std())):
    net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    adam = torch.optim.Adam(net.parameters(), lr=0.003)
    for _ in range(300):
        adam.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), target)
        loss.backward()
        adam.step()
    print(name, "squared error as a share of the variance", (loss / target.var()).item())
''')  # fmt: skip
def unscaled_targets(
    chart: Chart, *, offset: Annotated[float, Range(0)] = 3.0, low: Annotated[float, Range(0)] = 0.1,
    high: Annotated[float, Range(0)] = 10.0,
) -> Suspicion | None:  # fmt: skip
    """Targets in hundreds, or far from zero, keep the network busy with finding their mean.

    A fresh network answers near zero. Where the targets are near 300 the first hundreds of steps only move the last
    bias, and the gradients are as large as the distance; plain gradient descent diverges at rates that are usual
    elsewhere. Targets of a thousandth make errors, and so gradients, too small to matter.

    It shows as a mean of the targets of more than 3 standard deviations, or a standard deviation outside 0.1 to 10,
    and a first loss of more than ten times that of the best constant.

    A learning rate that is too low, or a network that is too small, also leaves a high loss. Standardise the targets
    and change nothing else: where that alone helps, this is the cause.

    Subtract the mean and divide by the standard deviation of the training targets, and undo both when predicting; or
    set the last bias to the mean; logarithms for targets over several powers of ten.
    """
    if chart.task.kind != "numbers" or chart.subject.recipe is not None:
        return None
    y = chart.subject.targets()
    found = scan_targets(y.cpu().numpy(), "numbers") if y.is_floating_point() else None
    if found is None or found.std <= 0:
        return None
    far = found.offset / offset if abs(found.mean) > 0.5 * found.std and abs(found.mean) > low else 0.0
    over = max(far, found.std / high, low / found.std)
    if over <= 1:
        return None
    evidence = {"mean": found.mean, "std": found.std, "mean_by_std": found.offset, "threshold_mean_by_std": offset,
                "threshold_std": [low, high]}  # fmt: skip
    whole = chart.whole
    if whole.base > 0 and whole.losses:
        evidence["first_loss_by_constant"] = whole.losses[0] / whole.base
    return Suspicion("A12", say("targets far from unit scale"), say("targets"), evidence, strength_of(over, 0.4),
                     changes=possible(standardised_targets(chart.subject)))  # fmt: skip


@FAULTS.add("A14", title="too few examples", source="doctor catalogue A14; arXiv:1712.00409", demo='''
from netwright.doctor.gauges.learning_curve import learning_curve
from sklearn.datasets import load_digits
x, y = load_digits(return_X_y=True)
found = learning_curve(x[:300], y[:300], kind="classes")
for count, error in zip(found.examples, found.errors):
    print(count, "examples: error", round(error, 3))
print("the last doubling took away", round(100 * found.gain), "% of the error; more still helps:", found.still_gains)
''')  # fmt: skip
def too_few_examples(
    chart: Chart, *, gain: Annotated[float, Range(0, 1)] = 0.1, gap: Annotated[float, Range(0, 1)] = 0.1,
    weights: Annotated[float, Range(0)] = 100.0,
) -> Suspicion | None:  # fmt: skip
    """With more examples of the same kind the network would answer unseen ones clearly better.

    A network with many more weights than examples can fit them in many ways, and most of these ways fail elsewhere.

    It shows on a learning curve: a simple learner trained on a half of the examples, then on all, still loses a tenth
    or more of its error with the last doubling; and the network is much better on the examples it has seen than on
    others. More than a hundred weights for each example make it likelier.

    A gap that is there from the first epoch has other causes (A8, A10), and a curve that has levelled off asks for a
    better network, not for more examples.

    Collect more examples: the curve says what a doubling is worth. Until then: augmentation, weights learnt on a larger
    set, a smaller network, weight decay, early stopping.
    """
    subject = chart.subject
    whole = chart.whole
    if not subject.validation or not whole.finite or not whole.skill_train - whole.skill_validation > gap:
        return None
    found = once(chart, "curve", lambda: measured_curve(chart))
    if not found.still_gains or found.gain < gain:
        return None
    with subject.live() as live:
        count = sum(p.numel() for p in live.model.parameters())
    evidence = {
        "gain_of_doubling": found.gain, "threshold": gain, "gap": whole.skill_train - whole.skill_validation,
        "threshold_gap": gap, "weights_by_examples": count / max(1, subject.examples), "threshold_weights": weights,
        "examples": subject.examples, "errors": [round(error, 4) for error in found.errors],
    }  # fmt: skip
    heavy = count > weights * subject.examples
    return Suspicion("A14", say("too few examples"), say("training examples"), evidence, 0.5 if heavy else 0.3,
                     note=not (heavy and trails(chart)), changes=possible(weight_decay(subject)))  # fmt: skip


def measured_curve(chart: Chart) -> Curve:
    """The learning curve of a simple learner on the same examples; Unmeasured where time is short."""
    subject = chart.subject
    if subject.examples > MOST or chart.clock.left < SECONDS or not chart.task.is_judged or not chart.control.signal:
        raise Unmeasured
    x, y = arrays(subject, subject.sample(MOST))
    found = learning_curve(x, y, kind=chart.task.kind, seconds=min(4.0, 0.1 * chart.clock.left), seed=chart.seed)
    if found is None:
        raise Unmeasured
    return found
