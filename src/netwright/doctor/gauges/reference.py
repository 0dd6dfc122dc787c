"""What simple learners reach with a subject's own examples, in the form `gauges.control` wants them."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from netwright.doctor.gauges.control import Control, control
from netwright.doctor.subject import Pair, Subject
from netwright.doctor.suspicion import Unmeasured
from netwright.doctor.task import first_tensor, flat_targets

MOST = 5000
WILD = 30.0


def reference(subject: Subject, seconds: float, seed: int = 0) -> Control:
    """The control of a subject: learners on its training examples, judged on its validation examples if it has some."""
    if not subject.task.is_judged:
        raise Unmeasured
    first = subject.batches[0]
    if subject.task.kind == "numbers" and _copies(first):
        raise Unmeasured  # what is to be given back is what was given: the simplest learner copies it
    x, y = arrays(subject, subject.sample(MOST))
    if subject.task.kind == "numbers":
        usual = ~wild(y)
        x, y = x[usual], y[usual]
    held = arrays(subject, subject.validation) if subject.validation else (None, None)
    if held[0] is not None and held[0].shape[1:] != x.shape[1:]:
        held = (None, None)
    return control(x, y, kind=subject.task.kind, x_validation=held[0], y_validation=held[1], seconds=seconds, seed=seed)


def wild(y: np.ndarray) -> Bool[np.ndarray, "examples"]:
    """The targets so far from the median that a learner of squared errors would see nothing else.

    Formula: |y - median| > 30 * 1.4826 median |y - median|, in any column
    """
    rows = y.reshape(len(y), -1).astype(np.float64)
    away = np.abs(rows - np.median(rows, axis=0))
    usual = 1.4826 * np.median(away, axis=0)
    return np.asarray(((away > WILD * usual) & (usual > 0)).any(1))


def _copies(pair: Pair) -> bool:
    """Whether the targets are the inputs, as those of an autoencoder are."""
    given, wanted = _plain(pair.inputs[0]), flat_targets(pair.targets)
    if given is None or given.numel() != wanted.numel() or not wanted.is_floating_point():
        return False
    return bool(torch.equal(given.reshape(-1).to(wanted.dtype), wanted.reshape(-1)))


def arrays(subject: Subject, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and truth as arrays; several inputs side by side, tokens padded to one length."""
    rows = [[_plain(part) for part in pair.inputs] for pair in pairs]
    truth = torch.cat([subject.task.truth(pair.targets) for pair in pairs]).cpu().numpy()
    if not rows[0] or any(part is None for row in rows for part in row):
        raise Unmeasured
    joined = [row[0] if len(row) == 1 else torch.cat([part.flatten(1).float() for part in row], 1) for row in rows]  # type: ignore[union-attr]
    inputs = _stacked(joined)  # type: ignore[arg-type]
    if len(inputs) != len(truth):
        raise Unmeasured  # several answers an example: no table of features belongs to them
    return inputs.cpu().numpy(), truth


def _plain(part: object) -> Tensor | None:
    try:
        found = first_tensor(part)
    except (TypeError, IndexError, KeyError):
        return None
    return found.detach() if isinstance(found, Tensor) and found.dim() >= 1 else None


def _stacked(parts: list[Tensor]) -> Tensor:
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) > 1:
        if any(part.dim() < 2 or part.shape[2:] != parts[0].shape[2:] for part in parts):
            raise Unmeasured
        longest = max(part.shape[1] for part in parts)
        parts = [
            torch.nn.functional.pad(part, [0, 0] * (part.dim() - 2) + [0, longest - part.shape[1]]) for part in parts
        ]
    found = torch.cat(parts)
    return found[:, None] if found.dim() == 1 else found
