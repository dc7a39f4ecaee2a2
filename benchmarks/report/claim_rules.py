"""How a claim is held against records: each rule finds its effects, with intervals, in one group of records.

An effect supports a claim if its interval lies wholly inside the claimed range, and contradicts it if wholly outside.
Where a claim needs several comparisons, all must support it, each at 95 %. One of them contradicts it, by an interval
widened for their number (Bonferroni), since one of many may lie outside by chance. Fewer than three seeds or rounds
decide nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from benchmarks.errors import UserError
from benchmarks.report.frame import (
    all_but,
    as_compared,
    held_equal,
    number,
    plain,
    rounds,
    row_as_compared,
    square_ones,
)
from benchmarks.report.notes import SETTING_WORDS
from benchmarks.report.paired import FEWEST_SEEDS, Runs, Sample
from benchmarks.report.predictions import Folders, folders
from benchmarks.report.statistics import (
    FAILED,
    Estimate,
    failed_words,
    mean_interval,
    repeated,
    slopes,
    too_many_failed,
)
from benchmarks.report.tables import TIMED_ALIKE, TRAINED_ALIKE, overlap, preferred, ratios, same_rows
from benchmarks.report.text import clean, span_of

CONFIDENCE = 0.95
FEWEST_MIXERS = 5  # that have to be measured before something is said of every mixer
SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
Range = tuple[float, float]  # what a claim says of an effect: between these
INFINITE = math.inf


@dataclasses.dataclass(frozen=True)
class Part:
    """One comparison of a claim."""

    what: str  # "fft_complex − fft_real"
    effect: float | None
    low: float | None  # None: no interval
    high: float | None
    n: int
    claimed: Range
    denied: Range | None = None  # where the claim is contradicted; None: wherever it is not supported
    wide: Range | None = None  # the interval widened for the number of comparisons; None: the interval itself
    note: str = ""
    decided: str | None = None  # the outcome, where it needs no number
    fewest: int = FEWEST_SEEDS  # or rounds, without which nothing is decided
    failed: str = ""  # the runs behind it that failed, in words
    withheld: bool = False  # too many of them for a verdict

    @property
    def outcome(self) -> str:
        if self.decided is not None:
            return self.decided
        if self.low is None or self.high is None or self.too_few or self.withheld:
            return UNDECIDED
        if self.claimed[0] < self.low and self.high < self.claimed[1]:
            return SUPPORTED
        low, high = self.wide or (self.low, self.high)
        if self.denied is not None:
            return CONTRADICTED if self.denied[0] <= low and high <= self.denied[1] else UNDECIDED
        return CONTRADICTED if self._outside(low, high) else UNDECIDED

    @property
    def too_few(self) -> bool:
        return self.n < self.fewest

    @property
    def beyond(self) -> bool:
        """Whether the interval, not widened, lies wholly outside what is claimed."""
        return self.low is not None and self.high is not None and self._outside(self.low, self.high)

    def _outside(self, low: float, high: float) -> bool:
        return high < self.claimed[0] or low > self.claimed[1]

    @property
    def margin(self) -> float:
        """How far the interval stays inside what is claimed; negative where it does not."""
        if self.effect is None:
            return 0.0
        low, high = (self.effect if end is None else end for end in (self.low, self.high))
        return min(low - self.claimed[0], self.claimed[1] - high)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What records say to one claim in one setting."""

    parts: tuple[Part, ...]
    missing: tuple[str, ...]  # what would be needed too
    setting: str
    unit: str
    counted: str  # what n counts: seeds, rounds, sizes


@dataclasses.dataclass
class Evidence:
    """One group of records: one data set, profile and machine."""

    frame: pd.DataFrame
    results: Folders
    found: dict[str, Finding | None] = dataclasses.field(default_factory=dict)  # by claim, once it was looked for

    @functools.cached_property
    def sample(self) -> Sample:
        return Sample(self.frame, self.results)

    @property
    def group(self) -> str:
        first = self.frame.iloc[0]
        return f"{first['dataset']}, {first['profile']} profile, {clean(first['machine'])}"


class Rule(Protocol):
    """Finds a claim's effects in a group of records; None where nothing of it was measured."""

    def find(self, evidence: Evidence) -> Finding | None: ...


@dataclasses.dataclass(frozen=True)
class Cell:
    """A trained net: a mixer, and fields of the trial in which it differs from others of the comparison."""

    mixer: str
    fields: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return " ".join([self.mixer, *(_words(name, value) for name, value in self.fields)])


