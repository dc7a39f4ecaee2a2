"""Tables of one group of records: one data set, one profile, one machine.

Every function takes the group's frame and returns a table with one row a setting, its columns named with their units. A
trial that failed is a row with its status and reason, and no part of a mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.contract.datasets import main_metric
from benchmarks.contract.fields import DATA, MIXER, NET, RECIPE
from benchmarks.contract.metrics import METRICS
from benchmarks.contract.trial import FACTS, names_of
from benchmarks.ratios import few_sittings, ratio_of
from benchmarks.report.frame import (
    GROUP,
    NET_TIMES,
    TRIAL_FIELDS,
    comparisons,
    number,
    plain,
    rounds,
    row_as_compared,
    sittings,
    size_order,
    square_ones,
)
from benchmarks.report.sizes import SEQUENCES, extent_of
from benchmarks.report.stats.intervals import (
    FAILED,
    find_crossing,
    mean_interval,
    median_interval,
    paired_ratios,
    scaling_exponent,
    too_many_failed,
)
from benchmarks.report.tables.baselines import known_columns

ATTENTION = "attention"
ACCURACY_SETTING = [name for name in TRIAL_FIELDS if name not in ("kind", "seed", "rounds", "compiled")]
TOP1 = "test_top1_percent"
SCORES = ("test_order_percent", "test_matthews", "test_f1", "test_spearman", "test_pearson")  # of text alone
# joins cost and latency, which do not read the data
SAME_NET = ["label", *(name for name in names_of(DATA, NET) if name not in (*GROUP, "dataset_source"))]
# Fields in which what stands in one ranking may differ, and why; it agrees in all others.
APART = {
    "kind": "each has tables of its own",
    **dict.fromkeys(names_of(MIXER), "what is compared; its label tells versions and sources apart"),
    **dict.fromkeys(set(GROUP) & set(TRIAL_FIELDS), "each has a folder of its own"),
    "seed": "a mean is over seeds",
    "match_dim": "counts as `budget` where there are several, see benchmarks.report.frame.budgets",
    "compiled": "of latencies alone, which add it",
    "rounds": "how often something was timed changes its interval alone",
    **{name: "chosen for each mixer by the same search" for name, facts in FACTS.items() if facts.tuned},
}
COMPARED = [name for name, facts in FACTS.items() if name not in APART and facts.role != RECIPE]
# norm and positions chosen for each mixer count as equal; what the width of each was solved for counts as `budget`
COMPARED += ["net", "budget"]
# accuracies that differ in one of these do not share a plot
TRAINED_ALIKE = [*COMPARED, *(name for name in names_of(RECIPE) if name not in APART)]
TIMED_ALIKE = [*COMPARED, "compiled", "processor"]  # latencies that differ in one of these have no ratio
SWEPT_ALIKE = [name for name in TIMED_ALIKE if name not in ("image_size", "length")]  # a sweep over sizes
INTERVAL_COLUMNS = [  # of paired.accuracy_intervals, beside the Student-t interval over seeds
    *("test_top1_percent_resampled_low", "test_top1_percent_resampled_high", "interval_over"),
    *("seed_sd_points", "test_sd_points"),
]
TIMES = {  # column of the history -> its name in tables
    "forward_ms": "net_forward",
    "forward_backward_ms": "net_forward_backward",
    "mixer_forward_ms": "mixer_forward",
    "mixer_forward_backward_ms": "mixer_forward_backward",
}


def summary_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per mixer and trained setting: accuracy over seeds, joined with cost and latency of the same net."""
    trained = frame[frame["kind"] == "accuracy"]
    costs = preferred(frame[frame["kind"] == "cost"])
    latencies = preferred(of_one_processor(frame[frame["kind"] == "latency"]))
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


def best_learning_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a mixer: most seeds first, then the best on held-out images; the test split chooses nothing."""
    order = rows.assign(_n=[-n for n in rows["n"]], _val=[-(plain(v) or 0.0) for v in rows["val_top1_percent_mean"]])
    order = order.sort_values(["_n", "_val", "lr", "label"], kind="stable").drop_duplicates("label")
    return order.sort_values("label", kind="stable").reset_index(drop=True)


def main_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """One row a mixer of the comparison with most of them: what the answers are about."""
    if summary.empty:
        return summary
    best = best_learning_rates(main_comparison(summary))
    return best[best["status"] == "ok"].reset_index(drop=True)


def main_comparison(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of the setting with most mixers, trained alike."""
    return next(iter(comparisons(summary, TRAINED_ALIKE).values()))


