"""Calls that take turns within one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from benchmarks.machine.device import clock

Key = TypeVar("Key")


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
