"""The page's section on how the order of mixers held as training went on, and on what is settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report.claims.settled import RULE, settled, settled_cells
from benchmarks.report.frame import objects
from benchmarks.report.page.tables import Table, frame_table
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.tables.convergence import long_runs
from benchmarks.report.tables.convergence_files import NOTE, sections


def page_sections(evidence: Evidence, all_evidence: Sequence[Evidence]) -> Mapping[str, Any] | None:
    """What the page shows of one group: tables of the order, and the statements; None without long runs."""
    groups = long_runs(evidence.sample, evidence.frame)
    if not groups:
        return None
    tables: list[Table] = []
    for i, group in enumerate(groups):
        for name, words, rows, _ in sections(group):
            caption = f"{group.words}. {words}" if words == NOTE else words
            tables += [frame_table(f"long{i}-{name}", caption, objects(rows))] if rows else []
    answers = settled_cells(settled(all_evidence))
    return {"tables": tables, "settled": frame_table("settled", RULE, objects(answers))}
