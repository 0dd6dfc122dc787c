"""The network before its first step: its loss, its outputs, and layer by layer signals, units and gradients (P2)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.doctor.gauges.slopes import ELEMENTWISE, slopes
from netwright.doctor.gauges.whole import constant_loss
from netwright.doctor.ops import NORMS, WEIGHTED, Op, Swap, tracing
from netwright.doctor.subject import Live, Pair, Subject, untouched
from netwright.doctor.task import first_tensor, flat_targets

EXAMPLES = 1024
"""A unit active on one example in 200 is missed with a chance below 1 % among so many."""
SATURATED = 0.07
"""A sigmoid or tanh is saturated where its slope is below this share of its largest: beyond about |z| = 4 and 2."""
OFTEN = 0.9
"""A unit counts as saturated where it is so on this share of the examples."""
ROWS = 512
"""At most about so many examples and places of a batch go into a layer's spread."""
PARTING = 4
"""After so many steps units that can part have parted."""
LARGEST = 16
"""At most so many values (as a power of two, times 2**10) of an activation are looked at in one batch."""


@dataclass(frozen=True)
class Layer:
    """One weighted operation and the activation behind it, before the first step, in training mode."""

    path: str
    name: str
    key: tuple[str, int]
    width: int
    """Its units, or channels."""
    activation: str
    """The elementwise activation behind it; empty where there is none before the next weighted operation."""
    activation_key: tuple[str, int]
    pre_std: float
    """Of what the activation reads (or of the output, where there is none), over all examples and units."""
    pre_mean: float
    spread: float
    """The standard deviation across examples (and places), averaged over units: what tells one from another."""
    activity: float
    """The share of units with a slope on at least one example; NaN without activation, as the next three."""
    dead: float
    """The share of units without a slope on every example."""
    zeros: float
    """The share of values without a slope: 0.5 to 0.9 is usual for ReLU."""
    saturated: float
    """The share of units whose slope is next to nothing on nine examples in ten."""
    duplicates: float
    """The share of units whose weights and gradients equal another's: they stay equal for ever."""
    weight_scale: float
    """The weights' standard deviation as a multiple of He's sqrt(2 / fan_in); torch's own default is 0.41."""
    gradient_rms: float
    """Of the loss by its output: summed over positions, averaged over units and examples. NaN where none arrives."""
    weight_gradient: dict[str, float]
    """By parameter: the root of the mean squared gradient."""
    weight: str = ""
    """The name of its weight; empty where it is no parameter."""
    normed: bool = False
    """Whether a norm stands between it and its activation."""


@dataclass(frozen=True)
class Start:
    """What is measured at step 0."""

    loss0: float
    base: float
    """The loss of the best constant outputs; NaN where it is not known."""
    logit_std: float
    """The standard deviation of all outputs."""
    spread: float
    """The standard deviation of outputs across examples, averaged over outputs."""
    target_std: float
    """That of the targets, where they are numbers; else 1."""
    input_rms: float
    """NaN for tokens."""
    layers: list[Layer]
    examples: int
    finite: bool
    """Whether loss, outputs and all gradients were finite."""
    gradients: dict[str, float] = field(default_factory=dict)
    """By parameter: the root of the mean squared gradient; parameters without one are not in it."""
    twins: dict[str, float] = field(default_factory=dict)
    """By weight: the share of rows that equal another's, and whose gradients do too, now and after a few steps. (The
    end of a residual branch and the head may both begin at zero; they part in the second step.)"""
    equal_rows: dict[str, float] = field(default_factory=dict)
    """By weight: the share of rows that equal another's."""
    zero: list[str] = field(default_factory=list)
    """Weights that are zero throughout."""
    agreement: dict[str, float] = field(default_factory=dict)
    """By parameter: the cosine of the gradients of even and odd batches; empty with one batch."""

    @property
    def profile(self) -> list[Layer]:
        """The layers that a gradient arrives at, first to last."""
        return [layer for layer in self.layers if math.isfinite(layer.gradient_rms)]

    @property
    def largest(self) -> float:
        """The largest finite deviation of a layer; infinite where a layer has none."""
        found = [layer.pre_std for layer in self.layers]
        finite = [value for value in found if math.isfinite(value)]
        return math.inf if any(value == math.inf for value in found) or not finite else max(finite)

    @property
    def ratio(self) -> float:
        """RMS of the gradient at the first layer by that at the last; NaN with fewer than two layers."""
        found = [layer for layer in self.profile if layer.name != "embedding"]
        if len(found) < 2 or found[-1].gradient_rms == 0:
            return math.nan
        return found[0].gradient_rms / found[-1].gradient_rms


