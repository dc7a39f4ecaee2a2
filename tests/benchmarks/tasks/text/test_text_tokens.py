"""Special tokens, bytes and byte-pairs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from text_files import write_text

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import vocabulary_of
from benchmarks.tasks.text.corpus.corpora import open_corpus
from benchmarks.tasks.text.corpus.tokenization import Bytes, tokenizer_for
from benchmarks.tasks.text.corpus.tokens import CLS, NAMES, PAD, SEP, SPECIAL, UNK, types_of


def test_types_change_behind_the_first_separator_and_stay():
    tokens = torch.tensor([[CLS, 7, 8, SEP, 9, SEP, PAD, PAD], [CLS, 7, SEP, PAD, PAD, PAD, PAD, PAD]])
    assert types_of(tokens).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 1]]
    assert types_of(tokens).dtype == torch.int64


def test_bytes_are_utf_8_behind_the_special_tokens_in_lower_case_with_one_blank():
    tokens = Bytes().encode(" Aé\n\tB ")
    assert tokens.dtype == np.uint16
    assert tokens.tolist() == [SPECIAL + byte for byte in "aé b".encode()]
    assert Bytes().vocabulary == SPECIAL + 256


def test_bytes_come_back_without_special_tokens():
    tokens = [CLS, *Bytes().encode("to be, or not: été"), SEP, PAD]
    assert Bytes().decode(tokens) == "to be, or not: été"
    assert Bytes(lower=False).decode(Bytes(lower=False).encode("King Lear")) == "King Lear"
    assert Bytes().hash != Bytes(lower=False).hash


def test_half_of_a_letter_can_still_be_read():
    assert Bytes().decode(Bytes().encode("é")[:1]) == "�"


def test_many_texts_are_what_each_of_them_is():
    many = Bytes().encode_many(["one", "", "Two"])
    assert [Bytes().decode(tokens) for tokens in many] == ["one", "", "two"]


@pytest.mark.parametrize("name", ["bpe", "bpe-299", "bpe-64001", "bpe-04096", "words", "", "BYTES", "bpe-4096 "])
def test_an_unknown_tokenizer_is_refused_in_one_line(name):
    with pytest.raises(UserError, match="allowed: bytes, or bpe-N") as error:
        vocabulary_of(name)
    assert "\n" not in str(error.value)


def test_bytes_need_no_package_and_byte_pairs_say_what_to_install(tmp_path, monkeypatch):
    corpus = open_corpus(str(write_text(tmp_path / "a.txt")), tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert tokenizer_for("bytes", None, tmp_path).vocabulary == 261
    with pytest.raises(UserError, match="pip install tokenizers"):
        tokenizer_for("bpe-300", corpus, tmp_path)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("pairs")
    path = write_text(folder / "a.txt")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" + " ".join(chr(0x4E00 + number) for number in range(200)))  # rare letters, equally so
    corpus = open_corpus(str(path), folder)
    return tokenizer_for("bpe-300", corpus, folder / "cache"), corpus, folder / "cache"


def test_byte_pairs_stand_behind_the_special_tokens(pairs):
    tokenizer = pairs[0]
    assert [tokenizer._pairs.id_to_token(place) for place in range(SPECIAL)] == list(NAMES)
    tokens = tokenizer.encode("The KING walks.")
    assert tokens.dtype == np.uint16 and tokens.min() >= SPECIAL and tokens.max() < tokenizer.vocabulary
    assert tokenizer.decode([CLS, *tokens, SEP, PAD]) == "the king walks."
    assert len(tokens) < len("the king walks.")


def test_a_special_token_that_a_text_spells_is_text(pairs):
    as_written = tokenizer_for("bpe-300", pairs[1], pairs[2], lower=False)
    for tokenizer in (pairs[0], as_written):
        assert set(tokenizer.encode("the [MASK] [PAD] king").tolist()) & {0, 1, 2, 3} == set()
    assert as_written.hash != pairs[0].hash


@pytest.mark.parametrize("text", ["the king's house, (dark) or not", 'a "slowly" over', "", "overunder over under"])
def test_byte_pairs_come_back(pairs, text):
    assert pairs[0].decode(pairs[0].encode(f"  {text}\n")) == text


def test_a_word_is_not_its_parts_side_by_side(pairs):
    assert pairs[0].encode("over under").tolist() != pairs[0].encode("overunder").tolist()


def test_a_letter_that_the_corpus_lacks_is_unknown(pairs):
    assert UNK in pairs[0].encode("漢")


def test_many_texts_are_byte_pairs_of_each(pairs):
    texts = ["the king", "", "never always"]
    many = pairs[0].encode_many(texts)
    assert [tokens.tolist() for tokens in many] == [pairs[0].encode(text).tolist() for text in texts]


def test_byte_pairs_are_kept_and_read_again(pairs, monkeypatch):
    tokenizer, corpus, cache = pairs
    monkeypatch.setattr("benchmarks.tasks.text.corpus.tokenization._train", lambda *_: pytest.fail("trained again"))
    assert tokenizer_for("bpe-300", corpus, cache).hash == tokenizer.hash
    with pytest.raises(pytest.fail.Exception):
        tokenizer_for("bpe-301", corpus, cache)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:1000], lambda b: b"{}", lambda b: b"\xff" + b])
def test_damaged_byte_pairs_are_made_anew(pairs, tmp_path, damage):
    tokenizer_for("bpe-300", pairs[1], tmp_path)
    (path,) = tmp_path.glob("bpe-300-*.json")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert tokenizer_for("bpe-300", pairs[1], tmp_path).hash == pairs[0].hash
    assert path.read_bytes() == whole


def test_another_process_trains_the_same_byte_pairs(pairs, tmp_path):
    code = "import sys; from pathlib import Path\n"
    code += "from benchmarks.tasks.text.corpus.corpora import open_corpus\n"
    code += "from benchmarks.tasks.text.corpus.tokenization import tokenizer_for\n"
    code += "print(tokenizer_for('bpe-300', open_corpus(sys.argv[1], Path()), Path(sys.argv[2])).hash)"
    command = [sys.executable, "-c", code, pairs[1].source, str(tmp_path)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == pairs[0].hash


def test_byte_pairs_come_from_training_documents_alone(tmp_path):
    pytest.importorskip("tokenizers")
    documents = ["zzzz xxxx" if number % 20 >= 18 else "king and queen" for number in range(60)]
    (tmp_path / "a.txt").write_text("\n\n".join(documents))
    tokenizer = tokenizer_for("bpe-300", open_corpus(str(tmp_path / "a.txt"), tmp_path), tmp_path / "cache")
    assert tokenizer.encode("zx").tolist()[1:] == [UNK, UNK]
    assert UNK not in tokenizer.encode("king and queen")


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    pytest.importorskip("tokenizers")
    corpus = open_corpus(str(write_text(tmp_path / "a.txt")), tmp_path)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="byte-pairs cannot be kept"):
        tokenizer_for("bpe-300", corpus, tmp_path / "cache")
