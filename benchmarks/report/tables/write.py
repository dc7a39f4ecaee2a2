"""Tables as files: CSV in full precision for programs, Markdown for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from benchmarks.contract.record import write_texts
from benchmarks.report.alike import ACCURACY_SETTING
from benchmarks.report.baselines import with_standing
from benchmarks.report.choose import finished
from benchmarks.report.frame import CSV_NAMES, without_usual
from benchmarks.report.stats import processors
from benchmarks.report.stats.decomposition import decomposition_table
from benchmarks.report.stats.paired import Sample
from benchmarks.report.stats.pooled import effects_table
from benchmarks.report.tables.differences import accuracy_intervals, paired_table
from benchmarks.report.tables.latency import latency_table, scaling_table
from benchmarks.report.tables.summary import cost_table, failures_table, summary_table, with_intervals
from benchmarks.report.tables.tuning import tuning_table
from benchmarks.report.tables.view import View
from benchmarks.report.tables.views import beside_compiled, view_of
from benchmarks.report.wording import clean, csv_text, listing, markdown, span_of


def table_files(tables: Mapping[str, pd.DataFrame], frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes all tables of one group into `folder`; returns the paths.

    Args:
        tables: of `make_tables`.
        frame: the group's records.
        folder: where the files go.
    """
    paths = []
    for name, table in tables.items():
        if table.empty:
            continue
        numbers = csv_text(without_usual(table).rename(columns=CSV_NAMES))
        paths += write_texts(folder, {f"{name}.csv": numbers, f"{name}.md": people(name, table, frame)})
    return paths


def make_tables(frame: pd.DataFrame, sample: Sample) -> dict[str, pd.DataFrame]:
    """The tables of one group by name, those without rows included."""
    latency = latency_table(frame)
    return {
        "summary": with_standing(with_intervals(summary_table(frame), accuracy_intervals(sample))),
        "differences": paired_table(sample),
        "effects": effects_table(sample),
        "decomposition": decomposition_table(sample),
        "tuning": tuning_table(frame),
        "latency": latency,
        "scaling": scaling_table(latency, frame),
        "cost": cost_table(frame),
        "failures": failures_table(frame),
    }


def people(name: str, table: pd.DataFrame, frame: pd.DataFrame) -> str:
    """One table in Markdown: a title, a caption with what all rows share, the rows."""
    view = view_for_files(name, table, caption(name, frame))
    lines = "\n".join(markdown(line) for line in (view.source, view.shared, view.note) if line)
    return f"# {view.title}\n\n{lines}\n\n{view.markdown}"


def view_for_files(name: str, table: pd.DataFrame, source: str) -> View:
    """As `view_of`, with eager and compiled latencies side by side; `source` as `caption` says it."""
    view = view_of(name, table, source)
    return beside_compiled(view) if name == "latency" else view


def caption(name: str, frame: pd.DataFrame) -> str:
    """Data set, profile, machine, versions and counts behind one table, in one line."""
    first = frame.iloc[0]
    words = [
        first["dataset"],
        f"{first['profile']} profile",
        clean(first["machine"]),
        f"torch {listing(sorted(set(frame['torch'].map(str))))}",
    ]
    kinds = processors.sentences(frame) if name in ("summary", "differences", "effects", "decomposition") else []
    kinds += processors.times_sentence(frame) if name == "summary" else []
    return "; ".join([", ".join(words), *counts(name, frame), *kinds]) + "."


def counts(name: str, frame: pd.DataFrame) -> list[str]:
    """How often what was measured, as far as a table shows it: "n = 3 seeds, 4 epochs"."""
    trained = finished(frame, "accuracy")
    timed = finished(frame, "latency")
    words = []
    if name == "summary" and len(trained):
        seeds = trained.groupby(["label", *ACCURACY_SETTING], dropna=False).size()
        words.append(f"n = {span_of(seeds, 'seed')}, {span_of(trained['epochs'], 'epoch')}")
    if name in ("summary", "latency", "scaling") and len(timed):
        words.append(f"times: n = {span_of([len(history) for history in timed['history']], 'round')}")
    return words
