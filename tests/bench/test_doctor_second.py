"""The second reporting set: as it was frozen, large enough, on data of its own, and known to the runner."""

import json

import torch
from bench.doctor import examining
from bench.doctor.programs.registry import FAMILIES as FIRST
from bench.doctor.second import PROGRAMS, freeze
from bench.doctor.second.registry import FAMILIES
from bench.doctor.training import train
from bench.doctor.verify import same


def kept():
    return [PROGRAMS[name] for name in freeze.frozen_names()]


def test_sources_and_names_are_as_frozen():
    assert freeze.moved() == []


def test_a_changed_source_or_name_is_seen(tmp_path, monkeypatch):
    known = json.loads(freeze.FROZEN.read_text())
    known["sources"]["second/traps.py"] = "0" * 64
    known["programs"]["second"].pop()
    (tmp_path / "FROZEN.json").write_text(json.dumps(known))
    monkeypatch.setattr(freeze, "FROZEN", tmp_path / "FROZEN.json")
    assert freeze.moved() == ["second/traps.py", "FROZEN.json"]


def test_the_set_is_large_enough_and_on_data_of_its_own():
    programs = kept()
    assert sum(not program.healthy for program in programs) >= 65
    assert sum(program.healthy for program in programs) >= 65
    assert sum(program.strength == "trap" for program in programs) >= 25
    assert not set(FAMILIES) & {name for names in FIRST.values() for name in names}
    assert {program.half for program in programs} == {"second"}
    assert {fault[0] for program in programs for fault in program.truth} == set("ABCDEF")


def test_names_left_out_have_a_reason():
    left_out = json.loads(freeze.EXCLUDED.read_text())
    names = {program.name for program in kept()}
    assert all(row["reason"] and row["name"] not in names for row in left_out)


def test_the_runner_finds_its_programs():
    assert all(examining.PROGRAMS[name] is PROGRAMS[name] for name in freeze.frozen_names())


def test_a_seed_makes_a_program_again():
    program = PROGRAMS["houses_dict_of_outputs"]
    assert same(program.make(1), program.make(1))
    assert not same(program.make(1), program.make(2))


def test_a_fault_costs_skill_and_its_fix_gives_it_back():
    torch.set_num_threads(1)
    program = PROGRAMS["B8-houses_squeeze_forgotten-clear"]
    assert train(program.make(0)).skill < 0.2
    assert train(program.fixed(0)).skill > 0.9
