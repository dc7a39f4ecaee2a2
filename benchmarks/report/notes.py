"""What stands below a plot: where its numbers come from, and what is missing from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmarks.contract.choices.chosen_nets import CHOSEN
from benchmarks.contract.fields import MACHINE, NET, RECIPE
from benchmarks.contract.trial import ADDED, FACTS, names_of
from benchmarks.report.frame import plain
from benchmarks.report.wording import clean, listing, span_of

# field, what stands before its value in a caption, and behind it
SETTING_WORDS = [(name, FACTS[name].noun, FACTS[name].unit) for name in names_of(NET) if FACTS[name].noun]
ABLATIONS = [(name, value, text) for name in names_of(NET, MACHINE) for value, text in FACTS[name].common]
UNUSUAL = [name for name in names_of(RECIPE) if name in ADDED]  # said where the recipe is not the one of before
STATUS_WORDS = {"oom": "out of memory", "error": "failed", "timeout": "timed out"}


def field_words(name: str, value: Any) -> str:
    """ "depth 4", "patch 2 px", of a field of a trial."""
    return next((f"{noun} {value}{unit}" for field, noun, unit in SETTING_WORDS if field == name), f"{name} {value}")


def setting_words(setting: Mapping[str, Any]) -> list[str]:
    """The same of every field of the net that a setting has."""
    return [field_words(name, setting[name]) for name, _, _ in SETTING_WORDS if setting.get(name) is not None]


def caption(frame: pd.DataFrame, rows: pd.DataFrame, extra: str = "") -> str:
    """ "constellations, quick profile, AMD EPYC, n = 3 seeds, 4 epochs.", of the rows shown."""
    first = frame.iloc[0]
    words = [first["dataset"], f"{first['profile']} profile", clean(first["machine"])]
    if "n" in rows:
        words += [f"n = {span_of(rows['n'], 'seed')}", span_of(rows["epochs"], "epoch")]
    else:
        words += [f"n = {span_of([len(history) for history in rows['history']], 'round')}"]
    # what differs within a plot, such as the dim at equal parameters, is no part of its caption
    setting = [
        f"{noun} {rows[name].iloc[0]}{unit}"
        for name, noun, unit in SETTING_WORDS
        if rows[name].map(str).nunique() == 1 and plain(rows[name].iloc[0]) is not None
    ]
    setting.append(f"equal {listing(sorted(set(rows['match'])))}")
    if "budget" in rows and rows["budget"].nunique(dropna=False) == 1 and plain(rows["budget"].iloc[0]) is not None:
        setting.append(f"budget of dim {rows['budget'].iloc[0]}")
    if "net" in rows and (rows["net"] == CHOSEN).any():
        setting.append("norm and positions as chosen for each mixer")
    setting += [text for name, value, text in ABLATIONS if name in rows and (rows[name] == value).all()]
    setting += [
        f"{name.replace('_', ' ')} {rows[name].iloc[0]}"
        for name in UNUSUAL
        if name in rows and rows[name].nunique() == 1 and rows[name].iloc[0] != ADDED[name]
    ]
    return clean(", ".join(words) + "; " + ", ".join(setting) + extra) + "." + failed_sentence(rows)


def failed_sentence(rows: pd.DataFrame) -> str:
    """ " Failed runs: dct 5 of 8.", of rows of the summary, or nothing."""
    if "n_failed" not in rows:
        return ""
    failed = [
        f"{clean(row['label'])} {row['n_failed']} of {row['n'] + row['n_failed']}"
        for row in rows.to_dict("records")
        if row["n_failed"]
    ]
    return f" Failed runs: {listing(sorted(set(failed)))}." if failed else ""


def holes(missing: Mapping[str, str]) -> list[str]:
    """One paragraph that names what a plot lacks: "Not shown: random at 256 px (out of memory)."."""
    if not missing:
        return []
    return [
        "Not shown: "
        + "; ".join(f"{clean(what)} ({STATUS_WORDS.get(why, why)})" for what, why in sorted(missing.items()))
        + "."
    ]
