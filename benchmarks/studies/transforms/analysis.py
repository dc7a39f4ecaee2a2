"""Which number of a matrix goes with accuracy, what it predicts, and whether that held: the rules, written beforehand.

1. Over the development transforms, Spearman's rank correlation of each predictor with the mean test accuracy over
   seeds. p by 99,999 random permutations, two-sided; Holm over the predictors. The 95 % interval is that of Fisher's z
   whose standard error gives just this p (test-based; Miettinen, 1976), so that it leaves out 0 where p is under 0.05.
2. The winner is the predictor of the largest absolute correlation among those with a corrected p below 0.05. Without
   one, nothing predicts; the largest correlation is then drawn all the same, and called what it is.
3. A straight line of accuracy on it, by least squares over the development transforms, predicts the others: 95 %
   prediction interval by Student's t.
4. A held-back transform is a hit where its mean accuracy lies in its prediction interval. The winner is confirmed if
   at least five of the six are hits and its mean absolute error over them is below that of the development transforms'
   mean accuracy, told of every one.

A transform of which a third or more of the runs failed does not count; held back, it is a miss.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from benchmarks.report.stats.paired import holm

PERMUTATIONS, SEED = 99_999, 0
SIGNIFICANT = 0.05
FEWEST = 5  # transforms to correlate
NEAR_0 = 0.3  # quantile of a p of 0.76
FEWEST_HITS = 5 / 6
AT_ONCE = 10_000  # permutations; bounds the memory

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Correlation:
    """One predictor's rank correlation with accuracy."""

    predictor: str
    rho: float
    low: float
    high: float
    p: float
    holm_p: float


@dataclasses.dataclass(frozen=True)
class Fit:
    """A straight line through n points."""

    slope: float
    intercept: float
    residual_sd: float
    n: int
    mean_x: float
    squares_x: float  # sum of squared deviations of x

    def predict(self, x: float) -> tuple[float, float, float]:
        """The value at x, and the ends of its 95 % prediction interval."""
        value = self.intercept + self.slope * x
        far = (x - self.mean_x) ** 2 / self.squares_x if self.squares_x else 0.0
        half = float(scipy.special.stdtrit(self.n - 2, 0.975)) * self.residual_sd * math.sqrt(1 + 1 / self.n + far)
        return value, value - half, value + half


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was made of the development transforms, before any other was trained."""

    predictor: str
    wins: bool
    correlations: list[Correlation]
    fit: Fit
    mean_percent: float  # of the development transforms
    transforms: list[str]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Choice:
        correlations = [Correlation(**row) for row in values["correlations"]]
        return cls(**{**values, "correlations": correlations, "fit": Fit(**values["fit"])})


def choose(numbers: Mapping[str, Mapping[str, float]], accuracies: Mapping[str, Sequence[float]]) -> Choice | None:
    """Rules 1 to 3; None with fewer than five transforms.

    Args:
        numbers: of each development transform, its predictors.
        accuracies: of each, test top-1 in percent by seed; transforms without any are left out.
    """
    names = [name for name in numbers if accuracies.get(name)]
    if len(names) < FEWEST:
        return None
    by_seed = [list(accuracies[name]) for name in names]
    mean = np.array([np.mean(values) for values in by_seed])
    predictors = list(numbers[names[0]])
    table = {p: np.array([numbers[name][p] for name in names], dtype=float) for p in predictors}
    found = correlations(table, by_seed)
    best = max(found, key=lambda row: (row.holm_p < SIGNIFICANT, abs(row.rho)))
    return Choice(
        best.predictor,
        best.holm_p < SIGNIFICANT,
        found,
        line(table[best.predictor], mean),
        float(mean.mean()),
        names,
    )


def correlations(table: Mapping[str, Floats], by_seed: Sequence[Sequence[float]]) -> list[Correlation]:
    """Rule 1, in the order of the predictors."""
    mean = np.array([np.mean(values) for values in by_seed])
    rows = []
    for name, x in table.items():
        rho, p = float(spearman(x, mean)), permutation_p(x, mean)
        rows.append((name, rho, *rho_interval(rho, p, len(mean)), p))
    corrected = holm([row[-1] for row in rows])
    return [Correlation(*row, p) for row, p in zip(rows, corrected, strict=True)]


def spearman(x: Floats, y: Floats) -> Floats:
    """Rank correlation over the last axis, ties at their mean rank; 0 where x or y is constant."""
    a, b = (ranks_of(values) for values in (x, y))
    a, b = (ranks - ranks.mean(-1, keepdims=True) for ranks in (a, b))
    scale = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.asarray((a * b).sum(-1) / np.where(scale > 0, scale, 1))


def ranks_of(values: Floats) -> Floats:
    """Ranks from 1 along the last axis, ties at their mean."""
    mine, others = values[..., :, None], values[..., None, :]
    return np.asarray((mine > others).sum(-1) + ((mine == others).sum(-1) + 1) / 2)


def permutation_p(x: Floats, y: Floats) -> float:
    """Share of permutations, the one found among them, with a correlation at least as large in absolute value."""
    generator = np.random.default_rng(SEED)
    found, at_least, left = abs(float(spearman(x, y))) - 1e-12, 1, PERMUTATIONS
    ranks = ranks_of(y)
    while left:
        count = min(left, AT_ONCE)
        shuffled = generator.permuted(np.tile(ranks, (count, 1)), axis=1)
        at_least += int((np.abs(_with_ranks(x, shuffled)) >= found).sum())
        left -= count
    return at_least / (PERMUTATIONS + 1)


def rho_interval(rho: float, p: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a rank correlation that leaves out 0 where its two-sided p is under 0.05.

    Near 0, where p tells no standard error, it is that of Fieller, Hartley and Pearson (1957).
    """
    z = math.atanh(max(-1 + 1e-9, min(1 - 1e-9, rho)))
    quantile = float(scipy.special.ndtri(1 - p / 2))
    error = abs(z) / quantile if quantile > NEAR_0 else math.sqrt(1.06 / (n - 3))
    half = float(scipy.special.ndtri(0.975)) * error
    return math.tanh(z - half), math.tanh(z + half)


