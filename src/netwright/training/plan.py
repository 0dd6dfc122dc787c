"""What the recipe leaves out is chosen from the data here, and written down: the resolved recipe repeats the run."""

from typing import Any

import torch
from torch import nn

from netwright.catalogue import LOSSES, NETWORKS, OPTIMIZERS, SCHEDULES
from netwright.data.dataset import Dataset
from netwright.data.read import read
from netwright.errors import UsageError
from netwright.language import say
from netwright.randomness import seed_of
from netwright.recipe import MODULE, TRAINING, Recipe
from netwright.training.bagging import assemble
from netwright.training.published import with_weights
from netwright.training.suiting import manner, suited

FULL_BATCH = 256
"""Vectors and tables with up to this many training rows train in full batches (documented default)."""
BATCH = {"image": 64, "sequence": 64, "vector": 64, "table": 64, "text": 64, "recording": 32}
UPDATES = {"pictures": (1500, 100), "classify": (6000, 200), "regress": (12_000, 60), "full batches": (600, 600),
           "words": (720, 100), "characters": (720, 100), "names": (1800, 100), "tag": (900, 100),
           "generate": (4500, 100), "translate": (3000, 60)}  # fmt: skip
"""About so many updates a training makes by default, in at least 10 and at most so many epochs: for pictures and
sequences, for classes and for numbers in vectors and tables, for either in full batches, to judge texts, to tag, and to
write. A character model of tinyshakespeare was still gaining after 1,500."""
WRITES = ("generate", "translate")
FEWEST, SHARE = 8, 20
"""Networks that write make at least so many updates an epoch of few texts, in batches of at least `FEWEST`."""
LEAST = {"words": 5, "characters": 5}
"""Texts are learnt by heart soon: on rt-polarity the loss of validation is lowest in the third of six epochs."""
PEAK_LR = 4e-3
"""Adam's rate at the peak of the default cycle. MNIST test accuracy after one and three epochs, mean of 2 seeds, beside
a constant 1e-3: the notes' CNN 98.9 to 98.1 % and 99.2 to 98.8 %, the notes' LSTM 96.7 to 95.2 % and 98.3 to 97.0 %."""
NETWORK = {"image": "convnet", "sequence": "lstm", "vector": "mlp", "table": "mlp", "text": "lstm", "recording": "lstm"}
BY_TASK = {"tag": "tagger_crf", "generate": "char_lm", "translate": "seq2seq_attention", "transcribe": "ctc",
           "verify": "speaker", "forecast": "forecaster"}  # fmt: skip
"""The network of a task that wants a form of its own."""
LOSS = {"regress": "mse", "forecast": "mse", "transcribe": "ctc"}
NUMBERS = ("regress", "forecast")
SEQUENTIAL = ("image", "sequence", "text", "recording")
SMALLEST = 4
"""Pixels a side that the two poolings of `convnet` need; smaller pictures get `mlp`."""


def dataset_of(data: Any, targets: Any, recipe: Recipe) -> Dataset:
    """The data set itself, or what is read with the recipe's `[data]` settings: they fit no set already made."""
    if isinstance(data, Dataset):
        if targets is not None:
            raise UsageError(say("targets go with arrays; {path} holds its own", path=data.name))
        if recipe.table("data"):
            raise UsageError(say("data settings belong to read(), which has made this data set already"))
        return data
    table = recipe.table("data")
    path = table.pop("path", "digits")
    return read(path if data is None else data, targets, **table)


