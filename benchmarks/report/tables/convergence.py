"""Does the order of mixers hold as training goes on? Held-out accuracy by epoch in runs that were trained long.

The test split is read once, at the end of a run; what lies before is of the held-out images. Accuracy within a long
cosine is not that of a short run, whose rate has come down by then, so runs of five epochs stand beside it. Intervals
are over seeds, mixers apart from each other: of differences by Student's t with the variance pooled over mixers, of
rank correlations by a bootstrap over seeds whose stream is fixed.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.special
from numpy.typing import NDArray

from benchmarks.report.alike import SAME_NET, TRAINED_ALIKE, all_but, held_equal
from benchmarks.report.choose import finished
from benchmarks.report.frame import plain
from benchmarks.report.notes import setting_words
from benchmarks.report.stats.compared import combined, spreads
from benchmarks.report.stats.intervals import Estimate, mean_interval
from benchmarks.report.stats.paired import Runs, Sample

Floats = NDArray[np.float64]
CHECKPOINTS = (5, 20, 60, 100)  # epochs
SHORT_EPOCHS = 5  # of the runs that stand beside
LONG_EPOCHS = 20  # from here on a run counts as trained long
FEWEST_MIXERS = 3  # under which there is no order to speak of
HOLDS_ABOVE = 0.5  # Kendall's tau of runs of five epochs with the end, from which their order is said to hold
REPLICATES = 5_000


@dataclasses.dataclass(frozen=True)
class Long:
    """Mixers trained long and alike: held-out top-1 in percent by mixer, seed and epoch."""

    runs: Mapping[str, Runs]
    curves: Mapping[str, Mapping[int, Mapping[int, float]]]
    short: Mapping[str, Runs]  # the same nets trained for five epochs
    short_held: Mapping[str, Mapping[int, float]]  # held-out top-1 of these at their end, by mixer and seed
    beside: tuple[Long, ...] = ()  # other norms or positions, of too few mixers for an order of their own

    @property
    def mixers(self) -> list[str]:
        """Best first, by held-out accuracy at the end."""
        return sorted(self.curves, key=lambda name: (-self.mean(name, self.last), name))

    @property
    def setting(self) -> dict[str, Any]:
        return next(iter(self.runs.values())).setting

    @property
    def last(self) -> int:
        return max(self.epochs)

    @functools.cached_property
    def epochs(self) -> list[int]:
        """Those that every run has."""
        return sorted(set.intersection(*(set(curve) for seeds in self.curves.values() for curve in seeds.values())))

    @property
    def checkpoints(self) -> list[int]:
        """Those of CHECKPOINTS that the runs have, and their end."""
        return sorted({epoch for epoch in CHECKPOINTS if epoch in self.epochs} | {self.last})

    def at(self, mixer: str, epoch: int) -> list[float]:
        """One value a seed, in the order of the seeds."""
        return [curve[epoch] for _, curve in sorted(self.curves[mixer].items())]

    def mean(self, mixer: str, epoch: int) -> float:
        return statistics.fmean(self.at(mixer, epoch))

    @property
    def words(self) -> str:
        """ "16 px image, ..." of the setting."""
        first = self.setting
        trained = [f"{first['epochs']} epochs", f"augmentation {first['augment']}", f"device {first['device']}"]
        return ", ".join([*setting_words(first), *trained])


@dataclasses.dataclass(frozen=True)
class Crossing:
    """Two mixers whose order is clear at one of the ends."""

    ahead: str  # at the end
    behind: str
    first: Estimate  # difference at the first checkpoint, ahead less behind, in points
    last: Estimate  # at the end
    settled_from: int  # the first epoch from which on the order of the means stays

    @property
    def crosses(self) -> bool:
        return self.first.value < 0 < self.last.value

    @property
    def clear(self) -> bool:
        """Whether the order is clear at both ends, so that a crossing is more than a difference that came up."""
        return _is_clear(self.first) and _is_clear(self.last)


def long_runs(sample: Sample, frame: pd.DataFrame) -> list[Long]:
    """The groups of mixers that were trained long and alike, those of most mixers first; [] where there are none."""
    held = _held_out(frame)
    trained = [runs for runs in sample.settings() if (runs[0].setting["epochs"] or 0) >= LONG_EPOCHS]
    found = [group for runs in trained if (group := _long(runs, sample, held)) is not None]
    ranked = [group for group in found if len(group.curves) >= FEWEST_MIXERS]
    few = [group for group in found if len(group.curves) < FEWEST_MIXERS]
    few.sort(key=lambda group: -group.mean(group.mixers[0], group.last))
    return [
        dataclasses.replace(group, beside=tuple(other for other in few if _differ_in_net(group, other)))
        for group in ranked
    ]


def _differ_in_net(group: Long, other: Long) -> bool:
    """Whether norm and positions are all that two groups do not share."""
    names = held_equal(all_but(TRAINED_ALIKE, ("norm", "positions")), group.setting)
    return all(plain(group.setting[name]) == plain(other.setting[name]) for name in names)


def _held_out(frame: pd.DataFrame) -> dict[str, dict[int, float]]:
    """Held-out top-1 in percent by record and epoch."""
    trained = finished(frame, "accuracy")
    return {
        str(name): {
            int(e["epoch"]): float(e["val_top1_percent"])
            for e in history
            if plain(e.get("val_top1_percent")) is not None
        }
        for name, history in zip(trained["id"], trained["history"], strict=True)
    }


def _long(runs: Sequence[Runs], sample: Sample, held: Mapping[str, Mapping[int, float]]) -> Long | None:
    curves = {
        str(one.setting["label"]): {seed: held[name] for seed, name in one.ids.items() if held.get(name)}
        for one in runs
        if not one.withheld
    }
    curves = {label: of_seeds for label, of_seeds in curves.items() if of_seeds}
    if not curves:
        return None
    kept = {str(one.setting["label"]): one for one in runs if one.setting["label"] in curves}
    short = {label: _short(one, sample) for label, one in kept.items()}
    beside = {label: one for label, one in short.items() if one is not None}
    ends = {
        label: {seed: held[name][max(held[name])] for seed, name in one.ids.items() if held.get(name)}
        for label, one in beside.items()
    }
    group = Long(kept, curves, beside, {label: values for label, values in ends.items() if values})
    return group if group.epochs and len(group.checkpoints) > 1 else None


def _short(long: Runs, sample: Sample) -> Runs | None:
    """The same net trained for five epochs, whatever its recipe: most seeds, then the best on held-out images."""
    alike = [*held_equal(SAME_NET, long.setting), "match", "device", "precision"]
    found = [
        runs
        for runs in sample.runs
        if runs.setting["epochs"] == SHORT_EPOCHS
        and not runs.withheld
        and all(plain(runs.setting[name]) == plain(long.setting[name]) for name in alike)
    ]
    return min(found, key=lambda r: (-len(r.top1), -r.val_top1, r.setting["lr"] or 0), default=None)


def accuracy_rows(group: Long) -> list[dict[str, Any]]:
    """One row a mixer and checkpoint: held-out accuracy with its interval over seeds, and its rank."""
    rows = []
    for epoch in group.checkpoints:
        order = sorted(group.mixers, key=lambda name: (-group.mean(name, epoch), name))
        for mixer in group.mixers:
            found = mean_interval(group.at(mixer, epoch))
            assert found is not None
            rows.append(
                {"label": mixer, "family": group.runs[mixer].setting["family"], "epoch": epoch, "n": found.n}
                | {"val_top1_percent_mean": found.value, "val_top1_percent_low": found.low}
                | {"val_top1_percent_high": found.high, "rank": order.index(mixer) + 1}
            )
    return rows


def kendall(one: Floats, other: Floats) -> Floats:
    """Kendall's tau (1938) of accuracies (mixers, replicates) at two times; a tie counts as no agreement."""
    pairs = list(itertools.combinations(range(len(one)), 2))
    agree = [np.sign(one[i] - one[j]) * np.sign(other[i] - other[j]) for i, j in pairs]
    return np.asarray(np.mean(agree, axis=0), dtype=np.float64)


