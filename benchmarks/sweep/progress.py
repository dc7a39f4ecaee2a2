"""What a sweep says while it runs: the plan, one line a trial, and how long it may still take."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import logging
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

from benchmarks.contract.errors import printable
from benchmarks.contract.facts.datasets import TASKS, fixed_of, main_metric, task_name, training_images
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.facts.metrics import METRICS
from benchmarks.contract.record import Record
from benchmarks.contract.trial import Trial, varied
from benchmarks.machine.device import set_math_mode
from benchmarks.machine.memory import FREE_SHARE, free_bytes
from benchmarks.sweep.status import duration
from benchmarks.tasks.task import task_of
from benchmarks.timing.latency import Item
from benchmarks.timing.latency_metrics import METRIC_OF
from benchmarks.timing.match import far_off
from benchmarks.training.train import autocast, training_step_bytes
from benchmarks.training.training_step import training_step
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
SURE_SHARE = 0.1  # of a latency sweep: after that much of it, what it took counts as much as what was expected
LINE_EVERY_S = 60.0  # where no terminal shows a bar


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
        self.more = varied(trials)
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
        self.timed = LatencyProgress([trial for trial in todo if KINDS[trial.kind].timed], probe=ahead)
        if todo and ahead:
            for trial in tqdm(todo, "estimating the time", leave=False, disable=None, dynamic_ncols=True):
                self.expected_s(trial)
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
        trained = sum(self.expected_s(trial) for trial in self.left if not KINDS[trial.kind].timed)
        return trained / self.workers + sum(self.expected_s(trial) for trial in self.left if KINDS[trial.kind].timed)

    def start(self, trial: Trial) -> None:
        with self._lock:
            self.begun += 1
            log.info("[%d/%d] %s", self.begun, self.total, trial.describe(self.more))

    def start_together(self, trials: list[Trial]) -> None:
        """The same for trials that are measured in one process, in one line."""
        if len(trials) == 1:
            return self.start(trials[0])
        with self._lock:
            first_one, first = trials[0], self.begun + 1
            self.begun += len(trials)
            names = ", ".join(trial.mixer for trial in trials)
            shared = [name for name in self.more if len({getattr(trial, name) for trial in trials}) == 1]
            sizes = dict.fromkeys([first_one.extent_in_words(), f"{first_one.tokens} tokens"])
            where = ", ".join([*sizes, *first_one.named(shared)])
            log.info("[%d-%d/%d] %s, %s: %s", first, self.begun, self.total, first_one.kind, where, names)

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
            if self.total == 1:
                return  # said at the end, with where it lies
            left = f"; about {duration(self.left_s())} left" if self.left <= self._expected.keys() else ""
            log.info("  %s: %s%s", trial.describe(self.more), outcome_line(record), left)


class LatencyProgress:
    """One bar over all latency trials of a sweep, which moves with every item and says how long the rest takes.

    It counts expected seconds, not items: an item at 64 pixels takes as long as dozens at 8. How long the rest takes is
    what is expected of it times how wrong the expectation was so far; SURE_SHARE of the whole must be measured before
    that weighs as much as the expectation itself, so that the first items do not make it jump. The starts of processes
    are counted apart.

    Args:
        trials: that are to be timed, in all processes.
        probe: whether a training step of each net is timed to tell; else its size does.
    """

    def __init__(self, trials: list[Trial], probe: bool = True) -> None:
        self._trials = trials
        self._probe = probe
        self._lock = threading.Lock()
        self._processes = len({process_of(trial) for trial in trials})  # that have not started
        self._starts_s: list[float] = []
        self._done: dict[Trial, float] = {}  # expected seconds of what is done
        self._spent_s = 0.0  # on items
        self._begun_at: float | None = None  # the items of the process that runs
        self._said_at = -math.inf
        self._left_s, self._left_at = 0.0, 0.0

    @functools.cached_property
    def _items(self) -> dict[Trial, dict[tuple[str, str], float]]:
        return {trial: item_seconds(trial, per_image_s(trial, self._probe)) for trial in self._trials}

    @functools.cached_property
    def _expected(self) -> dict[Trial, float]:
        return {t: _rounds_s(t, items) + _compile_s(t) for t, items in self._items.items()}

    @functools.cached_property
    def _total(self) -> float:
        return sum(self._expected.values())

    @contextlib.contextmanager
    def process(self, trials: list[Trial]) -> Iterator[Callable[[Item], None]]:
        """Shows the bar while a process times `trials`; yields what to call with every item that is done."""
        what = f"latency, {trials[0].extent_in_words()}"
        bar = tqdm(total=self._total, bar_format="{desc} {percentage:3.0f}%|{bar}|", disable=None, leave=False)
        began = time.monotonic()
        self._said_at = max(self._said_at, began - LINE_EVERY_S / 2)
        self._estimate(began)
        self._show(bar, what, began)

        def on_item(item: Item) -> None:
            with self._lock:
                at = time.monotonic()
                if self._begun_at is None:
                    self._begun_at = at
                    self._processes -= 1
                    self._starts_s.append(at - began)
                self._count(trials[item.trial], item)
                self._estimate(at)
                self._show(bar, what, at)

        try:
            yield on_item
        finally:
            with self._lock:
                at = time.monotonic()
                if self._begun_at is None:
                    self._processes -= 1
                else:
                    self._spent_s += at - self._begun_at
                self._begun_at = None
                self._done |= {trial: self._expected[trial] for trial in trials}
                self._estimate(at)
                bar.close()

    def _count(self, trial: Trial, item: Item) -> None:
        expected = self._items[trial].get((item.target, item.mode), 0.0)
        turns = (item.round >= 0) + (item.round == 0)  # the first with the first calls
        done = self._done.setdefault(trial, _compile_s(trial)) + turns * expected
        self._done[trial] = min(self._expected[trial], done)

    def _estimate(self, at: float) -> None:
        done, sure = sum(self._done.values()), SURE_SHARE * self._total
        spent_s = self._spent_s + (0.0 if self._begun_at is None else at - self._begun_at)
        start_s = statistics.mean(self._starts_s or [PROCESS_START_S])
        wrong = (spent_s + sure) / (done + sure)
        self._left_s, self._left_at = max(0.0, self._total - done) * wrong + self._processes * start_s, at

    def _show(self, bar: tqdm, what: str, at: float) -> None:
        done = sum(self._done.values())
        left = f"about {duration(max(0.0, self._left_s - (at - self._left_at)))} left"
        if not bar.disable:
            bar.n = min(done, self._total)
            bar.set_description_str(f"{what}, {left}")
        elif at - self._said_at >= LINE_EVERY_S:
            self._said_at = at
            log.info("  %s: %.0f %% of all, %s", what, 100 * min(1.0, done / self._total), left)


def process_of(trial: Trial) -> Any:
    """Consecutive trials that agree in this are measured together, in one process."""
    if trial.kind == "latency":
        return trial.extent, trial.padded_length, trial.patch_size, trial.compiled, trial.precision
    return trial


def outcome_line(record: Record) -> str:
    """The one number of a record that matters most, or why there is none."""
    if record.status != "ok":
        return printable(f"{record.status} ({record.reason})")
    metrics = record.metrics
    if record.kind == "accuracy":
        top5 = metrics.get("test_top5_percent")
        if (main := main_metric(record.trial.dataset)) != "test_top1_percent":
            return f"{METRICS[main].label} {metrics[main]:.2f}"
        return f"test top-1 {metrics['test_top1_percent']:.2f} %" + (f", top-5 {top5:.2f} %" if top5 else "")
    if record.kind == "tuning":
        return f"held-out top-1 {metrics['val_top1_percent']:.2f} %"
    if record.kind == "cost":
        ratio = metrics.get("match_ratio")
        far = far_off(record.trial.match, float(ratio)) if ratio else None
        counts = f"{metrics['params']:,} parameters, {float(metrics['flops'] or 0) / 1e6:.2f} MFLOPs"
        return f"{counts}; {far}" if far else counts
    examples = f"{TASKS[task_name(record.trial.dataset)].noun}s"
    return f"{metrics['forward_ms']:.2f} ms forward for {metrics['latency_batch_size']} {examples}"


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
    try:
        if training_step_bytes(dataclasses.replace(net, batch_size=1)) > FREE_SHARE * free_bytes("cpu"):
            return 0.0
        return step_seconds_per_image(net)
    except (MixerError, RuntimeError):
        return 0.0


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
    return start + _compile_s(trial) + _rounds_s(trial, items)


def _rounds_s(trial: Trial, items: dict[tuple[str, str], float]) -> float:
    """Its rounds, and the first calls, which are not timed."""
    return sum(items.values()) * ((trial.rounds or 1) + 1)


def _compile_s(trial: Trial) -> float:
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
