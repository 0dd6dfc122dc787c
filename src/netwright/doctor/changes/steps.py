"""Changes of the step: its rate, the optimizer and its settings, clipping, batch size, schedule, penalties, length."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from netwright.catalogue import OPTIMIZERS, SCHEDULES
from netwright.doctor.code import CodeLive
from netwright.doctor.findings import rounded
from netwright.doctor.gauges.rates import rate_of, rate_range, set_rate
from netwright.doctor.subject import Change, Live, Pair, Subject
from netwright.doctor.suspicion import Unmeasured
from netwright.language import say
from netwright.recipe import Recipe
from netwright.training.plan import resolve

USUAL_RATE = {"adam": 1e-3, "momentum": 0.01, "adamw": 1e-3}


def setting(subject: Subject, table: str, name: str) -> Any:
    """A setting of the recipe; None for code, or where the part has none of that name."""
    return subject.recipe.table(table).get(name) if subject.recipe is not None else None


def group_setting(subject: Subject, name: str) -> Any:
    """A setting of the person's optimizer, of its first group; for a recipe that of its optimizer."""
    if subject.recipe is not None:
        return setting(subject, "optimizer", name)
    optimizer = getattr(subject, "optimizer", None)
    return optimizer.param_groups[0].get(name) if optimizer is not None and optimizer.param_groups else None


def current_rate(subject: Subject) -> float:
    """The learning rate as it was given; NaN where the rule has none."""
    if subject.recipe is not None:
        found = setting(subject, "optimizer", "lr")
        return float(found) if isinstance(found, (int, float)) and found > 0 else math.nan
    optimizer = getattr(subject, "optimizer", None)
    return rate_of([optimizer]) if optimizer is not None else math.nan


def batch_of(subject: Subject) -> int:
    """Examples of a batch."""
    return max(len(pair) for pair in subject.batches[:3])


# --- the rate ---------------------------------------------------------------------------------------------------------
def rate_times(subject: Subject, factor: float) -> Change | None:
    """All rates times a factor, those of groups alike."""
    rate = current_rate(subject)
    if not math.isfinite(rate):
        return None
    why = say("smaller steps do not leap over the minimum") if factor < 1 else say("longer steps arrive sooner")
    return _rate(subject, f"rate x {factor:g}", why, rounded(rate * factor), factor)


def rate_to(subject: Subject, value: float, why: str = "") -> Change | None:
    """The rate at a value, those of other groups in proportion."""
    rate = current_rate(subject)
    if not math.isfinite(rate) or not 0 < value < math.inf:
        return None
    why = why or say("between the rate at which the loss falls fastest and far too small ones")
    return _rate(subject, f"rate = {value:g}", why, value, value / rate)


def _rate(subject: Subject, name: str, why: str, value: float, factor: float) -> Change:
    if subject.recipe is not None:
        return Change(name, why, {"optimizer.lr": value})

    def apply(live: Live) -> None:
        for optimizer in live.optimizers:
            for group in optimizer.param_groups:
                for key in ("lr", "initial_lr"):
                    if isinstance(group.get(key), Tensor) and key == "lr":
                        _undone_fill(live, group["lr"], group["lr"].item() * factor)
                    elif isinstance(group.get(key), (int, float)):
                        group[key] = group[key] * factor

    return Change(name, why, {"code": say("optimizer: lr={value:g}", value=value)}, apply)


def _undone_fill(live: Live, rate: Tensor, value: float) -> None:
    live_of(live).extras.callback(rate.fill_, rate.item())
    rate.fill_(value)


def live_of(live: Live) -> CodeLive:
    """A branch of code, for changes that only code takes."""
    assert isinstance(live, CodeLive)
    return live


