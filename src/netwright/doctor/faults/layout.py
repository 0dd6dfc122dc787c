"""The layout of pictures as a convolution reads them (A4)."""

from typing import Annotated

from torch import Tensor

from netwright.catalogue import FAULTS, Range
from netwright.doctor.changes.data import advice, laid_out, runs_with
from netwright.doctor.chart import Chart
from netwright.doctor.faults.inputs import strength_of
from netwright.doctor.faults.labels import once
from netwright.doctor.gauges.layouts import layout
from netwright.doctor.subject import Change, possible
from netwright.doctor.suspicion import Suspicion
from netwright.doctor.trial import branch
from netwright.language import say


def worth(chart: Chart, change: Change) -> tuple[float, float]:
    """The skill of a branch as the training is, and of one with a change."""

    def make() -> tuple[float, float]:
        spare = 0.15 * max(1.0, chart.clock.left) / max(1e-6, chart.whole.per_step)
        steps = min(chart.whole.steps, max(30, round(spare)))
        before, after = (branch(chart.subject, changes, steps, sigmoid=chart.sigmoid) for changes in ([], [change]))
        return before.skill, after.skill

    return once(chart, change.name, make)


@FAULTS.add("A4", title="scrambled picture layout", source="doctor catalogue A4", demo='''
import torch
from netwright.doctor.gauges.layouts import layout
from sklearn.datasets import load_sample_image
picture = torch.tensor(load_sample_image("china.jpg").copy()).float() / 255
tiles = torch.stack([picture[i : i + 32, i : i + 32] for i in range(0, 320, 10)])  # N H W C
for name, x in (("permute", tiles.permute(0, 3, 1, 2)), ("reshape", tiles.reshape(-1, 3, 32, 32))):
    found = layout(x.numpy())
    print(name, "roughness", round(found.given, 3), "best", round(found.best, 3), "as", found.best_layout)
''')  # fmt: skip
def scrambled_layout(
    chart: Chart, *, ratio: Annotated[float, Range(1)] = 1.3, sure: Annotated[float, Range(1)] = 2.0
) -> Suspicion | None:
    """A convolution that reads height as channels, or pixels in the wrong order, finds no shapes.

    Pictures lie in memory as height, width, channels; torch's convolutions read channels, height, width. `permute`
    moves the axes. `reshape` or `view` only cuts the same row of numbers into other pieces: the shape is right, the
    picture is not.

    It shows in how rough the pictures are: the mean difference of neighbouring pixels, as a share of that of two
    random ones. In the right layout neighbours are alike. Where another layout of the same numbers is smoother by a
    third, the given one is suspect; where it is twice as smooth, the given one is wrong.

    A weak network shows the same poor score, but not the roughness. Networks without convolutions read pixels in any
    order equally well.

    Use `x.permute(0, 3, 1, 2)` where the channels come last, and look at a picture as the network gets it.
    """
    op = next((op for op in chart.ops if op.name in ("conv2d", "conv_transpose2d")), None)
    read = op.inputs[0] if op is not None and op.inputs else None
    if op is None or not isinstance(read, Tensor) or read.dim() != 4 or not read.is_floating_point():
        return None
    found = layout(read.detach().cpu().numpy())
    if found is None or found.best_layout == "given":
        return None
    odd = found.last_axis_is_channels and found.best_layout in ("N H W C", "memory N C H W")
    if found.ratio < (1 + (ratio - 1) / 3 if odd else ratio):
        return None
    evidence = {"roughness": found.given, "best": found.best, "layout": found.best_layout, "ratio": found.ratio,
                "threshold": ratio}  # fmt: skip
    change = laid_out(chart.subject, op, found.best_layout)
    if change is not None and not runs_with(chart.subject, change):
        change = advice(change.name, change.why, change.patch["code"])
    clear = found.ratio >= sure
    if not clear and change is not None and change.apply is not None:
        before, after = worth(chart, change)
        evidence |= {"skill_as_given": before, "skill_in_that_layout": after}
        clear = after - before > 0.05 and 1 - after < 0.7 * (1 - before)
    if not clear and change is not None and change.apply is not None:
        before, after = worth(chart, change)
        evidence |= {"skill_as_given": before, "skill_in_that_layout": after}
        clear = after - before > 0.05 and 1 - after < 0.7 * (1 - before)
    return Suspicion(
        "A4", say("scrambled picture layout"), op.where, evidence, strength_of(found.ratio / ratio, 0.6, 0.8),
        exact=clear,
        harm=say("the convolution reads pixels as neighbours that are none") if clear else "", changes=possible(change),
    )  # fmt: skip