def difference(a: Any, b: Any) -> Any:
    return a - b


def share_percent(a: Any, b: Any) -> Any:
    return 100 * a / b


def over_midpoint(a: Any, low: Any, high: Any) -> Any:
    return a - (low + high) / 2


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A function of the mean accuracies of some nets, and what is claimed of it."""

    cells: tuple[Cell, ...]
    claimed: Range
    function: Callable[..., Any] = difference
    what: str = ""

    def __str__(self) -> str:
        return self.what or " − ".join(map(str, self.cells))


@dataclasses.dataclass(frozen=True)
class Accuracies:
    """Accuracies of nets trained alike but for the mixer and the `free` fields."""

    contrasts: tuple[Contrast, ...]
    free: tuple[str, ...] = ()
    unit: str = "points"
    condition: Contrast | None = None  # must hold first, or there is nothing to judge

    def wanted(self, runs: Sequence[Runs]) -> Sequence[Contrast]:
        return self.contrasts

    def find(self, evidence: Evidence) -> Finding | None:
        found = [self._in_setting(evidence, runs) for runs in evidence.sample.settings(self.free)]
        ready = [finding for finding in found if finding is not None]
        return min(ready, key=self.rank) if ready else None

    def rank(self, finding: Finding) -> tuple[int, int]:
        """Smallest in the setting that says most: the claim whole, then many seeds; never what the outcome is."""
        return len(finding.missing), -min(part.n for part in finding.parts)

    def _in_setting(self, evidence: Evidence, runs: Sequence[Runs]) -> Finding | None:
        latest_last = sorted(runs, key=lambda r: r.setting["mixer_version"])
        by_cell = {Cell(r.setting["mixer"], tuple((f, r.setting[f]) for f in self.free)): r for r in latest_last}
        contrasts, parts = self.wanted(runs), []
        missing: list[str] = []
        for contrast in contrasts:
            lacking = [cell for cell in contrast.cells if cell not in by_cell]
            missing += [f"{cell}{', which failed' if self._lost(evidence, runs, cell) else ''}" for cell in lacking]
            if not lacking:
                mixers = [by_cell[cell] for cell in contrast.cells]
                interval = functools.partial(evidence.sample.interval, contrast.function, *mixers)
                part = _part(str(contrast), lambda c: interval(confidence=c), contrast.claimed, len(contrasts))  # noqa: B023
                if part is not None:
                    parts.append(part)
        if not parts:
            return None
        if self.condition is not None:
            mixers = [by_cell[cell] for cell in self.condition.cells]
            interval = functools.partial(evidence.sample.interval, self.condition.function, *mixers)
            condition = _part("", lambda c: interval(confidence=c), self.condition.claimed)
            if condition is None or condition.outcome != SUPPORTED:
                parts = [dataclasses.replace(p, low=None, high=None, note=str(self.condition)) for p in parts]
        setting = _accuracy_setting(evidence, runs, self.free)
        return Finding(tuple(parts), tuple(dict.fromkeys(missing)), setting, self.unit, "seeds")

    def _lost(self, evidence: Evidence, runs: Sequence[Runs], cell: Cell) -> bool:
        """Whether every run of a cell failed, in the setting of these."""
        fields = all_but(TRAINED_ALIKE, self.free)
        setting = row_as_compared(runs[0].setting, fields)
        wanted = {name: setting[name] for name in held_equal(fields, setting)}
        wanted |= {**dict(cell.fields), "mixer": cell.mixer}
        lost = [row_as_compared(one.setting, fields) for one in evidence.sample.lost]
        return any(all(one[name] == value for name, value in wanted.items()) for one in lost)


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
        pairs = [(Cell(mixer, self.mine), Cell(self.against or mixer, self.other)) for mixer in mixers]
        here = {Cell(r.setting["mixer"], tuple((f, r.setting[f]) for f in self.free)) for r in runs}
        return [Contrast(pair, self.claimed) for pair in pairs if set(pair) <= here]

    def rank(self, finding: Finding) -> tuple[int, int]:
        return -len(finding.parts), -min(part.n for part in finding.parts)

    def _in_setting(self, evidence: Evidence, runs: Sequence[Runs]) -> Finding | None:
        finding = super()._in_setting(evidence, runs)
        if finding is None:
            return None
        fields = all_but(TRAINED_ALIKE, self.free)
        frame, first = as_compared(evidence.frame, fields), row_as_compared(runs[0].setting, fields)
        alike = held_equal(fields, first)
        failed = frame[(frame["kind"] == "accuracy") & (frame["status"] != "ok") & same_rows(frame, first, alike)]
        finished = {r.setting["mixer"] for r in runs}
        missing = [f"{mixer}, which failed" for mixer in sorted({*failed["mixer"]} - finished)]
        if len(finding.parts) < FEWEST_MIXERS:
            missing.append(f"more than {span_of([len(finding.parts)], 'mixer')}")
        return dataclasses.replace(finding, missing=tuple(missing))


@dataclasses.dataclass(frozen=True)
class TrainingSpeed:
    """How many times as fast as attention a mixer's net trains, forward and backward, every pixel a token."""

    mixer: str
    rival: str
    tokens: int
    times: float  # claimed at `tokens`; and more at the largest size

    def find(self, evidence: Evidence) -> Finding | None:
        logs: dict[int, dict[int, float]] = {}
        apart = False
        pairs = paired_sizes(evidence.frame, self.mixer, self.rival)
        for tokens, (mine, rival) in pairs.items():
            found = ratios(rival, mine, "forward_backward_ms", "forward_backward_ms")
            if found:
                logs[tokens] = {r: math.log(value) for r, value in found.items()}
                apart |= not overlap(mine, rival)
        timed = repeated(logs)
        here = interpolate(timed, self.tokens)
        if here is None:
            return None
        between = "" if self.tokens in timed else "interpolated between the sizes measured"
        note = "; ".join(filter(None, [between, "timed at different times" if apart else ""]))
        what = f"speed of {self.mixer} over {self.rival}, {self.tokens} tokens"
        parts = [_ratio_part(what, here.values(), (self.times, INFINITE), note)]
        largest = max(timed)
        if largest > self.tokens:
            growth = [timed[largest][r] - here[r] for r in sorted(here) if r in timed[largest]]
            what = f"the same at {largest:,} tokens over that at {self.tokens}"
            parts.append(_ratio_part(what, growth, (1, INFINITE), note))
        missing = () if largest > self.tokens else (f"more than {self.tokens} tokens",)
        known = tuple(part for part in parts if part is not None)
        setting = _latency_setting(evidence, next(iter(pairs.values()))[0])
        return Finding(known, missing, setting, "times", "rounds") if known else None


