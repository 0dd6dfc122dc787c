"""The doctor's contest: its rivals' changes are made and undone, its table counts as it says, one program runs."""

import json
import math
import random

import pytest
import torch
from bench.doctor import contest
from bench.doctor.contest import Chart, outcome, report, reset, search, searched, subject_of, tried, with_changes
from bench.doctor.programs import PROGRAMS
from bench.doctor.training import train
from torch.optim import Adam, RMSprop

from netwright.doctor.chart import Clock

FAST = PROGRAMS["D1-clouds_adam_too_fast-clear"]
FADING = PROGRAMS["D8-spirals_decayed_after_each_batch-clear"]


def fought(ours, random=0.5, defaults=0.5, search=0.5, **more):
    skills = {"random": random, "defaults": defaults, "search": search}
    rivals = {kind: {"skill": skill, "trials": 4, "chosen": "nothing"} for kind, skill in skills.items()}
    own = {} if ours is None else {"doctor": {"skill": ours, "cpu": 3.0}}
    return {"name": "one", "before": 0.0, "fixed": 0.9, **own, **rivals, **more}


def test_a_skill_within_two_points_is_a_tie():
    assert [outcome(fought(0.9, 0.9 + d), "random") for d in (-0.03, -0.02, 0.0, 0.02, 0.03)] == [
        "win", "tie", "tie", "tie", "loss",
    ]  # fmt: skip


def test_a_doctor_without_an_answer_has_lost_and_a_rival_without_one_is_not_compared():
    assert outcome(fought(None), "search") == "loss"
    row = fought(0.9)
    del row["search"]
    assert outcome(row, "search") == "none"
    assert outcome(fought(0.1, random=None), "random") == "win"  # outputs that are not finite are worst
    assert outcome(fought(math.nan), "random") == "loss"


def test_the_table_counts_with_wilsons_interval_and_lists_losses():
    rows = [fought(0.9), fought(0.5), fought(0.4, name="two"), fought(None, name="three", error="took longer")]
    found = report(rows)
    line = next(line for line in found.splitlines() if line.startswith("| random change"))
    assert "2 of 4 = 50.0 % [15.0, 85.0] | 1 | 1 | 2 | 0 | 0.500 | 4.0 |" in line  # Wilson 1927, by hand
    assert "- two against reset to defaults: 0.400 to 0.500 (nothing)" in found
    assert "- three against 20-trial search: nothing to 0.500" in found
    assert "- three: took longer" in found
    assert "as given 0.000, reference fix 0.900, doctor 0.500" in found


def test_a_table_is_printed_from_a_file(tmp_path, capsys):
    (tmp_path / "rows.json").write_text(json.dumps([fought(0.9)]))
    contest.main(["table", str(tmp_path / "rows.json")])
    assert "1 of 1 = 100.0 %" in capsys.readouterr().out
    assert "Programs: 0." in report([])


def test_only_faulty_modules_are_contested():
    names = contest.contestable("tuning", ["moons_in_small", "recipe_moons", "moons_fast"])
    assert "A1-moons_in_small_units-just" in names
    assert not any("recipe" in name or PROGRAMS[name].healthy for name in names)


def test_a_reset_is_made_in_place_and_undone_bit_for_bit():
    subject = subject_of(FAST.make(0))
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    groups = [dict(group) for group in subject.optimizer.param_groups]
    change = reset("other", RMSprop, 3, 2, lr=0.01, weight_decay=1e-3)
    with subject.live([change]) as live:
        assert type(subject.optimizer) is RMSprop
        assert live.optimizers[0] is subject.optimizer
        assert subject.optimizer.param_groups[0]["lr"] == 0.01
        first = next(live.model.parameters())
        assert len(first) == 96  # 48 units, twice as many
        live.step()
    after = subject.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert type(subject.optimizer) is Adam
    assert subject.optimizer.param_groups[0]["lr"] == groups[0]["lr"] == 0.5


