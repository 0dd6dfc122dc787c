"""A small Transformer encoder, as a peer to compare recurrent networks with."""

import math
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, Range
from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.recurrent import RowsAsSteps, Steps, features_of_step
from netwright.networks.settings import Hidden, Layers, Share
from netwright.networks.shapes import Ends, units
from netwright.parts.cells import MeanOverSteps
from netwright.parts.initializers import initialise
from netwright.parts.sequences import Sequences


@NETWORKS.add(source="Vaswani et al. 2017, arXiv:1706.03762", inputs=("text", "sequence", "image"), year=2017)
def transformer_encoder(
    inputs: Ends,
    outputs: Ends,
    *,
    hidden: Hidden = 128,
    layers: Layers = 2,
    heads: Annotated[int, Range(1, 1000)] = 4,
    feed_forward: Hidden = 256,
    dropout: Share = 0.1,
    init: str = "torch",
) -> nn.Module:
    """Self-attention over all steps at once, with positions added, the mean over the steps and a linear layer.

    Formula: z = x + P; every layer: z + attention(norm(z)), then z + W2 relu(W1 norm(z)); y = V mean_t z_t + c

    `hidden` numbers a step, `heads` attentions side by side, which have to divide them. Positions are sines.
    Differs: the norm stands before each block (Xiong et al. 2020), which needs no warm-up of the rate.
    """
    if hidden % heads:
        text = say("network 'transformer_encoder': hidden = {hidden} is no multiple of heads = {heads}",
                   hidden=hidden, heads=heads)  # fmt: skip
        raise UsageError(text)
    features = features_of_step("transformer_encoder", inputs, hidden)
    table = nn.Embedding(int(inputs["vocabulary"]), hidden, padding_idx=0) if inputs["kind"] == "text" else None
    net = TransformerEncoder(features, hidden, layers, heads, feed_forward, dropout, units(outputs), table)
    initialise(net, init, "relu")
    return net


class TransformerEncoder(nn.Module):
    """Embedding or projection, `layers` of self-attention, their mean over the steps, then `out`."""

    def __init__(
        self, features: int, hidden: int, layers: int, heads: int, wide: int, dropout: float, count: int,
        table: nn.Embedding | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.reads_tokens = table is not None
        self.steps = RowsAsSteps()
        self.embedding = table if table is not None else nn.Linear(features, hidden)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(hidden, heads, wide, dropout, batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.mean = MeanOverSteps()
        self.out = nn.Linear(hidden, count)
        self.scale = math.sqrt(hidden) if table is not None else 1.0

    def forward(self, x: Steps) -> Float[Tensor, "batch units"]:
        uneven = isinstance(x, Sequences) and not x.even
        values = x.values if isinstance(x, Sequences) else self.steps(x)
        z = self.embedding(values) * self.scale
        z = self.dropout(z + positions(z.shape[1], z.shape[2]).to(z))
        hidden = ~x.mask if uneven else None  # type: ignore[union-attr]
        for layer in self.layers:
            z = layer(z, src_key_padding_mask=hidden)
        z = self.norm(z)
        out: Tensor = self.out(self.mean(Sequences(z, x.lengths) if isinstance(x, Sequences) else z))
        return out


def positions(steps: int, features: int) -> Float[Tensor, "steps features"]:
    """What is added to the numbers of each step so that attention can tell where it stands.

    Formula: P_(t, 2i) = sin(t / 10000^(2i/d)); P_(t, 2i+1) = cos(t / 10000^(2i/d))
    """
    rates = torch.exp(torch.arange(0, features, 2) * (-math.log(10_000.0) / features))
    angles = torch.arange(steps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :features]
