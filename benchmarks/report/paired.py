"""How sure we are: intervals over seeds and test images together, and mixers compared seed by seed, image by image.

Seeds are paired (one seed: the same order of images for every mixer), and so are test images, the same for every net.
The bootstrap draws seeds and images anew, the same for all mixers, 5,000 times: a replicate is the mean over the drawn
seeds, moved by what the drawn images change in the mean over all seeds. Drawing images within each drawn seed would
count their chance twice, since it is part of the spread over seeds. Drawing from n seeds makes intervals too narrow
where n is small, so the weights of the seeds are rescaled by sqrt(n / (n - 1)) (Rao & Wu, 1988) and stretched by t / z
to the width of Student's t (Hesterberg, 2015). The stream of random numbers is fixed: the same records give the same
bytes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.special
from numpy.typing import NDArray

from benchmarks.report.frame import all_but, comparisons, held_equal, plain, row_as_compared
from benchmarks.report.predictions import Folders, correct_answers
from benchmarks.report.statistics import FAILED, Estimate, failed_words, mean_interval, too_many_failed
from benchmarks.report.tables import ACCURACY_SETTING, TRAINED_ALIKE, table

Floats = NDArray[np.float64]
REFERENCES = ("attention", "conv1x1", "fft_real")
REPLICATES = 5_000
CHUNK = 250  # replicates drawn at a time
FEWEST_SEEDS = 3  # under which no verdict is given
SIGNIFICANT = 0.05
SETTING_COLUMNS = ["mixer", "label", "family", "tokens", *(name for name in ACCURACY_SETTING if name != "mixer"), "net"]
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


class Sample:
    """The trained nets of a frame with their answers to every test image, and the bootstrap over both.

    Args:
        frame: records of one data set, profile and machine.
        results: the folder, or folders, that they were read from.
    """

    def __init__(self, frame: pd.DataFrame, results: Folders) -> None:
        self.correct = correct_answers(frame, results)
        trained = frame[(frame["kind"] == "accuracy") & frame["status"].isin(("ok", *FAILED))][RUN_COLUMNS]
        runs = [_runs(found) for _, found in trained.groupby(["label", *ACCURACY_SETTING], dropna=False, sort=False)]
        self.runs = [one for one in runs if one.top1]
        self.lost = [one for one in runs if not one.top1]  # of which no run ended

    @functools.cached_property
    def resampled(self) -> dict[str, Floats]:
        """Accuracy in percent of each net, by its record's id, on every draw of test images."""
        result: dict[str, Floats] = {}
        for images in sorted({len(correct) for correct in self.correct.values()}):
            ids = sorted(name for name, correct in self.correct.items() if len(correct) == images)
            drawn = resample_images(np.stack([self.correct[name] for name in ids]))
            result |= dict(zip(ids, drawn, strict=True))
        return result

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
        """Top-1 of one row of the summary less that of another, in points; None without a seed in common."""
        mine, theirs = self.of(row), self.of(other)
        return None if mine is None or theirs is None else self.interval(lambda a, b: a - b, mine, theirs)

    def over(self, *mixers: Runs) -> str:
        """What an interval of these can take into account."""
        everything = all(name in self.correct for runs in mixers for name in runs.ids.values())
        return OVER_BOTH if everything else OVER_SEEDS

    def interval(
        self, function: Callable[..., Any], *mixers: Runs, confidence: float = 0.95, seeds: Sequence[int] | None = None
    ) -> Estimate | None:
        """A function of mean accuracies, in percent, with its interval, over the seeds that all mixers have.

        The runs that failed stand beside it in words, and where they are too many it is withheld.

        Args:
            function: of one number, or one array of replicates, a mixer.
            mixers: in the order of the function's arguments.
            confidence: of the interval; with one seed there is none.
            seeds: these only.
        """
        estimate = self._interval(function, *mixers, confidence=confidence, seeds=seeds)
        if estimate is None:
            return None
        words = dict.fromkeys(runs.failed_words for runs in mixers if runs.failed)
        return dataclasses.replace(estimate, failed="; ".join(words), withheld=any(runs.withheld for runs in mixers))

    def _interval(
        self, function: Callable[..., Any], *mixers: Runs, confidence: float, seeds: Sequence[int] | None
    ) -> Estimate | None:
        common = [seed for seed in mixers[0].seeds if all(seed in runs.top1 for runs in mixers)]
        common = [seed for seed in common if seeds is None or seed in seeds]
        n = len(common)
        values = [[runs.top1[seed] for seed in common] for runs in mixers]
        if n < 2 or self.over(*mixers) == OVER_SEEDS:
            return mean_interval([float(function(*of_seed)) for of_seed in zip(*values, strict=True)], confidence)
        weights = seed_weights(n, confidence)
        replicates = [
            weights @ np.asarray(v) + sum(self.resampled[runs.ids[seed]] for seed in common) / n - math.fsum(v) / n
            for runs, v in zip(mixers, values, strict=True)
        ]
        low, high = np.quantile(function(*replicates), [(1 - confidence) / 2, (1 + confidence) / 2])
        return Estimate(float(function(*(math.fsum(v) / n for v in values))), float(low), float(high), n)


