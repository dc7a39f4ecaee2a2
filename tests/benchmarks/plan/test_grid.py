"""Lists on the command line make a grid: which trials, in which order, and how many are too many."""

from __future__ import annotations

import dataclasses

import pytest
from synthetic import save

from benchmarks.cli import flags, measuring
from benchmarks.cli import main as cli
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import info_of
from benchmarks.contract.trial import FACTS, FLAGGED, varied
from benchmarks.plan import resolved
from benchmarks.plan.checks import OF_TEXT
from benchmarks.plan.grid import MOST_TRIALS, OF_A_PLAN, Grid
from benchmarks.plan.trials import Plan, Request

HOW = {"mixer": "dct,conv1x1", "device": "cpu", "profile": "quick", "dataset": "mosaics"}
TWO = {
    "patch_size": (2, 4), "dim": (8, 16), "depth": (1, 2), "norm": ("image", "token"), "positions": ("none", "sine"),
    "batch_size": (8, 16), "epochs": (1, 2), "lr": (1e-3, 3e-3), "weight_decay": (0.0, 0.1),
    "train_images": (300, 600), "beta1": (0.8, 0.9), "beta2": (0.9, 0.99), "clip_norm": (0.5, 1.0),
    "schedule": ("cosine", "constant"),
}  # fmt: skip


def options(*arguments: str):
    return flags.read("train", arguments)


def test_every_field_that_takes_a_list_is_tried_here():
    listed = {name for name in FLAGGED if FACTS[name].listed}
    others = {"augment", "pretrain", "padded_length", *OF_TEXT} - {"text"}  # mosaics has no levels, and is no text
    assert listed == {*TWO, *OF_A_PLAN, *others}


@pytest.mark.parametrize("name", TWO)
def test_a_list_is_a_trial_of_every_value(name):
    trials = Grid(Request(**HOW, **{name: TWO[name]})).accuracy(all_seeds=False)
    assert [(getattr(t, name), t.mixer) for t in trials] == [(v, m) for v in TWO[name] for m in ("dct", "conv1x1")]


def test_seeds_are_outermost_then_sizes_then_settings_then_mixers():
    request = Request(**HOW, seed=(0, 1), image_size=(16, 32), dim=(8, 16), lr=(1e-3, 3e-3))
    order = [(t.seed, t.image_size, t.dim, t.lr, t.mixer) for t in Grid(request).accuracy()]
    assert order == [
        (seed, size, dim, lr, mixer)
        for seed in (0, 1)
        for size in (16, 32)
        for dim in (8, 16)
        for lr in (1e-3, 3e-3)
        for mixer in ("dct", "conv1x1")
    ]


def test_what_differs_in_the_recipe_alone_has_one_cost_and_one_latency():
    request = Request(**HOW, dim=(8, 16), lr=(1e-3, 3e-3))
    assert [(t.dim, t.mixer) for t in Grid(request).cost()] == [
        (8, "dct"), (8, "conv1x1"), (16, "dct"), (16, "conv1x1")
    ]  # fmt: skip
    alone = [t for dim in (8, 16) for t in Plan(Request(**HOW, dim=dim)).latency()]
    assert Grid(request).latency() == alone


def test_all_of_bench_all_is_there_once_and_a_fair_set_comes_first():
    request = Request(**HOW, dim=(8, 16), lr=(1e-3, 3e-3), seed=(0, 1))
    grid = Grid(request)
    trials = grid.by_worth()
    assert len(trials) == len(set(trials))
    assert set(trials) == {*grid.accuracy(), *grid.cost(), *grid.latency()}
    assert all(t.kind == "accuracy" and t.seed == 0 for t in trials[:8])
    assert [t.kind for t in trials[8:12]] == ["cost"] * 4


def test_without_lists_a_grid_is_its_plan():
    grid, plan = Grid(Request(**HOW)), Plan(Request(**HOW))
    assert str(grid) == "" and grid.by_worth() == plan.by_worth() and grid.accuracy() == plan.accuracy()
    assert grid.tuning() == plan.tuning()


def test_tune_tries_the_rates_that_are_listed():
    request = Request(**HOW, lr=(4e-3, 1e-3), weight_decay=(0.1,))
    trials = Grid(request, ("lr", "weight_decay")).tuning()
    assert {t.lr for t in trials} == {1e-3, 4e-3} and {t.weight_decay for t in trials} == {0.1}
    assert len(trials) == 4


def test_tune_sweeps_every_image_size():
    request = Request(**HOW, image_size=(16, 32), depth=(1, 2))
    trials = Grid(request, ("lr", "weight_decay")).tuning()
    assert {(t.image_size, t.depth) for t in trials} == {(16, 1), (16, 2), (32, 1), (32, 2)}
    assert len(trials) == 2 * len(Grid(request.but(image_size=(32,)), ("lr", "weight_decay")).tuning())


