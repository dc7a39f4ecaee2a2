"""Rows of a task: what is held out of them for choices, and the tokens that a net reads."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.contract.errors import UserError
from benchmarks.contract.words import counted
from benchmarks.tasks.text.corpus.tokens import CLS, PAD, SEP

HELD_OUT_SHARE, MOST_HELD_OUT = 0.1, 2_000

Array = NDArray[Any]


class Tokenizer(Protocol):
    """What gives the tokens of a text, without special ones."""

    def encode(self, text: str) -> Sequence[int] | Array: ...


@dataclasses.dataclass(frozen=True)
class Rows:
    """Examples of a task.

    Attributes:
        first: the sentence, or the first of two.
        second: the second of two; None where there is one.
        targets: classes int64 (n,), or numbers float64 (n,) of a regression.
    """

    first: list[str]
    second: list[str] | None
    targets: Array

    def __len__(self) -> int:
        return len(self.first)

    def take(self, places: Array) -> Rows:
        """The rows at these places."""
        second = None if self.second is None else [self.second[place] for place in places]
        return Rows([self.first[place] for place in places], second, self.targets[places])

    def least(self, count: int) -> Array:
        """Which rows, bool (n,), have the `count` least hashes of their first sentence, whatever their order."""
        chosen = np.zeros(len(self), bool)
        chosen[_order(self.first)[:count]] = True
        return chosen


def hold_out(rows: Rows) -> tuple[Rows, Rows]:
    """Training rows without, and those of, about a tenth, 2,000 at the most, for choices.

    Which these are depends on nothing but the first sentences, by a hash: they are the same in every run and copy of
    the data. A single sentence is held out with all rows that are a part of it, since SST-2 has some ten phrases of
    each: with rows held out one by one, a bag of words is right on 89.5 % of them, and on 82 % of new sentences.
    """
    count = min(int(HELD_OUT_SHARE * len(rows)), MOST_HELD_OUT)
    held = rows.least(count) if rows.second is not None else _families(rows.first, count)
    return rows.take(np.flatnonzero(~held)), rows.take(np.flatnonzero(held))


def encode(rows: Rows, tokenizer: Tokenizer, length: int) -> Array:
    """Tokens int32 (n, length): CLS a SEP, or CLS a SEP b SEP, then PAD.

    What is too long loses tokens at its end, a pair one by one from the longer of the two, or from the second where
    both are as long, as BERT's own code does.

    Args:
        rows: n of them.
        tokenizer: its `encode` gives the tokens of a text.
        length: of the sequences.

    Raises:
        UserError: the length leaves no place for a token of each text.
    """
    specials = 2 if rows.second is None else 3
    needed = specials + (1 if rows.second is None else 2)
    if length < needed:
        raise UserError(f"a length of {counted(length, 'token')} is too short for {specials} special ones and the text")
    tokens = np.full((len(rows), length), PAD, np.int32)
    tokens[:, 0] = CLS
    seconds: Sequence[str | None] = rows.second or [None] * len(rows)
    for row, one, two in zip(tokens, rows.first, seconds, strict=True):
        first = np.asarray(tokenizer.encode(one), np.int32)
        second = np.zeros(0, np.int32) if two is None else np.asarray(tokenizer.encode(two), np.int32)
        a, b = _fitted(len(first), len(second), length - specials)
        row[1 : a + 2] = *first[:a], SEP
        if two is not None:
            row[a + 2 : a + b + 3] = *second[:b], SEP
    return tokens


def _fitted(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each of two texts are kept."""
    if first + second <= room:
        return first, second
    if second <= room // 2:
        return room - second, second
    kept = min(first, (room + 1) // 2)
    return kept, room - kept


def _order(texts: list[str]) -> list[int]:
    keys = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
    return sorted(range(len(texts)), key=keys.__getitem__)


def _families(texts: list[str], count: int) -> Array:
    """Which rows (n,) are, or are a part of, sentences that are a part of none, by hash until `count` rows are full."""
    framed = [f" {text} " for text in texts]
    everything = "\n".join(dict.fromkeys(framed))
    chosen = np.zeros(len(texts), bool)
    for row in _order(texts):
        if everything.count(framed[row]) == 1:
            family = chosen | [part in framed[row] for part in framed]
            if family.sum() > count:
                break
            chosen = family
    return chosen
