"""Figures with room for their labels and caption, and their files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from benchmarks.contract.record import atomic_write
from benchmarks.report.plots.labels import END_GAP, text_size
from benchmarks.report.plots.style import (
    CAPTION_SIZE,
    FAMILY_WORDS,
    RC,
    TICK_SIZE,
    TITLE_SIZE,
    family_colour,
    in_order,
)
from benchmarks.report.sizes import IMAGES, Extent
from benchmarks.report.wording import clean

LEFT, BOTTOM, TOP, SIDE = 0.55, 0.38, 0.10, 0.05  # inches around the axes, and at the sides of what is written
CAPTION_LINE, TITLE_LINE, KEY_LINE, HEAD = CAPTION_SIZE * 1.3 / 72, TITLE_SIZE * 1.3 / 72, 0.14, 0.125
SWATCH = 0.075
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
    title: str,
    families: Iterable[str] = (),
    left: Sequence[float] = (),
    right: Sequence[float] = (0.08,),
    shares: Sequence[float] = (),
    rows: int = 1,
    apart: float = 0.0,
    ticks: float = 0.0,
    heads: int = 0,
) -> tuple[Figure, list[Axes]]:
    """A figure of panels: above them what it says and the families' colours, below them where its numbers come from.

    Args:
        width: of the figure in inches.
        height: of each panel in inches; the figure grows with all that is written.
        notes: paragraphs at the bottom, wrapped to the width; the first is the caption.
        title: the message, a sentence.
        families: those to be explained.
        left: inches left of each column of panels.
        right: inches right of each column, one number a column.
        shares: of the panels' width, one a column; alike without.
        rows: of panels.
        apart: inches between rows.
        ticks: additional inches below the panels, for tick labels of two lines.
        heads: lines that a panel's own heading has.

    Returns:
        The figure and its panels, row by row.
    """
    figure = Figure(figsize=(width, 1))
    FigureCanvasAgg(figure)
    room = (width - 2 * SIDE) * 72
    lines = [line for note in notes for line in wrap(note, room)]
    top = Top(title, families, width)
    head = heads * HEAD + (0.06 if heads else 0)
    below = BOTTOM + ticks + len(lines) * CAPTION_LINE + 0.06
    above = TOP + top.inches
    total = above + rows * (head + height) + (rows - 1) * apart + below
    figure.set_size_inches(width, total)
    for i, line in enumerate(lines):
        _write(figure, SIDE, 0.05 + (len(lines) - 1 - i) * CAPTION_LINE, line, va="bottom")
    top.draw(figure)
    left = left or [LEFT] * len(right)
    shares = shares or [1.0] * len(right)
    across = (width - sum(left) - sum(right)) / sum(shares)
    axes = []
    for row in range(rows):
        bottom, x = total - above - (row + 1) * (head + height) - row * apart, 0.0
        for before, after, share in zip(left, right, shares, strict=True):
            box = (x + before, bottom, across * share, height)
            axes.append(figure.add_axes((box[0] / width, box[1] / total, box[2] / width, box[3] / total)))
            x += before + across * share + after
    return figure, axes


class Top:
    """What stands above a figure's panels: its message, and the colours of the families in it."""

    def __init__(self, title: str, families: Iterable[str], width: float) -> None:
        self.titles = balanced(title, (width - 2 * SIDE) * 72)
        self.keys = key_rows(in_order(families), width - 2 * SIDE)
        self.inches = len(self.titles) * TITLE_LINE + len(self.keys) * KEY_LINE + 0.06

    def draw(self, figure: Figure) -> None:
        y = figure.get_size_inches()[1] - TOP / 2
        for line in self.titles:
            _write(figure, SIDE, y, line, size=TITLE_SIZE, weight="bold", color="black", va="top")
            y -= TITLE_LINE
        for key in self.keys:
            _draw_key(figure, key, y - 0.6 * KEY_LINE)
            y -= KEY_LINE


def balanced(title: str, width: float) -> list[str]:
    """A title in as few lines as it takes, none of them much shorter than the others."""
    lines = wrap(title, width, TITLE_SIZE, "bold")
    while True:
        width -= 6
        narrower = wrap(title, width, TITLE_SIZE, "bold")
        if len(narrower) > len(lines) or width < 72:
            return lines
        lines = narrower


def key_rows(families: Sequence[str], width: float) -> list[list[tuple[float, str]]]:
    """Rows of a legend, each family with its place in inches."""
    rows: list[list[tuple[float, str]]] = []
    x = 0.0
    for family in families:
        needed = SWATCH + 0.05 + text_size(family_words(family), CAPTION_SIZE)[0] / 72
        if not rows or x + needed > width:
            rows.append([])
            x = 0.0
        rows[-1].append((x, family))
        x += needed + 0.14
    return rows


def family_words(family: str) -> str:
    """ "dense (one matrix)", or the name where it says enough."""
    return f"{clean(family)} ({FAMILY_WORDS[family]})" if family in FAMILY_WORDS else clean(family)


def _draw_key(figure: Figure, row: Sequence[tuple[float, str]], y: float) -> None:
    """One row of a legend, its middle at `y` inches."""
    width, total = figure.get_size_inches()
    for x, family in row:
        box = ((SIDE + x) / width, (y - SWATCH / 2) / total), SWATCH / width, SWATCH / total
        figure.add_artist(Rectangle(*box, facecolor=family_colour(family), edgecolor="none"))
        _write(figure, SIDE + x + SWATCH + 0.04, y, family_words(family), va="center")


def _write(figure: Figure, x: float, y: float, text: str, *, size: float = CAPTION_SIZE, **style: Any) -> None:
    """Text at a place in inches."""
    width, total = figure.get_size_inches()
    figure.text(x / width, y / total, text, fontsize=size, **({"color": "#333333"} | style))


def wrap(text: str, width: float, size: float = CAPTION_SIZE, weight: str = "normal") -> list[str]:
    """Lines of at most `width` points, in the caption's font unless another is asked for."""
    space = text_size("x x", size, weight)[0] - text_size("xx", size, weight)[0]
    lines: list[list[str]] = []
    left = 0.0
    for word in filter(None, text.split(" ")):  # a space that does not break stays
        needed = text_size(word, size, weight)[0]  # of words alone, which captions share, where lines are all new
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


def size_axis(
    axes: Axes,
    sizes: Sequence[int],
    tokens: Mapping[int, int],
    extent: Extent = IMAGES,
    below: Mapping[int, str] | None = None,
) -> None:
    """A log axis of sizes: a tick at every measured one, of images with its tokens below, then what is said of it."""
    axes.set_xscale("log", base=2)
    grow = 1.06
    low, high = (sizes[0], sizes[-1]) if len(sizes) > 1 else (sizes[0] / 1.5, sizes[0] * 1.5)
    axes.set_xlim(low / grow, high * grow)
    axes.xaxis.set_major_locator(FixedLocator(list(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    figure_width = axes.figure.get_figure(root=True).get_size_inches()[0] * 72
    points = axes.get_position().width * figure_width / math.log(high * grow / (low / grow))
    texts: list[str] = []
    edges = [math.inf] * 3  # of the size and the tokens written last; the smaller of two that touch goes without
    for size in reversed(sizes):
        lines: list[str] = []
        words = [f"{size}", f"{tokens[size]:,}"] if extent.each_token else [f"{size:,}"]
        for i, line in enumerate(words + ([below[size]] if below else [])):
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
