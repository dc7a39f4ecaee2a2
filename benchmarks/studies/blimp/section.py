"""BLiMP on the page of a results folder: a table, and which encoders leave chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.page.sections import TEXT, Figure, Section
from benchmarks.report.page.tables import frame_table
from benchmarks.report.wording import clean, listing, percent
from benchmarks.studies.blimp.record import FOLDER, load_blimp
from benchmarks.studies.blimp.report import CHANCE, NAME, NOTE, Row, overall_text, parts_of, table, words_of

HIDDEN = ("corpus", "tokenizer", "length", "dim", "depth", "epochs", "asked", "pairs", "seeds")


def sections(results: Path) -> list[Section]:
    """A table for each part of nets that were pre-trained alike, in a results folder or in folders there."""
    homes = [results, *sorted(path.parent for path in results.glob(f"*/{FOLDER}"))]
    parts = parts_of([record for home in homes for record in load_blimp(home)])
    if not parts:
        return []
    several, numbers = len(parts) > 1, table(parts)
    figures = []
    for place, part in enumerate(parts, 1):
        key = f"{NAME}-{place}" if several else NAME
        rows = numbers[numbers["part"] == place].drop(columns=["part", *HIDDEN])
        caption = f"{words_of(part)}. {NOTE}"
        figures.append(Figure(label="Grammar", summary=words_of(part), table=frame_table(key, caption, rows)))
    return [Section(TEXT, figures, [_sentence(parts[0])])]


def _sentence(rows: Sequence[Row]) -> str:
    """Who is above chance by the interval over paradigms, best first, and how many are not."""
    above = [row for row in rows if row["low"] is not None and row["low"] > CHANCE]
    if not above:
        return f"Grammar: no encoder is above chance, {percent(CHANCE)} %, on BLiMP's pairs of sentences."
    names = listing([f"{clean(row['label'])} {overall_text(row)} %" for row in above])
    of_all = f"{len(above)} of {len(rows)}"
    return f"Grammar: above chance, {percent(CHANCE)} %, on BLiMP's pairs of sentences: {names} ({of_all})."
