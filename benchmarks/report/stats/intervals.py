"""The statistics that tables and plots use, on plain numbers."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.special

from benchmarks.ratios import Ratio, over_sittings
from benchmarks.report.wording import round_significant, span

FEWEST_ROUNDS = 3  # of a size, to count where others have them


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with what it may lie between: an interval or a range, by the function that made it."""

    value: float
    low: float | None
    high: float | None
    n: int
    failed: str = ""  # the runs behind it that failed, in words
    withheld: bool = False  # so many of them that nothing is to be read off it

    @property
    def half(self) -> float | None:
        """Half the width, None where there is no interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclasses.dataclass(frozen=True)
class Crossing:
    """Where a mixer becomes faster than attention."""

    kind: str  # "always", "never", "from" or "until"
    tokens: float | None  # where the ratio passes 1, None for "always" and "never"
    crossings: int  # how often the ratio passes 1 between the measured token counts
    smallest: int  # token counts measured
    largest: int

    def __str__(self) -> str:
        if self.kind == "always":
            return f"faster at every measured size ({span(self.smallest, self.largest)})"
        if self.kind == "never":
            return f"never up to {self.largest:,}"
        assert self.tokens is not None
        several = f"; crosses {self.crossings} times" if self.crossings > 1 else ""
        where = "from" if self.kind == "from" else "only up to"
        return f"{where} {round_significant(self.tokens, 2):,.0f} tokens{several}"


def bars(mean: float, half: float) -> tuple[list[float], list[float]]:
    """How far an interval of a percentage reaches below and above its mean, as matplotlib takes it."""
    return [min(half, mean)], [min(half, 100 - mean)]


def mean_interval(values: Iterable[float], confidence: float = 0.95) -> Estimate | None:
    """The mean with its Student-t interval; one value has no interval, and none has no mean."""
    numbers = [float(value) for value in values]
    n = len(numbers)
    if n == 0:
        return None
    mean = math.fsum(numbers) / n
    if n == 1:
        return Estimate(mean, None, None, 1)
    half = float(scipy.special.stdtrit(n - 1, (1 + confidence) / 2)) * statistics.stdev(numbers) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def median_interval(values: Iterable[float]) -> Estimate | None:
    """The median with its 95 % interval, whatever the distribution; of fewer than six values, with their range.

    The interval reaches from the k-th smallest value to the k-th largest, k as high as 95 % allows (Conover 1999).
    """
    numbers = sorted(float(value) for value in values)
    if not numbers:
        return None
    k = _rank_of_interval(len(numbers))
    return Estimate(statistics.median(numbers), numbers[k - 1], numbers[-k], len(numbers))


@functools.cache
def _rank_of_interval(n: int) -> int:
    below = scipy.special.bdtr(np.arange(n), n, 0.5)  # chance that so many or fewer lie under the median
    return max(1, int((below < 0.025).sum()))


def paired_ratios(numerator: Mapping[int, float], denominator: Mapping[int, float]) -> dict[int, float]:
    """Ratio in every round that both have; a round that either lacks has no ratio."""
    return {r: numerator[r] / denominator[r] for r in sorted(numerator) if denominator.get(r, 0) > 0}


def scaling_exponent(latency: Mapping[int, Mapping[int, float]]) -> Ratio | None:
    """Slope of log latency over log tokens by least squares, one fit a round: `over_sittings` of the slopes.

    Args:
        latency: per token count, latency per image by round. Only rounds present at every token count are fitted, and
            only token counts as `repeated` keeps them.

    Returns:
        None with fewer than two token counts or without a round that all of them have.
    """
    return over_sittings(slopes_by_round(latency))


def slopes_by_round(latency: Mapping[int, Mapping[int, float]]) -> dict[int, float]:
    """The slope of `scaling_exponent` in each round."""
    latency = repeated(latency)
    sizes = sorted(latency)
    if len(sizes) < 2:
        return {}
    rounds = sorted(set.intersection(*(set(latency[size]) for size in sizes)))
    log_tokens = np.log(sizes)
    return {r: float(np.polyfit(log_tokens, np.log([latency[size][r] for size in sizes]), 1)[0]) for r in rounds}


def repeated(by_size: Mapping[int, Mapping[int, float]]) -> dict[int, Mapping[int, float]]:
    """The sizes measured in three rounds or more, where there are two of them, else all: one slow round is no fit."""
    kept = {size: rounds for size, rounds in by_size.items() if len(rounds) >= FEWEST_ROUNDS}
    return kept if len(kept) > 1 else dict(by_size)


def find_crossing(ratios: Mapping[int, float]) -> Crossing | None:
    """Where mixer over attention passes 1, by log-log interpolation between measured token counts.

    The last crossing counts, since what lies beyond it is what a user of larger images meets.

    Args:
        ratios: per token count, the ratio as `benchmarks.ratios.ratio_of` estimates it.
    """
    sizes = sorted(ratios)
    if not sizes:
        return None
    faster = [ratios[size] < 1 for size in sizes]
    smallest, largest = sizes[0], sizes[-1]
    places = [i for i in range(1, len(sizes)) if faster[i] != faster[i - 1]]
    if not places:
        return Crossing("always" if faster[0] else "never", None, 0, smallest, largest)
    after, before = sizes[places[-1]], sizes[places[-1] - 1]
    rise = math.log(ratios[after]) - math.log(ratios[before])
    share = -math.log(ratios[before]) / rise
    tokens = math.exp(math.log(before) + share * (math.log(after) - math.log(before)))
    return Crossing("from" if faster[-1] else "until", tokens, len(places), smallest, largest)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices, by growing x, of the points that no other beats: lower x and higher y are better."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i))
    front: list[int] = []
    best = -math.inf
    for i in order:
        if points[i][1] > best:
            front.append(i)
            best = points[i][1]
    return front


def middle(values: pd.Series) -> float | None:
    estimate = median_interval(values.dropna())
    return None if estimate is None else estimate.value
