"""Which settings of two results folders are one and the same, but for what was changed on purpose."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.contract.facts.datasets import SIZES
from benchmarks.contract.fields import MATCH as MATCHED
from benchmarks.contract.fields import NET as OF_NET
from benchmarks.contract.trial import names_of
from benchmarks.report.choose import preferred
from benchmarks.report.frame import TRIAL_FIELDS, plain

KINDS = ("accuracy", "cost", "latency")
SEVERAL = ("kind", "seed", "rounds")  # of these an entry holds what there is
OF_TIMES = ("machine", "processor", "torch")  # what only a time depends on
SETTING = [name for name in TRIAL_FIELDS if name not in SEVERAL]
MACHINE = ("device", "threads", *OF_TIMES)  # not its precision, which is chosen
CODE = ("mixer_version", "mixer_source", "recipe_version")
ALWAYS = ("dataset", "dataset_source", "mixer")
NET = (*ALWAYS, *(name for name in names_of(OF_NET, MATCHED) if name not in CODE), "compiled")
SIZE = (*ALWAYS, *SIZES, "dim", "depth")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One mixer in one setting: its training runs by seed, or its one record of cost or latency."""

    kind: str
    setting: Mapping[str, Any]
    rows: pd.DataFrame


@dataclasses.dataclass(frozen=True)
class Match:
    """An entry of A and the entry of B that it is compared with.

    One side is None where only the other folder has the setting; both where `rivals` says that several fit.
    """

    kind: str
    a: Entry | None
    b: Entry | None
    setting: Mapping[str, Any]  # B's, or that of the side that has it
    differs: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    rivals: str = ""


def entries_of(frame: pd.DataFrame) -> list[Entry]:
    """All entries of a folder; of several records of one cost or latency the one with most sittings and rounds."""
    found = []
    for kind in KINDS:
        rows = frame[frame["kind"] == kind]
        rows = rows if kind == "accuracy" else preferred(rows)
        fields = [*SETTING, *(OF_TIMES if kind == "latency" else ())]
        for _, several in rows.groupby(fields, dropna=False, sort=False):
            own = several if kind == "accuracy" else several.head(1)
            found.append(Entry(kind, {name: plain(own.iloc[0][name]) for name in fields}, own))
    return sorted(found, key=lambda entry: (entry.kind, [str(value) for value in entry.setting.values()]))


def matches(first: Sequence[Entry], second: Sequence[Entry]) -> list[Match]:
    """Pairs the entries of two folders, those that agree in everything first, then those that agree in less and less.

    What is left out first is what was changed on purpose, that is the fields in which no entry of one folder agrees
    with any of the other; then code and machine, then the recipe, then all but the size of the net. What is left
    beside a pair that agrees in the same has no pair, nor have entries of which several fit.
    """
    return [
        match
        for kind in KINDS
        for match in _matches(*([entry for entry in side if entry.kind == kind] for side in (first, second)))
    ]


def _matches(first: list[Entry], second: list[Entry]) -> list[Match]:
    """Of one kind."""
    found: list[Match] = []
    for fields in _levels(first, second):
        known = {_key(match, fields) for match in found}
        groups = [_grouped(side, fields) for side in (first, second)]
        for key in sorted(groups[0].keys() & groups[1].keys() - known, key=repr):
            found.append(_match(groups[0].pop(key), groups[1].pop(key)))
        first, second = ([entry for own in by_key.values() for entry in own] for by_key in groups)
    found += [Match(entry.kind, entry, None, entry.setting) for entry in first]
    return found + [Match(entry.kind, None, entry, entry.setting) for entry in second]


def _levels(first: Sequence[Entry], second: Sequence[Entry]) -> list[list[str]]:
    """The fields that the entries of a pair must agree in, fewer with each level."""
    if not first or not second:
        return []
    fields = list(first[0].setting)
    shared = [name for name in fields if name in ALWAYS or _values(first, name) & _values(second, name)]
    alike = [name for name in shared if name not in (*CODE, *MACHINE)]
    return [fields, shared, alike, *([name for name in shared if name in net] for net in (NET, SIZE))]


def _values(entries: Sequence[Entry], name: str) -> set[Any]:
    return {entry.setting[name] for entry in entries}


def _key(entry: Entry | Match, fields: Sequence[str]) -> tuple[Any, ...]:
    return tuple(entry.setting[name] for name in fields)


def _grouped(entries: Sequence[Entry], fields: Sequence[str]) -> dict[tuple[Any, ...], list[Entry]]:
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_key(entry, fields), []).append(entry)
    return groups


def _match(first: Sequence[Entry], second: Sequence[Entry]) -> Match:
    a, b = first[0], second[0]
    if len(first) > 1 or len(second) > 1:
        fields = [name for name in a.setting if len(_values([*first, *second], name)) > 1]
        rivals = "; ".join(f"{side}: {_choices(entries, fields)}" for side, entries in (("A", first), ("B", second)))
        return Match(a.kind, None, None, b.setting, rivals=rivals)
    differs = {name: (a.setting[name], b.setting[name]) for name in a.setting if a.setting[name] != b.setting[name]}
    return Match(a.kind, a, b, b.setting, differs)


def _choices(entries: Sequence[Entry], fields: Sequence[str]) -> str:
    return " or ".join(" ".join(f"{name} {entry.setting[name]}" for name in fields) for entry in entries)
