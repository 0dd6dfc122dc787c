"""The convolutional network of the notes, with the settings that remedies need; the recurrent one is `lstm`.

Left alone, `convnet` on 1x28x28 images has 28,938 parameters under the notes' own state-dict keys: conv1.0, conv2.0,
out.
"""

from typing import Annotated

from jaxtyping import Float
from torch import Tensor, nn

from netwright.catalogue import NETWORKS, Range
from netwright.language import say
from netwright.networks.settings import Share
from netwright.networks.shapes import Ends, maps, units
from netwright.parts.activations import activation as fresh
from netwright.parts.initializers import initialise
from netwright.parts.norms import norm as fresh_norm


@NETWORKS.add(
    source="the notes' CNN in PyTorch; after LeCun et al. 1998",
    inputs=("image",),
    year=1998,
    stage="beginnings",
    parents=("lenet5",),
    at=(1, 28, 28),
    classes_at=10,
    params=28_938,
    macs=2_838_080,
    bfloat16="MNIST, 3 epochs: test accuracy 99.21 % in bfloat16, 99.23 % in float32 (mean of 4 seeds)",
)
def convnet(
    inputs: Ends,
    outputs: Ends,
    *,
    width: Annotated[float, Range(0.01, 64)] = 1.0,
    activation: str = "relu",
    norm: str = "none",
    dropout: Share = 0.0,
    init: str = "torch",
) -> nn.Module:
    """Two 5x5 convolutions with pooling and one linear layer: the notes' digit classifier.

    Formula: (1, 28, 28) conv 16 5x5 pad 2, ReLU, max 2 (16, 14, 14) conv 32 5x5 pad 2, ReLU, max 2 (32, 7, 7) linear 10

    28,938 parameters and 2,838,080 multiply-adds on 28x28; any image from 4x4 on works. `width` multiplies the
    channels, `norm` stands behind each convolution, `dropout` before the linear layer.
    """
    shape = maps("convnet", inputs, 4, say("two poolings halve it twice"))
    net = ConvNet(shape, units(outputs), max(1, round(16 * width)), activation, norm, dropout)
    initialise(net, init, activation)
    return net


class ConvNet(nn.Module):
    """Stages `conv1` and `conv2`, then `out`."""

    def __init__(
        self, shape: tuple[int, ...], count: int, channels: int, activation: str, norm: str, dropout: float
    ) -> None:
        super().__init__()
        depth, height, width = shape
        self.conv1 = self._stage((depth, height, width), channels, activation, norm)
        self.conv2 = self._stage((channels, height // 2, width // 2), 2 * channels, activation, norm)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.out = nn.Linear(2 * channels * (height // 4) * (width // 4), count)

    @staticmethod
    def _stage(shape: tuple[int, int, int], channels: int, activation: str, norm: str) -> nn.Sequential:
        layers: list[nn.Module] = [nn.Conv2d(shape[0], channels, kernel_size=5, stride=1, padding=2)]
        if norm != "none":
            layers.append(fresh_norm(norm, (channels, *shape[1:]), "network.norm"))
        return nn.Sequential(*layers, fresh(activation, "network.activation"), nn.MaxPool2d(2))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch units"]:
        x = self.conv1(x)
        x = self.conv2(x)
        out: Tensor = self.out(self.dropout(self.flatten(x)))
        return out
