"""Runs that failed stand beside every verdict, and a third of them withhold it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from synthetic import make_trial, save, save_accuracy, save_latency

from benchmarks.report.build import make_report
from benchmarks.report.choose import too_many_failed
from benchmarks.report.claims.parts import UNDECIDED
from benchmarks.report.claims.source import DepthWithoutNorm
from benchmarks.report.claims.verdicts import judge
from benchmarks.report.frame import results_frame, split_groups
from benchmarks.report.notes import caption
from benchmarks.report.page.answers import answers, main_rows, sign
from benchmarks.report.page.headlines import gap_text, headlines
from benchmarks.report.page.tables import ranked_table
from benchmarks.report.ranking import ranking
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.paired import WITHHELD, Sample
from benchmarks.report.tables.differences import paired_table
from benchmarks.report.tables.summary import summary_table
from benchmarks.report.tables.write import make_tables, people, table_files

SEEDS = 9
TOP1 = {"dct": 80.0, "attention": 60.0, "conv1x1": 20.0, "fft_real": 50.0, "fft_complex": 70.0, "random": 75.0}


def fill(folder: Path, failed: dict[str, int], status: str = "diverged") -> Path:
    """Nine seeds a mixer, so many of which failed."""
    draw = random.Random(0)
    for mixer, top1 in TOP1.items():
        for seed in range(SEEDS):
            noise = draw.uniform(-0.5, 0.5)
            if seed < SEEDS - failed.get(mixer, 0):
                save_accuracy(folder, mixer, top1 + noise, seed)
            else:
                save(folder, make_trial("accuracy", mixer, seed=seed), status=status, reason="it failed")
        save_latency(folder, mixer, 16, patch_size=2)
    return folder


def verdicts(folder: Path) -> dict[tuple[str, str], dict]:
    rows = paired_table(Sample(results_frame(folder), folder)).to_dict("records")
    return {(row["label"], row["reference"]): row for row in rows}


@pytest.mark.parametrize(
    ("finished", "failed", "withheld"), [(8, 0, False), (5, 2, False), (4, 2, True), (3, 5, True), (0, 1, True)]
)
def test_a_third_withholds(finished, failed, withheld):
    assert too_many_failed(finished, failed) == withheld


@pytest.mark.parametrize("status", ["diverged", "oom", "timeout", "error"])
def test_a_verdict_from_survivors_is_withheld_on_either_side(tmp_path, status):
    found = verdicts(fill(tmp_path, {"dct": 3, "conv1x1": 2}, status))
    row = found["dct", "attention"]
    assert row["verdict"] == WITHHELD and row["failed_runs"] == f"dct: 3 of 9 runs failed ({status})"
    assert found["attention", "conv1x1"]["verdict"] == "higher"
    assert found["attention", "conv1x1"]["failed_runs"] == f"conv1x1: 2 of 9 runs failed ({status})"
    assert found["random", "attention"]["verdict"] == "higher" and found["random", "attention"]["failed_runs"] is None
    of_reference = verdicts(fill(tmp_path / "other", {"attention": 3}, status))
    assert (
        of_reference["dct", "attention"]["verdict"] == WITHHELD
        and of_reference["dct", "conv1x1"]["verdict"] == "higher"
    )


def test_an_unsupported_mixer_is_an_answer_and_no_failure(tmp_path):
    found = verdicts(fill(tmp_path, {"dct": 3}, "unsupported"))
    assert found["dct", "attention"]["verdict"] == "higher"


def test_a_mixer_of_which_no_run_ended_is_a_row(tmp_path):
    fill(tmp_path, {"dct": 9})
    row = verdicts(tmp_path)["dct", "attention"]
    assert row["verdict"] == WITHHELD and row["n"] == 0 and row["difference_points"] is None
    (frame,) = split_groups(results_frame(tmp_path)).values()
    text = people("differences", paired_table(Sample(frame, tmp_path)), frame)
    assert "withheld; dct: 9 of 9 runs failed (diverged)" in text


def test_files_and_page_tell_it_beside_every_verdict(tmp_path):
    fill(tmp_path, {"dct": 4, "conv1x1": 1, "fft_complex": 5})
    (frame,) = split_groups(results_frame(tmp_path)).values()
    sample = Sample(frame, tmp_path)
    tables = make_tables(frame, sample)
    table_files(tables, frame, tmp_path / "tables")
    assert "withheld" in (tmp_path / "tables" / "differences.md").read_text()
    assert "failed_runs" in (tmp_path / "tables" / "differences.csv").read_text().splitlines()[0]
    gap = sample.difference(
        *(main_rows(tables["summary"]).set_index("label", drop=False).loc[name] for name in ("dct", "attention"))
    )
    assert gap is not None and sign(gap) == 0
    assert gap_text(gap).endswith("dct: 4 of 9 runs failed (diverged), no verdict")
    shown = {headline.label: headline for headline in headlines(sample, tables)}
    assert shown["conv1x1"].accuracy.endswith("(1 of 9 runs failed)") and "no verdict" not in shown["conv1x1"].gap
    best, imaginary, mixing, *_ = answers(sample, tables, frame, judge(frame, tmp_path))
    assert best.lines[0].startswith("random,")  # dct has the highest mean, over the seeds that are left
    assert "left out since too many runs failed: dct (4 of 9 runs failed)" in best.lines[0]
    assert imaginary.lines[0].startswith("Withheld") and "fft_complex: 5 of 9 runs failed" in imaginary.lines[1]
    assert "most accurate mixer, random" in mixing.lines[0] and "conv1x1: 1 of 9 runs failed" in mixing.lines[1]
    ranked = ranked_table("ranked", tables["summary"], tables["tuning"])
    assert ranked is not None and [row[0].text for row in ranked.rows] == ["1", "2", "3", "4", "–", "–"]
    assert caption(frame, tables["summary"]).endswith("Failed runs: conv1x1 1 of 9, dct 4 of 9, fft_complex 5 of 9.")


def test_the_ranking_at_the_end_of_a_sweep_tells_it_and_puts_survivors_last(tmp_path):
    (group,) = make_report(fill(tmp_path, {"dct": 4, "conv1x1": 1, "fft_complex": 5})).groups
    rows = [line.removeprefix("*").split() for line in ranking(group)[2:8]]
    assert [row[0] for row in rows] == ["random", "attention", "fft_real", "conv1x1", "dct", "fft_complex"]
    assert ["of" in row for row in rows] == [False, False, False, True, True, True]
    assert "withheld: 4 of 9 runs failed" in " ".join(rows[4])


def test_a_claim_is_undecided_and_says_why(tmp_path):
    fill(tmp_path, {"fft_complex": 3, "attention": 1})
    found = {v.claim.id: v for v in judge(results_frame(tmp_path), tmp_path)}
    held_back = found["imaginary-part-helps"]
    assert held_back.outcome == UNDECIDED and "withheld" in held_back.reason and "3 of 9" in held_back.reason
    assert all(part.withheld for part in held_back.parts)
    shared = found["fft-reaches-attention"]
    assert shared.outcome != UNDECIDED and "attention: 1 of 9 runs failed (diverged)" in shared.reason


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_the_first_source_s_net_that_diverges_without_a_norm_is_no_survivor(tmp_path, lost):
    fill(tmp_path, {})
    settings = {"width": 32, "depth": 8, "layout": "scrambled", "epochs": 5}
    runs = [
        {
            "settings": settings | {"standardize": over, "seed": seed},
            "status": "diverged" if over == "none" and seed >= 6 - lost else "ok",
            "metrics": {"test_top1_percent": (20.0 if over == "none" else 40.0) + 0.1 * seed},
        }
        for over in ("none", "chw")
        for seed in range(6)
    ]
    (tmp_path / "spectracles.json").write_text(json.dumps({"runs": runs}))
    finding = DepthWithoutNorm(8, 80.0, 5).find(Evidence(results_frame(tmp_path), tmp_path))
    assert finding is not None
    (part,) = finding.parts
    assert part.withheld == (lost == 3) and part.failed == (f"without: {lost} of 6 runs failed" if lost else "")


def test_without_failures_no_table_has_a_word_more(tmp_path):
    fill(tmp_path, {})
    (frame,) = split_groups(results_frame(tmp_path)).values()
    table_files(make_tables(frame, Sample(frame, tmp_path)), frame, tmp_path / "tables")
    for path in (tmp_path / "tables").iterdir():
        text = path.read_text()
        assert "n_failed" not in text and "failed_runs" not in text and "withheld" not in text
    assert set(summary_table(frame)["n_failed"]) == {0}
