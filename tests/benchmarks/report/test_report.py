"""Records -> tables -> plots, on synthetic records whose numbers are known."""

from __future__ import annotations

import csv
import hashlib
import itertools
import math
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from synthetic import HOSTILE, MACHINE, MIXERS, OTHER, fill, make_trial, save, save_accuracy, save_latency

from benchmarks.contract.errors import UserError
from benchmarks.contract.metrics import METRICS
from benchmarks.contract.record import Record
from benchmarks.report.build import write_report
from benchmarks.report.families import mixer_family, registered_families
from benchmarks.report.frame import results_frame, slug
from benchmarks.report.notes import caption
from benchmarks.report.plots import figures
from benchmarks.report.plots.accuracy import side_by_side
from benchmarks.report.plots.labels import label_points
from benchmarks.report.tables.summary import OF_MOST
from benchmarks.report.wording import count, csv_text, markdown, significant
from mixers.registry import list_mixers, mixer_entry

PLOTTERS = ("benchmarks.report.plots.accuracy", "benchmarks.report.plots.latency")
FIGURES: dict[str, Figure] = {}  # of the folder below


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = fill(tmp_path_factory.mktemp("results"))

    def keep(figure: Figure, place: Path, name: str) -> list[Path]:
        FIGURES[f"{place.name}/{name}"] = figure  # drawing files takes seconds, and other tests do it
        return []

    with pytest.MonkeyPatch.context() as patch:
        for module in PLOTTERS:
            patch.setattr(f"{module}.save_figure", keep)
        write_report(folder)
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def only(rows: list[dict[str, str]], **wanted: str) -> dict[str, str]:
    found = [row for row in rows if all(row[k] == v for k, v in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows with {wanted}"
    return found[0]


def summary(results: Path) -> list[dict[str, str]]:
    return read(results / "tables" / "constellations-quick" / "summary.csv")


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


def interval_of(ratios):
    """Geometric mean with the t-interval of the logarithms."""
    interval = scipy.stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.95)
    return [statistics.geometric_mean(ratios), math.exp(interval.low), math.exp(interval.high)]


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


def test_bars_across_are_times_relative_to_attention_within_rounds(results):
    folder = results / "tables" / "constellations-quick"
    row = only(read(folder / "summary.csv"), mixer="hadamard", image_size_px="16")
    timed = only(read(folder / "latency.csv"), mixer="hadamard", image_size_px="16", patch_size_px="2")
    names = [f"net_forward_over_attention{end}" for end in ("", "_low", "_high")]
    assert [row[name] for name in names] == [timed[name] for name in names] and row[names[1]] != row[names[2]]
    ratio, low, high = (float(row[name]) for name in names)
    time, top1 = float(row["net_forward_ms_per_image"]), float(row["test_top1_percent_mean"])
    drawn = [line.get_xydata() for line in FIGURES["constellations-quick/accuracy-vs-latency"].axes[0].get_lines()]
    bars = [xy for xy in drawn if len(xy) == 2 and xy[0, 1] == xy[1, 1] == pytest.approx(top1)]
    assert any(xy[:, 0] == pytest.approx([time * low / ratio, time * high / ratio]) for xy in bars)


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


def test_groups_do_not_mix(tmp_path):
    for environment, top1 in ((MACHINE, 40.0), (OTHER, 60.0)):
        for seed in range(2):
            lr = 0.002 if environment is MACHINE else 0.0021  # ids of accuracy trials do not cover the machine
            save_accuracy(tmp_path, "dct", top1 + seed, seed, environment=environment, lr=lr)
    save_accuracy(tmp_path, "dct", 10.0, 0, dataset="cifar100", train_images=None)
    write_report(tmp_path)
    names = ["cifar100-quick", "constellations-quick-amd-epyc-9b14", "constellations-quick-apple-m3"]
    assert sorted(p.name for p in (tmp_path / "tables").iterdir()) == names
    means = [
        [float(row["test_top1_percent_mean"]) for row in read(tmp_path / "tables" / name / "summary.csv")]
        for name in names
    ]
    assert means == [[10.0], [40.5], [60.5]]


def test_every_score_of_the_test_split_that_a_record_has_is_a_column_of_the_summary(tmp_path):
    scores = {n: m.label for n, m in METRICS.items() if n.startswith("test_") and m.better == "higher"}
    save(tmp_path, make_trial("accuracy", "dct"), dict.fromkeys(scores, 12.5))
    write_report(tmp_path)
    table = tmp_path / "tables" / "constellations-quick" / "summary"
    assert {f"{name}_mean" for name in scores} <= set(table.with_suffix(".csv").read_text().splitlines()[0].split(","))
    labels = [label for name, label in scores.items() if name not in OF_MOST]
    assert labels and all(label in table.with_suffix(".md").read_text() for label in labels)


def test_settings_do_not_mix_and_the_plot_takes_the_learning_rate_chosen_on_held_out_images(tmp_path):
    for lr, test, val in ((0.001, 50.0, 30.0), (0.004, 40.0, 35.0)):
        trial = make_trial("accuracy", "dct", lr=lr)
        save(tmp_path, trial, {"test_top1_percent": test, "val_top1_percent": val})
    frame = results_frame(tmp_path)
    from benchmarks.report.choose import best_learning_rates
    from benchmarks.report.tables.summary import summary_table

    table = summary_table(frame)
    assert list(table["lr"]) == [0.001, 0.004]
    assert list(best_learning_rates(table)["lr"]) == [0.004]


def test_attention_timed_at_another_time_is_marked(tmp_path):
    for hour, mixer in enumerate(("attention", "dct")):
        for size in (16, 32):
            save_latency(tmp_path, mixer, size, hour=hour)
    write_report(tmp_path)
    folder = tmp_path / "tables" / "constellations-quick"
    assert only(read(folder / "latency.csv"), mixer="dct", image_size_px="16")["timed_with_attention"] == "False"
    assert ") †" in (folder / "latency.md").read_text(encoding="utf-8")


def digests(folder: Path) -> dict[str, str]:
    made = [*folder.glob("claims.*"), *(path for room in ("tables", "plots") for path in (folder / room).rglob("*"))]
    paths = [*(path for path in made if path.is_file()), folder / "index.html"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_same_records_make_the_same_bytes_and_stale_files_go(tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        for mixer in ("dct", "attention") if folder.name == "a" else ("attention", "dct"):
            save_accuracy(folder, mixer, 40.0 + len(mixer), 0)
            for size in (16, 32):
                save_latency(folder, mixer, size)
    stale = folders[1] / "plots" / "cifar100-full-old" / "old.png"
    kept = [folders[1] / "plots" / "mine" / "a.png", folders[1] / "tables" / "constellations-quick" / "notes.txt"]
    for path in (stale, *kept):
        path.parent.mkdir(parents=True)
        path.touch()
    assert {path.suffix for path in write_report(folders[0])} == {".csv", ".md", ".tex", ".png", ".svg", ".html"}
    written = write_report(folders[1])
    assert not stale.parent.exists() and all(path.exists() for path in kept)
    for path in kept:
        path.unlink()
    assert digests(folders[0]) == digests(folders[1])
    assert sorted(str(p.relative_to(folders[1])) for p in written) == sorted(digests(folders[1]))


def test_every_plot_is_there(results):
    names = {name.partition("/")[2] for name in FIGURES if name.startswith("constellations-quick/")}
    assert names >= {
        "accuracy-vs-flops", "accuracy-vs-latency", "accuracy-vs-params", "learning-curves", "accuracy-by-image-size",
        "latency-vs-image-size", "latency-vs-image-size-training", "memory-vs-image-size", "accuracy-vs-flops-32px",
    }  # fmt: skip
    # one mixer with accuracy alone: no costs, no sizes
    others = {name for name in FIGURES if name.startswith("cifar100")}
    assert others == {"cifar100-quick/accuracy-vs-params", "cifar100-quick/learning-curves"}


def assert_texts_clear(name: str, figure: Figure) -> None:
    """No text on another, none cut off by the edge."""
    with figures.plot_style():
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        texts = [
            t for t in figure.findobj(lambda o: hasattr(o, "get_text")) if t.get_text().strip() and t.get_visible()
        ]
        for axes in figure.axes:  # matplotlib keeps ticks beyond the limits, and does not draw them
            for axis in (axes.xaxis, axes.yaxis):
                shown = {id(t.label1) for t in axis._update_ticks()}
                every = {id(t.label1) for t in (*axis.majorTicks, *axis.minorTicks)} | {
                    id(t.label2) for t in axis.majorTicks
                }
                texts = [t for t in texts if id(t) in shown or id(t) not in every]
        boxes = [(t.get_text(), box) for t in texts for box in _line_boxes(t, renderer)]
    for text, box in boxes:
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, (
            name,
            text,
        )
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        shared = (min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0))
        assert min(shared) < 3, f"{name}: {first!r} lies on {second!r}"


def _line_boxes(text, renderer):
    """One box a line of centred text: a size above its tokens leaves room beside it."""
    box, lines = _text_box(text, renderer), text.get_text().split("\n")
    if len(lines) == 1 or text.get_ha() != "center":
        return [box]
    middle, height = (box.x0 + box.x1) / 2, box.height / len(lines)
    widths = [renderer.get_text_width_height_descent(line, text.get_fontproperties(), False)[0] for line in lines]
    tops = [box.y1 - i * height for i in range(len(lines))]
    return [
        Bbox.from_extents(middle - width / 2, top - height, middle + width / 2, top)
        for width, top in zip(widths, tops, strict=True)
    ]


def _text_box(text, renderer):
    # an annotation's own extent includes its line
    if isinstance(text, Annotation):
        text.update_positions(renderer)
        from matplotlib.text import Text

        return Text.get_window_extent(text, renderer)
    return text.get_window_extent(renderer)


def test_labels_overlap_nowhere(results):
    assert len(FIGURES) >= 10
    for name, figure in FIGURES.items():
        assert_texts_clear(name, figure)


def test_a_label_without_a_line_is_nearer_to_its_own_point_than_to_another():
    figure = Figure(figsize=(3, 3), dpi=100)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, 300), ylim=(0, 300))
    points = [(150.0, 150.0), (154.0, 142.0), (146.0, 158.0), (160.0, 152.0)]
    names = ["hadamard", "hartley", "dct", "fft_pairs"]
    label_points(axes, points, names, ["black"] * 4, np.empty((0, 2)))
    canvas = FigureCanvasAgg(figure).get_renderer()
    joined = 0
    for own, label in enumerate(axes.texts):
        box = _text_box(label, canvas)
        gaps = [math.hypot(max(box.x0 - x, 0, x - box.x1), max(box.y0 - y, 0, y - box.y1)) for x, y in points]
        joined += label.arrow_patch is not None
        assert label.arrow_patch is not None or min(gaps) == gaps[own], label.get_text()
    assert 0 < joined < len(points)


