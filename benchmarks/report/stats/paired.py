"""Trained nets with their answers to every test image: mixers compared, and how sure their accuracies are.

Seeds are not paired: one seed gives every mixer the same order of images, and that makes their accuracies no more alike
(correlation -0.02 over 78 pairs of mixers). So each side has all of its seeds, however many the other has. Test images
are the same for every net and stay paired. What other test images would change is counted in closed form, as drawing
them anew without end would: the variance over images of the difference of mean answers, less what chance within single
runs adds to it, since that is part of the spread over seeds already. The same records give the same bytes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.report.alike import ACCURACY_SETTING, TRAINED_ALIKE, all_but, comparisons, held_equal, row_as_compared
from benchmarks.report.choose import FAILED, too_many_failed
from benchmarks.report.frame import plain
from benchmarks.report.stats.compared import Comparison, Spread, combined, holm, slopes, spreads, variance
from benchmarks.report.stats.intervals import Estimate
from benchmarks.report.stats.noise import Noise, noise_columns, residual
from benchmarks.report.stats.predictions import Folders, correct_answers
from benchmarks.report.wording import failed_words

Floats = NDArray[np.float64]
FEWEST_SEEDS = 3  # under which no verdict is given
SIGNIFICANT = 0.05
SETTING_COLUMNS = ["mixer", "label", "family", "tokens", *(name for name in ACCURACY_SETTING if name != "mixer")]
SETTING_COLUMNS += ["net", "budget"]
RUN_COLUMNS = [*SETTING_COLUMNS, "seed", "id", "status", "test_top1_percent", "val_top1_percent"]
NUMBERS = (  # of a comparison
    *("difference_points", "difference_points_low", "difference_points_high", "interval_over"),
    *("probability_of_improvement", "p_value", "holm_p", "seed_sd_points", "test_sd_points"),
)
OVER_BOTH, OVER_SEEDS = "seeds and test images", "seeds alone"
TOO_FEW = "too few to tell"
WITHHELD = "withheld"  # where a third or more of the runs of either side failed


@dataclasses.dataclass(frozen=True)
class Runs:
    """One mixer in one setting, its runs by seed."""

    setting: dict[str, Any]  # fields of the trial, the label and the family
    top1: dict[int, float]  # test accuracy in percent
    ids: dict[int, str]  # of the records
    val_top1: float  # mean held-out accuracy, in percent
    failed: dict[int, str] = dataclasses.field(default_factory=dict)  # statuses of the seeds that did not end

    @property
    def seeds(self) -> list[int]:
        return sorted(self.top1)

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return " ".join(self.ids[seed] for seed in self.seeds)

    @property
    def withheld(self) -> bool:
        """Whether so many failed that no verdict rests on the others."""
        return too_many_failed(len(self.top1), len(self.failed))

    @property
    def failed_words(self) -> str:
        """ "dct: 5 of 8 runs failed (diverged)", or nothing."""
        if not self.failed:
            return ""
        words = failed_words(len(self.top1), len(self.failed))
        return f"{self.setting['label']}: {words} ({', '.join(sorted(set(self.failed.values())))})"


@dataclasses.dataclass(frozen=True)
class Answers:
    """What the seeds of one net say of each test image, in percent."""

    mean: Floats  # over seeds, one an image
    rest: float  # variance of one answer that neither its image nor its seed explains


class Sample:
    """The trained nets of a frame with their answers to every test image, and the comparisons of their accuracies.

    Args:
        frame: records of one data set, profile and machine.
        results: the folder, or folders, that they were read from; or the answers themselves, by id.
    """

    def __init__(self, frame: pd.DataFrame, results: Folders | dict[str, NDArray[Any]]) -> None:
        self.correct = results if isinstance(results, dict) else correct_answers(frame, results)
        trained = frame[(frame["kind"] == "accuracy") & frame["status"].isin(("ok", *FAILED))][RUN_COLUMNS]
        trained = trained[(trained["status"] != "ok") | trained["test_top1_percent"].notna()]  # a number has none
        runs = [_runs(found) for _, found in trained.groupby(["label", *ACCURACY_SETTING], dropna=False, sort=False)]
        self.runs = [one for one in runs if one.top1]
        self.lost = [one for one in runs if not one.top1]  # of which no run ended
        self._answers: dict[str, Answers] = {}
        self._compared: dict[tuple[str, str], dict[str, Any]] = {}  # by the keys of both sides

    @functools.cached_property
    def _spreads(self) -> dict[str, Spread | None]:
        """By net, from all that were trained alike."""
        alike: dict[tuple[Any, ...], list[Runs]] = {}
        for one in sorted(self.runs, key=lambda one: one.key):
            setting = row_as_compared(one.setting)
            key = tuple(setting[name] for name in held_equal(TRAINED_ALIKE, setting))
            alike.setdefault(key, []).append(one)
        found: dict[str, Spread | None] = {}
        for several in alike.values():
            values = [[one.top1[seed] for seed in one.seeds] for one in several]
            found |= dict(zip([one.key for one in several], spreads(values), strict=True))
        return found

    def correct_of(self, runs: Runs) -> NDArray[Any]:
        """Which test images each run got right, (seeds, images)."""
        return np.stack([self.correct[runs.ids[seed]] for seed in runs.seeds])

    def answers(self, runs: Runs) -> Answers | None:
        """None without predictions or with a single seed."""
        if len(runs.top1) < 2 or self.over(runs) == OVER_SEEDS:
            return None
        if runs.key not in self._answers:
            scores = 100 * self.correct_of(runs).astype(np.float64)
            self._answers[runs.key] = Answers(scores.mean(axis=0), residual(scores))
        return self._answers[runs.key]

    def settings(self, free: Sequence[str] = ()) -> list[list[Runs]]:
        """Runs that differ in the mixer, its tuning and the `free` fields alone; most mixers first.

        Of several learning rates or weight decays of one mixer the one with most seeds stays, then the best on
        held-out images.
        """
        fields = all_but(TRAINED_ALIKE, free)
        rows = pd.DataFrame(
            [run.setting | {"position": i, "status": "ok", "n": len(run.top1)} for i, run in enumerate(self.runs)]
        )
        if rows.empty:
            return []
        parts = [[self.runs[i] for i in part["position"]] for part in comparisons(rows, fields).values()]
        return [best_tuned(part) for part in parts]

    def of(self, row: Mapping[Any, Any] | pd.Series) -> Runs | None:
        """The runs that a row of the summary is about."""
        wanted = {name: plain(row[name]) for name in ("label", *ACCURACY_SETTING)}
        found = (runs for runs in self.runs if all(runs.setting[name] == value for name, value in wanted.items()))
        return next(found, None)

    def difference(self, row: Mapping[Any, Any] | pd.Series, other: Mapping[Any, Any] | pd.Series) -> Estimate | None:
        """Top-1 of one row of the summary less that of another, in points; None where either has no run."""
        mine, theirs = self.of(row), self.of(other)
        return None if mine is None or theirs is None else self.interval(lambda a, b: a - b, mine, theirs)

    def over(self, *mixers: Runs) -> str:
        """What an interval of these can take into account."""
        everything = all(name in self.correct for runs in mixers for name in runs.ids.values())
        return OVER_BOTH if everything else OVER_SEEDS

    def interval(self, function: Callable[..., Any], *mixers: Runs, confidence: float = 0.95) -> Estimate:
        """A function of mean accuracies, in percent, with its interval, each mixer with all of its seeds.

        The runs that failed stand beside it in words, and where they are too many it is withheld. Its n is that of the
        mixer with fewest seeds; where that is one there is no interval.

        Args:
            function: of one number a mixer, smooth: its interval is by the delta method.
            mixers: in the order of the function's arguments, no one twice.
            confidence: of the interval.
        """
        means, n = [mean_top1(runs) for runs in mixers], min(len(runs.top1) for runs in mixers)
        compared = self.comparison(function, *mixers)
        low, high = (None, None) if compared is None else compared.interval(confidence)
        words = "; ".join(dict.fromkeys(runs.failed_words for runs in mixers if runs.failed))
        return Estimate(float(function(*means)), low, high, n, words, any(runs.withheld for runs in mixers))

    def comparison(self, function: Callable[..., Any], *mixers: Runs) -> Comparison | None:
        """The same with its errors and its p; None where a mixer has a single seed."""
        found = [self._spreads[runs.key] for runs in mixers]
        known = [spread for spread in found if spread is not None]
        if len(known) < len(mixers):
            return None
        means, numbers = [mean_top1(runs) for runs in mixers], [len(runs.top1) for runs in mixers]
        factors = slopes(function, means)
        of_seeds, df = combined(list(zip(factors, known, numbers, strict=True)))
        of_images = self._of_images(factors, mixers)
        return Comparison(float(function(*means)), of_seeds, df, of_images, min(numbers))

    def _of_images(self, factors: Sequence[float], mixers: Sequence[Runs]) -> float:
        """Standard error of a sum of means by the images' own difficulty: what more seeds do not take away."""
        found = [self.answers(runs) for runs in mixers]
        known = [answers for answers in found if answers is not None]
        if len(known) < len(mixers):
            return 0.0
        total = sum(factor * answers.mean for factor, answers in zip(factors, known, strict=True))
        of_runs = math.fsum(
            factor**2 * answers.rest / len(runs.top1)
            for factor, answers, runs in zip(factors, known, mixers, strict=True)
        )
        return math.sqrt(max(0.0, float(np.var(total, ddof=1)) - of_runs) / len(known[0].mean))

    def shared_by_images(self, function: Callable[..., Any], nets: Sequence[Sequence[Runs]]) -> float:
        """Standard error of the mean of several mixers' effects by the test images, as far as they share it.

        Args:
            function: as `interval` takes it.
            nets: of each mixer, in the order of the function's arguments.
        """
        effects = []
        chance: dict[str, list[float]] = {}  # by net, of its single runs: part of its spread over seeds
        for of_mixer in nets:
            found = [self.answers(runs) for runs in of_mixer]
            factors = slopes(function, [mean_top1(runs) for runs in of_mixer])
            effects.append([f * a.mean for f, a in zip(factors, found, strict=True) if a is not None])
            for runs, f, a in zip(of_mixer, factors, found, strict=True):
                chance.setdefault(runs.key, []).append(0.0 if a is None else f * math.sqrt(a.rest / len(runs.top1)))
        if not effects or any(len(parts) < len(of_mixer) for parts, of_mixer in zip(effects, nets, strict=True)):
            return 0.0
        each = np.array([np.sum(parts, axis=0) for parts in effects])
        together = float(each.sum(axis=0).var(ddof=1)) - float(each.var(axis=1, ddof=1).sum())
        together -= math.fsum(math.fsum(parts) ** 2 - math.fsum(part**2 for part in parts) for parts in chance.values())
        return math.sqrt(max(0.0, together) / each.shape[1]) / len(each)


