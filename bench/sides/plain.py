"""PyTorch as tutorials write it: a data set with a transform for each item, a DataLoader, Adam, `loss.item()`.

`plain-2` loads with two worker processes; `accelerate` lets Accelerate prepare the same loop. `compiled` is for
inference alone: the network through `torch.compile`.
"""

from typing import Any

import torch
from torch.utils.data import DataLoader

from bench.feeding import Pictures, accuracy, criterion, examples, grey, vocabulary
from bench.feeding_arrays import held_out
from bench.gate import Gate
from bench.networks import network
from bench.sides.limit import synchronised
from bench.works import Order, Outcome


def accelerator(order: Order) -> Any:
    """Accelerate's object, or None for the sides without it."""
    if order.side != "accelerate":
        return None
    from accelerate import Accelerator

    return Accelerator(cpu=order.device == "cpu")


def train(order: Order, gate: Gate) -> None:
    """Epoch after epoch."""
    workers = 2 if order.side == "plain-2" else 0
    loader: Any = DataLoader(examples(order), batch_size=order.what.batch, shuffle=True, num_workers=workers)
    model: Any = network(order.work, vocabulary(order)).to(order.device)
    optimizer: Any = torch.optim.Adam(model.parameters(), lr=1e-3)
    gate.synchronise = synchronised(order.device)
    gate.facts = {"precision": "float32", "threads": torch.get_num_threads()}
    prepared = accelerator(order)
    if prepared is not None:
        model, optimizer, loader = prepared.prepare(model, optimizer, loader)
    running_loss = 0.0
    while True:
        for inputs, targets in loader:
            inputs, targets = inputs.to(order.device), targets.to(order.device)
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward() if prepared is None else prepared.backward(loss)
            optimizer.step()
            running_loss += loss.item()
            gate()


def whole(order: Order) -> dict[str, Any]:
    """MNIST for so many epochs, or until an accuracy on held-out pictures; then the test accuracy."""
    outcome = Outcome.of(order)
    kept, held = held_out(order.array("images"), order.array("labels"), outcome.until)
    workers = 2 if order.side == "plain-2" else 0
    loader: Any = DataLoader(Pictures(*kept, grey), batch_size=order.what.batch, shuffle=True, num_workers=workers)
    model: Any = network("w1").to(order.device)
    optimizer: Any = torch.optim.Adam(model.parameters(), lr=1e-3)
    prepared = accelerator(order)
    if prepared is not None:
        model, optimizer, loader = prepared.prepare(model, optimizer, loader)
    while outcome.more():
        running_loss = 0.0
        for inputs, targets in loader:
            inputs, targets = inputs.to(order.device), targets.to(order.device)
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward() if prepared is None else prepared.backward(loss)
            optimizer.step()
            running_loss += loss.item()
        outcome.epoch(accuracy(model, *held, order.device) if outcome.until else 0.0)
    return outcome.end(accuracy(model, order.array("test_images"), order.array("test_labels"), order.device))


def infer(order: Order, gate: Gate) -> None:
    """One batch of random pictures after the other, without gradients."""
    model: Any = network(order.work).to(order.device).eval()
    if order.side == "compiled":
        model = torch.compile(model)
    inputs = torch.randn(order.what.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(order.device)
    gate.synchronise, gate.laps = synchronised(order.device), True
    gate.facts = {"precision": "float32", "threads": torch.get_num_threads()}
    with torch.no_grad():
        while True:
            model(inputs)
            gate()
