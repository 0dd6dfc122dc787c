"""The operations of a forward pass in the order they ran, by name and place, however the network is written.

`nn.ReLU()`, `F.relu(x)` and `x.relu()` are one operation, `relu`; each knows the path of the module it ran in. A trace
watches through torch's own function mode, so it needs no special model class, and it can hand back another result in
place of one operation's: that is how a branch of a trial swaps an activation that stands in the middle of a `forward`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

HIDDEN = frozenset(
    ("relu", "relu6", "leaky_relu", "prelu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "softsign",
     "sigmoid", "hardsigmoid", "hardswish", "hardtanh", "tanh", "tanhshrink", "softmax", "log_softmax", "logsigmoid",
     "softmin", "exp", "sin", "threshold", "rrelu", "glu", "hardshrink", "softshrink")
)  # fmt: skip
"""Activations: elementwise, or along one axis."""
WEIGHTED = frozenset(
    ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "bilinear",
     "addmm", "embedding", "lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell",
     "rnn_relu_cell", "multi_head_attention_forward")
)  # fmt: skip
NORMS = frozenset(("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm"))
DROPOUTS = frozenset(("dropout", "alpha_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d", "dropout3d"))
POOLS = frozenset(
    ("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
     "adaptive_avg_pool2d", "adaptive_max_pool2d", "adaptive_max_pool1d")
)  # fmt: skip
JUDGES = frozenset(
    ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss",
     "smooth_l1_loss", "huber_loss", "kl_div", "hinge_embedding_loss", "soft_margin_loss", "multi_margin_loss",
     "multilabel_margin_loss", "multilabel_soft_margin_loss", "margin_ranking_loss", "cosine_embedding_loss",
     "triplet_margin_loss", "poisson_nll_loss", "gaussian_nll_loss", "ctc_loss")
)  # fmt: skip
ATTENTION = frozenset(("scaled_dot_product_attention",))
RENAMED = {"max_pool2d_with_indices": "max_pool2d", "boolean_dispatch": "max_pool2d"}


@dataclass
class Op:
    """One operation of a forward pass."""

    index: int
    name: str
    path: str
    """The module it ran in, such as `net.4`; empty for the network itself."""
    call: int
    """Which operation of that module it is, from 0."""
    inputs: tuple[Any, ...] = field(repr=False, default=())
    settings: dict[str, Any] = field(repr=False, default_factory=dict)
    output: Any = field(repr=False, default=None)

    @property
    def key(self) -> tuple[str, int]:
        """The same operation in another pass."""
        return self.path, self.call

    @property
    def tensor(self) -> Tensor:
        """Its output, the first of several."""
        found = self.output
        while isinstance(found, (tuple, list)):
            found = found[0]
        return found

    @property
    def where(self) -> str:
        return self.path or "forward"


Swap = Callable[[Op, Callable[..., Any]], Any]
"""What takes the place of an operation: gets the operation (inputs and settings filled in) and its function."""


class Tracing(TorchFunctionMode):
    """Records the operations of `kinds`; hands `swaps` the right to replace one, by (path, call)."""

    def __init__(
        self,
        kinds: frozenset[str] = HIDDEN | WEIGHTED | NORMS | DROPOUTS | POOLS | ATTENTION,
        swaps: dict[tuple[str, int], Swap] | None = None,
        keep: bool = True,
    ) -> None:
        super().__init__()
        self.kinds, self.swaps, self.keep = kinds, swaps or {}, keep
        self.ops: list[Op] = []
        self.paths: list[str] = [""]
        self.calls: dict[str, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_")
        name = RENAMED.get(name, name)
        if name not in self.kinds:
            return func(*args, **kwargs)
        path = self.paths[-1]
        call = self.calls[path] = self.calls.get(path, -1) + 1
        op = Op(len(self.ops), name, path, call, args, kwargs)
        swap = self.swaps.get(op.key)
        op.output = func(*args, **kwargs) if swap is None else swap(op, func)
        if not self.keep:
            result, op.output, op.inputs = op.output, None, ()
            self.ops.append(op)
            return result
        self.ops.append(op)
        return op.output


@contextmanager
def tracing(model: nn.Module, **given: Any) -> Iterator[Tracing]:
    """Watch every forward pass of `model` within; `ops` of the trace are those of all passes, in order."""
    trace = Tracing(**given)
    names = {id(module): name for name, module in model.named_modules()}

    def enter(module: nn.Module, _: Any) -> None:
        trace.paths.append(names.get(id(module), trace.paths[-1]))
        if module is model:  # a new pass: operations are counted anew
            trace.calls.clear()

    def leave(*_: Any) -> None:
        trace.paths.pop()

    hooks = [module.register_forward_pre_hook(enter) for module in model.modules()]
    hooks += [module.register_forward_hook(leave, always_call=True) for module in model.modules()]
    try:
        with trace:
            yield trace
    finally:
        for hook in hooks:
            hook.remove()


def activations(ops: list[Op]) -> list[Op]:
    """The hidden activations: those between two weighted operations."""
    weighted = [op.index for op in ops if op.name in WEIGHTED]
    if not weighted:
        return []
    return [op for op in ops if op.name in HIDDEN and weighted[0] < op.index < weighted[-1]]


def last(ops: list[Op]) -> list[Op]:
    """The activations behind the last weighted operation: what stands between the head and the loss."""
    weighted = [op.index for op in ops if op.name in WEIGHTED]
    return [op for op in ops if op.name in HIDDEN and weighted and op.index > weighted[-1]]


@torch.no_grad()
def judge_ops(loss: Callable[[Any, Any], Any], outputs: Any, targets: Any) -> list[Op]:
    """The operations inside a loss: which loss it is, however it is written (a module, a function, a lambda)."""
    with Tracing(JUDGES | HIDDEN | frozenset(("log", "mean", "sum", "clamp", "square", "pow", "sqrt", "abs"))) as trace:
        loss(outputs, targets)
    return trace.ops