def _compared(sample: Sample, runs: Runs, reference: Runs) -> dict[str, Any] | None:
    """One mixer against the reference; None for the reference itself."""
    if runs is reference:
        return None
    pair = runs.key, reference.key
    if pair not in sample._compared:
        sample._compared[pair] = _comparison(sample, runs, reference)
    return dict(sample._compared[pair])


def _comparison(sample: Sample, runs: Runs, reference: Runs) -> dict[str, Any]:
    estimate = sample.interval(operator.sub, runs, reference)
    compared = sample.comparison(operator.sub, runs, reference)
    return {
        **runs.setting,
        "reference": reference.setting["label"],
        "n": len(runs.top1),
        "reference_n": len(reference.top1),
        "seeds": " ".join(map(str, runs.seeds)),
        "reference_seeds": " ".join(map(str, reference.seeds)),
        "difference_points": estimate.value,
        "difference_points_low": estimate.low,
        "difference_points_high": estimate.high,
        "interval_over": sample.over(runs, reference) if compared else None,
        "probability_of_improvement": probability_of_improvement(
            list(runs.top1.values()), list(reference.top1.values())
        ),
        "p_value": compared.p_value() if compared else None,
        "holm_p": None,
        **noise_columns(_noise_of_difference(sample, runs, reference)),
        "failed_runs": estimate.failed or None,
        "withheld": estimate.withheld,
    }


