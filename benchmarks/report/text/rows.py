"""The numbers of a line of text: a row an encoder, of pre-training at equal steps and equal minutes, and of tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.contract.fields import NET
from benchmarks.contract.trial import names_of
from benchmarks.report.alike import ATTENTION
from benchmarks.report.choose import finished, lookup, preferred_latencies
from benchmarks.report.claims.rules import share_percent
from benchmarks.report.frame import plain
from benchmarks.report.stats.intervals import mean_interval, middle
from benchmarks.report.stats.paired import Runs, Sample, mean_top1
from benchmarks.report.stats.scores import TITLES, TOP1
from benchmarks.report.stats.text_lines import Encoders, Line, own_interval, records_of, setting_of

Row = dict[str, Any]
LEVELS = {"frequencies": "token frequencies", "own_place": "own place alone"}  # of masked text, by who is no net
UNITS = ("percent", "loss")


def pretraining_rows(line: Line, several: Sequence[Runs]) -> list[Row]:
    """One row an encoder, the highest masked accuracy first."""
    assert line.pretraining is not None
    sample, frame = line.pretraining.sample, line.pretraining.frame
    timed, costs = preferred_latencies(frame), finished(frame, "cost")
    rows = []
    for runs in several:
        records, length = records_of(line.pretraining, runs), int(runs.setting["length"])
        found = lookup(timed, pd.Series(runs.setting), ["label", *names_of(NET)])  # whatever it was trained on
        step = None if found is None else plain(found["train_step_images_per_s"])
        speed = middle(records["train_images_per_s"])
        first = records.iloc[0]
        row = setting_of(runs) | _score(sample, runs, several)
        for name in ("test_loss", "test_order_percent"):
            estimate = mean_interval(records[name].dropna())
            row[f"{name}_mean"] = None if estimate is None else estimate.value
            row |= {f"{name}_{end}": None if estimate is None else getattr(estimate, end) for end in ("low", "high")}
        row |= {f"baseline_{of}_{unit}": plain(first.get(f"baseline_{of}_{unit}")) for of in LEVELS for unit in UNITS}
        row["tokens_seen"] = tokens_seen(runs)
        cost = lookup(costs, pd.Series(runs.setting), ["label", *names_of(NET)])
        row["train_peak_bytes"] = None if cost is None else plain(cost["train_peak_bytes"])
        row["train_tokens_per_s"] = None if speed is None else speed * length
        row["timed_tokens_per_s"] = None if step is None else step * length
        rows.append(row)
    return sorted(rows, key=lambda row: (-row["score_mean"], row["label"]))


def _score(sample: Sample, runs: Runs, several: Sequence[Runs], signed: bool = False) -> Row:
    """The score of an encoder with its interval, and as a share of attention's among those trained alike."""
    own = own_interval(sample, runs, signed) or (None, None)
    row: Row = {"n": len(runs.top1), "seeds": " ".join(map(str, runs.seeds)), "failed": runs.failed_words or None}
    row |= {"score_mean": mean_top1(runs), "score_low": own[0], "score_high": own[1]}
    rival = next((one for one in several if one.setting["label"] == ATTENTION), None)
    share = None
    known = rival and own_interval(sample, rival, signed)
    # a share of a correlation that may be 0 says nothing
    if rival is not None and rival is not runs and (known[0] if known else mean_top1(rival)) > 0:
        share = sample.interval(share_percent, runs, rival)
    told = None if share is None or share.withheld else share
    row["share_of_attention_percent"] = None if told is None else told.value
    row |= {f"share_of_attention_percent_{end}": told and getattr(told, end) for end in ("low", "high")}
    return row


def tokens_seen(runs: Runs) -> int:
    """Tokens of the passages of all epochs, those of padding among them."""
    s = runs.setting
    return (s["epochs"] or 0) * (s["train_images"] or 0) * (s["length"] or 0)


def minutes_rows(line: Line, several: Sequence[Runs]) -> list[Row]:
    """One row an encoder at the largest time that all have reached; [] of one encoder, or of runs without seconds."""
    assert line.pretraining is not None
    curves = {str(runs.setting["label"]): curves_of(records_of(line.pretraining, runs)) for runs in several}
    if len(curves) < 2 or not all(len(curve) for each in curves.values() for curve in each):
        return []
    until = min(curve["seconds"].iloc[-1] for each in curves.values() for curve in each)
    values, seen = {}, {}
    for runs in several:
        label = str(runs.setting["label"])
        here = [curve for curve in curves[label] if curve["seconds"].iloc[0] <= until]
        values[label] = mean_interval(np.interp(until, c["seconds"], c["val_top1_percent"]) for c in here)
        epochs = [float(np.interp(until, c["seconds"], c["epoch"])) for c in curves[label]]
        seen[label] = round(math.fsum(epochs) / len(epochs) * tokens_seen(runs) / runs.setting["epochs"])
    rival = values.get(ATTENTION)
    rows = []
    for runs in several:
        label = str(runs.setting["label"])
        found = values[label]
        share = 100 * found.value / rival.value if found and rival and rival.value and label != ATTENTION else None
        row = setting_of(runs) | {"seconds": until, "tokens_seen": seen[label], "n": found.n if found else 0}
        row |= {f"val_top1_percent_{end}": found and getattr(found, end) for end in ("low", "high")}
        rows.append(row | {"val_top1_percent_mean": found and found.value, "share_of_attention_percent": share})
    return sorted(rows, key=lambda row: (-(row["val_top1_percent_mean"] or -1.0), row["label"]))


def curves_of(records: pd.DataFrame, column: str = "val_top1_percent") -> list[pd.DataFrame]:
    """Of each run: a column of its history by epoch, and the seconds of training until then."""
    found = []
    for history in records["history"]:
        known = [row for row in history if row.get(column) is not None and row.get("seconds") is not None]
        curve = pd.DataFrame(known, columns=["epoch", "seconds", column], dtype=float)
        found.append(curve.assign(seconds=curve["seconds"].cumsum()) if len(known) == len(history) else curve.head(0))
    return found


def task_rows(part: Encoders) -> list[Row]:
    """One row an encoder and task, and one for its mean over tasks."""
    rows = []
    for task in [*part.tasks, *([part.mean] if part.mean else [])]:
        for label in part.labels:
            if label not in task.runs:
                continue
            runs, is_mean = task.runs[label], task is part.mean
            row = setting_of(runs) | {"dataset": task.name, "metric": "mean" if is_mean else task.metric}
            row |= _score(task.sample, runs, list(task.runs.values()), signed=task.metric != TOP1)
            records = task.records(label)
            for name in TITLES:
                scores = records[name].dropna() if name in records and not is_mean else ()
                row[f"{name}_mean"] = math.fsum(scores) / len(scores) if len(scores) else None
            row["constant_answer"] = None if is_mean else task.floor
            known = [] if is_mean else [name for name in records if str(name).startswith("baseline_")]
            row |= {str(name): middle(records[name]) for name in known if records[name].notna().any()}
            rows.append(row)
    return rows


def levels_of(rows: Sequence[Row]) -> list[tuple[str, float, float | None]]:
    """What predictors that are no net reach on masked text beside these rows: label, percent and loss."""
    found = []
    for name, label in LEVELS.items():
        known = next((row for row in rows if row[f"baseline_{name}_percent"] is not None), None)
        if known is not None:
            found.append((label, float(known[f"baseline_{name}_percent"]), known[f"baseline_{name}_loss"]))
    return found
