"""The sweep's table, and that no choice ever looks at the test split."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from synthetic import make_trial, save, save_accuracy

from benchmarks.contract.choices.profiles import PROFILES, USUAL_NET
from benchmarks.contract.choices.tuning import best_point, choices, chosen_point, points_to_try, tuning_records
from benchmarks.plan.trials import Plan, Request
from benchmarks.report.build import write_report
from benchmarks.report.frame import results_frame
from benchmarks.report.tables.summary import summary_table
from benchmarks.report.tables.tuning import tuning_table
from benchmarks.sweep.run import Runner
from benchmarks.tasks.images import constellations
from benchmarks.tasks.task import Data
from benchmarks.training import train as train_module

PROFILE = PROFILES["quick", "constellations"]
FIRST, SECOND = PROFILE.tuned_weight_decays

PUBLISHED = Path(__file__).parents[3] / "results" / "published"


def save_point(folder, mixer: str, lr: float, decay: float, top1: float | None) -> None:
    trial = make_trial("tuning", mixer, lr=lr, weight_decay=decay, epochs=4, batch_size=128)
    if top1 is None:
        save(folder, trial, status="diverged", reason="the loss is not a number")
    else:
        save(folder, trial, {"val_top1_percent": top1, "train_s": 10.0})


@pytest.fixture
def swept(tmp_path):
    """dct is best inside the grid, attention at its lowest rate, random not yet done."""
    for lr, dct, attention in zip(PROFILE.tuned_lrs, (20, 40, 35, 10, 5), (50, 45, None, 20, 15), strict=True):
        save_point(tmp_path, "dct", lr, FIRST, dct)
        save_point(tmp_path, "attention", lr, FIRST, attention)
    save_point(tmp_path, "dct", PROFILE.tuned_lrs[1], SECOND, 42)
    save_point(tmp_path, "attention", PROFILE.tuned_lrs[0], SECOND, 50.9)  # better, but not by what a seed can tell
    save_point(tmp_path, "random", PROFILE.tuned_lrs[0], FIRST, 30)
    return tmp_path


def accuracy_of(rate_to_top1: dict[float, float | None]) -> dict:
    return {(lr, FIRST): [top1] for lr, top1 in rate_to_top1.items()}


@pytest.mark.parametrize(
    ("top1", "rates"),
    [
        ({}, [1, 2]),
        ({1: 30}, [1, 2]),
        ({1: 30, 2: 40}, [1, 2, 3]),
        ({1: 30, 2: 40, 3: 35}, [1, 2, 3]),
        ({1: 30, 2: 40, 3: 50}, [1, 2, 3, 4]),
        ({1: 30, 2: 40, 3: 50, 4: 45}, [1, 2, 3, 4]),
        ({1: 40, 2: 30}, [0, 1, 2]),
        ({1: 40, 2: 30, 0: 45}, [0, 1, 2]),
        ({1: 40, 2: 40}, [0, 1, 2]),
        ({1: 20, 2: None}, [0, 1, 2]),
        ({1: None, 2: None}, [0, 1, 2]),
        ({1: None, 2: None, 0: None}, [0, 1, 2]),
        ({0: 99, 1: 30, 2: 40, 3: 35}, [1, 2, 3]),  # nobody asked for the first
    ],
)
def test_the_search_goes_on_past_the_better_rate_until_it_stands_between_worse_ones(top1, rates):
    grid = PROFILE.tuned_lrs
    points = points_to_try(accuracy_of({grid[i]: value for i, value in top1.items()}), PROFILE)
    assert [lr for lr, decay in points if decay == FIRST] == [grid[i] for i in rates]
    complete = set(rates) <= set(top1)
    any_known = any(top1[i] is not None for i in rates) if complete else False
    assert (SECOND in [decay for _, decay in points]) == (complete and any_known)


@pytest.mark.parametrize("top1", [{}, {0: 30.0}, {0: 30.0, 1: 40.0, 2: 35.0}, {0: 61.5, 1: 61.5, 2: 61.5, 3: 61.5}])
def test_rates_that_a_user_listed_are_tried_all(tmp_path, top1):
    listed = (0.008, 0.001, 0.003, 0.0003)
    request = Request(dataset="constellations", profile="quick", results=tmp_path, lr=listed)
    profile = Plan(request).profile
    tried = accuracy_of({sorted(listed)[i]: value for i, value in top1.items()})
    assert [lr for lr, decay in points_to_try(tried, profile) if decay == FIRST] == sorted(listed)


def test_a_mixer_that_nothing_trains_has_no_choice():
    assert best_point(accuracy_of(dict.fromkeys(PROFILE.tuned_lrs)), PROFILE) is None


OWN = PROFILE.tuned_lrs[0] * 1.5  # no rate of the profile's


@pytest.mark.parametrize(
    ("points", "chosen"),
    [
        ({(OWN, FIRST): 30, (1.0, FIRST): 40, (1.0, SECOND): 40.5}, (1.0, FIRST)),  # LR=...,1
        ({(OWN, FIRST): 30, (1.0, FIRST): 40, (1.0, SECOND): 45}, (1.0, SECOND)),
        ({(OWN, FIRST): 30, (1.0, FIRST): 40}, (1.0, FIRST)),  # LR=...,1 WEIGHT_DECAY=0.05
        ({(PROFILE.tuned_lrs[3], FIRST): 30, (PROFILE.tuned_lrs[3], SECOND): 20}, (PROFILE.tuned_lrs[3], FIRST)),
        ({(lr, 0.5): lr for lr in PROFILE.tuned_lrs}, (PROFILE.tuned_lrs[-1], 0.5)),  # WEIGHT_DECAY=0.5
        ({(lr, SECOND): 1 - lr for lr in PROFILE.tuned_lrs}, (PROFILE.tuned_lrs[0], SECOND)),  # WEIGHT_DECAY=0.2
        ({(PROFILE.tuned_lrs[1], FIRST): 30, (PROFILE.tuned_lrs[2], FIRST): 20}, None),  # the profile's, broken off
        ({(OWN, FIRST): None}, None),
        ({}, None),
    ],
)
def test_a_sweep_over_rates_or_decays_of_ones_own_is_the_choice_too(tmp_path, points, chosen):
    for (lr, decay), top1 in points.items():
        save_point(tmp_path, "dct", lr, decay, top1)
    taken = choices(tuning_records(tmp_path, "constellations", "quick"), PROFILE)
    assert [(choice.lr, choice.weight_decay) for choice in taken.values()] == [chosen] * (chosen is not None)
    if points:
        table = tuning_table(results_frame(tmp_path))
        marked = table[table["choice"].notna()]
        assert [*zip(marked["lr"], marked["weight_decay"], strict=True)] == [chosen] * (chosen is not None)


def test_a_better_rate_between_those_of_the_profile_is_the_choice(swept):
    save_point(swept, "dct", OWN, FIRST, 41.5)
    choice = choices(tuning_records(swept, "constellations", "quick"), PROFILE)["dct"]
    assert (choice.lr, choice.weight_decay) == (OWN, FIRST)  # 42 at the other decay is not clearly better


def test_bench_all_takes_what_a_list_of_rates_chose(tmp_path):
    request = Request(mixer="dct", profile="quick", dataset="constellations", device="cpu", results=tmp_path, lr=(OWN,))
    (first,) = Plan(request).tuning()
    save(tmp_path, first, {"val_top1_percent": 30.0, "train_s": 1.0})
    save(tmp_path, Plan(request).tuning()[1], {"val_top1_percent": 29.0, "train_s": 1.0})
    assert {trial.lr for trial in Plan(request.but(lr=None)).accuracy()} == {OWN}


def test_every_point_is_a_row_and_the_choice_is_the_one_that_bench_all_takes(swept):
    table = tuning_table(results_frame(swept))
    assert len(table) == 13
    chosen = table[table["choice"].notna()].set_index("label")
    taken = choices(tuning_records(swept, "constellations", "quick"), PROFILE)
    assert set(chosen.index) == set(taken) == {"dct", "attention"}
    for mixer, choice in taken.items():
        row = chosen.loc[mixer]
        assert (row["lr"], row["weight_decay"]) == (choice.lr, choice.weight_decay)
        assert row["val_top1_percent"] == choice.val_top1_percent and row["train_s"] == 10.0
    assert chosen.loc["dct"]["choice"] == "chosen"
    assert chosen.loc["attention"]["choice"] == "chosen; lowest rate tried"
    failed = table[table["status"] != "ok"]
    assert list(failed["label"]) == ["attention"] and failed.iloc[0]["val_top1_percent"] is None


def test_tuning_never_mixes_with_accuracy(swept):
    save_accuracy(swept, "dct", 33.0, 0)
    (row,) = summary_table(results_frame(swept)).to_dict("records")
    assert (row["n"], row["test_top1_percent_mean"], row["val_top1_percent_mean"]) == (1, 33.0, pytest.approx(28.7232))
    write_report(swept)
    text = (swept / "tables" / "constellations-quick" / "tuning.md").read_text(encoding="utf-8")
    assert "lowest rate tried" in text and "diverged: the loss is not a number" in text
    assert not (swept / "tables" / "constellations-quick" / "differences.md").exists()


def test_the_test_split_is_read_once_at_the_end_of_training_and_never_in_tuning(tmp_path, monkeypatch):
    """From the verb's plan to the records, however the test split may be reached."""
    events: list[str] = []
    read_test, load, one_epoch = Data.read_test, constellations.render, train_module._train_epoch

    def render(*args, **kwargs):
        events.extend(["test images"] if kwargs["split"] == "test" else [])
        return load(*args, **kwargs)

    monkeypatch.setattr(Data, "read_test", lambda self: events.append("test") or read_test(self))
    monkeypatch.setattr(constellations, "render", render)
    monkeypatch.setattr(train_module, "_train_epoch", lambda *a, **k: events.append("epoch") or one_epoch(*a, **k))
    request = Request(
        mixer="conv1x1", profile="quick", dataset="constellations", dim=8, depth=1, epochs=2, train_images=200,
        seed=(0,), threads=1, device="cpu", results=tmp_path,
    )  # fmt: skip
    runner = Runner(tmp_path, tmp_path, own_process=False)
    asked = 0
    while len(trials := Plan(request).tuning()) > asked:
        asked = len(trials)
        tuned = runner.run(trials)
    points = len(tuned)
    assert points == 4  # three rates and a weight decay
    assert [r.record.status for r in tuned] == ["ok"] * points
    assert events == ["epoch"] * 2 * points
    assert not [name for r in tuned for name in r.record.metrics if name.startswith("test_")]
    assert not list(tmp_path.rglob("*.npy"))

    events.clear()
    (trial,) = Plan(request).accuracy()
    (result,) = runner.run([trial])
    assert events == ["epoch", "epoch", "test", "test images"]
    taken = choices(tuning_records(tmp_path, "constellations", "quick"), PROFILE)["conv1x1"]
    assert (trial.lr, trial.weight_decay) == (taken.lr, taken.weight_decay)
    (other,) = Plan(dataclasses.replace(request, depth=2)).accuracy()  # a net that no sweep was made for
    assert (other.lr, other.weight_decay) == (PROFILE.lr, PROFILE.weight_decay)
    assert "test_top1_percent" in result.record.metrics


def test_without_a_sweep_each_mixer_takes_the_rate_and_the_net_that_the_published_one_chose(tmp_path):
    profile = PROFILES["quick", "cifar100"]
    (tmp_path / "records").mkdir()
    for record in (PUBLISHED / "cifar100-cpu" / "records").glob("tuning-*.json"):
        (tmp_path / "records" / record.name).symlink_to(record)
    request = Request(dataset="cifar100", profile="quick", mixer="*", device="cpu", results=tmp_path)
    taken = Plan(request).tuned_at(32)  # sweeps over other nets left out
    assert {"attention", "dct", "linear"} <= set(taken)
    assert {mixer: choice.lr for mixer, choice in taken.items()} == {m: profile.lr_of.get(m, profile.lr) for m in taken}
    assert {choice.weight_decay for choice in taken.values()} == {profile.weight_decay}
    nets = {mixer: choice.net for mixer, choice in taken.items() if choice.net not in (None, USUAL_NET)}
    assert nets == profile.net_of


def test_a_mixer_that_no_sweep_tried_has_no_choice():
    assert chosen_point({}, PROFILE) is None
