"""The bare limit: all data in one tensor, batches by index, vectorised augmentation, channels-last memory, a fused
optimizer, and bfloat16 where the processor has units for it; no bookkeeping at all.

`limit-tuned` sets glibc's thresholds so that large blocks stay with the process, and takes the faster of one thread and
all threads, measured on the first steps.
"""

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bench.feeding import COLOURS, accuracy, criterion, vocabulary
from bench.feeding_arrays import DEVIATION, MEAN, held_out
from bench.gate import Gate, nothing
from bench.networks import Block, network
from bench.works import LENGTH, Order, Outcome

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""glibc's numbers of these two settings in `mallopt`."""


def synchronised(device: str) -> Callable[[], None]:
    """What waits until the device has done what it was told."""
    return torch.cuda.synchronize if device.startswith("cuda") else nothing


def halves(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported()
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


def autocast(order: Order) -> tuple[Callable[[], AbstractContextManager[Any]], str]:
    """What a forward pass stands in, and the name of its precision."""
    if order.precision == "float32" or not halves(order.device):
        return nullcontext, "float32"
    kind = torch.device(order.device).type
    return lambda: torch.autocast(kind, torch.bfloat16), "bfloat16"


def keep_memory() -> None:
    """Large blocks stay with the process instead of going back to the kernel after every step."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for setting in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            library.mallopt(setting, 2**30)


def batches(order: Order) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end, by index from one tensor; each epoch in a new order."""
    chosen = _batch_maker(order)
    count = len(order.array("pieces" if order.work == "w4" else "labels"))
    while True:
        for index in torch.randperm(count, device=order.device).split(order.what.batch):
            yield chosen(index)


def _batch_maker(order: Order) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A function from positions to inputs and targets; the tensor it reads is made once."""
    if order.work == "w4":
        pieces = torch.from_numpy(order.array("pieces")).to(order.device)
        return lambda index: ((piece := pieces[index].long())[:, :LENGTH], piece[:, 1:])
    labels = torch.from_numpy(order.array("labels")).long().to(order.device)
    images = torch.from_numpy(order.array("images")).to(order.device)
    if order.work == "w3":
        padded = nn.functional.pad(images.permute(0, 3, 1, 2), (4, 4, 4, 4)).permute(0, 2, 3, 1).contiguous()
        return lambda index: (cut(padded, index), labels[index])
    inputs = images[:, None].float().div(255).sub(MEAN).div(DEVIATION)
    return lambda index: (inputs[index].contiguous(memory_format=torch.channels_last), labels[index])


def cut(padded: Tensor, index: Tensor) -> Tensor:
    """Windows of 32 x 32 at random places of the pictures at `index`, half mirrored, as channels-last floats."""
    top, left = torch.randint(0, 9, (2, len(index), 1), device=padded.device)
    places = torch.arange(32, device=padded.device)
    columns = torch.where(torch.rand(len(index), 1, device=padded.device) < 0.5, places, 31 - places) + left
    windows = padded[index[:, None, None], (top + places)[:, :, None], columns[:, None, :]]
    mean, deviation = (values.view(3) for values in COLOURS)
    return ((windows.float() / 255 - mean.to(windows.device)) / deviation.to(windows.device)).permute(0, 3, 1, 2)


class Stepper:
    """Network and optimizer with one step of training."""

    def __init__(self, order: Order) -> None:
        model: Any = network(order.work, vocabulary(order)).to(order.device)
        self.model: nn.Module = model.to(memory_format=torch.channels_last) if order.work != "w4" else model
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)
        self.cast, self.precision = autocast(order)

    def __call__(self, inputs: Tensor, targets: Tensor) -> None:
        with self.cast():
            loss = criterion(self.model(inputs), targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def train(order: Order, gate: Gate) -> None:
    """Step after step, with nothing around it."""
    if order.side == "limit-tuned":
        keep_memory()
    step, feed = Stepper(order), batches(order)
    if order.side == "limit-tuned" and order.device == "cpu":
        torch.set_num_threads(faster(step, feed, 3 if order.what.seconds > 2 else 30))
    gate.synchronise = synchronised(order.device)
    gate.facts = {"precision": step.precision, "threads": torch.get_num_threads()}
    while True:
        step(*next(feed))
        gate()


def faster(step: Stepper, feed: Iterator[tuple[Tensor, Tensor]], count: int) -> int:
    """One thread or all of them, whichever makes `count` steps sooner."""
    taken = {}
    for threads in (1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1):
        torch.set_num_threads(threads)
        step(*next(feed))
        start = time.perf_counter()
        for _ in range(count):
            step(*next(feed))
        taken[threads] = time.perf_counter() - start
    return min(taken, key=lambda threads: taken[threads])


def whole(order: Order) -> dict[str, Any]:
    """MNIST for so many epochs, or until an accuracy on held-out pictures; then the test accuracy."""
    outcome = Outcome.of(order)
    kept, held = held_out(order.array("images"), order.array("labels"), outcome.until)
    step = Stepper(order)
    inputs = torch.from_numpy(kept[0])[:, None].float().div(255).sub(MEAN).div(DEVIATION).to(order.device)
    labels = torch.from_numpy(kept[1]).long().to(order.device)
    while outcome.more():
        for index in torch.randperm(len(labels), device=order.device).split(order.what.batch):
            step(inputs[index].contiguous(memory_format=torch.channels_last), labels[index])
        outcome.epoch(accuracy(step.model, *held, order.device) if outcome.until else 0.0)
    return outcome.end(accuracy(step.model, order.array("test_images"), order.array("test_labels"), order.device))


def infer(order: Order, gate: Gate) -> None:
    """One batch after the other: batch norms folded into the convolutions, channels-last memory, no gradients."""
    if order.side == "limit-tuned":
        keep_memory()
    model: Any = folded(network(order.work).eval()).to(order.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = torch.randn(order.what.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(order.device)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    _, precision = autocast(order)
    if precision == "bfloat16":
        model, inputs = model.bfloat16(), inputs.bfloat16()
    gate.synchronise, gate.laps = synchronised(order.device), True
    gate.facts = {"precision": precision, "threads": torch.get_num_threads()}
    with torch.inference_mode():
        while True:
            model(inputs)
            gate()


def folded(model: Any) -> nn.Module:
    """The ResNet with every batch norm inside the convolution before it."""
    parts: list[tuple[Any, Any, Any]] = [(model.stem, 0, 1)]
    for module in model.modules():
        if isinstance(module, Block):
            module.conv1, module.bn1 = fuse_conv_bn_eval(module.conv1, module.bn1), nn.Identity()  # type: ignore[assignment]
            module.conv2, module.bn2 = fuse_conv_bn_eval(module.conv2, module.bn2), nn.Identity()  # type: ignore[assignment]
            parts += [(module.shortcut, 0, 1)] if len(module.shortcut) else []
    for sequence, convolution, norm in parts:
        sequence[convolution], sequence[norm] = fuse_conv_bn_eval(sequence[convolution], sequence[norm]), nn.Identity()
    return model
