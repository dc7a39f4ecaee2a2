"""What the literature says of token mixers, as data; `verdicts.py` holds it against records.

Each claim names its source, what it was made on, what decides it here, and from where on it holds. Words such as
"slightly" and "equal" are made numbers by us; the threshold says so.
"""

from __future__ import annotations

from typing import Any

from benchmarks.report.claims.catalogue_sequences import SEQUENCE_CLAIMS
from benchmarks.report.claims.parts import FNET, FNET_ON, INFINITE, NOWHERE, Claim, Range
from benchmarks.report.claims.pooled import EffectOverMixers, VarianceShares
from benchmarks.report.claims.rules import Accuracies, Arm, Contrast, EachMixer, over_midpoint, share_percent
from benchmarks.report.claims.source import ComplexWeights, DepthWithoutNorm
from benchmarks.report.claims.times import GrowsAsNLogN, MemoryFirst, TrainingSpeed
from benchmarks.report.stats.evidence import IMAGES_ALONE

PATCHES = (1, 2, 4, 8)
SPECTRACLES = "spectracles README (mkaic/spectracles), 2024"
SPECTRACLES_ON = "CIFAR-100, 32 px, every pixel a token, width 32 to 64, depth 4 to 8, single runs of 30 to 150 epochs"
MEMORY = (
    "attention alone runs out; where neither does, asks for over twice the memory (our reading; less: contradicted)"
)
THREE_SITTINGS = "judged over three sittings, so the command is run three times, an hour or more apart"
SMALL = "IMAGE_SIZE=16 DIM=32"  # a net that can afford every pixel as a token
SEEDS = "DATASET=cifar100 SEED=0,1,2,3,4,5,6,7"
POOLED = (
    "the mean over mixers above 0 points, by random effects and its 95 % interval; below 0: contradicted. Of five "
    "mixers or more; no one mixer decides"
)
FIVE_SEEDS = (0, 1, 2, 3, 4)
ONE_LAYER, TWO_LAYERS = "7xfft_real+1xattention", "hybrid_top"  # of eight; the source has two of twelve


def _pair(a: str, b: str, low: float = 0, high: float = INFINITE) -> Contrast:
    return Contrast((Arm(a), Arm(b)), (low, high))


def _closes_half(hybrid: str, denied: Range | None = None) -> Contrast:
    """A hybrid above the midpoint of its two mixers."""
    arms = (Arm(hybrid), Arm("fft_real"), Arm("attention"))
    return Contrast(arms, (0, INFINITE), over_midpoint, f"{hybrid} − midpoint of fft_real and attention", denied)


def _accuracy(*mixers: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "accuracy", "mixer": mixers, **fields}


