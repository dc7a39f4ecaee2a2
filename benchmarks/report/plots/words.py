"""What the titles and captions of plots say, worked out from the rows that are drawn: true of anybody's records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.report.alike import TRAINED_ALIKE, row_as_compared
from benchmarks.report.baselines import at_baseline, highest_words, own_interval
from benchmarks.report.choose import finished
from benchmarks.report.frame import plain
from benchmarks.report.notes import ABLATIONS, field_words
from benchmarks.report.plots.style import cut
from benchmarks.report.stats.leader import contenders
from benchmarks.report.wording import clean, listing, span_of

MOST_NAMES = 9
TOP1 = "test_top1_percent_mean"


def name(label: str) -> str:
    """A mixer's name in a title."""
    return cut(clean(label))


def scored(rows: pd.DataFrame) -> pd.DataFrame:
    """The finished rows with a top-1 accuracy: a task that asks for a number has none."""
    known = finished(rows)
    return known[known[TOP1].map(lambda mean: plain(mean) is not None).astype(bool)]


def sure(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that a title may call the highest.

    That is no row of which too many runs failed, none at its baseline, and no lucky run among means of several.
    """
    known = scored(rows)
    return known.loc[[row.name for row in contenders(known).ready]]


def against_baseline(rows: pd.DataFrame) -> str:
    """ "3 of 29 mixers lie above the highest baseline (bag of tokens, 62.3 %)"; nothing without baselines.

    Of single runs without an interval it names the highest.
    """
    known = scored(rows).to_dict("records")
    if not known or not highest_words(known[0]):
        return ""
    if any(own_interval(row) is None for row in known):  # whether it is above cannot be said
        scores = {row["label"]: float(row[TOP1]) for row in known}
        leader = f"{highest(scores, rows['n'])}: {max(scores.values()):.1f} %"
        return f"{leader}; the highest baseline is {highest_words(known[0])}"
    above = sum(not at_baseline(row) for row in known)
    who = f"{above or 'None'} of {len(known)} mixers {'lies' if above == 1 else 'lie'}"
    return f"{who} above the highest baseline ({highest_words(known[0])})"


def highest(scores: Mapping[str, float], seeds: Iterable[int]) -> str:
    """ "dct has the highest mean accuracy"; of several whose means read alike "4 mixers share" it.

    Args:
        scores: by mixer, in percent.
        seeds: how many each of them has.
    """
    top, what = max(scores.values()), accuracy_words(seeds)
    first = sorted(label for label, score in scores.items() if reads_alike(score, top))
    if len(first) == 1:
        return f"{name(first[0])} has the highest {what}"
    who = f"{name(first[0])} and {name(first[1])}" if len(first) == 2 else f"{len(first)} mixers"
    return f"{who} share the highest {what}"


def reads_alike(score: float, other: float) -> bool:
    return f"{score:.1f}" == f"{other:.1f}"


def accuracy_words(seeds: Iterable[int], what: str = "accuracy") -> str:
    """What a title calls accuracies, or losses: means, if only of some mixers, or those of one seed each."""
    return f"mean {what}" if max(seeds) > 1 else f"single-seed {what}"


def of_seeds(rows: pd.DataFrame, words: str) -> str:
    """What a caption says of the spread over seeds, where there are several, and who has more or fewer of them."""
    if not (rows["n"] > 1).any():
        return ""
    several = rows.groupby(rows["n"].map(int))["label"].unique()
    if len(several) == 1:
        return words
    usual = max(several.index, key=lambda n: (len(several[n]), n))
    apart = "; ".join(f"{n} of {some(sorted(several[n]))}" for n in several.index if n != usual)
    alone = " One seed has no bar." if 1 in several.index else ""
    return f"{words} Seeds: {apart}; {usual} of {'the other' if len(several[usual]) == 1 else 'all others'}.{alone}"


def some(labels: Sequence[str]) -> str:
    """Names, or of many their number."""
    return listing(labels) if len(labels) <= MOST_NAMES else f"{len(labels)} mixers"


def grey_words(shown: int, every: int) -> str:
    """What a caption says of the lines without a colour."""
    left = every - shown
    return f" Grey: the other {f'{left} mixers' if left > 1 else 'mixer'}." if left else ""


def differences(row: Mapping[Any, Any], main: Mapping[Any, Any]) -> str:
    """In what a setting differs from another: "16 px, dim 32, norm per token"."""
    row, main = row_as_compared(row), row_as_compared(main)
    fields = [f for f in TRAINED_ALIKE if f in row and plain(row[f]) != plain(main[f])]
    if row["match"] != "width" and "dim" in fields:
        fields.remove("dim")
    return ", ".join(setting_word(field, row) for field in fields)


def setting_word(field: str, row: Mapping[Any, Any]) -> str:
    value = plain(row[field])
    told = next((text for other, usual, text in ABLATIONS if (other, usual) == (field, value)), None)
    if told is not None:
        return told
    if field == "epochs":
        return span_of([value], "epoch")
    if field == "match":
        return f"equal {value}"
    if field == "image_size":
        return f"{value} px"
    if field == "padded_length" and value is None:
        return "not padded"
    if field == "coordinates":
        return f"coordinates {'on' if value else 'off'}"
    return clean(field_words(field, value).replace("_", " "))
