"""C13 and C14: norms and dropout in the wrong place, of the wrong strength or in the wrong mode."""

from typing import Annotated, Any

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.between import group_norms
from netwright.doctor.changes.structure import less_dropout, rate_of, usual_statistics, without
from netwright.doctor.chart import Chart, named
from netwright.doctor.ops import DROPOUTS, WEIGHTED, Op, tracing
from netwright.doctor.subject import Change, possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

Positive = Annotated[float, Range(0, 1e9)]
Share = Annotated[float, Range(0, 1)]


@FAULTS.add(
    "C13", title="misused normalisation",
    source="doctor catalogue C13; Ioffe and Szegedy 2015, arXiv:1502.03167; Wu and He 2018, arXiv:1803.08494",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x, y = 5 * torch.randn(512, 10) + 3, torch.randn(512, 1)
for size, momentum in ((64, 0.1), (2, 0.1), (64, 0.0)):
    net = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32, momentum=momentum), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for step in range(200):
        optimizer.zero_grad()
        rows = torch.randint(512, (size,))
        (net(x[rows]) - y[rows]).square().mean().backward()
        optimizer.step()
    train, use = ((net.train(mode)(x) - y).square().mean().item() for mode in (True, False))
    print(f"batch {size:2}, momentum {momentum}: loss in training {train:.2f}, in use {use:.2f}")
