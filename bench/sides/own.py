"""Netwright as a person gets it: the real `train` with a real run folder, log, saves and checks; quiet, as in a script.

Precision, threads and memory layout are what `netwright train` chooses by itself, or float32 where that is asked for.
The gate is a probe, which the loop calls after each step; the time spent waiting between rounds is hidden from the
loop's own clocks, so that saves fall due as often as in a training that never waits.
"""

import sys
import tempfile
import time
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch

import netwright
from bench.gate import Gate
from bench.sides.limit import synchronised
from bench.works import LENGTH, Order, Work
from netwright import start
from netwright.data.dataset import Dataset
from netwright.data.read import read
from netwright.recipe import Recipe

FIRST_SIGN = 0x100
"""The sign of token 0: letters only, so that no token is white space."""


class Clock(ModuleType):
    """The module `time`, whose `monotonic` stands still while the gate waits."""

    def __init__(self, gate: Gate) -> None:
        super().__init__("time")
        self.gate = gate

    def monotonic(self) -> float:
        return time.monotonic() - self.gate.paused

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def data(order: Order) -> Dataset:
    """The data set of an order, from its own files where there are some."""
    work = order.what
    settings: dict[str, Any] = {"validation": 0.0, "batch_size": work.batch}
    if work.data == "tinyshakespeare":
        tokens = order.array("pieces")[:, :LENGTH].reshape(-1).astype(int)  # the pieces make up the text
        text = "".join(map(chr, tokens + FIRST_SIGN))
        return read([text], task="generate", tokens="character", window=LENGTH, test=0.01, **settings)
    settings |= {"augment": "crop 4, flip"} if order.work == "w3" else {}
    if order.source:
        return read(order.source, **settings)
    return read(order.array("images"), order.array("labels"), test=0.01, **settings)


def recipe(order: Order, dataset: Dataset) -> Recipe:
    """The work as a recipe; `log_steps` as a training of default length has it."""
    precision = {} if order.precision == "default" else {"precision": order.precision}
    points = log_steps(dataset, order.what)
    tables: dict[str, Any] = {
        "optimizer": {"name": "adam", "lr": 1e-3},
        "schedule": {"name": "constant"},
        "training": {
            "epochs": order.epochs,
            "device": order.device,
            "log_steps": points,
            **precision,
        },
    }
    tables["network"] = {"name": "char_lm", "dropout": 0.0} if order.work == "w4" else {"name": order.what.network}
    return Recipe().updated(tables, "bench")


def log_steps(dataset: Dataset, work: Work) -> int:
    """200 log points in the default number of epochs."""
    updates = -(-dataset.examples["train"] // work.batch)
    return max(1, updates * max(10, round(1500 / updates)) // 200)


def train(order: Order, gate: Gate) -> None:
    """`netwright.train` itself, with the gate as one more probe."""
    dataset = data(order)
    gate.synchronise = synchronised(order.device)
    through(gate)
    with tempfile.TemporaryDirectory() as place:
        netwright.train(dataset, recipe=recipe(order, dataset), out=f"{place}/run", quiet=True)


def through(gate: Gate) -> None:
    """Every training from here on passes through the gate, and its clocks stand still while the gate waits."""
    fit = start.fit

    def watched(job: Any, *arguments: Any, **named: Any) -> Any:
        def probe(*_: object) -> None:
            if not gate.facts:
                training = job.recipe.table("training")
                names = ("precision", "threads", "layout", "compile")
                gate.facts = {name: training[name] for name in names if name in training}
            gate()

        for name, module in list(sys.modules.items()):
            if name.startswith("netwright.training.") and getattr(module, "time", None) is time:
                module.time = Clock(gate)  # type: ignore[attr-defined]
        return fit(replace(job, probes=[*job.probes, probe]), *arguments, **named)

    start.fit = watched


def infer(order: Order, gate: Gate) -> None:
    """A network's answers as `evaluate` and `predict` compute them, from encoded pictures."""
    from netwright.training.forward import Forward
    from netwright.training.launch import launch

    where = launch(
        {"device": order.device, "threads": "auto", "precision": "auto"}
        | ({} if order.precision == "default" else {"precision": order.precision})
    )
    where.impose()
    model = netwright.network(order.what.network, inputs=(3, 224, 224), outputs=1000).to(where.device).eval()
    forward = Forward(model, None, "cross_entropy", {}, where.device, where.precision)  # type: ignore[arg-type]
    inputs = torch.randn(order.what.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    gate.synchronise, gate.laps = synchronised(order.device), True
    gate.facts = {"precision": where.precision, "threads": torch.get_num_threads()}
    while True:
        forward.outputs(inputs)
        gate()
