"""The studies by name. Each room has `record.FILES` and `record.load`, and `report.write_pages` of a results folder."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contract.errors import UserError
from benchmarks.studies.files import paths_of

if TYPE_CHECKING:
    from benchmarks.report.page.sections import Section

STUDIES = ("atlas", "crossovers", "gpu_check", "peers", "profile", "spectracles", "speed", "transforms")
ON_THE_PAGE = ("atlas", "transforms")  # with a `section` of `index.html`, in this order


def write_pages(results: Path) -> list[Path]:
    """Makes the pages of every study that has a record in a results folder again; returns their paths.

    Raises:
        UserError: a record cannot be read.
    """
    return [path for name in STUDIES for path in _part(name, "report").write_pages(Path(results))]


def sections(results: Path) -> list[Section]:
    """What studies have to say on the page of a results folder."""
    return [section for name in ON_THE_PAGE for section in _part(name, "section").sections(Path(results))]


def checked(results: Path) -> Iterator[tuple[Path, str | None]]:
    """Every record of a study in a results folder, with what is wrong with it; None where nothing is."""
    for name in STUDIES:
        record = _part(name, "record")
        for path in paths_of(Path(results), record.FILES):
            try:
                record.load(path)
                yield path, None
            except UserError as error:
                yield path, str(error).removeprefix(f"{path.name} is ").removesuffix("; move it out of the folder")


def _part(study: str, part: str) -> Any:
    return importlib.import_module(f"benchmarks.studies.{study}.{part}")
