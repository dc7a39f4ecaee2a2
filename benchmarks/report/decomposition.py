"""What accuracy varies by between the cells mixer x patch size: the patch, the mixer, or which mixer at which patch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.report.frame import held_equal, row_as_compared
from benchmarks.report.paired import Runs, Sample
from benchmarks.report.pooled import seed_counts
from benchmarks.report.tables import TRAINED_ALIKE
from benchmarks.report.text import listing

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


def decomposition_table(sample: Sample) -> pd.DataFrame:
    """One row for all mixers that were trained at each of several patch sizes, and one without each of them."""
    rows = [row for runs in sample.settings(("patch_size",)) for row in _rows(sample, runs)]
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in (rows or [{}])[0]})


def _rows(sample: Sample, runs: Sequence[Runs]) -> list[dict[str, Any]]:
    cells = {(one.setting["patch_size"], one.setting["label"]): one for one in runs if len(one.top1) > 1}
    by_label: dict[str, set[int]] = {}
    for patch, label in cells:
        by_label.setdefault(label, set()).add(patch)
    most = max(by_label.values(), key=lambda sizes: (len(sizes), sorted(sizes)), default=set())
    patches, labels = sorted(most), sorted(label for label, sizes in by_label.items() if sizes >= most)
    left_out = [None, *(labels if len(labels) > FEWEST_MIXERS else [])]
    if len(labels) < FEWEST_MIXERS or len(patches) < FEWEST_PATCHES:
        return []
    return [
        _row(sample, cells, patches, [label for label in labels if label != without], without) for without in left_out
    ]


def _row(
    sample: Sample, cells: dict[tuple[int, str], Runs], patches: list[int], labels: list[str], without: str | None
) -> dict[str, Any]:
    grid = [[cells[patch, label] for label in labels] for patch in patches]
    compared = [[sample.comparison(lambda mean: mean, one) for one in line] for line in grid]
    means = np.array([[one.value for one in line if one is not None] for line in compared])
    errors = np.array([[one.of_seeds for one in line if one is not None] for line in compared])
    found, first = decompose(means, errors**2), row_as_compared(grid[0][0].setting)
    alike = held_equal([name for name in TRAINED_ALIKE if name != "patch_size"], first)
    return {
        **{name: first[name] if name in alike else None for name in TRAINED_ALIKE if name != "patch_size"},
        "patch_sizes_px": " ".join(map(str, patches)),
        "mixers": len(labels),
        "without": without,
        "over": listing(labels),
        "seeds": seed_counts(one for line in grid for one in line),
        "patch_percent": found.rows,
        "mixer_percent": found.columns,
        "both_percent": found.both,
        "cells_sd_points": found.cells_sd,
        "noise_sd_points": found.noise_sd,
    }
