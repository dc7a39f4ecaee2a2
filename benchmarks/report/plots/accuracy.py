"""Plots of accuracy: against what it costs, over training, and over image and patch sizes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmarks.contract.facts.metrics import METRICS
from benchmarks.report.baselines import at_baseline
from benchmarks.report.choose import best_of_settings, finished, rows_by, runs_of, withheld
from benchmarks.report.frame import plain, square_ones
from benchmarks.report.notes import caption, holes
from benchmarks.report.plots import baselines as plots_baselines
from benchmarks.report.plots.figures import (
    label_room,
    log_axis,
    make_figure,
    save_figure,
    show_count,
    show_number,
    size_axis,
)
from benchmarks.report.plots.labels import label_ends, label_points
from benchmarks.report.plots.style import NARROW, WIDE, mixer_style, short
from benchmarks.report.sizes import IMAGES, Extent, extent_of, worded
from benchmarks.report.stats.intervals import bars, pareto_front

COSTS = {  # plot -> column of the summary, label of the axis
    "accuracy-vs-flops": ("flops", METRICS["flops"].label),
    "accuracy-vs-latency": ("net_forward_ms_per_image", "net, forward (ms per image)"),
    "accuracy-vs-params": ("params", METRICS["params"].label),
}
PATCHES = dataclasses.replace(
    IMAGES, field="patch_size", axis="patch size (px)", word="patch-size", at="at patch {} px"
)
TOP1 = METRICS["test_top1_percent"].label
MANY = 11  # from so many mixers on, one column of a paper is too narrow


def accuracy_plots(summary: pd.DataFrame, frame: pd.DataFrame, folder: Path) -> list[Path]:
    """All plots of accuracy of one group, from its summary table and, for the learning curves, its records."""
    paths: list[Path] = []
    if summary.empty:
        return paths
    for suffix, best in best_of_settings(summary).items():
        if suffix and len(finished(best)) < 2:
            continue
        ending = f"-{suffix}" if suffix else ""
        for name, (column, label) in COSTS.items():
            paths += tradeoff(best, frame, folder, name=name + ending, column=column, label=label)
        paths += learning_curves(best, frame, folder, "learning-curves" + ending)
    return paths + by_size(summary, frame, folder)


def _of_seeds(rows: pd.DataFrame, words: str) -> str:
    """What a caption says of the spread over seeds, where there are several."""
    return words if (rows["n"] > 1).any() else ""


def tradeoff(
    rows: pd.DataFrame, frame: pd.DataFrame, folder: Path, *, name: str, column: str, label: str
) -> list[Path]:
    """Accuracy against one cost, with 95 % intervals and the Pareto front."""
    known = [
        plain(y) is not None and (plain(x) or 0) > 0
        for x, y in zip(rows[column], rows["test_top1_percent_mean"], strict=True)
    ]
    ready = rows[known]
    if ready.empty:
        return []
    missing = {r["label"]: trouble(r, column) for _, r in rows[[not k for k in known]].iterrows()}
    exact = list(zip(map(float, ready[column]), map(float, ready["test_top1_percent_mean"]), strict=True))
    points = side_by_side(exact)
    told = _of_seeds(ready, " Bars: 95 % t-interval over seeds.") + " Grey steps: Pareto front."
    across = [time_interval(row, column) for _, row in ready.iterrows()]
    if any(across):
        told += " Pale bars across: the time over attention's of the same round, 95 % interval."
    told += " Mixers of one cost stand side by side." if points != exact else ""
    told += plots_baselines.told(ready)
    notes = [caption(frame, ready) + told, *holes(missing)]
    wide = len(ready) >= MANY
    beside = plots_baselines.labels_of(ready)
    width = WIDE if wide or beside else NARROW
    right = [label_room(beside) if beside else 0.08]
    figure, (axes,) = make_figure(width, 3.2 if wide else 2.5, notes, right=right)
    costs = [x for x, _ in points]
    ends = [x for span in across if span is not None for x in span]
    space = 0.05 if ends else 0.14  # bars leave room for labels beside them
    low, high = min([*costs, *ends]), max([*costs, *ends])
    log_axis(axes.xaxis, low, high, show_number if "_ms_" in column else show_count, space=space)
    ink = []
    for (x, y), (_, row), span in zip(points, ready.iterrows(), across, strict=True):
        style = mixer_style(row["label"]) | {"linestyle": "none"}
        pale = plots_baselines.paleness(row)
        if span is not None:
            axes.plot(
                span, (y, y), color=style["color"], alpha=0.35, linewidth=1.0, linestyle="-", marker="none", zorder=2
            )
            ink += [(v, y) for v in np.geomspace(*span, 12)]
        high = plain(row["test_top1_percent_high"])
        if high is not None:
            axes.errorbar(x, y, bars(y, high - y), color=style["color"], elinewidth=0.8, capthick=0.8, zorder=3, **pale)
            ink += [(x, v) for v in np.linspace(max(0.0, 2 * y - high), min(high, 100.0), 12)]
        axes.plot(x, y, **style, **pale, zorder=4)
    trivial = plots_baselines.draw_levels(axes, ready)
    ink += [(x, y) for _, y in trivial[0] for x in np.geomspace(*axes.get_xlim(), 60)]
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom - 0.06 * (top - bottom), top + 0.06 * (top - bottom))
    counted = [not withheld(row) and not at_baseline(row) for row in ready.to_dict("records")]
    trusted = [xy for xy, counts in zip(exact, counted, strict=True) if counts]
    if trusted:
        ink += draw_front(axes, [trusted[i] for i in pareto_front(trusted)])
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(worded(label, extent_of(rows)), labelpad=2)
    axes.set_ylabel(TOP1)
    colours = [mixer_style(text)["color"] for text in ready["label"]]
    label_points(axes, points, [short(text) for text in ready["label"]], colours, np.array(ink).reshape(-1, 2))
    label_ends(axes, *trivial)
    return save_figure(figure, folder, name)


def time_interval(row: Mapping[Any, Any] | pd.Series, column: str) -> tuple[float, float] | None:
    """The interval of a time, as a share of attention's in the same round; None for other costs and for one round."""
    name = f"{column.removesuffix('_ms_per_image')}_over_attention"
    if name not in row or plain(row[f"{name}_low"]) is None:
        return None
    return row[column] * row[f"{name}_low"] / row[name], row[column] * row[f"{name}_high"] / row[name]


