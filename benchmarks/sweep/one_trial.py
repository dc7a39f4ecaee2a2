"""One training run, or one measurement of cost, from a trial to what its record will say."""

from __future__ import annotations

import collections
import dataclasses
import io
import logging
import math
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contract.errors import Diverged, OutOfTime, UserError, one_line, place_of
from benchmarks.contract.facts.datasets import PRETRAIN, labels_file, take_over, task_name, training_images
from benchmarks.contract.facts.devices import DEVICES
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.fields import DATA, MACHINE, MIXER, NET
from benchmarks.contract.record import atomic_write, machine_key
from benchmarks.contract.trial import Trial, names_of
from benchmarks.machine.device import free_memory, set_math_mode
from benchmarks.machine.environment import environment
from benchmarks.machine.memory import FREE_SHARE, free_bytes, is_out_of_memory
from benchmarks.sweep.process import Heartbeat
from benchmarks.tasks.sequences.parts.fingerprints import check_source
from benchmarks.tasks.task import load_data, task_of
from benchmarks.timing.cost import measure_cost
from benchmarks.training.logbook import Logbook
from benchmarks.training.train import train, training_step_bytes
from mixers import UnsupportedSize
from mixers.registry import mixer_entry

log = logging.getLogger(__name__)

LEFT = "left"  # the status of what a budget did not suffice for: no record is made of it


@dataclasses.dataclass
class Measured:
    """What a measurement hands back to be made a record of."""

    status: str = "ok"
    reason: str | None = None
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Call:
    """One training run, or one measurement of cost, and what it has to know of the run around it."""

    trial: Trial
    data_dir: Path
    records: Path
    checkpoints: Path
    log_kinds: Sequence[str] = ()
    until: float = math.inf  # on time.monotonic()'s clock: no epoch is begun that would end later
    steps_to_come: int | None = None  # of all trials that can use what is compiled for it
    own_data: dict[str, Any] | None = None  # what is known of a data set of the user's own
    workers: int = 1  # among which the machine's memory is shared


def measure_in_process(plugins: list[str], call: Call) -> Measured:
    """As `measure`, in a process that has not loaded the trial's plug-ins yet."""
    for plugin in plugins:
        mixer_entry(plugin)
    take_over(call.own_data)
    return measure(call)


def measure(call: Call) -> Measured:
    """Measures one accuracy, tuning or cost trial in this process; what goes wrong becomes a status and a reason.

    Raises:
        UserError: what is wrong is not the trial's: the data, the disk, or a checkpoint of another configuration.
    """
    trial, checkpoints = call.trial, call.checkpoints
    set_math_mode(trial.threads)
    try:
        with Heartbeat(checkpoints, name_of(trial), trial) as heartbeat:
            refuse_if_too_large(trial, call.workers)
            if not KINDS[trial.kind].trains:
                return Measured(metrics=measure_cost(trial))
            checkpoint = checkpoints / f"{name_of(trial)}.pt"
            check_source(trial, call.data_dir)
            data = load_data(trial, call.data_dir, trial.device)
            book = Logbook(call.log_kinds if KINDS[trial.kind].reads_test else (), call.records.parent)

            def on_epoch(row: dict[str, Any]) -> None:
                heartbeat.epoch_done(row["epoch"], row["images_per_s"])
                book.epoch(trial, row)

            outcome = train(
                trial,
                data,
                checkpoint,
                on_epoch,
                steps_to_come=call.steps_to_come,
                until=call.until,
                bar=False,  # the sweep has one
            )
            book.finish(trial, outcome.metrics)
            if outcome.predictions is not None:
                _keep_own_labels(call, trial, outcome.predictions.dtype)
                _save_array(call.records / f"{name_of(trial)}.npy", outcome.predictions)
            return Measured(metrics=outcome.metrics, history=outcome.history)
    except UserError:
        raise
    except OutOfTime as error:
        return Measured(LEFT, str(error))
    except UnsupportedSize as error:
        return Measured("unsupported", str(error))
    except Diverged as error:
        return Measured("diverged", str(error))
    except Exception as error:
        if is_out_of_memory(error):
            return Measured("oom", one_line(error))
        log.debug("%s", traceback.format_exc())
        return Measured("error", f"{type(error).__name__}: {one_line(error)} ({place_of(error)})")
    finally:
        if DEVICES[trial.device].is_gpu:  # the next trial of this process finds the memory free
            free_memory()


def share_left(checkpoint: Path, trial: Trial) -> float:
    """The share of a trial's epochs that its checkpoint does not have; 1 where it has none that can be read."""
    if not checkpoint.exists() or not trial.epochs:
        return 1.0
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return max(0.0, 1 - len(state["history"]) / trial.epochs)
    except Exception:  # whatever a broken file makes the unpickler raise; training says what is wrong with it
        return 1.0


# what is compiled for one trial serves others that agree in these
COMPILED_ALIKE = [*names_of(MIXER, DATA, NET, MACHINE), "batch_size", "augment"]


def steps_to_come(trials: Sequence[Trial]) -> dict[Trial, int]:
    """Of each training run the steps of all that could use what is compiled for it, the same for each of them."""
    steps_of: collections.Counter[Any] = collections.Counter()
    shapes = {}
    for trial in trials:
        if not KINDS[trial.kind].trains:
            continue
        images = training_images(trial.dataset, trial.train_images, trial.length, trial.tokenizer)
        steps = (trial.epochs or 0) * -(-images // (trial.batch_size or 1))
        shape = tuple(getattr(trial, name) for name in COMPILED_ALIKE)
        shapes[trial] = shape
        steps_of[shape] += steps
    return {trial: steps_of[shape] for trial, shape in shapes.items()}


def _keep_own_labels(call: Call, trial: Trial, dtype: np.dtype[Any]) -> None:
    """Leaves the classes of a test split with the results, for reports where the data are not.

    Raises:
        UserError: rows of a text task are not those that the folder's records were judged by.
    """
    path = labels_file(call.records.parent, trial.to_dict())
    unmarked = task_name(trial.dataset) == "text" and trial.dataset != PRETRAIN  # files without a fingerprint
    if path is None or (path.exists() and not unmarked):
        return
    labels = task_of(trial).test_targets(trial, call.data_dir)
    if labels is None:
        return
    if not path.exists():
        _save_array(path, labels.astype(dtype))
    elif not np.array_equal(np.load(path, allow_pickle=False), labels.astype(dtype)):
        raise UserError(
            f"the test rows of {trial.dataset} in {call.data_dir} are not those of the records in "
            f"{call.records.parent}; put those files back, or take another --results"
        )


def _save_array(path: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()  # numpy tells of a full disk without saying so
    np.save(buffer, array, allow_pickle=False)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())


def name_of(trial: Trial) -> str:
    """What the files of a trial are called, but for their endings."""
    machine = machine_key(environment(trial.device, trial.threads)) if KINDS[trial.kind].timed else None
    return f"{trial.kind}-{trial.id(machine)}"


def refuse_if_too_large(trial: Trial, workers: int = 1) -> None:
    """Stops before a CPU run that the kernel would kill for its memory.

    Args:
        trial: to be run.
        workers: that share what is free.

    Raises:
        MemoryError: the predicted peak of a training step is more than may be asked for of what is free.
    """
    if trial.device != "cpu":
        return
    needed, free = training_step_bytes(trial), int(FREE_SHARE * free_bytes("cpu")) // workers
    if needed > free:
        raise MemoryError(f"a training step asks for {needed:,} bytes, {free:,} may be taken of what is free")
