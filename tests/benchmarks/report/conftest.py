"""One report of synthetic records, for all tests that only read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from synthetic import PLOTTERS, fill

from benchmarks.report.build import write_report


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> tuple[Path, dict[str, Figure]]:
    """Its folder, and its figures by folder and name: drawing files takes seconds, and other tests do it."""
    folder = fill(tmp_path_factory.mktemp("results"))
    figures = {}

    def keep(figure: Figure, place: Path, name: str) -> list[Path]:
        figures[f"{place.name}/{name}"] = figure
        return []

    with pytest.MonkeyPatch.context() as patch:
        for module in PLOTTERS:
            patch.setattr(f"{module}.save_figure", keep)
        write_report(folder)
    return folder, figures


@pytest.fixture(scope="session")
def results(written) -> Path:
    return written[0]


@pytest.fixture(scope="session")
def figures(written) -> dict[str, Figure]:
    return written[1]
