"""`crossovers.json`: one device's tables as mixers read them, and the times behind them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.contract.record import one_line_errors, strict_json, write_json
from benchmarks.studies.files import made

FILES = ("crossovers.json", "gpu-check/crossovers.json")  # the second of a GPU check
DIM = 64  # of all that is timed
MEASURED_ON = ("machine", "torch", "threads", "precision", "rounds")


@dataclasses.dataclass(frozen=True)
class MethodTime:
    """One method of one kind of computation at one grid: medians in ms, or why there are none."""

    kind: str
    mixer: str
    tokens: int
    method: str
    forward_ms: float | None
    forward_backward_ms: float | None
    precision: str = "float32"
    status: str = "ok"  # or oom, unsupported, error
    reason: str | None = None

    @property
    def cost_ms(self) -> float:
        """Forward and forward + backward; infinite where there is no time."""
        if self.forward_ms is None or self.forward_backward_ms is None:
            return float("inf")
        return self.forward_ms + self.forward_backward_ms


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossoversRecord:
    """The times of one device, and the table that follows from them in each precision."""

    device: str
    tables: dict[str, dict[str, Any]]  # precision -> measured_on, methods
    times: list[MethodTime]
    left: list[str]  # what is not measured yet, in words
    one_precision: bool = False  # a file of before there were several

    def save(self, results: Path) -> Path:
        """Writes `crossovers.json` into a results folder."""
        times = [dataclasses.asdict(timed) for timed in self.times]
        return write_json(results / FILES[0], {self.device: self.tables, "times": times, "left": self.left}, indent=1)


def load(path: Path) -> CrossoversRecord:
    """Reads one.

    Raises:
        UserError: it is no such file.
    """
    with one_line_errors(path, "record of crossovers"):
        content = strict_json(path)
        times = [made(MethodTime, row) for row in content.pop("times")]
        left = content.pop("left", [])
        ((device, tables),) = content.items()
        old = "measured_on" in tables
        tables = {tables["measured_on"]["precision"]: tables} if old else tables
        for precision in {*tables, *(timed.precision for timed in times)}:
            _ = [tables[precision]["measured_on"][name] for name in MEASURED_ON]
        return CrossoversRecord(device=device, tables=tables, times=times, left=left, one_precision=old)
