"""The seed inventory, sections B, C and D: one direct check for each row, named by its number (test_s045_...).

Sections E, G to J, and the sequences of A and K stand in the files beside this one, cells and attention in
tests/parts/test_cells_inventory.py; the first test here holds all of them to the list of rows.
"""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import hinge_loss, mean_squared_log_error
from torch.autograd import gradcheck

import netwright as nw
from netwright.catalogue import ACTIVATIONS, LOSSES, NETWORKS, OPTIMIZERS
from netwright.data.encoders import NumberEncoder
from netwright.data.files import plain_pickle
from netwright.errors import DataError, UsageError
from netwright.measures.graph import exported
from netwright.networks.recurrent import RowsAsSteps
from netwright.parts.activations import properties
from netwright.parts.losses import check_loss, pairing
from netwright.recipes import shipped

HERE = Path(__file__).parent
ROWS = {8, 9, 21, 22, *range(24, 28), 30, 31, *range(33, 36), *range(45, 124), *range(137, 237)}
"""Tasks of sequences in A, then B (045-061), C (062-070), D (071-090), E (091-123), G (137-178), H (179-191),
I (192-195), J (196-211), K (212-236)."""
F64 = {"dtype": torch.float64}


def test_every_row_has_a_test_of_its_own():
    files = [*sorted(HERE.glob("test_inventory*.py")), HERE.parent / "parts" / "test_cells_inventory.py"]
    text = "".join(path.read_text() for path in files)
    names = re.findall(r"def test_((?:s\d{3}_)+)", text)
    found = {int(number) for name in names for number in re.findall(r"\d{3}", name)}
    assert (sorted(ROWS - found), sorted(found - ROWS)) == ([], [])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **F64)


def value(name, outputs, target, **given):
    return LOSSES[name](torch.as_tensor(outputs), torch.as_tensor(target), **given)


# B. single neuron, logistic and softmax regression --------------------------------------------------------------


def taught(x, t, epochs=30):
    """The mistakes of each epoch under Rosenblatt's rule, until one is without."""
    net = nw.network("perceptron", inputs=x.shape[1], outputs=2)
    state = SimpleNamespace(optimizers={"main": OPTIMIZERS["sgd"](net.parameters(), lr=1.0)})
    mistakes = []
    while len(mistakes) < epochs and mistakes[-1:] != [0]:
        mistakes.append(0)
        for place in range(len(x)):
            before = float(net.out.bias.detach())
            net.update(state, SimpleNamespace(inputs=x[[place]], targets=t[[place]], weights=None))
            mistakes[-1] += float(net.out.bias.detach()) != before  # every mistake moves the bias by 1
    return mistakes


def test_s045_the_perceptron_learns_and_and_or_but_never_xor():
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    for t in ([0, 0, 0, 1], [0, 1, 1, 1]):
        assert taught(x, torch.tensor(t))[-1] == 0
    assert min(taught(x, torch.tensor([0, 1, 1, 0]))) > 0
    points = draw(60, 2).float()
    points = points[points.sum(1).abs() > 0.3]
    t = (points.sum(1) > 0).long()
    margin = float((points.sum(1) * (2 * t - 1)).min()) / 2**0.5
    radius = float((points.square().sum(1) + 1).max().sqrt())  # the bias is one more input, always 1
    mistakes = taught(points, t)
    assert mistakes[-1] == 0
    assert 0 < sum(mistakes) <= (radius / margin) ** 2


def test_s046_a_line_is_fitted_and_weight_and_bias_are_seen_at_every_step():
    x = torch.linspace(-1, 1, 40)[:, None]
    data = nw.read(x, 3 * x[:, 0] - 2, test=0.0, validation=0.0, normalize="none", batch_size="all")
    net = nw.network("mlp", data, hidden=[])
    seen = []
    for _ in nw.steps(data, net, loss="mse", optimizer={"name": "sgd", "lr": 0.5}, epochs=100):
        seen.append((net.out.weight.item(), net.out.bias.item()))
    scale, mean = data.targets.scale, data.targets.mean
    slope, intercept = (seen[-1][0] * scale, seen[-1][1] * scale + mean)
    assert (float(slope), float(intercept)) == (pytest.approx(3, abs=1e-3), pytest.approx(-2, abs=1e-3))
    assert len(seen) == 100
    assert seen[0] != seen[50]


