"""Ratios within one run: calls that take turns, and what came of two of them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from benchmarks.machine.device import clock
from benchmarks.ratios import ratio_of_lists

Key = TypeVar("Key")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Ours over theirs in one sitting: geometric mean over rounds, its 95 % interval; below 1 ours takes less time."""

    what: str
    beside: str
    setting: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    ratio_low: float | None  # of a single round there is no interval
    ratio_high: float | None
    rounds: int

    @property
    def ratio_words(self) -> str:
        """ "0.482 (0.470 to 0.494)"."""
        return ratio_words(self.ratio, self.ratio_low, self.ratio_high)


def interleaved(
    calls: dict[Key, Callable[[], Any]],
    rounds: int,
    *,
    order: Callable[[list[Key], int], Sequence[Key]] | None = None,
    turn_ms: float = 0.0,
    device: str = "cpu",
) -> dict[Key, list[float]]:
    """Milliseconds of each call in each round; the calls take turns, and first calls are not counted.

    Args:
        calls: what is timed, by name; on a GPU none of them waits for the device.
        rounds: counted turns of each call.
        order: the names in the order of one round, from all of them and the round's number; by default as they stand.
        turn_ms: a call that is shorter is repeated in its turn for about this long, and the mean counts.
        device: whose clock times them.
    """
    times: dict[Key, list[float]] = {name: [] for name in calls}
    own = clock(device)
    timers = {name: own.timer(call, turn_ms) for name, call in calls.items()}
    for number in range(1, rounds + 1):
        for name in order(list(calls), number) if order else calls:
            times[name].append(timers[name].ms())
    return times


def compare(what: str, beside: str, setting: str, ours: list[float], theirs: list[float], unit: str) -> Comparison:
    """Median times of both, and their ratio, taken round by round.

    Raises:
        ValueError: there is no round.
    """
    found = ratio_of_lists(ours, theirs)
    if found is None:
        raise ValueError("no round was timed")
    medians = statistics.median(ours), statistics.median(theirs)
    return Comparison(what, beside, setting, *medians, unit, found.value, found.low, found.high, found.rounds)


def ratio_words(ratio: float, low: float | None, high: float | None) -> str:
    """A ratio and its interval, where it has one."""
    return f"{ratio:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")