def _noise_of_difference(sample: Sample, *sides: Runs) -> Noise | None:
    """What the difference of single runs varies by."""
    found = [sample.answers(runs) for runs in sides]
    known = [answers for answers in found if answers is not None]
    if len(known) < len(sides):
        return None
    chance = [answers.rest / len(answers.mean) for answers in known]
    by_seed = [max(0.0, variance(list(r.top1.values())) - one) for r, one in zip(sides, chance, strict=True)]
    of_images = sample._of_images([1.0, -1.0], sides)
    return Noise(math.sqrt(math.fsum(by_seed)), math.sqrt(of_images**2 + math.fsum(chance)), of_images)


def verdict(row: dict[str, Any]) -> str:
    """What the interval and the corrected test allow to say of one difference."""
    low, high = row["difference_points_low"], row["difference_points_high"]
    if min(row["n"], row["reference_n"]) < FEWEST_SEEDS or low is None or low <= 0 <= high:
        return TOO_FEW
    word = "higher" if low > 0 else "lower"
    return word if row["holm_p"] is not None and row["holm_p"] < SIGNIFICANT else f"likely {word}"


def compared_with(sample: Sample, reference: Runs, others: Sequence[Runs]) -> dict[str, dict[str, Any]]:
    """Others less the reference, by label, tests corrected for their number."""
    return {row["label"]: row | {"verdict": verdict(row)} for row in differences(sample, others, reference)}


