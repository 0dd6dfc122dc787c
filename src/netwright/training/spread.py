"""One training spread over ranks: what each step exchanges, what cannot be spread, and what then differs.

Every rank takes its part of each global batch. The gradient is that of the weighted mean over the global batch:

Formula: loss of a rank = ranks * sum(w * l) / W, with W the sum of all ranks' weights; the mean of the ranks' gradients
is then the gradient of sum over all (w * l) / W. One sum over ranks a step carries the loss, W, and signals; gradients
follow through DistributedDataParallel. So every rank decides by equal numbers, and at the same step.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from netwright.data.batches import Batch
from netwright.data.dataset import Dataset
from netwright.errors import DataError, UsageError
from netwright.language import say
from netwright.recipe import Recipe
from netwright.rundir import RunFolder
from netwright.training.bagging import Bagged
from netwright.training.checkpoints import Checkpoint, from_bytes, to_bytes
from netwright.training.objective import Terms
from netwright.training.ranks import Joined, Ranks
from netwright.training.signals import WATCHED

P = ParamSpec("P")
R = TypeVar("R")
RECORDS = ("recipe.toml", "data.json", "run.json", "anatomy.json", "report.json", "findings.json")
"""What the other ranks see of a run folder, which may lie on another machine."""


def together(verb: Callable[P, R]) -> Callable[P, R]:
    """A verb that all ranks run together, where a launcher has started several."""

    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with Joined():
            return verb(*args, **kwargs)

    return run


# steps ------------------------------------------------------------------------------------------------------------


@dataclass
class SharedTerms(Terms):
    """One rank's terms: examples of its own, loss and value of all ranks' examples."""

    shared_loss: Tensor = field(default_factory=lambda: torch.tensor(float("nan")))
    shared_value: Tensor = field(default_factory=lambda: torch.tensor(float("nan")))

    @cached_property
    def loss(self) -> Tensor:
        """The loss of the global batch; its gradient is this rank's part, times the number of ranks."""
        return self.shared_loss

    @cached_property
    def value(self) -> Tensor:
        """The recorded loss of the global batch."""
        return self.shared_value


def shared_terms(ranks: Ranks, terms: Terms, batch: Batch) -> Terms:
    """The terms of a global batch, from this rank's; all ranks learn of a signal that one has got."""
    if not ranks.many:
        return terms
    weight = terms.weight if terms.weight is not None else torch.ones_like(terms.per_example)
    own = (terms.minimised * weight).sum()
    with torch.no_grad():
        kind: dict[str, Any] = {"dtype": torch.float64, "device": own.device}
        numbers = [(terms.per_example.double() * weight).sum(), own.double(), weight.double().sum()]
        count = float(len(batch) - batch.spare)
        numbers += [part.detach().double() * count for part in terms.parts.values()]
        got = ranks.watch.number if ranks.watch is not None else 0
        flags = [float(got == number) for number in WATCHED]
        found = ranks.total(torch.cat([torch.stack(numbers), torch.tensor([count, *flags], **kind)]))
        value, minimised, total = found[:3]
        examples, *flags = found[3 + len(terms.parts) :].tolist()
        heard = [number for number, flag in zip(WATCHED, flags, strict=True) if flag]
        ranks.signal = int(heard[0]) if heard else 0
        parts = {name: found[3 + place] / examples for place, name in enumerate(terms.parts)}
    scaled = own * (ranks.count / total).to(own.dtype)
    loss = scaled + ((minimised / total).to(own.dtype) - scaled).detach()
    return SharedTerms(
        terms.per_example, parts, total[None], nats=terms.nats, heads=terms.heads, shared_loss=loss,
        shared_value=value / total,
    )  # fmt: skip


def broken_examples(ranks: Ranks, batch: Batch, found: np.ndarray) -> np.ndarray:
    """The examples of a global batch whose numbers are not finite, from those of this rank; all where none is known."""
    whole = batch.examples if batch.whole is None else batch.whole
    known = [position for own in ranks.gather(found.tolist(), "broken") for position in own]
    return whole[np.isin(whole, known)] if known else whole


class Spread(DistributedDataParallel):
    """A network whose gradients are averaged over ranks; everything else of it is reached as ever."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def spread(ranks: Ranks, model: nn.Module, device: torch.device, known: bool) -> nn.Module:
    """The network as the objective gets it: its weights as on rank 0, its gradients averaged over ranks.

    `known`: it is of the catalogue, whose networks use all their weights in every step; of others that is found out
    at every step.
    """
    if not ranks.many or not any(weight.requires_grad for weight in model.parameters()):
        return model
    devices = [device] if device.type == "cuda" else None
    with ranks.partners():
        return Spread(model, device_ids=devices, find_unused_parameters=not known)


def align(ranks: Ranks, model: nn.Module) -> None:
    """Running statistics as on rank 0, before they are used; weights too where processors round differently."""
    tensors = [*model.buffers(), *(model.parameters() if ranks.unlike else [])]
    ranks.copy([tensor for tensor in tensors if tensor.numel()])


# before the first step --------------------------------------------------------------------------------------------


def refuse(ranks: Ranks, recipe: Recipe, model: nn.Module) -> None:
    """Refuse what several ranks cannot train together."""
    if not ranks.many:
        return
    own = [name for name in ("objective", "update", "optimizers") if hasattr(model, name)]
    if own:
        text = say("{count} ranks: this network brings its own {names}; several ranks learn by a loss alone",
                   count=ranks.count, names=", ".join(own))  # fmt: skip
        raise UsageError(text)
    if isinstance(model, Bagged):
        text = say("{count} ranks: training.members = {members} trains in one process; start it without torchrun",
                   count=ranks.count, members=len(model.members))  # fmt: skip
        raise UsageError(text)


def least(model: nn.Module) -> int:
    """The examples that a rank's part of a batch needs: batch normalisation cannot train on one."""
    return 2 if batch_norms(model) else 1


