"""How long a trial will take, told before anything of it was measured."""

from __future__ import annotations

import dataclasses
import functools
import math
import time

from benchmarks.contract.facts.datasets import fixed_of, training_images
from benchmarks.contract.trial import Trial
from benchmarks.machine.device import free_memory, set_math_mode
from benchmarks.machine.memory import FREE_SHARE, free_bytes
from benchmarks.tasks.task import task_of
from benchmarks.timing.latency_metrics import METRIC_OF
from benchmarks.training.train import autocast, training_step_bytes
from benchmarks.training.training_step import training_step

PROBE_BATCH = 64
PROBE_ENOUGH_S = 0.2
MUCH_BYTES = 2**30
LATENCY_ITEM_S = 0.05  # an item that is not slower than this takes about this long
PROCESS_START_S = 6.0  # of a latency process
# before anything was measured on a GPU: numbers of the residual stream that a training step gets through, by the count
# of its kernels and their memory traffic
GPU_NUMBERS_PER_S = 6e9
GPU_START_S = 8.0
GPU_PROCESS_S, TOGETHER = 20.0, 8  # of a latency process, with its kernels compiled; and the nets in one


def estimate_seconds(trial: Trial) -> float:
    """About how long a trial will take; 0 where that cannot be told.

    On a CPU from one timed training step of its net. On a GPU from the size of its net alone: building and warming up
    hundreds of nets there would take longer than many of them do.
    """
    if trial.kind == "cost":
        return 1.0
    assert trial.batch_size is not None
    images = (trial.epochs or 0) * training_images(trial.dataset, trial.train_images, trial.length, trial.tokenizer)
    per_image = per_image_s(trial)
    if not per_image or (trial.epochs and not images):
        return 0.0
    if trial.kind == "latency":
        return _latency_s(trial, item_seconds(trial, per_image))
    if trial.device != "cpu":
        return GPU_START_S + images * per_image
    return images * per_image * 1.1 + 2


def per_image_s(trial: Trial, probe: bool = True) -> float:
    """Seconds of a training step per image; 0 where that cannot be told."""
    if trial.device != "cpu" or not probe:
        return trial.tokens * trial.dim * trial.depth / GPU_NUMBERS_PER_S
    net = Trial(
        kind="cost",
        mixer=trial.mixer,
        dataset=trial.dataset,
        image_size=trial.image_size,
        patch_size=trial.patch_size,
        length=trial.length,
        padded_length=trial.padded_length,
        dim=trial.dim,
        depth=trial.depth,
        precision=trial.precision,
        threads=trial.threads,
        corpus=trial.corpus,
        tokenizer=trial.tokenizer,
        **fixed_of(trial.dataset),
    )
    needed = 0
    try:
        needed = training_step_bytes(dataclasses.replace(net, batch_size=1))
        if needed > FREE_SHARE * free_bytes("cpu"):
            return 0.0
        return step_seconds_per_image(net)
    except Exception:  # of a plug-in, whatever it raises: the trial itself says it
        return 0.0
    finally:
        if needed > MUCH_BYTES:  # what measures it is another process, beside this one
            free_memory()


def item_seconds(trial: Trial, per_image: float) -> dict[tuple[str, str], float]:
    """About how long one turn of each item takes; `per_image` is a training step's seconds per image."""
    assert trial.batch_size is not None
    step = per_image * trial.batch_size
    calls = {
        ("net", "forward_backward"): step,
        ("net", "forward"): step / 3,
        ("mixer", "forward_backward"): step / trial.depth / 2,
        ("mixer", "forward"): step / trial.depth / 6,
    }
    return {item: max(call, LATENCY_ITEM_S) for item, call in calls.items()}


def _latency_s(trial: Trial, items: dict[tuple[str, str], float]) -> float:
    """One latency trial, its share of the start of its process included."""
    start = PROCESS_START_S / len(METRIC_OF) / 2 if trial.device == "cpu" else GPU_PROCESS_S / TOGETHER
    return start + compile_s(trial) + rounds_s(trial, items)


def rounds_s(trial: Trial, items: dict[tuple[str, str], float]) -> float:
    """Its rounds, and the first calls, which are not timed."""
    return sum(items.values()) * ((trial.rounds or 1) + 1)


def compile_s(trial: Trial) -> float:
    return 60.0 if trial.compiled else 0.0


@functools.cache
def step_seconds_per_image(trial: Trial) -> float:
    """Seconds of forward and backward per image, on a small batch of at most PROBE_BATCH images."""
    set_math_mode(trial.threads)
    task = task_of(trial)
    net = task.net(trial).to(trial.device)
    batch = max(1, min(PROBE_BATCH, 2**12 // trial.tokens))
    inputs, targets = task.example(trial, batch, trial.device)
    context = functools.partial(autocast, trial)
    best = math.inf
    for _ in range(3):
        started = time.perf_counter()
        training_step(net, task.loss, inputs, targets, None, context).item()  # which waits for the device
        best = min(best, time.perf_counter() - started)
        if best > PROBE_ENOUGH_S:  # a long step is estimated well enough by its first run
            break
    return best / batch
