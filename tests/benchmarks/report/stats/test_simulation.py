"""The simulation that chose the test: its tests are the suite's and scipy's, and what is published is its choice."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from benchmarks.report.stats import simulate
from benchmarks.report.stats.compared import Comparison, combined, holm, spreads

PUBLISHED = Path(__file__).parents[4] / "results" / "published" / "statistics"
ROW = ("spread", "n", "reference_n", "test")


@pytest.mark.parametrize("layout", simulate.LAYOUTS)
def test_the_test_taken_is_the_one_that_the_report_makes(layout):
    accuracies, n = simulate.draw("unequal", layout, 3)
    p = simulate.TESTS["own or pooled"](accuracies, n)
    for of_draw, nets in zip(p, accuracies, strict=True):
        values = [[float(v) for v in net if not np.isnan(v)] for net in nets]
        known = spreads(values)
        for place in (1, 5, 26):
            error, df = combined([(1.0, known[place], layout[0]), (-1.0, known[0], layout[1])])
            difference = float(np.mean(values[place]) - np.mean(values[0]))
            expected = Comparison(difference, error, df, simulate.IMAGES_SD * math.sqrt(2), 3).p_value()
            assert of_draw[place - 1] == pytest.approx(expected, rel=1e-5)
        assert simulate.corrected(of_draw[None])[0] == pytest.approx(holm(list(of_draw)))


def test_the_others_are_scipys_without_images(monkeypatch):
    monkeypatch.setattr(simulate, "IMAGES_SD", 0.0)
    accuracies, n = simulate.draw("equal", (5, 5), 2)
    a, b = accuracies[:, 1:], accuracies[:, :1]
    b = np.broadcast_to(b, a.shape)
    expected = {
        "paired by seed": scipy.stats.ttest_rel(a, b, axis=2).pvalue,
        "Welch": scipy.stats.ttest_ind(a, b, axis=2, equal_var=False).pvalue,
    }
    for name, p in expected.items():
        assert simulate.TESTS[name](accuracies, n) == pytest.approx(p, rel=1e-4)


def test_the_prior_of_the_moderated_variances_is_found_again():
    random = np.random.RandomState(0)
    variances = 2.0 * 6 / random.chisquare(6, (20, 2000))  # prior: 6 degrees of freedom, variance 2
    accuracies = random.normal(size=(20, 2000, 5)) * np.sqrt(variances)[:, :, None]
    shrunk, df = simulate.moderated(accuracies, np.full(2000, 5))
    assert (df - 4).mean() == pytest.approx(6, rel=0.1)
    own = accuracies.var(axis=2, ddof=1)
    assert shrunk == pytest.approx((6 * 2.0 + 4 * own) / 10, rel=0.2)


def test_what_is_published_is_the_choice_and_comes_out_again():
    published = json.loads((PUBLISHED / "simulation.json").read_text())
    assert published["taken"] == simulate.taken(published["rows"]) == "own or pooled"
    assert (PUBLISHED / "simulation.md").read_text() == simulate.text(published["rows"], published["draws"])
    few = {tuple(row[name] for name in ROW): row for row in simulate.power_rows("noisy reference", (3, 3), 300)}
    for row in published["rows"]:
        again = few.get(tuple(row[name] for name in ROW))
        if again is not None:
            error = 3 * max(again["false_percent_error"], 0.3)
            assert again["false_percent"] == pytest.approx(row["false_percent"], abs=error)
    for name in ("pooled", "moderated"):
        assert few["noisy reference", 3, 3, name]["false_percent"] > 10


def test_a_test_with_false_positives_is_not_taken():
    row = {"false_percent": 4.0, "false_percent_error": 0.5, "false_holm_percent": 4.0, "false_holm_percent_error": 0.5}
    power = {f"power_{d:g}_percent": 50.0 for d in simulate.DIFFERENCES}
    good, liberal = row | power | {"test": "a"}, row | dict.fromkeys(power, 90.0) | {"test": "b", "false_percent": 7.0}
    assert simulate.taken([good, liberal]) == "a"
    assert simulate.taken([good, liberal | {"false_percent": 5.5}]) == "b"


def test_it_runs_as_a_command(tmp_path):
    command = [sys.executable, "-m", "benchmarks.report.stats.simulate", "--results", str(tmp_path), "--draws"]
    done = subprocess.run([*command, "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "give 2 or more" in done.stderr
