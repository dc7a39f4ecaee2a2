"""The page: everything that is made from folders of records, in one HTML file.

It works from a disk and from a static host, and asks no other machine for anything; pictures lie beside it and are
loaded when they are reached. The same records make the same bytes. What it shows is escaped: a mixer may be called
anything.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.contract.choices.profiles import CORE_MIXERS
from benchmarks.contract.facts.datasets import task_name
from benchmarks.contract.record import write_text
from benchmarks.report.baselines import at_baseline
from benchmarks.report.claims.verdicts import Verdict
from benchmarks.report.families import registered
from benchmarks.report.frame import plain
from benchmarks.report.page.answers import answers
from benchmarks.report.page.charts import latency_sweeps, patch_charts
from benchmarks.report.page.headlines import headlines
from benchmarks.report.page.picture import settings, timed_sizes
from benchmarks.report.page.sections import ATLAS, MIXING, TEXT, Section, address
from benchmarks.report.page.tables import (
    Cell,
    Table,
    claims_table,
    crossings_table,
    differences_table,
    fastest_table,
    pooled_table,
    provenance_table,
    ranked_table,
    trained_beside_attention,
    view_table,
)
from benchmarks.report.plots.style import FAMILY_COLOURS
from benchmarks.report.sizes import SEQUENCES, extent_of
from benchmarks.report.stats.paired import FEWEST_SEEDS, Sample
from benchmarks.report.tables.abilities import Abilities, by_task, cell_text, in_short, note, retried, task_words
from benchmarks.report.tables.write import caption
from benchmarks.report.wording import clean, listing

FILES = Path(__file__).parent / "files"
SCRIPTS = ("vendor/plotly-basic.min.js", "vendor/dataTables.min.js", "tables.js", "picture.js", "charts.js", "page.js")
PARTS = {"images": "Images", "sequences": "Sequences", "text": "Text"}  # of the chooser of tasks, in order
NO_BREAK = "\u00a0"


@dataclasses.dataclass(frozen=True)
class Group:
    """Records of one data set, profile and machine, with what was made of them."""

    name: str
    frame: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    sample: Sample  # its trained nets
    verdicts: Sequence[Verdict] | None = None  # of the claims
    long: Mapping[str, Any] | None = None  # of `page.convergence`: how the order held, what is settled

    @property
    def shows(self) -> bool:
        """Whether there is anything to look at."""
        return any(len(self.tables[name]) for name in ("summary", "latency"))


def write_page(
    results: Path,
    groups: Sequence[Group],
    abilities: Sequence[Abilities] = (),
    texts: Sequence[Mapping[str, Any]] = (),
    sections: Sequence[Section] = (),
    repository: str = "",
) -> Path:
    """Writes `results`/index.html.

    Args:
        results: the folder.
        groups: each a choice of the page's first chooser; that with most trained nets is first, of several that with
            times too.
        abilities: mixers by sequence tasks.
        texts: of `page.text.text_content`.
        sections: what studies have to say.
        repository: its address, for links to it and to each mixer's source.
    """
    path = results / "index.html"
    environment = Environment(
        loader=FileSystemLoader(FILES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    groups = sorted(
        (group for group in groups if group.shows),
        key=lambda group: (-len(group.sample.runs), -group.frame["kind"].nunique()),
    )
    shown = [group_content(group) for group in groups]
    for i, one in enumerate(shown):  # of several that are called alike the largest has the plain name
        if any(one["title"] == other["title"] for other in shown[:i]):
            one["title"] += f": {one['name'].split('/')[0]}"
    can = [abilities_content(f"abilities{i}", found) for i, found in enumerate(abilities)]
    tables = {table.id: table.data() for table in _standing(can, texts, sections)}
    data = {
        "groups": shown,
        "tables": tables,
        "mixers": mixers_of(groups),
        "repository": repository,
        "fewest": FEWEST_SEEDS,
        "core": CORE_MIXERS,
    }
    page = environment.get_template("page.html").render(
        parts={word: [g for g in shown if g["part"] == part] for part, word in PARTS.items()},
        abilities=can,
        texts=texts,
        mixing=[section for section in sections if section.place == MIXING],
        grammar=[section for section in sections if section.place == TEXT],
        atlas=[section for section in sections if section.place == ATLAS],
        address=lambda picture: address(picture, path),
        families=families_of(groups),
        repository=repository,
        data=script_json(data),
        style=Markup((FILES / "page.css").read_text(encoding="utf-8")),
        scripts=[Markup((FILES / name).read_text(encoding="utf-8")) for name in SCRIPTS],
    )
    return write_text(path, page)


def script_json(value: Any) -> Markup:
    """JSON that can stand within a script element, whatever the strings in it."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for letter in "&<>\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _standing(
    can: Sequence[Mapping[str, Any]], texts: Sequence[Mapping[str, Any]], sections: Sequence[Section]
) -> Iterator[Table]:
    """The tables that stand whatever group is chosen."""
    yield from (a["table"] for a in can)
    for text in texts:
        for shown in text["tables"]:
            yield from (shown["table"], *shown["more"])
        if text["claims"]:
            yield text["claims"]
    yield from (figure.table for section in sections for figure in section.figures)


