"""B1 and B2: an activation too many or too few between the last layer and the loss."""

from typing import Annotated

import torch
from torch import Tensor

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.output import activated_before, other_loss, plain_head, undone
from netwright.doctor.chart import Chart, named
from netwright.doctor.closed_forms import (
    bounded_cross_entropy,
    nll_of_probabilities,
    sigmoid_twice_floor,
    softmax_twice,
)
from netwright.doctor.gauges.contract import Contract, argument, contract_of, one_hot_of
from netwright.doctor.ops import Op
from netwright.doctor.subject import Change, possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

APPLIES = {
    "softmax": "softmax", "log_softmax": "softmax", "cross_entropy": "softmax", "sigmoid": "sigmoid",
    "logsigmoid": "sigmoid", "binary_cross_entropy_with_logits": "sigmoid",
}  # fmt: skip
"""Operations that turn scores into probabilities: what they get must not be probabilities already."""
SQUASHES = ("softmax", "sigmoid", "hardsigmoid")
NEAR = 1e-4


@FAULTS.add(
    "B1", title="softmax or sigmoid applied twice", source="doctor catalogue B1; Bridle 1990 (softmax and its loss)",
    demo='''
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(600, 8)
y = (x @ torch.randn(8, 4)).argmax(1)
for head in (nn.Identity(), nn.Softmax(dim=1)):
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4), head)
    search = torch.optim.Adam(net.parameters(), 2e-2)
    for _ in range(150):
        search.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        search.step()
    print(f"{type(head).__name__}: loss {loss.item():.3f}, floor of a second softmax 0.744")
''',
)  # fmt: skip
def activation_twice(chart: Chart, *, tolerance: Annotated[float, Range(0, 0.01)] = NEAR) -> Suspicion | None:
    """The loss applies a softmax (or sigmoid) itself and is handed numbers that have been through one already.

    Cross-entropy expects scores of any size. Probabilities lie between 0 and 1, so the second softmax can never say
    more than e to 1 for the right class: it cannot become sure.

    It shows in the tensor handed to the loss: all values between 0 and 1, rows that sum to one. The loss is caught
    between log(1 + (K-1)/e) and log(e + K - 1): 1.461 and 2.461 for ten classes. With a sigmoid before
    BCEWithLogitsLoss the predicted probability never falls below one half. Accuracy may look fine for a long time, for
    the order of the scores survives; gradients are small and learning is slow.

    A low learning rate or a small network also stop above zero, but not at this number, and they do not bound what the
    loss is handed. A log-softmax before cross-entropy is harmless: its softmax gives the same probabilities again.

    Hand the loss the plain outputs; apply softmax or sigmoid only where probabilities are shown.
    """
    found = contract_of(chart)
    for function, given, squashed, within in applications(chart, found):
        classes = given.shape[1] if given.dim() > 1 else 1
        rows = function == "softmax" and classes > 1 and len(given) > 1 and is_shares(given, tolerance)
        if not rows and not (squashed and (classes > 1 or function == "sigmoid")):
            continue
        ones = float(found.task.truth(found.targets).float().mean()) if found.task.kind != "other" else 0.5
        if function == "sigmoid":
            floor = sigmoid_twice_floor(ones if found.task.kind == "labels" or classes == 1 else 1 / classes)
        else:
            floor = softmax_twice(classes)[0] if rows else bounded_cross_entropy(classes, 0.0, 1.0)[0]
        evidence = {"lowest_handed": float(given.min()), "highest_handed": float(given.max()), "floor": floor,
                    "loss_at_start": found.value, "applied": function}  # fmt: skip
        if rows:
            evidence |= {"largest_row_error": float((given.sum(1) - 1).abs().max()), "threshold": tolerance}
        harm = say("the loss cannot fall below {floor:.3f}, and no probability comes near 0 and 1", floor=floor)
        return Suspicion("B1", say("softmax or sigmoid applied twice"), behind(chart), evidence, 1.0, exact=True,
                         harm=harm, changes=_single(chart, found, function, within, rows))  # fmt: skip
    return _by_its_floor(chart, found) or _harmless_twice(chart, found)


