"""The order of mixers as training goes on, as a plot."""

from __future__ import annotations

import statistics
from pathlib import Path

import pandas as pd
from matplotlib.ticker import FixedLocator, NullLocator

from benchmarks.report.plots.figures import label_room, make_figure, plot_style, save_figure
from benchmarks.report.plots.labels import label_ends
from benchmarks.report.plots.style import WIDE, mixer_style, short
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.tables.convergence import Long, long_runs
from benchmarks.report.wording import clean, span_of


def convergence_plots(evidence: Evidence, folder: Path) -> list[Path]:
    """A plot for each of the comparisons that were trained long; none without."""
    groups = enumerate(long_runs(evidence.sample, evidence.frame))
    found = [convergence_plot(g, evidence.frame, folder, "convergence" + (f"-{i + 1}" if i else "")) for i, g in groups]
    return [path for paths in found for path in paths]


def convergence_plot(group: Long, frame: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Held-out accuracy of each mixer less the mean of all, by epoch; where lines cross, the order changes."""
    mixers, epochs = group.mixers, group.epochs
    middle = {epoch: statistics.fmean(group.mean(mixer, epoch) for mixer in mixers) for epoch in epochs}
    texts = [short(mixer) for mixer in mixers]
    with plot_style():
        height = max(2.4, 0.115 * len(mixers))
        figure, (axes,) = make_figure(WIDE, height, [_caption(group, frame)], right=[label_room(texts)])
        ends = []
        for mixer in mixers:
            values = [group.mean(mixer, epoch) - middle[epoch] for epoch in epochs]
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
        label_ends(axes, ends, texts, [mixer_style(mixer)["color"] for mixer in mixers])
        return save_figure(figure, folder, name)


def _caption(group: Long, frame: pd.DataFrame) -> str:
    first = frame.iloc[0]
    seeds = span_of([len(of_seeds) for of_seeds in group.curves.values()], "seed")
    where = f"{first['dataset']}, {first['profile']} profile, {first['machine']}, {group.words}; n = {seeds}"
    return clean(f"{where}. Mean over seeds, less the mean over the mixers; one schedule of the rate over all epochs.")
