"""Changes of memory: gated cells, open forget gates, recurrent weights that keep lengths."""

import re
from typing import Any, cast

import torch
from torch import Tensor, nn

from netwright.doctor.changes.signal import adopt, make, network, rewritten, takes
from netwright.doctor.changes.structure import modules_of, replace
from netwright.doctor.chart import Chart, named
from netwright.doctor.code import CodeLive
from netwright.doctor.subject import Change, Live
from netwright.language import say


class GatedCells(nn.Module):
    """An LSTM that answers as a simple recurrent layer does: (outputs, last state)."""

    def __init__(self, old: nn.RNN, bias: float = 1.0) -> None:
        super().__init__()
        self.cells = nn.LSTM(
            old.input_size, old.hidden_size, old.num_layers, old.bias, old.batch_first, old.dropout, old.bidirectional
        )
        size = old.hidden_size
        with torch.no_grad():
            for name, p in self.cells.named_parameters():
                if name.startswith("bias_ih"):
                    p[size : 2 * size].fill_(bias)

    def forward(self, x: Any, state: Tensor | None = None) -> tuple[Any, Tensor]:
        """As nn.RNN's; a given state is the hidden one."""
        out, (last, _) = self.cells(x, None if state is None else (state, torch.zeros_like(state)))
        return out, last


def examples_first(chart: Chart, path: str) -> Change | None:
    """A recurrent layer reads axis 0 as the examples of the batch and axis 1 as time."""
    if chart.subject.recipe is not None:
        return None

    def apply(live: Live) -> None:
        module: Any = live.model.get_submodule(path)
        cast(CodeLive, live).extras.callback(setattr, module, "batch_first", module.batch_first)
        module.batch_first = True

    return Change(
        say("examples on axis 0 of {layer}", layer=path),
        say("each example is then a sequence of its own"),
        {"code": say("batch_first=True in {layer}", layer=path)},
        apply,
    )


def gated(chart: Chart, bias: float = 1.0) -> Change | None:
    """LSTM cells, their forget gates open, in place of simple recurrent layers."""
    names = [name for name, module in modules_of(chart) if type(module) is nn.RNN and chart.subject.recipe is None]
    if chart.subject.recipe is None and not names:
        return None

    def apply(live: Live) -> None:
        for name in names:
            old = live.model.get_submodule(name)
            assert isinstance(old, nn.RNN)
            made = GatedCells(old, bias).to(next(old.parameters()))
            replace(live.model, name, made)
            gone = {id(p) for p in old.parameters()}
            for optimizer in live.optimizers:
                for group in optimizer.param_groups:
                    group["params"] = [p for p in group["params"] if id(p) not in gone]
            adopt(live, [made])

    patch: dict[str, Any] = {}
    if network(chart).get("name") == "rnn":
        patch = {"network": "lstm"} | {
            f"network.{key}": value
            for key, value in network(chart).items()
            if key in ("hidden", "layers", "bidirectional", "dropout", "readout", "embedding")
        }
        patch["network.forget_bias"] = bias
    elif network(chart).get("name") == "stack":
        patch = rewritten(chart, lambda items: [re.sub(r"^(\s*)rnn\b", r"\1lstm", item) for item in items])
    return make(
        chart,
        say("LSTM in place of simple recurrent layers"),
        say("its cell carries a memory past many steps"),
        patch,
        say("nn.LSTM in place of nn.RNN: {places}", places=named(names)),
        apply,
    )


def forget_less(chart: Chart, value: float = 1.0) -> Change | None:
    """Forget gates of LSTM layers (update gates of GRU layers) that begin open: both are the second of their gates."""
    names = [
        name for name, module in modules_of(chart) if isinstance(module, (nn.LSTM, nn.LSTMCell, nn.GRU, nn.GRUCell))
    ]
    if not names:
        return None

    def apply(live: Live) -> None:
        with torch.no_grad():
            for name in names:
                module = live.model.get_submodule(name)
                gates = 4 if isinstance(module, (nn.LSTM, nn.LSTMCell)) else 3
                for key, p in module.named_parameters():
                    if key.startswith("bias"):
                        size = len(p) // gates
                        p[size : 2 * size].fill_(value if key.startswith("bias_ih") else 0.0)

    patch = (
        {"network.forget_bias": value} if takes(chart, "forget_bias") and network(chart)["forget_bias"] != value else {}
    )
    return make(
        chart,
        say("forget bias {value:g}", value=value),
        say("memory is kept until the cell learns to forget"),
        patch,
        say("bias_ih[hidden:2 * hidden] = {value:g} in {places}", value=value, places=named(names)),
        apply,
    )


def orthogonal_memory(chart: Chart) -> Change | None:
    """Recurrent weights that keep lengths: orthogonal, gate by gate."""
    names = [name for name, module in modules_of(chart) if isinstance(module, (nn.RNNBase, nn.RNNCellBase))]
    if not names:
        return None

    def apply(live: Live) -> None:
        for name in names:
            for key, p in live.model.get_submodule(name).named_parameters():
                if key.startswith("weight_hh"):
                    for gate in p.detach().split(p.shape[1]):
                        nn.init.orthogonal_(gate)

    patch = (
        {"network.recurrent_init": "orthogonal"}
        if takes(chart, "recurrent_init") and network(chart)["recurrent_init"] != "orthogonal"
        else {}
    )
    return make(
        chart,
        say("orthogonal recurrent weights"),
        say("a state then keeps its length from step to step"),
        patch,
        say("nn.init.orthogonal_ for weight_hh of {places}", places=named(names)),
        apply,
    )
