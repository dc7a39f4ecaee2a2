"""Kinds of processor as a level of the statistics.

Times of two kinds are never compared: a latency has the kind in its setting. Accuracies of two kinds share a mean:
another kind rounds otherwise, which training carries as far as another seed would. Whether a kind shifts accuracy all
the same is estimated from the settings that were trained on both, and stands beside every table of accuracies.
"""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from benchmarks.report.alike import ACCURACY_SETTING
from benchmarks.report.choose import finished, of_one_processor
from benchmarks.report.frame import plain
from benchmarks.report.stats.intervals import Estimate, mean_interval
from benchmarks.report.wording import signed


def shifts(frame: pd.DataFrame) -> dict[tuple[str, str], Estimate]:
    """Test top-1 on the second of two kinds less that on the first, in points: the mean over settings trained on both.

    Records that do not say their kind, and those of a GPU, have no part in it.
    """
    trained = finished(frame, "accuracy")
    trained = trained[trained["processor"].notna()]
    means = trained.groupby(["label", *ACCURACY_SETTING, "processor"], dropna=False)["test_top1_percent"].mean()
    by_kind = means.unstack("processor") if len(means) else pd.DataFrame()
    found = {}
    for first, second in combinations(sorted(by_kind.columns), 2):
        estimate = mean_interval((by_kind[second] - by_kind[first]).dropna())
        if estimate is not None:
            found[str(first), str(second)] = estimate
    return found


def sentences(frame: pd.DataFrame) -> list[str]:
    """What a caption says of runs on several kinds; nothing where there is one kind alone."""
    lines = []
    for (first, second), shift in shifts(frame).items():
        between = "" if shift.low is None else f", 95 % interval {signed(shift.low)} to {signed(shift.high)}"
        n = f"n = {shift.n} setting{'s' if shift.n > 1 else ''}{between}"
        text = f"the same training on {second} reaches {signed(shift.value)} points against {first} ({n})"
        apart = shift.low is not None and shift.high is not None and not shift.low <= 0 <= shift.high
        lines.append(text + ("; the kinds differ, so that their runs had better be looked at apart" if apart else ""))
    return lines


def times_sentence(frame: pd.DataFrame) -> list[str]:
    """Whose times a summary shows, where there are those of several kinds."""
    timed = frame[frame["kind"] == "latency"]
    if timed["processor"].map(plain).nunique(dropna=False) < 2:
        return []
    kind = plain(of_one_processor(timed)["processor"].iloc[0])
    return [f"times are those on {kind or 'a kind of processor that its records do not say'}"]
