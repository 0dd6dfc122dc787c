"""Every network of the catalogue in a form that trains in a second or two, and which ones are slow even so."""

import pytest
import torch
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.parts.sequences import Sequences, step_mask

DEEP = {
    "resnet101", "resnet152", "resnet200", "preact_resnet101", "preact_resnet152", "cifar_resnet110",
    "cifar_resnet1202", "cifar_preact_resnet110", "cifar_preact_resnet164", "cifar_preact_resnet1001", "inception_v4",
    "inception_resnet_v2", "nasnet_mobile", "nasnet_large", "nasnet_cifar",
}  # fmt: skip
"""More than 3 seconds a test on one core."""
THOUSAND = {"cifar_resnet1202", "cifar_preact_resnet1001"}
"""So deep that in a thin form each block begins as the identity: signals overflow otherwise at the start."""
LITTLE = {"convnet", "lenet5", "lenet5_modern"}
"""Small enough as they are, and made for digits."""
VOCABULARY = 50
INPUTS = {
    "image": {"kind": "image", "channels": 1, "height": 28, "width": 28},
    "vector": {"kind": "vector", "features": 12},
    "sequence": {"kind": "sequence", "steps": 9, "features": 5},
    "text": {"kind": "text", "tokens": "word", "vocabulary": VOCABULARY, "steps": 12},
}
SMALL = {"kind": "image", "channels": 3, "height": 8, "width": 8}
"""What networks with a `width` read: the smallest picture that all of them take."""
LAYERS = {
    "image": "conv 4 3, batchnorm, relu, linear out",
    "vector": "linear out",
    "sequence": "gru 4, last, linear out",
    "text": "embedding 6, lstm 4, last, linear out",
}
"""A network for `stack`, for each kind of input."""
TASKS = {name: part.facts["tasks"][0] for name, part in NETWORKS.items() if "tasks" in part.facts and name != "stack"}
"""What networks with answers of a form of their own are for; all others classify."""
THIN = {
    "hidden": 8, "embedding": 8, "channels": 8, "feed_forward": 8, "layers": 1, "heads": 2, "longest": 6, "bptt": 0,
}  # fmt: skip
"""Settings of networks for sequences, where they have them."""


def cases(kinds=INPUTS, but=()):
    """(name, kind of input) of every network not in `but`, deep ones marked slow."""
    found = [(name, kind) for name, part in NETWORKS.items() for kind in part.facts["inputs"] if kind in kinds]
    found = [case for case in found if case[0] not in but]
    return [pytest.param(*case, marks=pytest.mark.slow) if case[0] in DEEP else case for case in found]


def inputs_of(name: str, kind: str) -> dict:
    return SMALL if "width" in NETWORKS[name].settings and name not in LITTLE else INPUTS[kind]


def task_of(name: str) -> str:
    return TASKS.get(name, "classify")


def narrow(name: str) -> dict:
    """A network for sequences is narrow; the notes' own stay as they are."""
    known = NETWORKS[name].settings
    sequential = "text" in NETWORKS[name].facts["inputs"] or name in TASKS
    if not sequential or name in ("stack", "lstm", "rnn", "gru", "jordan", "leaky"):
        return {}
    return {setting: value for setting, value in THIN.items() if setting in known}


def settings_of(name: str, kind: str, *, dropout: bool = True) -> dict:
    """Narrow, and without dropout where asked for."""
    known = NETWORKS[name].settings
    given = {"width": 0.25} if "width" in known and name not in LITTLE else {}
    given |= narrow(name)
    if name in THOUSAND:
        given["zero_init"] = True
    if name == "stack":
        given["layers"] = LAYERS[kind]
    if not dropout and "dropout" in known:
        given["dropout"] = 0.0
    return given


def outputs_for(name: str) -> dict:
    """What the data of the network's task ask for."""
    task = task_of(name)
    if task == "generate":  # the tokens that are read are those that are scored
        return {"kind": "text", "tokens": "word", "vocabulary": VOCABULARY, "count": VOCABULARY}
    if task == "forecast":
        return {"kind": "number", "count": columns(name), "season": 4, "column": 0}
    return {"kind": "class", "count": NETWORKS[name].facts.get("classes", 5)}


def build(name: str, kind: str, outputs: dict | None = None, **settings) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name](
        inputs_of(name, kind), outputs or outputs_for(name), **{**settings_of(name, kind), **settings}
    )


def batch(name: str, kind: str, rows: int = 6) -> torch.Tensor:
    generator, known = torch.Generator().manual_seed(1), inputs_of(name, kind)
    if kind == "text":
        return torch.randint(4, VOCABULARY, (rows, known["steps"]), generator=generator)
    sizes = [size for key, size in known.items() if key != "kind"]
    return torch.randn(rows, *sizes, generator=generator)


def uneven(name: str, kind: str) -> Sequences:
    """Six sequences of other lengths than each other, the shortest a single step, padded with zeros."""
    values, lengths = batch(name, kind), torch.tensor([5, 1, 7, 2, 3, 7])
    values = values[:, :7].clone()
    return Sequences(values * step_mask(lengths, 7).view(6, 7, *[1] * (values.dim() - 2)), lengths)


def columns(name: str) -> int:
    if task_of(name) == "generate":
        return VOCABULARY
    return 1 if NETWORKS[name].facts.get("classes") == 2 else 5


def answer_shape(name: str, kind: str) -> list[int]:
    """What a network says to one example: a row of units, or one at every step that its task has."""
    known = inputs_of(name, kind)
    steps = known["height"] if kind == "image" else known.get("steps", 1)
    by_task = {"tag": steps, "generate": steps, "transcribe": (steps - 1) // 2 + 1, "translate": steps}
    if name == "one_to_many":
        return [THIN["longest"], columns(name)]
    return [by_task[task_of(name)], columns(name)] if task_of(name) in by_task else [columns(name)]