def side_by_side(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points of one x moved apart by 1.5 % of the logarithmic axis, the highest left where it is."""
    costs = [math.log(x) for x, _ in points]
    step = 0.015 * max(max(costs) - min(costs), 0.3)
    moved = list(points)
    for cost in set(costs):
        alike = sorted((i for i, other in enumerate(costs) if other == cost), key=lambda i: (-points[i][1], i))
        for place, i in enumerate(alike):
            aside = (place + 1) // 2 * (1 if place % 2 else -1)
            if aside:
                moved[i] = (math.exp(cost + aside * step), points[i][1])
    return moved


def draw_front(axes: Axes, front: list[tuple[float, float]]) -> list[tuple[float, float]]:
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


def learning_curves(rows: pd.DataFrame, frame: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Held-out accuracy against epoch: mean over seeds, and the band between the lowest and the highest seed."""
    trained = finished(frame, "accuracy")
    curves: dict[str, pd.DataFrame] = {}
    for _, row in rows.iterrows():
        histories = runs_of(row, trained)["history"]
        seeds = [{int(e["epoch"]): e.get("val_top1_percent") for e in history} for history in histories]
        if seeds:
            epochs = [e for e in sorted(seeds[0]) if all(seed.get(e) is not None for seed in seeds)]
            curves[row["label"]] = pd.DataFrame([[seed[e] for seed in seeds] for e in epochs], epochs, dtype=float)
    curves = {label: curve for label, curve in curves.items() if len(curve)}
    if not curves:
        return []
    texts = [short(label) for label in curves]
    missing = {r["label"]: str(r["status"]) for _, r in rows.iterrows() if r["status"] != "ok"}
    ready = finished(rows)
    told = _of_seeds(ready, " Lines: mean over seeds; bands: lowest to highest seed.") + plots_baselines.told(ready)
    notes = [caption(frame, ready) + told, *holes(missing)]
    wide = len(curves) >= MANY
    width = WIDE if wide else NARROW
    room = label_room([*texts, *plots_baselines.labels_of(ready)])
    pale = {row["label"]: plots_baselines.paleness(row) for row in ready.to_dict("records")}
    figure, (axes,) = make_figure(width, max(2.4, 0.115 * len(curves)), notes, right=[room])
    ends = []
    for label, curve in curves.items():
        style = mixer_style(label)
        mean = curve.mean(axis=1)
        if curve.shape[1] > 1:
            axes.fill_between(
                curve.index, curve.min(axis=1), curve.max(axis=1), color=style["color"], alpha=0.15, linewidth=0
            )
        axes.plot(mean.index, mean, **style, **pale[label], markevery=max(1, len(mean) // 6))
        ends.append((float(mean.index[-1]), float(mean.iloc[-1])))
    axes.margins(x=0.03)
    axes.set_xlim(axes.get_xlim())
    trivial = plots_baselines.draw_levels(axes, ready)
    axes.set_ylim(axes.get_ylim())
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch", labelpad=2)
    axes.set_ylabel(METRICS["val_top1_percent"].label)
    colours = [mixer_style(label)["color"] for label in curves]
    label_ends(axes, [*ends, *trivial[0]], [*texts, *trivial[1]], [*colours, *trivial[2]])
    return save_figure(figure, folder, name)


def by_size(summary: pd.DataFrame, frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Accuracy against image size and against patch size: is it the patches or the mixing? Of sequences by length."""
    paths: list[Path] = []
    extent = extent_of(summary)
    for of, found in (
        (extent, rows_by(square_ones(summary), extent.field, "patch_size")),
        (PATCHES, rows_by(summary, "patch_size")),
    ):
        name = f"accuracy-by-{of.word}"
        for suffix, rows in found:
            if not suffix or finished(rows)["label"].nunique() > 1:
                paths += draw_by_size(rows, of, frame, folder, f"{name}-{suffix}" if suffix else name)
    return paths


def draw_by_size(rows: pd.DataFrame, of: Extent, frame: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """A line for every mixer that was measured at two sizes or more; one size alone says nothing of sizes."""
    column = of.field
    usable = finished(rows)
    several = usable.groupby("label")[column].transform("nunique") > 1
    rows = rows[rows["label"].isin(usable[several]["label"])] if several.any() else rows
    usable = finished(rows)
    sizes = sorted(set(usable[column]))
    labels = sorted(set(usable["label"]))
    missing: dict[str, Any] = {
        f"{r['label']} {of.at.format(r[column])}": str(r["status"]) for _, r in rows.iterrows() if r["status"] != "ok"
    }
    patches = ", ".join(
        f"{p} at {s} px" for s, p in sorted({(r["image_size"], r["patch_size"]) for _, r in usable.iterrows()})
    )
    told = f" Patch size: {patches}." if column == "image_size" and usable["patch_size"].nunique() > 1 else ""
    rates = sorted(set(usable["lr"]))
    told += f" Learning rate {rates[0]:g} for all." if len(rates) == 1 else ""
    told += _of_seeds(usable, " Bars: 95 % t-interval over seeds.") + " Points of one size stand side by side."
    told += plots_baselines.told_by_size(usable)
    notes = [caption(frame, usable) + told, *holes(missing)]
    texts = [short(label) for label in labels]
    width = WIDE if len(labels) >= MANY else NARROW
    room = label_room([*texts, *(plots_baselines.COLUMNS[name] for name in plots_baselines.known_columns(usable))])
    figure, (axes,) = make_figure(width, max(2.4, 0.115 * len(labels)), notes, right=[room], ticks=0.12)
    ends = []
    apart = min(1.012, 1.1 ** (1 / len(labels)))  # all points of one size within a tenth of it
    for i, label in enumerate(labels):
        mine = usable[usable["label"] == label].sort_values(column)
        style = mixer_style(label)
        # bars of different mixers at one size would hide each other
        aside = [float(size) * apart ** (i - (len(labels) - 1) / 2) for size in mine[column]]
        means = [float(v) for v in mine["test_top1_percent_mean"]]
        halves = [
            (0.0, 0.0) if plain(h) is None else (min(h - m, m), min(h, 100.0) - m)
            for h, m in zip(mine["test_top1_percent_high"], means, strict=True)
        ]
        paleness = plots_baselines.paleness_of_all(mine)
        axes.errorbar(aside, means, np.transpose(halves), **style, **paleness, elinewidth=0.7, capthick=0.7)
        ends.append((aside[-1], means[-1]))
    tokens = {int(r[column]): int(r["tokens"]) for _, r in usable.iterrows()}
    size_axis(axes, sizes, tokens, of)
    trivial = plots_baselines.draw_by_size(axes, usable, column)
    axes.set_ylim(axes.get_ylim())
    axes.set_ylabel(TOP1)
    colours = [mixer_style(label)["color"] for label in labels]
    label_ends(axes, [*ends, *trivial[0]], [*texts, *trivial[1]], [*colours, *trivial[2]])
    return save_figure(figure, folder, name)
