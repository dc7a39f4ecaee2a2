"""Plots of latency and memory against the size of an image, or the length of a sequence."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmarks.contract.facts.metrics import METRICS
from benchmarks.report.alike import ATTENTION
from benchmarks.report.choose import once_a_size, scaling_row, sweeps, timed_in
from benchmarks.report.frame import plain
from benchmarks.report.notes import caption, holes
from benchmarks.report.plots.figures import label_room, log_axis, make_figure, save_figure, show_number, size_axis
from benchmarks.report.plots.labels import label_ends
from benchmarks.report.plots.ratio import ratio_plot
from benchmarks.report.plots.style import FLOOR_COLOUR, NARROW, WIDE, mixer_style, short
from benchmarks.report.sizes import SEQUENCES, extent_of, worded
from benchmarks.report.wording import span

Line = list[tuple[float, float]]  # size and value
PASSES = {  # plot -> columns of the latency table for the panels, and the pass in words
    "latency-vs-{}": (("mixer_forward", "net_forward"), "forward"),
    "latency-vs-{}-training": (("mixer_forward_backward", "net_forward_backward"), "forward + backward"),
}
MOST_RINGS = 8  # more would hide the lines; the scaling table has them all
PANELS = ("mixer alone", "whole net")


def latency_plots(latency: pd.DataFrame, scaling: pd.DataFrame, frame: pd.DataFrame, folder: Path) -> list[Path]:
    """All plots of latency and memory of one group, from its tables."""
    paths: list[Path] = []
    extent = extent_of(latency)
    for suffix, rows in sweeps(latency).items():
        ending = f"-{suffix}" if suffix else ""
        timed = timed_in(rows, frame)
        for name, (columns, words) in PASSES.items():
            paths += latency_plot(
                rows,
                scaling,
                timed,
                columns=columns,
                words=words,
                folder=folder,
                name=name.format(extent.word) + ending,
            )
        paths += memory_plot(rows, timed, folder, f"memory-vs-{extent.word}" + ending)
        if extent is SEQUENCES:
            paths += ratio_plot(rows, timed, missing_sizes(rows), folder, f"ratio-vs-{extent.word}" + ending)
    return paths


def lines_of(rows: pd.DataFrame, column: str) -> dict[str, Line]:
    """A line per mixer of what was measured to the end."""
    lines: dict[str, Line] = {}
    size = extent_of(rows).field
    for _, row in once_a_size(rows).iterrows():
        if plain(row[column]) is not None:
            lines.setdefault(row["label"], []).append((float(row[size]), float(row[column])))
    return lines


def latency_plot(
    rows: pd.DataFrame,
    scaling: pd.DataFrame,
    timed: pd.DataFrame,
    *,
    columns: Sequence[str],
    words: str,
    folder: Path,
    name: str,
) -> list[Path]:
    """Two panels, the mixer alone and the whole net: latency per image against size, both axes logarithmic."""
    panels = [lines_of(rows, f"{column}_ms_per_image") for column in columns]
    if not any(panels):
        return []
    floor = copy_floor(rows) if words == "forward" else []
    texts = [
        [end_label(label, scaling, rows, column) for label in lines]
        for lines, column in zip(panels, columns, strict=True)
    ]
    crossings = [crossing_points(lines, scaling, rows, column) for lines, column in zip(panels, columns, strict=True)]
    first = rows.iloc[0]
    how = f", {'compiled' if first['compiled'] else 'eager'}, {first['precision']}; medians over rounds"
    legend = "In parentheses: slope of log latency over log tokens."
    if max(map(len, crossings)) > MOST_RINGS:
        crossings = [{} for _ in crossings]
    if any(crossings):
        legend += " Rings: where a mixer overtakes attention."
    notes = [caption(timed, timed, how) + " " + legend, *holes(missing_sizes(rows))]
    room = [label_room([*text, "copy" if floor else ""]) for text in texts]
    tall = max(2.5, 0.12 * (max(len(lines) for lines in panels) + 1))
    figure, axes = make_figure(WIDE, tall, notes, right=room, ticks=0.12, title=True)
    sizes = sorted({int(x) for lines in panels for line in lines.values() for x, _ in line})
    for i, (lines, text) in enumerate(zip(panels, texts, strict=True)):
        draw_lines(axes[i], lines, text, rows=rows, sizes=sizes, floor=floor if i == 0 else [], rings=crossings[i])
        axes[i].set_title(PANELS[i], loc="left", y=1.0)  # a place of its own need not be looked for
        axes[i].set_ylabel(worded(f"{words} (ms per image)", extent_of(rows)))
    return save_figure(figure, folder, name)


def draw_lines(
    axes: Axes,
    lines: dict[str, Line],
    texts: list[str],
    *,
    rows: pd.DataFrame,
    sizes: list[int],
    floor: Line,
    rings: dict[str, Any],
) -> None:
    """Lines with their labels in the right margin; that of a line that ends early is joined to its last point."""
    values = [y for line in [*lines.values(), floor] for _, y in line]
    if not values:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
        return
    for label, line in lines.items():
        axes.plot(*zip(*line, strict=True), **mixer_style(label))
    if floor:
        axes.plot(
            *zip(*floor, strict=True), color=FLOOR_COLOUR, linestyle=(0, (1, 1.5)), linewidth=1, marker="none", zorder=1
        )
    size_axis(axes, sizes, tokens_of(rows), extent_of(rows))
    log_axis(axes.yaxis, min(values), max(values), show_number)
    for label, point in rings.items():
        axes.plot(
            *point,
            marker="o",
            markersize=7.5,
            markerfacecolor="none",
            markeredgecolor=mixer_style(label)["color"],
            markeredgewidth=0.8,
            zorder=5,
        )
    named = [
        (line, text, mixer_style(label)["color"]) for (label, line), text in zip(lines.items(), texts, strict=True)
    ]
    if floor:
        named.append((floor, "copy", FLOOR_COLOUR))
    label_ends(
        axes, [line[-1] for line, _, _ in named], [text for _, text, _ in named], [colour for _, _, colour in named]
    )


def tokens_of(rows: pd.DataFrame) -> dict[int, int]:
    """The tokens of every size in these rows."""
    return dict(zip(rows[extent_of(rows).field].map(int), rows["tokens"].map(int), strict=True))


def copy_floor(rows: pd.DataFrame) -> Line:
    """Time to copy the mixer's input, per image: the median over the mixers timed at each size."""
    ready = rows[(rows["status"] == "ok") & rows["copy_ms"].notna()]
    by_size: dict[int, list[float]] = {}
    for size, ms, images in zip(ready[extent_of(rows).field], ready["copy_ms"], ready["batch_size"], strict=True):
        by_size.setdefault(size, []).append(ms / images)
    return [(float(size), statistics.median(values)) for size, values in sorted(by_size.items())]


