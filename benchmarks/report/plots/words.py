"""What the titles and captions of plots say, worked out from the rows that are drawn: true of anybody's records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.report.alike import TRAINED_ALIKE, row_as_compared
from benchmarks.report.baselines import at_baseline, highest_words
from benchmarks.report.choose import finished, withheld
from benchmarks.report.frame import plain
from benchmarks.report.notes import ABLATIONS, field_words
from benchmarks.report.plots.style import cut
from benchmarks.report.stats.paired import FEWEST_SEEDS
from benchmarks.report.wording import clean, listing, span_of

TOP1 = "test_top1_percent_mean"


def name(label: str) -> str:
    """A mixer's name in a title."""
    return cut(clean(label))


def sure(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that a title may call the highest.

    That is no row of which too many runs failed, none at its baseline, and no lucky run among means of several.
    """
    known = finished(rows)
    kept = [plain(r[TOP1]) is not None and not withheld(r) and not at_baseline(r) for r in known.to_dict("records")]
    known = known[kept]
    most = known["n"].max() if len(known) else 0
    return known[[n >= min(most, FEWEST_SEEDS) for n in known["n"]]]


def stuck(rows: pd.DataFrame) -> str:
    """ "No mixer has left its baseline (bag of tokens, 62.3 %)", or nothing where one has."""
    known = finished(rows).to_dict("records")
    if not known or not all(map(at_baseline, known)):
        return ""
    return f"No mixer has left its baseline ({highest_words(known[0])})"


def highest(scores: Mapping[str, float]) -> str:
    """ "dct has the highest mean", or of several whose means read alike "dct and 3 others have the highest mean"."""
    top = max(scores.values())
    first = sorted(label for label, score in scores.items() if f"{score:.1f}" == f"{top:.1f}")
    if len(first) == 1:
        return f"{name(first[0])} has the highest mean"
    others = name(first[1]) if len(first) == 2 else f"{len(first) - 1} others"
    return f"{name(first[0])} and {others} have the highest mean"


def of_seeds(rows: pd.DataFrame, words: str) -> str:
    """What a caption says of the spread over seeds, where there are several, and who has more or fewer of them."""
    if not (rows["n"] > 1).any():
        return ""
    several = rows.groupby(rows["n"].map(int))["label"].unique()
    if len(several) == 1:
        return words
    usual = max(several.index, key=lambda n: (len(several[n]), n))
    apart = "; ".join(f"{n} of {listing(sorted(several[n]))}" for n in several.index if n != usual)
    alone = " One seed has no bar." if 1 in several.index else ""
    return f"{words} Seeds: {apart}; {usual} of {'the other' if len(several[usual]) == 1 else 'all others'}.{alone}"


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
    if field == "coordinates":
        return f"coordinates {'on' if value else 'off'}"
    return clean(field_words(field, value).replace("_", " "))


def plural(labels: Sequence[str]) -> str:
    return f"{len(labels)} mixers" if len(labels) != 1 else name(labels[0])
