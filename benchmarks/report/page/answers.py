"""What the page says of a group in words: five questions, answered from the tables and the claims' verdicts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from benchmarks.ratios import FEWEST_SITTINGS, Ratio, ratio_of
from benchmarks.report.alike import ATTENTION, TRAINED_ALIKE, same_rows
from benchmarks.report.baselines import at_baseline, at_baseline_words, highest_words
from benchmarks.report.choose import lookup, main_rows, patch_sweeps, preferred_latencies, scaling_row, sweeps, withheld
from benchmarks.report.claims.parts import Part
from benchmarks.report.claims.verdicts import Verdict, effect_text
from benchmarks.report.frame import plain
from benchmarks.report.page.charts import patch_title
from benchmarks.report.page.headlines import (
    APART,
    PASSES,
    beside,
    crossing_text,
    gap_text,
    mean_with_interval,
    timed_apart,
    trained_ratio,
)
from benchmarks.report.sizes import SEQUENCES, extent_of, row_extent, size_words, worded
from benchmarks.report.stats.intervals import Estimate, pareto_front
from benchmarks.report.stats.leader import LIKELY, NO_MIXING, OPEN, contenders, leader, leader_text
from benchmarks.report.stats.paired import FEWEST_SEEDS, Sample
from benchmarks.report.tables.latency import ratios
from benchmarks.report.wording import NOTHING, clean, listing, signed, significant, span_of

LEARNED = "linear"
IMAGINARY = "imaginary-part-helps"  # the claim that decides it
VERDICTS = ("supported", "contradicted", "undecided")
SHORT = {"supported": "Yes", "contradicted": "No", "undecided": "Undecided"}  # a claim's verdict as an answer


@dataclasses.dataclass(frozen=True)
class Answer:
    question: str
    lines: Sequence[str]  # the first is the answer, the others its numbers


def row_of(rows: pd.DataFrame, label: str) -> pd.Series | None:
    found = rows[rows["label"] == label] if len(rows) else rows
    return None if found.empty else found.iloc[0]


def answers(
    sample: Sample, tables: dict[str, pd.DataFrame], frame: pd.DataFrame, verdicts: Sequence[Verdict] | None = None
) -> list[Answer]:
    """The five questions.

    Args:
        sample: the trained nets of the frame.
        tables: made of the frame.
        frame: records of one data set, profile and machine.
        verdicts: on the claims, from the same records.
    """
    rows, timed = main_rows(tables["summary"]), preferred_latencies(frame)
    extent = extent_of(frame)
    patches = Answer("Is it the patches or the mixing?", patches_or_mixing(sample, rows, tables))
    mixing = Answer("Does mixing matter?", mixing_or_not(sample, rows))
    found = [
        Answer("Which mixer is best at a given latency?", best_at_latency(sample, rows, timed)),
        Answer("Does the imaginary part matter?", imaginary_part(verdicts)),
        mixing if extent is SEQUENCES else patches,
        Answer("Where does the FFT overtake attention?", overtaking(tables, rows)),
        Answer("Which published claims hold here?", claims_held(verdicts)),
    ]
    told = found[:-1]  # a claim says what it is of itself
    return [*(dataclasses.replace(a, lines=[worded(line, extent) for line in a.lines]) for a in told), found[-1]]


def steps_in_time(front: Sequence[pd.Series], timed: pd.DataFrame) -> tuple[list[pd.Series], list[str]]:
    """Of a Pareto front, fastest first, the rows that are clearly faster than the next; and the others' labels.

    Args:
        front: rows of the summary.
        timed: the latency records behind them, those to be preferred first.
    """
    kept, others = [front[-1]], []
    for row in reversed(front[:-1]):
        if clearly_faster(row, kept[-1], timed):
            kept.append(row)
        else:
            others.append(row["label"])
    return kept[::-1], others


def clearly_faster(row: pd.Series, other: pd.Series, timed: pd.DataFrame) -> bool:
    """Whether a 95 % interval over sittings of the ratio of two nets' times, within rounds, lies below 1."""
    found = time_ratio(row, other, timed)
    return found is not None and found.settled and found.high is not None and found.high < 1


def time_ratio(row: pd.Series, other: pd.Series, timed: pd.DataFrame) -> Ratio | None:
    """One net's forward time over another's, where both were timed."""
    mine, theirs = (lookup(timed, net) for net in (row, other))
    if mine is None or theirs is None:
        return None
    return ratio_of(ratios(mine, theirs, "forward_ms", "forward_ms"))