def accuracy_intervals(sample: Sample) -> pd.DataFrame:
    """One row per mixer and trained setting: mean accuracy with its interval, noise of seeds and of test images."""
    rows = []
    for runs in sample.runs:
        estimate = sample.interval(lambda mean: mean, runs)
        assert estimate is not None
        over = sample.over(runs)
        spread = noise(_answers(sample, runs, runs.seeds)) if over == OVER_BOTH else None
        rows.append(
            runs.setting
            | {"n": estimate.n, "seeds": " ".join(map(str, runs.seeds)), "test_top1_percent_mean": estimate.value}
            | {"test_top1_percent_resampled_low": estimate.low, "test_top1_percent_resampled_high": estimate.high}
            | {"interval_over": over if estimate.n > 1 else None}
            | noise_columns(spread)
        )
    return table(rows, lambda row: (-row["test_top1_percent_mean"], row["label"]))


def paired_table(sample: Sample) -> pd.DataFrame:
    """One row per mixer, reference and trained setting: the difference of accuracies, seed by seed, image by image.

    Returns:
        Differences are mixer less reference in points of test top-1; rows stand by reference, the best mixer first.
    """
    rows: list[dict[str, Any]] = []
    for setting in sample.settings():
        by_label = {runs.setting["label"]: runs for runs in setting}
        for name in REFERENCES:
            reference = by_label.get(name)
            found = [] if reference is None else [_compared(sample, runs, reference) for runs in setting]
            block = [row for row in found if row is not None]
            several = [row for row in block if row["p_value"] is not None]
            for row, p in zip(several, holm([row["p_value"] for row in several]), strict=True):
                row["holm_p"] = p
            for row in block:
                row["compared"] = len(several)
                row["verdict"] = WITHHELD if row["withheld"] else verdict(row)
            rows += sorted(block, key=lambda row: (-row["difference_points"], row["label"]))
            if reference is not None:
                rows += sorted(_lost_beside(sample, reference), key=lambda row: row["label"])
    names = list(rows[0]) if rows else []
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in names})


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
        {**runs.setting, "reference": reference.setting["label"], **nothing, "n": 0, "seeds": "", "compared": 0}
        | {"verdict": WITHHELD, "failed_runs": runs.failed_words, "withheld": True}
        for label, runs in found.items()
        if label not in ended
    ]


def _compared(sample: Sample, runs: Runs, reference: Runs) -> dict[str, Any] | None:
    """One mixer against the reference; None for the reference itself and without a seed in common."""
    estimate = None if runs is reference else sample.interval(lambda a, b: a - b, runs, reference)
    if estimate is None:
        return None
    seeds = [seed for seed in runs.seeds if seed in reference.top1]
    differences = [runs.top1[seed] - reference.top1[seed] for seed in seeds]
    over = sample.over(runs, reference)
    spread = None
    if over == OVER_BOTH:
        mine, theirs = (_answers(sample, which, seeds) for which in (runs, reference))
        spread = noise(mine.astype(np.int8) - theirs.astype(np.int8))
    return {
        **runs.setting,
        "reference": reference.setting["label"],
        "n": estimate.n,
        "seeds": " ".join(map(str, seeds)),
        "difference_points": estimate.value,
        "difference_points_low": estimate.low,
        "difference_points_high": estimate.high,
        "interval_over": over if estimate.n > 1 else None,
        "probability_of_improvement": probability_of_improvement(
            list(runs.top1.values()), list(reference.top1.values())
        ),
        "p_value": p_value(differences, spread.images if spread else 0.0) if estimate.n > 1 else None,
        "holm_p": None,
        **noise_columns(spread),
        "failed_runs": estimate.failed or None,
        "withheld": estimate.withheld,
    }


def verdict(row: dict[str, Any]) -> str:
    """What the interval and the corrected test allow to say of one difference."""
    low, high = row["difference_points_low"], row["difference_points_high"]
    if row["n"] < FEWEST_SEEDS or low is None or low <= 0 <= high:
        return TOO_FEW
    word = "higher" if low > 0 else "lower"
    return word if row["holm_p"] is not None and row["holm_p"] < SIGNIFICANT else f"likely {word}"


def compared_with(sample: Sample, reference: Runs, others: Sequence[Runs]) -> dict[str, dict[str, Any]]:
    """Others less the reference, by label, tests corrected for their number; without those with no seed in common."""
    rows = [row for row in (_compared(sample, runs, reference) for runs in others) if row is not None]
    several = [row for row in rows if row["p_value"] is not None]
    for row, p in zip(several, holm([row["p_value"] for row in several]), strict=True):
        row["holm_p"] = p
    return {row["label"]: row | {"verdict": verdict(row)} for row in rows}


