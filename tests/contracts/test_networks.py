"""What every network in the catalogue keeps to, for every kind of input it says it takes."""

import pytest
import torch
from thin import DEEP, INPUTS, THOUSAND, batch, build, cases, columns, inputs_of, settings_of

from netwright.catalogue import LOSSES, NETWORKS
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy
from netwright.training.objective import Batch, Draw, supervised

CASES = cases()


def targets(name, rows=6):
    return torch.tensor([0, 1, 1]).repeat(rows // 3) if columns(name) == 1 else torch.arange(rows) % 5


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_gives_one_row_of_logits_an_example(name, kind):
    outputs = build(name, kind).eval()(3 * batch(name, kind))
    assert outputs.shape == (6, columns(name))
    assert outputs.dtype == torch.float32
    # positive scores that sum to 1 would mean that the loss's own softmax is applied twice
    assert not (bool((outputs >= 0).all()) and torch.allclose(outputs.sum(1), torch.ones(6), atol=1e-3))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_one_step_changes_every_weight(name, kind):
    net = build(name, kind, **({"zero_init": False} if name in THOUSAND else {})).train()
    loss = supervised(LOSSES[NETWORKS[name].facts.get("loss", "cross_entropy")])
    before = {key: value.detach().clone() for key, value in net.named_parameters() if value.requires_grad}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    examples = torch.arange(6).numpy()
    loss(net, Batch(batch(name, kind), targets(name), None, examples, 0), Draw(0, 0)).loss.backward()
    optimizer.step()
    dead = [key for key, value in net.named_parameters() if key in before and torch.equal(value, before[key])]
    assert len(dead) <= len(before) // 20, dead  # a ReLU unit may sleep for these six examples


@pytest.mark.parametrize(("name", "kind"), cases(("image",)))
def test_learns_32_examples(name, kind):
    net, x = build(name, kind, **settings_of(name, kind, dropout=False)), batch(name, kind, 32)
    y = torch.arange(32) % (2 if columns(name) == 1 else 5)
    if NETWORKS[name].facts.get("loss") == "perceptron":
        y = (x.flatten(1) @ torch.ones(x[0].numel()) > 0).long()  # it learns what a line parts
    loss = LOSSES[NETWORKS[name].facts.get("loss", "cross_entropy")]
    optimizer = torch.optim.Adam(net.parameters(), lr=NETWORKS[name].facts.get("peak_lr", 4e-3) / 2)
    shares = []
    for _ in range(150):
        outputs = net(x)
        right = (outputs[:, 0] > 0).long() if columns(name) == 1 else outputs.argmax(1)
        shares.append(float((right == y).double().mean()))
        if shares[-1] > 0.9:
            break
        optimizer.zero_grad()
        loss(outputs, y).mean().backward()
        optimizer.step()
    assert shares[-1] > 0.9, shares[-5:]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_weights_travel_by_name_and_the_seed_decides_them(name, kind):
    first, second = build(name, kind).eval(), build(name, kind).eval()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    with torch.no_grad():
        for weight in second.parameters():
            weight.add_(1)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(batch(name, kind)), second(batch(name, kind)))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_an_example_is_answered_alike_in_any_batch(name, kind):
    net, x = build(name, kind).eval(), batch(name, kind)
    with torch.no_grad():
        alone = torch.cat([net(x[i : i + 1]) for i in range(6)])
        torch.testing.assert_close(net(x), alone, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(net(x.flip(0)).flip(0), alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_rows_of_the_anatomy_add_up_and_need_no_memory(name, kind):
    net, inputs = build(name, kind), inputs_of(name, kind)
    found = anatomy(net, inputs, name)
    count = sum(p.numel() for p in net.parameters())
    assert found.parameters == count == sum(layer.parameters for layer in found.layers)
    assert found.output == [columns(name)]
    assert found.neurons > 0
    with torch.device("meta"):
        weightless = build(name, kind)
    without, measured = anatomy(weightless, inputs, name).to_json(), found.to_json()
    if any(layer.kind in ("rnn", "lstm", "gru") for layer in found.layers):
        for row in (without, measured, *without["layers"], *measured["layers"]):
            row.pop("memory")  # without weights the steps are taken one by one, with them by one kernel
    assert without == measured


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_numbers_are_answered_or_refused(name, kind):
    wanted = {"kind": "number", "count": 3}
    if name in ("perceptron", "logistic", "softmax"):
        with pytest.raises(UsageError, match="numbers"):
            build(name, kind, wanted)
    else:
        assert build(name, kind, wanted).eval()(batch(name, kind)).shape == (6, 3)


@pytest.mark.filterwarnings("ignore:The tensor attributes self.rnn._flat_weights")
@pytest.mark.parametrize(("name", "kind"), cases(("image",)))
def test_exports_to_a_graph(name, kind):
    net, x = build(name, kind).eval(), batch(name, kind, 2)
    program = torch.export.export(net, (x,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), net(x))


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name, part in NETWORKS.items() for kind in INPUTS if kind not in part.facts["inputs"]],
)
def test_other_inputs_are_refused_with_their_numbers(name, kind):
    with pytest.raises(UsageError, match=r"12|9 steps"):
        NETWORKS[name](INPUTS[kind], {"kind": "class", "count": 5})


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_card_is_complete(name):
    part = NETWORKS[name]
    assert part.facts["source"]
    assert part.formula
    assert part.summary.endswith(".")
    assert part.check(part.defaults()) == part.defaults()
    assert part.card()["settings"].keys() == part.settings.keys()
    assert set(part.facts["inputs"]) <= set(INPUTS)


def test_deep_networks_exist():
    assert set(NETWORKS) >= DEEP
