"""Every mixer beside attention: from where on it is cheaper, and what that costs in accuracy."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pandas as pd

from benchmarks.ratios import few_sittings
from benchmarks.report.alike import ATTENTION, SAME_NET, same_rows
from benchmarks.report.choose import main_rows, scaling_row, sweeps
from benchmarks.report.frame import plain
from benchmarks.report.stats.intervals import Estimate
from benchmarks.report.stats.paired import Sample
from benchmarks.report.wording import NOTHING, clean, failed_words, percent_within, ranged, signed

PASSES = {"net_forward": "forward", "net_forward_backward": "training step"}
APART = " †"  # timed apart from attention


@dataclasses.dataclass(frozen=True)
class Headline:
    """One mixer beside attention."""

    label: str
    family: str
    crossings: dict[str, str]  # pass -> from how many tokens the net is cheaper than with attention
    ratios: dict[str, str]  # pass -> time over attention's in the trained net, with its interval over rounds
    accuracy: str
    gap: str  # in accuracy to attention, with its interval


def gap_text(gap: Estimate | None) -> str:
    """ "−0.6 points [−2.1, +0.9], n = 3"."""
    if gap is None:
        return NOTHING
    between = "" if gap.low is None else f" [{signed(gap.low)}, {signed(gap.high)}]"
    failed = f"; {clean(gap.failed)}" if gap.failed else ""
    return f"{signed(gap.value)} points{between}, n = {gap.n}{failed}{', no verdict' if gap.withheld else ''}"


def mean_with_interval(row: pd.Series, unit: str = " %") -> str:
    mean, low, high = (plain(row[f"test_top1_percent_{end}"]) for end in ("mean", "low", "high"))
    if mean is None:
        return NOTHING
    return f"{mean:.1f}{unit}" + ("" if low is None else f" [{percent_within(low):.1f}, {percent_within(high):.1f}]")


def beside(row: pd.Series) -> str:
    """The failed runs of a row of the summary, as they stand beside its mean."""
    words = failed_words(row["n"], row["n_failed"])
    return f" ({words})" if words else ""


def headlines(sample: Sample, tables: dict[str, pd.DataFrame]) -> list[Headline]:
    """Every mixer beside attention, by accuracy: from where it is cheaper, and what that costs."""
    rows, latency = main_rows(tables["summary"]), tables["latency"]
    swept = next(iter(sweeps(latency).values()), None)
    trained = dict(zip(rows["label"], (row for _, row in rows.iterrows()), strict=True)) if len(rows) else {}
    labels = sorted(
        {*trained, *(swept["label"] if swept is not None else ())} - {ATTENTION},
        key=lambda label: (-(accuracy_of(trained.get(label)) or -1.0), label),
    )
    families = {**dict(zip(latency.get("label", ()), latency.get("family", ()), strict=True))}
    families |= {label: row["family"] for label, row in trained.items()}
    found = []
    for label in labels:
        row = trained.get(label)
        known = swept is not None and label in set(swept["label"])
        scaling = scaling_row(label, tables["scaling"], swept) if known and swept is not None else None
        apart = APART if known and swept is not None and timed_apart(swept[swept["label"] == label]) else ""
        gap = sample.difference(row, trained[ATTENTION]) if row is not None and ATTENTION in trained else None
        found.append(
            Headline(
                label=clean(label),
                family=clean(families[label]),
                crossings={
                    name: NOTHING if scaling is None else crossing_text(scaling[f"{name}_overtakes_attention"]) + apart
                    for name in PASSES
                },
                ratios={name: trained_ratio(latency, row, name) for name in PASSES},
                accuracy=NOTHING if row is None else mean_with_interval(row) + beside(row),
                gap=NOTHING if gap is None else gap_text(gap),
            )
        )
    return found


def timed_apart(rows: pd.DataFrame) -> bool:
    """Whether some of these times were not taken beside attention's, so that the machine's drift is in their ratio."""
    compared = rows[(rows["status"] == "ok") & rows["net_forward_over_attention"].map(plain).notna()]
    return not compared["timed_with_attention"].all()


def accuracy_of(row: pd.Series | None) -> float | None:
    return None if row is None else plain(row["test_top1_percent_mean"])


def trained_ratio(latency: pd.DataFrame, row: pd.Series | None, name: str) -> str:
    """Time of the net as it was trained over that of attention's, with its interval."""
    if row is None or latency.empty:
        return NOTHING
    found = latency[same_rows(latency, row, SAME_NET) & (latency["status"] == "ok")]
    if found.empty:
        return NOTHING
    first = found.iloc[0]
    column = f"{name}_over_attention"
    text = ranged(first[column], first[f"{column}_low"], first[f"{column}_high"])
    return text + _few(first["sittings_with_attention"], text) + (APART if timed_apart(found.head(1)) else "")


def _few(sittings: Any, text: str) -> str:
    words = few_sittings(plain(sittings) or 0)
    return f", {words}" if words and text != NOTHING else ""


def crossing_text(crossing: Any) -> str:
    """ "faster at every measured size (256-4,096)" as the cell of a column that says what is faster.

    A number of tokens that lies between two measured ones says so.
    """
    crossing = plain(crossing)
    if crossing is None:
        return NOTHING
    text = re.sub(r"faster at every measured size \((.*)\)", r"at every size, \1", str(crossing))
    return re.sub(r"((?:from|only up to) [\d,]+ tokens)", r"\1 (interpolated)", text)
