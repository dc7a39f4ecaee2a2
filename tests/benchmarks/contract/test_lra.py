"""The profiles of Long Range Arena: its numbers in our epochs, its rates, and a clear line where there are none."""

from __future__ import annotations

import dataclasses
import math

import pytest

from benchmarks.cli import main as cli
from benchmarks.contract.choices import lra
from benchmarks.contract.choices.profiles import PROFILES, profile_of
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.trial import ADDED
from benchmarks.plan.trials import Plan, Request
from benchmarks.tasks.sequences import hold_out
from benchmarks.training.train import learning_rate


def trained(profile: str, dataset: str, **changes):
    return Plan(Request(profile=profile, dataset=dataset, mixer="attention", device="cpu", **changes)).accuracy()[0]


@pytest.mark.parametrize(("profile", "dataset"), lra.SETTINGS)
def test_a_profile_takes_the_steps_of_its_source(profile, dataset):
    setting, trial = lra.SETTINGS[profile, dataset], trained(profile, dataset)
    examples = DATASETS[dataset].train_images
    if examples is None:
        examples = len(hold_out(trial.train_images)[0])
    an_epoch = -(-examples // trial.batch_size)
    assert trial.epochs * an_epoch == pytest.approx(setting.steps, rel=0.18 if trial.epochs == 1 else 0.04)
    assert trial.warmup_epochs * an_epoch == pytest.approx(setting.warmup, rel=0.01)
    for name in ("dim", "depth", "length", "batch_size", "lr", "weight_decay", "schedule", "beta2"):
        assert getattr(trial, name) == getattr(setting, name), name
    assert trial.profile == profile and trial.label_smoothing == 0


@pytest.mark.parametrize("dataset", ["listops", "imdb", "retrieval"])
def test_the_rate_is_the_repositorys_in_every_step(dataset):
    trial, setting = trained("lra", dataset), lra.SETTINGS["lra", dataset]
    an_epoch = setting.warmup / trial.warmup_epochs
    for step in (10, 500, 999, 1001, 4000, 7999, 8001, 19_000):
        theirs = 0.05 * min(1, step / setting.warmup) / math.sqrt(max(step, setting.warmup))
        assert learning_rate(trial, step / an_epoch) == pytest.approx(theirs, rel=1e-9)


def test_a_line_ends_at_zero_and_inverse_roots_need_no_warm_up():
    line = trained("lra-small", "listops")
    assert learning_rate(line, line.epochs) == pytest.approx(0, abs=1e-12)
    middle = (line.warmup_epochs + line.epochs) / 2
    assert learning_rate(line, middle) == pytest.approx(line.lr / 2)
    root = dataclasses.replace(line, schedule="rsqrt", warmup_epochs=0)
    assert [learning_rate(root, epoch) / root.lr for epoch in (0, 1, 4)] == pytest.approx([1, 1, 0.5])


def test_what_has_no_numbers_is_refused_in_one_line(capsys):
    with pytest.raises(UserError, match=r"--profile is lra, which has no numbers for recall, only for listops, imdb"):
        profile_of("lra", "recall")
    assert cli.main(["train", "--mixer", "dct", "--profile", "lra-small", "--dataset", "cifar100"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_our_own_profiles_and_the_ids_of_their_trials_are_as_before():
    assert {name for name, _ in PROFILES} == {"quick", "full", *lra.NAMES}
    for dataset in (name for name, info in DATASETS.items() if info.task != "text"):
        for name in ("quick", "full"):
            assert profile_of(name, dataset).schedule is None and profile_of(name, dataset).beta2 is None
    trial = trained("quick", "mosaics")
    assert all(getattr(trial, name) == ADDED[name] for name in ("schedule", "beta2"))
