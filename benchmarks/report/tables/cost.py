"""Parameters, FLOPs and memory of one group of records, and what failed in it."""

from __future__ import annotations

import pandas as pd

from benchmarks.report.alike import COMPARED
from benchmarks.report.frame import plain, setting_order, table, whole


def cost_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per cost record: parameters, FLOPs in closed form, executed and counted, peak memory."""
    rows = []
    for record in frame[frame["kind"] == "cost"].to_dict("records"):
        names = ["mixer", "label", "family", "status", "reason", "tokens", *COMPARED, "batch_size", "mixer_source"]
        row = {name: plain(record[name]) for name in names}
        counts = ("params", "mixer_params", "flops", "mixer_flops", "flops_executed", "flops_counted")
        row |= {name: whole(record[name]) for name in (*counts, "forward_peak_bytes", "train_peak_bytes")}
        row["flops_unknown"] = plain(record["flops_unknown"])
        row["match_ratio"] = plain(record["match_ratio"])
        rows.append(row)
    return table(rows, lambda r: (*setting_order(r), r["label"]))


def failures_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per record that is not ok."""
    names = [
        "kind",
        "mixer",
        "label",
        "family",
        "status",
        "reason",
        "tokens",
        *COMPARED,
        "seed",
        "compiled",
        "epochs",
        "batch_size",
        "id",
    ]
    rows = [{name: plain(r[name]) for name in names} for r in frame[frame["status"] != "ok"].to_dict("records")]
    return table(rows, lambda r: (r["kind"], *setting_order(r), r["label"], r["seed"], r["id"]))
