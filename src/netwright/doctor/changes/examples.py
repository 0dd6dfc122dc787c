"""Changes of which examples are trained on: how they are paired, chosen, weighed, ordered and augmented."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from netwright.doctor.changes.steps import batch_of, cut, join, live_of, setting
from netwright.doctor.code import CodeSubject, read_batches
from netwright.doctor.subject import Change, Live, Pair, Subject
from netwright.language import say
from netwright.randomness import permutation


def repaired_targets(subject: Subject, pairing: str, whole: Pair | None = None) -> Change | None:
    """Examples and targets paired otherwise: `reversed`, or `lag 1` (example i belongs to the target in place i + 1).

    `whole`: all examples in the order of the data set, where the batches mix it. A fifth of them is kept for judging.
    """
    whole = whole or join(list(subject.batches))
    again = None if whole is None else paired(whole, pairing)
    if subject.recipe is not None or again is None or len(again) < 10:
        return None
    order = torch.from_numpy(permutation(len(again), "doctor", "pairing"))
    mixed = rows_of(again, order)
    held = max(1, len(mixed) // 5)

    def apply(live: Live) -> None:
        branch = live_of(live)
        branch.pairs = list(cut([rows_of(mixed, torch.arange(held, len(mixed)))], batch_of(subject)))
        asked = [rows_of(mixed, torch.arange(held))]
        # the examples are others: nothing is to be paired with those of another branch
        live.scored = lambda pairs, sigmoid=False: (type(branch).scored(branch, asked, sigmoid)[0], None)  # type: ignore[method-assign]

    text = say("y = y[::-1]") if pairing == "reversed" else _lagged(int(pairing.split()[-1]))
    return Change(
        f"pairing {pairing}", say("examples then meet the targets that belong to them"), {"code": text}, apply
    )


def _lagged(lag: int) -> str:
    return f"x, y = x[:{-lag}], y[{lag}:]" if lag > 0 else f"x, y = x[{-lag}:], y[:{lag}]"


def paired(whole: Pair, pairing: str) -> Pair:
    """All examples with other targets; those left without one are gone."""
    count = len(whole)
    if pairing == "reversed":
        return Pair(whole.inputs, rows_of(whole, torch.arange(count - 1, -1, -1)).targets)
    lag = int(pairing.split()[-1])
    here, there = torch.arange(max(0, -lag), count - max(0, lag)), torch.arange(max(0, lag), count - max(0, -lag))
    return Pair(rows_of(whole, here).inputs, rows_of(whole, there).targets)


# --- which examples, in which order -----------------------------------------------------------------------------------
def rows_of(pair: Pair, rows: Tensor) -> Pair:
    """Some examples of a batch, in an order."""
    count = len(pair)

    def part(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[rows.to(value.device)] if value.dim() and len(value) == count else value
        if isinstance(value, dict):
            return {key: part(item) for key, item in value.items()}
        return type(value)(part(item) for item in value) if type(value) in (tuple, list) else value

    return Pair(tuple(part(item) for item in pair.inputs), part(pair.targets))


def without_examples(subject: Subject, places: Collection[int], name: str = "without suspects") -> Change | None:
    """Training without the examples at these places, counted through the batches."""
    if subject.recipe is not None or not places:
        return None
    gone = set(places)

    def apply(live: Live) -> None:
        branch = live_of(live)
        kept, first = [], 0
        for pair in branch.pairs:
            rows = [row for row in range(len(pair)) if first + row not in gone]
            first += len(pair)
            if rows:
                kept.append(pair if len(rows) == len(pair) else rows_of(pair, torch.tensor(rows)))
        branch.pairs = kept or branch.pairs

    why = say("what those examples say is not learnt")
    return Change(
        name, why, {"code": say("leave out the {count} examples named, or label them anew", count=len(gone))}, apply
    )


def random_examples_gone(subject: Subject, count: int) -> Change | None:
    """Training without as many examples drawn at random: the control of `without_examples`."""
    places = permutation(subject.examples, "doctor", "dropped")[:count].tolist()
    return without_examples(subject, places, "without random examples")


def balanced_batches(subject: Subject) -> Change | None:
    """Every class weighs the same: by weights in a recipe, by batches drawn evenly from the classes in code."""
    if subject.task.kind != "classes":
        return None
    why = say("every class then weighs the same in the loss")
    if subject.recipe is not None:
        even = setting(subject, "training", "class_weights") not in (None, "none")
        return None if even else Change("balanced classes", why, {"training.class_weights": "balanced"})
    whole = join(list(subject.batches))
    if whole is None or len(subject.task.truth(whole.targets)) != len(whole):
        return None
    truth = subject.task.truth(whole.targets).cpu()
    classes = [(truth == name).nonzero()[:, 0] for name in truth.unique()]
    share = max(1, len(truth) // max(1, len(classes)))
    rows = torch.cat([repeated_rows(places, share, number) for number, places in enumerate(classes)])
    rows = rows[torch.from_numpy(permutation(len(rows), "doctor", "balanced"))]

    def apply(live: Live) -> None:
        live_of(live).pairs = list(cut([rows_of(whole, rows)], batch_of(subject)))

    text = say("nn.CrossEntropyLoss(weight=1 / counts), or WeightedRandomSampler(1 / counts[y], len(y))")
    return Change("balanced classes", why, {"code": text}, apply)


def repeated_rows(places: Tensor, count: int, number: int) -> Tensor:
    """So many of these places, each as often as the others (or once less), at random."""
    order = places[torch.from_numpy(permutation(len(places), "doctor", "class", number))]
    return order.repeat(-(-count // len(order)))[:count]


def shuffled_batches(subject: Subject) -> Change | None:
    """The same examples in batches cut from one random order."""
    if subject.recipe is not None:
        return None
    whole = join(list(subject.batches))
    if whole is None or len(subject.batches) < 2:
        return None

    def apply(live: Live) -> None:
        branch = live_of(live)
        present = join(branch.pairs)
        if present is not None:
            rows = torch.from_numpy(permutation(len(present), "doctor", "shuffled"))
            branch.pairs = list(cut([rows_of(present, rows)], batch_of(subject)))

    text = say("DataLoader(dataset, batch_size={size}, shuffle=True)", size=batch_of(subject))
    return Change("shuffled", say("every batch is then a fair sample of all classes"), {"code": text}, apply)


# --- augmentation -----------------------------------------------------------------------------------------------------
def no_augmentation(subject: Subject) -> Change | None:
    """Training examples as they are."""
    why = say("the network then learns what it is asked at prediction")
    if subject.recipe is not None:
        return Change("no augmentation", why, {"data.augment": ""}) if setting(subject, "data", "augment") else None
    return None


def without_augment(subject: Subject, name: str) -> Change | None:
    """The row of augmentations without one of them."""
    spec = str(setting(subject, "data", "augment") or "")
    items = [item.strip() for item in spec.split(",")]
    kept = [item for item in items if item.split(" ")[0].split("=")[0] != name]
    if len(kept) == len(items):
        return None
    why = say("it changes what an example shows")
    return Change(f"without {name}", why, {"data.augment": ", ".join(kept)})


TRANSFORMS = ("transform", "transforms", "augment", "augmentation", "augmentations")
"""What people call the function of their data set that changes an example."""


def without_transform(subject: Subject) -> Change | None:
    """Batches read again while the data set's own transform is off; None where it has none that can be left out."""
    given = getattr(subject, "given", None)
    dataset = getattr(given, "dataset", None)
    name = next((name for name in TRANSFORMS if callable(getattr(dataset, name, None))), "")
    if not isinstance(subject, CodeSubject) or not name:
        return None
    own = getattr(dataset, name)
    place = next((p.device for p in subject.model.parameters()), torch.device("cpu"))
    pairs: list[Pair] = []
    with subject.untouched():
        try:
            setattr(dataset, name, None)
            pairs = read_batches(subject.given, place)[0]
        except (TypeError, ValueError, AttributeError, RuntimeError):
            pairs = []
        finally:
            setattr(dataset, name, own)
    if not pairs or pairs[0].inputs[0].shape != subject.batches[0].inputs[0].shape:
        return None

    def apply(live: Live) -> None:
        live_of(live).pairs = list(pairs)

    why = say("the network then learns what it is asked at prediction")
    return Change("no augmentation", why, {"code": f"dataset.{name} = None"}, apply)