""",
)  # fmt: skip
def misused_norms(
    chart: Chart, *, values: Annotated[int, Range(2, 1000)] = 8, ratio: Positive = 1.5, similarity: Share = 0.75
) -> Suspicion | None:
    """Batch norm reads other examples while training and running statistics in use; where these differ, use fails.

    With few values a channel and batch the batch's mean and variance are noise. With a momentum of 0 or 1 the running
    statistics are those of the start, or of one batch. Then the network is good in training mode and poor in
    evaluation mode, on the very same examples.

    So both modes read the same training examples after a short training, dropout off: a loss 1.5 times as high, or
    outputs less than 0.75 alike, is a fault. So are fewer than 8 values a channel, a norm behind the last layer, and
    an answer in use that depends on the rest of its batch. A bias before batch norm is only idle.

    Overfitting shows between examples seen and not seen, never between modes. Dropout left on in use is C14.

    Call eval() before use; take larger batches, or group or layer norm; momentum 0.1; norms between a layer and its
    activation.
    """
    norms = [op for op in chart.ops if op.name in ("batch_norm", "instance_norm")]
    batched = [op for op in norms if op.name == "batch_norm"]
    if not batched:
        return None
    modes = chart.modes
    fewest = min(batched, key=lambda op: op.tensor.numel() // max(1, op.tensor.shape[1]))
    count = fewest.tensor.numel() // max(1, fewest.tensor.shape[1])
    last = max((op.index for op in chart.ops if op.name in WEIGHTED), default=-1)
    behind = [op for op in batched if op.index > last]
    momenta = [value for op in batched if isinstance(value := _argument(op, "momentum", 6), float)]
    odd = [value for value in momenta if value <= 1e-3 or value > 0.9]
    strengths: dict[str, float] = {}
    parts: dict[str, Any] = {
        "values_a_channel": count, "threshold": values, "loss_in_use_by_training": modes.ratio,
        "ratio_threshold": ratio, "similarity": modes.similarity,
    }  # fmt: skip
    base = chart.start.base if chart.start.base > 0 else 0.0
    apart = modes.ratio > ratio and modes.loss_eval - modes.loss_train > 0.05 * max(base, modes.loss_train)
    if apart or (modes.similarity < similarity and modes.ratio > 1.1):
        strengths["apart"] = 0.8 if modes.similarity < similarity else 0.65
    if count < values:
        strengths["few"] = 0.6
    if odd:
        strengths["momentum"] = 0.7
        parts["momentum"] = odd[0]
    if modes.depends:
        strengths["depends"] = 0.5
        parts["answers_depend_on_the_batch"] = True
    if behind:
        strengths["last"] = 0.45
        parts["behind_the_last_layer"] = named([op.where for op in behind])
    if not strengths:
        return None
    where = named([op.where for op in behind]) if max(strengths, key=strengths.__getitem__) == "last" else fewest.where
    free = (chart, behind, say("no norm behind the last layer"), say("outputs may then take any scale"))
    changes: list[Change] = possible(
        without(*free) if behind else None, usual_statistics(chart) if odd else None, group_norms(chart)
    )
    return Suspicion(
        "C13", say("misused normalisation"), where, parts, max(strengths.values()), changes=changes,
        harm=say("what the network says in use is not what it learnt to say in training"),
    )  # fmt: skip


def _argument(op: Op, name: str, place: int) -> Any:
    return op.settings.get(name, op.inputs[place] if len(op.inputs) > place else None)


@FAULTS.add(
    "C14", title="misused dropout", source="doctor catalogue C14; Srivastava et al. 2014, JMLR 15",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(500, 5)
y = (x[:, 0] * x[:, 1] > 0).long()
for p in (0.0, 0.2, 0.9):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for step in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    print(f"dropout {p}: training accuracy in use {(net.eval()(x).argmax(1) == y).float().mean():.2f}")
""",
)  # fmt: skip
def misused_dropout(chart: Chart, *, most: Share = 0.5, live: Annotated[int, Range(1, 1000)] = 8) -> Suspicion | None:
    """Dropout takes away too much, or acts on the outputs.

    Dropout of p leaves (1 - p) of the units. Of 16 units and p = 0.8 three are left, and each step learns for another
    small network. On logits it sets the scores of right classes to 0 at random.

    It shows in the row of operations: p above 0.5 in hidden layers, fewer than 8 expected live units, and a dropout
    behind the last weighted layer. One that goes on acting in evaluation mode is E5.

    A validation score above the training score is normal with dropout, and p = 0.5 on wide layers is usual. Whether
    it harms is found by leaving it out: then training must fall and validation must not suffer.

    Halve p, or remove it where the network underfits.
    """
    ops = [
        op for op in chart.ops if op.name in DROPOUTS and rate_of(op) > 0 and _argument(op, "training", 2) is not False
    ]
    if not ops:
        return None
    last = max((op.index for op in chart.ops if op.name in WEIGHTED), default=-1)
    on_outputs = [op for op in ops if op.index > last >= 0]
    heavy = [op for op in ops if rate_of(op) > most]
    thin = [op for op in ops if _live_units(op) < live and op not in on_outputs]
    if not (on_outputs or heavy or thin):
        return None
    rate = max((rate_of(op) for op in ops), default=0.5)
    evidence: dict[str, Any] = {
        "p": rate,
        "threshold": most,
        "live_units": min((_live_units(op) for op in ops), default=0.0),
        "live_threshold": live,
        "on_outputs": bool(on_outputs),
    }
    strength = max(0.65 if on_outputs else 0.0, 0.45 if thin else 0.0, 0.3 + 0.45 * rate if heavy else 0.0)
    places = named(list(dict.fromkeys(op.where for op in (*on_outputs, *thin, *heavy))))
    return Suspicion(
        "C14", say("misused dropout"), places, evidence, strength,
        changes=possible(less_dropout(chart), less_dropout(chart, 0.5)),
        harm=say("too little of the network is there at each step"),
    )  # fmt: skip


def _live_units(op: Op) -> float:
    """The units that a dropout leaves, on average."""
    shape = op.tensor.shape
    return (
        (1 - rate_of(op)) * (shape[1] if op.name.endswith("d") or len(shape) == 2 else shape[-1])
        if len(shape) > 1
        else 1e9
    )


def awake_dropouts(chart: Chart) -> list[Op]:
    """Dropouts that act in evaluation mode."""
    with chart.subject.live() as live, tracing(live.model, kinds=DROPOUTS) as trace:
        live.outputs(chart.subject.batches[0])
    return [op for op in trace.ops if rate_of(op) > 0 and _argument(op, "training", 2) in (True, None)]
