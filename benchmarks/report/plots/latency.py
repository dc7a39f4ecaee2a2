"""Plots of latency and memory against the size of an image, or the length of a sequence."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from benchmarks.contract.choices.profiles import CORE_MIXERS
from benchmarks.contract.facts.metrics import METRICS
from benchmarks.contract.trial import base_name
from benchmarks.report.alike import ATTENTION
from benchmarks.report.choose import once_a_size, scaling_row, sweeps, timed_in
from benchmarks.report.frame import plain
from benchmarks.report.notes import caption, holes
from benchmarks.report.plots.figures import family_words, log_axis, make_figure, save_figure, show_number, size_axis
from benchmarks.report.plots.labels import text_size
from benchmarks.report.plots.ratio import ratio_plot
from benchmarks.report.plots.style import (
    CAPTION_SIZE,
    FLOOR_COLOUR,
    GREY,
    MIXER_STYLES,
    NARROW,
    TICK_SIZE,
    WIDE,
    family_colour,
    in_order,
    mixer_style,
    short,
)
from benchmarks.report.plots.words import name
from benchmarks.report.sizes import SEQUENCES, extent_of, worded
from benchmarks.report.stats.leader import NO_MIXING
from benchmarks.report.wording import listing, significant, span

Line = list[tuple[float, float]]  # size and value
PASSES = {  # plot -> columns of the latency table, the first that was measured, and its words
    "latency-vs-{}": {
        "mixer_forward": "mixer alone, forward",
        "net_forward": "whole net, forward",
    },
    "latency-vs-{}-training": {
        "net_forward_backward": "whole net, forward + backward",
        "mixer_forward_backward": "mixer alone, forward + backward",
    },
}
COLUMNS = 3
NAMED = 4  # lines of one panel that have a colour
DASHED, DOTTED = (0, (4, 2)), (0, (1, 1.5))


def latency_plots(latency: pd.DataFrame, scaling: pd.DataFrame, frame: pd.DataFrame, folder: Path) -> list[Path]:
    """All plots of latency and memory of one group, from its tables."""
    paths: list[Path] = []
    extent = extent_of(latency)
    for suffix, rows in sweeps(latency).items():
        ending = f"-{suffix}" if suffix else ""
        timed = timed_in(rows, frame)
        for plot, columns in PASSES.items():
            paths += latency_plot(rows, scaling, timed, columns, folder, plot.format(extent.word) + ending)
        paths += memory_plot(rows, timed, folder, f"memory-vs-{extent.word}" + ending)
        if extent is SEQUENCES:
            paths += ratio_plot(rows, timed, missing_sizes(rows), folder, f"ratio-vs-{extent.word}" + ending)
    return paths


def lines_of(rows: pd.DataFrame, column: str) -> dict[str, Line]:
    """A line per mixer of what was measured to the end."""
    lines: dict[str, Line] = {}
    size = extent_of(rows).field
    for _, row in once_a_size(rows).iterrows():
        if plain(row[column]) is not None:
            lines.setdefault(row["label"], []).append((float(row[size]), float(row[column])))
    return lines


def latency_plot(
    rows: pd.DataFrame,
    scaling: pd.DataFrame,
    timed: pd.DataFrame,
    columns: Mapping[str, str],
    folder: Path,
    plot: str,
) -> list[Path]:
    """Latency per image against size, both axes logarithmic, a panel for each family."""
    found = {column: lines_of(rows, f"{column}_ms_per_image") for column in columns}
    column = next((column for column, lines in found.items() if lines), None)
    if column is None:
        return []
    lines, alone = found[column], column.startswith("mixer")
    first = rows.iloc[0]
    how = f", {'compiled' if first['compiled'] else 'eager'}, {first['precision']}; medians over rounds"
    told = f" {columns[column]}."[:2].upper() + f" {columns[column]}."[2:]
    told += " In parentheses: slope of log latency over log tokens."
    floor = ("a copy of the input", copy_floor(rows)) if column == "mixer_forward" else ("", [])
    return family_panels(
        lines,
        rows,
        folder,
        plot,
        extremes=extremes_of(lines),
        title=message(lines, rows, columns[column], "takes {} times as long as"),
        notes=[caption(timed, timed, how) + told, *holes(missing_sizes(rows))],
        words={label: end_label(label, scaling, rows, column) for label in lines},
        ylabel=worded("ms per image", extent_of(rows)),
        floor=floor,
        alone=alone,
    )


def extremes_of(lines: Mapping[str, Line]) -> tuple[int, str, str] | None:
    """A size, and the highest and the lowest there: the largest of the sizes that most mixers have.

    The net without mixing is neither, and no other form of a mixer that is there itself.
    """
    at: dict[float, dict[str, float]] = {}
    for label, line in lines.items():
        is_form = "(" in label and base_name(label) in lines
        for size, value in line if label != NO_MIXING and not is_form else ():
            at.setdefault(size, {})[label] = value
    most = max((len(found) for found in at.values()), default=0)
    if most < 2:
        return None
    size = max(size for size, found in at.items() if len(found) == most)
    high, low = (pick(sorted(at[size]), key=lambda label: at[size][label]) for pick in (max, min))
    return int(size), high, low


def message(lines: Mapping[str, Line], rows: pd.DataFrame, subject: str, verb: str) -> str:
    """The highest beside the lowest."""
    extent, found = extent_of(rows), extremes_of(lines)
    subject = subject[:1].upper() + subject[1:]
    if found is None:
        return f"{subject}, by {extent.axis.partition(' (')[0]}"
    size, high, low = found
    times = dict(lines[high])[size] / dict(lines[low])[size]
    where = f"{subject}: {extent.at.format(size)}"
    if times < 1.2:
        return f"{where} all mixers lie within {100 * (times - 1):.0f} % of each other"
    return f"{where} {name(high)} {verb.format(significant(times, 2))} {name(low)}"


def family_panels(
    lines: Mapping[str, Line],
    rows: pd.DataFrame,
    folder: Path,
    plot: str,
    *,
    extremes: tuple[int, str, str] | None,
    title: str,
    notes: Sequence[str],
    words: Mapping[str, str],
    ylabel: str,
    floor: tuple[str, Line],
    alone: bool,
) -> list[Path]:
    """A panel for each family: a few of it in colour, the rest of it grey, attention dashed for comparison.

    Args:
        lines: by mixer.
        rows: behind them.
        folder: where the files go.
        plot: name of the files.
        extremes: what the title is about, and so is named.
        title: of the figure.
        notes: below it.
        words: what a line is called, by mixer.
        ylabel: of the axis.
        floor: a line below all others, and what it is.
        alone: whether the net without mixing has nothing to show: it does nothing.
    """
    lines = {label: line for label, line in lines.items() if not (alone and label == NO_MIXING)} or dict(lines)
    families: dict[str, list[str]] = {}
    family_of = dict(zip(rows["label"], rows["family"], strict=True))
    for family in in_order(family_of[label] for label in lines):
        mine = [label for label in lines if family_of[label] == family]
        families[family] = sorted(named_first(mine), key=lambda label: label not in (extremes or ())[1:])
    if len(families) > 1:  # dotted in every other panel
        families = {family: mine for family, mine in families.items() if mine != [NO_MIXING]}
    references = {ATTENTION: DASHED} | ({} if alone else {NO_MIXING: DOTTED})
    references = {label: style for label, style in references.items() if label in lines}
    told = reference_words(references, floor if floor[1] else ("", []), alone and NO_MIXING in set(rows["label"]))
    grey = [label for labels in families.values() for label in labels[NAMED:]]
    told += f" Grey: {listing(grey)}." if grey else ""
    columns = min(COLUMNS, len(families))
    values = [y for line in [*lines.values(), floor[1]] for _, y in line]
    top = max(values) * (max(values) / min(values)) ** 0.42  # room for names
    ends = 10.0 ** math.floor(math.log10(top * (top / min(values)) ** 0.06)), 10.0 ** math.ceil(math.log10(min(values)))
    ticks = max(text_size(text, TICK_SIZE)[0] for text in (*map(show_number, ends), "1,000")) / 72
    figure, axes = make_figure(
        WIDE if columns > 1 else NARROW,
        1.5,
        [notes[0] + told, *notes[1:]],
        title=title,
        left=(0.34 + ticks, *(0.34 for _ in range(columns - 1))),
        right=(*(0.0 for _ in range(columns - 1)), 0.24),
        rows=math.ceil(len(families) / columns),
        apart=0.34,
        ticks=0.12 if extent_of(rows).each_token else 0.0,
        heads=1,
    )
    sizes = sorted({int(x) for line in lines.values() for x, _ in line})
    for i, panel in enumerate(axes):
        if i >= len(families):
            panel.remove()
            continue
        family = list(families)[i]
        draw_family(panel, families[family], lines, references, words, floor[1])
        size_axis(panel, sizes, tokens_of(rows), extent_of(rows))
        log_axis(panel.yaxis, min(values), top, show_number)
        panel.set_title(
            family_words(family), loc="left", color=family_colour(family), fontsize=TICK_SIZE, weight="bold", pad=3
        )
        panel.set_ylabel(ylabel if i % columns == 0 else "")
        panel.tick_params(axis="y", labelleft=i % columns == 0)
        if i + columns < len(families):
            panel.set_xlabel("")
    return save_figure(figure, folder, plot)


def named_first(labels: Sequence[str]) -> list[str]:
    """The mixers of a family: its references, the core ones and a user's own before others."""
    known = list(MIXER_STYLES)
    rank = {label: (base_name(label) not in CORE_MIXERS, "(" in label) for label in labels}
    return sorted(labels, key=lambda x: (rank[x], known.index(base_name(x)) if base_name(x) in known else -1, x))


