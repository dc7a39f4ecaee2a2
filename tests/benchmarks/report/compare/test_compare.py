"""Two results folders compared: what is matched, what is told, and what is refused."""

from __future__ import annotations

import dataclasses
import doctest
import operator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import benchmarks
import benchmarks.report.compare.folders
from benchmarks import compare
from benchmarks.cli import main as cli
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import load_records
from benchmarks.ratios import ratio_of
from benchmarks.report.frame import records_frame
from benchmarks.report.stats.compared import holm
from benchmarks.report.stats.paired import Sample
from benchmarks.report.stats.predictions import labels_of_test
from tests.benchmarks.synthetic import MACHINE, OTHER, fill, make_trial, save, save_accuracy, save_latency

ROOT = Path(__file__).resolve().parents[4]
EPYC = MACHINE | {"processor": {"family": 25, "model": 17, "stepping": 1, "instruction_sets": ["avx512f"]}}
OLDER = MACHINE | {"processor": {"family": 25, "model": 1, "stepping": 1, "instruction_sets": ["avx2"]}}


def train(folder: Path, mixer: str, top1: float, seeds: int = 3, **changes) -> None:
    """Runs around an accuracy, the spread of which is 0.5 points."""
    for seed in range(seeds):
        save_accuracy(folder, mixer, top1 + (seed - 1) / 2, seed, **changes)


def time(folder: Path, mixer: str, ms: float, sittings: int, environment=EPYC, **changes) -> None:
    """A latency record, every sitting 1 % slower than the one before."""
    history = [
        {"round": r, "sitting": f"2026-01-01T0{s}:00:00+00:00", "forward_ms": ms * 1.01**s * 1.001**r}
        for s in range(sittings)
        for r in range(5)
    ]
    trial = make_trial("latency", mixer, patch_size=1, **changes)
    save(folder, trial, {"forward_ms": ms}, history, environment=environment)


def predict(folder: Path, wrong: dict[int, slice], dataset: str = "constellations") -> None:
    """Predictions beside the accuracy records: right but for the images named by seed, and the record's accuracy so."""
    labels = labels_of_test(dataset)
    assert labels is not None
    for record in load_records(folder):
        answers = labels.copy()
        answers[wrong[record.trial.seed]] += 1
        metrics = record.metrics | {"test_top1_percent": 100 * float((answers == labels).mean())}
        dataclasses.replace(record, metrics=metrics).save(folder / "records")
        np.save(folder / "records" / f"accuracy-{record.id}.npy", answers.astype(np.uint8))


def of(table: pd.DataFrame, mixer: str, quantity: str = "test_top1_percent") -> pd.Series:
    (place,) = table.index[(table["mixer"] == mixer) & (table["quantity"] == quantity)]
    return table.loc[place]


def test_the_example_of_the_docstring_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    outcome = doctest.testmod(benchmarks.report.compare.folders)
    assert outcome.attempted == 3 and outcome.failed == 0


def test_the_same_folder_twice_differs_in_nothing(tmp_path, capsys):
    fill(tmp_path)
    table = compare(tmp_path, tmp_path)
    assert not table["changed"].any()
    assert set(table["verdict"]) <= {"identical", "the same", "failed in both", "unsupported in both"}
    assert cli.main(["compare", f"--a={tmp_path}", f"--b={tmp_path}"]) == 0
    assert "nothing differs" in capsys.readouterr().out.splitlines()[-1]


