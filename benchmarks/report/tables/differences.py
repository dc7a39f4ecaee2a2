"""Accuracies with their intervals, and mixers held against the references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from benchmarks.report.alike import TRAINED_ALIKE, held_equal, row_as_compared
from benchmarks.report.frame import objects, table
from benchmarks.report.stats.noise import noise, noise_columns
from benchmarks.report.stats.paired import NUMBERS, OVER_BOTH, WITHHELD, Runs, Sample, differences, verdict

REFERENCES = ("attention", "conv1x1", "fft_real")


def accuracy_intervals(sample: Sample) -> pd.DataFrame:
    """One row per mixer and trained setting: mean accuracy with its interval, noise of seeds and of test images."""
    rows = []
    for runs in sample.runs:
        estimate = sample.interval(lambda mean: mean, runs)
        over = sample.over(runs)
        spread = noise(sample.correct_of(runs)) if over == OVER_BOTH else None
        rows.append(
            runs.setting
            | {"n": estimate.n, "seeds": " ".join(map(str, runs.seeds)), "test_top1_percent_mean": estimate.value}
            | {"test_top1_percent_resampled_low": estimate.low, "test_top1_percent_resampled_high": estimate.high}
            | {"interval_over": over if estimate.n > 1 else None}
            | noise_columns(spread)
        )
    return table(rows, lambda row: (-row["test_top1_percent_mean"], row["label"]))


def paired_table(sample: Sample) -> pd.DataFrame:
    """One row per mixer, reference and trained setting: the difference of accuracies, paired image by image.

    Returns:
        Differences are mixer less reference in points of test top-1; rows stand by reference, the best mixer first.
    """
    rows: list[dict[str, Any]] = []
    for setting in sample.settings():
        by_label = {runs.setting["label"]: runs for runs in setting}
        for name in REFERENCES:
            reference = by_label.get(name)
            if reference is None:
                continue
            found = differences(sample, setting, reference)
            block = [row | {"verdict": WITHHELD if row["withheld"] else verdict(row)} for row in found]
            rows += sorted(block, key=lambda row: (-row["difference_points"], row["label"]))
            rows += sorted(_lost_beside(sample, reference), key=lambda row: row["label"])
    return objects(rows)


def _lost_beside(sample: Sample, reference: Runs) -> list[dict[str, Any]]:
    """A row without numbers for every mixer of the reference's setting of which no run ended."""
    alike = held_equal(TRAINED_ALIKE, reference.setting)

    def of_setting(several: Sequence[Runs]) -> dict[str, Runs]:
        wanted = row_as_compared(reference.setting)
        seen = [(one, row_as_compared(one.setting)) for one in several]
        same = [one for one, setting in seen if all(setting[name] == wanted[name] for name in alike)]
        return {one.setting["label"]: one for one in same}

    ended, found = of_setting(sample.runs), of_setting(sample.lost)
    nothing = dict.fromkeys(NUMBERS)
    return [
        {**runs.setting, "reference": reference.setting["label"], **nothing, "n": 0, "reference_n": len(reference.top1)}
        | {"seeds": "", "reference_seeds": " ".join(map(str, reference.seeds)), "compared": 0}
        | {"verdict": WITHHELD, "failed_runs": runs.failed_words, "withheld": True}
        for label, runs in found.items()
        if label not in ended
    ]
