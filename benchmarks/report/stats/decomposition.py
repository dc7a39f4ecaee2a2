"""What accuracy varies by between the cells mixer x patch size: the patch, the mixer, or which mixer at which patch."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.report.alike import TRAINED_ALIKE, held_equal, row_as_compared
from benchmarks.report.frame import objects
from benchmarks.report.stats.intervals import Estimate
from benchmarks.report.stats.paired import FEWEST_SEEDS, Runs, Sample, mean_top1
from benchmarks.report.stats.pooled import seed_counts
from benchmarks.report.wording import listing

FEWEST_MIXERS, FEWEST_PATCHES = 3, 2


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """Shares of the variance between cells, in percent; together 100."""

    rows: float
    columns: float
    both: float  # what rows and columns together do not explain
    cells_sd: float  # of the cells' true means, in their unit
    noise_sd: float  # of a cell's mean, by its seeds


def decompose(means: NDArray[np.float64], variances: NDArray[np.float64]) -> Decomposition:
    """Two-way analysis of variance of cell means (rows, columns), what their errors add to each square taken out.

    Args:
        means: one a cell.
        variances: squared standard errors of the means.
    """
    rows, columns = means.shape
    noise = float(variances.mean())
    of_row, of_column = (means.mean(axis=axis, keepdims=True) - means.mean() for axis in (1, 0))
    rest = means - means.mean() - of_row - of_column
    squares = (
        max(0.0, columns * float((of_row**2).sum()) - (rows - 1) * noise),
        max(0.0, rows * float((of_column**2).sum()) - (columns - 1) * noise),
        max(0.0, float((rest**2).sum()) - (rows - 1) * (columns - 1) * noise),
    )
    total = math.fsum(squares)
    by_row, by_column, by_both = (100 * square / total if total else 0.0 for square in squares)
    return Decomposition(by_row, by_column, by_both, math.sqrt(total / (rows * columns - 1)), math.sqrt(noise))


@dataclasses.dataclass(frozen=True)
class Grid:
    """Mixers that were all trained at each of several patch sizes, with seeds for a verdict."""

    patches: tuple[int, ...]
    nets: Mapping[str, tuple[Runs, ...]]  # of each mixer's latest version, one a patch size

    def without(self, mixer: str | None) -> Grid:
        return Grid(self.patches, {name: nets for name, nets in self.nets.items() if name != mixer})

    @property
    def flat(self) -> list[Runs]:
        return [runs for nets in self.nets.values() for runs in nets]


def find_grid(runs: Sequence[Runs]) -> Grid | None:
    """Of runs of one setting, patch size apart: all patch sizes of the mixers that have most; None of one size."""
    ready = [one for one in runs if len(one.top1) >= FEWEST_SEEDS and not one.withheld]
    by_label: dict[str, dict[int, Runs]] = {}
    for one in sorted(ready, key=lambda one: one.setting["mixer_version"]):
        by_label.setdefault(one.setting["label"], {})[one.setting["patch_size"]] = one
    most = max(map(set, by_label.values()), key=lambda sizes: (len(sizes), sorted(sizes)), default=set())
    patches, nets = tuple(sorted(most)), {}
    for at in by_label.values():
        if at.keys() >= most:
            nets[at[patches[0]].setting["mixer"]] = tuple(at[patch] for patch in patches)
    return Grid(patches, dict(sorted(nets.items()))) if len(patches) >= FEWEST_PATCHES else None


def shares(sample: Sample, grid: Grid) -> Callable[..., Decomposition]:
    """The decomposition of a grid as a function of its mean accuracies, in the order of `grid.flat`."""
    shape = len(grid.nets), len(grid.patches)
    compared = [sample.comparison(operator.pos, runs) for runs in grid.flat]
    variances = np.reshape([one.of_seeds**2 for one in compared if one is not None], shape).T
    return lambda *top1: decompose(np.reshape(top1, shape).T, variances)


def share_interval(
    sample: Sample, grid: Grid, part: Callable[[Decomposition], float], confidence: float = 0.95
) -> Estimate:
    """A share, or a function of shares, in percent, with its interval by the delta method."""
    of_means = shares(sample, grid)
    return sample.interval(lambda *top1: part(of_means(*top1)), *grid.flat, confidence=confidence)


def mixer_less_patch(found: Decomposition) -> float:
    return found.columns - found.rows


def decomposition_table(sample: Sample) -> pd.DataFrame:
    """One row for all mixers that were trained at each of several patch sizes, and one without each of them."""
    grids = [grid for runs in sample.settings(("patch_size",)) if (grid := find_grid(runs)) is not None]
    rows = [row for grid in grids for row in _rows(sample, grid)]
    return objects(rows)


def _rows(sample: Sample, grid: Grid) -> list[dict[str, Any]]:
    if len(grid.nets) < FEWEST_MIXERS:
        return []
    left_out = [None, *(grid.nets if len(grid.nets) > FEWEST_MIXERS else [])]
    return [_row(sample, grid.without(mixer), mixer) for mixer in left_out]


def _row(sample: Sample, grid: Grid, without: str | None) -> dict[str, Any]:
    ahead = share_interval(sample, grid, mixer_less_patch)
    found = shares(sample, grid)(*(mean_top1(runs) for runs in grid.flat))
    first = row_as_compared(grid.flat[0].setting)
    alike = held_equal([name for name in TRAINED_ALIKE if name != "patch_size"], first)
    return {
        **{name: first[name] if name in alike else None for name in TRAINED_ALIKE if name != "patch_size"},
        "patch_sizes_px": " ".join(map(str, grid.patches)),
        "mixers": len(grid.nets),
        "without": without,
        "over": listing([one.setting["label"] for one in grid.flat]),
        "seeds": seed_counts(grid.flat),
        "patch_percent": found.rows,
        "mixer_percent": found.columns,
        "both_percent": found.both,
        "mixer_less_patch_percent": ahead.value,
        "mixer_less_patch_percent_low": ahead.low,
        "mixer_less_patch_percent_high": ahead.high,
        "cells_sd_points": found.cells_sd,
        "noise_sd_points": found.noise_sd,
    }
