"""The benchmark's parts: the gate, the works' data, equal networks, and a small measurement of real sides."""

import gzip
import io
import json
import os
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from bench.feeding import augmented, criterion, examples
from bench.feeding_arrays import HELD_OUT, held_out, scaled
from bench.networks import network
from bench.sides import limit, own, plain
from bench.works import WORKS, Order, Outcome, cifar10, idx, prepare

import netwright as nw
from bench import __main__ as command
from bench import conduct, gate


class Over(Exception):
    """The end of a side that runs in this process."""


class OneRound(gate.Gate):
    """A gate whose conductor wants two steps after one that is not timed, and then the end."""

    def __init__(self):
        super().__init__(2, io.StringIO(), io.StringIO("peak\nrun 1 2\nend\n"))

    def end(self):
        raise Over

    @property
    def answered(self):
        return [json.loads(line) for line in self.answers.getvalue().splitlines()]


def order(work, side, folder, **more):
    data = WORKS[work].data
    prepare(data, None, folder / data, 96)
    return Order(work, side, str(folder / data), "", "float32", batch=8, warmup=2, **more)


def walk(passing, now):
    """Steps through a gate until it ends; step n takes n seconds."""
    with suppress(Over):
        for step in range(1, 100):
            now[0] += step
            passing()
    assert passing.done < 99


