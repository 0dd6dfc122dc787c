"""What every network in the catalogue keeps to, for every kind of input it says it takes."""

import pytest
import torch
from thin import (
    DEEP,
    INPUTS,
    TASKS,
    THOUSAND,
    answer_shape,
    batch,
    build,
    cases,
    columns,
    inputs_of,
    settings_of,
    task_of,
    uneven,
)  # fmt: skip
from torch.utils.flop_counter import FlopCounterMode

from netwright.catalogue import LOSSES, NETWORKS
from netwright.errors import UsageError
from netwright.measures.anatomy import anatomy
from netwright.parts.sequences import Sequences
from netwright.training.objective import Batch, Draw, objective_of
from netwright.training.plan import LOSS

CASES = cases()
ROWS = ("perceptron", "logistic", "softmax", "mlp", "forecaster")
UNEVEN = [case for case in cases(("sequence", "text"), but=ROWS) if case != ("one_to_many", "sequence")]
"""Those that read all numbers of a window at once want windows of one length."""
OF_TOKENS = ("tag", "generate", "translate", "transcribe")


def targets(name, kind, rows=6):
    """What each of so many examples should say: a class, numbers, or tokens."""
    task = task_of(name)
    if task == "forecast":
        return torch.randn(rows, 5, generator=torch.Generator().manual_seed(2))
    if task in OF_TOKENS:
        steps = 2 if task == "transcribe" else answer_shape(name, kind)[0]
        tokens = torch.arange(rows * steps).view(rows, steps) % 4 + 1
        return Sequences(tokens, torch.full((rows,), steps))
    return torch.tensor([0, 1, 1]).repeat(rows // 3) if columns(name) == 1 else torch.arange(rows) % 5


def objective_for(name, net):
    loss = NETWORKS[name].facts.get("loss", LOSS.get(task_of(name), "cross_entropy"))
    return objective_of(net, task_of(name), loss, {})


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_gives_logits_of_the_shape_of_its_task(name, kind):
    x = batch(name, kind)
    outputs = build(name, kind).eval()(x if kind == "text" else 3 * x)
    assert list(outputs.shape) == [6, *answer_shape(name, kind)]
    assert outputs.dtype == torch.float32
    # positive scores that sum to 1 would mean that the loss's own softmax is applied twice
    sums = outputs.sum(-1)
    assert not (bool((outputs >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_one_step_changes_every_weight(name, kind):
    net = build(name, kind, **({"zero_init": False} if name in THOUSAND else {})).train()
    loss = objective_for(name, net)
    before = {key: value.detach().clone() for key, value in net.named_parameters() if value.requires_grad}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    given = Batch(batch(name, kind), targets(name, kind), None, torch.arange(6).numpy(), 0)
    for _ in range(2 if name == "forecaster" else 1):  # its last layer starts at 0: nothing passes it the first time
        optimizer.zero_grad()
        loss(net, given, Draw(0, 0)).loss.backward()
        optimizer.step()
    dead = [key for key, value in net.named_parameters() if key in before and torch.equal(value, before[key])]
    assert len(dead) <= len(before) // 20, dead  # a ReLU unit may sleep for these six examples


@pytest.mark.parametrize(("name", "kind"), cases(("image",), but=tuple(TASKS)))
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


@pytest.mark.parametrize(("name", "kind"), cases(but=tuple(NETWORKS.keys() - TASKS)))
def test_learns_six_sequences(name, kind):
    net = build(name, kind, **settings_of(name, kind, dropout=False))
    loss, optimizer = objective_for(name, net), torch.optim.Adam(net.parameters(), lr=0.02)
    given = Batch(batch(name, kind), targets(name, kind), None, torch.arange(6).numpy(), 0)
    found = []
    for step in range(150):
        value = loss(net, given, Draw(0, step)).loss
        found.append(float(value.detach()))
        if found[-1] < 0.3 * found[0]:
            break
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert found[-1] < 0.3 * found[0], found[-5:]


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


@pytest.mark.parametrize(("name", "kind"), UNEVEN)
def test_padding_and_what_stands_in_it_change_nothing(name, kind):
    net, x = build(name, kind).eval(), uneven(name, kind)
    dirty = x.values.clone()
    dirty[~x.mask] = 9 if kind == "text" else 1e3
    longer = torch.nn.functional.pad(dirty, (0, 0) * (dirty.dim() - 2) + (0, 4), value=1)
    with torch.no_grad():
        clean = answered(net, x)
        for row, length in enumerate(x.lengths.tolist()):
            alone = answered(net, Sequences(x.values[row : row + 1, :length], x.lengths[row : row + 1]))
            torch.testing.assert_close(clean[row], alone[0], rtol=1e-4, atol=1e-5)
        for values in (dirty, longer):
            for one, other in zip(clean, answered(net, Sequences(values, x.lengths)), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def answered(net, x):
    """What it says to each sequence, without the steps behind its end."""
    outputs = net(x)
    if isinstance(outputs, Sequences):
        return [row[:length] for row, length in zip(outputs.values, outputs.lengths.tolist(), strict=True)]
    if outputs.dim() == 3 and outputs.shape[1] == x.values.shape[1]:
        return [row[:length] for row, length in zip(outputs, x.lengths.tolist(), strict=True)]
    return list(outputs)


@pytest.mark.parametrize(("name", "kind"), [case for case in UNEVEN if case[0] in TASKS])
def test_answers_do_not_depend_on_the_batch(name, kind):
    net, x = build(name, kind).eval(), uneven(name, kind)
    if not hasattr(net, "answer"):
        assert name in ("char_lm", "word_lm", "speaker")  # those go on with a text, this one compares two recordings
        return
    together = net.answer(x)
    alone = [
        net.answer(Sequences(x.values[row : row + 1, :length], x.lengths[row : row + 1]))[0]
        for row, length in enumerate(x.lengths.tolist())
    ]
    assert together == alone
    assert all(type(token) is int and 0 <= token < columns(name) for tokens in together for token in tokens)
    if task_of(name) == "tag":
        assert [len(tags) for tags in together] == x.lengths.tolist()


COUNTS_OTHERWISE = ("lenet5", "fcn32s", "fcn16s", "fcn8s")
"""torch counts the zeros of LeNet's partial table, and the fixed interpolation of the FCNs as a product; both have
tests of their own."""


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if case[0] not in COUNTS_OTHERWISE])
def test_multiply_adds_are_those_that_torch_counts(name, kind):
    with torch.device("meta"):
        net = build(name, kind).eval()
    with FlopCounterMode(display=False) as counter:
        net(batch(name, kind, 1).to("meta"))
    assert anatomy(net, inputs_of(name, kind), name).macs == counter.get_total_flops() / 2


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_rows_of_the_anatomy_add_up_and_need_no_memory(name, kind):
    net, inputs = build(name, kind), inputs_of(name, kind)
    found = anatomy(net, inputs, name)
    count = sum(p.numel() for p in net.parameters())
    assert found.parameters == count == sum(layer.parameters for layer in found.layers)
    assert found.output == answer_shape(name, kind)
    assert found.neurons > 0
    with torch.device("meta"):
        weightless = build(name, kind)
    without, measured = anatomy(weightless, inputs, name).to_json(), found.to_json()
    if any(layer.kind in ("rnn", "lstm", "gru") for layer in found.layers):
        for row in (without, measured, *without["layers"], *measured["layers"]):
            row.pop("memory")  # without weights the steps are taken one by one, with them by one kernel
    assert without == measured


@pytest.mark.parametrize(("name", "kind"), cases(but=[name for name in TASKS if task_of(name) == "translate"]))
def test_numbers_are_answered_or_refused(name, kind):
    wanted = {"kind": "number", "count": 3}
    if name in ("perceptron", "logistic", "softmax"):
        with pytest.raises(UsageError, match="numbers"):
            build(name, kind, wanted)
    elif name == "word_lm":
        with pytest.raises(UsageError, match="scores the 50 tokens it reads; 3 are asked for"):
            build(name, kind, wanted)
    else:
        shape = build(name, kind, wanted).eval()(batch(name, kind)).shape
        assert list(shape) == [6, *answer_shape(name, kind)[:-1], 3]


@pytest.mark.filterwarnings("ignore:The tensor attributes self.[a-z]+._flat_weights")
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
    with pytest.raises(UsageError, match=r"takes? .*(12 features|9 steps|12 tokens|28x28) .*came\. Use network"):
        NETWORKS[name](INPUTS[kind], {"kind": "class", "count": NETWORKS[name].facts.get("classes", 5)})


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
