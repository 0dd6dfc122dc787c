"""The seed inventory, section E: gradients, optimizers, batches, back-propagation, first weights, norms, schedules."""

import re
from functools import partial
from itertools import pairwise
from math import cos, pi, sqrt

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from paper import build, weightless
from torch import nn

import netwright as nw
from netwright.catalogue import AUGMENTATIONS, FAMILIES, INITIALIZERS, LOSSES, NETWORKS, NORMS, OPTIMIZERS, SCHEDULES
from netwright.data.batches import Batches
from netwright.errors import UsageError
from netwright.measures.gradients import gradient_flow
from netwright.measures.trace import recurrent_steps
from netwright.networks.vgg import same_places
from netwright.recipe import Recipe
from netwright.recipes import shipped
from netwright.training.keeper import Keeper
from netwright.training.objective import Terms
from netwright.training.penalties import Penalties
from netwright.weights.transfer import transfer

F64 = {"dtype": torch.float64}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **F64)


@pytest.fixture(scope="module")
def data():
    x = draw(50, 3).float()
    return nw.read(x, (x.sum(1) > 0).long(), test=0.0, validation=0.2, batch_size=16)


def quadratic(optimizer, steps, curvature=4.0, rates=None):
    """The path of w under an optimizer on curvature/2 w^2 from 1."""
    w = torch.ones(1, **F64, requires_grad=True)
    rule, path = optimizer([w]), []
    for step in range(steps):
        if rates is not None:
            rule.param_groups[0]["lr"] = rates[step]
        w.grad = curvature * w.detach().clone()
        rule.step()
        path.append(w.item())
    return path


# gradient descent and its kin -------------------------------------------------------------------------------------


def test_s091_gradient_descent_steps_along_the_gradient_times_the_rate():
    """S-091, with the rate as a factor on the gradient (E-44)."""
    assert quadratic(partial(OPTIMIZERS["sgd"], lr=0.1), 3) == pytest.approx([0.6, 0.36, 0.216])


def test_s092_divergence_exactly_where_the_rate_exceeds_two_by_the_curvature():
    for curvature in (0.5, 4.0, 50.0):
        for factor, grows in ((0.5, False), (0.99, False), (1.01, True), (1.5, True)):
            path = quadratic(partial(OPTIMIZERS["sgd"], lr=factor * 2 / curvature), 400, curvature)
            assert (abs(path[-1]) > 1) is grows


@pytest.mark.parametrize(("size", "updates"), [(1, 40), ("all", 1), (16, 3), (13, 3)])
def test_s093_s094_s095_updates_of_an_epoch(size, updates):
    """One example, all examples, mini-batches: 40 examples; 13 leaves one over, which joins the batch before it."""
    x = draw(40, 3).float()
    data = nw.read(x, (x.sum(1) > 0).long(), test=0.0, validation=0.0, batch_size=size)
    found = list(nw.steps(data, nw.network("softmax", data), epochs=1))
    assert len(found) == updates
    assert sum(step.examples for step in found) == 40
    assert [step.epoch_done for step in found] == [False] * (updates - 1) + [True]


def test_s094_s095_the_whole_batch_is_gradient_descent_and_batches_add_up_to_it():
    x = draw(40, 3).float()
    data = nw.read(x, (x.sum(1) > 0).long(), test=0.0, validation=0.0, batch_size="all")
    net, mine = nw.network("softmax", data), nw.network("softmax", data)
    next(nw.steps(data, net, optimizer={"name": "sgd", "lr": 0.1}, epochs=1))
    make = partial(Batches, data, seed=0, device=torch.device("cpu"))
    (batch,) = make(size=40).epoch(0)
    F.cross_entropy(mine(batch.inputs), batch.targets).backward()
    torch.optim.SGD(mine.parameters(), lr=0.1).step()
    assert all(map(torch.equal, net.parameters(), mine.parameters()))  # bit for bit
    whole, total = mine.out.weight.grad.clone(), torch.zeros(2, 3)
    with torch.no_grad():
        mine.load_state_dict(nw.network("softmax", data).state_dict())
    for part in make(size=16).epoch(0):
        mine.zero_grad()
        F.cross_entropy(mine(part.inputs), part.targets).backward()
        total += mine.out.weight.grad * len(part) / 40
    torch.testing.assert_close(total, whole)


