"""E1 to E4: gradients, parameters, optimizers and the order of a loop's calls. Exact checks, no statistics."""

from dataclasses import replace
from typing import Any

from netwright.catalogue import FAULTS
from netwright.doctor.changes.loop import (
    add_missing,
    attached,
    hidden_parameters,
    ordinary_step,
    rebuild_optimizer,
    unfreeze,
)
from netwright.doctor.chart import Chart, named
from netwright.doctor.findings import Finding
from netwright.doctor.gate import frozen_on_purpose
from netwright.doctor.gauges.audit import Audit, audit
from netwright.doctor.subject import Change, possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say


def watched(chart: Chart, fault: str, changes: list[Change]) -> Suspicion | None:
    """What the watch saw of a fault in a few steps, as an exact suspicion; None where it saw nothing."""
    seen = audit(chart)
    found = next((one for one in seen.findings if one.fault == fault), None)
    if found is not None:
        return exactly(found, changes)
    quiet = next((one for one in seen.notes if one.fault == fault), None)
    return replace(exactly(quiet, changes), exact=False, note=True, strength=0.3) if quiet is not None else None


def exactly(found: Finding, changes: list[Change]) -> Suspicion:
    """A finding of the watch as an exact suspicion."""
    return Suspicion(
        found.fault, found.name, found.where, found.evidence, 1.0, exact=True, harm=found.harm, changes=changes
    )


@FAULTS.add(
    "E1", title="gradients not cleared", source="doctor catalogue E1",
    demo="""
import torch

x = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
y = x.sum(1)
for clear in (True, False):
    w = torch.zeros(5, requires_grad=True)
    optimizer = torch.optim.SGD([w], 0.1)
    losses = []
    for step in range(25):
        if clear:
            optimizer.zero_grad()
        loss = (x @ w - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(round(loss.item(), 3))
    print("zero_grad" if clear else "no zero_grad", losses[::4])
""",
)  # fmt: skip
def gradients_not_cleared(chart: Chart) -> Suspicion | None:
    """Each step uses the gradients of all steps before as well, because nobody cleared them.

    `backward()` adds to what is there. Without `zero_grad()` the tenth step goes by the sum of ten gradients, nine of
    them taken where the weights no longer are. It is like momentum 1 that never forgets: the loss swings, and grows.

    Seen exactly: at the moment `backward()` runs, a gradient is not 0 although a step has used it since. No statistics
    are needed.

    On curves it looks just like a rate too high (D1), and a lower rate seems to help for a while. Accumulating on
    purpose is no fault: then several `backward()` belong to one step, the gradients are cleared after it, and the loss
    is divided by their number (E6). With a tiny rate it may do no harm; the effect is measured.

    Call `optimizer.zero_grad()` before every `backward()` that begins a step. Mind a second optimizer, whose parameters
    the first one does not clear.
    """
    return watched(chart, "E1", possible(ordinary_step(chart.subject)))


