"""How a claim is held against records: each rule finds its effects, with intervals, in one group of records.

An effect supports a claim if its interval lies wholly inside the claimed range, and contradicts it if wholly outside.
Where a claim needs several comparisons, all must support it, each at 95 %. One of them contradicts it, by an interval
widened for their number (Bonferroni), since one of many may lie outside by chance. Fewer than three seeds or rounds
decide nothing, nor does a claim none of whose nets is above its baseline.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.contract.choices.chosen_nets import UNCHOSEN
from benchmarks.report.alike import TRAINED_ALIKE, all_but, as_compared, held_equal, row_as_compared, same_rows
from benchmarks.report.baselines import highest
from benchmarks.report.choose import FAILED
from benchmarks.report.claims.parts import FEWEST_MIXERS, INFINITE, SUPPORTED, Finding, Part, Range, make_part
from benchmarks.report.notes import SETTING_WORDS, field_words
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.paired import FEWEST_SEEDS, Runs
from benchmarks.report.wording import span_of

Floor = tuple[str, float]  # the highest predictor that looks at one thing alone, and its percent


@dataclasses.dataclass(frozen=True)
class Arm:
    """One side of a contrast: a mixer, and fields of the trial in which its net differs from the other sides."""

    mixer: str
    fields: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return " ".join([self.mixer, *(field_words(name, value) for name, value in self.fields)])


def difference(a: Any, b: Any) -> Any:
    return a - b


def share_percent(a: Any, b: Any) -> Any:
    return 100 * a / b


def over_midpoint(a: Any, low: Any, high: Any) -> Any:
    return a - (low + high) / 2


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A function of the mean accuracies of some nets, and what is claimed of it."""

    arms: tuple[Arm, ...]
    claimed: Range
    function: Callable[..., Any] = difference
    what: str = ""
    denied: Range | None = None  # where it contradicts; None: wherever it does not support

    def __str__(self) -> str:
        return self.what or " − ".join(map(str, self.arms))


@dataclasses.dataclass(frozen=True)
class Accuracies:
    """Accuracies of nets trained alike but for the mixer and the `free` fields.

    Attributes:
        where: fields of the trial that the setting must have.
        seeds: these only; None: all that there are.
        fewest: seeds without which nothing is decided.
        condition: must hold first, or there is nothing to judge.
    """

    contrasts: tuple[Contrast, ...]
    free: tuple[str, ...] = ()
    unit: str = "points"
    condition: Contrast | None = None
    where: tuple[tuple[str, Any], ...] = ()
    seeds: tuple[int, ...] | None = None
    fewest: int = FEWEST_SEEDS

    def wanted(self, runs: Sequence[Runs]) -> Sequence[Contrast]:
        return self.contrasts

    def find(self, evidence: Evidence) -> Finding | None:
        chosen = self._chosen(evidence)
        if chosen.frame.empty:
            return None
        found = [self._in_setting(chosen, runs) for runs in chosen.sample.settings(self.free)]
        ready = [finding for finding in found if finding is not None]
        return min(ready, key=self.rank) if ready else None

    def _chosen(self, evidence: Evidence) -> Evidence:
        """The records of the setting and the seeds that the rule names; all where it names none."""
        frame = evidence.frame
        if not self.where and self.seeds is None:
            return evidence
        kept = frame["kind"] == "accuracy"
        for name, value in self.where:
            kept &= frame[name] == value
        if self.seeds is not None:
            kept &= frame["seed"].isin(self.seeds)
        return Evidence(frame[kept].reset_index(drop=True), evidence.results)

    def rank(self, finding: Finding) -> tuple[int, ...]:
        """Smallest in the setting that says most: the claim whole, own nets, many seeds; never what the outcome is."""
        n = min(part.n for part in finding.parts)
        return len(finding.missing), n < FEWEST_SEEDS, not finding.own_nets, -n

    def arms(self, runs: Sequence[Runs]) -> dict[Arm, Runs]:
        """The latest version of each net."""
        latest_last = sorted(runs, key=lambda r: r.setting["mixer_version"])
        return {Arm(r.setting["mixer"], tuple((f, r.setting[f]) for f in self.free)): r for r in latest_last}

    def _in_setting(self, evidence: Evidence, runs: Sequence[Runs]) -> Finding | None:
        by_arm, contrasts, parts = self.arms(runs), self.wanted(runs), []
        missing: list[str] = []
        for contrast in contrasts:
            lacking = [arm for arm in contrast.arms if arm not in by_arm]
            missing += [f"{arm}{', which failed' if self._lost(evidence, runs, arm) else ''}" for arm in lacking]
            if not lacking:
                parts += self._part(evidence, by_arm, contrast, len(contrasts), self.nets(contrast, contrasts))
        if not parts:
            return None
        if self.condition is not None and not self._holds(evidence, by_arm, self.condition):
            parts = [dataclasses.replace(p, low=None, high=None, note=str(self.condition)) for p in parts]
        setting = accuracy_setting(evidence, runs, self.free)
        own = in_own_nets(runs)
        return Finding(tuple(parts), tuple(dict.fromkeys(missing)), setting, self.unit, "seeds", own_nets=own)

    def nets(self, contrast: Contrast, contrasts: Sequence[Contrast]) -> Sequence[Arm]:
        """Of which one above its baseline is enough for a contrast to say something: all that are compared."""
        return [arm for one in contrasts for arm in one.arms]

    def _part(
        self,
        evidence: Evidence,
        by_arm: dict[Arm, Runs],
        contrast: Contrast,
        comparisons: int = 1,
        nets: Sequence[Arm] = (),
    ) -> list[Part]:
        """Of one contrast; it is stuck if neither its nets nor `nets` have left their baseline."""
        mixers = [by_arm[arm] for arm in contrast.arms]
        interval = functools.partial(evidence.sample.interval, contrast.function, *mixers)
        try:
            part = make_part(str(contrast), lambda c: interval(confidence=c), contrast.claimed, comparisons)
        except ZeroDivisionError:  # a share of an accuracy of 0
            return []
        if part is None:
            return []
        part = dataclasses.replace(part, denied=contrast.denied, fewest=self.fewest)
        beside = [by_arm[arm] for arm in dict.fromkeys([*contrast.arms, *nets]) if arm in by_arm]
        if len(mixers) > 1 and not left_baseline(evidence, beside):
            part = dataclasses.replace(part, stuck=True)
        return [part]

    def _holds(self, evidence: Evidence, by_arm: dict[Arm, Runs], contrast: Contrast) -> bool:
        parts = [dataclasses.replace(p, fewest=FEWEST_SEEDS) for p in self._part(evidence, by_arm, contrast)]
        return [part.outcome for part in parts] == [SUPPORTED]

    def _lost(self, evidence: Evidence, runs: Sequence[Runs], arm: Arm) -> bool:
        """Whether every run of an arm failed, in the setting of these."""
        fields = all_but(TRAINED_ALIKE, self.free)
        setting = row_as_compared(runs[0].setting, fields)
        wanted = {name: setting[name] for name in held_equal(fields, setting)}
        wanted |= {**dict(arm.fields), "mixer": arm.mixer}
        lost = [row_as_compared(one.setting, fields) for one in evidence.sample.lost]
        return any(all(one[name] == value for name, value in wanted.items()) for one in lost)


