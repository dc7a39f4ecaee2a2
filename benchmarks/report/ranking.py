"""The trained mixers in a few lines for a terminal, by the rows, the intervals and the rules of the page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmarks.contract import called
from benchmarks.report.baselines import ABOVE, baselines_of
from benchmarks.report.choose import best_learning_rates, by_main_metric, finished, main_comparison, ranked
from benchmarks.report.frame import plain
from benchmarks.report.page.headlines import mean_with_interval
from benchmarks.report.page.write import Group
from benchmarks.report.sizes import extent_of, size_words, worded
from benchmarks.report.stats.leader import contenders, front, leader, leader_text, what_settles
from benchmarks.report.wording import NOTHING, clean, failed_words, metric, signed, significant, span_of

MOST_ROWS = 10
TOP1 = "top-1 (%)"  # as `by_main_metric` calls it
TIME, MEMORY = "net_forward_ms_per_image", "peak_memory_bytes"


def ranking(group: Group) -> list[str]:
    """A table of at most MOST_ROWS mixers by test accuracy with interval, time and memory, best first; [] without any.

    Of a task that asks for a number, such as STS-B, by its correlation. Those on the front of accuracy against time are
    marked, and where not all have room they have it before others. Those that have not left their baseline come behind
    the others, and those of which too many runs failed last, as on the page.
    """
    rows, score = by_main_metric(group.tables["summary"])
    if finished(rows).empty:
        return []
    rows = ranked(best_learning_rates(main_comparison(rows))).reset_index(drop=True)
    best = front(rows, TIME)
    order = rows.assign(_other=~rows["label"].isin(best)).sort_values("_other", kind="stable")
    shown = order.head(MOST_ROWS).sort_index()
    first, seeds = rows.iloc[0], rows["n"][rows["n"] > 0]
    columns = {
        "": ["*" if label in best else "" for label in shown["label"]],
        "mixer": [clean(label) for label in shown["label"]],
        f"{score.removesuffix(' (%)')}, 95 % interval": [score_text(row, score == TOP1) for _, row in shown.iterrows()],
        "seeds": [str(n) for n in shown["n"]] if seeds.nunique() > 1 else [],
        worded("ms/image", extent_of(rows)): [significant(plain(value)) for value in shown[TIME]],
        "peak MB": [metric(MEMORY, plain(value)) for value in shown[MEMORY]],
        " ": [remark(row) for _, row in shown.iterrows()],
    }
    columns = {name: cells for name, cells in columns.items() if {*cells} - {"", NOTHING}}
    setting = f"{first['dataset']}, {size_words(first)}"
    setting += ", pre-trained on its own sequences" if plain(first["pretrain"]) == "own" else ""
    lines = [f"{setting}; {span_of(seeds, 'seed')}:", *aligned(columns)]
    if len(rows) > len(shown):
        lines.append(f"and {len(rows) - len(shown)} more mixers in tables/{group.name}/summary.md")
    lines += ["* none is both faster and as accurate"] if best else []
    if found := baselines_of(rows):
        lines.append(
            "without a net: " + ", ".join(f"{label} {value:.1f} %" for label, value in reversed(found.items()))
        )
    leads = leader(group.sample, contenders(rows).ready) if score == TOP1 else None  # which is best rests on accuracies
    if leads is not None:
        words = leader_text(leads).replace(what_settles(called.MAKE), what_settles(called.way()))
        lines.append(f"the most accurate: {words}")
    return lines


def aligned(columns: dict[str, list[str]]) -> list[str]:
    """A table as lines, what is told in words or with an interval to the left, bare numbers to the right."""
    texts = []
    for name, cells in columns.items():
        width = max(map(len, [name, *cells]))
        right = all(cell == NOTHING or cell.replace(",", "").replace(".", "").isdigit() for cell in cells)
        texts.append([cell.rjust(width) if right else cell.ljust(width) for cell in (name, *cells)])
    return ["  ".join(line).rstrip() for line in zip(*texts, strict=True)]


def score_text(row: pd.Series, is_top1: bool) -> str:
    """ "55.2 [50.1, 60.3]", or why there is none."""
    if row["status"] != "ok":
        return str(row["status"])
    if is_top1:
        return mean_with_interval(row, unit="")
    mean, low, high = (plain(row[f"test_top1_percent_{end}"]) for end in ("mean", "low", "high"))
    if mean is None:
        return NOTHING
    texts = [signed(value).removeprefix("+") for value in (mean, low, high) if value is not None]
    return texts[0] + (f" [{texts[1]}, {texts[2]}]" if len(texts) > 1 else "")


def remark(row: pd.Series) -> str:
    """Why a row is not ranked like others, in words; nothing of most."""
    failed = failed_words(row["n"], row["n_failed"])
    standing = plain(row.get("standing"))
    withheld = "withheld: " if row["_withheld"] and row["n"] else ""
    words = [withheld + failed, "" if standing in (None, ABOVE) else standing]
    return "; ".join(filter(None, words))


def groups_of(groups: Sequence[Group], ids: set[str]) -> list[Group]:
    """The groups that hold accuracy records with these ids."""
    return [g for g in groups if not ids.isdisjoint(g.frame.loc[g.frame["kind"] == "accuracy", "id"])]
