"""One effect over many mixers: a random-effects estimate, how much the effect differs between them, and the table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
import scipy.optimize
import scipy.special

from benchmarks.report.compared import Comparison
from benchmarks.report.frame import all_but, held_equal
from benchmarks.report.paired import Runs, Sample
from benchmarks.report.statistics import span
from benchmarks.report.tables import TRAINED_ALIKE
from benchmarks.report.text import listing

EFFECTS = {"norm": ("image", "token"), "coordinates": (True, False), "patch_size": None}  # None: each less the next
WORDS = {("coordinates", True): "with", ("coordinates", False): "without"}
FEWEST_EFFECTS = 3  # under which nothing is said of mixers in general


@dataclasses.dataclass(frozen=True)
class PooledEffect:
    """The mean effect over mixers, of which those measured count as a sample."""

    value: float
    low: float
    high: float
    p_value: float
    tau: float  # standard deviation of the true effects between mixers, in the effects' unit
    i2_percent: float  # share of the spread between mixers that their own errors do not explain
    predicted_low: float  # where a further mixer's true effect is expected
    predicted_high: float
    mixers: int


def pooled_effect(
    effects: Sequence[float], errors: Sequence[float], shared: float = 0.0, confidence: float = 0.95
) -> PooledEffect | None:
    """Random effects by Paule and Mandel (1982), the interval by Hartung and Knapp (2001) with mixers - 1 degrees.

    Hartung and Knapp's factor is not taken under 1, so that effects alike by chance make no narrow interval (Roever et
    al., 2015). I2 is Higgins and Thompson's (2002), the prediction interval that of IntHout et al. (2016).

    Args:
        effects: one a mixer.
        errors: their standard errors.
        shared: standard error of the mean effect by what all mixers share, the choice of test images: no number of
            mixers takes it away, and the spread between them does not show it.

    Returns:
        None with fewer than three effects.

    Raises:
        ValueError: an error is not positive, or there are not as many as effects.
    """
    k = len(effects)
    if len(errors) != k or any(error <= 0 for error in errors):
        raise ValueError(f"{k} effects take as many standard errors above 0, got {list(errors)}")
    if k < FEWEST_EFFECTS:
        return None
    variances = [error**2 for error in errors]
    q_fixed = _weighted(effects, variances, 0.0)[2]
    tau2 = _paule_mandel(effects, variances)
    mean, weight, q = _weighted(effects, variances, tau2)
    error = math.sqrt(max(1.0, q / (k - 1)) / weight)
    whole = Comparison(mean, error, k - 1, shared, k)
    further = Comparison(mean, math.sqrt(error**2 + tau2), k - 1, shared, k)
    i2 = 100 * max(0.0, 1 - (k - 1) / q_fixed) if q_fixed else 0.0
    ends = (*whole.interval(confidence), whole.p_value(), math.sqrt(tau2), i2, *further.interval(confidence))
    return PooledEffect(mean, *ends, k)


def _weighted(effects: Sequence[float], variances: Sequence[float], tau2: float) -> tuple[float, float, float]:
    """The weighted mean, the sum of weights, and Cochran's Q about that mean."""
    weights = [1 / (variance + tau2) for variance in variances]
    mean = math.fsum(w * y for w, y in zip(weights, effects, strict=True)) / math.fsum(weights)
    return mean, math.fsum(weights), math.fsum(w * (y - mean) ** 2 for w, y in zip(weights, effects, strict=True))


def _paule_mandel(effects: Sequence[float], variances: Sequence[float]) -> float:
    """The variance between mixers at which Q is what it is expected to be."""

    def excess(tau2: float) -> float:
        return _weighted(effects, variances, tau2)[2] - (len(effects) - 1)

    if excess(0.0) <= 0:
        return 0.0
    most = math.fsum((y - min(effects)) ** 2 for y in effects)  # Q is at most this over tau2
    return float(scipy.optimize.brentq(excess, 0.0, most, xtol=1e-12))


def pooled_over(sample: Sample, nets: Sequence[Sequence[Runs]], function: Callable[..., Any]) -> PooledEffect | None:
    """One function of mean accuracies, such as a difference, pooled over mixers.

    Args:
        sample: the trained nets.
        nets: of each mixer, in the order of the function's arguments; no net stands for two mixers.
        function: as `Sample.interval` takes it.

    Returns:
        None with fewer than three mixers that have two seeds of each net, or none with any error.
    """
    compared = [(sample.comparison(function, *of_mixer), of_mixer) for of_mixer in nets]
    ready = [(one, of_mixer) for one, of_mixer in compared if one is not None and one.standard_error > 0]
    shared = sample.shared_by_images(function, [of_mixer for _, of_mixer in ready])
    return pooled_effect([one.value for one, _ in ready], [one.standard_error for one, _ in ready], shared)


def effects_table(sample: Sample) -> pd.DataFrame:
    """One row per ablation and setting: norm, coordinates and patch size, pooled over the mixers that have both."""
    rows = [row for field in EFFECTS for runs in sample.settings((field,)) for row in _effects(sample, field, runs)]
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in (rows or [{}])[0]})


def _effects(sample: Sample, field: str, runs: Sequence[Runs]) -> list[dict[str, Any]]:
    by_value: dict[Any, dict[str, Runs]] = {}
    for one in runs:
        if not one.withheld:
            by_value.setdefault(one.setting[field], {})[one.setting["label"]] = one
    several = EFFECTS[field]
    pairs = list(pairwise(sorted(by_value))) if several is None else [several]
    found = [_effect(sample, field, pair, [by_value.get(value, {}) for value in pair]) for pair in pairs]
    return [row for row in found if row is not None]


def _effect(
    sample: Sample, field: str, pair: tuple[Any, Any], sides: Sequence[dict[str, Runs]]
) -> dict[str, Any] | None:
    labels = sorted(label for label in set(sides[0]) & set(sides[1]) if all(len(s[label].top1) > 1 for s in sides))
    nets = [[side[label] for side in sides] for label in labels]
    pooled = pooled_over(sample, nets, lambda a, b: a - b)
    if pooled is None:
        return None
    alike = held_equal(all_but(TRAINED_ALIKE, [field]), nets[0][0].setting)
    return {
        "field": field,
        "effect": " less ".join(WORDS.get((field, value), str(value)) for value in pair),
        **{name: nets[0][0].setting[name] if name in alike else None for name in TRAINED_ALIKE},
        "mixers": pooled.mixers,
        "over": listing(labels),
        "seeds": seed_counts(runs for of_mixer in nets for runs in of_mixer),
        "effect_points": pooled.value,
        "effect_points_low": pooled.low,
        "effect_points_high": pooled.high,
        "p_value": pooled.p_value,
        "tau_points": pooled.tau,
        "i2_percent": pooled.i2_percent,
        "predicted_points_low": pooled.predicted_low,
        "predicted_points_high": pooled.predicted_high,
    }


def seed_counts(runs: Iterable[Runs]) -> str:
    """ "3-8": the fewest and the most seeds of several nets."""
    numbers = [len(one.top1) for one in runs]
    return span(min(numbers), max(numbers))
