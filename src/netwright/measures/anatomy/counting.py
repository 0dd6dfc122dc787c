"""What one layer costs: multiply-adds, neurons and connections, with the formula and the numbers in it."""

import re
from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from netwright.parts.pooling import PaddedPool
from netwright.parts.windows import padded_size, size_formula

POOLS = (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd, PaddedPool)
WHOLE = (nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
KINDS = {
    "leaky_re_lu": "leaky_relu", "re_lu": "relu", "re_lu6": "relu6", "si_lu": "swish", "hardswish": "hard_swish",
    "hardsigmoid": "hard_sigmoid", "p_re_lu": "prelu", "local_response_norm": "lrn", "batch_norm": "batchnorm",
    "layer_norm": "layernorm", "group_norm": "groupnorm", "instance_norm": "instancenorm", "max_pool": "maxpool",
    "avg_pool": "avgpool", "zero_pad": "pad", "replication_pad": "pad", "reflection_pad": "pad", "circular_pad": "pad",
    "constant_pad": "pad", "conv_transpose": "conv_transposed", "rows_as_steps": "rows_as_steps", "elu": "elu",
    "e_lu": "elu", "r_m_s_norm": "rmsnorm", "rms_norm": "rmsnorm",
}  # fmt: skip
"""Snake-cased class names of torch to the words of the notation."""


def kind_of(module: nn.Module) -> str:
    """The word for a layer: the notation's where it has one, else the class's name."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(module).__name__).lower()
    plain = re.sub(r"_?[123]d$", "", snake)
    return KINDS.get(plain, plain)


def facts(module: nn.Module, entered: Tensor, left: Tensor, macs: int = 0) -> dict[str, Any]:
    """kind, macs, neurons, connections and formula of one run of a layer on one example.

    `macs` are those of the operations that ran inside; they count where the layer is of no kind known here.
    """
    own = getattr(module, "counted", None)
    if callable(own):
        return dict(own(tuple(entered.shape[1:]), tuple(left.shape[1:])))
    for kinds, rule in _RULES:
        if isinstance(module, kinds):
            return dict(rule(module, entered, left))
    count = sum(p.numel() for p in module.parameters())
    formula = f"parameters = {count:,}" if count else ""
    found: dict[str, Any] = {"kind": kind_of(module), "formula": formula}
    if macs:
        added = f"macs = {macs:,}"
        found |= {"macs": macs, "neurons": left.numel(), "connections": macs}
        found["formula"] = f"{formula}; {added}" if formula else added
    return found


def sides_of(conv: Any, entered: Sequence[int]) -> list[tuple[int, int]]:
    """Padding before and after on each axis of a convolution that reads maps of `entered` (height, width)."""
    own = getattr(conv, "sides", None)
    if callable(own):
        return [(int(before), int(after)) for before, after in own(*entered)]
    if conv.padding == "same":
        wide = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return [(w // 2, w - w // 2) for w in wide]
    if conv.padding == "valid":
        return [(0, 0)] * len(conv.kernel_size)
    return [(int(p), int(p)) for p in conv.padding]


def _conv(conv: nn.modules.conv._ConvNd, entered: Tensor, left: Tensor) -> dict[str, Any]:
    """Depthwise and grouped convolutions read in_channels/groups maps each."""
    window, depth, bias = prod(conv.kernel_size), conv.in_channels // conv.groups, conv.bias is not None
    macs, count = left.numel() * window * depth, window * depth * conv.out_channels
    split = f"({conv.in_channels}/{conv.groups})" if conv.groups > 1 else f"{depth}"
    reads = f"{_x(conv.kernel_size)}*{split}"
    formula = (
        f"{sizes(entered.shape[2:], conv.kernel_size, conv.stride, sides_of(conv, entered.shape[2:]), conv.dilation)}; "
        f"parameters = {reads}*{conv.out_channels}{f' + {conv.out_channels}' * bias} = "
        f"{count + conv.out_channels * bias:,}; macs = {_x(left.shape[1:])}*({reads}) = {macs:,}"
    )
    spare = [max(side) - d * (k - 1) for side, k, d in
             zip(sides_of(conv, entered.shape[2:]), conv.kernel_size, conv.dilation, strict=True)]  # fmt: skip
    if max(spare) > 0:
        formula += f"; {max(spare)} pixels of padding too many: the outermost windows read nothing of the map"
    connections = macs + left.numel() * bias
    return {"kind": "conv", "macs": macs, "neurons": left.numel(), "connections": connections, "formula": formula}


def _transposed(conv: nn.modules.conv._ConvTransposeNd, entered: Tensor, left: Tensor) -> dict[str, Any]:
    """Every input unit is spread over a window of each output map of its group."""
    window, spread, bias = prod(conv.kernel_size), conv.out_channels // conv.groups, conv.bias is not None
    macs, count = entered.numel() * window * spread, window * spread * conv.in_channels
    given = zip(
        entered.shape[2:], conv.stride, conv.padding, conv.dilation, conv.kernel_size, left.shape[2:], strict=True
    )
    each = []
    for n, s, p, d, k, m in given:
        wide = d * (k - 1) + 1
        extra = m - ((n - 1) * s - 2 * int(p) + wide)
        each.append(f"({n} - 1)*{s} - 2*{p} + {wide}{f' + {extra}' * bool(extra)} = {m}")
    formula = (
        f"out = {_once(each)}; parameters = {_x(conv.kernel_size)}*{spread}*{conv.in_channels}"
        f"{f' + {conv.out_channels}' * bias} = {count + conv.out_channels * bias:,}; "
        f"macs = {_x(entered.shape[1:])}*({_x(conv.kernel_size)}*{spread}) = {macs:,}"
    )
    connections, kind = macs + left.numel() * bias, "conv_transposed"
    return {"kind": kind, "macs": macs, "neurons": left.numel(), "connections": connections, "formula": formula}


def _linear(linear: nn.Linear, entered: Tensor, left: Tensor) -> dict[str, Any]:
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


def _bilinear(layer: nn.Bilinear, entered: Tensor, left: Tensor) -> dict[str, Any]:
    one, two, outs, bias = layer.in1_features, layer.in2_features, layer.out_features, layer.bias is not None
    weights, places = one * two * outs, left.numel() // outs
    formula = (
        f"parameters = {one}*{two}*{outs}{f' + {outs}' * bias} = {weights + outs * bias:,}; macs = {places * weights:,}"
    )
    found = {"kind": "bilinear", "macs": places * weights, "neurons": left.numel()}
    return {**found, "connections": places * (weights + outs * bias), "formula": formula}


def _recurrent(cell: nn.RNNBase, entered: Tensor, left: Tensor) -> dict[str, Any]:
    """Per step every gate reads the step's input and the last state; the same weights serve all steps."""
    steps = entered.numel() // cell.input_size
    gates = {"LSTM": 4, "GRU": 3}.get(cell.mode, 1)
    ways, hidden, shown = 1 + cell.bidirectional, cell.hidden_size, cell.proj_size or cell.hidden_size
    named = dict(cell.named_parameters())
    per_step = sum(weight.numel() for name, weight in named.items() if name.startswith("weight"))
    biases = sum(weight.numel() for name, weight in named.items() if name.startswith("bias_ih"))
    inputs = [cell.input_size] + [shown * ways] * (cell.num_layers - 1)
    both, bias = f"{ways}*" * (ways > 1), f" + 2*{hidden}" * cell.bias
    shrunk = f" + {both}{hidden}*{shown}" if cell.proj_size else ""
    counts = " + ".join(f"{both}{gates}*({d}*{hidden} + {shown}*{hidden}{bias}){shrunk}" for d in inputs)
    counts = getattr(cell, "arithmetic", "") or counts  # layers of our own write theirs out
    total, macs = sum(weight.numel() for weight in named.values()), steps * per_step
    return {
        "kind": cell.mode.lower().split("_")[0],
        "macs": macs,
        "neurons": hidden * ways * cell.num_layers,
        "connections": steps * (per_step + biases),
        "formula": f"parameters = {counts} = {total:,}; macs = {steps} steps * {per_step:,} = {macs:,}",
    }


def _cell(cell: nn.RNNCellBase, entered: Tensor, left: Tensor) -> dict[str, Any]:
    """One step of one layer; a cell that runs many times has a row for each time."""
    kind = {nn.LSTMCell: "lstm_cell", nn.GRUCell: "gru_cell"}.get(type(cell), "rnn_cell")
    d, hidden = cell.input_size, cell.hidden_size
    gates = cell.weight_ih.shape[0] // hidden
    rows = entered.numel() // d
    weights, count = gates * (d * hidden + hidden * hidden), sum(p.numel() for p in cell.parameters())
    bias = f" + 2*{hidden}" * bool(cell.bias)
    formula = (
        f"parameters = {gates}*({d}*{hidden} + {hidden}*{hidden}{bias}) = {count:,}; "
        f"macs = {gates}*({d}*{hidden} + {hidden}*{hidden}) = {rows * weights:,}"
    )
    connections = rows * (weights + gates * hidden * bool(cell.bias))
    found = {"kind": kind, "macs": rows * weights, "neurons": hidden}
    return {**found, "connections": connections, "formula": formula}


def _pool(pool: Any, entered: Tensor, left: Tensor) -> dict[str, Any]:
    axes = entered.ndim - 2
    kernel, stride = _axes(pool.kernel_size, axes), _axes(pool.stride or pool.kernel_size, axes)
    sides = getattr(pool, "sides", None) or [(p, p) for p in _axes(pool.padding, axes)]
    connections = left.numel() * prod(kernel)
    spread = _axes(getattr(pool, "dilation", 1), axes)
    out = sizes(entered.shape[2:], kernel, stride, sides, spread, up=pool.ceil_mode)
    kind = f"{pool.kind.split('_')[0]}pool" if isinstance(pool, PaddedPool) else kind_of(pool)
    formula = f"{out}; connections = {_x(left.shape[1:])}*({_x(kernel)}) = {connections:,}"
    return {"kind": kind, "neurons": left.numel(), "connections": connections, "formula": formula}


def _whole(pool: nn.Module, entered: Tensor, left: Tensor) -> dict[str, Any]:
    """Adaptive pooling; with one output a map it reads the whole map."""
    places = prod(left.shape[2:])
    windows = [
        max(-(-(place + 1) * n // m) - place * n // m for place in range(m))
        for n, m in zip(entered.shape[2:], left.shape[2:], strict=True)
    ]
    connections = left.numel() * prod(windows)
    formula = f"connections = {_x(left.shape[1:])}*({_x(windows)}) = {connections:,}"
    kind = "globalpool" if places == 1 else kind_of(pool)
    return {"kind": kind, "neurons": left.numel(), "connections": connections, "formula": formula}


def _norm(norm: nn.Module, entered: Tensor, left: Tensor) -> dict[str, Any]:
    """Scale and shift, where the norm learns them; running statistics are no parameters."""
    weights = [p for p in (getattr(norm, name, None) for name in ("weight", "bias")) if isinstance(p, Tensor)]
    wide = weights[0].numel() if weights else 0
    formula = f"parameters = {len(weights)}*{wide} = {len(weights) * wide:,}" if weights else "parameters = 0"
    return {"kind": kind_of(norm), "formula": formula}


def _embedding(table: nn.Embedding | nn.EmbeddingBag, entered: Tensor, left: Tensor) -> dict[str, Any]:
    rows, wide = table.num_embeddings, table.embedding_dim
    formula = f"parameters = {rows}*{wide} = {rows * wide:,}; macs = 0: rows are looked up, nothing is multiplied"
    return {"kind": kind_of(table), "formula": formula}


def _prelu(layer: nn.PReLU, entered: Tensor, left: Tensor) -> dict[str, Any]:
    count = layer.num_parameters
    each = "1 slope for all maps" if count == 1 else f"{count} maps, a slope each"
    return {"kind": "prelu", "formula": f"parameters = {count}: {each}"}


_RULES: tuple[tuple[Any, Any], ...] = (
    (nn.modules.conv._ConvTransposeNd, _transposed),
    (nn.modules.conv._ConvNd, _conv),
    (nn.Linear, _linear),
    (nn.Bilinear, _bilinear),
    (nn.RNNBase, _recurrent),
    (nn.RNNCellBase, _cell),
    (POOLS, _pool),
    (WHOLE, _whole),
    (NORMS, _norm),
    ((nn.Embedding, nn.EmbeddingBag), _embedding),
    (nn.PReLU, _prelu),
)


def sizes(
    entered: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    sides: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    *,
    up: bool = False,
) -> str:
    """`out = floor((28 + 2*2 - 5)/1) + 1 = 28`, both axes where they differ."""
    given = zip(entered, kernel, stride, sides, dilation, strict=True)
    return "out = " + _once([_size_up(*axis) if up else size_formula(*axis) for axis in given])


def _size_up(n: int, k: int, s: int, sides: tuple[int, int], d: int) -> str:
    """The size rounded up; a window that would begin in the far padding is left out, and said so."""
    text, size = size_formula(n, k, s, sides, d), padded_size(n, k, s, sides, d, up=True)
    full = -(-(n + sum(sides) - (d * (k - 1) + 1)) // s) + 1
    dropped = " - 1" * (full - size)
    return f"ceil{text.removeprefix('floor').rpartition(' = ')[0]}{dropped} = {size}"


def _once(each: list[str]) -> str:
    return each[0] if len(set(each)) == 1 else ", ".join(each)


def _axes(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _x(numbers: Sequence[int]) -> str:
    return "*".join(map(str, numbers))
