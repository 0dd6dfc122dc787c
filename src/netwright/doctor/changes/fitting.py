"""The notes' remedies for over- and under-fitting of a recipe, each one patch that a proof can try (S-126 to S-134)."""

from typing import Any

from netwright.catalogue import NETWORKS
from netwright.doctor.subject import Change, Subject
from netwright.language import say

LINEAR = ("softmax", "logistic", "perceptron")


def _network(subject: Subject) -> dict[str, Any]:
    return subject.recipe.table("network") if subject.recipe is not None else {}


def _sized(table: dict[str, Any], factor: float) -> dict[str, Any]:
    """The patch that makes a network so many times as wide; empty where it has no such setting."""
    if isinstance(table.get("hidden"), list):
        return {"network.hidden": [max(1, round(size * factor)) for size in table["hidden"]]}
    if isinstance(table.get("hidden"), int):
        return {"network.hidden": max(1, round(table["hidden"] * factor))}
    return {"network.width": table["width"] * factor} if isinstance(table.get("width"), float) else {}


def against_overfitting(subject: Subject) -> list[Change]:
    """Dropout, a smaller network, other pictures, an average of networks (S-130 to S-134); none for code."""
    table = _network(subject)
    if not table:
        return []
    known = NETWORKS[table["name"]].settings
    found = [("half as wide", say("a smaller network learns less by heart"), _sized(table, 0.5))]
    if "dropout" in known:
        found.append(
            ("dropout 0.3", say("units that are missing at random cannot rely on each other"), {"network.dropout": 0.3})
        )
    if getattr(getattr(subject, "dataset", None), "kind", "") == "image":
        shifts = {"data.augment": "crop pad=2"}
        found.append(("cropped pictures", say("shifted pictures are new examples of the same classes"), shifts))
    found.append(_bagged())
    return [Change(name, why, patch) for name, why, patch in found if patch]


def against_underfitting(subject: Subject) -> list[Change]:
    """A hidden layer where there is none, more units, an average of networks (S-127 to S-129); none for code."""
    table = _network(subject)
    if not table:
        return []
    found = [("twice as wide", say("more units can follow what is there to learn"), _sized(table, 2))]
    if table["name"] in LINEAR:
        found.insert(0, ("a hidden layer", say("a linear network cannot bend its boundary"), {"network": "mlp"}))
    found.append(_bagged())
    return [Change(name, why, patch) for name, why, patch in found if patch]


def _bagged() -> tuple[str, str, dict[str, Any]]:
    return "5 members", say("an average of networks varies less than one"), {"training.members": 5}
