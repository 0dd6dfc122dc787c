"""Lightning as its tutorials write it: a LightningModule with `self.log`, a Trainer with its default logger."""

import logging
import tempfile
import warnings
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bench.feeding import Pictures, accuracy, criterion, examples, grey, vocabulary
from bench.feeding_arrays import held_out
from bench.gate import Gate
from bench.networks import network
from bench.works import Order, Outcome


class Module(lightning.LightningModule):
    """The network of an order with Adam."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.network = network(order.work, vocabulary(order))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        loss = criterion(self.network(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Passing(lightning.Callback):
    """Passes the gate after each training batch."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def on_train_batch_end(self, *_: Any) -> None:
        self.gate()


class Stopping(lightning.Callback):
    """Counts epochs and stops at the accuracy."""

    def __init__(self, outcome: Outcome, held: Any, device: str) -> None:
        self.outcome, self.held, self.device = outcome, held, device

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        images, labels = self.held
        self.outcome.epoch(accuracy(module.network, images, labels, self.device) if self.outcome.until else 0.0)
        trainer.should_stop = not self.outcome.more()


def trainer(order: Order, place: str, epochs: int, callbacks: list[Any]) -> Any:
    """A trainer with its defaults, but without a progress bar."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    return lightning.Trainer(
        max_epochs=epochs, accelerator="cpu" if order.device == "cpu" else "gpu", devices=1, default_root_dir=place,
        enable_progress_bar=False, enable_model_summary=False, callbacks=callbacks,
    )  # fmt: skip


def train(order: Order, gate: Gate) -> None:
    """Epoch after epoch."""
    gate.facts = {"precision": "float32", "threads": torch.get_num_threads()}
    loader: Any = DataLoader(examples(order), batch_size=order.what.batch, shuffle=True)
    with tempfile.TemporaryDirectory() as place:
        trainer(order, place, -1, [Passing(gate)]).fit(Module(order), loader)


def whole(order: Order) -> dict[str, Any]:
    """MNIST for so many epochs, or until an accuracy on held-out pictures; then the test accuracy."""
    outcome = Outcome.of(order)
    kept, held = held_out(order.array("images"), order.array("labels"), outcome.until)
    loader: Any = DataLoader(Pictures(*kept, grey), batch_size=order.what.batch, shuffle=True)
    module = Module(order)
    with tempfile.TemporaryDirectory() as place:
        trainer(order, place, outcome.epochs, [Stopping(outcome, held, order.device)]).fit(module, loader)
    return outcome.end(accuracy(module.network, order.array("test_images"), order.array("test_labels")))
