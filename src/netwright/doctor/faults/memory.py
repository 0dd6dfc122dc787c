"""C15 and C16: memory over time steps, and attention that does not know places."""

import math
from typing import Annotated, Any

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.attention import causal, scaled_scores, with_positions
from netwright.doctor.changes.between import clipped
from netwright.doctor.changes.recurrence import forget_less, gated, orthogonal_memory
from netwright.doctor.chart import Chart
from netwright.doctor.gauges.time import memories, order_of, tokens_of
from netwright.doctor.subject import possible
from netwright.doctor.suspicion import Suspicion
from netwright.language import say

Positive = Annotated[float, Range(0, 1e12)]


@FAULTS.add(
    "C15", title="short memory",
    source="doctor catalogue C15; Bengio, Simard, Frasconi 1994; Hochreiter and Schmidhuber 1997",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
for steps in (5, 20, 80):
    x = torch.randn(32, steps, 8, requires_grad=True)
    row = [f"{steps:2} steps"]
    for layer in (nn.RNN(8, 32, batch_first=True), nn.LSTM(8, 32, batch_first=True)):
        if isinstance(layer, nn.LSTM):
            nn.init.constant_(layer.bias_ih_l0[32:64].detach(), 3.0)  # forget gates begin open
        (g,) = torch.autograd.grad(layer(x)[0][:, -1].square().sum(), x)
        ratio = (g[:, 0].norm() / g[:, -1].norm()).item()
        row.append(f"{type(layer).__name__} gradient at the first step by the last {ratio:.1e}")
    print(", ".join(row))
""",
)  # fmt: skip
def short_memory(
    chart: Chart, *, low: Positive = 1e-4, high: Positive = 1e3, steps: Annotated[int, Range(1, 1_000_000)] = 30
) -> Suspicion | None:  # fmt: skip
    """A recurrent network cannot learn from what came many steps ago, for its gradient fades or grows on the way back.

    Each step multiplies it by the same weights and the slope of tanh. After 30 steps nothing is left, or everything is
    too large. What the first token says is then lost, and the score falls to that of a constant answer where only
    that token tells.

    It is measured at step 0: the gradient at the first step's input by that at the last one's, below 1e-4 or above
    1e3; simple recurrent layers over more than 30 steps are suspect.

    Where the answer stands near the end, it does no harm, so the score decides: LSTM layers begin with forget gates
    half open, show a small ratio too, and learn to keep. Also look at padding: the last step of a padded sequence is no
    word.

    Take LSTM or GRU with a forget bias of 1, orthogonal recurrent weights, clipping at 1 where it grows; read all steps
    by their mean or by attention.
    """
    found = memories(chart.subject, chart.ops)
    judged = [memory for memory in found if math.isfinite(memory.ratio) and memory.steps > 4]
    if not judged:
        return None
    worst = max(judged, key=lambda memory: abs(math.log10(max(memory.ratio, 1e-45))))
    simple = worst.name not in ("lstm", "gru", "lstm_cell", "gru_cell")
    if low <= worst.ratio <= high and not (simple and worst.steps > steps and worst.ratio < 0.05):
        return None
    grows = worst.ratio > high
    evidence = {
        "gradient_first_by_last": worst.ratio,
        "low": low,
        "high": high,
        "steps": worst.steps,
        "layer": worst.name,
    }
    strength = 0.7 if grows else (0.65 if worst.ratio < low else 0.45) if simple else 0.35
    if grows:
        changes = possible(clipped(chart), orthogonal_memory(chart), gated(chart, _bias(worst.steps)))
    elif simple:
        changes = possible(gated(chart, _bias(worst.steps)), orthogonal_memory(chart), clipped(chart))
    else:
        changes = possible(forget_less(chart, _bias(worst.steps)), orthogonal_memory(chart))
    return Suspicion(
        "C15",
        say("short memory"),
        worst.path,
        evidence,
        strength,
        changes=changes,
        harm=say(
            "the gradient of the first of {steps} steps is {ratio:.0e} of the last one's",
            steps=worst.steps,
            ratio=worst.ratio,
        ),
    )


def _bias(steps: int) -> float:
    """A forget bias that keeps a memory for about so many steps: sigmoid(b) = 1 - 1 / steps, not below 1."""
    return max(1.0, round(math.log(max(2, steps) - 1), 1))


@FAULTS.add(
    "C16", title="attention without order",
    source="doctor catalogue C16; Vaswani et al. 2017, arXiv:1706.03762, section 3.5",
    demo="""
import torch
from torch import nn

torch.manual_seed(0)
attention = nn.MultiheadAttention(16, 2, batch_first=True)
tokens = torch.randn(1, 6, 16)
order = torch.tensor([3, 0, 5, 1, 4, 2])
places = torch.randn(1, 6, 16)
for name, x in (("without", tokens), ("with", tokens + places)):
    y = x - places if name == "with" else x
    shuffled = y[:, order] + (places if name == "with" else 0)
    a, b = (attention(z, z, z)[0].mean(1) for z in (x, shuffled))
    print(f"{name} positions: the mean answer moves by {(a - b).abs().max().item():.1e} when the tokens are shuffled")
""",
)  # fmt: skip
def attention_order(
    chart: Chart, *, least: Positive = 1e-4, entropy: Annotated[float, Range(0, 1)] = 0.5
) -> Suspicion | None:
    """Attention that is told no places cannot see order; without a mask it sees what it is asked for.

    Attention is a weighted mean: without positions it is the same for every order of its inputs. When each place is
    asked for the next token and no mask hides what comes, the network copies it: training looks perfect, writing
    fails. Scores that are not divided by the square root of a head's width choose one place before anything is learnt.

    Three tests at step 0. Shuffle the steps and shuffle the answers back: they must move by more than 1e-4. Change the
    last token: no earlier answer may move. The entropy of attention must be above half of ln T.

    For sets, order is meant to be unseen, so the first is a fault only where positions help. The second is always one.

    Add positions to the tokens (sines or an embedding); pass a causal mask; divide the scores.
    """
    found = order_of(chart.subject, chart.ops)
    if found is None:
        return None
    evidence: dict[str, Any] = {"moves_when_shuffled": found.moves, "threshold": least}
    place = found.attentions[0].where
    if math.isfinite(found.leaks) and found.leaks > least:
        evidence["earlier_answers_move"] = found.leaks
        known = {op.key for op in chart.ops if op.name == found.attentions[0].name}
        changes = possible(causal(chart, found.attentions)) if all(op.key in known for op in found.attentions) else []
        harm = say("answers read the very token they are asked for: what is learnt is of no use where it is not there")
        return Suspicion(
            "C16", say("attention sees what it is asked for"), place, evidence, 1.0, True, harm=harm, changes=changes
        )  # fmt: skip
    if found.moves < least:
        tokens = tokens_of(chart.ops)
        changes = possible(with_positions(chart, tokens)) if tokens is not None else []
        return Suspicion(
            "C16",
            say("attention without order"),
            place,
            evidence,
            0.65,
            changes=changes,
            harm=say("every order of the same tokens gets the same answer"),
        )
    if math.isfinite(found.entropy) and found.entropy < entropy and found.scores > 1:
        evidence = {"entropy": found.entropy, "threshold": entropy, "score_deviation": found.scores}
        hand = next(op for op in found.attentions if op.name == "softmax")
        return Suspicion(
            "C16",
            say("attention scores too large"),
            hand.where,
            evidence,
            0.45,
            changes=possible(scaled_scores(chart, hand, found.scores)),
            harm=say("attention has chosen its places before anything is learnt"),
        )
    return None
