"""Every change of section C: applied, it trains; afterwards everything is as it was, bit for bit."""

import math

import pytest
import torch
from signal_programs import CE, Made, Reader, adam, blobs, chart, cut, mlp, sgd
from torch import nn

from netwright.doctor.changes import attention, between, recurrence, signal, structure
from netwright.doctor.chart import Chart
from netwright.doctor.subject import Change


def program() -> Made:
    net = nn.Sequential(
        nn.Linear(16, 24),
        nn.ReLU(),
        nn.Linear(24, 24),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(24, 24),
        nn.Tanh(),
        nn.Linear(24, 4),
    )
    return net, CE, sgd(net, 0.05), cut(*blobs(128))


def normed() -> Made:
    net = nn.Sequential(nn.Linear(16, 24), nn.BatchNorm1d(24, momentum=0.0), nn.ReLU(), nn.Linear(24, 4))
    return net, CE, adam(net), cut(*blobs(128))


def pictures() -> Made:
    parts = [[nn.Conv2d(i, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)] for i in (1, 4)]
    net = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *parts[0], *parts[1], nn.Flatten(), nn.Linear(16, 4))
    return net, CE, adam(net), cut(*blobs(128, 64))


def reader(cell: type[nn.RNNBase]) -> Made:
    x = torch.randint(0, 4, (64, 12), generator=torch.Generator().manual_seed(0))
    net = Reader(cell)
    return net, CE, adam(net), cut(x, x[:, 0].clone())


def single() -> Made:
    net = nn.Linear(16, 4)
    return net, CE, adam(net), cut(*blobs(128))


def pool(of: Chart) -> Change | None:
    return structure.later_pooling(of, next(op for op in of.ops if op.name == "max_pool2d"))