def withheld(row: Mapping[Any, Any] | pd.Series) -> bool:
    """Whether so many runs of a row of the summary failed that it is ranked nowhere."""
    return too_many_failed(row["n"], row["n_failed"])


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


def common_sittings(record: Any, other: Any) -> list[str] | None:
    """When the sittings of both began; None where they share none, and are taken in their order."""
    theirs = sittings(other)
    return [start for start in sittings(record) if start in theirs] or None


def sittings_with(record: Any, other: Any | None) -> int | None:
    """How many sittings a ratio of two records rests on."""
    if other is None:
        return None
    common = common_sittings(record, other)
    return len(common) if common else min(len(sittings(record)), len(sittings(other)))


def attention_by_setting(timed: Sequence[Any]) -> dict[tuple[Any, ...], list[Any]]:
    """Attention's finished latency records by what others must share with them to have a ratio."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for record in timed:
        if record["mixer"] == ATTENTION and record["status"] == "ok":
            found.setdefault(timed_setting(record), []).append(record)
    return found


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


def of_one_processor(timed: pd.DataFrame) -> pd.DataFrame:
    """The latency records of that kind of processor that has most of them: times of two kinds stand in no one table."""
    counts = timed["processor"].map(plain).value_counts(dropna=False)
    most = [plain(kind) for kind, count in counts.items() if count == counts.max()]
    return timed[[plain(kind) == min(most, key=str) for kind in timed["processor"]]] if most else timed


def lookup(records: pd.DataFrame, row: pd.Series, fields: Sequence[str] = SAME_NET) -> pd.Series | None:
    found = records[same_rows(records, row, list(fields))]
    return None if found.empty else found.iloc[0]


def same_rows(records: pd.DataFrame, row: Mapping[Any, Any] | pd.Series, fields: list[str]) -> pd.Series:
    left = np.arange(len(records))  # positions that agree in all fields so far: fewer with each
    for name in fields:
        wanted, values = plain(row[name]), records[name].to_numpy()[left]
        left = left[pd.isna(values) if wanted is None else np.asarray(values == wanted, dtype=bool)]
    same = pd.Series(False, index=records.index)
    same.iloc[left] = True
    return same


def estimate_columns(name: str, estimate: Any) -> dict[str, float | None]:
    if estimate is None:
        return dict.fromkeys((f"{name}_mean", f"{name}_low", f"{name}_high"))
    return {f"{name}_mean": estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def ratio_columns(name: str, values: Any) -> dict[str, float | None]:
    """Columns of a ratio with its interval, from ratios by round or from a Ratio."""
    estimate = ratio_of(values) if isinstance(values, dict) else values
    if estimate is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def per_image(record: Any, milliseconds: float) -> float | None:
    value = plain(milliseconds)
    return None if value is None else value / record["batch_size"]


def middle(values: pd.Series) -> float | None:
    estimate = median_interval(values.dropna())
    return None if estimate is None else estimate.value


def whole(value: Any) -> int | None:
    """A count as the integer it is, so that a CSV does not say 65536.0."""
    value = plain(value)
    return None if value is None else round(value)


def setting_order(row: dict[str, Any]) -> tuple[Any, ...]:
    size = size_order(row["image_size"]) if "image_size" in row else ()
    rest = [
        str(row[name])
        for name in ("match", "norm", "positions", "coordinates", "precision", "compiled", "device")
        if name in row
    ]
    size = (*size, row.get("length") or 0)
    return (row["patch_size"] or 0, size, row["depth"], *rest, row["dim"], row["threads"])


def table(rows: list[dict[str, Any]], order: Any) -> pd.DataFrame:
    rows = sorted(rows, key=lambda row: (order(row), repr(sorted(row.items(), key=lambda item: item[0]))))
    names = list(rows[0]) if rows else []
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in names})