def applications(chart: Chart, found: Contract) -> list[tuple[str, Tensor, bool, bool]]:
    """Where scores become probabilities, in the network's end and in the loss: which function, what it gets,
    whether a squashing function made that, and whether both stand in the network."""
    made: list[tuple[str, Tensor, bool, bool]] = []
    before: list[Op] = []
    outputs, own = found.outputs, chart.head[-1].name if chart.head else ""
    for place, op in enumerate([*chart.head, *found.ops]):
        given = argument(op, 0, "input")
        if op.name in APPLIES and given is not None:
            source = next((old.name for old in reversed(before) if _equal(old.output, given)), "")
            inside = place >= len(chart.head)
            if inside and _equal(outputs[: len(given)], given):
                source, given = "sigmoid" if own in SQUASHES or found.bounded(0, 1) else own, outputs
            made.append((APPLIES[op.name], given, source in SQUASHES, not inside))
        before.append(op)
    known = any(op.name in APPLIES for op in found.ops)
    if not known and found.judge is None and found.kind in APPLIES:
        made.append((APPLIES[found.kind], outputs, own in SQUASHES or found.bounded(0, 1), False))
    return made


def _equal(one: object, other: Tensor) -> bool:
    return isinstance(one, Tensor) and one.shape == other.shape and bool(torch.equal(one, other))


def is_shares(given: Tensor, tolerance: float = NEAR) -> bool:
    """Whether all rows are probabilities that sum to one over the classes (axis 1)."""
    return bool((given >= -tolerance).all() and (given <= 1 + tolerance).all()) and bool(
        ((given.sum(1) - 1).abs() <= tolerance).all()
    )


def is_log_shares(given: Tensor, tolerance: float = 1e-3) -> bool:
    """Whether all rows are logarithms of probabilities that sum to one over the classes (axis 1)."""
    return bool((given <= tolerance).all()) and bool((given.logsumexp(1).abs() <= tolerance).all())


def behind(chart: Chart) -> str:
    """The place of the last activation, or the loss where the network has none."""
    return named([op.where for op in chart.head]) if chart.head else say("loss")


def _single(chart: Chart, found: Contract, function: str, within: bool, rows: bool) -> list[Change]:
    """The function once: in the network all but its last activation left out, else the plain outputs to the loss."""
    name = "cross_entropy" if function == "softmax" else "bce_with_logits"
    if within and len(chart.head) > 1:
        return possible(plain_head(chart, ops=chart.head[:-1]), plain_head(chart, name))
    if within or chart.head or function == "sigmoid" or found.bounded(0, 1):
        squash = "softmax" if rows else "sigmoid"
        if any(op.name in SQUASHES for op in found.ops):
            return possible(other_loss(chart, name))
        return possible(plain_head(chart) or undone(chart, squash), plain_head(chart, name))
    return possible(other_loss(chart, name))


def _by_its_floor(chart: Chart, found: Contract) -> Suspicion | None:
    """A squashing function written by hand inside the loss: surely right scores still cost the closed form's floor."""
    goal = one_hot_of(found.task, found.outputs, found.targets) if found.plain else None
    if goal is None or found.task.kind == "numbers" or not bool(((goal == 0) | (goal == 1)).all()):
        return None
    sure = found.ask(40.0 * (2 * goal - 1))
    several = goal.dim() > 1 and goal.shape[1] > 1
    floors = {"sigmoid": sigmoid_twice_floor(float(goal.mean()))}
    if several:
        floors |= {"softmax": softmax_twice(goal.shape[1])[0]}
    for function, floor in floors.items():
        if abs(sure - floor) < 2e-4 * floor and found.ask(0.02 * (2 * goal - 1)) > sure:
            evidence = {"loss_of_surely_right_scores": sure, "floor": floor, "applied": function}
            harm = say("the loss cannot fall below {floor:.3f}, and no probability comes near 0 and 1", floor=floor)
            loss = "cross_entropy" if function == "softmax" else "bce_with_logits"
            return Suspicion("B1", say("softmax or sigmoid applied twice"), say("loss"), evidence, 1.0, exact=True,
                             harm=harm, changes=possible(other_loss(chart, loss)))  # fmt: skip
    return None


def _harmless_twice(chart: Chart, found: Contract) -> Suspicion | None:
    given = found.handed
    if found.kind != "cross_entropy" or given.dim() < 2 or given.shape[1] < 2 or not is_log_shares(given):
        return None
    if not any(op.name == "log_softmax" for op in chart.head):
        return None
    return Suspicion("B1", say("log-softmax before a loss that applies it itself"), behind(chart),
                     {"largest_row_error": float(given.logsumexp(1).abs().max())}, 0.1, note=True,
                     changes=possible(plain_head(chart)))  # fmt: skip


