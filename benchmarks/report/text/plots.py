"""Plots of a line of text: accuracy against speed, over training, and on tasks beside attention's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmarks.report.alike import ATTENTION
from benchmarks.report.families import encoder_name, mixer_family
from benchmarks.report.plots.baselines import LINE
from benchmarks.report.plots.figures import label_room, log_axis, make_figure, plot_style, save_figure, show_count
from benchmarks.report.plots.labels import label_ends, label_points
from benchmarks.report.plots.style import FLOOR_COLOUR, GREY, NARROW, WIDE, front_runners, mixer_style, short
from benchmarks.report.plots.words import accuracy_words, grey_words, highest
from benchmarks.report.plots.words import name as name_of
from benchmarks.report.stats.intervals import bars
from benchmarks.report.stats.paired import Runs
from benchmarks.report.stats.text_lines import Encoders, Line, records_of, span_of_task
from benchmarks.report.text.rows import Row, curves_of, levels_of, pretraining_rows, task_rows, tokens_seen
from benchmarks.report.text.tables import pretraining_words, title_of
from benchmarks.report.wording import listing, significant, span_of

SPEEDS = {  # column, and what a caption says of it
    "timed_tokens_per_s": "forward and backward in the latency sweep",
    "train_tokens_per_s": "of training, whatever else the machine did",
}


@dataclasses.dataclass(frozen=True)
class Course:
    """What is drawn over training.

    Attributes:
        column: of the history.
        title: of the plot, where it names nobody.
        axis: label of the axis.
        better: 1 where more is better, -1 where less is.
    """

    column: str
    title: str
    axis: str
    better: int


ACCURACY = Course("val_top1_percent", "Masked accuracy over training", "held-out masked accuracy (%)", 1)
LOSS = Course("val_loss", "Loss of masked tokens over training", "held-out loss of masked tokens (nats)", -1)
Curves = Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]]


def text_plots(line: Line, folder: Path) -> list[Path]:
    """Writes every plot of a line for which there are records; returns their paths."""
    paths: list[Path] = []
    with plot_style():
        for place, several in enumerate(line.settings):
            ending = f"-{place + 1}" if place else ""
            if place and len(several) < 2:
                continue
            rows = pretraining_rows(line, several)
            paths += speed_plot(line, several, rows, folder, f"accuracy-vs-speed{ending}")
            paths += curve_plot(line, several, rows, folder, f"accuracy-vs-tokens{ending}", ACCURACY)
            paths += curve_plot(line, several, rows, folder, f"loss-vs-tokens{ending}", LOSS)
        for place, part in enumerate(line.parts):
            paths += share_plot(line, part, folder, "tasks-vs-attention" + (f"-{place + 1}" if place else ""))
    return paths


def speed_plot(line: Line, several: Sequence[Runs], rows: Sequence[Row], folder: Path, name: str) -> list[Path]:
    """Masked accuracy against tokens a second of training; nothing where no encoder has both."""
    column = next((c for c in SPEEDS if all(row[c] for row in rows)), None)
    column = column or max(SPEEDS, key=lambda c: sum(bool(row[c]) for row in rows))
    ready = [row for row in rows if row[column]]
    if not ready:
        return []
    left = [encoder_name(str(row["label"])) for row in rows if not row[column]]
    told = (
        f"Masked accuracy of the test passages against speed ({SPEEDS[column]}). Colours: families. "
        "Bars: 95 % over seeds and test rows. "
    )
    told += _words(line, several) + (f" Not timed: {listing(left)}." if left else "")
    levels = _levels(rows)
    room = label_room(list(levels)) if levels else 0.08
    figure, (axes,) = make_figure(
        WIDE, 2.9, [told], title=speed_message(ready, column), families=_families(row["label"] for row in ready),
        right=[room],
    )  # fmt: skip
    points = [(float(row[column]), float(row["score_mean"])) for row in ready]
    log_axis(axes.xaxis, min(x for x, _ in points), max(x for x, _ in points), show_count, space=0.1)
    ink = []
    for (x, y), row in zip(points, ready, strict=True):
        style = mixer_style(row["label"]) | {"linestyle": "none"}
        if row["score_high"] is not None:
            half = row["score_high"] - y
            axes.errorbar(x, y, bars(y, half), color=style["color"], elinewidth=0.8, capthick=0.8, zorder=3)
            ink += [(x, v) for v in np.linspace(y - half, y + half, 12)]
        axes.plot(x, y, **style, zorder=4)
    axes.margins(y=0.12)
    extra = _draw_levels(axes, levels)
    axes.set_ylim(axes.get_ylim())
    ink += [(x, y) for y in levels.values() for x in np.geomspace(*axes.get_xlim(), 60)]
    axes.set_xlabel("tokens per second", labelpad=2)
    axes.set_ylabel("masked accuracy (%)")
    colours = [mixer_style(row["label"])["color"] for row in ready]
    dots = np.array(ink).reshape(-1, 2)
    label_points(axes, points, [short(encoder_name(row["label"])) for row in ready], colours, dots)
    if levels:
        label_ends(axes, extra, list(levels), [FLOOR_COLOUR] * len(levels))
    return save_figure(figure, folder, name)


def speed_message(rows: Sequence[Row], column: str) -> str:
    """Who is the most accurate, beside the fastest."""
    first = min(rows, key=lambda row: (-row["score_mean"], row["label"]))
    if len(rows) < 2:
        return "Masked accuracy against speed"
    floor = max(_levels(rows).values(), default=0.0)
    fast = min([row for row in rows if row["score_mean"] > floor] or rows, key=lambda row: (-row[column], row["label"]))
    leader = highest({encoder_name(str(row["label"])): row["score_mean"] for row in rows}, [row["n"] for row in rows])
    text = f"{leader}, {first['score_mean']:.1f} %"
    if fast is first:
        return f"{text}, and is the fastest above all baselines"
    times = significant(fast[column] / first[column], 2)
    return f"{text}; {name_of(encoder_name(fast['label']))} is {times} times as fast with {fast['score_mean']:.1f} %"


def _families(labels: Iterable[str]) -> list[str]:
    return [mixer_family(str(label)) for label in labels]


def curve_plot(
    line: Line, several: Sequence[Runs], rows: Sequence[Row], folder: Path, name: str, of: Course
) -> list[Path]:
    """Held-out accuracy or loss over training, by tokens seen and by seconds; of many the others grey."""
    panels = {seconds: curves_by_label(line, several, seconds, of.column) for seconds in (False, True)}
    panels = {seconds: curves for seconds, curves in panels.items() if curves}
    if not panels:
        return []
    told = (
        f"{of.title.partition(' over')[0]} on held-out passages against tokens seen, and against seconds of training "
        "on a machine that may have had other work. Colours: families. Lines: mean over seeds; bands: lowest to "
        "highest seed. "
    )
    levels = _levels(rows, of)
    last = {label: float(mean[-1]) for label, (_, mean, _, _) in next(iter(panels.values())).items()}
    shown = front_runners({label: of.better * value for label, value in last.items()})
    texts = [short(encoder_name(label)) for label in shown]
    notes = [told + _words(line, several) + grey_words(len(shown), len(last))]
    room = label_room([*texts, *levels])
    title = curve_message(panels, [len(runs.top1) for runs in several], of)
    figure, axes = make_figure(
        WIDE if len(panels) > 1 else NARROW, 2.6, notes, title=title, families=_families(shown),
        left=(0.55, 0.3)[: len(panels)], right=(0.0, room)[-len(panels) :],
    )  # fmt: skip
    for panel, (seconds, curves) in zip(axes, panels.items(), strict=True):
        for label, (x, mean, low, high) in curves.items():
            if label not in shown:
                panel.plot(x, mean, **GREY)
                continue
            style = mixer_style(label)
            panel.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
            panel.plot(x, mean, **style, markevery=max(1, len(x) // 6))
        panel.margins(x=0.03)
        panel.set_xlim(0, panel.get_xlim()[1])
        extra = _draw_levels(panel, levels)
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.xaxis.set_major_formatter(lambda value, _: show_count(value) if value else "0")
        panel.set_xlabel("seconds of training" if seconds else "tokens seen", labelpad=2)
    heights = [panel.get_ylim() for panel in axes]
    for panel in axes:
        panel.set_ylim(min(low for low, _ in heights), max(high for _, high in heights))
    for panel in axes[1:]:
        panel.tick_params(axis="y", labelleft=False)
    axes[0].set_ylabel(of.axis)
    curves = list(panels.values())[-1]
    named = [label for label in shown if label in curves]
    ends = [(float(curves[label][0][-1]), float(curves[label][1][-1])) for label in named]
    colours = [mixer_style(label)["color"] for label in named]
    words = [*(short(encoder_name(label)) for label in named), *levels]
    label_ends(axes[-1], [*ends, *extra], words, [*colours, *[FLOOR_COLOUR] * len(extra)])
    return save_figure(figure, folder, name)


def curve_message(panels: Mapping[bool, Curves], seeds: Sequence[int], of: Course = ACCURACY) -> str:
    """Who is best after as many tokens, and who after as many seconds as all have had."""
    firsts = []
    for curves in panels.values():
        end = min(float(x[-1]) for x, *_ in curves.values())
        scores = {label: float(np.interp(end, x, mean)) for label, (x, mean, _, _) in curves.items()}
        firsts.append(min(scores, key=lambda label: (-of.better * scores[label], label)))
    if any(len(curves) < 2 for curves in panels.values()):
        return of.title
    best = f"lowest {accuracy_words(seeds, 'loss')}" if of is LOSS else f"highest {accuracy_words(seeds)}"
    by_tokens, *by_time = (name_of(encoder_name(label)) for label in firsts)
    text = f"{by_tokens} has the {best} after equal tokens"
    if not by_time:
        return text
    return f"{text} and after equal time" if by_time == [by_tokens] else f"{text}, {by_time[0]} after equal time"


def curves_by_label(line: Line, several: Sequence[Runs], seconds: bool, column: str = ACCURACY.column) -> Curves:
    """By encoder: x, and mean, lowest and highest of its seeds, as far as all of them have come."""
    assert line.pretraining is not None
    found = {}
    for runs in several:
        curves = [curve for curve in curves_of(records_of(line.pretraining, runs), column) if len(curve)]
        if not curves:
            continue
        an_epoch = tokens_seen(runs) / runs.setting["epochs"]
        xs = [curve["seconds"] if seconds else curve["epoch"] * an_epoch for curve in curves]
        grid = min(xs, key=lambda x: float(x.iloc[-1])).to_numpy(float)
        values = np.array([_at(grid, x, c[column]) for x, c in zip(xs, curves, strict=True)])
        kept = ~np.isnan(values).any(axis=0)
        if kept.any():
            middle = values[:, kept]
            found[str(runs.setting["label"])] = (grid[kept], middle.mean(0), middle.min(0), middle.max(0))
    return found


def _at(grid: Any, x: pd.Series, y: pd.Series) -> Any:
    return np.interp(grid, x.to_numpy(float), y.to_numpy(float), left=np.nan)


def share_plot(line: Line, part: Encoders, folder: Path, name: str) -> list[Path]:
    """Scores as a share of attention's, by task; nothing without attention and another encoder."""
    rows = [row for row in task_rows(part) if row["share_of_attention_percent"] is not None]
    weak = [task.name for task in part.tasks if task not in part.counted]
    spans = {task.name: span_of_task(task) for task in part.tasks if task.name not in weak}
    even = [name for name, span in spans.items() if span is not None and not span.ranks]
    shown = [row for row in rows if row["dataset"] not in (*weak, *even)]
    tasks = list(dict.fromkeys(row["dataset"] for row in shown))
    labels = [label for label in part.labels if any(row["label"] == label for row in shown)]
    if not shown:
        return []
    told = f"Scores as a share of {ATTENTION}'s. Colours: families. Bars: 95 % over seeds and test rows. "
    told += f"{_sentence(line.title)}. "
    told += "From scratch." if part.scratch else f"Pre-trained on {part.setting['pretrained']}."
    out = listing([title_of(name) for name in weak])
    told += f" Left out, since no encoder lies above a constant answer there: {out}." if weak else ""
    told += f" Left out, since it ranks no encoders: {listing([title_of(name) for name in even])}." if even else ""
    texts = [short(encoder_name(label)) for label in labels]
    figure, (axes,) = make_figure(
        max(NARROW, min(WIDE, 1.6 + 0.9 * len(tasks) + 0.4)), 2.9, [told], title=share_message(shown, labels, tasks),
        families=_families(labels), right=[label_room([*texts, ATTENTION])],
    )  # fmt: skip
    ends = []
    step = 0.6 / max(1, len(labels) - 1)
    for place, label in enumerate(labels):
        mine = {row["dataset"]: row for row in shown if row["label"] == label}
        style = mixer_style(label)
        xs = [i - 0.3 + place * step if len(labels) > 1 else i for i, task in enumerate(tasks) if task in mine]
        ys = [float(mine[task]["share_of_attention_percent"]) for task in tasks if task in mine]
        sides = [_sides(mine[task]) for task in tasks if task in mine]
        axes.errorbar(xs, ys, np.transpose(sides), **style | {"linestyle": "none"}, elinewidth=0.7, capthick=0.7)
        ends.append((xs[-1], ys[-1]))
    axes.set_xlim(-0.5, len(tasks) - 0.5)
    axes.set_xticks(range(len(tasks)), [title_of(task).replace(" of ", "\nof ", 1) for task in tasks])
    axes.grid(axis="x", visible=False)
    axes.axhline(100, **LINE)
    axes.set_ylim(axes.get_ylim())
    axes.set_ylabel("share of attention's score (%)")
    colours = [mixer_style(label)["color"] for label in labels]
    label_ends(axes, [*ends, (axes.get_xlim()[1], 100.0)], [*texts, ATTENTION], [*colours, FLOOR_COLOUR])
    return save_figure(figure, folder, name)


