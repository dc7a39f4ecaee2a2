"""Our training beside a loop made of timm: one net, batch, learning rate, clipping and number of threads.

timm's side is what its training script does on one process: PIL images in a Dataset, `timm.data.create_loader` with its
prefetcher and no worker (the cores are the same as ours), `create_optimizer_v2`, `create_scheduler_v2`,
`LabelSmoothingCrossEntropy`. On CIFAR-100 it crops at random and flips as timm does, and ours as ours does; on
constellations neither augments. Ours is `train`, whole, on the same images; reading them, evaluation and checkpoints
are left out of both.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from timm.data import create_loader
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import dispatch_clip_grad
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.measure.compare import Comparison, compare
from benchmarks.measure.data import BINARY_FOLDER, PICKLE_FOLDER, ImageData, load_data
from benchmarks.measure.train import build_net, train
from benchmarks.trial import Trial

ROUNDS = 5
STEPS = 4  # of each loop in one round
BATCH = 128


def compare_loops(
    mixers: list[str], threads: int, data_dir: Path, rounds: int = ROUNDS, steps: int = STEPS, batch_size: int = BATCH
) -> list[Comparison]:
    """Time per image of our loop beside timm's, and the share of our step outside model and optimizer.

    The rounds of all mixers and both loops interleave; a first round is not counted.
    """
    first = _trial(mixers[0], threads, batch_size, _dataset(data_dir))
    data = _some_images(load_data(first, data_dir, "cpu"), steps * batch_size)
    torch.set_num_threads(threads)
    trials = {mixer: dataclasses.replace(first, mixer=mixer) for mixer in mixers}
    loops = {mixer: TimmLoop(trial, data) for mixer, trial in trials.items()}
    ours: dict[str, list[float]] = {mixer: [] for mixer in mixers}
    theirs: dict[str, list[float]] = {mixer: [] for mixer in mixers}
    outside: dict[str, list[float]] = {mixer: [] for mixer in mixers}
    images = len(data.train_labels)
    for number, mixer in itertools.product(range(rounds + 1), mixers):
        timm_ms = 1000 * loops[mixer].epoch(number) / images
        with tempfile.TemporaryDirectory() as folder:
            metrics = train(trials[mixer], data, Path(folder) / "checkpoint.pt").metrics
        if number:
            theirs[mixer].append(timm_ms)
            ours[mixer].append(1000 * metrics["train_s"] / images)
            outside[mixer].append(metrics["overhead_percent"] / 100 * metrics["train_s"] * 1000 / images)
    found = []
    for mixer in mixers:
        setting = f"{mixer}, {first.dataset}, dim 64, depth 4, 32 px, patch 4, batch {batch_size}, threads: {threads}"
        unit = "ms per image"
        found += [
            compare(
                "training loop", "timm.data, timm.optim, timm.scheduler", setting, ours[mixer], theirs[mixer], unit
            ),
            compare("step outside model and optimizer", "whole step", setting, outside[mixer], ours[mixer], unit),
        ]
    return found


class TimmLoop:
    """A net trained as timm's script trains one."""

    def __init__(self, trial: Trial, data: ImageData) -> None:
        assert trial.batch_size is not None and trial.lr is not None
        info = data.info
        self.net = build_net(trial, info.num_classes).train()
        dataset: Any = _PilImages(data.train_images, data.train_labels)  # any Dataset with a transform does
        self.loader = create_loader(
            dataset,
            input_size=(3, *trial.size),
            batch_size=trial.batch_size,
            is_training=True,
            no_aug=trial.augment == "none",
            color_jitter=0.0,
            mean=info.mean,
            std=info.std,
            num_workers=0,
            persistent_workers=False,
            device=torch.device("cpu"),
        )
        self.optimizer = create_optimizer_v2(self.net, opt="adamw", lr=trial.lr, weight_decay=trial.weight_decay or 0.0)
        self.steps = len(self.loader)
        self.scheduler, _ = create_scheduler_v2(
            self.optimizer, sched="cosine", num_epochs=100, step_on_epochs=False, updates_per_epoch=self.steps
        )
        self.loss = LabelSmoothingCrossEntropy(trial.label_smoothing or 0.0)

    def epoch(self, number: int) -> float:
        """One pass over the images; returns its seconds."""
        started = time.perf_counter()
        for step, (images, labels) in enumerate(self.loader):
            loss = self.loss(self.net(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            dispatch_clip_grad(self.net.parameters(), 1.0)
            self.optimizer.step()
            self.scheduler.step_update(number * self.steps + step + 1)
        return time.perf_counter() - started


class _PilImages(Dataset):
    """Images in memory as timm's own datasets give them: PIL, changed by the transform that the loader sets."""

    transform: nn.Module | None = None

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = [Image.fromarray(image) for image in images.permute(0, 2, 3, 1).contiguous().numpy()]
        self.labels = labels.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        image = self.images[index]
        return (self.transform(image) if self.transform else image), self.labels[index]


def _dataset(data_dir: Path) -> str:
    """CIFAR-100 where it lies in the folder, else the set that needs no files."""
    there = any((data_dir / name).is_dir() for name in (BINARY_FOLDER, PICKLE_FOLDER))
    return "cifar100" if there or (data_dir.name == BINARY_FOLDER and data_dir.is_dir()) else "constellations"


def _trial(mixer: str, threads: int, batch_size: int, dataset: str) -> Trial:
    """A tuning trial, which reads no test images."""
    own = {"augment": "light"} if dataset == "cifar100" else {"augment": "none", "train_images": 2000}
    return Trial(
        kind="tuning", mixer=mixer, dataset=dataset, image_size=32, patch_size=4, dim=64, depth=4, threads=threads,
        batch_size=batch_size, epochs=1, lr=1e-3, weight_decay=0.05, warmup_epochs=0.0, label_smoothing=0.1, **own,
    )  # fmt: skip


def _some_images(data: ImageData, count: int) -> ImageData:
    def never() -> tuple[Tensor, Tensor]:
        raise RuntimeError("a comparison of speed reads no test images")

    some = data.train_images[:count].clone(), data.train_labels[:count].clone()
    return ImageData(data.info, some, (data.val_images[:2], data.val_labels[:2]), never)