@dataclasses.dataclass(frozen=True)
class MemoryFirst:
    """Whether attention runs out of memory where the mixer does not, at the same size and batch.

    Where neither ran out, peaks of the training step decide: attention's over the mixer's, at the largest size.
    """

    mixer: str
    rival: str
    times: float  # from which on attention runs out one doubling of the batch earlier

    def find(self, evidence: Evidence) -> Finding | None:
        pairs = paired_sizes(evidence.frame, self.mixer, self.rival, failed=True)
        if not pairs:
            return None
        setting = _latency_setting(evidence, next(iter(pairs.values()))[0])
        for tokens, (mine, rival) in pairs.items():
            out = [row["status"] == "oom" for row in (mine, rival)]
            if any(out) and not all(out):
                first, outcome = (self.mixer, CONTRADICTED) if out[0] else (self.rival, SUPPORTED)
                what = f"{first} alone did not fit into memory at {tokens:,} tokens"
                part = Part(what, None, None, None, 1, (self.times, INFINITE), decided=outcome)
                return Finding((part,), (), setting, "times", "sizes")
        peaks = {
            tokens: rival["peak_memory_bytes"] / mine["peak_memory_bytes"]
            for tokens, (mine, rival) in pairs.items()
            if plain(mine["peak_memory_bytes"]) and plain(rival["peak_memory_bytes"])
        }
        if not peaks:
            return None
        ratio, smallest, largest = peaks[max(peaks)], min(peaks), max(peaks)
        note = f"none ran out; {peaks[smallest]:.1f} times at {smallest:,} tokens"
        what = f"peak memory of {self.rival} over {self.mixer}, {largest:,} tokens"
        part = Part(what, ratio, ratio, ratio, len(peaks), (self.times, INFINITE), (0, 1), note=note, fewest=1)
        return Finding((part,), (), setting, "times", "sizes")


