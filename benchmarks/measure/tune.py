"""The sweep that chooses each mixer's learning rate and weight decay, the same for all, on held-out training images.

First every learning rate of the profile's grid at its first weight decay, then the other weight decays at the rate that
did best. A tuning trial trains as long as an accuracy trial does, since a short one misleads, and never reads the test
split. The records are the choice: `bench-all` takes it from those in its results folder.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.profiles import Profile
from benchmarks.record import Record, load_records

log = logging.getLogger("benchmarks")


@dataclasses.dataclass(frozen=True)
class Choice:
    """The best cell of one mixer's sweep."""

    lr: float
    weight_decay: float
    val_top1_percent: float
    cells: int  # tried, those that failed included


def tuning_records(results: Path, dataset: str, profile: str) -> list[Record]:
    """The sweep's records in a results folder; none where there is no such folder yet."""
    if not (results / "records").is_dir():
        return []
    records = load_records(results, "tuning-*.json")
    return [r for r in records if (r.trial.dataset, r.trial.profile) == (dataset, profile)]


def learning_rates_done(records: Iterable[Record], profile: Profile) -> dict[str, Choice]:
    """The best learning rate of each mixer at the first weight decay, where all rates were tried."""
    first = [r for r in records if r.trial.weight_decay == profile.tuned_weight_decays[0]]
    return _choose(first, {(lr, profile.tuned_weight_decays[0]) for lr in profile.tuned_lrs})


def choices(records: Iterable[Record], profile: Profile) -> dict[str, Choice]:
    """What the sweep chose for each mixer that it is complete for, by the mixer as written."""
    records = list(records)
    result: dict[str, Choice] = {}
    for mixer, best in learning_rates_done(records, profile).items():
        mine = [r for r in records if r.trial.mixer == mixer]
        result |= _choose(mine, {(best.lr, decay) for decay in profile.tuned_weight_decays})
    return result


def _choose(records: Iterable[Record], needed: set[tuple[float, float]]) -> dict[str, Choice]:
    """The cell with the best held-out top-1 of every mixer whose records cover `needed`; of equals the smaller rate.

    Cells are means over seeds; a trial that failed takes its cell out of the choice.
    """
    by_mixer: dict[str, dict[tuple[float, float], list[float | None]]] = {}
    for r in records:
        cell = (r.trial.lr or 0.0, r.trial.weight_decay or 0.0)
        value = r.metrics.get("val_top1_percent") if r.status == "ok" else None
        by_mixer.setdefault(r.trial.mixer, {}).setdefault(cell, []).append(None if value is None else float(value))
    result = {}
    for mixer, cells in by_mixer.items():
        sound = {cell: sum(values) / len(values) for cell, values in _without_failures(cells).items()}
        if needed <= set(cells) and sound:
            cell = min(sound, key=lambda c: (-sound[c], c))
            result[mixer] = Choice(*cell, sound[cell], len(cells))
    return result


def _without_failures(
    cells: Mapping[tuple[float, float], list[float | None]],
) -> dict[tuple[float, float], list[float]]:
    return {cell: [v for v in values if v is not None] for cell, values in cells.items() if None not in values}
