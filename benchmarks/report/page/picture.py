"""The picture: accuracy against a cost, and for every budget the best mixer within it, by the statistics of the tables.

The page's script only looks up what is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.contract.facts.metrics import METRICS
from benchmarks.ratios import few_sittings
from benchmarks.report.alike import ATTENTION, SWEPT_ALIKE, USUAL, comparisons, row_as_compared
from benchmarks.report.baselines import UNJUDGED, baselines_of, highest_words
from benchmarks.report.choose import (
    best_of_settings,
    by_main_metric,
    finished,
    once_a_size,
    preferred_latencies,
    sweeps,
)
from benchmarks.report.commands import latency_command, train_command
from benchmarks.report.frame import plain
from benchmarks.report.notes import STATUS_WORDS, caption, holes
from benchmarks.report.page.answers import clearly_faster
from benchmarks.report.page.charts import LATENCY, TOP1, curves, look, seeds_of, significant_value
from benchmarks.report.page.headlines import mean_with_interval
from benchmarks.report.plots.accuracy import time_interval
from benchmarks.report.sizes import SEQUENCES, extent_of, row_extent, size_words, worded
from benchmarks.report.stats.leader import contenders, leader
from benchmarks.report.stats.paired import Sample
from benchmarks.report.wording import clean, failed_words, metric, percent_within, ranged, significant, span_of

MEMORY = "peak_memory_bytes"
COSTS = (  # column of the summary, metric, what the chooser calls it, unit of a budget
    (LATENCY, "forward_ms", "latency, forward", "ms per image"),
    ("net_forward_backward_ms_per_image", "forward_backward_ms", "latency, training step", "ms per image"),
    ("flops", "flops", "FLOPs, forward", "FLOPs per image"),
    ("params", "params", "parameters", "parameters"),
    (MEMORY, "peak_memory_bytes", "peak memory", "MB"),
)
TIMES = (LATENCY, "net_forward_backward_ms_per_image")


def settings(sample: Sample, frame: pd.DataFrame, summary: pd.DataFrame) -> list[dict[str, Any]]:
    """The comparisons of nets trained alike, that with most mixers first: points, curves, and the best by budget.

    Args:
        sample: the trained nets of the frame.
        frame: records of one data set, profile and machine.
        summary: made of the frame.
    """
    if summary.empty:
        return []
    summary, score = by_main_metric(summary)
    of_numbers = not score.startswith("top-1")
    found = []
    parts = best_of_settings(summary)
    titles = setting_titles([best.iloc[0] for best in parts.values()])
    for title, (suffix, best) in zip(titles, parts.items(), strict=True):
        ready = finished(best).reset_index(drop=True)
        missing = {r["label"]: str(r["status"]) for _, r in best.iterrows() if r["status"] != "ok"}
        baselines = baselines_of(ready) if len(ready) else {}
        found.append(
            {
                "key": suffix,
                "title": title,
                "caption": " ".join([caption(frame, ready if len(ready) else best), *holes(missing)]),
                "score": f"test {score}",
                **({"undecided": f"Which has the highest {score} is not judged here."} if of_numbers else {}),
                "missing": [f"{clean(label)} ({STATUS_WORDS.get(why, why)})" for label, why in sorted(missing.items())],
                "points": [point(row) for row in ready.to_dict("records")],
                "costs": costs(sample, ready, of_numbers),
                "curves": curves(frame, ready),
                **({"baselines": list(baselines.items())} if baselines else {}),
                **({"highest": highest_words(ready.iloc[0])} if baselines else {}),
            }
        )
    return found


def setting_titles(rows: Sequence[Mapping[Any, Any] | pd.Series]) -> list[str]:
    """ "32 px, patch 4, 64 tokens, dim 64, 5 epochs, norm token", of a row of each setting; what all share left out."""
    compared = [row_as_compared(row) for row in rows]
    told = [name for name in (*USUAL, "residual") if name not in ("match", "compiled")]
    told = [name for name in told if len({str(plain(row.get(name))) for row in compared}) > 1]
    return [_title(row, told) for row in compared]


def _title(row: Mapping[Any, Any], told: Sequence[str]) -> str:
    sequences = row_extent(row) is SEQUENCES
    words = [size_words(row), *([] if sequences else [f"{row['tokens']:,} tokens"])]
    words += [f"dim {row['dim']}" if row["match"] == "width" else f"equal {row['match']}"]
    words += [span_of([row["epochs"]], "epoch")]
    values = {name: plain(row.get(name)) for name in told}
    shown = {name: value for name, value in values.items() if value is not None and value != USUAL.get(name)}
    words += [f"no {name}" if value is False else f"{name.replace('_', ' ')} {value}" for name, value in shown.items()]
    return ", ".join(words)


def point(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One mixer: where it stands in the picture, and its numbers in words."""
    low, high = (plain(row[f"{TOP1.removesuffix('mean')}{end}"]) for end in ("low", "high"))
    words = mean_with_interval(pd.Series(dict(row)))
    failed = failed_words(row["n"], row["n_failed"])
    numbers = [
        f"{words}, n = {span_of([row['n']], 'seed')}" + (f", {failed}" if failed else ""),
        f"{time_words(row, 'net_forward', 'forward')}, {time_words(row, 'net_forward_backward', 'forward + backward')}",
        f"{metric('params', row['params'])} parameters, {metric('flops', row['flops'])} FLOPs, "
        f"{metric('peak_memory_bytes', row['peak_memory_bytes'])} MB peak",
    ]
    intervals = {key: time_interval(row, key) for key in TIMES}
    return look(row["label"]) | {
        "family": row["family"],
        "y": significant_value(float(row[TOP1])),
        "between": None if low is None else [round(percent_within(float(end)), 3) for end in (low, high)],
        "values": {key: _scaled(row[key], METRICS[name].scale) for key, name, *_ in COSTS},
        "intervals": {key: ends for key, ends in intervals.items() if ends is not None},
        "numbers": [worded(text, row_extent(row)) for text in numbers],
        "command": train_command(row, seeds_of(row)),
    }


