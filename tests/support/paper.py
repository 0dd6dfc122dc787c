"""What every test of a paper's network needs: building it without memory, and counting it."""

import torch
from torch import Tensor, nn

from netwright.catalogue import NETWORKS
from netwright.measures.anatomy import Anatomy, anatomy


def ends(shape, count=1000, kind="class"):
    """(inputs, outputs) of a network for pictures of that shape."""
    return dict(zip(("channels", "height", "width"), shape, strict=True)) | {"kind": "image"}, {
        "kind": kind,
        "count": count,
    }


def build(name, shape=(3, 32, 32), count=10, **settings) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name](*ends(shape, count), **settings)


def weightless(name, shape, count=1000, **settings) -> nn.Module:
    with torch.device("meta"):
        return NETWORKS[name](*ends(shape, count), **settings)


def counted(name, shape, count=1000, **settings) -> Anatomy:
    return anatomy(weightless(name, shape, count, **settings), shape, name)


def shapes(name, shape, wanted, count=1000, **settings) -> dict[str, tuple[int, ...]]:
    """The output shapes of the modules in `wanted`, by name."""
    found = {}
    net = weightless(name, shape, count, **settings).eval()

    def note(label):
        return lambda module, given, returned: found.update({label: tuple(returned.shape[1:])})

    for label in wanted:
        net.get_submodule(label).register_forward_hook(note(label))
    net(torch.zeros(1, *shape, device="meta"))
    return found


def pictures(shape, rows=4) -> Tensor:
    return torch.randn(rows, *shape, generator=torch.Generator().manual_seed(1))
