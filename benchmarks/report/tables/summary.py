"""The summary of one group of records: one data set, one profile, one machine; accuracy beside cost and latency.

As in all tables of a group a row is a setting, the columns are named with their units, and a trial that failed is a row
with its status and reason, and no part of a mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.contract.facts.datasets import main_metric
from benchmarks.contract.facts.metrics import METRICS
from benchmarks.ratios import ratio_of
from benchmarks.report.alike import ACCURACY_SETTING, COMPARED, SAME_NET, TRAINED_ALIKE, comparisons
from benchmarks.report.baselines import known_columns
from benchmarks.report.choose import FAILED, TOP1, attention_by_setting, lookup, preferred, preferred_latencies
from benchmarks.report.frame import NET_TIMES, plain, setting_order, table, whole
from benchmarks.report.stats.intervals import mean_interval, middle
from benchmarks.report.tables.latency import TIMES, over_attention, per_image, ratios, sittings_with

OF_MOST = (TOP1, "test_top5_percent")  # scores that are columns of every summary
BETTER = [name for name, facts in METRICS.items() if name.startswith("test_") and facts.better == "higher"]
SCORES = [name for name in BETTER if name not in OF_MOST]  # columns where there are any
INTERVAL_COLUMNS = [  # of paired.accuracy_intervals, beside the Student-t interval over seeds
    *("test_top1_percent_resampled_low", "test_top1_percent_resampled_high", "interval_over"),
    *("seed_sd_points", "test_sd_points"),
]


def summary_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per mixer and trained setting: accuracy over seeds, joined with cost and latency of the same net."""
    trained = frame[frame["kind"] == "accuracy"]
    costs = preferred(frame[frame["kind"] == "cost"])
    latencies = preferred_latencies(frame)
    attention = attention_by_setting(latencies.to_dict("records"))
    baselines = known_columns(trained)
    scores = [name for name in SCORES if trained[name].notna().any()]
    rows = []
    for _, found in trained.groupby(["label", *ACCURACY_SETTING], dropna=False, sort=False):
        runs = found.sort_values(["seed", "id"], kind="stable")
        first = runs.iloc[0]
        ok, failed = runs[runs["status"] == "ok"], runs[runs["status"] != "ok"]
        failures = zip(failed["seed"], failed["status"], failed["reason"], strict=True)
        row = {"mixer": first["mixer"], "label": first["label"], "family": first["family"], "tokens": first["tokens"]}
        row |= {name: plain(first[name]) for name in (*ACCURACY_SETTING, "net", "budget") if name != "mixer"}
        row |= {
            "status": "ok" if len(ok) else first["status"],
            "reason": None if len(ok) else plain(first["reason"]),
            "n": len(ok),
            "seeds": " ".join(str(seed) for seed in ok["seed"]),
            "failed": "; ".join(f"seed {seed}: {status} ({why})" for seed, status, why in failures) or None,
            "n_failed": int(failed["status"].isin(FAILED).sum()),
            "processors": "; ".join(sorted({kind for kind in ok["processor"] if plain(kind)})) or None,
        }
        for name in ("test_top1_percent", "test_top5_percent", "val_top1_percent", "test_loss", *scores):
            row |= estimate_columns(name, mean_interval(ok[name].dropna()))
        row |= {name: middle(ok[name]) for name in baselines}
        row["train_images_per_s"] = middle(ok["train_images_per_s"])
        row["match_ratio"] = middle(ok["match_ratio"])
        row |= cost_columns(lookup(costs, first, [*SAME_NET, "residual"]), ok) | latency_columns(
            lookup(latencies, first), attention
        )
        rows.append(row)
    score = f"{main_metric(str(frame['dataset'].iloc[0]))}_mean" if "test_spearman" in scores else f"{TOP1}_mean"
    ranked = table(rows, lambda r: (-(r[score] or -1.0), r["label"], *setting_order(r)))
    # mixers are ranked among those that only differ in the mixer, the comparison with most of them first
    return ranked if ranked.empty else pd.concat(comparisons(ranked, TRAINED_ALIKE).values(), ignore_index=True)


def with_intervals(summary: pd.DataFrame, intervals: pd.DataFrame) -> pd.DataFrame:
    """The summary with the intervals over seeds and test images beside it.

    Args:
        summary: what `summary_table` made of a frame.
        intervals: what `paired.accuracy_intervals` made of the same frame; rows without a finished run have none.
    """
    if summary.empty:
        return summary
    found = {_setting_key(row): row for row in intervals.to_dict("records")}
    rows = [found.get(_setting_key(row), {}) for row in summary.to_dict("records")]
    extra = {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in INTERVAL_COLUMNS}
    return pd.concat([summary, pd.DataFrame(extra)], axis=1)


def _setting_key(row: Any) -> tuple[Any, ...]:
    return tuple(plain(row[name]) for name in ("label", *ACCURACY_SETTING))


def cost_columns(cost: pd.Series | None, trained: pd.DataFrame) -> dict[str, Any]:
    names = ("params", "mixer_params", "flops", "mixer_flops", "flops_executed")
    row = {"cost_status": None if cost is None else cost["status"]}
    row |= {name: None if cost is None else whole(cost[name]) for name in names}
    if row["params"] is None:
        row["params"] = whole(middle(trained["params"]))
    return row


def latency_columns(timed: pd.Series | None, attention: Mapping[tuple[Any, ...], Sequence[Any]]) -> dict[str, Any]:
    """Columns of the net's latency, its ratios to attention's among them; `attention` by `attention_by_setting`."""
    names = ["images_per_s", "train_step_images_per_s", "peak_memory_bytes"]
    times = [f"{TIMES[column]}_ms_per_image" for column in NET_TIMES]
    how = ["latency_batch_size", "latency_precision", "latency_compiled", "latency_sittings"]
    row: dict[str, Any] = dict.fromkeys(["latency_status", *times, *names, "copy_ratio", *how])
    columns, rival = over_attention(timed, attention, NET_TIMES)
    row |= columns
    if timed is None:
        return row
    over_copy = ratio_of(ratios(timed, timed, "mixer_forward_ms", "copy_ms"))
    row["copy_ratio"] = None if over_copy is None else over_copy.value
    row["latency_sittings"] = sittings_with(timed, rival)
    row["latency_status"] = timed["status"]
    for column in NET_TIMES:
        row[f"{TIMES[column]}_ms_per_image"] = per_image(timed, timed[column])
    row |= {name: plain(timed[name]) for name in names}
    row["peak_memory_bytes"] = whole(timed["peak_memory_bytes"])
    return row | {
        "latency_batch_size": plain(timed["batch_size"]),
        "latency_precision": timed["precision"],
        "latency_compiled": bool(timed["compiled"]),
    }


def estimate_columns(name: str, estimate: Any) -> dict[str, float | None]:
    if estimate is None:
        return dict.fromkeys((f"{name}_mean", f"{name}_low", f"{name}_high"))
    return {f"{name}_mean": estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


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
