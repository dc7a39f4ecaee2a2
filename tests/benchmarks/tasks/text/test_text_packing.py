"""Segments: what is in them, that they are kept whole, and the level of word frequencies."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc
import unicodedata

import numpy as np
import pytest
import torch
from text_files import document, write_text

from benchmarks.contract.errors import UserError
from benchmarks.tasks.text.corpus import levels, packing
from benchmarks.tasks.text.corpus.corpora import PARTS, Corpus, open_corpus, part_of
from benchmarks.tasks.text.corpus.packing import packed
from benchmarks.tasks.text.corpus.tokenization import Bytes, tokenizer_for
from benchmarks.tasks.text.corpus.tokens import PAD, SPECIAL
from benchmarks.tasks.text.masking import pretraining_batch

LENGTH = 32
WIDTH = LENGTH - packing.BESIDE


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    return open_corpus(str(write_text(tmp_path / "a.txt")), tmp_path)


def plainly_cut(texts: list[str]) -> list[list[int]]:
    """What the segments ought to be, one document after the other."""
    rows = []
    for text in texts:
        tokens = Bytes().encode(text).tolist()
        for start in range(0, len(tokens), WIDTH):
            part = tokens[start : start + WIDTH]
            if len(part) >= WIDTH / 4:
                rows.append(part + [PAD] * (WIDTH - len(part)))
    return rows


def test_segments_hold_one_document_each_and_ends_are_filled_up(corpus, tmp_path):
    found = packed(corpus, Bytes(), LENGTH, tmp_path / "cache")
    for part in PARTS:
        texts = [document(number) for number in range(60) if part_of(number) == part]
        segments = found.segments(part)
        assert segments.tolist() == plainly_cut(texts)
        assert segments.dtype == np.uint16
        assert found.meta.segments[part] == len(segments)
        assert found.meta.documents[part] == len(texts)
        assert found.meta.tokens[part] == (segments != PAD).sum()
        whole = sum(len(Bytes().encode(text)) for text in texts)
        assert found.meta.tokens[part] + found.meta.left_out[part] == whole


@pytest.mark.parametrize(("letters", "rows"), [(32, 1), (32 + 7, 1), (32 + 8, 2), (8, 1), (64, 2)])
def test_an_end_of_less_than_a_quarter_is_left_out(tmp_path, letters, rows):
    (tmp_path / "a.txt").write_text("\n\n".join(["x" * letters] * 20))
    found = packed(open_corpus(str(tmp_path / "a.txt"), tmp_path), Bytes(), 35, tmp_path)
    assert found.meta.segments == {"train": 18 * rows, "val": rows, "test": rows}


def test_documents_of_many_batches_are_cut_alike(corpus, tmp_path, monkeypatch):
    whole = packed(corpus, Bytes(), LENGTH, tmp_path / "one")
    monkeypatch.setattr(packing, "TOGETHER", 1)
    single = packed(corpus, Bytes(), LENGTH, tmp_path / "two")
    assert whole.meta == single.meta


def test_a_batch_is_of_the_segments_asked_for(corpus, tmp_path):
    found = packed(corpus, Bytes(), LENGTH, tmp_path)
    batch = found.batch("train", torch.tensor([5, 0]))
    assert batch.dtype == torch.int64
    assert batch.tolist() == [found.segments("train")[row].tolist() for row in (5, 0)]


def unread(corpus: Corpus) -> Corpus:
    return dataclasses.replace(corpus, read=lambda: pytest.fail("the corpus was read again"))


def test_segments_are_read_from_the_cache(corpus, tmp_path):
    first = packed(corpus, Bytes(), LENGTH, tmp_path)
    again = packed(unread(corpus), Bytes(), LENGTH, tmp_path)
    assert again.meta == first.meta
    assert isinstance(again.segments("train"), np.memmap)


@pytest.mark.parametrize("change", ["corpus", "tokenizer", "length", "version"])
def test_segments_of_something_else_are_made(corpus, tmp_path, monkeypatch, change):
    first = packed(corpus, Bytes(), LENGTH, tmp_path)
    other, tokenizer, length = unread(corpus), Bytes(), LENGTH
    if change == "corpus":
        other = dataclasses.replace(other, hash="0")
    if change == "tokenizer":
        tokenizer = Bytes(lower=False)
    if change == "length":
        length += 1
    if change == "version":
        monkeypatch.setattr(packing, "VERSION", 2)
    with pytest.raises(pytest.fail.Exception):
        packed(other, tokenizer, length, tmp_path)
    assert packing.find_packed(first.folder, first.meta.key) is None or change != "version"


@pytest.mark.parametrize("damage", ["a byte", "cut off", "gone", "no meta"])
def test_damaged_segments_are_made_again(corpus, tmp_path, damage):
    first = packed(corpus, Bytes(), LENGTH, tmp_path)
    expected = first.segments("val").tolist()
    path = first.folder / ("meta.json" if damage == "no meta" else "val.bin")
    content = path.read_bytes()
    if damage == "a byte":
        path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    elif damage == "cut off":
        path.write_bytes(content[:-2])
    elif damage == "no meta":
        path.write_text("{")
    else:
        path.unlink()
    with pytest.raises(pytest.fail.Exception):
        packed(unread(corpus), Bytes(), LENGTH, tmp_path)
    assert packed(corpus, Bytes(), LENGTH, tmp_path).segments("val").tolist() == expected


def test_a_stop_in_the_middle_leaves_nothing_half_made(corpus, tmp_path):
    def stopped():
        yield from corpus.read()
        raise KeyboardInterrupt

    cache = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        packed(dataclasses.replace(corpus, read=stopped), Bytes(), LENGTH, cache)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []
    found = packed(corpus, Bytes(), LENGTH, cache)
    killed = cache / f".{found.folder.name}.1.part"
    killed.mkdir()
    (found.folder / "meta.json").unlink()
    packed(corpus, Bytes(), LENGTH, cache)
    assert not killed.exists()


def test_what_cannot_be_packed_is_refused_in_one_line(corpus, tmp_path):
    with pytest.raises(UserError, match="at least 16 tokens, not 15"):
        packed(corpus, Bytes(), 15, tmp_path)
    with pytest.raises(UserError, match="too short for 4096 tokens"):
        packed(corpus, Bytes(), 4096, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="segments of text cannot be kept"):
        packed(corpus, Bytes(), LENGTH, tmp_path / "file")


@pytest.mark.parametrize("letter", ["a", "ä", "字"])
def test_a_long_name_of_a_text_is_cut_in_that_of_its_cache(tmp_path, letter):
    text = write_text(tmp_path / (letter * (240 // len(letter.encode())) + ".txt"))
    corpus = open_corpus(str(text), tmp_path)
    assert packed(corpus, Bytes(), LENGTH, tmp_path / "cache").segments("train").any()
    assert corpus.name == text.stem and text.stem.startswith(corpus.slug) and 98 <= len(corpus.slug.encode()) <= 100


def test_memory_does_not_grow_with_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "TOGETHER", 2**17)
    text = document(1, 2000)
    peaks = []
    for count in (60, 600):
        corpus = Corpus(f"of {count}", "", "1", lambda count=count: (f"{number} {text}" for number in range(count)))
        tracemalloc.start()
        packed(corpus, Bytes(), 512, tmp_path / str(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_levels_are_those_of_guesses_that_are_drawn(tmp_path):
    """Guesses fitted on training text, made on a great many places of the test that are masked as in training."""
    (tmp_path / "a.txt").write_text("\n\n".join("a" * 9 + "b" * (number % 9) + "c" * 3 for number in range(400)))
    found = packed(open_corpus(str(tmp_path / "a.txt"), tmp_path), Bytes(), LENGTH, tmp_path)
    level = levels.frequencies(found)
    size = found.meta.vocabulary - SPECIAL
    train = levels.counts(found.segments("train"), found.meta.vocabulary) + 1.0
    shares = torch.from_numpy(train / train.sum())
    segments = torch.from_numpy(found.segments("test").astype(np.int64)).repeat(2000, 1)
    batch = pretraining_batch(segments, found.meta.vocabulary, torch.Generator().manual_seed(0))
    seen, truth = batch.tokens.gather(1, batch.places)[batch.masked > 0], batch.masked[batch.masked > 0] - SPECIAL
    # what stands at a place, MASK or a token, says how likely each token was there before
    posterior = torch.zeros(SPECIAL + size, size, dtype=torch.float64)
    posterior[3] = 0.8 * shares
    posterior[SPECIAL:] = 0.1 * torch.diag(shares) + 0.1 / size * shares
    posterior /= posterior.sum(1, keepdim=True)
    guesses = posterior.argmax(1)[seen]
    drawn = {
        "accuracy_percent": 100 * (truth == shares.argmax()).double().mean(),
        "loss_nats": -shares.log()[truth].mean(),
        "own_place_accuracy_percent": 100 * (guesses == truth).double().mean(),
        "own_place_loss_nats": -posterior[seen, truth].log().mean(),
    }
    assert level.keys() == drawn.keys()
    for name, value in drawn.items():
        assert level[name] == pytest.approx(float(value), rel=0.03), name


def test_text_that_is_always_the_same_token_is_guessed(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join("aaaaaaaaaaaa" for _ in range(40)))
    found = packed(open_corpus(str(tmp_path / "a.txt"), tmp_path), Bytes(), LENGTH, tmp_path)
    level = levels.frequencies(found, "val")
    assert level["accuracy_percent"] == level["own_place_accuracy_percent"] == pytest.approx(100)
    assert level["loss_nats"] == pytest.approx(-math.log((36 * 12 + 1) / (36 * 12 + 256)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bytes", "bpe-4096"])
def test_real_wikipedia_is_packed(text_dir, tmp_path, name):
    if name != "bytes":
        pytest.importorskip("tokenizers")
    corpus = open_corpus("wikipedia", text_dir)
    tokenizer = tokenizer_for(name, corpus, tmp_path)
    found = packed(corpus, tokenizer, 128, tmp_path)
    assert found.meta.documents == {"train": 17663, "val": 981, "test": 981}
    assert sum(found.meta.left_out.values()) < 0.01 * sum(found.meta.tokens.values())
    level = levels.frequencies(found)
    if name == "bytes":
        assert level["accuracy_percent"] == pytest.approx(16.29, abs=0.01)
        assert level["loss_nats"] == pytest.approx(3.0652, abs=1e-4)
    assert level["accuracy_percent"] < level["own_place_accuracy_percent"] < 25
    first = next(text for part, text in corpus.documents_by_part() if part == "test")
    there = unicodedata.normalize("NFKD", tokenizer.decode(found.segments("test")[0]).replace(" ", ""))
    assert unicodedata.normalize("NFKD", first.lower().replace(" ", "")).startswith(there[:40])
