"""plays: which of two of Shakespeare's tragedies is a passage from, Othello or King Lear?

A task for the default prose, so that a line from pre-training to fine-tuning needs no hub. The two are of one length
(136,556 and 136,041 letters of speech) and of the same years; no net of the default corpus is pre-trained on either.
Who speaks and stage directions are left out; names that are spoken stay. A passage is as many tokens of one scene as
fit, none is in two passages, and whole scenes are trained on, held out or tested on.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.tasks.text.corpus import shakespeare
from benchmarks.tasks.text.corpus.packing import LEAST_SHARE
from benchmarks.tasks.text.corpus.tokenization import Tokenizer
from benchmarks.tasks.text.corpus.tokens import CLS, PAD, SEP

CLASSES = ("othello", "lear")
BESIDE = 2  # CLS and SEP
LEAST_LETTERS = 300  # of a scene

HEADING = re.compile(r"^ *(?:act|scene) [ivx]+\b.*$", re.IGNORECASE | re.MULTILINE)
DIRECTION = re.compile(r"\[[^\]]*\]")
BLOCK = re.compile(r"\n\s*\n")
SPEAKER = re.compile(r"(?=.{1,31}$)(?:\S+ ){0,4}\S+\.")  # or a very short speech behind a direction


def read(split: str, length: int, tokenizer: Tokenizer, data_dir: Path) -> tuple[Tensor, Tensor]:
    """Passages of "train", "val" (for choices) or "test", of both plays in turn of their scenes.

    Args:
        split: which.
        length: N, tokens of an example.
        tokenizer: what makes tokens of text.
        data_dir: where the archive of the package may lie.

    Returns:
        Tokens int32 (n, N), `[CLS] passage [SEP]` and PAD, and the places of the plays in CLASSES, int64 (n,).

    Raises:
        UserError: the plays are not there.
    """
    plays = shakespeare.texts(data_dir)
    rows, classes = [], []
    for label, play in enumerate(CLASSES):
        of_split = [scene for number, scene in enumerate(scenes(plays[play])) if split_of(number) == split]
        for tokens in tokenizer.encode_many(of_split):
            found = _passages(tokens, length)
            rows.append(found)
            classes += [label] * len(found)
    return torch.from_numpy(np.concatenate(rows)), torch.tensor(classes, dtype=torch.int64)


def split_of(number: int) -> str:
    """The split of a scene by its number in the play, from 0: of ten, seven to train on, one held out, two to test."""
    return "val" if number % 10 == 0 else "test" if number % 5 == 3 else "train"


def scenes(play: str) -> list[str]:
    """What is spoken in each scene of a play, without those of a few lines."""
    spoken = [_speech(scene) for scene in HEADING.split(play)[1:]]
    return [scene for scene in spoken if len(scene) >= LEAST_LETTERS]


def _speech(scene: str) -> str:
    lines: list[str] = []
    for block in BLOCK.split(DIRECTION.sub("", scene).removesuffix("THE END")):
        first, *others = block.strip().split("\n")
        lines += others if SPEAKER.fullmatch(first.strip()) else [first, *others]
    return " ".join(" ".join(lines).split())


def _passages(tokens: np.ndarray, length: int) -> np.ndarray:
    """int32 (n, N) of one scene; an end that fills less than a quarter of a passage is left out."""
    width = length - BESIDE
    parts = [tokens[start : start + width] for start in range(0, len(tokens), width)]
    parts = [part for part in parts if len(part) * LEAST_SHARE >= width]
    rows = np.full((len(parts), length), PAD, np.int32)
    for row, part in zip(rows, parts, strict=True):
        row[0], row[1 : 1 + len(part)], row[1 + len(part)] = CLS, part, SEP
    return rows
