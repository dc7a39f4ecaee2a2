"""`recall`: the value that goes with a key.

The first half of the sequence are pairs, a key and its value in one token, the second half are keys: for each of them
the value is asked, one of 16. A sequence has 16 keys in random order, or as many as fit; a longer one shows the same
pairs again. Values are independent and uniform. It is the recall of Arora et al., "Zoology", 2023, made for encoders:
pairs are tokens, so that no neighbour needs to be found first, and one step of mixing by content is enough.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.tasks.sequences.parts import drawn

KEYS = 16
VALUES = 16
VOCABULARY = 1 + KEYS * VALUES + KEYS
NUM_CLASSES = VALUES
LEAST_LENGTH = 4


def read(split: str, count: int | None, length: int, data_dir: Path) -> drawn.Examples:
    """Tokens int16 (count, length): pairs are 1 + 16 key + value, keys 257 + key; targets int64, of the keys."""
    return drawn.draw_examples("recall", split, count, length, _draw)


def baselines(train: drawn.Examples, test: drawn.Examples) -> dict[str, float]:
    """Percent right of the trivial predictors; "bag_of_tokens" says the sequence's commonest value for all keys."""
    tokens, targets = test
    shown = (tokens[:, : tokens.shape[1] // 2].long() - 1) % VALUES
    commonest = drawn.counts(shown, VALUES).argmax(1, keepdim=True)
    return drawn.simplest(train, test, NUM_CLASSES) | {"bag_of_tokens": drawn.percent_right(commonest, targets)}


def _draw(generator: torch.Generator, count: int, length: int) -> tuple[Tensor, Tensor]:
    keys, asked = draw_keys(generator, drawn.orders(generator, count, KEYS), length)
    values = drawn.uniform(generator, VALUES, count, KEYS)
    return laid_out(keys, values.gather(1, keys), asked, values.gather(1, asked))


def draw_keys(generator: torch.Generator, order: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Of the keys in order (n, 16), those of the pairs (n, length // 2), and those asked for (n, the rest).

    As many of the first as there are pairs are shown, all as often as each other or once more, and every one is asked.
    """
    count, pairs = len(order), length // 2
    keys = order.gather(1, drawn.orders(generator, count, pairs) % KEYS)
    return keys, keys.gather(1, drawn.orders(generator, count, length - pairs) % pairs)


def laid_out(keys: Tensor, values: Tensor, asked: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs (n, pairs) and questions (n, questions) as tokens and targets (n, pairs + questions)."""
    tokens = torch.cat([1 + VALUES * keys + values, 1 + KEYS * VALUES + asked], dim=1)
    return tokens, torch.cat([torch.full_like(keys, drawn.IGNORED), answers], dim=1)
