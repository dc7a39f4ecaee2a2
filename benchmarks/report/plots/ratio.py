"""Time over attention's by the length of sequences: from which length on is a mixer cheaper, and how sure is that?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from benchmarks.contract.choices.profiles import CORE_MIXERS
from benchmarks.report.families import mixer_family
from benchmarks.report.frame import plain
from benchmarks.report.notes import caption, holes
from benchmarks.report.plots.figures import label_room, log_axis, make_figure, save_figure, show_number, size_axis
from benchmarks.report.plots.labels import label_ends
from benchmarks.report.plots.style import (
    FLOOR_COLOUR,
    GREY,
    NARROW,
    TICK_SIZE,
    WIDE,
    mixer_style,
    short,
)
from benchmarks.report.plots.words import name
from benchmarks.report.sizes import extent_of
from benchmarks.report.stats.leader import NO_MIXING
from benchmarks.report.wording import listing, significant

MOST_LABELLED = 14  # lines that find room for their names beside a panel
PANELS = {"net_forward": "forward", "net_forward_backward": "forward + backward"}
Points = dict[str, list[tuple[int, float, float, float]]]  # of each mixer: size, ratio and its interval


def ratio_plot(rows: pd.DataFrame, timed: pd.DataFrame, missing: dict[str, str], folder: Path, plot: str) -> list[Path]:
    """The whole net's time over that of the net with attention, with 95 % intervals; nothing without ratios.

    Args:
        rows: of one sweep, of the latency table.
        timed: the records behind them.
        missing: what has no time, and why.
        folder: where the files go.
        plot: name of the files.
    """
    panels = {column: points_of(rows, column) for column in PANELS}
    panels = {column: points for column, points in panels.items() if points}
    if not panels:
        return []
    told = (
        " Time of the whole net over that of the net with attention, 95 % interval; below the line a mixer is faster."
    )
    notes = [caption(timed, timed) + told, *holes(missing)]
    shown = {column: named(points) for column, points in panels.items()}
    room = [label_room([short(label) for label in labels]) for labels in shown.values()]
    every = [label for labels in shown.values() for label in labels]
    left = listing([label for column, points in panels.items() for label in points if label not in shown[column]])
    notes[0] += " Colours: families." + (f" Grey: {left}." if left else "")
    figure, axes = make_figure(
        WIDE if len(panels) > 1 else NARROW, 2.3, notes, title=message(panels, rows), families=map(mixer_family, every),
        right=room, heads=1,
    )  # fmt: skip
    for panel, (column, points) in zip(axes, panels.items(), strict=True):
        draw(panel, points, shown[column], rows)
        panel.set_title(f"whole net, {PANELS[column]}", loc="left", fontsize=TICK_SIZE)
        panel.set_ylabel("time over attention's")
    return save_figure(figure, folder, plot)


def named(points: Points) -> list[str]:
    """The lines with a colour: where they are many, the core mixers and the fastest and slowest of the others."""
    ordered = sorted(points, key=lambda label: (-points[label][-1][1], label))
    if len(ordered) <= MOST_LABELLED:
        return ordered
    others = [label for label in ordered if label not in CORE_MIXERS]
    return [label for label in ordered if label in CORE_MIXERS or label in (others[0], others[-1])]


def message(panels: Mapping[str, Points], rows: pd.DataFrame) -> str:
    """How many mixers are clearly faster than attention at the largest size, by the last panel's intervals."""
    column, points = list(panels.items())[-1]
    last = max(size for line in points.values() for size, *_ in line)
    ends = {label: line[-1] for label, line in points.items() if line[-1][0] == last and label != NO_MIXING}
    below = {label: end for label, end in ends.items() if end[3] < 1}
    where = extent_of(rows).at.format(last)
    where = f"{where[:1].upper()}{where[1:]}, {PANELS[column]},"
    if not below:
        return f"{where} no mixer is clearly faster than attention"
    first = min(below, key=lambda label: (below[label][1], label))
    took = f"{name(first)} in {significant(below[first][1], 2)} of its time"
    return f"{where} {len(below)} of {len(ends)} mixers are clearly faster than attention, {took}"


def points_of(rows: pd.DataFrame, column: str) -> Points:
    """Ratio and interval of each mixer at each size."""
    found: Points = {}
    size = extent_of(rows).field
    for row in rows[rows["status"] == "ok"].sort_values(["label", size], kind="stable").to_dict("records"):
        value, low, high = (plain(row[f"{column}_over_attention{end}"]) for end in ("", "_low", "_high"))
        if value is not None:
            low, high = (value, value) if low is None else (low, high)
            found.setdefault(str(row["label"]), []).append((int(row[size]), float(value), float(low), float(high)))
    return found


def draw(axes: Axes, points: Points, shown: Sequence[str], rows: pd.DataFrame) -> None:
    """A line a mixer with its bars, labelled at its end, and attention's own at 1."""
    for label, line in points.items():
        sizes, middles, lows, highs = zip(*line, strict=True)
        if label not in shown:
            axes.plot(sizes, middles, **GREY)
            continue
        below = [m - low for m, low in zip(middles, lows, strict=True)]
        above = [high - m for m, high in zip(middles, highs, strict=True)]
        axes.errorbar(sizes, middles, [below, above], **mixer_style(label), elinewidth=0.7, capthick=0.7)
    axes.axhline(1, color=FLOOR_COLOUR, linestyle=(0, (4, 2)), linewidth=0.7, zorder=1)
    every = [one for line in points.values() for one in line]
    size_axis(axes, sorted({size for size, *_ in every}), {size: size for size, *_ in every}, extent_of(rows))
    log_axis(axes.yaxis, min(1.0, *(low for *_, low, _ in every)), max(1.0, *(high for *_, high in every)), show_number)
    ends = [(float(points[label][-1][0]), points[label][-1][1]) for label in shown]
    label_ends(axes, ends, [short(label) for label in shown], [mixer_style(label)["color"] for label in shown])
