"""The graph of a network: in order, equal to the network in eager mode and to the compiled one."""

import json
import random

import pytest
import torch
from torch import nn

import netwright as nw
from netwright.errors import UsageError
from netwright.measures.graph import Graph, GraphNode, exported, graph

MNIST = {"inputs": (1, 28, 28), "outputs": 10}
STACK = (
    "conv 4 3 pad=same, batchnorm, residual(conv 4 3 pad=same, relu), "
    "parallel(conv 2 1 | maxpool 3 stride=1 pad=same), linear out"
)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nw.network("stack", layers=STACK, **MNIST).eval()


def test_nodes_stand_in_topological_order(net):
    found = graph(net, (1, 28, 28), "mine")
    assert found.in_order()
    seen = set()
    for node in found.nodes:
        assert seen.issuperset(node.inputs)
        seen.add(node.name)
    ops = [node.op for node in found.nodes]
    assert ops.count("conv2d") == 3
    assert ops[-1] == "output"
    assert {"input", "weight", "buffer"} <= set(ops)
    sums = [node for node in found.nodes if node.op.startswith("add")]
    assert len(sums) == 1
    assert (len(sums[0].inputs), sums[0].shape) == (2, [1, 4, 28, 28])
    assert {name for name, _ in net.named_parameters()} == {node.name for node in found.nodes if node.op == "weight"}


def test_an_order_that_is_wrong_is_noticed(net):
    nodes = list(graph(net, (1, 28, 28)).nodes)
    random.Random(0).shuffle(nodes)
    assert not Graph("x", [1], nodes).in_order()
    assert not Graph("x", [1], [GraphNode("a", "relu", ["a"], [1])]).in_order()


def test_text_and_json(net):
    found = graph(net, (1, 28, 28), "mine")
    assert json.loads(json.dumps(found.to_json()))["nodes"][0]["op"] == "input"
    lines = str(found).split("\n")
    assert lines[0] == f"mine: {len(found.nodes)} nodes, each after those that it reads"
    assert len(lines) == len(found.nodes) + 3


def test_traced_and_compiled_results_equal_eager_ones(net):
    x = torch.rand(1, 1, 28, 28)
    with torch.no_grad():
        eager = net(x)
        traced = exported(net, (1, 28, 28), "mine").module()(x)
        compiled = torch.compile(net, backend="aot_eager", fullgraph=True)(x)
    assert torch.equal(eager, traced)
    torch.testing.assert_close(compiled, eager, rtol=1e-6, atol=1e-6)


def test_the_network_is_left_as_it_was(net):
    net.train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    graph(net, (1, 28, 28))
    assert all(module.training for module in net.modules())
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    net.eval()


def test_networks_without_memory_and_by_name():
    assert nw.api.graph("lenet5_modern", **MNIST).in_order()


def test_decisions_on_values_cannot_be_traced():
    class Branch(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(UsageError, match="network 'Branch' cannot be traced"):
        graph(Branch(), (3,))
