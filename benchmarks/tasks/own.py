"""The user's own data: from what was typed to images that a net is trained on.

A source knows its classes and the labels of its splits, reads its pictures one by one, and has a fingerprint. What it
does not divide is divided here, by a fixed seed and class by class; its pictures are decoded once, on all cores, into a
cache (`tasks.cache`) that every later trial of that image size reads.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.contract import called
from benchmarks.contract.errors import UserError, printable
from benchmarks.contract.facts.datasets import DATASETS, HOW_OWN, TIMM_KINDS, DatasetInfo, add_found, facts_of, info_of
from benchmarks.contract.record import cores
from benchmarks.contract.trial import Trial
from benchmarks.tasks.cache import Cache, find_cache, make_cache, mark_cache_folder
from benchmarks.tasks.images.pictures import Pixels
from benchmarks.tasks.images.stream import StreamedData, on_device
from benchmarks.tasks.task import HOLD_OUT_SEED, Data

TEST_SHARE = 0.2  # of each class, where a source has no test split
VAL_SHARE = 0.1  # of each class, where it has no held-out part
NEEDED_FOR = {"train": "training", "val": "held-out images", "test": "the test"}
UNKNOWN = (0.5, 0.5, 0.5)  # mean and deviation before the images are decoded
MOST_NAMED = 3  # files in one message
IN_FLIGHT = 64  # pictures of each core that are read ahead of the one to be written

log = logging.getLogger(__name__)

Reader = Callable[[tuple[int, int]], Pixels]
Parts = dict[str, tuple[str, NDArray[np.int64]]]  # train, val, test -> the source's split, and the images of it


class Source(Protocol):
    """What is asked of a data set of the user's own."""

    name: str  # as records keep it
    origin: str  # as it would be typed anywhere on this machine
    classes: tuple[str, ...]
    labels: dict[str, NDArray[np.int64]]  # by split: "train", "test" and perhaps "val"; or "all", to be divided
    augment_levels: tuple[str, ...]
    note: str | None  # a line for the user on what was left out

    def index(self, cache: Path) -> tuple[str, int]:
        """Fingerprint, and median of the shorter sides in pixels; `cache` may keep what was found out."""

    def pictures(self, split: str) -> Iterable[tuple[str, Reader]]:
        """Of each image, in the order of the labels: what to call it in an error, and what reads it at a size."""


def cache_folder(data_dir: Path) -> Path:
    """Where decoded images are kept."""
    data_dir = Path(data_dir).expanduser()
    return (data_dir.parent if data_dir.is_file() else data_dir) / "cache"


def open_source(dataset: str, data_dir: Path) -> Source:
    """The source that was typed.

    Raises:
        UserError: there is none, or it is not what it has to be.
    """
    from benchmarks.tasks.images import data_plugins, folder, timm_sets

    kind, colon, place = dataset.partition(":")
    if colon and kind == "folder":
        if not place:
            raise UserError(f"--dataset is {dataset!r}, of no folder; type {called.option('dataset', 'folder:PATH')}")
        return folder.Folder(folder.place_of(place))
    if dataset.partition("/")[0].lower() in TIMM_KINDS:
        return timm_sets.TimmSet(dataset, Path(data_dir).expanduser())
    if colon or dataset in data_plugins.entry_points():
        return data_plugins.PluginData(dataset, Path(data_dir).expanduser())
    if not dataset:
        raise UserError(f"--dataset is empty; allowed: {', '.join(DATASETS)}; or your own: {HOW_OWN}")
    if folder.place_of(dataset).is_dir():
        raise UserError(f"--dataset is {dataset!r}, a folder; type {called.option('dataset', f'folder:{dataset}')}")
    facts_of(dataset)  # says what is known
    raise UserError(f"--dataset is {dataset!r}, of which nothing is known here")


def find_own(dataset: str, data_dir: Path) -> DatasetInfo:
    """Looks for a data set of the user's own, as typed, and makes it known in this process; decodes nothing.

    Raises:
        UserError: there is none, or it cannot be trained on.
    """
    source = open_source(dataset, data_dir)
    parts = divide(source)
    fingerprint, side = _indexed(source, cache_folder(data_dir))
    if source.note:
        log.warning("%s", printable(source.note))
    counts = {part: len(images) for part, (_, images) in parts.items()}
    return add_found(
        DatasetInfo(
            name=source.name,
            num_classes=len(source.classes),
            mean=UNKNOWN,
            std=UNKNOWN,
            native_size=side,
            train_images=counts["train"],
            val_images=counts["val"],
            test_images=counts["test"],
            augment_levels=source.augment_levels,
            classes=source.classes,
            origin=source.origin,
            source=fingerprint,
        )
    )


def _indexed(source: Source, folder: Path) -> tuple[str, int]:
    try:
        mark_cache_folder(folder)
        return source.index(folder)
    except OSError as error:
        what = f"type {called.option('data_dir')} with a folder that can"
        raise UserError(f"{folder} cannot be written ({error.strerror or error}); {what}") from error


