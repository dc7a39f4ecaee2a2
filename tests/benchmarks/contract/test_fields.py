"""What is known of a trial's fields, and all that derives from it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic import make_trial, save_accuracy, save_latency

from benchmarks.cli.flags import OPTIONS
from benchmarks.cli.main import main
from benchmarks.contract.facts import datasets
from benchmarks.contract.facts.kinds import KINDS
from benchmarks.contract.fields import RECIPE, ROLES
from benchmarks.contract.trial import FACTS, FLAGGED, Trial, flag, names_of, type_of
from benchmarks.plan.checks import OF_TEXT
from benchmarks.plan.trials import Plan, Request
from benchmarks.report.alike import APART, TRAINED_ALIKE, comparisons
from benchmarks.report.build import write_report
from benchmarks.report.choose import main_comparison
from benchmarks.report.commands import NAMED, train_command
from benchmarks.report.frame import results_frame
from benchmarks.report.stats.paired import Sample
from benchmarks.report.tables.differences import paired_table
from benchmarks.report.tables.summary import summary_table

ROOT = Path(__file__).resolve().parents[3]


def other(name: str, value: Any) -> Any:
    """Another allowed value of a field."""
    facts = FACTS[name]
    if facts.choices:
        return next((choice for choice in facts.choices if choice != value), None)
    if type_of(name) is float:
        return 0.5 if value != 0.5 else 0.25
    return 2 * value if type_of(name) is int else f"{value} too"


def test_every_field_has_a_role_and_either_choices_or_a_range_where_it_is_a_number():
    assert list(FACTS) == [field.name for field in dataclasses.fields(Trial)]
    assert names_of(*ROLES) == sorted(FACTS, key=lambda name: (ROLES.index(FACTS[name].role), list(FACTS).index(name)))
    for name, facts in FACTS.items():
        assert (facts.low is None) == (facts.high is None), name
        if type_of(name) in (int, float) and name != "warmup_epochs":
            assert facts.low is not None, name
    assert {role for kind in KINDS.values() for role in kind.roles} == set(ROLES)


@pytest.mark.parametrize("name", [name for name in names_of(RECIPE) if name not in OF_TEXT])
def test_nets_whose_recipe_differs_in_anything_do_not_share_a_mean_or_a_ranking(tmp_path, name):
    before = make_trial("accuracy", "dct", weight_decay=0.1, warmup_epochs=1.0, label_smoothing=0.1)
    value = other(name, getattr(before, name))
    if value is None or name == "pretrain":
        pytest.skip(f"{name} has one choice for images")
    for change in ({}, {name: value}):
        recipe = {"weight_decay": 0.1, "warmup_epochs": 1.0, "label_smoothing": 0.1} | change
        for mixer in ("dct", "attention"):
            save_accuracy(tmp_path, mixer, 50.0, 0, **recipe)
    summary = summary_table(results_frame(tmp_path))
    assert list(summary["n"]) == [1, 1, 1, 1]  # no mean over both recipes
    if FACTS[name].tuned:  # each mixer has its own
        assert name in APART and len(main_comparison(summary)) == 4
    else:
        assert name in TRAINED_ALIKE and len(main_comparison(summary)) == 2


def test_nets_at_two_budgets_do_not_share_a_ranking_a_ratio_or_a_file(tmp_path):
    for budget, dims in ((64, {"dct": 72, "attention": 64}), (128, {"dct": 144, "attention": 128})):
        for mixer, dim in dims.items():
            at = {"match": "params", "match_dim": budget, "dim": dim}
            for seed in (0, 1):
                save_accuracy(tmp_path, mixer, 50.0 + budget + seed - 100, seed, **at)
            save_latency(tmp_path, mixer, 16, patch_size=2, **at)
    frame = results_frame(tmp_path)
    summary = summary_table(frame)
    parts = comparisons(summary, TRAINED_ALIKE)
    assert [set(part["match_dim"]) for part in parts.values()] == [{128}, {64}] and list(parts) == ["", "budget-64"]
    pairs = paired_table(Sample(frame, tmp_path))
    assert len(pairs) and set(pairs["difference_points"].round(6)) == {0.0}  # from attention at the same budget
    write_report(tmp_path)
    drawn = {path.stem for path in (tmp_path / "plots").rglob("*.svg")}
    assert "accuracy-by-setting" in drawn and not {name for name in drawn if "budget" in name}, drawn
    (picture,) = (tmp_path / "plots").rglob("accuracy-by-setting.svg")
    assert picture.stat().st_size > 5_000
    one = results_frame(tmp_path).query("match_dim == 64")
    assert list(one["budget"]) == [64] * len(one)


def test_every_field_that_may_differ_in_a_ranking_is_an_exception_with_a_reason():
    assert set(TRAINED_ALIKE) - {"net", "budget"} == set(FACTS) - set(APART)
    assert all(reason for reason in APART.values()) and set(APART) <= {*FACTS, "machine"}


def test_flags_variables_and_request_are_those_of_the_fields():
    for name in FLAGGED:
        assert OPTIONS[name].how["help"] == FACTS[name].help and "default" not in OPTIONS[name].how, name
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (listed,) = re.findall(r"^override VARIABLES := (.*)$", makefile, re.MULTILINE)
    variables = listed.split()
    assert len(variables) == len(set(variables))
    takes_value = {name.upper() for name, option in OPTIONS.items() if name != "folder" and not option.is_switch}
    assert set(variables) == takes_value
    own = {field.name for field in dataclasses.fields(Request)} - set(FLAGGED)
    assert own == {"mixer", "data_dir", "results", "search", "retry", "complex", "text"}


@pytest.mark.parametrize("name", [name for name in FLAGGED if FACTS[name].role == RECIPE and name not in OF_TEXT])
def test_what_is_asked_of_the_recipe_is_planned_and_stands_in_the_command(name):
    usual = Plan(Request(mixer="dct", device="cpu", profile="quick", dataset="mosaics")).accuracy(all_seeds=False)[0]
    value = other(name, getattr(usual, name))
    if value is None or name in ("augment", "pretrain"):  # mosaics takes none
        pytest.skip("one choice alone")
    request = Request(mixer="dct", device="cpu", profile="quick", dataset="mosaics", **{name: value})
    (trial,) = Plan(request).accuracy(all_seeds=False)
    assert trial == dataclasses.replace(usual, **{name: value})
    told = train_command(trial.to_dict(), [0])
    assert f" {name.upper()}={value}" in told
    usual_ones = [n for n in FLAGGED if n not in (*NAMED, name, "seed")]
    assert not [n for n in usual_ones if f" {n.upper()}=" in told]
    again = {}
    for word in told.split()[2:]:
        key, text = word.split("=")
        kind = type_of(key.lower()) if key.lower() in FLAGGED else str
        again[key.lower()] = (kind(text),) if key in ("SEED", "IMAGE_SIZE") else kind(text)
    assert Plan(Request(**again)).accuracy(all_seeds=False) == [trial]


def test_a_command_keeps_every_digit():
    row = make_trial("accuracy", "dct", lr=0.00123456789, clip_norm=1 / 3, threads=1).to_dict()
    told = train_command(row, [0]).split()
    assert {"LR=0.00123456789", f"CLIP_NORM={1 / 3!r}", "EPOCHS=4"} <= set(told)
    assert "LR=0.003" in train_command(row | {"lr": 3e-3}, [0]).split()


def test_a_flag_says_its_range(capsys):
    from benchmarks.cli import main as cli

    for name in ("clip_norm", "beta1", "beta2"):
        assert cli.main(["cost", flag(name), "-1"]) == 2
        assert f"{flag(name)} is -1.0; allowed: " in capsys.readouterr().err
    assert cli.main(["cost", "--schedule", "cosin"]) == 2
    assert "allowed: cosine, constant, rsqrt, linear. Did you mean 'cosine'?" in capsys.readouterr().err


def test_trials_of_sequences_have_a_status_and_a_report(tmp_path, monkeypatch, capsys):
    info = dataclasses.replace(datasets.DATASETS["mosaics"], name="recall", task="sequences")
    monkeypatch.setitem(datasets.DATASETS, "recall", info)
    monkeypatch.setattr("benchmarks.contract.record.check_record", lambda content: None)
    for mixer in ("dct", "attention"):
        save_accuracy(tmp_path, mixer, 40.0, 0, dataset="recall", image_size=None, patch_size=None, length=64)
    for verb in ("status", "report"):
        assert main([verb, "--results", str(tmp_path)]) == 0
    assert (tmp_path / "index.html").is_file()
