"""Reviews as bytes: the layouts in which people have them, a download, and what is wrong with a file told in a line."""

from __future__ import annotations

import hashlib
import shutil
import socket
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from benchmarks.contract.errors import UserError
from benchmarks.tasks import archive
from benchmarks.tasks.sequences import imdb
from benchmarks.tasks.sequences.parts.text import tokens_of

DOCUMENTS = 12  # of a split of the small set
Reviews = dict[str, list[tuple[int, int, bytes]]]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(imdb, "DOCUMENTS", DOCUMENTS)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: pytest.fail("asks the network"))


@pytest.fixture
def reviews() -> Reviews:
    """By split: number, class and text, not in order; numbers of two digits, and bytes that are no UTF-8."""
    return {
        split: [
            (number, label, f"{split} {number} ".encode() + b"good " * label * number + bytes([0xFF, 200 + number]))
            for label in (1, 0)
            for number in range(7, 7 + DOCUMENTS // 2)
        ]
        for split in ("train", "test")
    }


def write_folder(folder: Path, reviews: Reviews) -> Path:
    for split, own in reviews.items():
        for number, label, text in own:
            place = folder / "aclImdb" / split / ("pos" if label else "neg")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}_{10 if label else 1}.txt").write_bytes(text)
    unjudged = folder / "aclImdb" / "train" / "unsup"
    unjudged.mkdir()
    (unjudged / "0_0.txt").write_bytes(b"nobody knows")
    return folder


def write_table(folder: Path, reviews: Reviews) -> Path:
    (folder / "imdb").mkdir(parents=True)
    for split, own in reviews.items():
        lines = [b"id\tlabel\trating\ttext", *(b"%d\t%d\t5\t%s" % (n, label, text) for n, label, text in own)]
        (folder / "imdb" / f"{split}.tsv").write_bytes(b"\n".join(lines) + b"\n")
    return folder


def write_archive(folder: Path, reviews: Reviews, monkeypatch) -> Path:
    write_folder(folder / "model", reviews)
    path = folder / imdb.ARCHIVE.file.name
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder / "model" / "aclImdb", "aclImdb")
    shutil.rmtree(folder / "model")
    published(path, monkeypatch)
    return folder


def published(path: Path, monkeypatch) -> None:
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    file = archive.SourceFile(path.name, digest, "md5")
    made = archive.Archive("IMDB", file, imdb.ARCHIVE.url, "aclImdb", "test", imdb.ARCHIVE.wanted)
    monkeypatch.setattr(imdb, "ARCHIVE", made)


def expected(reviews: Reviews, split: str) -> tuple[list[bytes], list[int]]:
    ordered = sorted(reviews[split])
    return [text for _, _, text in ordered], [label for _, label, _ in ordered]


def text_of(row: torch.Tensor) -> bytes:
    return bytes((row[row > 0] - 1).tolist())


@pytest.mark.parametrize("layout", ["folder", "table", "archive"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_layout_gives_the_same_reviews_in_the_same_order(tmp_path, reviews, monkeypatch, layout, split):
    if layout == "archive":
        write_archive(tmp_path, reviews, monkeypatch)
    else:
        {"folder": write_folder, "table": write_table}[layout](tmp_path, reviews)
    tokens, labels = imdb.read(split, None, 128, tmp_path)
    texts, classes = expected(reviews, split)
    assert [text_of(row) for row in tokens] == texts and labels.tolist() == classes
    assert tokens.dtype == torch.int16 and tokens.shape == (DOCUMENTS, 128) and labels.dtype == torch.int64
    assert labels[:6].tolist() == [0, 1] * 3  # whatever a part of it, it is balanced


@pytest.mark.parametrize("place", ["aclImdb", "imdb", "aclImdb_v1.tar.gz"])
def test_the_folder_or_archive_itself_may_be_given(tmp_path, reviews, monkeypatch, place):
    if place == "aclImdb_v1.tar.gz":
        write_archive(tmp_path, reviews, monkeypatch)
    else:
        (write_folder if place == "aclImdb" else write_table)(tmp_path, reviews)
    assert len(imdb.read("train", 4, 16, tmp_path / place)[0]) == 4


def test_a_byte_is_its_value_plus_one_cut_and_padded_with_zeros():
    tokens = tokens_of([bytes(range(256)), b"ab", b""], 200)
    assert tokens[0].tolist() == list(range(1, 201))
    assert tokens[1].tolist() == [98, 99] + [0] * 198 and not tokens[2].any()
    assert tokens_of([b"\xff"], 1).tolist() == [[256]]


def test_an_archive_is_unpacked_once_without_what_nobody_judged(tmp_path, reviews, monkeypatch):
    write_archive(tmp_path, reviews, monkeypatch)
    imdb.read("train", None, 16, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aclImdb", "aclImdb_v1.tar.gz"]
    assert not (tmp_path / "aclImdb" / "train" / "unsup").exists()
    monkeypatch.setattr(archive, "extract", lambda *args: pytest.fail("unpacks again"))
    imdb.read("test", None, 16, tmp_path)


def test_a_download_arrives_whole_and_checked(tmp_path, reviews, monkeypatch):
    write_archive(tmp_path, reviews, monkeypatch)
    asked = []

    def download(url, root, filename, md5):
        asked.append((url, md5))
        shutil.copy(tmp_path / filename, Path(root) / filename)

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", download)
    tokens, _ = imdb.read("train", None, 128, tmp_path / "other")
    assert asked == [(imdb.ARCHIVE.url, imdb.ARCHIVE.file.digest)]
    assert [text_of(row) for row in tokens] == expected(reviews, "train")[0]
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["aclImdb"]


def test_the_official_address_and_sum_are_those_of_the_publisher_and_of_torchtext():
    assert imdb.ARCHIVE.url == "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
    assert imdb.ARCHIVE.file.digest == "7c2ac02c03563afcf9b574c7e56c153a"


def one_line(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_without_a_network_one_line_says_what_to_type(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("network unreachable")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", refuse)
    message = one_line(lambda: imdb.read("train", None, 64, tmp_path / "data"))
    assert "no IMDB" in message and "network unreachable" in message and "--data-dir" in message
    assert not list((tmp_path / "data").iterdir())


def test_a_damaged_archive_is_named_and_left_as_it_is(tmp_path, monkeypatch):
    path = tmp_path / "aclImdb_v1.tar.gz"
    path.write_bytes(b"half")
    assert "aclImdb_v1.tar.gz is damaged: MD5" in one_line(lambda: imdb.read("train", None, 64, tmp_path))
    published(path, monkeypatch)  # the right sum, and no archive
    assert "unpacking aclImdb_v1.tar.gz" in one_line(lambda: imdb.read("train", None, 64, tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name] and path.read_bytes() == b"half"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (b"30\t1\t9", "line 2 has 3 columns, expected 4"),
        (b"30\t1\t9\ta\tb", "line 2 has 5 columns, expected 4"),
        (b"30\t1\t9\t ", "empty document in line 2"),
        (b"30\t2\t9\ttext", "label that is neither 0 nor 1"),
        (b"x\t1\t9\ttext", "no id"),
    ],
)
def test_a_damaged_row_is_told_with_its_line(tmp_path, reviews, row, complaint):
    path = write_table(tmp_path, reviews) / "imdb" / "train.tsv"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], row, *lines[2:]]))
    message = one_line(lambda: imdb.read("train", None, 64, tmp_path))
    assert complaint in message and str(path) in message


