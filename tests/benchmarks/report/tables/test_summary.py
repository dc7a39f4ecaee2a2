"""The summary: means and intervals over seeds, failures as rows, settings apart."""

from __future__ import annotations

import math
import statistics

import pytest
from report_files import only, read, summary
from synthetic import make_trial, save, save_accuracy

from benchmarks.contract.facts.metrics import METRICS
from benchmarks.contract.record import Record
from benchmarks.report.build import write_report
from benchmarks.report.choose import best_learning_rates
from benchmarks.report.frame import results_frame
from benchmarks.report.tables.summary import OF_MOST, summary_table


def test_summary_has_mean_and_interval_over_seeds_and_joins_the_same_net(results):
    row = only(summary(results), mixer="dct", image_size_px="16")
    records = [Record.load(p) for p in sorted((results / "records").glob("accuracy-*.json"))]
    values = [
        float(r.metrics["test_top1_percent"])  # type: ignore[arg-type]
        for r in records
        if (r.trial.mixer, r.trial.image_size, r.trial.dataset) == ("dct", 16, "constellations")
    ]
    half = 4.302652729911275 * statistics.stdev(values) / math.sqrt(3)  # t(0.975, 2), from a printed table
    assert row["n"] == "3"
    assert float(row["test_top1_percent_mean"]) == pytest.approx(statistics.mean(values), rel=1e-9)
    assert float(row["test_top1_percent_high"]) == pytest.approx(statistics.mean(values) + half, rel=1e-9)
    assert row["params"] == "93000"
    assert row["flops"] == "12000000"
    timed = [Record.load(p) for p in sorted((results / "records").glob("latency-*.json"))]
    [net] = [r for r in timed if (r.trial.mixer, r.trial.image_size, r.trial.patch_size) == ("dct", 16, 2)]
    assert float(row["net_forward_ms_per_image"]) == pytest.approx(float(net.metrics["forward_ms"]) / 32, rel=1e-9)  # type: ignore[arg-type]


def test_summary_ranks_by_accuracy_within_a_setting_and_one_seed_has_no_interval(results):
    rows = summary(results)
    assert [row["image_size_px"] for row in rows] == ["16"] * 8 + ["32"] * 7
    for size in ("16", "32"):
        means = [
            float(row["test_top1_percent_mean"]) for row in rows if row["n"] != "0" and row["image_size_px"] == size
        ]
        assert means == sorted(means, reverse=True)
    row = only(rows, mixer="dct", image_size_px="32")
    assert (row["n"], row["test_top1_percent_low"], row["test_top1_percent_high"]) == ("1", "", "")


def test_failures_are_rows_and_no_part_of_a_mean(results):
    rows = summary(results)
    partly = only(rows, mixer="hadamard", image_size_px="16")
    assert (partly["status"], partly["n"], partly["seeds"]) == ("ok", "2", "0 1")
    assert "seed 2: diverged" in partly["failed"]
    never = only(rows, mixer="gmlp")
    assert (never["status"], never["n"], never["test_top1_percent_mean"]) == ("unsupported", "0", "")
    folder = results / "tables" / "constellations-quick"
    lost = only(read(folder / "latency.csv"), mixer="random", image_size_px="64")
    assert (lost["status"], lost["net_forward_ms"]) == ("oom", "")
    assert len(read(folder / "failures.csv")) == 4
    assert not (results / "tables" / "cifar100-quick" / "failures.csv").exists()
    text = (folder / "summary.md").read_text(encoding="utf-8")
    assert "unsupported: a \\| pipe and a line" in text
    assert "AMD EPYC 9B14, torch 2.11.0" in text


def test_markdown_tables_are_rectangular(results):
    for path in (results / "tables").glob("*/*.md"):
        rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        widths = {line.replace("\\|", "").count("|") for line in rows}
        assert len(rows) > 2 and len(widths) == 1, path.name


def test_settings_do_not_mix_and_the_plot_takes_the_learning_rate_chosen_on_held_out_images(tmp_path):
    for lr, test, val in ((0.001, 50.0, 30.0), (0.004, 40.0, 35.0)):
        trial = make_trial("accuracy", "dct", lr=lr)
        save(tmp_path, trial, {"test_top1_percent": test, "val_top1_percent": val})
    frame = results_frame(tmp_path)

    table = summary_table(frame)
    assert list(table["lr"]) == [0.001, 0.004]
    assert list(best_learning_rates(table)["lr"]) == [0.004]


def test_of_a_mixers_versions_the_newest_alone_is_ranked_and_the_table_has_both(tmp_path):
    for version, top1, seeds in ((1, 50.0, 3), (2, 40.0, 1)):
        for seed in range(seeds):
            save_accuracy(tmp_path, "attention", top1 + seed, seed, mixer_version=version)
    save_accuracy(tmp_path, "dct", 45.0, 0)
    write_report(tmp_path)
    assert sorted(row["label"] for row in summary(tmp_path)) == ["attention", "attention v1", "dct"]
    table = summary_table(results_frame(tmp_path))
    assert list(best_learning_rates(table)["label"]) == ["attention", "dct"]
    older = best_learning_rates(table[table["label"] == "attention v1"])
    assert list(older["label"]) == ["attention v1"]  # where no newer one was trained


def test_two_versions_of_a_plug_in_do_not_share_a_mean(tmp_path):
    for seed, source in enumerate(("a" * 64, "b" * 64)):
        save_accuracy(tmp_path, "file:Mine", 40.0 + 10 * seed, seed, mixer_source=source)
    write_report(tmp_path)
    assert [row["label"] for row in summary(tmp_path)] == ["file:Mine #bbbbbb", "file:Mine #aaaaaa"]


def test_every_score_of_the_test_split_that_a_record_has_is_a_column_of_the_summary(tmp_path):
    scores = {n: m.label for n, m in METRICS.items() if n.startswith("test_") and m.better == "higher"}
    save(tmp_path, make_trial("accuracy", "dct"), dict.fromkeys(scores, 12.5))
    write_report(tmp_path)
    table = tmp_path / "tables" / "constellations-quick" / "summary"
    assert {f"{name}_mean" for name in scores} <= set(table.with_suffix(".csv").read_text().splitlines()[0].split(","))
    labels = [label for name, label in scores.items() if name not in OF_MOST]
    assert labels and all(label in table.with_suffix(".md").read_text() for label in labels)
