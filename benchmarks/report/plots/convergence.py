"""The order of mixers as training goes on, as a plot."""

from __future__ import annotations

import statistics
from pathlib import Path

import pandas as pd
from matplotlib.ticker import FixedLocator, NullLocator

from benchmarks.report.families import mixer_family
from benchmarks.report.plots.figures import label_room, make_figure, plot_style, save_figure
from benchmarks.report.plots.labels import label_ends
from benchmarks.report.plots.style import GREY, NARROW, front_runners, mixer_style, short
from benchmarks.report.plots.words import accuracy_words, grey_words, name
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.tables.convergence import Long, long_runs
from benchmarks.report.wording import clean, span_of


def convergence_plots(evidence: Evidence, folder: Path) -> list[Path]:
    """A plot for each of the comparisons that were trained long; none without."""
    groups = enumerate(long_runs(evidence.sample, evidence.frame))
    found = [convergence_plot(g, evidence.frame, folder, "convergence" + (f"-{i + 1}" if i else "")) for i, g in groups]
    return [path for paths in found for path in paths]


def convergence_plot(group: Long, frame: pd.DataFrame, folder: Path, plot: str) -> list[Path]:
    """Held-out accuracy of each mixer less the mean of all, by epoch; where lines cross, the order changes."""
    mixers, epochs = group.mixers, group.epochs
    middle = {epoch: statistics.fmean(group.mean(mixer, epoch) for mixer in mixers) for epoch in epochs}
    shown = front_runners({mixer: group.mean(mixer, group.last) for mixer in mixers})
    texts = [short(mixer) for mixer in shown]
    with plot_style():
        figure, (axes,) = make_figure(
            NARROW, 2.4, [_caption(group, frame) + grey_words(len(shown), len(mixers))], title=_message(group),
            families=map(mixer_family, shown), right=[label_room(texts)],
        )  # fmt: skip
        ends = []
        for mixer in mixers:
            values = [group.mean(mixer, epoch) - middle[epoch] for epoch in epochs]
            if mixer not in shown:
                axes.plot(epochs, values, **GREY)
                continue
            axes.plot(epochs, values, **mixer_style(mixer), markevery=[epochs.index(e) for e in group.checkpoints])
            ends.append((float(epochs[-1]), values[-1]))
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sorted({epochs[0], *group.checkpoints})))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        axes.margins(x=0.03)
        axes.set_xlim(axes.get_xlim())
        axes.set_ylim(axes.get_ylim())
        axes.set_xlabel("epoch", labelpad=2)
        axes.set_ylabel("held-out top-1 less the mean (points)")
        label_ends(axes, ends, texts, [mixer_style(mixer)["color"] for mixer in shown])
        return save_figure(figure, folder, plot)


def _message(group: Long) -> str:
    """Who was first at the first checkpoint, and who is at the end."""
    early, last = group.checkpoints[0], group.last
    first, end = (min(group.mixers, key=lambda m: (-group.mean(m, epoch), m)) for epoch in (early, last))
    what = accuracy_words(len(of_seeds) for of_seeds in group.curves.values())
    if early == last or first == end:
        return f"{name(end)} has the highest {what} after {span_of([last], 'epoch')}" + (
            f", and had after {early}" if early != last else ""
        )
    return f"{name(first)} has the highest {what} after {span_of([early], 'epoch')}, {name(end)} after {last}"


def _caption(group: Long, frame: pd.DataFrame) -> str:
    first = frame.iloc[0]
    seeds = span_of([len(of_seeds) for of_seeds in group.curves.values()], "seed")
    where = f"{first['dataset']}, {first['profile']} profile, {first['machine']}, {group.words}; n = {seeds}"
    how = "Mean over seeds, less the mean over the mixers; one schedule of the rate over all epochs. Colours: families."
    return clean(f"{where}. {how}")
