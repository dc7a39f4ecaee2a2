"""What every rule of a claim is made of: comparisons with intervals, what records say, and the records themselves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.intervals import Estimate
from benchmarks.report.stats.paired import FEWEST_SEEDS

CONFIDENCE = 0.95
FEWEST_MIXERS = 5  # that have to be measured before something is said of every mixer
SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
Range = tuple[float, float]  # what a claim says of an effect: between these
INFINITE = math.inf
NOWHERE: Range = (-INFINITE, -INFINITE)  # the range that contradicts, of a comparison that cannot
FNET = "FNet (Lee-Thorp et al., arXiv 2105.03824), 2021"
FNET_ON = "text: GLUE after pre-training, 512 tokens, FNet-Base beside BERT-Base, GPUs (V100) and TPUs"


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
    stuck: bool = False  # no net of it is above what a trivial predictor reaches

    @property
    def outcome(self) -> str:
        if self.decided is not None:
            return self.decided
        if self.low is None or self.high is None or self.too_few or self.withheld or self.stuck:
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
    counted: str  # what n counts: seeds, rounds, sizes, mixers
    behind: tuple[Part, ...] = ()  # what the parts are made of; decides nothing by itself
    needed: tuple[str, ...] = ()  # without which nothing is decided, not even against the claim
    own_nets: bool = True  # each mixer with the norm and positions of its choice; else with the usual ones all the same


class Rule(Protocol):
    """Finds a claim's effects in a group of records; None where nothing of it was measured."""

    def find(self, evidence: Evidence) -> Finding | None: ...


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim and what decides it.

    Attributes:
        made_on: data, size and hardware behind the claim in its source.
        measurement: what decides it here, in words.
        threshold: where it begins to hold, in words; the rule has it in numbers.
        trials: fields of the trials that are needed.
        command: what measures them.
        task: whose records alone bear on it, images or sequences; None: both.
    """

    id: str
    text: str
    source: str
    made_on: str
    measurement: str
    threshold: str
    trials: Mapping[str, Any]
    command: str
    rule: Rule
    task: str | None = None


def make_part(
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
