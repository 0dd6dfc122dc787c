"""D9 to D11: gradients with heavy tails, numbers that are not finite, half precision."""

import math
from statistics import median
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.examples import without_examples
from netwright.doctor.changes.loop import ordinary_step
from netwright.doctor.changes.precision import single_precision
from netwright.doctor.changes.steps import clip, rate_times, setting, warm_up
from netwright.doctor.chart import Chart, named
from netwright.doctor.code import CodeLive, CodeSubject
from netwright.doctor.faults.rates import grew, starts_well
from netwright.doctor.gauges.failing import first_failure
from netwright.doctor.gauges.reference import wild
from netwright.doctor.subject import Live, possible, untouched
from netwright.doctor.suspicion import Suspicion, Unmeasured
from netwright.language import say

Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(0)]


@FAULTS.add(
    "D9", title="heavy-tailed gradients", source="doctor catalogue D9; Pascanu et al. 2013, arXiv:1211.5063 (clipping)",
    demo="""
import torch

torch.manual_seed(0)
x = torch.randn(640, 10)
clean = torch.arange(640) % 64 != 0
y = x @ torch.randn(10) + 1000.0 * ~clean
for clip in (0.0, 5.0):
    w, norms = torch.zeros(10, requires_grad=True), []
    for epoch in range(20):
        for rows in torch.randperm(640).split(16):
            (x[rows] @ w - y[rows]).square().mean().backward()
            norms.append(torch.nn.utils.clip_grad_norm_([w], clip or float("inf")).item())
            w.data -= 0.02 * w.grad
            w.grad = None
    error = (x[clean] @ w - y[clean]).square().mean().item()
    print(f"clip {clip}: largest norm {max(norms):.0f}, median {sorted(norms)[400]:.1f}, clean error {error:.2f}")
""",
)  # fmt: skip
def heavy_tails(chart: Chart, *, ratio: Annotated[float, Range(1)] = 20.0) -> Suspicion | None:
    """A few batches have gradients many times larger than the rest, and throw the weights far.

    Most steps are small and good; then one example, or one time step, sends a gradient twenty times as large, and what
    was learnt is lost. The loss shows spikes from which it recovers, until one time it does not.

    Measured: the largest gradient norm by the median one (above 20), batches whose loss jumps above both five times
    the median of its neighbours and the loss of constant outputs, while the first step and the median step are
    healthy; targets more than 30 usual distances from their median. The evidence names the steps and batches.

    When every batch is large, gradients explode systematically (C5); when the steps get worse and worse after a
    healthy start, the rate is too high (D1). A single corrupt example comes back in every epoch in the same batch: look
    at it.

    Clip at the 90th percentile of the norms; if more than half of the steps would be clipped, lower the rate instead.
    Drop corrupt examples, use the Huber loss for outliers, warm up.
    """
    whole = chart.whole
    norms = [one.norm for one in chart.series.measures if math.isfinite(one.norm) and one.norm > 0]
    spiked = spikes(whole.losses, whole.base)
    tail = max(norms) / median(norms) if len(norms) >= 6 else 1.0
    outliers = wild_targets(chart)
    if not spiked and tail <= ratio and not outliers:
        return None
    if not spiked and not outliers and (not norms or norms.index(max(norms)) < max(2, len(norms) // 8)):
        return None  # large at the start and falling ever since is how a training should look
    batches = sorted({step % max(1, chart.subject.epoch) for step in spiked})
    evidence: dict[str, Any] = {"largest_by_median_norm": tail, "threshold": ratio, "spikes": len(spiked)}
    if spiked:
        evidence |= {"steps": spiked[:5], "batches": batches[:5]}
    if outliers:
        evidence["targets_far_out"] = len(outliers)
    level = sorted(norms)[int(0.9 * (len(norms) - 1))] if norms else 1.0
    level = min(level, 3 * median(norms)) if norms else 1.0
    strength = (0.6 if spiked else 0.3) * (1.0 if starts_well(chart) else 0.6) if not outliers else 0.85
    changes = possible(
        without_examples(chart.subject, outliers, "without outliers"), clip(chart.subject, level),
        clip(chart.subject, 1.0), rate_times(chart.subject, 0.3), warm_up(chart.subject),
    )  # fmt: skip
    where = say("batches {places}", places=named([str(b) for b in batches])) if batches else say("gradients")
    return Suspicion("D9", say("heavy-tailed gradients"), where, evidence, strength, changes=changes)


def wild_targets(chart: Chart) -> list[int]:
    """The places, counted through the batches, of targets so far out that they alone make the gradients."""
    if chart.task.kind != "numbers":
        return []
    truth = torch.cat([chart.task.truth(pair.targets) for pair in chart.subject.batches])
    return [int(place) for place in wild(truth.cpu().numpy()).nonzero()[0]]


def spikes(losses: list[float], base: float) -> list[int]:
    """The steps after the first quarter whose loss stands above five times the median of the 20 around them, and above
    that of constant outputs."""
    found = []
    for place in range(max(8, len(losses) // 4), len(losses)):
        near = sorted(loss for loss in losses[max(0, place - 10) : place + 11] if math.isfinite(loss))
        middle = near[len(near) // 2] if near else math.nan
        if losses[place] > 5 * abs(middle) and (not math.isfinite(base) or losses[place] > 1.5 * base):
            found.append(place)
    return found


@FAULTS.add(
    "D10", title="non-finite numbers", source="doctor catalogue D10",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
x, y = torch.randn(64, 4), torch.ones(64, 1).bernoulli(0.5)
optimizer = torch.optim.SGD(net.parameters(), 50.0)
for step in range(100):
    p = net(x)
    loss = -(y * p.log() + (1 - y) * (1 - p).log()).mean()  # 0 * log(0) is no number
    if not torch.isfinite(loss):
        print(f"step {step}: smallest output {p.min().item():.3g}, loss {loss.item()}")
        break
    net.zero_grad(), loss.backward(), optimizer.step()
print("with logits:", nn.functional.binary_cross_entropy_with_logits(net[:-1](x), y).item())
""",
)  # fmt: skip
def non_finite_numbers(chart: Chart) -> Suspicion | None:
    """An input, an output, the loss or a gradient is NaN or infinite, and so is everything after it.

    One such number spreads: the sum of a loss, then every gradient, then every weight. What matters is where the first
    one appeared.

    The training is run again to the step before, and that step is taken apart: input, each module of the forward pass,
    loss, gradients, weights after the update. The evidence names stage, module and step, and the last losses before.

    In the input: missing values (A3). In the loss, with finite outputs: log(0), 0 / 0, sqrt(0) in a loss written by
    hand (B11). In a module at step 0: weights or inputs far too large (C2, A1). After growing losses: the rate is too
    high (D1). In gradients alone: a square root or norm at 0, 0 times infinity behind a mask, half precision (D11).

    Mend what stands at that stage; a lower rate and clipped gradients help only where the numbers had grown before.
    """
    whole = chart.whole
    if whole.finite:
        return None
    found = first_failure(chart.subject, len(whole.losses))
    if found is None:
        raise Unmeasured
    evidence = {"stage": found.stage, "where": found.where, "step": found.step, "losses_before": found.before}
    if math.isfinite(found.largest):
        evidence["largest_output"] = found.largest
    cause = {"input": 0.1, "forward": 0.3, "loss": 0.3, "backward": 0.5, "optimizer": 0.3}[found.stage]
    harm = say("from step {step} on no weight is a number", step=found.step)
    changes = possible(rate_times(chart.subject, 0.1), clip(chart.subject, 1.0), ordinary_step(chart.subject))
    strength = 0.2 if grew(whole) else cause
    from_small = found.stage == "forward" and found.step == 0 and chart.start.largest < 1e3
    place = say("{stage}: {place}", stage=say(found.stage), place=found.where)
    if from_small:  # a division, a root or a logarithm, which no rate and no clipping mends
        return Suspicion("D10", say("non-finite numbers"), place, evidence, 0.9, exact=True, harm=harm)
    return Suspicion("D10", say("non-finite numbers"), place, evidence, strength, harm=harm,
                      changes=[] if found.stage == "input" else changes)  # fmt: skip


@FAULTS.add(
    "D11", title="half precision loses gradients",
    source="doctor catalogue D11; Micikevicius et al. 2018, arXiv:1710.03740",
    demo="""
import torch

gradients = torch.logspace(-12, -2, 11)
half = gradients.half().float()
for given, kept in zip(gradients.tolist(), half.tolist()):
    print(f"gradient {given:.0e}: float16 keeps {kept:.3g}")
print("times 65536 before, divided after:", ((gradients * 65536).half().float() / 65536)[3].item())
print("bfloat16:", gradients.bfloat16().float()[0].item())
""",
)  # fmt: skip
def lost_in_half(chart: Chart, *, share: Share = 0.05) -> Suspicion | None:
    """Gradients too small for float16 become 0, and the weights behind them stop learning.

    Float16 holds nothing below 6e-8 and little below 6e-5; gradients of deep or converged networks lie there. Losses,
    softmax and sums overflow on the other side, above 65504. Without a scaler the small ones vanish unseen.

    Measured: the share of gradients that are exactly 0 in half precision, and not 0 when the same batch is run in
    float32: above 5 percent is a fault. Weights kept in float16 also lose updates smaller than a thousandth of
    themselves.

    ReLU units that are off have gradients of exactly 0 in both, and count for nothing. A scaler that skips its first
    few steps is looking for its factor: that is normal. Infinite losses from large outputs are D10.

    Use bfloat16; or keep the weights in float32 and multiply the loss with a GradScaler, unscaling before you clip;
    keep softmax and losses in float32.
    """
    subject = chart.subject
    if isinstance(subject, CodeSubject):
        halves = [name for name, p in subject.model.named_parameters() if p.dtype == torch.float16]
        cast = not halves and autocasts(subject)
        if not halves and not cast:
            return None
        lost = lost_share(subject, cast)
        if lost <= share and not halves:
            return None
        evidence: dict[str, Any] = {"gradients_lost": lost, "threshold": share, "weights_in_half": len(halves)}
        where = named(halves) if halves else say("autocast")
        strength = 0.8 if lost > share else 0.4
        return Suspicion("D11", say("half precision loses gradients"), where, evidence, strength,
                         changes=possible(single_precision(subject)))  # fmt: skip
    if setting(subject, "training", "precision") != "float16":
        return None
    evidence = {"precision": "float16"}
    return Suspicion("D11", say("half precision loses gradients"), "training.precision", evidence, 0.2, note=True,
                     changes=possible(single_precision(subject)))  # fmt: skip


def autocasts(subject: CodeSubject) -> bool:
    """Whether the person's own step runs the network under float16 autocast without a scaled loss."""
    if subject.own_step is None:
        return False
    seen: list[bool] = []

    def look(module: nn.Module, _: Any) -> None:
        kind = next((p.device.type for p in module.parameters()), "cpu")
        seen.append(torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16)

    with subject.live() as live:
        hook = live.model.register_forward_pre_hook(look)
        try:
            live.step()
        finally:
            hook.remove()
    return any(seen)


def lost_share(subject: CodeSubject, cast: bool) -> float:
    """The share of gradients that half precision turns into 0, of those that are not 0 in float32."""
    with subject.live() as live:
        pair = live.batch()
        kind = next((p.device.type for p in live.model.parameters()), "cpu")
        with torch.autocast(kind, torch.float16, enabled=cast):
            half = _gradients(live, pair)
        change = single_precision(subject)
        if change is not None and change.apply is not None and not cast:
            change.apply(live)
        assert isinstance(live, CodeLive)
        full = _gradients(live, pair)
    lost = sum(((half[name] == 0) & (full[name] != 0)).sum().item() for name in full if name in half)
    whole = sum((full[name] != 0).sum().item() for name in full if name in half)
    return lost / whole if whole else 0.0


def _gradients(live: Live, pair: Any) -> dict[str, Tensor]:
    with untouched(live.model):
        return {name: g.float() for name, g in live.gradient(pair)[1].items()}
