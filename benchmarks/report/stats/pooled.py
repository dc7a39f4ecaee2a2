"""One effect over many mixers: a random-effects estimate, how much the effect differs between them, and the table."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
import scipy.optimize

from benchmarks.report.alike import TRAINED_ALIKE, all_but, held_equal
from benchmarks.report.frame import objects
from benchmarks.report.stats.compared import Comparison, Spread, combined
from benchmarks.report.stats.paired import FEWEST_SEEDS, Runs, Sample
from benchmarks.report.wording import listing, span

EFFECTS = {"norm": ("image", "token"), "coordinates": (True, False), "patch_size": None}  # None: each less the next
SIDES = {("coordinates", True): "with", ("coordinates", False): "without"}
Pair = tuple[Runs, Runs]
FEWEST_EFFECTS = 3  # under which nothing is said of mixers in general


@dataclasses.dataclass(frozen=True)
class PooledEffect:
    """The mean effect over mixers, of which those measured count as a sample."""

    mean: Comparison
    further: Comparison  # what a further mixer's true effect is expected to be
    tau: float  # standard deviation of the true effects between mixers, in the effects' unit
    i2_percent: float  # share of the spread between mixers that their own errors do not explain

    @property
    def mixers(self) -> int:
        return self.mean.n


def pooled_effect(
    effects: Sequence[float], errors: Sequence[float], shared: float = 0.0, reference: Spread | None = None
) -> PooledEffect | None:
    """Random effects by Paule and Mandel (1982), the interval by Hartung and Knapp (2001) with mixers - 1 degrees.

    Hartung and Knapp's factor is not taken under 1, so that effects alike by chance make no narrow interval (Roever et
    al., 2015). I2 is Higgins and Thompson's (2002), the prediction interval that of IntHout et al. (2016).

    Args:
        effects: one a mixer.
        errors: their standard errors, without that of the reference.
        shared: standard error of the mean effect by what all mixers share, the choice of test images: no number of
            mixers takes it away, and the spread between them does not show it.
        reference: squared standard error over seeds of the one net that all mixers are held against, which they share
            as well; None where each has its own.

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
    value, weight, q = _weighted(effects, variances, tau2)
    variance = max(1.0, q / (k - 1)) / weight

    def comparison(of_mixers: float) -> Comparison:
        parts = [Spread(of_mixers, k - 1), *([] if reference is None else [reference])]
        return Comparison(value, *combined([(1.0, part, 1) for part in parts]), shared, k)

    i2 = 100 * max(0.0, 1 - (k - 1) / q_fixed) if q_fixed else 0.0
    return PooledEffect(comparison(variance), comparison(variance + tau2), math.sqrt(tau2), i2)


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


def pairs(
    runs: Sequence[Runs], mine: Mapping[str, Any], other: Mapping[str, Any], against: str | None = None
) -> dict[str, Pair]:
    """By mixer its two nets, of its latest version that has both; each with seeds for a verdict, and few that failed.

    Mixers that are one and the same function there, as the DCT and Hadamard's transform of 2 x 2 tokens, count once.

    Args:
        runs: of one setting.
        mine: fields of the one side.
        other: fields of the other side.
        against: the mixer whose net is the other side of all mixers; None: each has its own.
    """
    ready = [one for one in runs if len(one.top1) >= FEWEST_SEEDS and not one.withheld]
    latest_last = sorted(ready, key=lambda one: one.setting["mixer_version"])

    def side(fields: Mapping[str, Any]) -> dict[str, Runs]:
        found = [one for one in latest_last if all(one.setting[name] == value for name, value in fields.items())]
        return {one.setting["label"]: one for one in found}

    first, second = side(mine), side(other)
    if against is not None:
        first = {label: one for label, one in first.items() if one.setting["mixer"] != against}
        reference = [one for one in second.values() if one.setting["mixer"] == against]
        second = dict.fromkeys(first, reference[-1]) if reference else {}
    found = {one.setting["mixer"]: (one, second[label]) for label, one in first.items() if label in second}
    functions: dict[str, str] = {}  # by all that was measured of it, the first mixer
    for mixer, nets in sorted(found.items()):
        functions.setdefault(repr([sorted(one.top1.items()) for one in nets]), mixer)
    return {mixer: found[mixer] for mixer in functions.values()}


def pooled_difference(sample: Sample, compared: Sequence[Pair]) -> PooledEffect | None:
    """The first net less the second, in points of test top-1, pooled over mixers.

    Args:
        sample: the trained nets.
        compared: of each mixer; where all have the same second net, its error is counted once.

    Returns:
        None with fewer than three mixers that have an error.
    """
    one_reference = len({other.key for _, other in compared}) == 1
    effects, errors, ready = [], [], []
    for pair in compared:
        difference = sample.comparison(operator.sub, *pair)
        alone = sample.comparison(operator.pos, pair[0]) if one_reference else difference
        if difference is None or alone is None or (error := math.hypot(alone.of_seeds, difference.of_images)) <= 0:
            continue
        effects.append(difference.value)
        errors.append(error)
        ready.append(pair)
    against = sample.comparison(operator.pos, compared[0][1]) if one_reference else None
    reference = None if against is None else Spread(against.of_seeds**2, against.df)
    return pooled_effect(effects, errors, sample.shared_by_images(operator.sub, ready), reference)


def effects_table(sample: Sample) -> pd.DataFrame:
    """One row per ablation and setting: norm, coordinates and patch size, pooled over the mixers that have both."""
    rows = [row for field in EFFECTS for runs in sample.settings((field,)) for row in _effects(sample, field, runs)]
    return objects(rows)


def _effects(sample: Sample, field: str, runs: Sequence[Runs]) -> list[dict[str, Any]]:
    several = EFFECTS[field]
    values = sorted({one.setting[field] for one in runs}) if several is None else several
    found = [_effect(sample, field, two, runs) for two in pairwise(values)]
    return [row for row in found if row is not None]


def _effect(sample: Sample, field: str, values: tuple[Any, Any], runs: Sequence[Runs]) -> dict[str, Any] | None:
    nets = list(pairs(runs, {field: values[0]}, {field: values[1]}).values())
    pooled = pooled_difference(sample, nets)
    if pooled is None:
        return None
    (low, high), (further_low, further_high) = pooled.mean.interval(), pooled.further.interval()
    alike = held_equal(all_but(TRAINED_ALIKE, [field]), nets[0][0].setting)
    return {
        "field": field,
        "effect": " less ".join(SIDES.get((field, value), str(value)) for value in values),
        **{name: nets[0][0].setting[name] if name in alike else None for name in TRAINED_ALIKE},
        "mixers": pooled.mixers,
        "over": listing([one.setting["label"] for one, _ in nets]),
        "seeds": seed_counts(runs for of_mixer in nets for runs in of_mixer),
        "effect_points": pooled.mean.value,
        "effect_points_low": low,
        "effect_points_high": high,
        "p_value": pooled.mean.p_value(),
        "tau_points": pooled.tau,
        "i2_percent": pooled.i2_percent,
        "predicted_points_low": further_low,
        "predicted_points_high": further_high,
    }


def seed_counts(runs: Iterable[Runs]) -> str:
    """ "3-8": the fewest and the most seeds of several nets."""
    numbers = [len(one.top1) for one in runs]
    return span(min(numbers), max(numbers))
