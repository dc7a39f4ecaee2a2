"""What padding does: the accuracy of nets that differ in nothing but how far their sequences are filled up."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract.record import write_texts
from benchmarks.report.notes import setting_words
from benchmarks.report.stats.intervals import Estimate, mean_interval
from benchmarks.report.stats.paired import OVER_SEEDS, Runs, Sample, mean_top1
from benchmarks.report.wording import NOTHING, clean, csv_text, markdown, markdown_table, percent, signed

TITLE = "What padding does"
NOTE = (
    "Test top-1 in percent, mean over seeds, their number in parentheses; behind it, in points, the difference from "
    "the shortest net of the same mixer, with its 95 % interval over seeds and test sequences. Where either has one "
    "seed (†), both are of the seeds that they share and the interval is over test sequences alone: other seeds may "
    "differ by more. Which nets are at their baseline stands in the summary."
)
OVER_IMAGES = "test images alone"
COLUMNS = (
    "mixer",
    "label",
    "family",
    "length",
    "padded_length",
    "tokens",
    "dim",
    "depth",
    "epochs",
    "lr",
    "weight_decay",
)


def padding_settings(sample: Sample) -> list[list[Runs]]:
    """Runs that differ in the mixer, its tuning and the padded length alone, where there are several of these."""
    found = sample.settings(free=("padded_length",))
    return [several for several in found if len(lengths_of(several)) > 1]


def lengths_of(several: Sequence[Runs]) -> list[int]:
    """The lengths of the nets, in tokens, the shortest first."""
    return sorted({one.setting["tokens"] for one in several})


def padding_rows(sample: Sample, several: Sequence[Runs]) -> list[dict[str, Any]]:
    """One row a mixer and length of the net, `difference_points` from its net of the shortest length, where it has one.

    Args:
        sample: of all nets.
        several: those of one setting.
    """
    shortest = lengths_of(several)[0]
    first = {one.setting["label"]: one for one in several if one.setting["tokens"] == shortest}
    ordered = sorted(several, key=lambda one: (one.setting["label"], one.setting["tokens"]))
    return [_row(sample, one, first.get(one.setting["label"])) for one in ordered]


def _row(sample: Sample, one: Runs, first: Runs | None) -> dict[str, Any]:
    found = None if first is None or one is first else _difference(sample, one, first)
    told, over = found if found and not found[0].withheld else (None, None)
    value, low, high = (told.value, told.low, told.high) if told else (None, None, None)
    mine = {"n": len(one.top1), "seeds": " ".join(map(str, one.seeds)), "test_top1_percent_mean": mean_top1(one)}
    mine |= {"difference_points": value, "difference_points_low": low, "difference_points_high": high}
    mine |= {"interval_over": over if low is not None else None}
    return {name: one.setting[name] for name in COLUMNS} | mine | {"failed": one.failed_words or None}


def _difference(sample: Sample, one: Runs, first: Runs) -> tuple[Estimate, str]:
    """Less the first, and what its interval is over."""
    between = sample.interval(operator.sub, one, first)
    shared = [seed for seed in one.seeds if seed in first.top1]
    if between.n > 1 or not shared or sample.over(one, first) == OVER_SEEDS:
        return between, sample.over(one, first)
    nets = (dataclasses.replace(runs, top1={seed: runs.top1[seed] for seed in shared}) for runs in (one, first))
    mine, theirs = (100 * sample.correct_of(runs).mean(axis=0) for runs in nets)
    found = mean_interval(mine - theirs)
    assert found is not None  # a test split has images
    return dataclasses.replace(between, value=found.value, low=found.low, high=found.high), OVER_IMAGES


def write_padding(sample: Sample, folder: Path, source: str) -> list[Path]:
    """Writes padding.csv and padding.md where nets were padded to several lengths.

    Args:
        sample: of one group's records.
        folder: the group's tables.
        source: data set, profile and machine, in words.

    Returns:
        The paths written; none where there is nothing to compare.
    """
    settings = [(several, padding_rows(sample, several)) for several in padding_settings(sample)]
    if not settings:
        return []
    table = pd.DataFrame([row for _, rows in settings for row in rows], dtype=object)
    parts = [_part(several, rows) for several, rows in settings]
    page = "\n\n".join([f"# {TITLE}", f"{markdown(clean(source))}\n{markdown(NOTE)}", *parts])
    return write_texts(folder, {"padding.csv": csv_text(table), "padding.md": page})


def _part(several: Sequence[Runs], rows: Sequence[Mapping[str, Any]]) -> str:
    """One setting as people read it: the mixers by the lengths of their nets."""
    setting, lengths = several[0].setting, lengths_of(several)
    told = ", ".join(text for text in setting_words(setting) if not text.startswith("padded to"))
    cells = {(row["label"], row["tokens"]): _cell(row) for row in rows}
    family = {row["label"]: row["family"] for row in rows}
    header = ["mixer", "family", *(f"net of {n:,} tokens" for n in lengths)]
    body = [
        [markdown(a), markdown(family[a]), *(markdown(cells.get((a, n), NOTHING)) for n in lengths)] for a in family
    ]
    failed = [f"{row['failed']}, net of {row['tokens']:,} tokens" for row in rows if row["failed"]]
    lost = f"\nNot all runs ended: {markdown('; '.join(failed))}.\n" if failed else ""
    return f"{markdown(told)}:\n\n{markdown_table(header, body, 2)}{lost}"


def _cell(row: Mapping[str, Any]) -> str:
    """ "41.2 (3), −3.2 [−4.0, −2.4]"."""
    text = f"{percent(row['test_top1_percent_mean'])} ({row['n']})"
    if row["difference_points"] is None:
        return text
    text += f", {signed(row['difference_points'])}"
    low, high = row["difference_points_low"], row["difference_points_high"]
    if low is None:
        return text
    return f"{text} [{signed(low)}, {signed(high)}]{' †' if row['interval_over'] == OVER_IMAGES else ''}"
