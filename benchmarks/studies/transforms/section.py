"""The study on the page of a results folder: its picture with its numbers."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from benchmarks.report.page.sections import MOST_BYTES, Figure, Section, embedded
from benchmarks.report.page.tables import frame_table
from benchmarks.studies.transforms.record import FOLDER, find_study, trained_of
from benchmarks.studies.transforms.report import NAME, TITLE, caption, heading, sentences, table


def sections(results: Path) -> list[Section]:
    """The study, in the results or beside them; none where there is none, or nothing trained."""
    places = (results, results.parent, results.parent / FOLDER)
    home, study = next(((place, found) for place in places if (found := find_study(place))), (results, None))
    picture = home / FOLDER / f"{NAME}.png"
    if study is None or not picture.is_file() or picture.stat().st_size > MOST_BYTES:
        return []
    trained = trained_of(study, home)
    numbers = table(study, trained).drop(columns=["sha256"])
    figure = Figure(
        picture=embedded(picture),
        label="Accuracy against the chosen predictor",
        alt=f"{heading(study)}. The numbers stand in the table below.",
        caption=caption(study, trained),
        summary=Markup("Every transform's numbers"),
        table=frame_table(NAME, "Every transform with its predictors, best first.", numbers),
    )
    return [Section("transforms-study", "Transforms", TITLE, [figure], sentences(study, trained))]