def resolve(recipe: Recipe, dataset: Dataset, network: nn.Module | None = None) -> Recipe:
    """`recipe` with every setting filled in for `dataset`; names and values are checked on the way."""
    tables = {name: dict(table) for name, table in recipe.check().tables.items()}
    data = {**dataset.settings}
    count = dataset.examples["train"]
    if data["batch_size"] == "all":
        data["batch_size"] = count
    elif data["batch_size"] == "auto":
        full = dataset.kind in ("table", "vector") and count <= FULL_BATCH
        usual_size = BATCH[dataset.kind]
        if dataset.task in WRITES:
            usual_size = min(usual_size, max(FEWEST, count // SHARE))
        data["batch_size"] = count if full and dataset.task not in WRITES else usual_size
    data["workers"] = 0 if data["workers"] == "auto" else data["workers"]
    facts: dict[str, Any] = {}
    if network is None:
        tiny = dataset.kind == "image" and min(dataset.inputs["height"], dataset.inputs["width"]) < SMALLEST
        usual = BY_TASK.get(dataset.task, "mlp" if tiny else NETWORK[dataset.kind])
        if dataset.task == "translate" and dataset.kind != "text":
            usual = "one_to_many"
        if usual == "char_lm" and dataset.inputs["tokens"] != "character":
            usual = "word_lm"
        given = dict(tables.get("network", {}))
        known = NETWORKS[given.get("name", usual)].settings
        own = suited(known, dataset.kind, dataset.inputs, dataset.task)
        tables["network"] = _part(NETWORKS, own | given, usual)
        facts = NETWORKS[tables["network"]["name"]].facts
        _answers(tables["network"]["name"], facts, dataset, usual)
    else:
        tables["network"] = {"name": MODULE, "class": type(network).__name__}
    wanted = facts.get("loss") or LOSS.get(dataset.task, "cross_entropy")
    given_loss = dict(tables.get("loss", {}))
    if wanted == "ctc" and given_loss.get("name", wanted) == wanted:
        given_loss = {"zero_infinity": True, **given_loss}  # a transcript too long for its recording is left out
    tables["loss"] = _part(LOSSES, given_loss, wanted)
    _match(tables["loss"]["name"], tables["loss"], dataset)
    if facts.get("own_loss") and tables["loss"]["name"] != facts["loss"]:
        text = say("network {name!r} learns by a loss of its own ({own}); loss = {loss!r} would do nothing.",
                   name=tables["network"]["name"], own=facts["loss"], loss=tables["loss"]["name"])  # fmt: skip
        raise UsageError(text)
    cycle = _one_cycle(tables, facts, dataset)
    optimizer = {"lr": facts.get("peak_lr", PEAK_LR)} if cycle else tables.get("optimizer")
    tables["optimizer"] = _part(OPTIMIZERS, optimizer, facts.get("optimizer", "adam"))
    tables["schedule"] = _part(SCHEDULES, tables.get("schedule"), "one_cycle" if cycle else "constant")
    training = {**{name: setting.default for name, setting in TRAINING.items()}, **tables.get("training", {})}
    updates = max(1, -(-count // data["batch_size"]))
    if training["members"] and dataset.task not in ("classify", "regress"):
        raise UsageError(say("training.members averages classes and numbers; this task is {task}", task=dataset.task))
    if training["epochs"] == "auto":
        training["epochs"] = _epochs(dataset, updates)
    if training["stop_after"] == "auto":
        training["stop_after"] = 0
    if training["log_steps"] == "auto":
        training["log_steps"] = max(1, updates * training["epochs"] // 200)
    return Recipe(recipe.seed, {**tables, "data": data, "training": training}).check()


ONE_ANSWER = ("classify", "regress", "forecast")
"""What a network does that answers once; the others say what they do in their fact `tasks`."""


def _answers(network: str, facts: dict[str, Any], dataset: Dataset, usual: str) -> None:
    """Refuse a network whose answers are of another form than the task's, or that reads examples of one length only,
    and name one that fits."""
    tasks, task = facts.get("tasks", ONE_ANSWER), dataset.task
    if dataset.kind == "recording" and task in tasks and task in ONE_ANSWER and "text" not in facts["inputs"]:
        text = say("network {name!r} reads examples of one length; these are of many.", name=network)
        raise UsageError(text + " " + say("Use network {other!r}.", other=usual))
    if task not in tasks:
        text = say("network {name!r} is for {tasks}; this task is {task}.",
                   name=network, tasks=", ".join(tasks), task=task)  # fmt: skip
        raise UsageError(text + " " + say("Use network {other!r}.", other=usual))


def _epochs(dataset: Dataset, updates: int) -> int:
    """The default number of epochs, where one epoch makes `updates` updates."""
    key = "pictures" if dataset.kind in SEQUENTIAL else "full batches" if updates == 1 else dataset.task
    named = dataset.task in ("tag", *WRITES)
    key = dataset.task if named else manner(dataset.kind, dataset.inputs, dataset.task) or key
    wanted, most = UPDATES.get(key, UPDATES["pictures"])
    return min(most, max(LEAST.get(key, 10), round(wanted / updates)))


def _one_cycle(tables: dict[str, dict[str, Any]], facts: dict[str, Any], dataset: Dataset) -> bool:
    """Whether Adam runs through one cycle: where nobody chose a rate or a schedule, and the end is known beforehand.

    Classes in vectors and tables keep a constant rate: they are soon learnt, and the best epoch is an early one.
    """
    training = tables.get("training", {})
    chosen = tables.get("optimizer") or tables.get("schedule") or training.get("until") or training.get("stop_after")
    suited = dataset.kind in SEQUENTIAL or dataset.task == "regress"
    return suited and not chosen and facts.get("optimizer", "adam") == "adam"


def _part(family: Any, given: dict[str, Any] | None, default: str) -> dict[str, Any]:
    """A part's table with its name and every default filled in."""
    given = dict(given or {})
    name = given.pop("name", default)
    part = family[name]
    return {"name": name, **part.defaults(), **part.check(given)}


def _match(loss: str, chosen: dict[str, Any], dataset: Dataset) -> None:
    """Refuse a loss for classes on numbers, and the other way round; behind a link numbers are probabilities."""
    wanted, linked = LOSSES[loss].facts["target"], chosen.get("link", "identity") != "identity"
    if (LOSSES[loss].facts["target"] == "token sequence") != (dataset.task == "transcribe"):
        text = say("loss {loss!r} wants a {wanted}; this task is {task}: {good}", loss=loss, wanted=wanted,
                   task=dataset.task, good=LOSS.get(dataset.task, "cross_entropy"))  # fmt: skip
        raise UsageError(text)
    if linked and dataset.task in NUMBERS:
        text = say("loss {loss!r}: link = {link!r} makes probabilities; this task is {task}",
                   loss=loss, link=chosen["link"], task=dataset.task)  # fmt: skip
        raise UsageError(text)
    if (wanted == "number") != (dataset.task in NUMBERS) and not linked:
        good = ", ".join(
            name
            for name, part in LOSSES.items()
            if (part.facts["target"] == "number") == (dataset.task in NUMBERS)
            and part.facts["target"] != "token sequence"
        )
        raise UsageError(
            say(
                "loss {loss!r} wants a {wanted}; this task is {task}: {good}",
                loss=loss,
                wanted=wanted,
                task=dataset.task,
                good=good,
            )
            + (". " + say("With loss.link=softmax it compares probabilities with 0 and 1.") if "link" in chosen else "")
        )


def settings(recipe: Recipe, table: str) -> dict[str, Any]:
    """The settings of a part's table without its name."""
    return {name: value for name, value in recipe.table(table).items() if name != "name"}


def link_of(loss: str, chosen: dict[str, Any]) -> str:
    """What makes probabilities or numbers of the outputs: the loss's setting `link`, else its fact."""
    return str(chosen.get("link", LOSSES[loss].facts["link"]))


def head(outputs: dict[str, Any], loss: str, chosen: dict[str, Any] | None = None) -> dict[str, Any]:
    """`outputs` with the number of output units that `loss` wants: one for two classes behind a sigmoid."""
    if outputs["kind"] == "class" and outputs["count"] == 2 and link_of(loss, chosen or {}) != "softmax":
        return {**outputs, "units": 1}
    return {**outputs, "units": outputs["count"]}


def build(recipe: Recipe, inputs: dict[str, Any], outputs: dict[str, Any]) -> nn.Module:
    """The network of a resolved recipe, its first weights a pure function of the seed."""
    loss, chosen = recipe.table("loss")["name"], settings(recipe, "loss")
    ends = head(outputs, loss, chosen)

    def member(number: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed_of(recipe.seed, "init", *([number] if number else [])))
            model: Any = NETWORKS[recipe.table("network")["name"]](inputs, ends, **settings(recipe, "network"))
        model.catalogue_table = recipe.table("network")
        return model

    count = recipe.table("training").get("members", 0)
    return assemble(member, count, link_of(loss, chosen)) if count > 1 else member(0)


def from_catalogue(model: nn.Module, recipe: Recipe, dataset: Dataset) -> Recipe | None:
    """The recipe that gives exactly `model`, first weights included, where it is fresh from the catalogue."""
    table = getattr(model, "catalogue_table", None)
    if table is None:
        return None
    resolved = resolve(recipe.updated({"network": table}, "network"), dataset)
    alone = resolved.set("training.members", 0)
    again = with_weights(build(alone, dataset.inputs, dataset.outputs), alone)
    own, fresh = model.state_dict(), again.state_dict()
    same = own.keys() == fresh.keys() and all(torch.equal(own[name].cpu(), fresh[name]) for name in own)
    return resolved if same else None
