"""Augmentation that destroys what it should show (A11)."""

import math
from typing import Annotated, Any

import torch
from torch import Tensor

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.examples import no_augmentation, without_augment, without_transform
from netwright.doctor.chart import Chart
from netwright.doctor.faults.pairing import elsewhere
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion
from netwright.doctor.task import first_tensor, flat_targets
from netwright.language import say


@FAULTS.add("A11", title="destructive augmentation", source="doctor catalogue A11", demo='''
import torch
from sklearn.datasets import load_digits
x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
x = x.float() / 16
for name, noise in (("none", 0.0), ("noise 0.1", 0.1), ("noise 3", 3.0)):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(200):
        adam.zero_grad()
        torch.nn.functional.cross_entropy(net(x[:1200] + noise * torch.randn(1200, 64)), y[:1200]).backward()
        adam.step()
    print(name, "accuracy on clean examples", (net(x[1200:]).argmax(1) == y[1200:]).float().mean().item())
''')  # fmt: skip
def destructive_augmentation(chart: Chart, *, left: Annotated[float, Range(0, 1)] = 0.7) -> Suspicion | None:
    """Training examples changed so much, or in such a way, that they no longer show their class.

    Augmentation shows each example in many guises, and helps as long as each guise keeps its label. A mirrored 2 is no
    2; noise louder than the signal leaves nothing to learn; a crop of a corner may not hold the object at all.

    It shows as a training loss that stays above 0.7 of that of a constant answer with augmentation and falls quickly
    without, and as validation scores above the training scores.

    A network that is too small, and regularisation that is too strong, also leave the training loss high. Train the
    same network from the same state on the examples as they are: where that alone helps, this is the cause.

    Halve the strength; remove what changes the label, such as flips of digits, letters and text; never augment
    validation examples.
    """
    subject = chart.subject
    if is_picture(chart) and elsewhere(chart) == "inputs":
        told = say("pictures of training teach what is wrong for those of validation, though both can be learnt")
        evidence: dict[str, Any] = {"simple_learners": chart.control.skill,
                                    "validation_skill": chart.whole.skill_validation}  # fmt: skip
        return Suspicion("A11", say("destructive augmentation"), say("training pictures"), evidence, 0.9, exact=True,
                         harm=told)  # fmt: skip
    if subject.recipe is None:
        similar = own_augmentation(chart)
        if similar is None:
            return None
        evidence = {"similarity": similar, "threshold_similarity": 0.95}
        changes, where = possible(without_transform(subject)), say("batches")
        strength = 0.15 if similar >= 0.95 else 0.3 + 0.4 * min(1.0, 0.95 - similar)
    else:
        spec = str(chart.recipe.get("data", {}).get("augment", ""))
        if not spec:
            return None
        evidence, where, strength = {"augment": spec}, "data.augment", 0.2
        names = [item.strip().split(" ")[0].split("=")[0] for item in spec.split(",")]
        parts = [without_augment(subject, name) for name in names if len(names) > 1]
        changes = possible(no_augmentation(subject), *parts)
    whole = chart.whole
    if whole.base > 0 and math.isfinite(whole.last):
        evidence |= {"loss_by_constant": whole.last / whole.base, "threshold": left}
        strength = max(strength, 0.6) if whole.last > left * whole.base else strength
    return Suspicion("A11", say("destructive augmentation"), where, evidence, strength, changes=changes)


def is_picture(chart: Chart) -> bool:
    """Whether examples have height and width."""
    return first_tensor(chart.subject.batches[0].inputs[0]).dim() == 4


def own_augmentation(chart: Chart) -> float | None:
    """How alike two readings of the same examples are, where they differ: the mean cosine around the mean example."""
    subject = chart.subject
    pairs = reread(subject)
    if not pairs:
        return None
    first = torch.cat([a.flatten(1) for a, _ in pairs])
    second = torch.cat([b.flatten(1) for _, b in pairs])
    if torch.equal(first, second) or not first.is_floating_point():
        return None
    middle = torch.cat([first, second]).mean(0)
    return torch.nn.functional.cosine_similarity(first - middle, second - middle).mean().item()


def reread(subject: Any) -> list[tuple[Tensor, Tensor]]:
    """The inputs of the same examples, read twice; empty where that cannot be known."""
    dataset = getattr(getattr(subject, "given", None), "dataset", None)
    if dataset is not None and hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__") and len(dataset):
        count = min(32, len(dataset))
        with subject.untouched():
            try:
                once, twice = ([dataset[place] for place in range(count)] for _ in range(2))
                found = [
                    (torch.as_tensor(a[0])[None], torch.as_tensor(b[0])[None]) for a, b in zip(once, twice, strict=True)
                ]
            except (TypeError, ValueError, LookupError, RuntimeError):
                return []
        return found if len({tuple(a.shape) for pair in found for a in pair}) == 1 else []
    found = []
    for one, other in zip(subject.batches, getattr(subject, "again", ()), strict=False):
        y, again = flat_targets(one.targets), flat_targets(other.targets)
        a, b = first_tensor(one.inputs[0]), first_tensor(other.inputs[0])
        if y.shape != again.shape or not torch.equal(y, again) or a.shape != b.shape or len(y.unique()) < 2:
            return []
        found.append((a, b))
    return found
