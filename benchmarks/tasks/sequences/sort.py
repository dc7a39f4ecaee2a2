"""`sort`: y[i] is the i-th smallest token, of independent, uniform tokens of 16 kinds.

Weiss et al., "Thinking Like Transformers", 2021, have it as a program of two steps. What a place needs to know is how
many of the sequence's tokens are smaller than each kind: sums over all places, the same for every place, are enough,
but they have to be exact to a token.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.tasks.sequences.parts import drawn

KINDS = 16
VOCABULARY = KINDS + 1
NUM_CLASSES = KINDS
LEAST_LENGTH = 4


def read(split: str, count: int | None, length: int, data_dir: Path) -> drawn.Examples:
    """Tokens uint8 (count, length) of 1 to 16; targets int64 (count, length), 0 to 15, ascending."""
    return drawn.draw_examples("sort", split, count, length, _draw)


def baselines(train: drawn.Examples, test: drawn.Examples) -> dict[str, float]:
    """Percent right of the trivial predictors.

    "bag_of_tokens" says the sequence's commonest token at all places; "position" what is commonest at a place. Who
    knows both counts and place knows all.
    """
    commonest = drawn.counts(test[0].long() - 1, KINDS).argmax(1, keepdim=True)
    by_place = drawn.counts(train[1].T, KINDS).argmax(1)
    return drawn.simplest(train, test, NUM_CLASSES) | {
        "bag_of_tokens": drawn.percent_right(commonest, test[1]),
        "position": drawn.percent_right(by_place, test[1]),
    }


def _draw(generator: torch.Generator, count: int, length: int) -> tuple[Tensor, Tensor]:
    kinds = drawn.uniform(generator, KINDS, count, length)
    return kinds + 1, kinds.sort(dim=1).values
