"""Whether a comparison has a winner: the one rule, for the page and for the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from benchmarks.contract import called
from benchmarks.report.baselines import at_baseline
from benchmarks.report.choose import withheld
from benchmarks.report.frame import plain
from benchmarks.report.stats.intervals import pareto_front
from benchmarks.report.stats.paired import FEWEST_SEEDS, Sample, compared_with
from benchmarks.report.wording import clean, listing, span_of

NO_MIXING = "conv1x1"
LOWER, LIKELY_LOWER = "lower", "likely lower"  # as `paired.verdict` says it
CLEAR, LIKELY, SHARED, OPEN, ALONE = "clear", "likely", "shared", "open", "alone"
MORE_SEEDS, LONGER = ("seed", "0,1,2,3,4,5,6,7"), ("profile", "full")


@dataclasses.dataclass(frozen=True)
class Leader:
    """The most accurate mixer, and whether it may be called the best.

    The outcome is clear where every difference to it is significant after Holm's correction for their number;
    likely where every 95 % interval leaves out 0 but not all pass the correction; shared where up to half of the others
    are not clearly below it; open where more are not, or the net without mixing is not, or there are too few seeds for
    intervals; alone where there is no other mixer.
    """

    label: str
    outcome: str
    level: tuple[str, ...]  # those not clearly below it, most accurate first
    n: int  # the fewest seeds of a comparison


@dataclasses.dataclass(frozen=True)
class Contenders:
    """Rows of one setting that have an accuracy: those that may be called best, and why others may not."""

    ready: list[pd.Series]
    failed: list[pd.Series]  # too many of their runs
    stuck: list[pd.Series]  # at their baseline
    few: list[pd.Series]  # fewer seeds than a verdict takes, where others have them: one lucky run is no winner

    @property
    def known(self) -> list[pd.Series]:
        return [*self.ready, *self.failed, *self.stuck, *self.few]


def contenders(rows: pd.DataFrame, *costs: str) -> Contenders:
    """Which rows of the summary, one a mixer of one setting, may be called best; `costs` are columns that they need."""
    parts: dict[str, list[pd.Series]] = {"ready": [], "failed": [], "stuck": [], "few": []}
    for _, row in rows.iterrows():
        if all(plain(row[name]) is not None for name in ("test_top1_percent_mean", *costs)):
            parts["failed" if withheld(row) else "stuck" if at_baseline(row) else "ready"].append(row)
    most = min(max((row["n"] for row in parts["ready"]), default=0), FEWEST_SEEDS)
    parts["few"] = [row for row in parts["ready"] if row["n"] < most]
    parts["ready"] = [row for row in parts["ready"] if row["n"] >= most]
    return Contenders(**parts)


def front(rows: pd.DataFrame, cost: str) -> list[str]:
    """Labels of the contenders that no other beats in both accuracy and a cost, a column, the cheapest first."""
    ready = [row for row in contenders(rows, cost).ready if float(row[cost]) > 0]
    points = [(float(row[cost]), float(row["test_top1_percent_mean"])) for row in ready]
    return [str(ready[i]["label"]) for i in pareto_front(points)]


def leader(sample: Sample, rows: Sequence[pd.Series]) -> Leader | None:
    """Decides between mixers trained alike.

    Args:
        sample: the trained nets.
        rows: of the summary, one a mixer, in one setting.

    Returns:
        None where none has an accuracy.
    """
    ready = [row for row in rows if plain(row["test_top1_percent_mean"]) is not None]
    ready.sort(key=lambda row: (at_baseline(row), -row["test_top1_percent_mean"], row["label"]))
    if not ready:
        return None
    best, others = ready[0], ready[1:]
    if not others:
        return Leader(str(best["label"]), ALONE, (), int(best["n"]))
    mine = sample.of(best)
    found = {} if mine is None else compared_with(sample, mine, [r for r in map(sample.of, others) if r is not None])
    below = {label: row for label, row in found.items() if row["verdict"] in (LOWER, LIKELY_LOWER)}
    level = tuple(str(row["label"]) for row in others if row["label"] not in below)
    n = min((row["n"] for row in found.values()), default=0)
    if NO_MIXING in level or 2 * len(level) > len(others):
        outcome = OPEN
    elif level:
        outcome = SHARED
    else:
        outcome = CLEAR if all(row["verdict"] == LOWER for row in below.values()) else LIKELY
    return Leader(str(best["label"]), outcome, level, n)


def what_settles(how: str) -> str:
    """What to type where nothing is settled: in the words of make in files, in the reader's on a terminal."""
    seeds, longer = called.option(*MORE_SEEDS, how), called.option(*LONGER, how)
    return f"more seeds would tell ({seeds}), or longer training ({longer})"


def leader_text(found: Leader) -> str:
    """ "attention", "likely attention", "dct or linear: too small to tell which, ...", "too small to tell, ..."."""
    name = clean(found.label)
    seeds = span_of([found.n], "seed")
    if found.outcome in (CLEAR, ALONE):
        return name
    if found.outcome == LIKELY:
        return f"likely {name}"
    if found.outcome == SHARED:
        return f"{name} or {listing(found.level)}: too small to tell which, n = {seeds}"
    return (
        f"too small to tell, n = {seeds}: {listing(found.level)} not clearly below {name}; {what_settles(called.MAKE)}"
    )
