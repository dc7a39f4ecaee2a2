"""What a guess gets right of masked tokens that knows how often each token stands in text, and nothing of neighbours.

Two guesses, since a tenth of the places that are asked for stay as they are and a tenth become any token
(`tasks.text.masking`): one that is the same everywhere, and one that also sees what stands at its place. The second is
all that a net without mixing can reach: 24 % of Wikipedia's bytes, where the first has 16.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.text.corpus.packing import Packed, Segments
from benchmarks.tasks.text.corpus.tokens import SPECIAL
from benchmarks.tasks.text.masking import MASKED, REPLACED

CHUNK = 2**16  # segments counted at a time

Floats = NDArray[np.float64]


def frequencies(found: Packed, part: str = "test") -> dict[str, float]:
    """The levels of word frequencies, fitted on the training part.

    Args:
        found: segments.
        part: on which they are judged, "val" or "test".

    Returns:
        "accuracy_percent", of always guessing the commonest token of training, and "loss_nats", the cross-entropy of
        the training part's shares, one added to each count so that none is 0; "own_place_accuracy_percent" and
        "own_place_loss_nats", of who also sees what stands at the place that is asked for. Special tokens are left out.
    """
    train, truth = (counts(found.segments(name), found.meta.vocabulary) for name in ("train", part))
    shares, true = (train + 1) / (train + 1).sum(), truth / truth.sum()
    return {
        "accuracy_percent": 100 * float(true[shares.argmax()]),
        "loss_nats": _cross_entropy(shares, true),
        "own_place_accuracy_percent": 100 * _own_place_right(shares, true),
        "own_place_loss_nats": _own_place_loss(shares, true),
    }


def counts(segments: Segments, vocabulary: int) -> NDArray[np.int64]:
    """How often each token stands there that is not special, int64 (vocabulary - SPECIAL,); reads a chunk at a time."""
    found = np.zeros(vocabulary, np.int64)
    for start in range(0, len(segments), CHUNK):
        found += np.bincount(segments[start : start + CHUNK].reshape(-1), minlength=vocabulary)
    return found[SPECIAL:]


def _cross_entropy(shares: Floats, true: Floats) -> float:
    return -float(true @ np.log(shares))


def _own_place_right(shares: Floats, true: Floats) -> float:
    """Where MASK stands, the commonest token; else what stands there, unless chance brings it sooner than the text."""
    kept, replaced, size = 1 - MASKED - REPLACED, REPLACED / len(shares), len(shares)
    commonest = shares.argmax()
    is_kept = (kept + replaced) * shares >= replaced * shares[commonest]
    guess = np.where(is_kept, np.arange(size), commonest)
    seen = kept * true[is_kept].sum() + replaced * true[guess].sum()
    return float(MASKED * true[commonest] + seen)


def _own_place_loss(shares: Floats, true: Floats) -> float:
    """Cross-entropy of the posterior of the token y, given that t stands there: (kept [y = t] + replaced) shares_y."""
    kept, replaced = 1 - MASKED - REPLACED, REPLACED / len(shares)
    norm = np.log(kept * shares + replaced)  # of the posterior given t
    same, other = np.log((kept + replaced) * shares), np.log(replaced * shares)
    loss_kept = -(true @ (same - norm))
    loss_replaced = -(true @ other * len(shares) + true @ (same - other) - norm.sum()) / len(shares)
    return float(MASKED * _cross_entropy(shares, true) + kept * loss_kept + REPLACED * loss_replaced)