def test_ranges_and_lists_are_read_as_they_are_typed():
    given = options("--seed", "0-2,5", "--dim", "64,128", "--lr", "1e-3,3e-3", "--epochs", "4", "--image-size", "16x32")
    assert given.seed == (0, 1, 2, 5) and given.dim == (64, 128) and given.lr == (1e-3, 3e-3)
    assert given.epochs == 4 and given.image_size == ("16x32",)
    assert options("--patch-size", "1-4").patch_size == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("train --mixer dct --seed 0-10000000", "0-10000000 is 10,000,001 values; allowed: at most 10,000"),
        ("train --mixer dct --seed 7-0", "7-0 runs backwards; allowed: 0-7"),
        ("train --mixer dct --seed 0-", "is not a whole number"),
        ("train --mixer dct --seed 0-999 --epochs 1-999", "the lists make 999,000 trials of every mixer"),
        ("train --mixer dct --dim 8,12", "--dim is 12; allowed: multiples of 8"),
        ("train --mixer dct --lr 1e-3,x", "'x' is not a number"),
        ("train --mixer dct --norm image,tokn", "Did you mean 'token'?"),
        ("train --mixer dct --match width,params", "allowed: width, params, flops"),
        ("cost --epochs 1,2", "--epochs is 1,2; cost takes no list of it, only one, such as 1"),
        ("cost --lr 1e-3", "cost has no use for --lr, which is for bench-all, train, tune"),
        ("latency --epochs 1,2", "latency takes no list of it"),
        ("profile --mixer dct --dim 8,16", "profile takes no list of it"),
        ("atlas --mixer dct --dim 8,16", "atlas takes no list of it"),
        ("spectracles --epochs 1,2", "spectracles takes no list of it"),
        ("transforms --epochs 1,2", "transforms takes no list of it"),
        ("cost --seed 0,1", "cost has no use for --seed"),
        ("latency --seed 0,1", "latency has no use for --seed"),
        ("list --dim 8,16", "list has no use for --dim"),
        (
            "train --mixer dct --dataset mosaics --length 64",
            "mosaics, a data set of images, has no use for --length; it takes",
        ),
        ("bench-all --dataset mosaics --length 64,128", "has no use for --length"),
        ("report --dim 8,16", "report has no use for --dim"),
    ],
)
def test_a_list_that_makes_no_sense_is_told_in_one_line(capsys, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments.split()) == 2
    told = capsys.readouterr().err.strip()
    assert says in told and "\n" not in told
    assert not list(tmp_path.rglob("*.json"))


def test_too_many_trials_are_told_before_any_is_planned():
    with pytest.raises(UserError, match=f"allowed: {MOST_TRIALS:,}"):
        Grid(Request(**HOW, seed=tuple(range(10_000)), dim=(8, 16), depth=(1, 2, 3)))


def test_how_large_a_grid_is_is_said(capsys, tmp_path, monkeypatch):
    seen: list = []
    monkeypatch.setattr(measuring, "run", lambda options, trials, report=True: seen.extend(trials) or 0)
    arguments = ["--mixer", "dct", "--profile", "quick", "--device", "cpu", "--results", str(tmp_path)]
    assert cli.main(["train", *arguments, "--dim", "8,16", "--clip-norm", "0.5,1"]) == 0
    assert capsys.readouterr().out == "a grid of 4 settings: --dim 8,16 x --clip-norm 0.5,1.0\n" and len(seen) == 4


@pytest.mark.parametrize("name", TWO)
def test_the_lines_of_a_grid_differ_in_what_varies(name):
    trials = Grid(Request(**HOW, **{name: TWO[name]}, seed=(0, 1))).accuracy()
    lines = [trial.describe(varied(trials)) for trial in trials]
    assert len(set(lines)) == len(trials) == 8
    assert lines[0].startswith(trials[0].describe()) and len(lines[0]) < 80


def test_what_varies_stands_in_plain_words_and_in_no_line_of_an_ordinary_run(tmp_path):
    trials = Grid(Request(**HOW, dim=(64, 128), lr=(3e-3, 1e-3))).by_worth()
    more = varied(trials)
    assert more == ["dim", "lr"]
    assert trials[0].describe(more) == "accuracy conv1x1 16 px patch 4 seed 0 dim 64 lr 0.003"
    assert [trial.describe(more) for trial in trials if trial.kind == "cost"][2] == "cost dct 16 px patch 4 dim 128"
    for request in (Request(device="cpu"), Request(device="cpu", match="params", mixer="dct,attention")):
        plan = Plan(request)
        assert varied([*plan.by_worth(), *plan.tuning()]) == []


def test_a_users_own_data_are_looked_at_once_for_all_settings(monkeypatch, tmp_path):
    looked = []

    def find_own(dataset, data_dir):
        looked.append(dataset)
        return dataclasses.replace(info_of("cifar10"), name="folder:mine", source="f" * 64)

    monkeypatch.setattr(resolved, "find_own", find_own)
    request = Request(**HOW | {"dataset": "folder:/mine"}, dim=(8, 16), depth=(1, 2), results=tmp_path)
    trials = Grid(request).accuracy(all_seeds=False)
    assert looked == ["folder:/mine"] and len(trials) == 8
    assert {(trial.dataset, trial.dataset_source) for trial in trials} == {("folder:mine", "f" * 64)}


def test_every_image_size_trains_with_what_was_tuned_at_it_and_the_others_with_the_profiles(tmp_path):
    """In any order; 16 px is the size of the profile, and 48 px has no sweep."""
    rates = {16: 2e-3, 24: 5e-3, 32: 9e-3}
    for size, lr in rates.items():
        request = Request(**HOW, image_size=(size,), lr=(lr,), weight_decay=(0.1,), results=tmp_path)
        for trial in Grid(request, ("lr", "weight_decay")).tuning():
            save(tmp_path, trial, {"val_top1_percent": 40.0})
    for sizes in ((32, 24, 48), (48, 24, 32)):
        grid = Grid(Request(**HOW, image_size=sizes, results=tmp_path))
        assert {trial.image_size: trial.lr for trial in grid.accuracy()} == {32: 9e-3, 24: 5e-3, 48: 2e-3}
        assert "dct at 24 px: lr = 0.005, weight_decay = 0.1" in grid.notes()
    assert "dct: lr = 0.005, weight_decay = 0.1" in Grid(Request(**HOW, image_size=(24,), results=tmp_path)).notes()
