"""Text as a task of the suite: pre-training by parts of a corpus, and tasks that go on from it."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from synthetic import save

from benchmarks.cli import main as cli
from benchmarks.contract.choices.profiles import profile_of
from benchmarks.contract.errors import OutOfTime, UserError
from benchmarks.contract.facts.datasets import DATASETS, labels_file, vocabulary_of
from benchmarks.contract.record import load_records
from benchmarks.contract.trial import Trial
from benchmarks.finished.validate import validate
from benchmarks.plan import text_line
from benchmarks.plan.grid import Grid
from benchmarks.plan.trials import Plan, Request
from benchmarks.report.frame import results_frame
from benchmarks.sweep import one_trial
from benchmarks.sweep.run import Runner
from benchmarks.tasks.task import load_data, task_of
from benchmarks.tasks.text import passages
from benchmarks.tasks.text.corpus.tokens import CLS, MASK, PAD, SEP
from benchmarks.tasks.text.masking import IGNORED, most_masked
from benchmarks.tasks.text.tasks import glue
from benchmarks.tasks.text.tasks.rows import Rows
from benchmarks.training.step import compiled_blocks
from benchmarks.training.train import train
from benchmarks.training.weights import save_weights, take_weights
from mixers import UnsupportedSize

WORDS = ("the quick brown fox jumps over a lazy dog and then it sleeps under some old green tree by water").split()  # noqa: SIM905
NET = {"norm": "token", "positions": "learned", "coordinates": False, "dim": 16, "depth": 1, "length": 32}
RECIPE = {"epochs": 3, "lr": 1e-2, "weight_decay": 0.01, "warmup_epochs": 0.3, "label_smoothing": 0.0, "batch_size": 16}
RECIPE |= {"augment": "none", "schedule": "linear", "beta2": 0.98}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A file of 60 documents of 40 words each."""
    random = np.random.default_rng(0)
    path = tmp_path / "prose.txt"
    path.write_text("\n\n".join(" ".join(random.choice(WORDS, 40)) for _ in range(60)) + "\n", encoding="utf-8")
    return path


def pretrain_trial(corpus: Path, **changes) -> Trial:
    request = Request(dataset="pretrain", profile="quick", device="cpu", text=str(corpus), data_dir=corpus.parent)
    (planned,) = Plan(request.but(mixer="dct", length=(32,))).accuracy()
    return dataclasses.replace(planned, **{**NET, **RECIPE, "train_images": 100} | changes)


def test_a_trial_says_which_corpus_and_tokens_and_keeps_no_place(corpus):
    one = pretrain_trial(corpus)
    assert (one.corpus, one.tokenizer, one.grid, one.tokens) == ("prose", "bytes", (1, 32), 32)
    assert len(one.dataset_source) == 64 and str(corpus.parent) not in json.dumps(one.to_dict())
    assert len({one.id(), dataclasses.replace(one, gain=8.0).id(), dataclasses.replace(one, order="none").id()}) == 3


def test_pre_training_learns_and_its_record_is_sound(corpus, tmp_path):
    arguments = ["--dataset", "pretrain", "--text", str(corpus), "--mixer", "dct", "--length", "32", "--dim", "16"]
    arguments += ["--depth", "1", "--epochs", "3", "--train-images", "100", "--results", str(tmp_path / "r")]
    assert cli.main(["train", *arguments, "--data-dir", str(tmp_path), "--device", "cpu", "--lr", "1e-2"]) == 0
    (record,) = load_records(tmp_path / "r")
    metrics = record.metrics
    assert record.status == "ok" and len(record.history) == 3
    assert record.history[-1]["train_loss"] < record.history[0]["train_loss"]
    assert 0 < metrics["baseline_frequencies_percent"] < 50 and 0 <= metrics["test_order_percent"] <= 100
    assert metrics["test_loss"] > 0 and record.history[0]["val_order_percent"] is not None
    predictions = np.load(tmp_path / "r" / "records" / f"accuracy-{record.id}.npy")
    labels = np.load(labels_file(tmp_path / "r", record.trial.to_dict()))
    assert predictions.shape == labels.shape and labels.shape[1] == most_masked(32)
    assert 100 * (predictions == labels).mean() == pytest.approx(metrics["test_top1_percent"])
    assert validate(tmp_path / "r", tmp_path) == (1, [])


