"""A trained net on other images than it was trained on: no record is made, the test split of a record is read once."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS, HOW_OWN
from benchmarks.contract.record import atomic_write, cores
from benchmarks.contract.words import counted
from benchmarks.finished.nets import TrainedNet
from benchmarks.tasks.cache import mark_cache_folder
from benchmarks.tasks.own import Source, cache_folder, open_source

BATCH = 500
TOP = 5
SPLITS = ("test", "val", "all", "train")  # the first that there is
CONFIDENCE = 0.95
MOST_NAMED = 8  # classes in one line

Picture = tuple[str, Callable[[tuple[int, int]], NDArray[np.uint8]]]


@dataclasses.dataclass(frozen=True)
class Share:
    """A share of images in percent, with its 95 % interval over images (Wilson, 1927)."""

    hits: int
    n: int

    @property
    def percent(self) -> float:
        return 100 * self.hits / self.n

    @property
    def interval(self) -> tuple[float, float]:
        found = scipy.stats.binomtest(self.hits, self.n).proportion_ci(CONFIDENCE, "wilson")
        return 100 * float(found.low), 100 * float(found.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.percent:.1f} % ({low:.1f} to {high:.1f})"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a net says of images.

    Attributes:
        data: their name, and which part of them.
        classes: of the net.
        files: the images, those alone whose class the net knows.
        labels: their classes, int64 (n,).
        best: the most probable classes of each, int64 (n, 5), or as many as there are, the best first.
        unknown: images left out, by class that the net does not know.
    """

    data: str
    classes: tuple[str, ...]
    files: list[str]
    labels: NDArray[np.int64]
    best: NDArray[np.int64]
    unknown: Counter[str]

    @property
    def top1(self) -> Share:
        return self._share(self.best[:, :1])

    @property
    def top5(self) -> Share | None:
        """None where the net has so few classes that it says nothing."""
        return self._share(self.best) if len(self.classes) > TOP else None

    def _share(self, best: NDArray[np.int64]) -> Share:
        return Share(int((best == self.labels[:, None]).any(1).sum()), len(self.labels))

    @property
    def by_class(self) -> dict[str, Share]:
        """Top-1 of every class that there are images of."""
        right = self.best[:, 0] == self.labels
        return {
            self.classes[label]: Share(int(right[self.labels == label].sum()), int((self.labels == label).sum()))
            for label in np.unique(self.labels)
        }


def evaluate_on(net: TrainedNet, dataset: str | None, data_dir: Path) -> Evaluation:
    """What a net says of images of the user's own, their classes matched to the net's by name.

    Args:
        net: on its device.
        dataset: as typed, "folder:PATH". Of one with a test split that is taken, else all of it.
        data_dir: where the names of decoded folders are kept.

    Raises:
        UserError: they are no images of the user's own, or those that the net was trained on; or no class of theirs is
            one of the net's; or one cannot be read.
    """
    if dataset is None or dataset in DATASETS:
        raise UserError(
            f"--dataset is {dataset or 'not given'}; evaluate takes images of your own: {HOW_OWN}. The test split of a "
            "data set that nets are trained on is read once, and what came out is in the record"
        )
    if net.info.task != "images":
        raise UserError(f"{net.id} is a net of {net.info.task}; evaluate is for nets of images")
    source = open_source(dataset, data_dir)
    _refuse_its_own(net, source, data_dir)
    classes = net.classes or tuple(map(str, range(net.info.num_classes)))
    labels_of = _matched(source.classes, classes)
    if not any(label is not None for label in labels_of):
        raise UserError(
            f"no class of {source.name} is one of the net's; it has {_named(source.classes)}, the net {_named(classes)}"
        )
    split = next(name for name in SPLITS if name in source.labels)
    wanted = [labels_of[label] for label in source.labels[split]]
    unknown = Counter(source.classes[i] for i in source.labels[split] if labels_of[i] is None)
    pictures = [picture for picture, label in zip(source.pictures(split), wanted, strict=True) if label is not None]
    labels = np.array([label for label in wanted if label is not None], dtype=np.int64)
    data = source.name if split == "all" else f"{source.name}, its {split} images"
    return Evaluation(data, classes, [name for name, _ in pictures], labels, _best(net, pictures), unknown)