@pytest.mark.parametrize("content", [b"", b"sentence\tlabel\nfine\t1\n"])
def test_an_empty_file_and_another_table_are_told_by_name(tmp_path, reviews, content):
    path = write_table(tmp_path, reviews) / "imdb" / "train.tsv"
    path.write_bytes(content)
    assert str(path) in one_line(lambda: imdb.read("train", None, 64, tmp_path))


def test_an_empty_review_and_a_missing_one_are_told(tmp_path, reviews):
    path = write_folder(tmp_path, reviews) / "aclImdb" / "train" / "pos" / "8_10.txt"
    path.write_bytes(b"")
    assert f"{path} is empty" in one_line(lambda: imdb.read("train", None, 64, tmp_path))
    path.unlink()
    message = one_line(lambda: imdb.read("train", None, 64, tmp_path))
    assert "6 negative and 5 positive reviews, expected 6 of each" in message
    imdb.read("test", None, 64, tmp_path)


def test_lines_may_end_as_on_windows(tmp_path, reviews):
    path = write_table(tmp_path, reviews) / "imdb" / "train.tsv"
    before = imdb.read("train", None, 64, tmp_path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert torch.equal(imdb.read("train", None, 64, tmp_path)[0], before[0])


def test_half_of_the_table_is_not_completed_by_a_download(tmp_path, reviews):
    (write_table(tmp_path, reviews) / "imdb" / "test.tsv").unlink()
    assert "test.tsv" in one_line(lambda: imdb.read("train", None, 64, tmp_path))


def test_the_bag_finds_a_byte_that_tells_the_class_and_nothing_where_only_the_order_does():
    random = np.random.RandomState(0)
    labels = torch.from_numpy(random.randint(0, 2, 800))
    told = torch.from_numpy(random.randint(1, 257, (800, 64))).to(torch.int16)
    told[:, 0] = torch.where(labels == 1, 7, 9).to(torch.int16)
    told[:, 1:8] = told[:, :1]
    scores = imdb.baselines((told[:600], labels[:600]), (told[600:], labels[600:]))
    assert scores["chance"] == 50 and scores["bag_of_tokens"] > 95
    most = labels[:600].bincount().argmax()
    assert scores["majority"] == pytest.approx(100 * (labels[600:] == most).double().mean().item())
    ordered = torch.where(labels[:, None] == 1, torch.arange(1, 65), torch.arange(64, 0, -1)).to(torch.int16)
    scores = imdb.baselines((ordered[:600], labels[:600]), (ordered[600:], labels[600:]))
    assert scores["bag_of_tokens"] == scores["majority"]


def test_padding_tells_the_bag_nothing():
    labels = torch.arange(200) % 2
    tokens = torch.zeros(200, 32, dtype=torch.int16)
    for row, label in zip(tokens, labels.tolist(), strict=True):
        row[: 8 + 8 * label] = 5
    scores = imdb.baselines((tokens, labels), (tokens, labels))
    assert scores["bag_of_tokens"] == scores["majority"] == 50


@pytest.mark.slow
def test_the_real_reviews_have_the_official_sizes_and_the_known_bag_of_bytes(text_dir, monkeypatch):
    monkeypatch.setattr(imdb, "DOCUMENTS", 25_000)
    train, test = (imdb.read(split, None, 512, text_dir) for split in ("train", "test"))
    assert train[0].shape == test[0].shape == (25_000, 512)
    assert train[1].bincount().tolist() == test[1].bincount().tolist() == [12_500, 12_500]
    assert bool((train[0][:, 0] > 0).all())
    assert imdb.baselines(train, test)["bag_of_tokens"] == pytest.approx(61.8, abs=0.2)
