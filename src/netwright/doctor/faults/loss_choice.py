"""B5 to B7: a loss or a head made for another task."""

from typing import Annotated

from netwright.catalogue import FAULTS, LOSSES, Range
from netwright.doctor.changes.output import fitting_name, head_of_units, other_loss, plain_head
from netwright.doctor.chart import Chart
from netwright.doctor.closed_forms import squared_error_slope
from netwright.doctor.gauges.contract import Contract, contract_of
from netwright.doctor.subject import Change, possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
FOR_NUMBERS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
WRONG = 10.0
"""How sure the wrong example of the comparison is: a logit of -10 for the right class."""


@FAULTS.add(
    "B5", title="a loss for numbers judges classes",
    source="doctor catalogue B5; Golik, Doetsch, Ney 2013; Ghosh, Kumar, Sastry 2017 (mean absolute error)",
    demo='''
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(600, 10)
y = (x @ torch.randn(10, 5)).argmax(1)
ids, one_hot = y.float()[:, None], nn.functional.one_hot(y, 5).float()
for name, units, loss in (("class ids by one unit", 1, lambda o: nn.functional.mse_loss(o, ids)),
                          ("absolute error", 5, lambda o: nn.functional.l1_loss(o.softmax(1), one_hot)),
                          ("cross-entropy", 5, lambda o: nn.functional.cross_entropy(o, y))):
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, units))
    search = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(150):
        search.zero_grad(); loss(net(x)).backward(); search.step()
    found = net(x).round().long()[:, 0] if units == 1 else net(x).argmax(1)
    print(f"{name}: accuracy {(found == y).float().mean():.2f}")
''',
)  # fmt: skip
def loss_for_numbers(
    chart: Chart, *, few: Annotated[int, Range(2, 1000)] = 20, slope: Annotated[float, Range(0, 1)] = 0.1
) -> Suspicion | None:
    """A squared or absolute error compares class labels as if they were amounts.

    Behind a softmax or sigmoid the squared error has the slope 2 (p - t) p (1 - p). Where the network is surely
    wrong, p (1 - p) is nearly zero: at a logit of -10 it learns 10,000 times more slowly than with cross-entropy. The
    absolute error is worse: it pays to answer the most frequent class always. Class numbers from a single unit claim
    that class 2 lies between 1 and 3, and a wrong order of classes cannot be learnt by it.

    It shows in the pair of loss and targets, and in slower learning than cross-entropy at the same rate. The squared
    error on one-hot targets can also do well (with Adam, with balanced classes): then this is only a remark. Grades and
    counts are whole numbers too, but their order means something; the trial with cross-entropy tells them apart.

    Take cross-entropy on plain scores with one unit a class, or binary cross-entropy with logits for two classes.
    """
    found = contract_of(chart)
    if found.task.kind == "numbers":
        return _ids_as_numbers(chart, found, few)
    if found.task.kind != "classes":
        return None
    own = str(chart.recipe.get("loss", {}).get("name", ""))
    numbers = found.kind in FOR_NUMBERS or (own in LOSSES and LOSSES[own].facts["target"] == "number")
    if not numbers:
        return None
    width = found.outputs.numel() // max(1, len(found.task.truth(found.targets)))
    if width == 1 and found.task.count > 2:
        return _by_one_unit(chart, found)
    link = str(chart.recipe.get("loss", {}).get("link", "identity"))
    squashed = found.bounded(0, 1) or link in ("softmax", "sigmoid")
    absolute = found.kind == "l1_loss" or own == "mae"
    # behind a squash: at a surely wrong example; on plain outputs the squared error's slope does not vanish
    part = abs(squared_error_slope(-WRONG)) if squashed else 1.0
    evidence = {"loss": own or found.kind, "gradient_when_surely_wrong": part, "threshold": slope,
                "gradient_of_cross_entropy": 1.0, "outputs": width}  # fmt: skip
    strength = 0.6 if absolute else 0.4 if squashed else 0.25
    loss = fitting_name(found.task, width)
    swapped = plain_head(chart, loss) if chart.head or link != "identity" else other_loss(chart, loss)
    return Suspicion("B5", say("a loss for numbers judges classes"), say("loss"), evidence, strength,
                     changes=possible(swapped))  # fmt: skip


def _by_one_unit(chart: Chart, found: Contract) -> Suspicion | None:
    evidence = {"loss": found.kind, "units": 1, "classes": found.task.count}
    return Suspicion("B5", say("a loss for numbers judges classes"), say("loss"), evidence, 0.7,
                     changes=possible(head_of_units(chart, found.task.count)))  # fmt: skip


