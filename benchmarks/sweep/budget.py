"""A bound on how long a whole command may take."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence

import psutil

from benchmarks.contract.record import cores
from benchmarks.contract.trial import Trial, varied

REPORT_S = 8.0  # tables, plots and page of a few records, the drawing library loaded included
REPORT_RECORD_S = 0.02  # and of each record more
MOST_SLOWED = 2.0  # by what else runs: in a container the load may be that of other people
ENDING_S = 1.0  # of the process itself


class Budget:
    """How long a command may still measure.

    Args:
        seconds: of the whole command, counted from the start of its process; None: without end.
        report_records: how many records its report will be made from; 0: it makes none.
    """

    def __init__(self, seconds: float | None = None, report_records: int = 0) -> None:
        self.seconds = seconds
        age_s = time.time() - psutil.Process().create_time()
        reserved_s = ENDING_S + (REPORT_S + REPORT_RECORD_S * report_records if report_records else 0.0)
        reserved_s *= min(MOST_SLOWED, max(1.0, _load() / cores()))  # where more wants to run than there are cores
        # on time.monotonic()'s clock, which all processes of a machine share
        self.until = math.inf if seconds is None else time.monotonic() - age_s + seconds - reserved_s

    @property
    def bounded(self) -> bool:
        return self.seconds is not None

    @property
    def left_s(self) -> float | None:
        """Seconds to measure in; None without end, and never under 0."""
        return max(0.0, self.until - time.monotonic()) if self.bounded else None

    def fits(self, expected_s: float) -> bool:
        """Whether what takes so long would end in time."""
        return time.monotonic() + expected_s <= self.until


def _load() -> float:
    """Processes that wanted to run in the last minute; 0 where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0


def left_lines(left: Sequence[Trial], most: int = 12) -> list[str]:
    """What a bounded run did not come to, as people read it."""
    if not left:
        return []
    lines = [f"{len(left)} left, the budget does not reach for them; the same command goes on from here"]
    more = varied(left)
    lines += [f"  left: {trial.describe(more)}" for trial in left[:most]]
    return lines + ([f"  and {len(left) - most} more"] if len(left) > most else [])
