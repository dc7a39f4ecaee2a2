"""What records say to the claims of the literature: verdicts, and the files that tell them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.contract.record import write_texts
from benchmarks.report.claims.catalogue import CLAIMS
from benchmarks.report.claims.catalogue_text import OnText, groups_for, text_claims
from benchmarks.report.claims.parts import CONTRADICTED, NOWHERE, SUPPORTED, UNDECIDED, Claim, Finding, Part
from benchmarks.report.claims.source import ComplexWeights, DepthWithoutNorm
from benchmarks.report.claims.tasks import OverTasks
from benchmarks.report.frame import results_frame, split_groups
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.stats.predictions import Folders, folders
from benchmarks.report.wording import NOTHING, csv_text, markdown, markdown_table, signed, significant, span_of

MOST_NAMED = 4  # of what is missing for a verdict


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the records of one setting say to a claim; the numbers are those of the comparison that decides it."""

    claim: Claim
    outcome: str  # supported, contradicted or undecided
    effect: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    setting: str
    reason: str
    compared: str = ""  # the comparison that decides
    counted: str = "seeds"  # what n counts
    parts: tuple[Part, ...] = ()  # every comparison of the claim
    behind: tuple[Part, ...] = ()  # what they are made of

    @property
    def n_text(self) -> str:
        """ "3 seeds", "4 rounds"."""
        return span_of([self.n], self.counted.removesuffix("s"))


def judge(frame: pd.DataFrame, results: Folders) -> list[Verdict]:
    """What records say to every claim: one verdict for each data set, profile and machine that measured any of it.

    Args:
        frame: records, of one results folder or several.
        results: the folders that they were read from, for the predictions beside them.

    Returns:
        In the order of CLAIMS; a claim that nothing was measured of is undecided, once; one that is of images or of
        sequences alone is left out where there is none of them. Those on text come last.
    """
    return judge_groups([Evidence(group, results) for group in split_groups(frame).values()])


def judge_groups(
    evidence: Sequence[Evidence], beside: Sequence[Evidence] | None = None, on_text: bool = True
) -> list[Verdict]:
    """As `judge`, from groups of records; what a group has to say is looked for once.

    Args:
        evidence: the groups.
        beside: all groups of the folder, for claims about several tasks together; by default these.
        on_text: whether claims on text are judged too, where there is some.
    """
    verdicts = []
    for claim in (*CLAIMS, *(text_claims(evidence) if on_text else ())):
        groups = [group for group in evidence if claim.task in (None, group.task)]
        if groups or not evidence:
            found = _findings(claim, groups, beside or evidence)
            verdicts += [verdict_of(claim, finding) for finding in found] or [_not_measured(claim)]
    return verdicts


def _findings(claim: Claim, groups: Sequence[Evidence], beside: Sequence[Evidence]) -> list[Finding]:
    """What each group has to say, or each profile and machine of several."""
    if isinstance(claim.rule, OverTasks):
        kin = {group.kin: [one for one in beside if one.kin == group.kin] for group in groups}
        told = [claim.rule.over(several) for several in kin.values()]
    elif isinstance(claim.rule, OnText):
        told = [_find(claim, group) for group in groups_for(claim.rule, groups)]
    else:
        # the first source's own net stands outside of all groups
        alone = isinstance(claim.rule, DepthWithoutNorm | ComplexWeights)
        told = [_find(claim, group) for group in (groups[:1] if alone else groups)]
    return [finding for finding in told if finding is not None]


def _find(claim: Claim, evidence: Evidence) -> Finding | None:
    if claim.id not in evidence.found:
        evidence.found[claim.id] = claim.rule.find(evidence)
    return evidence.found[claim.id]