def _ids_as_numbers(chart: Chart, found: Contract, few: int) -> Suspicion | None:
    """Targets of a regression that look like class numbers: 0..K-1, few of them, each often."""
    values = found.targets.unique()
    whole = bool((values == values.round()).all()) and float(values.min()) in (0.0, 1.0)
    if found.kind not in FOR_NUMBERS or not whole or not 2 < len(values) <= few or found.task.count != 1:
        return None
    steps = values.diff()
    if bool((steps != 1).any()) or len(found.targets) < 5 * len(values):
        return None
    evidence = {"loss": found.kind, "distinct_targets": len(values), "threshold": few, "units": 1}
    change = head_of_units(chart, len(values), values=values.detach())
    return Suspicion(
        "B5", say("a loss for numbers judges classes"), say("loss"), evidence, 0.3, changes=possible(change)
    )


@FAULTS.add(
    "B6", title="cross-entropy for another task", source="doctor catalogue B6; Bishop 2006, section 4.3",
    demo='''
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(500, 6)
y = (x @ torch.randn(6, 4) > 0).float()
print("labels an example:", y.sum(1).unique().tolist())
for name, loss in (("softmax", nn.CrossEntropyLoss()), ("one sigmoid a label", nn.BCEWithLogitsLoss())):
    net = nn.Linear(6, 4)
    search = torch.optim.Adam(net.parameters(), 3e-2)
    for _ in range(120):
        search.zero_grad(); loss(net(x), y).backward(); search.step()
    print(f"{name}: share of labels told right {((net(x) > 0) == (y > 0)).float().mean():.2f}")
''',
)  # fmt: skip
def cross_entropy_elsewhere(
    chart: Chart, *, tolerance: Annotated[float, Range(0, 1)] = 1e-3, distinct: Annotated[float, Range(0, 1)] = 0.5
) -> Suspicion | None:
    """Cross-entropy is for one right class of several; these targets are several labels at once, or amounts.

    The softmax makes classes compete for one probability. An example that bears three labels asks for three
    probabilities of one, and the best softmax gives each a third: no score can say yes to one label without taking from
    the others, and an example without labels asks for nothing at all. Amounts that were rounded to class numbers lose
    their order: 9.9 is then as far from 10 as from 0.

    It shows in the targets: rows whose sum is not one, or nearly as many classes as examples. Soft targets (label
    smoothing, mixed examples, a teacher's probabilities) sum to one and are right. One binary cross-entropy a class for
    a task of one class each also works, only more slowly: no fault.

    For several labels take BCEWithLogitsLoss with one unit a label; for amounts the squared or Huber error with one
    linear unit.
    """
    found = contract_of(chart)
    if found.kind not in ("cross_entropy", "nll_loss", "log_of_outputs"):
        return None
    wanted = found.targets
    if wanted.is_floating_point() and wanted.dim() == 2 and wanted.shape[1] > 1:
        away = (wanted.double().sum(1) - 1).abs()
        share = float((away > tolerance).double().mean())
        if share == 0:
            return None
        evidence = {"share_of_rows_not_summing_to_one": share, "threshold": tolerance,
                    "mean_row_sum": float(wanted.double().sum(1).mean())}  # fmt: skip
        several = bool(((wanted == 0) | (wanted == 1)).all())
        loss = "bce_with_logits" if several else "mse"
        changes = possible(plain_head(chart, loss) if chart.head else other_loss(chart, loss))
        return Suspicion("B6", say("cross-entropy for another task"), say("loss"), evidence, 0.8 if several else 0.6,
                         changes=changes)  # fmt: skip
    if wanted.is_floating_point() or found.task.form != "index":
        return None
    classes = chart.subject.targets().reshape(-1)
    seen = len(classes.unique())
    if seen < 50 or seen < distinct * len(classes) or found.outputs.dim() != 2:
        return None
    evidence = {"classes": seen, "examples": len(classes), "threshold": distinct}
    return Suspicion("B6", say("cross-entropy for another task"), say("targets"), evidence, 0.4, changes=[])


