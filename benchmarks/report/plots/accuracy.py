"""Plots of accuracy against what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmarks.contract.facts.datasets import PRETRAIN
from benchmarks.contract.facts.metrics import METRICS
from benchmarks.report.choose import best_of_settings
from benchmarks.report.frame import plain
from benchmarks.report.notes import caption, holes
from benchmarks.report.plots import baselines as plots_baselines
from benchmarks.report.plots.curves import learning_curves
from benchmarks.report.plots.figures import (
    label_room,
    log_axis,
    make_figure,
    save_figure,
    show_count,
    show_number,
)
from benchmarks.report.plots.labels import label_ends, label_points, text_size
from benchmarks.report.plots.style import NARROW, TICK_SIZE, WIDE, family_colour, mixer_style, short
from benchmarks.report.plots.variants import by_setting, by_size
from benchmarks.report.plots.words import TOP1, highest, name, of_seeds, stuck, sure
from benchmarks.report.sizes import extent_of, worded
from benchmarks.report.stats.intervals import bars, pareto_front
from benchmarks.report.wording import count, significant

COSTS: dict[str, tuple[str, str, str, Callable[[float], str]]] = {  # plot -> column, axis, and an amount in words
    "accuracy-vs-latency": (
        "net_forward_ms_per_image", "net, forward (ms per image)", "at {} ms per image", lambda ms: significant(ms, 2),
    ),
    "accuracy-vs-flops": ("flops", METRICS["flops"].label, "with {} FLOPs per image", lambda flops: count(flops)),
}  # fmt: skip
MANY = 11  # from so many mixers on, one column of a paper is too narrow
CROWD = 4  # mixers of one number of parameters that get a strip of their own
SLOT = 0.19  # inches of it for each
Points = list[tuple[float, float]]


def accuracy_plots(summary: pd.DataFrame, frame: pd.DataFrame, folder: Path) -> list[Path]:
    """All plots of accuracy of one group, from its summary table and, for the learning curves, its records.

    The comparison with most mixers has plots of its own; all settings stand together in `accuracy-by-setting`.
    """
    if summary.empty:
        return []
    settings = best_of_settings(summary)
    main = settings[""]
    paths = [path for plot in COSTS for path in tradeoff(main, frame, folder, plot)]
    paths += against_params(main, frame, folder, "accuracy-vs-params")
    if frame.iloc[0]["dataset"] != PRETRAIN:  # whose curves are drawn over tokens and minutes
        paths += learning_curves(main, frame, folder, "learning-curves")
    return paths + by_size(summary, frame, folder) + by_setting(settings, frame, folder, "accuracy-by-setting")


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
    if len(known) < 2:
        return stuck(rows) or f"Accuracy against {plot.rpartition('-')[2].replace('flops', 'FLOPs')}"
    top = max(known[TOP1])
    first = known[known[TOP1] == top].sort_values([column, "label"]).iloc[0]
    most = known.sort_values([column, "label"]).iloc[-1]
    text = f"{highest(dict(zip(known['label'], known[TOP1], strict=True)))}, {top:.1f} %"
    cost = amount.format(show(first[column]))
    times = most[column] / first[column]
    if times < 1.1:
        return f"{text}, {cost}; nothing costs clearly more"
    return f"{text}, {cost}; {name(most['label'])} costs {significant(times, 2)} times as much for {most[TOP1]:.1f} %"


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
            ink += [(x, v) for v in np.linspace(max(0.0, 2 * y - high), min(high, 100.0), 12)]
        axes.plot(x, y, **style, **pale, zorder=4)
    return ink


def name_points(axes: Axes, points: Points, rows: pd.DataFrame, ink: Points) -> None:
    colours = [mixer_style(text)["color"] for text in rows["label"]]
    label_points(axes, points, [short(text) for text in rows["label"]], colours, np.array(ink).reshape(-1, 2))


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


def against_params(rows: pd.DataFrame, frame: pd.DataFrame, folder: Path, plot: str) -> list[Path]:
    """Accuracy against parameters; mixers that have one number of them stand in a strip beside the axis."""
    ready, missing = with_cost(rows, "params")
    if ready.empty:
        return []
    crowd, others = crowd_of(ready)
    beside = plots_baselines.labels_of(ready)
    room = label_room(beside) if beside else 0.08
    told = " Colours: families." + of_seeds(ready, " Bars: 95 % t-interval over seeds.")
    told += " Left: in order of accuracy, the place across says nothing." if len(crowd) else ""
    told += " Grey bar: their range, where they are on the axis." if len(crowd) and len(others) else ""
    notes = [caption(frame, ready) + told + plots_baselines.told(ready), *holes(missing)]
    strip, names = SLOT * len(crowd), max((text_size(short(x), TICK_SIZE)[0] for x in crowd["label"]), default=0) / 72
    wide = len(ready) >= MANY or len(crowd) > 0 or bool(beside)
    width = WIDE if wide else NARROW
    both = len(crowd) > 0 and len(others) > 0
    figure, panels = make_figure(
        width,
        2.7 if wide else 2.4,
        notes,
        title=params_message(ready, crowd),
        families=ready["family"],
        left=(0.55, 0.12) if both else (0.55,),
        right=(0.06, room) if both else (room,),
        shares=(strip, width - 0.73 - room - strip) if both else (1.0,),
        ticks=max(0.0, names - 0.12) if len(crowd) else 0.0,
        heads=1 if len(crowd) else 0,
    )
    if len(others):
        draw_axis(panels[-1], others, crowd)
    if len(crowd):
        draw_strip(panels[0], crowd)
    lows_and_highs = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in lows_and_highs), max(high for _, high in lows_and_highs))
    accuracy_axis(panels[0])
    for axes in panels:
        axes.set_ylim(panels[0].get_ylim())
        trivial = plots_baselines.draw_levels(axes, ready)
    if both:
        panels[1].yaxis.set_ticklabels([])
    if len(others):
        ink = [(x, y) for _, y in trivial[0] for x in np.geomspace(*panels[-1].get_xlim(), 60)]
        name_axis(panels[-1], others, crowd, ink)
    label_ends(panels[-1], *trivial)
    return save_figure(figure, folder, plot)


def crowd_of(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The mixers of the number of parameters that most have, highest first, where they are many; and the others."""
    counts = rows["params"].map(float).value_counts()
    often = max(counts.index, key=lambda params: (counts[params], -params))
    crowd = rows["params"].map(float) == (often if counts[often] >= CROWD else -1.0)
    return rows[crowd].sort_values([TOP1, "label"], ascending=[False, True]), rows[~crowd]


