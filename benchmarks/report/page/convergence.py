"""The page's section on how the order of mixers held as training went on, and on what is settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.report.claims.settled import RULE, settled, settled_cells
from benchmarks.report.page.tables import Table, frame_table
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.tables.convergence import crossings, long_runs
from benchmarks.report.tables.convergence_files import (
    NOTE,
    accuracy_cells,
    crossing_cells,
    crossing_words,
    order_cells,
    order_words,
)


def page_sections(key: str, evidence: Evidence, all_evidence: Sequence[Evidence]) -> Mapping[str, Any] | None:
    """What the page shows of one group: tables of the order, and the statements; None without long runs."""
    groups = long_runs(evidence.sample, evidence.frame)
    if not groups:
        return None
    tables: list[Table] = []
    for i, group in enumerate(groups):
        name = f"{key}-long{i}"
        tables.append(frame_table(f"{name}-accuracy", f"{group.words}. {NOTE}", _shown(accuracy_cells(group))))
        tables.append(frame_table(f"{name}-order", order_words(group), _shown(order_cells(group))))
        crossed = [crossing_cells(c) for c in crossings(group) if c.crosses]
        if crossed:
            tables.append(frame_table(f"{name}-cross", crossing_words(group), _shown(crossed)))
    answers = settled(all_evidence)
    return {"tables": tables, "settled": frame_table(f"{key}-settled", RULE, _shown(settled_cells(answers)))}


def _shown(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), dtype=object)
