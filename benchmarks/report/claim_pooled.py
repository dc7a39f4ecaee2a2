"""Rules about many mixers at once: a pooled effect in place of a verdict on each, and shares of a variance."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special

from benchmarks.report.claim_parts import (
    FEWEST_MIXERS,
    INFINITE,
    Evidence,
    Finding,
    Part,
    Range,
    make_part,
    setting_words,
)
from benchmarks.report.claim_rules import Accuracies, Cell, Contrast, accuracy_setting, failed_mixers
from benchmarks.report.paired import Runs
from benchmarks.report.statistics import Estimate
from benchmarks.report.text import span_of

Fields = tuple[tuple[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class Pooled:
    """A mean effect over mixers, each with a true effect of its own.

    Attributes:
        value: of an average mixer, in the unit of the effects.
        error: its standard error.
        between: standard deviation of the true effects, in the same unit.
        inconsistent_percent: share of the spread between effects that is no chance (I squared).
        n: effects.
    """

    value: float
    error: float
    between: float
    inconsistent_percent: float
    n: int

    @property
    def words(self) -> str:
        """How far the mixers agree."""
        return (
            f"true effects differ between mixers by {self.between:.1f} points (standard deviation), "
            f"{self.inconsistent_percent:.0f} % of their spread is no chance"
        )

    def interval(self, confidence: float) -> Estimate:
        """By Student's t with one degree of freedom less than there are effects (Knapp & Hartung, 2003)."""
        half = float(scipy.special.stdtrit(self.n - 1, (1 + confidence) / 2)) * self.error
        return Estimate(self.value, self.value - half, self.value + half, self.n)


def pool(effects: Sequence[float], errors: Sequence[float], shared: float = 0.0) -> Pooled | None:
    """Random effects by DerSimonian and Laird (1986), the error by Knapp and Hartung (2003), never below the usual one.

    Args:
        effects: one a mixer.
        errors: their standard errors, without what they share.
        shared: standard error of what all effects have in common, such as the net that each is held against.

    Returns:
        None of fewer than two effects.
    """
    y, variance = np.asarray(effects, dtype=float), np.maximum(np.asarray(errors, dtype=float) ** 2, 1e-12)
    n = len(y)
    if n < 2:
        return None
    weights = 1 / variance
    fixed = float(weights @ y / weights.sum())
    excess = float(weights @ (y - fixed) ** 2)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    between = max(0.0, (excess - (n - 1)) / scale)
    weights = 1 / (variance + between)
    value = float(weights @ y / weights.sum())
    adjusted = max(1.0, float(weights @ (y - value) ** 2) / (n - 1))
    error = math.sqrt(adjusted / float(weights.sum()) + shared**2)
    inconsistent = 100 * max(0.0, 1 - (n - 1) / excess) if excess > 0 else 0.0
    return Pooled(value, error, math.sqrt(between), inconsistent, n)


@dataclasses.dataclass(frozen=True)
class PooledEffect(Accuracies):
    """The effect of a choice over all mixers that were measured both ways, pooled: one for each value of `at`.

    The choice is between `mine` and `other`; or, where `against` names a net, between each mixer and that net.
    """

    contrasts: tuple[Contrast, ...] = ()
    mine: Fields = ()
    other: Fields = ()
    against: str | None = None
    at: tuple[Fields, ...] = ((),)
    claimed: Range = (0, INFINITE)

    def rank(self, finding: Finding) -> tuple[int, int]:
        """The setting with most mixers, whatever it says."""
        return len(finding.missing), -len(finding.behind)

    def _in_setting(self, evidence: Evidence, runs: Sequence[Runs]) -> Finding | None:
        by_cell, parts, missing = self.cells(runs), [], failed_mixers(evidence, runs, self.free)
        behind: list[Part] = []
        for place in self.at:
            alone = self._effects(evidence, by_cell, place)
            part = self._pooled(evidence, by_cell, alone, place)
            parts += [] if part is None else [part]
            behind += alone.values()
            if len(alone) < FEWEST_MIXERS:
                where = "".join(f", {setting_words(*field)}" for field in place)
                missing.append(f"more than {span_of([len(alone)], 'mixer')}{where}")
        if not parts:
            return None
        setting = accuracy_setting(evidence, runs, self.free)
        return Finding(tuple(parts), tuple(missing), setting, self.unit, "mixers", tuple(behind))

    def _effects(self, evidence: Evidence, by_cell: dict[Cell, Runs], place: Fields) -> dict[str, Part]:
        """By mixer, from as many seeds as a verdict takes and without those of which too many runs failed."""
        found: dict[str, Part] = {}
        for mixer in sorted({cell.mixer for cell in by_cell} - {self.against}):
            pair = self._cell(mixer, place), Cell(self.against or mixer, self.other + place)
            parts = self._part(evidence, by_cell, Contrast(pair, self.claimed)) if set(pair) <= by_cell.keys() else []
            if parts and parts[0].low is not None and not parts[0].too_few and not parts[0].withheld:
                found[mixer] = parts[0]
        return found

    def _cell(self, mixer: str, place: Fields) -> Cell:
        return Cell(mixer, self.mine + place)

    def _pooled(
        self, evidence: Evidence, by_cell: dict[Cell, Runs], alone: Mapping[str, Part], place: Fields
    ) -> Part | None:
        def of_net(cell: Cell) -> float:
            return standard_error(evidence.sample.interval(lambda mean: mean, by_cell[cell]))

        errors, shared = [standard_error(part) for part in alone.values()], 0.0
        if self.against is not None and alone:
            errors = [of_net(self._cell(mixer, place)) for mixer in alone]
            shared = of_net(Cell(self.against, self.other + place))
        pooled = pool([part.effect or 0.0 for part in alone.values()], errors, shared)
        if pooled is None:
            return None
        what = " ".join([f"mean over {pooled.n} mixers", *(setting_words(*field) for field in place)])
        part = make_part(what, pooled.interval, self.claimed, len(self.at), pooled.words)
        return None if part is None else dataclasses.replace(part, fewest=FEWEST_MIXERS)