def reference_words(references: Mapping[str, Any], floor: tuple[str, Line], left_out: bool) -> str:
    """What a caption says of the lines that stand in every panel."""
    said = {DASHED: "Dashed", DOTTED: "Dotted"}
    parts = [
        f"{said[style]}: {label}{', no mixing' if label == NO_MIXING else ''}" for label, style in references.items()
    ]
    parts += [f"Dotted: {floor[0]}"] if floor[1] else []
    parts += [f"{NO_MIXING} does nothing and is left out"] if left_out else []
    return "".join(f" {part}." for part in parts)


def draw_family(
    axes: Axes,
    labels: Sequence[str],
    lines: Mapping[str, Line],
    references: Mapping[str, Any],
    words: Mapping[str, str],
    floor: Line,
) -> None:
    for label, line in references.items():
        if label not in labels[:NAMED]:
            colour = mixer_style(label)["color"]
            axes.plot(*zip(*lines[label], strict=True), color=colour, linestyle=line, linewidth=0.7, marker="none")
    if floor:
        axes.plot(
            *zip(*floor, strict=True), color=FLOOR_COLOUR, linestyle=DOTTED, linewidth=0.9, marker="none", zorder=1
        )
    for label in labels[NAMED:]:
        axes.plot(*zip(*lines[label], strict=True), **GREY)
    for label in labels[:NAMED]:
        axes.plot(*zip(*lines[label], strict=True), **mixer_style(label) | {"markersize": 4}, label=words[label])
    axes.legend(
        loc="upper left", fontsize=CAPTION_SIZE, frameon=False, handlelength=1.8, borderpad=0, labelspacing=0.25,
        borderaxespad=0.2, handletextpad=0.5,
    )  # fmt: skip


