"""`peers.json`: comparisons with public implementations, a row a pair, size and mode."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.contract.record import machine_key, one_line_errors, strict_json, write_json
from benchmarks.studies.comparison import OK, Comparison, are_medians, read_rows

FILES = ("peers.json",)


@dataclasses.dataclass(frozen=True)
class PeerComparison(Comparison):
    """One pair at one image size, forward or forward + backward."""

    package: str
    version: str | None
    image_size: str
    dim: int
    batch_size: int
    mode: str
    same_function: bool
    note: str  # why it is not the same function, or what was chosen so that it is
    output_error: float | None  # relative, of the check; None where it is not the same function
    gradient_error: float | None


@dataclasses.dataclass(frozen=True)
class PeerFailure:
    """One pair at one image size that could not be compared; in both modes, where none is named."""

    what: str
    beside: str
    package: str
    version: str | None
    image_size: str
    dim: int
    batch_size: int
    mode: str | None
    status: str  # oom, unsupported or error
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeersRecord:
    """What was compared, and what was not and why."""

    environment: dict[str, Any]
    code: dict[str, Any]
    ended: str
    rows: list[PeerComparison | PeerFailure]
    left_out: list[str]  # a line each
    medians: bool = False  # see `are_medians`

    @property
    def comparisons(self) -> list[PeerComparison]:
        return [row for row in self.rows if isinstance(row, PeerComparison)]

    @property
    def failures(self) -> list[PeerFailure]:
        return [row for row in self.rows if isinstance(row, PeerFailure)]

    def rows_as_json(self) -> list[dict[str, Any]]:
        """All rows, those that were measured with their status too."""
        ok = {} if self.medians else OK
        return [dataclasses.asdict(row) | ({} if isinstance(row, PeerFailure) else ok) for row in self.rows]

    def save(self, results: Path) -> Path:
        """Writes `peers.json` into a results folder."""
        content = {
            "environment": self.environment,
            "code": self.code,
            "ended": self.ended,
            "comparisons": self.rows_as_json(),
            "left_out": self.left_out,
        }
        return write_json(results / FILES[0], content, indent=1)


def load(path: Path) -> PeersRecord:
    """Reads one.

    Raises:
        UserError: it is no such file.
    """
    with one_line_errors(path, "record of peers"):
        content = strict_json(path)
        machine_key(content["environment"])
        rows = content["comparisons"]
        return PeersRecord(
            environment=content["environment"],
            code=content["code"],
            ended=content["ended"],
            rows=read_rows(rows, PeerComparison, PeerFailure),
            left_out=content["left_out"],
            medians=are_medians(rows),
        )