WITH_BOTH, WITH_ONE = ("fft_complex", "fft_pairs"), ("fft_real_2d", "fft_real", "fft_imag")
CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="imaginary-part-helps",
        text="Keeping the imaginary part of the transform helps: both parts as real channels, against one part.",
        source=f"our reading of the {SPECTRACLES}, which says it of complex weights (below)",
        made_on=SPECTRACLES_ON,
        measurement="test top-1 of fft_complex and of fft_pairs, each less that of fft_real_2d, fft_real and fft_imag",
        threshold="every difference above 0 points",
        trials=_accuracy(*WITH_BOTH, *WITH_ONE),
        command=f"make bench-all MIXER={','.join((*WITH_BOTH, *WITH_ONE))} {SEEDS}",
        rule=Accuracies(tuple(_pair(a, b) for a in WITH_BOTH for b in WITH_ONE)),
    ),
    Claim(
        id="complex-weights-help",
        text="The net works best with complex weights.",
        source=f"{SPECTRACLES}: 'works best if its layers are complex-valued', without a figure",
        made_on=SPECTRACLES_ON,
        measurement="the first source's own net, in the right layout, with the norm over the image: test top-1 with "
        "complex weights less that of the real net whose parameters are equal within 5 % (a complex weight is two), "
        "trained alike",
        threshold="above 0 points",
        trials={"verb": "spectracles", "complex": (True, False), "depth": 4, "epochs": 5},
        command="make spectracles DEPTH=4 SEED=0,1,2 EPOCHS=5 ARGS=--complex",
        rule=ComplexWeights(4, 0.05),
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
            (Contrast((Arm("fft_real"), Arm("attention")), (92, INFINITE), share_percent, "fft_real / attention"),),
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
        text="Attention in a sixth of the layers, the FFT in the others, closes most of the gap to attention.",
        source=f"{FNET}: attention in the last two of twelve layers",
        made_on=FNET_ON,
        measurement="nets of eight layers, attention in the last one or two: test top-1 less the midpoint of fft_real "
        "and attention, seeds 0 to 4 alone; the source's share lies between the two",
        threshold="with one layer above 0 points, that is more than half of the gap, and so with two; contradicted if "
        "two do not reach it; and there must be a gap",
        trials=_accuracy(ONE_LAYER, TWO_LAYERS, "fft_real", "attention", depth=8, seed=FIVE_SEEDS),
        command=f"make bench-all MIXER={ONE_LAYER},{TWO_LAYERS},fft_real,attention DATASET=cifar100 {SMALL} "
        "PATCH_SIZE=2 DEPTH=8 SEED=0,1,2,3,4",
        rule=Accuracies(
            (_closes_half(ONE_LAYER, NOWHERE), _closes_half(TWO_LAYERS)),
            condition=_pair("attention", "fft_real"),
            where=(("depth", 8),),
            seeds=FIVE_SEEDS,
            fewest=len(FIVE_SEEDS),
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
        task=IMAGES_ALONE,
        text="It is the mixing, not the patches.",
        source="against 'Patches Are All You Need?' (ConvMixer, arXiv 2201.09792), 2022",
        made_on="ConvMixer: ImageNet, and CIFAR-10",
        measurement="share of the variance between nets (each mixer, conv1x1 among them, at every patch size measured, "
        "1, 2, 4 and 8 at least; what their seeds add taken out) that the mixer explains, less the share of the patch "
        "size; with linear and without it, as the table decomposition has it. A rule made after the first records had "
        "been seen: the one before held linear at patch 1 against conv1x1, and rested on that one mixer",
        threshold="above 0 % of the variance both times; contradicted if either is below, since no one mixer is to "
        "decide",
        trials=_accuracy("*", patch_size=PATCHES),
        command=f"for p in 1 2 4 8; do make bench-all {SMALL} PATCH_SIZE=$p {SEEDS} "
        "MIXER=attention,conv1x1,dct,fft_complex,fft_real,hadamard,linear,random; done",
        rule=VarianceShares((), patches=PATCHES),
    ),
    Claim(
        id="mixing-at-every-patch-size",
        task=IMAGES_ALONE,
        text="Mixing is worth something at every patch size.",
        source="against 'Patches Are All You Need?' (ConvMixer, arXiv 2201.09792), 2022",
        made_on="ConvMixer: ImageNet, and CIFAR-10",
        measurement="test top-1 of each mixer less that of conv1x1, pooled over the mixers, at patch 1, 2, 4 and 8",
        threshold=f"at every patch size {POOLED}",
        trials=_accuracy("*", patch_size=PATCHES),
        command=f"for p in 1 2 4 8; do make bench-all {SMALL} PATCH_SIZE=$p {SEEDS} "
        "MIXER=attention,conv1x1,dct,fft_complex,fft_real,hadamard,linear,random; done",
        rule=EffectOverMixers(
            free=("patch_size",), against="conv1x1", at=tuple((("patch_size", patch),) for patch in PATCHES)
        ),
    ),
    Claim(
        id="coordinates-matter",
        task=IMAGES_ALONE,
        text="Telling every token its coordinates after each mixing layer matters.",
        source=SPECTRACLES,
        made_on=SPECTRACLES_ON,
        measurement="test top-1 with the coordinate channels less that without them, pooled over the mixers measured",
        threshold=POOLED,
        trials=_accuracy("*", coordinates=(True, False)),
        command=f"make bench-all {SEEDS}; make bench-all {SEEDS} ARGS=--no-coordinates",
        rule=EffectOverMixers(free=("coordinates",), mine=(("coordinates", True),), other=(("coordinates", False),)),
    ),
    Claim(
        id="norm-over-the-image",
        task=IMAGES_ALONE,
        text="Normalising over the whole image is better than per token.",
        source=f"{SPECTRACLES}: 29.1 % over the image, 16.0 % per token",
        made_on=SPECTRACLES_ON,
        measurement="test top-1 with NORM=image less that with NORM=token, pooled over the mixers measured",
        threshold=POOLED,
        trials=_accuracy("*", norm=("image", "token")),
        command=f"make bench-all {SEEDS}; make bench-all {SEEDS} NORM=token",
        rule=EffectOverMixers(free=("norm",), mine=(("norm", "image"),), other=(("norm", "token"),)),
    ),
    Claim(
        id="depth-fails-without-norm",
        text="Without normalisation a deep spectral net fails.",
        source=f"{SPECTRACLES}: at depth 8, 2.1 % without and 29.1 % with it",
        made_on=SPECTRACLES_ON,
        measurement="the first source's own net at depth 8, ten epochs, in its own scrambled layout and in the right "
        "one: test top-1 without standardisation over that with it",
        threshold="below 50 % in both layouts ('fails', our reading); fewer epochs decide nothing",
        trials={"verb": "spectracles", "depth": 8, "standardize": ("none", "chw"), "epochs": 10},
        command="make spectracles DEPTH=8 SEED=0,1,2 EPOCHS=10",
        rule=DepthWithoutNorm(8, 50, 10),
    ),
    Claim(
        id="fft-trains-faster",
        text="The FFT trains 80 % faster than attention at 512 tokens, and by more beyond.",
        source=f"{FNET}: 80 % on GPUs, 70 % on TPUs",
        made_on=FNET_ON,
        measurement="time of forward and backward of the net, attention (fused, SDPA) over fft_real, within a round; "
        f"{THREE_SITTINGS}",
        threshold="above 1.8 times as fast at 512 tokens, and more at the largest size",
        trials={"kind": "latency", "mixer": ("fft_real", "attention"), "patch_size": 1, "image_size": ("16x32", "...")},
        command="make latency MIXER=fft_real,attention IMAGE_SIZE=16,16x32,32,48,64 SITTINGS=3",
        rule=TrainingSpeed("fft_real", "attention", 512, 1.8),
    ),
    Claim(
        id="fft-trains-faster-than-plain-attention",
        text="The same against attention as it was computed in 2021, with the whole matrix of weights in memory.",
        source=f"{FNET}: 80 % on GPUs, 70 % on TPUs",
        made_on=FNET_ON,
        measurement="time of forward and backward of the net, attention(backend=plain) over fft_real, within a round; "
        f"{THREE_SITTINGS}",
        threshold="above 1.8 times as fast at 512 tokens, and more at the largest size",
        trials={"kind": "latency", "mixer": ("fft_real", "attention(backend=plain)"), "patch_size": 1},
        command="make latency MIXER=fft_real,attention IMAGE_SIZE=16,16x32,32,48,64 SITTINGS=3",
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
        measurement="slope of log time over log tokens of each spectral mixer alone, forward, by round; "
        f"{THREE_SITTINGS}",
        threshold="every exponent below that of N log N over the same sizes plus 0.1 (for noise, our reading)",
        trials={"kind": "latency", "family": "spectral", "patch_size": 1},
        command="make latency MIXER='fft*,hartley' IMAGE_SIZE=16,32,48,64,96,128 SITTINGS=3",
        rule=GrowsAsNLogN("spectral", 0.1),
    ),
    *SEQUENCE_CLAIMS,
)
