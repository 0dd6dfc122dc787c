"""Linear layers as convolutions and back: equal on the training size, a map of scores on larger pictures."""

import pytest
import torch
from torch import nn

from netwright.catalogue import NETWORKS
from netwright.errors import UsageError
from netwright.networks.fully_convolutional import to_fully_connected, to_fully_convolutional

TEN = {"kind": "class", "count": 10}


def picture(c, n):
    return {"kind": "image", "channels": c, "height": n, "width": n}


def build(name, c, n, **given):
    torch.manual_seed(0)
    return NETWORKS[name](picture(c, n), TEN, **given)


CASES = [
    ("convnet", 1, 28, {}),
    ("lenet5_modern", 1, 32, {"pooling": "avgpool"}),
    ("mlp", 1, 12, {"hidden": [30, 20]}),
    ("softmax", 3, 8, {}),
    ("stack", 3, 16, {"layers": "conv 6 3, relu, maxpool 2, linear 20, batchnorm, tanh, dropout 0.3, linear out"}),
    ("stack", 3, 16, {"layers": "conv 6 3 stride=2, relu, globalpool, linear out"}),
    ("stack", 3, 16, {"layers": "conv 6 3, globalpool kind=max, linear 8, relu, linear out"}),
    ("stack", 3, 16, {"layers": "conv 6 5, adaptivepool 4, linear out"}),
    ("stack", 3, 16, {"layers": "conv 6 5, adaptivepool 12, linear out"}),
    ("resnet18", 3, 32, {"width": 0.125}),
]


@pytest.mark.parametrize(("name", "c", "n", "given"), CASES)
def test_equal_on_the_training_size_and_a_map_on_larger_pictures(name, c, n, given):
    net = build(name, c, n, **given)
    for module in net.modules():  # statistics other than 0 and 1
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    net.eval()
    made = to_fully_convolutional(net, (c, n, n))
    x = torch.randn(3, c, n, n)
    with torch.no_grad():
        assert made(x).shape == (3, 10, 1, 1)
        torch.testing.assert_close(made(x).flatten(1), net(x), rtol=1e-4, atol=1e-5)
        large = torch.randn(1, c, n + 64, n + 32)
        scores = made(large)
        assert scores.shape[2] > scores.shape[3] > 1
    assert not any(isinstance(module, nn.Linear) for module in made.modules())
    assert sum(p.numel() for p in made.parameters()) == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(("name", "c", "n", "given"), CASES[:4])
def test_and_back(name, c, n, given):
    net = build(name, c, n, **given).eval()
    made = to_fully_connected(to_fully_convolutional(net, (c, n, n)), (c, n, n))
    x = torch.randn(2, c, n, n)
    torch.testing.assert_close(made(x).flatten(1), net(x), rtol=1e-4, atol=1e-5)
    kinds = [type(module).__name__ for module in net.modules() if isinstance(module, nn.Linear)]
    assert len([module for module in made.modules() if isinstance(module, nn.Linear)]) == len(kinds)


def test_each_score_is_the_networks_answer_to_its_window():
    """Without padding and with whole strides the map at (i, j) is the network on the window that begins there."""
    net = build("stack", 1, 12, layers="conv 4 5, relu, maxpool 2, linear 9, relu, linear out").eval()
    made, x = to_fully_convolutional(net, (1, 12, 12)), torch.randn(1, 1, 20, 16)
    scores = made(x)
    assert scores.shape[2:] == (5, 3)
    for i in range(5):
        for j in range(3):
            window = x[:, :, 2 * i : 2 * i + 12, 2 * j : 2 * j + 12]
            torch.testing.assert_close(scores[:, :, i, j], net(window), rtol=1e-4, atol=1e-5)


def test_the_original_stays_as_it_was():
    net = build("convnet", 1, 28).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    made = to_fully_convolutional(net, (1, 28, 28))
    assert net.training
    assert made.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    with torch.no_grad():
        next(made.parameters()).zero_()
    assert torch.equal(next(net.parameters()), next(iter(before.values())))


class FlattensItself(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 2, 3), nn.Linear(72, 10)

    def forward(self, x):
        return self.out(self.conv(x).flatten(1))


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        (FlattensItself(), (1, 8, 8), "takes vectors only"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.LayerNorm(8)), (1, 8, 8), "takes vectors only"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 8)), (1, 8, 8), "a norm stands between"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9, 2)), (1, 8, 8), "unequal windows"),
        (nn.Sequential(nn.Flatten(), nn.Linear(10, 2)), (1, 8, 8), r"cannot take \(1, 8, 8\)"),
        (nn.Linear(4, 2), (4,), "put it into nn.Sequential"),
    ],
)
def test_what_has_no_such_form_is_refused(model, shape, words):
    with pytest.raises(UsageError, match=words):
        to_fully_convolutional(model, shape)
