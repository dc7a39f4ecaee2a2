"""What a sweep says while it runs: the plan, one line a trial, and how long it may still take."""

from __future__ import annotations

import collections
import dataclasses
import functools
import logging
import math
import time

import torch
import torch.nn.functional as F

from benchmarks.errors import printable
from benchmarks.measure.data import DATASETS
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


class Progress:
    """Estimates, and corrects its estimate by what the finished trials really took."""

    def __init__(self, trials: list[Trial], todo: list[Trial]) -> None:
        self.total = len(trials)
        self.done = len(trials) - len(todo)
        counts = collections.Counter(trial.kind for trial in trials)
        log.info("plan: %s", ", ".join(f"{n} {kind}" for kind, n in counts.items()))
        if self.done:
            log.info("%d of %d already measured", self.done, self.total)
        self.expected = {trial: estimate_seconds(trial) for trial in todo}
        self.left = sum(self.expected.values())
        self.spent_expected = self.spent = 0.0
        self.mark = time.perf_counter()
        if todo:
            log.info("to measure: %d, about %s", len(todo), duration(self.left))

    def start(self, trial: Trial) -> None:
        log.info("[%d/%d] %s", self.done + 1, self.total, trial.describe())
        self.done += 1

    def finish(self, trial: Trial, record: Record) -> None:
        """Reports one finished trial and what is left."""
        now = time.perf_counter()
        self.spent += now - self.mark
        self.mark = now
        self.left -= self.expected[trial]
        self.spent_expected += self.expected[trial]
        pace = self.spent / self.spent_expected if self.spent_expected else 1.0
        log.info("  %s: %s; about %s left", trial.describe(), outcome_line(record), duration(max(self.left, 0) * pace))


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
    """About how long a trial will take, from one timed training step of its net; 0 where that cannot be tried."""
    if trial.kind == "cost":
        return 1.0
    assert trial.batch_size is not None
    probe = Trial(
        kind="cost",
        mixer=trial.mixer,
        dataset=trial.dataset,
        image_size=trial.image_size,
        patch_size=trial.patch_size,
        dim=trial.dim,
        depth=trial.depth,
        device=trial.device,
        precision=trial.precision,
        threads=trial.threads,
    )
    try:
        if trial.device == "cpu" and training_step_bytes(dataclasses.replace(probe, batch_size=1)) > free_bytes("cpu"):
            return 0.0
        per_image = _step_seconds_per_image(probe)
    except (MixerError, RuntimeError):
        return 0.0
    if trial.kind in ("accuracy", "tuning"):
        images = trial.train_images or DATASETS[trial.dataset].train_images or 0
        return (trial.epochs or 0) * images * per_image * 1.1 + 2
    step = per_image * trial.batch_size
    calls = (step, step / 3, step / trial.depth / 2, step / trial.depth / 6)
    items = sum(max(call, LATENCY_ITEM_S) for call in calls) * ((trial.rounds or 1) + 1)
    return items + PROCESS_START_S / len(METRIC_OF) / 2 + (60.0 if trial.compiled else 0.0)


@functools.cache
def _step_seconds_per_image(trial: Trial) -> float:
    """Seconds of forward and backward per image, on a small batch of at most PROBE_BATCH images."""
    torch.set_num_threads(trial.threads)
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
