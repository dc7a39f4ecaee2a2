"""What a sweep says while it runs: the plan, one line a trial, and how long it may still take."""

from __future__ import annotations

import collections
import dataclasses
import functools
import logging
import math
import threading
import time

import torch
import torch.nn.functional as F

from benchmarks.errors import printable
from benchmarks.measure.data import DATASETS
from benchmarks.measure.device import set_math_mode
from benchmarks.measure.latency import METRIC_OF
from benchmarks.measure.memory import free_bytes
from benchmarks.measure.train import autocast, build_net, training_step_bytes
from benchmarks.record import Record
from benchmarks.status import duration
from benchmarks.trial import Trial
from mixers import MixerError

log = logging.getLogger(__name__)

PROBE_BATCH = 64
PROBE_ENOUGH_S = 0.2
LATENCY_ITEM_S = 0.05  # an item that is not slower than this takes about this long
PROCESS_START_S = 6.0  # of a latency process
# before anything was measured on a GPU: numbers of the residual stream that a training step gets through, by the count
# of its kernels and their memory traffic
GPU_NUMBERS_PER_S = 6e9
GPU_START_S = 8.0
GPU_PROCESS_S, TOGETHER = 20.0, 8  # of a latency process, with its kernels compiled; and the nets in one
TRAINED = ("accuracy", "tuning")


class Progress:
    """Estimates, and corrects its estimate by what the finished trials really took; several threads may report to it.

    Args:
        trials: all.
        todo: those without a record.
        workers: trials that are measured side by side.
        ahead: whether to estimate all of them before the first begins; else each when it is asked for.
    """

    def __init__(self, trials: list[Trial], todo: list[Trial], workers: int = 1, ahead: bool = True) -> None:
        self.total = len(trials)
        self.done = len(trials) - len(todo)
        self.workers = workers
        self.begun = self.done
        self._lock = threading.RLock()
        self._expected: dict[Trial, float] = {}
        self._spent: dict[
            str, tuple[float, float]
        ] = {}  # by kind: what finished trials took, and what was expected of them
        counts = collections.Counter(trial.kind for trial in trials)
        log.info("plan: %s", ", ".join(f"{n} {kind}" for kind, n in counts.items()))
        if self.done:
            log.info("%d of %d already measured", self.done, self.total)
        self.left = set(todo)
        if todo and ahead:
            log.info("to measure: %d, about %s", len(todo), duration(self.left_s()))

    def expected_s(self, trial: Trial) -> float:
        """About how long a trial will take, by what the first ones of its kind took."""
        with self._lock:
            if trial not in self._expected:
                self._expected[trial] = estimate_seconds(trial)
        spent, expected = self._spent.get(trial.kind, (0.0, 0.0))
        return self._expected[trial] * (spent / expected if expected else 1.0)

    def left_s(self) -> float:
        """About how long all that is left will take."""
        trained = sum(self.expected_s(trial) for trial in self.left if trial.kind != "latency")
        return trained / self.workers + sum(self.expected_s(trial) for trial in self.left if trial.kind == "latency")

    def start(self, trial: Trial) -> None:
        with self._lock:
            self.begun += 1
            log.info("[%d/%d] %s", self.begun, self.total, trial.describe())

    def finish(self, trial: Trial, record: Record | None, seconds: float | None = None) -> None:
        """Reports one finished trial and what is left.

        Args:
            trial: that has ended.
            record: of it; None where it was left for another time.
            seconds: that it took, where it was measured now.
        """
        with self._lock:
            self.left.discard(trial)
            if record is None:
                return
            if seconds is not None and record.status == "ok":
                before = self._spent.get(trial.kind, (0.0, 0.0))
                expected = self._expected.get(trial, 0.0)
                self._spent[trial.kind] = (before[0] + seconds, before[1] + expected) if expected else before
            left = f"; about {duration(self.left_s())} left" if self.left <= self._expected.keys() else ""
            log.info("  %s: %s%s", trial.describe(), outcome_line(record), left)


def outcome_line(record: Record) -> str:
    """The one number of a record that matters most, or why there is none."""
    if record.status != "ok":
        return printable(f"{record.status} ({record.reason})")
    metrics = record.metrics
    if record.kind == "accuracy":
        return f"test top-1 {metrics['test_top1_percent']:.2f} %, top-5 {metrics['test_top5_percent']:.2f} %"
    if record.kind == "tuning":
        return f"held-out top-1 {metrics['val_top1_percent']:.2f} %"
    if record.kind == "cost":
        return f"{metrics['params']:,} parameters, {float(metrics['flops'] or 0) / 1e6:.2f} MFLOPs"
    return f"{metrics['forward_ms']:.2f} ms forward for {metrics['latency_batch_size']} images"


def estimate_seconds(trial: Trial) -> float:
    """About how long a trial will take; 0 where that cannot be told.

    On a CPU from one timed training step of its net. On a GPU from the size of its net alone: building and warming up
    hundreds of nets there would take longer than many of them do.
    """
    if trial.kind == "cost":
        return 1.0
    assert trial.batch_size is not None
    images = (trial.epochs or 0) * (trial.train_images or DATASETS[trial.dataset].train_images or 0)
    if trial.device != "cpu":
        per_image = trial.tokens * trial.dim * trial.depth / GPU_NUMBERS_PER_S
        return GPU_START_S + images * per_image if trial.kind in TRAINED else _latency_s(trial, per_image)
    probe = Trial(
        kind="cost",
        mixer=trial.mixer,
        dataset=trial.dataset,
        image_size=trial.image_size,
        patch_size=trial.patch_size,
        dim=trial.dim,
        depth=trial.depth,
        precision=trial.precision,
        threads=trial.threads,
    )
    try:
        if training_step_bytes(dataclasses.replace(probe, batch_size=1)) > free_bytes("cpu"):
            return 0.0
        per_image = _step_seconds_per_image(probe)
    except (MixerError, RuntimeError):
        return 0.0
    if trial.kind in TRAINED:
        return images * per_image * 1.1 + 2
    return _latency_s(trial, per_image) + PROCESS_START_S / len(METRIC_OF) / 2


def _latency_s(trial: Trial, per_image: float) -> float:
    """One latency trial of a process; `per_image` is a training step's seconds per image."""
    assert trial.batch_size is not None
    step = per_image * trial.batch_size
    calls = (step, step / 3, step / trial.depth / 2, step / trial.depth / 6)
    items = sum(max(call, LATENCY_ITEM_S) for call in calls) * ((trial.rounds or 1) + 1)
    if trial.device != "cpu":
        items += GPU_PROCESS_S / TOGETHER
    return items + (60.0 if trial.compiled else 0.0)


@functools.cache
def _step_seconds_per_image(trial: Trial) -> float:
    """Seconds of forward and backward per image, on a small batch of at most PROBE_BATCH images."""
    set_math_mode(trial.threads)
    net = build_net(trial, DATASETS[trial.dataset].num_classes).to(trial.device)
    batch = max(1, min(PROBE_BATCH, 2**12 // trial.tokens))
    images = torch.randn(batch, 3, *trial.size, device=trial.device)
    labels = torch.zeros(batch, dtype=torch.int64, device=trial.device)
    best = math.inf
    for _ in range(3):
        started = time.perf_counter()
        with autocast(trial):
            loss = F.cross_entropy(net(images), labels)
        torch.autograd.grad(loss, list(net.parameters()))
        loss.item()
        best = min(best, time.perf_counter() - started)
        if best > PROBE_ENOUGH_S:  # a long step is estimated well enough by its first run
            break
    return best / batch
