"""Which of a checkpoint's values are a network's weights: wrappers taken off, everything else named and left out."""

from dataclasses import dataclass, field
from typing import Any

from netwright.language import say
from netwright.weights.pickled import Refused, StoredTensor

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module")
"""Keys under which training programs keep the weights beside other things; the first that is there counts."""
PREFIXES = ("module.", "_orig_mod.")
"""What data-parallel and compiled networks put before every name."""
OTHERS = {"optimizer", "optimizers", "optim", "scheduler", "lr_scheduler", "scaler", "amp", "loss_scaler"}
DEEPEST = 12
MOST_TENSORS = 100_000
LONGEST_NAME = 1000


@dataclass
class Gathered:
    """Tensors by name, and what was left out with the reason."""

    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    steps: int = 0


def gather(value: Any) -> Gathered:
    """The named tensors in a checkpoint's value. Errors: `Refused` where there are none, or names clash."""
    found = Gathered()
    for _ in range(DEEPEST):
        inner = _inner(value)
        if not inner:
            break
        found.left_out += [_left_out(str(key), other) for key, other in value.items() if key != inner]
        found.notes.append(say("the weights stood under {key!r}", key=inner))
        value = value[inner]
    if type(value) is not dict:
        raise Refused(say("it holds a {kind}, not tensors by name: save model.state_dict() instead",
                          kind=type(value).__name__))  # fmt: skip
    _visit(found, "", value, 0)
    if not found.tensors:
        raise Refused(say("it holds no tensors"))
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in found.tensors):
            found.tensors = {name.removeprefix(prefix): tensor for name, tensor in found.tensors.items()}
            found.notes.append(say("{prefix!r} was taken off every name", prefix=prefix))
    return found


def _inner(value: Any) -> str:
    """The key under which the weights stand, or an empty string where `value` is the weights itself."""
    if type(value) is not dict or any(type(item) is StoredTensor and _layer(key) for key, item in value.items()):
        return ""
    return next((key for key in WRAPPERS if type(value.get(key)) is dict and _has_tensors(value[key])), "")


def _layer(key: Any) -> bool:
    """Whether a key looks like a weight's own name (`fc.weight`) rather than a record beside the weights."""
    return type(key) is str and "." in key


def _has_tensors(value: dict[Any, Any]) -> bool:
    """Whether a dictionary holds tensors, or another that does."""
    pending, seen = [(value, 0)], 0
    while pending:
        one, depth = pending.pop()
        for item in one.values():
            seen += 1
            if type(item) is StoredTensor:
                return True
            if type(item) is dict and depth < DEEPEST and seen < MOST_TENSORS:
                pending.append((item, depth + 1))
    return False


def _visit(found: Gathered, prefix: str, value: dict[Any, Any], depth: int) -> None:
    for key, item in value.items():
        name = f"{prefix}{key}"
        found.steps += 1
        if found.steps > MOST_TENSORS:
            raise Refused(say("it unfolds to more than {limit:,} values", limit=MOST_TENSORS))
        if type(item) is StoredTensor:
            _add(found, name, item)
        elif type(item) is dict and item and not _is_other(name, item):
            if depth >= DEEPEST:
                raise Refused(say("it nests deeper than {limit} levels", limit=DEEPEST))
            _visit(found, f"{name}.", item, depth + 1)
        else:
            found.left_out.append(_left_out(name, item))


def _add(found: Gathered, name: str, tensor: StoredTensor) -> None:
    if name in found.tensors or name == "__metadata__":
        raise Refused(say("two of its tensors are called {name!r}", name=name[:120]))
    if len(name) > LONGEST_NAME or not _is_text(name):
        raise Refused(say("it holds a tensor whose name is no name: {name!r}", name=name[:120]))
    found.tensors[name] = tensor


def _is_text(name: str) -> bool:
    return bool(name) and not any(0xD800 <= ord(sign) < 0xE000 for sign in name)


def _is_other(name: str, value: dict[Any, Any]) -> bool:
    """Whether a dictionary is an optimizer's, a schedule's or a scaler's state."""
    return name.rpartition(".")[2].lower() in OTHERS or {"state", "param_groups"} <= value.keys()


def _left_out(name: str, value: Any) -> str:
    """How something that is not taken is named: optimizer state as such, all else by its kind."""
    name = name[:120]
    if type(value) is dict and _is_other(name, value):
        return say("{name} (state of the optimizer or schedule)", name=name)
    if type(value) is dict and _has_tensors(value):
        return say("{name} (other tensors)", name=name)
    kind = "tensor" if type(value) is StoredTensor else type(value).__name__
    return f"{name} ({kind})"
