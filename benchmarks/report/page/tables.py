"""The page's tables, cell by cell: what is shown, what it sorts by, and which rows a filter keeps.

They reach the page as plain values, and its script builds a table when it is looked at.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.report.alike import (
    ATTENTION,
    TRAINED_ALIKE,
    as_compared,
    comparisons,
    held_equal,
    row_as_compared,
    same_rows,
)
from benchmarks.report.baselines import NOTE, baselines_of
from benchmarks.report.choose import best_of_settings, by_main_metric, ranked
from benchmarks.report.claims.parts import UNDECIDED
from benchmarks.report.claims.verdicts import Verdict, effect_text
from benchmarks.report.commands import train_command
from benchmarks.report.frame import plain
from benchmarks.report.page.charts import LATENCY, seeds_of
from benchmarks.report.page.headlines import PASSES, Headline, crossing_text, mean_with_interval
from benchmarks.report.plots.style import family_colour
from benchmarks.report.sizes import Extent, extent_of, worded
from benchmarks.report.stats.paired import Sample
from benchmarks.report.tables.view import SETTING, TEXT, Column, View, status_text
from benchmarks.report.tables.views import view_of
from benchmarks.report.wording import NOTHING, clean, count, listing, metric, percent, short, significant

BASELINE = "no net"  # in place of a family
FASTEST = 5
MIXER = "mixer"  # the header of its column
MOST_ROWS = 300  # of a table on the page, and files have them all


@dataclasses.dataclass(frozen=True)
class Cell:
    """What a table's cell shows, and what it sorts by where that is another thing."""

    text: str
    order: float | str | None = None
    command: str | None = None
    colour: str | None = None
    records: str | None = None  # the files that a row is made of
    share: float | None = None  # of a heat map, 0 to 1
    more: Sequence[str] | None = None  # what the text unfolds to

    def data(self) -> Any:
        """The text alone, or with its order, or all that there is."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        if values.keys() == {"text"}:
            return self.text
        return [self.text, self.order] if values.keys() == {"text", "order"} else values


@dataclasses.dataclass(frozen=True)
class Table:
    id: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    left: int = 1  # so many columns of text, the others are numbers
    families: Sequence[str] = ()  # of each row
    settings: Sequence[str] = ()  # of each row
    against: Sequence[str] = ()  # the mixer that each row holds its own against

    def data(self) -> dict[str, Any]:
        """For the page's script."""
        values = {"caption": self.caption, "header": list(self.header), "left": self.left}
        values |= {"rows": [[cell.data() for cell in row] for row in self.rows]}
        more = {"families": self.families, "settings": self.settings, "against": self.against}
        return values | {name: list(value) for name, value in more.items() if len(set(value)) > 1 or name == "settings"}


def ranked_table(key: str, summary: pd.DataFrame, tuning: pd.DataFrame, sample: Sample | None = None) -> Table | None:
    """The summary, best first within each setting; one row a mixer.

    Args:
        key: of the table.
        summary: its rows.
        tuning: the sweeps that chose learning rates.
        sample: the trained nets, whose records are named.
    """
    if summary.empty:
        return None
    summary, score = by_main_metric(summary)
    numbers: dict[str, tuple[str, Callable[[Any], str]]] = {
        "top-5 (%)": ("test_top5_percent_mean", percent),
        "parameters": ("params", count),
        "FLOPs": ("flops", count),
        "forward (ms/image)": ("net_forward_ms_per_image", significant),
        "training step (ms/image)": ("net_forward_backward_ms_per_image", significant),
        "peak memory (MB)": ("peak_memory_bytes", lambda value: metric("peak_memory_bytes", value)),
    }
    numbers = {
        name: (column, show) for name, (column, show) in numbers.items() if summary[column].map(plain).notna().any()
    }
    chosen = tuning[tuning["choice"].notna()] if len(tuning) else tuning
    in_tuning = [name for name in TRAINED_ALIKE if name not in ("net", "budget")]
    rows: list[list[Cell]] = []
    families, keys, judged = [], [], "standing" in summary
    for suffix, best in best_of_settings(summary).items():
        kept = ranked(best)
        for rank, row in enumerate(kept.to_dict("records"), 1):
            swept = len(chosen) and same_rows(chosen, row, ["label", *in_tuning, "lr", "weight_decay"]).any()
            rows.append(
                [
                    Cell(NOTHING if row["_withheld"] or row["_stuck"] else str(rank), rank),
                    Cell(clean(row["label"]), colour=family_colour(row["family"])),
                    Cell(clean(row["family"])),
                    *([Cell(plain(row["standing"]) or "")] if judged else []),
                    Cell(outcome(row), order_of(row["test_top1_percent_mean"])),
                    *(Cell(show(plain(row[name])), order_of(row[name])) for name, show in numbers.values()),
                    Cell(f"{row['lr']:g}" + (", swept" if swept else ""), order_of(row["lr"])),
                    Cell("command", command=train_command(row, seeds_of(row)), records=records_of(sample, row)),
                ]
            )
            families.append(clean(row["family"]))
            keys.append(suffix)
        for label, value in reversed(baselines_of(kept).items()):
            rows.append(baseline_row(label, value, len(rows[0])))
            families.append(BASELINE)
            keys.append(suffix)
    extent = extent_of(summary)
    header = ["rank", "mixer", "family", *(["against its baselines"] if judged else [])]
    header += [f"{score} [95 % interval], seeds"]
    header += [*(worded(name, extent) for name in numbers), "learning rate", "again"]
    words = (
        "Mixers by accuracy: mean over seeds with its 95 % Student-t interval. Times and memory are of the whole net. "
        "Swept: a learning rate that a sweep in this very setting chose; the others are the profile's."
    )
    words += f" Below the mixers: predictors that are no net. {NOTE}" if judged else ""
    return Table(key, words, header, rows, 4 if judged else 3, families, keys)


