"""What a sweep says while it runs: the plan, a line a trial, and at the foot of a terminal one bar for the whole."""

from __future__ import annotations

import collections
import contextlib
import functools
import logging
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from benchmarks import interrupt
from benchmarks.contract.errors import printable
from benchmarks.contract.facts.datasets import TASKS, facts_of, main_metric, task_name
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.facts.metrics import METRICS
from benchmarks.contract.record import Record
from benchmarks.contract.trial import FACTS, Trial, varied
from benchmarks.sweep.bar import Bar
from benchmarks.sweep.estimate import PROCESS_START_S, compile_s, estimate_seconds, item_seconds, per_image_s, rounds_s
from benchmarks.sweep.one_trial import name_of
from benchmarks.sweep.process import heartbeat_path
from benchmarks.sweep.status import duration, read_heartbeat
from benchmarks.timing.latency import Item
from benchmarks.timing.match import far_off

log = logging.getLogger(__name__)

LOOK_S = 1.0  # how often the bar moves while nets are trained
SHOW_EVERY_S = 0.5  # and while something is timed
LINE_EVERY_S = 60.0  # where no terminal shows the bar
SURE_SHARE = 0.1  # of a latency sweep: after that much of it, what it took counts as much as what was expected


class Progress:
    """Estimates, and corrects its estimate by what the finished trials really took; several threads may report to it.

    A terminal shows one bar: how much of the whole is done, how long the rest may take, and what runs now. Elsewhere
    there is a line when a trial begins too.

    Args:
        trials: all.
        todo: those without a record.
        workers: trials that are measured side by side.
        ahead: whether to estimate all of them before the first begins; else each when it is asked for.
        checkpoints: where the heartbeats of what runs lie.
    """

    def __init__(
        self,
        trials: list[Trial],
        todo: list[Trial],
        workers: int = 1,
        ahead: bool = True,
        checkpoints: Path | None = None,
    ) -> None:
        self.total = len(trials)
        self.done = len(trials) - len(todo)
        self.workers = workers
        self.begun = self.done
        self.more = varied(trials)
        self.left = set(todo)
        self._trials, self._todo, self._ahead, self._checkpoints = trials, todo, ahead, checkpoints
        self._lock = threading.RLock()
        self._expected: dict[Trial, float] = {}
        # by kind: what finished trials took, and what was expected of them
        self._spent: dict[str, tuple[float, float]] = {}
        self._running: dict[Trial, float] = {}  # what is trained now, and since when
        self._shares: dict[Trial, float] = {}  # and how much of it is done
        self._told = {kind: told_apart([t for t in trials if t.kind == kind]) for kind in {t.kind for t in trials}}
        self._trains, self._closed = threading.Event(), threading.Event()
        self._bar = Bar()
        timed = [trial for trial in todo if KINDS[trial.kind].timed]
        self.timed = LatencyProgress(timed, probe=ahead, show=self._show if self._bar.is_shown else None)

    def __enter__(self) -> Self:
        counts = collections.Counter(trial.kind for trial in self._trials)
        log.info("plan: %s", ", ".join(f"{n} {kind}" for kind, n in counts.items()))
        if self.done:
            log.info("%d of %d already measured", self.done, self.total)
        try:
            self._estimate_all()
        except BaseException:
            self._bar.close()
            raise
        if self._bar.is_shown:
            threading.Thread(target=self._watch, daemon=True).start()
            if self.total > 1:
                TRAINING.addFilter(no_epochs)
        return self

    def __exit__(self, *exception: object) -> None:
        TRAINING.removeFilter(no_epochs)
        self._closed.set()
        self._trains.set()
        with self._lock:
            self._bar.close()

    def _estimate_all(self) -> None:
        if not (self._todo and self._ahead):
            return
        for place, trial in enumerate(self._todo):
            self._bar.show(place / len(self._todo), "estimating the time")
            self.expected_s(trial)
        log.info("to measure: %d, about %s", len(self._todo), duration(self.left_s()))

    def expected_s(self, trial: Trial) -> float:
        """About how long a trial will take, by what the first ones of its kind took."""
        with self._lock:
            if trial not in self._expected:
                self._expected[trial] = estimate_seconds(trial)
        spent, expected = self._spent.get(trial.kind, (0.0, 0.0))
        return self._expected[trial] * (spent / expected if expected else 1.0)

    def left_s(self) -> float:
        """About how long all that is left will take."""
        timed = [trial for trial in self.left if KINDS[trial.kind].timed]
        trained = self.left.difference(timed)
        left_s = math.fsum(self.expected_s(trial) * (1 - self._share(trial)) for trial in trained) / self.workers
        return left_s + (self.timed.left_s() if self.timed.begun else math.fsum(map(self.expected_s, timed)))

    def start(self, trial: Trial) -> None:
        with self._lock:
            self.begun += 1
            if not self._bar.is_shown:
                log.info("[%d/%d] %s", self.begun, self.total, trial.describe(self.more))
            if not KINDS[trial.kind].timed:
                self._running[trial] = time.monotonic()
                self._trains.set()
                self._show()

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
            if not self._bar.is_shown:
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
            self._running.pop(trial, None)
            if not self._running:
                self._trains.clear()
            if record is None:
                return
            self.done += 1
            interrupt.note(f"{self.done} of {self.total} measured")
            if seconds is not None and record.status == "ok":
                before = self._spent.get(trial.kind, (0.0, 0.0))
                expected = self._expected.get(trial, 0.0)
                self._spent[trial.kind] = (before[0] + seconds, before[1] + expected) if expected else before
            if self.total == 1:
                return  # said at the end, with where it lies
            left = "" if self._bar.is_shown else self._left_words("; ")
            log.info("  %s: %s%s", trial.describe(self.more), outcome_line(record), left)
            self._show()

    def _left_words(self, before: str) -> str:
        return f"{before}about {duration(self.left_s())} left" if self.left <= self._expected.keys() else ""

    def _watch(self) -> None:
        """Moves the bar while nets are trained; what is timed is left alone."""
        while not self._closed.wait(LOOK_S):
            self._trains.wait()
            with self._lock:
                if self._running:
                    self._show()

    def _show(self, timed: str = "") -> None:
        """Brings the bar up to date; `timed` says what is timed now."""
        if not self._bar.is_shown or self._closed.is_set():
            return
        with self._lock:
            running = [timed] if timed else [self._look_at(trial) for trial in self._running]
            counted = f"{self.done} of {self.total}" if self.total > 1 else ""
            words = ", ".join(filter(None, [counted, self._left_words("")]))
            self._bar.show(self.share, ": ".join(filter(None, [words, "; ".join(running)])))

    @property
    def share(self) -> float:
        """How much of what there was to do is done, by the time it was expected to take; by trials where none was."""
        expected = [self._expected.get(trial, 0.0) for trial in self._todo]
        weights = expected if self._ahead and any(expected) else [1.0] * len(self._todo)
        done = math.fsum(weight * self._share(trial) for weight, trial in zip(weights, self._todo, strict=True))
        return done / (math.fsum(weights) or 1.0)

    def _share(self, trial: Trial) -> float:
        if trial not in self.left:
            return 1.0
        return self.timed.share(trial) if KINDS[trial.kind].timed else self._shares.get(trial, 0.0)

    def _look_at(self, trial: Trial) -> str:
        """What runs now in words, such as "attention, seed 1, epoch 4/10"; how much of it is done is kept."""
        kind = "" if trial.kind == "accuracy" else f"{trial.kind} "
        what = printable(", ".join([kind + trial.mixer, *trial.named(self._told[trial.kind])]))
        if self._checkpoints is None or not trial.epochs:
            return what
        epoch, words = 0, what
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # not there yet, or no more
            begun = read_heartbeat(heartbeat_path(self._checkpoints, name_of(trial)))
            epoch = begun.epoch or 0
            words = f"{what}, epoch {epoch}/{begun.epochs}"
        share = epoch / trial.epochs
        if expected := self._expected.get(trial, 0.0) and self.expected_s(trial):  # within an epoch the clock tells
            spent = (time.monotonic() - self._running[trial]) / expected
            share = max(share, min(spent, (epoch + 0.9) / trial.epochs, 0.99))
        self._shares[trial] = max(self._shares.get(trial, 0.0), share)
        return words


