"""Accuracy in other settings: over image and patch sizes, and every setting of a folder in one figure."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmarks.contract.facts.metrics import METRICS
from benchmarks.report.alike import TRAINED_ALIKE
from benchmarks.report.choose import rows_by
from benchmarks.report.frame import plain, square_ones
from benchmarks.report.notes import caption, holes
from benchmarks.report.plots import baselines as plots_baselines
from benchmarks.report.plots.figures import label_room, make_figure, save_figure, size_axis, wrap
from benchmarks.report.plots.labels import label_ends, text_size
from benchmarks.report.plots.style import (
    CAPTION_SIZE,
    FLOOR_COLOUR,
    GREY,
    NARROW,
    TICK_SIZE,
    WIDE,
    family_colour,
    front_runners,
    mixer_style,
    short,
)
from benchmarks.report.plots.words import (
    TOP1,
    accuracy_words,
    differences,
    grey_words,
    name,
    reads_alike,
    scored,
    setting_word,
)
from benchmarks.report.sizes import IMAGES, Extent, extent_of
from benchmarks.report.stats.intervals import bars
from benchmarks.report.stats.leader import NO_MIXING
from benchmarks.report.wording import span

PATCHES = dataclasses.replace(
    IMAGES, field="patch_size", axis="patch size (px)", word="patch-size", at="at patch {} px"
)
COLUMNS, MOST_PANELS = 4, 16
SPOKEN = ("image_size", "length", "patch_size", "dim", "depth", "epochs")  # what a head says of the main setting
ROW = 0.13  # inches of a mixer in a panel


def by_size(summary: pd.DataFrame, frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Accuracy against image size and against patch size: is it the patches or the mixing? Of sequences by length.

    Of several settings the one with most points; the others stand in `accuracy-by-setting`.
    """
    paths: list[Path] = []
    extent = extent_of(summary)
    for of, table, free in (
        (extent, square_ones(summary), (extent.field, "patch_size")),
        (PATCHES, summary, ("patch_size",)),
    ):
        sweeps = _sweeps(table, of, free)
        if any(_changes_nets(rows, of) for rows in sweeps):
            sweeps = _sweeps(table.assign(net=None), of, free)  # norm and positions as they are
        if sweeps:
            rows = max(sweeps, key=lambda rows: len(several_sizes(rows, of)))
            paths += draw_by_size(rows, of, frame, folder, f"accuracy-by-{of.word}")
    return paths


def _sweeps(table: pd.DataFrame, of: Extent, free: Sequence[str]) -> list[pd.DataFrame]:
    return [rows for _, rows in rows_by(table, *free) if several_sizes(rows, of)[of.field].nunique() > 1]


def _changes_nets(rows: pd.DataFrame, of: Extent) -> bool:
    """Whether a mixer has another norm or position encoding at one size than at the next."""
    nets = several_sizes(rows, of).groupby("label")[["norm", "positions"]].nunique()
    return bool((nets > 1).any(axis=None))


def several_sizes(rows: pd.DataFrame, of: Extent) -> pd.DataFrame:
    """Finished rows of the mixers that were measured at two sizes or more; of all where none was."""
    usable = scored(rows)
    several = usable.groupby("label")[of.field].transform("nunique") > 1
    return usable[several] if several.any() else usable


