"""A net longer than its sequences: what it is given, what is asked of it, and that it stands in rankings of its own."""

from __future__ import annotations

import dataclasses
import re

import pandas as pd
import pytest
import torch
from synthetic import save
from synthetic_sequences import save_accuracy

from benchmarks import load_net
from benchmarks.cli import main as cli
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.record import load_records
from benchmarks.contract.trial import Trial
from benchmarks.plan.grid import Grid
from benchmarks.plan.trials import Plan, Request
from benchmarks.report.alike import TRAINED_ALIKE, comparisons
from benchmarks.report.build import write_report
from benchmarks.report.choose import main_rows
from benchmarks.report.frame import results_frame
from benchmarks.report.notes import caption
from benchmarks.report.stats.paired import Sample
from benchmarks.report.tables.summary import summary_table
from benchmarks.tasks.sequences import IGNORED
from benchmarks.tasks.task import load_data, task_of
from benchmarks.training.pretrain import MaskedTokens
from benchmarks.training.train import train

NET = {"norm": "token", "positions": "learned", "coordinates": False, "dim": 8, "depth": 1}
RECIPE = {"epochs": 2, "lr": 1e-2, "weight_decay": 0.1, "warmup_epochs": 0.5, "label_smoothing": 0.0, "batch_size": 32}
RECIPE |= {"augment": "none", "train_images": 200}
HOW = {"mixer": "dct", "device": "cpu", "profile": "quick", "dataset": "reverse"}


def trial(padded: int | None = 24, **changes) -> Trial:
    given = {"kind": "accuracy", "mixer": "dct", "dataset": "reverse", "length": 8, "padded_length": padded}
    return Trial(**given | NET | RECIPE | changes)


def test_the_net_has_the_padded_length_and_the_sequences_keep_theirs():
    one = trial()
    assert (one.size, one.grid, one.tokens, one.extent) == ((1, 24), (1, 24), 24, 8)
    assert one.describe() == "accuracy dct 8 tokens padded to 24 seed 0"
    assert one.named(["padded_length"]) == ["padded to 24 tokens"]
    assert len({one.id(), trial(None).id(), trial(32).id()}) == 3


def test_what_makes_no_sense_is_told_in_one_line():
    with pytest.raises(UserError, match="--padded-length is 4, and the sequences have 8 tokens; allowed: 8 and more"):
        trial(4)
    with pytest.raises(UserError, match="--padded-length is 24, which is for sequences; mosaics is a data set of imag"):
        trial(dataset="mosaics", length=None, image_size=16, patch_size=4)
    with pytest.raises(UserError, match="mosaics, a data set of images, has no use for --padded-length; it takes"):
        Plan(Request(**HOW | {"dataset": "mosaics"}, padded_length=24))
    with pytest.raises(UserError, match="the sequences have 16 tokens"):
        Plan(Request(**HOW, length=(8, 16), padded_length=12)).accuracy()


@pytest.mark.parametrize("dataset", ["reverse", "listops", "pairs"])
def test_inputs_are_filled_up_and_data_and_targets_stay_as_they_are(dataset, tmp_path, monkeypatch):
    info = DATASETS[dataset]
    one = trial(40, dataset=dataset, length=16)
    task = task_of(one)
    given = task.example(dataclasses.replace(one, padded_length=None), 4, "cpu")
    inputs, targets = task.augment(one)(given.inputs, given.targets, torch.Generator())
    assert inputs.shape == (*given.inputs.shape[:-1], 40) and not inputs[..., 16:].any()
    assert torch.equal(inputs[..., :16], given.inputs) and targets is given.targets
    assert torch.equal(task.augment(one).prepare(given.inputs), inputs)
    output = task.net(one)(inputs)
    assert output.shape == ((4, 40, info.num_classes) if info.per_token else (4, info.num_classes))
    loss, (scores, predictions) = task.loss(output, targets), task.scores(output, targets)
    if info.per_token:  # as if nothing were asked of what was added
        asked = torch.nn.functional.pad(targets, (0, 24), value=IGNORED)
        whole = torch.nn.functional.cross_entropy(output.flatten(0, 1), asked.flatten(), ignore_index=IGNORED)
        assert loss.item() == pytest.approx(whole.item())
    assert scores["loss"] == pytest.approx(loss.item()) and len(predictions.reshape(4, -1)) == 4
    assert task.example(one, 2, "cpu").inputs.shape[-1] == 40


