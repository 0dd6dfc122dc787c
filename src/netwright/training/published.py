"""Published weights at the start of a training, and frozen ones through it: each member of a bag alike."""

import os
from typing import TYPE_CHECKING, Any

from torch import nn

from netwright.catalogue import NETWORKS
from netwright.language import say
from netwright.recipe import Recipe
from netwright.training.bagging import Bagged
from netwright.training.preparing import prepare
from netwright.weights.freezing import freeze
from netwright.weights.load import Loaded, load

if TYPE_CHECKING:
    from netwright.training.job import Job


def with_weights(model: nn.Module, recipe: Recipe, path: str = "", expect: str = "") -> nn.Module:
    """The network itself, with the published weights that its recipe names, where it names some.

    What was loaded stands in the network's `published`. `path` is where the file is now, `expect` the SHA-256 that a
    run has recorded. A network on the meta device has no weights and gets none. Errors: as `load`.
    """
    table = recipe.table("network")
    file = str(table.get("weights", ""))
    table = {**NETWORKS[table["name"]].defaults(), **table} if file else table
    if not file or any(weight.is_meta for weight in model.parameters()):
        return model
    done = [load(member, path or file, table, expect) for member in _members(model)]
    model.published = done[0]  # type: ignore[assignment]
    return model


def frozen(model: nn.Module, recipe: Recipe) -> list[nn.Module]:
    """Freeze what `training.freeze` names; the modules that stay in evaluation mode. Doing it again changes nothing."""
    wanted: Any = recipe.table("training").get("freeze", "")
    return [module for member in _members(model) for module in freeze(member, wanted)]


def begin(job: "Job") -> None:
    """Before the first step: load the published weights where nobody has yet, record the file, say what was done; then
    layers that begin from data see their sample of it.

    A run that was killed before its first checkpoint begins again: a file that is not the recorded one is refused.
    """
    _load(job)
    for name, count in prepare(job.model, job.dataset, job.recipe.seed).items():
        job.progress.say(say("layer {name} begins from {count:,} training examples", name=name, count=count))


def _load(job: "Job") -> None:
    if job.folder is None or not job.recipe.table("network").get("weights"):
        return
    again(job, job.model)
    loaded = getattr(job.model, "published", None)
    if isinstance(loaded, Loaded):
        job.folder.write("run.json", {**job.folder.read("run.json"), "weights": loaded.to_json()})
        for line in loaded.lines():
            job.progress.say(line)


def again(job: "Job", model: nn.Module) -> None:
    """The run's published weights into another fresh network of it (a fold's), from the same file with the same bytes.

    A relative path counts from the current folder, or else from where the run was started.
    """
    file = str(job.recipe.table("network").get("weights", ""))
    if not file or hasattr(model, "published"):
        return
    facts = job.folder.read("run.json") if job.folder is not None else {}
    there = os.path.join(str(facts.get("cwd", "")), file)
    path = there if not os.path.exists(os.path.expanduser(file)) and os.path.exists(there) else file
    with_weights(model, job.recipe, path, facts.get("weights", {}).get("sha256", ""))


def _members(model: nn.Module) -> list[nn.Module]:
    return list(model.members) if isinstance(model, Bagged) else [model]