def params_message(rows: pd.DataFrame, crowd: pd.DataFrame) -> str:
    if text := stuck(rows):
        return text
    if len(crowd):
        low, high = min(crowd[TOP1]), max(crowd[TOP1])
        return (
            f"{len(crowd)} mixers with {crowd['params'].iloc[0]:,.0f} parameters each: from {low:.1f} to {high:.1f} %"
        )
    known = sure(rows)
    if len(known) < 2:
        return "Accuracy against parameters"
    first = known.sort_values([TOP1, "label"], ascending=[False, True]).iloc[0]
    text = highest(dict(zip(known["label"], known[TOP1], strict=True)))
    return (
        f"{text}, {first[TOP1]:.1f} %, with {count(first['params'])} of up to {count(max(rows['params']))} parameters"
    )


def draw_strip(axes: Axes, crowd: pd.DataFrame) -> None:
    """A slot for each mixer, its name below."""
    draw_points(axes, [(float(i), float(y)) for i, y in enumerate(crowd[TOP1])], crowd)
    axes.set_xlim(-0.6, len(crowd) - 0.4)
    axes.set_xticks(range(len(crowd)), [short(label) for label in crowd["label"]], rotation=90)
    for tick, family in zip(axes.get_xticklabels(), crowd["family"], strict=True):
        tick.set_color(family_colour(family))
    axes.tick_params(axis="x", length=0, pad=2)
    axes.grid(axis="x", visible=False)
    axes.set_title(f"{len(crowd)} with {crowd['params'].iloc[0]:,.0f} parameters each", loc="left", fontsize=TICK_SIZE)


def draw_axis(axes: Axes, others: pd.DataFrame, crowd: pd.DataFrame) -> None:
    """The mixers with a number of parameters of their own, and where the crowd is."""
    points = points_of(others, "params")
    xs = [x for x, _ in points] + [float(x) for x in crowd["params"][:1]]
    log_axis(axes.xaxis, min(xs), max(xs), show_count, space=0.14)
    draw_points(axes, points, others)
    if len(crowd):
        x = float(crowd["params"].iloc[0])
        axes.plot([x, x], [min(crowd[TOP1]), max(crowd[TOP1])], color="#CCCCCC", linewidth=4, marker="none",
                  linestyle="-", solid_capstyle="butt", zorder=2)  # fmt: skip
        axes.set_title("all others, by their number of parameters", loc="left", fontsize=TICK_SIZE)
    axes.set_xlabel(METRICS["params"].label, labelpad=2)


def name_axis(axes: Axes, others: pd.DataFrame, crowd: pd.DataFrame, ink: Points) -> None:
    points = points_of(others, "params")
    for (x, y), row in zip(points, others.to_dict("records"), strict=True):
        if (high := plain(row["test_top1_percent_high"])) is not None:
            ink += [(x, v) for v in np.linspace(max(0.0, 2 * y - high), min(high, 100.0), 12)]
    texts, colours = (
        [short(label) for label in others["label"]],
        [mixer_style(label)["color"] for label in others["label"]],
    )
    if len(crowd):
        x, low, high = float(crowd["params"].iloc[0]), min(crowd[TOP1]), max(crowd[TOP1])
        ink += [(x, v) for v in np.linspace(low, high, 24)]
        points.append((x, float(low)))
        texts.append(f"{len(crowd)} mixers, left")
        colours.append("#555555")
    label_points(axes, points, texts, colours, np.array(ink).reshape(-1, 2))
