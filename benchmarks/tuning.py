"""The sweep that chooses each mixer's learning rate and weight decay, the same for all, on held-out training images.

First every learning rate of the profile's grid at its first weight decay, then the other weight decays at the rate that
did best. A tuning trial trains as long as an accuracy trial does, since a short one misleads, and never reads the test
split. The records are the choice: `bench-all` takes it from those in its results folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.profiles import Profile
from benchmarks.record import Record, load_records

Cell = tuple[float, float]  # learning rate and weight decay
Cells = Mapping[Cell, Sequence[float | None]]  # held-out top-1 in percent, a seed each; None where a trial failed


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
    return _chosen(records, lambda cells: best_rate(cells, profile))


def choices(records: Iterable[Record], profile: Profile) -> dict[str, Choice]:
    """What the sweep chose for each mixer that it is complete for, by the mixer as written."""
    return _chosen(records, lambda cells: best_cell(cells, profile))


def best_rate(cells: Cells, profile: Profile) -> Cell | None:
    """The cell with the best learning rate at the first weight decay; None while a rate is untried."""
    first = profile.tuned_weight_decays[0]
    return _best({c: v for c, v in cells.items() if c[1] == first}, {(lr, first) for lr in profile.tuned_lrs})


def best_cell(cells: Cells, profile: Profile) -> Cell | None:
    """The cell that one mixer's sweep chose; None while it is incomplete."""
    rate = best_rate(cells, profile)
    return None if rate is None else _best(cells, {(rate[0], decay) for decay in profile.tuned_weight_decays})


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean over seeds of a cell's held-out top-1; a trial that failed takes its cell out of the choice."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _best(cells: Cells, needed: set[Cell]) -> Cell | None:
    """The best cell, of equals the one with the smaller rate, if all that are `needed` were tried."""
    means = {cell: mean for cell, values in cells.items() if (mean := mean_of(values)) is not None}
    return min(means, key=lambda c: (-means[c], c)) if needed <= set(cells) and means else None


def _chosen(records: Iterable[Record], choose: Callable[[Cells], Cell | None]) -> dict[str, Choice]:
    by_mixer: dict[str, dict[Cell, list[float | None]]] = {}
    for r in records:
        cell = (r.trial.lr or 0.0, r.trial.weight_decay or 0.0)
        value = r.metrics.get("val_top1_percent") if r.status == "ok" else None
        by_mixer.setdefault(r.trial.mixer, {}).setdefault(cell, []).append(None if value is None else float(value))
    result = {}
    for mixer, cells in by_mixer.items():
        best = choose(cells)
        if best is not None:
            result[mixer] = Choice(*best, mean_of(cells[best]) or 0.0, len(cells))
    return result
