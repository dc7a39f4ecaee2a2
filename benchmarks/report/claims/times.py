"""Rules about time and memory: how fast a net trains, who runs out of memory first, how time grows."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from benchmarks.ratios import Ratio, over_sittings, ratio_of
from benchmarks.report.alike import SWEPT_ALIKE, TIMED_ALIKE
from benchmarks.report.choose import overlap, preferred
from benchmarks.report.claims.parts import CONTRADICTED, INFINITE, SUPPORTED, Finding, Part, Range, make_part
from benchmarks.report.frame import number, plain, rounds, square_ones
from benchmarks.report.notes import field_words
from benchmarks.report.sizes import SEQUENCES, row_extent
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.intervals import Estimate, repeated, slopes_by_round
from benchmarks.report.tables.latency import ratios
from benchmarks.report.wording import span_of


@dataclasses.dataclass(frozen=True)
class TrainingSpeed:
    """How many times as fast as attention a mixer's net trains, forward and backward, every pixel a token."""

    mixer: str
    rival: str
    tokens: int
    times: float  # claimed at `tokens`; and more at the largest size

    def find(self, evidence: Evidence) -> Finding | None:
        pairs = paired_sizes(evidence.frame, self.mixer, self.rival)
        timed, apart = speeds(pairs)
        here = interpolate(timed, self.tokens)
        if here is None:
            return None
        between = "" if self.tokens in timed else "interpolated between the sizes measured"
        note = "; ".join(filter(None, [between, "timed at different times" if apart else ""]))
        what = f"speed of {self.mixer} over {self.rival}, {self.tokens} tokens"
        parts = [ratio_part(what, exp(here), (self.times, INFINITE), note)]
        largest = max(timed)
        if largest > self.tokens:
            growth = {r: timed[largest][r] - here[r] for r in sorted(here) if r in timed[largest]}
            what = f"the same at {largest:,} tokens over that at {self.tokens}"
            parts.append(ratio_part(what, exp(growth), (1, INFINITE), note))
        missing = () if largest > self.tokens else (f"more than {self.tokens} tokens",)
        known = tuple(part for part in parts if part is not None)
        setting = latency_setting(evidence, next(iter(pairs.values()))[0])
        return Finding(known, missing, setting, "times", "sittings") if known else None


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
        setting = latency_setting(evidence, next(iter(pairs.values()))[0])
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
        found: dict[str, tuple[dict[int, float], float, float, Any]] = {}
        for label, rows in square_ones(timed).groupby("label", sort=True):
            chosen = one_setting(rows[one_a_token(rows) & (rows["status"] == "ok")])
            by_tokens = {
                int(row["tokens"]): {
                    r: ms / number(row["batch_size"]) for r, ms in rounds(row, "mixer_forward_ms").items()
                }
                for _, row in chosen.iterrows()
            }
            by_tokens = {tokens: values for tokens, values in by_tokens.items() if values}
            of_rounds = slopes_by_round(by_tokens)
            if len(of_rounds) > 1:
                found[str(label)] = (of_rounds, min(by_tokens), max(by_tokens), chosen.iloc[0])
        parts = []
        for label, (of_rounds, smallest, largest, _) in found.items():
            grown = math.log(math.log(largest) / math.log(smallest)) / math.log(largest / smallest)
            what = f"exponent of {label}, {smallest:,} to {largest:,} tokens (N log N: {1 + grown:.2f})"
            interval = _settled(functools.partial(over_sittings, of_rounds))
            part = make_part(what, interval, (-INFINITE, 1 + grown + self.tolerance), len(found))
            if part is not None:
                parts.append(part)
        if not parts:
            return None
        setting = latency_setting(evidence, next(iter(found.values()))[3])
        return Finding(tuple(parts), (), setting, "exponent", "sittings")


def one_a_token(rows: pd.DataFrame) -> pd.Series:
    """Which rows are of images whose pixels are the tokens, or of sequences."""
    return (rows["patch_size"] == 1) | rows["length"].notna()


def paired_sizes(
    frame: pd.DataFrame, mixer: str, rival: str, failed: bool = False
) -> dict[int, tuple[pd.Series, pd.Series]]:
    """By token count, the latency records of two mixers in one setting and one batch: pixels as tokens, or sequences.

    Args:
        failed: also sizes at which one of them ran out of memory.
    """
    timed = frame[(frame["kind"] == "latency") & one_a_token(frame)]
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
    """Of one mixer's latency records those of one setting, size apart: eager float32 before others."""
    if rows.empty:
        return rows
    ordered = preferred(rows)
    keys = [tuple(plain(row[f]) for f in SWEPT_ALIKE) for row in ordered.to_dict("records")]
    most = max(keys, key=lambda key: (keys.count(key) > 1, -keys.index(key)))
    chosen = ordered[[key == most for key in keys]]
    return chosen.sort_values("tokens", kind="stable").drop_duplicates("tokens")


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


def speeds(pairs: Mapping[int, tuple[pd.Series, pd.Series]]) -> tuple[dict[int, Mapping[int, float]], bool]:
    """By token count and round the logarithm of how many times as fast the first of a pair trains.

    Returns:
        These, and whether some of the two were timed at different times.
    """
    logs: dict[int, dict[int, float]] = {}
    apart = False
    for tokens, (mine, rival) in pairs.items():
        found = ratios(rival, mine, "forward_backward_ms", "forward_backward_ms")
        if found:
            logs[tokens] = {r: math.log(value) for r, value in found.items()}
            apart |= not overlap(mine, rival)
    return repeated(logs), apart


def ratio_part(
    what: str, by_round: Mapping[int, float], claimed: Range, note: str, comparisons: int = 2
) -> Part | None:
    """One of several comparisons of times, from ratios by round."""
    return make_part(what, _settled(functools.partial(ratio_of, by_round)), claimed, comparisons, note)


def exp(logs: Mapping[int, float]) -> dict[int, float]:
    return {r: math.exp(value) for r, value in logs.items()}


def _settled(estimate: Callable[[float], Ratio | None]) -> Callable[[float], Estimate | None]:
    """An interval at any confidence, its n the sittings: of fewer than three there are too few for a verdict."""

    def interval(confidence: float) -> Estimate | None:
        found = estimate(confidence)
        return None if found is None else Estimate(found.value, found.low, found.high, found.sittings)

    return interval


def latency_setting(evidence: Evidence, row: pd.Series) -> str:
    sizes = ("dim", "depth") if row_extent(row) is SEQUENCES else ("patch_size", "dim", "depth")
    words = [field_words(name, row[name]) for name in sizes]
    how = "compiled" if row["compiled"] else "eager"
    return ", ".join([evidence.group, *words, str(row["precision"]), how, span_of([row["threads"]], "thread")])