@FAULTS.add(
    "E2", title="parameters that are not trained", source="doctor catalogue E2",
    demo="""
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers  # a plain list hides its modules
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)

for kind in (list, nn.ModuleList):
    net = Net(kind([nn.Linear(4, 8), nn.Linear(8, 8)]))
    print(kind.__name__, "lists", sum(p.numel() for p in net.parameters()), "of 121 numbers")
""",
)  # fmt: skip
def not_trained(chart: Chart) -> Suspicion | None:
    """Some parameters never change: frozen, unknown to the optimizer, cut off, or hidden in a plain list.

    A parameter moves only if it asks for gradients, the loss depends on it, and an optimizer holds it. Modules in a
    Python list or dictionary are not registered: `parameters()` does not name them, no optimizer gets them, and they
    stay at their random start. What follows them may still learn a little, so the loss falls, and stops early.

    Seen exactly after a few steps: which tensors changed, which got a gradient, which the optimizer holds, and whether
    the loss depends on tensors that nobody lists.

    Freezing on purpose is a note: a pretrained body with a trained head, LoRA. It is a fault where the head stands
    still, nothing moves at all, or what is frozen was never trained. Dead units (C6) get a gradient of exactly 0,
    frozen ones get none.

    Use `nn.ModuleList`, give `model.parameters()` to the optimizer after the model is complete, unfreeze.
    """
    if chart.subject.recipe is not None:
        return frozen_by_recipe(chart)
    seen, subject = audit(chart), chart.subject
    whole = sum(seen.sizes.values())
    still = [name for name in seen.sizes if not seen.moved.get(name)]
    if seen.foreign and not all(seen.held[name] for name in seen.held if seen.asks[name]):
        return None  # the optimizer was made for other tensors: E3
    if seen.loose:
        evidence = {"tensors": len(seen.loose), "shapes": [str(shape) for shape in seen.loose[:5]], "threshold": 0}
        return Suspicion("E2", say("layers that are not registered"), say("forward"), evidence, 1.0, exact=True,
                         harm=say("these tensors stay at their random start: no optimizer sees them"),
                         changes=possible(hidden_parameters(subject)))  # fmt: skip
    if not still or (not seen.graph and all(seen.asks.values())):
        return None
    outside = [name for name in still if seen.asks[name] and seen.reached[name] and not seen.held[name]]
    frozen = [name for name in still if not seen.asks[name]]
    if not outside and not frozen:
        return None  # unused, or cut off: that is E4's
    share = seen.share_moved()
    head = (
        bool(seen.head)
        and all(name in still for name in seen.head)
        and any(name in (*outside, *frozen) for name in seen.head)
    )
    evidence = {"tensors": named(outside or frozen), "count": len(outside or frozen), "trained_share": share,
                "frozen_share": sum(seen.sizes[name] for name in still) / max(1, whole), "threshold": 0.01}  # fmt: skip
    name = say("parameters outside the optimizer") if outside else say("frozen parameters")
    changes = possible(add_missing(subject) if outside else None, unfreeze(subject) if frozen else None)
    nothing = share == 0
    strength = 1.0 if nothing or head else 0.8 if outside else 0.5
    meant = not outside and not nothing and not head and frozen_on_purpose(subject)
    return Suspicion("E2", name, named(outside or frozen, 3), evidence, strength, exact=nothing or head, note=meant,
                     harm=_harm(nothing, head), changes=changes)  # fmt: skip


def frozen_by_recipe(chart: Chart) -> Suspicion | None:
    """What `training.freeze` holds: certain where nothing, or not the last layer, is trained."""
    with chart.subject.live() as live:
        sizes = {name: p.numel() for name, p in live.model.named_parameters()}
        free = [name for name, p in live.model.named_parameters() if p.requires_grad]
    still = [name for name in sizes if name not in free]
    if not still:
        return None
    share = sum(sizes[name] for name in free) / max(1, sum(sizes.values()))
    last = next((name for name in reversed(sizes) if name.endswith("weight")), "")
    sure = not free or last in still
    evidence = {"tensors": named(still), "count": len(still), "trained_share": share, "threshold": 0.01}
    return Suspicion("E2", say("frozen parameters"), "training.freeze", evidence, 1.0 if sure else 0.5, exact=sure,
                     harm=_harm(not free, last in still), changes=possible(unfreeze(chart.subject)))  # fmt: skip


def _harm(nothing: bool, head: bool) -> str:
    if nothing:
        return say("no parameter moves: nothing is learnt")
    return say("the last layer stays at its random start") if head else ""


