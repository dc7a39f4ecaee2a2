"""`profile.csv` and `profile.md` from `profile.json` alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.studies.files import cell, csv_of, left_words, machine_words, row, write_beside
from benchmarks.studies.profile.record import FILES, ProfileRecord, StepProfile, load


def write_pages(results: Path) -> list[Path]:
    """Writes table and page beside the record, if there is one; returns their paths.

    Raises:
        UserError: the record cannot be read.
    """

    def texts(path: Path) -> dict[str, str]:
        record = load(path)
        return {"profile.csv": programs(record), "profile.md": people(record)}

    return write_beside(results, FILES, texts)


def programs(record: ProfileRecord) -> str:
    """A row a trial in CSV."""
    rows = [_row(one, list(record.parts)) for one in record.profiles]
    return csv_of(rows[0], rows)


def _row(one: StepProfile, parts: Sequence[str]) -> dict[str, Any]:
    trial = one.trial
    found: dict[str, Any] = {"mixer": trial.mixer, "status": one.status, "reason": one.reason}
    names = ("dataset", "patch_size", "dim", "depth", "batch_size", "augment", "device", "precision", "threads")
    found |= {name: value for name in ("length", "padded_length") if (value := getattr(trial, name))}
    found |= {"image_size_px": trial.image_size} | {name: getattr(trial, name) for name in names}
    found |= {"steps": one.steps, "step_ms": one.step_ms, "profiled_step_ms": one.profiled_step_ms}
    for part in parts:
        mean, low, high = one.part_percent.get(part, (None, None, None))
        found |= {f"{part}_ms": one.part_ms.get(part), f"{part}_percent": mean}
        found |= {f"{part}_percent_low": low, f"{part}_percent_high": high}
    return found


def people(record: ProfileRecord) -> str:
    """A row a trial in Markdown, with what must be known to read it."""
    trial, steps = record.profiles[0].trial, max(one.steps for one in record.profiles)
    patch, size = (f"patch {trial.patch_size}, ", "image (px)") if trial.image_size else ("", "length (tokens)")
    how = f"dim {trial.dim}, depth {trial.depth}, {patch}batch {trial.batch_size}"
    lines = [
        "# Where the time of a training step goes",
        "",
        f"{machine_words(record.environment)}, threads: {trial.threads}, {trial.precision}, {trial.dataset}, {how}, "
        f"augmentation {trial.augment}; n = {steps} steps under the profiler, neither compiled nor in a CUDA graph.",
        "A cell is milliseconds a step, forward and backward, and the share of the profiled steps in "
        "percent; both are means over the steps.",
        "",
        "; ".join(f"{name}: {what}" for name, what in record.parts.items()) + ".",
        "",
        row("mixer", size, "step (ms)", "under the profiler (ms)", *record.parts),
        "|---|---:|---:|---:|" + "---:|" * len(record.parts),
        *(_line(one, list(record.parts)) for one in record.profiles),
    ]
    lines += ["", left_words(record.left)] if record.left else []
    return "\n".join(lines) + "\n"


def _line(one: StepProfile, parts: Sequence[str]) -> str:
    own = cell(one.trial.mixer), one.trial.extent
    if one.status != "ok":
        return row(*own, f"{one.status}: {cell(one.reason)}") + " |" * (len(parts) + 1)
    shares = [f"{one.part_ms[part]:.2f} ({one.part_percent[part][0]:.1f} %)" for part in parts]
    return row(*own, f"{one.step_ms:.1f}", f"{one.profiled_step_ms:.1f}", *shares)
