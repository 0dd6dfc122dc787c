"""Changes of numbers: how inputs and targets are scaled, filled and laid out."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from netwright.doctor.changes.signal import adopt, wrap
from netwright.doctor.changes.steps import live_of, setting
from netwright.doctor.ops import Op
from netwright.doctor.subject import Change, Live, Pair, Subject
from netwright.doctor.task import first_tensor, flat_targets
from netwright.language import say

Inputs = tuple[Any, ...]
Read = Callable[[Inputs], Inputs]


def advice(name: str, why: str, text: str) -> Change:
    """What a person must do where a branch cannot: it is said, and changes nothing when it is tried."""
    return Change(name, why, {"code": text})


# --- inputs -----------------------------------------------------------------------------------------------------------
def feature_axis(x: Tensor) -> int:
    """Which axis holds the features: channels of pictures, columns of rows, the shorter one of sequences."""
    if x.dim() <= 2:
        return 1 if x.dim() == 2 else 0
    if x.dim() == 3:
        return 2 if x.shape[2] <= x.shape[1] else 1
    return x.dim() - 1 if x.dim() == 4 and x.shape[-1] in (1, 3, 4) and x.shape[1] not in (1, 2, 3, 4) else 1


def by_feature(x: Tensor) -> Tensor:
    """One row an observation, one column a feature."""
    return x.reshape(-1, 1) if x.dim() < 2 else x.movedim(feature_axis(x), -1).flatten(0, -2)


def along(values: Tensor, x: Tensor) -> Tensor:
    """One value a feature, in a shape that meets `x`."""
    if x.dim() < 2:
        return values.reshape(())
    shape = [1] * x.dim()
    shape[feature_axis(x)] = -1
    return values.to(x.device, x.dtype).reshape(shape)


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the finite values of each feature; 1 for the deviation of a constant one."""
    rows = by_feature(x).double()
    known = rows.isfinite()
    count = known.sum(0).clamp(min=1)
    mean = torch.where(known, rows, 0.0).sum(0) / count
    apart = torch.where(known, rows - mean, 0.0)
    std = (apart.square().sum(0) / count).sqrt()
    return mean, torch.where(std <= 1e-7 * mean.abs().clamp(min=1e-30), 1.0, std)


def plain_inputs(subject: Subject) -> Tensor | None:
    """The first input of the examples as one tensor of floats; None where it is none, or stands in a table."""
    if not all(isinstance(pair.inputs[0], Tensor) for pair in subject.batches[:2]):
        return None
    x = subject.numbers()
    return x if x is not None and len(x) >= 2 and x.numel() else None


def read_as(live: Live, change: Callable[[Tensor], Tensor]) -> None:
    """Change what the network reads first, in training and in use, in a step of the person's own too."""
    branch = live_of(live)

    def read(inputs: Inputs) -> Inputs:
        if not inputs or not isinstance(inputs[0], Tensor):
            return inputs
        return (change(inputs[0]), *inputs[1:])

    if branch.own_step is None:
        branch.reads.append(read)
    else:
        hook = branch.model.register_forward_pre_hook(lambda _, given: read(given))
        branch.extras.callback(hook.remove)


def _affine(subject: Subject, name: str, why: str, text: str, mean: Tensor, scale: Tensor) -> Change:
    def apply(live: Live) -> None:
        read_as(live, lambda x: (x - along(mean, x)) / along(scale, x) if x.is_floating_point() else x)

    return Change(name, why, {"code": text}, apply)


def standardised_inputs(subject: Subject) -> Change | None:
    """Every feature with mean 0 and standard deviation 1, by the statistics of the training examples."""
    why = say("features of one scale give every weight a gradient of one size, so one rate suits them all")
    if subject.recipe is not None:
        normalized = setting(subject, "data", "normalize") in (None, "auto", "standard")
        return None if normalized else Change("standardised inputs", why, {"data.normalize": "auto"})
    x = plain_inputs(subject)
    if x is None:
        return None
    text = say(
        "x = (x - train.mean(0)) / train.std(0), for validation and test with the statistics of the training examples"
    )
    return _affine(subject, "standardised inputs", why, text, *statistics(x))


