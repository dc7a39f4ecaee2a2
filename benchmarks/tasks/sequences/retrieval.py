"""retrieval: is there a citation between two papers? The bytes of Long Range Arena's task Retrieval.

Pairs of the ACL Anthology Network (Radev et al., 2013) by Tay et al., "Long Range Arena" (2020). Each paper goes
through the net by itself (`towers`), 4,000 or 4,096 bytes of it; a longer one is cut. The release is large and its
texts are not free, so that it is not downloaded here. It has a third file, new_aan_pairs.eval.tsv, which is not read:
what is held out comes from the training pairs, as in all other tasks. All training pairs at 4,096 bytes take 2.4 GB.
"""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.words import counted
from benchmarks.tasks.sequences.parts.bags import Split, predictors
from benchmarks.tasks.sequences.parts.text import VOCABULARY, digest, file_digest, rows_of, tokens_of

NUM_CLASSES = 2
PAIRS = {"train": 147_086, "test": 17_437}
LEAST_LENGTH, LONGEST = 16, 16_384
URL = "https://storage.googleapis.com/long-range-arena/lra_release.gz"
PLACES = ("", "tsv_data", "lra_release/tsv_data", "lra_release/lra_release/tsv_data")  # in which it may lie
COLUMNS = ("label", "id1", "id2", "text1", "text2")  # which the files do not name


def read(split: str, count: int | None, length: int, data_dir: Path) -> Split:
    """Pairs of papers of the split "train" or "test", in the order of the file.

    Args:
        split: which.
        count: how many, from the first on; None: all.
        length: of each sequence, in bytes.
        data_dir: holds new_aan_pairs.train.tsv and new_aan_pairs.test.tsv, or the unpacked release that has them.

    Returns:
        Tokens int16 (n, 2, length), and 1 for cited, 0 for not, int64 (n,).

    Raises:
        UserError: a file is missing, damaged or not whole.
    """
    path = _file(Path(data_dir), split)
    rows = rows_of(path, COLUMNS, header=False)
    labels = torch.tensor([_label(path, number, row[0]) for number, row in enumerate(rows, start=1)])[:count]
    if len(rows) != PAIRS[split]:
        raise UserError(
            f"{path} has {counted(len(rows), 'pair')}, the published file has {PAIRS[split]:,}; replace it by that one"
        )
    rows = rows[:count]
    first, second = (tokens_of([row[place] for row in rows], length) for place in (3, 4))
    return torch.stack([first, second], 1), labels


def fingerprint(data_dir: Path) -> str:
    """SHA-256 of both files.

    Raises:
        UserError: one is missing.
    """
    return digest(file_digest(_file(data_dir, split)) for split in ("train", "test"))


def baselines(train: Split, test: Split) -> dict[str, float]:
    """Percent right on test of chance, the majority, and how far apart the shares of the bytes of two papers are."""
    return predictors(train, test, VOCABULARY, NUM_CLASSES)


def _file(data_dir: Path, split: str) -> Path:
    name = f"new_aan_pairs.{split}.tsv"
    found = [data_dir / place / name for place in PLACES if (data_dir / place / name).is_file()]
    if not found:
        raise UserError(
            f"no {name} in {data_dir}; it is in {URL} (lra_release/tsv_data), which is not downloaded here; "
            f"unpack that and type {called.option('data_dir', '.../lra_release')}"
        )
    return found[0]


def _label(path: Path, number: int, written: bytes) -> int:
    """1 or 0 of "1.0" or "0.0", as the files have it."""
    if written not in (b"0", b"1", b"0.0", b"1.0"):
        shown = written[:20].decode(errors="replace")
        raise UserError(f"{path} is damaged: line {number:,} begins with {shown!r}, expected 0.0 or 1.0")
    return int(written[:1])
