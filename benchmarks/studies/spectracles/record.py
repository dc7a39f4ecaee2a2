"""`spectracles.json`: the runs of the first source's net, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contract.record import machine_key, one_line_errors, read_json, without_nan, write_json

FILES = ("spectracles.json",)
SCHEMA_VERSION = 1
# runs that agree in these differ in layout and seed alone
SETTING = [
    *("n_linear", "width", "depth", "standardize", "residual"),
    *("epochs", "train_images", "batch_size", "lr", "device", "results_version"),
]
FIELDS = {"settings": dict, "published": list, "status": str, "metrics": dict, "environment": dict}

Entry = Mapping[str, Any]  # one run


def save(results: Path, runs: Sequence[Entry]) -> Path:
    """Writes `spectracles.json` into a results folder."""
    content = {"schema_version": SCHEMA_VERSION, "runs": list(runs)}
    return write_json(results / FILES[0], without_nan(content), indent=1)


def load(path: Path) -> list[dict[str, Any]]:
    """The runs in a file of this study, none where it does not exist.

    Raises:
        UserError: it is no such file.
    """
    if not path.exists():
        return []
    with one_line_errors(path, "record of spectracles"):
        runs = list(read_json(path, SCHEMA_VERSION)["runs"])
        for entry in runs:
            _check(entry)
        return runs


def _check(entry: Entry) -> None:
    for name, kind in FIELDS.items():
        if not isinstance(entry[name], kind):
            raise ValueError(f"{name} of a run is {entry[name]!r}")
    machine_key(entry["environment"])
    _ = [entry["settings"][name] for name in (*SETTING, "layout", "seed")], entry["reason"]
    _ = [(line["epochs"], line["top1_percent"]) for line in entry["published"]]
    if entry["status"] == "ok" and not isinstance(entry["metrics"]["test_top1_percent"], int | float):
        raise ValueError("a run has no test_top1_percent")
