"""What one operation costs where no layer holds it: functions that a network calls itself."""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor

from netwright.measures.anatomy.counting import sizes

WORDS = {
    "add": "sum", "sum": "sum_over", "sub": "difference", "mul": "product", "div": "quotient", "cat": "concat",
    "stack": "concat",
    "addmm": "linear", "convolution": "conv", "mm": "matmul", "bmm": "matmul", "baddbmm": "matmul", "mv": "matmul",
    "addmv": "linear", "max_pool2d_with_indices": "maxpool", "avg_pool2d": "avgpool", "native_batch_norm": "batchnorm",
    "native_layer_norm": "layernorm", "native_group_norm": "groupnorm", "_adaptive_avg_pool2d": "adaptive_avg_pool",
    "constant_pad_nd": "pad", "replication_pad2d": "pad", "reflection_pad2d": "pad", "silu": "swish",
    "hardswish": "hard_swish", "hardsigmoid": "hard_sigmoid", "amax": "max", "native_dropout": "dropout",
    "upsample_bilinear2d": "upsample", "upsample_nearest2d": "upsample", "linear": "linear",
}  # fmt: skip
"""torch's internal names of operations to the words of the tables; others keep theirs."""


def word_of(name: str) -> str:
    """The word for an operation."""
    plain = name.strip("_")
    if plain.startswith("scaled_dot_product"):
        return "attention"
    return WORDS.get(name) or WORDS.get(plain, plain)


def operation_macs(name: str, args: Sequence[Any], left: Tensor) -> int:
    """Multiply-adds of convolutions, matrix products and attention; 0 for everything else."""
    if name == "convolution":
        entered, weight, transposed = args[0], args[1], args[6]
        places = entered.numel() // entered.shape[1] if transposed else left.numel() // left.shape[1]
        return int(places * weight.numel())
    if name in ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv"):
        return int(left.numel() * args[1 if name.startswith(("addm", "badd")) else 0].shape[-1])
    if name.startswith("_scaled_dot_product"):
        query, key, value = args[:3]
        pairs = prod(query.shape[:-1]) * key.shape[-2]
        return int(pairs * (query.shape[-1] + value.shape[-1]))
    return 0


def operation_facts(name: str, args: Sequence[Any], left: Tensor) -> dict[str, Any]:
    """kind, macs, neurons, connections and formula of a function, in the words of a layer of that kind."""
    kind, macs = word_of(name), operation_macs(name, args, left)
    if name == "convolution":
        return _conv(args, left, macs)
    if macs:
        found = {"kind": kind, "macs": macs, "neurons": left.numel(), "connections": macs}
        if kind == "linear":
            found["connections"] = macs + left.numel()
        inner = macs // left.numel()
        return {**found, "formula": f"macs = {_x(left.shape[1:])}*{inner} = {macs:,}"}
    if name in ("max_pool2d_with_indices", "avg_pool2d"):
        kernel = args[1] if len(args[1]) == 2 else list(args[1]) * 2
        connections = left.numel() * prod(kernel)
        formula = f"connections = {_x(left.shape[1:])}*({_x(kernel)}) = {connections:,}"
        return {"kind": kind, "neurons": left.numel(), "connections": connections, "formula": formula}
    if kind in ("sum", "difference", "product", "quotient"):
        return {
            "kind": kind,
            "formula": f"{_x(left.shape[1:])} = {left.numel():,} of them; macs = 0, nothing is learned",
        }
    if kind == "concat":
        axis = args[1] if len(args) > 1 else 0
        parts = " + ".join(str(part.shape[axis]) for part in args[0]) if name == "cat" else str(len(args[0]))
        return {"kind": kind, "formula": f"{parts} = {left.shape[axis]}"}
    return {"kind": kind, "formula": ""}


def _conv(args: Sequence[Any], left: Tensor, macs: int) -> dict[str, Any]:
    entered, weight, bias, stride, padding, dilation, transposed = args[:7]
    kind, kernel = "conv_transposed" if transposed else "conv", tuple(weight.shape[2:])
    reads = f"{_x(kernel)}*{weight.shape[1]}"
    out = ""
    if not transposed:
        axes = len(kernel)
        step, around, spread = ([*one] * (axes if len(one) == 1 else 1) for one in (stride, padding, dilation))
        out = sizes(entered.shape[2:], kernel, step, [(p, p) for p in around], spread) + "; "
    places = entered if transposed else left
    formula = f"{out}macs = {_x(places.shape[1:])}*({reads}) = {macs:,}"
    connections = macs + left.numel() * (bias is not None)
    return {"kind": kind, "macs": macs, "neurons": left.numel(), "connections": connections, "formula": formula}


def _x(numbers: Sequence[int]) -> str:
    return "*".join(map(str, numbers)) or "1"
