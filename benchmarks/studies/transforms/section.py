"""The study on the page of a results folder: its picture with its numbers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report.page.sections import MIXING, Figure, Section
from benchmarks.report.page.tables import frame_table
from benchmarks.studies.transforms.record import FOLDER, find_study, trained_of
from benchmarks.studies.transforms.report import NAME, caption, heading, sentences, table


def sections(results: Path) -> list[Section]:
    """The study in a results folder, or in one of its own there; its picture once something is trained."""
    places = (results, results / FOLDER)
    home, study = next(((place, found) for place in places if (found := find_study(place))), (results, None))
    if study is None:
        return []
    picture = home / FOLDER / f"{NAME}.png"
    if not picture.is_file():
        return [Section(MIXING, sentences=sentences(study, trained_of(study, home)))]
    trained = trained_of(study, home)
    numbers = table(study, trained).drop(columns=["sha256"])
    figure = Figure(
        picture=picture,
        label="Accuracy against the chosen predictor",
        alt=f"{heading(study)}. The numbers stand in the table below.",
        caption=caption(study, trained),
        summary="Every transform's numbers",
        table=frame_table(NAME, "Every transform with its predictors, best first.", numbers),
    )
    return [Section(MIXING, [figure], sentences(study, trained), found=study.choice is not None)]