def records_of(sample: Sample | None, row: Mapping[Any, Any]) -> str | None:
    """The names of the records behind a row of the summary."""
    runs = None if sample is None else sample.of(row)
    return None if runs is None else " ".join(f"accuracy-{runs.ids[seed]}" for seed in runs.seeds)


def baseline_row(label: str, percent: float, columns: int) -> list[Cell]:
    """A line of the ranking for a predictor that is no net."""
    cells = [Cell(NOTHING), Cell(label), Cell(BASELINE), Cell(""), Cell(f"{percent:.1f}", order_of(percent))]
    return [*cells, *(Cell(NOTHING) for _ in range(columns - len(cells)))]


def differences_table(key: str, summary: pd.DataFrame, paired: pd.DataFrame) -> Table | None:
    """Every mixer against the references, in the settings of the ranking."""
    if paired.empty:
        return None
    view = view_of("differences", paired)
    columns = [column for column in view.columns if column.kind != SETTING]
    rows, families, keys, against = [], [], [], []
    for suffix, part in comparisons(summary, TRAINED_ALIKE).items():
        first = row_as_compared(part.iloc[0])
        here = same_rows(as_compared(paired), first, held_equal(TRAINED_ALIKE, first))
        for row in [row for row, is_here in zip(view.rows, here, strict=True) if is_here]:
            rows.append([cell_of(column, row) for column in columns])
            families.append(clean(row["family"]))
            keys.append(suffix)
            against.append(clean(row["reference"]))
    header = [column.header for column in columns]
    return Table(key, f"{view.title}. {view.note}", header, rows, view.left, families, keys, against)


def outcome(row: Mapping[Any, Any]) -> str:
    """ "31.3 [29.4, 33.3], 3", and what failed."""
    if row["status"] != "ok":
        return clean(status_text(row))
    partly = f" ({row['failed']})" if plain(row["failed"]) else ""
    return clean(f"{mean_with_interval(pd.Series(dict(row)), unit='')}, {row['n']}{partly}")


def order_of(value: Any) -> float:
    """Numbers sort as they are, what is missing below them all."""
    value = plain(value)
    return -1.0 if value is None else float(f"{float(value):.6g}")


def view_table(key: str, name: str, table: pd.DataFrame) -> Table | None:
    """One of the tables that are files too, with the same numbers, words and note."""
    if table.empty:
        return None
    view = view_of(name, table)
    words = " ".join(filter(None, (f"{view.title}. {view.note}", clean(view.shared))))
    words += first_of(len(table), f"tables/*/{name}.csv has")
    families = [clean(family) for family in table["family"].head(MOST_ROWS)]
    return shown(key, words, view, view.columns, families)


