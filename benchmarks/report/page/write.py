"""The page: everything that is made from a folder of records, in one HTML file that needs nothing else.

It works from a disk and from a static host, asks no other machine for anything, and the same records make the same
bytes. What it shows is escaped: a mixer may be called anything.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.contract.record import write_text
from benchmarks.report.claims.verdicts import Verdict
from benchmarks.report.page.answers import answers
from benchmarks.report.page.charts import latency_sweeps, patch_charts, settings
from benchmarks.report.page.headlines import PASSES, headlines
from benchmarks.report.page.sections import Section, embedded
from benchmarks.report.page.tables import (
    Cell,
    Table,
    claims_table,
    differences_table,
    pooled_table,
    provenance_table,
    ranked_table,
    records_table,
    view_table,
)
from benchmarks.report.sizes import SEQUENCES, extent_of, worded
from benchmarks.report.stats.paired import Sample
from benchmarks.report.tables.abilities import NAME, Abilities, cannot, in_short, view_of
from benchmarks.report.tables.write import caption
from benchmarks.report.wording import clean

FILES = Path(__file__).parent / "files"
SCRIPTS = ("vendor/plotly-basic.min.js", "vendor/dataTables.min.js", "page.js")
OF_SEQUENCES = "page_sequences.js"


@dataclasses.dataclass(frozen=True)
class Group:
    """Records of one data set, profile and machine, with what was made of them."""

    name: str
    frame: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    sample: Sample  # its trained nets
    verdicts: Sequence[Verdict] | None = None  # of the claims
    long: Mapping[str, Any] | None = None  # of `page.convergence`: how the order held, what is settled


def write_page(
    results: Path,
    groups: Sequence[Group],
    abilities: Sequence[Abilities] = (),
    texts: Sequence[Mapping[str, Any]] = (),
    sections: Sequence[Section] = (),
) -> Path:
    """Writes `results`/index.html.

    Args:
        results: the folder.
        groups: each a part of the page.
        abilities: mixers by sequence tasks.
        texts: of `page.text.text_content`.
        sections: that stand after all groups.
    """
    environment = Environment(
        loader=FileSystemLoader(FILES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["worded"] = lambda text, extent: Markup(worded(str(text), extent))
    shown = [group_content(f"g{i}", group) for i, group in enumerate(groups)]
    page = environment.get_template("page.html").render(
        groups=shown,
        abilities=[abilities_content(results, f"abilities{i}", found) for i, found in enumerate(abilities)],
        texts=texts,
        sections=sections,
        data=script_json({content["id"]: content["charts"] for content in shown}),
        style=Markup((FILES / "page.css").read_text(encoding="utf-8")),
        scripts=[Markup((FILES / name).read_text(encoding="utf-8")) for name in scripts_for(shown)],
        passes=PASSES,
    )
    return write_text(results / "index.html", page)


def scripts_for(shown: Sequence[Mapping[str, Any]]) -> list[str]:
    """The scripts in their order; that of sequences only where there are some, and before what draws."""
    own = [OF_SEQUENCES] if any("sequences" in content["charts"] for content in shown) else []
    return [*SCRIPTS[:-1], *own, SCRIPTS[-1]]


def script_json(value: Any) -> Markup:
    """JSON that can stand within a script element, whatever the strings in it."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def group_content(key: str, group: Group) -> dict[str, Any]:
    """All that the template shows of one group; `key` begins the ids of its elements."""
    frame, tables = group.frame, dict(group.tables)
    first = frame.iloc[0]
    title = f"{first['dataset']}, {first['profile']} profile, {first['machine']}"
    charts: dict[str, Any] = {
        "settings": settings(frame, tables["summary"]),
        "sweeps": latency_sweeps(frame, tables["latency"]),
        "patches": patch_charts(frame, tables["summary"]),
    }
    extent = extent_of(frame)
    if extent is SEQUENCES:
        charts["sequences"] = {"axis": extent.axis, "noun": extent.noun}
    return {
        "id": key,
        "name": group.name,
        "extent": extent,
        "sequences": extent is SEQUENCES,
        "title": clean(title),
        "caption": caption("summary", frame),
        "headlines": headlines(group.sample, tables),
        "attention": attention_text(charts["settings"]),
        "answers": answers(group.sample, tables, group.frame, group.verdicts),
        "charts": charts,
        "ranked": ranked_table(f"{key}-ranked", tables["summary"], tables["tuning"]),
        "tuning": view_table(f"{key}-tuning", "tuning", tables["tuning"]),
        "paired": differences_table(f"{key}-paired", tables["summary"], tables["differences"]),
        "effects": pooled_table(f"{key}-effects", "effects", tables["effects"]),
        "decomposition": pooled_table(f"{key}-decomposition", "decomposition", tables["decomposition"]),
        "scaling": view_table(f"{key}-scaling", "scaling", tables["scaling"]),
        "latency": view_table(f"{key}-latency", "latency", tables["latency"]),
        "cost": view_table(f"{key}-cost", "cost", tables["cost"]),
        "claims": claims_table(f"{key}-claims", title, group.verdicts),
        "long": group.long,
        "failures": view_table(f"{key}-failures", "failures", tables["failures"]),
        "provenance": provenance_table(f"{key}-provenance", frame),
        "records": records_table(f"{key}-records", frame),
    }


def attention_text(shown: Sequence[Mapping[str, Any]]) -> str:
    """What attention itself reaches, for the headline's caption."""
    for p in shown[0]["points"] if shown else ():
        if p["label"] == "attention":
            return str(p["numbers"][0])
    return ""


def abilities_content(results: Path, key: str, found: Abilities) -> dict[str, Any]:
    """The mixers by the tasks: heat map and table."""
    picture = results / "plots" / found.folder / f"{NAME}.png"
    view = view_of(found)
    rows = [[Cell(text) for text in row] for row in view.body]
    return {
        "id": key,
        "title": found.title,
        "picture": embedded(picture),
        "in_short": " ".join(in_short(found)),
        "cannot": cannot(found),
        "table": Table(f"{key}-table", view.note, view.header, rows, len(view.header)),
    }
