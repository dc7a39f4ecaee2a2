"""pairs: are two passages of one article? Two documents of bytes, each through the net by itself (`towers`).

It stands where Long Range Arena has Retrieval, whose files are not free. Passages of exactly `length` bytes are cut
from articles of two passages or more, at most MOST of an article, and each is used once: half of them in pairs of one
article (class 1), half in pairs of two (class 0), so that neither passage alone says anything of the class. Training
and test articles are different ones, told by a checksum of their text. A cut may go through a character of two bytes.

What a bag of bytes can do: articles differ in how often they use digits, capitals, brackets and the bytes of other
scripts, so that passages of one article have shares of bytes that are nearer to each other; `bag_of_tokens` is fitted
on that distance, byte by byte: what a net has to beat before it can be said to read.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.tasks.sequences.parts.bags import Split, predictors
from benchmarks.tasks.sequences.parts.text import VOCABULARY, digest, file_text, tokens_of

NUM_CLASSES = 2
LEAST_LENGTH, LONGEST = 16, 4096
MOST = 8  # passages of one article
TEST_SHARE = 10  # one article of so many is a test article
SEEDS = {"train": 0, "test": 1}
PLACES = ("wikipedia", "")  # folders of DATA_DIR that may hold the text

Pair = tuple[bytes, bytes]


def read(split: str, count: int | None, length: int, data_dir: Path) -> Split:
    """Pairs of passages of the split "train" or "test"; the same articles give the same pairs on every machine.

    Args:
        split: which.
        count: how many, from the first on; None: all.
        length: of each passage, in bytes.
        data_dir: a file of text, or a folder that holds one, or wikipedia/ with one, wikipedia.txt; in a single file a
            blank line stands between two articles, of several files each is an article.

    Returns:
        Tokens int16 (n, 2, length), and 1 for one article, 0 for two, int64 (n,).

    Raises:
        UserError: there is no text, it is not UTF-8, or has too few long articles; or fewer pairs than `count`.
    """
    found = [text for text in articles(Path(data_dir)) if len(text) >= 2 * length and split == split_of(text)]
    same, different = couples(found, length, np.random.RandomState(SEEDS[split]))
    if not same:
        raise UserError(
            f"{data_dir} has {len(found)} {split} articles of {2 * length:,} bytes or more, and pairs of passages of "
            f"{length} need more; type {called.option('length')} with a smaller one, or add text"
        )
    if count is not None and 2 * len(same) < count:
        raise UserError(
            f"{data_dir} gives {2 * len(same):,} {split} pairs, of passages of {length} bytes, and {count:,} are "
            f"needed; type {called.option('length')} with a smaller one, or add text"
        )
    pairs = [pair for both in zip(same, different, strict=True) for pair in both][:count]
    first, second = (tokens_of([pair[place] for pair in pairs], length) for place in (0, 1))
    return torch.stack([first, second], 1), torch.tensor([1, 0] * len(same))[:count]


def fingerprint(data_dir: Path) -> str:
    """SHA-256 of all articles.

    Raises:
        UserError: there are none, or a file is empty or not UTF-8.
    """
    return digest(articles(data_dir))


def baselines(train: Split, test: Split) -> dict[str, float]:
    """Percent right on test of chance, the majority, and how far apart the shares of the bytes of two passages are."""
    return predictors(train, test, VOCABULARY, NUM_CLASSES)


def split_of(article: bytes) -> str:
    """ "train" or "test", whatever else there is: the same for two copies of an article."""
    return "train" if hashlib.sha256(article).digest()[0] % TEST_SHARE else "test"


def couples(found: list[bytes], length: int, random: np.random.RandomState) -> tuple[list[Pair], list[Pair]]:
    """As many pairs of passages of one article as of two, each in random order; no passage is in two pairs."""
    drawn = [(place, pair) for place, article in enumerate(found) for pair in _passages(article, length, random)]
    order = random.permutation(len(drawn))
    half = len(drawn) // 2
    same = [drawn[i][1] for i in order[:half]]
    apart = sorted((drawn[i] for i in order[half : 2 * half]), key=lambda one: one[0])
    different = _exchanged(apart)
    kept = [different[i] for i in random.permutation(len(different))]
    return same[: len(kept)], kept


def _passages(article: bytes, length: int, random: np.random.RandomState) -> Iterator[Pair]:
    """Two at a time, in random order."""
    places = random.permutation(len(article) // length)[:MOST]
    cut = [article[length * place : length * (place + 1)] for place in places]
    yield from zip(cut[::2], cut[1::2], strict=False)


def _exchanged(drawn: list[tuple[int, Pair]]) -> list[Pair]:
    """The first passage of each with the second of one of another article; of articles in ascending order.

    So many places on, there is another article: no article has more places in a row. Too few articles give no pairs.
    """
    shift = max(Counter(number for number, _ in drawn).values(), default=0)
    if len(drawn) < 2 * shift:
        return []
    return [(pair[0], drawn[(place + shift) % len(drawn)][1][1]) for place, (_, pair) in enumerate(drawn)]


def articles(data_dir: Path) -> list[bytes]:
    """The articles at a place, each once, as bytes of UTF-8, in the order of the file or of the files' names.

    Raises:
        UserError: there are none, or a file is empty or not UTF-8.
    """
    paths = _files(data_dir)
    texts = [file_text(path) for path in paths]
    if len(texts) == 1:
        texts = re.split(r"\n[ \t\r]*\n", texts[0])
    return list(dict.fromkeys(text.strip().encode() for text in texts if text.strip()))


def _files(data_dir: Path) -> list[Path]:
    if data_dir.is_file():
        return [data_dir]
    for folder in (data_dir / place for place in PLACES):
        if (folder / "wikipedia.txt").is_file():
            return [folder / "wikipedia.txt"]
        found = sorted(folder.glob("*.txt"))
        if found:
            return found
    raise UserError(
        f"no text in {data_dir}: neither wikipedia/wikipedia.txt nor another file that ends in .txt; "
        f"type {called.option('data_dir', '...')} for a folder of plain text, such as articles of Wikipedia"
    )