def test_labels_overlap_nowhere_with_many_alike(tmp_path, monkeypatch):
    names = [
        "fft_complex",
        "fft_real",
        "fft_pairs",
        "hartley",
        "dct",
        "hadamard",
        "random",
        "linear",
        "attention",
        "performer",
        "linear_attention",
        "conv_mixer",
        "mlp_mixer",
        "gmlp",
        "global_filter",
        "afno",
        "shift",
        "pool",
        "6xfft_real+2xattention",
    ]
    for i, mixer in enumerate(names):
        save_accuracy(tmp_path, mixer, 70 + i % 5 * 0.3, 0)
        save(tmp_path, make_trial("cost", mixer), {"params": 100_000 + 500 * i, "flops": 10**7 + i})
        for size in (16, 32, 48, 64, 96, 128, 192):
            save_latency(tmp_path, mixer, size)
    drawn = {}
    for module in PLOTTERS:
        monkeypatch.setattr(f"{module}.save_figure", lambda figure, _, name: drawn.update({name: figure}) or [])
    write_report(tmp_path)
    assert len(drawn) == 6
    for name, figure in drawn.items():
        assert_texts_clear(name, figure)


def test_accuracy_by_patch_size_has_a_line_for_every_mixer(tmp_path, monkeypatch):
    drawn: dict[str, Figure] = {}
    monkeypatch.setattr(
        "benchmarks.report.plots.accuracy.save_figure", lambda figure, place, name: drawn.update({name: figure}) or []
    )
    for mixer, gain in (("conv1x1", 0), ("dct", 5), ("attention", 9)):
        for patch in (1, 2, 4):
            for seed in range(2):
                save_accuracy(tmp_path, mixer, 30.0 + seed + gain / patch, seed, patch_size=patch)
    write_report(tmp_path)
    figure = drawn["accuracy-by-patch-size"]
    assert "accuracy-by-image-size" not in drawn
    (axes,) = figure.axes
    lines = [container.lines[0] for container in axes.containers]
    assert [list(line.get_ydata()) for line in lines] == [
        [30.5 + gain / patch for patch in (1, 2, 4)] for gain in (9, 0, 5)
    ]
    assert [text.get_text().split() for text in axes.get_xticklabels()] == [["1", "256"], ["2", "64"], ["4", "16"]]
    assert "patch size" in axes.get_xlabel()
    assert_texts_clear("accuracy-by-patch-size", figure)