def test_padding_is_kept_out_of_attention_where_the_data_have_none_themselves():
    short = trial(None, mixer="attention", dataset="first", length=8)
    long = dataclasses.replace(short, padded_length=24)
    assert not DATASETS["first"].padded
    nets = [task_of(one).net(one).double() for one in (short, long)]
    state = nets[0].state_dict().items()
    keep = {name: value for name, value in state if "positions" not in name and "_extra_state" not in name}
    nets[1].load_state_dict(keep, strict=False)
    with torch.no_grad():
        nets[1].positions.weight[..., :8] = nets[0].positions.weight
    tokens = task_of(short).example(short, 4, "cpu").inputs
    outputs = [net(task_of(one).augment(one).prepare(tokens)) for net, one in zip(nets, (short, long), strict=True)]
    assert torch.allclose(outputs[0], outputs[1][:, :8], atol=1e-10)


def test_a_padded_length_that_is_the_length_is_the_net_without_padding():
    request = Request(**HOW, length=(8, 16), padded_length=(16, 32), seed=(0,))
    lengths = [(t.length, t.padded_length) for t in Grid(request).accuracy()]
    assert lengths == [(8, 16), (8, 32), (16, None), (16, 32)]


def test_a_plan_pads_the_nets_that_are_trained_and_not_the_sweep_over_lengths():
    plan = Plan(Request(**HOW, padded_length=256))
    main = plan.profile.length
    assert {t.padded_length for t in (*plan.accuracy(), *plan.cost(), *plan.tuning())} == {256}
    times = plan.latency()
    assert {t.padded_length for t in times} == {256, None}
    assert all((t.padded_length == 256) == (t.length == main) for t in times)
    plain = Plan(Request(**HOW)).latency()
    assert [t for t in times if t.padded_length is None] == [t for t in plain if t.length != main]


def test_padded_nets_train_with_the_rate_that_was_chosen_without_padding_until_they_have_their_own(tmp_path):
    request = Request(**HOW, results=tmp_path)
    rates = ((None, 5e-3), (256, 9e-3))
    for padded, lr in rates:
        for one in Grid(
            request.but(padded_length=padded, lr=(lr,), weight_decay=(0.1,)), ("lr", "weight_decay")
        ).tuning():
            save(tmp_path, one, {"val_top1_percent": 40.0})
        assert Plan(request.but(padded_length=256)).accuracy()[0].lr == lr
    assert Plan(request.but(padded_length=512)).accuracy()[0].lr == Plan(request).accuracy()[0].lr == 5e-3


def test_masks_of_pre_training_fall_on_no_padding():
    tokens = torch.randint(1, 30, (64, 8))
    masked, targets = MaskedTokens(DATASETS["reverse"], 24)(tokens, tokens, torch.Generator().manual_seed(0))
    assert masked.shape == targets.shape == (64, 24)
    assert not masked[:, 8:].any() and (targets[:, 8:] == IGNORED).all() and (targets[:, :8] != IGNORED).any(1).all()


@pytest.mark.parametrize("pretrain", ["none", "own"])
def test_it_trains_and_its_answers_are_those_of_the_sequences(pretrain, tmp_path):
    outcomes = []
    for padded in (None, 24):
        one = trial(padded, pretrain=pretrain)
        outcomes.append(train(one, load_data(one, tmp_path, "cpu"), tmp_path / f"{padded}.pt"))
    plain, long = outcomes
    assert long.predictions.shape == plain.predictions.shape
    assert long.metrics["test_loss"] != plain.metrics["test_loss"]
    assert {k: v for k, v in long.metrics.items() if "baseline" in k} == {
        k: v for k, v in plain.metrics.items() if "baseline" in k
    }


def test_a_trained_net_takes_sequences_of_their_own_length(tmp_path):
    command = "train --dataset reverse --length 8 --padded-length 24 --mixer dct --dim 8 --depth 1 --train-images 200"
    assert (
        cli.main(
            [*command.split(), "--epochs", "1", "--device", "cpu", "--profile", "quick", "--results", str(tmp_path)]
        )
        == 0
    )
    assert [record.trial.padded_length for record in load_records(tmp_path)] == [24]
    net = load_net(tmp_path, "dct")
    tokens = torch.randint(1, net.info.vocabulary, (3, 8))
    assert net(tokens).shape == (3, 8, net.info.num_classes)
    with pytest.raises(UserError, match=r"this net takes whole numbers \(B, 8\)"):
        net(torch.ones(3, 24, dtype=torch.int64))
    assert cli.main(["validate", "--results", str(tmp_path)]) == 0


