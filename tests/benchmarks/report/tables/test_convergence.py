"""How the order of mixers holds as training goes on, from curves whose truth is known."""

from __future__ import annotations

import itertools
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from synthetic import MACHINE, make_trial, save, save_accuracy

from benchmarks.report.build import make_report
from benchmarks.report.claims.settled import NO, NOT_MEASURED, OPEN, YES, settled
from benchmarks.report.frame import results_frame
from benchmarks.report.plots.convergence import convergence_plots
from benchmarks.report.stats.evidence import Evidence
from benchmarks.report.tables.convergence import (
    Long,
    accuracy_rows,
    crossings,
    difference,
    kendall,
    long_runs,
    order_rows,
    order_verdict,
    settled_from,
    tau,
)
from benchmarks.report.tables.convergence_files import sections, write_convergence

GPU = MACHINE | {"device": "cuda"}
# held-out accuracy after the first epochs and at the end; attention starts last and ends first
CURVES = {"attention": (10, 60), "linear": (20, 55), "dct": (18, 40), "fft_real": (16, 38), "conv1x1": (14, 20)}


def save_long(folder: Path, mixer: str, epochs: int, seed: int, spread: float = 0.2, **changes) -> None:
    """A run whose held-out accuracy goes from its first value to its last, most of it early."""
    first, last = CURVES[mixer]
    chance = spread * math.sin(7 * seed + len(mixer))
    history = [
        {"epoch": e, "train_loss": 1.0, "val_top1_percent": first + (last - first) * e / epochs + chance}
        for e in range(1, epochs + 1)
    ]
    environment = changes.pop("environment", MACHINE)
    trial = make_trial("accuracy", mixer, seed=seed, epochs=epochs, **changes)
    metrics = {"test_top1_percent": last + chance, "val_top1_percent": history[-1]["val_top1_percent"]}
    save(folder, trial, metrics, history, environment=environment)


def fill_long(folder: Path, epochs: int = 100, seeds: int = 3, **changes) -> Path:
    for mixer, seed in itertools.product(CURVES, range(seeds)):
        save_long(folder, mixer, epochs, seed, **changes)
    return folder


def group_of(folder: Path) -> Long:
    evidence = Evidence(results_frame(folder), folder)
    (group,) = long_runs(evidence.sample, evidence.frame)
    return group


def test_an_epoch_of_no_right_answer_counts(tmp_path):
    for mixer in CURVES:
        history = [{"epoch": e, "val_top1_percent": 0.0 if e == 5 else 30.0} for e in range(1, 21)]
        metrics = {"test_top1_percent": 30.0, "val_top1_percent": 30.0}
        save(tmp_path, make_trial("accuracy", mixer, epochs=20), metrics, history)
    assert group_of(tmp_path).checkpoints == [5, 20]


def test_accuracies_are_those_of_the_epochs_that_the_runs_have(tmp_path):
    group = group_of(fill_long(tmp_path, 60))
    assert group.checkpoints == [5, 20, 60]
    rows = {(row["label"], row["epoch"]): row for row in accuracy_rows(group)}
    assert len(rows) == 15 and rows["attention", 60]["rank"] == 1 and rows["attention", 5]["rank"] == 5
    values = [16 + 22 * 20 / 60 + 0.2 * math.sin(7 * seed + len("fft_real")) for seed in range(3)]
    row = rows["fft_real", 20]
    assert row["val_top1_percent_mean"] == pytest.approx(statistics.fmean(values)) and row["n"] == 3
    half = scipy.stats.t.ppf(0.975, 2) * statistics.stdev(values) / math.sqrt(3)
    assert row["val_top1_percent_high"] - row["val_top1_percent_mean"] == pytest.approx(half)


def test_kendalls_tau_is_that_of_scipy():
    random = np.random.RandomState(0)
    one, other = random.normal(size=(7, 20)), random.normal(size=(7, 20))
    expected = [scipy.stats.kendalltau(one[:, i], other[:, i]).statistic for i in range(20)]
    assert kendall(one, other) == pytest.approx(expected)


def test_the_interval_of_tau_tells_an_order_that_is_chance_from_one_that_is_not():
    clear = {name: [10.0 * i, 10.0 * i + 1, 10.0 * i + 2] for i, name in enumerate("abcdef")}
    found = tau(clear, clear, same_runs=True)
    assert found is not None and (found.value, found.low, found.high, found.n) == (1.0, 1.0, 1.0, 3)
    noisy = {name: [float(v) for v in np.random.RandomState(i).normal(size=3)] for i, name in enumerate("abcdef")}
    wide = tau(noisy, clear, same_runs=False)
    assert wide is not None and wide.high - wide.low > 0.5
    assert tau(noisy, clear, same_runs=False) == wide  # the stream is fixed
    single = tau({name: values[:1] for name, values in clear.items()}, clear, same_runs=False)
    assert single is not None and (single.value, single.low) == (1.0, None)
    assert tau({"a": [1.0], "b": [2.0]}, clear, same_runs=True) is None


