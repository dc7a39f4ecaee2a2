"""Parts of the page that others finish: a picture or several, each with its numbers in a table."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from benchmarks.report.page.tables import Table

MIXING, ATLAS = "mixing", "atlas"  # places on the page


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture and its table; texts are escaped by the page."""

    picture: Path
    label: str  # what it is, for those who do not see it
    alt: str
    caption: str
    summary: str  # of what the table folds away
    table: Table


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
