"""The table at the end of a run: ten lines of a terminal, with the numbers of the summary and the front marked."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pandas as pd
import pytest
from synthetic import MIXERS, make_trial, save, save_accuracy, save_latency

from benchmarks.report.baselines import ABOVE, AT
from benchmarks.report.build import Report, make_report
from benchmarks.report.ranking import MOST_ROWS, groups_of, ranking
from benchmarks.report.stats.leader import contenders, front

FASTEST = "random"  # and the least accurate here
MORE = ("hartley", "fft_imag", "fft_pairs", "linear", "linear_separable", "gmlp", "mlp_mixer")
LOST = "performer"  # of which two runs of three failed
NEVER = "shift"  # which ended in no run


def fill(folder: Path) -> Path:
    draw = random.Random(0)
    for place, mixer in enumerate([*MIXERS, *MORE, LOST, NEVER]):
        top1 = 10.0 if mixer == FASTEST else MIXERS[mixer][0] if mixer in MIXERS else 30.0 + place / 4
        for seed in range(3):
            if mixer == NEVER or (mixer == LOST and seed):
                save(folder, make_trial("accuracy", mixer, seed=seed), status="diverged", reason="not finite")
            else:
                save_accuracy(folder, mixer, top1 + draw.uniform(-0.5, 0.5), seed)
        save_latency(folder, mixer, 16, patch_size=2)
    return folder


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        for module in ("accuracy", "latency"):
            patch.setattr(f"benchmarks.report.plots.{module}.save_figure", lambda *_: [])
        return make_report(fill(tmp_path_factory.mktemp("ranking")))


def rows_of(lines: list[str]) -> dict[str, str]:
    """Mixer -> its line, under the heading."""
    table = itertools.takewhile(lambda line: not line.startswith(("and ", "* none", "the ")), lines[2:])
    return {line.removeprefix("*").split()[0]: line for line in table}


def test_ten_mixers_are_shown_those_on_the_front_first_of_all_and_it_is_said_where_the_others_are(report):
    (group,) = report.groups
    lines = ranking(group)
    summary = group.tables["summary"].set_index("label")
    assert lines[0] == "constellations, 16 px, patch 2; 1-3 seeds:"
    assert lines[1].split()[:2] == ["mixer", "top-1,"]
    assert lines[12] == f"and {len(summary) - 10} more mixers in tables/constellations-quick/summary.md"
    rows = rows_of(lines)
    assert len(rows) == MOST_ROWS and [*rows][:: MOST_ROWS - 1] == ["attention", FASTEST]
    for mixer, line in rows.items():
        row = summary.loc[mixer]
        mean, low, high = (f"{row[f'test_top1_percent_{end}']:.1f}" for end in ("mean", "low", "high"))
        assert f"{mean} [{low}, {high}]" in line
        time, memory = line.split()[-2:]
        assert float(time) == pytest.approx(row["net_forward_ms_per_image"], rel=0.01)
        assert float(memory) == pytest.approx(row["peak_memory_bytes"] / 1e6, rel=0.01)
    means = [summary.loc[mixer, "test_top1_percent_mean"] for mixer in rows]
    assert means == sorted(means, reverse=True)
    assert max(map(len, lines[:13])) <= 80


def test_the_front_is_marked(report):
    (group,) = report.groups
    lines = ranking(group)
    ready = group.tables["summary"].query("n == 3")
    time, mean = ready["net_forward_ms_per_image"], ready["test_top1_percent_mean"]
    front = {
        row["label"]
        for _, row in ready.iterrows()
        if not ((time < row[time.name]) & (mean >= row[mean.name])).any()
        and not ((time <= row[time.name]) & (mean > row[mean.name])).any()
    }
    assert 2 <= len(front) < MOST_ROWS
    assert {mixer for mixer, line in rows_of(lines).items() if line.startswith("*")} == front
    assert "* none is both faster and as accurate" in lines


def test_it_ends_with_the_most_accurate_and_how_sure_that_is(report):
    (group,) = report.groups
    assert ranking(group)[-1] == "the most accurate: attention"


def test_runs_that_failed_are_said_and_never_ranked_above_others(tmp_path, monkeypatch):
    for module in ("accuracy", "latency"):
        monkeypatch.setattr(f"benchmarks.report.plots.{module}.save_figure", lambda *_: [])
    fill(tmp_path)
    for path in (tmp_path / "records").iterdir():
        if any(f'"mixer": "{mixer}"' in path.read_text(encoding="utf-8") for mixer in MORE):
            path.unlink()
    (group,) = make_report(tmp_path).groups
    lines = ranking(group)
    rows = rows_of(lines)
    assert list(rows)[-2:] == [LOST, NEVER] and len(rows) == len(MIXERS) + 2
    assert rows[LOST].endswith("withheld: 2 of 3 runs failed") and not rows[LOST].startswith("*")
    assert "diverged" in rows[NEVER] and rows[NEVER].endswith("  3 of 3 runs failed")
    assert not any("more mixers" in line for line in lines)


def test_without_a_finished_run_there_is_no_table_and_without_times_no_column_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.report.plots.accuracy.save_figure", lambda *_: [])
    save(tmp_path, make_trial("accuracy", "dct"), status="diverged", reason="not finite")
    (group,) = made = make_report(tmp_path).groups
    assert ranking(group) == [] and groups_of(made, {"another"}) == []
    save_accuracy(tmp_path, "attention", 50.0, 0)
    (group,) = make_report(tmp_path).groups
    lines = ranking(group)
    assert lines[1].split() == ["mixer", "top-1,", "95", "%", "interval"]
    assert rows_of(lines)["attention"].split()[:2] == ["attention", "50.0"] and "*" not in "".join(lines)


def test_what_is_trusted_may_lead_and_be_on_the_front():
    names = ["label", "test_top1_percent_mean", "n", "n_failed", "standing", "ms"]
    rows = [
        ("good", 50.0, 3, 0, ABOVE, 2.0),
        ("cheap", 40.0, 3, 1, None, 1.0),
        ("survivor", 90.0, 3, 2, ABOVE, 1.0),
        ("stuck", 80.0, 3, 0, AT, 1.0),
        ("lucky", 70.0, 1, 0, ABOVE, 1.0),
        ("without a time", 60.0, 3, 0, ABOVE, None),
        ("never", None, 0, 3, None, 0.5),
    ]
    table = pd.DataFrame(rows, columns=names)
    assert [row["label"] for row in contenders(table).ready] == ["good", "cheap", "without a time"]
    assert front(table, "ms") == ["cheap", "good"]
