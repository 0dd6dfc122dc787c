"""What one layer costs: multiply-adds, neurons and connections, with the formula and the numbers in it."""

import re
from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from netwright.parts.pooling import PaddedPool
from netwright.parts.windows import size_formula

POOLS = (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd, PaddedPool)
WHOLE = (nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd)
KINDS = {
    "leaky_re_lu": "leaky_relu", "re_lu": "relu", "re_lu6": "relu6", "si_lu": "swish", "hardswish": "hard_swish",
    "hardsigmoid": "hard_sigmoid", "p_re_lu": "prelu", "local_response_norm": "lrn", "batch_norm": "batchnorm",
    "layer_norm": "layernorm", "group_norm": "groupnorm", "max_pool": "maxpool", "avg_pool": "avgpool",
    "zero_pad": "pad", "replication_pad": "pad", "reflection_pad": "pad", "circular_pad": "pad", "constant_pad": "pad",
    "conv_transpose": "conv_transposed", "rows_as_steps": "rows_as_steps", "elu": "elu", "e_lu": "elu",
}  # fmt: skip
"""Snake-cased class names of torch to the words of the notation."""


def kind_of(module: nn.Module) -> str:
    """The word for a layer: the notation's where it has one, else the class's name."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(module).__name__).lower()
    plain = re.sub(r"_?[123]d$", "", snake)
    return KINDS.get(plain, plain)


def facts(module: nn.Module, entered: Tensor, left: Tensor) -> dict[str, Any]:
    """kind, macs, neurons, connections and formula of one run of a layer on one example."""
    own = getattr(module, "counted", None)
    if callable(own):
        return dict(own(tuple(entered.shape[1:]), tuple(left.shape[1:])))
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return _transposed(module, entered, left)
    if isinstance(module, nn.modules.conv._ConvNd):
        return _conv(module, entered, left)
    if isinstance(module, nn.Linear):
        return _linear(module, left)
    if isinstance(module, nn.RNNBase):
        return _recurrent(module, entered)
    if isinstance(module, POOLS):
        return _pool(module, entered, left)
    if isinstance(module, WHOLE):
        return _whole(module, entered, left)
    count = sum(p.numel() for p in module.parameters())
    return {"kind": kind_of(module), "formula": f"parameters = {count:,}" if count else ""}


def _conv(conv: nn.modules.conv._ConvNd, entered: Tensor, left: Tensor) -> dict[str, Any]:
    window, depth, bias = prod(conv.kernel_size), conv.in_channels // conv.groups, conv.bias is not None
    macs, count = left.numel() * window * depth, window * depth * conv.out_channels
    reads = f"{_x(conv.kernel_size)}*{depth}"
    sides = [(0, 0)] * len(conv.kernel_size)
    if conv.padding == "same":
        wide = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        sides = [(w // 2, w - w // 2) for w in wide]
    elif conv.padding != "valid":
        sides = [(int(p), int(p)) for p in conv.padding]
    formula = (
        f"{_sizes(entered, conv.kernel_size, conv.stride, sides, conv.dilation)}; "
        f"parameters = {reads}*{conv.out_channels}{f' + {conv.out_channels}' * bias} = "
        f"{count + conv.out_channels * bias:,}; macs = {_x(left.shape[1:])}*({reads}) = {macs:,}"
    )
    connections = macs + left.numel() * bias
    return {"kind": "conv", "macs": macs, "neurons": left.numel(), "connections": connections, "formula": formula}


def _transposed(conv: nn.modules.conv._ConvTransposeNd, entered: Tensor, left: Tensor) -> dict[str, Any]:
    """Every input unit is spread over a window of each output map of its group."""
    window, spread, bias = prod(conv.kernel_size), conv.out_channels // conv.groups, conv.bias is not None
    macs = entered.numel() * window * spread
    formula = f"macs = {_x(entered.shape[1:])}*({_x(conv.kernel_size)}*{spread}) = {macs:,}"
    connections = macs + left.numel() * bias
    kind = "conv_transposed"
    return {"kind": kind, "macs": macs, "neurons": left.numel(), "connections": connections, "formula": formula}


def _linear(linear: nn.Linear, left: Tensor) -> dict[str, Any]:
    ins, outs, bias = linear.in_features, linear.out_features, linear.bias is not None
    places = left.numel() // outs
    times = f"{places}*" * (places > 1)
    macs = places * ins * outs
    formula = (
        f"parameters = {ins}*{outs}{f' + {outs}' * bias} = {ins * outs + outs * bias:,}; "
        f"macs = {times}{ins}*{outs} = {macs:,}"
    )
    connections = macs + places * outs * bias
    return {"kind": "linear", "macs": macs, "neurons": left.numel(), "connections": connections, "formula": formula}


def _recurrent(cell: nn.RNNBase, entered: Tensor) -> dict[str, Any]:
    """Per step every gate reads the step's input and the last state; the same weights serve all steps."""
    steps = entered.shape[1 if cell.batch_first else 0]
    gates = {"LSTM": 4, "GRU": 3}.get(cell.mode, 1)
    ways, hidden = 1 + cell.bidirectional, cell.hidden_size
    named = dict(cell.named_parameters())
    per_step = sum(weight.numel() for name, weight in named.items() if name.startswith("weight"))
    biases = sum(weight.numel() for name, weight in named.items() if name.startswith("bias_ih"))
    inputs = [cell.input_size] + [hidden * ways] * (cell.num_layers - 1)
    both = f"{ways}*" * (ways > 1)
    counts = " + ".join(
        f"{both}{gates}*({d}*{hidden} + {hidden}*{hidden}{' + 2*' + str(hidden) if cell.bias else ''})" for d in inputs
    )
    total, macs = sum(weight.numel() for weight in named.values()), steps * per_step
    kind = cell.mode.lower().split("_")[0]
    return {
        "kind": kind,
        "macs": macs,
        "neurons": hidden * ways * cell.num_layers,
        "connections": steps * (per_step + biases),
        "formula": f"parameters = {counts} = {total:,}; macs = {steps} steps * {per_step:,} = {macs:,}",
    }


