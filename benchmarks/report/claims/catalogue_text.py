"""What FNet says of text, as data, held against records of text: shown only where a folder has some.

The DFT is `fft_real`, which in a TextEncoder is not normalised, as FNet's own. Claims on pre-training are judged by
masked accuracy, those on tasks by the mean over the tasks on which any encoder leaves what a constant answer reaches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from benchmarks.contract.facts.datasets import PRETRAIN, task_name
from benchmarks.report.claims.catalogue import THREE_SITTINGS
from benchmarks.report.claims.parts import FNET, FNET_ON, INFINITE, Claim, Finding, Range, Rule
from benchmarks.report.claims.rules import Accuracies, Arm, Contrast, share_percent
from benchmarks.report.claims.times import TrainingSpeed
from benchmarks.report.stats.evidence import TEXT_ALONE, Evidence
from benchmarks.report.stats.text_lines import MEAN, find_lines

DFT = "fft_real"


@dataclasses.dataclass(frozen=True)
class OnText(Accuracies):
    """Scores of encoders that were pre-trained alike.

    Attributes:
        over: what the name of the data set begins with: pre-training, or the mean over tasks.
    """

    over: str = PRETRAIN

    def find(self, evidence: Evidence) -> Finding | None:
        here = str(evidence.frame.iloc[0]["dataset"]).startswith(self.over)
        return super().find(evidence) if here else None


@dataclasses.dataclass(frozen=True)
class SpeedOnText:
    """How many times as fast as attention an encoder with the DFT trains."""

    tokens: int
    times: float

    def find(self, evidence: Evidence) -> Finding | None:
        if evidence.frame.iloc[0]["dataset"] != PRETRAIN:
            return None
        return TrainingSpeed(DFT, "attention", self.tokens, self.times).find(evidence)


def _less(a: str, b: str, low: float, high: float) -> Contrast:
    return Contrast((Arm(a), Arm(b)), (low, high))


def _share(mixer: str, least: float) -> Contrast:
    return Contrast((Arm(mixer), Arm("attention")), (least, INFINITE), share_percent, f"{mixer} / attention")


def _typed(*names: str) -> str:
    return f"make text MIXER={','.join(dict.fromkeys(names))} SEED=0,1,2"


def _both(
    name: str, text: str, source: str, measured: str, threshold: str, contrasts: Sequence[Contrast], **rule: Any
) -> list[Claim]:
    """One claim of masked accuracy, and the same of the mean over tasks."""
    mixers = list(dict.fromkeys(arm.mixer for contrast in contrasts for arm in contrast.arms))
    found = []
    for where, over, score in (
        ("pretraining", PRETRAIN, "masked accuracy"),
        ("tasks", MEAN, "the mean over the tasks on which any encoder leaves a constant answer"),
    ):
        found.append(
            Claim(
                id=f"text-{where}-{name}",
                text=f"Text, {'pre-training' if over == PRETRAIN else 'tasks'}: {text}",
                source=source,
                made_on=FNET_ON,
                measurement=f"{score}: {measured}",
                threshold=threshold,
                trials={"kind": "accuracy", "mixer": tuple(mixers), "dataset": PRETRAIN},
                command=_typed(*mixers),
                rule=OnText(tuple(contrasts), over=over, **rule),
                task=TEXT_ALONE,
            )
        )
    return found


EQUAL: Range = (-1, 1)
TEXT_CLAIMS: tuple[Claim, ...] = (
    *_both(
        "fft-reaches-attention",
        "FNet reaches at least 92 % of BERT's accuracy.",
        f"{FNET}: 92 to 97 % on GLUE; of masked accuracy its Table 5 has 85 % (Base) and 88 % (Large)",
        "of the DFT as a share of attention's",
        "above 92 %",
        [_share(DFT, 92)],
        unit="%",
    ),
    *_both(
        "linear-equals-fft",
        "Linear, a learned matrix over tokens and one over channels, is as accurate as FNet.",
        f"{FNET}: on GLUE 77.0 and 76.7",
        "of linear_fnet less that of the DFT",
        "between -1 and 1 point ('as', our reading)",
        [_less("linear_fnet", DFT, *EQUAL)],
    ),
    *_both(
        "random-and-none-worse",
        "Random and FF-only are clearly worse than FNet, and FF-only is not above Random.",
        f"{FNET}: on GLUE 56.6 and 49.3 against 76.7",
        "of random_fnet and of ff_only, each less that of the DFT; of ff_only less that of random_fnet",
        "the first two below -1 point ('clearly', our reading), the third below 1 point",
        [
            _less("random_fnet", DFT, -INFINITE, -1),
            _less("ff_only", DFT, -INFINITE, -1),
            _less("ff_only", "random_fnet", -INFINITE, 1),
        ],
    ),
    *_both(
        "dct-hadamard-below-fft",
        "DCT and Hadamard are below the DFT.",
        f"{FNET}: on GLUE by about 4 and 2 points",
        "of dct and of hadamard, each less that of the DFT",
        "both below 0 points",
        [_less("dct", DFT, -INFINITE, 0), _less("hadamard", DFT, -INFINITE, 0)],
    ),
    *_both(
        "hybrid-closes-the-gap",
        "Attention in the last two layers closes the gap to 97 to 99 % of BERT.",
        f"{FNET}: two of twelve layers (Base) and of 24 (Large), on GLUE; of masked accuracy its Table 5 has 93 %",
        "of hybrid_top as a share of attention's",
        "above 97 %",
        [_share("hybrid_top", 97)],
        unit="%",
    ),
    *_both(
        "hartley-equals-fft",
        "The Hartley transform is as accurate as the DFT.",
        f"{FNET}: on GLUE both 76.7",
        "of hartley less that of the DFT",
        "between -1 and 1 point ('as', our reading)",
        [_less("hartley", DFT, *EQUAL)],
    ),
    *_both(
        "imaginary-part-helps",
        "Keeping the imaginary part of the transform helps.",
        "the question of spectracles (mkaic, 2024), which it asks of images; FNet keeps the real part alone",
        "of fft_complex and of fft_pairs, each less that of the real part alone, each with its own gain",
        "both above 0 points",
        [_less("fft_complex", DFT, 0, INFINITE), _less("fft_pairs", DFT, 0, INFINITE)],
    ),
    Claim(
        id="text-pretraining-top-before-bottom",
        text="Text, pre-training: attention in the last layers is better than in the first.",
        source=f"{FNET}, Table 9: of two layers TOP 52.6, MIXED 50.9, MIDDLE 49.9, BOTTOM 49.7 % masked accuracy",
        made_on=FNET_ON,
        measurement="masked accuracy of hybrid_top less that of hybrid_bottom",
        threshold="above 0 points",
        trials={"kind": "accuracy", "mixer": ("hybrid_top", "hybrid_bottom"), "dataset": PRETRAIN},
        command=_typed("hybrid_top", "hybrid_bottom"),
        rule=OnText((_less("hybrid_top", "hybrid_bottom", 0, INFINITE),)),
        task=TEXT_ALONE,
    ),
    Claim(
        id="text-fft-trains-faster",
        text="Text: FNet trains 80 % faster than BERT at 512 tokens, and by more beyond.",
        source=f"{FNET}: 80 % on GPUs, 70 % on TPUs",
        made_on=FNET_ON,
        measurement="time of forward and backward of the encoder, attention (fused, SDPA) over the DFT, within a "
        f"round; {THREE_SITTINGS}",
        threshold="above 1.8 times as fast at 512 tokens, and more at the largest length",
        trials={"kind": "latency", "mixer": (DFT, "attention"), "dataset": PRETRAIN, "length": (512, "...")},
        command=f"make latency DATASET=pretrain MIXER={DFT},attention LENGTH=256,512,1024,2048 SITTINGS=3",
        rule=SpeedOnText(512, 1.8),
        task=TEXT_ALONE,
    ),
)


def text_claims(evidence: Sequence[Evidence]) -> tuple[Claim, ...]:
    """The claims on text where these groups have some text, else none."""
    return TEXT_CLAIMS if any(_is_text(group) for group in evidence) else ()


def groups_for(rule: Rule, evidence: Sequence[Evidence]) -> Sequence[Evidence]:
    """What a rule is held against: of one on tasks, their mean in each line of text, as a group of its own."""
    if not isinstance(rule, OnText) or rule.over == PRETRAIN:
        return evidence
    parts = [part for line in find_lines(evidence) for part in line.parts if not part.scratch]
    return [part.mean.evidence for part in parts if part.mean is not None]


def _is_text(group: Evidence) -> bool:
    return task_name(str(group.frame.iloc[0]["dataset"])) == "text"
