"""Small texts that tests make."""

from __future__ import annotations

import random
from pathlib import Path

WORDS = [
    "the",
    "a",
    "of",
    "and",
    "king",
    "queen",
    "walks",
    "slowly",
    "river",
    "stone",
    "dark",
    "over",
    "under",
    "never",
]


def document(number: int, words: int = 60) -> str:
    """Words drawn by the number, which stands in front."""
    draw = random.Random(number)
    return f'document {number}. (so) "it\'s", ' + " ".join(draw.choice(WORDS) for _ in range(words))


def write_text(path: Path, documents: int = 60, words: int = 60) -> Path:
    """A file of documents with a blank line between two."""
    path.write_text("\n\n".join(document(number, words) for number in range(documents)) + "\n", encoding="utf-8")
    return path
