"""What the page's charts show, as plain values for its script; every number comes from the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from benchmarks.report.alike import USUAL
from benchmarks.report.choose import finished, once_a_size, patch_sweeps, runs_of, sweeps, timed_in
from benchmarks.report.commands import latency_command, train_command
from benchmarks.report.frame import plain, size_order
from benchmarks.report.notes import caption, holes
from benchmarks.report.plots.latency import copy_floor, missing_sizes
from benchmarks.report.plots.style import mixer_style
from benchmarks.report.sizes import SEQUENCES, Extent, extent_of, row_extent, worded
from benchmarks.report.tables.latency import TIMES
from benchmarks.report.wording import clean, percent_within, ranged, significant, span_of

SYMBOLS = {  # matplotlib's markers in plotly's words
    "o": "circle", "s": "square", "D": "diamond", "^": "triangle-up", "v": "triangle-down", "<": "triangle-left",
    ">": "triangle-right", "P": "cross", "X": "x", "h": "hexagon", "d": "diamond-tall", "p": "pentagon",
    "8": "octagon", "H": "hexagon2",
}  # fmt: skip
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}  # and a variant's own
TIME_LABELS = {
    "net_forward": "net, forward (ms per image)",
    "net_forward_backward": "net, training step: forward + backward (ms per image)",
    "mixer_forward": "mixer alone, forward (ms per image)",
    "mixer_forward_backward": "mixer alone, forward + backward (ms per image)",
}
TOP1 = "test_top1_percent_mean"
LATENCY = "net_forward_ms_per_image"


def look(label: str) -> dict[str, Any]:
    """Name, colour, symbol and line of a mixer, as the plots have them."""
    style = mixer_style(label)
    hollow = style["markerfacecolor"] == "white"
    return {
        "label": clean(label),
        "colour": style["color"],
        "symbol": SYMBOLS[style["marker"]] + ("-open" if hollow else ""),
        "dash": "longdashdot" if hollow else DASHES[style["linestyle"]],
    }


def seeds_of(row: Mapping[Any, Any]) -> list[int]:
    return [int(seed) for seed in row["seeds"].split()] or [0]


def curves(frame: pd.DataFrame, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Held-out accuracy by epoch: every seed, and their mean where all have it."""
    trained = finished(frame, "accuracy")
    found = []
    for _, row in rows.iterrows():
        runs = runs_of(row, trained).sort_values("seed")
        columns = {
            int(seed): {int(e["epoch"]): e.get("val_top1_percent") for e in history}
            for seed, history in zip(runs["seed"], runs["history"], strict=True)
        }
        table = pd.DataFrame(columns, dtype=float).dropna().sort_index()
        if len(table):
            found.append(
                look(row["label"])
                | {
                    "x": [int(epoch) for epoch in table.index],
                    "mean": rounded(table.mean(axis=1)),
                    "seeds": {str(seed): rounded(table[seed]) for seed in table},
                }
            )
    return sorted(found, key=lambda curve: (-curve["mean"][-1], curve["label"]))


def latency_sweeps(frame: pd.DataFrame, latency: pd.DataFrame) -> list[dict[str, Any]]:
    """The sweeps over image sizes: per quantity, a line for each mixer."""
    found, extent = [], extent_of(latency)
    for suffix, rows in sweeps(latency).items():
        first = rows.iloc[0]
        timed, ready = timed_in(rows, frame), once_a_size(rows)
        quantities: list[dict[str, Any]] = [
            {"key": f"{name}_ms_per_image", "label": TIME_LABELS[name], "scale": 1.0} for name in TIMES.values()
        ]
        each = ready["batch_size"].nunique() > 1
        memory = "peak memory of the net, forward + backward (MB" + (" per image of the batch)" if each else ")")
        images = pd.to_numeric(ready["batch_size"]) if each else 1
        ready = ready.assign(memory=pd.to_numeric(ready["peak_memory_bytes"]) * 1e-6 / images)
        quantities.append({"key": "memory", "label": memory, "scale": 1.0})
        quantities += [
            {"key": f"{name}_over_attention", "label": TIME_LABELS[name].replace("(ms per image)", "over attention's")}
            for name in TIMES.values()
        ]
        shown = [q | {"label": worded(q["label"], extent), "lines": sweep_lines(ready, q["key"])} for q in quantities]
        floor = copy_floor(rows)
        how = f", {'compiled' if first['compiled'] else 'eager'}, {first['precision']}; medians over rounds"
        found.append(
            {
                "key": suffix,
                "title": suffix or sweep_title(first),
                "caption": " ".join([caption(timed, timed, how), *holes(missing_sizes(rows))]),
                "sizes": {
                    str(size): f"{tokens:,}"
                    for size, tokens in sorted(
                        set(zip(ready[extent.field], ready["tokens"], strict=True)),
                        key=lambda pair: size_order(pair[0]),
                    )
                },
                "quantities": [q for q in shown if q["lines"]],
                "floor": [[x, significant_value(y)] for x, y in floor],
            }
        )
    return found


