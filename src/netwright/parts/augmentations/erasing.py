"""Pictures with a part covered, and pictures mixed of two."""

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from netwright.catalogue import AUGMENTATIONS, Range
from netwright.parts.augmentations.crops import TRIES
from netwright.parts.augmentations.draws import Draws, Images, ordered

Share = Annotated[float, Range(0, 1)]


@AUGMENTATIONS.add(source="DeVries and Taylor 2017, arXiv:1708.04552")
def cutout(
    batch: Images,
    draws: Draws,
    *,
    length: Annotated[int, Range(1, 65_536)] = 8,
    holes: Annotated[int, Range(1, 64)] = 1,
) -> Images:
    """Covers a square with zeros: the training mean where inputs are standardised.

    Formula: y = 0 where abs(i - a) and abs(j - b) lie within length / 2, (a, b) uniform over all pixels

    The square may reach beyond the border, so that all pixels are covered equally often. 16 suits 32x32 pictures.
    """
    height, width = batch.shape[2:]
    middle = (draws.uniform(2 * holes).reshape(-1, holes, 2) * torch.tensor([height, width])).floor()
    first = middle - length // 2
    return batch.masked_fill(_inside(batch, first, first + length).any(1)[:, None], 0.0)


@AUGMENTATIONS.add(source="Zhong et al. 2017, arXiv:1708.04896; 10 tries: torchvision")
def random_erasing(
    batch: Images,
    draws: Draws,
    *,
    probability: Share = 0.5,
    low: Share = 0.02,
    high: Share = 0.4,
    aspect: Annotated[float, Range(0.01, 1)] = 0.3,
    fill: Literal["noise", "zeros"] = "noise",
) -> Images:
    """Covers a box of random area, shape and place with noise, or with zeros.

    Formula: area = u * height * width, u uniform in low..high; height/width = exp(v), v uniform in -r..r with
    r = log(1/aspect); noise ~ N(0, 1) in the unit of the network's input

    A box that does not fit is drawn again, at most 10 times; then the picture stays. Differs: the paper draws the shape
    evenly and the noise in 0..255.
    """
    ordered("random_erasing", low, high)
    height, width = batch.shape[2:]
    area = draws.between(low, high, TRIES, "area") * (height * width)
    shape = draws.between(math.log(aspect), -math.log(aspect), TRIES, "shape").exp()
    sizes = torch.stack([(area * shape).sqrt().round(), (area / shape).sqrt().round()], 2)
    limit = torch.tensor([height, width])
    fits = (sizes < limit).all(2)
    first = fits.long().argmax(1)[:, None, None].expand(-1, 1, 2)
    size = sizes.gather(1, first)
    top = (draws.uniform(2, "place")[:, None] * (limit - size + 1)).floor()
    chosen = fits.any(1) & (draws.uniform(1, "chosen")[:, 0] < probability)
    covered = _inside(batch, top, top + size).any(1)[:, None] & chosen.to(batch.device)[:, None, None, None]
    if fill == "zeros":
        return batch.masked_fill(covered, 0.0)
    count = batch[0].numel() if len(batch) else 1
    return torch.where(covered, draws.normal(count).reshape(batch.shape).to(batch), batch)


@AUGMENTATIONS.add(mixes=True, source="Zhang, Cisse, Dauphin, Lopez-Paz 2017, arXiv:1710.09412")
def mixup(
    batch: Images, partners: Images, draws: Draws, *, alpha: Annotated[float, Range(0.001, 1000)] = 0.2
) -> tuple[Images, Float[Tensor, "batch"]]:
    """Mixes each picture with another one; the loss counts both targets by their shares.

    Formula: y = s x + (1 - s) x', loss = s l(target) + (1 - s) l(target'), s ~ Beta(alpha, alpha)

    The other picture x' is drawn from all training examples and changed as itself; it and s are pure functions of
    (seed, epoch, example). Differs: the paper draws one s for each batch and x' from the batch.
    """
    share = _beta(draws, alpha).to(batch)
    return batch * share[:, None, None, None] + partners * (1 - share)[:, None, None, None], share


@AUGMENTATIONS.add(mixes=True, source="Yun et al. 2019, arXiv:1905.04899")
def cutmix(
    batch: Images, partners: Images, draws: Draws, *, alpha: Annotated[float, Range(0.001, 1000)] = 1.0
) -> tuple[Images, Float[Tensor, "batch"]]:
    """Pastes a box of another picture into each; the loss counts both targets by their areas.

    Formula: y = x' inside of a box of height and width sqrt(1 - s) of the picture, x elsewhere; the share of the own
    target is the area left; s ~ Beta(alpha, alpha), the middle of the box uniform, the box cut at the border

    The other picture x', s and the box are pure functions of (seed, epoch, example). Differs: the paper draws one s and
    one box for each batch and x' from the batch.
    """
    limit = torch.tensor(batch.shape[2:])
    size = ((1 - _beta(draws, alpha)).sqrt()[:, None] * limit).floor()
    middle = (draws.uniform(2, "place") * limit).floor()
    low = (middle - (size / 2).floor())[:, None]
    inside = _inside(batch, low, low + size[:, None])[:, 0]
    covered = inside.flatten(1).sum(1).to(batch.dtype) / max(1, inside[0].numel() if len(inside) else 1)
    return torch.where(inside[:, None], partners, batch), 1 - covered


def _beta(draws: Draws, alpha: float) -> Float64[Tensor, "batch"]:
    """Numbers of the distribution Beta(alpha, alpha), by its inverse: a function of one uniform number each."""
    from scipy.special import betaincinv

    return torch.from_numpy(betaincinv(alpha, alpha, draws.uniform(1, "share")[:, 0].numpy())).clamp(0, 1)


def _inside(batch: Images, low: Tensor, high: Tensor) -> Tensor:
    """Which pixels lie in which box: (batch, boxes, height, width) for ends (batch, boxes, 2), the upper excluded."""
    low, high = low.to(batch.device), high.to(batch.device)
    found = []
    for axis in (0, 1):
        places = torch.arange(batch.shape[2 + axis], device=batch.device)
        found.append((places >= low[:, :, axis, None]) & (places < high[:, :, axis, None]))
    return found[0][:, :, :, None] & found[1][:, :, None]
