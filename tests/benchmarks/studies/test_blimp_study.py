"""BLiMP in records and tables: pre-trained nets are asked once each, and whatever is missing is one line."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from markupsafe import escape
from text_files import write_text

from benchmarks import load_net
from benchmarks.cli import main as cli
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import load_records
from benchmarks.report.stats.intervals import mean_interval
from benchmarks.studies.blimp import measure
from benchmarks.studies.blimp.record import BlimpRecord, load, load_blimp
from benchmarks.studies.blimp.report import parts_of, people
from benchmarks.studies.blimp.section import sections
from benchmarks.tasks.text import blimp
from benchmarks.tasks.text.corpus.tokenization import Bytes
from mixers import MixerError
from tests.benchmarks.tasks.text.test_blimp import row, write

TERMS = {"a": "s-selection", "b": "binding", "c": "binding"}
NET = ["--dataset", "pretrain", "--dim", "8", "--depth", "1", "--epochs", "1", "--train-images", "100", "--device"]
NET += ["cpu", "--profile", "quick", "--threads", "1", "--length", "32"]


@pytest.fixture(autouse=True)
def three_paradigms(monkeypatch):
    monkeypatch.setattr(blimp, "PARADIGMS", len(TERMS))


def write_pairs(data_dir: Path) -> None:
    write(data_dir, {name: [row(name, i, term) for i in range(4)] for name, term in TERMS.items()})


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a text, and in `results` pre-trained nets: two seeds of one encoder, one of another."""
    folder = tmp_path_factory.mktemp("blimp")
    write_text(folder / "prose.txt")
    for words in (["--mixer", "ff_only", "--seed", "0,1"], ["--mixer", "dct"]):
        assert pretrain(folder, *words) == 0
    write_pairs(folder)
    return folder


def pretrain(folder: Path, *words: str) -> int:
    where = ["--text", str(folder / "prose.txt"), "--data-dir", str(folder), "--results", str(folder / "results")]
    return cli.main(["train", *NET, *where, *words])


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def ask(folder: Path, *words: str) -> int:
    return cli.main(["blimp", "--results", str(folder / "results"), "--data-dir", str(folder), *words])


def refused(capsys, folder: Path, *words: str) -> str:
    capsys.readouterr()
    assert ask(folder, *words) == 2
    said = capsys.readouterr().err.strip()
    assert said and "\n" not in said
    return said


def test_every_net_is_asked_once_and_its_record_says_what_it_found(copy, capsys, monkeypatch):
    assert ask(copy) == 0
    records = load_blimp(copy / "results")
    known = {record.id: record for record in load_records(copy / "results")}
    assert {record.id for record in records} == set(known) and len(records) == 3
    for record in records:
        assert record.masked_percent == known[record.id].metrics["test_top1_percent"]
        assert (record.asked, record.pairs) == (12, 12) and record.overall == pytest.approx(by_hand(copy, record.id))
        assert record.phenomena == {"argument_structure": ["a"], "binding": ["b", "c"]}
    before = {path: path.stat().st_mtime_ns for path in (copy / "results" / "blimp").glob("blimp-*.json")}
    monkeypatch.setattr(measure, "load_net", lambda *_, **__: pytest.fail("a net was asked again"))
    assert ask(copy) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert cli.main(["validate", str(copy / "results")]) == 0
    said = capsys.readouterr().out
    assert "6 records, 0 problems" in said.splitlines()[-1] or "6 records" in said


def by_hand(folder: Path, net: str) -> float:
    """The share of pairs by one forward a token, without any of the batches and masks of the suite."""
    loaded = load_net(folder / "results", net)

    def likelihood(text: str) -> float:
        tokens = [1, *Bytes().encode(text).tolist(), 2]
        total = 0.0
        for place in range(1, len(tokens) - 1):
            asked = torch.tensor([tokens + [0] * (32 - len(tokens))])
            asked[0, place] = 3
            with torch.no_grad():
                total += loaded(asked)[0, place].log_softmax(-1)[tokens[place]].item()
        return total

    right = [likelihood(pair.good) > likelihood(pair.bad) for pair in blimp.read(folder, 4)]
    return 100 * float(np.mean(np.reshape(right, (3, 4)).mean(1)))


