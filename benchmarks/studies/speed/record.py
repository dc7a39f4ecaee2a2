"""`speed.json`, of a GPU `speed-DEVICE.json`: our transforms and our training loop beside others, as ratios."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.contract.record import machine_key, one_line_errors, strict_json, without_nan, write_json
from benchmarks.studies.comparison import OK, Comparison, Failed, are_medians, read_rows
from benchmarks.studies.files import made

FILES = ("speed.json", "speed-*.json")


@dataclasses.dataclass(frozen=True)
class FormComparison:
    """One mixer at one size: beside a copy of its input, and beside the naive forms of the same function."""

    mixer: str
    image_size: int
    shape: tuple[int, ...]
    method: str | None
    ours_ms: float | None
    copy_ms: float | None
    copy_ratio: float | None  # ours over the copy, geometric mean over rounds
    best: str | None  # the naive form with the smallest median, if there are any
    best_ms: float | None
    ratio: float | None  # ours over the best, geometric mean over rounds
    ratio_low: float | None  # its 95 % interval in this sitting, none for a single round
    ratio_high: float | None
    rounds: int
    form_ms: dict[str, float]  # of every form that ran, the yardstick included
    status: str = "ok"  # or oom, unsupported, error: then nothing of this row was timed
    reason: str | None = None
    form_failures: dict[str, str] = dataclasses.field(default_factory=dict)  # forms that did not run, and why


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedRecord:
    """What was compared on one device."""

    device: str = "cpu"  # as it stands in the file's name
    environment: dict[str, Any]
    code: dict[str, Any]
    comparisons: list[Comparison | Failed]  # of training
    forms: list[FormComparison]
    left: list[str]  # what the deadline left, in words
    medians: bool = False  # see `are_medians`

    @property
    def name(self) -> str:
        """Of the files of this device, without an ending."""
        return "speed" if self.device == "cpu" else f"speed-{self.device}"

    def save(self, results: Path) -> Path:
        """Writes the file of this device into a results folder."""
        content = {
            "environment": self.environment,
            "code": self.code,
            "comparisons": [OK | dataclasses.asdict(row) for row in self.comparisons],
            "naive_forms": [dataclasses.asdict(form) for form in self.forms],
            "left": self.left,
        }
        return write_json(results / f"{self.name}.json", without_nan(content), indent=1)


def load(path: Path) -> SpeedRecord:
    """Reads one.

    Raises:
        UserError: it is no such file.
    """
    with one_line_errors(path, "record of speed"):
        content = strict_json(path)
        machine_key(content["environment"])
        forms = content["naive_forms"]
        return SpeedRecord(
            device=path.stem.partition("-")[2] or "cpu",
            environment=content["environment"],
            code=content["code"],
            comparisons=read_rows(content["comparisons"], Comparison, Failed),
            forms=[made(FormComparison, form) for form in forms],
            left=content.get("left", []),
            medians=are_medians(forms),
        )
