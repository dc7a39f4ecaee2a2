"""What the literature says of mixers on long sequences, as data: claims that records of sequences alone decide."""

from __future__ import annotations

from benchmarks.report.claims.lengths import FasterFrom, FasterTheLonger, LeastMemory
from benchmarks.report.claims.parts import FNET, INFINITE, Claim
from benchmarks.report.claims.rules import Arm, Contrast
from benchmarks.report.claims.tasks import CannotWithout, OfTasks, OverTasks
from benchmarks.report.claims.times import MemoryFirst
from benchmarks.report.stats.evidence import SEQUENCES_ALONE

PLAIN = "attention(backend=plain)"
HYBRID = "1xfft_real+1xattention"
LRA_ON = "Long Range Arena's tasks, 1,024 to 4,096 tokens, its own settings, one run each"
LENGTHS_ON = "nets on Long Range Arena's text task, 512 to 8,192 tokens and more, GPUs (V100) and TPUs"
RECALL_ON = "language models of text, and associative recall drawn by a program; convolutions beside attention"
ZOOLOGY = "our reading of Zoology (Arora et al., arXiv 2312.04927), 2023, on convolutions that do not see the content"
LENGTHS = (512, 1024, 2048, 4096, 8192)
SEEDS = "SEED=0,1,2"
LRA = (("listops",), ("imdb",), ("retrieval", "pairs"), ("pixels", "pixels100"), ("pathfinder",))
STAND_INS = "pairs where retrieval and pixels100 where pixels was not measured"
EACH_LRA = f"for d in listops imdb pairs pixels100 pathfinder; do make bench-all DATASET=$d {SEEDS} MIXER="
RECALL = ("recall", "match")
NEEDED = ("fft_real", "dct", "hadamard", "random")
FIXED = (
    *NEEDED, "fft_complex", "fft_imag", "fft_magphase", "fft_pairs", "fft_real_2d", "fft_scrambled", "hartley",
    "random_fnet", "random_orthogonal", "random_separable",
)  # fmt: skip
SIX_LENGTHS = "LENGTH=512,1024,2048,4096,8192,16384"


def _latency(*mixers: str) -> dict[str, object]:
    return {"kind": "latency", "mixer": mixers, "length": LENGTHS}


