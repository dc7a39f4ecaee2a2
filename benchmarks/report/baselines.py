"""Trivial predictors beside the accuracies: which nets do more than look at one thing.

A baseline is exact where it does the task in part, as ListOps to some depth; the others look at one thing alone, and a
net whose interval does not lie above the highest of these has not left its baseline: nothing ranks it above others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.contract.facts.metrics import BASELINES
from benchmarks.report.frame import plain
from benchmarks.report.wording import clean, listing

EXACT = ("depth_1", "depth_2", "depth_3")
COLUMNS = {f"baseline_{name}_percent": label for name, label, _ in BASELINES}
TRIVIAL = {f"baseline_{name}_percent": label for name, label, _ in BASELINES if name not in EXACT}
SOLVED_PERCENT = 95.0
SOLVED, ABOVE, AT = "solved", "above its baselines", "at its baseline"
OPEN = "open"  # above its baselines on average, but not by its interval
UNJUDGED = "one run, not judged"  # above its baselines, but without an interval
Z = 1.96  # of a 95 % interval over test examples alone
NOTE = (
    "Judged by the 95 % interval of top-1 over the net's own seeds and the test examples. Solved: it lies at "
    f"{SOLVED_PERCENT:g} % or above. At its baseline: not above the highest of the predictors that look at one thing "
    "alone. Open: nor does it lie there, though the mean does, beyond the chance of the test examples; often some "
    "seeds learn and others do not. Both are ranked behind the others."
)
Row = Mapping[Any, Any] | pd.Series


def known_columns(table: pd.DataFrame) -> list[str]:
    """The columns of trivial predictors that a table has and some row knows."""
    return [name for name in COLUMNS if name in table and table[name].notna().any()]


def baselines_of(rows: pd.DataFrame) -> dict[str, float]:
    """Label and percent of what trivial predictors reach beside these rows, lowest first."""
    found = {COLUMNS[name]: float(rows[name].dropna().max()) for name in known_columns(rows)}
    return dict(sorted(found.items(), key=lambda pair: pair[1]))


def highest(row: Row) -> tuple[str, float] | None:
    """The highest baseline that looks at one thing alone, its label and percent."""
    found = {label: plain(row[name]) for name, label in TRIVIAL.items() if name in row}
    known = {label: float(value) for label, value in found.items() if value is not None}
    return max(known.items(), key=lambda pair: pair[1], default=None)


def highest_words(row: Row) -> str:
    """ "majority class, 61.7 %", or nothing."""
    found = highest(row)
    return "" if found is None else f"{found[0]}, {found[1]:.1f} %"


def own_interval(row: Row) -> tuple[float, float] | None:
    """95 %, in percent, over a net's own seeds (Student's t) and the test examples (normal), squared and added.

    The spread of other mixers is no part of it: on these tasks some seeds of one mixer learn and others do not.
    """
    low, noise = plain(row["test_top1_percent_low"]), plain(row.get("test_sd_points"))
    if low is None and noise is None:
        return None
    mean = float(row["test_top1_percent_mean"])
    half = math.hypot(0.0 if low is None else mean - low, Z * (noise or 0.0))
    return max(0.0, mean - half), min(100.0, mean + half)


def standing(row: Row) -> str | None:
    """SOLVED, ABOVE, OPEN, AT or UNJUDGED; None without a finished run or without baselines."""
    found = highest(row)
    if found is None or plain(row["test_top1_percent_mean"]) is None:
        return None
    between = own_interval(row)
    if between is None and row["test_top1_percent_mean"] > found[1]:
        return UNJUDGED
    if between is None or between[0] <= found[1]:
        chance = Z * (plain(row.get("test_sd_points")) or math.inf)
        return OPEN if row["test_top1_percent_mean"] - chance > found[1] else AT
    return SOLVED if between[0] >= SOLVED_PERCENT else ABOVE


def with_standing(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary, with its intervals, and beside it how each net stands to its baselines, where there are any."""
    if not known_columns(summary):
        return summary
    return summary.assign(standing=pd.Series([standing(row) for row in summary.to_dict("records")], dtype=object))


def at_baseline(row: Row) -> bool:
    """Whether a row of the summary has not left its baseline beyond doubt."""
    return plain(row.get("standing")) in (AT, OPEN)


def at_baseline_words(rows: Sequence[Row]) -> str:
    """ "dct, fft_real", those that have not left their baseline."""
    return listing([clean(row["label"]) for row in rows if at_baseline(row)])