def test_s096_momentum_in_both_conventions():
    rates = [0.1, 0.1, 0.05, 0.01, 0.02]
    ours = partial(OPTIMIZERS["momentum"], lr=0.1, momentum=0.9)
    assert quadratic(ours, 5, rates=rates) == quadratic(partial(torch.optim.SGD, lr=0.1, momentum=0.9), 5, rates=rates)
    caffe = quadratic(partial(ours, form="caffe"), 5, rates=rates)
    assert caffe != pytest.approx(quadratic(ours, 5, rates=rates))
    w, v, path = 1.0, 0.0, []
    for place, rate in enumerate(rates):  # torch's form with the momentum times (old rate / new rate) is caffe's
        ratio = rates[place - 1] / rate if place else 1.0
        v = 0.9 * ratio * v + 4 * w
        w -= rate * v
        path.append(w)
    assert caffe == pytest.approx(path)


def test_s097_rmsprop_with_eps_inside_and_outside():
    for inside in (False, True):
        w, s, path = 1.0, 0.0, []
        for _ in range(3):
            g = 4 * w
            s = 0.9 * s + 0.1 * g * g
            w -= 0.01 * g / (sqrt(s + 0.1) if inside else sqrt(s) + 0.1)
            path.append(w)
        rule = partial(OPTIMIZERS["rmsprop"], lr=0.01, decay=0.9, eps=0.1, eps_inside=inside)
        assert quadratic(rule, 3) == pytest.approx(path)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("adam", torch.optim.Adam), ("adagrad", torch.optim.Adagrad), ("adadelta", torch.optim.Adadelta)],
)
def test_s098_s099_adam_adagrad_adadelta_equal_torch(name, theirs):
    found = quadratic(partial(OPTIMIZERS[name], lr=0.02), 10)
    assert found == pytest.approx(quadratic(partial(theirs, lr=0.02), 10), rel=1e-12)
    if name == "adam":
        assert 1 - found[0] == pytest.approx(0.02, rel=1e-6)  # the first step is the rate


def test_s100_every_example_once_an_epoch_and_the_same_order_for_a_seed(data):
    def order(seed, epoch):
        made = Batches(data, size=16, seed=seed, device=torch.device("cpu"))
        return [int(one) for batch in made.epoch(epoch) for one in batch.examples]

    assert sorted(order(0, 0)) == sorted(data.splits["train"].tolist())
    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)