def test_the_initial_weights_are_those_of_torch_and_of_the_seed():
    weights = []
    for seed in (1, 1, 2):
        case = FAST.make(0)
        with_changes(case, [reset("", Adam, seed, lr=1e-3)])
        weights.append(case.module[0].weight.detach().clone())
    torch.manual_seed(1)
    assert torch.equal(weights[0], torch.nn.Linear(20, 48).weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")
def test_a_step_of_the_persons_own_keeps_its_schedule_at_the_new_rate():
    case = FADING.make(0)
    changed = with_changes(case, [reset("", Adam, 0, lr=1e-3)])
    rates = []
    for _, batch in zip(range(3), changed.batches, strict=False):
        rates.append(case.optimizer.param_groups[0]["lr"])
        changed.step(*batch)
    assert rates == pytest.approx([1e-3, 0.9e-3, 0.81e-3])  # the factor after each batch stays


def test_another_batch_size_leaves_the_number_of_epochs():
    case = PROGRAMS["D5-hastie_one_update_an_epoch-clear"].make(0)
    steps = [0]
    case.optimizer.register_step_post_hook(lambda *_: steps.__setitem__(0, steps[0] + 1))
    train(with_changes(case, [contest.batches_of(32)]))
    assert steps[0] == 14 * 38  # 1200 rows


def test_training_as_given_is_the_programs_own_training():
    plain, wrapped = (
        PROGRAMS["C3-spirals_small_normal-clear"].make(0),
        PROGRAMS["C3-spirals_small_normal-clear"].make(0),
    )
    assert train(with_changes(wrapped, [])).skill == train(plain).skill
    ours, theirs = wrapped.module.state_dict(), plain.module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_draws_are_the_same_for_the_same_seed():
    one, two = (searched(random.Random("a"), (1, 2, 4), 500) for _ in range(2))
    assert [change.name for change in one] == [change.name for change in two]
    assert one != searched(random.Random("b"), (1, 2, 4), 500)


def test_a_search_keeps_what_is_best_on_validation_and_ends_on_time():
    subject = subject_of(FAST.make(0))
    chart = Chart(subject, Clock())
    offers = [[reset("bad", Adam, 0, lr=1e-9)], [reset("good", Adam, 0, lr=3e-3)], [reset("worse", Adam, 0, lr=1e-8)]]
    left = iter(offers)
    best, facts = search(chart, lambda: next(left), 20.0, 3)
    assert [change.name for change in best] == ["good"]
    assert facts["trials"] == 3
    assert facts["share"] == 1.0
    assert facts["validation"] == pytest.approx(tried(subject, best, 1.0, chart.sigmoid)[0])
    assert facts["validation"] > 0.8
    _, facts = search(chart, lambda: offers[0], 0.2, 0)
    assert facts["trials"] > 1
    assert facts["cpu"] < 1.0


def test_a_change_that_cannot_be_made_is_a_failed_trial_and_the_program_stays():
    def broken(build, *args, **settings):
        raise ValueError

    subject = subject_of(FAST.make(0))
    best, facts = search(Chart(subject, Clock()), lambda: [reset("", broken, 0, lr=1.0)], 5.0, 2)
    assert best == []
    assert facts["failed"] == facts["trials"] == 2
    found = contest.full(FAST, 0, [reset("", broken, 0, lr=1.0)])
    assert found["skill"] == train(FAST.make(0)).skill
    assert "ValueError" in found["error"]


@pytest.mark.slow
def test_a_program_is_contested_in_a_process_of_its_own():
    found = contest.row(FAST.name, budget=20.0)
    assert found["done"]
    assert "error" not in found
    assert found["doctor"]["faults"][0] == "D1"
    assert all(outcome(found, kind) in ("win", "tie") for kind in contest.RIVALS)
    assert found["search"]["cpu"] <= 1.5 * found["doctor"]["cpu"] + 1
    assert found["search"]["trials"] <= 20


@pytest.mark.slow
def test_what_is_known_is_kept_when_the_time_is_up():
    found = contest.row(FAST.name, limit=0.5)
    assert found["error"] == "took longer than 0 s"
    assert outcome(found, "random") == "loss"
