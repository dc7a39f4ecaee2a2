"""What the atlas found of one mixer: influence maps and a few numbers, one strict JSON file a mixer."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Self

from benchmarks.contract.errors import UserError
from benchmarks.contract.record import STATUSES, content_of, machine_key, one_line_errors, read_json, write_json
from benchmarks.contract.trial import Trial
from benchmarks.studies.files import paths_of

SCHEMA_VERSION = 1
FOLDER = "atlas"  # in the results folder
FILES = (f"{FOLDER}/maps/*.json",)
STATES = ("layer_untrained", "layer_trained", "net_untrained", "net_trained")  # the maps of one mixer
NUMBERS = ("reach", "evenness", "rank", "orthogonality")  # of each map; the last two of one layer's alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class AtlasRecord:
    """One mixer's maps. A map that could not be made is missing, and `status` and `reason` say why."""

    id: str
    status: str
    reason: str | None
    trial: Trial  # the training run behind the trained maps
    images: int  # held-out images averaged over
    sources: list[int]  # tokens, in row order, whose influence was computed; the maps are the first one's
    maps: dict[str, list[list[float]]]  # state -> (rows, columns) of influence, from the first source
    numbers: dict[str, dict[str, float | None]]  # state -> NUMBERS
    val_top1_percent: float | None  # of the trained net
    environment: dict[str, Any]
    code: dict[str, Any]
    started: str
    ended: str
    schema_version: int = SCHEMA_VERSION

    @property
    def file_name(self) -> str:
        return f"atlas-{self.id}.json"

    def save(self, folder: Path) -> Path:
        """Writes the record into `folder` (made if missing), in place of an earlier one with the same id."""
        return write_json(folder / self.file_name, content_of(self))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads one record.

        Raises:
            UserError: the file is no atlas record of this schema version.
        """
        with one_line_errors(path, "atlas record"):
            content = read_json(path, SCHEMA_VERSION)
            record = cls(**content | {"trial": Trial.from_dict(content["trial"])})
            record._check()
        if record.status not in STATUSES or record.file_name != path.name:
            raise UserError(f"{path.name} is not what it says it is ({record.status}, {record.id})")
        return record

    def _check(self) -> None:
        """Raises ValueError or TypeError where the maps are not what the trial's grid says."""
        machine_key(self.environment)
        rows, columns = self.trial.grid
        for state, grid in self.maps.items():
            fits = len(grid) == rows and all(len(row) == columns for row in grid)
            if state not in STATES or not fits or not all(math.isfinite(value) for row in grid for value in row):
                raise ValueError(f"the map {state!r} is no {rows} x {columns} numbers")
            if set(self.numbers[state]) != set(NUMBERS):
                raise ValueError(f"the numbers of {state!r} are not {', '.join(NUMBERS)}")
        if not all(0 <= token < self.trial.tokens for token in self.sources):
            raise ValueError(f"the sources {self.sources} are not tokens of {rows} x {columns}")


def load(path: Path) -> AtlasRecord:
    """As `AtlasRecord.load`."""
    return AtlasRecord.load(path)


def load_atlas(results: Path) -> list[AtlasRecord]:
    """All atlas records of a results folder, in the order of their file names; none where there is no atlas.

    Raises:
        UserError: a file among them is no atlas record.
    """
    return [load(path) for path in paths_of(results, FILES)]
