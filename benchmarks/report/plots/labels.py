"""Direct labels on plots that overlap neither each other nor the data."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels
FAR = 12.0  # points from which on a label needs a line to what it names
DISTANCES = (5.0, 8.0, 12.0, 17.0, 23.0, 30.0, 40.0, 52.0, 66.0)
DIRECTIONS = 16
MARKER = 3.0  # points around an end that its leader leaves free
END_GAP = 15.0  # points between the axes and the labels at their right
# against a point of distance: a square point of another label or a marker, a dot of a line, a point beyond the axes
LABEL_COST, MARKER_COST, INK_COST, OUTSIDE_COST = 40.0, 8.0, 10.0, 400.0
CROSSED_COST = 8.0  # a point of a label's line under another label
WRONG_MARKER_COST = 20.0  # against a point of distance: another marker is as near as the label's own


@functools.cache
def text_size(text: str, size: float, weight: str = "normal") -> tuple[float, float]:
    """Width and height of a text in points, lines of equal height whatever their letters."""
    figure = _scratch()
    drawn = figure.text(0, 0, text, fontsize=size, weight=weight)
    box = drawn.get_window_extent(renderer(figure))
    drawn.remove()
    lines = text.count("\n") + 1
    return float(box.width) * 72 / 200, max(float(box.height) * 72 / 200, lines * size * 1.17)


@functools.cache
def _scratch() -> Figure:
    """A figure to measure texts in."""
    return Figure(dpi=200)


def renderer(figure: Figure) -> Any:
    if not isinstance(figure.canvas, FigureCanvasAgg):
        FigureCanvasAgg(figure)
    return figure.canvas.get_renderer()  # type: ignore[attr-defined]


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    colours: Sequence[str],
    ink: NDArray[np.float64],
    *,
    size: float = 7,
) -> None:
    """Writes a label beside every point, with a thin line where it had to move away.

    Call it when the limits of the axes are final.

    Args:
        axes: where the points are.
        points: in data coordinates.
        texts: one label a point.
        colours: one colour a label.
        ink: data coordinates (n, 2) of lines and error bars that labels should not cover.
        size: of the font, in points.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    if not points:
        return
    scale = 72 / figure.dpi
    place = axes.transData.transform
    centres = place(np.asarray(points, dtype=float)) * scale
    dots = place(ink) * scale if len(ink) else np.empty((0, 2))
    frame = axes.get_window_extent(renderer(figure))
    inside = (frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale)
    sizes = [text_size(text, size) for text in texts]
    choices = [candidates(centre, extent) for centre, extent in zip(centres, sizes, strict=True)]
    fixed = [base_costs(boxes, centres, own, dots, inside) for own, boxes in enumerate(choices)]
    lines = [leaders(boxes, centre) for boxes, centre in zip(choices, centres, strict=True)]
    chosen = arrange(choices, fixed, lines)
    for (x, y), text, colour, boxes, pick in zip(points, texts, colours, choices, chosen, strict=True):
        left, bottom, right, top = boxes[pick][:4]
        centre = place((x, y)) * scale
        middle = ((left + right) / 2 - centre[0], (bottom + top) / 2 - centre[1])
        far = boxes[pick][4] >= FAR
        axes.annotate(
            text, (x, y), middle, textcoords="offset points", ha="center", va="center", color=colour, fontsize=size,
            annotation_clip=False, zorder=6,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.4, "shrinkA": 0, "shrinkB": 2.5} if far else None,
        )  # fmt: skip


def candidates(centre: NDArray[np.float64], extent: tuple[float, float]) -> NDArray[np.float64]:
    """Boxes around a point, near ones first: (n, 5) of left, bottom, right, top and distance, in points."""
    width, height = extent
    boxes = []
    for distance in DISTANCES:
        for step in range(DIRECTIONS):
            angle = 2 * math.pi * step / DIRECTIONS
            across, up = math.cos(angle), math.sin(angle)
            x = centre[0] + across * distance + (across * width / 2 if abs(across) > 0.1 else 0)
            # beside the point a label stands level with it, above and below it stands clear of it
            y = centre[1] + up * (distance + height / 2 if abs(across) < 0.95 else distance)
            if abs(across) > 0.1:
                x += math.copysign(width / 2 * (1 - abs(across)), across)
            boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2, distance))
    return np.array(boxes)


