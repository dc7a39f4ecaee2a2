"""Which records and rows are shown: every rule of choice of tables, plots and the page, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.contract.facts.datasets import main_metric
from benchmarks.contract.facts.metrics import METRICS
from benchmarks.report.alike import (
    ACCURACY_SETTING,
    ATTENTION,
    SAME_NET,
    SWEPT_ALIKE,
    TIMED_ALIKE,
    TRAINED_ALIKE,
    as_compared,
    comparisons,
    held_equal,
    row_as_compared,
    same_rows,
)
from benchmarks.report.baselines import at_baseline
from benchmarks.report.frame import plain, sittings, square_ones
from benchmarks.report.sizes import SEQUENCES, extent_of

TOP1 = "test_top1_percent"
FAILED = ("diverged", "oom", "timeout", "error")  # statuses of runs that did not end; unsupported is an answer


def too_many_failed(finished: int, failed: int) -> bool:
    """Whether a third or more of the runs failed: what is left may be the lucky ones, and no verdict rests on them."""
    return failed > 0 and 3 * failed >= finished + failed


def by_main_metric(summary: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The summary as rankings read it, and what its score is called: top-1, or of a task that asks for a number its
    correlation, in place of it.
    """
    name = TOP1 if summary.empty else main_metric(str(summary["dataset"].iloc[0]))
    if name == TOP1 or f"{name}_mean" not in summary:
        return summary, "top-1 (%)"
    return summary.assign(**{f"{TOP1}_{e}": summary[f"{name}_{e}"] for e in ("mean", "low", "high")}), METRICS[
        name
    ].label


def finished(records: pd.DataFrame, kind: str | None = None) -> pd.DataFrame:
    """The rows, or the records of a kind, that were measured to the end."""
    ok = records["status"] == "ok"
    return records[ok if kind is None else ok & (records["kind"] == kind)]


def runs_of(row: Mapping[Any, Any] | pd.Series, records: pd.DataFrame) -> pd.DataFrame:
    """Those of some accuracy records, one a seed, that a row of the summary is about."""
    return records[same_rows(records, row, ["label", *ACCURACY_SETTING])]


def best_learning_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a mixer, of its newest version: most seeds first, then the best on held-out images.

    The test split chooses nothing.
    """
    rows = rows[rows["mixer_version"] == rows.groupby("mixer")["mixer_version"].transform("max")]
    order = rows.assign(_n=[-n for n in rows["n"]], _val=[-(plain(v) or 0.0) for v in rows["val_top1_percent_mean"]])
    order = order.sort_values(["_n", "_val", "lr", "label"], kind="stable").drop_duplicates("label")
    return order.sort_values("label", kind="stable").reset_index(drop=True)


def best_of_settings(summary: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """One row a mixer for each setting that shares a ranking, as `comparisons` orders and names them."""
    parts = comparisons(summary, TRAINED_ALIKE) if len(summary) else {}
    return {suffix: best_learning_rates(rows) for suffix, rows in parts.items()}


def ranked(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the summary, the most accurate first; behind them what has not left its baseline, then what is withheld.

    Columns `_withheld` and `_stuck` say which these are.
    """
    order = rows.assign(
        _withheld=[withheld(row) for row in rows.to_dict("records")],
        _stuck=[at_baseline(row) for row in rows.to_dict("records")],
        _top1=[-(plain(mean) or -1.0) for mean in rows["test_top1_percent_mean"]],
    )
    return order.sort_values(["_withheld", "_stuck", "_top1", "label"], kind="stable")


def main_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """One row a mixer of the comparison with most of them: what the answers are about."""
    if summary.empty:
        return summary
    return finished(best_learning_rates(main_comparison(summary))).reset_index(drop=True)


