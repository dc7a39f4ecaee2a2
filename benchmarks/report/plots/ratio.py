"""Time over attention's by the length of sequences: from which length on is a mixer cheaper, and how sure is that?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from benchmarks.report.frame import plain
from benchmarks.report.notes import caption, holes
from benchmarks.report.plots.figures import label_room, log_axis, make_figure, save_figure, show_number, size_axis
from benchmarks.report.plots.labels import label_ends
from benchmarks.report.plots.style import FLOOR_COLOUR, WIDE, mixer_style, short
from benchmarks.report.sizes import extent_of

PANELS = {"net_forward": "forward", "net_forward_backward": "forward + backward"}
Points = dict[str, list[tuple[int, float, float, float]]]  # of each mixer: size, ratio and its interval


def ratio_plot(rows: pd.DataFrame, timed: pd.DataFrame, missing: dict[str, str], folder: Path, name: str) -> list[Path]:
    """The whole net's time over that of the net with attention, with 95 % intervals; nothing without ratios.

    Args:
        rows: of one sweep, of the latency table.
        timed: the records behind them.
        missing: what has no time, and why.
        folder: where the files go.
        name: of the files.
    """
    panels = {column: points_of(rows, column) for column in PANELS}
    panels = {column: points for column, points in panels.items() if points}
    if not panels:
        return []
    told = (
        " Time of the whole net over that of the net with attention, 95 % interval; below the line a mixer is faster."
    )
    notes = [caption(timed, timed) + told, *holes(missing)]
    room = [label_room([short(label) for label in points]) for points in panels.values()]
    figure, axes = make_figure(WIDE, 2.5, notes, right=room, title=True)
    for panel, (column, points) in zip(axes, panels.items(), strict=True):
        draw(panel, points, rows)
        panel.set_title(f"whole net, {PANELS[column]}", loc="left", y=1.0)
        panel.set_ylabel("time over attention's")
    return save_figure(figure, folder, name)


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


def draw(axes: Axes, points: Points, rows: pd.DataFrame) -> None:
    """A line a mixer with its bars, labelled at its end, and attention's own at 1."""
    for label, line in points.items():
        sizes, middles, lows, highs = zip(*line, strict=True)
        below = [m - low for m, low in zip(middles, lows, strict=True)]
        above = [high - m for m, high in zip(middles, highs, strict=True)]
        axes.errorbar(sizes, middles, [below, above], **mixer_style(label), elinewidth=0.7, capthick=0.7)
    axes.axhline(1, color=FLOOR_COLOUR, linestyle=(0, (4, 2)), linewidth=0.7, zorder=1)
    every = [one for line in points.values() for one in line]
    size_axis(axes, sorted({size for size, *_ in every}), {size: size for size, *_ in every}, extent_of(rows))
    log_axis(axes.yaxis, min(1.0, *(low for *_, low, _ in every)), max(1.0, *(high for *_, high in every)), show_number)
    ends = [(float(line[-1][0]), line[-1][1]) for line in points.values()]
    label_ends(axes, ends, [short(label) for label in points], [mixer_style(label)["color"] for label in points])
