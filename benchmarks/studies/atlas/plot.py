"""The atlas's page: small multiples of influence maps, a row of four for each mixer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from benchmarks.report.families import mixer_family
from benchmarks.report.plots.figures import Top, plot_style, save_figure, wrap
from benchmarks.report.plots.style import CAPTION_SIZE, WIDE, family_colour, short
from benchmarks.report.wording import clean
from benchmarks.studies.atlas.record import STATES, AtlasRecord

LOWEST = 1e-3  # of a map's largest influence; what is below has the lightest colour
COLOURS = "magma_r"  # even in lightness, told apart by the colour-blind; dark is much
SMALL = 6
HOLE_COLOUR = "#8A2B00"
MARGIN, LABEL, MAP, GAP, BETWEEN, UNDER = 0.06, 0.94, 0.53, 0.07, 0.20, 0.16  # inches
HEAD, BAR = 0.42, 0.42  # above the rows; the colour bar below them
ONE_COLUMN = 4  # so many mixers stand below each other, more in two columns


def draw_atlas(page: Sequence[AtlasRecord], caption: str, folder: Path, name: str) -> list[Path]:
    """Draws all mixers of one page and writes it as PNG and SVG."""
    with plot_style():
        return save_figure(atlas_figure(page, caption), folder, name)


def atlas_figure(page: Sequence[AtlasRecord], caption: str) -> Figure:
    """The page as a figure; call it within `plot_style`."""
    columns = 1 if len(page) <= ONE_COLUMN else 2
    rows = math.ceil(len(page) / columns)
    group = LABEL + 4 * MAP + 3 * GAP
    width = max(WIDE, 2 * MARGIN + 2 * group + BETWEEN) if columns == 2 else WIDE / 2 + 0.1
    notes = [line for note in (caption, *_holes(page)) for line in wrap(note, (width - 2 * MARGIN) * 72)]
    tallest = max(record.trial.grid[0] / record.trial.grid[1] for record in page)
    map_height = MAP * min(tallest, 2.0)
    line = CAPTION_SIZE * 1.3 / 72
    top_lines = Top(message(page), (mixer_family(record.trial.mixer) for record in page), width)
    head = HEAD + top_lines.inches
    height = head + rows * (map_height + UNDER) + BAR + len(notes) * line + 2 * MARGIN
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    top_lines.draw(figure)
    for position, record in enumerate(page):
        column, row = divmod(position, rows)
        left = MARGIN + column * (group + BETWEEN)
        top = height - head - row * (map_height + UNDER)
        if row == 0:
            _heads(figure, left, height - top_lines.inches)
        _mixer(figure, record, left, top, map_height)
    _colour_bar(figure, notes, line)
    return figure


def message(page: Sequence[AtlasRecord]) -> str:
    """In how many nets training made a token reach further."""
    reach = [[r.numbers.get(f"net_{state}", {}).get("reach") for state in ("untrained", "trained")] for r in page]
    known = [(before, after) for before, after in reach if before is not None and after is not None]
    if not known:
        return "What a token reaches, one layer and the whole net"
    wider = sum(after > before for before, after in known)
    return f"Training made a token reach further through the whole net in {wider} of {len(known)} mixers"


def _heads(figure: Figure, left: float, height: float) -> None:
    """Titles of the four columns of maps."""
    for index, (scope, weights) in enumerate(state.split("_") for state in STATES):
        x = left + LABEL + index * (MAP + GAP)
        _text(figure, x + MAP / 2, height - HEAD + 0.04, weights, SMALL, ha="center", va="bottom")
        if index % 2 == 0:
            words = {"layer": "one layer", "net": "whole net"}[scope]
            middle = x + MAP + GAP / 2
            _text(figure, middle, height - HEAD + 0.19, words, 7, ha="center", va="bottom", weight="bold")


def _mixer(figure: Figure, record: AtlasRecord, left: float, top: float, map_height: float) -> None:
    """One row: the name, and four maps or why they are missing."""
    colour = family_colour(mixer_family(record.trial.mixer))
    name = "\n".join(
        part for text in short(record.trial.mixer).split("\n") for part in (_broken(text) if len(text) > 14 else [text])
    )
    label = _text(figure, left, top, name, 7, va="top", color=colour, weight="bold")
    lines = label.get_text().count("\n") + 1
    if record.val_top1_percent is not None:
        below = top - lines * 7 * 1.2 / 72 - 0.03
        _text(figure, left, below, f"{record.val_top1_percent:.1f} %", SMALL, va="top")
    for index, state in enumerate(STATES):
        x = left + LABEL + index * (MAP + GAP)
        if state in record.maps:
            _map(figure, record, state, (x, top - map_height, MAP, map_height))
        elif record.maps:  # why, stands below the page
            _text(figure, x + MAP / 2, top - map_height / 2, record.status, SMALL, ha="center", color=HOLE_COLOUR)
    if not record.maps:
        lines = wrap(_reason(record), (4 * MAP + 3 * GAP) * 72)
        lines = lines if len(lines) <= 5 else [*lines[:5], "…"]
        _text(figure, left + LABEL, top, "\n".join(lines), SMALL, va="top", color=HOLE_COLOUR)


def _map(figure: Figure, record: AtlasRecord, state: str, box: tuple[float, float, float, float]) -> None:
    """One map, each value over the largest, and below it reach and evenness."""
    axes = _axes(figure, box)
    influence = np.asarray(record.maps[state], dtype=float)
    rows, columns = influence.shape
    largest = influence.max()
    shown = np.clip(influence / largest if largest > 0 else influence, LOWEST, 1)
    axes.pcolormesh(shown, cmap=COLOURS, norm=LogNorm(LOWEST, 1), antialiased=False)
    axes.set_ylim(rows, 0)
    axes.set_aspect("equal")
    axes.grid(False)
    row, column = divmod(record.sources[0], columns)
    axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="#56B4E9", linewidth=0.7))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(NullLocator())
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.4)
        spine.set_color("#888888")
    numbers = [record.numbers[state][key] for key in ("reach", "evenness")]
    text = "\u2009|\u2009".join(
        "–" if value is None else f"{value:.{2 if value >= 0.0995 else 3}f}" for value in numbers
    )
    _text(figure, box[0] + box[2] / 2, box[1] - 0.02, text, SMALL, ha="center", va="top")


def _holes(page: Sequence[AtlasRecord]) -> list[str]:
    """A paragraph on the mixers that lack some of their maps; those that lack all say so in their row."""
    some = [record for record in page if record.maps and len(record.maps) < len(STATES)]
    return ["; ".join(f"{clean(record.trial.mixer)}: {_reason(record)}" for record in some) + "."] if some else []


def _reason(record: AtlasRecord) -> str:
    return clean(f"{record.status}: {record.reason or 'no reason given'}")


def _colour_bar(figure: Figure, notes: Sequence[str], line: float) -> None:
    """The scale, and the caption below it."""
    width, _ = figure.get_size_inches()
    bottom = MARGIN + len(notes) * line
    for i, text in enumerate(reversed(notes)):
        _text(figure, MARGIN, MARGIN + i * line, text, CAPTION_SIZE, va="bottom")
    bar_width = min(2.2, width - 2 * MARGIN)
    axes = _axes(figure, (MARGIN + 0.14, bottom + 0.24, bar_width - 0.14, 0.08))
    scale = ScalarMappable(LogNorm(LOWEST, 1), colormaps[COLOURS])
    bar = figure.colorbar(scale, cax=axes, orientation="horizontal", ticks=[1e-3, 1e-2, 1e-1, 1])
    bar.ax.set_xticklabels(["≤ 0.001", "0.01", "0.1", "1"], fontsize=SMALL)
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(length=2, pad=1)
    bar.ax.grid(False)
    bar.outline.set_linewidth(0.4)
    words = "influence over the largest of its map, log scale; blue: the source token"
    if bar_width + 3.4 < width:
        _text(figure, MARGIN + bar_width + 0.12, bottom + 0.28, words, CAPTION_SIZE, va="center")
    else:
        _text(figure, MARGIN, bottom + 0.34, words, CAPTION_SIZE, va="bottom")


def _axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Axes at left, bottom, width and height in inches."""
    width, height = figure.get_size_inches()
    return figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))


def _text(figure: Figure, x: float, y: float, text: str, size: float, **style):
    """Text at a place in inches."""
    width, height = figure.get_size_inches()
    return figure.text(x / width, y / height, text, fontsize=size, **({"color": "#333333"} | style))


def _broken(text: str) -> list[str]:
    """A long name in lines of at most 14 letters, at an underscore, a plus or a colon where there is one."""
    lines: list[str] = []
    while len(text) > 14:
        place = max(text.rfind(c, 1, 14) for c in "_+:,") + 1
        place = place if place > 1 else 14
        lines.append(text[:place])
        text = text[place:]
    return [*lines, text]
