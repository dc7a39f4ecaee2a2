"""What others published of text encoders, as data, to be shown beside ours; each row says where from, and how sure.

FNet's own tables were not at hand. What is here of them was read in a long analysis of the paper, and single figures
were compared with leaderboards, other papers and the model card of google/fnet-base, which repeats FNet-Base's row.
What nothing confirms is left out: GLUE of Linear-Large; pre-training of Linear, Random and FF-only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

READ = "read at the source"
SECOND_HAND = "second hand, compared with other sources"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """Where figures are from.

    Attributes:
        title: as people cite it.
        url: of it.
        certainty: READ or SECOND_HAND.
        tested_on: the rows behind scores.
        metrics: by GLUE task, what its figure is, where that is not accuracy.
        made: how and on what, in a sentence.
    """

    title: str
    url: str
    certainty: str
    tested_on: str = ""
    metrics: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    made: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A model, and the mixer of ours that is in its place, by the name that records have; None where there is none."""

    model: str
    ours: str | None
    source: Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlueRow(Row):
    """Scores in points of 100.

    Attributes:
        scores: by task ("mnli_mm" is MNLI's mismatched set), one figure, or one for each of the source's metrics where
            `separate`; None of one that failed.
        separate: whether a task of several metrics has them apart, not their mean.
        average: as the source has it.
    """

    scores: Mapping[str, float | tuple[float, ...] | None]
    separate: bool = False
    average: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainRow(Row):
    """At the end of pre-training; losses in nats, accuracies from 0 to 1."""

    total_loss: float
    mlm_loss: float
    order_loss: float
    mlm_accuracy: float
    order_accuracy: float


PAPER = "Lee-Thorp et al., FNet: Mixing Tokens with Fourier Transforms (NAACL 2022)"
ARXIV = "https://arxiv.org/abs/2105.03824"
MEAN_OF_BOTH = ("f1", "accuracy")

FNET_GLUE = Source(
    title=f"{PAPER}, GLUE",
    url=ARXIV,
    certainty=SECOND_HAND,
    tested_on="the development sets",
    metrics={"qqp": MEAN_OF_BOTH, "mrpc": MEAN_OF_BOTH, "stsb": ("spearman",)},
    made="the best of 3 trials (Base) or 6 (Large) at each rate; no deviations are given",
)
FNET_PRETRAINING = Source(
    title=f"{PAPER}, Table 5", url=ARXIV, certainty=SECOND_HAND, made="C4, 512 tokens, a million steps; order by swap"
)
FNET_CARD = Source(
    title="Model card of google/fnet-base",
    url="https://huggingface.co/google/fnet-base",
    certainty=READ,
    tested_on="the development sets",
    metrics={**FNET_GLUE.metrics, "cola": ("matthews",)},
    made="PyTorch, 512 tokens, batch 16, rate 2e-5, 3 epochs, 5 for MRPC and WNLI, one run",
)
MINIATURES = Source(
    title="Model cards of BERT miniatures (Turc et al., Well-Read Students Learn Better, 2019)",
    url="https://huggingface.co/google/bert_uncased_L-2_H-128_A-2",
    certainty=READ,
    tested_on="the test sets, by GLUE's server",
    metrics={"cola": ("matthews",), "mrpc": MEAN_OF_BOTH, "qqp": MEAN_OF_BOTH, "stsb": ("pearson", "spearman")},
    made="pre-trained in full; the best of 20 settings of batch and rate for each task, 4 epochs",
)

PAPER_TASKS = ("mnli", "mnli_mm", "qqp", "qnli", "sst2", "cola", "stsb", "mrpc", "rte")
CARD_TASKS = ("mnli", "qqp", "qnli", "sst2", "cola", "stsb", "mrpc", "rte", "wnli")


def _paper(model: str, ours: str | None, *figures: float | None) -> GlueRow:
    *scores, average = figures
    assert average is not None
    by_task = dict(zip(PAPER_TASKS, scores, strict=True))
    return GlueRow(model=model, ours=ours, source=FNET_GLUE, scores=by_task, average=average)


