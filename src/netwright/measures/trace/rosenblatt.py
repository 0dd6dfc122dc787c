"""Rosenblatt's rule as numbers: one example after the other, each with the weights that the one before left."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from netwright.language import say
from netwright.measures.trace.result import Step
from netwright.measures.trace.words import factor, number, products
from netwright.networks.perceptrons import Perceptron


def rosenblatt(
    model: Perceptron, inputs: Tensor, target: Tensor, optimizer: torch.optim.Optimizer, digits: int
) -> tuple[list[Step], list[float]]:
    """The steps of the rule over some examples, and each example's loss; the model's own `update` moves the weights.

    Formula: t = -1 or 1, z = w x + b; where t z <= 0: w <- w + lr t x, b <- b + lr t
    """
    steps: list[Step] = []
    losses: list[float] = []
    rate = float(optimizer.param_groups[0]["lr"])
    for place, (example, label) in enumerate(zip(inputs, target.tolist(), strict=True), 1):
        x, sign = example.flatten(), 2 * label - 1
        w, b = model.out.weight.detach()[0].clone(), float(model.out.bias.detach()[0])
        z = float(w @ x + b)
        batch = SimpleNamespace(inputs=example[None], targets=torch.tensor([label]), weights=None)
        state: Any = SimpleNamespace(optimizers={"main": optimizer})
        losses.append(float(model.update(state, batch)[0]))
        after = model.out.weight.detach()[0].clone()
        layer = say("example {place}", place=place)
        sum_ = products(w, x, [("b", b)], digits)
        forward = {"input": x, "weight": w, "bias": b, "score": z}
        steps.append(Step("forward", layer, "linear", "z = w x + b", forward, [f"z = {sum_} = {number(z, digits)}"]))
        wrong = sign * z <= 0
        told = {"target": label, "margin": sign * z, "mistake": wrong, "loss": losses[-1]}
        line = f"t z = {factor(float(sign), digits)}*{factor(z, digits)} = {number(sign * z, digits)}"
        steps.append(Step("loss", layer, "perceptron", "l = max(0, -t z); t z <= 0 is a mistake", told, [line]))
        changed = {"before": w, "after": after, "bias_before": b, "bias_after": float(model.out.bias.detach()[0])}
        steps.append(Step("update", layer, "rule", *_told(wrong, changed, rate, sign, x, digits)))
    return steps, losses


def _told(
    wrong: bool, changed: dict[str, Any], rate: float, sign: int, x: Tensor, digits: int
) -> tuple[str, dict[str, Any], list[str]]:
    if not wrong:
        return "right: w and b stay as they are", changed, []
    first = [float(changed["before"][0]), float(x[0]), float(changed["after"][0])]
    move = f"{number(rate, digits)}*{factor(float(sign), digits)}"
    lines = [f"w[0] = {number(first[0], digits)} + {move}*{factor(first[1], digits)} = {number(first[2], digits)}"]
    lines.append(f"b = {number(changed['bias_before'], digits)} + {move} = {number(changed['bias_after'], digits)}")
    return "w <- w + lr t x; b <- b + lr t", changed, lines