def main_comparison(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of the setting with most mixers, trained alike."""
    return next(iter(comparisons(summary, TRAINED_ALIKE).values()))


def withheld(row: Mapping[Any, Any] | pd.Series) -> bool:
    """Whether so many runs of a row of the summary failed that it is ranked nowhere."""
    return too_many_failed(row["n"], row["n_failed"])


def common_sittings(record: Any, other: Any) -> list[str] | None:
    """When the sittings of both began; None where they share none, and are taken in their order."""
    theirs = sittings(other)
    return [start for start in sittings(record) if start in theirs] or None


def attention_by_setting(timed: Sequence[Any]) -> dict[tuple[Any, ...], list[Any]]:
    """Attention's finished latency records by what others must share with them to have a ratio."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for record in timed:
        if record["mixer"] == ATTENTION and record["status"] == "ok":
            found.setdefault(timed_setting(record), []).append(record)
    return found


def timed_setting(record: Any) -> tuple[Any, ...]:
    """What two latencies must have in common to have a ratio."""
    record = row_as_compared(record)
    return tuple(plain(record[f]) if f != "dim" or record["match"] == "width" else None for f in TIMED_ALIKE)


def attention_beside(rivals: Sequence[Any], record: Any) -> Any | None:
    """Of attention's records in the same setting the one timed with the same batch and at the same time."""
    return min(
        rivals,
        key=lambda r: (
            -r["mixer_version"],
            r["batch_size"] != record["batch_size"],
            not overlap(record, r),
            -len(sittings(r)),
            -(r["rounds"] or 0),
            r["id"],
        ),
        default=None,
    )


def overlap(record: Any, other: Any) -> bool:
    """Whether two records share a sitting, so that a round of one is a round of the other."""
    return common_sittings(record, other) is not None


def sweep_rows(timed: pd.DataFrame) -> pd.DataFrame:
    """The latency rows of the sweep over sizes: sequences of what was timed at several lengths, or square images of one
    patch size.
    """
    square = square_ones(timed)
    if extent_of(timed) is SEQUENCES:
        return square[square.groupby("label")["length"].transform("nunique") > 1]
    return square[square["patch_size"] == sweep_patch(square)]


def sweep_patch(square: pd.DataFrame) -> int | None:
    """The patch size of the sweep over image sizes: single pixels, else the one with the most sizes.

    The nets of the accuracy runs, timed too, make no sweep of their own.
    """
    sizes = square.groupby("patch_size")["image_size"].nunique()
    if sizes.empty or sizes.max() < 2:
        return None
    return 1 if sizes.get(1, 0) > 1 else min(patch for patch in sizes.index if sizes[patch] == sizes.max())


def preferred(records: pd.DataFrame) -> pd.DataFrame:
    """What was measured before what failed, then eager float32, then the most sittings, then the most rounds."""
    order = records.assign(
        _failed=records["status"] != "ok",
        _compiled=[bool(value) for value in records["compiled"]],
        _reduced=[value != "float32" for value in records["precision"]],
        _sittings=[-len(sittings(row)) for row in records[["history", "started"]].to_dict("records")],
        _rounds=[-(plain(value) or 0) for value in records["rounds"]],
    )
    by = ["_failed", "_compiled", "_reduced", "threads", "_sittings", "_rounds", "batch_size", "id"]
    return order.sort_values(by, kind="stable")


def preferred_latencies(records: pd.DataFrame) -> pd.DataFrame:
    """The latency records of one kind of processor, those first that stand for their net."""
    return preferred(of_one_processor(records[records["kind"] == "latency"]))


def of_one_processor(timed: pd.DataFrame) -> pd.DataFrame:
    """The latency records of that kind of processor that has most of them: times of two kinds stand in no one table."""
    counts = timed["processor"].map(plain).value_counts(dropna=False)
    most = [plain(kind) for kind, count in counts.items() if count == counts.max()]
    return timed[[plain(kind) == min(most, key=str) for kind in timed["processor"]]] if most else timed


def lookup(records: pd.DataFrame, row: pd.Series, fields: Sequence[str] = SAME_NET) -> pd.Series | None:
    found = records[same_rows(records, row, list(fields))]
    return None if found.empty else found.iloc[0]


def sweeps(latency: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The sweeps over sizes, by suffix for a file name."""
    rows = sweep_rows(latency) if len(latency) else latency
    if rows.empty:
        return {}
    size = extent_of(latency).field
    found = comparisons(rows.reset_index(drop=True), SWEPT_ALIKE)
    return {suffix: rows for suffix, rows in found.items() if finished(rows)[size].nunique() > 1}


def timed_in(sweep: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """The finished latency records behind the rows of a sweep."""
    first = sweep.iloc[0]
    same = same_rows(as_compared(records), row_as_compared(first), held_equal(SWEPT_ALIKE, first))
    return finished(records[same], "latency")


def once_a_size(sweep: pd.DataFrame) -> pd.DataFrame:
    """The finished rows of a sweep, one a mixer and size."""
    ready = finished(sweep).sort_values(["label", "tokens"], kind="stable")
    return ready.drop_duplicates(["label", extent_of(sweep).field])


def patch_sweeps(summary: pd.DataFrame) -> list[pd.DataFrame]:
    """Finished rows of settings that differ in the patch size alone; first where most patches have several mixers."""
    found = [finished(rows).reset_index(drop=True) for _, rows in rows_by(summary, "patch_size")]
    return sorted(found, key=lambda rows: -int((rows.groupby("patch_size")["label"].nunique() > 1).sum()))


def scaling_row(label: str, scaling: pd.DataFrame, rows: pd.DataFrame) -> pd.Series | None:
    mine = rows[rows["label"] == label].iloc[0]
    found = scaling[same_rows(scaling, mine, ["label", *SWEPT_ALIKE])] if len(scaling) else scaling
    return None if found.empty else found.iloc[0]


def rows_by(summary: pd.DataFrame, column: str, *others: str) -> list[tuple[str, pd.DataFrame]]:
    """Rows of settings that differ in one column alone, or in the others with it, where it has two values or more.

    Returns:
        The suffix that tells such settings from the usual ones, and their rows, each mixer at its best learning rate.
    """
    alike = [name for name in TRAINED_ALIKE if name not in (column, *others, "batch_size")]
    found = []
    for suffix, rows in comparisons(summary, alike).items() if len(summary) else ():
        parts = [comparisons(mine, TRAINED_ALIKE) for _, mine in rows.groupby(column, sort=True)]
        if not parts:
            continue
        ready = pd.concat([best_learning_rates(next(iter(part.values()))) for part in parts], ignore_index=True)
        if finished(ready)[column].nunique() > 1:
            found.append((suffix, ready))
    return found


def rows_by_length(summary: pd.DataFrame) -> list[pd.DataFrame]:
    """One row a mixer of the comparison with most of them, for each length that nets were trained at."""
    found: dict[int, pd.DataFrame] = {}
    for best in best_of_settings(summary).values():
        ready = finished(best).reset_index(drop=True)
        if len(ready):
            found.setdefault(int(ready.iloc[0]["length"]), ready)
    return list(found.values())