def _card(model: str, ours: str, *figures: float) -> GlueRow:
    *scores, average = figures
    by_task = dict(zip(CARD_TASKS, scores, strict=True))
    return GlueRow(model=model, ours=ours, source=FNET_CARD, scores=by_task, average=average)


def _miniature(model: str, average: float, **scores: float | tuple[float, ...]) -> GlueRow:
    return GlueRow(model=model, ours="attention", source=MINIATURES, scores=scores, separate=True, average=average)


GLUE: tuple[GlueRow, ...] = (
    _paper("BERT-Base", "attention", 84, 81, 87, 91, 93, 73, 89, 83, 69, 83.3),
    _paper("Linear-Base", "linear_fnet", 74, 75, 84, 80, 94, 67, 67, 83, 69, 77.0),
    _paper("FNet-Base", "fft_real", 72, 73, 83, 80, 95, 69, 79, 76, 63, 76.7),
    _paper("Random-Base", "random_fnet", 51, 50, 70, 61, 76, 67, 4, 73, 57, 56.6),
    _paper("FF-only-Base", "conv1x1", 34, 35, 31, 52, 48, 67, None, 73, 54, 49.3),
    _paper("FNet-Hybrid-Base", "hybrid_top", 78, 79, 85, 88, 94, 76, 86, 79, 60, 80.6),
    _paper("BERT-Large", "attention", 88, 88, 88, 92, 95, 71, 88, 86, 66, 84.7),
    _paper("FNet-Large", "fft_real", 78, 76, 85, 85, 94, 78, 84, 88, 69, 81.9),
    _paper("FNet-Hybrid-Large", "hybrid_top", 79, 80, 87, 89, 92, 81, 88, 86, 70, 83.6),
    _card("fnet-base (PyTorch)", "fft_real", 76.75, 86.5, 84.39, 89.45, 35.94, 82.19, 81.15, 62.82, 54.93, 72.7),
    _card("bert-base-cased", "attention", 84.10, 89.26, 90.99, 92.32, 59.57, 88.98, 88.15, 67.15, 46.48, 78.6),
    _miniature(
        "BERT-Tiny", 64.2, cola=0.0, sst2=83.2, mrpc=(81.1, 71.1), stsb=(74.3, 73.6), qqp=(62.2, 83.4), mnli=70.2,
        mnli_mm=70.3, qnli=81.5, rte=57.2,
    ),
    _miniature(
        "BERT-Mini", 65.8, cola=0.0, sst2=85.9, mrpc=(81.1, 71.8), stsb=(75.4, 73.3), qqp=(66.4, 86.2), mnli=74.8,
        mnli_mm=74.3, qnli=84.1, rte=57.9,
    ),
    _miniature(
        "BERT-Small", 71.2, cola=27.8, sst2=89.7, mrpc=(83.4, 76.2), stsb=(78.8, 77.0), qqp=(68.1, 87.0), mnli=77.6,
        mnli_mm=77.0, qnli=86.4, rte=61.8,
    ),
)  # fmt: skip


def _pretrain(model: str, ours: str, *figures: float) -> PretrainRow:
    names = ("total_loss", "mlm_loss", "order_loss", "mlm_accuracy", "order_accuracy")
    return PretrainRow(model=model, ours=ours, source=FNET_PRETRAINING, **dict(zip(names, figures, strict=True)))


PRETRAINING: tuple[PretrainRow, ...] = (
    _pretrain("BERT-Base", "attention", 1.76, 1.48, 0.28, 0.68, 0.86),
    _pretrain("FNet-Base", "fft_real", 2.45, 2.06, 0.40, 0.58, 0.80),
    _pretrain("FNet-Hybrid-Base", "hybrid_top", 2.13, 1.79, 0.34, 0.63, 0.84),
    _pretrain("BERT-Large", "attention", 1.49, 1.23, 0.25, 0.72, 0.88),
    _pretrain("FNet-Large", "fft_real", 2.11, 1.75, 0.36, 0.63, 0.82),
)