def test_the_table_has_a_row_an_encoder_over_its_seeds_and_is_made_of_the_records_alone(copy, capsys):
    assert ask(copy) == 0
    (part,) = parts_of(load_blimp(copy / "results"))
    rows = {found["label"]: found for found in part}
    assert {label: found["n"] for label, found in rows.items()} == {"conv1x1": 2, "dct": 1}
    both = [record for record in load_blimp(copy / "results") if record.trial.mixer == "conv1x1"]
    means = [np.mean([record.paradigms[name] for record in both]) for name in "abc"]
    expected = mean_interval(means)
    assert rows["conv1x1"]["overall"] == pytest.approx(expected.value) and rows["conv1x1"]["seeds"] == "0 1"
    assert rows["conv1x1"]["phenomena"]["binding"] == pytest.approx(np.mean(means[1:]))
    assert rows["dct"]["tokens_seen"] == 100 * 32
    folder = copy / "results" / "blimp"
    texts = {name: (folder / f"blimp.{name}").read_bytes() for name in ("md", "csv", "tex")}
    said = texts["md"].decode()
    assert "12 pairs of 3 paradigms" in said and "| chance" in said and "argument structure" in said
    assert [line["label"] for line in csv.DictReader(texts["csv"].decode().splitlines())] == [r["label"] for r in part]
    assert r"\begin{table}" in texts["tex"].decode()
    for name in texts:
        (folder / f"blimp.{name}").unlink()
    shutil.rmtree(copy / "results" / "checkpoints")
    assert cli.main(["report", "--results", str(copy / "results")]) == 0
    assert {name: (folder / f"blimp.{name}").read_bytes() for name in texts} == texts


def test_the_page_names_who_is_above_chance_and_has_the_table(copy):
    assert ask(copy) == 0
    for path in (copy / "results" / "blimp").glob("blimp-*.json"):
        content = json.loads(path.read_text())
        share = 75.0 if content["trial"]["mixer"] == "dct" else 50.0
        content |= {"paradigms": dict.fromkeys(content["paradigms"], share), "overall": share}
        path.write_text(json.dumps(content))
    said = "Grammar: above chance, 50.0 %, on BLiMP's pairs of sentences: dct 75.0 [75.0, 75.0] % (1 of 2)."
    assert sections(copy / "results")[0].sentences == [said]
    for folder, verb in ((copy / "results", "report"), (copy, "site")):
        assert cli.main([verb, "--results", str(folder)]) == 0
        page = (folder / "index.html").read_text(encoding="utf-8")
        assert 'data-own="blimp"' in page and str(escape(said)) in page and "Salazar et al., 2020" in page


def test_nets_pretrained_otherwise_stand_in_parts_of_their_own(copy):
    assert ask(copy) == 0
    first, *others = load_blimp(copy / "results")
    longer = dataclasses.replace(first, trial=dataclasses.replace(first.trial, epochs=2))
    assert [len(part) for part in parts_of([longer, *others])] == [2, 1]
    assert people(parts_of([longer, *others])).count("| chance") == 2
    other_pairs = dataclasses.replace(first, pairs=first.pairs - 1)
    assert len(parts_of([other_pairs, *others])) == 2 and "11 of 12 pairs fit" in people(parts_of([other_pairs]))


