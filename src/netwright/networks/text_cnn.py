"""A one-dimensional convolutional network for texts: short runs of words, wherever they stand."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.language import say
from netwright.networks.recurrent import Steps, features_of_step
from netwright.networks.settings import Hidden, Share
from netwright.networks.shapes import Ends, units
from netwright.parts.initializers import initialise
from netwright.parts.sequences import Sequences


@NETWORKS.add(
    source="Kim 2014, arXiv:1408.5882", inputs=("text", "sequence"), year=2014, at=(20,), tokens_at=18_769, classes_at=2
)
def text_cnn(
    inputs: Ends,
    outputs: Ends,
    *,
    channels: Hidden = 100,
    windows: list[int] = [3, 4, 5],  # noqa: B006  read only; the signature is the schema
    embedding: Hidden = 128,
    dropout: Share = 0.5,
    init: str = "torch",
) -> nn.Module:
    """Convolutions over runs of 3, 4 and 5 tokens, the largest answer of each over the text, and a linear layer.

    Formula: c_t = relu(W x_(t..t+k-1) + b); y = V [max_t c_t of every window] + c

    `windows` are the lengths k, `channels` filters each; the text is padded by k - 1 zeros at its end, so that no text
    is too short, and windows that begin behind its end do not count. `dropout` acts before the linear layer.
    """
    sizes = [size for size in windows if type(size) is int and 0 < size <= 1000]
    if not sizes or len(sizes) != len(windows):
        raise UsageError(
            say("network 'text_cnn': windows = {windows}; they are whole numbers above 0", windows=windows)
        )
    features = features_of_step("text_cnn", inputs, embedding)
    table = nn.Embedding(int(inputs["vocabulary"]), embedding, padding_idx=0) if inputs["kind"] == "text" else None
    net = TextCNN(features, channels, sizes, units(outputs), dropout, table)
    initialise(net, init, "relu")
    return net


class TextCNN(nn.Module):
    """One convolution a window length, the maximum over time, then `out`."""

    def __init__(
        self, features: int, channels: int, windows: list[int], count: int, dropout: float, table: nn.Embedding | None
    ) -> None:
        super().__init__()
        if table is not None:
            self.embedding = table
        self.reads_tokens = table is not None
        self.convolutions = nn.ModuleList(nn.Conv1d(features, channels, size) for size in windows)
        self.activations = nn.ModuleList(nn.ReLU() for _ in windows)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.out = nn.Linear(channels * len(windows), count)

    def forward(self, x: Steps) -> Float[Tensor, "batch units"]:
        values, hidden = (x.values, ~x.mask) if isinstance(x, Sequences) and not x.even else (_values(x), None)
        steps = (self.embedding(values) if self.reads_tokens else values).transpose(1, 2)
        if hidden is not None:
            steps = steps.masked_fill(hidden[:, None], 0.0)
        found = [self._longest(steps, hidden, *pair) for pair in zip(self.convolutions, self.activations, strict=True)]
        out: Tensor = self.out(self.dropout(torch.cat(found, 1)))
        return out

    @staticmethod
    def _longest(steps: Tensor, hidden: Tensor | None, convolution: Any, activation: nn.Module) -> Tensor:
        maps: Tensor = activation(convolution(F.pad(steps, (0, convolution.kernel_size[0] - 1))))
        if hidden is not None:
            maps = maps.masked_fill(hidden[:, None], 0.0)  # nothing is below 0 behind a ReLU
        return maps.amax(2)


def _values(x: Steps) -> Tensor:
    return x.values if isinstance(x, Sequences) else x