def pooled_table(key: str, name: str, table: pd.DataFrame) -> Table | None:
    """The same of a table whose rows are no single mixer's."""
    if table.empty:
        return None
    view = view_of(name, table)
    columns = sorted(view.columns, key=lambda column: column.kind == SETTING)
    return shown(key, f"{view.title}. {view.note}", view, columns)


def shown(key: str, caption: str, view: View, columns: Sequence[Column], families: Sequence[str] = ()) -> Table:
    """The columns of a view that the page has, in this order."""
    kept = [column for column in columns if column.on_page]
    rows = [[cell_of(column, row) for column in kept] for row in view.rows[:MOST_ROWS]]
    left = sum(column.kind == TEXT for column in kept)
    return Table(key, caption, [column.header.replace("_", " ") for column in kept], rows, left, families)


def cell_of(column: Column, row: Mapping[Any, Any]) -> Cell:
    """Numbers and settings sort as numbers; a mixer has its family's colour."""
    text = crossing_text(clean(column.show(row))) if "overtakes" in column.header else clean(column.show(row))
    if column.kind == TEXT:
        return Cell(text, colour=family_colour(row["family"]) if column.header == MIXER else None)
    return Cell(text, sort_key(text))


def first_of(rows: int, where: str) -> str:
    """A sentence for the caption of a table that was cut."""
    return f" The first {MOST_ROWS:,} of {rows:,} rows; {where} all." if rows > MOST_ROWS else ""


def sort_key(text: str) -> float | str:
    """The number a cell begins with: "1.23 M (1.2-1.3)" as 1230000; what is no number sorts below all numbers."""
    plain_text = text.replace("−", "-").removeprefix("+").removeprefix("≥ ")
    found = re.match(r"(?:from |never up to |only up to )?(-?[\d,]*\.?\d+(?:e[-+]?\d+)?)( [kMGT]\b)?", plain_text)
    if found is None:
        return -1.0
    scale = {"": 1.0, " k": 1e3, " M": 1e6, " G": 1e9, " T": 1e12}[found[2] or ""]
    return float(f"{float(found[1].replace(',', '')) * scale:.6g}")


def frame_table(key: str, caption: str, table: pd.DataFrame) -> Table:
    """A table as it comes: texts before numbers, and what all rows share in the caption."""
    shared = [name for name in table.columns if len(table) > 1 and name != "n" and table[name].map(str).nunique() == 1]
    words = [
        f"{str(n).replace('_', ' ')} {clean(short(table[n].iloc[0]))}"
        for n in shared
        if plain(table[n].iloc[0]) is not None
    ]
    numbers = [name for name in table.columns if name not in shared and is_number(table[name])]
    texts = [name for name in table.columns if name not in shared and name not in numbers]
    rows = [
        [Cell(NOTHING if plain(row[name]) is None else clean(row[name])) for name in texts]
        + [Cell(significant(row[name]), order_of(row[name])) for name in numbers]
        for row in table.to_dict("records")
    ]
    families = [clean(family) for family in table["family"]] if "family" in table else ()
    caption += f" All rows: {'; '.join(words)}." if words else ""
    return Table(key, caption, [str(name).replace("_", " ") for name in (*texts, *numbers)], rows, len(texts), families)


def is_number(column: pd.Series) -> bool:
    values = [plain(value) for value in column]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values if v is not None)


def crossings_table(key: str, found: Sequence[Headline]) -> Table | None:
    """From how many tokens on a net is cheaper than with attention; a number between two measured ones says so."""
    rows = [
        [Cell(h.label, colour=family_colour(h.family)), *(Cell(text, sort_key(text)) for text in h.crossings.values())]
        for h in found
        if set(h.crossings.values()) != {NOTHING}
    ]
    words = (
        "Tokens from which the whole net, with single pixels as tokens, takes less time than with attention, by the "
        "ratio within rounds. Interpolated: between two measured sizes, on logarithmic axes. †: not timed beside "
        "attention, so the machine's drift is part of the ratio."
    )
    return Table(key, words, ["mixer", *PASSES.values()], rows, 1) if rows else None