class Tally:
    """Running sums of one layer over batches."""

    def __init__(self, op: Op, weight: str) -> None:
        self.op, self.weight = op, weight
        self.activation: Op | None = None
        self.normed = False
        self.count = 0
        self.total = self.squares = 0.0
        self.rows: list[Tensor] = []
        self.alive: Tensor | None = None
        self.flat: Tensor | None = None
        self.seen = 0
        self.still = self.values = 0
        self.gradient = 0.0
        self.gradient_count = 0

    @property
    def axis(self) -> int:
        return 1 if self.op.name.startswith("conv") else -1

    def signal(self, z: Tensor) -> None:
        """What the activation reads."""
        z = z.detach().float()
        self.count += z.numel()
        self.total += z.sum().item()
        self.squares += z.square().sum().item()
        if sum(map(len, self.rows)) < EXAMPLES:
            units = z.movedim(self.axis, -1).flatten(0, -2) if z.dim() > 2 else z.reshape(len(z), -1)
            self.rows.append(units[:: max(1, len(units) // ROWS), :256].cpu())

    def units(
        self, name: str, z: Tensor, func: Callable[..., Any], rest: tuple[Any, ...], settings: dict[str, Any]
    ) -> None:
        """Which units have a slope, and which next to none."""
        slope = slopes(name, z, func, rest, settings)
        if slope is None or slope.dim() < 2:
            return
        flat = slope.movedim(self.axis, -1).flatten(0, -2)
        alive = (flat > 1e-3).any(0)
        low = (flat < SATURATED).sum(0)
        self.alive = alive if self.alive is None or self.alive.shape != alive.shape else self.alive | alive
        self.flat = low if self.flat is None or self.flat.shape != low.shape else self.flat + low
        self.seen += len(flat)
        self.still += int((flat <= 1e-3).sum())
        self.values += flat.numel()

    def arrives(self, gradient: Tensor) -> None:
        """The loss's gradient by the layer's output."""
        self.gradient += gradient.detach().double().square().sum().item()
        units = gradient.shape[self.axis] if gradient.dim() > 1 else 1
        self.gradient_count += len(gradient) * units


def measure_start(subject: Subject, examples: int = EXAMPLES) -> Start:
    """Read loss, outputs, layers and gradients of the untrained network on the first examples, in training mode."""
    with subject.live() as live:
        names = {id(p): name for name, p in live.model.named_parameters()}
        tallies, swaps = _recorders(live, subject.batches[0], names)
        sums: dict[str, list[Tensor]] = {}
        outputs: list[Tensor] = []
        losses: list[tuple[float, int]] = []
        pairs = subject.sample(examples)
        for place, pair in enumerate(pairs):
            losses.append((_one(live, pair, swaps, outputs, sums, place % 2), len(pair)))
        base = constant_loss(live, subject)
        start = _start(subject, live, tallies, sums, outputs, losses, base)
        return replace(start, twins=_still_twins(live, start)) if max(start.twins.values(), default=0.0) > 0 else start


def _still_twins(live: Live, start: Start) -> dict[str, float]:
    """The shares after a few steps, where they are smaller."""
    live.run(PARTING)
    _, gradients = live.gradient(live.batch())
    own = live.parameters
    return {
        name: min(share, twins(own[name].detach(), gradients.get(name))[0]) if share > 0 and name in own else share
        for name, share in start.twins.items()
    }


def _one(
    live: Live, pair: Pair, swaps: dict[tuple[str, int], Swap], outputs: list[Tensor],
    sums: dict[str, list[Tensor]], half: int,
) -> float:  # fmt: skip
    """One batch forward and backward; its loss."""
    hook = live.model.register_forward_hook(lambda _, __, found: outputs.append(first_tensor(found).detach()))
    try:
        with untouched(live.model):
            with tracing(live.model, swaps=swaps, keep=False):
                loss = live.loss_on(pair)
            own = live.parameters
            found = torch.autograd.grad(loss, list(own.values()), allow_unused=True) if loss.requires_grad else ()
    finally:
        hook.remove()
    for name, gradient in zip(own, found, strict=False):
        if gradient is not None:
            dense = gradient.detach().to_dense() if gradient.is_sparse else gradient.detach()
            halves = sums.setdefault(name, [torch.zeros_like(dense), torch.zeros_like(dense)])
            halves[half] += dense * len(pair)
    return loss.item()


def _recorders(live: Live, pair: Pair, names: dict[int, str]) -> tuple[list[Tally], dict[tuple[str, int], Swap]]:
    """What listens to each weighted operation and to the activation behind it."""
    with untouched(live.model), tracing(live.model) as trace, torch.no_grad():
        live.forward(pair)
    tallies: list[Tally] = []
    swaps: dict[tuple[str, int], Swap] = {}
    for op in trace.ops:
        if op.name in WEIGHTED:
            if op.key not in swaps:
                tallies.append(Tally(op, next((names[id(w)] for w in _tensors(op) if id(w) in names), "")))
                swaps[op.key] = _listen(tallies[-1])
        elif op.name in NORMS and tallies and tallies[-1].activation is None:
            tallies[-1].normed = True
        elif op.name in ELEMENTWISE and tallies and tallies[-1].activation is None and op.key not in swaps:
            tallies[-1].activation = op
            swaps[op.key] = _look(tallies[-1])
    return tallies, swaps


def _tensors(op: Op) -> list[Tensor]:
    found: list[Any] = [*op.inputs[1:], *op.settings.values()]
    if op.name == "embedding":
        found = [op.inputs[0], *found]  # torch.embedding(weight, indices)
    rows = [item for part in found for item in (part if isinstance(part, (tuple, list)) else (part,))]
    return [item for item in rows if isinstance(item, nn.Parameter) and item.dim() > 1]


def _listen(tally: Tally) -> Swap:
    def weighted(op: Op, func: Callable[..., Any]) -> Any:
        found = func(*op.inputs, **op.settings)
        output = found
        while isinstance(output, (tuple, list)):
            output = output[0]
        if isinstance(output, Tensor):
            if tally.activation is None:
                tally.signal(output)
            if output.requires_grad:
                output.register_hook(tally.arrives)
        return found

    return weighted


def _look(tally: Tally) -> Swap:
    def activation(op: Op, func: Callable[..., Any]) -> Any:
        z = op.inputs[0] if op.inputs else op.settings.get("input")
        if isinstance(z, Tensor):
            tally.signal(z)
            if z.numel() <= 2**10 << LARGEST:
                tally.units(op.name, z, func, op.inputs[1:], {k: v for k, v in op.settings.items() if k != "input"})
        return func(*op.inputs, **op.settings)

    return activation


def _start(
    subject: Subject, live: Live, tallies: list[Tally], sums: dict[str, list[Tensor]], outputs: list[Tensor],
    losses: list[tuple[float, int]], base: float,
) -> Start:  # fmt: skip
    count = sum(size for _, size in losses)
    own = live.parameters
    means = {name: (halves[0] + halves[1]) / count for name, halves in sums.items()}
    rms = {name: mean.double().square().mean().sqrt().item() for name, mean in means.items()}
    weights = {name: p.detach() for name, p in own.items() if p.dim() > 1 and len(p) > 1}
    embedded = {tally.weight for tally in tallies if tally.op.name == "embedding"}
    alike = {
        name: twins(weight, means[name])
        for name, weight in weights.items()
        if name not in embedded and name in means and weight.numel()
    }
    loss0 = sum(loss * size for loss, size in losses) / count
    same = [o.reshape(len(o), -1).float().cpu() for o in outputs if o.dim() and o[0].shape == outputs[0][0].shape]
    flat = torch.cat(same) if same else torch.zeros(1, 1)
    numbers, y = subject.numbers(EXAMPLES), flat_targets(subject.batches[0].targets)
    finite = math.isfinite(loss0) and bool(torch.isfinite(flat).all()) and all(map(math.isfinite, rms.values()))
    return Start(
        loss0,
        base,
        _std(flat.reshape(-1)),
        _std(flat),
        _std(y.float()) if subject.task.kind == "numbers" else 1.0,
        numbers.float().square().mean().sqrt().item() if numbers is not None else math.nan,
        [_layer(tally, own, rms, alike) for tally in tallies],
        count,
        finite,
        rms,
        {name: pair[0] for name, pair in alike.items()},
        {name: pair[1] for name, pair in alike.items()},
        [name for name, weight in weights.items() if not weight.any()],
        {name: _cosine(*halves) for name, halves in sums.items()} if len(losses) > 1 else {},
    )


def _layer(
    tally: Tally, own: dict[str, nn.Parameter], rms: dict[str, float], alike: dict[str, tuple[float, float]]
) -> Layer:
    op, behind, nan = tally.op, tally.activation, math.nan
    mean = tally.total / tally.count if tally.count else nan
    variance = max(0.0, tally.squares / tally.count - mean**2) if tally.count else nan
    dead = 1 - tally.alive.float().mean().item() if tally.alive is not None else nan
    saturated = (tally.flat >= OFTEN * tally.seen).float().mean().item() if tally.flat is not None else nan
    inside = op.path + "." if op.path else ""
    of = {name: value for name, value in rms.items() if name == tally.weight or (inside and name.startswith(inside))}
    weight = own.get(tally.weight)
    fan_in = weight[0].numel() if weight is not None else 1
    scale = weight.detach().float().square().mean().sqrt().item() / math.sqrt(2 / fan_in) if weight is not None else nan
    shape = op.tensor.shape if isinstance(op.tensor, Tensor) else (1,)
    rows = [row for row in tally.rows if row.shape[1] == tally.rows[0].shape[1]]
    return Layer(
        op.path,
        op.name,
        op.key,
        int(shape[tally.axis]) if len(shape) > 1 else 1,
        behind.name if behind else "",
        behind.key if behind else ("", -1),
        math.sqrt(variance),
        mean,
        _std(torch.cat(rows)) if rows else nan,
        1 - dead,
        dead,
        tally.still / tally.values if tally.values else nan,
        saturated,
        alike.get(tally.weight, (0.0, 0.0))[0],
        scale,
        math.sqrt(tally.gradient / tally.gradient_count) if tally.gradient_count else nan,
        of,
        tally.weight,
        tally.normed,
    )


def _std(values: Tensor) -> float:
    """Along the first axis, averaged over the others; 0 for one row."""
    return values.double().std(0, unbiased=False).mean().item() if len(values) else math.nan


def _cosine(one: Tensor, other: Tensor) -> float:
    size = (one.norm() * other.norm()).item()
    return (one * other).sum().item() / size if size > 0 and math.isfinite(size) else 0.0


def twins(weight: Tensor, gradient: Tensor | None) -> tuple[float, float]:
    """The share of rows that equal another row and whose gradients do too, and the share that equal another.

    Formula: rows are compared by two random projections each; equal to 1e-6 of the largest
    """
    rows = weight.detach().flatten(1).double().cpu()
    generator = torch.Generator().manual_seed(0)
    across = torch.randn(rows.shape[1], 2, generator=generator, dtype=torch.float64)
    spots = (rows @ across).numpy()
    pulls = (gradient.flatten(1).double().cpu() @ across).numpy() if gradient is not None else np.zeros_like(spots)
    if not (np.isfinite(spots).all() and np.isfinite(pulls).all()):
        return 0.0, 0.0
    size = max(rows.norm(dim=1).max().item(), 1e-30)
    pull = max(float(np.abs(pulls).max()), 1e-30)
    groups = _groups(spots, 1e-6 * size)
    equal = np.bincount(groups)[groups] > 1
    finer = _groups(np.column_stack([groups * 4.0, pulls / pull]), 1e-5)
    both = np.bincount(finer)[finer] > 1
    return float(both.mean()), float(equal.mean())


def _groups(points: np.ndarray, apart: float) -> np.ndarray:
    """A number for each row: rows that lie together in every column, to `apart`, have the same."""
    labels = np.zeros(len(points), dtype=np.int64)
    for column in points.T:
        order = np.lexsort((column, labels))
        jump = (np.diff(column[order]) > apart) | (np.diff(labels[order]) != 0)
        fresh = np.empty_like(labels)
        fresh[order] = np.concatenate([[0], np.cumsum(jump)])
        labels = fresh
    return labels