def test_pairs_that_cross_are_named_with_the_epoch_from_which_their_order_stays(tmp_path):
    group = group_of(fill_long(tmp_path))
    found = {(c.ahead, c.behind): c for c in crossings(group)}
    crossed = {pair for pair, c in found.items() if c.crosses}
    assert crossed == {("attention", name) for name in ("linear", "dct", "fft_real", "conv1x1")}
    assert len(found) == 10
    # the two lines meet where 10 + 0.5 e = 20 + 0.35 e
    assert found["attention", "linear"].settled_from == pytest.approx(10 / 0.15, abs=4)
    assert found["dct", "conv1x1"].settled_from == 1 and not found["dct", "conv1x1"].crosses
    end = difference(group, "attention", "linear", 100)
    own = {m: statistics.variance(group.at(m, 100)) for m in group.mixers}
    pooled = statistics.fmean(own.values())
    sides = [(own[m], 2) if own[m] > pooled else (pooled, 10) for m in ("attention", "linear")]
    total = sum(v / 3 for v, _ in sides)
    freedom = total**2 / sum((v / 3) ** 2 / df for v, df in sides)
    half = scipy.stats.t.ppf(0.975, freedom) * math.sqrt(total)
    assert end.low is not None and end.value - end.low == pytest.approx(half)
    assert settled_from(group, "dct", "fft_real") == 1


def test_a_pair_that_is_clear_at_neither_end_is_left_out_and_one_seed_has_no_interval(tmp_path):
    noisy = {(c.ahead, c.behind) for c in crossings(group_of(fill_long(tmp_path / "noisy", spread=9.0)))}
    assert ("attention", "linear") not in noisy and ("attention", "conv1x1") in noisy
    single = group_of(fill_long(tmp_path / "single", seeds=1))
    assert crossings(single) == [] and difference(single, "attention", "dct", 5).low is None
    assert all(row["tau_low"] is None for row in order_rows(single))


def test_other_nets_of_a_mixer_stand_beside_and_move_no_order(tmp_path):
    alone = group_of(fill_long(tmp_path))
    for seed in range(3):
        save_long(tmp_path, "attention", 100, seed, norm="token")
        save_long(tmp_path, "conv1x1", 100, seed, positions="sine")
        save_long(tmp_path, "dct", 100, seed, norm="token", dim=64)  # another width: in no row here
    group = group_of(tmp_path)
    assert group.curves == alone.curves and order_rows(group) == order_rows(alone)
    table = sections(group)[0][2]
    assert [row["mixer"] for row in table[len(CURVES) :]] == [
        "attention, norm per token",
        "conv1x1, sine positions",
    ]
    assert {row["seeds"] for row in table} == {"3"} and table[len(CURVES)]["after 100"].startswith("60.")
    write_convergence(Evidence(results_frame(tmp_path), tmp_path), tmp_path)
    assert "no part of the order" in (tmp_path / "convergence.md").read_text(encoding="utf-8")


def test_runs_of_five_epochs_of_the_same_net_stand_beside(tmp_path):
    fill_long(tmp_path, augment="light", lr=0.004)
    for mixer, seed in itertools.product(CURVES, range(3)):
        save_accuracy(tmp_path, mixer, 30.0 + CURVES[mixer][1] / 10, seed, epochs=5)
        save_accuracy(tmp_path, mixer, 90.0, seed, epochs=5, dim=64)  # another net
    evidence = Evidence(results_frame(tmp_path), tmp_path)
    (group,) = long_runs(evidence.sample, evidence.frame)
    assert set(group.short_held) == set(CURVES)
    assert max(v for values in group.short_held.values() for v in values.values()) < 40
    rows = {(row["between"], row["and"]): row for row in order_rows(group)}
    assert rows["runs of 5 epochs", "epoch 100"]["tau"] == 1.0 > rows["runs of 5 epochs", "epoch 5"]["tau"]
    assert rows["epoch 5", "epoch 100"]["tau"] == pytest.approx(1 - 2 * 4 / 10, abs=0.21)


@pytest.mark.parametrize(("noise", "word"), [(0.1, "holds"), (60.0, "open")])
def test_the_order_of_five_epochs_holds_where_the_interval_of_tau_says_so(tmp_path, noise, word):
    fill_long(tmp_path)
    assert order_verdict(group_of(tmp_path)) == "not measured"
    for mixer, seed in itertools.product(CURVES, range(3)):
        top1 = 30 + CURVES[mixer][1] / 2 + noise / 2 * math.sin(5 * seed + 3 * len(mixer))
        save_accuracy(tmp_path, mixer, top1, seed, epochs=5)
    assert order_verdict(group_of(tmp_path)) == word


