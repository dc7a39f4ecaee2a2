"""What the page says first: five questions, answered from the tables in a sentence each."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from benchmarks.report.frame import comparisons, plain
from benchmarks.report.plots_accuracy import best_learning_rates
from benchmarks.report.plots_latency import scaling_row, sweeps
from benchmarks.report.statistics import Estimate, mean_interval, pareto_front
from benchmarks.report.tables import ACCURACY_SETTING, ATTENTION, TRAINED_ALIKE, same_rows
from benchmarks.report.text import NOTHING, clean, listing, ranged, significant

PASSES = {"net_forward": "forward", "net_forward_backward": "training step"}
IMAGINARY = (  # a mixer that keeps the imaginary part, and the same without it
    ("fft_complex", "fft_real_2d"),
    ("fft_complex", "fft_real"),
    ("fft_complex", "fft_imag"),
    ("fft_pairs", "fft_real_2d"),
    ("fft_pairs", "fft_real"),
)
NO_MIXING, LEARNED = "conv1x1", "linear"
VERDICTS = ("supported", "contradicted", "undecided")


@dataclasses.dataclass(frozen=True)
class Answer:
    question: str
    lines: Sequence[str]  # the first is the answer, the others its numbers


@dataclasses.dataclass(frozen=True)
class Headline:
    """One mixer beside attention."""

    label: str
    family: str
    crossings: dict[str, str]  # pass -> from how many tokens the net is cheaper than with attention
    ratios: dict[str, str]  # pass -> time over attention's in the trained net, with its range over rounds
    accuracy: str
    gap: str  # in accuracy to attention, with its interval


def main_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """One row a mixer of the comparison with most of them: what the answers are about."""
    if summary.empty:
        return summary
    best = best_learning_rates(next(iter(comparisons(summary, TRAINED_ALIKE).values())))
    return best[best["status"] == "ok"].reset_index(drop=True)


def row_of(rows: pd.DataFrame, label: str) -> pd.Series | None:
    found = rows[rows["label"] == label] if len(rows) else rows
    return None if found.empty else found.iloc[0]


def paired_gap(
    frame: pd.DataFrame, row: pd.Series, other: pd.Series, paired: pd.DataFrame | None = None
) -> Estimate | None:
    """Difference in top-1: as `paired` has it, else over the seeds that both have, with its Student-t interval."""
    if paired is not None and len(paired):
        known = paired[same_rows(paired, row, ["label", *ACCURACY_SETTING]) & (paired["reference"] == other["label"])]
        for _, found in known.iterrows():
            low, high = (plain(found[f"difference_points_{end}"]) for end in ("low", "high"))
            return Estimate(float(found["difference_points"]), low, high, int(found["n"]))
    trained = frame[(frame["kind"] == "accuracy") & (frame["status"] == "ok")]
    mine, theirs = (
        {
            int(run["seed"]): float(run["test_top1_percent"])
            for _, run in trained[same_rows(trained, wanted, ["label", *ACCURACY_SETTING])].iterrows()
            if plain(run["test_top1_percent"]) is not None
        }
        for wanted in (row, other)
    )
    return mean_interval(mine[seed] - theirs[seed] for seed in sorted(mine.keys() & theirs.keys()))


def gap_text(gap: Estimate | None) -> str:
    """ "-0.6 points [-2.1, +0.9], n = 3"."""
    if gap is None:
        return "no seed in common"
    between = "" if gap.low is None else f" [{gap.low:+.1f}, {gap.high:+.1f}]"
    return f"{gap.value:+.1f} points{between}, n = {gap.n}"


def mean_with_interval(row: pd.Series, unit: str = " %") -> str:
    mean, low, high = (plain(row[f"test_top1_percent_{end}"]) for end in ("mean", "low", "high"))
    if mean is None:
        return NOTHING
    return f"{mean:.1f}{unit}" + ("" if low is None else f" [{low:.1f}, {high:.1f}]")


def headlines(
    frame: pd.DataFrame, tables: dict[str, pd.DataFrame], paired: pd.DataFrame | None = None
) -> list[Headline]:
    """Every mixer beside attention, by accuracy: from where it is cheaper, and what that costs."""
    rows, latency = main_rows(tables["summary"]), tables["latency"]
    swept = next(iter(sweeps(latency).values()), None)
    trained = dict(zip(rows["label"], (row for _, row in rows.iterrows()), strict=True)) if len(rows) else {}
    labels = sorted(
        {*trained, *(swept["label"] if swept is not None else ())} - {ATTENTION},
        key=lambda label: (-(accuracy_of(trained.get(label)) or -1.0), label),
    )
    families = {**dict(zip(latency.get("label", ()), latency.get("family", ()), strict=True))}
    families |= {label: row["family"] for label, row in trained.items()}
    found = []
    for label in labels:
        row = trained.get(label)
        known = swept is not None and label in set(swept["label"])
        scaling = scaling_row(label, tables["scaling"], swept) if known and swept is not None else None
        gap = paired_gap(frame, row, trained[ATTENTION], paired) if row is not None and ATTENTION in trained else None
        found.append(
            Headline(
                label=clean(label),
                family=clean(families[label]),
                crossings={
                    name: NOTHING if scaling is None else crossing_text(scaling[f"{name}_overtakes_attention"])
                    for name in PASSES
                },
                ratios={name: trained_ratio(latency, row, name) for name in PASSES},
                accuracy=NOTHING if row is None else mean_with_interval(row),
                gap=NOTHING if gap is None else gap_text(gap),
            )
        )
    return found


def accuracy_of(row: pd.Series | None) -> float | None:
    return None if row is None else plain(row["test_top1_percent_mean"])


def trained_ratio(latency: pd.DataFrame, row: pd.Series | None, name: str) -> str:
    """Time of the net as it was trained over that of attention's, median and range over rounds."""
    if row is None or latency.empty:
        return NOTHING
    net = ["label", "image_size", "patch_size", "dim", "depth", "norm", "coordinates"]
    found = latency[same_rows(latency, row, net) & (latency["status"] == "ok")]
    if found.empty:
        return NOTHING
    first = found.iloc[0]
    column = f"{name}_over_attention"
    return ranged(first[column], first[f"{column}_low"], first[f"{column}_high"])


