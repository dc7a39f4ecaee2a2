"""Runs trials: skips what is already measured, writes a record for each of the rest, and goes on past failures."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import re
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch

from benchmarks.errors import Diverged, UserError
from benchmarks.measure.cost import measure_cost
from benchmarks.measure.data import load_data
from benchmarks.measure.latency import measure_latency
from benchmarks.measure.logbook import Logbook
from benchmarks.measure.memory import free_bytes
from benchmarks.measure.process import (
    Crashed,
    Heartbeat,
    TimedOut,
    heartbeat_path,
    in_own_process,
    kernel_oom_kills,
    start_server,
)
from benchmarks.measure.progress import Progress
from benchmarks.measure.train import train, training_step_bytes
from benchmarks.record import Record, atomic_write, code_of, environment, machine_key, now, set_aside
from benchmarks.trial import Trial
from mixers import UnsupportedSize
from mixers.blocks import mixers_in
from mixers.registry import mixer_entry

log = logging.getLogger(__name__)

TRAINED = ("accuracy", "tuning")
LOOK_AGAIN_S = 0.5  # at trials that another run is measuring
LATENCY_HEARTBEAT_S = 60.0  # writing more often would disturb what is timed


@dataclasses.dataclass
class Result:
    """What became of one trial in this run."""

    record: Record
    measured_now: bool


@dataclasses.dataclass
class Measured:
    """What a measurement hands back to be made a record of."""

    status: str = "ok"
    reason: str | None = None
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class Runner:
    """One results folder and the trials that are to be in it.

    Several may work in one folder at once, also on several machines that share it: a trial is measured under a lock,
    and one that another is measuring is looked at again when all others are done.

    Args:
        results: the folder; `records/` and `checkpoints/` are made in it.
        data_dir: where data sets are.
        retry: statuses other than "ok" that are measured again although they have a record.
        timeout_s: a training run that takes longer is ended, and its status is `timeout`.
        own_process: whether each training run gets a process of its own.
        log_kinds: where epochs and final metrics of accuracy trials go too, of `logbook.KINDS`.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(
        self,
        results: Path,
        data_dir: Path,
        retry: Iterable[str] = (),
        timeout_s: float | None = None,
        own_process: bool = True,
        log_kinds: Sequence[str] = (),
    ) -> None:
        self.records = results / "records"
        self.checkpoints = results / "checkpoints"
        self.locks = self.checkpoints / "locks"
        self.data_dir = data_dir
        self.retry = set(retry)
        self.timeout_s = timeout_s
        self.own_process = own_process
        self.log_kinds = Logbook(log_kinds, results).kinds
        try:
            self.records.mkdir(parents=True, exist_ok=True)
            self.locks.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.records):
                pass
        except OSError as error:
            raise UserError(
                f"the results folder {results} cannot be written ({error.strerror}); name another by RESULTS="
            ) from error

    def load(self, trial: Trial) -> Record | None:
        """The record of a trial, whatever its status; one that cannot be read is set aside."""
        path = self.records / f"{_name(trial)}.json"
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
        """Measures every trial that has no record, after saying what there is to do and how long it may take."""
        there = {path.stem: self._load(path) for path in sorted(self.records.glob("*.json"))}
        before = {trial: there.get(_name(trial)) for trial in trials}
        found = {trial: r for trial, r in before.items() if r is not None and r.status not in self.retry}
        todo = [trial for trial in before if trial not in found]
        trained = [trial for trial in todo if trial.kind in TRAINED]
        if trained:
            if self.own_process:
                start_server()
            load_data(trained[0], self.data_dir, "cpu")  # fail before the plan
        progress = Progress(trials, todo)
        results = [Result(record, False) for record in found.values()]
        groups = [list(same) for _, same in groupby(todo, key=_process_of)]
        waiting = False
        while groups:
            busy = []
            for group in groups:
                outcome = self._measure_group(group, before, progress)
                if outcome is None:
                    busy.append(group)
                else:
                    results += outcome
            groups = busy
            if busy:
                if not waiting:
                    log.info("waiting for %d trials that another run is measuring", sum(map(len, busy)))
                waiting = True
                time.sleep(LOOK_AGAIN_S)
        return results

    def measure(self, trial: Trial) -> Record:
        """Measures one trial now, whatever record it has, and writes its record; the caller holds its lock."""
        started = now()
        return self.write(trial, self._measure(trial), started)

    def write(self, trial: Trial, outcome: Measured, started: str | None = None) -> Record:
        """Writes the record of what was measured, or of why nothing was."""
        where = environment(trial)
        record = Record(
            id=trial.id(machine_key(where) if trial.kind == "latency" else None),
            kind=trial.kind,
            trial=trial,
            environment=where,
            code=code_of(trial),
            started=started or now(),
            ended=now(),
            **dataclasses.asdict(outcome),
        )
        record.save(self.records)
        if record.status == "ok":  # not before: whoever is killed between the two trains the last epoch again, not all
            (self.checkpoints / f"{_name(trial)}.pt").unlink(missing_ok=True)
        return record

    def lock(self, trial: Trial) -> filelock.BaseFileLock:
        """The lock of a trial; there is one for all latency trials, which must not be timed at the same time."""
        name = "latency" if trial.kind == "latency" else _name(trial)
        return filelock.FileLock(self.locks / f"{name}.lock")

    def _measure_group(
        self, group: list[Trial], before: dict[Trial, Record | None], progress: Progress
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
                progress.start(trial)
            if not todo:
                return results
            if group[0].kind == "latency":
                records = self._measure_latency(todo)
            else:
                records = [self.measure(trial) for trial in todo]
            for trial, record in zip(todo, records, strict=True):
                results.append(Result(record, True))
                progress.finish(trial, record)
            return results
        finally:
            lock.release()

    def _measure_latency(self, trials: list[Trial]) -> list[Record]:
        torch.set_num_threads(trials[0].threads)
        started = now()
        with contextlib.ExitStack() as stack:
            for trial in trials:
                stack.enter_context(Heartbeat(self.checkpoints, _name(trial), trial, LATENCY_HEARTBEAT_S))
            timings = measure_latency(trials)
        return [self.write(t.trial, Measured(t.status, t.reason, t.metrics, t.history), started) for t in timings]

    def _measure(self, trial: Trial) -> Measured:
        """Measures one accuracy, tuning or cost trial; what goes wrong becomes a status and a reason."""
        arguments = trial, self.data_dir, self.records, self.checkpoints, self.log_kinds
        if trial.kind not in TRAINED or not self.own_process:
            return measure(*arguments)
        plugins = [entry.origin for entry in map(mixer_entry, mixers_in(trial.mixer)) if entry.origin]
        kills = kernel_oom_kills()
        try:
            return in_own_process(measure_in_process, plugins, *arguments, timeout_s=self.timeout_s)
        except TimedOut as error:
            return Measured("timeout", f"{error}; --timeout allows more, and RETRY=failed goes on from the last epoch")
        except Crashed as error:
            if "SIGKILL" in str(error) and kernel_oom_kills() > kills:
                asked = training_step_bytes(trial)
                return Measured("oom", f"the kernel ended the process; a training step asks for {asked:,} bytes")
            return Measured("error", one_line(error))
        finally:
            heartbeat_path(self.checkpoints, _name(trial)).unlink(missing_ok=True)

    def remove_leftovers(self, trial: Trial) -> None:
        """Removes the temporary files of a run that was killed while it wrote; the caller holds the trial's lock."""
        for folder in (self.records, self.checkpoints):
            for path in folder.glob(f".{_name(trial)}.*"):
                path.unlink(missing_ok=True)


def measure_in_process(plugins: list[str], trial: Trial, *arguments: Any) -> Measured:
    """As `measure`, in a process that has not loaded the trial's plug-ins yet."""
    for plugin in plugins:
        mixer_entry(plugin)
    return measure(trial, *arguments)


def measure(trial: Trial, data_dir: Path, records: Path, checkpoints: Path, log_kinds: Sequence[str] = ()) -> Measured:
    """Measures one accuracy, tuning or cost trial in this process; what goes wrong becomes a status and a reason.

    Raises:
        UserError: what is wrong is not the trial's: the data, the disk, or a checkpoint of another configuration.
    """
    torch.set_num_threads(trial.threads)
    try:
        with Heartbeat(checkpoints, _name(trial), trial) as heartbeat:
            refuse_if_too_large(trial)
            if trial.kind == "cost":
                return Measured(metrics=measure_cost(trial))
            checkpoint = checkpoints / f"{_name(trial)}.pt"
            data = load_data(trial, data_dir, trial.device)
            book = Logbook(log_kinds if trial.kind == "accuracy" else (), records.parent)

            def on_epoch(row: dict[str, Any]) -> None:
                heartbeat.epoch_done(row["epoch"], row["images_per_s"])
                book.epoch(trial, row)

            outcome = train(trial, data, checkpoint, on_epoch)
            book.finish(trial, outcome.metrics)
            if outcome.predictions is not None:
                _save_predictions(records / f"{_name(trial)}.npy", outcome.predictions)
            return Measured(metrics=outcome.metrics, history=outcome.history)
    except UserError:
        raise
    except UnsupportedSize as error:
        return Measured("unsupported", str(error))
    except Diverged as error:
        return Measured("diverged", str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return Measured("oom", one_line(error))
    except Exception as error:
        if "can't allocate memory" in str(error):
            return Measured("oom", one_line(error))
        log.debug("%s", traceback.format_exc())
        return Measured("error", f"{type(error).__name__}: {one_line(error)} ({_place(error)})")


def _save_predictions(path: Path, predictions: np.ndarray) -> None:
    buffer = io.BytesIO()  # numpy tells of a full disk without saying so
    np.save(buffer, predictions, allow_pickle=False)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def _name(trial: Trial) -> str:
    """What the files of a trial are called, but for their endings."""
    machine = machine_key(environment(trial)) if trial.kind == "latency" else None
    return f"{trial.kind}-{trial.id(machine)}"


def _process_of(trial: Trial) -> Any:
    """Consecutive trials that agree in this are measured together, in one process."""
    if trial.kind == "latency":
        return trial.image_size, trial.patch_size, trial.compiled, trial.precision
    return trial


def refuse_if_too_large(trial: Trial) -> None:
    """Stops before a CPU run that the kernel would kill for its memory.

    Raises:
        MemoryError: the predicted peak of a training step is more than is free.
    """
    if trial.device != "cpu":
        return
    needed, free = training_step_bytes(trial), free_bytes("cpu")
    if needed > free:
        raise MemoryError(f"a training step asks for {needed:,} bytes, {free:,} are free")


def one_line(error: BaseException) -> str:
    """The first line of an error, without paths."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"(/[^\s:'\"]+)+/", "", lines[0])[:400]


def _place(error: BaseException) -> str:
    """File and line where an error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown place"
