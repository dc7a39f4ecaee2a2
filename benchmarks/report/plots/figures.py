"""Figures with room for their labels and caption, and their files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from benchmarks.contract.record import atomic_write
from benchmarks.report.plots.labels import END_GAP, text_size
from benchmarks.report.plots.style import CAPTION_SIZE, RC, TICK_SIZE
from benchmarks.report.sizes import IMAGES, Extent

LEFT, BOTTOM, TOP = 0.66, 0.40, 0.10  # inches around the axes
GAP = END_GAP / 72


@contextmanager
def plot_style() -> Iterator[None]:
    """This suite's style on top of matplotlib's defaults: nobody's matplotlibrc changes a plot."""
    with matplotlib.style.context(["default", RC]):
        yield


def make_figure(
    width: float,
    height: float,
    notes: Sequence[str],
    *,
    right: Sequence[float] = (0.08,),
    ticks: float = 0.0,
    title: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side and notes below them.

    Args:
        width: of the figure in inches.
        height: of the panels in inches; the figure grows with the notes.
        notes: paragraphs at the bottom, wrapped to the width; the first is the caption.
        right: inches right of each panel, one number a panel.
        ticks: additional inches below the panels, for tick labels of two lines.
        title: whether the panels have titles.
    """
    figure = Figure(figsize=(width, 1))
    FigureCanvasAgg(figure)
    lines = [line for note in notes for line in wrap(note, (width - 0.1) * 72)]
    line_inches = CAPTION_SIZE * 1.3 / 72
    below = BOTTOM + ticks + len(lines) * line_inches + 0.06
    above = TOP + (0.17 if title else 0)
    total = height + below + above
    figure.set_size_inches(width, total)
    for i, line in enumerate(reversed(lines)):
        figure.text(
            0.05 / width, (0.05 + i * line_inches) / total, line, fontsize=CAPTION_SIZE, color="#333333", va="bottom"
        )
    panel = (width - sum(right) - LEFT * len(right)) / len(right)
    axes, x = [], 0.0
    for margin in right:
        x += LEFT
        axes.append(figure.add_axes((x / width, below / total, panel / width, height / total)))
        x += panel + margin
    return figure, axes


def wrap(text: str, width: float) -> list[str]:
    """Lines of at most `width` points in the caption's font."""
    space = text_size("x x", CAPTION_SIZE)[0] - text_size("xx", CAPTION_SIZE)[0]
    lines: list[list[str]] = []
    left = 0.0
    for word in text.split():
        needed = text_size(word, CAPTION_SIZE)[0]  # of words alone, which captions share, where lines are all new
        if lines and space + needed <= left:
            lines[-1].append(word)
            left -= space + needed
        else:
            lines.append([word])
            left = width - needed
    return [" ".join(words) for words in lines]


def label_room(texts: Sequence[str], size: float = 7) -> float:
    """Inches that labels at the right of a panel need."""
    return GAP + 0.05 + max((text_size(text, size)[0] for text in texts), default=0) / 72


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes `name`.png and `name`.svg, without a date, so that the same plot is the same file."""
    paths = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        path = folder / f"{name}.{kind}"
        with atomic_write(path) as file:
            figure.savefig(file, format=kind, metadata=metadata)
        paths.append(path)
    return paths


def log_axis(axis: Any, low: float, high: float, show: Callable[[float], str], space: float = 0.06) -> None:
    """A log axis over [low, high] and a little more, its ticks as people read numbers."""
    grow = max((high / low) ** space, 1.08)
    low, high = low / grow, high * grow
    if axis.axis_name == "x":
        axis.axes.set_xscale("log")
        axis.axes.set_xlim(low, high)
    else:
        axis.axes.set_yscale("log")
        axis.axes.set_ylim(low, high)
    times = high / low
    choices = ((300, (1,)), (50, (1, 3)), (20, (1, 2, 5)), (0, (1, 1.5, 2, 3, 5, 7)))
    steps = next(steps for above, steps in choices if times > above)
    if times < 6:
        axis.set_major_locator(FixedLocator(nice_ticks(low, high)))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_minor_locator(LogLocator(subs=tuple(float(i) for i in range(1, 10))))
    axis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    axis.set_minor_formatter(NullFormatter())


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers within a span too short for decades."""
    return [t for t in MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= t <= high]


def size_axis(axes: Axes, sizes: Sequence[int], tokens: dict[int, int], extent: Extent = IMAGES) -> None:
    """A log axis of sizes: a tick at every measured one, of images with its tokens below."""
    axes.set_xscale("log", base=2)
    grow = 1.06
    low, high = (sizes[0], sizes[-1]) if len(sizes) > 1 else (sizes[0] / 1.5, sizes[0] * 1.5)
    axes.set_xlim(low / grow, high * grow)
    axes.xaxis.set_major_locator(FixedLocator(list(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    figure_width = axes.figure.get_figure(root=True).get_size_inches()[0] * 72
    points = axes.get_position().width * figure_width / math.log(high * grow / (low / grow))
    texts: list[str] = []
    edges = [math.inf, math.inf]  # of the size and the tokens written last; the smaller of two that touch goes without
    for size in reversed(sizes):
        lines: list[str] = []
        for i, line in enumerate((f"{size}", f"{tokens[size]:,}") if extent.each_token else (f"{size:,}",)):
            half = text_size(line, TICK_SIZE)[0] / 2 + 1.5
            if points * math.log(size) + half > edges[i]:
                break
            edges[i] = points * math.log(size) - half
            lines.append(line)
        texts.append("\n".join(lines))
    axes.xaxis.set_ticklabels(texts[::-1])
    axes.set_xlabel(f"{extent.axis}, tokens below" if extent.each_token else extent.axis, labelpad=2)


def show_count(value: float) -> str:
    """A tick: 2500000 as "2.5 M"."""
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size * (1 - 1e-9):
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def show_number(value: float) -> str:
    """A tick: 2500.0 as "2,500", 0.1 as "0.1"."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