@dataclasses.dataclass(frozen=True)
class GrowsAsNLogN:
    """Slope of log time over log tokens of each mixer of a family, alone and forward, against that of N log N."""

    family: str
    tolerance: float  # of the exponent

    def find(self, evidence: Evidence) -> Finding | None:
        timed = evidence.frame[(evidence.frame["kind"] == "latency") & (evidence.frame["family"] == self.family)]
        found: dict[str, tuple[list[float], float, float, Any]] = {}
        for label, rows in square_ones(timed).groupby("label", sort=True):
            chosen = one_setting(rows[(rows["patch_size"] == 1) & (rows["status"] == "ok")])
            by_tokens = {
                int(row["tokens"]): {
                    r: ms / number(row["batch_size"]) for r, ms in rounds(row, "mixer_forward_ms").items()
                }
                for _, row in chosen.iterrows()
            }
            by_tokens = {tokens: values for tokens, values in by_tokens.items() if values}
            of_rounds = slopes(by_tokens)
            if len(of_rounds) > 1:
                found[str(label)] = (of_rounds, min(by_tokens), max(by_tokens), chosen.iloc[0])
        parts = []
        for label, (of_rounds, smallest, largest, _) in found.items():
            grown = math.log(math.log(largest) / math.log(smallest)) / math.log(largest / smallest)
            what = f"exponent of {label}, {smallest:,} to {largest:,} tokens (N log N: {1 + grown:.2f})"
            interval = functools.partial(mean_interval, of_rounds)
            part = _part(what, interval, (-INFINITE, 1 + grown + self.tolerance), len(found))
            if part is not None:
                parts.append(part)
        if not parts:
            return None
        setting = _latency_setting(evidence, next(iter(found.values()))[3])
        return Finding(tuple(parts), (), setting, "exponent", "rounds")


@dataclasses.dataclass(frozen=True)
class DepthWithoutNorm:
    """The first source's own net, deep, without normalisation: its accuracy as a share of that with it.

    Read from `spectracles.json`, which is no record of the suite's own net.
    """

    depth: int
    below_percent: float

    def find(self, evidence: Evidence) -> Finding | None:
        by_setting: dict[str, dict[str, dict[int, float]]] = {}
        failed: dict[tuple[str, str], int] = {}
        for entry in _spectracles_runs(evidence.results):
            settings = dict(entry["settings"])
            over, seed = settings.pop("standardize"), settings.pop("seed")
            top1 = entry["metrics"].get("test_top1_percent")
            key = json.dumps(settings, sort_keys=True)
            if entry["status"] in FAILED:
                failed[key, str(over)] = failed.get((key, str(over)), 0) + 1
            if entry["status"] == "ok" and settings["depth"] >= self.depth and top1 is not None:
                by_setting.setdefault(key, {}).setdefault(str(over), {})[seed] = top1
        found = []
        for key, by_norm in sorted(by_setting.items()):
            without, normed = by_norm.get("none", {}), by_norm.get("chw", {})
            shares = [share_percent(without[s], normed[s]) for s in sorted(without) if normed.get(s)]
            settings = json.loads(key)
            what = "accuracy without normalisation over that with it"
            part = _part(what, functools.partial(mean_interval, shares), (-INFINITE, self.below_percent))
            if part is not None:
                sides = {"without": (len(without), failed.get((key, "none"), 0))}
                sides["with"] = (len(normed), failed.get((key, "chw"), 0))
                lost = [f"{side}: {failed_words(*counts)}" for side, counts in sides.items() if counts[1]]
                too_many = any(too_many_failed(*counts) for counts in sides.values())
                part = dataclasses.replace(part, failed="; ".join(lost), withheld=too_many)
                words = f"cifar100, Spectracles width {settings['width']}, depth {settings['depth']}"
                setting = f"{words}, layout {settings['layout']}, {span_of([settings['epochs']], 'epoch')}"
                found.append(Finding((part,), (), setting, "%", "seeds"))
        return min(found, key=lambda finding: -finding.parts[0].n) if found else None