def tau(one: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]], same_runs: bool) -> Estimate | None:
    """Rank correlation of the mixers that both have, with its 95 % interval over seeds.

    The interval errs to the low side, since drawing seeds adds chance to what has some already.

    Args:
        one: accuracies by mixer, one a seed.
        other: the same at another time.
        same_runs: whether the two are of the same runs, seed by seed, and so are drawn together.

    Returns:
        Without an interval where a mixer has one seed; None of fewer than three mixers.
    """
    mixers = sorted(one.keys() & other.keys())
    if len(mixers) < FEWEST_MIXERS:
        return None
    means = [np.array([[statistics.fmean(values[m])] for m in mixers]) for values in (one, other)]
    value, n = float(kendall(*means)[0]), min(len(values[m]) for m in mixers for values in (one, other))
    if n < 2:
        return Estimate(value, None, None, n)
    random = np.random.RandomState(2)
    drawn: tuple[list[Floats], list[Floats]] = ([], [])
    for mixer in mixers:
        weights = _seed_weights(len(one[mixer]), random)
        drawn[0].append(weights @ np.asarray(one[mixer]))
        again = weights if same_runs else _seed_weights(len(other[mixer]), random)
        drawn[1].append(again @ np.asarray(other[mixer]))
    low, high = np.quantile(kendall(np.stack(drawn[0]), np.stack(drawn[1])), [0.025, 0.975])
    return Estimate(value, float(low), float(high), n)


