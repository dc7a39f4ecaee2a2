"""Ratios within one run: calls that take turns, and what came of two of them."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

Key = TypeVar("Key")
MAX_REPEATS = 50  # of a call in one turn


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Ours over theirs: a median over rounds, with its range; below 1 ours takes less time."""

    what: str
    beside: str
    setting: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    ratio_low: float
    ratio_high: float
    rounds: int


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
        calls: what is timed, by name.
        rounds: counted turns of each call.
        order: the names in the order of one round, from all of them and the round's number; by default as they stand.
        turn_ms: a call that is shorter is repeated in its turn for about this long, and the mean counts.
        device: on which the calls work; a turn ends when the device is done.
    """
    times: dict[Key, list[float]] = {name: [] for name in calls}
    repeats = dict.fromkeys(calls, 1)
    for name, call in calls.items():
        call()
        if turn_ms:
            repeats[name] = max(1, min(MAX_REPEATS, round(turn_ms / max(_milliseconds(call, 1, device), 1e-3))))
    for number in range(1, rounds + 1):
        for name in order(list(calls), number) if order else calls:
            times[name].append(_milliseconds(calls[name], repeats[name], device))
    return times


def compare(what: str, beside: str, setting: str, ours: list[float], theirs: list[float], unit: str) -> Comparison:
    """The median of the ratios, round by round, and their range."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    medians = statistics.median(ours), statistics.median(theirs), statistics.median(ratios)
    return Comparison(
        what, beside, setting, medians[0], medians[1], unit, medians[2], min(ratios), max(ratios), len(ratios)
    )


def _milliseconds(call: Callable[[], Any], repeats: int, device: str) -> float:
    _wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    _wait(device)
    return 1000 * (time.perf_counter() - started) / repeats


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
