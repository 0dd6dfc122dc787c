"""Shapes found without torch's own shape functions, against those functions."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.measures.anatomy.blueprint import Blank


def empty(*shape):
    return torch.empty(shape, device="meta")


X, W = empty(2, 6, 11, 13), empty(4, 3, 3, 5)
CASES = {
    "conv": lambda: F.conv2d(X, W, empty(4), (2, 1), (1, 2), (1, 2), 2),
    "same": lambda: F.conv2d(X, empty(4, 6, 3, 3), padding="same"),
    "transposed": lambda: F.conv_transpose2d(X, empty(6, 2, 4, 3), None, (2, 3), (1, 0), (1, 2), 3, (1, 2)),
    "conv1d": lambda: F.conv1d(empty(2, 3, 9), empty(5, 3, 4), stride=2),
    "maxpool": lambda: F.max_pool2d(X, 3, 2, 1, return_indices=True),
    "maxpool up": lambda: F.max_pool2d(X, 3, 2, 1, ceil_mode=True),
    "maxpool dilated": lambda: F.max_pool2d(X, (2, 3), (1, 2), 0, 2),
    "avgpool": lambda: F.avg_pool2d(X, 3, 2, 1),
    "avgpool up": lambda: F.avg_pool2d(X, (3, 2), 2, (1, 0), ceil_mode=True),
    "adaptive": lambda: F.adaptive_avg_pool2d(X, (3, 5)),
    "whole": lambda: F.adaptive_avg_pool2d(X, 1),
    "batchnorm": lambda: F.batch_norm(X, empty(6), empty(6), empty(6), empty(6), training=True),
    "batchnorm in use": lambda: F.batch_norm(X, empty(6), empty(6), empty(6), empty(6)),
    "layernorm": lambda: F.layer_norm(X, (11, 13), empty(11, 13), empty(11, 13)),
    "linear": lambda: F.linear(empty(3, 5), empty(7, 5), empty(7)),
    "linear of steps": lambda: F.linear(empty(3, 4, 5), empty(7, 5)),
    "cat": lambda: torch.cat([X, empty(2, 1, 11, 13)], 1),
    "cat from behind": lambda: torch.cat([X, empty(2, 6, 11, 2)], -1),
    "sum": lambda: X + empty(6, 1, 13),
    "widened": lambda: empty(4, 1) * empty(3),
    "number": lambda: X * 2 + 1,
    "mean": lambda: X.mean((2, 3)),
    "mean kept": lambda: X.mean(-1, keepdim=True),
    "total": lambda: X.sum((0, 1)),
    "pad": lambda: F.pad(X, (1, -2, 3, 0, 0, 1)),
    "dropout": lambda: F.dropout(X, 0.5, training=True),
    "bilinear": lambda: F.interpolate(X, scale_factor=2, mode="bilinear"),
    "nearest": lambda: F.interpolate(X, size=(5, 40)),
    "softmax": lambda: F.softmax(X, 1),
    "activations": lambda: F.hardswish(F.silu(F.gelu(F.elu(F.leaky_relu(torch.tanh(torch.sigmoid(F.relu(X)))))))),
    "written": lambda: F.relu(empty(3, 4), inplace=True).add_(1).mul_(empty(3, 4)),
}


@pytest.mark.parametrize("case", CASES)
def test_shapes_and_number_types_equal_torchs(case):
    wanted = CASES[case]()
    with Blank():
        found = CASES[case]()
    for one, two in zip(*((x if isinstance(x, tuple) else (x,)) for x in (found, wanted)), strict=True):
        assert (one.shape, one.dtype, one.device) == (two.shape, two.dtype, two.device)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: F.conv2d(X, empty(4, 5, 3, 3)),
        lambda: F.conv2d(empty(1, 6, 2, 2), empty(4, 6, 3, 3)),
        lambda: F.linear(empty(3, 5), empty(7, 4), empty(7)),
        lambda: X + empty(2, 5, 11, 13),
        lambda: torch.cat([X, empty(2, 6, 10, 13)], 1),
        lambda: F.max_pool2d(X, 14),
        lambda: F.batch_norm(X, empty(5), empty(5)),
        lambda: F.layer_norm(X, (13, 11)),
    ],
)
def test_what_torch_refuses_is_refused(wrong):
    with pytest.raises(RuntimeError), Blank():
        wrong()


def test_initializers_leave_weights_without_numbers():
    with torch.device("meta"), Blank():
        layer = nn.Conv2d(3, 8, 3)
        nn.init.normal_(layer.weight)
        nn.init.trunc_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    assert layer.weight.is_meta
    assert layer.weight.shape == (8, 3, 3, 3)


def test_measuring_a_network_does_not_import_torchs_compiler():
    code = (
        "import sys, netwright as nw\n"
        "found = nw.anatomy('convnet', inputs=(1, 28, 28), outputs=10, norm='batchnorm', dropout=0.5)\n"
        "print(found.parameters, 'torch._dynamo' in sys.modules, 'sympy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["29034", "False", "False"]
