"""Rules about time and memory over the lengths of sequences."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import pandas as pd

from benchmarks.report.claims.parts import CONTRADICTED, INFINITE, SUPPORTED, Finding, Part
from benchmarks.report.claims.times import exp, latency_setting, paired_sizes, ratio_part, speeds
from benchmarks.report.frame import plain
from benchmarks.report.stats.evidence import Evidence

Pairs = Mapping[int, tuple[pd.Series, pd.Series]]


@dataclasses.dataclass(frozen=True)
class LeastMemory:
    """Whether a mixer's net asks for less memory to train than its rivals' at every length.

    Attributes:
        lengths: in tokens, that have to be measured.
    """

    mixer: str
    rivals: tuple[str, ...]
    lengths: tuple[int, ...]

    def find(self, evidence: Evidence) -> Finding | None:
        beside = {rival: paired_sizes(evidence.frame, self.mixer, rival, failed=True) for rival in self.rivals}
        parts = [part for rival, pairs in beside.items() for part in self._parts(rival, pairs)]
        if not parts:
            return None
        first = next(row for pairs in beside.values() for row, _ in pairs.values())
        missing = tuple(
            f"{rival} at {length:,} tokens"
            for rival, pairs in beside.items()
            for length in self.lengths
            if length not in pairs
        )
        return Finding(tuple(parts), missing, latency_setting(evidence, first), "times", "sizes")

    def _parts(self, rival: str, pairs: Pairs) -> list[Part]:
        found = []
        for tokens, (mine, other) in pairs.items():
            out = [row["status"] == "oom" for row in (mine, other)]
            peaks = [plain(row["peak_memory_bytes"]) for row in (mine, other)]
            if any(out) and not all(out):
                found.append(_ran_out(self.mixer if out[0] else rival, out[0], tokens))
            elif all(peaks) and not any(out):
                ratio = peaks[1] / peaks[0]
                what = f"peak memory of {rival} over {self.mixer}, {tokens:,} tokens"
                found.append(Part(what, ratio, ratio, ratio, 1, (1, INFINITE), fewest=1))
        return found


def _ran_out(name: str, mine: bool, tokens: int) -> Part:
    """Memory beyond all that there is: of no number, and so never the one that is told of a claim that holds."""
    what = f"{name} alone did not fit into memory at {tokens:,} tokens"
    outcome = CONTRADICTED if mine else SUPPORTED
    return Part(what, -INFINITE if mine else INFINITE, None, None, 1, (1, INFINITE), decided=outcome)


@dataclasses.dataclass(frozen=True)
class FasterFrom:
    """Whether nets train faster than a rival's at a length, those before it shown beside."""

    mixers: tuple[str, ...]
    rival: str
    tokens: int
    shown: tuple[int, ...]

    def find(self, evidence: Evidence) -> Finding | None:
        parts: list[Part] = []
        behind: list[Part] = []
        missing, first = [], None
        for mixer in self.mixers:
            pairs = paired_sizes(evidence.frame, mixer, self.rival)
            timed, apart = speeds(pairs)
            note = "timed at different times" if apart else ""
            for length, logs in timed.items():
                what = f"speed of {mixer} over {self.rival}, {length:,} tokens"
                part = ratio_part(what, exp(logs), (1, INFINITE), note, len(self.mixers))
                into = parts if length == self.tokens else behind if length in self.shown else []
                into += [] if part is None else [part]
            if self.tokens not in timed:
                missing.append(f"{mixer} beside {self.rival} at {self.tokens:,} tokens")
            first = first if first is not None or not pairs else next(iter(pairs.values()))[0]
        if first is None or not parts:
            return None
        setting = latency_setting(evidence, first)
        return Finding(tuple(parts), tuple(missing), setting, "times", "sittings", tuple(behind))


@dataclasses.dataclass(frozen=True)
class FasterTheLonger:
    """Whether a net's lead in speed over a rival's grows from each length to the next."""

    mixer: str
    rival: str
    lengths: tuple[int, ...]  # in tokens, that have to be measured

    def find(self, evidence: Evidence) -> Finding | None:
        pairs = paired_sizes(evidence.frame, self.mixer, self.rival)
        timed, apart = speeds(pairs)
        sizes = sorted(timed)
        found = []
        for short, long in itertools.pairwise(sizes):
            growth = {r: timed[long][r] - value for r, value in timed[short].items() if r in timed[long]}
            what = f"speed of {self.mixer} over {self.rival} at {long:,} tokens over that at {short:,}"
            note = "timed at different times" if apart else ""
            found.append(ratio_part(what, exp(growth), (1, INFINITE), note, len(sizes) - 1))
        parts = tuple(part for part in found if part is not None)
        if not parts:
            return None
        missing = tuple(f"{length:,} tokens" for length in self.lengths if length not in timed)
        setting = latency_setting(evidence, next(iter(pairs.values()))[0])
        return Finding(parts, missing, setting, "times", "sittings")
