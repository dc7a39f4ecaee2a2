"""The page's section on text: one chart, the encoders in pre-training and on tasks, and the claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report.claims.catalogue_text import TEXT_CLAIMS
from benchmarks.report.claims.verdicts import Verdict
from benchmarks.report.page.answers import claims_held
from benchmarks.report.page.sections import address
from benchmarks.report.page.tables import Cell, Table, claims_table, sort_key
from benchmarks.report.stats.paired import FEWEST_SEEDS
from benchmarks.report.stats.text_lines import Line
from benchmarks.report.text.published import PUBLISHED
from benchmarks.report.text.tables import Section, TextTable, text_tables
from benchmarks.report.wording import span_of

CHART = "accuracy-vs-tokens"
FAMILY, SCORE = 1, 2  # columns
NAMES = {"attention": " (BERT)", "linear_fnet": "", "hybrid_top": "", "fft_real": " (FNet)", "ff_only": " (no mixing)"}


def text_content(results: Path, page: Path, key: str, line: Line, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """All that the template shows of one line of text.

    Args:
        results: the folder, whose plots are written.
        page: where the page will lie.
        key: begins the ids of its tables.
        line: its records.
        verdicts: on all claims, from all records of the folder.
    """
    picture = results / "plots" / line.folder / f"{CHART}.png"
    ids = {claim.id for claim in TEXT_CLAIMS}
    tables = text_tables(line)
    mine = [v for v in verdicts if v.claim.id in ids and (not v.setting or f", {line.title}," in v.setting)]
    return {
        "id": key,
        "title": _sentence(line.title),
        "picture": address(picture, page) if picture.is_file() else None,
        "lead": _lead(line, tables, mine),
        "tables": [_shown(f"{key}-{table.name}", table) for table in tables],
        "claims": claims_table(f"{key}-claims", line.title, mine),
    }


def _lead(line: Line, tables: Sequence[TextTable], verdicts: Sequence[Verdict]) -> list[str]:
    """What came out, in two sentences: the encoders that tell most, and the claims."""
    lines = []
    if line.settings and tables:
        section = tables[0].sections[0]
        scores = {row[0]: row[SCORE].split(" ")[0] for row in section.body if row[FAMILY] != PUBLISHED}
        told = [f"{name}{NAMES.get(name, '')} {scores[name]} %" for name in scores if name in NAMES]
        seeds = min(len(runs.top1) for runs in line.settings[0])
        doubt = f"{span_of([seeds], 'seed')}; a verdict takes {FEWEST_SEEDS}" if seeds < FEWEST_SEEDS else ""
        lines = [f"Masked words found again: {', '.join(told)}" + (f" ({doubt})." if doubt else ".")] if told else []
    return [*lines, claims_held(verdicts)[0].replace("claims:", "claims on text:")] if verdicts else lines


def _shown(key: str, table: TextTable) -> dict[str, Any]:
    """The first comparison, ours alone; behind it the others, and what is published."""
    first = table.sections[0]
    ours = [row for row in first.body if row[FAMILY] != PUBLISHED]
    published = [row for row in first.body if row[FAMILY] == PUBLISHED]
    more = [_table(f"{key}-published", " ".join(table.published), first, published)] if published else []
    more += [_table(f"{key}-{i}", f"{_sentence(s.words)}.", s, s.body) for i, s in enumerate(table.sections[1:], 1)]
    told = ["published figures"] * bool(published) + ["other settings"] * (len(table.sections) > 1)
    return {
        "title": table.title,
        "table": _table(key, f"{_sentence(first.words)}. {table.note}", first, ours),
        "sentences": first.after,
        "more": more,
        "summary": " and ".join(told).capitalize(),
    }


def _table(key: str, caption: str, section: Section, rows: Sequence[Sequence[str]]) -> Table:
    cells = [[Cell(text, sort_key(text) if i > FAMILY else None) for i, text in enumerate(row)] for row in rows]
    return Table(key, caption, section.header, cells, FAMILY + 1)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