def resample_images(correct: NDArray[np.bool_], replicates: int = REPLICATES) -> Floats:
    """Accuracy in percent of nets (nets, images) on draws of as many images, with replacement: (nets, replicates)."""
    images, answers = correct.shape[1], correct.astype(np.float32)
    # sums of whole numbers under 2^24 are exact in float32, in whatever order they are added
    parts = [answers @ counts.astype(np.float32).T for counts in image_draws(images, replicates)]
    return np.asarray(np.concatenate(parts, axis=1).astype(np.float64) * (100 / images))


@functools.lru_cache(maxsize=1)
def image_draws(images: int, replicates: int) -> list[NDArray[np.uint8]]:
    """How often each image is in each draw, in chunks (draws, images); drawn once for all tables of a report."""
    # RandomState's stream is frozen by NumPy's compatibility policy
    random, chunks = np.random.RandomState(0), []
    for start in range(0, replicates, CHUNK):
        rows = min(CHUNK, replicates - start)
        drawn = random.randint(0, images, size=(rows, images), dtype=np.int32) + images * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * images)
        chunks.append(counts.astype(np.uint8).reshape(rows, images))
    return chunks


def seed_weights(n: int, confidence: float = 0.95, replicates: int = REPLICATES) -> Floats:
    """Weights (replicates, n) of n seeds drawn with replacement, rescaled and stretched to the width of Student's t."""
    drawn = np.random.RandomState(1).randint(0, n, size=(replicates, n), dtype=np.int32)
    counts = np.stack([(drawn == seed).sum(axis=1) for seed in range(n)], axis=1)
    tail = (1 + confidence) / 2
    wider = math.sqrt(n / (n - 1)) * float(scipy.special.stdtrit(n - 1, tail) / scipy.special.ndtri(tail))
    return np.asarray(1 / n + wider * (counts - 1) / n)


def p_value(differences: Sequence[float], of_images: float = 0.0) -> float:
    """Two-sided p of the mean of paired differences: one less the confidence at which its interval just reaches 0.

    The interval's half width is that of Student's t over seeds and that of the normal over test images, squared and
    added. Over seeds alone this is Student's t-test. With images it errs on the side of no difference for few seeds,
    where degrees of freedom by Welch and Satterthwaite would find several times too many. An exact test over flips of
    the seeds' signs cannot bring n seeds under 2 / 2^n: corrected for thirty mixers, eight seeds could tell none apart.

    Args:
        differences: one a seed, in points.
        of_images: standard deviation of the mean by the choice of test images, in points, as `Noise.images`.
    """
    n, mean = len(differences), math.fsum(differences) / len(differences)
    of_seeds = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1) / n)
    if max(of_seeds, of_images) <= 1e-12 * abs(mean):
        return 0.0 if mean else 1.0
    low, high = math.log(1e-15), 0.0
    for _ in range(60):
        middle = (low + high) / 2
        tail = math.exp(middle) / 2
        half = math.hypot(scipy.special.stdtrit(n - 1, tail) * of_seeds, scipy.special.ndtri(tail) * of_images)
        low, high = (middle, high) if half > abs(mean) else (low, middle)
    return math.exp(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979) of p values for their number, in their order."""
    m, result, worst = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (m - rank) * p_values[i]))
        result[i] = worst
    return result


def probability_of_improvement(values: Sequence[float], others: Sequence[float]) -> float:
    """Share of pairs of one run of each in which the first is better, ties counted half (Agarwal et al., 2021)."""
    ahead = np.subtract.outer(np.asarray(values), np.asarray(others))
    return float(((ahead > 0) + 0.5 * (ahead == 0)).mean())


@dataclasses.dataclass(frozen=True)
class Noise:
    """Standard deviations in points."""

    seed: float | None  # of one run, by its seed; None for a single one
    test: float  # of one run, by the choice of test images
    images: float  # of the mean over runs, by the images' own difficulty: what more seeds do not take away


def noise(answers: NDArray[Any]) -> Noise:
    """What a new seed and what new test images change in the mean of answers (seeds, images), each between -1 and 1.

    A two-way analysis of variance: the spread over seeds less what the images' own chance explains of it, and the
    sampling error of that many images.
    """
    seeds, images = answers.shape
    scores = 100 * answers.astype(np.float64)
    within = float(scores.var(axis=1, ddof=1).mean())
    if seeds < 2:
        return Noise(None, math.sqrt(within / images), math.sqrt(within / images))
    of_seed, of_image = scores.mean(axis=1, keepdims=True), scores.mean(axis=0, keepdims=True)
    rest = float(((scores - of_seed - of_image + scores.mean()) ** 2).sum()) / ((seeds - 1) * (images - 1))
    return Noise(
        math.sqrt(max(0.0, float(of_seed.var(ddof=1)) - rest / images)),
        math.sqrt(within / images),
        math.sqrt(max(0.0, within - rest) / images),
    )


def noise_columns(spread: Noise | None) -> dict[str, float | None]:
    if spread is None:
        return {"seed_sd_points": None, "test_sd_points": None}
    return {"seed_sd_points": spread.seed, "test_sd_points": spread.test}


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


def _answers(sample: Sample, runs: Runs, seeds: Sequence[int]) -> NDArray[np.bool_]:
    return np.stack([sample.correct[runs.ids[seed]] for seed in seeds])
