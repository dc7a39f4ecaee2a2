"""Parts of the page that others finish: a picture or several, each with its numbers in a table."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from benchmarks.report.page.tables import Table

MIXING, TEXT, ATLAS = "mixing", "text", "atlas"  # places on the page


@dataclasses.dataclass(frozen=True)
class Figure:
    """A table, with a picture or without; texts are escaped by the page."""

    label: str  # what it is, for those who do not see it
    summary: str  # of what the table folds away
    table: Table
    picture: Path | None = None
    alt: str = ""  # of the picture
    caption: str = ""  # below it


@dataclasses.dataclass(frozen=True)
class Section:
    """What a study has to say in one place of the page."""

    place: str
    figures: Sequence[Figure] = ()
    sentences: Sequence[str] = ()
    found: bool = True  # False: not decided yet, and its pictures are folded away


def address(picture: Path, page: Path) -> str:
    """Where a picture lies, from the page's folder: it is loaded when it is reached."""
    return quote(Path(os.path.relpath(picture, page.parent)).as_posix())
