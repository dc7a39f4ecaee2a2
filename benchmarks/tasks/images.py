"""Image classification: data sets decoded once, kept as uint8 on the device; the test split is left until asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.contract.datasets import DatasetInfo, info_of
from benchmarks.contract.errors import UserError
from benchmarks.contract.trial import Trial
from benchmarks.tasks import constellations, mosaics
from benchmarks.tasks.cifar import Split, find_cifar100, find_cifar100_here, read_checked

HOLD_OUT_SEED = 0  # one held-out part for all trials and seeds
MIN_VAL_IMAGES = 500  # of a procedural set, where half of the images allow it
RENDERED = {"constellations": constellations, "mosaics": mosaics}  # drawn by a program, from no files


class ImageData:
    """A data set on its device.

    Attributes:
        info: the data set.
        train_images: uint8 (n, 3, height, width), at the trial's image size, as are all others.
        train_labels: int64 (n,).
        val_images: the part of the training split that is held out, to choose with.
        val_labels: int64.
        test_reads: how often the test split was read.
    """

    def __init__(self, info: DatasetInfo, train: Split, val: Split, test: Callable[[], Split]) -> None:
        self.info = info
        self.train_images, self.train_labels = train
        self.val_images, self.val_labels = val
        self.test_reads = 0
        self._test = test

    def read_test(self) -> Split:
        """Images and labels of the test split, read from their source now.

        Raises:
            RuntimeError: it was read before.
            UserError: its file is damaged.
        """
        self.test_reads += 1
        if self.test_reads > 1:
            raise RuntimeError("the test split is read once, when all choices are made; this is a second reading")
        return self._test()


def load_data(trial: Trial, data_dir: Path, device: str) -> ImageData:
    """Reads, or draws, the training split of the trial's data set and brings it to the trial's image size.

    Args:
        trial: its data set, image size and number of images count; its seed does not, so that seeds differ in
            initialisation and order alone.
        data_dir: where data sets lie; a missing one is downloaded there.
        device: as for torch.

    Raises:
        UserError: the data set is missing and cannot be downloaded, or a file of it is damaged.
    """
    load = _load_rendered if trial.dataset in RENDERED else _load_cifar100
    return load(trial, Path(data_dir).expanduser(), torch.device(device))


def labels_of_test(data_dir: Path, dataset: str, size: tuple[int, int]) -> np.ndarray | None:
    """The classes of a test split, int64 (n,), without its images; None where the data set is not in `data_dir`.

    Raises:
        UserError: a file of it is damaged.
    """
    if dataset in RENDERED:
        return RENDERED[dataset].render(info_of(dataset).test_images, size, split="test")[1].numpy()
    found = find_cifar100_here(Path(data_dir).expanduser())
    if found is None:
        return None
    folder, files, decode = found
    return decode(read_checked(folder, files["test"]))[1].numpy()


def batches(
    count: int, batch_size: int, generator: torch.Generator, device: str | torch.device | None = None
) -> Iterator[Tensor]:
    """Indices of one epoch's batches in random order.

    The last batch may be smaller; where it would hold a single image it is left out, since normalising over one image
    is unlike all others.

    Args:
        count: images.
        batch_size: images a batch.
        generator: of the order.
        device: where the indices are needed; the generator's, if not given.

    Yields:
        int64 (batch,).
    """
    order = torch.randperm(count, generator=generator, device=generator.device).to(device or generator.device)
    for start in range(0, count, batch_size):
        batch = order[start : start + batch_size]
        if len(batch) > 1 or batch_size == 1:
            yield batch


def hold_out(labels: Tensor, num_classes: int, per_class: int, seed: int = HOLD_OUT_SEED) -> tuple[Tensor, Tensor]:
    """Splits a training set in two, `per_class` images of each class going to the second part.

    Returns:
        Indices that stay and indices held out, int64, each in ascending order.
    """
    # RandomState's stream is frozen by NumPy's compatibility policy: the same images in every release
    shuffle = np.random.RandomState(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in range(num_classes):
        of_class = np.flatnonzero(labels.numpy() == label)
        held[shuffle.permutation(of_class)[:per_class]] = True
    return torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))


def resize(images: Tensor, size: tuple[int, int], chunk: int = 1024) -> Tensor:
    """Images, uint8 (n, c, h, w), at another size by antialiased bicubic interpolation; `chunk` images at a time."""
    if images.shape[-2:] == size:
        return images
    resized = images.new_empty(*images.shape[:2], *size)
    for start in range(0, len(images), chunk):
        part = images[start : start + chunk].float()
        part = F.interpolate(part, size, mode="bicubic", antialias=True, align_corners=False)
        resized[start : start + chunk] = part.round_().clamp_(0, 255).to(torch.uint8)
    return resized


def _load_rendered(trial: Trial, data_dir: Path, device: torch.device) -> ImageData:
    info, render = info_of(trial.dataset), RENDERED[trial.dataset].render
    count = trial.train_images
    if count is None:
        raise UserError(f"--train-images is not given; {info.name} needs a number of images, such as 20000")
    images, labels = render(count, trial.size, split="train")
    val_images = min(max(count // 10, MIN_VAL_IMAGES), count // 2)
    stay, held = hold_out(labels, info.num_classes, val_images // info.num_classes)

    def test() -> Split:
        test_images, test_labels = render(info.test_images, trial.size, split="test")
        return test_images.to(device), test_labels.to(device)

    train = images[stay].to(device), labels[stay].to(device)
    return ImageData(info, train, (images[held].to(device), labels[held].to(device)), test)


def _load_cifar100(trial: Trial, data_dir: Path, device: torch.device) -> ImageData:
    info = info_of("cifar100")
    folder, files, decode = find_cifar100(data_dir)

    def prepare(images: Tensor, labels: Tensor) -> Split:
        return resize(images.to(device), trial.size), labels.to(device)

    images, labels = decode(read_checked(folder, files["train"]))
    assert info.val_images is not None
    stay, held = hold_out(labels, info.num_classes, info.val_images // info.num_classes)
    train, val = prepare(images[stay], labels[stay]), prepare(images[held], labels[held])
    return ImageData(info, train, val, lambda: prepare(*decode(read_checked(folder, files["test"]))))
