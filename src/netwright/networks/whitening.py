"""A first layer that is worked out from training examples instead of learnt: patches leave it without correlations."""

from math import prod

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from netwright.networks.blocks import Maps

CHUNK = 128
"""Examples whose patches are taken at once."""


class Whitening(nn.Conv2d):
    """A convolution whose fixed kernels whiten the patches of its input; only its bias is learnt.

    Formula: w_i = e_i / sqrt(l_i + eps) and b_i = -w_i . mean, l_i and e_i the eigenvalues (largest first) and
    eigenvectors of the covariance of all patches of the training sample; then the same kernels with the other sign

    On those patches the outputs have mean 0 and the covariance diag(l_i / (l_i + eps)): the identity for eps = 0. There
    are 2 * channels * window outputs. `begin_from` is called once before the first step (`training.preparing`); until
    then the kernels pick single pixels, as if the patches were white already. The weights travel like all others;
    `examples` says how many examples they come from, and a layer that has seen some is left alone.
    """

    from_data = True

    def __init__(self, channels: int, size: tuple[int, int], *, eps: float = 5e-4, bias: bool = True) -> None:
        count = channels * prod(size)
        super().__init__(channels, 2 * count, size, bias=bias)
        self.eps = eps
        self.weight.requires_grad_(False)
        self.register_buffer("examples", torch.zeros((), dtype=torch.int64))
        self.examples: Tensor
        self._set(torch.eye(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64))

    @property
    def ready(self) -> bool:
        """Whether the kernels come from examples."""
        return self.examples.is_meta or bool(self.examples)

    @torch.no_grad()
    def begin_from(self, inputs: Maps) -> None:
        """Work the kernels out from maps that reach this layer; what is not finite in them does not count."""
        mean, covariance = patch_statistics(inputs, self.kernel_size[0], self.kernel_size[1])
        if not bool(covariance.isfinite().all()):
            return
        values, vectors = torch.linalg.eigh(covariance)
        values, rows = values.flip(0).clamp(min=0), vectors.flip(1).T
        largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
        rows = rows * torch.where(largest < 0, -1.0, 1.0)  # one of two signs, the same on every machine
        flat = values <= torch.finfo(torch.float32).eps * values[0]  # nothing varies there but rounding
        kernels = rows * torch.where(flat, 0.0, (values + self.eps).rsqrt())[:, None]
        self._set(kernels, -kernels @ mean)
        self.examples.fill_(len(inputs))

    @torch.no_grad()
    def _set(self, kernels: Float64[Tensor, "half window"], shift: Float64[Tensor, "half"]) -> None:
        """Both signs of the kernels and their biases."""
        self.weight.copy_(torch.cat([kernels, -kernels]).view_as(self.weight))
        if self.bias is not None:
            self.bias.copy_(torch.cat([shift, -shift]))


def patch_statistics(
    inputs: Maps, high: int, wide: int
) -> tuple[Float64[Tensor, "window"], Float64[Tensor, "window window"]]:
    """Mean and covariance (divided by the number of patches) of all `high` x `wide` patches, every channel in one row.

    In float64 and on the CPU, an example at a time in order, so that the numbers depend on the examples alone. Examples
    with numbers that are not finite are left out; NaN where none is left.
    """
    count, width = 0, inputs.shape[1] * high * wide
    total, product = torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64)
    for part in inputs.split(CHUNK):
        known = part[part.flatten(1).isfinite().all(1)].to("cpu", torch.float64)
        patches = known.unfold(2, high, 1).unfold(3, wide, 1)  # (batch, channels, rows, columns, high, wide)
        flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, width)
        count, total, product = count + len(flat), total + flat.sum(0), product + flat.T @ flat
    if not count:
        return total + torch.nan, product + torch.nan
    mean = total / count
    return mean, product / count - torch.outer(mean, mean)
