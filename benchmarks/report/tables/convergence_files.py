"""Convergence and what is settled, as files and as sections of the page; nothing where nothing was trained long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract.datasets import SIZES
from benchmarks.contract.record import atomic_write
from benchmarks.report.claims.parts import Evidence
from benchmarks.report.claims.settled import PLACES, RULE, STATEMENTS, Answer, settled
from benchmarks.report.page.tables import Table, frame_table
from benchmarks.report.plots.convergence import convergence_plot
from benchmarks.report.stats.intervals import Estimate, mean_interval
from benchmarks.report.tables.convergence import (
    HOLDS_ABOVE,
    SHORT_EPOCHS,
    Crossing,
    Long,
    accuracy_rows,
    crossings,
    long_runs,
    order_rows,
    order_verdict,
)
from benchmarks.report.wording import (
    NOTHING,
    clean,
    csv_text,
    markdown,
    markdown_table,
    percent_within,
    signed,
    span_of,
)

COSINE = (
    "Accuracy within a long cosine is not that of a short run, whose rate has come down by then: runs of five epochs "
    "of the same nets stand beside it."
)
NOTE = (
    "Held-out top-1 in percent, mean over seeds with its 95 % Student-t interval. The test split is read once, at the "
    f"end. {COSINE}"
)
ORDER_NOTE = (
    "Kendall's tau between the orders of the mixers: 1 the same, 0 unrelated, −1 reversed. 95 % intervals by a "
    "bootstrap over seeds; they err to the low side, since drawing seeds adds chance."
)


def write_convergence(evidence: Evidence, tables: Path, plots: Path) -> list[Path]:
    """Writes `convergence.md`, three CSV files and a plot for one group of records; nothing without long runs."""
    groups = long_runs(evidence.sample, evidence.frame)
    if not groups:
        return []
    frames = {
        "convergence": _of_all(groups, accuracy_rows),
        "convergence-order": _of_all(groups, order_rows),
        "convergence-crossings": _of_all(groups, lambda group: [_crossing_row(c) for c in crossings(group)]),
    }
    paths = [_write(tables / f"{name}.csv", csv_text(frame)) for name, frame in frames.items() if len(frame)]
    paths.append(_write(tables / "convergence.md", people(groups)))
    for i, group in enumerate(groups):
        paths += convergence_plot(group, evidence.frame, plots, "convergence" + (f"-{i + 1}" if i else ""))
    return paths


def write_settled(evidence: Sequence[Evidence], folder: Path) -> list[Path]:
    """Writes `settled.csv` and `settled.md`; nothing where no group holds long runs."""
    if not any(long_runs(group.sample, group.frame) for group in evidence):
        return []
    answers = settled(evidence)
    return [
        _write(folder / "settled.csv", csv_text(pd.DataFrame([_answer_row(a) for a in answers], dtype=object))),
        _write(folder / "settled.md", f"# What is settled and what is not\n\n{RULE}\n\n" + _settled_table(answers)),
    ]


def people(groups: Sequence[Long]) -> str:
    """All groups in Markdown: accuracies, rank correlations, pairs that cross."""
    lines = ["# Does the order hold as training goes on?", NOTE]
    for group in groups:
        lines += [f"## {markdown(group.words)}", _accuracy_table(group), _order_words(group), _order_table(group)]
        lines += _crossing_lines(group)
    return "\n\n".join(line.strip("\n") for line in lines) + "\n"


def page_sections(key: str, evidence: Evidence, all_evidence: Sequence[Evidence]) -> Mapping[str, Any] | None:
    """What the page shows of one group: tables of the order, and the statements; None without long runs."""
    groups = long_runs(evidence.sample, evidence.frame)
    if not groups:
        return None
    tables: list[Table] = []
    for i, group in enumerate(groups):
        name = f"{key}-long{i}"
        tables.append(frame_table(f"{name}-accuracy", f"{group.words}. {NOTE}", _shown(_accuracy_cells(group))))
        tables.append(frame_table(f"{name}-order", _order_words(group), _shown(_order_cells(group))))
        crossed = [_crossing_cells(c) for c in crossings(group) if c.crosses]
        if crossed:
            tables.append(frame_table(f"{name}-cross", _crossing_words(group), _shown(crossed)))
    answers = settled(all_evidence)
    return {"tables": tables, "settled": frame_table(f"{key}-settled", RULE, _shown(_settled_cells(answers)))}


def _shown(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), dtype=object)


def _of_all(groups: Sequence[Long], rows: Any) -> pd.DataFrame:
    sizes = [name for name in SIZES if any(g.setting[name] is not None for g in groups)]
    fields = (*sizes, "dim", "depth", "epochs", "augment", "device")
    found = [{name: g.setting[name] for name in fields} | row for g in groups for row in rows(g)]
    return pd.DataFrame(found, dtype=object)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(text.encode())
    return path


def _between(found: Estimate | None) -> str:
    """ "41.2 [40.1, 42.3]"."""
    if found is None:
        return NOTHING
    ends = [percent_within(end) for end in (found.low, found.high) if end is not None]
    return f"{found.value:.1f}" + (f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends else "")


def _accuracy_cells(group: Long) -> list[dict[str, str]]:
    rows = []
    for mixer in group.mixers:
        row = {"mixer": clean(mixer)}
        row |= {f"after {epoch}": _between(mean_interval(group.at(mixer, epoch))) for epoch in group.checkpoints}
        row["test, at the end"] = _between(mean_interval(group.runs[mixer].top1.values()))
        row[f"run of {SHORT_EPOCHS} epochs"] = _between(mean_interval(group.short_held.get(mixer, {}).values()))
        row["seeds"] = str(len(group.curves[mixer]))
        rows.append(row)
    return rows


def _order_cells(group: Long) -> list[dict[str, str]]:
    return [
        {
            "between": row["between"],
            "and": row["and"],
            "tau": f"{row['tau']:.2f}"
            + ("" if row["tau_low"] is None else f" [{row['tau_low']:.2f}, {row['tau_high']:.2f}]"),
            "seeds": str(row["n"]),
        }
        for row in order_rows(group)
    ]


def _crossing_row(found: Crossing) -> dict[str, Any]:
    row: dict[str, Any] = {"ahead_at_the_end": found.ahead, "behind_at_the_end": found.behind}
    for name, end in (("first", found.first), ("last", found.last)):
        row |= {f"{name}_points": end.value, f"{name}_points_low": end.low, f"{name}_points_high": end.high}
    return row | {"crosses": found.crosses, "order_stays_from_epoch": found.settled_from}


def _crossing_cells(found: Crossing) -> dict[str, str]:
    return {
        "ahead at the end": clean(found.ahead),
        "behind at the end": clean(found.behind),
        "difference at first (points)": _points(found.first),
        "at the end (points)": _points(found.last),
        "order stays from epoch": str(found.settled_from),
    }


def _points(found: Estimate) -> str:
    between = "" if found.low is None else f" [{signed(found.low)}, {signed(found.high)}]"
    return signed(found.value) + between


def _crossing_words(group: Long) -> str:
    found = crossings(group)
    if not found:
        return "No pair of mixers differs clearly, at first or at the end; one seed has no interval."
    crossed = sum(c.crosses for c in found)
    first = span_of([group.checkpoints[0]], "epoch")
    return (
        f"Of {span_of([len(found)], 'pair')} of mixers whose order is clear after {first} or after {group.last}, "
        f"{crossed} cross. Intervals by Student's t with the variance pooled over mixers, each at 95 %."
    )


def _order_words(group: Long) -> str:
    rule = f"holds: tau with the end above {HOLDS_ABOVE} by its whole interval; does not hold: below; else open"
    return f"{ORDER_NOTE} The order of runs of {SHORT_EPOCHS} epochs: {order_verdict(group)} ({rule})."


def _accuracy_table(group: Long) -> str:
    return _table(_accuracy_cells(group), 1)


def _order_table(group: Long) -> str:
    return _table(_order_cells(group), 2)


def _crossing_lines(group: Long) -> list[str]:
    crossed = [_crossing_cells(c) for c in crossings(group) if c.crosses]
    return [_crossing_words(group), *([_table(crossed, 2)] if crossed else [])]


def _settled_cells(answers: Sequence[Answer]) -> list[dict[str, str]]:
    by_place = {(a.statement.text, a.place): a for a in answers}
    return [
        {"statement": s.text} | {place: clean(by_place[s.text, place].words) for place in PLACES} for s in STATEMENTS
    ]


def _settled_table(answers: Sequence[Answer]) -> str:
    settings = dict.fromkeys(f"{a.place}: {a.setting}" for a in answers if a.setting)
    listed = "\n".join(f"- {markdown(text)}" for text in settings)
    return _table(_settled_cells(answers), 1 + len(PLACES)) + (f"\nMeasured on:\n\n{listed}\n" if listed else "")


def _table(rows: Sequence[Mapping[str, str]], left: int) -> str:
    return markdown_table(list(rows[0]), [[markdown(cell) for cell in row.values()] for row in rows], left)


def _answer_row(answer: Answer) -> dict[str, Any]:
    part = answer.part
    return {
        "statement": answer.statement.text,
        "place": answer.place,
        "outcome": answer.outcome,
        "compared": None if part is None else part.what,
        "effect_points": None if part is None else part.effect,
        "effect_points_low": None if part is None else part.low,
        "effect_points_high": None if part is None else part.high,
        "n": 0 if part is None else part.n,
        "pairs": answer.pairs,
        "setting": answer.setting,
    }