def draw_by_size(rows: pd.DataFrame, of: Extent, frame: pd.DataFrame, folder: Path, plot: str) -> list[Path]:
    """A line for every mixer that was measured at two sizes or more; one size alone says nothing of sizes."""
    column = of.field
    usable = several_sizes(rows, of)
    rows = rows[rows["label"].isin(usable["label"])]
    sizes = sorted(set(usable[column]))
    labels = sorted(set(usable["label"]))
    shown = front_runners({label: max(usable[usable["label"] == label][TOP1]) for label in labels})
    texts = [short(label) for label in shown]
    room = label_room([*texts, *(plots_baselines.COLUMNS[name] for name in plots_baselines.known_columns(usable))])
    counts = {size: n_words(usable[usable[column] == size]) for size in sizes}
    unlike = counts if len(set(counts.values())) > 1 else {}
    figure, (axes,) = make_figure(
        NARROW,
        2.4,
        size_notes(rows, usable, of, frame, len(shown), len(labels)),
        title=size_message(usable, of),
        families=usable[usable["label"].isin(shown)]["family"],
        right=[room],
        ticks=0.12 * (1 + bool(unlike)),
    )
    ends = []
    apart = min(1.012, 1.1 ** (1 / len(labels)))  # all points of one size within a tenth of it
    for label in labels:
        mine = usable[usable["label"] == label].sort_values(column)
        means = [float(v) for v in mine[TOP1]]
        if label not in shown:
            axes.plot([float(size) for size in mine[column]], means, **GREY)
            continue
        # bars of different mixers at one size would hide each other
        aside = [float(size) * apart ** (shown.index(label) - (len(shown) - 1) / 2) for size in mine[column]]
        halves = [
            (0.0, 0.0) if plain(h) is None else (min(h - m, m), min(h, 100.0) - m)
            for h, m in zip(mine["test_top1_percent_high"], means, strict=True)
        ]
        pale = plots_baselines.paleness_of_all(mine)
        axes.errorbar(aside, means, np.transpose(halves), **mixer_style(label), **pale, elinewidth=0.7, capthick=0.7)
        ends.append((shown.index(label), (aside[-1], means[-1])))
    tokens = {int(r[column]): int(r["tokens"]) for _, r in usable.iterrows()}
    size_axis(axes, sizes, tokens, of, unlike)
    trivial = plots_baselines.draw_by_size(axes, usable, column)
    axes.set_ylim(axes.get_ylim())
    axes.set_ylabel(METRICS["test_top1_percent"].label)
    colours = [mixer_style(label)["color"] for label in shown]
    points = [end for _, end in sorted(ends)]
    label_ends(axes, [*points, *trivial[0]], [*texts, *trivial[1]], [*colours, *trivial[2]])
    return save_figure(figure, folder, plot)


def size_notes(
    rows: pd.DataFrame, usable: pd.DataFrame, of: Extent, frame: pd.DataFrame, shown: int, every: int
) -> list[str]:
    missing: dict[str, Any] = {
        f"{r['label']} {of.at.format(r[of.field])}": str(r["status"]) for _, r in rows.iterrows() if r["status"] != "ok"
    }
    patches = ", ".join(
        f"{p} at {s} px" for s, p in sorted({(r["image_size"], r["patch_size"]) for _, r in usable.iterrows()})
    )
    told = f" Patch size: {patches}." if of.field == "image_size" and usable["patch_size"].nunique() > 1 else ""
    rates = sorted(set(usable["lr"]))
    told += f" Learning rate {rates[0]:g} for all." if len(rates) == 1 else ""
    told += " Colours: families."
    told += " Bars: 95 % t-interval over seeds" if (usable["n"] > 1).any() else ""
    told += "; one seed has none." if (usable["n"] > 1).any() and (usable["n"] == 1).any() else "."
    told += " Points of one size stand side by side." + grey_words(shown, every)
    return [caption(frame, usable) + told + plots_baselines.told_by_size(usable), *holes(missing)]