SEQUENCE_CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="fft-reaches-attention-on-text",
        task=SEQUENCES_ALONE,
        text="On the bytes of film reviews the FFT is at least as accurate as attention.",
        source=f"{FNET}: 65.11 and 61.54 % on Long Range Arena's text task",
        made_on=LRA_ON,
        measurement="test top-1 of fft_real less that of attention on imdb; no verdict where neither is above its "
        "baseline",
        threshold="above -1 point ('at least as good', our reading)",
        trials={"kind": "accuracy", "mixer": ("fft_real", "attention"), "dataset": "imdb"},
        command=f"make bench-all DATASET=imdb MIXER=fft_real,attention {SEEDS}",
        rule=OfTasks((Contrast((Arm("fft_real"), Arm("attention")), (-1, INFINITE)),), tasks=("imdb",)),
    ),
    Claim(
        id="fft-reaches-attention-on-lra",
        task=SEQUENCES_ALONE,
        text="Over Long Range Arena's tasks the FFT is nearly as accurate as attention, and not more.",
        source=f"{FNET}: 55.30 and 55.83 % on average, 99 %",
        made_on=LRA_ON,
        measurement="mean test top-1 over listops, imdb, retrieval, pixels and pathfinder, fft_real as a share of "
        f"attention; {STAND_INS}; without tasks at which neither is above its baseline",
        threshold="between 92 and 100 % (92 is its share on GLUE)",
        trials={"kind": "accuracy", "mixer": ("fft_real", "attention"), "dataset": LRA},
        command=f"{EACH_LRA}fft_real,attention; done",
        rule=OverTasks("fft_real", ("attention",), LRA, (92, 100)),
    ),
    Claim(
        id="performer-and-linear-behind-on-lra",
        task=SEQUENCES_ALONE,
        text="Over Long Range Arena's tasks Performer and the learned linear mixing are behind the FFT.",
        source=f"{FNET}, beside Performer's row in Long Range Arena (Tay et al., arXiv 2011.04006), 2020",
        made_on=LRA_ON,
        measurement="the same mean, fft_real as a share of performer and of linear_fnet",
        threshold="both above 100 %",
        trials={"kind": "accuracy", "mixer": ("fft_real", "performer", "linear_fnet"), "dataset": LRA},
        command=f"{EACH_LRA}fft_real,performer,linear_fnet; done",
        rule=OverTasks("fft_real", ("performer", "linear_fnet"), LRA, (100, INFINITE)),
    ),
    Claim(
        id="fft-needs-least-memory",
        task=SEQUENCES_ALONE,
        text="The FFT needs less memory than Performer and attention at every length.",
        source=FNET,
        made_on=LENGTHS_ON,
        measurement="peak memory of the net's forward and backward, performer and attention(backend=plain) over "
        "fft_real, at 512 to 8,192 tokens",
        threshold="every ratio above 1; running out of memory alone counts as more",
        trials=_latency("fft_real", "performer", PLAIN),
        command=f"make latency DATASET=imdb MIXER=fft_real,performer,attention {SIX_LENGTHS}",
        rule=LeastMemory("fft_real", ("performer", PLAIN), LENGTHS),
    ),
    Claim(
        id="fft-needs-less-memory-than-fused-attention",
        task=SEQUENCES_ALONE,
        text="The FFT needs less memory than attention through today's fused kernel (SDPA), too.",
        source=f"{FNET}, whose attention was not fused",
        made_on=LENGTHS_ON,
        measurement="the same with attention (SDPA)",
        threshold="every ratio above 1",
        trials=_latency("fft_real", "attention"),
        command=f"make latency DATASET=imdb MIXER=fft_real,attention {SIX_LENGTHS}",
        rule=LeastMemory("fft_real", ("attention",), LENGTHS),
    ),
    Claim(
        id="fft-is-faster-the-longer",
        task=SEQUENCES_ALONE,
        text="The FFT's lead in training speed over plain attention grows with every length.",
        source=FNET,
        made_on=LENGTHS_ON,
        measurement="time of forward and backward of the net, attention(backend=plain) over fft_real, at each length "
        "over the same at the one before, as far as plain attention fits",
        threshold="every growth above 1 times",
        trials=_latency("fft_real", PLAIN),
        command=f"make latency DATASET=imdb MIXER=fft_real,attention {SIX_LENGTHS} SITTINGS=3",
        rule=FasterTheLonger("fft_real", PLAIN, LENGTHS[:3]),
    ),
    Claim(
        id="linear-time-attention-overtakes",
        task=SEQUENCES_ALONE,
        text="Performer and linear attention train faster than plain attention from 1,024 to 2,048 tokens on.",
        source="Long Range Arena (Tay et al., arXiv 2011.04006), 2020, which compares lengths from 1,000 on",
        made_on="its text task, 1,000 to 4,000 tokens, TPUs",
        measurement="time of forward and backward of the net, attention(backend=plain) over performer and over "
        "linear_attention, at 2,048 tokens; 512 and 1,024 are shown beside",
        threshold="both above 1 times as fast at 2,048 tokens",
        trials=_latency("performer", "linear_attention", PLAIN),
        command=f"make latency DATASET=imdb MIXER=performer,linear_attention,attention {SIX_LENGTHS} SITTINGS=3",
        rule=FasterFrom(("performer", "linear_attention"), PLAIN, 2048, (512, 1024)),
    ),
    Claim(
        id="fused-attention-fits-where-plain-does-not",
        task=SEQUENCES_ALONE,
        text="Attention's fused kernel (SDPA) keeps it from running out of memory where plain attention does.",
        source="FlashAttention (Dao et al., arXiv 2205.14135), 2022: memory linear in the length",
        made_on="GPT-2 and Long Range Arena, 128 to 65,536 tokens, GPUs (A100)",
        measurement="statuses of the latency sweep, attention(backend=plain) beside attention; where none ran out, "
        "peak memory of the net's forward and backward at the largest length",
        threshold="plain attention alone runs out; where neither does, asks for over twice the memory (our reading)",
        trials=_latency("attention", PLAIN),
        command=f"make latency DATASET=imdb MIXER=attention {SIX_LENGTHS}",
        rule=MemoryFirst("attention", PLAIN, 2),
    ),
    Claim(
        id="fixed-transforms-cannot-recall",
        task=SEQUENCES_ALONE,
        text="Fixed transforms cannot look up by content, attention can.",
        source=ZOOLOGY,
        made_on=RECALL_ON,
        measurement="on recall and on match, each by itself: test top-1 of every fixed transform measured less the "
        "highest predictor that looks at one thing alone; that of attention less 95 %, where a task counts as solved. "
        "A rule made after runs of one seed had been seen",
        threshold="every transform under 5 points above that predictor (our reading), attention above 95 %",
        trials={"kind": "accuracy", "mixer": ("attention", *FIXED), "dataset": RECALL},
        command=f"for d in recall match; do make bench-all DATASET=$d {SEEDS} MIXER=attention,{','.join(NEEDED)}; done",
        rule=CannotWithout(tasks=RECALL, fixed=FIXED, needed=NEEDED),
    ),
    Claim(
        id="one-attention-layer-restores-recall",
        task=SEQUENCES_ALONE,
        text="One layer of attention behind one of the FFT restores what the FFT cannot look up.",
        source=f"{ZOOLOGY}, and {FNET}, whose hybrids have attention on top",
        made_on=RECALL_ON,
        measurement=f"on recall and on match, each by itself: test top-1 of {HYBRID} less that of attention; there "
        "must be a gap between attention and fft_real",
        threshold="above -5 points ('restores', our reading)",
        trials={"kind": "accuracy", "mixer": (HYBRID, "attention", "fft_real"), "dataset": RECALL},
        command=f"for d in recall match; do make bench-all DATASET=$d {SEEDS} MIXER=attention,fft_real,{HYBRID}; done",
        rule=OfTasks(
            (Contrast((Arm(HYBRID), Arm("attention")), (-5, INFINITE)),),
            condition=Contrast((Arm("attention"), Arm("fft_real")), (0, INFINITE)),
            tasks=RECALL,
        ),
    ),
)
