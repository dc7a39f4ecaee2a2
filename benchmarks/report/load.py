"""Records as a table for people: numbers as numbers, times as times, one setting unless more is asked for."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract.errors import UserError, nearest
from benchmarks.contract.trial import Trial
from benchmarks.report.alike import (
    ACCURACY_SETTING,
    COST_ALIKE,
    SAME_NET,
    TIMED_ALIKE,
    TUNED_ALIKE,
    comparisons,
    same_rows,
)
from benchmarks.report.choose import best_learning_rates, main_comparison
from benchmarks.report.frame import GROUP, plain, results_frame
from benchmarks.report.tables.summary import summary_table

SETTINGS = ("main", "all")
TIMES = ("started", "ended")


def load_results(folder: Path | str, settings: str = "main") -> pd.DataFrame:
    """A results folder as a table with one row a record, in the order of the records' file names.

    Columns are the fields of the trial, `id`, `status`, `reason`, all of METRICS (NaN where not measured, and for the
    speed of a training run that others went on beside), `label` (the mixer's name in tables and plots), `family`,
    `tokens`, `method`, `flops_unknown`, `machine`, `processor`, `torch`, `commit`, `dirty`, `started`, `ended` (in UTC)
    and `history` (a list of dicts: a row an epoch or a round). A trial that failed is a row with its status and reason.

    >>> from benchmarks import load_results
    >>> frame = load_results("results/published/cifar100-cpu")
    >>> means = frame.groupby("mixer").test_top1_percent.mean()
    >>> float(means["attention"].round(1))
    37.2
    >>> everything = load_results("results/published/cifar100-cpu", settings="all")
    >>> sorted(int(size) for size in everything.patch_size.unique())
    [1, 2, 4, 8]

    Args:
        folder: of the results.
        settings: "main", the setting that the report ranks first: one data set, profile and machine, all mixers trained
            alike, each in its newest version and at its best learning rate, with cost and latency of these nets; where
            nothing was trained, the cost, the latency and the tuning of the setting that most mixers have. "all": every
            record.

    Raises:
        UserError: the folder does not exist, holds no records, or holds something that is no record; or there are no
            such settings.
    """
    if settings not in SETTINGS:
        raise UserError(
            f"settings={settings!r} is not allowed; allowed: 'main' or 'all'.{nearest(str(settings), SETTINGS)}"
        )
    frame = results_frame(folder)
    if settings == "main":
        frame = main_setting(frame)
    return with_dtypes(frame.reset_index(drop=True))


def main_setting(frame: pd.DataFrame) -> pd.DataFrame:
    """The records of the setting that the report ranks first; of several groups the one with most mixers in it."""
    found = [_main_of(group) for _, group in frame.groupby(GROUP, dropna=False, sort=True)]
    trained = [rows for rows in found if (rows["kind"] == "accuracy").any()] or found
    return max(trained, key=lambda rows: (rows["label"].nunique(), len(rows)))


def _main_of(group: pd.DataFrame) -> pd.DataFrame:
    """Of one data set, profile and machine."""
    summary = summary_table(group)
    kept = pd.Series(False, index=group.index)
    if summary.empty:
        for kind, alike in (("cost", COST_ALIKE), ("latency", TIMED_ALIKE), ("tuning", TUNED_ALIKE)):
            rows = group[group["kind"] == kind]
            if len(rows):
                chosen = next(iter(comparisons(rows, alike).values()))
                kept |= (group["kind"] == kind) & group["id"].isin(chosen["id"])
        return group[kept]
    best = best_learning_rates(main_comparison(summary))
    for row in best.to_dict("records"):
        kept |= (group["kind"] == "accuracy") & same_rows(group, row, ["label", *ACCURACY_SETTING])
        kept |= group["kind"].isin(("cost", "latency")) & same_rows(group, row, SAME_NET)
    return group[kept]


def with_dtypes(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with a type for every column: Int64, float64, boolean, string, or a time in UTC."""
    kinds: dict[str, str] = dict.fromkeys(frame.columns.drop([*TIMES, "history"]), "string")
    kinds |= {str(name): "float64" for name in frame if frame[name].dtype == float}
    kinds |= {"tokens": "Int64", "dirty": "boolean"}
    hints = typing.get_type_hints(Trial)
    for name in hints.keys() & kinds.keys():
        kinds[name] = _dtype(hints[name], frame[name])
    typed = frame.assign(**{name: frame[name].map(plain) for name in kinds}).astype(kinds)
    return typed.assign(**{name: pd.to_datetime(frame[name], utc=True, format="ISO8601") for name in TIMES})


def _dtype(hint: Any, values: pd.Series) -> str:
    """Of a field of a trial; an image size is a number unless there is one with two sides, such as "16x32"."""
    allowed = set(typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,))
    if str in allowed and not (int in allowed and all(isinstance(v, int) for v in values if plain(v) is not None)):
        return "string"
    return "boolean" if bool in allowed else "float64" if float in allowed else "Int64"
