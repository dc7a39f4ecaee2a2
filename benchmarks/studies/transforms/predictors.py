"""What may predict how well a transform mixes: numbers of its matrix A (N, N) and of the tokens' covariance C (N, N).

y = A x over N = H W tokens on a grid. Row i makes output i, which stands at place i. Rows count at norm 1, but for
`rank` and `condition`; rows of norm 0 do not count. p_ij = A_ij^2 / sum_k A_ik^2 is the share of row i on token j,
d(i, j) the Euclidean distance on the grid, v_i = a_i C a_i^T the variance of output i.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Grid = tuple[int, int]

NOTHING = 1e-6  # of the largest: a smaller norm or variance is zero
EVEN = 1e-4  # logs of variances that differ by less are equal: rounding
RANK_TOLERANCE = 1e-5  # of the largest singular value; matrices are rounded to six decimals


@dataclasses.dataclass(frozen=True)
class Predictor:
    name: str
    label: str  # of an axis, with the unit
    text: str
    compute: Callable[[Matrix, Matrix, Grid], float]


def predictors_of(matrix: Matrix, covariance: Matrix, grid: Grid) -> dict[str, float]:
    """All of `PREDICTORS` by name.

    Args:
        matrix: A, (N, N).
        covariance: C, (N, N).
        grid: (H, W) with H W = N.
    """
    return {name: float(p.compute(matrix, covariance, grid)) for name, p in PREDICTORS.items()}


def unit_rows(matrix: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
    """The rows at norm 1, and which of them are not zero; zero rows stay zero."""
    norms = np.linalg.norm(matrix, axis=1)
    kept = norms > NOTHING * norms.max()
    return matrix * (kept / np.where(kept, norms, 1))[:, None], kept


def distances(grid: Grid) -> Matrix:
    """d (N, N) in tokens."""
    row, column = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    return np.hypot(row[:, None] - row, column[:, None] - column)


def coding_gain(matrix: Matrix, covariance: Matrix, grid: Grid) -> float:
    """10 log10 of the arithmetic over the geometric mean of the v_i above 1e-6 of the largest, in dB.

    Jayant and Noll, "Digital Coding of Waveforms", 1984.
    """
    variances = _variances(matrix, covariance)
    known = variances[variances > NOTHING * variances.max()]
    return 10 * math.log10(known.mean()) - 10 * float(np.log10(known).mean())


def rank(matrix: Matrix, covariance: Matrix, grid: Grid) -> float:
    """Share of the N singular values above 1e-5 of the largest."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return float((values > RANK_TOLERANCE * values[0]).mean())


def condition(matrix: Matrix, covariance: Matrix, grid: Grid) -> float:
    """log10 of the largest singular value over the smallest that counts for the rank."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return math.log10(values[0] / values[values > RANK_TOLERANCE * values[0]][-1])


def spread(matrix: Matrix, covariance: Matrix, grid: Grid) -> float:
    """Root mean square distance of a row's p from its own centre of mass, over that of an even row; mean over rows.

    0: each row sees one token; 1: as wide as an even row. Locality is its opposite.
    """
    share = _shares(matrix)
    place = np.stack(np.divmod(np.arange(len(matrix)), grid[1])).astype(float)  # (2, N)
    variance = (share @ (place**2).T - (share @ place.T) ** 2).sum(1)
    return float(np.sqrt(np.maximum(variance, 0) / place.var(axis=1).sum()).mean())


def reach(matrix: Matrix, covariance: Matrix, grid: Grid) -> float:
    """sum_j p_ij d(i, j) over mean_j d(i, j), mean over rows; 0: an output reads its own place alone."""
    kept = unit_rows(matrix)[1]
    distance = distances(grid)[kept]
    return float(((_shares(matrix) * distance).sum(1) / distance.mean(1)).mean())


def row_entropy(matrix: Matrix, covariance: Matrix, grid: Grid) -> float:
    """-sum_j p_ij ln p_ij / ln N, mean over rows; 0: one token, 1: even."""
    share = _shares(matrix)
    logs = np.log(np.where(share > 0, share, 1))
    return abs(float((share * logs).sum(1).mean())) / math.log(len(matrix))


def alignment(matrix: Matrix, covariance: Matrix, grid: Grid) -> float:
    """Share of a row's p within one token of its own place, diagonals included; mean over rows."""
    row, column = np.divmod(np.arange(len(matrix)), grid[1])
    near = (np.abs(row[:, None] - row) <= 1) & (np.abs(column[:, None] - column) <= 1)
    return float((_shares(matrix) * near[unit_rows(matrix)[1]]).sum(1).mean())


