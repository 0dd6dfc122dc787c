"""The report's sections on the network itself: the kernels of its first convolution, the gradient in each layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from netwright.language import say
from netwright.measures.gradients import GradientFlow
from netwright.report import drawing, markup
from netwright.report.markup import finite, named, number, section, text
from netwright.report.tiles import MOST, kernel_grid, patch_rows

LAYERS = 60  # layers in the chart and the table


@dataclass(frozen=True)
class FirstKernels:
    """The kernels of a layer, and for some of them patches (PNG) with their captions."""

    layer: str
    weights: Float[Tensor, "kernels depth high wide"]
    patches: Sequence[tuple[int, Sequence[tuple[bytes, str]]]] = ()


def kernels(found: Any) -> str:
    """The kernels of the first convolution, and the test pictures' patches that each answers most to."""
    if not isinstance(found, FirstKernels):
        return ""
    count = len(found.weights)
    title = say("Kernels of the first convolution")
    told = say("Layer {layer}: {shown} of {count} kernels on one scale, blue below 0, white at 0, red above.",
               layer=found.layer, shown=min(count, MOST), count=count)  # fmt: skip
    if found.weights.shape[1] == 3:
        told = say("Layer {layer}: {shown} of {count} kernels as red, green and blue on one scale; grey is 0.",
                   layer=found.layer, shown=min(count, MOST), count=count)  # fmt: skip
    caption = f'<figcaption class="small">{text(told)}</figcaption>'
    grid = f'<figure class="chart kernels">{kernel_grid(found.weights)}{caption}</figure>'
    rows = ""
    if found.patches:
        told = say("The patches of test pictures with the greatest output of each kernel, strongest first; at most one "
                   "of a picture.")  # fmt: skip
        rows = f'<p class="small">{text(told)}</p>{patch_rows(found.patches)}'
    return section("kernels", text(title), grid, rows)


def gradients(found: Any) -> str:
    """The norm of the gradient in each layer, from the first to the last."""
    if not isinstance(found, GradientFlow) or len(found.layers) < 2:
        return ""
    layers = found.layers
    if len(layers) > LAYERS:
        places = sorted({round(place * (len(layers) - 1) / (LAYERS - 1)) for place in range(LAYERS)})
        layers = [layers[place] for place in places]
    line = drawing.Line(say("gradient norm"), "plain", [(i, one.norm) for i, one in enumerate(layers, 1)])
    title = say("Gradient norm from the first layer to the last")
    chart = drawing.curves(title, [line], say("layer"), say("gradient norm"))
    figure = f'<figure class="chart"><figcaption>{text(title)}</figcaption>{chart}</figure>' if chart else ""
    rows = [[named(one.name, 60), text(one.kind), number(one.norm), number(one.weight_norm)] for one in layers]
    head = [say("layer"), say("kind"), say("gradient norm"), say("weight norm")]
    caption = text(say("Norms over the weights of each layer"))
    table = markup.more(caption, markup.table(caption, map(text, head), rows, (2, 3), quiet=True))
    return section("gradients", text(say("Gradient flow")), figure, _ratio(found), table)


def _ratio(found: GradientFlow) -> str:
    ratio = finite(found.ratio)
    if ratio is None:
        return ""
    told = say("The first layer's gradient is {ratio} times that of the last layer, on {count} training examples with "
               "the finished weights.", ratio=number(ratio), count=found.examples)  # fmt: skip
    return f"<p>{text(told)}</p>"
