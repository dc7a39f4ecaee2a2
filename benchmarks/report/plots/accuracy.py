"""Plots of accuracy against what it costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmarks.contract.facts.metrics import METRICS
from benchmarks.report.frame import plain
from benchmarks.report.notes import caption, holes
from benchmarks.report.plots import baselines as plots_baselines
from benchmarks.report.plots.figures import (
    label_room,
    log_axis,
    make_figure,
    save_figure,
    show_count,
    show_number,
)
from benchmarks.report.plots.labels import label_ends, label_points
from benchmarks.report.plots.style import FLOOR_COLOUR, MOST_COLOURED, NARROW, WIDE, mixer_style, short
from benchmarks.report.plots.words import TOP1, against_baseline, highest, name, of_seeds, sure
from benchmarks.report.sizes import extent_of, worded
from benchmarks.report.stats.intervals import bars, pareto_front
from benchmarks.report.wording import count, significant

COSTS: dict[str, tuple[str, str, str, Callable[[float], str]]] = {  # plot -> column, axis, and an amount in words
    "accuracy-vs-latency": (
        "net_forward_ms_per_image", "net, forward (ms per image)", "at {} ms per image", lambda ms: significant(ms, 2),
    ),
    "accuracy-vs-flops": ("flops", METRICS["flops"].label, "with {} FLOPs per image", count),
}  # fmt: skip
MANY = 11  # from so many mixers on, one column of a paper is too narrow
DOTS = 30  # along a bar, for labels to keep clear of
Points = list[tuple[float, float]]


def tradeoffs(rows: pd.DataFrame, frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Accuracy against latency and against FLOPs, of one comparison."""
    return [path for plot in COSTS for path in tradeoff(rows, frame, folder, plot)]