def not_faster(rows: Sequence[pd.Series], best: pd.Series, timed: pd.DataFrame) -> str:
    """Why rows that took less time are not called faster."""
    found = [time_ratio(row, best, timed) for row in rows]
    if all(ratio is not None and ratio.settled for ratio in found):
        return "not clearly faster"
    return f"not timed in {FEWEST_SITTINGS} sittings, so that nothing is called faster"


def best_at_latency(sample: Sample, rows: pd.DataFrame, timed: pd.DataFrame) -> list[str]:
    """The most accurate mixer, and what is clearly faster and less accurate.

    Args:
        sample: the trained nets.
        rows: of the summary.
        timed: the latency records of the same group.
    """
    column = "net_forward_ms_per_image"
    field = contenders(rows, column)
    if not field.known:
        return ["Not measured: no mixer has both an accuracy and a latency in the same net."]
    held_back = [f"{clean(row['label'])}{beside(row)}" for row in field.failed]
    if len(field.failed) == len(field.known):
        return [f"Withheld: a third or more of the runs failed of {listing(held_back)}."]
    stuck = at_baseline_words(field.stuck)
    if not field.ready:
        return [f"None: no net has left its baseline ({highest_words(field.stuck[0])}): {stuck}."]
    ready = field.ready
    found = leader(sample, ready)
    if found is not None and found.outcome == OPEN:
        return [
            _capital(leader_text(found)) + ".",
            *(f"{clean(r['label'])}: {mean_with_interval(r)}" for r in by_accuracy(ready)),
        ]
    points = [(float(row[column]), float(row["test_top1_percent_mean"])) for row in ready]
    front, level_in_time = steps_in_time([ready[i] for i in pareto_front(points)], timed)
    times = [significant(row[column]) for row in front]
    spans = [f"{low} to {high}" for low, high in pairwise(times)] + [f"from {times[-1]}"]
    steps = [
        f"{span} ms per image: {clean(row['label'])}, {mean_with_interval(row)}{beside(row)}"
        for span, row in zip(spans, front, strict=True)
    ]
    for i, (row, before) in enumerate(zip(front[1:], front, strict=False), 1):
        steps[i] += f"; {gap_text(sample.difference(row, before))} over {clean(before['label'])}"
    first, best = front[0], front[-1]
    where = f"{size_words(first, ' px')}, whole net, forward"
    lead = f"{clean(best['label'])}, where there are {significant(best[column])} ms per image to spend ({where})"
    level = [row["label"] for row in ready if row is not best and not sign(sample.difference(best, row))]
    if level:
        lead += f"; no clear difference to {listing(level)}"
    elif found is not None and found.outcome == LIKELY:
        lead = f"likely {lead}"
    behind = [label for label in level_in_time if label not in level]
    if behind:
        why = not_faster([row for row in ready if row["label"] in behind], best, timed)
        lead += f"; {listing(behind)} less accurate, {why}"
    if stuck:
        lead += f"; not above their baseline ({highest_words(best)}): {stuck}"
    if held_back:
        lead += f"; left out since too many runs failed: {listing(held_back)}"
    if len(front) == 1:
        fastest = "Nothing is clearly faster." if level_in_time else "The fastest is the most accurate, too."
        return [f"{lead}. {fastest}", *steps]
    return [f"{lead}. Below that {listing([row['label'] for row in reversed(front[:-1])])}, as listed.", *steps]


def by_accuracy(rows: Sequence[pd.Series]) -> list[pd.Series]:
    return sorted(rows, key=lambda row: (-row["test_top1_percent_mean"], row["label"]))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def imaginary_part(verdicts: Sequence[Verdict] | None) -> list[str]:
    """The claim's verdict, and its comparisons by intervals widened for their number."""
    found = [v for v in verdicts or () if v.claim.id == IMAGINARY and v.parts]
    if not found:
        return ["Not measured: it takes fft_complex or fft_pairs beside fft_real, fft_real_2d or fft_imag."]
    parts = found[0].parts
    told = [p.wide for p in parts if p.wide is not None and not p.too_few and not p.withheld]
    helps, hurts = [low for low, _ in told if low > 0], [high for _, high in told if high < 0]
    if not told:
        lead = "Withheld: too many runs failed." if any(p.withheld for p in parts) else "Too few runs to tell."
    else:
        level = len(told) - len(helps) - len(hurts)
        counted = [f"helps in {len(helps)} of {len(told)} comparisons"]
        counted += [f"hurts in {len(hurts)}"] if hurts else []
        counted += [f"shows no difference in {level}"] if level else []
        lead = f"{SHORT[found[0].outcome]}: keeping it {listing(counted)}."
    widened = f" Intervals are widened for {len(parts)} comparisons." if told and len(parts) > 1 else ""
    lines = [f"{clean(p.what)}: {effect_text(_widened(p), 'points')}, {span_of([p.n], 'seed')}" for p in parts]
    lines = [f"{line}; {clean(p.failed)}" if p.failed else line for line, p in zip(lines, parts, strict=True)]
    return [lead + widened, *lines]


