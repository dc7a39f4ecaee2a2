"""What a latency record says of its rounds, and how a further sitting comes to it.

A sitting is one process; those of one record begin an hour or more apart, so that its ratios have an interval that
covers more than what the machine did in one hour, see `benchmarks.ratios`.
"""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.contract.facts.devices import by_device
from benchmarks.contract.record import Record
from benchmarks.contract.trial import Trial
from benchmarks.ratios import ratio_of, round_key, sittings_of
from benchmarks.sources import parts_of_other_code

APART_S = 3600.0  # between the beginnings of two sittings
MOST_SITTINGS = 100
MATMUL_SIDE = by_device(cpu=1024, gpu=8192)  # of the square matrices whose product shows the machine's rate
METRIC_OF = {
    ("net", "forward"): "forward_ms",
    ("net", "forward_backward"): "forward_backward_ms",
    ("mixer", "forward"): "mixer_forward_ms",
    ("mixer", "forward_backward"): "mixer_forward_backward_ms",
}


def metrics_of(trial: Trial, history: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Median times in ms, and ratios within rounds, from rows that say their round and when their sitting began."""
    assert trial.batch_size is not None
    names = ("copy_ms", "floor_ms", *METRIC_OF.values())
    metrics = {name: median(row.get(name) for row in history) for name in names}
    metrics["copy_ratio"] = _ratio(history, "copy_ms")
    metrics["floor_ratio"] = _ratio(history, "floor_ms")
    matmul_ms = median(row.get("matmul_ms") for row in history)
    metrics["matmul_flops_per_s"] = matmul_flops(trial) / (matmul_ms / 1000) if matmul_ms else None
    for rate, name in (("images_per_s", "forward_ms"), ("train_step_images_per_s", "forward_backward_ms")):
        time_ms = metrics[name]
        metrics[rate] = 1000 * trial.batch_size / time_ms if time_ms else None
    return metrics


def matmul_flops(trial: Trial) -> int:
    return 2 * MATMUL_SIDE[trial.device] ** 3


def _ratio(history: Sequence[dict[str, Any]], least: str) -> float | None:
    """The mixer's forward over another column, from the rounds that have both."""
    starts = sittings_of(history, "")
    pairs = {
        round_key(starts.index(row.get("sitting") or ""), row["round"]): (row.get("mixer_forward_ms"), row.get(least))
        for row in history
    }
    found = ratio_of({key: time_ms / other for key, (time_ms, other) in pairs.items() if time_ms and other})
    return None if found is None else found.value


def median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def can_grow(record: Record | None) -> bool:
    """Whether a sitting can come to a record: it was timed, by the code of today as far as it says."""
    return record is not None and record.status == "ok" and bool(record.history) and not parts_of_other_code(record)


def is_due(record: Record, asked: int, at: datetime.datetime | None = None) -> bool:
    """Whether a latency record is to have a further sitting now.

    Args:
        record: as it stands; one that cannot grow is measured anew where other code made it.
        asked: sittings that it is to have.
        at: the time that counts as now, in UTC.
    """
    if record.kind != "latency" or record.status != "ok":
        return False
    if not can_grow(record):
        return True
    return _missing(record, asked) > 0 and (at or datetime.datetime.now(datetime.UTC)) >= due_from(record)


def due_from(record: Record) -> datetime.datetime:
    """When the next sitting of a record may begin."""
    last = sittings_of(record.history, record.started)[-1]
    return datetime.datetime.fromisoformat(last) + datetime.timedelta(seconds=APART_S)


def _missing(record: Record, asked: int) -> int:
    return max(0, asked - len(sittings_of(record.history, record.started)))


def missing_line(records: Iterable[Record], asked: int) -> str | None:
    """How many records have fewer sittings than asked for, and when the command may be typed again."""
    short = [r for r in records if r.kind == "latency" and r.status == "ok" and r.history and _missing(r, asked)]
    if not short:
        return None
    at = max(due_from(record) for record in short)
    return (
        f"{len(short)} latency records have fewer than {asked} sittings; for the next, an hour after the last, type "
        f"the same command again from {at:%Y-%m-%d %H:%M} UTC on"
    )


def with_sitting(record: Record, metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> tuple[Any, Any]:
    """Metrics and history of a record and a further sitting together.

    What stands beside the times is of the further sitting, but of the drifts the one that is farther from 1.
    """
    both = [{"sitting": record.started} | row for row in record.history] + list(history)
    drifts: list[Any] = [m["drift_ratio"] for m in (record.metrics, metrics) if m.get("drift_ratio")]
    drift = max(drifts, key=lambda ratio: abs(math.log(ratio)), default=None)
    return {**record.metrics, **metrics, **metrics_of(record.trial, both), "drift_ratio": drift}, both