def group_content(group: Group) -> dict[str, Any]:
    """All that the page shows of one group."""
    frame, tables = group.frame, dict(group.tables)
    first, extent = frame.iloc[0], extent_of(frame)
    title = f"{first['dataset']}, {first['profile']} profile, {first['machine']}"
    found = headlines(group.sample, tables)
    long = group.long or {"tables": [], "settled": None}
    _, *told = answers(group.sample, tables, frame, group.verdicts)  # the picture answers the first
    timed = timed_sizes(frame, tables["latency"], tables["summary"].empty)
    parts = {
        "ranked": ranked_table("ranked", tables["summary"], tables["tuning"], group.sample),
        "tuning": view_table("tuning", "tuning", tables["tuning"]),
        "failures": view_table("failures", "failures", tables["failures"]),
        "fastest": fastest_table("fastest", timed, extent),
        "crossings": crossings_table("crossings", found),
        "beside": trained_beside_attention("beside", found),
        "scaling": view_table("scaling", "scaling", tables["scaling"]),
        "latency": view_table("latency", "latency", tables["latency"]),
        "cost": view_table("cost", "cost", tables["cost"]),
        "claims": claims_table("claims", title, group.verdicts),
        "settled": long["settled"],
        "paired": differences_table("paired", tables["summary"], tables["differences"]),
        "effects": pooled_table("effects", "effects", tables["effects"]),
        "decomposition": pooled_table("decomposition", "decomposition", tables["decomposition"]),
        **{f"long{i}": table for i, table in enumerate(long["tables"])},
        "provenance": provenance_table("provenance", frame),
    }
    return {
        "name": group.name,
        "part": task_name(str(first["dataset"])),
        "title": clean(title),
        "caption": caption("summary", frame),
        "words": {"axis": extent.axis, "noun": extent.noun, "sequences": extent is SEQUENCES},
        "settings": settings(group.sample, frame, tables["summary"]),
        "timed": timed,
        "sweeps": latency_sweeps(frame, tables["latency"]),
        "patches": patch_charts(frame, tables["summary"]),
        "answers": {a.question: list(a.lines) for a in told},
        "tables": {name: table.data() for name, table in parts.items() if table is not None},
    }


def families_of(groups: Sequence[Group]) -> dict[str, str]:
    """The families that occur, each with its colour."""
    known = {family for group in groups for family in group.frame["family"]}
    return {family: colour for family, colour in FAMILY_COLOURS.items() if family in known}


def mixers_of(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Paper and source of each mixer of this library that occurs, by label."""
    labels = sorted({str(label) for group in groups for label in group.frame["label"]})
    found = {clean(label): registered(label) for label in labels}
    return {label: dataclasses.asdict(facts) for label, facts in found.items() if facts is not None}


def abilities_content(key: str, found: Abilities) -> dict[str, Any]:
    """The mixers by the tasks as a heat map in a table, and what each task asks too much of."""
    rows = []
    for label in found.labels:
        family = next(row["family"] for row in found.cells(label) if row is not None)
        cells = [_ability(row) for row in found.cells(label)]
        rows.append([Cell(clean(label), colour=FAMILY_COLOURS.get(family)), *cells])
    header = ["mixer", *map(task_words, found.tasks)]
    return {
        "id": key,
        "title": found.title[:1].upper() + found.title[1:],
        "in_short": " ".join(in_short(found)),
        "retried": retried(found),
        "by_task": by_task(found),
        "tasks": listing([found.name(task) for task in found.tasks]),
        "table": Table(f"{key}-table", note(), header, rows, 1),
    }


def _ability(row: Mapping[Any, Any] | None) -> Cell:
    """Of a mixer at its baseline the heat is none, whatever its accuracy."""
    mean = None if row is None else plain(row["test_top1_percent_mean"])
    if row is None or mean is None:
        return Cell(cell_text(row), -1.0)
    one_line = cell_text(row).replace(" ", NO_BREAK).replace(f"{NO_BREAK}[", " [")  # or two, the interval below
    return Cell(one_line, round(mean, 2), share=0.0 if at_baseline(row) else round(mean / 100, 2))
