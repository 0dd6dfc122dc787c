"""Every network with figures of a paper keeps to them, at full size, without memory for its weights."""

from math import prod

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from netwright.api import inputs_of
from netwright.cards import STAGES, family_tree, listing
from netwright.catalogue import NETWORKS
from netwright.measures.anatomy import anatomy

PAPERS = [name for name, part in NETWORKS.items() if "params" in part.facts]
KEYS = {
    "alexnet": 16, "vgg11": 22, "vgg13": 26, "vgg16": 32, "vgg19": 38, "vgg11_bn": 62, "vgg13_bn": 76, "vgg16_bn": 97,
    "vgg19_bn": 118, "googlenet_bn": 344, "inception_v3": 566, "inception_v4": 896, "inception_resnet_v2": 1306,
    "bn_inception": 485, "resnet18": 122, "resnet34": 218, "resnet50": 320, "resnet101": 626, "resnet152": 932,
    "preact_resnet50": 300, "nasnet_large": 1810, "nasnet_mobile": 1318, "mobilenet_v1": 164, "mobilenet_v2": 314,
    "mobilenet_v3_large": 312, "mobilenet_v3_small": 244,
}  # fmt: skip
"""Tensors of the public weight files."""


def weightless(name):
    facts = NETWORKS[name].facts
    outputs = {"kind": facts.get("outputs", "class"), "count": facts.get("classes_at", 1000)}
    with torch.device("meta"):
        return NETWORKS[name](inputs_of(facts["at"]), outputs)


@pytest.mark.parametrize("name", PAPERS)
def test_parameters_and_multiply_adds(name):
    part, net = NETWORKS[name], weightless(name)
    found = anatomy(net, part.facts["at"], name)
    assert (found.parameters, found.macs) == (part.facts["params"], part.facts["macs"])
    assert len(net.state_dict()) == KEYS.get(name, len(net.state_dict()))
    net.eval()
    with FlopCounterMode(display=False) as counted:
        net(torch.zeros(1, *part.facts["at"], device="meta"))
    torchs = counted.get_total_flops() // 2
    if name.startswith("fcn"):
        assert torchs > found.macs  # torch counts the fixed interpolation, which no weight takes part in
    else:
        partial = 36 * 25 * 100 if name == "lenet5" else 0  # C3's table leaves out 36 of 96 kernels
        assert torchs == found.macs + partial


@pytest.mark.parametrize("name", PAPERS)
def test_figures_come_with_a_year_a_size_and_what_the_error_is_of(name):
    facts = NETWORKS[name].facts
    assert 1940 < facts["year"] < 2030
    assert prod(facts["at"]) > 0
    assert ("error" in facts) == ("error_on" in facts)
    assert 0 < facts.get("error", 1) < 100


def test_the_family_tree_holds_its_five_stages_and_known_parents():
    tree = family_tree().to_json()["stages"]
    assert [row["stage"] for row in tree] == list(STAGES)
    members = {member["name"]: row["stage"] for row in tree for member in row["members"]}
    for name, stage in {"alexnet_2012": "deeper and wider", "vgg16": "deeper and wider", "resnet50": "new structure",
                        "googlenet": "new structure", "inception_resnet_v2": "combination",
                        "nasnet_large": "self-learned",
                        "mobilenet_v1": "practical"}.items():  # fmt: skip
        assert members[name] == stage
    for row in tree:
        for member in row["members"]:
            assert set(member["parents"]) <= set(NETWORKS), member
            assert all(NETWORKS[parent].facts["year"] <= member["year"] for parent in member["parents"]), member


@pytest.mark.parametrize("by", ["year", "params", "macs"])
def test_lists_stand_in_order(by):
    values = [row[by] for row in listing("networks", by).parts]
    known = [value for value in values if value is not None]
    assert known == sorted(known)
    assert values[len(known) :] == [None] * (len(values) - len(known))
    assert len(known) > 40


def test_errors_are_ordered_within_a_data_set():
    rows = [row for row in listing("networks", "error").parts if (row["error_on"] or "").startswith("ImageNet")]
    assert [row["error"] for row in rows] == sorted(row["error"] for row in rows)
    assert rows[0]["name"] == "nasnet_large"
