"""The page: everything that is made from a folder of records, in one HTML file that needs nothing else.

It works from a disk and from a static host, asks no other machine for anything, and the same records make the same
bytes. What it shows is escaped: a mixer may be called anything.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.report.claims.verdicts import Verdict
from benchmarks.report.output import write_text
from benchmarks.report.page.answers import answers
from benchmarks.report.page.charts import latency_sweeps, patch_charts, settings
from benchmarks.report.page.headlines import PASSES, headlines
from benchmarks.report.page.tables import (
    Cell,
    Table,
    claims_table,
    differences_table,
    frame_table,
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
from benchmarks.report.wording import clean, listing
from benchmarks.studies.atlas import report as atlas
from benchmarks.studies.atlas.record import FOLDER, load_atlas
from benchmarks.studies.transforms import report as transforms
from benchmarks.studies.transforms.record import find_study, runs_of

FILES = Path(__file__).parent / "files"
SCRIPTS = ("vendor/plotly-basic.min.js", "vendor/dataTables.min.js", "page.js")
OF_SEQUENCES = "page_sequences.js"
MOST_ATLAS_BYTES = 2_500_000  # larger pictures stay beside the page


@dataclasses.dataclass(frozen=True)
class Group:
    """Records of one data set, profile and machine, with what was made of them."""

    name: str
    frame: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    sample: Sample  # its trained nets
    verdicts: Sequence[Verdict] | None = None  # of the claims
    long: Mapping[str, Any] | None = None  # of `convergence_files.page_sections`: how the order held, what is settled


def write_page(
    results: Path,
    groups: Sequence[Group],
    abilities: Sequence[Abilities] = (),
    texts: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Writes `results`/index.html.

    Args:
        results: the folder.
        groups: each a part of the page.
        abilities: mixers by sequence tasks.
        texts: of `page_text.text_content`.
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
        atlas=atlas_content(results),
        transforms=transforms_content(results),
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
        "picture": "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode(),
        "in_short": " ".join(in_short(found)),
        "cannot": cannot(found),
        "table": Table(f"{key}-table", view.note, view.header, rows, len(view.header)),
    }


def atlas_content(results: Path) -> list[dict[str, Any]]:
    """The atlas's pages, in the results or beside them, as pictures within the page."""
    home = next(
        (
            place
            for place in (results, results.parent, results.parent / FOLDER)
            if (place / FOLDER / "records").is_dir()
        ),
        None,
    )
    if home is None:
        return []
    found, room = [], MOST_ATLAS_BYTES
    for name, page in atlas.pages(load_atlas(home)).items():
        picture = home / FOLDER / f"{name}.png"
        if not picture.is_file() or picture.stat().st_size > room:
            continue
        room -= picture.stat().st_size
        mixers = listing([record.trial.mixer for record in page])
        found.append(
            {
                "picture": "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode(),
                "caption": atlas.caption(page),
                "alt": f"Influence maps, a row each for {mixers}: one layer and the whole net, untrained and trained. "
                "The numbers stand in the table below.",
                "table": frame_table(name, "Reach, evenness, rank and orthogonality of each map.", atlas_numbers(page)),
            }
        )
    return found


def transforms_content(results: Path) -> dict[str, Any] | None:
    """The study of transforms, in the results or beside them; None where there is none, or nothing trained."""
    places = (results, results.parent, results.parent / transforms.FOLDER)
    home = next((place for place in places if find_study(place) is not None), None)
    study = None if home is None else find_study(home)
    if home is None or study is None:
        return None
    picture = home / transforms.FOLDER / f"{transforms.NAME}.png"
    if not picture.is_file() or picture.stat().st_size > MOST_ATLAS_BYTES:
        return None
    runs = runs_of(study, home)
    table = transforms.table(study, runs).drop(columns=["sha256"])
    return {
        "picture": "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode(),
        "alt": f"{transforms.heading(study)}. The numbers stand in the table below.",
        "caption": transforms.caption(study, runs),
        "sentences": transforms.sentences(study, runs),
        "table": frame_table("transforms", "Every transform with its predictors, best first.", table),
    }


def atlas_numbers(page: Sequence[Any]) -> pd.DataFrame:
    table = atlas.atlas_table(page)
    varying = [name for name in atlas.SETTING if table[name].map(str).nunique() > 1]
    hidden = {*atlas.SETTING, "images", "sources", "tokens", "status", "reason"} - set(varying)
    return table[[name for name in table.columns if name not in hidden]]
