"""What a network hands its loss before the first step, what range it can reach, and how the loss behaves.

A loss is known by what it does, not by its name: torch's own functions inside it are named by a trace; one written by
hand is compared with the textbook's on made-up outputs.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from netwright.doctor.ops import HIDDEN, JUDGES, NORMS, WEIGHTED, Op, judge_ops, tracing
from netwright.doctor.subject import Live, Pair, Subject, untouched
from netwright.doctor.suspicion import Unmeasured
from netwright.doctor.task import Task, first_tensor, flat_targets

if TYPE_CHECKING:
    from netwright.doctor.chart import Chart

PRODUCTS = frozenset(("matmul", "__matmul", "__rmatmul", "mm", "bmm", "baddbmm", "einsum", "mv"))
KINDS = HIDDEN | WEIGHTED | NORMS | PRODUCTS
WIDE = 60.0
"""Pre-activations drawn with this spread and with half of it show which range the outputs can reach."""
EXTREMES = (50.0, 100.0)
"""Logits of this size are met in long trainings; a loss must survive the first."""
FAILS = (RuntimeError, ValueError, IndexError, TypeError, KeyError, AttributeError, AssertionError, ArithmeticError)
"""What a loss raises that does not take made-up outputs."""
Loss = Callable[[Any, Any], Tensor]
Reach = tuple[float, float]
OPEN = (-math.inf, math.inf)


@dataclass(frozen=True)
class Contract:
    """Outputs and targets of the first batches, and the loss between them."""

    task: Task
    outputs: Tensor = field(repr=False)
    """(examples, ...) in training mode, before any step."""
    targets: Tensor = field(repr=False)
    loss: Loss = field(repr=False)
    value: float
    """The loss of the first batch."""
    ops: list[Op] = field(repr=False)
    """The operations inside the loss."""
    kind: str
    """The loss in torch's words, or `log_of_outputs` for -log o; empty where it is none of them."""
    reach: Reach
    """The range that the outputs can reach, whatever the weights before the last activation; infinite where open."""
    extremes: dict[float, str]
    """By size of the logits: the stage that is not finite (`loss` or `gradient`), or `` where all is finite."""
    known: bool
    """Whether that range could be measured; where not it counts as open."""
    plain: bool
    """Whether outputs and targets are plain tensors, so that the loss can be asked about made-up ones."""

    @property
    def judge(self) -> Op | None:
        """torch's own loss inside, with what it was handed; None where it is written by hand."""
        return next((op for op in self.ops if op.name in JUDGES), None)

    @property
    def handed(self) -> Tensor:
        """What reaches the loss itself: the outputs, or what the person's own function makes of them."""
        found = argument(self.judge, 0, "input") if self.judge is not None else None
        return self.outputs if found is None else found

    @property
    def wanted(self) -> Tensor:
        """The targets as they reach the loss itself."""
        found = argument(self.judge, 1, "target") if self.judge is not None else None
        return self.targets if found is None else found

    def bounded(self, low: float, high: float) -> bool:
        """Whether no weights can bring the outputs outside of low..high."""
        return self.reach[0] >= low - 1e-6 and self.reach[1] <= high + 1e-6

    def reads_targets(self) -> bool:
        """Whether other targets would change the loss; a density's loss may carry targets that it never looks at."""
        if not self.plain or len(self.targets) < 2:
            return True
        one, other = self.ask(self.outputs), self.ask(self.outputs, self._others())
        return not (math.isfinite(one) and one == other)

    def _others(self) -> Tensor:
        """The same targets in another order; all alike, they are shifted by one."""
        moved = self.targets.roll(1, 0)
        order = torch.randperm(len(moved), generator=torch.Generator().manual_seed(0)).to(moved.device)
        if not torch.equal(moved, self.targets):
            return moved[order]
        return ~moved if moved.dtype == torch.bool else moved + 1

    def ask(self, outputs: Tensor, targets: Tensor | None = None) -> float:
        """The loss of made-up outputs; NaN where it does not take them."""
        try:
            with torch.no_grad(), quiet():
                return float(self.loss(outputs, self.targets if targets is None else targets).double().mean())
        except FAILS:
            return math.nan


def argument(op: Op, place: int, name: str) -> Tensor | None:
    """An argument of an operation, by place or by name."""
    found = op.inputs[place] if len(op.inputs) > place else op.settings.get(name)
    return found if isinstance(found, Tensor) else None