def time_words(row: Mapping[Any, Any], name: str, words: str) -> str:
    """ "0.482 ms per image forward (0.702 (0.583-0.961) of attention's, one sitting)"."""
    ratio, low, high = (row.get(f"{name}_over_attention{end}") for end in ("", "_low", "_high"))
    few = few_sittings(plain(row.get("latency_sittings")) or 0)
    inside = ", ".join(filter(None, [f"{ranged(ratio, low, high)} of attention's", few]))
    beside = "" if plain(ratio) is None else f" ({inside})"
    return f"{significant(row[f'{name}_ms_per_image'])} ms per image {words}{beside}"


def costs(sample: Sample, rows: pd.DataFrame, of_numbers: bool) -> list[dict[str, Any]]:
    """What there is of each cost: the best mixer for every budget, and who is no contender and why.

    Args:
        sample: the trained nets.
        rows: of the summary, one a mixer of one setting.
        of_numbers: whether the task asks for a number: of correlations no best is decided here.
    """
    found, extent = [], extent_of(rows)
    for column, _, label, unit in COSTS:
        field = contenders(rows, column)
        if not field.known:
            continue
        sittings = [plain(row.get("latency_sittings")) or 0 for row in field.known]
        few = few_sittings(min(sittings)) if column in TIMES else ""
        found.append(
            {
                "key": column,
                "label": worded(label, extent),
                "unit": worded(unit, extent),
                "steps": [] if of_numbers else steps(sample, rows, field.ready, column),
                "failed": _labels(field.failed),
                "stuck": _labels(field.stuck),
                "unjudged": _labels([row for row in field.known if plain(row.get("standing")) == UNJUDGED]),
                "few": [f"{clean(row['label'])} ({span_of([row['n']], 'seed')})" for row in field.few],
                "doubt": f"Times are of {few}: another may order them otherwise." if few else "",
            }
        )
    return found