def test_s047_without_a_bias_the_line_passes_through_the_origin():
    x = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    data = nw.read(x, [0, 0, 1, 1], test=0.0, validation=0.0, normalize="none", batch_size="all")
    right = {}
    for bias in (True, False):
        net = nw.network("stack", data, layers=f"linear 2 bias={str(bias).lower()}")
        for _ in nw.steps(data, net, optimizer={"name": "adam", "lr": 0.3}, epochs=60):
            pass
        right[bias] = float((net(x).argmax(1) == torch.tensor([0, 0, 1, 1])).float().mean())
    assert right[True] == 1 > right[False]


def test_s048_points_of_the_drawn_line_satisfy_its_equation(tmp_path):
    from netwright.report.boundary import boundary

    data = nw.read("blobs", centres=2, examples=60)
    run = nw.train(data, "logistic", epochs=2, out=tmp_path / "run", quiet=True)
    (border,) = boundary(run.predictor(), data, ((-20.0, 20.0), (-20.0, 20.0))).borders
    for end in border.ends:
        assert float(np.dot(border.weights, end)) + border.bias == pytest.approx(0, abs=1e-6)
    ends = torch.tensor(border.ends, dtype=torch.float32)
    net, coder = run.predictor().forward.model, run.predictor().encoder
    assert float(net(((ends - coder.mean) * coder.scale).float()).detach().abs().max()) < 1e-3


