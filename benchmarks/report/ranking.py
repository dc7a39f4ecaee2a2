"""The trained mixers in a few lines for a terminal, from the very tables and answers of the page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmarks.contract import called
from benchmarks.report.baselines import baselines_of
from benchmarks.report.choose import by_main_metric, ranked
from benchmarks.report.frame import plain
from benchmarks.report.page.answers import answers, main_rows
from benchmarks.report.page.headlines import beside, mean_with_interval
from benchmarks.report.page.write import Group
from benchmarks.report.sizes import extent_of, size_words, worded
from benchmarks.report.stats.leader import what_settles
from benchmarks.report.wording import NOTHING, signed, significant, span_of

MOST_ROWS = 12
TOP1 = "top-1 (%)"  # as `by_main_metric` calls it


def ranking(group: Group) -> list[str]:
    """Mixers by test accuracy with interval, seeds and cost, best first, and what that says; [] without any.

    Of a task that asks for a number, such as STS-B, by its correlation. Those that have not left their baseline come
    behind the others, and those of which too many runs failed last, as in the page.
    """
    rows, score = by_main_metric(main_rows(group.tables["summary"]))
    if rows.empty:
        return []
    is_top1, shown = score == TOP1, score.removesuffix(" (%)")
    rows = ranked(rows)
    cells: list[tuple[str, ...]] = [
        (
            "mixer",
            f"test {shown}, 95 % interval",
            "seeds",
            "MFLOPs",
            worded("ms per image", extent_of(rows)),
        )
    ]
    cells[0] += ("against its baselines",) if "standing" in rows else ()
    for _, row in rows.head(MOST_ROWS).iterrows():
        flops, ms = plain(row["flops"]), plain(row["net_forward_ms_per_image"])
        cells.append(
            (
                str(row["label"]),
                (mean_with_interval(row) if is_top1 else correlation_text(row)) + beside(row),
                str(row["n"]),
                NOTHING if flops is None else f"{flops / 1e6:.2f}",
                NOTHING if ms is None else significant(ms),
                *([plain(row["standing"]) or ""] if "standing" in rows else []),
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    if len(rows) > MOST_ROWS:
        lines.append(f"and {len(rows) - MOST_ROWS} more, in the page")
    lines += baseline_lines(rows)
    first = rows.iloc[0]
    setting = f"{first['dataset']}, {size_words(first, ' px')}"
    setting += ", pre-trained on its own sequences" if plain(first["pretrain"]) == "own" else ""
    if not is_top1:  # which is best rests on accuracies
        return [f"{setting}; {span_of([int(n) for n in rows['n']], 'seed')}:", *lines]
    best = answers(group.sample, dict(group.tables), group.frame, group.verdicts)[0]
    answer = best.lines[0].replace(what_settles(called.MAKE), what_settles(called.way()))
    return [f"{setting}; {span_of([int(n) for n in rows['n']], 'seed')}:", *lines, f"{best.question} {answer}"]


def correlation_text(row: pd.Series) -> str:
    """ "55.2 [50.1, 60.3]", in points of 100."""
    mean, low, high = (plain(row[f"test_top1_percent_{end}"]) for end in ("mean", "low", "high"))
    if mean is None:
        return NOTHING
    texts = [signed(value).removeprefix("+") for value in (mean, low, high) if value is not None]
    return texts[0] + (f" [{texts[1]}, {texts[2]}]" if len(texts) > 1 else "")


def baseline_lines(rows: pd.DataFrame) -> list[str]:
    """What predictors reach that are no net, the highest first; [] where there are none."""
    found = baselines_of(rows)
    if not found:
        return []
    return ["without a net: " + ", ".join(f"{label} {value:.1f} %" for label, value in reversed(found.items()))]


def groups_of(groups: Sequence[Group], ids: set[str]) -> list[Group]:
    """The groups that hold accuracy records with these ids."""
    return [g for g in groups if not ids.isdisjoint(g.frame.loc[g.frame["kind"] == "accuracy", "id"])]
