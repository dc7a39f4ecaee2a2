"""Runs trials: skips what is already measured, writes a record for each of the rest, and goes on past failures.

Training runs may go side by side, and a budget may bound the whole; what is timed has the machine to itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

import filelock

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import handed_on
from benchmarks.contract.facts.devices import DEVICES
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.record import Record, machine_key, make_results_folder, now, set_aside
from benchmarks.contract.schema import check_can_write
from benchmarks.contract.trial import Trial
from benchmarks.machine.device import set_math_mode
from benchmarks.machine.environment import environment
from benchmarks.sources import code_of, other_code_line, parts_of_other_code
from benchmarks.sweep.budget import Budget
from benchmarks.sweep.one_trial import (
    LEFT,
    Call,
    Measured,
    measure,
    measure_in_process,
    name_of,
    one_line,
    share_left,
    steps_to_come,
)
from benchmarks.sweep.process import (
    Crashed,
    Heartbeat,
    OwnProcess,
    TimedOut,
    heartbeat_path,
    kernel_oom_kills,
    start_server,
)
from benchmarks.sweep.progress import Progress, process_of
from benchmarks.sweep.side_by_side import side_by_side
from benchmarks.tasks.task import check_files, load_data
from benchmarks.timing.latency import TIMEOUT_S, Item, Timing, measure_latency
from benchmarks.timing.latency_metrics import can_grow, is_due, missing_line, with_sitting
from benchmarks.training.logbook import Logbook
from benchmarks.training.train import training_step_bytes
from mixers.registry import places_of

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.5  # at trials that another run is measuring
LATENCY_HEARTBEAT_S = 60.0  # writing more often would disturb what is timed
CHANGED = "changed"  # of `retry`: what was measured by other code than today's


@dataclasses.dataclass
class Result:
    """What became of one trial in this run."""

    record: Record
    measured_now: bool


class Runner:
    """One results folder and the trials that are to be in it.

    Several may work in one folder at once, also on several machines that share it: a trial is measured under a lock,
    and one that another is measuring is looked at again when all others are done.

    Args:
        results: the folder; `records/` and `checkpoints/` are made in it.
        data_dir: where data sets are.
        retry: statuses that are measured again although they have a record; CHANGED too, for those of other code.
        timeout_s: a training run that takes longer is ended, and its status is `timeout`.
        own_process: whether training runs get a process of their own: each one on a CPU; on a GPU, where a process
            takes seconds to begin, one after the other as long as nothing goes wrong in it.
        log_kinds: where epochs and final metrics of accuracy trials go too, of `logbook.KINDS`.
        workers: training runs that go side by side.
        budget: after which nothing is begun.
        sittings: that latency records are to have; each run adds one, an hour or more after the last.

    Attributes:
        left: the trials that the budget of the last `run` did not suffice for.

    Raises:
        UserError: the folder cannot be written, or a package for that is missing.
    """

    def __init__(
        self,
        results: Path,
        data_dir: Path,
        retry: Iterable[str] = (),
        timeout_s: float | None = None,
        own_process: bool = True,
        log_kinds: Sequence[str] = (),
        workers: int = 1,
        budget: Budget | None = None,
        sittings: int | None = None,
    ) -> None:
        check_can_write()
        self.records = results / "records"
        self.checkpoints = results / "checkpoints"
        self.locks = self.checkpoints / "locks"
        self.data_dir = data_dir
        self.retry = set(retry)
        self.timeout_s = timeout_s
        self.own_process = own_process
        self.workers = workers
        self.budget = budget or Budget()
        self.sittings = sittings
        self.left: list[Trial] = []
        self._begun = False
        self._steps_to_come: dict[Trial, int] = {}
        self._cancel = threading.Event()
        self._own = threading.local()  # of each thread: its process
        self.log_kinds = Logbook(log_kinds, results).kinds
        make_results_folder(results, "records", "checkpoints/locks")

    def load(self, trial: Trial) -> Record | None:
        """The record of a trial, whatever its status; one that cannot be read is set aside."""
        path = self.records / f"{name_of(trial)}.json"
        return self._load(path) if path.exists() else None

    def _load(self, path: Path) -> Record | None:
        try:
            return Record.load(path)
        except UserError as error:
            moved = set_aside(path)
            if moved is not None:
                log.warning("%s; it is now in %s/", error, moved.parent.name)
            return None

    def run(self, trials: list[Trial]) -> list[Result]:
        """Measures every trial that has no record, after saying what there is to do and how long it may take.

        Of trials that the budget does not suffice for there is no result; they are in `left`.
        """
        there = {path.stem: self._load(path) for path in sorted(self.records.glob("*.json"))}
        before = {trial: there.get(name_of(trial)) for trial in trials}
        found = {trial: r for trial, r in before.items() if r is not None and not self.again(r)}
        self._mind(before)
        todo = [trial for trial in before if trial not in found]
        self._steps_to_come = steps_to_come(trials)
        if todo:
            set_math_mode(todo[0].threads)  # records say what is in force here, as it is in the processes that measure
        if trained := [trial for trial in todo if KINDS[trial.kind].trains]:
            if self.own_process:
                start_server()
            check_files(trained, self.data_dir)  # fail before the plan
            load_data(trained[0], self.data_dir, "cpu")
        results = [Result(record, False) for record in found.values()]
        self.left, self._begun = [], False
        self._cancel.clear()
        try:
            with Progress(trials, todo, self.workers, not self.budget.bounded, self.checkpoints) as progress:
                results += self._run_all(todo, before, progress)
        finally:
            self._end_own_process()
        self.left.sort(key=trials.index)
        if self.sittings and (line := missing_line([result.record for result in results], self.sittings)):
            log.info("%s", line)
        return results

    def _run_all(self, todo: list[Trial], before: dict[Trial, Record | None], progress: Progress) -> list[Result]:
        """Stage by stage, and again those that another run was at."""
        results: list[Result] = []
        groups = [list(same) for _, same in groupby(todo, key=process_of)]
        waiting = False
        while groups:
            busy: list[list[Trial]] = []
            for trains, stage in groupby(groups, key=lambda group: KINDS[group[0].kind].trains):
                outcome, held = self._run_stage(list(stage), trains, before, progress)
                results += outcome
                busy += held
            groups = busy
            if busy and not self.budget.fits(LOOK_AGAIN_S):
                self.left += [trial for group in busy for trial in group]
                break
            if busy:
                if not waiting:
                    log.info("waiting for %d trials that another run is measuring", sum(map(len, busy)))
                waiting = True
                time.sleep(LOOK_AGAIN_S)
        return results if self._begun else results + self._begin_what_is_too_long(before, progress)

    def _mind(self, before: dict[Trial, Record | None]) -> None:
        """Says which records are of other code, or, where these are measured again, drops the epochs of that code."""
        known = {trial: record for trial, record in before.items() if record is not None}
        if CHANGED in self.retry:
            for trial, record in known.items():
                if parts_of_other_code(record):
                    (self.checkpoints / f"{name_of(trial)}.pt").unlink(missing_ok=True)
        elif line := other_code_line(record for record in known.values() if not self.again(record)):
            log.warning("%s", line)

    def again(self, record: Record) -> bool:
        """Whether a trial that has this record is measured again."""
        if record.status in self.retry or (self.sittings and is_due(record, self.sittings)):
            return True
        return CHANGED in self.retry and bool(parts_of_other_code(record))

    def _run_stage(
        self, groups: list[list[Trial]], trains: bool, before: dict[Trial, Record | None], progress: Progress
    ) -> tuple[list[Result], list[list[Trial]]]:
        """Measures groups, training runs side by side; returns the results, and the groups that another run is at."""
        results: list[Result] = []
        busy: list[list[Trial]] = []
        neighbours = min(self.workers, len(groups)) - 1 if trains else 0

        def measure_one(group: list[Trial]) -> None:
            if not self._fits(group, progress):
                self._leave(group, progress)
                return
            outcome = self._measure_group(group, before, progress, neighbours)
            if outcome is None:
                busy.append(group)
            else:
                results.extend(outcome)

        side_by_side(groups, measure_one, neighbours + 1, self._cancel, self._end_own_process)
        return results, busy

    def _fits(self, group: list[Trial], progress: Progress) -> bool:
        """Whether a group would end within the budget, what a checkpoint has of it left out."""
        if not self.budget.bounded:
            return True
        expected = [progress.expected_s(t) * share_left(self.checkpoints / f"{name_of(t)}.pt", t) for t in group]
        return self.budget.fits(sum(expected))

    def _begin_what_is_too_long(self, before: dict[Trial, Record | None], progress: Progress) -> list[Result]:
        """Where a whole budget does not suffice for any trial: the first one that can go on from a checkpoint.

        It is ended at an epoch's end, and goes on with the next budget.
        """
        for trial in sorted(self.left, key=list(before).index):
            if KINDS[trial.kind].trains and self.own_process and self.budget.fits(0.0):
                self.left.remove(trial)
                progress.left.add(trial)
                outcome = self._measure_group([trial], before, progress, 0)
                if outcome is None:  # another run is at it
                    self._leave([trial], progress)
                return outcome or []
        return []

    def _leave(self, trials: Iterable[Trial], progress: Progress) -> None:
        for trial in trials:
            self.left.append(trial)
            progress.finish(trial, None)

    def measure(self, trial: Trial, neighbours: int = 0) -> Record | None:
        """Measures one trial now, whatever record it has, and writes its record; the caller holds its lock.

        Returns:
            The record; None where the budget ended before the trial did.
        """
        started = now()
        outcome = self._measure(trial)
        return None if outcome.status == LEFT else self.write(trial, outcome, started, neighbours)

    def write(self, trial: Trial, outcome: Measured, started: str | None = None, neighbours: int = 0) -> Record:
        """Writes the record of what was measured, or of why nothing was."""
        record = self.record_of(trial, outcome, started, neighbours)
        record.save(self.records)
        if record.status == "ok":  # not before: whoever is killed between the two trains the last epoch again, not all
            (self.checkpoints / f"{name_of(trial)}.pt").unlink(missing_ok=True)
        return record

    def record_of(self, trial: Trial, outcome: Measured, started: str | None = None, neighbours: int = 0) -> Record:
        """The record of what was measured here by today's code."""
        where = environment(trial.device, trial.threads, neighbours)
        return Record(
            id=trial.id(machine_key(where) if KINDS[trial.kind].timed else None),
            kind=trial.kind,
            trial=trial,
            environment=where,
            code=code_of(trial),
            started=started or now(),
            ended=now(),
            **dataclasses.asdict(outcome),
        )

    def lock(self, trial: Trial) -> filelock.BaseFileLock:
        """The lock of a trial; there is one for all latency trials, which must not be timed at the same time."""
        name = trial.kind if KINDS[trial.kind].timed else name_of(trial)
        return filelock.FileLock(self.locks / f"{name}.lock")

    def _measure_group(
        self, group: list[Trial], before: dict[Trial, Record | None], progress: Progress, neighbours: int
    ) -> list[Result] | None:
        """Measures trials that go together, but those that another run has measured since; None where one is at it."""
        lock = self.lock(group[0])
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            return None
        try:
            results, todo = [], []
            for trial in group:
                record = self.load(trial)
                if record is None or record == before[trial]:
                    todo.append(trial)
                else:
                    progress.start(trial)
                    progress.finish(trial, record)
                    results.append(Result(record, False))
            for trial in todo:
                self.remove_leftovers(trial)
            if not todo:
                return results
            progress.start_together(todo)
            self._begun = True
            began = time.perf_counter()
            if KINDS[group[0].kind].timed:
                with progress.timed.process(todo) as on_item:
                    records = self.measure_timed(todo, on_item)
            else:
                records = [self.measure(trial, neighbours) for trial in todo]
            seconds = (time.perf_counter() - began) / len(todo)
            for trial, record in zip(todo, records, strict=True):
                if record is None:
                    self._leave([trial], progress)
                else:
                    results.append(Result(record, True))
                    progress.finish(trial, record, seconds)
            return results
        finally:
            lock.release()

    def measure_timed(self, trials: list[Trial], on_item: Callable[[Item], None] | None = None) -> list[Record | None]:
        started = now()
        with contextlib.ExitStack() as stack:
            for trial in trials:
                stack.enter_context(Heartbeat(self.checkpoints, name_of(trial), trial, LATENCY_HEARTBEAT_S))
            left_s = self.budget.left_s
            bounded = left_s is not None and left_s < TIMEOUT_S
            timings = measure_latency(trials, left_s if left_s is not None and bounded else TIMEOUT_S, on_item)
        return [None if t.status == "timeout" and bounded else self._write_timing(t, started) for t in timings]

    def _write_timing(self, t: Timing, started: str) -> Record:
        """Writes what was timed, as a further sitting where one was asked for; the record outlives a failed one."""
        before = self.load(t.trial) if self.sittings else None
        measured = Measured(t.status, t.reason, t.metrics, t.history)
        if before is None or not can_grow(before):
            return self.write(t.trial, measured, started)
        if t.status != "ok":
            log.warning("%s: the further sitting failed, its record keeps those that it has", t.trial.describe())
            return self.record_of(t.trial, measured, started)
        metrics, history = with_sitting(before, t.metrics, t.history)
        return self.write(t.trial, Measured(metrics=metrics, history=history), before.started)

    def _measure(self, trial: Trial) -> Measured:
        """Measures one accuracy, tuning or cost trial; what goes wrong becomes a status and a reason."""
        call = Call(
            trial,
            self.data_dir,
            self.records,
            self.checkpoints,
            self.log_kinds,
            self.budget.until,
            self._steps_to_come.get(trial),
            handed_on(trial.dataset, trial.corpus),
            self.workers,
        )
        if not KINDS[trial.kind].trains or not self.own_process:
            return measure(call)
        plugins = places_of(trial.mixer)
        kills = kernel_oom_kills()
        if not hasattr(self._own, "process"):
            self._own.process = OwnProcess()
        left_s, keep = self.budget.left_s, False
        bounds = [bound for bound in (self.timeout_s, left_s) if bound is not None]
        try:
            outcome = self._own.process.call(
                measure_in_process, plugins, call, timeout_s=min(bounds, default=None), cancel=self._cancel
            )
            # after an error a context may be broken, and after a capture that failed it may wait for its end
            captured = DEVICES[trial.device].captures and outcome.metrics.get("step") != "eager"
            keep = captured and outcome.status == "ok"
            return outcome
        except TimedOut as error:
            if left_s is not None and (self.timeout_s is None or left_s <= self.timeout_s):
                return Measured(LEFT, str(error))
            return Measured(
                "timeout", f"{error}; --timeout allows more; tried again, it goes on from the last checkpoint"
            )
        except Crashed as error:
            if "SIGKILL" in str(error) and kernel_oom_kills() > kills:
                asked = training_step_bytes(trial)
                return Measured("oom", f"the kernel ended the process; a training step asks for {asked:,} bytes")
            return Measured("error", one_line(error))
        finally:
            if not keep:
                self._end_own_process()
            heartbeat_path(self.checkpoints, name_of(trial)).unlink(missing_ok=True)

    def _end_own_process(self) -> None:
        if hasattr(self._own, "process"):
            self._own.process.end()

    def remove_leftovers(self, trial: Trial) -> None:
        """Removes the temporary files of a run that was killed while it wrote; the caller holds the trial's lock."""
        for folder in (self.records, self.checkpoints):
            for path in folder.glob(f".{name_of(trial)}.*"):
                path.unlink(missing_ok=True)
