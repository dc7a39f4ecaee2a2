"""Image classification: data sets decoded once, kept as uint8 on the device; the test split is left until asked for.

A data set is a row of facts and a file of this folder, `reader` in the facts, or the data set's own name. A set that is
drawn by a program has there `render(count, size, split)`, one of files `read(dataset, split, data_dir)`, and `labels`
of the same form which gives None where the files are not here; images uint8 (n, 3, H, W) and classes int64 (n,) both.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DatasetInfo, info_of, is_own
from benchmarks.contract.trial import Trial
from benchmarks.tasks.images.augment import Augment
from benchmarks.tasks.images.cifar import Split
from benchmarks.tasks.task import HOLD_OUT_SEED, Batch, Data, register_task
from mixers import MixerNet

MIN_VAL_IMAGES = 500  # of a procedural set, where half of the images allow it


@register_task("images")
class ImageClassification:
    """One of the image data sets, by the facts of it."""

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info

    def grid(self, trial: Trial) -> tuple[int, int]:
        return trial.grid

    def net(self, trial: Trial) -> MixerNet:
        torch.manual_seed(trial.seed)
        return MixerNet(
            trial.mixer,
            num_classes=self.info.num_classes,
            img_size=trial.size,
            patch_size=trial.patch_size or 1,
            dim=trial.dim,
            depth=trial.depth,
            norm=trial.norm,
            coordinates=trial.coordinates,
            seed=trial.seed,
            residual=trial.residual,
            positions=trial.positions,
        )

    def example(self, trial: Trial, n: int, device: str) -> Batch:
        """Images float32 (n, 3, H, W), and the first class for each."""
        images = torch.randn(n, 3, *trial.size, device=device)
        return Batch(images, torch.zeros(n, dtype=torch.int64, device=device))

    def check_files(self, trial: Trial, data_dir: Path) -> None:
        if not self.info.procedural and not is_own(trial.dataset):  # own images are all decoded before the first run
            reader_of(self.info).read(self.info.name, "test", data_dir)

    def load(self, trial: Trial, data_dir: Path, device: torch.device) -> Data:
        """Images uint8 (n, 3, H, W), at the trial's size, and classes int64 (n,)."""
        if is_own(trial.dataset):
            from benchmarks.tasks.own import load_own

            data, self.info = load_own(trial, data_dir, device)
            return data
        load = _load_rendered if self.info.procedural else _load_read
        return load(trial, data_dir, device)

    def augment(self, trial: Trial, memory_format: torch.memory_format = torch.contiguous_format) -> Augment:
        return Augment(trial.augment or "none", self.info, trial.label_smoothing or 0.0, memory_format)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of logits (n, classes) with classes (n,), or with shares of them (n, classes)."""
        return F.cross_entropy(output, targets)

    @torch.no_grad()
    def scores(self, output: Tensor, targets: Tensor) -> tuple[dict[str, float], np.ndarray]:
        """Top-1, top-5 and mean cross-entropy, and the most probable class of each."""
        best = output.topk(min(5, output.shape[1])).indices
        hits = best == targets[:, None]
        # brought to the host at once: a GPU is waited for once
        top1, top5, loss = torch.stack(
            [hits[:, 0].double().mean(), hits.any(1).double().mean(), self.loss(output, targets).double()]
        ).tolist()
        result = {"top1_percent": 100 * top1, "top5_percent": 100 * top5, "loss": loss}
        return result, best[:, 0].cpu().numpy().astype(self.info.prediction_dtype)

    def trivial(self, data: Data, test: Batch) -> dict[str, float]:
        return {}

    def test_targets(self, trial: Trial, data_dir: Path) -> np.ndarray | None:
        if is_own(trial.dataset):
            from benchmarks.tasks.own import cache_of

            return cache_of(trial, data_dir).labels("test")
        return labels_of_test(data_dir, trial.dataset, trial.size)


def labels_of_test(data_dir: Path, dataset: str, size: tuple[int, int]) -> np.ndarray | None:
    """The classes of a test split, int64 (n,), without its images; None where the data set is not in `data_dir`.

    Raises:
        UserError: a file of it is damaged.
    """
    info = info_of(dataset)
    if info.procedural:
        return reader_of(info).render(info.test_images, size, split="test")[1].numpy()
    labels = reader_of(info).labels(dataset, "test", Path(data_dir).expanduser())
    return None if labels is None else labels.numpy()


def reader_of(info: DatasetInfo) -> Any:
    """The module that draws or reads a data set."""
    return importlib.import_module(f"{__package__}.{info.reader or info.name}")


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


def _load_rendered(trial: Trial, data_dir: Path, device: torch.device) -> Data:
    info = info_of(trial.dataset)
    render = reader_of(info).render
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
    return Data(train, (images[held].to(device), labels[held].to(device)), test)


def _load_read(trial: Trial, data_dir: Path, device: torch.device) -> Data:
    info = info_of(trial.dataset)
    read = functools.partial(reader_of(info).read, info.name)

    def prepare(images: Tensor, labels: Tensor) -> Split:
        return resize(images.to(device), trial.size), labels.to(device)

    images, labels = read("train", data_dir)
    assert info.val_images is not None
    stay, held = hold_out(labels, info.num_classes, info.val_images // info.num_classes)
    train, val = prepare(images[stay], labels[stay]), prepare(images[held], labels[held])
    return Data(train, val, lambda: prepare(*read("test", data_dir)))