# --- the optimizer ----------------------------------------------------------------------------------------------------
def other_optimizer(subject: Subject, name: str = "adam", rate: float = 0.0) -> Change:
    """Adam, or SGD with momentum 0.9 (`momentum`), for the same groups of parameters, from a fresh state."""
    value = rate or USUAL_RATE[name]
    why = (
        say("it scales each weight's step by itself")
        if name == "adam"
        else say("its velocity averages the batches' noise")
    )
    if subject.recipe is not None:
        return Change(f"{name} at {value:g}", why, {"optimizer": name, "optimizer.lr": value})
    text = say("optimizer = torch.optim.Adam(model.parameters(), lr={rate:g})", rate=value)
    if name == "momentum":
        text = say("optimizer = torch.optim.SGD(model.parameters(), lr={rate:g}, momentum=0.9)", rate=value)

    def apply(live: Live) -> None:
        branch = live_of(live)
        branch.without_own_step()
        branch.optimizers = [_fresh(name, groups_of(branch), value)]

    return Change(f"{name} at {value:g}", why, {"code": text}, apply)


def _fresh(name: str, groups: list[dict[str, Any]], rate: float) -> Optimizer:
    if name == "momentum":
        return SGD(groups, lr=rate, momentum=0.9)
    return Adam(groups, lr=rate)


def groups_of(live: Live) -> list[dict[str, Any]]:
    """The optimizers' groups: their parameters and weight decay, and the rates in proportion to the first."""
    found: list[dict[str, Any]] = [
        {"params": list(group["params"]), "weight_decay": float(group.get("weight_decay", 0.0) or 0.0)}
        for optimizer in live.optimizers for group in optimizer.param_groups if group["params"]
    ]  # fmt: skip
    extra = [
        p for p in getattr(live, "extra_parameters", []) if not any(p is q for group in found for q in group["params"])
    ]
    return [*found, {"params": extra, "weight_decay": 0.0}] if extra else found


def probed_optimizer(
    subject: Subject, name: str = "adam", seed: int = 0, before: tuple[Change, ...] = ()
) -> Change | None:
    """The other optimizer at the rate that a range test gives it: both rates are tuned before one rule is blamed."""
    usual = other_optimizer(subject, name)
    try:
        found = rate_range(subject, seed, (*before, usual), seeds=1)
    except Unmeasured:
        return None
    rate = found.advised if math.isfinite(found.advised) else USUAL_RATE[name]
    return other_optimizer(subject, name, rounded(rate))


DEFAULTS: dict[str, Any] = {"momentum": 0.9, "eps": 1e-8, "betas": (0.9, 0.999), "dampening": 0.0}
NAMED = {"eps": ("eps",), "betas": ("beta1", "beta2"), "momentum": ("momentum",), "dampening": ("dampening",)}


def default_settings(subject: Subject, *names: str) -> Change | None:
    """Momentum, eps or betas as everybody has them; the rate stays."""
    names = tuple(
        name for name in names if group_setting(subject, name if subject.recipe is None else NAMED[name][0]) is not None
    )
    if not names:
        return None
    why = say("these settings are where the rule was made to work")
    if subject.recipe is not None:
        part = OPTIMIZERS[setting(subject, "optimizer", "name")].defaults()
        patch = {f"optimizer.{key}": part[key] for name in names for key in NAMED[name] if key in part}
        return Change("usual settings", why, patch) if patch else None

    def apply(live: Live) -> None:
        for optimizer in live.optimizers:
            for group in optimizer.param_groups:
                group.update({name: DEFAULTS[name] for name in names if name in group})

    shown = ", ".join(f"{name}={DEFAULTS[name]}" for name in names)
    return Change("usual settings", why, {"code": say("optimizer: {settings}", settings=shown)}, apply)