def end_label(label: str, scaling: pd.DataFrame, rows: pd.DataFrame, column: str) -> str:
    row = scaling_row(label, scaling, rows)
    exponent = None if row is None else plain(row[f"{column}_exponent"])
    return short(label, "" if exponent is None else f" ({exponent:.2f})")


def crossing_points(
    lines: dict[str, Line], scaling: pd.DataFrame, rows: pd.DataFrame, column: str
) -> dict[str, tuple[float, float]]:
    """Where each mixer's line meets attention's: the size of the crossing, and attention's latency there."""
    points: dict[str, tuple[float, float]] = {}
    attention = lines.get(ATTENTION)
    for label in lines if attention else {}:
        row = scaling_row(label, scaling, rows)
        tokens = None if row is None else plain(row[f"{column}_overtakes_attention_tokens"])
        if row is None or tokens is None or not str(row[f"{column}_overtakes_attention"]).startswith("from"):
            continue
        assert attention is not None
        x = tokens if extent_of(rows) is SEQUENCES else math.sqrt(tokens) * rows["patch_size"].iloc[0]
        heights = np.interp(math.log(x), np.log([p[0] for p in attention]), np.log([p[1] for p in attention]))
        points[label] = (x, float(np.exp(heights)))
    return points


def missing_sizes(rows: pd.DataFrame) -> dict[str, str]:
    extent = extent_of(rows)
    failed = rows[rows["status"] != "ok"]
    return {f"{r['label']} {extent.at.format(r[extent.field])}": str(r["status"]) for _, r in failed.iterrows()}


def memory_plot(rows: pd.DataFrame, timed: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Peak memory against size; per image where the batch is not the same at all sizes."""
    known = rows[(rows["status"] == "ok") & rows["peak_memory_bytes"].notna()]
    extent = extent_of(rows)
    if known[extent.field].nunique() < 2:
        return []
    scale = METRICS["peak_memory_bytes"].scale
    batches = sorted(set(known["batch_size"]))
    each = len(batches) > 1
    megabytes = [
        b * scale / (n if each else 1) for b, n in zip(known["peak_memory_bytes"], known["batch_size"], strict=True)
    ]
    lines = lines_of(known.assign(megabytes=megabytes), "megabytes")
    texts = [short(label) for label in lines]
    extra = f"; whole net, forward + backward, batch of {span(batches[0], batches[-1])}"
    notes = [caption(timed, timed, extra), *holes(missing_sizes(rows))]
    figure, (axes,) = make_figure(NARROW, max(2.5, 0.12 * len(lines)), notes, right=[label_room(texts)], ticks=0.12)
    sizes = sorted({int(x) for line in lines.values() for x, _ in line})
    draw_lines(axes, lines, texts, rows=known, sizes=sizes, floor=[], rings={})
    axes.set_ylabel(worded("peak memory (MB per image)", extent) if each else "peak memory (MB)")
    return save_figure(figure, folder, name)
