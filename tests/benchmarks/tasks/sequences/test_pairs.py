"""Two documents of bytes: passages of one article or of two, and the papers of Long Range Arena's Retrieval."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.contract.errors import UserError
from benchmarks.contract.trial import Trial
from benchmarks.sweep.run import Runner
from benchmarks.tasks.sequences import pairs, retrieval

N = 32
DIGEST = "fac18578e317c090"


def article(number: int, length: int) -> str:
    """Text of which every stretch of N bytes is another, and says which article it is of: ABCD over and over."""
    letters = "".join(chr(ord("A") + int(digit)) for digit in f"{number:04}")
    return "".join(f"{letters}{place:04}" for place in range(length // 8))


def write(folder: Path, lengths: list[int]) -> list[str]:
    texts = [article(number, length) for number, length in enumerate(lengths)]
    (folder / "wikipedia").mkdir(parents=True, exist_ok=True)
    (folder / "wikipedia" / "wikipedia.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    return texts


def trial_of(dataset: str, length: int) -> Trial:
    return Trial(
        kind="accuracy", mixer="dct", dataset=dataset, length=length, dim=8, depth=1, norm="token", positions="learned",
        coordinates=False, epochs=1, batch_size=4, lr=1e-3, weight_decay=0.0, warmup_epochs=0.0, label_smoothing=0.0,
        augment="none",
    )  # fmt: skip


def passages(tokens: torch.Tensor) -> list[tuple[bytes, bytes]]:
    return [tuple(bytes((row - 1).tolist()) for row in pair) for pair in tokens]  # type: ignore


def source(passage: bytes) -> bytes:
    """The letters of the article that a passage is of."""
    return bytes(passage[:4])


def one_line(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), count=st.integers(100, 200))
def test_pairs_are_balanced_whole_of_one_article_or_two_and_no_passage_comes_twice(seed, count, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    write(folder, np.random.RandomState(seed).choice([8, 56, 64, 72, 160, 400, 1000], count).tolist())
    seen: Counter[bytes] = Counter()
    articles: dict[str, set[bytes]] = {}
    for split in ("train", "test"):
        try:
            tokens, labels = pairs.read(split, None, N, folder)
        except UserError:
            assert split == "test"
            continue
        assert tokens.shape == (len(labels), 2, N) and tokens.dtype == torch.int16 and labels.dtype == torch.int64
        assert labels.bincount().tolist() == [len(labels) // 2] * 2 and bool((tokens > 0).all())
        found = passages(tokens)
        assert [source(a) == source(b) for a, b in found] == (labels == 1).tolist()
        seen.update(passage for pair in found for passage in pair)
        articles[split] = {source(passage) for pair in found for passage in pair}
    assert max(seen.values()) == 1
    assert not articles["train"] & articles.get("test", set())
    most = Counter(source(passage) for passage in seen)
    assert max(most.values()) <= pairs.MOST


def test_passages_lie_in_the_article_and_do_not_overlap(tmp_path):
    texts = write(tmp_path, [400] * 60)
    found = [passage for pair in passages(pairs.read("train", None, N, tmp_path)[0]) for passage in pair]
    whole = {text[:4].encode(): text.encode() for text in texts}
    assert all(whole[source(passage)].index(passage) % N == 0 for passage in found)
    assert len(set(found)) == len(found) > 200


def test_neither_passage_alone_tells_the_class(tmp_path):
    """As many passages of each article stand in pairs of both kinds, as far as chance has it; none more than others."""
    write(tmp_path, [64, 400, 2000] * 200)
    tokens, labels = pairs.read("train", None, N, tmp_path)
    long = torch.tensor([[int(number) % 3 == 2 for number in map(_number, pair)] for pair in passages(tokens)])
    shares = [long[labels == label].double().mean().item() for label in (0, 1)]
    assert shares[0] == pytest.approx(shares[1], abs=0.05)


def _number(passage: bytes) -> str:
    return "".join(chr(byte - ord("A") + ord("0")) for byte in source(passage))


def test_they_are_the_same_every_time_and_more_begin_with_the_same(tmp_path):
    write(tmp_path, [160] * 100)
    tokens, labels = pairs.read("train", None, N, tmp_path)
    again, part = pairs.read("train", None, N, tmp_path), pairs.read("train", 9, N, tmp_path)
    assert torch.equal(tokens, again[0]) and torch.equal(labels, again[1])
    assert torch.equal(part[0], tokens[:9]) and part[1].tolist() == labels[:9].tolist() == [1, 0] * 4 + [1]
    digest = hashlib.sha256(tokens.numpy().astype("<i2").tobytes()).hexdigest()
    assert digest[:16] == DIGEST  # another draw would make records that cannot be compared


def test_an_article_is_of_the_same_split_whatever_else_there_is(tmp_path):
    write(tmp_path / "many", [160] * 200)
    write(tmp_path / "some", [160] * 150)
    many, some = (
        {split: {source(p) for pair in passages(pairs.read(split, None, N, tmp_path / which)[0]) for p in pair}
         for split in ("train", "test")}
        for which in ("many", "some")
    )  # fmt: skip
    assert not some["train"] & many["test"] and not some["test"] & many["train"]


@pytest.mark.parametrize("layout", ["file", "folder", "files", "single"])
def test_text_is_found_as_people_have_it(tmp_path, layout):
    texts = write(tmp_path, [160] * 80)
    expected = pairs.read("train", None, N, tmp_path)
    place = {"file": tmp_path / "wikipedia" / "wikipedia.txt", "folder": tmp_path / "wikipedia"}.get(layout)
    if place is None:
        place = tmp_path / "own"
        place.mkdir()
        if layout == "single":
            (place / "all.txt").write_bytes(("\ufeff" + "\r\n\r\n".join(texts)).encode())
        else:
            for number, text in enumerate(texts):
                (place / f"{number:03}.txt").write_text(text)
    actual = pairs.read("train", None, N, place)
    assert torch.equal(actual[0], expected[0]) and torch.equal(actual[1], expected[1])


def test_a_file_of_several_keeps_its_blank_lines(tmp_path):
    for number in range(40):
        (tmp_path / f"{number}.txt").write_text(article(number, 80)[:36] + "\n\n" + article(number, 80)[38:])
    assert len(pairs.articles(tmp_path)) == 40


def test_a_copy_of_an_article_counts_once(tmp_path):
    texts = write(tmp_path, [160] * 5)
    (tmp_path / "wikipedia" / "wikipedia.txt").write_text("\n\n".join([*texts, texts[2], " ", texts[0]]))
    assert pairs.articles(tmp_path) == [text.encode() for text in texts]


def test_text_that_is_not_utf_8_is_told_with_file_and_place(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 " * 100)
    message = one_line(lambda: pairs.read("train", None, N, tmp_path))
    assert f"{tmp_path / 'latin.txt'} is not UTF-8, byte 3 is 0xe9" in message


def test_bad_places_are_told_in_a_line(tmp_path):
    assert "no text in" in (message := one_line(lambda: pairs.read("train", None, N, tmp_path)))
    assert "--data-dir" in message
    (tmp_path / "a.txt").write_bytes(b"")
    assert f"{tmp_path / 'a.txt'} is empty" in one_line(lambda: pairs.read("train", None, N, tmp_path))
    (tmp_path / "a.txt").write_text("short\n\n" * 30)
    message = one_line(lambda: pairs.read("train", None, N, tmp_path))
    assert "0 train articles of 64 bytes or more" in message and "--length" in message
    (tmp_path / "a.txt").write_text(article(0, 4000))  # a single one has no other to be paired with
    one_line(lambda: pairs.read("train", None, N, tmp_path))
    one_line(lambda: pairs.read("test", None, N, tmp_path))


def test_the_bag_sees_how_far_apart_two_passages_are():
    random = np.random.RandomState(0)
    labels = torch.from_numpy(random.randint(0, 2, 600))
    own = random.randint(0, 10, (600, 2))
    own[labels == 1, 1] = own[labels == 1, 0]
    own[labels == 0, 1] = (own[labels == 0, 0] + random.randint(1, 10, int((labels == 0).sum()))) % 10
    tokens = torch.from_numpy(1 + 5 * own[:, :, None] + random.randint(0, 5, (600, 2, 40))).to(torch.int16)
    scores = pairs.baselines((tokens[:400], labels[:400]), (tokens[400:], labels[400:]))
    assert scores["bag_of_tokens"] > 95 and scores["majority"] < 60 and scores["chance"] == 50


@pytest.mark.slow
def test_real_pairs_have_the_stated_sizes_and_bag_of_bytes(text_dir):
    train, test = (pairs.read(split, None, 512, text_dir) for split in ("train", "test"))
    assert (len(train[0]), len(test[0])) == (24_928, 2_774)
    assert pairs.baselines(train, test)["bag_of_tokens"] == pytest.approx(74.9, abs=0.2)


ROWS = [
    b'1.0\tA00-1001\tB00-2\tfirst \xff text\tanother, "quoted" one',
    b"0.0\tA00-1002\tB00-3\tthird\tfourth",
    b"1\tA00-1003\tB00-4\tfifth\tsixth",
]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(retrieval, "PAIRS", {"train": len(ROWS), "test": 2})


def write_aan(folder: Path, rows: list[bytes] = ROWS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, kept in (("train", rows), ("test", rows[:2]), ("eval", rows[:1])):
        (folder / f"new_aan_pairs.{split}.tsv").write_bytes(b"\n".join(kept) + b"\n")
    return folder


@pytest.mark.parametrize("place", ["", "tsv_data", "lra_release/tsv_data", "lra_release/lra_release/tsv_data"])
def test_papers_are_read_from_the_release_as_it_unpacks(tmp_path, place):
    write_aan(tmp_path / place)
    tokens, labels = retrieval.read("train", None, 8, tmp_path)
    assert tokens.shape == (3, 2, 8) and labels.tolist() == [1, 0, 1] and labels.dtype == torch.int64
    assert tokens[0].tolist() == [[b + 1 for b in b"first \xff "], [b + 1 for b in b"another,"]]
    assert tokens[1, 0].tolist() == [b + 1 for b in b"third"] + [0] * 3
    assert len(retrieval.read("test", None, 8, tmp_path)[0]) == 2
    assert len(retrieval.read("train", 1, 8, tmp_path)[0]) == 1


def test_missing_papers_are_told_with_where_to_get_them_and_what_to_type(tmp_path):
    message = one_line(lambda: retrieval.read("train", None, 8, tmp_path))
    assert "new_aan_pairs.train.tsv" in message and retrieval.URL in message and "--data-dir .../lra_release" in message


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (b"0.5\ta\tb\tx\ty", "line 2 begins with '0.5'"),
        (b"1.0\ta\tb\tx", "line 2 has 4 columns"),
        (b"1.0\ta\tb\t\ty", "empty document in line 2"),
    ],
)
def test_a_damaged_row_of_papers_is_told(tmp_path, row, complaint):
    write_aan(tmp_path, [ROWS[0], row])
    assert complaint in one_line(lambda: retrieval.read("train", None, 8, tmp_path))


def test_a_file_that_was_cut_is_not_taken_for_the_published_one(tmp_path):
    write_aan(tmp_path, ROWS[:2])
    assert "train.tsv has 2 pairs, the published file has 3" in one_line(
        lambda: retrieval.read("train", 1, 8, tmp_path)
    )


def test_a_damaged_test_split_is_told_before_anything_is_trained(tmp_path):
    data = write_aan(tmp_path / "aan")
    trial = trial_of("retrieval", 16)
    (data / "new_aan_pairs.test.tsv").write_bytes(ROWS[0] + b"\n1\tA\tB\t\tsixth\n")
    assert "empty document in line 2" in one_line(lambda: Runner(tmp_path / "r", data).run([trial]))
    (data / "new_aan_pairs.test.tsv").unlink()
    assert "no new_aan_pairs.test.tsv" in one_line(lambda: Runner(tmp_path / "r", data).run([trial]))
    assert not list((tmp_path / "r" / "records").iterdir())


def test_papers_have_their_baselines(tmp_path):
    write_aan(tmp_path)
    scores = retrieval.baselines(*(retrieval.read(split, None, 16, tmp_path) for split in ("train", "test")))
    assert (
        scores["chance"] == 50 and scores["majority"] == 50 and set(scores) == {"chance", "majority", "bag_of_tokens"}
    )


def test_too_few_to_test_on_are_told_before_anything_is_trained(tmp_path):
    write(tmp_path, [160] * 100)
    assert len(pairs.read("test", 4, N, tmp_path)[0]) == 4
    with pytest.raises(UserError, match=r"gives \d+ test pairs, of passages of \d+ bytes, and 1,000 are needed"):
        Runner(tmp_path / "r", tmp_path).run([trial_of("pairs", N)])