def sweep_title(row: Mapping[Any, Any] | pd.Series) -> str:
    where = "by length" if row_extent(row) is SEQUENCES else f"patch {row['patch_size']} px"
    return f"{where}, {row['precision']}"


def sweep_place(extent: Extent, size: int, tokens: int) -> str:
    """ "at 32 px, 1,024 tokens", or "at 512 tokens"."""
    return f"{extent.at.format(size)}, {tokens:,} tokens" if extent.each_token else extent.at.format(size)


def sweep_lines(ready: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    found, extent = [], extent_of(ready)
    for label, mine in ready.groupby("label", sort=True):
        known = mine[[(plain(value) or 0) > 0 for value in mine[column]]]
        if known.empty:
            continue
        middles, sizes = list(known[column]), list(known[extent.field])
        ends = [f"{column}_low", f"{column}_high"]
        if ends[0] in known:
            numbers = [ranged(*three) for three in zip(middles, *(known[end] for end in ends), strict=True)]
        else:
            numbers = [significant(middle) for middle in middles]
        beside = zip(numbers, sizes, known["tokens"], known["batch_size"], strict=True)
        found.append(
            look(str(label))
            | {
                "x": [int(size) for size in sizes],
                "y": [significant_value(middle) for middle in middles],
                "text": [f"{text} {sweep_place(extent, size, n)}, batch of {batch}" for text, size, n, batch in beside],
                "command": latency_command(known.iloc[0].to_dict(), sizes),
            }
        )
    return sorted(found, key=lambda line: (-line["x"][-1], -line["y"][-1], line["label"]))


def patch_title(rows: pd.DataFrame) -> str:
    """ "32 px, dim 64, depth 4, 5 epochs", of a sweep over patch sizes."""
    first = rows.iloc[0]
    words = [f"{first['image_size']} px"]
    words += [f"dim {first['dim']}"] if first["match"] == "width" else [f"equal {first['match']}"]
    words += [f"depth {first['depth']}", span_of([first["epochs"]], "epoch")]
    words += [f"{name} {first[name]}" for name in ("norm", "positions", "coordinates") if first[name] != USUAL[name]]
    return ", ".join(words)


def _end(row: Any, end: str) -> float | None:
    """An end of the interval of an accuracy."""
    value = plain(row[f"test_top1_percent_{end}"])
    return None if value is None else percent_within(value)


def patch_charts(frame: pd.DataFrame, summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Accuracy by patch size, of settings that differ in nothing else: is it the patches or the mixing?"""
    found = []
    for ready in patch_sweeps(summary):
        lines = []
        for label, mine in ready.groupby("label", sort=True):
            known = mine.sort_values("patch_size").to_dict("records")
            lines.append(
                look(str(label))
                | {
                    "x": [int(row["patch_size"]) for row in known],
                    "y": [significant_value(row[TOP1]) for row in known],
                    "low": [_end(row, "low") for row in known],
                    "high": [_end(row, "high") for row in known],
                    "tokens": [int(row["tokens"]) for row in known],
                    "n": [int(row["n"]) for row in known],
                    "commands": [train_command(row, seeds_of(row)) for row in known],
                }
            )
        found.append({"title": patch_title(ready), "caption": caption(frame, ready), "lines": lines})
    return found


def rounded(values: pd.Series) -> list[float]:
    return [round(float(value), 3) for value in values]


def significant_value(value: float) -> float:
    """Six digits: more than any of these numbers has, fewer bytes than it comes with."""
    return float(f"{value:.6g}")
