"""Augmentations: changes of pictures that keep their label, and mixtures that mix it too, whole batches at once.

Every change is a pure function of (seed, epoch, example): an example gets the same one whatever batch it is in, in
whatever order, before and after a resume.
"""

from netwright.parts.augmentations.crops import centre_crop, ten_crop
from netwright.parts.augmentations.draws import Draws, Images, Pixels
from netwright.parts.augmentations.reading import Augment, read_augment
from netwright.parts.augmentations.views import ONE, Views

__all__ = ["ONE", "Augment", "Draws", "Images", "Pixels", "Views", "centre_crop", "read_augment", "ten_crop"]
