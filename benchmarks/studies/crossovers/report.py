"""`crossovers.md` from `crossovers.json` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contract.record import write_texts
from benchmarks.studies.crossovers.record import DIM, FILES, Cell, CrossoversRecord, load
from benchmarks.studies.files import left_words, paths_of, row


def write_pages(results: Path) -> list[Path]:
    """Writes the page beside each record; returns their paths.

    Raises:
        UserError: a record cannot be read.
    """
    written = []
    for path in paths_of(results, FILES):
        written += write_texts(path.parent, {"crossovers.md": people(load(path))})
    return written


def people(record: CrossoversRecord) -> str:
    """The times in Markdown, a part for each precision."""
    parts = []
    for precision, table in record.tables.items():
        lines = [f"# Crossovers of methods{'' if record.one_precision else f', {precision}'}", ""]
        lines.append(_setting(table["measured_on"]))
        mine = [cell for cell in record.cells if cell.precision == precision]
        for kind in dict.fromkeys(cell.kind for cell in mine):
            lines += _kind([cell for cell in mine if cell.kind == kind], spaced=not record.one_precision)
        parts.append("\n".join(lines).rstrip("\n") + "\n")
    return "\n".join([*parts, *([left_words(record.left) + "\n"] if record.left else [])])


def _setting(on: Mapping[str, Any]) -> str:
    return (
        f"{on['machine']}, torch {on['torch']}, threads: {on['threads']}, {on['precision']}, dim {DIM}. Milliseconds, "
        f"forward / forward + backward, median of {on['rounds']} rounds; the smallest sum is bold. "
        "`python -m benchmarks crossovers` makes this page."
    )


def _kind(cells: Sequence[Cell], spaced: bool) -> list[str]:
    methods = list(dict.fromkeys(cell.method for cell in cells))
    lines = ["", f"## {cells[0].kind}: {cells[0].mixer}", "", row("tokens", *methods)]
    lines.append("| ---: |" + " ---: |" * len(methods))
    for tokens in dict.fromkeys(cell.tokens for cell in cells):
        found = {cell.method: cell for cell in cells if cell.tokens == tokens}
        best = min(found.values(), key=lambda cell: cell.cost_ms)
        lines.append(row(f"{tokens:,}", *(_text(found.get(method), best) for method in methods)))
    reasons = {f"- {c.method}, {c.tokens:,} tokens: {c.status}: {c.reason}" for c in cells if c.status != "ok"}
    return lines + [""] * spaced + sorted(reasons)


def _text(cell: Cell | None, best: Cell) -> str:
    if cell is None:
        return ""
    times = [f"{ms:.2f}" if ms is not None else cell.status for ms in (cell.forward_ms, cell.forward_backward_ms)]
    text = cell.status if cell.forward_ms is None and cell.forward_backward_ms is None else " / ".join(times)
    return f"**{text}**" if cell is best and cell.status == "ok" else text
