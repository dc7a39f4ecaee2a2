"""Masked pre-training on a task's own sequences: what is masked, what is handed over, and resuming bit for bit."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks.cli import main as cli
from benchmarks.contract.errors import OutOfTime, UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.record import load_records
from benchmarks.contract.trial import Trial
from benchmarks.machine.memory import peak_bytes
from benchmarks.tasks.sequences import IGNORED
from benchmarks.tasks.task import load_data, task_for, task_of
from benchmarks.training.pretrain import MaskedModelling, MaskedTokens, hand_over, pretraining_epochs
from benchmarks.training.train import train, training_step_bytes

NET = {"norm": "token", "positions": "learned", "coordinates": False, "dim": 8, "depth": 1}
RECIPE = {"epochs": 6, "lr": 1e-2, "weight_decay": 0.1, "warmup_epochs": 0.5, "label_smoothing": 0.0, "batch_size": 32}
RECIPE |= {"augment": "none", "train_images": 200, "pretrain": "own"}


def trial(**changes) -> Trial:
    return Trial(**{"kind": "accuracy", "mixer": "dct", "dataset": "reverse", "length": 8, **NET, **RECIPE, **changes})


@pytest.mark.parametrize(("dataset", "share"), [("pixels", 0.5), ("pathfinder", 0.5), ("imdb", 0.15), ("listops", 0.1)])
def test_the_share_of_the_real_tokens_is_masked_and_none_of_the_padding(dataset, share):
    info = DATASETS[dataset]
    assert info.masked_share == share
    tokens = torch.randint(1, info.vocabulary, (64, 200))
    tokens[:, 150:] = 0
    masked, targets = MaskedTokens(info, 200)(tokens, tokens, torch.Generator().manual_seed(1))
    chosen = masked == info.vocabulary
    assert chosen[:, :150].float().mean() == pytest.approx(share, abs=0.02) and not chosen[:, 150:].any()
    assert (targets[chosen] == tokens[chosen]).all() and (targets[~chosen] == IGNORED).all()
    assert (masked[~chosen] == tokens[~chosen]).all() and chosen.any(1).all()
    again, _ = MaskedTokens(info, 200)(tokens, tokens, torch.Generator().manual_seed(2))
    assert not torch.equal(masked, again)


@pytest.mark.parametrize(("dataset", "length"), [("reverse", 8), ("retrieval", 16)])
def test_all_weights_but_the_head_are_handed_over(dataset, length):
    one = trial(dataset=dataset, length=length, mixer="attention", train_images=None)
    task = task_for(DATASETS[dataset])
    pretrained, net = MaskedModelling(task).net(dataclasses.replace(one, seed=5)), task.net(one)
    hand_over(pretrained, net)
    inner = getattr(net, "tower", net)
    vocabulary = DATASETS[dataset].vocabulary
    assert torch.equal(inner.stem.weight, pretrained.stem.weight[:vocabulary])
    assert len(pretrained.stem.weight) == vocabulary + 1
    for name, value in inner.blocks.state_dict().items():
        assert not isinstance(value, torch.Tensor) or torch.equal(value, pretrained.blocks.state_dict()[name])
    assert torch.equal(inner.positions.weight, pretrained.positions.weight)


def test_a_third_of_the_epochs_fills_in_masks_and_is_in_the_record(tmp_path):
    one = trial()
    assert [pretraining_epochs(trial(epochs=n)) for n in (2, 3, 6, 10)] == [1, 1, 2, 3]
    outcome = train(one, load_data(one, tmp_path, "cpu"), tmp_path / "c.pt")
    assert [row["phase"] for row in outcome.history] == ["pretrain"] * 2 + ["train"] * 4
    assert [row["epoch"] for row in outcome.history] == [1, 2, 3, 4, 5, 6]
    assert outcome.metrics["pretrain_train_loss"] == outcome.history[1]["train_loss"]
    assert outcome.metrics["pretrain_val_loss"] == outcome.history[1]["val_loss"]
    assert outcome.history[1]["train_loss"] < outcome.history[0]["train_loss"]
    assert outcome.history[1]["lr"] < 0.3 * one.lr < outcome.history[2]["lr"]  # each part has the whole schedule
    assert not (tmp_path / "c-pretrain.pt").exists()
    plain = dataclasses.replace(one, pretrain="none")
    without = train(plain, load_data(plain, tmp_path, "cpu"), tmp_path / "d.pt")
    assert "phase" not in without.history[0] and "pretrain_val_loss" not in without.metrics


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_run_that_stops_in_either_part_goes_on_bit_for_bit(stop, tmp_path):
    one = trial()
    whole = train(one, load_data(one, tmp_path, "cpu"), tmp_path / "whole.pt")

    def stopped(row):
        if row["epoch"] == stop:
            raise OutOfTime("now")

    with pytest.raises(OutOfTime):
        train(one, load_data(one, tmp_path, "cpu"), tmp_path / "parts.pt", stopped)
    parts = train(one, load_data(one, tmp_path, "cpu"), tmp_path / "parts.pt")
    keep = ("epoch", "phase", "train_loss", "val_loss", "val_top1_percent", "lr")
    assert [[row[k] for k in keep] for row in parts.history] == [[row[k] for k in keep] for row in whole.history]
    assert parts.metrics["test_loss"] == whole.metrics["test_loss"]


def test_it_goes_through_the_command_and_the_report(tmp_path):
    command = ["bench-all", "--dataset", "reverse", "--length", "8", "--mixer", "dct,conv1x1", "--pretrain", "own,none"]
    size = ["--dim", "8", "--depth", "1", "--train-images", "200", "--seed", "0", "--epochs", "3", "--rounds", "1"]
    options = ["--device", "cpu", "--threads", "1", "--profile", "quick", "--results", str(tmp_path)]
    assert cli.main([*command, *size, *options]) == 0
    trained = [r for r in load_records(tmp_path) if r.kind == "accuracy"]
    assert sorted(r.trial.pretrain for r in trained) == ["none", "none", "own", "own"]
    assert all(("pretrain_val_loss" in r.metrics) == (r.trial.pretrain == "own") for r in trained)
    assert cli.main(["validate", "--results", str(tmp_path)]) == 0


def test_what_cannot_be_pre_trained_is_refused_in_one_line():
    with pytest.raises(UserError, match="--pretrain is own, which is for sequences; mosaics is a data set of images"):
        trial(dataset="mosaics", length=None, image_size=16, patch_size=4)
    with pytest.raises(UserError, match="takes a third of the epochs; --epochs is 1"):
        trial(epochs=1)


def test_masks_do_not_reach_the_test_split(tmp_path):
    one = trial(kind="tuning")
    data = load_data(one, tmp_path, "cpu")
    train(one, data, tmp_path / "c.pt")
    assert data.test_reads == 0 and task_of(one).info.name == "reverse"


@pytest.mark.parametrize(("dataset", "batch"), [("imdb", 8), ("pairs", 4)])
def test_the_head_of_the_masked_tokens_is_in_the_predicted_memory(dataset, batch):
    one = trial(dataset=dataset, length=256, batch_size=batch, train_images=None)
    masked, sequences = MaskedModelling(task_of(one)), 8  # of one document each
    with torch.random.fork_rng():
        net, waiting = masked.net(one), task_of(one).net(one)
    tokens = torch.randint(1, 257, (sequences, 256))

    def step() -> None:
        loss = masked.loss(net(tokens), torch.zeros_like(tokens))
        torch.autograd.grad(loss, list(net.parameters()))

    real = peak_bytes(step, [tokens, *net.parameters(), *waiting.parameters()], "cpu")
    real += 2 * sum(4 * p.numel() for p in net.parameters())  # of AdamW
    found = training_step_bytes(one)
    assert found == pytest.approx(real, rel=0.05)
    logits = 4 * sequences * 256 * 257
    assert found > training_step_bytes(dataclasses.replace(one, pretrain="none")) + logits