def base_costs(
    boxes: NDArray[np.float64], centres: NDArray[np.float64], own: int, dots: NDArray[np.float64], inside: Box
) -> NDArray[np.float64]:
    """What each box costs whatever the other labels do.

    That is distance, markers and lines under it, another point than its `own` as near, reaching outside.
    """
    cost = boxes[:, 4].copy()
    radius = 2.5
    markers = np.concatenate([centres - radius, centres + radius], axis=1)
    cost += MARKER_COST * overlaps(boxes, markers).sum(axis=1)
    cost += WRONG_MARKER_COST * beside_another(boxes, np.delete(centres, own, axis=0))
    if len(dots):
        under = (
            (dots[None, :, 0] > boxes[:, None, 0] - 1) & (dots[None, :, 0] < boxes[:, None, 2] + 1)
            & (dots[None, :, 1] > boxes[:, None, 1] - 1) & (dots[None, :, 1] < boxes[:, None, 3] + 1)
        )  # fmt: skip
        cost += INK_COST * np.minimum(under.sum(axis=1), 20)
    left, bottom, right, top = inside
    beyond = np.maximum(0, left + 1 - boxes[:, 0]) + np.maximum(0, boxes[:, 2] - right)
    beyond += np.maximum(0, bottom + 1 - boxes[:, 1]) + np.maximum(0, boxes[:, 3] - top)
    return np.asarray(cost + OUTSIDE_COST * beyond)