def told_apart(trials: list[Trial]) -> list[str]:
    """The fields in which trials of one kind and mixer differ."""
    values: dict[str, set[Any]] = collections.defaultdict(set)
    for name in (name for name, facts in FACTS.items() if facts.listed):
        values[name] |= {(trial.mixer, getattr(trial, name)) for trial in trials}
    mixers = len({trial.mixer for trial in trials})
    return [name for name, found in values.items() if len(found) > mixers]


TRAINING = logging.getLogger("benchmarks.training.train")


def no_epochs(record: logging.LogRecord) -> bool:
    """Keeps the lines on single epochs out, where the bar says them."""
    return record.levelno > logging.INFO


class LatencyProgress:
    """How far all latency trials of a sweep are, and how long the rest takes, told with every item.

    It counts expected seconds, not items: an item at 64 pixels takes as long as dozens at 8. How long the rest takes is
    what is expected of it times how wrong the expectation was so far; SURE_SHARE of the whole must be measured before
    that weighs as much as the expectation itself, so that the first items do not make it jump. The starts of processes
    are counted apart.

    Args:
        trials: that are to be timed, in all processes.
        probe: whether a training step of each net is timed to tell; else its size does.
        show: told now and then what is timed; without it there is a line in the log, more seldom.
    """

    def __init__(self, trials: list[Trial], probe: bool = True, show: Callable[[str], None] | None = None) -> None:
        self._trials = trials
        self._probe = probe
        self._show = show
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
        return {t: rounds_s(t, items) + compile_s(t) for t, items in self._items.items()}

    @functools.cached_property
    def _total(self) -> float:
        return sum(self._expected.values())

    @property
    def begun(self) -> bool:
        return math.isfinite(self._said_at)

    def share(self, trial: Trial) -> float:
        """How much of one trial is done."""
        return self._done.get(trial, 0.0) / self._expected[trial] if self._done else 0.0

    def left_s(self) -> float:
        """About how long all of them still take, once the first has begun."""
        return max(0.0, self._left_s - (time.monotonic() - self._left_at))

    @contextlib.contextmanager
    def process(self, trials: list[Trial]) -> Iterator[Callable[[Item], None]]:
        """While a process times `trials`; yields what to call with every item that is done."""
        what = f"latency, {trials[0].extent_in_words()}"
        began = time.monotonic()
        self._said_at = max(self._said_at, began - LINE_EVERY_S / 2)
        self._estimate(began)
        self._tell(what, began)

        def on_item(item: Item) -> None:
            with self._lock:
                at = time.monotonic()
                if self._begun_at is None:
                    self._begun_at = at
                    self._processes -= 1
                    self._starts_s.append(at - began)
                self._count(trials[item.trial], item)
                self._estimate(at)
                self._tell(what, at)

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

    def _count(self, trial: Trial, item: Item) -> None:
        expected = self._items[trial].get((item.target, item.mode), 0.0)
        turns = (item.round >= 0) + (item.round == 0)  # the first with the first calls
        done = self._done.setdefault(trial, compile_s(trial)) + turns * expected
        self._done[trial] = min(self._expected[trial], done)

    def _estimate(self, at: float) -> None:
        done, sure = sum(self._done.values()), SURE_SHARE * self._total
        spent_s = self._spent_s + (0.0 if self._begun_at is None else at - self._begun_at)
        start_s = statistics.mean(self._starts_s or [PROCESS_START_S])
        wrong = (spent_s + sure) / (done + sure)
        self._left_s, self._left_at = max(0.0, self._total - done) * wrong + self._processes * start_s, at

    def _tell(self, what: str, at: float) -> None:
        if at - self._said_at < (SHOW_EVERY_S if self._show else LINE_EVERY_S):
            return
        self._said_at = at
        if self._show:
            self._show(what)
            return
        percent = 100 * min(1.0, sum(self._done.values()) / self._total)
        log.info("  %s: %.0f %% of all, about %s left", what, percent, duration(self.left_s()))


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
        info = facts_of(record.trial.dataset)
        headline = "test_top1_percent" if info is None else f"test_{info.headline}"
        said = [] if headline == "test_top1_percent" else [f"{METRICS[headline].label} {metrics[headline]:.2f}"]
        if main_metric(record.trial.dataset) == "test_top1_percent":
            said.append(f"test top-1 {metrics['test_top1_percent']:.2f} %")
        return ", ".join([*said, *([f"top-5 {top5:.2f} %"] if top5 else [])])
    if record.kind == "tuning":
        return f"held-out top-1 {metrics['val_top1_percent']:.2f} %"
    if record.kind == "cost":
        ratio = metrics.get("match_ratio")
        far = far_off(record.trial.match, float(ratio)) if ratio else None
        counts = f"{metrics['params']:,} parameters, {float(metrics['flops'] or 0) / 1e6:.2f} MFLOPs"
        return f"{counts}; {far}" if far else counts
    examples = f"{TASKS[task_name(record.trial.dataset)].noun}s"
    return f"{metrics['forward_ms']:.2f} ms forward for {metrics['latency_batch_size']} {examples}"