def test_s101_counters_of_epochs_and_an_early_stop(data, tmp_path):
    found = list(nw.steps(data, nw.network("softmax", data), epochs=3))
    per_epoch = -(-data.examples["train"] // 16)
    assert [step.number for step in found] == list(range(1, 3 * per_epoch + 1))
    assert [step.epoch for step in found] == [epoch for epoch in range(3) for _ in range(per_epoch)]
    still = {"name": "sgd", "lr": 0.0}  # nothing improves after the first epoch
    run = nw.train(data, "softmax", optimizer=still, epochs=20, stop_after=2, out=tmp_path / "run", quiet=True)
    assert (run.epochs, run.best_epoch) == (3, 1)


def test_s102_gradients_are_cleared_at_every_step():
    data = nw.read(draw(40, 3).float(), torch.arange(40) % 2, test=0.0, validation=0.0, batch_size="all")
    net = nw.network("softmax", data)
    seen = []
    for _ in nw.steps(data, net, optimizer={"name": "sgd", "lr": 0.0}, epochs=2):
        seen.append(net.out.weight.grad.clone())
    torch.testing.assert_close(seen[0], seen[1])
    x, y = data.input_tensor("train"), data.target_tensor("train")
    net.zero_grad()
    for _ in range(2):  # without zero_grad they add up
        F.cross_entropy(net(x), y).backward()
    torch.testing.assert_close(net.out.weight.grad, 2 * seen[0])


# the arithmetic of a step -----------------------------------------------------------------------------------------


def by_hand():
    net = nw.network("mlp", inputs=2, outputs={"kind": "number", "count": 1}, hidden=[2], activation="sigmoid")
    with torch.no_grad():
        net.hidden1[0].weight.copy_(torch.tensor([[1.0, -1.0], [0.5, 2.0]]))
        net.hidden1[0].bias.copy_(torch.tensor([0.0, -1.0]))
        net.out.weight.copy_(torch.tensor([[2.0, -1.0]]))
        net.out.bias.copy_(torch.tensor([0.5]))
    return net


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_s103_forward_by_hand_layer_by_layer():
    found = nw.trace(by_hand(), [[1.0, 2.0]], [[1.0]], loss="mse")
    h = [sigmoid(1 - 2), sigmoid(0.5 + 4 - 1)]
    assert found.outputs["hidden1.0"][0].tolist() == pytest.approx([-1.0, 3.5])
    assert found.outputs["hidden1.1"][0].tolist() == pytest.approx(h)
    assert found.outputs["out"].item() == pytest.approx(2 * h[0] - h[1] + 0.5)
    assert [step.layer for step in found.steps if step.phase == "forward"][-3:] == ["hidden1.0", "hidden1.1", "out"]


def test_s104_the_lost_figures_are_other_rows():
    assert {"sgd", "momentum", "nesterov", "rmsprop", "adam", "adagrad", "adadelta"} <= set(OPTIMIZERS)
    assert {"step", "exponential", "cosine", "linear", "warmup"} <= set(SCHEDULES)


def test_s105_back_propagation_equals_autograd_and_finite_differences():
    net, x, t = by_hand().double(), draw(4, 2), draw(4, 1, seed=1)
    found = nw.trace(net, x, t, loss="mse")
    assert found.difference < 1e-10
    assert all(step.by == "formula" for step in found.steps if step.phase == "backward")

    def loss():
        with torch.no_grad():
            return float((net(x) - t).square().mean())

    for name, weight in net.named_parameters():
        for place in range(weight.numel()):
            flat = weight.detach().view(-1)
            middle = flat[place].item()
            ends = []
            for step in (1e-5, -1e-5):
                flat[place] = middle + step
                ends.append(loss())
            flat[place] = middle
            assert found.gradients[name].flatten()[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-6)


def test_s106_loss_and_update_rule_are_both_named(data, tmp_path):
    for table in ("loss", "optimizer"):
        with pytest.raises(UsageError, match=f"{table} '' is not in the catalogue"):
            Recipe.parse(f'[{table}]\nname = ""').check()
    run = nw.train(data, "softmax", epochs=1, out=tmp_path / "run", quiet=True)
    assert {run.recipe.table("loss")["name"] in LOSSES, run.recipe.table("optimizer")["name"] in OPTIMIZERS} == {True}


def test_s107_the_preset_with_three_hidden_layers_learns_iris(tmp_path):
    recipe = shipped("bp-net")
    assert len(recipe.table("network")["hidden"]) == 3
    run = nw.train("iris", recipe=recipe, out=tmp_path / "run", quiet=True)
    assert run.test["accuracy"] > 0.9


def test_s108_each_registry_lists_only_its_kind():
    names = {kind: set(FAMILIES[kind]) for kind in ("activations", "losses", "optimizers")}
    assert not names["activations"] & names["losses"]
    assert not names["losses"] & names["optimizers"]
    assert not names["activations"] & names["optimizers"]
    for name in names["activations"] - {"softmax", "maxout"}:
        assert FAMILIES["activations"][name]()(torch.ones(1)).shape == (1,)
    for name in names["optimizers"]:
        assert isinstance(OPTIMIZERS[name]([nn.Parameter(torch.ones(2, 2))]), torch.optim.Optimizer)


def test_s109_s111_the_stages_of_training_are_logged_and_the_architecture_stays(data, tmp_path, capsys):
    net = nw.network("mlp", data, hidden=[8])
    before = nw.anatomy(net, data).to_json()
    weights = [p.detach().clone() for p in net.parameters()]
    given = {"until": "train_loss<=0.25", "epochs": 60, "optimizer": {"name": "adam", "lr": 0.02}}
    run = nw.train(data, net, out=tmp_path / "run", **given)
    assert nw.anatomy(net, data).to_json() == before
    assert not any(map(torch.equal, weights, net.parameters()))
    said = capsys.readouterr().err
    numbers = [int(found) for found in re.findall(r"^\[(\d)\] ", said, re.MULTILINE)]
    assert numbers == [1, 2, *[3, 4, 5, 6, 7, 8] * run.epochs, 9]
    assert (run.stopped, run.epochs > 1) == ("until", True)


class Died(Exception):
    pass


def test_s111_training_again_from_the_file_continues_with_the_same_loss(data, tmp_path, monkeypatch):
    given = {"epochs": 4, "save_steps": 2, "quiet": True}
    whole = nw.train(data, "softmax", out=tmp_path / "whole", **given)
    real = Keeper.after_step

    def dying(self, step):
        real(self, step)
        if step.number > 6:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "after_step", dying)
        with pytest.raises(Died):
            nw.train(data, "softmax", out=tmp_path / "killed", **given)
    again = nw.resume(tmp_path / "killed", data=data)

    def losses(run):
        return [(row["step"], row.get("loss"), row.get("train_loss")) for row in run.folder.rows()]

    assert losses(again) == losses(whole)


