"""skorch as its tutorials write it: `NeuralNetClassifier.fit` on arrays, or on a data set with transforms."""

from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from bench.feeding import accuracy, criterion, examples, vocabulary
from bench.feeding_arrays import held_out, scaled
from bench.gate import Gate
from bench.networks import network
from bench.works import Order, Outcome


class Loss(torch.nn.Module):
    """Mean cross-entropy; of texts over all places."""

    def forward(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return criterion(scores, targets)


class Passing(Callback):
    """Passes the gate after each training batch."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **_: Any) -> None:
        if training:
            self.gate()


def wrapped(order: Order, epochs: int, callbacks: list[Callback]) -> Any:
    """The net of an order."""
    return NeuralNet(
        network(order.work, vocabulary(order)), criterion=Loss, optimizer=torch.optim.Adam, lr=1e-3,
        batch_size=order.what.batch, max_epochs=epochs, iterator_train__shuffle=True, train_split=None, verbose=0,
        callbacks=callbacks, device=order.device,
    )  # fmt: skip


def train(order: Order, gate: Gate) -> None:
    """Fit on arrays where the examples stay as they are, else on the data set that changes them."""
    gate.facts = {"precision": "float32", "threads": torch.get_num_threads()}
    net = wrapped(order, 10**6, [Passing(gate)])
    if order.work in ("w1", "w2"):
        net.fit(scaled(order.array("images"))[:, None], order.array("labels").astype(np.int64))
    else:
        net.fit(examples(order), None)


def whole(order: Order) -> dict[str, Any]:
    """MNIST for so many epochs, or until an accuracy on held-out pictures; then the test accuracy."""
    outcome = Outcome.of(order)
    kept, held = held_out(order.array("images"), order.array("labels"), outcome.until)
    net = wrapped(order, 1, []).initialize()
    inputs, targets = scaled(kept[0])[:, None], kept[1].astype(np.int64)
    while outcome.more():
        net.partial_fit(inputs, targets)
        outcome.epoch(accuracy(net.module_, *held, order.device) if outcome.until else 0.0)
    return outcome.end(accuracy(net.module_, order.array("test_images"), order.array("test_labels"), order.device))