@contextmanager
def quiet() -> Iterator[None]:
    """Within, torch's warnings about shapes stay unsaid: the doctor says them itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def contract_of(chart: "Chart") -> Contract:
    """The chart's contract, measured once. Errors: Unmeasured where the loss cannot be called by itself."""
    held = vars(chart)
    if "contract" not in held:
        try:
            held["contract"] = measure_contract(chart.subject)
        except Unmeasured as error:
            held["contract"] = error
    if isinstance(held["contract"], Unmeasured):
        raise Unmeasured
    found: Contract = held["contract"]
    return found


def measure_contract(subject: Subject) -> Contract:
    """See `Contract`."""
    with subject.live() as live, quiet(), untouched(live.model):
        loss: Loss | None = getattr(live, "loss", None)
        if loss is None:
            raise Unmeasured
        pairs = [pair for pair in subject.sample(512) if _like(pair, subject.batches[0])][:16]
        try:
            with torch.no_grad():
                raw = [live.forward(pair) for pair in pairs]
            outputs = [first_tensor(found) for found in raw]
            ops = judge_ops(loss, raw[0], pairs[0].targets)
            value = float(loss(raw[0], pairs[0].targets).detach().double().mean())
        except FAILS:
            raise Unmeasured from None
        same = [i for i, found in enumerate(outputs) if found.shape[1:] == outputs[0].shape[1:] and found.dim()]
        if not same or not outputs[0].is_floating_point():
            raise Unmeasured
        targets = torch.cat([_rows(flat_targets(pairs[i].targets)) for i in same])
        plain = isinstance(raw[0], Tensor) and isinstance(pairs[0].targets, Tensor)
        named = next((op.name for op in ops if op.name in JUDGES), "")
        joined = torch.cat([outputs[i] for i in same]).detach()
        first = Contract(subject.task, joined, targets.detach(), loss, value, ops, named, OPEN, {}, False, plain)
        reach, extremes = _probe(live, pairs[0], loss)
        kind = named or recognised(first)
    return replace(first, kind=kind, reach=reach or OPEN, known=reach is not None, extremes=extremes)


def _like(pair: Pair, first: Pair) -> bool:
    return flat_targets(pair.targets).shape[1:] == flat_targets(first.targets).shape[1:]


def _rows(targets: Tensor) -> Tensor:
    return targets.reshape(1) if targets.dim() == 0 else targets


# ------------------------------------------------------------------------------------------------ losses by behaviour


def one_hot_of(task: Task, outputs: Tensor, targets: Tensor) -> Tensor | None:
    """What perfect outputs would be, as 0 and 1 (classes, labels) or numbers, in the shape of `outputs`."""
    if task.kind not in ("classes", "labels", "numbers"):
        return None
    truth = task.truth(targets)
    if task.kind == "classes":
        if outputs.numel() == len(truth):
            return truth.to(outputs).reshape(outputs.shape)
        fits = outputs.dim() == 2 and len(truth) == len(outputs)
        if not fits or int(truth.max()) >= outputs.shape[1] or int(truth.min()) < 0:
            return None
        return F.one_hot(truth, outputs.shape[1]).to(outputs)
    return truth.to(outputs).reshape(outputs.shape) if truth.numel() == outputs.numel() else None


def recognised(found: Contract) -> str:
    """Which of the textbook's losses a hand-written one is, up to a factor: asked about four made-up outputs."""
    if not found.plain:
        return ""
    goal = one_hot_of(found.task, found.outputs, found.targets)
    if goal is None:
        return ""
    draw = torch.Generator().manual_seed(0)
    ratios: dict[str, list[float]] = {}
    for part in (0.0, 0.3, 0.6, 0.9):
        noise = torch.randn(found.outputs.shape, generator=draw).to(found.outputs)
        shares = noise.softmax(-1) if goal.dim() > 1 and goal.shape[-1] > 1 else noise.sigmoid()
        made = (1 - part) * (0.1 + 0.8 * shares) + part * (0.05 + 0.9 * goal)  # from drawn ones to nearly right ones
        value = found.ask(made)
        for name, own in textbook(made, goal, found.task.kind == "classes").items():
            ratios.setdefault(name, []).append(value / own if own else math.nan)
    for name, values in ratios.items():
        middle = sum(values) / len(values)
        if math.isfinite(middle) and middle and max(abs(one - middle) for one in values) < 2e-3 * abs(middle):
            return name
    return ""


