"""`gpu-check/gpu-check.json`: what came of every step of the check."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.contract.record import one_line_errors, strict_json, write_json
from benchmarks.studies.files import made

FOLDER = "gpu-check"  # in the results folder
FILES = (f"{FOLDER}/gpu-check.json",)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one step."""

    status: str  # ok, failed, timeout or error
    reason: str | None
    seconds: float
    rows: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class GpuCheckRecord:
    """The steps that were taken, by name, in their order."""

    code: dict[str, Any]
    steps: dict[str, Outcome]

    def save(self, results: Path) -> Path:
        """Writes the file into a results folder."""
        return write_json(results / FILES[0], dataclasses.asdict(self), indent=1)


def load(path: Path) -> GpuCheckRecord:
    """Reads one.

    Raises:
        UserError: it is no such file.
    """
    with one_line_errors(path, "record of a GPU check"):
        record = made(GpuCheckRecord, strict_json(path))
        _ = record.code["commit"] or record.code["reason"]
        return record
