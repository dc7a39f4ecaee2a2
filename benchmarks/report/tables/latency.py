"""Latencies of one group of records, and their ratios to copy, floor and attention, each within a round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.ratios import few_sittings, ratio_of
from benchmarks.report.alike import ATTENTION, SWEPT_ALIKE, TIMED_ALIKE, same_rows
from benchmarks.report.choose import (
    attention_beside,
    attention_by_setting,
    common_sittings,
    finished,
    overlap,
    preferred,
    sweep_rows,
    timed_setting,
)
from benchmarks.report.frame import number, plain, rounds, setting_order, sittings, table, whole
from benchmarks.report.sizes import extent_of
from benchmarks.report.stats.intervals import find_crossing, paired_ratios, scaling_exponent

TIMES = {  # column of the history -> its name in tables
    "forward_ms": "net_forward",
    "forward_backward_ms": "net_forward_backward",
    "mixer_forward_ms": "mixer_forward",
    "mixer_forward_backward_ms": "mixer_forward_backward",
}


def latency_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per latency record: times, and the ratios to copy, floor and attention, each taken within a round."""
    timed = frame[frame["kind"] == "latency"].to_dict("records")
    attention = attention_by_setting(timed)
    rows = []
    for record in timed:
        row = {name: plain(record[name]) for name in ("mixer", "label", "family", "status", "reason", "tokens")}
        row |= {name: plain(record[name]) for name in [*TIMED_ALIKE, "batch_size", "rounds", "mixer_source"]}
        for column, name in TIMES.items():
            row[f"{name}_ms"] = plain(record[column])
            row[f"{name}_ms_per_image"] = per_image(record, record[column])
        row["copy_ms"] = plain(record["copy_ms"])
        row |= ratio_columns("mixer_forward_over_copy", ratios(record, record, "mixer_forward_ms", "copy_ms"))
        row |= {name: whole(record[name]) for name in ("mixer_bytes", "mixer_batch_flops", "matmul_flops_per_s")}
        row["floor_ms"] = plain(record["floor_ms"])
        row |= ratio_columns("mixer_forward_over_floor", ratios(record, record, "mixer_forward_ms", "floor_ms"))
        columns, rival = over_attention(record, attention, TIMES)
        row |= columns
        row["timed_with_attention"] = None if rival is None else overlap(record, rival)
        row["sittings"] = len(sittings(record))
        row["sittings_with_attention"] = sittings_with(record, rival)
        for name in ("images_per_s", "train_step_images_per_s", "drift_ratio"):
            row[name] = plain(record[name])
        row["peak_memory_bytes"] = whole(record["peak_memory_bytes"])
        rows.append(row)
    return table(rows, lambda r: (*setting_order(r), r["label"], -(r["rounds"] or 0)))


def ratios(record: Any, other: Any, column: str, other_column: str) -> dict[int, float]:
    """Per-image ratio of two histories by round, of records that were measured to the end."""
    if record["status"] != "ok" or other["status"] != "ok" or plain(record["processor"]) != plain(other["processor"]):
        return {}
    images, other_images = number(record["batch_size"]), number(other["batch_size"])
    common = common_sittings(record, other)
    mine = {r: ms / images for r, ms in rounds(record, column, common).items()}
    theirs = {r: ms / other_images for r, ms in rounds(other, other_column, common).items()}
    return paired_ratios(mine, theirs)


def sittings_with(record: Any, other: Any | None) -> int | None:
    """How many sittings a ratio of two records rests on."""
    if other is None:
        return None
    common = common_sittings(record, other)
    return len(common) if common else min(len(sittings(record)), len(sittings(other)))


def over_attention(
    record: Any | None, attention: Mapping[tuple[Any, ...], Sequence[Any]], times: Iterable[str]
) -> tuple[dict[str, Any], Any | None]:
    """Columns of a record's `times` over attention's in the same round, and the record of attention."""
    rival = None if record is None else attention_beside(attention.get(timed_setting(record), []), record)
    row: dict[str, Any] = {}
    for column in times:
        pairs = {}
        if record is not None and rival is not None and rival["id"] != record["id"]:
            pairs = ratios(record, rival, column, column)
        row |= ratio_columns(f"{TIMES[column]}_over_attention", pairs)
    return row, rival


def ratio_columns(name: str, values: Any) -> dict[str, float | None]:
    """Columns of a ratio with its interval, from ratios by round or from a Ratio."""
    estimate = ratio_of(values) if isinstance(values, dict) else values
    if estimate is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def per_image(record: Any, milliseconds: float) -> float | None:
    value = plain(milliseconds)
    return None if value is None else value / record["batch_size"]


def scaling_table(latency: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """One row per mixer and sweep over sizes: how latency grows with tokens, and where attention is overtaken.

    Args:
        latency: what `latency_table` made of the same frame.
        frame: the group's records.
    """
    rows = []
    ready = finished(frame, "latency")
    extent = extent_of(ready)
    for _, found in sweep_rows(ready).groupby(["label", *SWEPT_ALIKE], dropna=False, sort=False):
        runs = preferred(found).sort_values("tokens", kind="stable").drop_duplicates("tokens")
        if len(runs) < 2:
            continue
        first = runs.iloc[0]
        row = {name: plain(first[name]) for name in ("mixer", "label", "family", *SWEPT_ALIKE)}
        row[extent.column] = " ".join(str(size) for size in runs[extent.field])
        for column, name in TIMES.items():
            by_tokens = {
                r["tokens"]: {k: v / r["batch_size"] for k, v in rounds(r, column).items()} for _, r in runs.iterrows()
            }
            estimate = scaling_exponent({tokens: values for tokens, values in by_tokens.items() if values})
            row |= ratio_columns(f"{name}_exponent", estimate)
        sizes = latency[extent.field].isin(runs[extent.field])
        mine = latency[same_rows(latency, first, ["label", *SWEPT_ALIKE]) & sizes]
        for name in TIMES.values():
            row |= crossing_columns(name, mine, first["mixer"])
        rows.append(row)
    return table(rows, lambda r: (*setting_order(r), r["label"]))


def crossing_columns(name: str, mine: pd.DataFrame, mixer: str) -> dict[str, Any]:
    values = zip(mine["tokens"], mine[f"{name}_over_attention"], strict=True)
    found = None if mixer == ATTENTION else find_crossing({t: v for t, v in values if plain(v) is not None})
    there = mine[f"{name}_over_attention"].map(plain).notna()
    few = few_sittings(min(mine["sittings_with_attention"][there], default=0))
    doubt = f"; {few}, not settled" if few else ""
    return {
        f"{name}_overtakes_attention": None if found is None else f"{found}{doubt}",
        f"{name}_overtakes_attention_tokens": None if found is None else found.tokens,
    }