def test_a_difference_is_that_of_the_suites_own_statistics(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for mixer, before, after in (("dct", 40, 43), ("random", 30, 30.2), ("attention", 50, 50.7)):
        train(a, mixer, before, 4)
        train(b, mixer, after, 5)
    table = compare(a, b)
    frames = [records_frame(load_records(folder)) for folder in (a, b)]
    marked = [f.assign(id=s + f["id"], label=s + " " + f["label"]) for s, f in zip("AB", frames, strict=True)]
    sample = Sample(pd.concat(marked, ignore_index=True), {})
    by_label = {runs.setting["label"]: runs for runs in sample.runs}
    mixers = list(table["mixer"])
    wanted = [sample.comparison(operator.sub, by_label[f"B {m}"], by_label[f"A {m}"]) for m in mixers]
    corrected = holm([one.p_value() for one in wanted if one is not None])
    for row, one, p in zip(table.to_dict("records"), wanted, corrected, strict=True):
        assert one is not None and row["change"] == pytest.approx(one.value)
        assert (row["change_low"], row["change_high"]) == pytest.approx(one.interval())
        assert row["holm_p"] == pytest.approx(p) and (row["n_a"], row["n_b"]) == (4, 5)
    assert of(table, "dct")["verdict"] == "higher" and of(table, "random")["verdict"] == "within noise"
    assert of(compare(b, a), "dct")["verdict"] == "lower"
    assert table.attrs["summary"].startswith("1 of 3 mixers changed beyond noise: dct (accuracy higher)")


def test_folders_that_differ_within_noise_are_said_to(tmp_path):
    for mixer in ("dct", "random"):
        train(tmp_path / "a", mixer, 40)
        train(tmp_path / "b", mixer, 40.3)
    assert compare(tmp_path / "a", tmp_path / "b").attrs["summary"] == "none of 2 mixers changed beyond noise"


def test_identical_predictions_are_one_run_and_no_p(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    wrong = {0: slice(0, 500), 1: slice(100, 620), 2: slice(0, 480)}
    for folder in (a, b):
        train(folder, "dct", 40)
        predict(folder, wrong)
    row = of(compare(a, b), "dct")
    assert row["verdict"] == "identical" and row["note"] == "the same predictions"
    assert row["p_value"] is None and row["change"] == 0
    predict(b, wrong | {0: slice(1, 501)})  # as many are wrong, but others
    row = of(compare(a, b), "dct")
    assert row["verdict"] == "within noise" and "2 seeds identical" in row["note"]


def test_runs_identical_in_both_folders_do_not_count_twice_in_the_spread(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for folder, top1 in ((a, 40.0), (b, 41.0)):
        train(folder, "dct", top1)
        train(folder, "random", 30.0)
    table = compare(a, b)
    alone = [records_frame(load_records(f)) for f in (a, b)]
    alone = [f[f["mixer"] == "dct"].assign(id=s + f["id"], label=s + " dct") for s, f in zip("AB", alone, strict=True)]
    sample = Sample(pd.concat(alone, ignore_index=True), {})
    first, second = sample.runs
    wanted = sample.comparison(operator.sub, second, first)
    assert wanted is not None and of(table, "dct")["p_value"] == pytest.approx(wanted.p_value())
    assert of(table, "random")["verdict"] == "identical"


def test_what_was_changed_on_purpose_is_left_out_of_the_match_and_named(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for lr in (0.001, 0.002):
        train(a, "dct", 40, lr=lr)
        train(b, "dct", 40.1, lr=lr, epochs=8)
    train(a, "random", 30)
    train(b, "random", 30.1, epochs=8, mixer_version=2)
    table = compare(a, b)
    assert list(table["differs"]) == ["epochs 4 -> 8", "epochs 4 -> 8", "mixer_version 1 -> 2, epochs 4 -> 8"] or list(
        table["differs"]
    ) == ["epochs 4 -> 8", "epochs 4 -> 8", "epochs 4 -> 8, mixer_version 1 -> 2"]
    assert set(table[table["mixer"] == "dct"]["lr"]) == {0.001, 0.002}
    heading = "\n".join(table.attrs["heading"])
    assert "differs in epochs 4 -> 8: dct, random" in heading and "mixer_version 1 -> 2: random" in heading


def test_several_settings_that_fit_are_told_and_never_averaged(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    train(a, "dct", 40, lr=0.001)
    train(a, "dct", 45, lr=0.002)
    train(b, "dct", 42, lr=0.004)
    table = compare(a, b)
    row = of(table, "dct")
    assert row["verdict"] == "ambiguous" and row["change"] is None
    assert row["note"] == "A: lr 0.001 or lr 0.002; B: lr 0.004"
    assert "several settings fit, not compared: accuracy of dct" in table.attrs["summary"]


def test_a_leftover_setting_is_not_compared_with_that_of_another_recipe(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for folder in (a, b):
        train(folder, "dct", 40)
    train(a, "dct", 30, epochs=1)
    train(b, "dct", 50, lr=0.01)
    assert sorted(compare(a, b)["verdict"]) == ["identical", "only in A", "only in B"]


def test_a_mixer_of_one_folder_alone_is_listed(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    train(a, "dct", 40)
    train(b, "dct", 40.2)
    train(a, "random", 40)
    train(b, "attention", 40)
    table = compare(a, b)
    assert (of(table, "random")["verdict"], of(table, "attention")["verdict"]) == ("only in A", "only in B")
    assert table.attrs["summary"].endswith("only in A: accuracy of random; only in B: accuracy of attention")


def test_failures_are_rows_with_their_reason(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    train(a, "dct", 40)
    save(b, make_trial("accuracy", "dct"), status="diverged", reason="the loss is not finite")
    for folder in (a, b):
        save(folder, make_trial("accuracy", "gmlp"), status="unsupported", reason="not at this size")
        train(folder, "random", 30 if folder == a else 31, 2)
        save(folder, make_trial("accuracy", "random", seed=5), status="oom", reason="full")
    table = compare(a, b)
    row = of(table, "dct")
    assert row["verdict"] == "failed in B" and row["note"] == "B diverged: the loss is not finite" and row["changed"]
    assert of(table, "gmlp")["verdict"] == "unsupported in both" and not of(table, "gmlp")["changed"]
    row = of(table, "random")
    assert row["verdict"] == "withheld" and "1 of 3 runs failed (oom)" in row["note"]


def test_a_seed_that_one_folder_lacks_or_failed_is_a_difference(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    train(a, "dct", 40)
    train(b, "dct", 40, 2)
    table = compare(a, b)
    assert of(table, "dct")["verdict"] == "identical" and "2 seeds, which both have" in of(table, "dct")["note"]
    assert table.attrs["summary"] == "dct did not change beyond noise; identical runs: dct"
    save(b, make_trial("accuracy", "dct", seed=2), status="diverged", reason="the loss is not finite")
    for one, other in ((a, b), (b, a)):
        table = compare(one, other)
        assert of(table, "dct")["verdict"] == "withheld" and "1 of 3 runs failed" in of(table, "dct")["note"]
        assert not table.attrs["summary"].startswith("nothing differs")
    assert compare(b, b).attrs["summary"].startswith("nothing differs")


def test_too_few_seeds_are_no_noise(tmp_path):
    train(tmp_path / "a", "dct", 40, 2)
    train(tmp_path / "b", "dct", 60, 2)
    table = compare(tmp_path / "a", tmp_path / "b")
    assert of(table, "dct")["verdict"] == "too few to tell"
    assert table.attrs["summary"].startswith("nothing can be told of dct; too few runs")


def test_counts_are_ratios_without_noise(tmp_path):
    for folder, flops in ((tmp_path / "a", 1000), (tmp_path / "b", 1500)):
        save(folder, make_trial("cost", "dct"), {"params": 7, "flops": flops, "forward_peak_bytes": None})
    table = compare(tmp_path / "a", tmp_path / "b")
    assert of(table, "dct", "flops")["verdict"] == "more" and of(table, "dct", "flops")["change"] == 1.5
    assert of(table, "dct", "params")["verdict"] == "the same"
    assert set(table["quantity"]) == {"flops", "params"}


def test_a_verdict_on_times_takes_three_sittings(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for mixer, n, after in (("dct", 3, 2.0), ("random", 3, 1.001), ("attention", 2, 2.0)):
        time(a, mixer, 1.0, n)
        time(b, mixer, after, n, mixer_version=2)
    table = compare(a, b)
    row = of(table, "dct", "forward_ms")
    assert row["verdict"] == "slower" and row["changed"]
    wanted = ratio_of({1000 * s + r: 2.0 for s in range(3) for r in range(5)})
    assert wanted is not None and (row["change"], row["n_a"]) == (pytest.approx(wanted.value), 3)
    assert of(table, "random", "forward_ms")["verdict"] == "slower"  # sittings that agree so well tell a thousandth
    row = of(table, "attention", "forward_ms")
    assert row["verdict"] == "too few to tell" and row["change"] == pytest.approx(2.0) and "3 sittings" in row["note"]
    assert "too few runs to tell: times of attention" in table.attrs["summary"]


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (EPYC, OLDER, "other processor"),
        (EPYC, OTHER, "other processor"),
        (MACHINE, EPYC, "A does not say its kind of processor"),
    ],
)
def test_times_of_two_kinds_of_processor_are_not_compared(tmp_path, before, after, why):
    time(tmp_path / "a", "dct", 1.0, 3, environment=before)
    time(tmp_path / "b", "dct", 2.0, 3, environment=after)
    table = compare(tmp_path / "a", tmp_path / "b")
    row = of(table, "dct", "forward_ms")
    assert (row["verdict"], row["note"], row["change"]) == ("not comparable", why, None)
    assert any(line.startswith("differs in processor: ") for line in table.attrs["heading"])


def test_a_measurement_that_is_in_both_folders_is_identical(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        save_latency(folder, "dct", 16)
    assert set(compare(tmp_path / "a", tmp_path / "b")["verdict"]) == {"identical"}


def test_what_is_wrong_with_a_folder_is_one_line(tmp_path, capsys):
    train(tmp_path / "a", "dct", 40)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for other, says in (("nowhere", "does not exist"), ("empty", "holds no records"), ("file", "is not a folder")):
        with pytest.raises(UserError, match=f"B={tmp_path / other} {says}"):
            compare(tmp_path / "a", tmp_path / other)
    assert cli.main(["compare", f"--a={tmp_path / 'a'}"]) == 2
    assert "compare --a results-before" in capsys.readouterr().err


def test_files_hold_every_row_and_the_terminal_the_first_ones(tmp_path, capsys):
    a, b, out = tmp_path / "a", tmp_path / "b", tmp_path / "out"
    for size in range(4, 72, 2):
        save_accuracy(a, "dct", 40, 0, image_size=size)
        save_accuracy(b, "dct", 40.1, 0, image_size=size)
    assert cli.main(["compare", f"--a={a}", f"--b={b}", f"--out={out}"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(pd.read_csv(out / "comparison.csv")) == 34
    page = (out / "comparison.md").read_text()
    assert page.count("\n| ") == 36 and "nothing can be told of dct" in page
    assert sum(line.startswith("dct ") for line in said) == 30 and any("and 4 more rows" in line for line in said)


def test_importing_the_package_loads_nothing_heavy():
    import subprocess
    import sys

    code = "import sys, benchmarks; assert not {'torch', 'pandas'} & set(sys.modules); benchmarks.compare; "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert {"compare", "load_net", "load_results"} == set(benchmarks.__all__)
