"""`load_results`: what people get of a folder of records."""

from __future__ import annotations

import doctest
from pathlib import Path

import pandas as pd
import pytest

import benchmarks.report.load
from benchmarks import load_results
from benchmarks.contract.errors import UserError
from benchmarks.report.choose import main_rows
from benchmarks.report.frame import results_frame, split_groups
from benchmarks.report.tables.summary import summary_table
from tests.benchmarks.synthetic import MACHINE, OTHER, fill, make_trial, save, save_accuracy, save_latency

ROOT = Path(__file__).resolve().parents[3]


def test_the_example_of_the_docstring_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    outcome = doctest.testmod(benchmarks.report.load)
    assert outcome.attempted > 4 and outcome.failed == 0


def test_by_default_the_means_are_those_of_the_report(tmp_path):
    for folder in (fill(tmp_path), ROOT / "results" / "published" / "cifar100-cpu"):
        frame = load_results(folder)
        means = frame.groupby("mixer").test_top1_percent.mean().dropna()
        groups = split_groups(results_frame(folder)).values()
        main = max((main_rows(summary_table(group)) for group in groups), key=len)
        assert means.to_dict() == pytest.approx(dict(zip(main["label"], main["test_top1_percent_mean"], strict=True)))
        assert frame[["dataset", "profile", "machine", "image_size", "patch_size"]].drop_duplicates().shape[0] == 1


def test_a_failed_run_of_the_main_setting_is_a_row(tmp_path):
    frame = load_results(fill(tmp_path))
    row = frame[(frame["kind"] == "accuracy") & (frame["mixer"] == "hadamard") & (frame["status"] != "ok")]
    assert list(row["status"]) == ["diverged"] and row["test_top1_percent"].isna().all()


def test_every_column_has_its_type(tmp_path):
    frame = load_results(fill(tmp_path), settings="all")
    assert len(frame) == len(list((tmp_path / "records").iterdir()))
    objects = [name for name in frame if frame[name].dtype == object]
    assert objects == ["history"]
    wanted = {
        "seed": "Int64", "epochs": "Int64", "tokens": "Int64", "patch_size": "Int64", "lr": "float64",
        "coordinates": "boolean", "compiled": "boolean", "dirty": "boolean", "mixer": "string", "reason": "string",
        "image_size": "string", "test_top1_percent": "float64", "params": "float64",
    }  # fmt: skip
    assert {name: str(frame[name].dtype) for name in wanted} == wanted  # an image of 16x32 is among them
    assert str(load_results(tmp_path)["image_size"].dtype) == "Int64"
    assert frame["started"].iloc[0] == pd.Timestamp("2026-01-01T01:00:00Z")
    assert ((frame["ended"] - frame["started"]) == pd.Timedelta(minutes=30)).all()


def test_types_do_not_depend_on_what_was_measured(tmp_path):
    save_accuracy(tmp_path / "one", "dct", 50.0, 0, lr=1.0)
    one, many = load_results(tmp_path / "one", "all"), load_results(fill(tmp_path / "many"))
    assert {n: str(t) for n, t in one.dtypes.items()} == {n: str(t) for n, t in many.dtypes.items()}


def test_of_several_groups_the_one_with_most_mixers_counts(tmp_path):
    for mixer, top1 in (("dct", 40.0), ("random", 30.0)):
        save_accuracy(tmp_path, mixer, top1, 0, environment=MACHINE)
    save_accuracy(tmp_path, "attention", 90.0, 1, environment=OTHER)
    frame = load_results(tmp_path)
    assert set(frame["mixer"]) == {"dct", "random"} and len(load_results(tmp_path, settings="all")) == 3


def test_of_several_versions_of_a_mixer_the_latest_counts(tmp_path):
    save_accuracy(tmp_path, "dct", 40.0, 0)
    save_accuracy(tmp_path, "dct", 60.0, 0, mixer_version=2)
    assert list(load_results(tmp_path)["test_top1_percent"]) == [60.0]


def test_where_nothing_was_trained_there_is_one_size(tmp_path):
    for size in (16, 32):
        save_latency(tmp_path, "dct", size)
        save(tmp_path, make_trial("cost", "dct", image_size=size, batch_size=64), {"params": 1})
    save_latency(tmp_path, "attention", 32)
    frame = load_results(tmp_path)
    assert set(frame[frame["kind"] == "latency"]["image_size"]) == {32} and len(frame[frame["kind"] == "cost"]) == 1


def test_other_settings_are_a_line_that_says_what_is_allowed(tmp_path):
    with pytest.raises(UserError, match=r"settings='al' is not allowed; allowed: 'main' or 'all'"):
        load_results(fill(tmp_path), settings="al")
