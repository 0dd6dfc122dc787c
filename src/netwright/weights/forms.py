"""What names and shapes cannot show: forms of a network that take the same weights and give other numbers."""

from typing import Any

from torch import nn

from netwright.catalogue import NETWORKS
from netwright.language import say
from netwright.weights.keymaps import Shapes

HARMLESS = {"name", "weights", "width", "init", "dropout", "aux", "aux_dropout", "drop_path", "zero_init", "stem"}
"""Settings that leave the numbers in use alone, show in the shapes, or are looked at below."""
LARGE = 100
"""Pixels a side from which a network is one for large pictures: published at 224 to 331, others at 32."""
TRANSFORMED = {"inception_v3": "AuxLogits.fc.weight", "googlenet_bn": "aux1.fc2.weight"}
"""Networks that torchvision feeds with pictures mapped to (x - 0.5) / 0.5, and a tensor that its own files hold."""
PLAIN_V3 = "batchnorm(eps=0.00001)"


def notes(model: nn.Module, table: dict[str, Any], theirs: Shapes) -> list[str]:
    """One line for each way in which the numbers differ from those that the file was trained for."""
    name = str(table.get("name", ""))
    if name not in NETWORKS:
        return []
    defaults, found = NETWORKS[name].defaults(), []
    plain_v3 = name.startswith("mobilenet_v3") and "conv_stem.weight" in theirs
    for key, value in table.items():
        watched = key in defaults and key not in HARMLESS and not (plain_v3 and key == "norm")
        if watched and key != "transform_input" and value != defaults[key]:
            found.append(say("network.{key} = {value} instead of {usual}: the same weights give other numbers",
                             key=key, value=value, usual=defaults[key]))  # fmt: skip
    if plain_v3 and "0.001" in str(table.get("norm", defaults.get("norm"))):
        text = say("timm's mobilenetv3 files want network.norm={norm}; those called tf_ pad otherwise", norm=PLAIN_V3)
        found.append(text)
    if TRANSFORMED.get(name) in theirs and not table.get("transform_input"):
        found.append(_transform("transform_input" in defaults))
    if smaller(model, name, table):
        text = say("small pictures skip some halvings, so the weights see other scales; network.stem=full keeps them")
        found.append(text)
    return found


def _transform(offered: bool) -> str:
    if offered:
        return say("torchvision's own file wants network.transform_input=true for standardised pictures")
    return say("torchvision's own file wants pictures scaled to -1 to 1, not standardised")


def smaller(model: nn.Module, name: str, table: dict[str, Any]) -> bool:
    """Whether the network has the stem for small pictures: its first convolution halves nothing.

    VGG's (and FCN's, on VGG) halves nothing at any size; there a small form shows in the shapes.
    """
    part = NETWORKS[name]
    if "stem" not in part.settings or table.get("stem") == "full" or name.startswith(("vgg", "fcn")):
        return False
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    return first is not None and set(first.stride) == {1} and min(part.facts.get("at", (0,))[1:], default=0) >= LARGE
