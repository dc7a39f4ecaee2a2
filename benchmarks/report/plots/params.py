"""Accuracy against parameters: a true axis, and beside it a strip of the mixers that have one number of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from benchmarks.contract.facts.metrics import METRICS
from benchmarks.report.notes import caption, holes
from benchmarks.report.plots import baselines as plots_baselines
from benchmarks.report.plots.accuracy import (
    MANY,
    Points,
    accuracy_axis,
    draw_points,
    name_points,
    points_of,
    with_cost,
)
from benchmarks.report.plots.figures import BOTTOM, LEFT, label_room, log_axis, make_figure, save_figure, show_count
from benchmarks.report.plots.labels import label_ends, text_size
from benchmarks.report.plots.style import NARROW, TICK_SIZE, WIDE, family_colour, short
from benchmarks.report.plots.words import TOP1, against_baseline, highest, of_seeds, sure
from benchmarks.report.wording import count

CROWD = 4  # so many mixers of one number of parameters get a strip
SLOT, BETWEEN = 0.19, 0.2  # inches of it for each, and between it and the axis


def against_params(rows: pd.DataFrame, frame: pd.DataFrame, folder: Path, plot: str) -> list[Path]:
    """Accuracy against parameters, with 95 % intervals."""
    ready, missing = with_cost(rows, "params")
    if ready.empty:
        return []
    crowd, others = crowd_of(ready)
    both = len(crowd) > 0 and len(others) > 0
    told = " Colours: families." + of_seeds(ready, " Bars: 95 % t-interval over seeds.")
    told += " Mixers of one number stand in order of accuracy: their place across says nothing." if len(crowd) else ""
    told += " Grey bar: their range at their place on the axis." if both else ""
    beside = plots_baselines.labels_of(ready)
    room = label_room(beside) if beside else 0.08
    wide = len(ready) >= MANY or len(crowd) > 0 or bool(beside)
    width = WIDE if wide else NARROW
    strip = max(SLOT * len(crowd), text_size(crowd_words(crowd), TICK_SIZE)[0] / 72) if len(crowd) else 0.0
    names = max((text_size(short(label), TICK_SIZE)[0] for label in crowd["label"]), default=0) / 72
    figure, panels = make_figure(
        width,
        2.7 if wide else 2.4,
        [caption(frame, ready) + told + plots_baselines.told(ready), *holes(missing)],
        title=message(ready, crowd),
        families=ready["family"],
        left=(LEFT, BETWEEN) if both else (LEFT,),
        right=(0.0, room) if both else (room,),
        shares=(strip, width - LEFT - BETWEEN - room - strip) if both else (1.0,),
        ticks=max(0.0, names + 0.12 - BOTTOM) if len(crowd) else 0.0,
        heads=1 if len(crowd) else 0,
    )
    ink = draw_axis(panels[-1], others, crowd) if len(others) else []
    if len(crowd):
        draw_strip(panels[0], crowd)
    trivial = [plots_baselines.draw_levels(axes, ready) for axes in panels][-1]
    level(panels)
    if len(others):
        ink += [(x, y) for _, y in trivial[0] for x in np.geomspace(*panels[-1].get_xlim(), 60)]
        more = (
            (f"{len(crowd)} mixers, left", (float(crowd["params"].iloc[0]), float(min(crowd[TOP1])))) if both else None
        )
        name_points(panels[-1], points_of(others, "params"), others, ink, more)
    label_ends(panels[-1], *trivial)
    return save_figure(figure, folder, plot)


def crowd_of(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The mixers of the number of parameters that most have, highest first, where they are many; and the others."""
    counts = rows["params"].map(float).value_counts()
    often = max(counts.index, key=lambda params: (counts[params], -params))
    crowd = rows["params"].map(float) == (often if counts[often] >= CROWD else -1.0)
    return rows[crowd].sort_values([TOP1, "label"], ascending=[False, True]), rows[~crowd]


def message(rows: pd.DataFrame, crowd: pd.DataFrame) -> str:
    """How far apart mixers of one number of parameters lie, or what the most accurate has."""
    if text := against_baseline(rows):
        return text
    if len(crowd):
        low, high = min(crowd[TOP1]), max(crowd[TOP1])
        words = crowd_words(crowd)
        return f"{words} reach from {low:.1f} to {high:.1f} %" if high - low >= 0.1 else f"{words} reach {high:.1f} %"
    known = sure(rows)
    if len(known) < 2:
        return "Accuracy against parameters"
    first = known.sort_values([TOP1, "label"], ascending=[False, True]).iloc[0]
    text = highest(dict(zip(known["label"], known[TOP1], strict=True)), known["n"])
    share = f"{count(first['params'])} parameters, of up to {count(max(rows['params']))}"
    return f"{text}: {first[TOP1]:.1f} % with {share}"


def crowd_words(crowd: pd.DataFrame) -> str:
    return f"{len(crowd)} mixers with {crowd['params'].iloc[0]:,.0f} parameters each"


def draw_strip(axes: Axes, crowd: pd.DataFrame) -> None:
    """A slot for each mixer, its name below."""
    draw_points(axes, [(float(i), float(y)) for i, y in enumerate(crowd[TOP1])], crowd)
    axes.set_xlim(-0.6, len(crowd) - 0.4)
    axes.set_xticks(range(len(crowd)), [short(label) for label in crowd["label"]], rotation=90)
    for tick, family in zip(axes.get_xticklabels(), crowd["family"], strict=True):
        tick.set_color(family_colour(family))
    axes.tick_params(axis="x", length=0, pad=2)
    axes.grid(axis="x", visible=False)
    axes.set_title(crowd_words(crowd), loc="left", fontsize=TICK_SIZE)


def draw_axis(axes: Axes, others: pd.DataFrame, crowd: pd.DataFrame) -> Points:
    """The mixers with a number of parameters of their own, and where the crowd is."""
    points = points_of(others, "params")
    crowded = float(crowd["params"].iloc[0]) if len(crowd) else points[0][0]
    xs = [crowded, *(x for x, _ in points)]
    log_axis(axes.xaxis, min(xs), max(xs), show_count, space=0.14)
    axes.set_xlabel(METRICS["params"].label, labelpad=2)
    ink = draw_points(axes, points, others)
    if len(crowd):
        ends = min(crowd[TOP1]), max(crowd[TOP1])
        axes.plot([crowded] * 2, ends, color="#CCCCCC", linewidth=4, marker="none", linestyle="-", zorder=2)
        axes.set_title("the others, by their number of parameters", loc="left", fontsize=TICK_SIZE)
        ink += [(crowded, y) for y in np.linspace(*ends, 30)]
    return ink


def level(panels: list[Axes]) -> None:
    """One axis of accuracy for both panels."""
    ends = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
    accuracy_axis(panels[0])
    low, high = panels[0].get_ylim()
    for axes in panels[1:]:
        axes.set_ylim(low, high)
        axes.set_yticks([tick for tick in panels[0].get_yticks() if low <= tick <= high], [])