@FAULTS.add(
    "E3", title="the optimizer holds other tensors", source="doctor catalogue E3",
    demo="""
import torch
from torch import nn

net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(net.parameters(), 0.1)
net[2] = nn.Linear(8, 5)  # a new head: the optimizer still holds the old one
held = {id(p) for group in optimizer.param_groups for p in group["params"]}
for name, parameter in net.named_parameters():
    print(name, "trained" if id(parameter) in held else "NOT in the optimizer")
""",
)  # fmt: skip
def stale_optimizer(chart: Chart) -> Suspicion | None:
    """The optimizer was made for tensors that the model no longer uses, so its steps move nothing that counts.

    An optimizer keeps the very tensors it was given. When the model is made again, copied, or gets a new head
    afterwards, the new tensors receive gradients that no step uses, and the optimizer goes on moving the old ones, or
    nothing at all, without a word.

    Seen exactly: tensors in the optimizer's groups that belong neither to the model nor to the loss, and parameters of
    the model that no group holds.

    Nothing moves although gradients are there; with vanishing gradients (C4) or a tiny rate (D2) everything moves a
    little. A parameter that was left out on purpose has no counterpart in the optimizer (E2). Parameters of a second
    network in one optimizer are no fault.

    Make the optimizer last: after replacing layers, after `.to()` on old versions of torch, after copying or loading
    into a new object. Use `load_state_dict` instead of a new model.
    """
    seen, subject = audit(chart), chart.subject
    missing = [name for name, held in seen.held.items() if not held and seen.asks[name]]
    if not seen.foreign or not missing:
        return None
    nothing = not any(seen.held.values())
    evidence = {"tensors_of_others": seen.foreign, "parameters_not_held": len(missing), "threshold": 0}
    harm = say("the steps move tensors that the network does not use: {names} stand still", names=named(missing, 3))
    return Suspicion("E3", say("the optimizer holds other tensors"), "optimizer.param_groups", evidence,
                     1.0 if nothing else 0.9, exact=True, harm=harm,
                     changes=possible(rebuild_optimizer(subject)))  # fmt: skip


@FAULTS.add(
    "E4", title="steps missing or in the wrong order", source="doctor catalogue E4",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
body, head = nn.Linear(4, 8), nn.Linear(8, 1)
x, y = torch.randn(32, 4), torch.randn(32, 1)
for cut in (False, True):
    body.weight.grad = None
    hidden = body(x).relu()
    hidden = hidden.detach() if cut else hidden
    (head(hidden) - y).square().mean().backward()
    print("with detach():" if cut else "without:", body.weight.grad if cut else body.weight.grad.norm())
""",
)  # fmt: skip
def broken_order(chart: Chart) -> Suspicion | None:
    """A call of the loop is missing or comes too early, or the graph from loss to weights is cut.

    The order is: clear, forward, loss, backward, step, and then the scheduler. Without `step()` nothing moves; a step
    before `backward()` uses old gradients; a scheduler before the optimizer skips the first rate. `item()`, `detach()`,
    `numpy()` and `no_grad()` on the way from the network to the loss end the graph: what stands before the cut gets no
    gradient at all.

    Seen exactly: the calls in their order, whether the loss has a graph, and which of the modules that ran it reaches.

    A parameter whose module never ran is unused, not cut off. A gradient of exactly 0 has a graph: see C6 and C7. A
    stop-gradient on purpose, as in targets of siamese or actor-critic training, leaves the rest of the network trained;
    whether it harms is tried.

    Put the calls in order, and compute the loss from the network's own output as it comes.
    """
    seen, subject = audit(chart), chart.subject
    if not any(seen.asks.values()):
        return None  # all of it is frozen: E2
    if not seen.graph:
        evidence: dict[str, Any] = {"loss.requires_grad": False}
        return Suspicion("E4", say("loss without a graph"), say("between the network and the loss"), evidence, 1.0,
                         exact=True, harm=say("no gradient reaches a parameter: nothing is learnt"),
                         changes=possible(attached(subject)))  # fmt: skip
    cut = cut_off(seen)
    if cut:
        evidence = {"without_gradient": named(cut), "modules_that_ran": len(seen.ran), "threshold": 0}
        harm = say("these layers ran, and no gradient comes back to them")
        return Suspicion("E4", say("layers cut off from the loss"), named(cut, 3), evidence, 0.85, harm=harm,
                         changes=possible(attached(subject)))  # fmt: skip
    return watched(chart, "E4", possible(ordinary_step(subject)))


def cut_off(seen: Audit) -> list[str]:
    """The modules that ran and whose parameters ask for gradients, none of which the loss reaches."""
    found = []
    for path in seen.ran:
        own = [name for name in seen.asks if name.rpartition(".")[0] == path]
        if own and all(seen.asks[name] for name in own) and not any(seen.reached[name] for name in own):
            found.append(path)
    return found
