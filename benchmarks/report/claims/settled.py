"""What is settled and what is not: which statements hold after five epochs, after a hundred, on a GPU.

The statements and what settles them are data, written before the long runs. A statement is made of pairs of mixers
trained alike, one said to be above the other in test top-1. Yes: every pair's 95 % interval lies above 0. No: one
pair's lies below 0, widened for the number of pairs (Bonferroni). Open: neither, or a net of a pair failed in all runs.
Fewer than three seeds settle nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.contract.facts.devices import DEVICES
from benchmarks.contract.record import write_text
from benchmarks.report.claims.parts import CONTRADICTED, INFINITE, SUPPORTED, Part, make_part
from benchmarks.report.claims.rules import accuracy_setting, difference, in_own_nets, lost_mixers
from benchmarks.report.claims.verdicts import effect_text
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.paired import Runs
from benchmarks.report.tables.convergence import long_runs
from benchmarks.report.tables.convergence_files import cells_markdown
from benchmarks.report.wording import clean, csv_text, listing, markdown, span_of

YES, NO, OPEN, NOT_MEASURED = "yes", "no", "open", "not measured"
ALL_OTHERS = "*"
RULE = (
    "Yes: every pair's 95 % interval of test top-1 lies above 0. No: one lies below 0, widened for the number of "
    "pairs. Open: neither, or a mixer of a pair failed in all its runs. Fewer than three seeds settle nothing. "
    "Shown is the pair that decides, in the setting with most pairs."
)


@dataclasses.dataclass(frozen=True)
class Statement:
    """Mixers said to be above others.

    Attributes:
        fewest: pairs without which the statement is not measured.
    """

    text: str
    ahead: tuple[str, ...]
    behind: tuple[str, ...]
    fewest: int

    def pairs(self, mixers: Sequence[str]) -> list[tuple[str, str]]:
        behind = [m for m in mixers if m not in self.ahead] if ALL_OTHERS in self.behind else self.behind
        return [(a, b) for a in self.ahead for b in behind if a in mixers and b in mixers]


STATEMENTS = (
    Statement("Attention is above every other mixer.", ("attention",), (ALL_OTHERS,), 3),
    Statement("A learned matrix (linear) is above fixed transforms.", ("linear",), ("dct", "fft_real"), 2),
    Statement("Fixed transforms are above no mixing (conv1x1).", ("dct", "fft_real"), ("conv1x1",), 2),
    Statement(
        "Keeping the imaginary part helps (fft_complex, fft_pairs above fft_real).",
        ("fft_complex", "fft_pairs"),
        ("fft_real",),
        2,
    ),
)
PLACES: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "at five epochs": lambda setting: setting["epochs"] == 5 and setting["device"] == "cpu",
    "at a hundred": lambda setting: (setting["epochs"] or 0) >= 100 and setting["device"] == "cpu",
    "on a GPU": lambda setting: DEVICES[setting["device"]].is_gpu,
}


@dataclasses.dataclass(frozen=True)
class Answer:
    """Whether a statement holds in one place."""

    statement: Statement
    place: str
    outcome: str  # yes, no, open or not measured
    part: Part | None = None  # the pair that decides
    setting: str = ""
    pairs: int = 0
    failed: tuple[str, ...] = ()  # mixers of further pairs, of which no run ended
    own_nets: bool = True  # each mixer with the norm and positions of its choice

    @property
    def words(self) -> str:
        """ "yes: linear − dct +3.1 points (+2.0 to +4.2), 3 seeds, of 2 pairs"."""
        if self.part is None:
            return self.outcome
        effect = f"{self.part.what} {effect_text(self.part, 'points')}, {span_of([self.part.n], 'seed')}"
        failed = f"; all runs of {listing(self.failed)} failed" if self.failed else ""
        return f"{self.outcome}: {effect}, of {span_of([self.pairs], 'pair')}{failed}"


def settled(evidence: Sequence[Evidence]) -> list[Answer]:
    """Every statement in every place, from groups of records."""
    return [_answer(statement, place, evidence) for statement in STATEMENTS for place in PLACES]


def _answer(statement: Statement, place: str, evidence: Sequence[Evidence]) -> Answer:
    found = [answer for group in evidence for answer in _in_group(statement, place, group)]
    nothing = Answer(statement, place, NOT_MEASURED)
    return min(found, key=lambda a: (-a.pairs, not a.own_nets, -(a.part.n if a.part else 0)), default=nothing)


def _in_group(statement: Statement, place: str, evidence: Evidence) -> list[Answer]:
    answers = []
    for runs in evidence.sample.settings():
        if PLACES[place](runs[0].setting):
            parts = _parts(statement, evidence, runs)
            if len(parts) >= statement.fewest:
                setting = accuracy_setting(evidence, runs, ())
                failed = _failed(statement, evidence, runs)
                outcome = _outcome(parts, failed)
                answers.append(Answer(statement, place, *outcome, setting, len(parts), failed, in_own_nets(runs)))
    return answers


def _parts(statement: Statement, evidence: Evidence, runs: Sequence[Runs]) -> list[Part]:
    latest = {str(r.setting["mixer"]): r for r in sorted(runs, key=lambda r: r.setting["mixer_version"])}
    pairs = statement.pairs(sorted(latest))
    found = [_part(evidence, latest[one], latest[other], len(pairs)) for one, other in pairs]
    return [part for part in found if part is not None]


def _part(evidence: Evidence, one: Runs, other: Runs, pairs: int) -> Part | None:
    interval = functools.partial(evidence.sample.interval, difference, one, other)
    what = f"{one.setting['mixer']} − {other.setting['mixer']}"
    return make_part(what, lambda confidence: interval(confidence=confidence), (0, INFINITE), pairs)


def _failed(statement: Statement, evidence: Evidence, runs: Sequence[Runs]) -> tuple[str, ...]:
    """The mixers of the statement's pairs of which every run failed."""
    here = {str(r.setting["mixer"]) for r in runs}
    lost = set(lost_mixers(evidence, runs))
    named = {mixer for pair in statement.pairs(sorted(here | lost)) for mixer in pair}
    return tuple(sorted(named & lost))