# --- the gradient -----------------------------------------------------------------------------------------------------
def clip(subject: Subject, norm: float = 1.0) -> Change:
    """The gradient's norm kept at most `norm`."""
    norm = rounded(norm)
    why = say("a clipped gradient cannot throw the weights far")
    if subject.recipe is not None:
        return Change(f"clip {norm:g}", why, {"training.clip_norm": norm})

    def apply(live: Live) -> None:
        branch = live_of(live)

        def before(*_: Any) -> None:
            owned = [p for optimizer in branch.optimizers for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(owned, norm)

        if branch.own_step is None:
            branch.clip = norm
            return
        for optimizer in branch.optimizers:
            branch.extras.callback(optimizer.register_step_pre_hook(before).remove)

    text = say("torch.nn.utils.clip_grad_norm_(model.parameters(), {norm:g}) between backward() and step()", norm=norm)
    return Change(f"clip {norm:g}", why, {"code": text}, apply)


# --- batches and length -----------------------------------------------------------------------------------------------
def batch_size(subject: Subject, size: int) -> Change | None:
    """Batches of another size. Smaller ones make so many more updates in the same time over the data, and a step of the
    branch takes them all."""
    old = batch_of(subject)
    if size == old or size < 1:
        return None
    why = say("more updates for the same examples") if size < old else say("gradients of larger batches agree better")
    times = max(1, round(old / size))
    if subject.recipe is not None:
        more = (lambda live: repeated(live, times)) if times > 1 else None
        return Change(f"batches of {size}", why, {"data.batch_size": size}, more, float(times))

    def apply(live: Live) -> None:
        branch = live_of(live)
        branch.pairs = list(cut(branch.pairs, size))
        if times > 1:
            repeated(branch, times)

    return Change(f"batches of {size}", why, {"code": say("batch_size={size}", size=size)}, apply, float(times))


def cut(pairs: list[Pair], size: int) -> Iterator[Pair]:
    """The same examples in the same order in batches of `size`; those that cannot be joined stay as they are."""
    joined = join(pairs)
    for pair in pairs if joined is None else [joined]:
        for first in range(0, len(pair), size):
            part = slice_of(pair, first, first + size)
            if len(part) > 1 or size == 1 or len(pair) == 1:
                yield part


def slice_of(pair: Pair, first: int, last: int) -> Pair:
    """Some examples of a batch."""
    count = len(pair)
    return Pair(tuple(_part(item, count, first, last) for item in pair.inputs), _part(pair.targets, count, first, last))


def _part(value: Any, count: int, first: int, last: int) -> Any:
    if isinstance(value, Tensor):
        return value[first:last] if value.dim() and len(value) == count else value
    if isinstance(value, dict):
        return {key: _part(item, count, first, last) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_part(item, count, first, last) for item in value)
    return value


def join(pairs: list[Pair]) -> Pair | None:
    """Batches as one; None where they are not plain tensors of equal shape."""
    parts = [(*pair.inputs, pair.targets) for pair in pairs]
    if any(
        len(part) != len(parts[0]) or not all(isinstance(item, Tensor) and item.dim() for item in part)
        for part in parts
    ):
        return None
    if any(
        a.shape[1:] != b.shape[1:] or a.dtype != b.dtype for part in parts for a, b in zip(part, parts[0], strict=True)
    ):
        return None
    whole = [torch.cat(items) for items in zip(*parts, strict=True)]
    return Pair(tuple(whole[:-1]), whole[-1])


def repeated(live: Live, times: int) -> None:
    """Every step of the branch is so many."""
    one = live.step

    def step() -> float:
        losses = [one() for _ in range(times)]
        return losses[-1] if any(loss != loss for loss in losses) else sum(losses) / times

    live.step = step  # type: ignore[method-assign]


def longer(subject: Subject, factor: int = 4) -> Change:
    """`factor` times as many updates; a step of the branch takes so many."""
    why = say("the loss was still falling")
    if subject.recipe is not None:
        epochs = int(setting(subject, "training", "epochs") or 1)
        patch = {"training.epochs": epochs * factor}
        return Change(f"{factor} x epochs", why, patch, lambda live: repeated(live, factor), float(factor))
    epochs = subject.total // max(1, subject.epoch)
    text = (
        say("epochs={count}", count=epochs * factor) if epochs else say("{factor} times as many epochs", factor=factor)
    )
    return Change(f"{factor} x epochs", why, {"code": text}, lambda live: repeated(live, factor), float(factor))


def usual_length(subject: Subject) -> Change | None:
    """As many updates as a training of such data makes by default; None for code, and where it makes no fewer."""
    recipe, dataset = subject.recipe, getattr(subject, "dataset", None)
    if recipe is None or dataset is None:
        return None
    training = {name: value for name, value in recipe.table("training").items() if name not in ("epochs", "log_steps")}
    usual = resolve(Recipe(recipe.seed, {**recipe.tables, "training": training}), dataset).table("training")["epochs"]
    factor = round(usual / max(1, recipe.table("training")["epochs"]))
    return longer(subject, factor) if factor > 1 else None


def stop_at(subject: Subject, step: int) -> Change:
    """No update after that step: the weights that were best on validation are kept."""
    why = say("the best weights on validation examples were those")
    if subject.recipe is not None:
        return Change("stop early", why, {"training.stop_after": 5})

    def apply(live: Live) -> None:
        one, last = live.step, [math.nan]

        def stopped() -> float:
            if live.steps < step:
                last[0] = one()
            else:
                live.steps += 1
            return last[0]

        live.step = stopped  # type: ignore[method-assign]

    text = say("keep the weights of the best validation score (here after {step} steps)", step=step)
    return Change("stop early", why, {"code": text}, apply)


# --- the schedule -----------------------------------------------------------------------------------------------------
def constant_schedule(subject: Subject) -> Change | None:
    """The rate stays as it was given."""
    why = say("the rate does not fade before the training is done")
    if subject.recipe is not None:
        return (
            Change("constant rate", why, {"schedule": "constant"})
            if setting(subject, "schedule", "name") != "constant"
            else None
        )
    if getattr(subject, "own_step", None) is None:
        return None

    def apply(live: Live) -> None:
        branch = live_of(live)
        for optimizer in branch.optimizers:
            rates = [group.get("lr") for group in optimizer.param_groups]

            def before(stepping: Any, *_: Any, rates: list[Any] = rates) -> None:
                for group, rate in zip(stepping.param_groups, rates, strict=False):
                    if isinstance(rate, (int, float)):
                        set_rate(group, rate)

            branch.extras.callback(optimizer.register_step_pre_hook(before).remove)

    return Change("constant rate", why, {"code": say("leave the scheduler out, or step it once an epoch")}, apply)


def warm_up(subject: Subject, steps: int = 100) -> Change | None:
    """The rate rises over the first steps."""
    why = say("the first steps are taken before the optimizer knows the scale of the gradient")
    if subject.recipe is not None:
        share = min(0.9, max(0.01, rounded(steps / max(1, subject.total))))
        name = setting(subject, "schedule", "name") or "constant"
        if name == "constant":
            return Change("warm-up", why, {"schedule": "warmup", "schedule.share": share})
        return Change("warm-up", why, {"schedule.warmup": share}) if "warmup" in SCHEDULES[name].settings else None

    def apply(live: Live) -> None:
        for optimizer in live.optimizers:
            done = [0]
            rates = [group.get("lr") for group in optimizer.param_groups]

            def before(stepping: Any, *_: Any, done: list[int] = done, rates: list[Any] = rates) -> None:
                done[0] += 1
                for group, rate in zip(stepping.param_groups, rates, strict=False):
                    if done[0] <= steps and isinstance(rate, (int, float)):
                        set_rate(group, rate * done[0] / steps)

            live_of(live).extras.callback(optimizer.register_step_pre_hook(before).remove)

    return Change(
        "warm-up", why, {"code": say("raise the rate from 0 over the first {steps} steps", steps=steps)}, apply
    )