def test_nets_of_different_padded_lengths_share_neither_a_mean_nor_a_ranking(tmp_path):
    for padded, mixers in ((None, ("dct", "attention")), (64, ("dct", "attention")), (128, ("dct", "attention"))):
        for mixer in mixers:
            save_accuracy(tmp_path, mixer, 50.0, 0, padded_length=padded)
    summary = summary_table(results_frame(tmp_path))
    assert list(summary["n"]) == [1] * 6
    parts = comparisons(summary, TRAINED_ALIKE)
    assert list(parts) == ["", "padded-length-128", "padded-length-64"]  # the usual net first
    assert main_rows(summary)["padded_length"].isna().all()
    told = [caption(results_frame(tmp_path), part) for part in parts.values()]
    assert "padded to" not in told[0] and "length 32 tokens, padded to 128 tokens" in told[1].replace(
        ", dim 64, depth 2", ""
    )


def test_a_table_has_the_mixers_by_the_lengths_they_were_padded_to(tmp_path):
    right = {None: (90.0, 91.0, 92.0), 64: (80.0, 81.0, 82.0), 128: (60.0, 61.0, 62.0)}
    for padded, values in right.items():
        for seed, top1 in enumerate(values):
            save_accuracy(tmp_path, "dct", top1, seed, padded_length=padded)
            save_accuracy(tmp_path, "attention", 95.0 + seed, seed, padded_length=padded)
    save_accuracy(tmp_path, "conv1x1", 30.0, 0, padded_length=64)
    write_report(tmp_path)
    folder = tmp_path / "tables/recall-quick"
    table = pd.read_csv(folder / "padding.csv").set_index(["label", "tokens"])
    assert len(table) == 7 and list(table.loc["dct"]["padded_length"].dropna()) == [64, 128]
    row = table.loc["dct", 128]
    assert row["test_top1_percent_mean"] == pytest.approx(61, abs=0.1)
    assert row["difference_points"] == pytest.approx(-30, abs=0.1)
    assert row["difference_points_low"] < -30 < row["difference_points_high"] < -25
    assert table.loc["attention"]["difference_points"].dropna().tolist() == [0, 0]
    assert pd.isna(table.loc["conv1x1", 64]["difference_points"])
    drawn = (tmp_path / "plots/recall-quick/accuracy-by-setting.svg").read_text()
    assert all(words in drawn for words in ("not padded", "padded to 64 tokens", "padded to 128 tokens"))
    told = (folder / "padding.md").read_text()
    assert "| mixer     | family    | net of 32 tokens |" in told and "dim 64, depth 2, length 32 tokens:" in told
    assert re.search(r"^\| conv1x1 +\| [a-z ]+ \| +– \| +30\.0 \(1\) \| +– \|$", told, re.MULTILINE)
    assert write_report(tmp_path) and (folder / "padding.md").read_text() == told


def test_a_single_padded_net_is_held_against_its_own_seed_over_the_test_sequences(tmp_path):
    for seed, top1 in enumerate((70.0, 90.0, 92.0)):
        save_accuracy(tmp_path, "dct", top1, seed)
    save_accuracy(tmp_path, "dct", 60.0, 0, padded_length=64)
    save_accuracy(tmp_path, "attention", 90.0, 1)
    save_accuracy(tmp_path, "attention", 80.0, 2, padded_length=64)
    write_report(tmp_path)
    folder = tmp_path / "tables/recall-quick"
    table = pd.read_csv(folder / "padding.csv").set_index(["label", "tokens"])
    row = table.loc["dct", 64]
    assert row["interval_over"] == "test images alone" and row["seeds"] == "0"
    assert row["difference_points"] == pytest.approx(-10, abs=0.1)  # of seed 0, not of the mean
    answers = Sample(results_frame(tmp_path), tmp_path)
    (long,) = (one for one in answers.runs if one.setting["padded_length"] and one.setting["mixer"] == "dct")
    (usual,) = (one for one in answers.runs if not one.setting["padded_length"] and one.setting["mixer"] == "dct")
    by_sequence = 100 * (answers.correct[long.ids[0]] - answers.correct[usual.ids[0]].astype(float))
    half = 1.96 * by_sequence.std() / len(by_sequence) ** 0.5
    assert row["difference_points_high"] - row["difference_points"] == pytest.approx(half, rel=0.01)
    assert pd.isna(table.loc["attention", 64]["interval_over"])  # no seed of both
    assert re.search(r"60\.0 \(1\), −10\.0 .* †", (folder / "padding.md").read_text())


def test_without_padded_nets_there_is_no_table_of_padding(tmp_path):
    for length in (32, 64):
        save_accuracy(tmp_path, "dct", 50.0, 0, length=length)
    write_report(tmp_path)
    assert (tmp_path / "tables/recall-quick/summary.csv").is_file()
    assert not list(tmp_path.rglob("padding.*"))
