"""`training.freeze`: weights that stay as they are, and norms below them that stop taking statistics."""

from collections.abc import Sequence

from torch import nn

from netwright.errors import UsageError, nearest
from netwright.language import say
from netwright.weights.load import heads, is_auxiliary

FEATURES = "features"


def freeze(model: nn.Module, wanted: str | Sequence[str]) -> list[nn.Module]:
    """Freeze the weights that `wanted` names; returns the modules that must stay in evaluation mode while training.

    `wanted` is empty (nothing), `features` (all but the head: the last linear layer or 1x1 convolution, and auxiliary
    heads), or names of modules or weights, each with all that stands below it: `conv1`, `layer1.0`, `fc.weight`.
    Frozen weights get no gradient and no optimizer state. A module that keeps running statistics stays in evaluation
    mode where all of its own weights are frozen, so that nothing of it moves. Errors: UsageError for a name that is not
    there, and where nothing would be left to train.
    """
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    if names == [""] or not names:
        return []
    own = {name for name, _ in model.named_parameters()}
    frozen = _features(model, own) if names == [FEATURES] else set()
    if names != [FEATURES]:
        for name in names:
            frozen |= _below(model, name, own)
    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}
    if not trainable - frozen:
        text = say("training.freeze = {wanted!r} leaves nothing to train.", wanted=wanted)
        raise UsageError(text + " " + say("Known: {names}.", names=", ".join(_tops(model))))
    for name, weight in model.named_parameters():
        if name in frozen:
            weight.requires_grad_(False)
    return [module for prefix, module in model.named_modules() if _rests(prefix, module, frozen, names, model)]


def _features(model: nn.Module, own: set[str]) -> set[str]:
    """All weights but those of the head and of auxiliary heads."""
    kept = [f"{name}." for name in heads(model) if not is_auxiliary(name.partition(".")[0])]
    return {
        name for name in own
        if not any(name.startswith(head) for head in kept) and not is_auxiliary(name.partition(".")[0])
    }  # fmt: skip


def _below(model: nn.Module, name: object, own: set[str]) -> set[str]:
    """The weights that a name means."""
    found = {one for one in own if isinstance(name, str) and (one == name or one.startswith(f"{name}."))}
    if not found:
        text = say("training.freeze: the network has no weights called {name!r}.", name=name)
        best = nearest(str(name), [FEATURES, *(prefix for prefix, _ in model.named_modules() if prefix), *own])
        near = say("Did you mean {best!r}?", best=best) if best else ""
        listed = say("Known: {names}.", names=", ".join([FEATURES, *_tops(model)][:40]))
        raise UsageError(" ".join(filter(None, [text, near, listed])))
    return found


def _tops(model: nn.Module) -> list[str]:
    """The network's top-level names that hold weights."""
    return list(dict.fromkeys(name.partition(".")[0] for name, _ in model.named_parameters()))


def _rests(prefix: str, module: nn.Module, frozen: set[str], names: list[str], model: nn.Module) -> bool:
    """Whether a module with running statistics has nothing of its own left to learn, and lies in the frozen part."""
    if not any(True for _ in module.buffers(recurse=False)):
        return False
    mine = [f"{prefix}.{name}" if prefix else name for name, _ in module.named_parameters(recurse=False)]
    if mine:
        return all(name in frozen for name in mine)
    if names == [FEATURES]:
        return not is_auxiliary(prefix.partition(".")[0])
    return any(prefix == name or prefix.startswith(f"{name}.") for name in names)