def test_an_order_turned_round_does_not_hold(tmp_path):
    fill_long(tmp_path)
    for mixer, seed in itertools.product(CURVES, range(3)):
        save_accuracy(tmp_path, mixer, 90 - CURVES[mixer][1] + 0.1 * seed, seed, epochs=5)
    assert order_verdict(group_of(tmp_path)) == "does not hold"


def test_statements_are_settled_where_they_were_measured(tmp_path):
    fill_long(tmp_path)
    for mixer, top1 in (("attention", 30), ("linear", 40), ("dct", 28), ("fft_real", 27), ("conv1x1", 27)):
        for seed in range(3):
            save_accuracy(tmp_path, mixer, top1 + 0.3 * math.sin(seed + len(mixer)), seed, epochs=5)
    for seed in range(2):
        for mixer in ("fft_complex", "fft_pairs", "fft_real"):
            save_accuracy(tmp_path, mixer, 50.0 + seed, seed, epochs=100, device="cuda", environment=GPU)
    answers = settled([Evidence(results_frame(tmp_path), tmp_path)])
    said = {(a.statement.text.split(" ")[0], a.place): a for a in answers}
    assert (
        said["Attention", "at five epochs"].outcome == NO
        and "attention − linear" in said["Attention", "at five epochs"].words
    )
    assert said["Attention", "at a hundred"].outcome == YES and said["Attention", "at a hundred"].pairs == 4
    assert said["Attention", "on a GPU"].outcome == NOT_MEASURED
    assert said["A", "at five epochs"].outcome == said["A", "at a hundred"].outcome == YES
    assert said["Fixed", "at five epochs"].outcome == OPEN
    assert said["Keeping", "at a hundred"].outcome == NOT_MEASURED
    assert said["Keeping", "on a GPU"].outcome == OPEN  # two seeds settle nothing


def test_a_statement_about_a_mixer_that_failed_is_open_and_half_a_statement_is_not_measured(tmp_path):
    fill_long(tmp_path)
    for seed in range(3):
        trial = make_trial("accuracy", "mlp_mixer", seed=seed, epochs=100)
        save(tmp_path, trial, status="diverged", reason="the loss is not finite")
        for mixer, top1 in (("fft_complex", 40.0), ("fft_real", 30.0)):
            save_accuracy(tmp_path, mixer, top1 + seed / 10, seed, epochs=5)
    said = {
        (a.statement.text.split(" ")[0], a.place): a for a in settled([Evidence(results_frame(tmp_path), tmp_path)])
    }
    attention = said["Attention", "at a hundred"]
    assert attention.outcome == OPEN and attention.words.endswith("of 4 pairs; all runs of mlp_mixer failed")
    assert said["A", "at a hundred"].outcome == YES  # it says nothing of that mixer
    assert said["Keeping", "at five epochs"].outcome == NOT_MEASURED  # of two pairs one


def test_the_report_has_it_where_runs_were_long_and_nothing_where_they_were_not(tmp_path):
    short = tmp_path / "short"
    save_accuracy(short, "dct", 40.0, 0)
    names = {path.name for path in make_report(short).paths}
    assert not {n for n in names if n.startswith(("convergence", "settled"))}
    assert '"settled":{' not in (short / "index.html").read_text(encoding="utf-8")
    long = fill_long(tmp_path / "long")
    written = make_report(long).paths
    names = {path.name for path in written}
    assert {"convergence.md", "convergence.csv", "convergence-order.csv", "convergence-crossings.csv"} <= names
    assert {"convergence.png", "convergence.svg", "settled.md", "settled.csv"} <= names
    text = next(path for path in written if path.name == "convergence.md").read_text(encoding="utf-8")
    assert "| attention |" in text and "not that of a short run" in text and "after 100" in text
    for table in text.split("\n\n"):
        if table.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1
    page = (long / "index.html").read_text(encoding="utf-8")
    assert '"settled":{' in page and "Attention is above every other mixer." in page
    first = {p: p.read_bytes() for p in written if p.name.startswith(("convergence", "settled"))}
    again = fill_long(tmp_path / "again")
    made = {p.name for p in make_report(again).paths}
    fill_long(long)
    evidence = Evidence(results_frame(long), long)
    folder, plots = (next(p for p in first if p.suffix == kind).parent for kind in (".csv", ".png"))
    more = [*write_convergence(evidence, folder), *convergence_plots(evidence, plots)]
    assert {p: p.read_bytes() for p in more}.items() <= first.items()
    for path in (again / "records").glob("*.json"):
        path.unlink()
    save_accuracy(again, "dct", 40.0, 0)
    make_report(again)
    assert {"settled.md", "convergence.md"} <= made
    assert not (again / "settled.md").exists() and not list((again / "tables").rglob("convergence*"))
