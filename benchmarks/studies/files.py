"""What the files of all studies have in common: a record is checked as it is read."""

from __future__ import annotations

import csv
import dataclasses
import io
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.contract.record import machine_name, write_texts

Made = TypeVar("Made")


def made(kind: type[Made], content: Any) -> Made:
    """A dataclass from the JSON object that `dataclasses.asdict` makes of one.

    Raises:
        ValueError: it is no object, a field is unknown or missing, or a value is of another type.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{content!r:.60} is no object")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := [name for name in content if name not in fields]:
        raise ValueError(f"{unknown[0]!r} is no field of {kind.__name__}")
    needed = [name for name, field in fields.items() if field.default is field.default_factory]
    if missing := [name for name in needed if name not in content]:
        raise ValueError(f"a {kind.__name__} has no {missing[0]}")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _made(hints[name], value, name) for name, value in content.items()})


def _made(hint: Any, value: Any, name: str) -> Any:
    parts = typing.get_args(hint)
    kind = typing.get_origin(hint) or hint
    if kind is types.UnionType:
        if value is None and types.NoneType in parts:
            return None
        return _made(next(part for part in parts if part is not types.NoneType), value, name)
    if dataclasses.is_dataclass(kind):
        return kind.from_dict(value) if hasattr(kind, "from_dict") else made(kind, value)  # type: ignore[arg-type]
    json_kind: Any = {float: (float, int), tuple: list}.get(kind, kind)
    if kind is not Any and (not isinstance(value, json_kind) or (isinstance(value, bool) and kind is not bool)):
        raise ValueError(f"{name} is {value!r:.60}")
    if kind is dict and parts:
        return {key: _made(parts[1], item, name) for key, item in value.items()}
    if kind in (list, tuple) and parts:
        if kind is tuple and ... not in parts and len(value) != len(parts):
            raise ValueError(f"{name} is {value!r:.60}")
        return kind(_made(parts[0], item, name) for item in value)
    return value


def paths_of(results: Path, patterns: Iterable[str]) -> list[Path]:
    """The files of these patterns in a results folder."""
    return [path for pattern in patterns for path in sorted(Path(results).glob(pattern))]


def write_beside(results: Path, patterns: Iterable[str], texts: Callable[[Path], dict[str, str]]) -> list[Path]:
    """Writes the pages of each record of these patterns into its folder; returns their paths.

    Args:
        texts: of a record's path, its pages by file name.

    Raises:
        UserError: a record cannot be read.
    """
    return [page for path in paths_of(results, patterns) for page in write_texts(path.parent, texts(path))]


def machine_words(environment: Mapping[str, Any]) -> str:
    """ "AMD EPYC, torch 2.11.0"."""
    return f"{machine_name(dict(environment))}, torch {environment['torch']}"


def csv_of(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows in CSV, in full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def cell(text: str | None) -> str:
    """Words that do not end a cell of a table."""
    return (text or "").replace("|", "\\|")


def row(*cells: Any) -> str:
    """A line of a Markdown table; cells are Markdown already."""
    return f"| {' | '.join(map(str, cells))} |"


def left_words(left: Sequence[str]) -> str:
    """ "Not measured: a; b.", or nothing."""
    return f"Not measured: {'; '.join(left)}." if left else ""
