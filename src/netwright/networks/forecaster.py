"""A recurrent forecaster: it foretells how the next season will differ from the last one."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import CELLS, NETWORKS
from netwright.networks.recurrent import Steps, features_of_step
from netwright.networks.settings import Hidden, Layers, Share
from netwright.networks.shapes import Ends, units
from netwright.parts.cells import outputs_of, width_of
from netwright.parts.initializers import initialise
from netwright.parts.sequences import Sequences


@NETWORKS.add(
    source="LSTM over a window normalised by itself: Kim et al. 2022, Reversible instance normalization, ICLR",
    tasks=("forecast",),
    inputs=("sequence",),
    year=2022,
    parents=("lstm",),
    at=(96, 7),
    classes_at=24,
    outputs="number",
)
def forecaster(
    inputs: Ends,
    outputs: Ends,
    *,
    cell: str = "lstm",
    hidden: Hidden = 64,
    layers: Layers = 1,
    base: Literal["auto", "season", "last", "none"] = "auto",
    normalize: bool = True,
    dropout: Share = 0.1,
    init: str = "torch",
) -> nn.Module:
    """Reads a window of a series, by its own mean and deviation, and foretells the change against a simple forecast.

    Formula: z = (x - mean_w) / sd_w over the window w; y = sd_w (base(z) + V h_T + c) + mean_w

    `base` is the last season repeated, the last value, or nothing; `auto` takes the season where the window holds one.
    V starts at 0, so that the first forecast is the simple one. Series of any level and size look alike to it.
    """
    features = features_of_step("forecaster", inputs, 1)
    season, window = int(outputs.get("season", 1)), int(inputs["steps"])
    if base == "auto":
        base = "season" if 1 < season <= window else "last"
    core = CELLS[cell](features, hidden=hidden, layers=layers, dropout=dropout)
    net = Forecaster(core, units(outputs), int(outputs.get("column", 0)), season, base, normalize, dropout)
    initialise(net, init, "tanh")
    nn.init.zeros_(net.out.weight)
    nn.init.zeros_(net.out.bias)
    return net


class Forecaster(nn.Module):
    """The recurrent layers `rnn` over the normalised window, and `out` from their last state."""

    def __init__(
        self, core: nn.RNNBase, horizon: int, column: int, season: int, base: str, normalize: bool, dropout: float
    ) -> None:
        super().__init__()
        self.rnn = core
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width_of(core), horizon)
        self.column, self.season, self.base, self.normalize = column, season, base, normalize

    def forward(self, x: Steps) -> Float[Tensor, "batch horizon"]:
        values = x.values if isinstance(x, Sequences) else x
        mean, deviation = torch.zeros_like(values[:, :1]), torch.ones_like(values[:, :1])
        if self.normalize:
            mean = values.mean(1, keepdim=True)
            deviation = values.std(1, keepdim=True, correction=0).clamp(min=1e-3)
        z = (values - mean) / deviation
        states = outputs_of(self.rnn, z)
        change = self.out(self.dropout(states[:, -1]))  # type: ignore[index]
        found: Tensor = self._base(z[:, :, self.column]) + change
        return found * deviation[:, :, self.column] + mean[:, :, self.column]

    def _base(self, z: Float[Tensor, "batch steps"]) -> Float[Tensor, "batch horizon"]:
        horizon = self.out.out_features
        if self.base == "none":
            return z.new_zeros(len(z), horizon)
        last = z[:, -self.season :] if self.base == "season" else z[:, -1:]
        return last[:, torch.arange(horizon, device=z.device) % last.shape[1]]