def size_message(usable: pd.DataFrame, of: Extent) -> str:
    """Who has the highest mean where, among the mixers that have every size."""
    sizes = sorted(set(usable[of.field]))
    means = {size: dict(zip(mine["label"], mine[TOP1], strict=True)) for size, mine in usable.groupby(of.field)}
    whole = set.intersection(*(set(found) for found in means.values()))
    neutral = f"Accuracy by {of.axis.partition(' (')[0]}"
    if len(whole) < 2:
        return neutral
    what = accuracy_words(usable[usable["label"].isin(whole)]["n"])
    best = {size: max(sorted(whole), key=lambda label: means[size][label]) for size in sizes}
    if len(set(best.values())) == 1:
        every = of.axis.partition(" (")[0]
        return f"Of {len(whole)} mixers trained at every {every} {name(best[sizes[0]])} has the highest {what} at each"
    if len(sizes) > 4:
        return neutral
    firsts = ", ".join(f"{name(best[size])} {of.at.format(size)}" for size in sizes)
    return f"Highest {what} of {len(whole)} mixers: {firsts}"


def by_setting(settings: Mapping[str, pd.DataFrame], frame: pd.DataFrame, folder: Path, plot: str) -> list[Path]:
    """A panel for every setting that two mixers or more were trained in; nothing where there is one alone."""
    found = [known for rows in settings.values() if (known := scored(rows))["label"].nunique() > 1]
    if len(found) < 2:
        return []
    main, left = found[0].iloc[0].to_dict(), len(found) - MOST_PANELS
    panels = found[:MOST_PANELS]
    others = {label for rows in panels[1:] for label in rows["label"]}
    panels[0] = panels[0][panels[0]["label"].isin(others)]
    panels = [rows for rows in panels if len(rows)]
    labels = order_of(panels)
    names = max(text_size(short(label), TICK_SIZE)[0] for label in labels) / 72 + 0.1
    columns = min(COLUMNS, len(panels))
    width = (WIDE - names - 0.1) / COLUMNS - 0.1
    heads = [wrap(head_of(rows, main, panels), width * 72, CAPTION_SIZE) for rows in panels]
    told = " Colours: families." + (
        " Bars: 95 % t-interval over seeds." if any((p["n"] > 1).any() for p in panels) else ""
    )
    told += f" Dotted: {NO_MIXING}, which mixes nothing." if NO_MIXING in labels else ""
    told += " All panels have one scale, each its own beginning; n stands above each"
    told += "; one seed has no bar." if any((rows["n"] == 1).any() for rows in panels) else "."
    told += f" {left} more settings are in summary.csv." if left > 0 else ""
    rows = math.ceil(len(panels) / columns)
    figure, axes = make_figure(
        names + 0.1 + columns * (width + 0.1),
        ROW * (len(labels) + 0.6),
        [caption(frame, pd.concat(panels)) + told],
        title=setting_message(panels),
        families=pd.concat(panels)["family"],
        left=(names, *(0.1 for _ in range(columns - 1))),
        right=(*(0.0 for _ in range(columns - 1)), 0.1),
        rows=rows,
        apart=0.2,
        heads=max(map(len, heads)),
    )
    across = 1.08 * max(1.0, *(high - low for low, high in map(reach, panels)))  # points, of all panels alike
    for i, panel in enumerate(axes):
        if i >= len(panels):
            panel.remove()
            continue
        draw_setting(panel, panels[i], labels, across)
        panel.set_title("\n".join(heads[i]), loc="left", fontsize=CAPTION_SIZE, pad=3)
        if i % columns:
            panel.tick_params(axis="y", labelleft=False)
        if i + columns >= len(panels):
            panel.set_xlabel("test top-1 (%)", labelpad=2)
    return save_figure(figure, folder, plot)


def order_of(panels: Sequence[pd.DataFrame]) -> list[str]:
    """Mixers by how far they lie above the others of their panels, lowest first: the axis runs upwards."""
    above: dict[str, list[float]] = {}
    for rows in panels:
        middle = float(np.mean([float(v) for v in rows[TOP1]]))
        for label, mean in zip(rows["label"], rows[TOP1], strict=True):
            above.setdefault(str(label), []).append(float(mean) - middle)
    return sorted(above, key=lambda label: (float(np.mean(above[label])), label))


