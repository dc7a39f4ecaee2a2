"""How the order of mixers held, as tables for people and for programs; nothing where nothing was trained long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract.facts.datasets import SIZES
from benchmarks.contract.record import write_text
from benchmarks.report.stats.evidence import Evidence
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
    f"end. {COSINE} Rows that name a norm or positions are other nets of that mixer, and no part of the order."
)
NETS = {"norm": "norm per {}", "positions": "{} positions"}
ORDER_NOTE = (
    "Kendall's tau between the orders of the mixers: 1 the same, 0 unrelated, −1 reversed. 95 % intervals by a "
    "bootstrap over seeds; they err to the low side, since drawing seeds adds chance."
)


def write_convergence(evidence: Evidence, folder: Path) -> list[Path]:
    """Writes `convergence.md` and three CSV files for one group of records; nothing without long runs."""
    groups = long_runs(evidence.sample, evidence.frame)
    if not groups:
        return []
    frames = {
        "convergence": _of_all(groups, accuracy_rows),
        "convergence-order": _of_all(groups, order_rows),
        "convergence-crossings": _of_all(groups, lambda group: [_crossing_row(c) for c in crossings(group)]),
    }
    paths = [write_text(folder / f"{name}.csv", csv_text(frame)) for name, frame in frames.items() if len(frame)]
    return [*paths, write_text(folder / "convergence.md", people(groups))]


def people(groups: Sequence[Long]) -> str:
    """All groups in Markdown: accuracies, rank correlations, pairs that cross."""
    lines = ["# Does the order hold as training goes on?", NOTE]
    for group in groups:
        lines.append(f"## {markdown(group.words)}")
        for _, words, rows, left in sections(group):
            lines += [words] if words != NOTE else []
            lines += [cells_markdown(rows, left)] if rows else []
    return "\n\n".join(line.strip("\n") for line in lines) + "\n"


def sections(group: Long) -> list[tuple[str, str, list[dict[str, str]], int]]:
    """The tables of a group: a name, words, rows of cells by header, and how many columns are text."""
    crossed = [_crossing_cells(c) for c in crossings(group) if c.crosses]
    return [
        ("accuracy", NOTE, _accuracy_cells(group), 1),
        ("order", _order_words(group), _order_cells(group), 2),
        ("cross", _crossing_words(group), crossed, 2),
    ]


def _of_all(groups: Sequence[Long], rows: Any) -> pd.DataFrame:
    sizes = [name for name in SIZES if any(g.setting[name] is not None for g in groups)]
    fields = (*sizes, "dim", "depth", "epochs", "augment", "device")
    found = [{name: g.setting[name] for name in fields} | row for g in groups for row in rows(g)]
    return pd.DataFrame(found, dtype=object)


def _between(found: Estimate | None) -> str:
    """ "41.2 [40.1, 42.3]"."""
    if found is None:
        return NOTHING
    ends = [percent_within(end) for end in (found.low, found.high) if end is not None]
    return f"{found.value:.1f}" + (f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends else "")


def _accuracy_cells(group: Long) -> list[dict[str, str]]:
    rows = [_accuracy_row(group, mixer, mixer) for mixer in group.mixers]
    for other in group.beside:
        own = [
            words.format(other.setting[name])
            for name, words in NETS.items()
            if other.setting[name] != group.setting[name]
        ]
        rows += [_accuracy_row(other, mixer, ", ".join([mixer, *own])) for mixer in other.mixers]
    return rows


def _accuracy_row(group: Long, mixer: str, words: str) -> dict[str, str]:
    row = {"mixer": clean(words)}
    row |= {f"after {epoch}": _between(mean_interval(group.at(mixer, epoch))) for epoch in group.checkpoints}
    row["test, at the end"] = _between(mean_interval(group.runs[mixer].top1.values()))
    row[f"run of {SHORT_EPOCHS} epochs"] = _between(mean_interval(group.short_held.get(mixer, {}).values()))
    row["seeds"] = str(len(group.curves[mixer]))
    return row


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
    return (
        row
        | {"crosses": found.crosses, "clear_at_both_ends": found.clear}
        | {"order_stays_from_epoch": found.settled_from}
    )


def _crossing_cells(found: Crossing) -> dict[str, str]:
    return {
        "ahead at the end": clean(found.ahead),
        "behind at the end": clean(found.behind),
        "difference at first (points)": _points(found.first),
        "at the end (points)": _points(found.last),
        "clear at both ends": "yes" if found.clear else "no",
        "order stays from epoch": str(found.settled_from),
    }


def _points(found: Estimate) -> str:
    between = "" if found.low is None else f" [{signed(found.low)}, {signed(found.high)}]"
    return signed(found.value) + between


def _crossing_words(group: Long) -> str:
    found = crossings(group)
    if not found:
        return "No pair of mixers differs clearly, at first or at the end; one seed has no interval."
    crossed, both = sum(c.crosses for c in found), sum(c.crosses and c.clear for c in found)
    first = span_of([group.checkpoints[0]], "epoch")
    return (
        f"Of {span_of([len(found)], 'pair')} of mixers whose order is clear after {first} or after {group.last}, "
        f"{crossed} cross, {both} of them clear at both ends. Each interval is at 95 %, so of so many some are clear "
        "by chance."
    )


def _order_words(group: Long) -> str:
    rule = f"holds: tau with the end above {HOLDS_ABOVE} by its whole interval; does not hold: below; else open"
    return f"{ORDER_NOTE} The order of runs of {SHORT_EPOCHS} epochs: {order_verdict(group)} ({rule})."


def cells_markdown(rows: Sequence[Mapping[str, str]], left: int) -> str:
    return markdown_table(list(rows[0]), [[markdown(cell) for cell in row.values()] for row in rows], left)
