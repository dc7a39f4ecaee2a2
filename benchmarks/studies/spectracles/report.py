"""The published log of the first source beside its runs here, as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contract.record import machine_name
from benchmarks.report.stats.intervals import mean_interval
from benchmarks.report.wording import (
    NOTHING,
    accuracy_text,
    count,
    listing,
    markdown,
    markdown_table,
    mean_text,
    percent,
    span_of,
)
from benchmarks.studies.files import write_beside
from benchmarks.studies.spectracles.record import FILES, SETTING, Entry, load

LAYOUTS = ("scrambled", "right")
METRICS = [
    *("test_top1_percent", "test_top5_percent", "test_loss", "train_loss", "params"),
    *("train_s", "train_images_per_s"),
]
OVER = {"chw": "(C, H, W)", "c": "(C)", "none": "none"}
COMPLEX_HEADER = ["complex parameters", "complex top-1 (%)", "complex - right (points)"]
HEADER = [
    *("width x depth", "n_linear", "standardise over", "residual", "parameters"),
    *("published epochs", "published top-1 (%)", "our epochs", "scrambled top-1 (%)", "right top-1 (%)"),
    "right - scrambled (points)",
]


def write_pages(results: Path) -> list[Path]:
    """Writes `spectracles.md`, a row a configuration, and `spectracles.csv`, a row a run, from `spectracles.json`.

    Returns:
        The two paths; none where there is no record.

    Raises:
        UserError: the record cannot be read.
    """

    def texts(path: Path) -> dict[str, str]:
        entries = load(path)
        return {"spectracles.md": people(entries), "spectracles.csv": programs(entries)} if entries else {}

    return write_beside(results, FILES, texts)


def people(entries: Sequence[Entry]) -> str:
    """The table in Markdown, with what must be known to read it."""
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(tuple(entry["settings"][name] for name in SETTING), []).append(entry)
    ordered = [groups[key] for key in sorted(groups, key=lambda key: [(v is not None, v) for v in key])]
    unlike = sum(
        group[0]["settings"]["epochs"] not in [line["epochs"] for line in group[0]["published"]] for group in ordered
    )
    epochs = (
        f"**Our epochs differ from the published ones in {unlike} of {len(ordered)} rows**; there the published figure "
        "says what the net reached after longer training, not what ours should be."
        if unlike
        else "Our epochs are the published ones, or the longer of two."
    )
    trained = sorted({entry["settings"]["train_images"] for entry in entries}, key=lambda n: (n is None, n))
    images = " or ".join("all" if n is None else f"{n:,}" for n in trained)
    lines = [
        f"{machines(entries)}; {span_of([len(seeds(group)) for group in ordered], 'seed')} a row.",
        f"CIFAR-100, test split read once at the end of each run. Trained on {images} images of the training split by "
        "the source's recipe: Adam at 0.001, batches of 256, float32, no schedule, no weight decay, no augmentation, "
        "images in [0, 1].",
        f"{epochs} The published figures are one run each, in the scrambled layout, with the test split read every "
        "epoch, and they differ in epochs among themselves.",
        "Both layouts start from the same weights and see the same order of images, so these two columns can be held "
        "against each other. ± is half of the 95 % Student-t interval over seeds, their number in parentheses; one "
        "seed has no interval. Chance is 1 %, and near it a difference says nothing.",
    ]
    header, rows = HEADER, [row(group) for group in ordered]
    if any(entry["settings"]["layout"] == "complex" for entry in entries):
        lines.append(
            "The complex net has complex-linear layers, in the right layout, at the width that brings its parameters "
            "nearest to the real net's. It starts from weights of its own and sees the same order of images."
        )
        header = HEADER + COMPLEX_HEADER
        rows = [cells + complex_cells(group) for cells, group in zip(rows, ordered, strict=True)]
    table = markdown_table(header, rows, 4)
    return "# The first source's net, its log run again\n\n" + "\n\n".join(lines) + "\n\n" + table


def row(group: Sequence[Entry]) -> list[str]:
    """The cells of one configuration."""
    settings = group[0]["settings"]
    published = group[0]["published"]
    real = [entry for entry in group if entry["settings"]["layout"] != "complex"]
    return [
        f"{settings['width']} x {settings['depth']}",
        str(settings["n_linear"]),
        OVER[settings["standardize"]],
        "yes" if settings["residual"] else "no",
        count(real[0]["metrics"].get("params")) if real else NOTHING,
        " / ".join(str(line["epochs"]) for line in published),
        " / ".join(percent(line["top1_percent"]) for line in published),
        str(settings["epochs"]),
        *(accuracy_cell(group, layout) for layout in LAYOUTS),
        difference(group, "right", "scrambled"),
    ]


def complex_cells(group: Sequence[Entry]) -> list[str]:
    """Those of `COMPLEX_HEADER`."""
    params = [entry["metrics"].get("params") for entry in group if entry["settings"]["layout"] == "complex"]
    cell = count(params[0]) if params else NOTHING
    return [cell, accuracy_cell(group, "complex"), difference(group, "complex", "right")]


def difference(group: Sequence[Entry], layout: str, other: str) -> str:
    """Mean over the seeds that both have, in points."""
    one, two = accuracies(group, layout), accuracies(group, other)
    gain = mean_interval([one[seed] - two[seed] for seed in sorted(set(one) & set(two))])
    return NOTHING if gain is None else mean_text(round(gain.value, 1) + 0.0, gain.half, gain.n)  # no -0.0


def accuracy_cell(group: Sequence[Entry], layout: str) -> str:
    """The mean over seeds, and how many runs failed and how; a failed run is no part of the mean."""
    mean = mean_interval(accuracies(group, layout).values())
    words = [] if mean is None else [accuracy_text(mean.value, mean.half, mean.n)]
    failed = [entry["status"] for entry in group if entry["settings"]["layout"] == layout and entry["status"] != "ok"]
    words += [f"{failed.count(status)} {status}" for status in dict.fromkeys(failed)]
    return markdown("; ".join(words)) or NOTHING


def accuracies(group: Sequence[Entry], layout: str) -> dict[int, float]:
    """Test top-1 in percent by seed."""
    return {
        entry["settings"]["seed"]: entry["metrics"]["test_top1_percent"]
        for entry in group
        if entry["settings"]["layout"] == layout and entry["status"] == "ok"
    }


def seeds(group: Sequence[Entry]) -> set[int]:
    return {entry["settings"]["seed"] for entry in group}


def machines(entries: Sequence[Entry]) -> str:
    """Processors or GPUs, and versions of torch, in words."""
    names = listing([machine_name(entry["environment"]) for entry in entries])
    return markdown(f"{names}, torch {listing([entry['environment']['torch'] for entry in entries])}")


def programs(entries: Sequence[Entry]) -> str:
    """The runs in CSV, in full precision and in the order of the file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [*SETTING, "layout", "seed"]
    writer.writerow([*names, "published_epochs", "published_top1_percent", "status", "reason", *METRICS])
    for entry in entries:
        published = [" / ".join(str(line[name]) for line in entry["published"]) for name in ("epochs", "top1_percent")]
        cells = [entry["settings"][name] for name in names] + published + [entry["status"], entry["reason"]]
        writer.writerow([*cells, *(entry["metrics"].get(name) for name in METRICS)])
    return text.getvalue()