@FAULTS.add(
    "B2", title="the loss wants another activation", source="doctor catalogue B2; PyTorch documentation of its losses",
    demo='''
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(400, 6)
y = (x @ torch.randn(6, 3)).argmax(1)
for name, head in (("scores", nn.Identity()), ("probabilities", nn.Softmax(1)), ("logarithms", nn.LogSoftmax(1))):
    net = nn.Sequential(nn.Linear(6, 3), head)
    search = torch.optim.SGD(net.parameters(), 0.5)
    for _ in range(120):
        search.zero_grad()
        loss = nn.functional.nll_loss(net(x), y)
        loss.backward()
        search.step()
    print(f"NLLLoss on {name}: loss {loss.item():.2f}, accuracy {(net(x).argmax(1) == y).float().mean():.2f}")
''',
)  # fmt: skip
def activation_missing(chart: Chart, *, tolerance: Annotated[float, Range(0, 0.1)] = 1e-3) -> Suspicion | None:
    """The loss wants probabilities or their logarithms, and is handed something else.

    NLLLoss takes log-probabilities and only picks one out: it returns minus the number it finds. KLDivLoss takes them
    too. BCELoss and a logarithm written by hand take probabilities. None of them normalises.

    NLLLoss on scores has no lower end: the loss runs to minus infinity while all scores grow. On probabilities it lies
    between -1 and 0 and hardly punishes a sure mistake. A negative loss of a classifier is the sign. BCELoss stops with
    an error as soon as a value leaves 0..1, and the logarithm of a negative score is not a number.

    Losses below zero are right for densities (a continuous probability may exceed one), and a learning rate that is too
    high also ends in numbers that are none. There the tensor handed to the loss is what the loss wants.

    Use CrossEntropyLoss, or BCEWithLogitsLoss, on plain scores: they do both steps at once and lose no digits. Or put
    log_softmax (sigmoid) in front.
    """
    found = contract_of(chart)
    given = found.handed
    if found.kind in ("nll_loss", "kl_div") and given.dim() > 1 and not is_log_shares(given, max(tolerance, 1e-6)):
        return _no_logarithms(chart, found, given)
    if found.kind not in ("log_of_outputs", "binary_cross_entropy"):
        return None
    beyond = float(found.outputs.min()) < -1e-6 or float(found.outputs.max()) > 1 + 1e-6
    if not beyond and (not found.known or found.bounded(0, 1)):
        return None
    if found.judge is not None and not _equal(found.outputs[: len(given)], given):
        return None  # the person's own function stands between, and what it gives lies in 0..1 or torch refuses it
    wide = given.dim() > 1 and given.shape[1] > 1 and found.task.kind == "classes"
    evidence = {"lowest_handed": float(given.min()), "highest_handed": float(given.max()), "wanted": "0..1"}
    loss = "cross_entropy" if wide else "bce_with_logits"
    return Suspicion(
        "B2", say("the loss wants another activation"), say("loss"), evidence, 1.0, exact=True,
        harm=say("the loss takes the logarithm of its input, and nothing keeps that above zero"),
        changes=possible(plain_head(chart, loss) if chart.head else other_loss(chart, loss),
                     activated_before(chart, "softmax" if wide else "sigmoid")),
    )  # fmt: skip


def _no_logarithms(chart: Chart, found: Contract, given: Tensor) -> Suspicion | None:
    """A loss that wants log-probabilities and gets probabilities or scores."""
    shares = is_shares(given, 1e-3)
    if found.kind == "kl_div" and not shares and bool((given <= 0).all()):
        return None  # logarithms that need not sum to one: densities over more than this axis
    if float(given.logsumexp(0).abs().max()) < 1e-2:
        return None  # the softmax ran over the batch: B3
    low, high = nll_of_probabilities()
    evidence = {"lowest_handed": float(given.min()), "highest_handed": float(given.max()), "loss_at_start": found.value,
                "wanted": say("log-probabilities")}  # fmt: skip
    if shares and found.kind == "nll_loss":
        evidence |= {"least_loss": low, "greatest_loss": high}
        harm = say("the loss lies between -1 and 0 and hardly punishes a sure mistake")
    else:
        harm = say("the loss has no lower end: scores grow and nothing is compared")
    # written by hand, minus the probability of the right class is a choice; torch's NLLLoss is a contract
    exact = found.judge is not None
    plain = plain_head(chart, "cross_entropy") if chart.head else other_loss(chart, "cross_entropy")
    front = None if shares else activated_before(chart, "log_softmax")
    return Suspicion("B2", say("the loss wants another activation"), say("loss"), evidence, 1.0 if exact else 0.6,
                     exact=exact, harm=harm if exact else "", changes=possible(plain, front))  # fmt: skip
