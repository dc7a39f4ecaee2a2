"""How sure a number made of several nets' accuracies is: over other seeds and other test images, p and interval as one.

A net's spread over seeds is its own where that is larger than the spread pooled over all nets trained alike, with its
own degrees of freedom, and the pooled one otherwise, with those of all. Plain pooling, and empirical-Bayes moderation
(Smyth, 2004), find several times too many differences where the net compared with is the noisy one; Welch's test has
next to no power with three seeds. `python -m benchmarks.report.stats.simulate` is how this one was chosen.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import scipy.special

STEP = 2.0**-6  # points, of a derivative by differences: exact for sums, to a millionth for ratios of accuracies
SMALLEST_P = 1e-15


@dataclasses.dataclass(frozen=True)
class Spread:
    """What one run of a net varies by, over seeds on the same test images."""

    variance: float  # points squared
    df: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A number made of mean accuracies, with what it varies by; its interval leaves out 0 just where p is under 0.05.

    Half the interval's width is that of Student's t over seeds and that of the normal over test images, squared and
    added. With images this errs on the side of no difference for few seeds, where one number of degrees of freedom for
    both (Welch and Satterthwaite) finds several times too many.
    """

    value: float
    of_seeds: float  # standard errors, in the value's unit
    df: float
    of_images: float
    n: int  # seeds of the net that has fewest

    @property
    def standard_error(self) -> float:
        return math.hypot(self.of_seeds, self.of_images)

    def half(self, confidence: float = 0.95) -> float:
        """Half the width of the interval."""
        return self._half((1 - confidence) / 2)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        half = self.half(confidence)
        return self.value - half, self.value + half

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided: one less the confidence at which the interval just reaches `null`."""
        gap = abs(self.value - null)
        if self.standard_error <= 1e-12 * gap:
            return 0.0 if gap else 1.0
        low, high = math.log(SMALLEST_P), 0.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self._half(math.exp(middle) / 2) > gap else (low, middle)
        return math.exp(high)

    def _half(self, tail: float) -> float:
        over_seeds = -scipy.special.stdtrit(self.df, tail) * self.of_seeds
        return float(math.hypot(over_seeds, scipy.special.ndtri(tail) * self.of_images))


def spreads(values: Sequence[Sequence[float]]) -> list[Spread | None]:
    """The spread of each net of several that were trained alike, from accuracies by seed; None for a single seed.

    Args:
        values: one sequence a net, in percent.
    """
    own = [variance(several) if len(several) > 1 else None for several in values]
    known = [(v, len(several) - 1) for v, several in zip(own, values, strict=True) if v is not None]
    df = sum(each for _, each in known)
    pooled = math.fsum(v * each for v, each in known) / df if df else 0.0
    return [None if v is None else _floored(v, len(x) - 1, pooled, df) for v, x in zip(own, values, strict=True)]


def _floored(own: float, own_df: int, pooled: float, df: int) -> Spread:
    return Spread(own, own_df) if own > pooled else Spread(pooled, df)


def variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def combined(terms: Sequence[tuple[float, Spread, int]]) -> tuple[float, float]:
    """Standard error over seeds of a sum of means, and its degrees of freedom (Welch, 1947; Satterthwaite, 1946).

    Args:
        terms: a net's factor in the sum, its spread, how many seeds it has.
    """
    parts = [(factor**2 * spread.variance / n, spread.df) for factor, spread, n in terms]
    total, doubt = math.fsum(v for v, _ in parts), math.fsum(v**2 / df for v, df in parts)
    return math.sqrt(total), total**2 / doubt if doubt else min(df for _, df in parts)


def slopes(function: Callable[..., Any], at: Sequence[float]) -> list[float]:
    """Partial derivatives at a point, for the delta method."""

    def moved(place: int, step: float) -> float:
        return float(function(*(value + step * (i == place) for i, value in enumerate(at))))

    return [(moved(i, STEP) - moved(i, -STEP)) / (2 * STEP) for i in range(len(at))]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979) of p values for their number, in their order."""
    m, result, worst = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (m - rank) * p_values[i]))
        result[i] = worst
    return result
