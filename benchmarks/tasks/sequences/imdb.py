"""imdb: is a film review positive? The bytes of Long Range Arena's task Text.

Reviews by Maas et al., "Learning Word Vectors for Sentiment Analysis" (ACL 2011), 25,000 to train on and 25,000 of
other films to test, half of them positive; the task by Tay et al., "Long Range Arena" (2020), whose own pipeline
chooses on the test split, which here is read once. A review that is longer than the net is cut: the median has 970
bytes, one in forty more than 4,096.

What a bag of bytes can do, `bag_of_tokens` says. Long Range Arena's own table has its Transformer at 64.3 % and its
best net at 65.9: read them beside it.
"""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.tasks.archive import Archive, SourceFile, download
from benchmarks.tasks.sequences.parts.bags import Split, predictors
from benchmarks.tasks.sequences.parts.text import VOCABULARY, digest, file_bytes, rows_of, tokens_of

NUM_CLASSES = 2
LEAST_LENGTH, LONGEST = 16, 16_384
DOCUMENTS = 25_000  # of each split
FOLDER = "aclImdb"
SENTIMENTS = ("neg", "pos")  # by class
COLUMNS = ("id", "label", "rating", "text")
ARCHIVE = Archive(
    title="IMDB",
    file=SourceFile("aclImdb_v1.tar.gz", "7c2ac02c03563afcf9b574c7e56c153a", "md5"),
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    folder=FOLDER,
    probe="test",
    wanted=lambda name: "/unsup" not in name,  # 50,000 reviews that nobody has judged
)

Review = tuple[int, int, bytes]  # number, which each class has of its own; class; text


def read(split: str, count: int | None, length: int, data_dir: Path) -> Split:
    """Reviews of the split "train" or "test", positive and negative ones in turn.

    Args:
        split: which.
        count: how many, from the first on; None: all.
        length: of the sequences, in bytes.
        data_dir: holds aclImdb/, or its archive, or imdb/train.tsv and test.tsv (id, label, rating, text); where it has
            none of them, the archive is downloaded there.

    Returns:
        Tokens int16 (n, length), and 1 for positive, 0 for negative, int64 (n,).

    Raises:
        UserError: they are missing and cannot be downloaded, or a file is damaged.
    """
    reviews = _reviews(Path(data_dir), split)
    tokens = tokens_of([text for _, _, text in reviews[:count]], length)
    return tokens, torch.tensor([label for _, label, _ in reviews[:count]], dtype=torch.int64)


def fetch(data_dir: Path) -> None:
    """Downloads the reviews where there are none.

    Raises:
        UserError: they cannot be downloaded.
    """
    if _table(data_dir, "train") is None:
        _folder(data_dir)


def fingerprint(data_dir: Path) -> str:
    """SHA-256 of all reviews, the same of the folder and of the table.

    Raises:
        UserError: there are none yet, or a file is damaged.
    """
    if _table(data_dir, "train") is None and not _place(data_dir).is_dir():
        raise UserError(f"no reviews are in {data_dir} yet")
    both = [_reviews(data_dir, split) for split in ("train", "test")]
    return digest(
        part for reviews in both for number, label, text in reviews for part in (b"%d %d" % (number, label), text)
    )


def baselines(train: Split, test: Split) -> dict[str, float]:
    """Percent right on test of chance, the majority, and how often each byte stands in a review."""
    return predictors(train, test, VOCABULARY, NUM_CLASSES)


def _reviews(data_dir: Path, split: str) -> list[Review]:
    """Those of a split, in order, as many as there have to be."""
    table = _table(data_dir, split)
    place = _folder(data_dir) if table is None else table
    reviews = sorted(_of_folder(place, split) if table is None else _of_table(place))
    _check_numbers(place, split, reviews)
    return reviews


def _table(data_dir: Path, split: str) -> Path | None:
    """The table of a split; None where the official folder is there, or no table."""
    if data_dir.name == FOLDER or (data_dir / FOLDER).is_dir():
        return None
    folder = data_dir if data_dir.name == "imdb" else data_dir / "imdb"
    found = [name for name in ("train.tsv", "test.tsv") if (folder / name).is_file()]
    if len(found) == 1:
        raise UserError(f"{folder} has {found[0]} and lacks the other of train.tsv and test.tsv; complete it")
    return folder / f"{split}.tsv" if found else None


def _of_table(path: Path) -> list[Review]:
    reviews = []
    for number, (index, label, _, text) in enumerate(rows_of(path, COLUMNS, header=True), start=2):
        if not index.isdigit() or label not in (b"0", b"1"):
            raise UserError(f"{path} is damaged: line {number:,} has no id, or a label that is neither 0 nor 1")
        reviews.append((int(index), int(label), text))
    return reviews


def _folder(data_dir: Path) -> Path:
    """The official folder, unpacked or downloaded where it is missing."""
    folder = _place(data_dir)
    if not folder.is_dir():
        advice = f"type {called.option('data_dir', '...')} for the folder that holds it"
        download(ARCHIVE, folder.parent, f"neither {FOLDER}/ nor imdb/train.tsv", advice)
    return folder


def _place(data_dir: Path) -> Path:
    """Where the official folder is, or would be."""
    if data_dir.name == ARCHIVE.file.name:
        data_dir = data_dir.parent
    return data_dir if data_dir.name == FOLDER else data_dir / FOLDER


def _of_folder(folder: Path, split: str) -> list[Review]:
    """Of files such as train/pos/127_9.txt, whose name says the number and how many stars of ten were given."""
    reviews = []
    for label, sentiment in enumerate(SENTIMENTS):
        for path in (folder / split / sentiment).glob("*_*.txt"):
            index = path.name.partition("_")[0]
            if not index.isdigit():
                raise UserError(f"{path} is no review, whose names are like 127_9.txt; move it away")
            reviews.append((int(index), label, file_bytes(path)))
    return reviews


def _check_numbers(place: Path, split: str, reviews: list[Review]) -> None:
    positive = sum(label for _, label, _ in reviews)
    if (len(reviews) - positive, positive) != (DOCUMENTS // 2, DOCUMENTS // 2):
        raise UserError(
            f"{place} is damaged: its {split} split has {len(reviews) - positive:,} negative and {positive:,} positive "
            f"reviews, expected {DOCUMENTS // 2:,} of each; replace it by the original"
        )
