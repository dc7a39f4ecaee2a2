"""A comparison of two results folders as people read it: lines for a terminal, a CSV and a Markdown file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract import called
from benchmarks.contract.errors import printable
from benchmarks.contract.facts.metrics import METRICS
from benchmarks.contract.record import write_texts
from benchmarks.report.compare.folders import NOTHING_DIFFERS
from benchmarks.report.compare.matches import SETTING
from benchmarks.report.frame import plain
from benchmarks.report.sizes import Extent, extent_of, worded
from benchmarks.report.wording import (
    NOTHING,
    count,
    csv_text,
    markdown,
    markdown_table,
    p_text,
    percent,
    signed,
    significant,
)

MOST_ROWS = 30
QUIET = ("identical", "the same", "within noise")  # verdicts of counts and times that a terminal leaves out
HEADER = ("mixer", "setting", "quantity", "A", "B", "change", "corrected p", "verdict")


def lines_of(table: pd.DataFrame) -> list[str]:
    """Heading, a short table and the summary, from what `compare` returned."""
    heading, summary = map(printable, table.attrs["heading"]), printable(table.attrs["summary"])
    if summary.startswith(NOTHING_DIFFERS):
        return [*heading, summary]
    shown, left_out = _shown(table)
    rows = [HEADER, *_cells(shown, shown)]
    kept = [place for place in range(len(HEADER)) if any(row[place] for row in rows[1:])]
    widths = [max(len(row[place]) for row in rows) for place in kept]
    lines = ["  ".join(row[p].ljust(w) for p, w in zip(kept, widths, strict=True)).rstrip() for row in rows]
    everywhere = called.option("out", "DIR")
    more = (
        [f"and {left_out} more rows; {everywhere} writes all into comparison.csv and comparison.md"] if left_out else []
    )
    body = [*_usual_line(shown), *lines] if len(shown) else []
    return [*heading, *body, *more, summary]


def write_comparison(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes `comparison.csv`, for programs, and `comparison.md`, for people, both with every row."""
    return write_texts(folder, {"comparison.csv": csv_text(table), "comparison.md": _markdown(table)})


def _markdown(table: pd.DataFrame) -> str:
    heading = "\n".join(f"- {markdown(line)}" for line in table.attrs["heading"])
    rows = [[markdown(cell) for cell in cells] for cells in _cells(table, table)]
    notes = "Change: B less A in points of test top-1, or B over A, with 95 % interval. Times are ms per image.\n"
    notes = worded(notes, extent_of(table))
    body = markdown_table(HEADER, rows, left=3) if rows else ""
    return f"# A and B compared\n\n{heading}\n\n**{markdown(table.attrs['summary'])}.**\n\n{notes}\n{body}"


def _shown(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows for a terminal: accuracies, and what is not as it was; those beyond noise first where there are many."""
    verdicts = table["verdict"].map(str)
    loud = (table["kind"] == "accuracy") | ~verdicts.isin(QUIET)
    rows = table[loud & ~verdicts.str.startswith("only in")]
    usual = _usual(table)

    def rank(place: Any) -> tuple[Any, ...]:
        return not table["changed"][place], len(_departures(table.loc[place], usual)), place

    if len(rows) > MOST_ROWS:
        rows = rows.loc[sorted(rows.index, key=rank)[:MOST_ROWS]]
    return rows, len(table) - len(rows)


def _usual(table: pd.DataFrame) -> dict[tuple[str, str], Any]:
    """Of each kind and field in which its rows differ the value that most of them have."""
    usual = {}
    for kind, rows in table.groupby("kind", sort=False):
        for name in SETTING:
            counts = rows[name].map(str).value_counts()
            if name != "mixer" and len(counts) > 1:
                usual[str(kind), name] = counts.index[0]
    return usual


def _departures(row: Any, usual: dict[tuple[str, str], Any]) -> list[str]:
    """ "patch_size 2", for every field in which a row is unlike most."""
    fields = [name for kind, name in usual if kind == row["kind"] and str(row[name]) != usual[kind, name]]
    return [f"{name} {row[name]}" for name in fields]


def _usual_line(table: pd.DataFrame) -> list[str]:
    words = list(dict.fromkeys(f"{name} {value}" for (_, name), value in _usual(table).items()))
    return [f"where no setting is named: {', '.join(words)}"] if words else []


def _cells(rows: pd.DataFrame, table: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    usual = _usual(table)
    for row in rows.to_dict("records"):
        note = f" ({row['note']})" if row["note"] else ""
        setting, values = ", ".join(_departures(row, usual)), [_value(row, side) for side in "ab"]
        yield (
            printable(row["mixer"]), setting, _quantity(row["quantity"], extent_of(table)), *values, _change(row),
            p_text(row["holm_p"]) if plain(row["holm_p"]) is not None else "", printable(f"{row['verdict']}{note}"),
        )  # fmt: skip


def _quantity(name: str, extent: Extent) -> str:
    label = METRICS[name].label.replace(" per batch", " per image") if name in METRICS else name
    return worded(label.replace(" (MB)", ""), extent)


def _value(row: Any, side: str) -> str:
    value, n = plain(row[side]), plain(row[f"n_{side}"])
    if value is None:
        return ""
    if row["kind"] == "accuracy":
        return f"{percent(value)} ({n})"
    return count(value) if row["kind"] == "cost" else significant(value)


def _change(row: Any) -> str:
    change, low, high = (plain(row[name]) for name in ("change", "change_low", "change_high"))
    if change is None:
        return "" if plain(row["a"]) is None else NOTHING
    if row["unit"] == "points":
        return signed(change, 2) + ("" if low is None else f" ({signed(low, 2)} to {signed(high, 2)})")
    return "x " + significant(change, 4) + ("" if low is None else f" ({significant(low, 4)}-{significant(high, 4)})")
