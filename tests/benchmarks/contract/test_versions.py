"""A repaired mixer raises its version: its new records never meet the old ones, and resuming measures them."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.contract.choices.tuning import points_by_mixer
from benchmarks.contract.record import load_records
from benchmarks.plan.trials import Plan, Request
from benchmarks.report.frame import records_frame
from benchmarks.report.stats.paired import Sample
from benchmarks.report.tables.latency import latency_table
from benchmarks.report.tables.summary import summary_table
from mixers.registry import mixer_entry
from tests.benchmarks.synthetic import make_trial, save, save_accuracy, save_latency


def test_records_of_two_versions_never_share_a_mean(tmp_path) -> None:
    for seed in range(3):
        save_accuracy(tmp_path, "gmlp", 30.0, seed)
        save_accuracy(tmp_path, "gmlp", 40.0, seed, mixer_version=2)
        save_accuracy(tmp_path, "dct", 20.0, seed)
        save_accuracy(tmp_path, "dct", 25.0, seed, recipe_version=2)
    frame = records_frame(load_records(tmp_path))
    rows = summary_table(frame).to_dict("records")
    means = {(row["label"], row["recipe_version"]): row["test_top1_percent_mean"] for row in rows}
    assert means == {("gmlp", 1): 40.0, ("gmlp v1", 1): 30.0, ("dct", 1): 20.0, ("dct", 2): 25.0}
    settings = Sample(frame, tmp_path).settings()
    together = [sorted(runs.setting["label"] for runs in part) for part in settings]
    assert together == [["dct", "gmlp", "gmlp v1"], ["dct"]]  # nets trained by two recipes are never compared


def test_a_ratio_of_times_is_to_the_latest_attention(tmp_path) -> None:
    for version, hour in ((1, 1), (2, 2)):
        save_latency(tmp_path, "attention", 16, hour=hour, mixer_version=version)
    save_latency(tmp_path, "dct", 16, hour=1)
    rows = {row["label"]: row for row in latency_table(records_frame(load_records(tmp_path))).to_dict("records")}
    assert set(rows) == {"attention", "attention v1", "dct"}
    assert rows["dct"]["net_forward_over_attention"] is not None
    assert rows["dct"]["timed_with_attention"] is False  # the latest was timed at another hour


@pytest.fixture
def repaired(monkeypatch) -> None:
    monkeypatch.setattr(mixer_entry("dct").cls, "version", 3)


def test_a_raised_version_makes_new_trials_of_that_mixer_alone(tmp_path, monkeypatch) -> None:
    request = Request(mixer="dct,fft_real,2xdct+2xhadamard,hybrid_top", profile="quick", depth=4, results=tmp_path)
    before = Plan(request).accuracy()
    monkeypatch.setattr(mixer_entry("dct").cls, "version", 3)
    after = Plan(request).accuracy()
    new = {t.mixer: t.mixer_version for t, old in zip(after, before, strict=True) if t.id() != old.id()}
    assert new == {"dct": 3, "2xdct+2xhadamard": 3}


def test_a_repaired_mixer_is_tuned_anew(tmp_path, repaired) -> None:
    request = Request(mixer="dct", profile="quick", results=tmp_path)
    wanted = Plan(request).tuning()
    assert wanted and {t.mixer_version for t in wanted} == {3}
    for trial in wanted:
        for version, value in ((1, 90.0), (3, 50.0)):
            own = dataclasses.replace(trial, mixer_version=version)
            save(tmp_path, own, {"val_top1_percent": value}, [{"epoch": 1}])
    plan = Plan(request)
    points = points_by_mixer(plan.tuning_records(plan.sweep, plan.sizes[0]))["dct"]
    assert {value for values in points.values() for value in values} == {50.0}


def test_a_plain_trial_is_of_the_first_version() -> None:
    assert make_trial("accuracy", "dct").mixer_version == 1
