"""Runs trials: skips what is already measured, writes a record for each of the rest, and goes on past failures."""

from __future__ import annotations

import dataclasses
import logging
import re
import traceback
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.errors import Diverged, UserError
from benchmarks.measure.cost import measure_cost
from benchmarks.measure.data import load_data
from benchmarks.measure.latency import measure_latency
from benchmarks.measure.logbook import Logbook
from benchmarks.measure.memory import free_bytes
from benchmarks.measure.progress import Progress
from benchmarks.measure.train import train, training_step_bytes
from benchmarks.record import Record, atomic_write, code_version, environment, machine_key, now
from benchmarks.trial import Trial
from mixers import UnsupportedSize

log = logging.getLogger(__name__)


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

    Args:
        results: the folder; `records/` and `checkpoints/` are made in it.
        data_dir: where data sets are.
        retry: statuses other than "ok" that are measured again although they have a record.
        logbook: where epochs and final metrics of accuracy trials go too.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(
        self, results: Path, data_dir: Path, retry: Iterable[str] = (), logbook: Logbook | None = None
    ) -> None:
        self.records = results / "records"
        self.checkpoints = results / "checkpoints"
        self.data_dir = data_dir
        self.retry = set(retry)
        self.logbook = logbook
        try:
            self.records.mkdir(parents=True, exist_ok=True)
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.records / ".writable"):
                pass
            (self.records / ".writable").unlink()
        except OSError as error:
            raise UserError(
                f"the results folder {results} cannot be written ({error.strerror}); name another by RESULTS="
            ) from error

    def find(self, trial: Trial) -> Record | None:
        """The valid record of a trial, if there is one that need not be measured again."""
        machine = machine_key(environment(trial)) if trial.kind == "latency" else None
        path = self.records / f"{trial.kind}-{trial.id(machine)}.json"
        if not path.exists():
            return None
        record = Record.load(path)
        return None if record.status in self.retry else record

    def run(self, trials: list[Trial]) -> list[Result]:
        """Measures every trial that has no record, after saying what there is to do and how long it may take."""
        found = {trial: self.find(trial) for trial in trials}
        todo = [trial for trial in trials if found[trial] is None]
        trained = [trial for trial in todo if trial.kind in ("accuracy", "tuning")]
        if trained:
            load_data(trained[0], self.data_dir, "cpu")  # fail before the plan
        progress = Progress(trials, todo)
        results = [Result(record, False) for record in found.values() if record is not None]
        for _, same in groupby(todo, key=_process_of):
            group = list(same)
            for trial in group:
                progress.start(trial)
            torch.set_num_threads(group[0].threads)
            started = now()
            if group[0].kind == "latency":
                timings = measure_latency(group)
                measured = [Measured(t.status, t.reason, t.metrics, t.history) for t in timings]
            else:
                measured = [self._measure(group[0])]
            for trial, outcome in zip(group, measured, strict=True):
                record = self._record(trial, outcome, started)
                record.save(self.records)
                results.append(Result(record, True))
                progress.finish(trial, record)
        return results

    def _measure(self, trial: Trial) -> Measured:
        """Measures one accuracy, tuning or cost trial; what goes wrong becomes a status and a reason."""
        try:
            refuse_if_too_large(trial)
            if trial.kind == "cost":
                return Measured(metrics=measure_cost(trial))
            checkpoint = self.checkpoints / f"{trial.kind}-{trial.id()}.pt"
            book = self.logbook if trial.kind == "accuracy" else None
            data = load_data(trial, self.data_dir, trial.device)
            outcome = train(trial, data, checkpoint, book.epoch if book else None)
            if book:
                book.finish(trial, outcome.metrics)
            if outcome.predictions is not None:
                self._save_predictions(trial, outcome.predictions)
            checkpoint.unlink(missing_ok=True)
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

    def _save_predictions(self, trial: Trial, predictions: np.ndarray) -> None:
        with atomic_write(self.records / f"accuracy-{trial.id()}.npy") as file:
            np.save(file, predictions, allow_pickle=False)

    def _record(self, trial: Trial, outcome: Measured, started: str) -> Record:
        where = environment(trial)
        return Record(
            id=trial.id(machine_key(where) if trial.kind == "latency" else None),
            kind=trial.kind,
            trial=trial,
            environment=where,
            code=code_version(),
            started=started,
            ended=now(),
            **dataclasses.asdict(outcome),
        )


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
