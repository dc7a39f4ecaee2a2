"""What cannot be is neither shown nor a traceback: accuracies beyond 0 and 100 %, times of nothing."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from synthetic import PLOTTERS, save_accuracy, save_latency

from benchmarks.cli import main as cli
from benchmarks.contract.record import Record
from benchmarks.contract.words import counted
from benchmarks.report.build import make_report, write_report
from benchmarks.report.frame import results_frame
from benchmarks.report.ranking import ranking
from benchmarks.report.stats.intervals import bars
from benchmarks.report.wording import accuracy_text

NEAR_100, NEAR_0 = (88.0, 99.0, 99.0), (0.5, 9.0, 0.5)


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [(50.0, 9.0, "50.0 ± 9.0 (3)"), (91.2, 9.2, "91.2, 82.0 to 100.0 (3)"), (3.3, 12.2, "3.3, 0.0 to 15.5 (3)"),
     (50.0, 70.0, "50.0, 0.0 to 100.0 (3)"), (93.0, 7.0, "93.0 ± 7.0 (3)"), (50.0, None, "50.0 (3)")],
)  # fmt: skip
def test_an_interval_of_an_accuracy_ends_at_0_and_100(mean, half, text):
    assert accuracy_text(mean, half, 3) == text
    if half is not None:
        (below,), (above,) = bars(mean, half)
        assert (mean - below, mean + above) == pytest.approx((max(0, mean - half), min(100, mean + half)))


def test_no_table_plot_page_or_ranking_shows_more(tmp_path, monkeypatch):
    for mixer, values in (("dct", NEAR_100), ("attention", NEAR_0)):
        for seed, top1 in enumerate(values):
            for size in (16, 32):
                save_accuracy(tmp_path, mixer, top1, seed, image_size=size)
        save_latency(tmp_path, mixer, 16, patch_size=2)
    drawn: list[Figure] = []

    def keep(figure: Figure, place: Path, name: str) -> list[Path]:
        drawn.append(figure)
        return []

    for module in PLOTTERS:
        monkeypatch.setattr(f"{module}.save_figure", keep)
    made = make_report(tmp_path)
    assert any("[79.6, 100.0]" in line or ", 100.0]" in line for group in made.groups for line in ranking(group))
    (table,) = tmp_path.glob("tables/*/summary.md")
    rows = [
        line for line in table.read_text(encoding="utf-8").splitlines() if line.startswith(("| dct", "| attention"))
    ]
    assert rows and all(" to 100.0 (3)" in row or ", 0.0 to" in row for row in rows)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    shown = re.findall(r"\[-?\d+\.\d, -?\d+\.\d\], \d", page) + re.findall(r"95 % interval (-?[\d.]+ to [\d.]+)", page)
    assert shown
    for text in shown:
        assert all(0 <= float(number) <= 100 for number in re.findall(r"-?\d+\.\d", text)), text
    ends = [y for figure in drawn for axes in figure.axes if axes.get_ylabel().startswith("test top-1")
            for bar in axes.collections for path in bar.get_paths() for _, y in path.vertices]  # fmt: skip
    assert ends and min(ends) >= 0 and max(ends) <= 100


def test_a_time_of_nothing_is_withheld_with_its_reason(tmp_path):
    for mixer in ("dct", "attention", "hadamard"):
        save_accuracy(tmp_path, mixer, 40.0, 0)
        for size in (16, 32):
            save_latency(tmp_path, mixer, size)
        save_latency(tmp_path, mixer, 16, patch_size=2)
    for path in (tmp_path / "records").glob("latency-*.json"):
        record = Record.load(path)
        names = {"dct": ("forward_ms", "forward_backward_ms"), "hadamard": ("mixer_forward_ms",)}.get(
            record.trial.mixer, ()
        )
        nothing = dict.fromkeys(names, 0.0)
        history = [row | nothing for row in record.history]
        dataclasses.replace(record, metrics=dict(record.metrics) | nothing, history=history).save(tmp_path / "records")
    write_report(tmp_path)
    frame = results_frame(tmp_path).query("kind == 'latency'")
    mine = frame[frame["mixer"] == "dct"]
    assert set(mine["status"]) == {"error"} and set(mine["reason"]) == {"forward_ms is 0.0; allowed: times above 0"}
    assert set(frame[frame["mixer"] != "dct"]["status"]) == {"ok"}
    assert frame[frame["mixer"] == "hadamard"]["mixer_forward_ms"].isna().all()


def test_one_is_no_plural(tmp_path, capsys):
    assert [counted(n, "mixer") for n in (0, 1, 2, 20_000)] == ["0 mixers", "1 mixer", "2 mixers", "20,000 mixers"]
    save_accuracy(tmp_path, "dct", 40.0, 0)
    assert cli.main(["compare", "--a", str(tmp_path), "--b", str(tmp_path)]) == 0
    assert f"A: {tmp_path}, 1 record\n" in capsys.readouterr().out
