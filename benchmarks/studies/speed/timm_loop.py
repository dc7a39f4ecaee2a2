"""Our training beside a loop made of timm: one net, batch, learning rate, clipping and number of threads.

timm's side is what its training script does on one process: PIL images in a Dataset, `timm.data.create_loader` with its
prefetcher and no worker (the cores are the same as ours), `create_optimizer_v2`, `create_scheduler_v2`,
`LabelSmoothingCrossEntropy`, images in contiguous format. On CIFAR-100 both crop at random from a padded image and
flip, timm's one PIL image after the other; on constellations neither augments. Ours is `train`, whole, on the same
images; reading them, evaluation and checkpoints are left out of both. On a GPU both train in bfloat16.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import tempfile
import time
from collections.abc import Callable
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
from torchvision import transforms

from benchmarks.contract.facts.datasets import info_of
from benchmarks.contract.facts.devices import DEVICES, by_device
from benchmarks.contract.trial import Trial
from benchmarks.machine.device import set_math_mode
from benchmarks.studies.attempt import Deadline, is_the_users, let_go, why
from benchmarks.studies.comparison import Comparison, Failed, compare
from benchmarks.sweep.one_trial import refuse_if_too_large
from benchmarks.tasks.images.cifar import BINARY_FOLDER, PICKLE_FOLDER
from benchmarks.tasks.task import Data, build_net, load_data
from benchmarks.timing.latency_metrics import MATMUL_SIDE
from benchmarks.training.train import autocast, train

ROUNDS = 5
STEPS = by_device(cpu=4, gpu=64)  # of each loop in one round
RATE_NETS = (("dct", 384), ("attention", 384))
RATE_DEPTH = 8
RATE_BATCH = by_device(cpu=16, gpu=512)
RATE_STEPS = by_device(cpu=2, gpu=40)
BATCH = 128
LOOPS = "training loop", "timm.data, timm.optim, timm.scheduler"


Rows = list[Comparison | Failed]


def compare_loops(
    mixers: list[str],
    threads: int,
    data_dir: Path,
    device: str = "cpu",
    *,
    rounds: int = ROUNDS,
    steps: int | None = None,
    batch_size: int = BATCH,
    on_rows: Callable[[Rows], Any] = lambda rows: None,
    until: float | None = None,
) -> tuple[Rows, list[str]]:
    """Time per image of our loop beside timm's, and the share of our step outside model and optimizer.

    The rounds of all mixers and both loops interleave; a first round is not counted. A mixer that fails is a row with
    its reason, and the others go on.

    Args:
        on_rows: told all rows after every round, of the rounds so far.
        until: of `time.monotonic`, after which no mixer's round is begun.

    Returns:
        The rows, and in words what the deadline left.
    """
    images = (steps or STEPS[device]) * batch_size
    first = loop_trial(mixers[0], threads, batch_size, _dataset(data_dir), device, images)
    set_math_mode(threads)

    @functools.cache
    def load() -> Data:
        return _some_images(load_data(first, data_dir, device), images)

    races = {mixer: _Race(dataclasses.replace(first, mixer=mixer), load) for mixer in mixers}
    left: list[str] = []
    deadline = Deadline(until)
    for number, mixer in itertools.product(range(rounds + 1), mixers):
        race = races[mixer]
        if race.failed is None and not deadline.passed():
            race.run(number)
        if mixer == mixers[-1]:
            on_rows([row for race in races.values() for row in race.rows()])
        if number == rounds and race.failed is None and len(race.ours_ms) < rounds:
            left.append(f"training loop, {mixer}: {rounds - len(race.ours_ms)} of {rounds} rounds")
    return [row for race in races.values() for row in race.rows()], left


class _Race:
    """One mixer's net trained by our loop and by timm's, by turns."""

    def __init__(self, trial: Trial, load: Callable[[], Data]) -> None:
        self.trial, self.load = trial, load
        self.ours_ms: list[float] = []  # per image, as the others
        self.theirs_ms: list[float] = []
        self.outside_ms: list[float] = []
        self.failed: Failed | None = None
        self.loop: TimmLoop | None = None
        how = f"dim {trial.dim}, depth {trial.depth}, {trial.image_size} px, patch {trial.patch_size}"
        self.setting = f"{trial.mixer}, {trial.dataset}, {how}, batch {trial.batch_size}, threads: {trial.threads}"

    def run(self, number: int) -> None:
        """One round; the first, of number 0, does not count."""
        try:
            data = self.load()
            images = len(data.train.targets)
            if self.loop is None:
                refuse_if_too_large(self.trial)
                self.loop = TimmLoop(self.trial, data)
            loop = self.loop
            first_ms = 1000 * loop.epoch(number) / images if number % 2 else None
            metrics = train_here(self.trial, data)
            timm_ms = first_ms or 1000 * loop.epoch(number) / images  # they take turns at being first
        except Exception as error:
            if is_the_users(error):
                raise
            self.failed = Failed(*LOOPS, self.setting, *why(error))
            self.loop = loop = None
        if loop is None:
            let_go(self.trial.device)
        elif number:
            self.theirs_ms.append(timm_ms)
            self.ours_ms.append(1000 * metrics["train_s"] / images)
            self.outside_ms.append((metrics["overhead_percent"] or 0.0) / 100 * metrics["train_s"] * 1000 / images)

    def rows(self) -> Rows:
        """What the rounds so far say."""
        if self.failed is not None:
            return [self.failed]
        if not self.ours_ms:
            return []
        unit = "ms per image"
        rows: Rows = [compare(*LOOPS, self.setting, self.ours_ms, self.theirs_ms, unit)]
        if self.trial.device == "cpu":  # a GPU's step is one graph
            what = "step outside model and optimizer"
            rows.append(compare(what, "whole step", self.setting, self.outside_ms, self.ours_ms, unit))
        return rows


def compare_with_matrix_rate(
    threads: int,
    data_dir: Path,
    device: str,
    rounds: int = ROUNDS,
    on_rows: Callable[[Rows], Any] = lambda rows: None,
    until: float | None = None,
) -> tuple[Rows, list[str]]:
    """FLOP/s of the model in training steps at 32 px beside those of a large matrix product, in TFLOP/s.

    The model's FLOPs are the closed form, forward, times three for forward and backward.

    Args:
        on_rows: told all rows so far after every net.
        until: of `time.monotonic`, after which no net is begun.

    Returns:
        The rows, and in words what the deadline left.
    """
    found: Rows = []
    left = []
    set_math_mode(threads)
    deadline = Deadline(until)
    for mixer, dim in RATE_NETS:
        batch = RATE_BATCH[device]
        images = batch * RATE_STEPS[device]
        trial = loop_trial(mixer, threads, batch, _dataset(data_dir), device, images)
        trial = dataclasses.replace(trial, dim=dim, depth=RATE_DEPTH)
        setting = f"{mixer}, {trial.dataset}, dim {dim}, depth {RATE_DEPTH}, 32 px, patch 4, batch {batch}"
        setting += f", {trial.precision}" + (f", threads: {threads}" if device == "cpu" else "")
        if deadline.passed():
            left.append(f"model FLOPs of training, {mixer}")
            continue
        what = "model FLOPs of training", f"matrix product of side {MATMUL_SIDE[device]:,}", setting
        try:
            refuse_if_too_large(trial)
            data = _some_images(load_data(trial, data_dir, device), images)
            found.append(compare(*what, *_rates(trial, data, rounds), "TFLOP/s"))
        except Exception as error:
            if is_the_users(error):
                raise
            found.append(Failed(*what, *why(error)))
        let_go(device)
        on_rows(found)
    return found, left


def _rates(trial: Trial, data: Data, rounds: int) -> tuple[list[float], list[float]]:
    """TFLOP/s of the net in training and of a matrix product, by rounds."""
    side, dtype = MATMUL_SIDE[trial.device], getattr(torch, trial.precision)
    a, b = (torch.randn(side, side, device=trial.device, dtype=dtype) for _ in range(2))
    flops = 3 * build_net(trial).flops() * len(data.train.targets)
    ours, products = [], []
    for number in range(rounds + 1):
        train_s = train_here(trial, data)["train_s"]
        seconds = _product_seconds(a, b)
        if number:
            ours.append(flops / train_s / 1e12)
            products.append(2 * side**3 / seconds / 1e12)
    return ours, products


def _product_seconds(a: Tensor, b: Tensor, repeats: int = 5) -> float:
    torch.mm(a, b).sum().item()  # warm, and waits
    started = time.perf_counter()
    for _ in range(repeats):
        product = torch.mm(a, b)
    product[0, 0].item()
    return (time.perf_counter() - started) / repeats


def train_here(trial: Trial, data: Data) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return train(trial, data, Path(folder) / "checkpoint.pt").metrics


class TimmLoop:
    """A net trained as timm's script trains one."""

    def __init__(self, trial: Trial, data: Data) -> None:
        assert trial.batch_size is not None and trial.lr is not None
        info = info_of(trial.dataset)
        self.trial = trial
        self.net = build_net(trial).to(trial.device).train()
        # any Dataset with a transform does
        dataset: Any = _PilImages(data.train.inputs.cpu(), data.train.targets.cpu())
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
            device=torch.device(trial.device),
        )
        if trial.augment != "none":  # as is usual for images this small, where timm's own crop would enlarge
            dataset.transform.transforms[0] = transforms.RandomCrop(trial.size, padding=4)
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
            with autocast(self.trial):
                loss = self.loss(self.net(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            dispatch_clip_grad(self.net.parameters(), 1.0)
            self.optimizer.step()
            self.scheduler.step_update(number * self.steps + step + 1)
        loss.item()  # waits for a GPU
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


def loop_trial(mixer: str, threads: int, batch_size: int, dataset: str, device: str, images: int) -> Trial:
    """A tuning trial, which reads no test images; of the procedural set, one with so many images to train on."""
    made = max(2000, images + max(500, images // 8))  # 500 or a tenth are held out
    own = {"augment": "light"} if dataset == "cifar100" else {"augment": "none", "train_images": made}
    return Trial(
        kind="tuning", mixer=mixer, dataset=dataset, image_size=32, patch_size=4, dim=64, depth=4, threads=threads,
        batch_size=batch_size, epochs=1, lr=1e-3, weight_decay=0.05, warmup_epochs=0.0, label_smoothing=0.1,
        device=device, precision=DEVICES[device].precision, residual=DEVICES[device].precision, **own,
    )  # fmt: skip


def _some_images(data: Data, count: int) -> Data:
    def never() -> tuple[Tensor, Tensor]:
        raise RuntimeError("a comparison of speed reads no test images")

    some = data.train.inputs[:count].clone(), data.train.targets[:count].clone()
    return Data(some, (data.val.inputs[:2], data.val.targets[:2]), never)