def trained_beside_attention(key: str, found: Sequence[Headline]) -> Table | None:
    """The trained net's time and accuracy beside those with attention."""
    rows = [
        [Cell(h.label, colour=family_colour(h.family))]
        + [Cell(text, sort_key(text)) for text in (h.accuracy, h.gap, *h.ratios.values())]
        for h in found
        if h.accuracy != NOTHING
    ]
    words = (
        "The nets that were trained. Accuracy: mean over seeds with its 95 % interval; the difference has other test "
        "images in its interval, too. Time: the ratio within rounds, its mean and 95 % interval over sittings, of "
        "fewer than three over their rounds. †: not timed beside attention, so the machine's drift is part of it."
    )
    header = ["mixer", "top-1", "top-1 minus attention's", *(f"time over attention's, {w}" for w in PASSES.values())]
    return Table(key, words, header, rows, 1) if rows else None


def fastest_table(key: str, sizes: Sequence[Mapping[str, Any]], extent: Extent) -> Table | None:
    """The fastest nets at every size that was timed.

    Args:
        key: of the table.
        sizes: of `picture.timed_sizes`.
        extent: of the group.
    """
    rows, doubts = [], {one["doubt"] for one in sizes if one["doubt"]}
    for one in sizes:
        points, level = one["points"], one["level"]
        times = [(p["label"], significant(p["values"][LATENCY])) for p in points]
        rival = next((ms for label, ms in times if label == ATTENTION), NOTHING)
        first = ", ".join(f"{label} {ms}" for label, ms in times[:FASTEST])
        beside = [] if len(doubts) == 1 else [Cell(NOTHING if one["doubt"] else listing(level) or "none")]
        rows.append([Cell(one["tokens"], sort_key(one["tokens"])), Cell(first), Cell(rival, sort_key(rival)), *beside])
    words = worded(
        f"The {FASTEST} fastest nets at each size, whole net, forward, in ms per image. Nothing was trained at these "
        "sizes, so that no accuracy is known there; choose a size above to see every net.",
        extent,
    )
    words += f" All were {doubts.pop()}." if len(doubts) == 1 else ""
    header = ["tokens", "fastest", ATTENTION]
    header += ["no clear difference to the first"] if rows and len(rows[0]) > len(header) else []
    return Table(key, words, header, rows, 2) if rows else None


def claims_table(key: str, group: str, verdicts: Sequence[Verdict] | None) -> Table | None:
    """What was claimed, by whom and on what, and what the records of this group say of it."""
    measured = [verdict for verdict in verdicts or () if verdict.n]
    if not measured:
        return None
    measured.sort(key=lambda verdict: verdict.outcome == UNDECIDED)
    header = ["claim", "verdict", "effect (95 % interval)", "why, by whom"]
    rows = []
    for v in measured:
        effect = effect_text(v, v.unit)
        compared = f"{v.compared}: {effect}, {v.n_text}" if v.compared and effect != NOTHING else effect
        setting = v.setting.removeprefix(f"{group}, ")
        told = {
            "holds if": v.claim.threshold,
            "why": v.reason,
            "measured on": setting,
            "claimed by": v.claim.source,
            "made on": v.claim.made_on,
        }
        more = [f"{name}: {clean(text)}" for name, text in told.items() if text]
        rows.append([*(Cell(clean(text)) for text in (v.claim.text, v.outcome, compared)), Cell("details", more=more)])
    words = (
        "Claims of the source texts, each judged from these records alone. Where a claim needs several comparisons, "
        "shown is the one that decides; claims.md has them all, and the claims that were not measured."
    )
    return Table(key, words, header, rows, len(header))


def provenance_table(key: str, frame: pd.DataFrame) -> Table:
    """One row for what was measured alike: kind, machine, versions and when."""
    fields = ["kind", "dataset", "machine", "device", "precision", "threads", "torch", "commit", "dirty"]
    if frame["processor"].notna().any():
        fields.insert(3, "processor")
    rows = []
    for values, part in frame.groupby(fields, dropna=False, sort=False):
        texts = [NOTHING if plain(value) is None else clean(value) for value in values]
        texts[-2] = texts[-2][:12]
        texts[-1] = "changed" if texts[-1] == "True" else "as committed"
        first, last = min(part["started"]), max(part["ended"])
        rows.append([*texts, listing(sorted(set(part["label"]))), f"{first[:10]} to {last[:10]}", str(len(part))])
    header = [*fields[:-1], "code", "mixers", "measured", "records"]
    cells = [[*(Cell(text) for text in row[:-1]), Cell(row[-1], float(row[-1]))] for row in sorted(rows)]
    return Table(key, "Where every number comes from.", header, cells, len(header) - 1)
