"""One table as people read it, described once: Markdown, LaTeX and the page read the same columns and words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from benchmarks.report.wording import clean, markdown, markdown_table

Row = Mapping[Any, Any]
TEXT, SETTING, NUMBER = "text", "setting", "number"  # kinds of columns, from left to right


@dataclasses.dataclass(frozen=True)
class Column:
    """One column: its header, what it shows of a row, as it stands, and whether the page has it too."""

    header: str
    show: Callable[[Any], str]
    kind: str = NUMBER
    on_page: bool = True


@dataclasses.dataclass(frozen=True)
class View:
    """A table for people; nothing in it is Markdown or HTML yet."""

    title: str
    source: str  # data set, machine, counts
    shared: str  # what all rows have in common
    note: str
    columns: Sequence[Column]
    rows: Sequence[Any]

    @classmethod
    def of_texts(
        cls, title: str, source: str, note: str, header: Sequence[str], body: Sequence[Sequence[str]], left: int
    ) -> View:
        """Of cells that are there already; the first `left` columns are text, the others numbers."""
        columns = [Column(text, itemgetter(i), TEXT if i < left else NUMBER) for i, text in enumerate(header)]
        return cls(title, source, "", note, columns, body)

    @property
    def header(self) -> list[str]:
        return [column.header for column in self.columns]

    @property
    def body(self) -> list[list[str]]:
        return [[clean(column.show(row)) for column in self.columns] for row in self.rows]

    @property
    def left(self) -> int:
        """How many columns are text."""
        return sum(column.kind == TEXT for column in self.columns)

    @property
    def markdown(self) -> str:
        """Its cells as a table in Markdown."""
        return markdown_table(self.header, [[markdown(text) for text in row] for row in self.body], self.left)
