"""Bytes counted by hand for small networks, and what torch itself keeps for the backward pass."""

import pytest
import torch
from torch import nn

from netwright.measures.anatomy import anatomy
from netwright.measures.anatomy.memory import Memory


def test_a_chain_holds_two_neighbours_at_once():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.MaxPool2d(2))
    found = anatomy(net, (1, 10, 10))
    image, maps = 100 * 4, 4 * 64 * 4
    pooled = 4 * 16 * 4 + 4 * 16 * 8  # numbers, and the places of the maxima as 8-byte whole numbers
    assert [layer.memory["inference"] for layer in found.layers] == [
        image + maps,
        image + 2 * maps,
        image + maps + pooled,
    ]
    assert found.memory["inference"] == image + 2 * maps
    # the convolution keeps its input, the sigmoid and the pooling the sigmoid's result, the pooling its places
    assert [layer.memory["training"] for layer in found.layers] == [0, maps, 4 * 16 * 8]
    assert found.memory["training"] == image + maps + 4 * 16 * 8


def test_a_skip_keeps_what_it_carries():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(100, 100) for _ in range(3))

        def forward(self, x):
            y = self.a(x)
            return y + self.c(self.b(y))

    one = 100 * 4
    found = anatomy(Skip(), (100,))
    # the input stays alive in the caller: x, a, b, c and the sum
    assert [layer.memory["inference"] for layer in found.layers] == [2 * one, 3 * one, 4 * one, 4 * one]
    plain = anatomy(nn.Sequential(*(nn.Linear(100, 100) for _ in range(3))), (100,))
    assert plain.memory["inference"] == 3 * one


def test_kept_bytes_equal_what_autograd_saves():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(36, 5)
    )
    weights = {p.untyped_storage().data_ptr() for p in (*net.parameters(), *net.buffers())}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        result = net(torch.rand(1, 3, 11, 11))
    wanted = sum(size for place, size in kept.items() if place not in weights)
    assert result.shape == (1, 5)
    assert anatomy(net, (3, 11, 11)).memory["training"] == wanted


def test_frozen_layers_keep_less():
    net = nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 10))
    before = anatomy(net, (50,))
    net[0].requires_grad_(False)
    after = anatomy(net, (50,))
    assert (before.trainable, after.trainable) == (2550 + 510, 510)
    assert [layer.trainable for layer in after.layers] == [0, 0, 510]
    assert before.memory["training"] - after.memory["training"] == 50 * 4  # the input is kept no more


def test_number_types_count_their_bytes():
    net = nn.Linear(10, 10)
    assert anatomy(net.double(), (10,)).memory["inference"] == 2 * anatomy(net.float(), (10,)).memory["inference"]


def test_blocks_die_and_views_are_not_counted_twice():
    memory = Memory()
    x = torch.zeros(10)
    memory.made(x, "x")
    memory.made(x.view(2, 5), "view")
    assert memory.alive == 40
    y = x + 1
    memory.made(y, "y")
    del x
    assert (memory.alive, memory.most) == (40, 80)
    memory.keep(y)
    assert memory.kept_by() == {"y": 40}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_training_costs_of_auxiliary_heads(batch_norm):
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.main, self.aux = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 3)
            self.norm = nn.BatchNorm1d(8) if batch_norm else nn.Identity()

        def forward(self, x):
            x = self.norm(self.body(x))
            return (self.main(x), self.aux(x)) if self.training else self.main(x)

    net = Heads().eval()
    found = anatomy(net, (6,))
    assert (found.macs, found.training_macs) == (48 + 24, 48 + 48)
    assert found.layers[-1].name == "aux"
    assert "MACs in training mode: 96" in str(found)
    assert not net.training
    if batch_norm:
        assert net.norm.num_batches_tracked == 0
