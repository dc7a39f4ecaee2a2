"""The metrics of the text tasks, in points of 100, and what they may lie between.

Each takes targets and predictions whose last axis is the rows, so that a thousand resamples are scored at once. What is
not defined is NaN there and None in `scores`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from benchmarks.contract.facts.text_tasks import TEXT_TASKS

Array = NDArray[Any]
Metric = Callable[[Array, Array], Array]

DRAWS = 1_000
CHUNK_ROWS = 4_000_000  # rows drawn and scored at a time


def accuracy(targets: Array, predictions: Array) -> Array:
    """Share of the rows (..., n) whose classes are equal."""
    return 100 * (targets == predictions).mean(-1)


def f1(targets: Array, predictions: Array) -> Array:
    """Harmonic mean of precision and recall of class 1; NaN where it is neither there nor predicted."""
    right = ((targets == 1) & (predictions == 1)).sum(-1)
    said = (targets == 1).sum(-1) + (predictions == 1).sum(-1)
    return _ratio(200 * right, said)


def matthews(targets: Array, predictions: Array) -> Array:
    """Correlation of two classes (Matthews, 1975); 0 where all rows have one class, or are given one, as is usual."""
    found = pearson((targets == 1).astype(np.float64), (predictions == 1).astype(np.float64))
    return np.nan_to_num(found, nan=0.0)


def pearson(targets: Array, predictions: Array) -> Array:
    """Linear correlation of numbers (..., n); NaN where either are all equal."""
    first, second = _centred(targets), _centred(predictions)
    return _ratio(100 * (first * second).sum(-1), np.sqrt((first**2).sum(-1) * (second**2).sum(-1)))


def spearman(targets: Array, predictions: Array) -> Array:
    """Linear correlation of the ranks, of which equal numbers have the mean; NaN where either are all equal."""
    return pearson(scipy.stats.rankdata(targets, axis=-1), scipy.stats.rankdata(predictions, axis=-1))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "matthews": matthews,
    "f1": f1,
    "spearman": spearman,
    "pearson": pearson,
}


def scores(task: str, targets: Array, predictions: Array) -> dict[str, float | None]:
    """The metrics of a task, the headline first.

    Args:
        task: a name of TEXT_TASKS.
        targets: classes, or numbers of a regression, (n,).
        predictions: the same.
    """
    return {name: _number(METRICS[name](targets, predictions)) for name in TEXT_TASKS[task].metrics}


def fnet_score(task: str, found: dict[str, float | None]) -> float | None:
    """What FNet's tables would show of these: the mean of F1 and accuracy for QQP and MRPC, accuracy for CoLA."""
    parts = [found[name] for name in TEXT_TASKS[task].fnet]
    known = [part for part in parts if part is not None]
    return sum(known) / len(known) if len(known) == len(parts) else None


def interval(
    metric: str, targets: Array, predictions: Array, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> tuple[float, float] | None:
    """What a metric may lie between, over test rows: percentiles over resamples with replacement (Efron, 1979).

    Args:
        metric: a name of METRICS.
        targets: classes or numbers, (n,).
        predictions: the same.
        draws: number of resamples.
        seed: of them; the same rows and seed give the same interval.
        level: share of the resamples inside.

    Returns:
        Low and high, in points of 100; None where the metric is not defined on the rows.
    """
    if _number(METRICS[metric](targets, predictions)) is None:
        return None
    random = np.random.default_rng(seed)
    n = len(targets)
    each = max(1, CHUNK_ROWS // n)
    found = []
    for start in range(0, draws, each):
        rows = random.integers(n, size=(min(each, draws - start), n))
        found.append(METRICS[metric](targets[rows], predictions[rows]))
    low, high = np.nanpercentile(np.concatenate(found), [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def _centred(values: Array) -> Array:
    centred = values - values.mean(-1, keepdims=True)
    flat = (values == values[..., :1]).all(-1, keepdims=True)  # whose mean rounds, and would leave noise
    return np.where(flat, 0.0, centred)


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)


def _number(value: Array) -> float | None:
    return None if np.isnan(value) else float(value)