def beside_another(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a box without a line to its own point is as near to one of the others, (n,)."""
    across = np.maximum(boxes[:, None, 0] - others[None, :, 0], others[None, :, 0] - boxes[:, None, 2])
    up = np.maximum(boxes[:, None, 1] - others[None, :, 1], others[None, :, 1] - boxes[:, None, 3])
    nearest = np.hypot(np.clip(across, 0, None), np.clip(up, 0, None)).min(axis=1, initial=math.inf)
    return np.asarray((boxes[:, 4] < FAR) & (nearest < boxes[:, 4] + MARKER))


def overlaps(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shared area of every box with every other, (n, m)."""
    width = np.minimum(boxes[:, None, 2], others[None, :, 2]) - np.maximum(boxes[:, None, 0], others[None, :, 0])
    height = np.minimum(boxes[:, None, 3], others[None, :, 3]) - np.maximum(boxes[:, None, 1], others[None, :, 1])
    return np.asarray(np.clip(width, 0, None) * np.clip(height, 0, None))


def leaders(boxes: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points along each far box's line to what it names, (n, 8, 2); of near boxes, which have none, not a number."""
    middles = np.stack([boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]], axis=1) / 2
    steps = np.linspace(0.15, 1, 8)[None, :, None]
    points = centre + (middles[:, None, :] - centre) * steps
    inside = (
        (points[..., 0] > boxes[:, None, 0]) & (points[..., 0] < boxes[:, None, 2])
        & (points[..., 1] > boxes[:, None, 1]) & (points[..., 1] < boxes[:, None, 3])
    )  # fmt: skip
    return np.asarray(np.where(((boxes[:, 4] < FAR)[:, None] | inside)[..., None], np.nan, points))


def covered(points: NDArray[np.float64], boxes: NDArray[np.float64], each_box: bool = False) -> NDArray[np.float64]:
    """How many boxes lie over each point, or how many points under each box."""
    under = (
        (points[:, None, 0] > boxes[None, :, 0]) & (points[:, None, 0] < boxes[None, :, 2])
        & (points[:, None, 1] > boxes[None, :, 1]) & (points[:, None, 1] < boxes[None, :, 3])
    )  # fmt: skip
    return np.asarray(under.sum(axis=0 if each_box else 1), dtype=float)


def arrange(
    choices: list[NDArray[np.float64]],
    fixed: list[NDArray[np.float64]],
    lines: list[NDArray[np.float64]],
    passes: int = 8,
) -> list[int]:
    """Picks one box a label: the cheapest each, then each again given all others, until nothing moves."""
    order = sorted(range(len(choices)), key=lambda i: (-float(fixed[i].min()), i))  # the hardest to place first
    chosen: dict[int, int] = {}
    for _ in range(passes):
        before = dict(chosen)
        for i in order:
            cost = fixed[i].copy()
            taken = [j for j in chosen if j != i]
            if taken:
                roomy = np.array([choices[j][chosen[j]][:4] for j in taken]) + np.array([-1.0, -0.5, 1.0, 0.5])
                cost += LABEL_COST * overlaps(choices[i], roomy).sum(axis=1)
                cost += CROSSED_COST * covered(lines[i].reshape(-1, 2), roomy).reshape(len(cost), -1).sum(axis=1)
                theirs = np.concatenate([lines[j][chosen[j]] for j in taken])
                cost += CROSSED_COST * covered(theirs, choices[i], each_box=True)
            chosen[i] = int(cost.argmin())
        if chosen == before:
            break
    return [chosen[i] for i in range(len(choices))]


def spread(places: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Moves the middles of boxes apart until none overlap, as little as least squares allows, their order kept.

    Args:
        places: where each box would best have its middle.
        heights: of the boxes.
        low: where the lowest box may begin.
        high: where the highest may end. Where all boxes cannot fit, they shrink alike.
    """
    if not places:
        return []
    shrink = min(1.0, (high - low) / sum(heights))
    order = sorted(range(len(places)), key=lambda i: (places[i], i))
    # the middles if all boxes stood on each other from `low` on; what is added to that may never fall
    stacked = low + shrink * np.array(
        [sum(heights[j] for j in order[:rank]) + heights[i] / 2 for rank, i in enumerate(order)]
    )
    lift = isotonic_regression(np.array([places[i] for i in order]) - stacked).x
    lift = np.clip(lift, 0, high - low - shrink * sum(heights))
    result = [0.0] * len(places)
    for rank, i in enumerate(order):
        result[i] = float(stacked[rank] + lift[rank])
    return result


def label_ends(
    axes: Axes, ends: Sequence[tuple[float, float]], texts: Sequence[str], colours: Sequence[str], size: float = 7
) -> None:
    """Writes labels in the margin right of the axes, each joined by a thin line to the end of its curve.

    Args:
        axes: with final limits, and with room for the texts at their right.
        ends: last point of each curve, in data coordinates.
        texts: one label a curve.
        colours: one colour a label.
        size: of the font, in points.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    if not ends:
        return
    scale = 72 / figure.dpi
    frame = axes.get_window_extent(renderer(figure))
    pixels = axes.transData.transform(np.asarray(ends, dtype=float)) * scale
    heights = [text_size(text, size)[1] * 1.06 for text in texts]
    places = spread(list(pixels[:, 1]), heights, frame.y0 * scale, frame.y1 * scale + heights[-1] / 2)
    start = frame.x1 * scale + END_GAP
    leaders = []
    for end, pixel, y, text, colour in zip(ends, pixels, places, texts, colours, strict=True):
        axes.annotate(
            text, end, (start - pixel[0], y - pixel[1]), textcoords="offset points", ha="left", va="center",
            color=colour, linespacing=1.0, fontsize=size, annotation_clip=False,
        )  # fmt: skip
        way = np.array([start, y]) - pixel
        leaders.append(np.array([pixel + way * (MARKER / np.hypot(*way)), (start, y)]) / 72)
    # one collection in inches: an arrow a label takes a third of the time of the whole plot
    lines = LineCollection(
        leaders, colors=colours, linewidths=0.4, transform=figure.dpi_scale_trans, clip_on=False, zorder=3
    )
    axes.add_collection(lines, autolim=False)