def test_an_epoch_is_the_next_part_of_the_corpus_and_a_pass_has_each_passage_once(corpus):
    data = load_data(pretrain_trial(corpus, train_images=100), corpus.parent, "cpu")
    total = len(data.train.targets)
    assert data.epoch_examples == 100 < total
    seen = torch.cat([data.examples_of(epoch, 7) for epoch in range(-(-total // 100))])
    assert sorted(seen[:total].tolist()) == list(range(total))
    assert not torch.equal(data.examples_of(0, 7), data.examples_of(0, 8))
    assert torch.equal(data.examples_of(1, 7), data.examples_of(1, 7))


def test_an_epoch_of_more_passages_than_there_are_begins_the_next_pass(corpus):
    data = load_data(pretrain_trial(corpus, train_images=1_000), corpus.parent, "cpu")
    total = len(data.train.targets)
    assert data.epoch_examples == 1_000 > total
    counts = torch.bincount(torch.cat([data.examples_of(epoch, 0) for epoch in range(3)]))
    assert counts.sum() == 3_000 and counts.max() - counts.min() <= 1


def test_what_is_evaluated_is_whole_passages_masked_once_and_for_all(corpus):
    one = pretrain_trial(corpus)
    first, second = (load_data(one, corpus.parent, "cpu").read_test() for _ in range(2))
    assert torch.equal(first.inputs, second.inputs) and torch.equal(first.targets, second.targets)
    tokens, places, masked = first.inputs.split([32, most_masked(32), most_masked(32)], 1)
    assert (tokens[:, 0] == CLS).all() and not (tokens == PAD).any() and ((tokens == SEP).sum(1) == 2).all()
    assert (masked != IGNORED).all() and torch.equal(first.targets[:, 1:], masked)
    assert 0.7 < (tokens.gather(1, places) == MASK).double().mean() < 0.9
    assert set(first.targets[:, 0].tolist()) == {0, 1}


def test_loss_and_scores_are_those_of_the_logits(corpus):
    one = pretrain_trial(corpus)
    task, data = task_of(one), load_data(one, corpus.parent, "cpu")
    net = task.net(one).eval()
    with torch.no_grad():
        net.encoder.bias[10] = 30.0  # says token 10 everywhere
        output = net(data.val.inputs)
    masked = data.val.targets[:, 1:]
    scores, predictions = task.scores(output, data.val.targets)
    assert (predictions == 10).all()
    assert scores["top1_percent"] == pytest.approx(100 * (masked == 10).double().mean().item())
    assert scores["loss"] + scores["order_loss"] == pytest.approx(task.loss(output, data.val.targets).item(), rel=1e-5)


@pytest.mark.parametrize("order", ["random", "none"])
def test_other_orders_are_trained_too(corpus, order, tmp_path):
    one = pretrain_trial(corpus, order=order, epochs=1)
    metrics = train(one, load_data(one, corpus.parent, "cpu"), tmp_path / "c.pt").metrics
    assert metrics["test_top1_percent"] > 0 and ("test_order_percent" in metrics) == (order == "random")


def test_a_run_that_stops_goes_on_bit_for_bit(corpus, tmp_path):
    one = pretrain_trial(corpus)
    whole = train(one, load_data(one, corpus.parent, "cpu"), tmp_path / "whole.pt")

    def stop(row):
        if row["epoch"] == 2:
            raise OutOfTime("now")

    with pytest.raises(OutOfTime):
        train(one, load_data(one, corpus.parent, "cpu"), tmp_path / "c.pt", stop)
    again = train(one, load_data(one, corpus.parent, "cpu"), tmp_path / "c.pt")
    assert again.metrics["test_loss"] == whole.metrics["test_loss"]
    assert np.array_equal(again.predictions, whole.predictions)


@pytest.fixture
def two_kinds(monkeypatch):
    """A task on passages whose class is their first letter, in place of the plays."""

    def read(split, length, tokenizer, data_dir):
        count = {"train": 96, "val": 16, "test": 32}[split]
        targets = torch.arange(count) % 2
        tokens = torch.full((count, length), PAD, dtype=torch.int32)
        tokens[:, 0], tokens[:, 1], tokens[:, 2] = CLS, (100 + targets).int(), SEP
        return tokens, targets

    monkeypatch.setattr(passages.plays, "read", read)


def fine_trial(corpus: Path, **changes) -> Trial:
    request = Request(dataset="plays", profile="quick", device="cpu", data_dir=corpus.parent, mixer="dct", length=(32,))
    (planned,) = Plan(request).accuracy()
    return dataclasses.replace(planned, **{**NET, **RECIPE} | changes)


def test_a_task_goes_on_from_the_weights_that_it_names(corpus, tmp_path, two_kinds):
    first = pretrain_trial(corpus)
    train(first, load_data(first, corpus.parent, "cpu"), tmp_path / f"accuracy-{first.id()}.pt")
    one = fine_trial(corpus, pretrained=first.id(), lr=1e-8, epochs=1)
    outcome = train(one, load_data(one, corpus.parent, "cpu"), tmp_path / "c.pt")
    import safetensors.torch

    before = safetensors.torch.load_file(tmp_path / f"accuracy-{first.id()}.safetensors")
    after = safetensors.torch.load_file(tmp_path / "c.safetensors")
    taken = [name for name in after if name.startswith("encoder.")]
    assert len(taken) > 10 and outcome.metrics["baseline_majority_percent"] == 50
    for name in taken:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=1e-4)
    anew = fine_trial(corpus, lr=1e-8, epochs=1)
    train(anew, load_data(anew, corpus.parent, "cpu"), tmp_path / "d.pt")
    other = safetensors.torch.load_file(tmp_path / "d.safetensors")
    assert not torch.allclose(other["encoder.words.weight"], before["encoder.words.weight"], atol=1e-3)


def test_weights_that_are_not_there_or_of_another_net_are_told_in_one_line(corpus, tmp_path, two_kinds):
    first = pretrain_trial(corpus, epochs=1)
    train(first, load_data(first, corpus.parent, "cpu"), tmp_path / f"accuracy-{first.id()}.pt")
    for changes, words in (
        ({"pretrained": "0" * 16}, "has no weights of it; pre-train on this machine"),
        (
            {"pretrained": first.id(), "dim": 24},
            "whose dim is 16; here it is 24",
        ),
        ({"pretrained": first.id(), "depth": 2}, "whose depth is 1; here it is 2"),
        ({"pretrained": first.id(), "mixer": "attention"}, "whose mixer is 'dct'; here it is 'attention'"),
        ({"pretrained": first.id(), "gain": 8.0}, "whose gain is 90.0; here it is 8.0"),
    ):
        one = fine_trial(corpus, **changes)
        with pytest.raises(UserError) as told:
            train(one, load_data(one, corpus.parent, "cpu"), tmp_path / "c.pt")
        assert words in str(told.value)


def test_byte_pairs_of_another_text_of_one_name_are_other_weights(corpus, tmp_path):
    one = dataclasses.replace(pretrain_trial(corpus), tokenizer="bpe-300")
    net = task_of(one).net(one)
    save_weights(tmp_path / f"accuracy-{one.id()}.safetensors", net, one, DATASETS["pretrain"])
    take_weights(net, tmp_path, dataclasses.replace(one, pretrained=one.id()))
    with pytest.raises(UserError, match="whose dataset_source is"):
        take_weights(net, tmp_path, dataclasses.replace(one, pretrained=one.id(), dataset_source="b" * 64))


def test_one_folder_judges_a_task_by_one_set_of_rows(corpus, tmp_path, monkeypatch):
    rows = np.arange(8) % 2
    call = SimpleNamespace(records=tmp_path / "r" / "records", data_dir=corpus.parent)
    task = SimpleNamespace(test_targets=lambda trial, data_dir: rows)
    monkeypatch.setattr(one_trial, "task_of", lambda trial: task)
    (tmp_path / "r" / "test_labels").mkdir(parents=True)
    one = fine_trial(corpus)
    keep = one_trial._keep_own_labels
    keep(call, one, np.dtype(np.uint8))
    keep(call, one, np.dtype(np.uint8))
    rows = 1 - rows
    with pytest.raises(UserError, match=r"the test rows of plays in .* are not those"):
        keep(call, one, np.dtype(np.uint8))


def test_a_second_test_set_is_judged_too_where_it_is_there(corpus, tmp_path, monkeypatch):
    there = {"train": 200, "test": 20, "test2": 30}

    def read(task: str, split: str, data_dir: Path) -> Rows:
        return Rows([f"{split} {i}" for i in range(there[split])], None, np.zeros(there[split], np.int64))

    monkeypatch.setattr(glue, "read", read)
    one = fine_trial(corpus, dataset="glue:sst2", epochs=1, pretrained=None)
    for second in (True, False):
        passages._training.cache_clear()
        passages._levels.cache_clear()
        monkeypatch.setattr(glue, "has_second_test", lambda *_, found=second: found)
        outcome = train(one, load_data(one, corpus.parent, "cpu"), tmp_path / f"{second}.pt")
        assert outcome.metrics.get("test2_top1_percent") == (100.0 if second else None)
        assert outcome.metrics["test_top1_percent"] == 100 and len(outcome.predictions) == 20
    passages._training.cache_clear()
    passages._levels.cache_clear()


def test_pre_training_on_two_texts_of_one_name_is_told_apart(corpus, tmp_path):
    first = pretrain_trial(corpus)
    for seed, source in enumerate(("a" * 64, "b" * 64)):
        start = dataclasses.replace(first, dataset_source=source)
        save(tmp_path, start, {"val_top1_percent": 20.0})
        save(tmp_path, fine_trial(corpus, pretrained=start.id(), seed=seed), {"test_top1_percent": 60.0})
    seen = set(results_frame(tmp_path)["pretrained"].dropna())
    assert len(seen) == 2 and all(
        f"of prose ({letter * 8})" in words for letter, words in zip("ab", sorted(seen), strict=True)
    )


def test_a_longer_net_takes_the_places_that_there_are(corpus, tmp_path, two_kinds):
    first = pretrain_trial(corpus, epochs=1)
    train(first, load_data(first, corpus.parent, "cpu"), tmp_path / f"accuracy-{first.id()}.pt")
    one = fine_trial(corpus, pretrained=first.id(), padded_length=48, epochs=2)
    assert train(one, load_data(one, corpus.parent, "cpu"), tmp_path / "c.pt").metrics["test_top1_percent"] >= 50


def test_what_has_no_form_for_a_longer_net_is_a_row_and_no_end(corpus, tmp_path, two_kinds):
    first = pretrain_trial(corpus, epochs=1, mixer="linear_fnet")
    train(first, load_data(first, corpus.parent, "cpu"), tmp_path / f"accuracy-{first.id()}.pt")
    one = fine_trial(corpus, pretrained=first.id(), padded_length=48, mixer="linear_fnet", gain=first.gain)
    with pytest.raises(UnsupportedSize, match="linear_fnet has no form for another length"):
        train(one, load_data(one, corpus.parent, "cpu"), tmp_path / "c.pt")


def test_a_text_that_has_changed_since_it_was_planned_is_refused(corpus):
    one = pretrain_trial(corpus)
    corpus.write_text(corpus.read_text(encoding="utf-8") + "\n\nmore\n", encoding="utf-8")
    with pytest.raises(UserError, match="is another now than when this was planned"):
        load_data(one, corpus.parent, "cpu")


def test_byte_pairs_of_two_texts_make_two_trials_and_bytes_one(corpus, tmp_path):
    other = tmp_path / "b" / "prose.txt"
    other.parent.mkdir()
    other.write_text(corpus.read_text(encoding="utf-8") + "\n\nmore\n", encoding="utf-8")

    def planned(text: Path, tokenizer: str) -> Trial:
        how = {"profile": "quick", "device": "cpu", "mixer": "dct", "data_dir": tmp_path}
        return Plan(Request(dataset="trec", text=str(text), tokenizer=tokenizer, **how)).accuracy()[0]

    assert planned(corpus, "bpe-300").id() != planned(other, "bpe-300").id()
    assert planned(corpus, "bytes").id() == planned(other, "bytes").id()
    how = {"profile": "quick", "device": "cpu", "mixer": "dct", "data_dir": tmp_path}
    both = Grid(Request(dataset="trec", text=str(corpus), tokenizer=("bytes", "bpe-300"), **how)).accuracy()
    assert [(trial.tokenizer, trial.corpus) for trial in both] == [("bytes", None), ("bpe-300", "prose")]


def test_a_number_is_not_tuned_by_what_is_right():
    plan = Plan(Request(dataset="glue:stsb", mixer="dct", profile="quick", device="cpu"))
    with pytest.raises(UserError, match="glue:stsb asks for a number, take a task with classes"):
        plan.tuning()
    targets = torch.linspace(0, 5, 20)
    found, _ = task_of(plan.accuracy()[0]).scores(torch.full((20, 1), 2.0), targets)
    assert found["spearman"] == found["pearson"] == 0.0


def test_blocks_of_an_encoder_are_compiled_where_they_are_run(corpus):
    net = task_of(pretrain_trial(corpus)).net(pretrain_trial(corpus))
    twin = compiled_blocks(net)
    assert all(type(block).__name__ == "OptimizedModule" for block in twin.encoder.blocks)
    assert not any(type(block).__name__ == "OptimizedModule" for block in net.encoder.blocks)
    assert [id(p) for p in twin.parameters()] == [id(p) for p in net.parameters()]


def test_the_whole_line_is_one_command_and_goes_on(corpus, tmp_path, two_kinds, capsys):
    arguments = [
        "text",
        "--text",
        str(corpus),
        "--mixer",
        "dct,ff_only",
        "--length",
        "32",
        "--dim",
        "16",
        "--depth",
        "1",
    ]
    arguments += [
        "--epochs",
        "1",
        "--train-images",
        "100",
        "--dataset",
        "plays",
        "--data-dir",
        str(tmp_path),
        "--seed",
        "0,1",
    ]
    arguments += ["--results", str(tmp_path / "r"), "--device", "cpu", "--workers", "1", "--scratch"]
    # the task is read in this process alone: the stand-in is not known to others
    from benchmarks.sweep import run

    original = run.Runner.__init__
    run.Runner.__init__ = lambda self, *a, **k: original(self, *a, **k | {"own_process": False})
    try:
        assert cli.main(arguments) == 0
        records = load_records(tmp_path / "r")
        assert cli.main(arguments) == 0
    finally:
        run.Runner.__init__ = original
    assert "8 trials: 8 ok; 8 measured earlier" in capsys.readouterr().out
    costs = [r for r in records if r.kind == "cost"]
    assert len(costs) == 2 and all(r.metrics["train_peak_bytes"] > 0 for r in costs)
    first = {r.id: r.trial for r in records if r.trial.dataset == "pretrain" and r.kind == "accuracy"}
    tuned = [r.trial for r in records if r.trial.dataset == "plays" and r.trial.pretrained]
    assert len(first) == 4 and len(tuned) == 4 and len(records) == 16
    for trial in tuned:
        assert (first[trial.pretrained].mixer, first[trial.pretrained].seed) == (trial.mixer, trial.seed)
        assert trial.epochs == profile_of("quick", "plays").epochs
    assert validate(tmp_path / "r", tmp_path)[1] == []
    rows = list(csv.DictReader((tmp_path / "r" / "tables" / "text-quick" / "pretraining.csv").open()))
    peaks = [float(row["train_peak_bytes"]) for row in rows if row["source"] == "these records"]
    speeds = [float(row["timed_tokens_per_s"]) for row in rows if row["source"] == "these records"]
    assert len(peaks) == len(speeds) == 2 and min(peaks) > 0 and min(speeds) > 0
    assert (tmp_path / "r" / "plots" / "text-quick" / "accuracy-vs-speed.png").is_file()


def test_tasks_are_those_whose_files_are_there(tmp_path):
    assert text_line.tasks_of(None, None, tmp_path) == ["plays"]
    assert text_line.tasks_of(None, "wikipedia", tmp_path) == []
    (tmp_path / "glue" / "SST-2").mkdir(parents=True)
    assert text_line.tasks_of(None, None, tmp_path) == ["plays"]  # of a folder without files nothing can be read
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / "glue" / "SST-2" / name).touch()
    assert text_line.tasks_of("glue,plays", None, tmp_path) == ["glue:sst2", "plays"]
    assert text_line.tasks_of(None, None, tmp_path) == ["glue:sst2"]
    with pytest.raises(UserError, match=r"--dataset is 'glue:sst'; allowed for text: .*Did you mean 'glue:sst2'"):
        text_line.tasks_of("glue:sst", None, tmp_path)


@pytest.mark.parametrize("asked", ["plays,glue:rte", "glue:rte,plays"])
def test_a_task_without_its_files_is_told_before_anything_is_pretrained(asked, tmp_path, capsys):
    (tmp_path / "glue" / "RTE").mkdir(parents=True)
    (tmp_path / "glue" / "RTE" / "train.tsv").touch()
    where = ["--data-dir", str(tmp_path), "--results", str(tmp_path / "r"), "--device", "cpu", "--profile", "quick"]
    assert cli.main(["text", "--dataset", asked, *where]) == 2
    assert f"RTE lacks {tmp_path / 'glue' / 'RTE' / 'dev.tsv'}; get it from" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_what_is_tested_on_is_looked_for_before_training(tmp_path):
    request = Request(mixer="dct", profile="quick", device="cpu", data_dir=tmp_path)
    trials = [Plan(request.but(dataset=name)).accuracy()[0] for name in ("plays", "mr")]
    with pytest.raises(UserError, match=r"MR is not there: no .*rt-polarity.neg"):
        Runner(tmp_path / "r", tmp_path, own_process=False).run(trials)
    assert not list((tmp_path / "r" / "records").glob("*.json"))


def test_a_task_that_lacks_a_file_is_left_out_with_a_warning_where_none_was_named(tmp_path, caplog):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "rt-polarity.neg").touch()
    assert text_line.tasks_of(None, None, tmp_path) == ["plays"]
    assert "mr is left out: " in caplog.text and "rt-polarity.pos" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--dataset", "mosaics", "--text", "wikipedia"],
            "--text is wikipedia, which is for text; mosaics is a data set",
        ),
        (["--dataset", "mosaics", "--gain", "8"], "--gain is 8.0, which is for text; mosaics is a data set of images"),
        (["--dataset", "mosaics", "--tokenizer", "bytes"], "--tokenizer is bytes, which is for text"),
        (
            ["--dataset", "pretrain", "--tokenizer", "bpe-9", "--text", "TEXT"],
            "--tokenizer is 'bpe-9'; allowed: bytes, or",
        ),
        (["--dataset", "pretrain", "--text", "nowhere.txt"], "there is no text nowhere.txt"),
        (
            ["--dataset", "plays", "--pretrained", "abc"],
            "--pretrained is 'abc'; allowed: the id of a pre-training record",
        ),
        (["--dataset", "pretrain", "--norm", "image", "--text", "TEXT"], "--norm is image; allowed for pretrain"),
        (["--dataset", "pretrain", "--image-size", "32", "--text", "TEXT"], "has no use for --image-size"),
        (
            ["--dataset", "pretrain", "--text", "TEXT", "--order", "random", "--batch-size", "1"],
            "--batch-size is 1, and --order random takes the second part from another passage",
        ),
        (
            ["--dataset", "pretrain", "--text", "TEXT", "--length", "400"],
            "has 0 whole passages of 400 tokens to test on, 2 are needed; type a smaller --length, or a longer --text",
        ),
        (["--dataset", "mosaics", "--scratch"], "train has no use for --scratch, which is for text"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words, corpus, tmp_path, capsys):
    arguments = [str(corpus) if word == "TEXT" else word for word in arguments]
    arguments = ["train", "--mixer", "dct", *arguments, "--results", str(tmp_path / "r"), "--device", "cpu"]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_vocabularies_are_told_by_their_names():
    assert (vocabulary_of("bytes"), vocabulary_of("bpe-4096")) == (261, 4096)
    for name in ("bpe-299", "bpe-64001", "BPE-4096", "words"):
        with pytest.raises(UserError, match="allowed: bytes, or bpe-N with N from 300 to 64000"):
            vocabulary_of(name)
    assert all(info.headline in ("top1_percent", "matthews", "f1", "spearman") for info in DATASETS.values())