def test_s110_one_example_one_hand_update():
    net = nw.network("softmax", inputs=2, outputs=2)
    with torch.no_grad():
        net.out.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        net.out.bias.zero_()
    found = nw.trace(net, [[1.0, 2.0]], [0], optimizer={"name": "sgd", "lr": 0.5})
    p = np.exp([1, 2]) / np.exp([1, 2]).sum()
    error = p - [1, 0]
    np.testing.assert_allclose(found.after["out.weight"], np.eye(2) - 0.5 * np.outer(error, [1, 2]))
    np.testing.assert_allclose(found.after["out.bias"], -0.5 * error)
    assert found.loss_after < found.loss
    assert [step.phase for step in found.steps] == sorted(
        [step.phase for step in found.steps], key=["forward", "loss", "backward", "update"].index
    )  # E-19: weights change only after every gradient is known


# first weights ----------------------------------------------------------------------------------------------------


def signals(init, activation, depth=20, width=100):
    """The standard deviation behind each hidden layer."""
    torch.manual_seed(0)
    net = nw.network("mlp", inputs=width, outputs=2, hidden=[width] * depth, activation=activation, init=init)
    x, found = draw(200, width).float(), []
    with torch.no_grad():
        for place in range(1, depth + 1):
            x = getattr(net, f"hidden{place}")(x)
            found.append(float(x.std()))
    return found


def test_s112_equal_first_weights_learn_nothing_different():
    x = draw(64, 3).float()
    for init, alike in (("constant(value=0.1)", True), ("small_normal(std=0.1)", False)):
        net = nw.network("mlp", inputs=3, outputs=2, hidden=[5], activation="tanh", init=init)
        rule = OPTIMIZERS["sgd"](net.parameters(), lr=0.5)
        with torch.no_grad():
            net.out.weight[1] += 0.1  # so that there is something to learn
        for _ in range(30):
            rule.zero_grad()
            F.cross_entropy(net(x), (x[:, 0] > 0).long()).backward()
            rule.step()
        units = net.hidden1[0].weight.detach()
        assert bool((units - units[0]).abs().max() < 1e-5) is alike


def test_s113_small_first_weights_let_signals_die():
    found = signals("small_normal(std=0.01)", "tanh")
    assert all(after < before for before, after in pairwise(found))
    assert found[-1] < 1e-10