@pytest.mark.filterwarnings("error")
def test_accuracy_by_image_size_leaves_out_who_has_one_size_alone(tmp_path, monkeypatch):
    drawn: dict[str, Figure] = {}
    monkeypatch.setattr(
        "benchmarks.report.plots.accuracy.save_figure", lambda figure, place, name: drawn.update({name: figure}) or []
    )
    several = list_mixers()[:14]
    for mixer in (*several, "hybrid_top"):
        for size in (16, 32) if mixer in several else (32,):
            save_accuracy(tmp_path, mixer, 30.0 + size / 16, 0, image_size=size)
    write_report(tmp_path)
    (axes,) = drawn["accuracy-by-image-size"].axes
    lines = [container.lines[0] for container in axes.containers]
    assert len(lines) == len(several) and all(len(line.get_xdata()) == 2 for line in lines)
    low, high = axes.get_xlim()
    assert all(low < x < high for line in lines for x in line.get_xdata())


def test_mixers_of_one_cost_stand_side_by_side_and_the_best_stays():
    points = [(100.0, 30.0), (200.0, 35.0), (100.0, 31.0), (100.0, 29.0)]
    moved = side_by_side(points)
    assert moved[1:3] == points[1:3] and [y for _, y in moved] == [y for _, y in points]
    xs = [moved[i][0] for i in (3, 2, 0)]
    assert xs == sorted(xs) and xs[2] / xs[1] == pytest.approx(xs[1] / xs[0]) == pytest.approx(2**0.015)
    assert side_by_side(points[:2]) == points[:2]