def divide(source: Source) -> Parts:
    """Which images are trained on, held out and tested on.

    Raises:
        UserError: there is one class alone, or a class has too few images.
    """
    classes, labels = source.classes, source.labels
    if len(classes) < 2:
        raise UserError(f"{source.name} has one class, {', '.join(classes)}; a net needs two or more to tell apart")
    first = "all" if "all" in labels else "train"
    missing = [part for part in NEEDED_FOR if part not in labels]
    if first == "train":
        missing = [part for part in missing if part != "train"]
    for label, name in enumerate(classes):
        count, needed = int((labels[first] == label).sum()), max(1, len(missing) + (first == "train"))
        if count < needed:
            what = ", ".join(words for part, words in NEEDED_FOR.items() if part in {*missing, "train"})
            raise UserError(
                f"{source.name}: class {name!r} has {count} image{'s' * (count != 1)}; it needs {needed} or more, one "
                f"each for {what}; add some, or remove the class"
            )
    shares = {part: share for part, share in (("test", TEST_SHARE), ("val", VAL_SHARE)) if part in missing}
    parts: Parts = {part: (part, np.arange(len(labels[part]))) for part in NEEDED_FOR if part in labels}
    for part, indices in _taken(labels[first], len(classes), shares).items():
        parts[part] = first, indices
    return {part: parts[part] for part in NEEDED_FOR}


def _taken(labels: NDArray[np.int64], classes: int, shares: Mapping[str, float]) -> dict[str, NDArray[np.int64]]:
    """Takes shares of each class, one image at least, and leaves the rest to "train"; indices in ascending order."""
    # RandomState's stream is frozen by NumPy's compatibility policy: the same images in every release
    shuffle = np.random.RandomState(HOLD_OUT_SEED)
    taken: dict[str, list[NDArray[np.int64]]] = {part: [] for part in (*shares, "train")}
    for label in range(classes):
        left = shuffle.permutation(np.flatnonzero(labels == label))
        whole = len(left)
        for part, share in shares.items():
            count = max(1, round(whole * share))
            taken[part].append(left[:count])
            left = left[count:]
        taken["train"].append(left)
    return {part: np.sort(np.concatenate(indices)) for part, indices in taken.items()}


def load_own(trial: Trial, data_dir: Path, device: torch.device) -> tuple[Data, DatasetInfo]:
    """The images of a trial of the user's own data, decoded before or now, and what is known of them since.

    Raises:
        UserError: an image cannot be read, or the data are others than those of the trial.
    """
    cache = cache_of(trial, data_dir)
    info = add_found(dataclasses.replace(info_of(trial.dataset), mean=cache.meta.mean, std=cache.meta.std))

    def part(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return on_device(cache.images(name), device), torch.from_numpy(cache.labels(name)).to(device)

    return StreamedData(part("train"), part("val"), lambda: part("test")), info


def cache_of(trial: Trial, data_dir: Path) -> Cache:
    """The decoded images of a trial, made where they are missing or damaged."""
    info = info_of(trial.dataset)
    assert info.source is not None and info.origin is not None
    slug = re.sub(r"[^\w.-]+", "_", info.name)[:60].strip("._")
    height, width = trial.size
    folder = cache_folder(data_dir) / f"{slug}-{info.source[:16]}-{height}x{width}"
    found = find_cache(folder, info.source)
    if found is not None:
        log.debug("%s: decoded images in %s", info.name, folder)
        return found
    source = open_source(info.origin, data_dir)
    if trial.dataset_source not in (None, info.source) or _indexed(source, cache_folder(data_dir))[0] != info.source:
        raise UserError(f"{info.name} has changed since this run began; start it again, and it is another data set")
    parts = divide(source)
    labels = {part: source.labels[split][indices] for part, (split, indices) in parts.items()}
    cache = make_cache(
        folder, info.source, trial.size, source.classes, labels, lambda: _decoded(source, parts, trial.size)
    )
    count = sum(map(len, labels.values()))
    log.info(
        "%s: %d images decoded to %d x %d px, kept in %s (%.1f MB)",
        info.name,
        count,
        height,
        width,
        folder,
        cache.bytes / 1e6,
    )
    return cache


def _decoded(source: Source, parts: Parts, size: tuple[int, int]) -> Iterator[tuple[str, Pixels]]:
    """Every picture with its part, read by as many threads as there are cores: Pillow lets go of the interpreter.

    Raises:
        UserError: some cannot be read; all of them are looked at before.
    """
    part_of = {split: np.full(len(labels), "", dtype=object) for split, labels in source.labels.items()}
    for part, (split, indices) in parts.items():
        part_of[split][indices] = part
    bad: list[str] = []
    for split, wanted in part_of.items():
        for part, picture in zip(wanted, _in_order(source.pictures(split), size), strict=True):
            if isinstance(picture, str):
                bad.append(picture)
            elif not bad:
                yield part, picture
    if bad:
        more = f" and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        raise UserError(
            f"{len(bad)} image{'s' * (len(bad) > 1)} of {source.name} cannot be read: {', '.join(bad[:MOST_NAMED])}"
            f"{more}; replace them, or move them out of the folder"
        )


def _in_order(pictures: Iterable[tuple[str, Reader]], size: tuple[int, int]) -> Iterator[Pixels | str]:
    """The pictures, and of those that cannot be read the name and why."""
    waiting: deque[Future[Pixels | str]] = deque()
    with warnings.catch_warnings(), ThreadPoolExecutor(cores()) as pool:
        warnings.simplefilter("ignore")  # of tags that Pillow cannot read
        for name, read in pictures:
            waiting.append(pool.submit(_read, name, read, size))
            if len(waiting) > IN_FLIGHT * cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(name: str, read: Reader, size: tuple[int, int]) -> Pixels | str:
    try:
        return read(size)
    except Exception as error:  # whatever a broken file makes Pillow raise
        why = " ".join(str(error).split()).replace(name, "the file") or type(error).__name__
        return f"{name} ({why[:200]})"
