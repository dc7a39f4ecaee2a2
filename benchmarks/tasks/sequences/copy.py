"""`copy`: six tokens out of many, in their order, to the last six places.

All but the last six places are blank, but for six at random places that hold one of 16 symbols each; the last six hold
a token that asks. The selective copying of Gu and Dao, "Mamba", 2023, for encoders: which place a symbol comes from
depends on how many stand before it.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.tasks.sequences.parts import drawn

SYMBOLS = 16
COPIED = 6
BLANK, ASK = SYMBOLS + 1, SYMBOLS + 2
VOCABULARY = ASK + 1
NUM_CLASSES = SYMBOLS
LEAST_LENGTH = 2 * COPIED + 1


def read(split: str, count: int | None, length: int, data_dir: Path) -> drawn.Examples:
    """Tokens uint8 (count, length), symbols 1 to 16, 17 blank, 18 asks; targets int64 at the last six places."""
    return drawn.draw_examples("copy", split, count, length, _draw)


def baselines(train: drawn.Examples, test: drawn.Examples) -> dict[str, float]:
    """Percent right of the trivial predictors.

    "bag_of_tokens" says the commonest of the six at all places. "position" does not see which places are blank: each
    symbol has the weight that the one asked for is at its place, and the heaviest is said.
    """
    tokens, targets = test
    sources = tokens[:, :-COPIED].long() - 1
    commonest = drawn.counts(sources, SYMBOLS + 1)[:, :SYMBOLS].argmax(1, keepdim=True)
    shown = torch.nn.functional.one_hot(sources, SYMBOLS + 1)[..., :SYMBOLS].float()
    heaviest = torch.einsum("nps,pr->nrs", shown, rank_chances(sources.shape[1])).argmax(2)
    return drawn.simplest(train, test, NUM_CLASSES) | {
        "bag_of_tokens": drawn.percent_right(commonest, targets),
        "position": drawn.percent_right(heaviest, targets[:, -COPIED:]),
    }


def rank_chances(places: int) -> Tensor:
    """How likely the symbol at a place is the first, second ... of the six; float32 (places, 6), rows add up to 1."""
    ways = [
        [math.comb(place, rank) * math.comb(places - 1 - place, COPIED - 1 - rank) for rank in range(COPIED)]
        for place in range(places)
    ]
    return torch.tensor(ways, dtype=torch.float64).div(math.comb(places - 1, COPIED - 1)).float()


def _draw(generator: torch.Generator, count: int, length: int) -> tuple[Tensor, Tensor]:
    symbols = drawn.uniform(generator, SYMBOLS, count, COPIED)
    places = drawn.orders(generator, count, length - COPIED)[:, :COPIED].sort(dim=1).values
    tokens = torch.full((count, length), BLANK).scatter_(1, places, symbols + 1)
    tokens[:, -COPIED:] = ASK
    targets = torch.full((count, length), drawn.IGNORED)
    targets[:, -COPIED:] = symbols
    return tokens, targets