def test_s114_first_weights_by_the_fan_in_keep_signals():
    for name, scale in (("lecun_normal", 1 / 300), ("he_normal", 2 / 300), ("glorot_normal", 2 / 700)):
        w = torch.empty(400, 300)
        INITIALIZERS[name](w, torch.Generator().manual_seed(0))
        assert float(w.std()) == pytest.approx(sqrt(scale), rel=0.02)
    assert signals("lecun_normal", "tanh")[-1] > 0.1
    kept, lost = signals("he_normal", "relu")[-1], signals("lecun_normal", "relu")[-1]  # E-15: sqrt(2/n) suits ReLU
    assert kept > 100 * lost


def test_s115_standard_normal_and_constant_first_weights():
    w, b = torch.empty(10, 3072), torch.empty(10)
    INITIALIZERS["normal"](w, torch.Generator().manual_seed(0), mean=0.0, std=1.0)
    INITIALIZERS["constant"](b, value=0.0)
    assert (float(w.mean()), float(w.std())) == (pytest.approx(0, abs=0.02), pytest.approx(1, rel=0.02))
    assert float(b.abs().max()) == 0
    assert "1 saturates wide layers" in INITIALIZERS["normal"].summary  # E-35


# penalties, clipping, norms ---------------------------------------------------------------------------------------


def test_s116_penalties():
    w = nn.Parameter(draw(3, 4))
    for given, slope in (({"l2": 0.3}, 0.3 * w), ({"l1": 0.2}, 0.2 * w.sign())):
        w.grad, terms = torch.zeros(3, 4, **F64), Terms(torch.ones(1))
        Penalties(**given).add([w], terms)
        torch.testing.assert_close(w.grad, slope.detach())
    assert terms.parts["l1"].item() == pytest.approx(0.2 * w.abs().sum().item())
    plain = quadratic(partial(OPTIMIZERS["adamw"], lr=0.1, weight_decay=0.0), 1)
    assert quadratic(partial(OPTIMIZERS["adamw"], lr=0.1, weight_decay=0.5), 1) == pytest.approx([plain[0] - 0.05])


def test_s117_gradients_are_clipped_by_their_norm(data):
    def moved(**clip):
        net = nw.network("softmax", data)
        before = [p.detach().clone() for p in net.parameters()]
        next(nw.steps(data, net, optimizer={"name": "sgd", "lr": 1.0}, schedule="constant", epochs=1, **clip))
        return torch.cat([(p.detach() - was).flatten() for p, was in zip(net.parameters(), before, strict=True)])

    free = moved()
    assert float(moved(clip_norm=0.01).norm()) == pytest.approx(0.01, abs=1e-6)
    torch.testing.assert_close(moved(clip_norm=1e3), free)
    assert float(moved(clip_value=0.001).abs().max()) == pytest.approx(0.001, abs=1e-6)


def test_s118_repeated_factors_vanish_or_explode():
    start, one = torch.zeros(30, 1, **F64), torch.ones(1, 1, **F64)
    start[0] = 1
    for w in (0.5, 0.9, 1.1):
        states = recurrent_steps(start, one, w * one, one).states
        assert states[-1].item() == pytest.approx(w**29)  # dS_30/dS_1 of the scalar recurrence, exactly
    below = torch.full((2, 2), 0.6, **F64)  # every entry below 1, yet the spectral radius is 1.2 (E-14)
    start, eye = torch.zeros(30, 2, **F64), torch.eye(2, **F64)
    start[0] = 1
    assert float(recurrent_steps(start, eye, below, eye).states[-1].norm()) == pytest.approx(2**0.5 * 1.2**29)


def test_s118_the_gradient_of_each_layer():
    """Ten linear layers of one number each: the gradient reaches the first as the product of the other nine."""
    for w in (0.5, 2.0):
        net = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(10))).double()
        for layer in net:
            nn.init.constant_(layer.weight, w)
        x = torch.ones(3, 1, **F64)
        found = gradient_flow(net, (x, x), lambda outputs, targets: outputs[:, 0])
        assert [one.norm for one in found.layers] == pytest.approx([w**9] * 10)
        shrunk = nn.Sequential(*(one for layer in net for one in (layer, nn.Sigmoid())))
        norms = [one.norm for one in gradient_flow(shrunk, (x, x), lambda outputs, targets: outputs[:, 0]).layers]
        assert norms == sorted(norms)
        assert norms[0] < 1e-2 * norms[-1]


