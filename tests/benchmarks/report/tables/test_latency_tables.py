"""Tables of latency and of scaling: ratios within rounds and sittings, exponents and crossings."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import scipy.stats
from report_files import only, read
from synthetic import MIXERS, make_trial, save, save_accuracy, save_latency

from benchmarks.contract.record import Record
from benchmarks.report.build import write_report


def interval_of(ratios):
    """Geometric mean with the t-interval of the logarithms."""
    interval = scipy.stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.95)
    return [statistics.geometric_mean(ratios), math.exp(interval.low), math.exp(interval.high)]


def test_ratios_are_geometric_means_of_ratios_within_rounds(results):
    folder = results / "tables" / "constellations-quick"
    row = only(read(folder / "latency.csv"), mixer="hadamard", image_size_px="48")
    history = {}
    for path in (results / "records").glob("latency-*.json"):
        record = Record.load(path)
        if record.trial.patch_size == 1 and record.trial.image_size == 48:
            history[record.trial.mixer] = [r["mixer_forward_ms"] for r in record.history]
            copies = [r["mixer_forward_ms"] / r["copy_ms"] for r in record.history]
            if record.trial.mixer == "hadamard":
                assert float(row["mixer_forward_over_copy_high"]) == pytest.approx(interval_of(copies)[2], rel=1e-9)
    pairs = [a / b for a, b in zip(history["hadamard"], history["attention"], strict=True)]
    found = [float(row[f"mixer_forward_over_attention{end}"]) for end in ("", "_low", "_high")]
    assert found == pytest.approx(interval_of(pairs), rel=1e-9)
    for other in (statistics.median(pairs), statistics.fmean(pairs)):
        assert found[0] != pytest.approx(other, rel=1e-6)  # or this could not tell them apart


def test_a_ratio_rests_on_the_sittings_that_both_records_have(tmp_path):
    starts = [f"2026-01-01T{hour:02}:00:00+00:00" for hour in (1, 3, 5, 7)]
    ratio_at = dict(zip(starts, (0.5, 0.8, 0.4, 100.0), strict=True))
    for mixer, mine in (("attention", starts[:3]), ("dct", starts)):
        history = [
            {"round": r, "sitting": start, "forward_ms": (ratio_at[start] if mixer == "dct" else 1) * (1 + r)}
            for start in mine
            for r in range(4)
        ]
        save(tmp_path, make_trial("latency", mixer), {"forward_ms": 1.0}, history)
    save_accuracy(tmp_path, "dct", 40.0, 0)
    write_report(tmp_path)
    folder = tmp_path / "tables" / "constellations-quick"
    row = only(read(folder / "latency.csv"), mixer="dct")
    found = [float(row[f"net_forward_over_attention{end}"]) for end in ("", "_low", "_high")]
    assert found == pytest.approx(interval_of([0.5, 0.8, 0.4]), rel=1e-9)
    assert (row["sittings"], row["sittings_with_attention"], row["timed_with_attention"]) == ("4", "3", "True")
    assert only(read(folder / "summary.csv"), mixer="dct")["latency_sittings"] == "3"


def test_a_crossing_from_one_sitting_is_not_settled(results, tmp_path):
    text = only(read(results / "tables" / "constellations-quick" / "scaling.csv"), mixer="dct")
    assert text["net_forward_overtakes_attention"].endswith("; one sitting, not settled")
    starts = [f"2026-01-01T{hour:02}:00:00+00:00" for hour in (1, 3, 5)]
    for mixer in ("attention", "dct"):
        for size in (16, 32):
            history = [
                {"round": r, "sitting": start, "forward_ms": 1.0 + (mixer == "dct") * (size == 16)}
                for start in starts
                for r in range(3)
            ]
            trial = make_trial("latency", mixer, image_size=size, patch_size=1)
            save(tmp_path, trial, {"forward_ms": 1.0}, history)
    save_accuracy(tmp_path, "dct", 40.0, 0)
    write_report(tmp_path)
    row = only(read(tmp_path / "tables" / "constellations-quick" / "scaling.csv"), mixer="dct")
    assert "settled" not in row["net_forward_overtakes_attention"]


def test_of_two_latencies_of_one_net_the_one_with_more_rounds_counts(tmp_path):
    for rounds in (6, 4, 5):  # so that neither the first nor the last is right by chance, nor the order of ids
        for mixer, ms in (("attention", 100.0), ("dct", 10.0 * rounds)):
            trial = make_trial("latency", mixer, image_size=16, patch_size=2, batch_size=32, rounds=rounds)
            history = [{"round": i, "forward_ms": ms, "forward_backward_ms": 3 * ms} for i in range(rounds)]
            save(tmp_path, trial, {"forward_ms": ms, "forward_backward_ms": 3 * ms}, history)
    save_accuracy(tmp_path, "dct", 50.0, 0)
    write_report(tmp_path)
    folder = tmp_path / "tables" / "constellations-quick"
    assert float(only(read(folder / "summary.csv"), mixer="dct")["net_forward_over_attention"]) == 0.6
    timed = [row for row in read(folder / "latency.csv") if row["mixer"] == "dct"]
    assert [row["rounds"] for row in timed] == ["6", "5", "4"]


def test_eager_and_compiled_share_a_row_and_what_was_not_measured_is_blank(tmp_path):
    for mixer in ("attention", "dct"):
        save_latency(tmp_path, mixer, 16)
    save_latency(tmp_path, "dct", 16, compiled=True)
    save_latency(tmp_path, "conv1x1", 16, compiled=True)
    save(tmp_path, make_trial("latency", "attention", patch_size=1, compiled=True), status="oom", reason="too large")
    write_report(tmp_path)
    folder = tmp_path / "tables" / "constellations-quick"
    assert len(read(folder / "latency.csv")) == 5
    lines = (folder / "latency.md").read_text(encoding="utf-8").splitlines()
    header, _, *body = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    rows = {row[0]: dict(zip(header, row, strict=True)) for row in body}
    assert sorted(rows) == ["attention", "conv1x1", "dct"] and len(body) == 3
    dct = rows["dct"]
    assert dct["net fwd (ms)"] == dct["compiled: net fwd (ms)"] != "–" and dct["status"] == "ok"
    assert rows["conv1x1"]["net fwd (ms)"] == "–" != rows["conv1x1"]["compiled: net fwd (ms)"]
    assert rows["attention"]["status"] == "eager ok; compiled out of memory: too large"
    # the synthetic records were made before floors were measured
    assert {row[name] for row in rows.values() for name in ("floor (ms)", "mixer fwd over floor", "FLOPs")} == {"–"}


def test_the_ratio_to_the_floor_is_taken_within_rounds(tmp_path):
    history = [{"round": r, "mixer_forward_ms": m, "copy_ms": 1.0, "floor_ms": f} for r, m, f in ((0, 6, 2), (1, 5, 5))]
    history.append({"round": 2, "mixer_forward_ms": 8.0, "copy_ms": 1.0, "floor_ms": None})
    metrics = {"floor_ms": 3.5, "mixer_bytes": 2_000_000, "mixer_batch_flops": 3_000_000, "matmul_flops_per_s": 4e10}
    save(tmp_path, make_trial("latency", "dct"), metrics, history)
    write_report(tmp_path)
    folder = tmp_path / "tables" / "constellations-quick"
    (row,) = read(folder / "latency.csv")
    names = [f"mixer_forward_over_floor{end}" for end in ("", "_low", "_high")]
    assert [float(row[name]) for name in names] == pytest.approx(interval_of([3.0, 1.0]))
    assert (row["mixer_bytes"], row["mixer_batch_flops"]) == ("2000000", "3000000")
    assert " 1.73 (" in (folder / "latency.md").read_text(encoding="utf-8")


def test_scaling_finds_exponents_and_crossings(results):
    rows = read(results / "tables" / "constellations-quick" / "scaling.csv")
    swept = [row for row in rows if row["patch_size_px"] == "1"]
    for mixer, (_, exponent, start) in MIXERS.items():
        row = only(swept, mixer=mixer)
        assert float(row["mixer_forward_exponent"]) == pytest.approx(exponent, abs=0.05)
        if mixer == "fft_complex":
            crossing = 256 * (start / 2.0) ** (1 / (1.9 - exponent))
            assert float(row["mixer_forward_overtakes_attention_tokens"]) == pytest.approx(crossing, rel=0.1)
        elif mixer == "conv1x1":
            assert (
                row["mixer_forward_overtakes_attention"]
                == "faster at every measured size (256-4,096); one sitting, not settled"
            )
    assert only(swept, mixer="random")["image_sizes_px"] == "16 32 48"
    assert only(swept, mixer="attention")["mixer_forward_overtakes_attention"] == ""


def test_attention_timed_at_another_time_is_marked(tmp_path):
    for hour, mixer in enumerate(("attention", "dct")):
        for size in (16, 32):
            save_latency(tmp_path, mixer, size, hour=hour)
    write_report(tmp_path)
    folder = tmp_path / "tables" / "constellations-quick"
    assert only(read(folder / "latency.csv"), mixer="dct", image_size_px="16")["timed_with_attention"] == "False"
    assert ") †" in (folder / "latency.md").read_text(encoding="utf-8")