def crossing_text(crossing: Any) -> str:
    """ "faster at every measured size (256-4,096)" as the cell of a column that says what is faster."""
    crossing = plain(crossing)
    if crossing is None:
        return NOTHING
    return re.sub(r"faster at every measured size \((.*)\)", r"at every size, \1", str(crossing))


def answers(
    frame: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    patches: Sequence[dict[str, Any]],
    verdicts: Sequence[Any] | None = None,
    paired: pd.DataFrame | None = None,
) -> list[Answer]:
    """The five questions."""
    rows = main_rows(tables["summary"])
    return [
        Answer("Which mixer is best at a given latency?", best_at_latency(frame, rows, paired)),
        Answer("Does the imaginary part matter?", imaginary_part(frame, rows, paired)),
        Answer("Is it the patches or the mixing?", patches_or_mixing(frame, rows, patches, paired)),
        Answer("Where does the FFT overtake attention?", overtaking(tables, rows)),
        Answer("Which published claims hold here?", claims_held(verdicts)),
    ]


def best_at_latency(frame: pd.DataFrame, rows: pd.DataFrame, paired: pd.DataFrame | None) -> list[str]:
    column = "net_forward_ms_per_image"
    ready = [
        row
        for _, row in rows.iterrows()
        if plain(row[column]) is not None and plain(row["test_top1_percent_mean"]) is not None
    ]
    if not ready:
        return ["Not measured: no mixer has both an accuracy and a latency in the same net."]
    points = [(float(row[column]), float(row["test_top1_percent_mean"])) for row in ready]
    front = [ready[i] for i in pareto_front(points)]
    times = [significant(row[column]) for row in front]
    spans = [f"{low} to {high}" for low, high in pairwise(times)] + [f"from {times[-1]}"]
    steps = [
        f"{span} ms per image: {clean(row['label'])}, {mean_with_interval(row)}"
        for span, row in zip(spans, front, strict=True)
    ]
    first, best = front[0], front[-1]
    where = f"{first['image_size']} px, patch {first['patch_size']} px, whole net, forward"
    lead = f"{clean(best['label'])}, where there are {significant(best[column])} ms per image to spend"
    if len(front) == 1:
        return [f"{lead}: the fastest is the most accurate, too ({where}).", *steps]
    lead += f"; below that {listing([row['label'] for row in reversed(front[:-1])])}, as listed ({where})."
    gap = paired_gap(frame, front[-2], best, paired)
    return [lead, *steps, f"{clean(front[-2]['label'])} minus {clean(best['label'])}: {gap_text(gap)}"]


def imaginary_part(frame: pd.DataFrame, rows: pd.DataFrame, paired: pd.DataFrame | None) -> list[str]:
    found = []
    for keeps, loses in IMAGINARY:
        with_it, without = row_of(rows, keeps), row_of(rows, loses)
        gap = None if with_it is None or without is None else paired_gap(frame, with_it, without, paired)
        if gap is not None:
            found.append((keeps, loses, gap))
    if not found:
        return ["Not measured: it takes fft_complex or fft_pairs beside fft_real, fft_real_2d or fft_imag."]
    told = {sign(gap) for _, _, gap in found}
    if told == {0}:
        lead = "Too few runs to tell: the interval of every difference holds zero."
    elif told <= {0, 1}:
        lead = "Yes: keeping it helps in some comparisons and hurts in none." if 0 in told else "Yes: keeping it helps."
    elif told <= {0, -1}:
        lead = "No: keeping it helps nowhere, and costs accuracy in some comparisons." if 0 in told else "No: it hurts."
    else:
        lead = "It depends on the comparison."
    return [lead, *(f"{keeps} minus {loses}: {gap_text(gap)}" for keeps, loses, gap in found)]