def test_s119_batch_norm_in_training_and_in_use():
    ours, x = NORMS["batchnorm"]((3, 4, 4)), draw(6, 3, 4, 4).float()
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    torch.testing.assert_close(ours(x), (x - mean) / (var + 1e-5).sqrt())
    used = 0.9 * 1 + 0.1 * x.var((0, 2, 3), keepdim=True)  # E-18: running statistics in use
    torch.testing.assert_close(ours.eval()(x), (x - 0.1 * mean) / (used + 1e-5).sqrt())
    assert "gamma" in NORMS["batchnorm"].formula
    for name in ("inception_v3", "inception_v4", "inception_resnet_v2", "googlenet_bn"):
        assert "eps=0.001" in str(NETWORKS[name].settings["norm"].default), name


def test_s120_shortcuts_carry_gradients_to_the_first_layer():
    def first(residual):
        net = build(
            "cifar_resnet56", (3, 8, 8), width=0.5, residual=residual, norm="none", init="small_normal(std=0.05)"
        )
        net(draw(2, 3, 8, 8).float()).logsumexp(1).sum().backward()
        return float(net.conv1.weight.grad.norm())

    assert first(True) > 1e3 * first(False)
    with torch.device("meta"):
        assert weightless("cifar_resnet1202", (3, 32, 32), 10)


def test_s121_local_response_norm_scales_alpha_as_the_paper():
    x = draw(2, 7, 3, 3).float()
    ours = NORMS["lrn"]((7, 3, 3), size=5, alpha=0.1, beta=0.75, k=2.0)(x)
    torch.testing.assert_close(ours, F.local_response_norm(x, 5, 5 * 0.1, 0.75, 2.0))  # torch divides alpha by n
    middle = x[:, 3] / (2 + 0.1 * x[:, 1:6].square().sum(1)) ** 0.75
    torch.testing.assert_close(ours[:, 3], middle)


@pytest.mark.parametrize(
    ("name", "given", "formula"),
    [
        ("step", {"every": 0.25, "gamma": 0.5}, lambda t: 0.5 ** (t // 10)),
        ("exponential", {"final": 0.01}, lambda t: 0.01 ** (t / 40)),
        ("cosine", {"final": 0.0, "warmup": 0.0}, None),
        ("linear", {"final": 0.0, "warmup": 0.0}, None),
        ("warmup", {"share": 0.25}, lambda t: min(1, (t + 1) / 10)),
    ],
)
def test_s122_schedules_equal_their_formulas(name, given, formula):
    found = [SCHEDULES[name](t, 40, **given) for t in range(40)]
    if formula is None:
        ends = {"cosine": lambda s: (1 + cos(pi * s)) / 2, "linear": lambda s: 1 - s}[name]
        assert found == pytest.approx([ends(t / 40) for t in range(40)])
    else:
        assert found == pytest.approx([formula(t) for t in range(40)])


def test_s123_a_shallow_vgg_begins_a_deep_one_and_scales_jitter():
    shallow, deep = (build(name, (3, 32, 32), width=0.05, stem="full") for name in ("vgg11", "vgg16"))
    transfer(shallow, deep, same_places(shallow, deep))
    convs = [[one for one in net.features if isinstance(one, nn.Conv2d)] for net in (shallow, deep)]
    for place, there in enumerate([0, 2, 4, 5]):  # conv1_1, conv2_1, conv3_1, conv3_2
        assert torch.equal(convs[0][place].weight, convs[1][there].weight)
        assert torch.equal(convs[0][place].bias, convs[1][there].bias)
    for place in (0, 3, 6):
        assert torch.equal(shallow.classifier[place].weight, deep.classifier[place].weight)
    assert {"scale", "resize_crop"} <= set(AUGMENTATIONS)