def floor_of(evidence: Evidence, runs: Sequence[Runs]) -> Floor | None:
    """The highest trivial predictor beside some nets; None where their records know of none."""
    ids = {one for several in runs for one in several.ids.values()}
    rows = evidence.frame[evidence.frame["id"].isin(ids)].to_dict("records")
    known = [found for row in rows if (found := highest(row)) is not None]
    return max(known, key=lambda found: found[1], default=None)


def left_baseline(evidence: Evidence, runs: Sequence[Runs]) -> bool:
    """Whether the better net's mean lies above the highest trivial predictor, with its interval where it has one."""
    floor = floor_of(evidence, runs)
    if floor is None:
        return True
    best = evidence.sample.interval(max, *runs)
    return (best.value if best.low is None else best.low) > floor[1]


@dataclasses.dataclass(frozen=True)
class EachMixer(Accuracies):
    """One contrast for every mixer that was measured: with `mine`, less `against` (or itself) with `other`."""

    contrasts: tuple[Contrast, ...] = ()
    mine: tuple[tuple[str, Any], ...] = ()
    other: tuple[tuple[str, Any], ...] = ()
    against: str | None = None
    claimed: Range = (0, INFINITE)

    def wanted(self, runs: Sequence[Runs]) -> Sequence[Contrast]:
        mixers = sorted({r.setting["mixer"] for r in runs} - {self.against})
        pairs = [(Arm(mixer, self.mine), Arm(self.against or mixer, self.other)) for mixer in mixers]
        here = {Arm(r.setting["mixer"], tuple((f, r.setting[f]) for f in self.free)) for r in runs}
        return [Contrast(pair, self.claimed) for pair in pairs if set(pair) <= here]

    def nets(self, contrast: Contrast, contrasts: Sequence[Contrast]) -> Sequence[Arm]:
        return contrast.arms  # of each mixer it is asked anew

    def rank(self, finding: Finding) -> tuple[int, ...]:
        return -len(finding.parts), not finding.own_nets, -min(part.n for part in finding.parts)

    def _in_setting(self, evidence: Evidence, runs: Sequence[Runs]) -> Finding | None:
        finding = super()._in_setting(evidence, runs)
        if finding is None:
            return None
        missing = failed_mixers(evidence, runs, self.free)
        if len(finding.parts) < FEWEST_MIXERS:
            missing.append(f"more than {span_of([len(finding.parts)], 'mixer')}")
        return dataclasses.replace(finding, missing=tuple(missing))


def in_own_nets(runs: Sequence[Runs]) -> bool:
    """Whether no mixer has the usual norm and positions where its search chose others."""
    return all(r.setting["net"] != UNCHOSEN for r in runs)


def failed_mixers(evidence: Evidence, runs: Sequence[Runs], free: Sequence[str]) -> list[str]:
    """ "afno, which failed" for every mixer of the setting of which no run ended."""
    return [f"{mixer}, which failed" for mixer in lost_mixers(evidence, runs, free)]


def lost_mixers(evidence: Evidence, runs: Sequence[Runs], free: Sequence[str] = ()) -> list[str]:
    """The mixers of the setting of which no run ended."""
    fields = all_but(TRAINED_ALIKE, free)
    frame, first = as_compared(evidence.frame, fields), row_as_compared(runs[0].setting, fields)
    alike = held_equal(fields, first)
    failed = frame[(frame["kind"] == "accuracy") & frame["status"].isin(FAILED) & same_rows(frame, first, alike)]
    finished = {r.setting["mixer"] for r in runs}
    return sorted({*failed["mixer"]} - finished)


def accuracy_setting(evidence: Evidence, runs: Sequence[Runs], free: Sequence[str]) -> str:
    first = runs[0].setting
    fields = held_equal([name for name, _, _ in SETTING_WORDS if name not in free], first)
    words = [field_words(name, first[name]) for name in fields if first[name] is not None]
    return ", ".join([evidence.group, *words, span_of([first["epochs"]], "epoch"), f"equal {first['match']}"])