def tokens_of(rows: pd.DataFrame) -> dict[int, int]:
    """The tokens of every size in these rows."""
    return dict(zip(rows[extent_of(rows).field].map(int), rows["tokens"].map(int), strict=True))


def copy_floor(rows: pd.DataFrame) -> Line:
    """Time to copy the mixer's input, per image: the median over the mixers timed at each size."""
    ready = rows[(rows["status"] == "ok") & rows["copy_ms"].notna()]
    by_size: dict[int, list[float]] = {}
    for size, ms, images in zip(ready[extent_of(rows).field], ready["copy_ms"], ready["batch_size"], strict=True):
        by_size.setdefault(size, []).append(ms / images)
    return [(float(size), statistics.median(values)) for size, values in sorted(by_size.items())]


def end_label(label: str, scaling: pd.DataFrame, rows: pd.DataFrame, column: str) -> str:
    row = scaling_row(label, scaling, rows)
    exponent = None if row is None else plain(row[f"{column}_exponent"])
    return short(label, "" if exponent is None else f" ({exponent:.2f})").replace("\n", " ")


def missing_sizes(rows: pd.DataFrame) -> dict[str, str]:
    extent = extent_of(rows)
    failed = rows[rows["status"] != "ok"]
    return {f"{r['label']} {extent.at.format(r[extent.field])}": str(r["status"]) for _, r in failed.iterrows()}


def memory_plot(rows: pd.DataFrame, timed: pd.DataFrame, folder: Path, plot: str) -> list[Path]:
    """Peak memory against size; per image where the batch is not the same at all sizes."""
    known = rows[(rows["status"] == "ok") & rows["peak_memory_bytes"].notna()]
    extent = extent_of(rows)
    if known[extent.field].nunique() < 2:
        return []
    scale = METRICS["peak_memory_bytes"].scale
    batches = sorted(set(known["batch_size"]))
    each = len(batches) > 1
    megabytes = [
        b * scale / (n if each else 1) for b, n in zip(known["peak_memory_bytes"], known["batch_size"], strict=True)
    ]
    lines = lines_of(known.assign(megabytes=megabytes), "megabytes")
    if not lines:
        return []
    extra = f"; whole net, forward + backward, batch of {span(batches[0], batches[-1])}"
    extra += ", which shares the weights and their gradients" if each else ""
    return family_panels(
        lines,
        known,
        folder,
        plot,
        extremes=extremes_of(lines),
        title=message(lines, known, "training step", "takes {} times the memory of"),
        notes=[caption(timed, timed, extra), *holes(missing_sizes(rows))],
        words={label: short(label).replace("\n", " ") for label in lines},
        ylabel=worded("peak memory (MB per image)", extent) if each else "peak memory (MB)",
        floor=("", []),
        alone=False,
    )
