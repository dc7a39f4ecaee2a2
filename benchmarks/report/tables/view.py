"""One table as people read it, described once: Markdown, LaTeX and the page read the same columns and words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from benchmarks.report.stats.paired import OVER_BOTH
from benchmarks.report.wording import (
    NOTHING,
    accuracy_text,
    clean,
    count,
    markdown,
    markdown_table,
    mean_text,
    metric,
    percent_within,
    ranged,
    signed,
)

Row = Mapping[Any, Any]
TEXT, SETTING, NUMBER = "text", "setting", "number"  # kinds of columns, from left to right


@dataclasses.dataclass(frozen=True)
class Column:
    """One column: its header, what it shows of a row, as it stands, and whether the page has it too."""

    header: str
    show: Callable[[Any], str]
    kind: str = NUMBER
    on_page: bool = True


@dataclasses.dataclass(frozen=True)
class View:
    """A table for people; nothing in it is Markdown or HTML yet."""

    title: str
    source: str  # data set, machine, counts
    shared: str  # what all rows have in common
    note: str
    columns: Sequence[Column]
    rows: Sequence[Any]

    @classmethod
    def of_texts(
        cls, title: str, source: str, note: str, header: Sequence[str], body: Sequence[Sequence[str]], left: int
    ) -> View:
        """Of cells that are there already; the first `left` columns are text, the others numbers."""
        columns = [Column(text, itemgetter(i), TEXT if i < left else NUMBER) for i, text in enumerate(header)]
        return cls(title, source, "", note, columns, body)

    @property
    def header(self) -> list[str]:
        return [column.header for column in self.columns]

    @property
    def body(self) -> list[list[str]]:
        return [[clean(column.show(row)) for column in self.columns] for row in self.rows]

    @property
    def left(self) -> int:
        """How many columns are text."""
        return sum(column.kind == TEXT for column in self.columns)

    @property
    def markdown(self) -> str:
        """Its cells as a table in Markdown."""
        return markdown_table(self.header, [[markdown(text) for text in row] for row in self.body], self.left)


Show = Callable[[Any], str]
UNKNOWN_STATUS = {"oom": "out of memory"}  # statuses that a reader may not know


def shown(column: str, show: Callable[[Any], str] | None = None) -> Show:
    """A value by its own format, which has to know what to say of nothing; by default that of its metric."""
    return lambda row: show(row[column]) if show else metric(column, row[column])


def known(column: str, form: str, show: Callable[[Any], Any] = lambda value: value) -> Show:
    """A value by a format of Python's; a dash for nothing."""
    return lambda row: NOTHING if row[column] is None else form.format(show(row[column]))


def joined(column: str, status: str, show: Callable[[Any], str] | None = None) -> Show:
    """A number from a joined record, or what went wrong with that record."""
    fine = shown(column, show)
    return lambda row: fine(row) if row[status] in (None, "ok") else str(UNKNOWN_STATUS.get(row[status], row[status]))


def between(column: str, digits: int, unit: str = "") -> Show:
    """ "−1.2 to +0.3"."""
    return lambda row: f"{signed(row[f'{column}_low'], digits)} to {signed(row[f'{column}_high'], digits)}{unit}"


def with_range(column: str) -> Show:
    return lambda row: ranged(row[column], row[f"{column}_low"], row[f"{column}_high"])


def against_attention(column: str) -> Show:
    """A ratio with its interval, marked where attention was timed at another time."""
    fine = with_range(column)
    return lambda row: fine(row) + (" †" if row[column] is not None and not row["timed_with_attention"] else "")


def accuracy(name: str, text: Callable[[Any, Any, Any], str] = accuracy_text) -> Show:
    """A mean over seeds with half its interval and their number."""

    def show(row: Row) -> str:
        mean, high = row[f"{name}_mean"], row[f"{name}_high"]
        return text(mean, None if high is None else high - mean, row["n"])

    return show


def score(name: str) -> Show:
    """The same of points of 100, which may lie below 0."""
    return accuracy(name, mean_text)


def resampled(row: Row) -> str:
    low, high = row["test_top1_percent_resampled_low"], row["test_top1_percent_resampled_high"]
    if low is None or row["interval_over"] != OVER_BOTH:
        return NOTHING
    return f"{percent_within(low):.1f} to {percent_within(high):.1f}"


def difference_ends(row: Row) -> str:
    low, high = row["difference_points_low"], row["difference_points_high"]
    star = "" if row["interval_over"] == OVER_BOTH else " *"
    return NOTHING if low is None else f"{signed(low)} to {signed(high)}{star}"


def verdict_text(row: Row) -> str:
    """The verdict, and the failed runs that stand beside it."""
    return "; ".join(filter(None, (row["verdict"], row["failed_runs"])))


def both_seeds(row: Row) -> str:
    """ "8", or "3 and 8" where the mixer has three and the one that it is held against eight."""
    n, other = row["n"], row["reference_n"]
    return str(n) if n == other else f"{n} and {other}"


def chance(row: Row) -> str:
    share = row["probability_of_improvement"]
    return NOTHING if share is None else f"{100 * share:.0f} %"


def status_text(row: Row) -> str:
    """ "ok", or "out of memory: ...", what went wrong and why."""
    if row["status"] == "ok":
        return "ok"
    return f"{UNKNOWN_STATUS.get(row['status'], row['status'])}: {row['reason'] or 'no reason given'}"


def latency_status(row: Row) -> str:
    """The status; where eager and compiled share a row and one failed, which."""
    both = {"eager": row, "compiled": row.get("beside")}
    texts = {how: status_text(one) for how, one in both.items() if one is not None and one["status"] is not None}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{how} {text}" for how, text in texts.items())


def trouble(row: Row) -> str:
    return status_text(row) if row["status"] != "ok" else row["failed"] or ""


def counted_flops(row: Row) -> str:
    """The count; a lower bound where there are operators that do work and have no count."""
    text = count(row["flops_counted"])
    return text if row["flops_unknown"] is None else f"≥ {text} (without {row['flops_unknown']})"
