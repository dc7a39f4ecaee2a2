"""Checks a results folder that somebody sends: is every record what it says it is?"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DatasetInfo, facts_of, is_own, labels_file, main_metric
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.record import Record, machine_key
from benchmarks.contract.trial import RESULTS_VERSION, Trial
from benchmarks.studies.atlas.measure import atlas_id
from benchmarks.studies.atlas.record import FOLDER, AtlasRecord
from benchmarks.studies.pages import checked
from benchmarks.studies.transforms.record import FOLDER as TRANSFORMS
from benchmarks.tasks.task import task_of

TEMPORARY = "."  # how the name of a file begins that was being written
LARGEST_NPY_BYTES = 2**24  # of predictions; 10,000 test images take 10 kB


def validate(folder: Path, data_dir: Path) -> tuple[int, list[str]]:
    """Checks the records of a results folder: those of trials, its own and its studies', and those of studies.

    Args:
        folder: the results folder, or its `records/`.
        data_dir: where data sets are. Where a trial's is among them, or is drawn, its test accuracy is computed again
            from the predictions.

    Returns:
        How many records were looked at, and one line a problem.

    Raises:
        UserError: there is no such folder, or no record in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; type the one that holds records/")
    rooms = [place / "records" for place in (folder, folder / FOLDER, folder / TRANSFORMS)]
    studies = dict(checked(folder))
    rooms = [room for room in rooms if room.is_dir()] or [folder] * (not studies)
    looked_at, problems = 0, []
    known: dict[Any, Any] = {}

    def truth_of(trial: Trial) -> Any:
        key = trial.dataset, trial.dataset_source, trial.extent, trial.train_images, trial.tokenizer, trial.order
        if key not in known:
            own = is_own(trial.dataset) or trial.dataset_source is not None
            known[key] = _kept_labels(folder, trial) if own else task_of(trial).test_targets(trial, data_dir)
        return known[key]

    for room in rooms:
        for path in sorted(room.iterdir()):
            name = path.relative_to(folder)
            if path.suffix == ".json" and not path.name.startswith(TEMPORARY):
                looked_at += 1
                problems += [f"{name}: {text}" for text in _wrong_with_record(path, truth_of)]
            elif path.suffix != ".npy" or path.is_symlink() or not path.is_file():
                problems.append(f"{name}: not a record, nor the predictions of one")
            elif not path.with_suffix(".json").exists():
                problems.append(f"{name}: predictions without a record")
    for path, wrong in studies.items():
        looked_at += 1
        found = wrong or (_wrong_with_atlas(path) if path.match(f"{FOLDER}/maps/*.json") else None)
        problems += [f"{path.relative_to(folder)}: {found}"] if found else []
    if not looked_at and not problems:
        raise UserError(f"{folder} holds no records; type the folder that holds records/")
    return looked_at, problems


def _wrong_with_atlas(path: Path) -> str | None:
    record = AtlasRecord.load(path)
    expected = atlas_id(record.trial)
    wrong = f"its id is not that of its trial under results version {RESULTS_VERSION}, {expected}"
    return None if record.id == expected else wrong


def _wrong_with_record(path: Path, truth_of: Any) -> Iterator[str]:
    if path.is_symlink():
        yield "a link; a record is a file"
        return
    try:
        record = Record.load(path)
    except UserError as error:
        yield _without_name(error, path)
        return
    trial = record.trial
    expected = trial.id(machine_key(record.environment) if KINDS[trial.kind].timed else None)
    if record.id != expected:
        what = "trial and machine" if KINDS[trial.kind].timed else "trial"
        yield f"its id is not that of its {what} under results version {RESULTS_VERSION}, {expected}"
    if record.started > record.ended:
        yield f"it ended ({record.ended}) before it started ({record.started})"
    if record.status != "ok":
        return
    main = main_metric(trial.dataset) if trial.kind == "accuracy" else KINDS[trial.kind].main_metric
    if record.metrics.get(main) is None:
        yield f"its status is ok, yet it has no {main}"
    if trial.epochs is not None and len(record.history) != trial.epochs:
        yield f"its history has {len(record.history)} epochs, its trial {trial.epochs}"
    if KINDS[trial.kind].timed:
        yield from _wrong_with_rounds(record)
    if KINDS[trial.kind].reads_test:
        yield from _wrong_with_predictions(path.with_suffix(".npy"), record, truth_of)


def _wrong_with_rounds(record: Record) -> Iterator[str]:
    """Whether every round of a latency record stands there once, in a sitting between its beginning and its end."""
    rounds = [(row.get("sitting") or record.started, row["round"]) for row in record.history]
    if len(set(rounds)) < len(rounds):
        yield "a round of its history stands there twice"
    if outside := sorted({start for start, _ in rounds if not record.started <= start <= record.ended}):
        yield f"a sitting began at {outside[0]}, it was measured from {record.started} to {record.ended}"


def _wrong_with_predictions(path: Path, record: Record, truth_of: Any) -> Iterator[str]:
    """Whether the predictions beside an accuracy record are there, well-formed, and come to the accuracy it states."""
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST_NPY_BYTES:
            yield f"{path.name} is a link or too large for predictions"
            return
        predictions: Any = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except FileNotFoundError:
        if path.parent.parent.name != FOLDER:  # the atlas rests on weights, and is published without predictions
            yield f"{path.name}, its predictions, is missing"
        return
    except Exception as error:  # whatever a broken file makes NumPy raise
        yield f"{path.name} is no array that NumPy can read ({' '.join(str(error).split())[:200]})"
        return
    info = facts_of(record.trial.dataset)
    if not _has_form(predictions, info):
        shape, dtype = getattr(predictions, "shape", None), getattr(predictions, "dtype", type(predictions).__name__)
        form = f"{info.prediction_dtype} of shape ({info.test_images},)" if info else "whole numbers, one an image"
        yield f"{path.name} has {dtype} of shape {shape}; expected {form}"
        return
    truth = truth_of(record.trial)
    if truth is None or (info is not None and info.regression):
        return
    if truth.shape != predictions.shape:
        yield f"{path.name} has predictions of shape {predictions.shape} for a test split of {truth.shape}"
        return
    hits, stated = 100 * float((predictions == truth).mean()), record.metrics.get("test_top1_percent")
    if not isinstance(stated, int | float) or abs(hits - stated) > 1e-6:
        yield f"test_top1_percent is {stated}, its predictions come to {hits:.4f}"


def _kept_labels(folder: Path, trial: Trial) -> np.ndarray | None:
    """Of somebody's own data, what the results folder keeps."""
    try:
        results = folder.parent if folder.name == "records" else folder
        path = labels_file(results, trial.to_dict())
        return None if path is None else np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def _has_form(predictions: Any, info: DatasetInfo | None) -> bool:
    """Whether they are predictions of the test split; of data that are not at hand, of any."""
    if not isinstance(predictions, np.ndarray) or predictions.ndim != 1 + (info is not None and info.per_token):
        return False
    if info is None:
        return predictions.dtype.kind == "u" and len(predictions) > 0
    fits = len(predictions) == info.test_images or info.test_images == 0 or (info.chunked and len(predictions) > 0)
    return predictions.dtype == info.prediction_dtype and fits


def _without_name(error: UserError, path: Path) -> str:
    return str(error).removeprefix(f"{path.name} is ").removesuffix("; move it out of the folder")