def rescaled_inputs(subject: Subject) -> Change | None:
    """All inputs times one factor, so that they have unit scale."""
    why = say("inputs of unit scale tell one example from another")
    if subject.recipe is not None:
        return standardised_inputs(subject)
    x = plain_inputs(subject)
    if x is None:
        return None
    known = x[x.isfinite()].double()
    rms = known.square().mean().sqrt().item() if known.numel() else 0.0
    if not 0 < rms < math.inf:
        return None
    text = say("divide the inputs once, not twice: here x = x * {factor:.3g} brings them to unit scale", factor=1 / rms)
    one = torch.ones(by_feature(x[:1]).shape[1], dtype=torch.float64)
    return _affine(subject, "rescaled inputs", why, text, 0 * one, rms * one)


def filled_inputs(subject: Subject, spikes: Sequence[tuple[int, float]] = ()) -> Change | None:
    """Non-finite numbers, and `spikes` (feature, value), replaced by the median of their feature."""
    why = say("a missing value is then an ordinary one")
    if subject.recipe is not None:
        return None if spikes else Change("skip non-finite", why, {"training.non_finite": "skip"})
    x = plain_inputs(subject)
    if x is None:
        return None
    fill = medians(x, spikes)

    def change(x: Tensor) -> Tensor:
        if not x.is_floating_point():
            return x
        axis = feature_axis(x)
        bad = ~x.isfinite()
        for feature, value in spikes:
            if x.dim() > 1 and feature < x.shape[axis]:
                bad.select(axis, feature).logical_or_(x.select(axis, feature) == value)
            elif x.dim() < 2:
                bad |= x == value
        return torch.where(bad, along(fill, x), x)

    text = say("x = np.where(np.isfinite(x), x, np.nanmedian(train, 0))")
    if spikes:
        values = sorted({value for _, value in spikes})
        text = say("read {values} as missing, and put the median of the training examples in their place",
                   values=", ".join(f"{value:g}" for value in values[:5]))  # fmt: skip
    return Change("filled inputs", why, {"code": text}, lambda live: read_as(live, change))


def medians(x: Tensor, spikes: Sequence[tuple[int, float]] = ()) -> Tensor:
    """The median of each feature's finite values that are no spikes; 0 where it has none."""
    rows = by_feature(x[:20_000]).double().clone()
    rows[~rows.isfinite()] = math.nan
    for feature, value in spikes:
        column = rows[:, min(feature, rows.shape[1] - 1)]
        column[column == value] = math.nan
    found: Tensor = rows.nanmedian(0).values
    return found.nan_to_num(0.0)


def without_columns(subject: Subject, columns: Sequence[int]) -> Change | None:
    """Some columns always at their mean: they then tell nothing."""
    x = plain_inputs(subject)
    if subject.recipe is not None or x is None or x.dim() != 2:
        return None
    mean, places = statistics(x)[0], torch.tensor(list(columns))

    def change(x: Tensor) -> Tensor:
        return x.index_copy(1, places.to(x.device), along(mean, x)[:, places].expand(len(x), -1))

    text = say("drop column {columns}", columns=", ".join(map(str, columns)))
    return Change(
        "without columns",
        say("at prediction that column is not known"),
        {"code": text},
        lambda live: read_as(live, change),
    )


def alike_validation(subject: Subject) -> Change | None:
    """Validation inputs moved to the mean and scale of the training inputs, feature by feature."""
    x = plain_inputs(subject)
    if subject.recipe is not None or x is None or not subject.validation:
        return None
    held = torch.cat([first_tensor(pair.inputs[0]).to(x.dtype) for pair in subject.validation])
    if held.shape[1:] != x.shape[1:] or len(held) < 2:
        return None
    (mean, std), (mean_v, std_v) = statistics(x), statistics(held)
    known = {id(pair): mapped_pair(pair, mean_v, std_v, mean, std) for pair in subject.validation}

    def apply(live: Live) -> None:
        own = live.outputs

        def outputs(pair: Pair) -> Any:
            return own(known.get(id(pair), pair))

        live.outputs = outputs  # type: ignore[method-assign]

    text = say("prepare validation inputs by the transform that was fitted on the training examples")
    return Change(
        "validation prepared as training",
        say("the network then meets the numbers it has learnt on"),
        {"code": text},
        apply,
    )


def mapped_pair(pair: Pair, mean_v: Tensor, std_v: Tensor, mean: Tensor, std: Tensor) -> Pair:
    """A pair whose inputs are moved from one mean and scale to another."""
    x = first_tensor(pair.inputs[0])
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    moved = (x - along(mean_v, x)) / along(std_v, x) * along(std, x) + along(mean, x)
    return Pair((moved, *pair.inputs[1:]), pair.targets, pair.source)


