"""Minimal pairs: read as published, sentences scored by the definition, accuracies by paradigm and phenomenon."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.contract.errors import UserError
from benchmarks.tasks.text import blimp
from benchmarks.tasks.text.blimp import Pair, accuracies, fitting, pseudo_log_likelihood, read, sentences
from benchmarks.tasks.text.corpus.tokens import CLS, MASK, PAD, SEP

VOCABULARY = 261
LENGTH = 12


class Bytes:
    """A token a byte."""

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(text.lower().encode(), np.uint8).astype(np.int32) + 5


def write(data_dir: Path, paradigms: dict[str, list], extra: dict[str, bytes] | None = None) -> Path:
    path = data_dir / "blimp" / "BLiMP.zip"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, rows in paradigms.items():
            archive.writestr(f"data/{name}.jsonl", "\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return path


def row(name: str, index: int, term: str) -> dict:
    fields = {"sentence_good": f"{name} {index} is", "sentence_bad": f"{name} {index} are"}
    return {**fields, "UID": name, "linguistics_term": term, "field": "syntax"}


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(blimp, "PARADIGMS", 3)
    terms = {"b": "binding", "a": "s-selection", "c": "binding"}
    rubbish = {"__MACOSX/data/._b.jsonl": b"\xff", "data/.DS_Store": b"\xff", "data/._b.jsonl": b"\xff"}
    write(tmp_path, {name: [row(name, i, term) for i in range(5)] for name, term in terms.items()}, rubbish)
    return tmp_path


def one_line(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def test_the_first_pairs_of_every_paradigm_are_read(small):
    pairs = read(small, 2)
    assert [pair.good for pair in pairs] == ["a 0 is", "a 1 is", "b 0 is", "b 1 is", "c 0 is", "c 1 is"]
    assert pairs[0] == Pair("a 0 is", "a 0 are", "a", "argument_structure") and pairs[2].phenomenon == "binding"
    assert len(read(small, None)) == 15
    assert sentences(pairs[:2]) == ["a 0 is", "a 1 is", "a 0 are", "a 1 are"]


def test_what_is_missing_or_damaged_is_told(small, tmp_path):
    path = small / "blimp" / "BLiMP.zip"
    message = one_line(lambda: read(tmp_path / "other"))
    assert "BLiMP.zip" in message and blimp.PAGE in message and "--data-dir" in message
    write(small, {"a": [row("a", 0, "x")]})
    assert "1 paradigm, expected 3" in one_line(lambda: read(small))
    good = [row("a", 0, "x")]
    null, number, blank = ({**row("c", 1, "x"), "sentence_bad": value} for value in (None, 3, " "))
    for bad in ("{", '{"UID": "a"}', "3", null, number, blank):
        write(small, {"a": good, "b": [row("b", 0, "x")], "c": [row("c", 0, "x"), bad]})
        message = one_line(lambda: read(small))
        assert "data/c.jsonl is damaged: line 2" in message and str(path) in message
    for rows, words in (
        ([], "data/c.jsonl has pairs of 0 paradigms, expected 1"),
        ([row("c", 0, "x"), row("d", 0, "x")], "data/c.jsonl has pairs of 2 paradigms, expected 1"),
        ([row("b", 1, "x")], "has b in data/b.jsonl and in data/c.jsonl"),
    ):
        write(small, {"a": good, "b": [row("b", 0, "x")], "c": rows})
        message = one_line(lambda: read(small))
        assert words in message and "replace it by the original" in message and str(path) in message
    path.write_bytes(b"PK half")
    assert f"{path} is damaged" in one_line(lambda: read(small))


def test_a_net_that_knows_one_place_gives_the_sum_of_its_log_probabilities():
    """Each place has its own logits, whatever the rest: the sum can be written down."""
    logits = torch.randn(LENGTH, VOCABULARY, generator=torch.Generator().manual_seed(0))
    texts = ["abc", "Abcd", "z", ""]
    found = pseudo_log_likelihood(lambda tokens, at: logits[at], texts, Bytes(), LENGTH, 3)
    table = logits.double().log_softmax(-1)
    expected = [sum(table[i, t].item() for i, t in enumerate(Bytes().encode(text).tolist(), 1)) for text in texts]
    assert found == pytest.approx(np.array(expected)) and found[3] == 0


def test_each_token_is_masked_alone_in_its_whole_sentence():
    seen = []

    def predict(tokens, at):
        assert tokens.dtype == at.dtype == torch.int64 and at.shape == (len(tokens), 1)
        seen.extend(zip(tokens.tolist(), at[:, 0].tolist(), strict=True))
        return torch.zeros(len(tokens), 1, VOCABULARY)

    found = pseudo_log_likelihood(predict, ["ab", "c"], Bytes(), 5, 2)
    a = 5 + ord("a")
    assert seen == [
        ([CLS, MASK, a + 1, SEP, PAD], 1),
        ([CLS, a, MASK, SEP, PAD], 2),
        ([CLS, MASK, SEP, PAD, PAD], 1),
    ]
    assert found == pytest.approx(-np.log(VOCABULARY) * np.array([2, 1]))


def after_another(tokens, at):
    """Logits of 3 for the byte behind that before the place, such as b behind a: it reads what is beside the mask."""
    before = tokens.gather(1, at - 1)
    return 3.0 * torch.nn.functional.one_hot(before + 1, VOCABULARY)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_likelier_sentence_is_the_one_that_the_net_expects_in_any_batch(batch):
    pairs = [Pair("abcd", "abdc", "p", "x"), Pair("bcd", "bdd", "p", "x"), Pair("ca", "cd", "q", "x")]
    found = pseudo_log_likelihood(after_another, sentences(pairs), Bytes(), LENGTH, batch)
    normaliser = np.log(np.exp(3) + VOCABULARY - 1)
    hits = np.array([3, 2, 0, 1, 0, 1])  # bytes that stand behind their forerunner
    counts = np.array([4, 3, 2, 4, 3, 2])
    assert found == pytest.approx(3 * hits - counts * normaliser)
    scores = accuracies(pairs, found)
    assert scores["paradigms"] == {"p": 100, "q": 0} and scores["overall"] == 50 and scores["pairs"] == 3


def test_sentences_that_do_not_fit_are_left_out_as_pairs_and_never_cut():
    pairs = [Pair("abc", "abcd", "p", "x"), Pair("abcde", "abcd", "p", "x"), Pair("abcd", "abcde", "p", "x")]
    assert fitting(pairs, Bytes(), 6) == pairs[:1]
    uniform = lambda tokens, at: torch.zeros(len(tokens), 1, VOCABULARY)  # noqa: E731
    assert "more than 4 tokens (abcde" in one_line(lambda: pseudo_log_likelihood(uniform, ["abcde"], Bytes(), 6, 8))


def test_accuracies_are_means_over_paradigms_with_their_interval_and_ties_count_half():
    pairs = [Pair("", "", name, term) for name, term in ("ax", "ax", "ax", "ax", "bx", "cy", "cy")]
    good = np.array([1, 1, 1, -1, 0, 0, 0.0])
    found = accuracies(pairs, np.concatenate([good, [0, 0, 0, 0, 0, -1, 0]]))
    assert found["paradigms"] == {"a": 75, "b": 50, "c": 75}
    assert found["phenomena"] == {"x": 62.5, "y": 75}
    assert found["overall"] == pytest.approx(200 / 3)
    half = 4.302653 * np.std([75, 50, 75], ddof=1) / np.sqrt(3)
    assert found["low"] == pytest.approx(200 / 3 - half, abs=1e-4) and found["high"] == 100
    alone = accuracies(pairs[:1], np.array([1.0, 0]))
    assert (alone["overall"], alone["low"], alone["high"]) == (100, None, None)
    json.dumps(found)


@pytest.mark.parametrize(("pairs", "likelihoods"), [(0, 0), (2, 3)])
def test_numbers_that_do_not_belong_together_are_refused(pairs, likelihoods):
    with pytest.raises(ValueError, match="likelihoods of"):
        accuracies([Pair("", "", "p", "x")] * pairs, np.zeros(likelihoods))


def test_the_real_pairs_are_whole_and_a_net_that_knows_nothing_prefers_the_shorter(text_dir):
    if not (text_dir / "blimp" / "BLiMP.zip").is_file():
        pytest.skip(f"no blimp/BLiMP.zip in {text_dir}")
    pairs = read(text_dir, 50)
    assert len(pairs) == 67 * 50 and len({pair.paradigm for pair in pairs}) == 67
    assert len({pair.phenomenon for pair in pairs}) == 12
    assert len(fitting(pairs, Bytes(), 131)) == 67 * 50 > len(fitting(pairs, Bytes(), 64)) > 2000
    lengths = np.array([len(Bytes().encode(text)) for text in sentences(pairs)])
    found = accuracies(pairs, -lengths)
    assert 40 < found["low"] < found["overall"] < found["high"] < 60
