"""Which test images each trained net got right: the predictions beside its record against the test labels.

The labels alone, a few kilobytes a data set, are part of the package, so that a report needs records and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import is_own, labels_file
from benchmarks.report.choose import finished

Folders = Path | str | Sequence[Path | str]


@functools.cache
def labels_of_test(dataset: str) -> NDArray[np.unsignedinteger] | None:
    """Classes of the test images in the order of the data set's files, None where they are not known."""
    path = Path(__file__).parents[1] / "test_labels" / f"{dataset}.npy"
    return np.load(path, allow_pickle=False) if path.is_file() else None


def folders(results: Folders) -> list[Path]:
    """One results folder or several, as a list."""
    return [Path(results)] if isinstance(results, str | Path) else [Path(folder) for folder in results]


def correct_answers(frame: pd.DataFrame, results: Folders) -> dict[str, NDArray[Any]]:
    """For each trained net, by the id of its record: whether each test example was classified right.

    Of a sequence whose tokens are classified: the share of them.

    Args:
        frame: records, of which the accuracy records that are ok count.
        results: the folder, or folders, that the frame was read from.

    Returns:
        One array a record; a record without predictions or of a data set whose labels are unknown is left out.

    Raises:
        UserError: predictions do not fit the accuracy in their record.
    """
    found = {}
    for row, path, labels in predictions_of(frame, results):
        if math.isnan(row["test_top1_percent"]):  # a number was asked for
            continue
        correct = _compare(path, labels)
        if correct is None or abs(100 * correct.mean() - row["test_top1_percent"]) > 0.01:
            raise misfit(path)
        found[str(row["id"])] = correct
    return found


def predictions_of(frame: pd.DataFrame, results: Folders) -> Iterator[tuple[dict[Any, Any], Path, NDArray[Any]]]:
    """Of each trained net whose predictions and labels are there: its row, the file of the first, and the second."""
    files = {path.name: path for path in _prediction_files(results)}
    for row in finished(frame, "accuracy").to_dict("records"):
        labels = _kept_labels(results, row)
        if labels is None and not is_own(str(row["dataset"])):
            labels = labels_of_test(str(row["dataset"]))
        path = files.get(f"accuracy-{row['id']}.npy")
        if labels is not None and path is not None:
            yield row, path, labels


def misfit(path: Path) -> UserError:
    """What is said of predictions that are not those of their record."""
    return UserError(
        f"{path.name} does not give the accuracy that its record says; move both out of {path.parent.name}/ "
        "and measure that trial again"
    )


def _kept_labels(results: Folders, row: dict[Any, Any]) -> NDArray[np.unsignedinteger] | None:
    """The same of sequences and of somebody's own data, which a results folder keeps for itself."""
    for folder in folders(results):
        path = labels_file(folder, row)
        with contextlib.suppress(OSError, ValueError, EOFError):
            if path is not None:
                return np.load(path, allow_pickle=False)
    return None


def _prediction_files(results: Folders) -> Iterator[Path]:
    """All of them; of two with one name the one in the folder named first comes last."""
    for folder in reversed(folders(results)):
        for place in (folder, folder / "records"):
            yield from place.glob("accuracy-*.npy")


def _compare(path: Path, labels: NDArray[np.unsignedinteger]) -> NDArray[Any] | None:
    try:
        predictions = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    if predictions.shape != labels.shape:
        return None
    right = np.asarray(predictions == labels)
    return right if right.ndim == 1 else right.mean(axis=1)