def test_hostile_names(tmp_path):
    for mixer in (HOSTILE, "pkg.mod:../../etc/passwd", "file:" + "x" * 80, "$$", "dct"):
        for seed in range(2):
            save_accuracy(tmp_path, mixer, 40.0 + seed + len(mixer) / 10, seed)
        for size in (16, 32):
            save_latency(tmp_path, mixer, size)
    paths = write_report(tmp_path)
    assert all(path.resolve().is_relative_to(tmp_path.resolve()) for path in paths)
    text = (tmp_path / "tables" / "constellations-quick" / "summary.md").read_text(encoding="utf-8")
    assert "file:A\\$B\\_{\\|\\`&lt;b&gt;\\*" in text
    assert only(summary(tmp_path), mixer=HOSTILE)["family"] == "plug-in"


def test_two_versions_of_a_plug_in_do_not_share_a_mean(tmp_path):
    for seed, source in enumerate(("a" * 64, "b" * 64)):
        save_accuracy(tmp_path, "file:Mine", 40.0 + 10 * seed, seed, mixer_source=source)
    write_report(tmp_path)
    assert [row["label"] for row in summary(tmp_path)] == ["file:Mine #bbbbbb", "file:Mine #aaaaaa"]


def test_load_results_is_a_row_a_record(results):
    frame = results_frame(results)
    assert len(frame) == len(list((results / "records").iterdir()))
    row = frame[(frame["mixer"] == "random") & (frame["status"] == "oom")].iloc[0]
    assert math.isnan(row["forward_ms"]) and row["tokens"] == 4096 and row["machine"] == "AMD EPYC 9B14"
    assert row["history"] == []


