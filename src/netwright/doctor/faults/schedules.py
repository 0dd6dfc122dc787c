"""D8: schedules that take the rate away when it is needed."""

from typing import Annotated

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.steps import constant_schedule, group_setting, probed_optimizer, setting
from netwright.doctor.chart import Chart
from netwright.doctor.code import CodeLive
from netwright.doctor.gauges.rates import rate_of
from netwright.doctor.subject import Change, possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say
from netwright.parts.schedules import scheduled
from netwright.training.plan import settings

Share = Annotated[float, Range(0, 1)]
STEPS = 300


def rate_trace(chart: Chart) -> list[float]:
    """The rate of every step, as multiples of the highest; empty where it cannot be known."""
    subject = chart.subject
    if subject.recipe is not None:
        name = setting(subject, "schedule", "name") or "constant"
        if name == "plateau" or not subject.total:
            return []
        factor = scheduled(name, settings(subject.recipe, "schedule"), [])
        every = max(1, subject.total // 1000)
        return [factor(step, subject.total) for step in range(0, subject.total, every)]
    if getattr(subject, "own_step", None) is None:
        return []
    with subject.live() as live:
        assert isinstance(live, CodeLive)
        found: list[float] = []
        hooks = [one.register_step_pre_hook(lambda one, *_: found.append(rate_of([one]) if _rate(one) else 0.0))
                 for one in live.optimizers[:1]]  # fmt: skip
        try:
            live.run(min(STEPS, subject.total or STEPS))
        finally:
            for hook in hooks:
                hook.remove()
    return found


def _rate(optimizer: object) -> bool:
    found = rate_of([optimizer])  # type: ignore[list-item]
    return found == found


@FAULTS.add(
    "D8", title="schedule fault", source="doctor catalogue D8",
    demo="""
import torch

w = torch.zeros(1, requires_grad=True)
for name, every in (("once an epoch", 100), ("in every batch", 1)):
    optimizer = torch.optim.SGD([w], 0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.1)
    rates = []
    for step in range(1, 1001):  # ten epochs of 100 batches
        optimizer.step()
        if step % every == 0:
            scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    print(f"scheduler stepped {name}: rate after 1, 5, 10 epochs {rates[99]:.3g} {rates[499]:.3g} {rates[999]:.3g}")
""",
)  # fmt: skip
def schedule_fault(chart: Chart, *, area: Share = 0.2, gone: Share = 0.1, late: Share = 0.8) -> Suspicion | None:
    """The learning rate is all but 0 while most of the training is still to come, or rises only at its end.

    Most often a scheduler that counts epochs is stepped in every batch: a drop meant for epoch 30 comes in step 30.
    Then nothing is learnt any more, and the loss looks like a plateau. A warm-up longer than the training never
    reaches its rate; a plateau rule that watches the wrong direction drops for every success.

    Measured on the rate of every step: the area below it is less than 20 percent of a constant one at its highest
    value; it is below a tenth before the first epoch is over; or its highest value comes in the last fifth.

    A low rate at the start is normal in one-cycle schedules, one near 0 at the end in all of them. A loss that is flat
    at a full rate is no schedule's fault.

    Step the scheduler once an epoch, or give it the number of steps; try a constant rate first.
    """
    given = group_setting(chart.subject, "lr")
    if isinstance(given, (int, float)) and given == 0 and getattr(chart.subject, "own_step", None) is None:
        return Suspicion("D8", say("schedule fault"), "optimizer.lr", {"highest_rate": 0.0, "threshold": 0.0}, 1.0,
                         exact=True, harm=say("a step of size 0 changes nothing"),
                         changes=possible(probed_optimizer(chart.subject, "adam")))  # fmt: skip
    trace = rate_trace(chart)
    if len(trace) < 5:
        return None
    highest = max(trace)
    if not highest > 0:
        nothing = {"highest_rate": 0.0, "steps": len(trace)}
        return Suspicion("D8", say("schedule fault"), "schedule", nothing, 1.0, exact=True,
                         harm=say("a step of size 0 changes nothing"),
                         changes=possible(constant_schedule(chart.subject)))  # fmt: skip
    shares = [rate / highest for rate in trace]
    filled = sum(shares) / len(shares)
    whole = chart.subject.recipe is not None or len(trace) >= (chart.subject.total or 10**9)
    epoch = max(
        1, round(chart.subject.epoch / max(1, chart.subject.total) * len(trace)) if whole else chart.subject.epoch
    )
    early = epoch < len(shares) and max(shares[epoch : epoch + max(1, len(shares) - epoch)]) < gone
    rising = whole and shares.index(max(shares)) >= late * (len(shares) - 1) and filled < 0.75 and shares[0] < 0.5
    if filled >= area and not early and not rising:
        return None
    strength = 0.85 if early or filled < 0.5 * area else 0.55
    evidence = {"area": filled, "threshold": area, "rate_after_first_epoch": shares[min(epoch, len(shares) - 1)],
                "least": gone, "highest_at": shares.index(max(shares)) / max(1, len(shares) - 1)}  # fmt: skip
    cosine = Change("cosine schedule", say("the rate falls towards the end, not before"), {"schedule": "cosine"})
    recipe = chart.subject.recipe is not None and setting(chart.subject, "schedule", "name") != "cosine"
    changes = possible(constant_schedule(chart.subject), cosine if recipe else None)
    return Suspicion("D8", say("schedule fault"), "schedule", evidence, strength, changes=changes)
