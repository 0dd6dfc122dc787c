"""Several looks at one picture when a trained network answers: mirrored, shifted, or ten crops of a larger one."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from netwright.parts.augmentations.crops import ten_crop
from netwright.parts.augmentations.draws import Images

SHARES: dict[str, tuple[float, ...]] = {
    "one": (1.0,),
    "flip": (0.5, 0.5),
    "flip_shift": (0.25, 0.25, 0.125, 0.125, 0.125, 0.125),
    "ten_crops": (0.1,) * 10,
}
"""How much each look counts in the mean."""


@dataclass(frozen=True)
class Views:
    """The looks at a picture whose answers are averaged.

    `one`: the picture; `flip`: and its mirror image; `flip_shift`: half by these two, half by both shifted one pixel up
    and left and one pixel down and right (the border mirrored in); `ten_crops`: as `ten_crop`, of that `size`.
    """

    name: str = "one"
    size: int = 0

    @property
    def shares(self) -> tuple[float, ...]:
        """How much each look counts; they add up to 1."""
        return SHARES[self.name]

    @property
    def whole(self) -> bool:
        """Whether the looks are cut out of whole pictures, not out of what the network reads."""
        return self.name == "ten_crops"

    def __call__(self, batch: Images) -> Float[Tensor, "batch views channels high wide"]:
        """All looks at each picture."""
        if self.name == "ten_crops":
            return ten_crop(batch, self.size)
        looks = [batch]
        if self.name == "flip_shift":
            height, width = batch.shape[2:]
            around = F.pad(batch, (1, 1, 1, 1), mode="reflect")
            looks += [around[:, :, :height, :width], around[:, :, 2:, 2:]]
        mirrored = [look.flip(3) for look in looks] if self.name != "one" else []
        if mirrored:
            looks = [look for pair in zip(looks, mirrored, strict=True) for look in pair]
        return torch.stack(looks, 1)


ONE = Views()
"""The picture as it is."""