def _widened(part: Part) -> Part:
    return part if part.wide is None else dataclasses.replace(part, low=part.wide[0], high=part.wide[1])


def sign(gap: Estimate | None) -> int:
    """1 or -1 where the interval of enough seeds leaves zero out, else 0."""
    if gap is None or gap.low is None or gap.high is None or gap.n < FEWEST_SEEDS or gap.withheld:
        return 0
    return 1 if gap.low > 0 else -1 if gap.high < 0 else 0


def variance_split(decomposition: pd.DataFrame, row: pd.Series) -> str:
    """What mixer and patch size explain in the setting of a row of the summary, and without the mixer that matters."""
    alike = [name for name in TRAINED_ALIKE if name in decomposition.columns]
    rows = decomposition[same_rows(decomposition, row, alike)] if len(decomposition) else decomposition
    whole = rows[rows["without"].isna()] if len(rows) else rows
    if whole.empty:
        return ""
    first, others = whole.iloc[0], rows[rows["without"].notna()]
    told = (
        f"Of the variance between these nets the mixer explains {first['mixer_percent']:.0f} %, the patch size "
        f"{first['patch_percent']:.0f} %"
    )
    if len(others):
        moved = (others["mixer_less_patch_percent"] - first["mixer_less_patch_percent"]).abs().map(float)
        most = others.loc[moved.idxmax()]
        told += f"; without {clean(most['without'])} {most['mixer_percent']:.0f} % and {most['patch_percent']:.0f} %"
    return f"{told}. "


