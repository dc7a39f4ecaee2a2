"""Facts of the tasks that a text encoder is fine-tuned on, as data: GLUE's nine, and two older ones.

GLUE is by Wang et al. (2018, https://arxiv.org/abs/1804.07461), whose page names the metrics of each task; TREC by Li
and Roth (2002), MR by Pang and Lee (2005). Scores are in points of 100, as GLUE's own table has them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

TRAIN, TEST, TEST2 = "train", "test", "test2"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTask:
    """What is known of a task before its data are read.

    Attributes:
        title: as people write it.
        labels: of the classes 0, 1, ..., as the files have them; empty for a regression.
        pair: whether an example is two sentences.
        metrics: what is shown, the headline first.
        fnet: the metrics whose mean FNet's tables show (Lee-Thorp et al., 2022).
        sizes: by split, the numbers of rows that official copies have; a split that is not here does not exist.
        test: what is tested on, in words.
        test2: the second such set, in words.
    """

    title: str
    labels: tuple[str, ...] = ("0", "1")
    pair: bool = False
    metrics: tuple[str, ...] = ("accuracy",)
    fnet: tuple[str, ...] = ("accuracy",)
    sizes: Mapping[str, tuple[int, ...]]
    test: str = "the development set"
    test2: str = ""

    @property
    def regression(self) -> bool:
        """Whether the target is a number."""
        return not self.labels

    @property
    def outputs(self) -> int:
        """How many numbers a head gives for an example: one a class, or one."""
        return max(1, len(self.labels))


F1 = ("f1", "accuracy")
ENTAILMENT = ("entailment", "not_entailment")

TEXT_TASKS: dict[str, TextTask] = {
    "sst2": TextTask(
        title="SST-2",
        sizes={TRAIN: (67_349,), TEST: (872,), TEST2: (1_821,)},
        test2="the labelled test set",
    ),
    "cola": TextTask(title="CoLA", metrics=("matthews", "accuracy"), sizes={TRAIN: (8_551,), TEST: (1_043,)}),
    "mrpc": TextTask(
        title="MRPC",
        pair=True,
        metrics=F1,
        fnet=F1,
        sizes={TRAIN: (4_076,), TEST: (1_725,)},
        test="the labelled test set",
    ),
    "rte": TextTask(title="RTE", labels=ENTAILMENT, pair=True, sizes={TRAIN: (2_490,), TEST: (277,)}),
    "stsb": TextTask(
        title="STS-B",
        labels=(),
        pair=True,
        metrics=("spearman", "pearson"),
        fnet=("spearman",),
        sizes={TRAIN: (5_749,), TEST: (1_500,)},
    ),
    "wnli": TextTask(title="WNLI", pair=True, sizes={TRAIN: (635,), TEST: (71,)}),
    "qnli": TextTask(title="QNLI", labels=ENTAILMENT, pair=True, sizes={TRAIN: (104_743,), TEST: (5_463,)}),
    "qqp": TextTask(  # the hub's copy lacks the three questions that train.tsv breaks over two lines
        title="QQP", pair=True, metrics=F1, fnet=F1, sizes={TRAIN: (363_849, 363_846), TEST: (40_430,)}
    ),
    "mnli": TextTask(
        title="MNLI",
        labels=("entailment", "neutral", "contradiction"),
        pair=True,
        sizes={TRAIN: (392_702,), TEST: (9_815,), TEST2: (9_832,)},
        test="the matched development set",
        test2="the mismatched development set",
    ),
    "trec": TextTask(
        title="TREC",
        labels=("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"),
        sizes={TRAIN: (5_452,), TEST: (500,)},
        test="the test set",
    ),
    "mr": TextTask(
        title="MR",
        sizes={TRAIN: (9_596,), TEST: (1_066,)},
        test="a fixed tenth, since MR has no split",
    ),
}
