"""Training data as whole arrays, for sides that take them; needs numpy alone."""

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]
MEAN, DEVIATION = 0.1307, 0.3081
"""MNIST's mean and standard deviation of grey levels from 0 to 1, as tutorials write them."""
HELD_OUT = 6000
"""Training pictures that are held out where a training stops at an accuracy: the last of a fixed shuffle."""


def scaled(images: np.ndarray) -> np.ndarray:
    """Grey levels 0 to 255 as floats of mean 0 and deviation 1."""
    return (images.astype(np.float32) / np.float32(255) - np.float32(MEAN)) / np.float32(DEVIATION)


def held_out(images: np.ndarray, labels: np.ndarray, until: float) -> tuple[Arrays, Arrays]:
    """Training and held-out examples: nothing is held out where no accuracy is to be reached."""
    if not until:
        return (images, labels), (images[:0], labels[:0])
    order = np.random.default_rng(0).permutation(len(images))
    kept, held = order[:-HELD_OUT], order[-HELD_OUT:]
    return (images[kept], labels[kept]), (images[held], labels[held])
