"""Plots of one group of records, each as PNG and SVG."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.report.plots.accuracy import accuracy_plots
from benchmarks.report.plots.figures import plot_style
from benchmarks.report.plots.latency import latency_plots


def make_plots(tables: dict[str, pd.DataFrame], frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes every plot for which there are records.

    Args:
        tables: the group's tables by name.
        frame: its records.
        folder: where the files go.

    Returns:
        The paths written.
    """
    with plot_style():
        paths = accuracy_plots(tables["summary"], frame, folder)
        return paths + latency_plots(tables["latency"], tables["scaling"], frame, folder)
