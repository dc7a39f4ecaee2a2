"""Which records stand in one comparison: the fields that must agree, and how rows are split by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.contract.choices.chosen_nets import CHOSEN
from benchmarks.contract.choices.profiles import USUAL_NET
from benchmarks.contract.fields import DATA, MIXER, NET, RECIPE
from benchmarks.contract.trial import ADDED, FACTS, FIELDS, names_of
from benchmarks.report.frame import GROUP, TRIAL_FIELDS, plain, slug

ATTENTION = "attention"
ACCURACY_SETTING = [name for name in TRIAL_FIELDS if name not in ("kind", "seed", "rounds", "compiled")]
# joins cost and latency, which do not read the data
SAME_NET = ["label", *(name for name in names_of(DATA, NET) if name not in (*GROUP, "dataset_source"))]
# Fields in which what stands in one ranking may differ, and why; it agrees in all others.
APART = {
    "kind": "each has tables of its own",
    **dict.fromkeys(names_of(MIXER), "what is compared; its label tells versions and sources apart"),
    **dict.fromkeys(set(GROUP) & set(TRIAL_FIELDS), "each has a folder of its own"),
    "seed": "a mean is over seeds",
    "match_dim": "counts as `budget` where there are several, see benchmarks.report.frame.budgets",
    "compiled": "of latencies alone, which add it",
    "rounds": "how often something was timed changes its interval alone",
    **{name: "chosen for each mixer by the same search" for name, facts in FACTS.items() if facts.tuned},
}
COMPARED = [name for name, facts in FACTS.items() if name not in APART and facts.role != RECIPE]
# norm and positions chosen for each mixer count as equal; what the width of each was solved for counts as `budget`
COMPARED += ["net", "budget"]
# accuracies that differ in one of these do not share a plot
TRAINED_ALIKE = [*COMPARED, *(name for name in names_of(RECIPE) if name not in APART)]
TIMED_ALIKE = [*COMPARED, "compiled", "processor"]  # latencies that differ in one of these have no ratio
SWEPT_ALIKE = [name for name in TIMED_ALIKE if name not in ("image_size", "length")]  # a sweep over sizes
COST_ALIKE = [name for name in TIMED_ALIKE if name not in ("compiled", "processor")]
TUNED_ALIKE = [*TRAINED_ALIKE, "lr", "weight_decay"]
# the rest are ablations
USUAL = {name: FIELDS[name] for name in ("match", "norm", "positions", "coordinates", "padded_length")} | {
    "compiled": False
}
USUAL |= {name: ADDED[name] for name in names_of(RECIPE) if name in ADDED}


def comparisons(table: pd.DataFrame, fields: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Splits rows into those that may share a plot: all `fields` equal.

    The width counts only where it is what trials hold equal; at equal parameters or FLOPs each mixer has its own.

    Returns:
        Frames by suffix for a file name. The first, "", is the comparison with most mixers, then most runs, then the
        fewest departures from the usual; the suffix of the others says in what they differ from it, such as
        "32px-patch4".
    """
    parts: dict[tuple[Any, ...], list[int]] = {}
    seen = as_compared(table, fields)
    columns = {f: [plain(value) for value in seen[f]] for f in fields}
    if "dim" in columns:
        columns["dim"] = [d if m == "width" else None for d, m in zip(columns["dim"], table["match"], strict=True)]
    for position, key in enumerate(zip(*columns.values(), strict=True)):
        parts.setdefault(key, []).append(position)

    def rank(key: tuple[Any, ...]) -> tuple[Any, ...]:
        rows = table.iloc[parts[key]]
        ready = rows[rows["status"] == "ok"]
        runs = int(ready["n"].sum()) if "n" in ready else len(ready)
        unusual = sum(value != USUAL.get(name, value) for name, value in zip(fields, key, strict=True))
        return (-ready["label"].nunique(), -runs, unusual, [str(value) for value in key])

    ordered = sorted(parts, key=rank)
    result = {}
    for key in ordered:
        pairs = zip(fields, key, ordered[0], strict=True)
        differs = [suffix_word(f, v) for f, v, main in pairs if v != main and not (f == "dim" and v is None)]
        result[slug("-".join(differs), longest=150) if differs else ""] = table.iloc[parts[key]].reset_index(drop=True)
    return result


def as_compared(table: pd.DataFrame, fields: Sequence[str] = ("net",)) -> pd.DataFrame:
    """The table as comparisons see it: what has the norm and positions chosen for its mixer counts as usual.

    Where `fields` leave the net out, norm and positions count as they are.
    """
    if "net" not in fields or "net" not in table or not (table["net"] == CHOSEN).any():
        return table
    chosen = table["net"] == CHOSEN
    usual = {"norm": USUAL_NET[0], "positions": USUAL_NET[1], "net": None}
    return table.assign(**{name: table[name].mask(chosen, value) for name, value in usual.items()})


def row_as_compared(row: Any, fields: Sequence[str] = ("net",)) -> dict[str, Any]:
    """The same of one row."""
    if "net" not in fields or row["net"] != CHOSEN:
        return dict(row)
    return dict(row) | {"norm": USUAL_NET[0], "positions": USUAL_NET[1], "net": None}


def all_but(fields: Sequence[str], free: Sequence[str]) -> list[str]:
    """Fields without those left free; where norm or positions are free, what was chosen of them says nothing."""
    without = {*free, *(["net"] if {"norm", "positions"} & set(free) else [])}
    return [name for name in fields if name not in without]


def held_equal(fields: Sequence[str], row: Any) -> list[str]:
    """Those of the fields that must agree with a row's: all but the width where a budget is what trials hold equal."""
    return [name for name in fields if name != "dim" or row["match"] == "width"]


def suffix_word(field: str, value: Any) -> str:
    if field == "image_size":
        return f"{value}px"
    if field == "patch_size":
        return f"patch{value}"
    if field == "length":
        return f"{value}tokens"
    if field == "compiled":
        return "compiled" if value else "eager"
    return f"{field}-{value}"


def same_rows(records: pd.DataFrame, row: Mapping[Any, Any] | pd.Series, fields: list[str]) -> pd.Series:
    left = np.arange(len(records))  # positions that agree in all fields so far: fewer with each
    for name in fields:
        wanted, values = plain(row[name]), records[name].to_numpy()[left]
        left = left[pd.isna(values) if wanted is None else np.asarray(values == wanted, dtype=bool)]
    same = pd.Series(False, index=records.index)
    same.iloc[left] = True
    return same
