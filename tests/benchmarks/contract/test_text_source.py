"""Records of text keep a fingerprint of it: other text, another trial; none of what reads no text."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from synthetic import save
from synthetic_sequences import make_trial

from benchmarks.cli.main import main
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import labels_file
from benchmarks.contract.trial import Trial
from benchmarks.plan.trials import Plan, Request
from benchmarks.report.frame import results_frame
from benchmarks.report.tables.summary import summary_table
from benchmarks.tasks.sequences import imdb
from benchmarks.tasks.sequences.parts.fingerprints import check_source, text_source

ARTICLES = ("one article about rivers " * 20, "another one about towns " * 20)


@pytest.fixture
def text(tmp_path) -> Path:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "wikipedia.txt").write_text("\n\n".join(ARTICLES))
    return tmp_path / "text"


def plan_of(dataset: str, data_dir: Path, results: Path) -> Plan:
    request = Request(dataset=dataset, mixer="dct", length=(32,), seed=(0,), data_dir=data_dir, results=results)
    return Plan(request)


def test_a_fingerprint_is_of_the_text_whatever_holds_it(text, tmp_path):
    one = text_source("pairs", text)
    assert one is not None and len(one) == 64
    several = tmp_path / "several"
    several.mkdir()
    for number, article in enumerate(ARTICLES):
        (several / f"{number}.txt").write_text(article + "\n")
    assert text_source("pairs", several) == one
    (several / "1.txt").write_text(ARTICLES[1] + "!")
    assert text_source("pairs", several) not in (one, None)
    assert text_source("pairs", tmp_path / "nowhere") is None and text_source("recall", text) is None


def test_reviews_have_one_fingerprint_in_both_forms(tmp_path, monkeypatch):
    monkeypatch.setattr(imdb, "DOCUMENTS", 2)
    monkeypatch.setattr(imdb, "download", lambda *_: pytest.fail("downloads to plan"))
    assert text_source("imdb", tmp_path) is None
    for split in ("train", "test"):
        lines = ["id\tlabel\trating\ttext", f"1\t1\t10\tgood {split}", f"1\t0\t1\tbad {split}", ""]
        (tmp_path / "table" / "imdb").mkdir(parents=True, exist_ok=True)
        (tmp_path / "table" / "imdb" / f"{split}.tsv").write_text("\n".join(lines))
        for sentiment, words in (("pos", f"good {split}"), ("neg", f"bad {split}")):
            place = tmp_path / "folder" / "aclImdb" / split / sentiment
            place.mkdir(parents=True)
            (place / f"1_{10 if sentiment == 'pos' else 1}.txt").write_text(words)
    assert text_source("imdb", tmp_path / "table") == text_source("imdb", tmp_path / "folder") is not None


def test_papers_have_the_fingerprint_of_their_files(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"new_aan_pairs.{split}.tsv").write_text(f"1.0\ta\tb\tone {split}\ttwo\n")
    one = text_source("retrieval", tmp_path)
    (tmp_path / "new_aan_pairs.test.tsv").write_text("0.0\ta\tb\tone test\ttwo\n")
    assert None not in (one, other := text_source("retrieval", tmp_path)) and one != other


def test_trials_that_train_have_it_and_others_do_not(text, tmp_path):
    plan = plan_of("pairs", text, tmp_path)
    source = text_source("pairs", text)
    assert {trial.dataset_source for trial in (*plan.accuracy(), *plan.tuning())} == {source}
    assert {trial.dataset_source for trial in (*plan.cost(), *plan.latency())} == {None}
    without = plan_of("pairs", tmp_path, tmp_path).accuracy()[0]
    assert without.dataset_source is None
    (with_it,) = plan.accuracy()
    assert dataclasses.replace(with_it, dataset_source=None).id() == without.id() != with_it.id()


def test_no_id_moves():
    trial = make_trial("accuracy", "dct")
    values = {name: value for name, value in trial.to_dict().items() if name != "dataset_source"}
    assert Trial.from_dict(values).id() == trial.id()


def test_text_that_changed_since_the_plan_is_refused(text, tmp_path):
    (trial,) = plan_of("pairs", text, tmp_path).accuracy()
    check_source(trial, text)
    (text / "wikipedia.txt").write_text("\n\n".join([*ARTICLES, "a third"]))
    with pytest.raises(UserError, match="the text of pairs has changed since this run began; start it again"):
        check_source(trial, text)
    check_source(dataclasses.replace(trial, dataset_source=None), text)  # of an older record


def test_kept_labels_are_of_one_text_and_length(tmp_path):
    def kept(source, dataset, length):
        return labels_file(tmp_path, {"dataset_source": source, "dataset": dataset, "length": length})

    others = [("b" * 64, "pairs", 512), ("a" * 64, "imdb", 512), ("a" * 64, "pairs", 256), (None, "pairs", 512)]
    assert len({kept("a" * 64, "pairs", 512), *(kept(*more) for more in others)}) == 5
    own = kept("a" * 64, "folder:mine", None)
    assert own == tmp_path / "test_labels" / f"{'a' * 16}.npy"  # of somebody's own images


def test_cost_stands_beside_the_accuracy_of_any_text(tmp_path):
    trial = dataclasses.replace(make_trial("accuracy", "dct"), dataset_source="a" * 64)
    save(tmp_path, trial, {"test_top1_percent": 50.0, "val_top1_percent": 50.0})
    save(tmp_path, make_trial("cost", "dct", batch_size=64), {"params": 1234, "flops": 5678})
    (row,) = summary_table(results_frame(tmp_path)).to_dict("records")
    assert (row["params"], row["flops"]) == (1234, 5678)


def test_what_can_be_downloaded_is_there_before_anything_is_planned(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(imdb, "download", lambda *given: asked.append(given[1]))
    for verb, times in (("cost", 0), ("train", 1)):
        main([verb, "--dataset=imdb", "--mixer=nothing", f"--data-dir={tmp_path}", f"--results={tmp_path / 'r'}"])
        assert "nothing" in capsys.readouterr().err
        assert len(asked) == times