def _with_ranks(x: Floats, ranks: Floats) -> Floats:
    """Rank correlation of x (n,) with many rows of ranks (m, n)."""
    a = ranks_of(x)
    a, b = a - a.mean(), ranks - ranks.mean(-1, keepdims=True)
    scale = math.sqrt((a**2).sum()) * np.sqrt((b**2).sum(-1))
    return np.asarray(b @ a / np.where(scale > 0, scale, 1))


def line(x: Floats, y: Floats) -> Fit:
    """Least squares; a constant x has slope 0."""
    squares = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / squares if squares > 0 else 0.0
    intercept = float(y.mean() - slope * x.mean())
    residual = y - intercept - slope * x
    return Fit(slope, intercept, math.sqrt(float((residual**2).sum()) / (len(x) - 2)), len(x), float(x.mean()), squares)


def welch_interval(values: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the difference of two means, of two values or more each; Welch, 1947."""
    parts = [float(np.var(sample, ddof=1)) / len(sample) for sample in (values, others)]
    gain = float(np.mean(values) - np.mean(others))
    if not sum(parts):
        return gain, gain
    freedom = sum(parts) ** 2 / sum(p**2 / (len(s) - 1) for p, s in zip(parts, (values, others), strict=True))
    half = float(scipy.special.stdtrit(freedom, 0.975)) * math.sqrt(sum(parts))
    return gain - half, gain + half


def verdict(
    choice: Choice,
    predicted: Mapping[str, Sequence[float]],
    measured: Mapping[str, float],
    lost: Sequence[str] = (),
) -> dict[str, Any]:
    """Rule 4 over the held-back transforms.

    Args:
        choice: of the development transforms.
        predicted: of each held-back transform, value and interval.
        measured: of each, mean test accuracy in percent, where it is known.
        lost: those that were trained and do not count, since too many runs failed.

    Returns:
        `hits` by name, `error_points` and `error_of_mean_points` (mean absolute errors), and `outcome`: confirmed,
        not confirmed, nothing predicts, or open as long as one is not measured.
    """
    known = [name for name in predicted if name in measured]
    hits = {name: bool(predicted[name][1] <= measured[name] <= predicted[name][2]) for name in known}
    hits |= dict.fromkeys(lost, False)
    error = float(np.mean([abs(measured[n] - predicted[n][0]) for n in known])) if known else None
    of_mean = float(np.mean([abs(measured[n] - choice.mean_percent) for n in known])) if known else None
    if not choice.wins:
        outcome = "nothing predicts"
    elif error is None or of_mean is None or len(hits) < len(predicted):
        outcome = "open"
    else:
        right = sum(hits.values()) >= FEWEST_HITS * len(hits) - 1e-9 and error < of_mean
        outcome = "confirmed" if right else "not confirmed"
    return {"hits": hits, "error_points": error, "error_of_mean_points": of_mean, "outcome": outcome}
