"""What every network in the catalogue keeps to, for every kind of input it says it takes."""

import pytest
import torch

from netwright.catalogue import LOSSES, NETWORKS
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy

INPUTS = {
    "image": {"kind": "image", "channels": 1, "height": 28, "width": 28},
    "vector": {"kind": "vector", "features": 12},
    "sequence": {"kind": "sequence", "steps": 9, "features": 5},
}
SHAPES = {"image": (1, 28, 28), "vector": (12,), "sequence": (9, 5)}
NEEDED = {
    "stack": {
        "image": "conv 4 3, batchnorm, relu, linear out",
        "vector": "linear out",
        "sequence": "gru 4, last, linear out",
    }
}
CASES = [(name, kind) for name, part in NETWORKS.items() for kind in part.facts["inputs"]]


def build(name, kind, outputs=None):
    given = {"layers": NEEDED["stack"][kind]} if name == "stack" else {}
    outputs = outputs or {"kind": "class", "count": NETWORKS[name].facts.get("classes", 5)}
    torch.manual_seed(0)
    return NETWORKS[name](INPUTS[kind], outputs, **given)


def batch(kind, rows=6):
    return torch.randn(rows, *SHAPES[kind], generator=torch.Generator().manual_seed(1))


def columns(name):
    return 1 if NETWORKS[name].facts.get("classes") == 2 else 5


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_gives_one_row_of_units_an_example(name, kind):
    outputs = build(name, kind).eval()(batch(kind))
    assert outputs.shape == (6, columns(name))
    assert outputs.dtype == torch.float32


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_gives_logits_not_probabilities(name, kind):
    # positive scores that sum to 1 would mean that the loss's own softmax is applied twice
    outputs = build(name, kind).eval()(3 * batch(kind))
    probabilities = bool((outputs >= 0).all()) and torch.allclose(outputs.sum(1), torch.ones(6), atol=1e-3)
    assert not probabilities


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_one_step_changes_every_weight(name, kind):
    net = build(name, kind).train()
    loss = LOSSES[NETWORKS[name].facts.get("loss", "cross_entropy")]
    target = torch.tensor([0, 1, 1, 0, 1, 1]) if columns(name) == 1 else torch.tensor([0, 1, 2, 3, 4, 0])
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loss(net(batch(kind)), target).mean().backward()
    optimizer.step()
    assert [key for key, value in net.named_parameters() if torch.equal(value, before[key])] == []


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_weights_travel_by_name(name, kind):
    first, second = build(name, kind).eval(), build(name, kind).eval()
    with torch.no_grad():
        for weight in second.parameters():
            weight.add_(1)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(batch(kind)), second(batch(kind)))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_an_example_is_answered_alike_in_any_batch(name, kind):
    net, x = build(name, kind).eval(), batch(kind)
    alone = torch.cat([net(x[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(net(x), alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net(x.flip(0)).flip(0), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_seed_alone_decides_the_first_weights(name, kind):
    first, second = build(name, kind), build(name, kind)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_rows_of_the_anatomy_add_up(name, kind):
    net = build(name, kind)
    found = anatomy(net, INPUTS[kind], name)
    assert (
        found.parameters == sum(p.numel() for p in net.parameters()) == sum(layer.parameters for layer in found.layers)
    )
    assert found.output == [columns(name)]
    assert found.neurons > 0
    with torch.device("meta"):
        weightless = build(name, kind)
    assert anatomy(weightless, INPUTS[kind], name) == found


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_numbers_are_answered_or_refused(name, kind):
    wanted = {"kind": "number", "count": 3}
    if name in ("perceptron", "logistic", "softmax"):
        with pytest.raises(UsageError, match="numbers"):
            build(name, kind, wanted)
    else:
        assert build(name, kind, wanted).eval()(batch(kind)).shape == (6, 3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name, part in NETWORKS.items() for kind in INPUTS if kind not in part.facts["inputs"]],
)
def test_other_inputs_are_refused_with_their_numbers(name, kind):
    with pytest.raises(UsageError, match=r"12|9 steps"):
        build(name, kind)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_card_is_complete(name):
    part = NETWORKS[name]
    assert part.facts["source"]
    assert part.formula
    assert part.summary.endswith(".")
    assert part.check(part.defaults()) == part.defaults()
    assert part.card()["settings"].keys() == part.settings.keys()
    assert set(part.facts["inputs"]) <= set(INPUTS)
