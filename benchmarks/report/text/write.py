"""The files of a line of text: its tables as CSV, Markdown and LaTeX, and its plots."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contract.record import write_texts
from benchmarks.report.frame import slug
from benchmarks.report.stats.text_lines import Line
from benchmarks.report.tables.latex import HEAD, cells_of, escaped, floats
from benchmarks.report.tables.view import View
from benchmarks.report.text.plots import text_plots
from benchmarks.report.text.tables import Section, TextTable, text_tables
from benchmarks.report.wording import csv_text, markdown

TEXTS = 2  # columns that are words


def write_line(line: Line, results: Path) -> list[Path]:
    """Writes all tables and plots of a line; returns their paths."""
    paths = []
    for table in text_tables(line):
        paths += write_table(table, line, results / "tables" / line.folder)
    return paths + text_plots(line, results / "plots" / line.folder)


def write_table(table: TextTable, line: Line, folder: Path) -> list[Path]:
    texts = {
        "csv": csv_text(table.rows.dropna(axis="columns", how="all")),
        "md": people(table, line),
        "tex": latex(table, line),
    }
    return write_texts(folder, {f"{table.name}.{ending}": text for ending, text in texts.items()})


def people(table: TextTable, line: Line) -> str:
    """One table in Markdown, a section after the other."""
    parts = [f"# {table.title}", markdown(f"{line.title[:1].upper()}{line.title[1:]}. {table.note}")]
    for section in table.sections:
        parts += [f"{markdown(section.words)}:", _view(table, section, line).markdown.rstrip("\n")]
        parts += ["\n".join(f"- {markdown(sentence)}" for sentence in section.after)] if section.after else []
    parts += [markdown(sentence) for sentence in table.published]
    return "\n\n".join(parts) + "\n"


def _view(table: TextTable, section: Section, line: Line) -> View:
    return View.of_texts(table.title, f"{line.title}.", table.note, section.header, section.body, TEXTS)


def latex(table: TextTable, line: Line) -> str:
    """The same for a paper, a float for each section."""
    texts = [HEAD]
    label = f"tab:{slug(line.folder)}-{table.name}"
    for place, section in enumerate(table.sections, 1):
        view = _view(table, section, line)
        first = place == 1
        words = [f"{table.title}, {line.title}: {section.words}.", *([table.note] if first else []), *section.after]
        words += table.published if first else []
        texts += floats(view, cells_of(view), escaped(" ".join(words)), label if first else f"{label}-part-{place}")
    return "".join(texts)