def _pool(pool: Any, entered: Tensor, left: Tensor) -> dict[str, Any]:
    axes = entered.ndim - 2
    kernel, stride = _axes(pool.kernel_size, axes), _axes(pool.stride or pool.kernel_size, axes)
    sides = getattr(pool, "sides", None) or [(p, p) for p in _axes(pool.padding, axes)]
    connections = left.numel() * prod(kernel)
    sizes = _sizes(entered, kernel, stride, sides, _axes(getattr(pool, "dilation", 1), axes))
    if pool.ceil_mode:
        sizes = f"out = {_x(left.shape[2:])} (rounded up)"
    kind = f"{pool.kind.split('_')[0]}pool" if isinstance(pool, PaddedPool) else kind_of(pool)
    formula = f"{sizes}; connections = {_x(left.shape[1:])}*({_x(kernel)}) = {connections:,}"
    return {"kind": kind, "neurons": left.numel(), "connections": connections, "formula": formula}


def _whole(pool: nn.Module, entered: Tensor, left: Tensor) -> dict[str, Any]:
    """Adaptive pooling; with one output a map it reads the whole map."""
    places = prod(left.shape[2:])
    windows = [-(-n // m) for n, m in zip(entered.shape[2:], left.shape[2:], strict=True)]
    connections = left.numel() * prod(windows)
    formula = f"connections = {_x(left.shape[1:])}*({_x(windows)}) = {connections:,}"
    kind = "globalpool" if places == 1 else kind_of(pool)
    return {"kind": kind, "neurons": left.numel(), "connections": connections, "formula": formula}


def _sizes(
    entered: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    sides: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> str:
    """`out = floor((28 + 2*2 - 5)/1) + 1 = 28`, both axes where they differ."""
    given = zip(entered.shape[2:], kernel, stride, sides, dilation, strict=True)
    each = [size_formula(n, k, s, around, d) for n, k, s, around, d in given]
    return "out = " + (each[0] if len(set(each)) == 1 else ", ".join(each))


def _axes(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _x(sizes: Sequence[int]) -> str:
    return "*".join(map(str, sizes))
