"""One group of records: one data set, profile and machine, with its trained nets."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pandas as pd

from benchmarks.contract.facts.datasets import task_name
from benchmarks.report.sizes import SEQUENCES, row_extent
from benchmarks.report.stats.paired import Sample
from benchmarks.report.stats.predictions import Folders
from benchmarks.report.wording import clean

IMAGES_ALONE, SEQUENCES_ALONE, TEXT_ALONE = "images", "sequences", "text"


@dataclasses.dataclass
class Evidence:
    """One group of records: one data set, profile and machine."""

    frame: pd.DataFrame
    results: Folders
    found: dict[str, Any] = dataclasses.field(default_factory=dict)  # by claim, once it was looked for
    scored: dict[str, Sample] = dataclasses.field(default_factory=dict)  # by score, once it was looked for

    @functools.cached_property
    def sample(self) -> Sample:
        return Sample(self.frame, self.results)

    @property
    def task(self) -> str:
        """What its examples are: images, sequences or text."""
        first = self.frame.iloc[0]
        if task_name(str(first["dataset"])) == TEXT_ALONE:
            return TEXT_ALONE
        return SEQUENCES_ALONE if row_extent(first) is SEQUENCES else IMAGES_ALONE

    @property
    def kin(self) -> tuple[str, str]:
        """Its profile and machine, which tasks to be taken together share."""
        first = self.frame.iloc[0]
        return str(first["profile"]), str(first["machine"])

    @property
    def group(self) -> str:
        first = self.frame.iloc[0]
        return f"{first['dataset']}, {first['profile']} profile, {clean(first['machine'])}"
