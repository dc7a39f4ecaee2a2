"""The sweep that chooses each mixer's learning rate and weight decay, the same for all, on held-out training images.

First the two middle learning rates of the profile's grid at its first weight decay, and on past the better one until it
stands between two that are worse or at the grid's end. Then the other weight decays at the best rate; one of them is
chosen only where it is better by `CLEARLY_BETTER`, since one seed cannot tell less. A tuning trial trains as long as an
accuracy trial does, since a short one misleads, and never reads the test split. The records are the choice:
`bench-all` takes it from those in its results folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.profiles import Profile
from benchmarks.record import Record, load_records

Cell = tuple[float, float]  # learning rate and weight decay
Cells = Mapping[Cell, Sequence[float | None]]  # held-out top-1 in percent, a seed each; None where a trial failed

CLEARLY_BETTER = 1.0  # points of held-out top-1, about twice the standard deviation over seeds in the published runs


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


def choices(records: Iterable[Record], profile: Profile) -> dict[str, Choice]:
    """What the sweep chose for each mixer that it is complete for, by the mixer as written."""
    result = {}
    for mixer, cells in cells_by_mixer(records).items():
        best = best_cell(cells, profile)
        if best is not None:
            result[mixer] = Choice(*best, mean_of(cells[best]) or 0.0, len(cells))
    return result


def cells_by_mixer(records: Iterable[Record]) -> dict[str, dict[Cell, list[float | None]]]:
    """What was tried for each mixer, by the mixer as written."""
    by_mixer: dict[str, dict[Cell, list[float | None]]] = {}
    for r in records:
        cell = (r.trial.lr or 0.0, r.trial.weight_decay or 0.0)
        value = r.metrics.get("val_top1_percent") if r.status == "ok" else None
        by_mixer.setdefault(r.trial.mixer, {}).setdefault(cell, []).append(None if value is None else float(value))
    return by_mixer


def cells_to_try(cells: Cells, profile: Profile) -> list[Cell]:
    """The cells that the sweep asks for, those tried already included; more of them once all of these are tried."""
    first, *others = profile.tuned_weight_decays
    rates = _rates_to_try({lr: mean_of(values) for (lr, decay), values in cells.items() if decay == first}, profile)
    wanted = [(lr, first) for lr in rates]
    if all(cell in cells for cell in wanted):
        best = _best(cells, wanted)
        wanted += [(best[0], decay) for decay in others if best is not None]
    return wanted


def best_cell(cells: Cells, profile: Profile) -> Cell | None:
    """The cell that one mixer's sweep chose; None while it is incomplete, or where nothing could be trained."""
    wanted = cells_to_try(cells, profile)
    if not all(cell in cells for cell in wanted):
        return None
    first = profile.tuned_weight_decays[0]
    usual = _best(cells, [cell for cell in wanted if cell[1] == first])
    best = _best(cells, wanted)
    if usual is None or best is None:
        return usual
    gain = (mean_of(cells[best]) or 0.0) - (mean_of(cells[usual]) or 0.0)
    return best if gain >= CLEARLY_BETTER else usual


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean over seeds of a cell's held-out top-1; a trial that failed takes its cell out of the choice."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _rates_to_try(tried: Mapping[float, float | None], profile: Profile) -> list[float]:
    """The middle two of the grid, and the neighbours of the best, as far as what was tried tells."""
    grid = profile.tuned_lrs
    middle = len(grid) // 2
    wanted = list(grid[max(0, middle - 1) : middle + 1])
    while all(lr in tried for lr in wanted):
        best = grid.index(max(wanted, key=lambda lr: (_or_worst(tried[lr]), -lr)))
        beside = [lr for lr in grid[max(0, best - 1) : best + 2] if lr not in wanted]
        if not beside:
            break
        wanted += beside
    return sorted(wanted)


def _best(cells: Cells, among: Sequence[Cell]) -> Cell | None:
    """The best of some cells, of equals the one with the smaller rate; None where all failed."""
    best = max(among, key=lambda cell: (_or_worst(mean_of(cells[cell])), -cell[0], -cell[1]))
    return None if mean_of(cells[best]) is None else best


def _or_worst(value: float | None) -> float:
    return float("-inf") if value is None else value