# --- targets ----------------------------------------------------------------------------------------------------------
def standardised_targets(subject: Subject) -> Change | None:
    """Targets with mean 0 and standard deviation 1; answers are scaled back."""
    if subject.recipe is not None or subject.task.kind != "numbers":
        return None
    y = subject.targets()
    if not y.is_floating_point() or not all(isinstance(pair.targets, Tensor) for pair in subject.batches[:2]):
        return None
    y = y[y.reshape(len(y), -1).isfinite().all(1)].double()
    if len(y) < 2:
        return None
    mean, std = y.mean(0), y.std(0, correction=0)
    std = torch.where(std > 0, std, 1.0)

    def scaled(pair: Pair) -> Pair:
        found = pair.targets
        return Pair(pair.inputs, (found - mean.to(found)) / std.to(found), pair.source)

    def apply(live: Live) -> None:
        branch = live_of(live)
        branch.pairs = [scaled(pair) for pair in branch.pairs]
        own = branch.judged

        def undone(outputs: Any) -> Any:
            found = first_tensor(own(outputs))
            scale, offset = std.to(found), mean.to(found)
            if found.dim() != y.dim() and y[0].numel() == 1:
                scale, offset = scale.reshape(()), offset.reshape(())
            return found * scale + offset

        branch.judged = undone

    text = say(
        "train on (y - {mean:.4g}) / {std:.4g} and scale the answers back",
        mean=mean.mean().item(),
        std=std.mean().item(),
    )
    return Change("standardised targets", say("the outputs begin where the targets are"), {"code": text}, apply)


# --- layout -----------------------------------------------------------------------------------------------------------
VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "N H W C": lambda x: x.permute(0, 3, 1, 2),
    "N H C W": lambda x: x.permute(0, 2, 1, 3),
    "memory N C H W": lambda x: x.reshape(len(x), x.shape[3], x.shape[1], x.shape[2]),
    "memory N H W C": lambda x: x.reshape(len(x), x.shape[2], x.shape[3], x.shape[1]).permute(0, 3, 1, 2),
    "memory N C W H": lambda x: x.reshape(len(x), x.shape[1], x.shape[3], x.shape[2]),
}
"""By the names of `gauges.layouts`: how to read the same numbers so that neighbouring pixels are alike."""
WRITTEN = {
    "N H W C": "x.permute(0, 3, 1, 2)",
    "N H C W": "x.permute(0, 2, 1, 3)",
    "memory N C H W": "x.reshape(N, C, H, W)",
    "memory N H W C": "x.reshape(N, H, W, C).permute(0, 3, 1, 2)",
    "memory N C W H": "x.reshape(N, C, W, H)",
}


def laid_out(subject: Subject, op: Op, view: str) -> Change | None:
    """Another layout of what the first convolution reads; of other channels, its weights are drawn anew for them."""
    if subject.recipe is not None or view not in VIEWS:
        return None
    weight, given = op.inputs[1], VIEWS[view](op.inputs[0])
    drawn = given.shape[1] != weight.shape[1]
    if drawn and (op.name != "conv2d" or op.settings.get("groups", op.inputs[6] if len(op.inputs) > 6 else 1) != 1):
        return None

    def apply(live: Live) -> None:
        fresh: list[Tensor] = []
        if drawn:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                conv = nn.Conv2d(given.shape[1], weight.shape[0], tuple(weight.shape[2:]), bias=False)
            adopt(live, [conv.to(weight)])
            fresh = [conv.weight]

        def outer(op: Op, func: Callable[..., Any], inner: Callable[..., Any]) -> Any:
            op.inputs = (VIEWS[view](op.inputs[0]), *(fresh or op.inputs[1:2]), *op.inputs[2:])
            return inner(op, func)

        wrap(live, op.key, outer)

    why = say("neighbouring pixels then stand side by side, as a convolution reads them")
    text = WRITTEN[view]
    if drawn:
        text += "; " + say("a first convolution for {count} channels", count=given.shape[1])
    return Change(f"layout {view}", why, {"code": text}, apply)


def runs_with(subject: Subject, change: Change) -> bool:
    """Whether the network takes its first batch with this change made."""
    try:
        with subject.live([change]) as live, torch.no_grad():
            return bool(flat_targets(live.batch().targets).numel()) and live.loss_on(live.batch()).numel() == 1
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError):
        return False
