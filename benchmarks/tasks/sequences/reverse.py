"""`reverse`: y[i] = x[N - 1 - i], of independent, uniform tokens of 32 kinds.

A fixed exchange of places, which any transform applied twice can make (two Fourier transforms reverse), and for which
mixing by content has to learn what every place holds from the places' own codes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.tasks.sequences.parts import drawn

KINDS = 32
VOCABULARY = KINDS + 1
NUM_CLASSES = KINDS
LEAST_LENGTH = 2


def read(split: str, count: int | None, length: int, data_dir: Path) -> drawn.Examples:
    """Tokens uint8 (count, length) of 1 to 32; targets int64 (count, length), 0 to 31."""
    return drawn.draw_examples("reverse", split, count, length, _draw)


def baselines(train: drawn.Examples, test: drawn.Examples) -> dict[str, float]:
    """Percent right of the trivial predictors; "bag_of_tokens" says the sequence's commonest token at all places."""
    commonest = drawn.counts(test[0].long() - 1, KINDS).argmax(1, keepdim=True)
    return drawn.simplest(train, test, NUM_CLASSES) | {"bag_of_tokens": drawn.percent_right(commonest, test[1])}


def _draw(generator: torch.Generator, count: int, length: int) -> tuple[Tensor, Tensor]:
    kinds = drawn.uniform(generator, KINDS, count, length)
    return kinds + 1, kinds.flip(1)
