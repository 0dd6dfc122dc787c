"""The state of a training: everything that a checkpoint must hold, and nothing else.

Random numbers are pure functions of (seed, epoch, step, example), so no generator state is among it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from netwright.data.batches import Batch
from netwright.errors import RunError
from netwright.language import say
from netwright.randomness import seed_of
from netwright.training.number_type import keep_outputs_exact, number_type
from netwright.training.objective import Draw, Objective, Terms
from netwright.training.penalties import Penalties, penalised
from netwright.training.ranks import Ranks
from netwright.training.tally import Tally, Waiting


@dataclass
class State:
    """A network in training. `update(state, batch)` of a network's own gets this object."""

    model: nn.Module
    optimizers: dict[str, Optimizer]
    objective: Objective
    seed: int
    device: torch.device
    total_steps: int
    schedule: Callable[[int, int], float] | None = None
    """(step, total steps) -> factor on every learning rate; None: constant."""
    clip_norm: float = 0.0
    clip_value: float = 0.0
    penalties: Penalties = field(default_factory=Penalties)
    precision: str = "float32"
    step: int = 0
    epoch: int = 0
    seen: int = 0
    """Examples consumed in the current epoch."""
    tally: Tally = field(default_factory=Tally)
    norm: Tensor | float = float("nan")
    """The norm of the last step's gradients; on devices that work ahead it waits there until it is read."""
    rates: dict[str, list[float]] = field(default_factory=dict)
    """The learning rates of every optimizer's groups before the schedule."""
    resting: list[nn.Module] = field(default_factory=list)
    """Frozen modules with running statistics: they stay in evaluation mode."""
    history: list[float] = field(default_factory=list)
    """Each epoch's validation loss (training loss where nothing is held out): what a `plateau` schedule watches."""
    run: nn.Module = None  # type: ignore[assignment]  # the model itself unless it is given
    """What the objective gets: the model, or the same weights compiled or shared among processes."""
    skips: bool = False
    """Whether a step whose loss or gradient is not finite is left out and counted; otherwise it ends the training."""
    skipped: int = 0
    ranks: Ranks = field(default_factory=Ranks)
    """The ranks that train this network together."""
    works_ahead: bool = False
    """Whether the device works ahead of this program, so that reading a number from it would make both wait."""

    def __post_init__(self) -> None:
        rank = self.ranks.number
        self.step_seed = seed_of(self.seed, "step", *(("rank", rank) if rank else ()))
        self.run = self.run if self.run is not None else self.model
        if self.precision != "float32":
            keep_outputs_exact(self.model)
        alone = not self.skips and not self.ranks.many  # ranks agree at every step, which waits for the device
        self.works_ahead = self.works_ahead or (self.device.type == "cuda" and alone)
        self.rates = {name: [g["lr"] for g in opt.param_groups] for name, opt in self.optimizers.items()}
        self.scaler = torch.amp.GradScaler(self.device.type) if self.precision == "float16" else None
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.penalised = penalised(self.model)

    @property
    def optimizer(self) -> Optimizer:
        """The first optimizer: the only one where a network does not bring its own."""
        return next(iter(self.optimizers.values()))

    def learn(self) -> None:
        """Training mode, but for what rests."""
        self.model.train()
        for module in self.resting:
            module.eval()

    def draw(self) -> Draw:
        return Draw(self.seed, self.step)

    def autocast(self) -> AbstractContextManager[Any]:
        """The number type of the forward pass."""
        return number_type(self.device, self.precision)

    def set_rates(self) -> None:
        """Apply the schedule for the step about to be taken."""
        if self.schedule is None:
            return
        factor = self.schedule(self.step, self.total_steps)
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[name], strict=True):
                group["lr"] = rate * factor

    @property
    def lr(self) -> float | None:
        """The learning rate of the step before."""
        return self.optimizer.param_groups[0]["lr"] if self.optimizers else None

    @property
    def gradient_norm(self) -> float:
        """The norm of the last step's gradients."""
        return float(self.norm)

    def count(self, terms: Terms, batch: Batch) -> None:
        """Add a step's loss to the running sums."""
        if self.works_ahead:
            weight = terms.weight.sum() if terms.weight is not None else float(len(batch))
            waits = isinstance(self.norm, Tensor) and self.scaler is None  # a scaler skips such steps by itself
            norm = self.norm if waits else 0.0
            numbers = terms.value.detach(), weight, norm
            self.tally.waiting.append(Waiting(self.step + 1, batch.epoch + 1, batch.examples, *numbers))
            return
        weight = float(terms.weight.sum()) if terms.weight is not None else float(len(batch))
        self.tally.add(terms.value.item(), weight)

    # what a checkpoint holds --------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """All tensors but the network's own: optimizer states, by name."""
        found = {}
        for name, optimizer in self.optimizers.items():
            for index, entry in optimizer.state_dict()["state"].items():
                for key, value in entry.items():
                    if isinstance(value, Tensor):
                        found[f"optimizer.{name}.{index}.{key}"] = value
        return found

    def facts(self) -> dict[str, Any]:
        """All numbers: where the training stands, and what the optimizers keep that is no tensor."""
        plain: dict[str, Any] = {}
        for name, optimizer in self.optimizers.items():
            for index, entry in optimizer.state_dict()["state"].items():
                for key, value in entry.items():
                    if not isinstance(value, Tensor):
                        plain[f"{name}.{index}.{key}"] = value
        scaler = self.scaler.state_dict() if self.scaler is not None else {}
        here = {"step": self.step, "epoch": self.epoch, "seen": self.seen, "tally": list(self.tally.sums),
                "skipped": self.skipped}  # fmt: skip
        return {**here, "optimizer": plain, "scaler": scaler, "history": list(self.history)}

    def restore(self, weights: dict[str, Tensor], tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from what `tensors` and `facts` gave, to the same bits."""
        load_weights(self.model, weights)
        for name, optimizer in self.optimizers.items():
            parameters = [(p, group) for group in optimizer.param_groups for p in group["params"]]
            for index, (parameter, group) in enumerate(parameters):
                on_device = bool(group.get("fused") or group.get("capturable"))
                entry = _entry(f"optimizer.{name}.{index}.", tensors, parameter, on_device)
                entry |= _entry(f"{name}.{index}.", facts["optimizer"], parameter, on_device)
                if entry:
                    optimizer.state[parameter] = entry
        self.tally = Tally(list(facts["tally"]))
        self.skipped = facts.get("skipped", 0)
        self.history[:] = facts.get("history", [])  # in place: a schedule may hold this list
        if self.scaler is not None:
            self.scaler.load_state_dict(facts["scaler"])
        self.step, self.epoch, self.seen = facts["step"], facts["epoch"], facts["seen"]


def _entry(prefix: str, found: dict[str, Any], parameter: Tensor, on_device: bool) -> dict[str, Any]:
    """One parameter's optimizer state, laid out in memory as the parameter is: fused kernels need equal strides."""
    entry = {}
    for key, value in found.items():
        if key.startswith(prefix):
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            elif isinstance(value, Tensor):
                # A fused kernel counts its steps on the device of the weights, the others on the CPU.
                value = value.to(parameter.device if on_device or value.ndim else "cpu", copy=True)
            entry[key.removeprefix(prefix)] = value
    return entry


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy stored weights into a network; a difference in names or shapes is refused."""
    own = model.state_dict()
    wrong = sorted(own.keys() ^ weights.keys())
    wrong += [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if wrong:
        raise RunError(say("the stored weights do not fit the network: {names}", names=", ".join(wrong[:5])))
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])
