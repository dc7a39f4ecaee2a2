"""Rules about many mixers at once: a pooled effect in place of a verdict on each, and shares of a variance.

Their numbers are those of the tables of effects and of the decomposition.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.report.claims.parts import FEWEST_MIXERS, INFINITE, Finding, Part, Range, make_part
from benchmarks.report.claims.rules import Accuracies, Arm, Contrast, accuracy_setting, failed_mixers
from benchmarks.report.notes import field_words
from benchmarks.report.stats.decomposition import Decomposition, Grid, find_grid, mixer_less_patch, share_interval
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.intervals import Estimate
from benchmarks.report.stats.paired import Runs
from benchmarks.report.stats.pooled import Pair, PooledEffect, pairs, pooled_difference
from benchmarks.report.wording import span_of

Fields = tuple[tuple[str, Any], ...]
SHARES: dict[str, Callable[[Decomposition], float]] = {
    "the mixer": operator.attrgetter("columns"),
    "the patch": operator.attrgetter("rows"),
    "which mixer at which patch": operator.attrgetter("both"),
}


@dataclasses.dataclass(frozen=True)
class EffectOverMixers(Accuracies):
    """The effect of a choice over all mixers that were measured both ways, pooled: one for each value of `at`.

    The choice is between `mine` and `other`; or, where `against` names a net, between each mixer and that net.
    """

    contrasts: tuple[Contrast, ...] = ()
    mine: Fields = ()
    other: Fields = ()
    against: str | None = None
    at: tuple[Fields, ...] = ((),)
    claimed: Range = (0, INFINITE)

    def rank(self, finding: Finding) -> tuple[int, ...]:
        """The setting with most mixers, whatever it says."""
        return len(finding.missing), -len(finding.behind)

    def _in_setting(self, evidence: Evidence, runs: Sequence[Runs]) -> Finding | None:
        parts: list[Part] = []
        behind: list[Part] = []
        missing = failed_mixers(evidence, runs, self.free)
        for place in self.at:
            compared = pairs(runs, dict(self.mine + place), dict(self.other + place), self.against)
            parts += self._pooled(evidence, compared, place)
            for mixer, pair in compared.items():
                arms = Arm(mixer, self.mine + place), Arm(self.against or mixer, self.other + place)
                behind += self._part(evidence, dict(zip(arms, pair, strict=True)), Contrast(arms, self.claimed))
            if len(compared) < FEWEST_MIXERS:
                where = "".join(f", {field_words(*field)}" for field in place)
                missing.append(f"more than {span_of([len(compared)], 'mixer')}{where}")
        if not parts:
            return None
        setting = accuracy_setting(evidence, runs, self.free)
        return Finding(tuple(parts), tuple(missing), setting, self.unit, "mixers", tuple(behind))

    def _pooled(self, evidence: Evidence, compared: dict[str, Pair], place: Fields) -> list[Part]:
        pooled = pooled_difference(evidence.sample, list(compared.values()))
        if pooled is None:
            return []
        mean = pooled.mean
        what = " ".join([f"mean over {mean.n} mixers", *(field_words(*field) for field in place)])
        part = make_part(
            what, lambda c: Estimate(mean.value, *mean.interval(c), mean.n), self.claimed, len(self.at), words(pooled)
        )
        return [] if part is None else [dataclasses.replace(part, fewest=FEWEST_MIXERS)]


def words(pooled: PooledEffect) -> str:
    """How far the mixers agree."""
    return (
        f"true effects differ between mixers by {pooled.tau:.1f} points (standard deviation), "
        f"{pooled.i2_percent:.0f} % of the spread is more than their own errors explain"
    )


@dataclasses.dataclass(frozen=True)
class VarianceShares(Accuracies):
    """How much of the variance between nets the mixer explains, how much the patch size: with and without one mixer.

    Of cells (mixer, patch size) that are all measured, what their seeds add taken out; the rest of the variance is
    which mixer at which patch.
    """

    contrasts: tuple[Contrast, ...] = ()
    free: tuple[str, ...] = ("patch_size",)
    unit: str = "% of variance"
    without: str = "linear"
    patches: tuple[int, ...] = (1, 2, 4, 8)

    def rank(self, finding: Finding) -> tuple[int, ...]:
        return len(finding.needed), -len(finding.behind)

    def _in_setting(self, evidence: Evidence, runs: Sequence[Runs]) -> Finding | None:
        whole = find_grid(runs)
        if whole is None or len(whole.nets) < 2:
            return None
        parts: list[Part] = []
        behind: list[Part] = []
        for which, grid in {"all mixers": whole, f"without {self.without}": whole.without(self.without)}.items():
            parts += self._share(evidence, grid, mixer_less_patch, f"share of the mixer − share of the patch, {which}")
            for name, part in SHARES.items():
                behind += self._share(evidence, grid, part, f"share of {name}, {which}")
        setting = accuracy_setting(evidence, runs, self.free)
        needed = tuple(self._needed(whole))
        return Finding(tuple(parts), (), setting, self.unit, "seeds", tuple(behind), needed)

    def _needed(self, grid: Grid) -> list[str]:
        needed = [field_words("patch_size", patch) for patch in self.patches if patch not in grid.patches]
        if self.without not in grid.nets:
            needed.append(f"{self.without} at every patch size")
        if len(grid.nets) <= FEWEST_MIXERS:
            needed.append(f"more than {span_of([len(grid.nets)], 'mixer')} at every patch size")
        return needed

    def _share(self, evidence: Evidence, grid: Grid, part: Callable[[Decomposition], float], what: str) -> list[Part]:
        if len(grid.nets) < 2:
            return []
        found = make_part(what, lambda c: share_interval(evidence.sample, grid, part, c), (0, INFINITE), 2)
        return [] if found is None else [found]
