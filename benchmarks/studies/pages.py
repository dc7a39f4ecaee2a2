"""The studies by name. Each room has `record.FILES` and `record.load`, and `report.write_pages` of a results folder."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contract.errors import UserError
from benchmarks.studies.files import paths_of

if TYPE_CHECKING:
    from benchmarks.report.page.sections import Section

log = logging.getLogger(__name__)

STUDIES = ("atlas", "blimp", "crossovers", "gpu_check", "peers", "profile", "spectracles", "speed", "transforms")
ON_THE_PAGE = ("atlas", "blimp", "transforms")  # with a `section` of `index.html`, in this order


def write_pages(results: Path) -> tuple[list[Path], dict[str, UserError]]:
    """Makes the pages of every study that has a record in a results folder again.

    Returns:
        Their paths; and by study, what is wrong with a record that cannot be read.
    """
    written: list[Path] = []
    wrong: dict[str, UserError] = {}
    for name in STUDIES:
        try:
            written += _part(name, "report").write_pages(Path(results))
        except UserError as error:
            wrong[name] = error
    return written, wrong


def sections(results: Path, without: Collection[str] = ()) -> list[Section]:
    """What studies have to say on the page of a results folder; one whose record cannot be read is left out, and named.

    Args:
        results: the folder.
        without: studies that are left out and were named already.
    """
    found: list[Section] = []
    for name in ON_THE_PAGE:
        try:
            found += [] if name in without else _part(name, "section").sections(Path(results))
        except UserError as error:
            log.warning("left out of the page: %s", error)
    return found


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
