"""The one estimate of a ratio of times: over the rounds of a sitting, then over sittings.

A sitting is one process that times things in turns. What a machine does for an hour is common to all its rounds, so
that they tell little of another hour: intervals over the rounds of single sittings left each other out, at a nominal
95 %. From three sittings on the interval is that of their means; of fewer it is that of the rounds, and nothing may
rest on it.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import scipy.special

FEWEST_SITTINGS = 3
MOST_ROUNDS = 1000  # of one sitting, as a trial allows
FEW = {0: "no sitting", 1: "one sitting", 2: "two sittings"}


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A ratio, or another number that every round has, with its interval."""

    value: float
    low: float | None
    high: float | None
    rounds: int
    sittings: int

    @property
    def settled(self) -> bool:
        """Whether the interval is one over sittings, so that a verdict may rest on it."""
        return self.sittings >= FEWEST_SITTINGS

    @property
    def n(self) -> int:
        """What the interval is taken over."""
        return self.sittings if self.settled else self.rounds


def ratio_of(by_round: Mapping[int, float], confidence: float = 0.95) -> Ratio | None:
    """The geometric mean of ratios, with the Student-t interval of their logarithms.

    Args:
        by_round: ratios taken within a round, by `round_key`.
        confidence: of the interval.

    Returns:
        None without a round. A single round has no interval.
    """
    found = over_sittings({key: math.log(value) for key, value in by_round.items()}, confidence)
    if found is None:
        return None
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    return dataclasses.replace(found, value=math.exp(found.value), low=low, high=high)


def ratio_of_lists(numerators: Iterable[float], denominators: Iterable[float]) -> Ratio | None:
    """The same of two lists of times, round by round, from one sitting."""
    return ratio_of({number: a / b for number, (a, b) in enumerate(zip(numerators, denominators, strict=True))})


def over_sittings(by_round: Mapping[int, float], confidence: float = 0.95) -> Ratio | None:
    """The mean over sittings of their means over rounds, each sitting counting as much as any other."""
    values: dict[int, list[float]] = {}
    for key, value in by_round.items():
        values.setdefault(key // MOST_ROUNDS, []).append(value)
    if not values:
        return None
    means = [statistics.fmean(own) for own in values.values()]
    half = _half_over_sittings(means, confidence)
    if half is None:
        half = _half_over_rounds(list(values.values()), confidence)
    mean, low, high = statistics.fmean(means), None, None
    if half is not None:
        low, high = mean - half, mean + half
    return Ratio(mean, low, high, len(by_round), len(means))


def _half_over_sittings(means: Sequence[float], confidence: float) -> float | None:
    if len(means) < FEWEST_SITTINGS:
        return None
    return _student_t(len(means) - 1, confidence) * statistics.stdev(means) / math.sqrt(len(means))


def _half_over_rounds(values: Sequence[Sequence[float]], confidence: float) -> float | None:
    """From what rounds of one sitting differ by, pooled; None where no sitting has two."""
    freedom = sum(len(own) - 1 for own in values)
    if not freedom:
        return None
    variance = math.fsum((value - statistics.fmean(own)) ** 2 for own in values for value in own) / freedom
    share = math.fsum(1 / len(own) for own in values) / len(values) ** 2
    return _student_t(freedom, confidence) * math.sqrt(variance * share)


def _student_t(freedom: int, confidence: float) -> float:
    return float(scipy.special.stdtrit(freedom, (1 + confidence) / 2))


def round_key(sitting: int, number: int) -> int:
    """One number for a round and the sitting, counted from 0, that it is of."""
    return MOST_ROUNDS * sitting + number


def sittings_of(history: Iterable[Mapping[str, Any]], started: str) -> list[str]:
    """When the sittings of a latency record began, in order; its rows of before there were several do not say."""
    return sorted({row.get("sitting") or started for row in history})


def few_sittings(sittings: int) -> str:
    """ "one sitting", or nothing from three on."""
    return FEW.get(sittings, "")