def _outcome(parts: Sequence[Part], failed: Sequence[str]) -> tuple[str, Part]:
    against = [part for part in parts if part.outcome == CONTRADICTED]
    open_ = [part for part in parts if part.outcome not in (CONTRADICTED, SUPPORTED)]
    outcome = NO if against else OPEN if open_ or failed else YES
    return outcome, min(against or open_ or parts, key=lambda part: part.margin)


def write_settled(evidence: Sequence[Evidence], folder: Path) -> list[Path]:
    """Writes `settled.csv` and `settled.md`; nothing where no group holds long runs."""
    if not any(long_runs(group.sample, group.frame) for group in evidence):
        return []
    answers = settled(evidence)
    return [
        write_text(folder / "settled.csv", csv_text(pd.DataFrame([_answer_row(a) for a in answers], dtype=object))),
        write_text(folder / "settled.md", f"# What is settled and what is not\n\n{RULE}\n\n" + _settled_table(answers)),
    ]


def settled_cells(answers: Sequence[Answer]) -> list[dict[str, str]]:
    by_place = {(a.statement.text, a.place): a for a in answers}
    return [
        {"statement": s.text} | {place: clean(by_place[s.text, place].words) for place in PLACES} for s in STATEMENTS
    ]


def _settled_table(answers: Sequence[Answer]) -> str:
    settings = dict.fromkeys(f"{a.place}: {a.setting}" for a in answers if a.setting)
    listed = "\n".join(f"- {markdown(text)}" for text in settings)
    return cells_markdown(settled_cells(answers), 1 + len(PLACES)) + (f"\nMeasured on:\n\n{listed}\n" if listed else "")


def _answer_row(answer: Answer) -> dict[str, Any]:
    part = answer.part
    return {
        "statement": answer.statement.text,
        "place": answer.place,
        "outcome": answer.outcome,
        "compared": None if part is None else part.what,
        "effect_points": None if part is None else part.effect,
        "effect_points_low": None if part is None else part.low,
        "effect_points_high": None if part is None else part.high,
        "n": 0 if part is None else part.n,
        "pairs": answer.pairs,
        "setting": answer.setting,
    }
