"""`first`: y[i] = (x[i] + x[0]) mod 8, of independent, uniform tokens of 8 kinds.

Whether anything at all comes from the first place to every other: a mixer that does not solve it mixes nothing.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.tasks.sequences.parts import drawn

KINDS = 8
VOCABULARY = KINDS + 1
NUM_CLASSES = KINDS
LEAST_LENGTH = 2


def read(split: str, count: int | None, length: int, data_dir: Path) -> drawn.Examples:
    """Tokens uint8 (count, length) of 1 to 8; targets int64 (count, length), 0 to 7."""
    return drawn.draw_examples("first", split, count, length, _draw)


def baselines(train: drawn.Examples, test: drawn.Examples) -> dict[str, float]:
    """Percent right of the trivial predictors.

    "bag_of_tokens" takes the sequence's commonest token for the first; "position" is right at the first place, where
    nothing needs to be mixed, and guesses at all others.
    """
    kinds, targets = test[0].long() - 1, test[1]
    commonest = drawn.counts(kinds, KINDS).argmax(1, keepdim=True)
    return drawn.simplest(train, test, NUM_CLASSES) | {
        "bag_of_tokens": drawn.percent_right((kinds + commonest) % KINDS, targets),
        "position": 100 * (1 + (targets.shape[1] - 1) / KINDS) / targets.shape[1],
    }


def _draw(generator: torch.Generator, count: int, length: int) -> tuple[Tensor, Tensor]:
    kinds = drawn.uniform(generator, KINDS, count, length)
    return kinds + 1, (kinds + kinds[:, :1]) % KINDS
