"""What tells one text from another: trials on other text are other trials, and their records never meet.

A module of this folder that reads text has `fingerprint(data_dir)`: of what it reads, not of the files that hold it,
where these have several forms.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.trial import Trial
from benchmarks.tasks.sequences import source_of


def text_source(dataset: str, data_dir: Path) -> str | None:
    """The fingerprint of the text that a data set is made of; None without text, or where it is not at hand."""
    info = DATASETS.get(dataset)
    if info is None or info.task != "sequences":
        return None
    of_text = getattr(source_of(dataset), "fingerprint", None)
    with contextlib.suppress(UserError):  # which the trial itself tells, once it needs the text
        return None if of_text is None else str(of_text(Path(data_dir)))
    return None


def fetch(dataset: str, data_dir: Path) -> None:
    """Downloads the text of a data set where it is missing and can be had, so that its fingerprint is known."""
    info = DATASETS.get(dataset)
    download = getattr(source_of(dataset), "fetch", None) if info is not None and info.task == "sequences" else None
    with contextlib.suppress(UserError):
        if download is not None:
            download(Path(data_dir))


def check_source(trial: Trial, data_dir: Path) -> None:
    """Holds the text to the one that a trial was planned with.

    Raises:
        UserError: it is another one.
    """
    if trial.length is None or trial.dataset_source is None:
        return
    found = text_source(trial.dataset, data_dir)
    if found not in (None, trial.dataset_source):
        raise UserError(f"the text of {trial.dataset} has changed since this run began; start it again")
