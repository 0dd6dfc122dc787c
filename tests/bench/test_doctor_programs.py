"""The doctor's development set: what its registry promises, that programs build and step, and Wilson's interval."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from bench.doctor import freeze
from bench.doctor.examining import judged, plain
from bench.doctor.programs import HALVES, PROGRAMS
from bench.doctor.programs.case import Case, as_is, cut, held_out, skill
from bench.doctor.programs.registry import FAMILIES, halves
from bench.doctor.table import report, stability
from bench.doctor.training import one_step, train
from bench.doctor.verify import same
from bench.doctor.wilson import share, wilson
from torch import nn

KNOWN = {
    *(f"A{n}" for n in range(1, 16)), *(f"B{n}" for n in range(1, 13)), *(f"C{n}" for n in range(1, 17)),
    *(f"D{n}" for n in range(1, 12)), *(f"E{n}" for n in range(1, 9)), *(f"F{n}" for n in range(1, 5)),
}  # fmt: skip


def kept():
    names = json.loads(freeze.FROZEN.read_text())["programs"]
    return [PROGRAMS[name] for half in names.values() for name in half]


def test_each_half_has_sixty_faulty_and_sixty_healthy_programs():
    for half in ("tuning", "reporting"):
        programs = [program for program in kept() if program.half == half]
        assert sum(program.healthy for program in programs) >= 60
        assert sum(not program.healthy for program in programs) >= 60
        assert sum(program.strength == "trap" for program in programs) >= 20


def test_halves_share_no_family_and_follow_the_rule():
    assert halves() == HALVES
    assert {program.base for program in kept()} <= {name for names in FAMILIES.values() for name in names}
    assert HALVES["clouds"] == "tuning"  # the lowest hash of the tables
    for names in FAMILIES.values():
        parts = [HALVES[name] for name in names]
        assert 0 <= parts.count("tuning") - parts.count("reporting") <= 1


def test_truths_are_faults_of_the_catalogue():
    assert len(KNOWN) == 66
    for program in PROGRAMS.values():
        assert program.truth | program.also <= KNOWN, program.name
        assert not program.truth & program.also, program.name
        assert (program.strength in ("just", "clear", "gross")) == (not program.healthy), program.name
        assert program.healthy or program.amount != program.cured or program.amount is not program.cured, program.name


def test_most_faults_stand_in_both_halves():
    found = {half: {f for p in kept() if p.half == half for f in p.truth} for half in ("tuning", "reporting")}
    assert len(found["tuning"] | found["reporting"]) >= 50
    assert len(found["tuning"] & found["reporting"]) >= 40


def test_frozen_sources_have_not_moved():
    assert freeze.moved() == []


def test_names_left_out_have_a_reason_and_are_not_run():
    left_out = json.loads(freeze.EXCLUDED.read_text())
    names = {program.name for program in kept()}
    assert all(row["reason"] and row["name"] not in names for row in left_out)


@pytest.mark.parametrize("name", [
    "moons_sequential", "digits_lenet", "letters_lstm", "cancer_accumulating", "A3-hastie_missing-clear",
    "B8-friedman_column_against_row-clear", "E4-circles_no_step-clear", "E6-cancer_accumulated_undivided-clear",
])  # fmt: skip
def test_programs_build_alike_and_step(name):
    program = PROGRAMS[name]
    case = program.make(3)
    assert same(case, program.make(3))
    assert not same(case, program.make(4))
    before = {key: value.clone() for key, value in case.module.state_dict().items()}
    for _, batch in zip(range(20), case.batches, strict=False):
        one_step(case, batch)
    after = case.module.state_dict()
    moved = any(not torch.equal(before[key], after[key]) for key in before)
    assert moved == (name != "E4-circles_no_step-clear")


def test_a_recipe_program_carries_tables():
    case = PROGRAMS["recipe_digits"].make(5)
    assert case.recipe["data"]["path"] == "digits"
    assert case.recipe["seed"] == 5
    assert case.module is None


def test_a_fault_costs_skill_and_its_fix_gives_it_back():
    program = PROGRAMS["B3-circles_softmax_of_one-clear"]
    assert train(program.make(0)).skill < 0.1
    assert train(program.fixed(0)).skill > 0.8


def test_skill_is_zero_for_the_best_constant_and_one_for_right():
    truth = torch.tensor([0, 0, 0, 1])
    assert skill(torch.zeros(4, dtype=torch.long), truth) == 0
    assert skill(truth, truth) == 1
    assert skill(torch.tensor([0, 0, 1, 1]), truth) == 0  # 3 of 4 right, as the constant
    assert skill(torch.zeros(4, dtype=torch.long), truth, balanced=True) == 0
    assert skill(torch.tensor([0, 0, 1, 1]), truth, balanced=True) == pytest.approx((5 / 6 - 0.5) / 0.5)
    numbers = torch.tensor([[1.0], [2.0], [3.0]])
    assert skill(numbers, numbers) == 1
    assert skill(torch.full((3, 1), 2.0), numbers) == 0
    assert skill(numbers * 100, numbers) == -1
    assert skill(torch.zeros(3), numbers) == -1  # another shape answers another question


def test_scores_leave_modes_alone_and_are_nan_where_outputs_are():
    net = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5))
    pair = (torch.ones(3, 1), torch.tensor([[1.0], [2.0], [4.0]]))
    held_out(pair, as_is)(net)
    assert net.training
    assert net[1].training
    net[0].bias.data.fill_(torch.nan)
    assert math.isnan(held_out(pair, as_is)(net))
    assert [len(x) for x, _ in cut(torch.zeros(5, 1), torch.zeros(5), 2)] == [2, 2, 1]
    assert train(Case(net, nn.MSELoss(), torch.optim.SGD(net.parameters(), lr=0), [pair], score=lambda m: 0.5)).finite


def test_wilson_against_known_values():
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for k, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(20, 20) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)
    assert all(math.isnan(end) for end in wilson(0, 0))
    assert share(81, 263) == "81 of 263 = 30.8 % [25.5, 36.6]"


def row(name, verdict, faults, seed=0, **more):
    return judged(
        PROGRAMS[name], {"name": name, "seed": seed, "verdict": verdict, "faults": faults, "seconds": 2.0} | more
    )


def test_rows_are_judged_by_truth_and_equivalents():
    pair = row("A1-D1-moons_raw_and_fast-clear", "faulty", ["C2", "D1"])
    assert (pair["detected"], pair["top1"], pair["top2"], pair["false_alarm"]) == (True, False, True, False)
    same_cause = row("A5-digits_off_by_one-clear", "faulty", ["A13"])
    assert same_cause["top1"]
    silent = row("A1-wine_raw-clear", "unsure", ["A1"])
    assert not silent["detected"]
    assert not silent["top1"]  # named, and not called a fault
    healthy = row("moons_sequential", "faulty", ["D1"])
    assert healthy["false_alarm"]
    assert not healthy["detected"]


def test_repairs_are_held_to_the_reference_fix():
    good = row("A1-wine_raw-clear", "faulty", ["A1"], before=0.4, fixed=0.95, after=0.94)
    bad = row("A1-wine_raw-clear", "faulty", ["A1"], before=0.4, fixed=0.95, after=0.3)
    none = row("A1-wine_raw-clear", "faulty", ["A1"], before=0.4, fixed=0.95, after=None)
    assert [r["repaired"] for r in (good, bad, none)] == [True, False, False]
    assert [r["worse"] for r in (good, bad, none)] == [False, True, False]


def test_the_table_counts_programs_once_and_lists_misses():
    rows = [
        row("A1-wine_raw-clear", "faulty", ["D1"]), row("A1-wine_raw-clear", "faulty", ["A1"], seed=1),
        row("moons_sequential", "healthy", []), row("moons_fast_descent", "faulty", ["D1"]),
    ]  # fmt: skip
    text = report(rows)
    assert "| detection | 1 of 1 = 100.0 %" in text
    assert "| cause first | 0 of 1" in text
    assert "| false alarms on healthy programs | 1 of 2 = 50.0 %" in text
    assert "| A1 | 1 | 1 | 0 | 0 | 0 | D1 x 1 |" in text
    assert "- A1-wine_raw-clear: faulty, said D1" in text
    assert "- moons_fast_descent: D1" in text
    assert stability(rows).startswith("Same verdict on 2 of 2")


def test_a_program_that_raises_is_a_row():
    found = judged(PROGRAMS["A1-wine_raw-clear"], {"name": "A1-wine_raw-clear", "seed": 0, "error": "took longer"})
    assert not found["detected"]
    assert "took longer" in report([found])
    assert plain({"a": math.nan, "b": SimpleNamespace()})["a"] is None
