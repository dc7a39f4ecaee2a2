"""The atlas on the page of a results folder: its pictures with their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.report.page.sections import ATLAS, Figure, Section
from benchmarks.report.page.tables import frame_table
from benchmarks.report.wording import listing
from benchmarks.studies.atlas.record import FOLDER, AtlasRecord, load_atlas
from benchmarks.studies.atlas.report import SETTING, atlas_table, caption, pages


def sections(results: Path) -> list[Section]:
    """The atlas's pages, in a results folder or in one of its own there."""
    places = (results, results / FOLDER)
    home = next((place for place in places if (place / FOLDER / "records").is_dir()), None)
    if home is None:
        return []
    found = []
    for name, page in pages(load_atlas(home)).items():
        picture = home / FOLDER / f"{name}.png"
        if not picture.is_file():
            continue
        mixers = listing([record.trial.mixer for record in page])
        alt = f"Influence maps, a row each for {mixers}: one layer and the whole net, untrained and trained. "
        table = frame_table(name, "Reach, evenness, rank and orthogonality of each map.", _numbers(page))
        found.append(
            Figure(
                picture=picture,
                label="Influence maps",
                alt=f"{alt}The numbers stand in the table below.",
                caption=caption(page),
                summary="The maps' numbers",
                table=table,
            )
        )
    return [Section(ATLAS, found)] if found else []


def _numbers(page: Sequence[AtlasRecord]) -> pd.DataFrame:
    table = atlas_table(page)
    varying = [name for name in SETTING if table[name].map(str).nunique() > 1]
    hidden = {*SETTING, "images", "sources", "tokens", "status", "reason"} - set(varying)
    return table[[name for name in table.columns if name not in hidden]]
