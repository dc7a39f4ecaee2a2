"""Two things that took turns, ours over theirs: what came of it, as rows of records, and in words."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from benchmarks.ratios import ratio_of_lists
from benchmarks.studies.files import made

OK = {"status": "ok", "reason": None}  # of a row that was measured
Ok = TypeVar("Ok")
Bad = TypeVar("Bad")


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


@dataclasses.dataclass(frozen=True)
class Failed:
    """What could not be compared, and why."""

    what: str
    beside: str
    setting: str
    status: str  # oom, unsupported or error
    reason: str


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


def read_rows(rows: Iterable[Mapping[str, Any]], ok: type[Ok], bad: type[Bad]) -> list[Ok | Bad]:
    """Rows of a record, those that were measured and those that failed.

    Raises:
        ValueError: a row is neither.
    """
    found: list[Ok | Bad] = []
    for one in rows:
        measured = one.get("status", "ok") == "ok"
        found.append(made(ok, {k: v for k, v in one.items() if k not in OK}) if measured else made(bad, dict(one)))
    return found


def are_medians(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether ratios in a record are those of before failures were rows: medians over rounds, with their range."""
    return any("status" not in one for one in rows)