def _refuse_its_own(net: TrainedNet, source: Source, data_dir: Path) -> None:
    if net.trial.dataset_source is None:
        return
    cache = cache_folder(data_dir)
    mark_cache_folder(cache)
    if source.index(cache)[0] == net.trial.dataset_source:
        raise UserError(
            f"{source.name} is what this net was trained on; what its test images came to is in its record, "
            f"accuracy-{net.id}.json"
        )


def _matched(theirs: tuple[str, ...], ours: tuple[str, ...]) -> list[int | None]:
    """For each of their classes the place of ours with that name, whatever its case and the signs between words."""
    places = {_plain(name): place for place, name in enumerate(ours)} | {name: i for i, name in enumerate(ours)}
    return [places.get(name, places.get(_plain(name))) for name in theirs]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


@torch.no_grad()
def _best(net: TrainedNet, pictures: list[Picture]) -> NDArray[np.int64]:
    device = next(net.net.parameters()).device
    best = []
    for pixels in _batches(pictures, net.trial.size):
        scores = net(torch.from_numpy(pixels).to(device))
        best.append(scores.topk(min(TOP, scores.shape[1])).indices.cpu().numpy())
    return np.concatenate(best)


def _batches(pictures: list[Picture], size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """The pictures, uint8 (up to 500, 3, height, width), read on all cores: Pillow lets go of the interpreter."""
    left = iter(pictures)
    with ThreadPoolExecutor(cores()) as pool:
        while chunk := list(itertools.islice(left, BATCH)):
            yield np.stack(list(pool.map(_read, chunk, itertools.repeat(size))))


def _read(picture: Picture, size: tuple[int, int]) -> NDArray[np.uint8]:
    name, read = picture
    try:
        return read(size)
    except Exception as error:  # whatever a broken file makes Pillow raise
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{name} cannot be read ({why}); replace it, or move it out of the folder") from error


def lines_of(net: TrainedNet, found: Evaluation) -> list[str]:
    """What a terminal says: which net, which images, how many it got right."""
    there = found.by_class
    missing = [name for name in found.classes if name not in there]
    trial = net.trial
    lines = [
        f"{trial.mixer}, seed {trial.seed}, {trial.epochs} epochs on {trial.dataset} (record {net.id})",
        f"on {found.data}: {counted(len(found.labels), 'image')} of {len(there)} of its {len(found.classes)} classes",
    ]
    if missing:
        lines.append(f"no images of: {_named(missing)}")
    if found.unknown:
        images = sum(found.unknown.values())
        lines.append(f"not among its classes, and left out: {_named(list(found.unknown))} ({images:,} images)")
    top5 = "" if found.top5 is None else f", top-5 {found.top5}"
    return [*lines, f"top-1 {found.top1}{top5}; 95 % interval over images, n = {found.top1.n:,}"]


def _named(names: Any) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def write_evaluation(found: Evaluation, folder: Path) -> list[Path]:
    """Writes `predictions.csv`, a row an image, and `classes.csv`, top-1 of each class with its interval."""
    names = np.array(found.classes, dtype=object)
    predictions = zip(found.files, names[found.labels], names[found.best[:, 0]], strict=True)
    classes = [
        (name, share.n, share.hits, *(f"{value:.4f}" for value in (share.percent, *share.interval)))
        for name, share in found.by_class.items()
    ]
    head = ("class", "images", "right", "top1_percent", "top1_percent_low", "top1_percent_high")
    return [
        _write_csv(folder / "predictions.csv", ("file", "class", "predicted"), predictions),
        _write_csv(folder / "classes.csv", head, classes),
    ]


def _write_csv(path: Path, head: tuple[str, ...], rows: Any) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([head, *rows])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))
    return path