def _seed_weights(n: int, random: np.random.RandomState) -> Floats:
    """Weights (replicates, n) of seeds drawn with replacement, rescaled for their small number (Rao & Wu, 1988)."""
    counts = random.multinomial(n, [1 / n] * n, size=REPLICATES)
    return np.asarray(1 / n + math.sqrt(n / (n - 1)) * (counts - 1) / n)


def order_rows(group: Long) -> list[dict[str, Any]]:
    """Rank correlations: between any two checkpoints, and of runs of five epochs with each checkpoint."""
    at = {epoch: {m: group.at(m, epoch) for m in group.mixers} for epoch in group.checkpoints}
    rows = []
    for one, other in itertools.combinations(group.checkpoints, 2):
        rows.append(_order_row(f"epoch {one}", f"epoch {other}", tau(at[one], at[other], same_runs=True)))
    short = {mixer: list(values.values()) for mixer, values in group.short_held.items()}
    for epoch in group.checkpoints:
        rows.append(
            _order_row(f"runs of {SHORT_EPOCHS} epochs", f"epoch {epoch}", tau(short, at[epoch], same_runs=False))
        )
    return [row for row in rows if row["tau"] is not None]


def order_verdict(group: Long) -> str:
    """Whether the order of runs of five epochs is that of the end: by the interval of tau, beside HOLDS_ABOVE."""
    short = {mixer: list(values.values()) for mixer, values in group.short_held.items()}
    found = tau(short, {m: group.at(m, group.last) for m in group.mixers}, same_runs=False)
    if found is None:
        return "not measured"
    if found.low is None or found.high is None or found.low <= HOLDS_ABOVE <= found.high:
        return "open"
    return "holds" if found.low > HOLDS_ABOVE else "does not hold"


def _order_row(one: str, other: str, found: Estimate | None) -> dict[str, Any]:
    numbers = (None, None, None, 0) if found is None else (found.value, found.low, found.high, found.n)
    return {"between": one, "and": other} | dict(zip(("tau", "tau_low", "tau_high", "n"), numbers, strict=True))


def crossings(group: Long) -> list[Crossing]:
    """The pairs of mixers whose order is clear at the first checkpoint or at the end, those that cross first."""
    first, last = group.checkpoints[0], group.last
    found = []
    for one, other in itertools.combinations(group.mixers, 2):
        ends = [difference(group, one, other, epoch) for epoch in (first, last)]
        if any(_is_clear(end) for end in ends):
            found.append(Crossing(one, other, ends[0], ends[1], settled_from(group, one, other)))
    return sorted(found, key=lambda c: (not c.crosses, -c.settled_from, c.ahead, c.behind))


def _is_clear(found: Estimate) -> bool:
    return found.low is not None and found.high is not None and not found.low <= 0 <= found.high


def difference(group: Long, one: str, other: str, epoch: int) -> Estimate:
    """Held-out accuracy of one mixer less another's, in points, by Student's t as test accuracies are compared."""
    values = {mixer: group.at(mixer, epoch) for mixer in group.mixers}
    spread = dict(zip(values, spreads(list(values.values())), strict=True))
    mine, theirs = values[one], values[other]
    value, n = statistics.fmean(mine) - statistics.fmean(theirs), min(len(mine), len(theirs))
    terms = [(1.0, spread[mixer], len(values[mixer])) for mixer in (one, other)]
    known = [(factor, of_net, count) for factor, of_net, count in terms if of_net is not None]
    if len(known) < len(terms):
        return Estimate(value, None, None, n)
    error, freedom = combined(known)
    half = float(scipy.special.stdtrit(freedom, 0.975)) * error
    return Estimate(value, value - half, value + half, n)


def settled_from(group: Long, ahead: str, behind: str) -> int:
    """The first epoch from which on the mean of one stays above the other's."""
    stays = group.last
    for epoch in reversed(group.epochs):
        if group.mean(ahead, epoch) <= group.mean(behind, epoch):
            break
        stays = epoch
    return stays
