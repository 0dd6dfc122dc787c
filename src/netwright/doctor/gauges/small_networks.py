"""Small networks that learn dependably: what a plain, well-treated network reaches on the same examples.

Inputs and number targets come standardised, the weights start at the scale their layer asks for, Adam's step shrinks
to a tenth, and the weights kept are the best on examples set aside. Every draw comes from a generator of its own: the
random state of the process stays as it was.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

WIDTH = 64
"""Units in each of the two hidden layers."""
STEPS = 1200
"""Updates of the reference network at `work` 1 (`FEWEST` at least)."""
FEWEST = 150
BATCH = 64
LOOKS = 25
"""How often a training looks at the examples set aside; six looks without a better one end it."""
PATIENCE = 6
SET_ASIDE = 60
"""With fewer examples none are set aside."""
CHANNELS = (12, 24)

Weights = list[Tensor]
Network = Callable[[Weights, Tensor], Tensor]


@contextmanager
def _plainly() -> Iterator[None]:
    """Gradients on and mixed precision off, whatever the caller has set."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        yield


def _drawn(chance: torch.Generator, gain: float, *size: int) -> Tensor:
    made = torch.empty(size, dtype=torch.float32, device="cpu").normal_(generator=chance)
    return made.mul_(gain / math.sqrt(math.prod(size[1:]))).requires_grad_()


def _zeros(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.float32, device="cpu").requires_grad_()


def _perceptron(inputs: int, outputs: int, chance: torch.Generator) -> tuple[Weights, Network]:
    relu = math.sqrt(2)
    weights = [
        _drawn(chance, relu, WIDTH, inputs), _zeros(WIDTH),
        _drawn(chance, relu, WIDTH, WIDTH), _zeros(WIDTH),
        _drawn(chance, 0.1, outputs, WIDTH), _zeros(outputs),
    ]  # fmt: skip

    def forward(w: Weights, x: Tensor) -> Tensor:
        hidden = F.relu(F.linear(F.relu(F.linear(x.flatten(1), w[0], w[1])), w[2], w[3]))
        return F.linear(hidden, w[4], w[5])

    return weights, forward


def _convolutional(pictures: Tensor, outputs: int, chance: torch.Generator) -> tuple[Weights, Network]:
    """Two 3 x 3 convolutions, each halved by pooling, and a linear layer on what is left (at most 4 x 4 places)."""
    channels, first, second = pictures.shape[1], *CHANNELS
    height, width = (min(4, max(1, size // 4)) for size in pictures.shape[2:])
    weights = [
        _drawn(chance, math.sqrt(2), first, channels, 3, 3), _zeros(first),
        _drawn(chance, math.sqrt(2), second, first, 3, 3), _zeros(second),
        _drawn(chance, 0.1, outputs, second * height * width), _zeros(outputs),
    ]  # fmt: skip

    def forward(w: Weights, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(F.conv2d(x, w[0], w[1], padding=1)), 2, ceil_mode=True)
        x = F.max_pool2d(F.relu(F.conv2d(x, w[2], w[3], padding=1)), 2, ceil_mode=True)
        return F.linear(F.adaptive_avg_pool2d(x, (height, width)).flatten(1), w[4], w[5])

    return weights, forward


def _loss(kind: str) -> Callable[[Tensor, Tensor], Tensor]:
    if kind == "classes":
        return F.cross_entropy
    return F.binary_cross_entropy_with_logits if kind == "labels" else F.mse_loss


def small_network(
    train: Float[np.ndarray, "examples *shape"],
    targets: np.ndarray,
    test: Float[np.ndarray, "asked *shape"],
    *,
    kind: str,
    outputs: int,
    seed: int = 0,
    work: float = 1.0,
) -> Float[np.ndarray, "asked outputs"]:
    """What a small network says of `test` after learning `train`: scores (classes, labels) or numbers.

    Rows meet two hidden layers of 64 ReLU units, pictures (N, C, H, W) two convolutions. `targets` are class numbers
    (N,), or standardised numbers or 0 and 1 (N, outputs). `work` scales the number of updates.

    Formula: minimise the mean cross-entropy (classes, labels) or squared error by Adam, lr 0.003 falling to a tenth,
        decoupled decay 1e-4; of the weights met, those with the smallest loss on 15 % set aside
    """
    chance = torch.Generator(device="cpu").manual_seed(seed)
    with _plainly():
        x = torch.from_numpy(np.array(train, dtype=np.float32))
        wanted = torch.from_numpy(np.array(targets, dtype=np.int64 if kind == "classes" else np.float32))
        build = _convolutional(x, outputs, chance) if x.dim() == 4 else _perceptron(x[0].numel(), outputs, chance)
        weights, forward = build
        order = torch.randperm(len(x), generator=chance, device="cpu")
        aside = order[: round(0.15 * len(x))] if len(x) >= SET_ASIDE else order[:0]
        steps = max(FEWEST, round(STEPS * work))
        _learn(weights, forward, x, wanted, order[len(aside) :], aside, _loss(kind), steps, chance)
        asked = torch.from_numpy(np.array(test, dtype=np.float32))
        with torch.no_grad():
            said = [forward(weights, part) for part in asked.split(512)]
        found: np.ndarray = torch.cat(said).numpy()
    return found


def _learn(
    weights: Weights,
    forward: Network,
    x: Float[Tensor, "examples ..."],
    targets: Tensor,
    used: Int[Tensor, "used"],
    aside: Int[Tensor, "aside"],
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
    chance: torch.Generator,
) -> None:
    """Train in place; ends with the weights that did best on the examples `aside`."""
    adam = torch.optim.AdamW(weights, lr=3e-3, weight_decay=1e-4)
    best, kept, worse = math.inf, [w.detach().clone() for w in weights], 0
    row, at = used, len(used)
    for step in range(steps):
        if at >= len(used):
            row, at = used[torch.randperm(len(used), generator=chance, device="cpu")], 0
        batch, at = row[at : at + BATCH], at + BATCH
        adam.param_groups[0]["lr"] = 3e-3 * (1 - 0.9 * step / steps)
        adam.zero_grad()
        loss(forward(weights, x[batch]), targets[batch]).backward()
        adam.step()
        if len(aside) and (step + 1) % max(1, steps // LOOKS) == 0:
            with torch.no_grad():
                now = float(loss(forward(weights, x[aside]), targets[aside]))
            if now < best:
                best, kept, worse = now, [w.detach().clone() for w in weights], 0
            elif (worse := worse + 1) >= PATIENCE:
                break
    if len(aside):
        with torch.no_grad():
            for w, good in zip(weights, kept, strict=True):
                w.copy_(good)