def steps(sample: Sample, rows: pd.DataFrame, ready: Sequence[pd.Series], column: str) -> list[list[Any]]:
    """Of each budget at which the answer changes: cost, place of the best, `Leader.outcome`, places level with it, n.

    Places are those in `rows`.
    """
    places = {label: i for i, label in enumerate(rows["label"])}
    scale = next(METRICS[name].scale for key, name, *_ in COSTS if key == column)
    order = sorted(ready, key=lambda row: (row[column], row["label"]))
    found: list[list[Any]] = []
    for i, row in enumerate(order, 1):
        if i < len(order) and order[i][column] == row[column]:
            continue
        lead = leader(sample, order[:i])
        assert lead is not None  # each has an accuracy
        level = [places[label] for label in lead.level]
        answer = [places[lead.label], lead.outcome, level, lead.n]
        if not found or found[-1][1:] != answer:
            found.append([_scaled(row[column], scale), *answer])
    return found


def timed_sizes(frame: pd.DataFrame, latency: pd.DataFrame, untrained: bool) -> list[dict[str, Any]]:
    """The sizes of the sweeps as pictures of their own, of time and memory alone: nothing was trained there.

    Args:
        frame: records of one data set, profile and machine.
        latency: made of the frame.
        untrained: whether nothing was trained at all, so that what was timed at a single size counts too.
    """
    found, records, extent = [], preferred_latencies(frame), extent_of(latency)
    ready = finished(latency).reset_index(drop=True) if len(latency) else latency
    alone = list(comparisons(ready, SWEPT_ALIKE).items())[:1] if untrained and len(ready) else []
    parts = sweeps(latency) or dict(alone)
    for suffix, rows in parts.items():
        for _, mine in once_a_size(rows).groupby("tokens", sort=True):
            known = sorted(mine.to_dict("records"), key=lambda row: (row[LATENCY], row["label"]))
            best = known[0]
            level = [i for i, row in enumerate(known[1:], 1) if not clearly_faster(best, row, records)]  # type: ignore[arg-type]
            few = few_sittings(min(row["sittings"] for row in known))
            tokens, words = f"{best['tokens']:,} tokens", size_words(best)
            sized = tokens if row_extent(best) is SEQUENCES else f"{tokens} ({words})"
            found.append(
                {
                    "key": "-".join(filter(None, ["timed", suffix, str(best["tokens"])])),
                    "title": sized + (f", {suffix}" if suffix else ""),
                    "tokens": sized,
                    "caption": f"Time and memory of nets that were not trained at this size: {sized}. "
                    + f"{clean(best['machine']) if 'machine' in best else clean(frame.iloc[0]['machine'])}.",
                    "points": [timed_point(row) for row in known],
                    "costs": [
                        {"key": key, "label": worded(label, extent), "unit": worded(unit, extent)}
                        for key, _, label, unit in COSTS
                        if key in (*TIMES, MEMORY) and any(plain(row[key]) is not None for row in known)
                    ],
                    "level": [clean(known[i]["label"]) for i in level],
                    "doubt": f"timed in {few}, so that nothing is called faster" if few else "",
                    "attention": next((i for i, row in enumerate(known) if row["label"] == ATTENTION), None),
                }
            )
    return found


def timed_point(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One net that was timed."""
    extent = row_extent(row)
    numbers = [
        f"{significant(row[LATENCY])} ms per image forward, "
        f"{significant(row['net_forward_backward_ms_per_image'])} ms forward + backward",
        f"{metric(MEMORY, row[MEMORY])} MB peak, batch of {row['batch_size']}",
    ]
    return look(row["label"]) | {
        "family": row["family"],
        "values": {key: _scaled(row[key], METRICS[name].scale) for key, name, *_ in COSTS if key in row},
        "intervals": {},
        "numbers": [worded(text, extent) for text in numbers],
        "command": latency_command(row, [row[extent.field]]),
    }


def _labels(rows: Sequence[pd.Series]) -> list[str]:
    return [clean(row["label"]) for row in rows]


def _scaled(value: Any, scale: float) -> float | None:
    value = plain(value)
    return None if value is None else significant_value(float(value) * scale)
