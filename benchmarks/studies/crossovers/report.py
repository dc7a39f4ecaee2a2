"""`crossovers.md` from `crossovers.json` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.studies.crossovers.record import DIM, FILES, CrossoversRecord, MethodTime, load
from benchmarks.studies.files import left_words, row, write_beside


def write_pages(results: Path) -> list[Path]:
    """Writes the page beside each record; returns their paths.

    Raises:
        UserError: a record cannot be read.
    """
    return write_beside(results, FILES, lambda path: {"crossovers.md": people(load(path))})


def people(record: CrossoversRecord) -> str:
    """The times in Markdown, a part for each precision."""
    parts = []
    for precision, table in record.tables.items():
        lines = [f"# Crossovers of methods{'' if record.one_precision else f', {precision}'}", ""]
        lines.append(_setting(table["measured_on"]))
        mine = [timed for timed in record.times if timed.precision == precision]
        for kind in dict.fromkeys(timed.kind for timed in mine):
            lines += _kind([timed for timed in mine if timed.kind == kind], spaced=not record.one_precision)
        parts.append("\n".join(lines).rstrip("\n") + "\n")
    return "\n".join([*parts, *([left_words(record.left) + "\n"] if record.left else [])])


def _setting(on: Mapping[str, Any]) -> str:
    return (
        f"{on['machine']}, torch {on['torch']}, threads: {on['threads']}, {on['precision']}, dim {DIM}. Milliseconds, "
        f"forward / forward + backward, median of {on['rounds']} rounds; the smallest sum is bold. "
        "`python -m benchmarks crossovers` makes this page."
    )


def _kind(times: Sequence[MethodTime], spaced: bool) -> list[str]:
    methods = list(dict.fromkeys(timed.method for timed in times))
    lines = ["", f"## {times[0].kind}: {times[0].mixer}", "", row("tokens", *methods)]
    lines.append("| ---: |" + " ---: |" * len(methods))
    for tokens in dict.fromkeys(timed.tokens for timed in times):
        found = {timed.method: timed for timed in times if timed.tokens == tokens}
        best = min(found.values(), key=lambda timed: timed.cost_ms)
        lines.append(row(f"{tokens:,}", *(_text(found.get(method), best) for method in methods)))
    reasons = {f"- {c.method}, {c.tokens:,} tokens: {c.status}: {c.reason}" for c in times if c.status != "ok"}
    return lines + [""] * spaced + sorted(reasons)


def _text(timed: MethodTime | None, best: MethodTime) -> str:
    if timed is None:
        return ""
    times = [f"{ms:.2f}" if ms is not None else timed.status for ms in (timed.forward_ms, timed.forward_backward_ms)]
    text = timed.status if timed.forward_ms is None and timed.forward_backward_ms is None else " / ".join(times)
    return f"**{text}**" if timed is best and timed.status == "ok" else text