def test_what_is_missing_is_one_line(copy, capsys, tmp_path):
    pairs, checkpoints = copy / "blimp" / "BLiMP.zip", copy / "results" / "checkpoints"
    pairs.rename(copy / "away.zip")
    assert "BLiMP.zip" in refused(capsys, copy)
    (copy / "away.zip").rename(pairs)
    assert "no pre-trained net of hadamard; it has: conv1x1, dct" in refused(capsys, copy, "--mixer", "hadamard")
    assert "Did you mean" in refused(capsys, copy, "--mixer", "dtc")
    first = load_records(copy / "results")[0]
    (checkpoints / f"accuracy-{first.id}.safetensors").unlink()
    assert ask(copy) == 0
    assert "left out: 1 of 3 pre-trained nets" in capsys.readouterr().out
    assert len(load_blimp(copy / "results")) == 2
    shutil.rmtree(checkpoints)
    assert "3 pre-training records and the weights of none" in refused(capsys, copy)
    (tmp_path / "empty").mkdir()
    assert "holds no pre-trained net; type" in refused(capsys, copy, "--results", str(tmp_path / "empty"))
    assert "is not a folder" in refused(capsys, copy, "--results", str(tmp_path / "nowhere"))


def test_weights_that_are_spoiled_are_told_and_the_others_are_asked(copy, capsys):
    first = load_records(copy / "results")[0]
    (copy / "results" / "checkpoints" / f"accuracy-{first.id}.safetensors").write_bytes(b"rubbish")
    assert ask(copy) == 1
    assert "not asked: " in capsys.readouterr().out and len(load_blimp(copy / "results")) == 2


def test_byte_pairs_are_taken_from_the_cache_or_found_again_in_the_text(tmp_path, capsys):
    write_text(tmp_path / "prose.txt")
    write_pairs(tmp_path)
    assert pretrain(tmp_path, "--mixer", "dct", "--tokenizer", "bpe-320") == 0
    (tmp_path / "prose.txt").rename(tmp_path / "moved.txt")
    (record,) = load_records(tmp_path / "results")
    kept = measure.tokenizer_of(record.trial, tmp_path)
    shutil.rmtree(tmp_path / "cache")
    assert "bpe-320 of prose is not in the cache: there is no text" in refused(capsys, tmp_path)
    write_text(tmp_path / "other.txt", 40)
    assert "is another text than the prose" in refused(capsys, tmp_path, "--text", str(tmp_path / "other.txt"))
    assert ask(tmp_path, "--text", str(tmp_path / "moved.txt")) == 0
    assert len(load_blimp(tmp_path / "results")) == 1
    assert measure.tokenizer_of(record.trial, tmp_path).hash == kept.hash


def test_a_net_for_which_every_sentence_is_too_long_is_told(tmp_path, capsys):
    write_text(tmp_path / "prose.txt")
    write(tmp_path, {name: [row(40 * name, 0, term)] for name, term in TERMS.items()})
    assert pretrain(tmp_path, "--mixer", "dct") == 0
    assert "no pair fits into 32 tokens" in refused(capsys, tmp_path)


def test_a_deadline_leaves_nets_and_says_which(copy, capsys):
    assert ask(copy, "--budget", "0.001") == 0
    assert "left for want of time: " in capsys.readouterr().out and not load_blimp(copy / "results")


def test_a_record_that_was_changed_is_refused(copy):
    assert ask(copy) == 0
    path = sorted((copy / "results" / "blimp").glob("blimp-*.json"))[0]
    content = json.loads(path.read_text())
    changes = [
        {"overall": content["overall"] + 1}, {"pairs": 13}, {"id": "0" * 16}, {"phenomena": {"x": ["a"]}},
        {"paradigms": {}}, {"paradigms": {"a": 101.0}}, {"more": 1}, {"schema_version": 2}, {"environment": {}},
    ]  # fmt: skip
    for change in changes:
        path.write_text(json.dumps(content | change))
        with pytest.raises(UserError, match="is not a readable record of BLiMP"):
            load(path)
    path.write_text(json.dumps(content))
    assert isinstance(load(path), BlimpRecord)


def test_an_unknown_mixer_is_an_error(trained):
    with pytest.raises(MixerError):
        measure.pretrained(trained / "results", "no_such_mixer")