def verdict_of(claim: Claim, finding: Finding) -> Verdict:
    parts = finding.parts
    against = [part for part in parts if part.outcome == CONTRADICTED]
    open_ = [part for part in parts if part.outcome == UNDECIDED]
    deciding = min(against or open_ or parts, key=lambda part: part.margin)
    many = f" ({len(parts)} comparisons; shown is the one that decides)" if len(parts) > 1 else ""
    if against and not finding.needed:
        outcome, reason = CONTRADICTED, f"the interval lies wholly on the other side of the threshold{many}"
    elif open_ or finding.missing or finding.needed:
        outcome, reason = UNDECIDED, "; ".join(_why_open(deciding, finding, len(open_)))
    else:
        outcome, reason = SUPPORTED, f"the interval lies wholly on the claimed side of the threshold{many}"
    if deciding.decided is not None:
        reason = deciding.what
    elif outcome != UNDECIDED and deciding.low == deciding.high:
        reason = reason.replace("the interval lies wholly", "the figure lies")
    if deciding.note and outcome != UNDECIDED:
        reason += f"; {deciding.note}"
    if deciding.failed and outcome != UNDECIDED:
        reason += f"; {deciding.failed}"
    return Verdict(
        claim, outcome, deciding.effect, deciding.low, deciding.high, deciding.n, finding.unit, finding.setting, reason,
        deciding.what, finding.counted, parts, finding.behind,
    )  # fmt: skip


