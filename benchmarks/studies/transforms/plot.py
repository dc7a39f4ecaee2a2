"""The study's picture: accuracy against the chosen predictor, every transform by its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmarks.report.plots.figures import make_figure, plot_style, save_figure
from benchmarks.report.plots.labels import label_points
from benchmarks.report.plots.style import WIDE
from benchmarks.report.stats.intervals import bars, mean_interval
from benchmarks.studies.transforms.analysis import Choice
from benchmarks.studies.transforms.predictors import PREDICTORS
from benchmarks.studies.transforms.record import Member, Study, Trained

# colour and marker, so that the picture can be read in grey too
FAMILIES = {
    "DCT varied": ("#0072B2", "o"),
    "other image basis": ("#009E73", "s"),
    "drawn at random": ("#E69F00", "^"),
    "local": ("#7A7A7A", "D"),
    "designed": ("#D55E00", "P"),
    "your own": ("#000000", "X"),
}
BEFORE_A_CHOICE = "coding_gain_db"  # the axis until one is made
HEIGHT = 4.4  # inches
LABEL_SIZE = 6.5


def draw(
    study: Study, trained: Mapping[str, Trained], heading: str, caption: str, folder: Path, name: str
) -> list[Path]:
    """Writes the picture as PNG and SVG; none where no transform with predictors was trained."""
    shown = [m for m in study.members if m.predictors is not None and trained[m.name].counts]
    if not shown:
        return []
    predictor = BEFORE_A_CHOICE if study.choice is None else study.choice.predictor
    with plot_style():
        figure, (axes,) = make_figure(WIDE, HEIGHT, [caption + _legend_words(study, shown)], title=heading)
        ink = [] if study.choice is None else _line(axes, study.choice, [_x(m, predictor) for m in shown])
        points = []
        for member in shown:
            ink += _point(axes, member, trained[member.name], predictor)
            points.append((_x(member, predictor), float(np.mean(trained[member.name].accuracies))))
        _limits(axes, ink)
        axes.set_xlabel(PREDICTORS[predictor].label, labelpad=2)
        axes.set_ylabel("test top-1 (%)")
        axes.legend(handles=_handles(shown), loc="best", fontsize=LABEL_SIZE, frameon=True, edgecolor="#cccccc")
        label_points(
            axes, points, [m.name for m in shown], [FAMILIES[m.family][0] for m in shown], np.array(ink),
            size=LABEL_SIZE,
        )  # fmt: skip
        return save_figure(figure, folder, name)


def _legend_words(study: Study, shown: list[Member]) -> str:
    words = " Filled: chosen from. Open: not chosen from" if study.choice else ""
    words += "; the cross is what the filled ones predict, the band its 95 % interval." if study.choice else ""
    return words


def _x(member: Member, predictor: str) -> float:
    assert member.predictors is not None
    return member.predictors[predictor]


def _line(axes: Axes, choice: Choice, xs: list[float]) -> list[tuple[float, float]]:
    """The fit and the band of its predictions."""
    grid = np.linspace(min(xs), max(xs), 60)
    value, low, high = np.array([choice.fit.predict(float(x)) for x in grid]).T
    axes.fill_between(grid, low, high, color="#000000", alpha=0.06, linewidth=0, zorder=1)
    axes.plot(grid, value, color="#444444", linewidth=0.9, linestyle="-" if choice.wins else ":", zorder=2)
    return list(zip(grid.tolist(), value.tolist(), strict=True))


def _point(axes: Axes, member: Member, one: Trained, predictor: str) -> list[tuple[float, float]]:
    """Mean and interval, and of a predicted transform its prediction; returns what labels should keep clear of."""
    colour, marker = FAMILIES[member.family]
    mean = mean_interval(one.accuracies)
    assert mean is not None
    x, y, half = _x(member, predictor), mean.value, mean.half or 0.0
    ink = [(x, v) for v in np.linspace(max(0.0, y - half), min(y + half, 100.0), 12)]
    axes.errorbar(x, y, bars(y, half) if half else None, color=colour, elinewidth=0.8, capthick=0.8, zorder=3)
    is_open = member.role != "development"
    axes.plot(
        x, y, marker=marker, color=colour, markerfacecolor="white" if is_open else colour,
        markeredgecolor=colour if is_open else "white", markeredgewidth=1.0 if is_open else 0.4, markersize=5.5,
        linestyle="none", zorder=5,
    )  # fmt: skip
    if member.predicted:
        said = member.predicted[0]
        axes.plot([x, x], [y, said], color=colour, linewidth=0.7, linestyle=":", zorder=2)
        axes.plot(x, said, marker="x", color=colour, markersize=4, markeredgewidth=0.9, linestyle="none", zorder=4)
        ink += [(x, v) for v in np.linspace(y, said, 8)]
    return ink


def _limits(axes: Axes, ink: list[tuple[float, float]]) -> None:
    """Room around what is drawn, for labels."""
    for values, set_limits in ((0, axes.set_xlim), (1, axes.set_ylim)):
        numbers = [point[values] for point in ink]
        room = 0.08 * (max(numbers) - min(numbers)) or 1.0
        set_limits(min(numbers) - room, max(numbers) + room)
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _handles(shown: list[Member]) -> list[Any]:
    families = [family for family in FAMILIES if family in {member.family for member in shown}]
    return [
        Line2D([], [], color=FAMILIES[f][0], marker=FAMILIES[f][1], linestyle="none", markersize=4.5, label=f)
        for f in families
    ]
