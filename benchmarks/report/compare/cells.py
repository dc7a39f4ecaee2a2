"""Which settings of two results folders are one and the same, but for what was changed on purpose."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.contract.datasets import SIZES
from benchmarks.contract.fields import MATCH as MATCHED
from benchmarks.contract.fields import NET as OF_NET
from benchmarks.contract.trial import names_of
from benchmarks.report.choose import preferred
from benchmarks.report.frame import TRIAL_FIELDS, plain

KINDS = ("accuracy", "cost", "latency")
SEVERAL = ("kind", "seed", "rounds")  # of these a cell holds what there is
OF_TIMES = ("machine", "processor", "torch")  # what only a time depends on
SETTING = [name for name in TRIAL_FIELDS if name not in SEVERAL]
MACHINE = ("device", "threads", *OF_TIMES)  # not its precision, which is chosen
CODE = ("mixer_version", "mixer_source", "recipe_version")
ALWAYS = ("dataset", "dataset_source", "mixer")
NET = (*ALWAYS, *(name for name in names_of(OF_NET, MATCHED) if name not in CODE), "compiled")
SIZE = (*ALWAYS, *SIZES, "dim", "depth")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One mixer in one setting: its training runs by seed, or its one record of cost or latency."""

    kind: str
    setting: Mapping[str, Any]
    rows: pd.DataFrame

    @property
    def mixer(self) -> str:
        return str(self.setting["mixer"])


@dataclasses.dataclass(frozen=True)
class Match:
    """A cell of A and the cell of B that it is compared with.

    One side is None where only the other folder has the setting; both where `rivals` says that several fit.
    """

    kind: str
    a: Cell | None
    b: Cell | None
    setting: Mapping[str, Any]  # B's, or that of the side that has it
    differs: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    rivals: str = ""


def cells_of(frame: pd.DataFrame) -> list[Cell]:
    """All cells of a folder; of several records of one cost or latency the one with most sittings and rounds."""
    found = []
    for kind in KINDS:
        rows = frame[frame["kind"] == kind]
        rows = rows if kind == "accuracy" else preferred(rows)
        fields = [*SETTING, *(OF_TIMES if kind == "latency" else ())]
        for _, several in rows.groupby(fields, dropna=False, sort=False):
            own = several if kind == "accuracy" else several.head(1)
            found.append(Cell(kind, {name: plain(own.iloc[0][name]) for name in fields}, own))
    return sorted(found, key=lambda cell: (cell.kind, [str(value) for value in cell.setting.values()]))


def matches(first: Sequence[Cell], second: Sequence[Cell]) -> list[Match]:
    """Pairs the cells of two folders, those that agree in everything first, then those that agree in less and less.

    What is left out first is what was changed on purpose, that is the fields in which no cell of one folder agrees with
    any of the other; then code and machine, then the recipe, then all but the size of the net. What is left beside a
    pair that agrees in the same has no pair, nor have cells of which several fit.
    """
    return [
        match
        for kind in KINDS
        for match in _matches(*([cell for cell in side if cell.kind == kind] for side in (first, second)))
    ]


def _matches(first: list[Cell], second: list[Cell]) -> list[Match]:
    """Of one kind."""
    found: list[Match] = []
    for fields in _levels(first, second):
        known = {_key(match, fields) for match in found}
        groups = [_grouped(side, fields) for side in (first, second)]
        for key in sorted(groups[0].keys() & groups[1].keys() - known, key=repr):
            found.append(_match(groups[0].pop(key), groups[1].pop(key)))
        first, second = ([cell for own in by_key.values() for cell in own] for by_key in groups)
    found += [Match(cell.kind, cell, None, cell.setting) for cell in first]
    return found + [Match(cell.kind, None, cell, cell.setting) for cell in second]


def _levels(first: Sequence[Cell], second: Sequence[Cell]) -> list[list[str]]:
    """The fields that the cells of a pair must agree in, fewer with each level."""
    if not first or not second:
        return []
    fields = list(first[0].setting)
    shared = [name for name in fields if name in ALWAYS or _values(first, name) & _values(second, name)]
    alike = [name for name in shared if name not in (*CODE, *MACHINE)]
    return [fields, shared, alike, *([name for name in shared if name in net] for net in (NET, SIZE))]


def _values(cells: Sequence[Cell], name: str) -> set[Any]:
    return {cell.setting[name] for cell in cells}


def _key(cell: Cell | Match, fields: Sequence[str]) -> tuple[Any, ...]:
    return tuple(cell.setting[name] for name in fields)


def _grouped(cells: Sequence[Cell], fields: Sequence[str]) -> dict[tuple[Any, ...], list[Cell]]:
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_key(cell, fields), []).append(cell)
    return groups


def _match(first: Sequence[Cell], second: Sequence[Cell]) -> Match:
    a, b = first[0], second[0]
    if len(first) > 1 or len(second) > 1:
        fields = [name for name in a.setting if len(_values([*first, *second], name)) > 1]
        rivals = "; ".join(f"{side}: {_choices(cells, fields)}" for side, cells in (("A", first), ("B", second)))
        return Match(a.kind, None, None, b.setting, rivals=rivals)
    differs = {name: (a.setting[name], b.setting[name]) for name in a.setting if a.setting[name] != b.setting[name]}
    return Match(a.kind, a, b, b.setting, differs)


def _choices(cells: Sequence[Cell], fields: Sequence[str]) -> str:
    return " or ".join(" ".join(f"{name} {cell.setting[name]}" for name in fields) for cell in cells)
