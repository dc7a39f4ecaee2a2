"""`gpu-check.md` from `gpu-check.json` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contract.errors import printable
from benchmarks.studies.files import row, write_beside
from benchmarks.studies.gpu_check.record import FILES, GpuCheckRecord, load

PAGE = "gpu-check.md"
TITLES = {
    "device": "The machine",
    "ceilings": "Ceilings",
    "training": "A short training run of each core mixer, full profile",
    "kernels": "Over a copy of the input",
    "tests": "Tests that need a GPU",
    "crossovers": "Crossovers of methods",
}


def write_pages(results: Path) -> list[Path]:
    """Writes the page beside the record, if there is one; returns its path.

    Raises:
        UserError: the record cannot be read.
    """
    return write_beside(results, FILES, lambda path: {PAGE: people(load(path))})


def people(record: GpuCheckRecord) -> str:
    """All steps in Markdown."""
    lines = ["# GPU check", ""]
    for name, outcome in record.steps.items():
        why = f" ({outcome.reason})" if outcome.reason else ""
        lines += [f"## {TITLES.get(name, name)}: {outcome.status}{why}, {outcome.seconds:.0f} s", ""]
        lines += _table(outcome.rows)
    commit = record.code["commit"] or record.code["reason"]
    return "\n".join([*lines, f"Code: {commit}. `make gpu-check` makes this page.", ""])


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for one in rows for key in one))
    if not columns:
        return []
    body = [row(*(_cell(one.get(key)) for key in columns)) for one in rows]
    return [row(*columns), "|" + "---|" * len(columns), *body, ""]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else printable(value).replace("|", "/")