def standard_error(estimate: Estimate | Part | None) -> float:
    """Of a value with a 95 % interval, from its width by the normal; never too small, where it was Student's t."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return 0.0
    return (estimate.high - estimate.low) / 2 / float(scipy.special.ndtri(0.975))


@dataclasses.dataclass(frozen=True)
class VarianceShares(Accuracies):
    """How much of the variance between nets the mixer explains, how much the patch size: with and without one mixer.

    Of cells (mixer, patch size) that are all measured; the rest of the variance is the two together, and chance.
    """

    contrasts: tuple[Contrast, ...] = ()
    free: tuple[str, ...] = ("patch_size",)
    unit: str = "% of variance"
    without: str = "linear"
    patches: tuple[int, ...] = (1, 2, 4, 8)

    def rank(self, finding: Finding) -> tuple[int, int]:
        return len(finding.missing), -len(finding.behind)

    def _in_setting(self, evidence: Evidence, runs: Sequence[Runs]) -> Finding | None:
        by_cell = self.cells(runs)
        mixers = sorted({cell.mixer for cell in by_cell})
        whole = [m for m in mixers if all(self._cell(m, p) in by_cell for p in self.patches)]
        sets = {"all mixers": whole, f"without {self.without}": [m for m in whole if m != self.without]}
        parts: list[Part] = []
        behind: list[Part] = []
        for words, chosen in sets.items():
            interval = self._interval(evidence, by_cell, chosen)
            ahead = interval(lambda shares: shares[0] - shares[1], f"share of the mixer − share of the patch, {words}")
            parts += [dataclasses.replace(part, claimed=(0, INFINITE)) for part in ahead]
            for i, name in enumerate(("mixer", "patch", "both together, and chance")):
                behind += interval(functools.partial(_at, i), f"share of {name}, {words}")
        if not parts:
            return None
        missing = [] if self.without in whole else [f"{self.without} at every patch size"]
        if len(whole) <= FEWEST_MIXERS:
            missing.append(f"more than {span_of([len(whole)], 'mixer')} at every patch size")
        setting = accuracy_setting(evidence, runs, self.free)
        return Finding(tuple(parts), tuple(missing), setting, self.unit, "seeds", tuple(behind))

    def _cell(self, mixer: str, patch: int) -> Cell:
        return Cell(mixer, (("patch_size", patch),))

    def _interval(
        self, evidence: Evidence, by_cell: dict[Cell, Runs], mixers: Sequence[str]
    ) -> Callable[[Callable[[Any], Any], str], list[Part]]:
        nets = [by_cell[self._cell(mixer, patch)] for mixer in mixers for patch in self.patches]

        def of(function: Callable[[Any], Any], what: str) -> list[Part]:
            if len(mixers) < 2:
                return []

            def share(*means: Any) -> Any:
                found = function(variance_shares(np.reshape(means, (len(mixers), len(self.patches), -1))))
                return found if np.ndim(means[0]) else float(found[0])

            part = make_part(
                what, lambda c: evidence.sample.interval(share, *nets, confidence=c), (-INFINITE, INFINITE), 2
            )
            return [] if part is None else [part]

        return of


def _at(place: int, shares: Any) -> Any:
    return shares[place]


def variance_shares(means: Any) -> Any:
    """Shares of mixer, patch and the rest in the variance of means.

    Args:
        means: (mixers, patches, replicates).

    Returns:
        (3, replicates), in percent.
    """
    overall = means.mean(axis=(0, 1))
    of_mixer = ((means.mean(axis=1) - overall) ** 2).mean(axis=0)
    of_patch = ((means.mean(axis=0) - overall) ** 2).mean(axis=0)
    total = ((means - overall) ** 2).mean(axis=(0, 1))
    return 100 * np.stack([of_mixer, of_patch, total - of_mixer - of_patch]) / total