def with_cost(rows: pd.DataFrame, column: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows that have an accuracy and a cost, and why others have none; no rows where nothing can be compared."""
    known = [plain(y) is not None and (plain(x) or 0) > 0 for x, y in zip(rows[column], rows[TOP1], strict=True)]
    ready = rows[known]
    missing = {r["label"]: trouble(r, column) for _, r in rows[[not k for k in known]].iterrows()}
    return (ready if len(ready) > 1 else ready[:0]), missing


def tradeoff(rows: pd.DataFrame, frame: pd.DataFrame, folder: Path, plot: str) -> list[Path]:
    """Accuracy against one cost, with 95 % intervals and the Pareto front."""
    column, label, _, _ = COSTS[plot]
    ready, missing = with_cost(rows, column)
    if ready.empty:
        return []
    points = points_of(ready, column)
    front = front_of(ready, column)
    told = " Colours: families." + of_seeds(ready, " Bars: 95 % t-interval over seeds.")
    told += " Grey steps: Pareto front of the means over several seeds." if front else ""
    across = [time_interval(row, column) for _, row in ready.iterrows()]
    if any(across):
        told += " Pale bars across: the time over attention's of the same round, 95 % interval."
    notes = [caption(frame, ready) + told + plots_baselines.told(ready), *holes(missing)]
    wide = len(ready) >= MANY
    beside = plots_baselines.labels_of(ready)
    right = [label_room(beside) if beside else 0.08]
    figure, (axes,) = make_figure(
        WIDE if wide or beside else NARROW,
        3.2 if wide else 2.5,
        notes,
        title=worded(message(ready, plot), extent_of(rows)),
        families=ready["family"],
        right=right,
    )
    ends = [x for span in across if span is not None for x in span]
    xs = [*(x for x, _ in points), *ends]
    space = 0.05 if ends else 0.14  # bars leave room for labels beside them
    log_axis(axes.xaxis, min(xs), max(xs), show_number if "_ms_" in column else show_count, space=space)
    ink = draw_points(axes, points, ready)
    for (_, y), (_, row), span in zip(points, ready.iterrows(), across, strict=True):
        if span is not None:
            colour = mixer_style(row["label"])["color"]
            axes.plot(span, (y, y), color=colour, alpha=0.35, linewidth=1.0, linestyle="-", marker="none", zorder=2)
            ink += [(v, y) for v in np.geomspace(*span, 12)]
    trivial = plots_baselines.draw_levels(axes, ready)
    ink += [(x, y) for _, y in trivial[0] for x in np.geomspace(*axes.get_xlim(), 60)]
    accuracy_axis(axes)
    ink += draw_front(axes, front) if front else []
    axes.set_xlabel(worded(label, extent_of(rows)), labelpad=2)
    name_points(axes, points, ready, ink)
    label_ends(axes, *trivial)
    return save_figure(figure, folder, plot)


def message(rows: pd.DataFrame, plot: str) -> str:
    """Who is the most accurate and what that costs, beside what costs most."""
    column, _, amount, show = COSTS[plot]
    known = sure(rows)
    if text := against_baseline(rows):
        return text
    if len(known) < 2:
        return f"Accuracy against {plot.rpartition('-')[2].replace('flops', 'FLOPs')}"
    top = max(known[TOP1])
    first = known[known[TOP1] == top].sort_values([column, "label"]).iloc[0]
    most = known.sort_values([column, "label"]).iloc[-1]
    text = f"{highest(dict(zip(known['label'], known[TOP1], strict=True)), known['n'])}: {top:.1f} %"
    cost = amount.format(show(first[column]))
    times = most[column] / first[column]
    if times < 1.2:
        return f"{text} {cost}"
    return f"{text} {cost}; {name(most['label'])} costs {significant(times, 2)} times as much for {most[TOP1]:.1f} %"


def points_of(rows: pd.DataFrame, column: str) -> Points:
    return list(zip(map(float, rows[column]), map(float, rows[TOP1]), strict=True))


def front_of(rows: pd.DataFrame, column: str) -> Points:
    """The Pareto front over means that are not of one run alone; none of fewer than two points."""
    points = points_of(known, column) if len(known := sure(rows[rows["n"] > 1])) else []
    front = [points[i] for i in pareto_front(points)] if points else []
    return front if len(front) > 1 else []


def draw_points(axes: Axes, points: Points, rows: pd.DataFrame) -> Points:
    """A marker and a bar for each row; returns what labels should keep clear of."""
    ink: Points = []
    for (x, y), row in zip(points, rows.to_dict("records"), strict=True):
        style = mixer_style(row["label"]) | {"linestyle": "none"}
        pale = plots_baselines.paleness(row)
        high = plain(row["test_top1_percent_high"])
        if high is not None:
            axes.errorbar(x, y, bars(y, high - y), color=style["color"], elinewidth=0.8, capthick=0.8, zorder=3, **pale)
            ink += [(x, v) for v in np.linspace(max(0.0, 2 * y - high), min(high, 100.0), DOTS)]
        axes.plot(x, y, **style, **pale, zorder=4)
    return ink


def name_points(
    axes: Axes, points: Points, rows: pd.DataFrame, ink: Points, more: tuple[str, tuple[float, float]] | None = None
) -> None:
    """Labels, and one `more`; of many the caption alone names what has not left its baseline."""
    few = len(rows) <= MOST_COLOURED
    named = [few or not plots_baselines.without_name(row) for row in rows.to_dict("records")]
    labels = list(itertools.compress(rows["label"], named))
    ink = [*ink, *(point for point, shown in zip(points, named, strict=True) if not shown)]
    texts, colours = list(map(short, labels)), [mixer_style(label)["color"] for label in labels]
    places = list(itertools.compress(points, named))
    if more is not None:
        texts, places, colours = [*texts, more[0]], [*places, more[1]], [*colours, FLOOR_COLOUR]
    label_points(axes, places, texts, colours, np.array(ink).reshape(-1, 2))


def accuracy_axis(axes: Axes) -> None:
    """Room above and below for labels."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom - 0.06 * (top - bottom), top + 0.06 * (top - bottom))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_ylabel(METRICS["test_top1_percent"].label)


def time_interval(row: Mapping[Any, Any] | pd.Series, column: str) -> tuple[float, float] | None:
    """The interval of a time, as a share of attention's in the same round; None for other costs and for one round."""
    ratio = f"{column.removesuffix('_ms_per_image')}_over_attention"
    if ratio not in row or plain(row[f"{ratio}_low"]) is None:
        return None
    return row[column] * row[f"{ratio}_low"] / row[ratio], row[column] * row[f"{ratio}_high"] / row[ratio]


def draw_front(axes: Axes, front: Sequence[tuple[float, float]]) -> Points:
    """The steps of a Pareto front: the accuracy that can be had at each cost. Returns points along them."""
    right = axes.get_xlim()[1]
    xs = [x for x, _ in front] + [right]
    ys = [y for _, y in front] + [front[-1][1]]
    axes.step(xs, ys, where="post", color="#A0A0A0", linewidth=0.8, zorder=1, marker="none", linestyle="-")
    along = []
    for i, (x, y) in enumerate(front):
        along += [(v, y) for v in np.geomspace(x, xs[i + 1], 60)]
        along += [(xs[i + 1], v) for v in np.linspace(y, ys[i + 1], 6)]
    return along


def trouble(row: pd.Series, column: str) -> str:
    """Why a mixer is not on a plot."""
    if row["status"] != "ok":
        return str(row["status"])
    status = row["cost_status"] if column == "flops" else row["latency_status"] if "_ms_" in column else None
    return "not measured" if status in (None, "ok") else str(status)
