"""Parts of the page that others finish: a picture or several, each with its numbers in a table."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.page.tables import Table

MOST_BYTES = 2_500_000  # larger pictures stay beside the page


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture and its table; texts are escaped by the page."""

    picture: str  # of `embedded`
    label: str  # what it is, for those who do not see it
    alt: str
    caption: str
    summary: str  # of what the table folds away
    table: Table


@dataclasses.dataclass(frozen=True)
class Section:
    """One article of the page."""

    id: str
    short: str  # its name in the list of contents
    title: str
    figures: Sequence[Figure]
    sentences: Sequence[str] = ()


def embedded(picture: Path) -> str:
    """A PNG as an address that holds all of it."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
