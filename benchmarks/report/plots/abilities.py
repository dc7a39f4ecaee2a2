"""What a mixer can and cannot do, as a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report.baselines import AT, OPEN, SOLVED, highest, highest_words
from benchmarks.report.plots.figures import make_figure, plot_style, save_figure
from benchmarks.report.plots.labels import text_size
from benchmarks.report.plots.style import NARROW, WIDE, family_colour, short
from benchmarks.report.plots.words import name
from benchmarks.report.tables.abilities import MARKS, NAME, TOP1, Abilities, task_words
from benchmarks.report.wording import span, span_of

LAST = "highest baseline"
BASELINE_SIZE = 6  # points, or less where a name is wider than its column
UNTRAINED = "#e4e4e4"


def share(row: Mapping[Any, Any] | None) -> float:
    """How far a net came from its highest baseline, 0, to all answers right, 1; NaN for what was not trained."""
    if row is None:
        return float("nan")
    floor = (highest(row) or ("", 0.0))[1]
    return min(1.0, max(0.0, (float(row[TOP1]) - floor) / max(1e-9, 100 - floor)))


def heat_map(found: Abilities, folder: Path) -> list[Path]:
    """Mixers by tasks: the colour how far from the highest baseline to all right, the text the accuracy."""
    shares = np.array([[share(row) for row in found.cells(label)] for label in found.labels])
    told = (
        f"Test top-1 in percent, mean over n = {span_of(found.rows['n'], 'seed')}, {found.title}. Blue: from the "
        f"highest baseline that looks at one thing alone (white) to all right. {MARKS[SOLVED]} solved; {MARKS[AT]} its "
        f"95 % interval does not lie above that baseline; {MARKS[OPEN]} nor there, but the mean does; "
        "grey: not trained. Names in their family's colour."
    )
    names = max(text_size(short(label), 7)[0] for label in [*found.labels, LAST]) / 72 + 0.1
    width = min(WIDE, max(NARROW, names + 0.1 + 0.95 * len(found.tasks)))
    with plot_style():
        figure, (axes,) = make_figure(
            width, 0.19 * (len(found.labels) + 1.5), [told], title=_message(found), families=found.rows["family"],
            left=[names], right=[0.08], ticks=0.12,
        )  # fmt: skip
        axes.set_facecolor(UNTRAINED)
        axes.axhspan(len(found.labels) - 0.5, len(found.labels) + 1, facecolor="white", zorder=0)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.35, aspect="auto", extent=_extent(found))
        for i, label in enumerate(found.labels):
            for j, row in enumerate(found.cells(label)):
                if row is not None:
                    _write(axes, j, i, f"{MARKS.get(row['standing'], '')} {row[TOP1]:.1f}".strip(), shares[i, j])
        column = 72 * (width - names - 0.08) / len(found.tasks)  # points
        for j, task in enumerate(found.tasks):
            words = highest_words(found.baseline(task)).replace(", ", "\n", 1)
            needed = max(text_size(line, BASELINE_SIZE)[0] for line in words.split("\n"))
            _write(axes, j, len(found.labels) + 0.25, words, 0.0, BASELINE_SIZE * min(1.0, 0.95 * column / needed))
        _frame(axes, found)
        return save_figure(figure, folder, NAME)


def _message(found: Abilities) -> str:
    """Who solves most tasks, and who solves none."""
    solved = {
        label: sum(row is not None and row["standing"] == SOLVED for row in found.cells(label))
        for label in found.labels
    }
    most = max(solved.values())
    if not most:
        return f"No mixer solves one of the {len(found.tasks)} tasks"
    first = [label for label in found.labels if solved[label] == most]
    none = sum(count == 0 for count in solved.values())
    who = f"{name(first[0])} solves" if len(first) == 1 else f"{len(first)} mixers solve"
    every = f"all {most}" if most == len(found.tasks) else f"{most} of {len(found.tasks)}"
    return f"{who} {every} tasks; {none or 'none'} of {len(solved)} mixers {'solve' if none > 1 else 'solves'} none"


def _extent(found: Abilities) -> tuple[float, float, float, float]:
    return -0.5, len(found.tasks) - 0.5, len(found.labels) - 0.5, -0.5


def _write(axes: Any, x: float, y: float, text: str, shade: float, size: float = 7) -> None:
    colour = "white" if shade > 0.75 else "#222222"
    axes.text(x, y, text, ha="center", va="center", fontsize=size, color=colour, linespacing=0.95)


def _frame(axes: Any, found: Abilities) -> None:
    """Names at the sides, no grid; the last row is of no net."""
    axes.grid(False)
    axes.set_xlim(-0.5, len(found.tasks) - 0.5)
    axes.set_ylim(len(found.labels) + 1, -0.5)
    counts = [
        span(min(row["n"] for row in found.of(task)), max(row["n"] for row in found.of(task))) for task in found.tasks
    ]
    unlike = len(set(counts)) > 1
    words = [
        task_words(task).replace(", ", "\n", 1) + (f"\nn = {n}" if unlike else "")
        for task, n in zip(found.tasks, counts, strict=True)
    ]
    axes.set_xticks(range(len(found.tasks)), words)
    places = [*range(len(found.labels)), len(found.labels) + 0.25]
    axes.set_yticks(places, [*(short(label) for label in found.labels), LAST])
    axes.axhline(len(found.labels) - 0.5, color="#444444", linewidth=0.6)
    axes.tick_params(length=0)
    family = dict(zip(found.rows["label"], found.rows["family"], strict=True))
    for tick, label in zip(axes.get_yticklabels(), found.labels, strict=False):
        tick.set_color(family_colour(family[label]))