def test_the_gate_times_exactly_the_steps_it_was_told(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(gate.time, "perf_counter", lambda: now[0])
    passing = gate.Gate(4, io.StringIO(), io.StringIO("run 3 5\nrun 0 2\nend\n"))
    monkeypatch.setattr(passing, "end", lambda: (_ for _ in ()).throw(Over()))
    walk(passing, now)
    found = [json.loads(line) for line in passing.answers.getvalue().splitlines()]
    assert found[0]["event"] == "ready"
    assert found[0]["step_seconds"] == 4  # the later half of the warm-up: 3 and 4
    assert [(row["steps"], row["seconds"]) for row in found[1:]] == [(5, 8 + 9 + 10 + 11 + 12), (2, 13 + 14)]
    assert passing.done == 14


def test_the_gate_gives_single_steps_where_latency_matters(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(gate.time, "perf_counter", lambda: now[0])
    passing = OneRound()
    passing.laps = True
    walk(passing, now)
    assert passing.answered[1]["laps"] == [4, 5]


def test_a_round_lasts_about_as_long_as_the_work_says():
    assert conduct.steps_for(WORKS["w3"], 1.1) == 4
    assert conduct.steps_for(WORKS["w3"], 30.0) == 2
    assert conduct.steps_for(WORKS["w1"], 0.01) == 150


def test_groups_fit_into_memory_and_hold_the_anchors():
    sides = ["limit", "netwright", "a", "b", "c", "keras-jax"]
    orders = [Order("w1", side, "", "", "default") for side in sides]

    def found(room):
        return [[one.side for one in part] for part in conduct.grouped(orders, {"limit", "netwright"}, room)]

    assert found(7 * 700) == [sides]
    assert found(7 * 700 - 1) == [["limit", "netwright", "c", "keras-jax"], ["limit", "netwright", "a", "b"]]
    assert len(found(100)) == 4  # too small for anything: one at a time
    assert conduct.grouped(orders[:2], {"limit", "netwright"}, 1) == [orders[:2]]


def test_the_networks_of_the_peers_are_netwright_s():
    for work, name, inputs in (
        ("w1", "convnet", (1, 28, 28)),
        ("w2", "lstm", (28, 28)),
        ("w3", "resnet18", (3, 32, 32)),
    ):
        theirs, ours = network(work), nw.network(name, inputs=inputs, outputs=10)
        sizes = [sorted(tuple(p.shape) for p in net.parameters()) for net in (theirs, ours)]
        assert sizes[0] == sizes[1]
    full = [sum(p.numel() for p in net.parameters()) for net in (
        network("w6-1"), nw.network("resnet18", inputs=(3, 224, 224), outputs=1000))]  # fmt: skip
    assert full == [11_689_512, 11_689_512]
    assert sum(p.numel() for p in network("w1").parameters()) == 28_938


def test_folding_batch_norms_leaves_the_answers():
    net = network("w6-1").eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        x = torch.randn(2, 3, 64, 64)
        expected = net(x)
        torch.testing.assert_close(limit.folded(net)(x), expected, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())


def test_windows_are_cut_out_of_the_padded_pictures():
    picture = torch.arange(40 * 40 * 3, dtype=torch.uint8).view(1, 40, 40, 3)
    mean, deviation = (values.view(3, 1, 1) for values in limit.COLOURS)
    kinds = set()
    for seed in range(40):
        torch.manual_seed(seed)
        found = (limit.cut(picture, torch.tensor([0]))[0] * deviation + mean) * 255
        places = []
        for top in range(9):
            for left in range(9):
                window = picture[0, top : top + 32, left : left + 32].permute(2, 0, 1).float()
                places += [(top, left, False)] if torch.allclose(window, found, atol=0.1) else []
                places += [(top, left, True)] if torch.allclose(window.flip(2), found, atol=0.1) else []
        assert len(places) == 1
        kinds.add(places[0])
    assert len(kinds) > 30
    assert {mirrored for *_, mirrored in kinds} == {False, True}
    assert augmented(np.zeros((32, 32, 3), np.uint8)).shape == (3, 32, 32)


def test_arrays_are_read_from_the_sets_own_files(tmp_path):
    body = b"\0\0\x08\x03" + np.array([2, 3, 4], ">i4").tobytes() + bytes(range(24))
    (tmp_path / "a.gz").write_bytes(gzip.compress(body))
    np.testing.assert_array_equal(idx(tmp_path / "a.gz"), np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    (tmp_path / "b.gz").write_bytes(gzip.compress(body[:-1]))
    with pytest.raises(SystemExit, match="no IDX file"):
        idx(tmp_path / "b.gz")


@pytest.mark.shared_data
def test_the_real_sets_are_read(shared_data, tmp_path):
    found = cifar10(shared_data / "cifar10", 20)
    assert found["images"].shape == (20, 32, 32, 3)
    prepare("tinyshakespeare", shared_data / "tinyshakespeare", tmp_path)
    pieces = np.load(tmp_path / "pieces.npy")
    assert pieces.shape == (1_115_393 // 128, 129)
    assert int(np.load(tmp_path / "vocabulary.npy")) == 65
    np.testing.assert_array_equal(pieces[1:, 0], pieces[:-1, -1])  # each piece begins where the one before ended


def test_examples_are_alike_for_all_sides(tmp_path):
    made = order("w1", "plain", tmp_path)
    item, label = examples(made)[3]
    torch.testing.assert_close(item[0], torch.from_numpy(scaled(made.array("images")[3])))
    assert label == 3
    text = order("w4", "plain", tmp_path)
    inputs, targets = examples(text)[0]
    assert torch.equal(inputs[1:], targets[:-1])
    scores = torch.randn(2, 3, 5)
    chosen = torch.tensor([[0, 1, 2], [3, 4, 0]])
    by_hand = -torch.stack([scores.log_softmax(2)[i, j, chosen[i, j]] for i in range(2) for j in range(3)]).mean()
    torch.testing.assert_close(criterion(scores, chosen), by_hand)


def test_held_out_pictures_are_no_training_pictures():
    images = np.arange(7000)
    kept, held = held_out(images, images % 10, 0.98)
    assert len(held[0]) == HELD_OUT
    assert sorted([*kept[0], *held[0]]) == list(range(7000))
    assert len(held_out(images, images, 0.0)[1][0]) == 0
    outcome = Outcome.of(Order("w5", "plain", "", "", "default"))
    while outcome.more():
        outcome.epoch(0.9 + 0.05 * outcome.done)
    assert outcome.end(0.97) == {"epochs": 3, "held_out": 1.0, "test": 0.97}


@pytest.mark.parametrize("work", ["w1", "w4"])
@pytest.mark.parametrize("module", [limit, plain])
def test_loops_pass_the_gate(work, module, tmp_path):
    passing = OneRound()
    with pytest.raises(Over):
        module.train(order(work, module.__name__.rpartition(".")[2], tmp_path), passing)
    ready, measured = passing.answered
    assert ready["facts"]["precision"] == "float32"
    assert (measured["steps"], passing.done) == (2, 5)
    assert measured["seconds"] > 0


@pytest.mark.parametrize("work", ["w1", "w4"])
def test_netwright_s_own_training_passes_the_gate(work, tmp_path, monkeypatch):
    monkeypatch.setattr(own.start, "fit", own.start.fit)  # so that it is put back
    threads = torch.get_num_threads()
    passing = OneRound()
    with pytest.raises(Over):
        own.train(replace(order(work, "netwright", tmp_path), epochs=1), passing)
    torch.set_num_threads(threads)
    assert passing.answered[1]["facts"]["precision"] == "float32"
    assert passing.answered[1]["steps"] == 2


def test_the_clock_of_a_training_stands_still_while_it_waits(monkeypatch):
    passing = OneRound()
    clock = own.Clock(passing)
    monkeypatch.setattr(own.time, "monotonic", lambda: 100.0)
    passing.paused = 60.0
    assert clock.monotonic() == 40.0
    assert clock.strftime is own.time.strftime


def test_inference_of_all_three_gives_single_steps(tmp_path):
    wanted = Order("w6-1", "limit", str(tmp_path), "", "float32", warmup=2)
    for module in (limit, plain, own):
        passing = OneRound()
        with pytest.raises(Over):
            module.infer(wanted, passing)
        assert len(passing.answered[1]["laps"]) == 2


def test_a_small_measurement_of_real_processes(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_THREADS", "1")
    sides = ["--sides", "limit,plain,netwright", "--peers", str(tmp_path / "none")]
    small = ["--rounds", "2", "--seconds", "0.02", "--examples", "256", "--precision", "float32"]
    command.main(["w1", *sides, *small, "--json", "--out", str(tmp_path / "out")])
    found = json.loads(capsys.readouterr().out)
    (group,) = found["works"]["w1"]
    assert [row["side"] for row in group] == ["limit", "netwright", "plain"]
    for row in group:
        assert row["error"] == ""
        assert len(row["rates"]) == 2 == len(row["others"])
        assert min(row["rates"]) > 0
        assert 0 < row["loop_mb"] <= row["peak_mb"]
        assert row["import_seconds"] > 0
    best = found["summary"]["w1"]["float32"]["judged"]["best_peer"]
    assert best["side"] == "plain"
    assert best["values"] == [a / b for a, b in zip(group[1]["rates"], group[2]["rates"], strict=True)]
    assert found["machine"]["cores"] >= 1
    assert sorted(os.listdir(tmp_path / "out")) == ["results.json", "results.md", "speed-float32.svg"]
    assert json.loads((tmp_path / "out/results.json").read_text())["works"] == found["works"]


def test_a_side_that_cannot_start_is_left_out_and_named(tmp_path, monkeypatch):
    notes = []
    orders = [Order("w1", "skorch", str(tmp_path), "", "default")]
    missing = tmp_path / "python"
    missing.write_text("#!/bin/sh\necho no such framework >&2\nexit 1\n")
    missing.chmod(0o755)
    (records,) = conduct.measure(orders, 1, lambda _: missing, (), notes.append)
    assert records[0].rates == []
    assert "no such framework" in records[0].error
    assert notes == [records[0].error]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["w9"], "'w9' is none of: w1 w2"),
        (["w1", "--sides", "tensorflw"], "'tensorflw' is none of"),
        (["--rounds", "0"], "--rounds is at least 1"),
        (["--data", "nowhere"], "--data nowhere is no folder"),
    ],
)
def test_mistakes_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        command.main(words)
    assert message in capsys.readouterr().err


def test_the_short_form_of_the_command_is_whole():
    found = command.arguments([])
    assert found.works == ["w1", "w2", "w3", "w4"]
    assert found.precision == "both"
    assert found.rounds >= 5


def test_peers_are_measured_once_and_the_anchors_in_both_modes(tmp_path):
    given = command.arguments(["w6-1", "--peers", str(tmp_path / "none")])
    orders = command.orders_for("w6-1", given, command.MODES, tmp_path)
    assert [(order.side, order.precision) for order in orders] == [
        ("limit", "float32"), ("limit", "default"), ("limit-tuned", "default"), ("netwright", "float32"),
        ("netwright", "default"), ("plain", "default"), ("compiled", "default"),
    ]  # fmt: skip
    assert Order.parse(orders[0].text()) == orders[0]
