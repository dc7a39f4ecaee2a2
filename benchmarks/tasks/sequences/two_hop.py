"""`two_hop`: the value of a key, or the value of its value.

As `recall`, but values are keys: the pairs lead through all keys that the sequence shows in one random cycle. The
second half asks of each key, by a coin, for the key one step on or for that two steps on, and its token says which.
Mixing by content once gives half the answers; for the others it has to happen twice, one after the other. Chains of
such steps are what Sanford et al., "Transformers, parallel computation, and logarithmic depth", 2024, ask of depth.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.tasks.sequences import recall
from benchmarks.tasks.sequences.parts import drawn

KEYS = recall.KEYS
VOCABULARY = recall.VOCABULARY + KEYS
NUM_CLASSES = KEYS
LEAST_LENGTH = 8


def read(split: str, count: int | None, length: int, data_dir: Path) -> drawn.Examples:
    """Tokens and what is asked.

    Returns:
        Tokens int16 (count, length): pairs are 1 + 16 key + next, questions 257 + key, or 273 + key for two steps;
        targets int64 (count, length), 0 to 15, of the questions.
    """
    return drawn.draw_examples("two_hop", split, count, length, _draw)


def baselines(train: drawn.Examples, test: drawn.Examples) -> dict[str, float]:
    """Percent right of the trivial predictors.

    "bag_of_tokens" says any shown key but the one asked; "one_hop" knows the key one step on, and where two are asked,
    says any but these two.
    """
    tokens, targets = test
    shown = min(KEYS, tokens.shape[1] // 2)
    far = float((tokens >= recall.VOCABULARY)[targets != drawn.IGNORED].double().mean())
    return drawn.simplest(train, test, NUM_CLASSES) | {
        "bag_of_tokens": 100 / (shown - 1),
        "one_hop": 100 * (1 - far + far / (shown - 2)),
    }


def _draw(generator: torch.Generator, count: int, length: int) -> tuple[Tensor, Tensor]:
    order = drawn.orders(generator, count, KEYS)
    cycle = order[:, : min(KEYS, length // 2)]
    following = torch.zeros_like(order).scatter_(1, cycle, cycle.roll(-1, 1))
    keys, asked = recall.draw_keys(generator, order, length)
    far = drawn.uniform(generator, 2, *asked.shape)
    near = following.gather(1, asked)
    answers = torch.where(far == 1, following.gather(1, near), near)
    return recall.laid_out(keys, following.gather(1, keys), asked + KEYS * far, answers)
