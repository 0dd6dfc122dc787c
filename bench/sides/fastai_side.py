"""fastai as its tutorials write it: a Learner on DataLoaders of PyTorch data sets, `fit` with Adam.

Only the parts without pictures are imported: they need no torchvision operators.
"""

from typing import Any

import fastai.callback.progress  # noqa: F401  (it gives learners their `no_bar`)
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.optimizer import Adam

from bench.feeding import Pictures, accuracy, criterion, examples, grey, vocabulary
from bench.feeding_arrays import held_out
from bench.gate import Gate
from bench.networks import network
from bench.works import Order, Outcome


class Passing(Callback):
    """Passes the gate after each training batch."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.passed = gate

    def after_batch(self) -> None:
        if self.training:
            self.passed()


def learner(order: Order, items: Any, callbacks: list[Callback]) -> Any:
    """A learner with fastai's Adam; the validation loader holds the first examples alone."""
    loaders = DataLoaders(
        DataLoader(items, bs=order.what.batch, shuffle=True, num_workers=0),
        DataLoader(torch.utils.data.Subset(items, range(2)), bs=2, num_workers=0), device=order.device,
    )  # fmt: skip
    model = network(order.work, vocabulary(order))
    made = Learner(loaders, model, loss_func=criterion, opt_func=Adam, lr=1e-3, cbs=callbacks)
    return made


def train(order: Order, gate: Gate) -> None:
    """Epoch after epoch."""
    gate.facts = {"precision": "float32", "threads": torch.get_num_threads()}
    made = learner(order, examples(order), [Passing(gate)])
    with made.no_bar(), made.no_logging():
        made.fit(10**6)


def whole(order: Order) -> dict[str, Any]:
    """MNIST for so many epochs, or until an accuracy on held-out pictures; then the test accuracy."""
    outcome = Outcome.of(order)
    kept, held = held_out(order.array("images"), order.array("labels"), outcome.until)
    made = learner(order, Pictures(*kept, grey), [])
    with made.no_bar(), made.no_logging():
        while outcome.more():
            made.fit(1, reset_opt=False)
            outcome.epoch(accuracy(made.model, *held, order.device) if outcome.until else 0.0)
    return outcome.end(accuracy(made.model, order.array("test_images"), order.array("test_labels"), order.device))
