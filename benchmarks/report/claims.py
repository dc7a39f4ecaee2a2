"""What the literature says of token mixers, as data, and what records say to it.

Each claim names its source, what it was made on, what decides it here, and from where on it holds. Words such as
"slightly" and "equal" are made numbers by us; the threshold says so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.record import atomic_write
from benchmarks.report.claim_rules import (
    CONTRADICTED,
    INFINITE,
    SUPPORTED,
    UNDECIDED,
    Accuracies,
    Cell,
    Contrast,
    DepthWithoutNorm,
    EachMixer,
    Evidence,
    Finding,
    GrowsAsNLogN,
    MemoryFirst,
    Part,
    Rule,
    TrainingSpeed,
    over_midpoint,
    share_percent,
)
from benchmarks.report.frame import load_results, split_groups
from benchmarks.report.predictions import Folders, folders
from benchmarks.report.text import NOTHING, csv_text, markdown, markdown_table, signed, significant, span_of

MOST_NAMED = 4  # of what is missing for a verdict
PATCHES = (1, 2, 4, 8)
SPECTRACLES = "spectracles README (mkaic/spectracles), 2024"
SPECTRACLES_ON = "CIFAR-100, 32 px, every pixel a token, width 32 to 64, depth 4 to 8, single runs of 30 to 150 epochs"
FNET = "FNet (Lee-Thorp et al., arXiv 2105.03824), 2021"
FNET_ON = "text: GLUE after pre-training, 512 tokens, FNet-Base beside BERT-Base, GPUs (V100) and TPUs"
MEMORY = (
    "attention alone runs out; where neither does, asks for over twice the memory (our reading; less: contradicted)"
)
SMALL = "IMAGE_SIZE=16 DIM=32"  # a net that can afford every pixel as a token
SEEDS = "DATASET=cifar100 SEED=0,1,2,3,4,5,6,7"


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim and what decides it.

    Attributes:
        made_on: data, size and hardware behind the claim in its source.
        measurement: what decides it here, in words.
        threshold: where it begins to hold, in words; the rule has it in numbers.
        trials: fields of the trials that are needed.
        command: what measures them.
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

    @property
    def n_text(self) -> str:
        """ "3 seeds", "4 rounds"."""
        return span_of([self.n], self.counted.removesuffix("s"))


def _pair(a: str, b: str, low: float = 0, high: float = INFINITE) -> Contrast:
    return Contrast((Cell(a), Cell(b)), (low, high))


def _at(mixer: str, patch: int) -> Cell:
    return Cell(mixer, (("patch_size", patch),))


def _accuracy(*mixers: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "accuracy", "mixer": mixers, **fields}


WITH_BOTH, WITH_ONE = ("fft_complex", "fft_pairs"), ("fft_real_2d", "fft_real", "fft_imag")
CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="imaginary-part-helps",
        text="Keeping the imaginary part of the transform helps.",
        source=f"{SPECTRACLES}: 'works best if its layers are complex-valued', without a figure",
        made_on=SPECTRACLES_ON,
        measurement="test top-1 of fft_complex and of fft_pairs, each less that of fft_real_2d, fft_real and fft_imag",
        threshold="every difference above 0 points",
        trials=_accuracy(*WITH_BOTH, *WITH_ONE),
        command=f"make bench-all MIXER={','.join((*WITH_BOTH, *WITH_ONE))} {SEEDS}",
        rule=Accuracies(tuple(_pair(a, b) for a in WITH_BOTH for b in WITH_ONE)),
    ),
    Claim(
        id="scrambled-layout-hurts",
        text="The scrambled layout of real and imaginary parts in the first source's code costs accuracy.",
        source="code of mkaic/spectracles, 2024; its fix came with other changes, so nobody measured it alone",
        made_on=SPECTRACLES_ON,
        measurement="test top-1 of fft_scrambled less that of fft_complex",
        threshold="below 0 points",
        trials=_accuracy("fft_scrambled", "fft_complex"),
        command=f"make bench-all MIXER=fft_scrambled,fft_complex {SEEDS}",
        rule=Accuracies((_pair("fft_scrambled", "fft_complex", -INFINITE, 0),)),
    ),
    Claim(
        id="fft-reaches-attention",
        text="The FFT reaches at least 92 % of attention's accuracy.",
        source=f"{FNET}: 92 to 97 %",
        made_on=FNET_ON,
        measurement="test top-1 of fft_real as a share of attention's",
        threshold="above 92 %",
        trials=_accuracy("fft_real", "attention"),
        command=f"make bench-all MIXER=fft_real,attention {SEEDS}",
        rule=Accuracies(
            (Contrast((Cell("fft_real"), Cell("attention")), (92, INFINITE), share_percent, "fft_real / attention"),),
            unit="%",
        ),
    ),
    Claim(
        id="random-worse-than-fft",
        text="Fixed random mixing is clearly worse than the FFT.",
        source=FNET,
        made_on=FNET_ON,
        measurement="test top-1 of random less that of fft_real",
        threshold="below -1 point ('clearly', our reading)",
        trials=_accuracy("random", "fft_real"),
        command=f"make bench-all MIXER=random,fft_real {SEEDS}",
        rule=Accuracies((_pair("random", "fft_real", -INFINITE, -1),)),
    ),
    Claim(
        id="dct-hadamard-slightly-worse",
        text="DCT and Hadamard are slightly less accurate than the DFT.",
        source=FNET,
        made_on=FNET_ON,
        measurement="test top-1 of dct and of hadamard, each less that of fft_real",
        threshold="both between -2 and 0 points ('slightly', our reading)",
        trials=_accuracy("dct", "hadamard", "fft_real"),
        command=f"make bench-all MIXER=dct,hadamard,fft_real {SEEDS}",
        rule=Accuracies((_pair("dct", "fft_real", -2, 0), _pair("hadamard", "fft_real", -2, 0))),
    ),
    Claim(
        id="linear-equals-fft",
        text="A learned linear mixing of tokens is as accurate as the FFT.",
        source=f"{FNET}: FNet and Linear both 7.5 to 8 % below BERT-Base",
        made_on=FNET_ON,
        measurement="test top-1 of linear less that of fft_real",
        threshold="between -1 and 1 point ('equal', our reading)",
        trials=_accuracy("linear", "fft_real"),
        command=f"make bench-all MIXER=linear,fft_real {SEEDS}",
        rule=Accuracies((_pair("linear", "fft_real", -1, 1),)),
    ),
    Claim(
        id="hybrid-closes-the-gap",
        text="Attention in two layers, the FFT in the others, closes most of the gap to attention.",
        source=FNET,
        made_on=FNET_ON,
        measurement="test top-1 of hybrid_top less the midpoint of fft_real and attention",
        threshold="above 0 points, that is more than half of the gap; and there must be a gap",
        trials=_accuracy("hybrid_top", "fft_real", "attention"),
        command=f"make bench-all MIXER=hybrid_top,fft_real,attention {SEEDS}",
        rule=Accuracies(
            (
                Contrast(
                    (Cell("hybrid_top"), Cell("fft_real"), Cell("attention")),
                    (0, INFINITE),
                    over_midpoint,
                    "hybrid_top − midpoint of fft_real and attention",
                ),
            ),
            condition=_pair("attention", "fft_real"),
        ),
    ),
    Claim(
        id="any-mixing-beats-none",
        text="Any mixing of tokens beats none.",
        source=f"{FNET}, whose variant without mixing is FF-only",
        made_on=FNET_ON,
        measurement="test top-1 of each mixer measured less that of conv1x1, which has no mixing layer",
        threshold="every difference above 0 points",
        trials=_accuracy("*"),
        command=f"make bench-all MIXER='*' {SEEDS}",
        rule=EachMixer(against="conv1x1"),
    ),
    Claim(
        id="mixing-not-patches",
        text="It is the mixing, not the patches: mixing without patches beats patches without mixing.",
        source="against 'Patches Are All You Need?' (ConvMixer, arXiv 2201.09792), 2022",
        made_on="ConvMixer: ImageNet, and CIFAR-10",
        measurement="test top-1 of linear at patch 1 less that of conv1x1 at patch 2, 4 and 8",
        threshold="every difference above 0 points",
        trials=_accuracy("linear", "conv1x1", patch_size=PATCHES),
        command=f"for p in 1 2 4 8; do make bench-all MIXER=linear,conv1x1 {SMALL} PATCH_SIZE=$p {SEEDS}; done",
        rule=Accuracies(
            tuple(Contrast((_at("linear", 1), _at("conv1x1", p)), (0, INFINITE)) for p in PATCHES[1:]),
            free=("patch_size",),
        ),
    ),
    Claim(
        id="mixing-at-every-patch-size",
        text="Mixing is worth something at every patch size.",
        source="against 'Patches Are All You Need?' (ConvMixer, arXiv 2201.09792), 2022",
        made_on="ConvMixer: ImageNet, and CIFAR-10",
        measurement="test top-1 of linear, fft_real and attention less that of conv1x1 at patch 1, 2, 4 and 8",
        threshold="every difference above 0 points",
        trials=_accuracy("linear", "fft_real", "attention", "conv1x1", patch_size=PATCHES),
        command="for p in 1 2 4 8; do "
        f"make bench-all MIXER=linear,fft_real,attention,conv1x1 {SMALL} PATCH_SIZE=$p {SEEDS}; done",
        rule=Accuracies(
            tuple(
                Contrast((_at(mixer, p), _at("conv1x1", p)), (0, INFINITE))
                for p in PATCHES
                for mixer in ("linear", "fft_real", "attention")
            ),
            free=("patch_size",),
        ),
    ),
    Claim(
        id="coordinates-matter",
        text="Telling every token its coordinates after each mixing layer matters.",
        source=SPECTRACLES,
        made_on=SPECTRACLES_ON,
        measurement="test top-1 of each mixer with the coordinate channels less that without them",
        threshold="every difference above 0 points",
        trials=_accuracy("*", coordinates=(True, False)),
        command=f"make bench-all {SEEDS}; make bench-all {SEEDS} ARGS=--no-coordinates",
        rule=EachMixer(free=("coordinates",), mine=(("coordinates", True),), other=(("coordinates", False),)),
    ),
    Claim(
        id="norm-over-the-image",
        text="Normalising over the whole image is better than per token.",
        source=f"{SPECTRACLES}: 29.1 % over the image, 16.0 % per token",
        made_on=SPECTRACLES_ON,
        measurement="test top-1 of each mixer with NORM=image less that with NORM=token",
        threshold="every difference above 0 points",
        trials=_accuracy("*", norm=("image", "token")),
        command=f"make bench-all {SEEDS}; make bench-all {SEEDS} NORM=token",
        rule=EachMixer(free=("norm",), mine=(("norm", "image"),), other=(("norm", "token"),)),
    ),
    Claim(
        id="depth-fails-without-norm",
        text="Without normalisation a deep spectral net fails.",
        source=f"{SPECTRACLES}: at depth 8, 2.1 % without and 29.1 % with it",
        made_on=SPECTRACLES_ON,
        measurement="the first source's own net at depth 8: test top-1 without standardisation over that with it",
        threshold="below 50 % ('fails', our reading)",
        trials={"verb": "spectracles", "depth": 8, "standardize": ("none", "chw")},
        command="python -m benchmarks spectracles --depth 8 --seed 0,1,2",
        rule=DepthWithoutNorm(8, 50),
    ),
    Claim(
        id="fft-trains-faster",
        text="The FFT trains 80 % faster than attention at 512 tokens, and by more beyond.",
        source=f"{FNET}: 80 % on GPUs, 70 % on TPUs",
        made_on=FNET_ON,
        measurement="time of forward and backward of the net, attention (fused, SDPA) over fft_real, within a round",
        threshold="above 1.8 times as fast at 512 tokens, and more at the largest size",
        trials={"kind": "latency", "mixer": ("fft_real", "attention"), "patch_size": 1, "image_size": ("16x32", "...")},
        command="make latency MIXER=fft_real,attention IMAGE_SIZE=16,16x32,32,48,64",
        rule=TrainingSpeed("fft_real", "attention", 512, 1.8),
    ),
    Claim(
        id="fft-trains-faster-than-plain-attention",
        text="The same against attention as it was computed in 2021, with the whole matrix of weights in memory.",
        source=f"{FNET}: 80 % on GPUs, 70 % on TPUs",
        made_on=FNET_ON,
        measurement="time of forward and backward of the net, attention(backend=plain) over fft_real, within a round",
        threshold="above 1.8 times as fast at 512 tokens, and more at the largest size",
        trials={"kind": "latency", "mixer": ("fft_real", "attention(backend=plain)"), "patch_size": 1},
        command="make latency MIXER=fft_real,attention IMAGE_SIZE=16,16x32,32,48,64",
        rule=TrainingSpeed("fft_real", "attention(backend=plain)", 512, 1.8),
    ),
    Claim(
        id="plain-attention-out-of-memory-first",
        text="Attention runs out of memory before the FFT does.",
        source=f"{FNET}: at 8,192 tokens attention runs out of memory, FNet does not",
        made_on=FNET_ON,
        measurement="statuses of the latency sweep, attention(backend=plain) beside fft_real; where none ran out, peak "
        "memory of the net's forward and backward at the largest size",
        threshold=MEMORY,
        trials={"kind": "latency", "mixer": ("fft_real", "attention(backend=plain)"), "patch_size": 1},
        command="make latency MIXER=fft_real,attention IMAGE_SIZE=64,96,128,192,256",
        rule=MemoryFirst("fft_real", "attention(backend=plain)", 2),
    ),
    Claim(
        id="fused-attention-out-of-memory-first",
        text="Attention through today's fused kernel (SDPA) still runs out of memory before the FFT does.",
        source=f"{FNET}, whose attention was not fused",
        made_on=FNET_ON,
        measurement="the same with attention (SDPA)",
        threshold=MEMORY,
        trials={"kind": "latency", "mixer": ("fft_real", "attention"), "patch_size": 1},
        command="make latency MIXER=fft_real,attention IMAGE_SIZE=64,96,128,192,256",
        rule=MemoryFirst("fft_real", "attention", 2),
    ),
    Claim(
        id="spectral-mixers-grow-as-n-log-n",
        text="The time of spectral mixers grows as N log N.",
        source=FNET,
        made_on=FNET_ON,
        measurement="slope of log time over log tokens of each spectral mixer alone, forward, by round",
        threshold="every exponent below that of N log N over the same sizes plus 0.1 (for noise, our reading)",
        trials={"kind": "latency", "family": "spectral", "patch_size": 1},
        command="make latency MIXER='fft*,hartley' IMAGE_SIZE=16,32,48,64,96,128",
        rule=GrowsAsNLogN("spectral", 0.1),
    ),
)


def judge(frame: pd.DataFrame, results: Folders) -> list[Verdict]:
    """What records say to every claim: one verdict for each data set, profile and machine that measured any of it.

    Args:
        frame: records, of one results folder or several.
        results: the folders that they were read from, for the predictions beside them.

    Returns:
        In the order of CLAIMS; a claim that nothing was measured of is undecided, once.
    """
    return judge_groups([Evidence(group, results) for group in split_groups(frame).values()])


def judge_groups(evidence: Sequence[Evidence]) -> list[Verdict]:
    """As `judge`, from groups of records; what a group has to say is looked for once."""
    verdicts = []
    for claim in CLAIMS:
        # the first source's own net stands outside of all groups
        groups = evidence[:1] if isinstance(claim.rule, DepthWithoutNorm) else evidence
        found = [finding for group in groups if (finding := _find(claim, group)) is not None]
        verdicts += [_verdict(claim, finding) for finding in found] or [_not_measured(claim)]
    return verdicts


def _find(claim: Claim, evidence: Evidence) -> Finding | None:
    if claim.id not in evidence.found:
        evidence.found[claim.id] = claim.rule.find(evidence)
    return evidence.found[claim.id]


def _verdict(claim: Claim, finding: Finding) -> Verdict:
    parts = finding.parts
    against = [part for part in parts if part.outcome == CONTRADICTED]
    open_ = [part for part in parts if part.outcome == UNDECIDED]
    deciding = min(against or open_ or parts, key=lambda part: part.margin)
    many = f" ({len(parts)} comparisons; shown is the one that decides)" if len(parts) > 1 else ""
    if against:
        outcome, reason = CONTRADICTED, f"the interval lies wholly on the other side of the threshold{many}"
    elif open_ or finding.missing:
        outcome, reason = UNDECIDED, "; ".join(_why_open(deciding, finding, len(open_)))
    else:
        outcome, reason = SUPPORTED, f"the interval lies wholly on the claimed side of the threshold{many}"
    if deciding.decided is not None:
        reason = deciding.what
    elif outcome != UNDECIDED and deciding.low == deciding.high:
        reason = reason.replace("the interval lies wholly", "the figure lies")
    if deciding.note and outcome != UNDECIDED:
        reason += f"; {deciding.note}"
    return Verdict(
        claim, outcome, deciding.effect, deciding.low, deciding.high, deciding.n, finding.unit, finding.setting, reason,
        deciding.what, finding.counted, parts,
    )  # fmt: skip


def _why_open(part: Part, finding: Finding, still_open: int) -> list[str]:
    reasons = []
    if finding.missing:
        more = len(finding.missing) - MOST_NAMED
        named = ", ".join(finding.missing[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        reasons.append(f"not measured: {named}")
    if still_open:
        n = span_of([part.n], finding.counted.removesuffix("s"))
        if part.low is None and part.note:
            reasons.append(f"{n}: there is no gap beyond doubt, {part.note}")
        elif part.low is None or part.too_few:
            reasons.append(f"{n}: too few to decide")
        elif part.low == part.high:
            reasons.append("more than the mixer asks for, but less than the threshold")
        elif part.beyond:
            many = f"widened for {len(finding.parts)} comparisons it includes the threshold"
            reasons.append(f"{n}; the interval lies on the other side, but {many}")
        else:
            reasons.append(f"{n}; the interval includes the threshold")
        if len(finding.parts) > 1:
            decided = len(finding.parts) - still_open
            reasons.append(f"{decided} of {len(finding.parts)} comparisons lie on the claimed side")
        if part.note and part.low is not None:
            reasons.append(part.note)
    return reasons


def _not_measured(claim: Claim) -> Verdict:
    reason = f"not measured: needs {claim.command}"
    return Verdict(claim, UNDECIDED, None, None, None, 0, "", "", reason)


def write_claims(results: Folders) -> tuple[list[Verdict], list[Path]]:
    """Judges all claims from one results folder or several, and writes `claims.csv` and `claims.md` into the first.

    Raises:
        UserError: a folder does not exist, or holds no records.
    """
    frames = [load_results(folder) for folder in folders(results)]
    frame = pd.concat(frames, ignore_index=True).drop_duplicates(["kind", "id"]).reset_index(drop=True)
    verdicts = judge(frame, results)
    return verdicts, write_verdicts(verdicts, folders(results)[0])


def write_verdicts(verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """Writes `claims.csv` and `claims.md` into a folder."""
    paths = [folder / "claims.csv", folder / "claims.md"]
    for path, text in zip(paths, (programs(verdicts), people(verdicts)), strict=True):
        with atomic_write(path) as file:
            file.write(text.encode())
    return paths


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
        "one that decides. Intervals of accuracies are over seeds and test images, of times over rounds; bytes "
        "are counted and have none. Verdicts are not corrected for the number of claims.",
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
        return f"{value:.1f}" if unit == "%" else significant(value)

    if verdict.effect is None or not math.isfinite(verdict.effect):
        return NOTHING
    words = {"points": " points", "%": " %", "times": " times"}.get(unit, "")
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
            rows = [[markdown(p.what), effect_text(p, v.unit), str(p.n), p.outcome] for p in v.parts]
            lines.append(markdown_table(["comparison", "effect (interval)", f"n ({v.counted})", "alone"], rows, 1))
    return lines