@FAULTS.add(
    "B7", title="a head of the wrong width",
    source="doctor catalogue B7; Humbatova et al. 2020, taxonomy of real faults",
    demo='''
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(400, 5)
y = (x @ torch.randn(5, 3)).argmax(1)
for units in (1, 3, 10):
    net = nn.Linear(5, units)
    search = torch.optim.Adam(net.parameters(), 3e-2)
    for _ in range(120):
        search.zero_grad()
        o = net(x)
        loss = nn.functional.cross_entropy(o, y) if units > 1 else nn.functional.mse_loss(o[:, 0], y.float())
        loss.backward(); search.step()
    told = o.argmax(1) if units > 1 else o[:, 0].round()
    print(f"{units} units for 3 classes: accuracy {(told == y).float().mean():.2f}")
''',
)  # fmt: skip
def head_width(chart: Chart) -> Suspicion | None:
    """The last layer has another number of units than there are classes, or numbers to predict.

    One unit cannot hold the scores of three classes: a sigmoid divides in two, and a single number has to rank all
    classes along one line. Too few units make torch stop with a label that is out of range. Units for classes that
    never occur do little harm: their scores are pushed down in the first steps, and they cost some of the loss at the
    start. Three outputs compared with one target by broadcasting all learn the same number.

    It shows by counting: labels seen in the data beside units of the last layer. A class that is missing in a small
    sample is no fault, nor is a backbone's head that was made for more classes and is trained on as it stands; then
    this is only a remark.

    Give the last layer one unit a class and use cross-entropy; for two classes one unit with binary cross-entropy is as
    good. For numbers give it one unit a number.
    """
    found = contract_of(chart)
    task, outputs = found.task, found.outputs
    if task.kind == "numbers":
        return _ids_by_one_unit(chart, found) or _several_for_one(chart, found)
    if task.kind != "classes" or task.form == "one-hot" or chart.subject.recipe is not None:
        return None
    seen = chart.subject.targets().reshape(-1).unique()
    width = outputs.shape[1] if outputs.dim() > 1 else 1
    if width == 1 and len(seen) > 2:
        if not found.reads_targets():
            return None
        evidence = {"units": width, "classes": len(seen)}
        where = say("last layer")
        certain = found.kind not in FOR_NUMBERS
        return Suspicion("B7", say("a head of the wrong width"), where, evidence, 1.0, exact=certain,
                         harm=say("one unit cannot tell {count} classes apart", count=len(seen)),
                         changes=_wider(chart, int(seen.max()) + 1))  # fmt: skip
    if not 1 < len(seen) < width or width < 3 or outputs.dim() != 2 or task.form == "binary":
        return None
    evidence = {"units": width, "classes": len(seen), "largest_label": int(seen.max())}
    return Suspicion("B7", say("a head of the wrong width"), say("last layer"), evidence, 0.2, note=True,
                     changes=_wider(chart, int(seen.max()) + 1))  # fmt: skip


def _ids_by_one_unit(chart: Chart, found: Contract) -> Suspicion | None:
    """Class numbers 0..K-1, K > 2, judged by a binary cross-entropy of one unit."""
    seen = chart.subject.targets().reshape(-1).unique()
    whole = bool((seen == seen.round()).all()) and float(seen.min()) >= 0
    if found.kind not in BINARY or found.task.count != 1 or not whole or len(seen) < 3 or float(seen.max()) < 2:
        return None
    return Suspicion("B7", say("a head of the wrong width"), say("last layer"), {"units": 1, "classes": len(seen)}, 1.0,
                     exact=True, harm=say("one unit cannot tell {count} classes apart", count=len(seen)),
                     changes=possible(head_of_units(chart, len(seen), values=seen.detach())))  # fmt: skip


def _wider(chart: Chart, units: int) -> list[Change]:
    return possible(head_of_units(chart, units))


def _several_for_one(chart: Chart, found: Contract) -> Suspicion | None:
    """Outputs (N, M) that meet targets (N, 1) by broadcasting."""
    outputs, wanted = found.outputs, found.targets
    if found.kind not in FOR_NUMBERS or found.judge is None or outputs.dim() != 2 or wanted.dim() != 2:
        return None
    handed, goal = found.handed, found.wanted
    if not (outputs.shape[1] > 1 and wanted.shape[1] == 1 and handed.shape[-1] > 1 and goal.shape[-1] == 1):
        return None
    evidence = {"outputs": list(outputs.shape[1:]), "targets": list(wanted.shape[1:])}
    return Suspicion("B7", say("a head of the wrong width"), say("last layer"), evidence, 0.5,
                     changes=possible(head_of_units(chart, 1, "mse")))  # fmt: skip
