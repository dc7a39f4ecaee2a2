"""What a mixer can and cannot do, as a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contract.facts.metrics import METRICS
from benchmarks.report.baselines import AT, SOLVED, highest, highest_words
from benchmarks.report.plots.figures import make_figure, plot_style, save_figure
from benchmarks.report.plots.style import family_colour, short
from benchmarks.report.tables.abilities import MARKS, NAME, TITLE, TOP1, Abilities, task_words


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
        f"{TITLE}: {METRICS['test_top1_percent'].label}, mean over seeds, {found.title}. Colour: from the highest "
        f"baseline that looks at one thing alone (white) to all right. {MARKS[SOLVED]} solved; {MARKS[AT]} its 95 % "
        "interval does not lie above that baseline; empty: not trained."
    )
    width = max(3.5, 1.5 + 0.85 * len(found.tasks))
    with plot_style():
        figure, (axes,) = make_figure(width, 0.22 * (len(found.labels) + 1), [told], right=[0.08])
        box = axes.get_position()
        axes.set_position((1.15 / width, box.y0, 1 - 1.23 / width, box.height))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.35, aspect="auto", extent=_extent(found))
        for i, label in enumerate(found.labels):
            for j, row in enumerate(found.cells(label)):
                if row is not None:
                    _write(axes, j, i, f"{MARKS.get(row['standing'], '')} {row[TOP1]:.1f}".strip(), shares[i, j])
        for j, task in enumerate(found.tasks):
            _write(axes, j, len(found.labels), highest_words(found.baseline(task)).replace(", ", "\n", 1), 0.0, 5)
        _frame(axes, found)
        return save_figure(figure, folder, NAME)


def _extent(found: Abilities) -> tuple[float, float, float, float]:
    return -0.5, len(found.tasks) - 0.5, len(found.labels) - 0.5, -0.5


def _write(axes: Any, x: int, y: int, text: str, shade: float, size: float = 7) -> None:
    colour = "white" if shade > 0.75 else "#222222"
    axes.text(x, y, text, ha="center", va="center", fontsize=size, color=colour, linespacing=0.95)


def _frame(axes: Any, found: Abilities) -> None:
    """Names at the sides, no grid; the last row is of no net."""
    axes.grid(False)
    axes.set_xlim(-0.5, len(found.tasks) - 0.5)
    axes.set_ylim(len(found.labels) + 0.5, -0.5)
    words = [task_words(task).replace(", ", "\n", 1) for task in found.tasks]
    axes.set_xticks(range(len(found.tasks)), words)
    axes.set_yticks(range(len(found.labels) + 1), [*(short(label) for label in found.labels), "highest baseline"])
    axes.axhline(len(found.labels) - 0.5, color="#444444", linewidth=0.6)
    axes.tick_params(length=0)
    family = dict(zip(found.rows["label"], found.rows["family"], strict=True))
    for tick, label in zip(axes.get_yticklabels(), found.labels, strict=False):
        tick.set_color(family_colour(family[label]))