def share_message(rows: Sequence[Mapping[str, Any]], labels: Sequence[str], tasks: Sequence[str]) -> str:
    """What the nearest to attention reaches of its scores on the first of the tasks."""
    mine = {row["label"]: row["share_of_attention_percent"] for row in rows if row["dataset"] == tasks[0]}
    first = min((label for label in labels if label in mine), key=lambda label: (-mine[label], label))
    return f"{title_of(tasks[0])}: {name_of(encoder_name(first))} reaches {mine[first]:.0f} % of {ATTENTION}'s score"


def _sides(row: Mapping[str, Any]) -> tuple[float, float]:
    value, low, high = (row[f"share_of_attention_percent{end}"] for end in ("", "_low", "_high"))
    return (0.0, 0.0) if low is None else (value - low, high - value)


def _levels(rows: Sequence[Row], of: Course = ACCURACY) -> dict[str, float]:
    """What predictors that are no net reach, by their names."""
    known = {label: percent if of is ACCURACY else loss for label, percent, loss in levels_of(rows)}
    return {label: float(value) for label, value in known.items() if value is not None}


def _draw_levels(axes: Axes, levels: Mapping[str, float]) -> list[tuple[float, float]]:
    """The dashed lines of predictors that are no net; their right ends."""
    for value in levels.values():
        axes.axhline(value, **LINE)
    return [(axes.get_xlim()[1], value) for value in levels.values()]


def _words(line: Line, several: Sequence[Runs]) -> str:
    counts = [len(runs.top1) for runs in several]
    words = f"{_sentence(line.title)}, {pretraining_words(several[0])}, n = {span_of(counts, 'seed')}."
    return f"{words} Dashed: predictors that are no net."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
