"""training.freeze: which weights rest, and that nothing of them moves."""

import pytest
import torch
from torch import nn

from netwright.api import network
from netwright.errors import UsageError
from netwright.weights.freezing import freeze


def trainable(model: nn.Module) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def resnet() -> nn.Module:
    return network("resnet18", inputs=(3, 64, 64), outputs=10, width=0.1)


def norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def test_nothing_is_frozen_by_default():
    for wanted in ("", []):
        model = resnet()
        assert freeze(model, wanted) == []
        assert len(trainable(model)) == len(list(model.parameters()))


def test_features_are_all_but_the_head():
    model = resnet()
    assert freeze(model, "features") == norms(model)
    assert trainable(model) == {"fc.weight", "fc.bias"}
    preact = network("preact_resnet18", inputs=(3, 64, 64), outputs=10, width=0.1)
    freeze(preact, "features")
    assert trainable(preact) == {"head.fc.weight", "head.fc.bias"}
    stack = network("stack", inputs=(1, 8, 8), outputs=3, layers="conv 4 3, relu, linear 5, relu, linear out")
    freeze(stack, ["features"])
    assert [weight.shape[0] for name, weight in stack.named_parameters() if name in trainable(stack)] == [3, 3]


def test_auxiliary_heads_learn_with_the_head():
    model = network("googlenet_bn", inputs=(3, 64, 64), outputs=10, width=0.1, aux=True)
    resting = freeze(model, "features")
    assert {name.partition(".")[0] for name in trainable(model)} == {"fc", "aux1", "aux2"}
    inside = {module for name, module in model.named_modules() if name.startswith("aux")}
    assert not inside & set(resting)
    assert resting


def test_names_take_all_below_them_and_nothing_beside():
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
    freeze(model, ["1", "3.weight"])
    assert {name for name, _ in model.named_parameters()} - trainable(model) == {"1.weight", "1.bias", "3.weight"}
    model = resnet()
    resting = freeze(model, ["conv1", "bn1", "layer1.0"])
    assert resting == [model.bn1, model.layer1[0].bn1, model.layer1[0].bn2]
    model = resnet()
    assert freeze(model, "layer2") == norms(model.layer2)


def test_norms_rest_only_where_all_of_them_is_frozen():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.BatchNorm1d(2, affine=False), nn.Linear(2, 2))
    assert freeze(model, ["1.weight"]) == []
    assert freeze(model, ["1"]) == [model[1]]
    assert freeze(model, "features") == [model[1], model[2]]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("layr1", "Did you mean 'layer1'"), (["conv1", "nope"], "no weights called 'nope'"), (["maxpool"], "maxpool"),
        ("layer", "Known: features, conv1, bn1, layer1, layer2, layer3, layer4, fc"), ([3], "no weights called 3"),
        ([""], "leaves|no weights"), ("feature", "Did you mean 'features'"),
        (["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"], "leaves nothing to train"),
    ],
)  # fmt: skip
def test_names_that_are_not_there_are_refused(wanted, words):
    if wanted == [""]:
        assert freeze(resnet(), wanted) == []
        return
    model = resnet()
    with pytest.raises(UsageError, match=words):
        freeze(model, wanted)
    assert len(trainable(model)) == len(list(model.parameters()))


def test_a_network_that_is_only_a_head_has_no_features_to_freeze():
    model = network("softmax", inputs=4, outputs=3)
    freeze(model, "features")
    assert trainable(model) == {name for name, _ in model.named_parameters()}


def test_frozen_tensors_do_not_move():
    from netwright.data.read import read
    from netwright.training.checkpoints import model_tensors
    from netwright.training.job import Job, new_batches, new_state
    from netwright.training.launch import launch
    from netwright.training.loop import steps
    from netwright.training.plan import build, resolve
    from netwright.training.progress import Progress

    data = read("digits", limit=200)
    from netwright.recipe import Recipe

    words = ["network=convnet", "network.norm=batchnorm", "freeze=features", "epochs=2", "optimizer=adamw"]
    recipe = resolve(Recipe().override(words), data)
    job = Job(data, recipe, build(recipe, data.inputs, data.outputs), launch(recipe.table("training")), Progress(True))
    before = model_tensors(job.model)
    state, batches = new_state(job), new_batches(job)
    state.total_steps = 2 * batches.per_epoch
    assert state.resting
    assert len(list(steps(state, batches, 2))) == 2 * batches.per_epoch
    after = model_tensors(job.model)
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved == {"out.weight", "out.bias"}
    assert any("running_mean" in name for name in after)
    assert len(state.tensors()) == 2 * 3  # Adam's two moments and step count, for the head alone
