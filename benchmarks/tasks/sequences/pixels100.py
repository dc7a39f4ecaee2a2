"""pixels100: CIFAR-100 as grey pixels, its 20 superclasses told apart. It is not Long Range Arena's Image.

As `pixels` in all else, for those who have CIFAR-100 and not CIFAR-10; accuracies of the two cannot be compared.
"""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.tasks.sequences.parts.bags import Split, predictors
from benchmarks.tasks.sequences.pixels import LEAST_LENGTH, LENGTHS, LONGEST, VOCABULARY, read_grey

__all__ = ["LEAST_LENGTH", "LENGTHS", "LONGEST", "NUM_CLASSES", "VOCABULARY", "baselines", "read"]

NUM_CLASSES = 20
# by class, in alphabetical order of both
SUPERCLASS = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10,
    12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16,
    12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14,
    13,
)  # fmt: skip


def read(split: str, count: int | None, length: int, data_dir: Path) -> Split:
    """As `pixels.read`, of CIFAR-100 and with superclasses, int64 (n,)."""
    tokens, classes = read_grey("cifar100", split, count, length, data_dir)
    return tokens, torch.tensor(SUPERCLASS)[classes]


def baselines(train: Split, test: Split) -> dict[str, float]:
    """Percent right on test of chance, the majority, and how often each brightness stands in an image."""
    return predictors(train, test, VOCABULARY, NUM_CLASSES)
