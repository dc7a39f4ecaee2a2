"""Dashed, labelled lines of trivial predictors in the plots of accuracy; pale, what has not left them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from benchmarks.report.baselines import (
    COLUMNS,
    at_baseline,
    at_baseline_words,
    highest,
    highest_words,
    known_columns,
    own_interval,
)
from benchmarks.report.plots.style import FLOOR_COLOUR
from benchmarks.report.wording import listing

PALE = 0.4
DASHED = " Dashed: predictors that are no net."
LINE: dict[str, Any] = {
    "color": FLOOR_COLOUR, "linestyle": (0, (4, 2)), "linewidth": 0.7, "marker": "none", "zorder": 1,
}  # fmt: skip
Ends = tuple[list[tuple[float, float]], list[str], list[str]]  # of lines: last points, labels, colours


def draw_levels(axes: Axes, rows: pd.DataFrame) -> Ends:
    """A horizontal line a predictor, over the whole panel, whose limits of x stand; returns their right ends."""
    right = axes.get_xlim()[1]
    ends, labels = [], []
    for label, value in levels(rows):
        axes.axhline(value, **LINE)
        ends.append((right, value))
        labels.append(label)
    return ends, labels, [FLOOR_COLOUR] * len(labels)


def draw_by_size(axes: Axes, rows: pd.DataFrame, size: str) -> Ends:
    """A line a predictor over sizes; returns their last points."""
    ends, labels = [], []
    for name in known_columns(rows):
        known = rows[rows[name].notna()].groupby(size)[name].max().sort_index()
        axes.plot([float(x) for x in known.index], [float(y) for y in known], **LINE)
        ends.append((float(known.index[-1]), float(known.iloc[-1])))
        labels.append(COLUMNS[name])
    return ends, labels, [FLOOR_COLOUR] * len(labels)


def levels(rows: pd.DataFrame) -> list[tuple[str, float]]:
    """Label and percent of the predictors beside some rows; those of one value share a line."""
    by_value: dict[float, list[str]] = {}
    for name in known_columns(rows):
        by_value.setdefault(round(float(rows[name].dropna().max()), 1), []).append(COLUMNS[name])
    return [(", ".join(labels), value) for value, labels in sorted(by_value.items())]


def labels_of(rows: pd.DataFrame) -> list[str]:
    """The labels that `draw_levels` writes."""
    return [label for label, _ in levels(rows)]


def paleness(row: Mapping[Any, Any] | pd.Series) -> dict[str, Any]:
    """Keywords of a mixer that has not left its baseline."""
    return {"alpha": PALE} if at_baseline(row) else {}


def without_name(row: Mapping[Any, Any]) -> bool:
    """Whether a point has no label beside it: it lies where its caption says, about its baseline."""
    floor = highest(row)
    return (
        at_baseline(row)
        and floor is not None
        and (own_interval(row) is not None or row["test_top1_percent_mean"] <= floor[1])
    )


def paleness_of_all(rows: pd.DataFrame) -> dict[str, Any]:
    """The same of a line: of a mixer that has not left its baseline anywhere."""
    return {"alpha": PALE} if all(map(at_baseline, rows.to_dict("records"))) else {}


def told(rows: pd.DataFrame) -> str:
    """What a caption says of the lines and of what is pale, or nothing."""
    ready: Sequence[Any] = rows.to_dict("records")
    if not known_columns(rows):
        return ""
    pale = at_baseline_words(ready)
    return f"{DASHED} Pale, not clearly above its baseline ({highest_words(ready[0])}): {pale}." if pale else DASHED


def told_by_size(rows: pd.DataFrame) -> str:
    """The same of lines over sizes."""
    pale = [str(label) for label, mine in rows.groupby("label", sort=True) if paleness_of_all(mine)]
    if not known_columns(rows):
        return ""
    return f"{DASHED} Pale, nowhere clearly above its baseline: {listing(pale)}." if pale else DASHED
