"""`match`: is my token anywhere else in the sequence?

Asked of every token, class 1 if so. Tokens are independent and uniform over twice as many kinds as there are places, at
most 64, so that at up to 32 places some 61 % occur once. A sum over the sequence whose weights do not depend on what
the tokens hold does not tell: what is to be compared differs from token to token.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.tasks.sequences.parts import drawn

KINDS = 64
VOCABULARY = KINDS + 1
NUM_CLASSES = 2
LEAST_LENGTH = 4
LONGEST = 128  # beyond, nearly every token is somewhere else too


def read(split: str, count: int | None, length: int, data_dir: Path) -> drawn.Examples:
    """Tokens uint8 (count, length) of 1 to 64; targets int64 (count, length), 1 where the token is anywhere else."""
    return drawn.draw_examples("match", split, count, length, _draw)


def baselines(train: drawn.Examples, test: drawn.Examples) -> dict[str, float]:
    """Percent right of the trivial predictors.

    "bag_of_tokens" knows the sequence's counts, not which token is judged: it says for all what holds for most.
    """
    frequent = (test[1].double().mean(1, keepdim=True) > 0.5).long()
    return drawn.simplest(train, test, NUM_CLASSES) | {"bag_of_tokens": drawn.percent_right(frequent, test[1])}


def _draw(generator: torch.Generator, count: int, length: int) -> tuple[Tensor, Tensor]:
    kinds = drawn.uniform(generator, min(KINDS, 2 * length), count, length)
    return kinds + 1, (drawn.counts(kinds, KINDS).gather(1, kinds) > 1).long()
