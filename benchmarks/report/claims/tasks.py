"""Rules about what nets can do of tasks of sequences, beside predictors that are no nets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from benchmarks.report.baselines import SOLVED_PERCENT
from benchmarks.report.claims.parts import INFINITE, Finding, Part, Range, make_part
from benchmarks.report.claims.rules import Accuracies, Arm, Contrast, Floor, floor_of, left_baseline
from benchmarks.report.stats.compared import Comparison
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.intervals import Estimate
from benchmarks.report.stats.paired import Runs
from benchmarks.report.wording import listing

Side = tuple[Evidence, list[Runs]]  # nets of one task, trained alike


def over(floor: Floor, mixer: str) -> Contrast:
    """How far a net lies above a trivial predictor."""
    return Contrast((Arm(mixer),), (0, INFINITE), lambda top1: top1 - floor[1], f"{mixer} − {floor[0]}")


@dataclasses.dataclass(frozen=True)
class OfTasks(Accuracies):
    """Accuracies on some tasks alone."""

    tasks: tuple[str, ...] = ()

    def find(self, evidence: Evidence) -> Finding | None:
        return super().find(evidence) if evidence.frame.iloc[0]["dataset"] in self.tasks else None


@dataclasses.dataclass(frozen=True)
class CannotWithout(OfTasks):
    """Whether mixers stay at what a trivial predictor reaches where another solves the task.

    Attributes:
        solver: that has to solve it.
        fixed: that must not, of which those in `needed` have to be measured.
        points: so many above the predictor and more are a thing learned.
    """

    contrasts: tuple[Contrast, ...] = ()
    solver: str = "attention"
    fixed: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    points: float = 5

    def _in_setting(self, evidence: Evidence, runs: Sequence[Runs]) -> Finding | None:
        floor = floor_of(evidence, runs) or ("chance", 0.0)
        here = [arm.mixer for arm in self.arms(runs)]
        wanted = [mixer for mixer in self.fixed if mixer in here or mixer in self.needed]
        stay = [dataclasses.replace(over(floor, mixer), claimed=(-INFINITE, self.points)) for mixer in wanted]
        rule = Accuracies((over(("solved, 95 %", SOLVED_PERCENT), self.solver), *stay))
        return rule._in_setting(evidence, runs)


@dataclasses.dataclass(frozen=True)
class OverTasks:
    """The mean accuracy over several tasks of one net as a share of its rivals', in percent.

    Tasks count in which one of the two has left its baseline; each at the setting in which both have most seeds.

    Attributes:
        tasks: names of data sets; of several in a row the first that was measured counts.
    """

    mixer: str
    rivals: tuple[str, ...]
    tasks: tuple[tuple[str, ...], ...]
    claimed: Range

    def find(self, evidence: Evidence) -> Finding | None:
        return self.over([evidence])

    def over(self, several: Sequence[Evidence]) -> Finding | None:
        """From all tasks of one profile and machine."""
        parts: list[Part] = []
        missing: list[str] = []
        for rival in self.rivals:
            sides = [self._side(several, names, rival) for names in self.tasks]
            missing += [f"{rival} and {self.mixer} on {' or '.join(names)}"
                        for names, side in zip(self.tasks, sides, strict=True) if side is None]  # fmt: skip
            parts += self._part(rival, [side for side in sides if side is not None])
        if not parts:
            return None
        first = several[0].frame.iloc[0]
        setting = f"mean over tasks, {first['profile']} profile, {first['machine']}"
        return Finding(tuple(parts), tuple(missing), setting, "%", "seeds")

    def _side(self, several: Sequence[Evidence], names: Sequence[str], rival: str) -> Side | None:
        for name in names:
            found: list[Side] = []
            for evidence in (one for one in several if one.frame.iloc[0]["dataset"] == name):
                for runs in evidence.sample.settings():
                    by_mixer = {one.setting["mixer"]: one for one in runs}
                    if self.mixer in by_mixer and rival in by_mixer:
                        found.append((evidence, [by_mixer[self.mixer], by_mixer[rival]]))
            if found:
                return max(found, key=lambda side: min(len(one.top1) for one in side[1]))
        return None

    def _part(self, rival: str, sides: Sequence[Side]) -> list[Part]:
        ready = [side for side in sides if left_baseline(*side)]
        stuck = [_dataset(side) for side in sides if not left_baseline(*side)]
        if not ready:
            return []
        names = listing(list(map(_dataset, ready)))
        note = f"without {listing(stuck)}, where neither is above its baseline" if stuck else ""
        what = f"{self.mixer} / {rival}, mean of {names}"
        part = make_part(what, lambda c: share_of_means(ready, c), self.claimed, len(self.rivals), note)
        return [] if part is None else [part]


def _dataset(side: Side) -> str:
    return str(side[0].frame.iloc[0]["dataset"])


def share_of_means(sides: Sequence[Side], confidence: float) -> Estimate:
    """100 times the sum over tasks of the first nets' means over that of the second's, by the delta method."""
    tops = [[math.fsum(one.top1.values()) / len(one.top1) for one in runs] for _, runs in sides]
    mine, rival = (math.fsum(column) for column in zip(*tops, strict=True))
    first, second = 100 / rival, -100 * mine / rival**2
    compared = [evidence.sample.comparison(lambda a, b: first * a + second * b, *runs) for evidence, runs in sides]
    known = [one for one in compared if one is not None]
    low, high = _sum(known, 100 * mine / rival).interval(confidence) if len(known) == len(sides) else (None, None)
    every = [one for _, runs in sides for one in runs]
    failed = "; ".join(dict.fromkeys(one.failed_words for one in every if one.failed))
    n = min(len(one.top1) for one in every)
    return Estimate(100 * mine / rival, low, high, n, failed, any(one.withheld for one in every))


def _sum(parts: Sequence[Comparison], value: float) -> Comparison:
    """Of independent parts (Welch, 1947; Satterthwaite, 1946)."""
    squares = [part.of_seeds**2 for part in parts]
    doubt = math.fsum(v**2 / part.df for v, part in zip(squares, parts, strict=True))
    df = math.fsum(squares) ** 2 / doubt if doubt else min(part.df for part in parts)
    images = math.sqrt(math.fsum(part.of_images**2 for part in parts))
    return Comparison(value, math.sqrt(math.fsum(squares)), df, images, min(part.n for part in parts))