def reach(rows: pd.DataFrame) -> tuple[float, float]:
    """From the lowest to the highest end of a bar."""
    means = [float(mean) for mean in rows[TOP1]]
    highs = [
        mean if plain(h) is None else min(float(h), 100.0)
        for h, mean in zip(rows["test_top1_percent_high"], means, strict=True)
    ]
    lows = [max(0.0, 2 * mean - high) for mean, high in zip(means, highs, strict=True)]
    return min(lows), max(highs)


def head_of(rows: pd.DataFrame, main: Mapping[Any, Any], panels: Sequence[pd.DataFrame]) -> str:
    """In what a panel differs from the main setting; of that itself what it has in place of it."""
    row = rows.iloc[0].to_dict()
    words = differences(row, main)
    if not words:
        fields = [f for f in row if f in TRAINED_ALIKE and len({str(plain(one.iloc[0][f])) for one in panels}) > 1]
        fields = [f for f in fields if f in SPOKEN] or fields
        words = ", ".join(
            setting_word(str(f), row) for f in fields if f == "padded_length" or plain(row[f]) is not None
        )
    return f"{words} ({n_words(rows)})"


def n_words(rows: pd.DataFrame) -> str:
    """ "n = 3-8"."""
    return f"n = {span(min(rows['n']), max(rows['n']))}".replace(" ", "\u00a0")


def setting_message(panels: Sequence[pd.DataFrame]) -> str:
    """Who has the highest mean accuracy in how many of the settings that it was trained in; no tie counts."""
    first: Counter[str] = Counter()
    for rows in panels:
        top = [str(r["label"]) for r in rows.to_dict("records") if reads_alike(r[TOP1], max(rows[TOP1]))]
        first.update(top if len(top) == 1 else [])
    if not first:
        return "Accuracy by setting"
    there = Counter(str(label) for rows in panels for label in set(rows["label"]))
    (leader, often), *rest = sorted(first.items(), key=lambda pair: (-pair[1], pair[0]))
    text = f"{name(leader)} has the highest {accuracy_words(max(rows['n']) for rows in panels)} in "
    if often == len(panels):
        return f"{text}{'both' if often == 2 else f'all {often}'} settings"
    of = f"{often} of {len(panels)} settings"
    if there[leader] < len(panels):
        of = f"all {often}" if often == there[leader] else f"{often} of {there[leader]}"
        of += " settings that it was trained in"
    partly = any(there[label] < len(panels) for label in first)
    others = [f"{name(label)} in {n}" + (f" of {there[label]}" if partly else "") for label, n in rest[:2]]
    return text + ", ".join([of, *others])


def draw_setting(axes: Axes, rows: pd.DataFrame, labels: Sequence[str], across: float) -> None:
    """A row for each mixer, its mean and its bar."""
    for row in rows.to_dict("records"):
        y, mean, high = labels.index(row["label"]), float(row[TOP1]), plain(row["test_top1_percent_high"])
        style = mixer_style(row["label"]) | {"linestyle": "none", "markersize": 4}
        if high is not None:
            axes.errorbar(
                mean, y, xerr=bars(mean, high - mean), color=style["color"], elinewidth=0.8, capsize=0, zorder=3
            )
        axes.plot(mean, y, **style, zorder=4)
        if row["label"] == NO_MIXING:
            axes.axvline(mean, color=FLOOR_COLOUR, linestyle=(0, (1, 1.5)), linewidth=0.7, zorder=1)
    low, high = reach(rows)
    middle = (low + high) / 2
    axes.set_xlim(middle - across / 2, middle + across / 2)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.set_ylim(-0.8, len(labels) - 0.2)
    axes.set_yticks(range(len(labels)), [short(label) for label in labels])
    axes.tick_params(axis="y", length=0, pad=2)
    family = dict(zip(rows["label"], rows["family"], strict=True))
    for tick, label in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_color(mixer_style(label)["color"] if label not in family else family_colour(family[label]))