def patches_or_mixing(sample: Sample, rows: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    for ready in patch_sweeps(tables["summary"]):
        found = {str(label): {row["patch_size"]: row for _, row in m.iterrows()} for label, m in ready.groupby("label")}
        none = found.pop(NO_MIXING, {})
        complete = {label: mine for label, mine in found.items() if mine.keys() >= none.keys()}
        if len(none) < 2 or not complete:
            continue
        # by name, or by held-out images: the best on the test images would be too good to be true
        shown = [name for name in (LEARNED, ATTENTION) if name in complete] or [
            max(complete, key=lambda label: (mean_held_out(complete[label]), label))
        ]
        gaps = {name: {p: sample.difference(complete[name][p], none[p]) for p in sorted(none)} for name in shown}
        leading = {p: gap for p, gap in gaps[shown[0]].items() if gap is not None}
        values = ", ".join(f"{signed(gap.value)} at patch {p}" for p, gap in leading.items())
        top1 = "test_top1_percent_mean"
        fewest = min((gap.n for gap in leading.values()), default=0)
        level = [str(p) for p, gap in leading.items() if not sign(gap) and not gap.withheld]
        doubt = f" At patch {listing(level)} the interval includes 0." if level else ""
        lost = [str(p) for p, gap in leading.items() if gap.withheld]
        doubt += f" At patch {listing(lost)} too many runs failed for a verdict." if lost else ""
        if fewest < FEWEST_SEEDS:
            doubt = f" Too few to tell how surely, n = {fewest}."
        return [
            variance_split(tables["decomposition"], ready.iloc[0])
            + f"Points that mixing by {clean(shown[0])} adds to a net without a mixing layer ({patch_title(ready)}): "
            f"{values}.{doubt}",
            *(
                f"{clean(name)} minus conv1x1: " + "; ".join(f"patch {p}, {gap_text(gap)}" for p, gap in mine.items())
                for name, mine in gaps.items()
            ),
            "conv1x1, no mixing layer: " + ", ".join(f"{none[p][top1]:.1f} % at patch {p}" for p in sorted(none)),
        ]
    more = "Other patch sizes are not among these records; PATCH_SIZE=1, 2 and 8 would tell how this changes."
    told = mixing_or_not(sample, rows)
    return [*told, more] if len(told) > 1 else told


def mixing_or_not(sample: Sample, rows: pd.DataFrame) -> list[str]:
    """What the most accurate mixer has over a net without one, in the setting that was trained."""
    without, others = row_of(rows, NO_MIXING), rows[rows["label"] != NO_MIXING] if len(rows) else rows
    if without is None or others.empty:
        return ["Not measured: it takes conv1x1, which has no mixing layer, beside other mixers."]
    if plain(without["test_top1_percent_mean"]) is None:
        return ["Not asked here: the task wants a number, not a class; the ranking has its correlation."]
    others = others[[not withheld(row) for row in others.to_dict("records")]]
    if others.empty or withheld(without):
        return ["Withheld: a third or more of the runs failed."]
    above = others[[not at_baseline(row) for row in others.to_dict("records")]]
    best = (others if above.empty else above).sort_values("test_top1_percent_mean").iloc[-1]
    share = 100 * without["test_top1_percent_mean"] / (best["test_top1_percent_mean"] or 1.0)  # 0 of 0 is 0
    gap = sample.difference(best, without)
    sequences = row_extent(without) is SEQUENCES
    size = f"{without['length']:,} tokens" if sequences else f"patch {without['patch_size']} px"
    if above.empty:
        return [f"Not to be told here: at {size} no net is above its baseline ({highest_words(best)})."]
    return [
        f"At {size} the net without a mixing layer (conv1x1) reaches {share:.0f} % of the "
        f"accuracy of the most accurate mixer, {clean(best['label'])}.{_doubt(gap)}",
        f"{clean(best['label'])} minus conv1x1: {gap_text(gap)}",
    ]


def _doubt(gap: Estimate | None) -> str:
    """Why a gap is no verdict, where it is none."""
    if gap is not None and gap.n < FEWEST_SEEDS:
        return f" Seen with {span_of([gap.n], 'seed')}; a verdict takes {FEWEST_SEEDS}."
    return "" if sign(gap) else " Too small to tell whether mixing changes anything."


def mean_held_out(rows: Mapping[Any, pd.Series]) -> float:
    return sum(float(row["val_top1_percent_mean"]) for row in rows.values()) / len(rows)


def overtaking(tables: dict[str, pd.DataFrame], rows: pd.DataFrame) -> list[str]:
    swept = next(iter(sweeps(tables["latency"]).values()), None)
    if swept is None or ATTENTION not in set(swept["label"]):
        return ["Not measured: it takes attention and an FFT mixer timed at several image sizes."]
    by_text: dict[str, list[str]] = {}  # where mixers overtake alike, they share a line
    labels = [label for label in sorted(set(swept["label"])) if label.startswith("fft_")]
    for label in labels:
        row = scaling_row(label, tables["scaling"], swept)
        if row is not None:
            columns = {**PASSES, "mixer_forward": "mixer alone, forward"}
            apart = APART if timed_apart(swept[swept["label"] == label]) else ""
            texts = {
                words: crossing_text(row[f"{name}_overtakes_attention"]) + apart for name, words in columns.items()
            }
            words = "; ".join(f"{words} {text}" for words, text in texts.items())
            if len(set(texts.values())) == 1:
                words = f"{next(iter(texts.values()))} (forward, in a training step, and the mixer alone)"
            by_text.setdefault(words, []).append(clean(label))
    if not by_text:
        return ["Not measured: no FFT mixer was timed at several image sizes."]
    lines = [f"{listing(names)}, with single pixels as tokens: faster {words}." for words, names in by_text.items()]
    for label in labels:
        trained = row_of(rows, label)
        ratio = trained_ratio(tables["latency"], trained, "net_forward")
        if trained is not None and ratio != NOTHING:
            lines.append(
                f"In the trained net, {trained['tokens']:,} tokens, {clean(label)}, time over attention's: {ratio}"
            )
    return lines


def claims_held(verdicts: Sequence[Verdict] | None) -> list[str]:
    if not verdicts:
        return ["Not judged from these records."]
    counts = Counter(str(verdict.outcome) for verdict in verdicts)
    order = [*VERDICTS, *sorted(counts.keys() - set(VERDICTS))]
    lead = ", ".join(f"{counts[name]} {name}" for name in order if counts[name])
    lines = [
        f"{name}: {'; '.join(clean(v.claim.text).rstrip('.') for v in verdicts if v.outcome == name)}"
        for name in order[:2]
    ]
    unmeasured = sum(not verdict.n for verdict in verdicts)
    if unmeasured:
        lead += f" ({unmeasured} of them not measured)"
    return [f"Of {len(verdicts)} claims: {lead}.", *(line for line in lines if not line.endswith(": "))]