def batch_norms(model: nn.Module) -> bool:
    """Whether a network trains with statistics of the batch."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def by_chance(model: nn.Module, inputs: Tensor) -> bool:
    """Whether a network in training answers by chance, as with dropout: two draws of other numbers are compared."""
    if any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in model.modules()):
        return True
    probe = copy.deepcopy(model).train()
    found = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for seed in (1, 2):
            torch.default_generator.manual_seed(seed)
            found.append(list(_numbers(probe(inputs))))
    return any(not torch.equal(a, b) for a, b in zip(*found, strict=True))


def _numbers(answer: Any) -> Iterator[Tensor]:
    if isinstance(answer, Tensor):
        yield answer
    elif isinstance(answer, (tuple, list)):
        for part in answer:
            yield from _numbers(part)


def notes(ranks: Ranks, model: nn.Module, dataset: Dataset, batch_size: int) -> list[str]:
    """What differs from one process, a line each; nothing for networks without batch statistics and chance."""
    if not ranks.many:
        return []
    found = []
    if batch_norms(model):
        text = say(
            "not as in one process: batch normalisation counts each rank's own {own} examples instead of all {all}",
            own=-(-batch_size // ranks.count), all=batch_size,
        )  # fmt: skip
        found.append(text)
    if by_chance(model, dataset.encode(dataset.splits["train"][:4])):
        found.append(say("not as in one process: dropout draws other numbers on each rank"))
    if ranks.unlike:
        found.append(say("not bit-exact: the ranks run on processors of different capability"))
    return found


def agree(ranks: Ranks, dataset: Dataset, recipe: Recipe) -> None:
    """Compare what every rank has read; a rank with other data, settings or versions is refused by name.

    Paths may differ. Errors: DataError, UsageError, on every rank.
    """
    if not ranks.many:
        return
    text = Recipe(recipe.seed, {name: dict(table) for name, table in recipe.tables.items()}).text()
    capability = f"{torch.backends.cpu.get_cpu_capability()}"
    own = {"data": dataset.fingerprint, "recipe": text, "torch": torch.__version__, "cpu": capability}
    first, *others = ranks.gather(own, "agree")
    for number, found in enumerate(others, 1):
        if found["torch"] != first["torch"]:
            text = say("rank {rank} has torch {found}, rank 0 has torch {first}; equal versions are needed",
                       rank=number, found=found["torch"], first=first["torch"])  # fmt: skip
            raise UsageError(text)
        if found["data"] != first["data"]:
            raise DataError(say("rank {rank} has read other data than rank 0; all need the same", rank=number))
        changed = Recipe.parse(first["recipe"]).diff(Recipe.parse(found["recipe"]))
        changed.pop("data.path", None)
        if changed:
            name, (here_, there) = next(iter(changed.items()))
            text = say("rank {rank} was started with {name} = {found!r}, rank 0 with {first!r}",
                       rank=number, name=name, found=there, first=here_)  # fmt: skip
            raise UsageError(text)
    ranks.unlike = any(found["cpu"] != first["cpu"] for found in others)


# run folders and checkpoints --------------------------------------------------------------------------------------


class Remote(RunFolder):
    """A run folder on rank 0's machine, as far as its records were sent."""

    def __init__(self, path: Path | str, texts: dict[str, str]) -> None:
        super().__init__(path)
        self.texts = texts

    def read_bytes(self, name: str) -> bytes:
        return self.texts[name].encode() if name in self.texts else super().read_bytes(name)

    def has(self, name: str) -> bool:
        return name in self.texts


def show(ranks: Ranks, folder: RunFolder | None) -> RunFolder:
    """Rank 0's run folder on every rank: the folder itself there, its records on the others."""
    texts = {}
    if folder is not None and ranks.number == 0:
        texts = {name: folder.read_bytes(name).decode() for name in RECORDS if ranks.many and folder.has(name)}
    path, texts = ranks.share([str(folder.path) if folder is not None else "", texts], "folder")
    if ranks.hearts is not None:
        ranks.hearts.run = path
    return folder if folder is not None and ranks.number == 0 else Remote(path, texts)


def send(ranks: Ranks, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """Rank 0's checkpoint, on every rank."""
    if not ranks.many:
        return checkpoint
    head = ranks.share([checkpoint.step, checkpoint.facts] if checkpoint is not None else None, "checkpoint")
    if head is None:
        return None
    parts = [checkpoint.weights, checkpoint.tensors] if checkpoint is not None else [{}, {}]
    raw = [ranks.copy_bytes(to_bytes(part, {}) if ranks.number == 0 else b"") for part in parts]
    weights, tensors = (from_bytes(part) for part in raw)
    return checkpoint if checkpoint is not None else Checkpoint(head[0], weights, tensors, head[1])
