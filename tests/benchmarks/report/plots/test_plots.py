"""Every plot is drawn, shows the numbers of the tables, and no text of it lies on another."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox
from report_files import only, read
from synthetic import PLOTTERS, make_trial, save, save_accuracy, save_latency

from benchmarks.report.build import write_report
from benchmarks.report.plots.figures import plot_style
from benchmarks.report.plots.labels import label_points
from benchmarks.report.plots.style import GREY, front_runners
from mixers.registry import list_mixers


def test_every_plot_is_there(figures):
    names = {name.partition("/")[2] for name in figures if name.startswith("constellations-quick/")}
    assert names >= {
        "accuracy-vs-flops", "accuracy-vs-latency", "accuracy-vs-params", "learning-curves", "accuracy-by-image-size",
        "accuracy-by-setting", "latency-vs-image-size", "latency-vs-image-size-training", "memory-vs-image-size",
    }  # fmt: skip
    assert not {name for name in names if name.startswith("accuracy-vs") and "32px" in name}
    # one mixer with accuracy alone: nothing to compare, no costs, no sizes
    assert {name for name in figures if name.startswith("cifar100")} == {"cifar100-quick/learning-curves"}


def test_bars_across_are_times_relative_to_attention_within_rounds(results, figures):
    folder = results / "tables" / "constellations-quick"
    row = only(read(folder / "summary.csv"), mixer="hadamard", image_size_px="16")
    timed = only(read(folder / "latency.csv"), mixer="hadamard", image_size_px="16", patch_size_px="2")
    names = [f"net_forward_over_attention{end}" for end in ("", "_low", "_high")]
    assert [row[name] for name in names] == [timed[name] for name in names] and row[names[1]] != row[names[2]]
    ratio, low, high = (float(row[name]) for name in names)
    time, top1 = float(row["net_forward_ms_per_image"]), float(row["test_top1_percent_mean"])
    drawn = [line.get_xydata() for line in figures["constellations-quick/accuracy-vs-latency"].axes[0].get_lines()]
    bars = [xy for xy in drawn if len(xy) == 2 and xy[0, 1] == xy[1, 1] == pytest.approx(top1)]
    assert any(xy[:, 0] == pytest.approx([time * low / ratio, time * high / ratio]) for xy in bars)


def test_labels_overlap_nowhere(figures):
    assert len(figures) >= 10
    for name, figure in figures.items():
        assert_texts_clear(name, figure)


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
    drawn: dict[str, Figure] = {}
    keep_figures(monkeypatch, drawn)
    write_report(tmp_path)
    assert len(drawn) == 6
    for name, figure in drawn.items():
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


def test_accuracy_by_patch_size_has_a_line_for_every_mixer(tmp_path, monkeypatch):
    drawn: dict[str, Figure] = {}
    keep_figures(monkeypatch, drawn)
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
    keep_figures(monkeypatch, drawn)
    several = list_mixers()[:14]
    for mixer in (*several, "hybrid_top"):
        for size in (16, 32) if mixer in several else (32,):
            save_accuracy(tmp_path, mixer, 30.0 + size / 16, 0, image_size=size)
    write_report(tmp_path)
    (axes,) = drawn["accuracy-by-image-size"].axes
    coloured = [container.lines[0] for container in axes.containers]
    lines = [*coloured, *(line for line in axes.get_lines() if line.get_color() == GREY["color"])]
    assert len(coloured) >= 3 and len(lines) == len(several) and all(len(line.get_xdata()) == 2 for line in lines)
    low, high = axes.get_xlim()
    assert all(low < x < high for line in lines for x in line.get_xdata())


def title_of(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts if text.get_weight() == "bold")


def words_of(figure: Figure) -> str:
    return " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())


def test_a_title_says_what_the_records_say(tmp_path, monkeypatch):
    drawn: dict[str, Figure] = {}
    keep_figures(monkeypatch, drawn)
    for place, mixer in enumerate(("dct", "attention", "hadamard", "conv1x1", "random")):
        for seed in range(3):
            save_accuracy(tmp_path, mixer, (50.0, 60.0, 40.0, 30.0, 35.0)[place] + seed, seed)
        save(
            tmp_path, make_trial("cost", mixer), {"params": 1000 if place != 1 else 2000, "flops": 10**6 * (place + 1)}
        )
    save_accuracy(tmp_path, "linear", 99.0, 0)  # one lucky run among means of three
    save(tmp_path, make_trial("cost", "linear"), {"params": 3000, "flops": 10**7})
    write_report(tmp_path)
    flops = drawn["accuracy-vs-flops"]
    assert title_of(flops) == (
        "attention has the highest mean accuracy: 61.0 % with 2.00 M FLOPs per image; "
        "random costs 2.5 times as much for 36.0 %"
    )
    assert "Seeds: 1 of linear; 3 of all others. One seed has no bar." in words_of(flops)
    assert title_of(drawn["accuracy-vs-params"]) == "4 mixers with 1,000 parameters each reach from 31.0 to 51.0 %"
    assert title_of(drawn["learning-curves"]).startswith("attention has the highest mean accuracy on held-out examples")
    strip, axis = drawn["accuracy-vs-params"].axes
    assert [tick.get_text() for tick in strip.get_xticklabels()] == ["dct", "hadamard", "random", "conv1x1"]
    markers = [line.get_xdata()[0] for line in axis.get_lines() if line.get_marker() in ("X", "h")]
    assert markers == [2000.0, 3000.0]  # where they are


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_front_takes_two_points_and_more_than_one_run(tmp_path, monkeypatch, seeds):
    drawn: dict[str, Figure] = {}
    keep_figures(monkeypatch, drawn)
    for place, mixer in enumerate(("dct", "attention")):
        for seed in range(seeds):
            save_accuracy(tmp_path, mixer, 50.0 + 10 * place + seed, seed)
        save(tmp_path, make_trial("cost", mixer), {"params": 1000 + place, "flops": 10**6 * (place + 1)})
    write_report(tmp_path)
    assert ("Pareto" in words_of(drawn["accuracy-vs-flops"])) == (seeds > 1)


def test_settings_are_panels_of_one_figure_on_one_scale(figures, tmp_path, monkeypatch):
    drawn: dict[str, Figure] = {}
    keep_figures(monkeypatch, drawn)
    for change in ({}, {"dim": 64}, {"norm": "token"}):
        for mixer, top1 in (("dct", 50.0), ("attention", 60.0 if change else 45.0)):
            for seed in range(1 if "norm" in change else 2):
                save_accuracy(tmp_path, mixer, top1 + seed, seed, **change)
    write_report(tmp_path)
    figure = drawn["accuracy-by-setting"]
    assert title_of(figure) == "attention has the highest mean accuracy in 2 of 3 settings, dct in 1"
    heads = [axes.get_title(loc="left").replace("\u00a0", " ").replace("\n", " ") for axes in figure.axes]
    assert heads == ["dim 48 (n = 2)", "dim 64 (n = 2)", "norm per token (n = 1)"]
    assert len({round(high - low, 6) for low, high in (axes.get_xlim() for axes in figure.axes)}) == 1
    assert_texts_clear("accuracy-by-setting", figure)
    assert not {name for name in drawn if "dim-64" in name}


def test_latency_has_a_panel_a_family_and_the_identity_does_not_stretch_it(figures):
    figure = figures["constellations-quick/latency-vs-image-size"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "spectral (Fourier)", "separable (rows, then columns)", "dense (one matrix)", "attention",
    ]  # fmt: skip
    assert "conv1x1 does nothing and is left out" in words_of(figure)
    named = [text.get_text().split(" ")[0] for axes in figure.axes for text in axes.get_legend().get_texts()]
    assert sorted(named) == sorted(["fft_complex", "fft_real", "dct", "hadamard", "random", "attention", "attention"])
    limits = {axes.get_ylim() for axes in figure.axes}
    assert len(limits) == 1 and title_of(figure).startswith("Mixer alone, forward: at 48 px attention takes ")


def test_of_many_curves_the_front_runners_and_the_references_have_a_colour():
    others = ["dct", "hadamard", "linear", "random", "gmlp", "pool", "shift", "hartley", "afno"]
    scores = {label: float(-place) for place, label in enumerate([*others, "attention", "conv1x1", "file:Mine"])}
    assert front_runners(scores) == ["dct", "hadamard", "linear", "attention", "conv1x1", "file:Mine"]
    few = dict(list(scores.items())[:8])
    assert front_runners(few) == sorted(few, key=lambda label: -few[label])


def keep_figures(monkeypatch, drawn: dict[str, Figure]) -> None:
    for module in PLOTTERS:
        monkeypatch.setattr(f"{module}.save_figure", lambda figure, _, name: drawn.update({name: figure}) or [])


def assert_texts_clear(name: str, figure: Figure) -> None:
    """No text on another, none cut off by the edge."""
    with plot_style():
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
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
        return Text.get_window_extent(text, renderer)
    return text.get_window_extent(renderer)
