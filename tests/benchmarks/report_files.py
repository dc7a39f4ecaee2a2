"""What a report wrote, read again, and the groups that its page is made of."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.report.frame import results_frame, split_groups
from benchmarks.report.page.write import Group
from benchmarks.report.stats.paired import Sample
from benchmarks.report.tables.write import make_tables


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def only(rows: list[dict[str, str]], **wanted: str) -> dict[str, str]:
    found = [row for row in rows if all(row[k] == v for k, v in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows with {wanted}"
    return found[0]


def summary(results: Path) -> list[dict[str, str]]:
    return read(results / "tables" / "constellations-quick" / "summary.csv")


def make_groups(folder: Path) -> list[Group]:
    groups = []
    for name, frame in split_groups(results_frame(folder)).items():
        sample = Sample(frame, folder)
        groups.append(Group(name, frame, make_tables(frame, sample), sample))
    return groups