def differences(sample: Sample, nets: Sequence[Runs], reference: Runs) -> list[dict[str, Any]]:
    """Every net less the reference, but itself; their p corrected for the number of those that have one, `compared`."""
    rows = [row for row in (_compared(sample, runs, reference) for runs in nets) if row is not None]
    several = [row for row in rows if row["p_value"] is not None]
    for row, p in zip(several, holm([row["p_value"] for row in several]), strict=True):
        row["holm_p"] = p
    return [row | {"compared": len(several)} for row in rows]


def probability_of_improvement(values: Sequence[float], others: Sequence[float]) -> float:
    """Share of pairs of one run of each in which the first is better, ties counted half (Agarwal et al., 2021)."""
    ahead = np.subtract.outer(np.asarray(values), np.asarray(others))
    return float(((ahead > 0) + 0.5 * (ahead == 0)).mean())


def best_tuned(runs: Sequence[Runs]) -> list[Runs]:
    """One of several tunings of each mixer: most seeds, then the best on held-out images, then the smallest rate."""
    best: dict[str, Runs] = {}
    for one in runs:
        # what a comparison leaves free keeps its own place
        key = repr([one.setting["label"], *(one.setting[name] for name in TRAINED_ALIKE if name != "dim")])
        rank = _tuning_rank(one)
        if key not in best or rank < _tuning_rank(best[key]):
            best[key] = one
    return list(best.values())


def _tuning_rank(runs: Runs) -> tuple[Any, ...]:
    return (-len(runs.top1), -runs.val_top1, runs.setting["lr"] or 0, runs.setting["weight_decay"] or 0)


def _runs(found: pd.DataFrame) -> Runs:
    ordered = found[found["status"] == "ok"].sort_values(["seed", "id"], kind="stable").drop_duplicates("seed")
    failed = found[(found["status"] != "ok") & ~found["seed"].isin(ordered["seed"])].sort_values("seed", kind="stable")
    first = (ordered if len(ordered) else failed).iloc[0]
    seeds = [int(seed) for seed in ordered["seed"]]
    return Runs(
        {name: plain(first[name]) for name in SETTING_COLUMNS},
        dict(zip(seeds, ordered["test_top1_percent"].map(float), strict=True)),
        dict(zip(seeds, ordered["id"].map(str), strict=True)),
        float(ordered["val_top1_percent"].mean()),
        {int(seed): str(status) for seed, status in zip(failed["seed"], failed["status"], strict=True)},
    )


def mean_top1(runs: Runs) -> float:
    """Over seeds, in percent."""
    return math.fsum(runs.top1.values()) / len(runs.top1)
