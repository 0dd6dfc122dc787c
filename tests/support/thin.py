"""Every network of the catalogue in a form that trains in a second or two, and which ones are slow even so."""

import pytest
import torch
from torch import nn

from netwright.catalogue import NETWORKS

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
INPUTS = {
    "image": {"kind": "image", "channels": 1, "height": 28, "width": 28},
    "vector": {"kind": "vector", "features": 12},
    "sequence": {"kind": "sequence", "steps": 9, "features": 5},
}
SMALL = {"kind": "image", "channels": 3, "height": 8, "width": 8}
"""What networks with a `width` read: the smallest picture that all of them take."""
LAYERS = {
    "image": "conv 4 3, batchnorm, relu, linear out",
    "vector": "linear out",
    "sequence": "gru 4, last, linear out",
}
"""A network for `stack`, for each kind of input."""


def cases(kinds=INPUTS):
    """(name, kind of input) of every network, deep ones marked slow."""
    found = [(name, kind) for name, part in NETWORKS.items() for kind in part.facts["inputs"] if kind in kinds]
    return [pytest.param(*case, marks=pytest.mark.slow) if case[0] in DEEP else case for case in found]


def inputs_of(name: str, kind: str) -> dict:
    return SMALL if "width" in NETWORKS[name].settings and name not in LITTLE else INPUTS[kind]


def settings_of(name: str, kind: str, *, dropout: bool = True) -> dict:
    """Narrow, and without dropout where asked for."""
    known = NETWORKS[name].settings
    given = {"width": 0.25} if "width" in known and name not in LITTLE else {}
    if name in THOUSAND:
        given["zero_init"] = True
    if name == "stack":
        given["layers"] = LAYERS[kind]
    if not dropout and "dropout" in known:
        given["dropout"] = 0.0
    return given


def build(name: str, kind: str, outputs: dict | None = None, **settings) -> nn.Module:
    outputs = outputs or {"kind": "class", "count": NETWORKS[name].facts.get("classes", 5)}
    torch.manual_seed(0)
    return NETWORKS[name](inputs_of(name, kind), outputs, **{**settings_of(name, kind), **settings})


def batch(name: str, kind: str, rows: int = 6) -> torch.Tensor:
    sizes = [size for key, size in inputs_of(name, kind).items() if key != "kind"]
    return torch.randn(rows, *sizes, generator=torch.Generator().manual_seed(1))


def columns(name: str) -> int:
    return 1 if NETWORKS[name].facts.get("classes") == 2 else 5
