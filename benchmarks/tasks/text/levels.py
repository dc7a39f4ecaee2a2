"""What a guess gets right of masked tokens that knows how often each token stands in text, and nothing of where."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.text.packing import Packed, Segments
from benchmarks.tasks.text.tokens import SPECIAL

CHUNK = 2**16  # segments counted at a time


def frequencies(found: Packed, part: str = "test") -> dict[str, float]:
    """The level of word frequencies: the best guess that is the same everywhere, fitted on the training part.

    Args:
        found: segments.
        part: on which it is judged, "val" or "test".

    Returns:
        "accuracy_percent", of always guessing the commonest token of training, and "loss_nats", the cross-entropy of
        the training part's shares, one added to each count so that none is 0. Special tokens are left out.
    """
    train, truth = (counts(found.segments(name), found.meta.vocabulary) for name in ("train", part))
    shares = (train + 1) / (train + 1).sum()
    return {
        "accuracy_percent": 100 * float(truth[train.argmax()] / truth.sum()),
        "loss_nats": -float((truth * np.log(shares)).sum() / truth.sum()),
    }


def counts(segments: Segments, vocabulary: int) -> NDArray[np.int64]:
    """How often each token stands there that is not special, int64 (vocabulary - SPECIAL,); reads a chunk at a time."""
    found = np.zeros(vocabulary, np.int64)
    for start in range(0, len(segments), CHUNK):
        found += np.bincount(segments[start : start + CHUNK].reshape(-1), minlength=vocabulary)
    return found[SPECIAL:]
