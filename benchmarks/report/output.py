"""What a report writes: text into files, and tables as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract.record import atomic_write


def write_text(path: Path, text: str) -> Path:
    """Writes a text in UTF-8, whole or not at all; returns its path."""
    with atomic_write(path) as file:
        file.write(text.encode())
    return path


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """The same of several texts by the names of their files, in their order."""
    return [write_text(folder / name, text) for name, text in texts.items()]


CSV_DIGITS = 12  # significant ones: a logarithm's last bits differ from one kind of processor to the next


def csv_text(table: pd.DataFrame) -> str:
    """A table for programs, the same on every machine."""

    def rounded(value: Any) -> Any:
        return float(f"{value:.{CSV_DIGITS}g}") if isinstance(value, float) else value

    columns = {name: pd.Series(list(map(rounded, column)), dtype=column.dtype) for name, column in table.items()}
    return pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")