def sign(gap: Estimate) -> int:
    """1 or -1 where the interval leaves zero out, else 0."""
    if gap.low is None or gap.high is None:
        return 0
    return 1 if gap.low > 0 else -1 if gap.high < 0 else 0


def patches_or_mixing(
    frame: pd.DataFrame, rows: pd.DataFrame, patches: Sequence[dict[str, Any]], paired: pd.DataFrame | None
) -> list[str]:
    if patches:
        lines = {line["label"]: line for line in patches[0]["lines"]}
        named = [name for name in (NO_MIXING, LEARNED, ATTENTION) if name in lines]
        shown = named or sorted(lines)[:3]
        found = [
            f"{name}{' (no mixing)' if name == NO_MIXING else ''}: "
            + ", ".join(f"{y:.1f} % at patch {x}" for x, y in zip(lines[name]["x"], lines[name]["y"], strict=True))
            + "."
            for name in shown
        ]
        return [patch_lead(lines, patches[0]["title"]), *found]
    none, best = row_of(rows, NO_MIXING), None if rows.empty else rows.sort_values("test_top1_percent_mean").iloc[-1]
    if none is None or best is None or best["label"] == NO_MIXING:
        return ["Not measured: it takes conv1x1, which mixes nothing, beside other mixers."]
    gap = paired_gap(frame, best, none, paired)
    share = 100 * none["test_top1_percent_mean"] / best["test_top1_percent_mean"]
    return [
        f"At patch {none['patch_size']} px the net without any mixing (conv1x1) reaches {share:.0f} % of the accuracy "
        f"of the best mixer, {clean(best['label'])}.",
        f"{clean(best['label'])} minus conv1x1: {gap_text(gap)}",
        "Other patch sizes are not among these records; PATCH_SIZE=1, 2 and 8 would tell how this changes.",
    ]


def patch_lead(lines: dict[str, dict[str, Any]], setting: str) -> str:
    """How what mixing adds changes from the smallest patch to the largest that both nets were trained with."""
    if NO_MIXING not in lines:
        return "Not decided: conv1x1, which mixes nothing, was not trained at these patch sizes."
    none = dict(zip(lines[NO_MIXING]["x"], lines[NO_MIXING]["y"], strict=True))
    gains = {}
    for patch, floor in none.items():
        others = [
            (dict(zip(line["x"], line["y"], strict=True)).get(patch), label)
            for label, line in lines.items()
            if label != NO_MIXING
        ]
        known = [(y, label) for y, label in others if y is not None]
        if known:
            best, label = max(known)
            gains[patch] = f"{best - floor:+.1f} points at patch {patch} ({label} {best:.1f} %, none {floor:.1f} %)"
    return f"What the best mixer adds to a net that mixes nothing ({setting}): {'; '.join(gains.values())}."


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
            texts = {words: crossing_text(row[f"{name}_overtakes_attention"]) for name, words in columns.items()}
            words = "; ".join(f"{words}: {text}" for words, text in texts.items())
            if len(set(texts.values())) == 1:
                words = f"{next(iter(texts.values()))} tokens: forward, in a training step, and the mixer alone"
            by_text.setdefault(words, []).append(clean(label))
    lines = [f"{listing(names)}: {words}." for words, names in by_text.items()]
    if not lines:
        return ["Not measured: no FFT mixer was timed at several image sizes."]
    for label in labels:
        trained = row_of(rows, label)
        ratio = trained_ratio(tables["latency"], trained, "net_forward")
        if trained is not None and ratio != NOTHING:
            lines.append(
                f"{clean(label)} in the trained net, {trained['tokens']:,} tokens: {ratio} of attention's time"
            )
    return lines


def claims_held(verdicts: Sequence[Any] | None) -> list[str]:
    if not verdicts:
        return ["Not judged from these records."]
    counts = Counter(str(verdict.outcome) for verdict in verdicts)
    order = [*VERDICTS, *sorted(counts.keys() - set(VERDICTS))]
    lead = ", ".join(f"{counts[name]} {name}" for name in order if counts[name])
    lines = [
        f"{name}: {'; '.join(clean(v.claim.text).rstrip('.') for v in verdicts if v.outcome == name)}"
        for name in order[:2]
    ]
    return [f"Of {len(verdicts)} claims: {lead}.", *(line for line in lines if not line.endswith(": "))]
