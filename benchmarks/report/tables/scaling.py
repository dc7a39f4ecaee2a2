"""How latency grows with tokens, and from where on a mixer is faster than attention."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmarks.ratios import few_sittings
from benchmarks.report.alike import ATTENTION, SWEPT_ALIKE, same_rows
from benchmarks.report.choose import preferred, sweep_rows
from benchmarks.report.frame import plain, rounds, setting_order, table
from benchmarks.report.sizes import extent_of
from benchmarks.report.stats.intervals import find_crossing, scaling_exponent
from benchmarks.report.tables.latency import TIMES, ratio_columns


def scaling_table(latency: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """One row per mixer and sweep over sizes: how latency grows with tokens, and where attention is overtaken.

    Args:
        latency: what `latency_table` made of the same frame.
        frame: the group's records.
    """
    rows = []
    ready = frame[(frame["kind"] == "latency") & (frame["status"] == "ok")]
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
