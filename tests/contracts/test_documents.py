"""The tables of the documents: their figures are the catalogue's own, in both languages."""

import inspect
import re
from pathlib import Path

import pytest

from netwright import language
from netwright.catalogue import FAMILIES, NETWORKS, READERS, Setting
from netwright.cli import _run
from netwright.parts.activations import properties_table
from netwright.report.words import main_metric
from netwright.training.plan import BY_TASK

ROOT = Path(__file__).parents[2]
NETWORK_PAGES = ["docs/networks.md", "docs/zh/networks.md"]
PART_PAGES = ["docs/parts.md", "docs/zh/parts.md"]
SECTIONS = {
    "losses": 0, "activations": 1, "optimizers": 2, "schedules": 3, "initializers": 4, "norms": 5, "pooling": 6,
    "augmentations": 8, "cells": 9, "attention": 10, "metrics": 11,
}  # fmt: skip
"""Which section of the page on parts holds a family's table; the one without a family is on regularisers."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def rows(text: str) -> dict[str, list[str]]:
    """Name -> the other cells of each table row whose first cell is one name in code."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" |")] if line.startswith("| `") else []
        if cells and (name := re.fullmatch(r"`(\w+)`", cells[0])):
            assert name[1] not in found, f"{name[1]} stands twice"
            found[name[1]] = cells[1:]
    return found


def section(page: str, family: str) -> str:
    """The part of a page that holds a family's table."""
    return re.split(r"^## .*$", text_of(page), flags=re.MULTILINE)[1 + SECTIONS[family]]


@pytest.mark.parametrize("page", NETWORK_PAGES)
def test_figures_of_networks_are_the_facts(page: str):
    shown = {name: cells for name, cells in rows(text_of(page)).items() if len(cells) == 6}
    assert set(shown) == {name for name, part in NETWORKS.items() if "params" in part.facts}
    for name, (shape, params, macs, error, on, what) in shown.items():
        facts = NETWORKS[name].facts
        assert shape == "x".join(map(str, facts["at"])), name
        assert (params, macs) == (f"{facts['params']:,}", f"{facts['macs']:,}"), name
        score = facts.get("error", facts.get("mean_iou"))
        assert error == ("" if score is None else f"{score:g}"), name
        where = facts["error_on"] if "error" in facts else facts.get("mean_iou_on", "") if score is not None else ""
        assert on.split(" ")[0].split("，")[0].split("（")[0].strip(",") == where.split(" ")[0].strip(","), name
        assert what, name


@pytest.mark.parametrize("page", NETWORK_PAGES)
def test_other_figures_on_the_page_are_the_facts(page: str):
    text = text_of(page)
    for figure in (NETWORKS["googlenet"].facts["params_aux"], 27_161_264, 23_834_568):
        assert f"{figure:,}" in text
    assert NETWORKS["inception_v3"].facts["params"] == 23_834_568
    assert "340,908" in text


@pytest.mark.parametrize("page", NETWORK_PAGES)
def test_shown_output_is_what_the_command_prints(page: str, capsys, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_LANG", "en")
    text = text_of(page)
    assert _run(["anatomy", "convnet"]) == 0
    assert capsys.readouterr().out.rstrip() in text
    assert _run(["anatomy", "stack", "layers=conv 16 9, maxpool 4, conv 32 9, linear out"]) == 2
    assert capsys.readouterr().err.rstrip() in text
    assert _run(["list", "networks", "--tree"]) == 0
    tree = capsys.readouterr().out
    assert tree[tree.index("combination") : tree.index("self-learned")].rstrip() in text
    language.speak(None)


def written(setting: Setting) -> str:
    """A setting with its default, as the tables write it."""
    if setting.default is inspect.Parameter.empty:
        return setting.name
    return f"{setting.name}={value(setting.default)}"


def value(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list | tuple):
        return "[" + ",".join(map(value, default)) + "]"
    return f"{default:.4g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("page", PART_PAGES)
@pytest.mark.parametrize("family", [name for name in SECTIONS if name != "activations"])
def test_parts_stand_with_all_their_settings(page: str, family: str):
    shown = rows(section(page, family))
    assert sorted(shown) == sorted(FAMILIES[family])
    for name, cells in shown.items():
        settings = cells[-1] if family == "losses" else cells[0]
        assert settings.strip("`") == " ".join(map(written, FAMILIES[family][name].settings.values())), name
        assert all(cells[1:-1])


def test_losses_stand_with_their_target_and_link():
    for name, cells in rows(section("docs/parts.md", "losses")).items():
        facts = FAMILIES["losses"][name].facts
        assert cells[:2] == [facts["target"], facts["link"]], name


@pytest.mark.parametrize("page", PART_PAGES)
def test_properties_of_activations_are_the_measured_ones(page: str):
    shown, measured = rows(section(page, "activations")), properties_table()
    assert list(shown) == list(measured)
    sides = {"nowhere": "无", "below": "下方", "above": "上方", "both sides": "两侧"}
    for name, cells in shown.items():
        found = measured[name]
        numbers = (found.low, found.high, found.least_slope, found.largest_slope, found.slope_at_0, found.mean)
        for cell, number in zip(cells[:6], numbers, strict=True):
            assert float(cell) == number, name
        assert [cell in ("yes", "是") for cell in cells[6:8]] == [found.monotonic, found.smooth], name
        assert cells[8] in (found.saturates, sides[found.saturates]), name
    for name in set(FAMILIES["activations"]) - set(measured):
        assert f"`{name}`" in section(page, "activations")


@pytest.mark.parametrize("page", ["docs/sequences.md", "docs/zh/sequences.md"])
def test_the_tasks_stand_with_their_networks_and_metrics(page: str):
    lines = [line.split(" | ") for line in text_of(page).splitlines() if line.count(" | ") == 4]
    shown = {cells[1].strip("`"): cells[2:4] for cells in lines}
    for task, network in BY_TASK.items():
        assert f"`{network}`" in shown[task][0], task
        assert f"`{main_metric(task)}`" in shown[task][1], task


@pytest.mark.parametrize("folder", ["docs", "docs/zh"])
def test_every_setting_of_a_reader_is_explained(folder: str):
    text = "".join(text_of(f"{folder}/{name}.md") for name in ("data", "sequences", "training"))
    missing = [
        f"{reader}: {name}"
        for reader, part in READERS.items()
        for name in part.settings
        if not re.search(rf"`data\.{name}[`=]|^\| `{name}` \|", text, re.MULTILINE)
    ]
    assert missing == []


@pytest.mark.parametrize(("page", "words"), [("README.md", "{} networks"), ("README.zh-CN.md", "共 {} 个网络")])
def test_the_readme_counts_the_networks(page: str, words: str):
    assert words.format(len(NETWORKS) - 1) in text_of(page)  # `stack` is a notation, not a network
