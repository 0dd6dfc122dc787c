"""Under which names and shapes public files keep the weights of our networks: one function a layout.

A map goes from our names to the file's. Our networks carry the names of the layout that their card states, so most
files need none; the others are the second home of the same weights (timm for torchvision's networks).
"""

import re
from collections.abc import Callable, Mapping, Sequence

Names = Sequence[str]
Shapes = Mapping[str, tuple[int, ...]]
Map = dict[str, str]

VGG = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
"""torchvision's three linear layers, and timm's names for the same as convolutions."""
HEADS = ("last_linear", "classif", "fc", "classifier", "head.fc", "head", "logits")
"""What the last layer is called where everything before it agrees."""
_RANKS = {
    "inverted": ("conv_pw", "bn1", "conv_dw", "bn2", "se.conv_reduce", "se.conv_expand", "conv_pwl", "bn3"),
    "separable": ("conv_dw", "bn1", "se.conv_reduce", "se.conv_expand", "conv_pw", "bn2"),
    "plain": ("conv", "bn1"),
}  # fmt: skip
_TOP = ("conv_stem", "bn1", "blocks", "conv_head", "bn2", "classifier")


def same(own: Shapes, theirs: Shapes) -> Map:
    """The same names."""
    return {name: name for name in own}


def timm_vgg(own: Shapes, theirs: Shapes) -> Map:
    """timm's VGG: the linear layers are 7x7 and 1x1 convolutions under names of their own."""
    found = {}
    for name in own:
        layer, _, last = name.rpartition(".")
        found[name] = f"{VGG[layer]}.{last}" if layer in VGG else name
    return found


def other_head(own: Shapes, theirs: Shapes) -> Map:
    """The last layer under another of its usual names; the rest the same."""
    layers = {name.rpartition(".")[0] for name in own}
    mine = next((head for head in HEADS if head in layers), "")
    known = {name.rpartition(".")[0] for name in theirs} - layers
    other = next((head for head in HEADS if head in known), mine)
    return {name: re.sub(rf"^{re.escape(mine)}(?=\.)", other, name) if mine else name for name in own}


def timm_mobilenet(own: Shapes, theirs: Shapes) -> Map:
    """timm's MobileNet v2 and v3: the same layers in the same order under names that say what each does."""
    groups = _layers(theirs)
    order = sorted(groups, key=_rank(list(groups)))
    found = {}
    for (mine, kinds), other in zip(_layers(own).items(), order, strict=False):
        for kind in kinds:
            found[f"{mine}.{kind}"] = f"{other}.{kind}"
    return {name: found.get(name, name) for name in own}


def _layers(shapes: Shapes) -> dict[str, list[str]]:
    """Layer -> the last parts of its tensors' names, layers in order of appearance."""
    found: dict[str, list[str]] = {}
    for name in shapes:
        layer, _, kind = name.rpartition(".")
        found.setdefault(layer, []).append(kind)
    return found


def _rank(layers: Names) -> Callable[[str], tuple[int, ...]]:
    """A key that sorts timm's layer names in the order in which they run: files keep no order."""
    inverted = {match[0] for layer in layers if (match := re.match(r"blocks\.\d+\.\d+(?=\.conv_pwl$)", layer))}
    filters = {match[0] for layer in layers if (match := re.match(r"blocks\.\d+\.\d+(?=\.conv_dw$)", layer))}

    def rank(layer: str) -> tuple[int, ...]:
        match = re.match(r"(blocks\.(\d+)\.(\d+))\.(.+)", layer)
        if match is None:
            return (_TOP.index(layer) if layer in _TOP else len(_TOP), 0, 0, 0)
        kind = "inverted" if match[1] in inverted else "separable" if match[1] in filters else "plain"
        within = _RANKS[kind].index(match[4]) if match[4] in _RANKS[kind] else len(_RANKS[kind])
        return _TOP.index("blocks"), int(match[2]), int(match[3]), within

    return rank


def layout(own: Shapes, theirs: Shapes) -> tuple[str, Map]:
    """The layout whose names fit best, and its map from our names to the file's."""
    best, chosen = "same", same(own, theirs)
    score = _score(chosen, own, theirs)
    candidates: list[tuple[str, Callable[[Shapes, Shapes], Map]]] = [("other head", other_head)]
    if "pre_logits.fc1.weight" in theirs:
        candidates.append(("timm VGG", timm_vgg))
    if "conv_stem.weight" in theirs and "features.0.0.weight" in own:
        candidates.append(("timm MobileNet", timm_mobilenet))
    for name, build in candidates:
        found = build(own, theirs)
        if (other := _score(found, own, theirs)) > score:
            best, chosen, score = name, found, other
    return best, chosen


def _score(chosen: Map, own: Shapes, theirs: Shapes) -> int:
    """How many names are there, those of equal size twice."""
    there = [name for name, other in chosen.items() if other in theirs]
    return len(there) + sum(fits(own[name], theirs[chosen[name]]) for name in there)


def fits(own: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether numbers of shape `other` are those of shape `own`: equal, or a linear layer written as a convolution.

    A linear layer over flattened maps (o, c h w) equals a convolution (o, c, h, w) over the whole map.
    """
    if own == other:
        return True
    if {len(own), len(other)} != {2, 4} or not own or not other or own[0] != other[0]:
        return False
    wide, flat = (own, other) if len(own) == 4 else (other, own)
    return wide[1] * wide[2] * wide[3] == flat[1]
