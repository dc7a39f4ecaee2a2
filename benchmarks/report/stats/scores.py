"""Scores of text that are no share of right answers, with what other test rows would change in them.

Matthews' and Pearson's correlations, Spearman's, and F1 have no mean over test rows that they are. What they have
is a jackknife (Efron and Stein, 1981): the score less that without a row gives every row a value, and those values
have the mean and the spread that accuracy's rights and wrongs have. So all intervals and comparisons of accuracies
serve them too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from benchmarks.contract.facts.datasets import info_of
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.paired import Sample
from benchmarks.report.stats.predictions import Folders, misfit, predictions_of

TOP1 = "test_top1_percent"
TITLES = {  # metric of a record -> as a table says it
    TOP1: "accuracy (%)",
    "test_matthews": "Matthews (x 100)",
    "test_f1": "F1 (x 100)",
    "test_spearman": "Spearman (x 100)",
    "test_pearson": "Pearson (x 100)",
    "test2_top1_percent": "accuracy (%)",
}
SHORT = {name: title.partition(" (")[0] for name, title in TITLES.items()}
CLOSE = 0.05  # points between a record's score and that of its predictions
Floats = NDArray[np.float64]


def headline_of(dataset: str) -> str:
    """The metric of a record that says most on a task."""
    return f"test_{info_of(dataset).headline}"


def score_sample(evidence: Evidence, metric: str) -> Sample:
    """The trained nets of a task, a score in place of their top-1.

    Args:
        evidence: records of one data set, profile and machine.
        metric: of TITLES.

    Raises:
        UserError: predictions do not fit the score in their record.
    """
    if metric == TOP1:
        return evidence.sample
    if metric not in evidence.scored:
        frame = evidence.frame
        answers = score_answers(frame, evidence.results, metric)
        evidence.scored[metric] = Sample(frame.assign(**{TOP1: frame[metric]}), answers)
    return evidence.scored[metric]


def score_answers(frame: pd.DataFrame, results: Folders, metric: str) -> dict[str, Floats]:
    """The jackknife's values of every net whose predictions are there, by the id of its record.

    Raises:
        UserError: predictions do not fit the score in their record.
    """
    answers = {}
    for row, path, labels in predictions_of(frame, results):
        if np.isnan(row[metric]):
            continue
        try:
            predicted = np.load(path, allow_pickle=False)
        except (OSError, ValueError):
            predicted = np.empty(0)
        whole, rows = jackknife(metric, predicted, labels) if predicted.shape == labels.shape else (np.nan, labels)
        if not abs(100 * whole - row[metric]) <= CLOSE:
            raise misfit(path)
        answers[str(row["id"])] = rows
    return answers


def jackknife(metric: str, predicted: NDArray[Any], true: NDArray[Any]) -> tuple[float, Floats]:
    """A score from -1 to 1, and its jackknife pseudo-values, one a row, whose mean is the score but for its bias.

    Args:
        metric: one of TITLES but accuracy.
        predicted: of each test row, (n,): a class of two, or a number.
        true: the same as it is.
    """
    n = len(true)
    if metric in ("test_matthews", "test_f1"):
        kinds = np.stack([(predicted == p) & (true == t) for p, t in ((1, 1), (1, 0), (0, 1), (0, 0))]).astype(float)
        counts = kinds.sum(axis=1, keepdims=True)
        function = _f1 if metric == "test_f1" else _matthews
        whole, without = function(counts)[0], function(counts - kinds)
    else:
        x, y = np.asarray(predicted, float), np.asarray(true, float)
        ranked = metric == "test_spearman"
        first, second = (ranks_without(v) if ranked else np.broadcast_to(v, (n, n)) for v in (x, y))
        without = _correlations(first, second, ~np.eye(n, dtype=bool))
        of_all = scipy.stats.rankdata([x, y], axis=1) if ranked else np.stack([x, y])
        whole = _correlations(of_all[:1], of_all[1:], np.ones((1, n), bool))[0]
    return float(whole), n * whole - (n - 1) * without


def ranks_without(values: Floats) -> Floats:
    """Ranks of all values, ties at their mean, with one left out: row i of (n, n) is without value i."""
    others = values[None, :]
    return scipy.stats.rankdata(values)[None, :] - (others > values[:, None]) - 0.5 * (others == values[:, None])


def _correlations(x: Floats, y: Floats, kept: NDArray[np.bool_]) -> Floats:
    """Pearson's of each row over what is kept of it; 0 where one side is constant."""
    count = kept.sum(axis=1, keepdims=True)
    x, y = (np.where(kept, v - (v * kept).sum(axis=1, keepdims=True) / count, 0.0) for v in (x, y))
    return _over((x * y).sum(axis=1), np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1)))


def _f1(counts: Floats) -> Floats:
    """Of class 1, from counts (4, n): both 1, predicted 1 alone, true 1 alone, neither; 0 where there is none."""
    both, predicted, true, _ = counts
    return _over(2 * both, 2 * both + predicted + true)


def _matthews(counts: Floats) -> Floats:
    """From the same counts; 0 where one side is constant."""
    both, predicted, true, neither = counts
    sides = (both + predicted) * (both + true) * (neither + predicted) * (neither + true)
    return _over(both * neither - predicted * true, np.sqrt(sides))


def _over(a: Floats, b: Floats) -> Floats:
    return np.divide(a, b, out=np.zeros_like(a, dtype=float), where=b > 1e-12)


def f1_of_ones(true: NDArray[Any]) -> float:
    """F1, in points of 100, of who always says 1: what a constant answer reaches."""
    share = float((true == 1).mean())
    return 100 * 2 * share / (1 + share)
