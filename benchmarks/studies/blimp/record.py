"""What one pre-trained net makes of BLiMP: shares of pairs that are right, one strict JSON file a net."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Self

from benchmarks.contract.facts.datasets import PRETRAIN
from benchmarks.contract.record import content_of, machine_key, one_line_errors, read_json, write_json
from benchmarks.contract.trial import Trial
from benchmarks.studies.files import made, paths_of

SCHEMA_VERSION = 1
FOLDER = "blimp"  # in the results folder
FILES = (f"{FOLDER}/blimp-*.json",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlimpRecord:
    """One net's answers.

    Attributes:
        id: of the record of its pre-training.
        trial: its pre-training.
        masked_percent: of masked test tokens the share that it gets right, from that record.
        source: SHA-256 of the file of pairs.
        asked: pairs that were read, as many of each paradigm.
        pairs: those of them whose sentences fit into the net.
        overall: mean over paradigms, percent.
        low: the lower end of its 95 % Student-t interval over paradigms; None of one paradigm.
        high: the upper end.
        paradigms: percent by name.
        phenomena: the paradigms of each.
    """

    id: str
    trial: Trial
    masked_percent: float | None
    source: str
    asked: int
    pairs: int
    overall: float
    low: float | None
    high: float | None
    paradigms: dict[str, float]
    phenomena: dict[str, list[str]]
    environment: dict[str, Any]
    code: dict[str, Any]
    started: str
    ended: str
    schema_version: int = SCHEMA_VERSION

    @property
    def file_name(self) -> str:
        return f"blimp-{self.id}.json"

    def save(self, results: Path) -> Path:
        """Writes the record into a results folder, whole or not at all."""
        return write_json(Path(results) / FOLDER / self.file_name, content_of(self), indent=1)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads one record.

        Raises:
            UserError: the file is no such record of this schema version.
        """
        with one_line_errors(path, "record of BLiMP"):
            record = made(cls, read_json(path, SCHEMA_VERSION))
            record._check(path)
        return record

    def _check(self, path: Path) -> None:
        """Raises ValueError where the numbers do not belong together, or to the name of the file."""
        machine_key(self.environment)
        if self.file_name != path.name or self.trial.id() != self.id or self.trial.dataset != PRETRAIN:
            raise ValueError(f"it is not what it says it is ({self.trial.dataset}, {self.id})")
        values = self.paradigms.values()
        if not values or not all(0 <= value <= 100 for value in values) or not 0 < self.pairs <= self.asked:
            raise ValueError("its paradigms are no percentages of pairs")
        if sorted(name for names in self.phenomena.values() for name in names) != sorted(self.paradigms):
            raise ValueError("its phenomena are not those of its paradigms")
        if not math.isclose(self.overall, math.fsum(values) / len(values), abs_tol=1e-6):
            raise ValueError("its overall share is not the mean of its paradigms")


def load(path: Path) -> BlimpRecord:
    """As `BlimpRecord.load`."""
    return BlimpRecord.load(path)


def load_blimp(results: Path) -> list[BlimpRecord]:
    """All records of a results folder, in the order of their file names.

    Raises:
        UserError: a file among them is no such record.
    """
    return [load(path) for path in paths_of(results, FILES)]