def test_s049_logistic_regression_has_scikit_learns_coefficients():
    flowers = load_iris()
    chosen = flowers.target > 0  # versicolor against virginica
    x, y = torch.tensor(flowers.data[chosen]), torch.tensor(flowers.target[chosen] - 1)
    x = (x - x.mean(0)) / x.std(0)
    net = nw.network("logistic", inputs=4, outputs=2).double()
    search = torch.optim.LBFGS(net.parameters(), max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def closure():
        search.zero_grad()
        loss = LOSSES["bce_with_logits"](net(x), y).mean()
        loss.backward()
        return loss

    search.step(closure)
    reference = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(net.out.weight.detach().numpy(), reference.coef_, atol=1e-3)
    np.testing.assert_allclose(net.out.bias.detach().numpy(), reference.intercept_, atol=1e-3)


def test_s050_the_reference_form_fixes_the_last_score_at_0():
    net = nw.network("softmax", inputs=4, outputs=3, form="reference")
    scores, x = net(draw(5, 4).float()), draw(5, 4).float()
    powers = torch.exp(net.out(x))  # e^(wx), not e^(-wx) (E-24), normalised together with 1
    torch.testing.assert_close(net(x).softmax(1)[:, :2], powers / (1 + powers.sum(1, keepdim=True)))
    assert (scores[:, 2] == 0).all()
    assert "fixes the last class's score at 0" in NETWORKS["softmax"].formula


def test_s051_softmax_regression():
    z, y = draw(6, 4).requires_grad_(), torch.tensor([0, 1, 2, 3, 0, 1])
    losses = LOSSES["cross_entropy"](z, y)
    (slope,) = torch.autograd.grad(losses.sum(), z)
    torch.testing.assert_close(slope, z.softmax(1).detach() - F.one_hot(y, 4))
    torch.testing.assert_close(LOSSES["cross_entropy"](z + 1000, y), losses)


def test_s052_the_worked_softmax():
    found = ACTIVATIONS["softmax"]()(torch.tensor([[3.0, 1.0, -1.0]]))[0]
    assert found.tolist() == pytest.approx([0.8668, 0.1173, 0.0159], abs=1e-4)
    assert np.exp([3, 1, -1]).sum() == pytest.approx(23.1717, abs=1e-4)


def coloured(count, classes):
    """Pictures of 3x32x32, each class a little brighter in a channel of its own."""
    pixels = np.random.default_rng(0).integers(0, 200, (count, 3, 32, 32))
    labels = np.arange(count) % classes
    for row, label in enumerate(labels):
        pixels[row, label % 3, : 16 + 8 * (label // 3)] += 40
    return pixels.astype(np.uint8), labels


def test_s053_the_notes_neuron_on_two_classes(tmp_path):
    recipe = shipped("cifar10-neuron")
    assert recipe.table("loss") == {"name": "mse", "link": "sigmoid"}
    recipe = recipe.set("epochs", 5, "test")
    pixels, labels = coloured(300, 3)  # the recipe keeps the first two
    run = nw.train(pixels, targets=labels, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert run.parameters == 3_073
    assert run.test["accuracy"] > 0.6


def test_s054_ten_neurons_and_the_two_ways_to_begin(tmp_path):
    pixels, labels = coloured(120, 10)
    loss = {}
    for init in ("normal(mean=0, std=1)", "lecun_normal"):
        recipe = shipped("cifar10-softmax").set("network.init", init, "test").set("epochs", 2, "test")
        run = nw.train(pixels, targets=labels, recipe=recipe, out=tmp_path / init[:6], quiet=True)
        assert run.parameters == 30_730
        loss[init] = run.folder.rows()[0].get("loss", run.validation["loss"])
    assert loss["normal(mean=0, std=1)"] > 5 * loss["lecun_normal"]  # scores of tens saturate the softmax (E-35)


def test_s055_one_hot_rows_and_labels_out_of_range():
    outputs = torch.zeros(1, 10, **F64)
    assert value("least_squares", outputs, [5]).item() == 1  # against 0,0,0,0,0,1,0,0,0,0
    one_hot = torch.zeros(1, 10, **F64).scatter(1, torch.tensor([[5]]), 1.0)
    assert one_hot[0].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert value("least_squares", one_hot, [5]).item() == 0
    for wrong in (10, -1):
        with pytest.raises(UsageError, match=f"holds class {wrong}; the outputs speak of classes 0 to 9"):
            value("least_squares", outputs, [wrong])


def test_s056_prediction_is_the_largest_output(tmp_path):
    run = nw.train(nw.read("iris"), "softmax", epochs=3, out=tmp_path / "run", quiet=True)
    forward, data = run.predictor().forward, nw.read("iris")
    outputs = forward.outputs(data.input_tensor("test"))
    answers = forward.predictions(outputs).argmax(1).tolist()
    assert answers == outputs.argmax(1).tolist() == outputs.softmax(1).argmax(1).tolist()


def test_s057_names_of_tensorflow_stand_beside_snippets_that_run():
    page = (HERE.parents[1] / "docs" / "tensorflow.md").read_text()
    names = "placeholder get_variable matmul sigmoid reshape cast reduce_mean square equal AdamOptimizer Session argmax"
    names += " global_variables_initializer nn.softmax one_hot sparse_softmax_cross_entropy constant_initializer"
    assert [name for name in [*names.split(), "random_normal_initializer"] if name not in page] == []
    assert page.count("np.") > 10  # every snippet compares with NumPy; test_house.py runs them


def test_s058_traced_and_eager_are_equal_and_the_graph_is_in_order():
    net = nw.network("mlp", inputs=4, outputs=3, hidden=[5])
    x = draw(1, 4).float()
    torch.testing.assert_close(exported(net, (4,), "mlp").module()(x), net(x))
    torch.testing.assert_close(torch.compile(net, backend="eager")(x), net(x))
    graph = nw.graph(net, inputs=4)
    seen = set()
    for node in graph.nodes:
        assert seen.issuperset(node.inputs)
        seen.add(node.name)
    assert [node.op for node in graph.nodes if node.op in ("input", "output")] == ["input", "output"]


def test_s059_cifar_batches_are_read_and_foreign_classes_are_not(tmp_path):
    import pickle

    pixels = np.arange(2 * 3072, dtype=np.uint16).astype(np.uint8).reshape(2, 3072)
    found = plain_pickle.read(pickle.dumps({b"data": pixels, b"labels": [3, 7]}), "batch")
    assert {str(key, "ascii") if isinstance(key, bytes) else key for key in found} == {"data", "labels"}
    with pytest.raises(DataError):
        plain_pickle.read(pickle.dumps({b"data": Path("x")}), "batch")
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (tmp_path / name).write_bytes(
            b"".join(bytes([label]) + row.tobytes() for label, row in zip((3, 7), pixels, strict=True))
        )
    (tmp_path / "batches.meta.txt").write_text("\n".join(f"class {number}" for number in range(10)))
    picture = nw.read(tmp_path, validation=0.0).source.examples.take(np.array([0]))[0]
    assert picture.shape == (3, 32, 32)
    for plane in range(3):  # R, then G, then B
        assert picture[plane].flatten().tolist() == pixels[0, 1024 * plane : 1024 * (plane + 1)].tolist()


def test_s060_a_digit_as_picture_and_as_28_rows():
    x = draw(2, 1, 28, 28).float()
    assert torch.equal(RowsAsSteps()(x), x.squeeze(1))


@pytest.mark.parametrize("seed", [0, 1])
def test_s061_standardised_pictures_have_mean_0_and_variance_1(seed):
    pixels = torch.randint(0, 256, (200, 3, 8, 8), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    found = NumberEncoder.fit("image", pixels, "standard").encode(pixels)
    for channel in range(3):
        assert float(found[:, channel].mean()) == pytest.approx(0, abs=1e-2)
        assert float(found[:, channel].std()) == pytest.approx(1, abs=1e-2)


# C. activations -------------------------------------------------------------------------------------------------

X = torch.linspace(-9, 9, 721, **F64)


def slopes(name, x=X, **given):
    x = x.clone().requires_grad_()
    y = ACTIVATIONS[name](**given)(x)
    return y.detach(), torch.autograd.grad(y.sum(), x)[0]


def test_s062_sigmoid():
    ends = torch.tensor([-100.0, 100.0])
    assert torch.equal(ACTIVATIONS["sigmoid"]()(ends), torch.sigmoid(ends))
    assert (properties("sigmoid").largest_slope, properties("sigmoid").slope_at_0) == (0.25, 0.25)
    assert not properties("sigmoid").zero_centred


def test_s063_relu():
    y, slope = slopes("relu")
    assert torch.equal(y, X.clamp(min=0))
    assert torch.equal(slope, (X > 0).double())  # 0 at 0 and below (E-13)


def test_s064_leaky_relu():
    y, slope = slopes("leaky_relu", slope=0.01)
    torch.testing.assert_close(y, F.leaky_relu(X, 0.01))
    assert float(slope.min()) == 0.01


def test_s065_tanh():
    y, _ = slopes("tanh")
    torch.testing.assert_close(y, torch.tanh(X))
    assert float(y.mean()) == pytest.approx(0, abs=1e-12)
    assert properties("tanh").zero_centred


def test_s066_softmax():
    p = ACTIVATIONS["softmax"]()(1e4 * draw(3, 5))
    assert p.sum(1).tolist() == pytest.approx([1, 1, 1])
    assert float(p.min()) >= 0
    assert not p.isnan().any()


def test_s067_linear_layers_with_nothing_between_are_one():
    with pytest.raises(UsageError, match="with nothing between are one linear layer"):
        nw.network("stack", inputs=4, outputs=3, layers="linear 5, linear out")
    with pytest.raises(UsageError, match="with nothing between are one linear layer"):
        nw.network("stack", inputs=4, outputs=3, layers="repeat 3 (linear 4), relu, linear out")
    net = nw.network("stack", inputs=4, outputs=3, layers="linear 5 bias=false, identity, linear out bias=false")
    x = draw(6, 4).float()
    torch.testing.assert_close(net(x), x @ (net.linear2.weight @ net.linear1.weight).T)
    table = {name: properties(name).monotonic for name in ("sigmoid", "tanh", "relu", "swish", "hard_swish", "gelu")}
    assert table == {"sigmoid": True, "tanh": True, "relu": True, "swish": False, "hard_swish": False, "gelu": False}


def test_s068_pairs_of_activation_and_loss(tmp_path):
    bad = pairing("sigmoid", "mse")
    assert (bad.fits, bad.instead) == (False, "bce_with_logits")
    assert abs(bad.gradient) < 1e-3
    assert bad.needed == pytest.approx(-1, abs=1e-4)  # p - y for p = 0 and y = 1
    assert pairing("identity", "mse").fits
    assert pairing("leaky_relu", "mse").fits
    assert pairing("identity", "cross_entropy").fits
    with pytest.raises(UsageError, match="the loss applies the softmax"):
        nw.network("stack", inputs=4, outputs=3, layers="linear out, softmax")


def test_s069_pre_activation_stands_before_the_convolution():
    net = nw.network("preact_resnet18", inputs=(3, 16, 16), outputs=4, width=0.1).eval()
    block, x = net.stages[0].blocks[1], draw(2, 6, 8, 8).float()
    y = block.conv1(block.norm1(x).relu())
    torch.testing.assert_close(block(x), x + block.conv2(block.norm2(y).relu()))
    post = nw.network("resnet18", inputs=(3, 16, 16), outputs=4, width=0.1).eval().layer1[1]
    y = post.bn1(post.conv1(x)).relu()
    torch.testing.assert_close(post(x), (x + post.bn2(post.conv2(y))).relu())


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("relu6", X.clamp(0, 6)),
        ("hard_sigmoid", ((X + 3) / 6).clamp(0, 1)),
        ("hard_swish", X * ((X + 3) / 6).clamp(0, 1)),
        ("swish", X / (1 + (-X).exp())),
        ("scaled_tanh", 1.7159 * torch.tanh(2 * X / 3)),
    ],
)
def test_s070_further_activations(name, formula):
    torch.testing.assert_close(slopes(name)[0], formula)
    pairs = draw(3, 6)
    torch.testing.assert_close(ACTIVATIONS["maxout"](pieces=2)(pairs), pairs.view(3, 3, 2).amax(2))


# D. losses ------------------------------------------------------------------------------------------------------


def test_s071_absolute_difference():
    assert value("mae", [[0.8]], [[1.0]]).item() == pytest.approx(0.2)
    assert value("mae", [[0.1, 0.7, 0.2]], [1], over="sum").item() == pytest.approx(0.1 + 0.3 + 0.2)


def test_s072_half_squared_error():
    z, t = draw(4, 3).requires_grad_(), draw(4, 3, seed=1)
    (slope,) = torch.autograd.grad(LOSSES["half_squared_error"](z, t).sum(), z)
    torch.testing.assert_close(slope, (z - t).detach())
    assert value("half_squared_error", [[3.0]], [[1.0]]).item() == value("mse", [[3.0]], [[1.0]]).item() / 2


def test_s073_s074_mean_squared_error_and_its_other_form():
    p, y = draw(6, 10).softmax(1), torch.arange(6)
    rows = F.one_hot(y, 10).double()
    torch.testing.assert_close(value("mse", p, y), (p - rows).square().sum(1) / 10)
    torch.testing.assert_close(value("mse", p, y).mean(), F.mse_loss(p, rows))
    np.testing.assert_allclose(value("mse", p, rows), np.mean(np.square(p.numpy() - rows.numpy()), axis=-1))
    torch.testing.assert_close(value("half_squared_error", p, y), 5 * value("mse", p, y))  # E-27: 2/(N C) apart
    assert "outputs/2 times `mse`" in LOSSES["half_squared_error"].formula


def test_s075_mean_absolute_error():
    p, t = draw(5, 3), draw(5, 3, seed=1)
    torch.testing.assert_close(value("mae", p, t).mean(), F.l1_loss(p, t))


def test_s076_mean_squared_logarithmic_error():
    p, t = draw(5, 1).abs(), draw(5, 1, seed=1).abs()
    assert value("msle", p, t, eps=0.0).mean().item() == pytest.approx(mean_squared_log_error(t, p))
    assert value("msle", [[-3.0]], [[0.0]], eps=10e-6).item() == 0  # both are clipped; 10e-6 is 1e-5 (E-39)
    assert "10e-6, which is 1e-5" in LOSSES["msle"].build.__doc__


def test_s077_mean_absolute_percentage_error():
    assert value("mape", [[90.0]], [[100.0]]).item() == pytest.approx(10)
    assert value("mape", [[90.0]], [[0.0]]).isfinite().all()


def test_s078_logistic_loss_in_both_conventions():
    z = torch.tensor([[-1000.0], [1000.0], [0.3]], **F64)
    signs, zeros = torch.tensor([1, -1, 1]), torch.tensor([1, 0, 1])
    for t in (signs, zeros):
        torch.testing.assert_close(value("logistic", z, t), value("bce_with_logits", z, zeros))
    assert value("logistic", z, signs)[:2].tolist() == [1000, 1000]


def test_s079_negative_log_likelihood_of_many_classes():
    logs, y = draw(6, 5).log_softmax(1), torch.arange(6) % 5
    torch.testing.assert_close(value("nll", logs, y).mean(), F.nll_loss(logs, y))  # E-42: not two classes only


def test_s080_binary_cross_entropy():
    a, t = draw(6, 1).sigmoid(), torch.tensor([0, 1, 0, 1, 1, 0])
    torch.testing.assert_close(value("bce", a, t).mean(), F.binary_cross_entropy(a, t[:, None].double()))
    torch.testing.assert_close(value("bce_with_logits", a.logit(), t), value("bce", a, t))
    assert value("bce", [[0.0], [1.0]], [1, 0]).isfinite().all()


def test_s081_cross_entropy_and_the_notes_literal_form():
    z, y = draw(6, 4), torch.arange(6) % 4
    p, rows = z.softmax(1).numpy(), np.eye(4)[y]
    literal = -np.mean(rows * np.log(p + 10e-6))
    assert value("cross_entropy", z, y, over="mean", eps=1e-5).mean().item() == pytest.approx(literal)
    torch.testing.assert_close(value("cross_entropy", z, y, over="mean"), value("cross_entropy", z, y) / 4)  # E-40
    torch.testing.assert_close(value("cross_entropy", z, y).mean(), F.cross_entropy(z, y))


def test_s082_sparse_softmax_cross_entropy_in_three_steps():
    z, y = draw(6, 4), torch.arange(6) % 4
    manual = -(F.one_hot(y, 4) * (z.exp() / z.exp().sum(1, keepdim=True)).log()).sum(1)  # the minus of E-28
    torch.testing.assert_close(value("cross_entropy", z, y), manual)


def test_s083_hinge():
    z, t = draw(8, 1), torch.tensor([1, -1, 1, -1, 1, 1, -1, -1])
    assert value("hinge", z, t).mean().item() == pytest.approx(hinge_loss(t.numpy(), z[:, 0].numpy()))
    torch.testing.assert_close(value("hinge", z, (t > 0).long()), value("hinge", z, t))  # E-43: 0/1 are mapped
    with pytest.raises(UsageError, match="takes the labels 0 and 1, or -1 and 1"):
        value("hinge", z, t * 2)


def test_s084_exponential_loss_and_adaboosts_weights():
    z, t = torch.tensor([[1.0], [-2.0]], **F64), torch.tensor([1, 1])
    losses = value("exponential", z, t)
    assert losses.sum().item() == pytest.approx(np.exp(-1) + np.exp(2))  # E-41: the sum
    weights = losses / losses.sum()
    assert weights.tolist() == pytest.approx(
        [np.exp(-1) / (np.exp(-1) + np.exp(2)), np.exp(2) / (np.exp(-1) + np.exp(2))]
    )


def test_s085_the_normal_equations_minimise_least_squares():
    x, y = draw(30, 3), draw(30, 1, seed=1)
    w = torch.linalg.solve(x.T @ x, x.T @ y).requires_grad_()
    (slope,) = torch.autograd.grad(LOSSES["least_squares"](x @ w, y).sum(), w)
    assert float(slope.abs().max()) < 1e-10


def test_s086_smooth_l1():
    p, t = 3 * draw(20, 1), torch.zeros(20, 1, **F64)
    torch.testing.assert_close(
        value("smooth_l1", p, t, beta=0.7), F.smooth_l1_loss(p, t, beta=0.7, reduction="none")[:, 0]
    )
    near = torch.tensor([[0.7 - 1e-9], [0.7 + 1e-9]], **F64).requires_grad_()
    (slope,) = torch.autograd.grad(LOSSES["smooth_l1"](near, torch.zeros(2, 1, **F64), beta=0.7).sum(), near)
    assert slope[0].item() == pytest.approx(slope[1].item(), abs=1e-8)


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(context, z):
        context.save_for_backward(z)
        return z**2

    @staticmethod
    def backward(context, slope):
        return slope * context.saved_tensors[0]  # half of what it is


def test_s087_a_loss_of_your_own_is_gradient_checked_before_it_trains(tmp_path):
    def halved(outputs, target):
        """A wrong backward."""
        return Wrong.apply(outputs).sum(1)

    with pytest.raises(UsageError, match="the gradient of the loss is not its slope"):
        check_loss(halved, draw(3, 2), torch.zeros(3, 2))
    check_loss(lambda outputs, target: (outputs**2).sum(1), draw(3, 2), torch.zeros(3, 2))
    LOSSES.add(target="class index", link="softmax", source="a test")(halved)
    try:
        with pytest.raises(UsageError, match="the gradient of the loss is not its slope"):
            nw.train("iris", "softmax", loss="halved", epochs=1, out=tmp_path / "run", quiet=True)
    finally:
        del LOSSES._parts["halved"]
    assert not (tmp_path / "run").exists()
    assert gradcheck(lambda z: LOSSES["mse"](z, torch.zeros(3, 2, **F64)), draw(3, 2).requires_grad_())


@pytest.mark.parametrize(("data", "loss"), [("iris", "cross_entropy"), ("diabetes", "mse")])
def test_s088_the_loss_follows_from_the_target(tmp_path, data, loss):
    run = nw.train(nw.read(data), "mlp", epochs=1, out=tmp_path / "run", quiet=True)
    assert run.recipe.table("loss")["name"] == loss


def test_s089_steps_to_an_accuracy_with_two_losses():
    data = nw.read("digits", test=0.0, validation=0.0, batch_size=64)
    x, y = data.input_tensor("train"), data.target_tensor("train")
    taken = {}
    for name, loss in (("cross_entropy", "cross_entropy"), ("mse", {"name": "mse", "link": "softmax"})):
        net = nw.network("softmax", data)
        for step in nw.steps(data, net, loss=loss, optimizer={"name": "sgd", "lr": 0.1}, epochs=20):
            if step.number % 5 == 0 and float((net(x).argmax(1) == y).float().mean()) >= 0.9:
                break
        taken[name] = step.number
    assert taken["cross_entropy"] <= taken["mse"]
    assert taken["cross_entropy"] < 200


def test_s090_a_smaller_training_loss_is_not_a_better_model(tmp_path):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(120, 20)), random.integers(0, 2, 120)  # nothing to learn but the examples
    run = nw.train(
        nw.read(x, y, validation=0.3), {"name": "mlp", "hidden": [64]}, epochs=40, stop_after=0,
        optimizer={"name": "adam", "lr": 0.01}, out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    rows = [row for row in run.folder.rows() if "validation" in row]
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    assert rows[-1]["validation"]["loss"] > 1.2 * rows[0]["validation"]["loss"]  # E-45
    page = run.write_report().read_text()
    assert "training" in page
    assert "validation" in page