def _why_open(part: Part, finding: Finding, still_open: int) -> list[str]:
    reasons = []
    if missing := (*finding.needed, *finding.missing):
        more = len(missing) - MOST_NAMED
        named = ", ".join(missing[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        reasons.append(f"not measured: {named}")
    if still_open:
        reasons.append(_why_undecided(part, finding))
        if len(finding.parts) > 1 and (still_open < len(finding.parts) or not part.too_few):
            decided = len(finding.parts) - still_open
            reasons.append(f"{decided} of {len(finding.parts)} comparisons lie on the claimed side")
        if part.note and part.low is not None:
            reasons.append(part.note)
        if part.failed and not part.withheld:
            reasons.append(part.failed)
    return reasons


def _why_undecided(part: Part, finding: Finding) -> str:
    """Of the part that is nearest to deciding."""
    n = span_of([part.n], finding.counted.removesuffix("s"))
    if part.withheld:
        return f"{n}; withheld, since too many runs failed: {part.failed}"
    if part.low is None and part.note:
        return f"{n}: there is no gap beyond doubt, {part.note}"
    if part.stuck:
        return f"{n}; no net of it is above its baseline"
    if part.low is None or part.too_few:
        return f"{n}: too few to decide"
    if part.low == part.high:
        return "more than the mixer asks for, but less than the threshold"
    if part.beyond and part.denied == NOWHERE:
        return f"{n}; the interval lies on the other side, which the rule does not count against the claim"
    if part.beyond:
        many = f"widened for {len(finding.parts)} comparisons it includes the threshold"
        return f"{n}; the interval lies on the other side, but {many}"
    return f"{n}; the interval includes the threshold"


def _not_measured(claim: Claim) -> Verdict:
    reason = f"not measured: needs {claim.command}"
    return Verdict(claim, UNDECIDED, None, None, None, 0, "", "", reason)


def write_claims(results: Folders) -> tuple[list[Verdict], list[Path]]:
    """Judges all claims from one results folder or several, and writes `claims.csv` and `claims.md` into the first.

    Raises:
        UserError: a folder does not exist, or holds no records.
    """
    frames = [results_frame(folder) for folder in folders(results)]
    frame = pd.concat(frames, ignore_index=True).drop_duplicates(["kind", "id"]).reset_index(drop=True)
    verdicts = judge(frame, results)
    return verdicts, write_verdicts(verdicts, folders(results)[0])


def write_verdicts(verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """Writes `claims.csv` and `claims.md` into a folder."""
    return write_texts(folder, {"claims.csv": programs(verdicts), "claims.md": people(verdicts)})


def programs(verdicts: Sequence[Verdict]) -> str:
    """One line a verdict, unrounded for people."""
    rows = [
        {
            "claim": v.claim.id, "text": v.claim.text, "outcome": v.outcome, "compared": v.compared, "effect": v.effect,
            "low": v.low, "high": v.high, "unit": v.unit, "n": v.n, "counted": v.counted, "setting": v.setting,
            "reason": v.reason, "source": v.claim.source, "made_on": v.claim.made_on,
            "measurement": v.claim.measurement, "threshold": v.claim.threshold, "command": v.claim.command,
        }
        for v in verdicts
    ]  # fmt: skip
    return csv_text(pd.DataFrame(rows, dtype=object))


def people(verdicts: Sequence[Verdict]) -> str:
    """All verdicts at a glance, then each claim with its source, its threshold and every comparison."""
    lines = [
        "# Claims of the literature, held against these records",
        "Supported: the 95 % interval lies wholly where the claim says. Contradicted: wholly outside of it. Undecided: "
        "anything else; why, and what would decide it, stands under each claim below. A verdict is about the setting "
        "in which it was measured here, not the one that the claim was made on. Where a claim needs several "
        "comparisons, all must support it; one contradicts it, by an interval widened for their number. Shown is the "
        "one that decides. Intervals of accuracies are over seeds and test images, of times over sittings (of "
        "fewer than three, which decide nothing, over their rounds); bytes are counted and have none. "
        "Verdicts are not corrected for the number of claims.",
        _glance(verdicts),
    ]
    for claim in dict.fromkeys(v.claim.id for v in verdicts):
        lines += _story([v for v in verdicts if v.claim.id == claim])
    return "\n\n".join(line.strip("\n") for line in lines) + "\n"


def effect_text(verdict: Verdict | Part, unit: str) -> str:
    """ "−0.4 points (−1.8 to +1.0)", or a dash."""

    def show(value: float) -> str:
        if unit == "points":
            return signed(value)
        if unit == "% of variance":
            return f"{value:.0f}".replace("-", "−")
        return f"{value:.1f}" if unit == "%" else significant(value)

    if verdict.effect is None or not math.isfinite(verdict.effect):
        return NOTHING
    words = {"points": " points", "%": " %", "times": " times", "% of variance": " %"}.get(unit, "")
    spread = "" if verdict.low is None or verdict.high is None or verdict.low == verdict.high else (
        f" ({show(verdict.low)} to {show(verdict.high)})"
    )  # fmt: skip
    return f"{show(verdict.effect)}{words}{spread}"


def _glance(verdicts: Sequence[Verdict]) -> str:
    rows = [
        [
            markdown(v.claim.text), f"**{v.outcome}**", markdown(v.compared) or NOTHING, effect_text(v, v.unit),
            markdown(v.claim.threshold), v.n_text if v.n else NOTHING, markdown(v.setting) or NOTHING,
        ]
        for v in verdicts
    ]  # fmt: skip
    header = ["claim", "verdict", "compared", "effect (95 % interval)", "holds if", "n", "measured on"]
    return markdown_table(header, rows, len(header))


def _alone(part: Part) -> str:
    """What one comparison says by itself, and the failed runs that stand beside it."""
    word = "withheld" if part.withheld else part.outcome
    return markdown("; ".join(filter(None, (word, part.failed))))


def _story(verdicts: Sequence[Verdict]) -> list[str]:
    claim = verdicts[0].claim
    lines = [
        f"## {markdown(claim.text)}",
        "\n".join(
            f"- {name}: {markdown(text)}"
            for name, text in (
                ("source", claim.source),
                ("made on", claim.made_on),
                ("decided by", claim.measurement),
                ("holds if", claim.threshold),
            )
        )
        + f"\n- to measure it: `{claim.command}`",
    ]
    for v in verdicts:
        where = f" {markdown(v.setting)}:" if v.setting else ""
        why = markdown(v.reason) if v.n else "nothing of it is measured here yet"
        lines.append(f"**{v.outcome.capitalize()}.**{where} {why}.")
        if v.parts:
            rows = [[markdown(p.what), effect_text(p, v.unit), str(p.n), _alone(p)] for p in v.parts]
            lines.append(markdown_table(["comparison", "effect (interval)", f"n ({v.counted})", "alone"], rows, 1))
        if v.behind:
            lines.append(_behind(v))
    return lines


def _behind(verdict: Verdict) -> str:
    """What the comparisons are made of, which decides nothing by itself."""
    rows = [
        [markdown(part.what), effect_text(part, verdict.unit), str(part.n), markdown(part.failed) or NOTHING]
        for part in verdict.behind
    ]
    return markdown_table(["behind it", "effect (interval)", "n (seeds)", "failed"], rows, 1)
