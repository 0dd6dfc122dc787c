"""One direction of one layer after another: sequences of unequal length turned within their length, states kept."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from netwright.parts.sequences import Sequences

Steps = Sequences | Float[Tensor, "batch steps features"]
"""Steps of numbers: padded sequences with their lengths, or a tensor in which all are equally long."""
State = Tensor | tuple[Tensor, ...]
"""(layers x directions, batch, units); of a cell with a memory the pair (h, c)."""
Lengths = Int[Tensor, "batch"] | None
"""The lengths of padded sequences; None where nothing is padding."""
Direction = Callable[[int, Tensor, tuple[Tensor, ...], Lengths], tuple[Tensor, tuple[Tensor, ...]]]
"""(place, inputs, first state, lengths) -> outputs and last state of one direction of one layer."""


def turned(steps: Float[Tensor, "batch steps features"], lengths: Lengths) -> Float[Tensor, "batch steps features"]:
    """Each sequence back to front within its length; padding stays where it is."""
    if lengths is None:
        return steps.flip(1)
    place = torch.arange(steps.shape[1])
    index = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place).to(steps.device)
    return steps.gather(1, index[:, :, None].expand_as(steps))


def at_end(steps: Float[Tensor, "batch steps features"], lengths: Lengths) -> Float[Tensor, "batch features"]:
    """The last real step of each sequence."""
    if lengths is None:
        return steps[:, -1]
    ends = (lengths - 1).to(steps.device)
    return steps.gather(1, ends[:, None, None].expand(-1, 1, steps.shape[2]))[:, 0]


def layer_by_layer(
    core: nn.RNNBase,
    one: Direction,
    inputs: Float[Tensor, "batch steps features"],
    start: Sequence[Float[Tensor, "places batch units"]],
    lengths: Lengths,
) -> tuple[Tensor, State]:
    """All layers and directions of `core` by `one` direction of one layer at a time, dropout between layers."""
    ways, ends = 1 + core.bidirectional, []
    for layer in range(core.num_layers):
        if layer and core.dropout:
            inputs = F.dropout(inputs, core.dropout, core.training)
        made = []
        for way in range(ways):
            place = layer * ways + way
            taken = turned(inputs, lengths) if way else inputs
            outputs, end = one(place, taken, tuple(part[place] for part in start), lengths)
            made.append(turned(outputs, lengths) if way else outputs)
            ends.append(end)
        inputs = torch.cat(made, 2) if ways > 1 else made[0]
    parts = tuple(torch.stack(part) for part in zip(*ends, strict=True))
    return inputs, parts if len(parts) > 1 else parts[0]


def zero_state(core: nn.RNNBase, like: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """A first state of zeros: one part of each size."""
    places = core.num_layers * (1 + core.bidirectional)
    return tuple(like.new_zeros(places, len(like), size) for size in sizes)


class Loop(nn.RNNBase):
    """A recurrent layer without a kernel of its own: a loop over time, the inputs' product done for all steps at once.

    Parameters are called as torch's (`weight_ih_l0`, `weight_hh_l0_reverse` ...) and drawn alike, uniformly within
    1/sqrt(hidden). Called as torch's layers, batch first; `lengths` says where padded sequences end.
    """

    def __init__(self, mode: str, features: int, hidden: int, layers: int, bidirectional: bool, dropout: float) -> None:
        nn.Module.__init__(self)  # RNNBase would make torch's four parameters
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, features, hidden, layers
        self.bias, self.batch_first, self.proj_size = True, True, 0
        self.bidirectional, self.dropout = bidirectional, dropout if layers > 1 else 0.0
        self._flat_weights_names: list[str] = []
        self._all_weights: list[list[str]] = []
        self._flat_weight_refs: list[Any] = []
        for layer in range(layers):
            entering = self.shown * (1 + bidirectional) if layer else features
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                named = {f"{kind}_l{layer}{suffix}": shape for kind, shape in self.shapes(entering).items()}
                for name, shape in named.items():
                    setattr(self, name, nn.Parameter(torch.empty(shape)))
                self._all_weights.append(list(named))
                self._flat_weights_names.extend(named)
        self._init_flat_weights()
        self.reset_parameters()

    def flatten_parameters(self) -> None:
        """Nothing to do: no kernel asks for one block of memory."""

    @property
    def arithmetic(self) -> str:
        """How many parameters there are, written out: `256*28 + 256*64 + 256`, one product for each."""
        return " + ".join("*".join(map(str, weight.shape)) for weight in self.parameters())

    @property
    def shown(self) -> int:
        """How many numbers a direction gives out at each step."""
        return self.hidden_size

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the state's parts."""
        return (self.hidden_size,)

    def shapes(self, entering: int) -> dict[str, tuple[int, ...]]:
        """The parameters of one direction of one layer, by torch's names."""
        raise TypeError(type(self).__name__)

    def run(
        self, inputs: Float[Tensor, "batch steps features"], start: tuple[Tensor, ...], weights: dict[str, Tensor]
    ) -> tuple[Tensor, ...]:
        """One direction of one layer: its outputs at every step, then each part of the state at every step."""
        raise TypeError(type(self).__name__)

    def forward(self, input: Tensor, hx: State | None = None, lengths: Lengths = None) -> tuple[Tensor, State]:
        """Outputs (batch, steps, features) and the last state of every layer and direction."""
        start = zero_state(self, input, self.sizes) if hx is None else hx if isinstance(hx, tuple) else (hx,)
        return layer_by_layer(self, self._one, input, start, lengths)

    def _one(
        self, place: int, inputs: Tensor, start: tuple[Tensor, ...], lengths: Lengths
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        weights = {name.partition("_l")[0]: getattr(self, name) for name in self._all_weights[place]}
        outputs, *parts = self.run(inputs, start, weights)
        return outputs, tuple(at_end(part, lengths) for part in parts)