def textbook(outputs: Tensor, goal: Tensor, classes: bool) -> dict[str, float]:
    """The textbook's losses of some outputs in [0, 1], by torch's names."""
    found = {
        "mse_loss": F.mse_loss(outputs, goal), "l1_loss": F.l1_loss(outputs, goal),
        "huber_loss": F.huber_loss(outputs, goal),
    }  # fmt: skip
    if bool(((goal == 0) | (goal == 1)).all()):
        found["binary_cross_entropy"] = F.binary_cross_entropy(outputs, goal)
        found["binary_cross_entropy_with_logits"] = F.binary_cross_entropy_with_logits(outputs, goal)
        found["soft_margin_loss"] = F.soft_margin_loss(outputs, 2 * goal - 1)
        found["hinge_loss"] = (1 - (2 * goal - 1) * outputs).clamp(min=0).mean()
    if classes and goal.dim() == 2 and goal.shape[1] > 1:
        found["cross_entropy"] = F.cross_entropy(outputs, goal)
        found["log_of_outputs"] = -(goal * outputs.log()).sum(1).mean()
        found["nll_loss"] = -(goal * outputs).sum(1).mean()
    return {name: value.item() for name, value in found.items()}


# --------------------------------------------------------------------------------------------- what outputs can reach


def _probe(live: Live, pair: Pair, loss: Loss) -> tuple[Reach | None, dict[float, str]]:
    """The range of the outputs (None: not known), and the loss at extreme logits: the last layer's answers are replaced
    by drawn ones."""
    with torch.no_grad(), tracing(live.model, kinds=KINDS) as trace:
        start = first_tensor(live.forward(pair))
    weighted = [op for op in trace.ops if op.name in WEIGHTED | PRODUCTS]
    if not weighted or any(op.name in NORMS and op.index > weighted[-1].index for op in trace.ops):
        return None, {}
    last = weighted[-1]
    if not isinstance(last.output, Tensor):
        inside = last.name in ("lstm", "gru", "rnn_tanh") and not any(op.index > last.index for op in trace.ops)
        return ((-1.0, 1.0) if inside and float(start.abs().max()) <= 1 else None), {}
    keys = {op.key for op in weighted if op.name == last.name and op.path == last.path and op.path} | {last.key}
    seen = [first_tensor(_drawn(live, pair, keys, spread)).detach() for spread in (WIDE / 2, WIDE, -WIDE / 2, -WIDE)]
    extremes = {size: _stage(live, pair, keys, size, loss) for size in EXTREMES}
    if any(found.shape != start.shape for found in seen):
        return None, extremes
    changed = torch.stack([found != start for found in seen]).any(0)
    return (_range(seen) if bool(changed.reshape(len(changed), -1).any(0).all()) else None), extremes


def _range(seen: list[Tensor]) -> tuple[float, float]:
    """The closed range of an activation: a side that moves when its inputs double is open."""
    near = torch.stack([seen[0], seen[2]])
    far = torch.stack([seen[1], seen[3]])
    sides = []
    for pick, sign in ((torch.amin, -1.0), (torch.amax, 1.0)):
        one, two = float(pick(near)), float(pick(far))
        still = math.isfinite(two) and abs(two - one) <= 2e-3 * max(1.0, abs(one))
        sides.append((two if abs(two - round(two)) > 1e-3 else float(round(two))) if still else sign * math.inf)
    return sides[0], sides[1]


@torch.no_grad()
def _drawn(live: Live, pair: Pair, keys: set[tuple[str, int]], spread: float) -> Any:
    """The outputs with the last layer's answers drawn with a spread."""
    count = iter(range(10**9))

    def swap(op: Op, func: Callable[..., Any]) -> Tensor:
        own = func(*op.inputs, **op.settings)
        noise = torch.randn(own.shape, generator=torch.Generator().manual_seed(next(count)))
        return (noise * spread).to(own.device, own.dtype)

    with tracing(live.model, kinds=KINDS, swaps=dict.fromkeys(keys, swap), keep=False):
        return live.forward(pair)


def _stage(live: Live, pair: Pair, keys: set[tuple[str, int]], size: float, loss: Loss) -> str:
    """Which of loss and gradient is not finite where the last layer answers +-size."""

    def swap(op: Op, func: Callable[..., Any]) -> Tensor:
        own = func(*op.inputs, **op.settings)
        signs = torch.randn(own.shape, generator=torch.Generator().manual_seed(1)).sign()
        kept.append((signs * size).to(own.device, own.dtype).requires_grad_())
        return kept[-1]

    kept: list[Tensor] = []
    try:
        with torch.enable_grad(), tracing(live.model, kinds=KINDS, swaps=dict.fromkeys(keys, swap), keep=False):
            outputs = live.forward(pair)
        with torch.enable_grad():
            value = loss(outputs, pair.targets).mean()
            if not bool(torch.isfinite(value)):
                return "loss"
            if not value.requires_grad:
                return ""
            slopes = torch.autograd.grad(value, kept, allow_unused=True)
    except FAILS:
        return ""
    return "" if all(g is None or bool(torch.isfinite(g).all()) for g in slopes) else "gradient"