CHANGES = {
    "anew": (program, signal.reinitialise),
    "head": (program, signal.smaller_head),
    "relu": (program, signal.swap_activations),
    "leaky": (program, lambda of: signal.swap_activations(of, "leaky_relu", anew=False)),
    "batch norm": (program, between.insert_norms),
    "layer norm": (program, lambda of: between.insert_norms(of, "layer_norm")),
    "batch norm of maps": (pictures, between.insert_norms),
    "skips": (program, between.skips),
    "clip": (program, between.clipped),
    "no dropout": (program, structure.less_dropout),
    "half dropout": (program, lambda of: structure.less_dropout(of, 0.5)),
    "wider": (program, structure.wider),
    "wider maps": (pictures, structure.wider),
    "wider memory": (lambda: reader(nn.GRU), structure.wider),
    "shallower": (program, structure.half_depth),
    "pooling": (pictures, pool),
    "group norm": (normed, between.group_norms),
    "momentum": (normed, structure.usual_statistics),
    "lstm": (lambda: reader(nn.RNN), recurrence.gated),
    "forget bias": (lambda: reader(nn.LSTM), recurrence.forget_less),
    "orthogonal": (lambda: reader(nn.LSTM), recurrence.orthogonal_memory),
    "hidden layer": (single, structure.hidden_layer),
    "activation between": (lambda: (net := mlp(16, 8, 4, act=nn.Identity), CE, adam(net), cut(*blobs(128))),
                           lambda of: signal.insert_activation(of, [("2", 0)], ["0"])),
    "places": (lambda: reader(nn.LSTM), lambda of: attention.with_positions(of, of.ops[0])),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_change_trains_and_is_undone(name: str) -> None:
    make, change_of = CHANGES[name]
    of = chart(make)  # type: ignore[arg-type]
    subject = of.subject
    change = change_of(of)  # type: ignore[operator]
    assert change is not None
    assert change.name
    assert change.why
    assert change.patch["code"]
    model, optimizer = subject.model, subject.optimizer  # type: ignore[attr-defined]
    tensors = [t.clone() for t in model.state_dict().values()]
    modules = list(model.modules())
    settings = [{k: v for k, v in vars(m).items() if isinstance(v, (float, int, bool))} for m in modules]
    groups = [[id(p) for p in group["params"]] for group in optimizer.param_groups]
    random = torch.get_rng_state()
    with subject.live() as plain:
        usual = plain.run(3)
    with subject.live([change]) as live:
        losses = live.run(12)
        trained = {id(p) for group in live.optimizers[0].param_groups for p in group["params"]}
        assert {id(p) for p in live.model.parameters()} <= trained
        assert live.outputs(live.batch()).shape == (32, 4)
        assert math.isfinite(live.measured_step().after)
    assert all(loss == loss for loss in losses)
    if name not in ("clip", "momentum"):  # a short gradient is not clipped; a momentum matters in use alone
        assert losses[:3] != usual
    assert all(torch.equal(a, b) for a, b in zip(tensors, model.state_dict().values(), strict=True))
    assert list(model.modules()) == modules
    assert [{k: v for k, v in vars(m).items() if isinstance(v, (float, int, bool))} for m in modules] == settings
    assert [[id(p) for p in group["params"]] for group in optimizer.param_groups] == groups
    assert torch.equal(random, torch.get_rng_state())


def test_he_weights_have_their_deviation() -> None:
    of = chart(lambda: (net := mlp(400, 300, 300, 4), CE, adam(net), cut(*blobs(64, 400))))
    change = signal.reinitialise(of)
    assert change is not None
    with of.subject.live([change]) as live:
        own = live.parameters
        assert own["0.weight"].std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
        assert own["2.weight"].std().item() == pytest.approx((2 / 300) ** 0.5, rel=0.02)
        assert own["4.weight"].std().item() == pytest.approx((2 / 304) ** 0.5, rel=0.06)
        assert not own["0.bias"].any()


def test_wider_counts_parameters() -> None:
    of = chart(lambda: (net := mlp(16, 8, 8, 4), CE, adam(net), cut(*blobs(64))))
    change = structure.wider(of, 4)
    assert change is not None
    with of.subject.live([change]) as live:
        assert sum(p.numel() for p in live.parameters.values()) == 17 * 32 + 33 * 32 + 33 * 4
        assert (
            sum(p.numel() for group in live.optimizers[0].param_groups for p in group["params"])
            == 17 * 32 + 33 * 32 + 33 * 4
        )


def test_skips_add_the_input() -> None:
    of = chart(
        lambda: (net := nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)), CE, adam(net), cut(*blobs(64)))
    )
    change = between.skips(of)
    assert change is not None
    pair = of.subject.batches[0]
    with of.subject.live([change]) as live:
        net, x = live.model, pair.inputs[0]
        expected = net[2](x + torch.relu(net[0](x)))  # type: ignore[index]
        torch.testing.assert_close(live.forward(pair), expected)


def test_nothing_to_change_is_none() -> None:
    of = chart(single)
    assert between.skips(of) is None
    assert signal.swap_activations(of) is None
    assert between.insert_norms(of) is None
    assert between.group_norms(of) is None
    assert structure.wider(of) is None
    assert structure.less_dropout(of) is None
    assert recurrence.gated(of) is None


def test_rows_of_layers_are_rewritten() -> None:
    assert signal._activated(["conv 8 3", "batchnorm", "maxpool 2", "linear 5", "linear out"], "relu") == [
        "conv 8 3", "batchnorm", "maxpool 2", "relu", "linear 5", "relu", "linear out"]  # fmt: skip
    assert signal._activated(["linear 8", "identity", "linear out"], "relu") == ["linear 8", "relu", "linear out"]
    assert between._with_norms(["linear 8", "relu", "linear out"], "batchnorm") == [
        "linear 8",
        "batchnorm",
        "relu",
        "linear out",
    ]
    assert signal._other_activation("relu")(["linear 8", "leaky_relu(slope=0.1)", "sigmoid", "linear out"]) == [
        "linear 8",
        "relu",
        "relu",
        "linear out",
    ]
    assert structure._less(["dropout 0.8", "linear out"], 0.5) == ["dropout 0.4", "linear out"]
    assert structure._less(["dropout 0.8", "linear out"], 0.0) == ["linear out"]
