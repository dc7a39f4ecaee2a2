"""`profile.json`: the parts of a training step of each trial, in milliseconds and percent."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.contract.record import machine_key, one_line_errors, strict_json, without_nan, write_json
from benchmarks.contract.trial import Trial
from benchmarks.studies.files import made

FILES = ("profile.json",)
PARTS = {  # in the order of the table; what each holds
    "mixer": "the mixing layers",
    "norm": "the norms of the backbone",
    "conv1x1": "the 1x1 convolutions of the blocks",
    "other": "the rest of the net",
    "loss": "cross-entropy",
    "optimizer": "gradient clipping and AdamW",
    "data": "order, indexing and augmentation",
    "rest": "outside all of these",
}


@dataclasses.dataclass(frozen=True)
class StepProfile:
    """What came of one trial.

    Attributes:
        step_ms: wall clock of a step without the profiler, median.
        profiled_step_ms: the same under the profiler, mean; the parts add up to it.
        part_ms: mean by part.
        part_percent: share of the profiled steps by part; then the lowest and the highest in one step.
    """

    trial: Trial
    status: str = "ok"
    reason: str | None = None
    steps: int = 0
    step_ms: float | None = None
    profiled_step_ms: float | None = None
    part_ms: dict[str, float] = dataclasses.field(default_factory=dict)
    part_percent: dict[str, tuple[float, float, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProfileRecord:
    """The profiles of one run, at least one."""

    environment: dict[str, Any]
    code: dict[str, Any]
    profiles: list[StepProfile]
    left: list[str] = dataclasses.field(default_factory=list)  # what is not measured, in words
    parts: dict[str, str] = dataclasses.field(default_factory=lambda: PARTS)

    def save(self, results: Path) -> Path:
        """Writes `profile.json` into a results folder."""
        content = {
            "environment": self.environment,
            "code": self.code,
            "parts": self.parts,
            "profiles": [dataclasses.asdict(one) | {"trial": one.trial.to_dict()} for one in self.profiles],
            "left": self.left,
        }
        return write_json(results / FILES[0], without_nan(content), indent=1)


def load(path: Path) -> ProfileRecord:
    """Reads one.

    Raises:
        UserError: it is no such file.
    """
    with one_line_errors(path, "record of profiles"):
        record = made(ProfileRecord, strict_json(path))
        machine_key(record.environment)
        if not record.profiles:
            raise ValueError("it has no profile")
        for one in record.profiles:
            known = set(one.part_ms) & set(one.part_percent)
            if one.status == "ok" and (None in (one.step_ms, one.profiled_step_ms) or set(record.parts) - known):
                raise ValueError(f"the profile of {one.trial.mixer} lacks a time")
        return record