def coherence(matrix: Matrix, covariance: Matrix, grid: Grid) -> float:
    """log2 of sqrt(N) max |A_ij| over rows of norm 1; 0: every number of every row is as large as all others.

    With the basis of single tokens; Donoho and Huo, 2001.
    """
    return math.log2(math.sqrt(len(matrix)) * float(np.abs(unit_rows(matrix)[0]).max()))


def order(matrix: Matrix, covariance: Matrix, grid: Grid) -> float:
    """Correlation of log v between outputs that are neighbours on the grid: whether like stands by like.

    Outputs with v above 1e-6 of the largest count. 1 where all are equal.
    """
    variances = _variances(matrix, covariance).reshape(grid)
    logs = np.where(variances > NOTHING * variances.max(), np.log(np.maximum(variances, 1e-300)), np.nan)
    across, down = (logs[:, :-1], logs[:, 1:]), (logs[:-1], logs[1:])
    one, other = (np.concatenate([across[i].ravel(), down[i].ravel()]) for i in (0, 1))
    known = ~np.isnan(one + other)
    both = np.concatenate([one[known], other[known]]), np.concatenate([other[known], one[known]])
    if not known.any() or np.ptp(both[0]) < EVEN:
        return 1.0
    return float(np.corrcoef(*both)[0, 1])


def shift_stability(matrix: Matrix, covariance: Matrix, grid: Grid) -> float:
    """Correlation of an output before and after the image moved by one token; mean over outputs and four directions.

    The image is cyclic; 1: nothing of the output changes, -1: its sign does. Outputs as in `order`.
    """
    rows = unit_rows(matrix)[0]
    variances = _variances(matrix, covariance)
    known = variances > NOTHING * variances.max()
    place = np.arange(len(matrix)).reshape(grid)
    found = []
    for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        moved = rows[:, np.roll(place, shift, axis).ravel()][known]
        both = np.einsum("ij,ij->i", moved @ covariance, rows[known])
        after = np.einsum("ij,ij->i", moved @ covariance, moved)
        found.append((both / np.sqrt(variances[known] * after)).mean())
    return float(np.mean(found))


def _shares(matrix: Matrix) -> Matrix:
    """p of the rows that count."""
    rows, kept = unit_rows(matrix)
    return rows[kept] ** 2


def _variances(matrix: Matrix, covariance: Matrix) -> Matrix:
    """v of every output, rows at norm 1."""
    rows = unit_rows(matrix)[0]
    return np.einsum("ij,ij->i", rows @ covariance, rows)


PREDICTORS = {
    p.name: p
    for p in (
        Predictor("coding_gain_db", "coding gain (dB)", "arithmetic over geometric mean of variances", coding_gain),
        Predictor("rank", "rank (share of N)", "share of singular values that are not zero", rank),
        Predictor("condition", "condition (log10)", "largest over smallest singular value that is not zero", condition),
        Predictor("spread", "spread of the rows", "width of a row around its centre of mass, 1: even", spread),
        Predictor("reach", "reach of the rows", "mean distance from an output's place to what it reads", reach),
        Predictor("row_entropy", "entropy of the rows", "over that of an even row", row_entropy),
        Predictor("alignment", "alignment with places", "share of a row within one token of its place", alignment),
        Predictor("coherence", "coherence (log2)", "largest number of a row of norm sqrt(N)", coherence),
        Predictor("order", "order of the outputs", "correlation of log variance between neighbours", order),
        Predictor("shift_stability", "stability to shifts", "correlation of outputs, image moved by a token",
                  shift_stability),
    )
}  # fmt: skip