def test_no_records_is_one_line_that_says_what_to_type(tmp_path):
    with pytest.raises(UserError, match=r"benchmarks bench-all") as error:
        results_frame(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"benchmarks bench-all"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_suite_does_not_import_pandas():
    code = "import sys, benchmarks; assert 'pandas' not in sys.modules; benchmarks.load_results; "
    code += "assert 'pandas' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_families_are_those_of_the_registry():
    own = [mixer_entry(name) for name in list_mixers() if mixer_entry(name).cls.__module__.startswith("mixers.")]
    assert {e.name: e.family for e in own} == registered_families()
    assert mixer_family("attention(backend=plain)") == "attention"


@pytest.mark.parametrize("verb", ["report", "status", "claims", "help", "reprot"])
def test_what_needs_no_torch_does_not_load_it(verb, results):
    where = ["--results", str(results)] if verb in ("report", "status", "claims") else []
    code = (
        f"import sys; from benchmarks.cli.main import main; main({[verb, *where]}); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_plug_ins_are_never_imported_for_a_report():
    assert mixer_family("antigravity:Mixer") == "plug-in"
    assert "antigravity" not in sys.modules
    assert mixer_family("2xdct+attention") == "hybrid"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.5, "1,230"),
        (0.012345, "0.0123"),
        (12.345, "12.3"),
        (9.999, "10.0"),
        (0, "0"),
        (None, "–"),
        (math.nan, "–"),
        (0.00001234, "1.23e-05"),
    ],
)
def test_significant(value, text):
    assert significant(value) == text


def test_text():
    assert (count(999), count(999_999), count(1_234_567)) == ("999", "1.00 M", "1.23 M")
    assert markdown("fft_complex") == "fft_complex"
    assert markdown("p < 0.1, <b>") == "p < 0.1, &lt;b&gt;"
    assert slug("AMD EPYC, 2 cores") == "amd-epyc-2-cores" and slug("../..") not in ("", ".", "..")


def test_the_last_bits_of_a_number_are_no_part_of_a_table_for_programs():
    def text(share: float) -> str:
        mixed = pd.Series([93_000, None], dtype=object)
        return csv_text(pd.DataFrame({"label": ["a", None], "params": mixed, "mean": [share, np.nan]}))

    share = 1 / 3
    assert text(share) == text(np.nextafter(share, 1)) == "label,params,mean\na,93000,0.333333333333\n,,\n"
    assert text(share) != text(share + 1e-11)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "equal width."),
        ({"norm": "token"}, "equal width, norm per token."),
        ({"coordinates": False}, "equal width, no coordinate channels."),
    ],
)
def test_a_caption_says_what_an_ablation_took_away(tmp_path, fields, words):
    save_accuracy(tmp_path, "dct", 40.0, 0, **fields)
    frame = results_frame(tmp_path)
    assert caption(frame, frame).endswith(words)