def paired_sizes(
    frame: pd.DataFrame, mixer: str, rival: str, failed: bool = False
) -> dict[int, tuple[pd.Series, pd.Series]]:
    """By token count, the latency records of two mixers in one setting and with one batch, every pixel a token.

    Args:
        failed: also sizes at which one of them ran out of memory.
    """
    timed = frame[(frame["kind"] == "latency") & (frame["patch_size"] == 1)]
    statuses = ("ok", "oom") if failed else ("ok",)
    timed = timed[timed["status"].isin(statuses)]
    mine, theirs = (timed[timed["mixer"] == name] for name in (mixer, rival))
    beside: dict[Any, pd.Series] = {}
    for _, other in preferred(theirs).iterrows():
        beside.setdefault(tuple(plain(other[f]) for f in (*TIMED_ALIKE, "batch_size")), other)
    both = [tuple(plain(row[f]) for f in (*TIMED_ALIKE, "batch_size")) in beside for _, row in mine.iterrows()]
    pairs = {}
    for _, row in one_setting(mine[pd.Series(both, index=mine.index, dtype=bool)]).iterrows():
        pairs[int(row["tokens"])] = (row, beside[tuple(plain(row[f]) for f in (*TIMED_ALIKE, "batch_size"))])
    return dict(sorted(pairs.items()))


def one_setting(rows: pd.DataFrame) -> pd.DataFrame:
    """Of one mixer's latency records those of one setting, image size apart: eager float32 before others."""
    if rows.empty:
        return rows
    ordered = preferred(rows)
    fields = [name for name in TIMED_ALIKE if name != "image_size"]
    keys = [tuple(plain(row[f]) for f in fields) for row in ordered.to_dict("records")]
    most = max(keys, key=lambda key: (keys.count(key) > 1, -keys.index(key)))
    chosen = ordered[[key == most for key in keys]]
    return chosen.sort_values("tokens", kind="stable").drop_duplicates("image_size")


def interpolate(values: Mapping[int, Mapping[int, float]], tokens: int) -> dict[int, float] | None:
    """Values by round at a token count, linear in log tokens between the nearest measured; None outside of them."""
    if tokens in values:
        return dict(values[tokens])
    below, above = [t for t in values if t < tokens], [t for t in values if t > tokens]
    if not below or not above:
        return None
    left, right = max(below), min(above)
    share = math.log(tokens / left) / math.log(right / left)
    common = sorted(set(values[left]) & set(values[right]))
    return {r: (1 - share) * values[left][r] + share * values[right][r] for r in common}


def _part(
    what: str, interval: Callable[[float], Estimate | None], claimed: Range, comparisons: int = 1, note: str = ""
) -> Part | None:
    """One comparison of several, from an interval at any confidence; None where there is no estimate."""
    estimate, widened = interval(CONFIDENCE), interval(1 - (1 - CONFIDENCE) / comparisons)
    if estimate is None or widened is None:
        return None
    wide = None if widened.low is None or widened.high is None else (widened.low, widened.high)
    return Part(
        what, estimate.value, estimate.low, estimate.high, estimate.n, claimed, wide=wide, note=note,
        failed=estimate.failed, withheld=estimate.withheld,
    )  # fmt: skip


def _ratio_part(what: str, logs: Iterable[float], claimed: Range, note: str) -> Part | None:
    """One of two comparisons of times: the geometric mean of ratios by round, from their logarithms."""
    values = list(logs)

    def interval(confidence: float) -> Estimate | None:
        found = mean_interval(values, confidence)
        if found is None:
            return None
        low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
        return Estimate(math.exp(found.value), low, high, found.n)

    return _part(what, interval, claimed, 2, note)


def _accuracy_setting(evidence: Evidence, runs: Sequence[Runs], free: Sequence[str]) -> str:
    first = runs[0].setting
    fields = held_equal([name for name, _, _ in SETTING_WORDS if name not in free], first)
    words = [_words(name, first[name]) for name in fields]
    return ", ".join([evidence.group, *words, span_of([first["epochs"]], "epoch"), f"equal {first['match']}"])


def _latency_setting(evidence: Evidence, row: pd.Series) -> str:
    words = [_words(name, row[name]) for name in ("patch_size", "dim", "depth")]
    how = "compiled" if row["compiled"] else "eager"
    return ", ".join([evidence.group, *words, str(row["precision"]), how, span_of([row["threads"]], "thread")])


def _words(name: str, value: Any) -> str:
    for field, noun, unit in SETTING_WORDS:
        if name == field:
            return f"{noun} {value}{unit}"
    return f"{name} {value}"


def _spectracles_runs(results: Folders) -> list[dict[str, Any]]:
    runs = []
    for path in (Path(folder) / "spectracles.json" for folder in folders(results)):
        if path.is_file():
            try:
                runs += list(json.loads(path.read_text(encoding="utf-8"))["runs"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path.name} cannot be read ({error!r}); move it out of {path.parent}") from error
    return runs
