"""The metrics of the text tasks against their definitions, and their intervals against what they must cover."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.contract.facts.text_tasks import TEXT_TASKS
from benchmarks.tasks.text.tasks import scores
from benchmarks.tasks.text.tasks.scores import METRICS, fnet_score, interval

CLASSES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)
NUMBERS = st.lists(st.tuples(st.integers(0, 6), st.integers(-3, 3)), min_size=3, max_size=40)


def columns(rows) -> tuple[np.ndarray, np.ndarray]:
    targets, predictions = zip(*rows, strict=True)
    return np.array(targets), np.array(predictions)


@given(CLASSES)
def test_accuracy_f1_and_matthews_are_those_of_the_four_counts(rows):
    cells = {cell: rows.count(cell) for cell in itertools.product((0, 1), (0, 1))}
    hit, miss, false, clear = cells[1, 1], cells[1, 0], cells[0, 1], cells[0, 0]
    targets, predictions = columns(rows)
    assert scores.accuracy(targets, predictions) == pytest.approx(100 * (hit + clear) / len(rows))
    below = 2 * hit + miss + false
    assert scores.f1(targets, predictions) == pytest.approx(200 * hit / below if below else np.nan, nan_ok=True)
    root = np.sqrt(float((hit + false) * (hit + miss) * (clear + false) * (clear + miss)))
    expected = 100 * (hit * clear - false * miss) / root if root else 0.0
    assert scores.matthews(targets, predictions) == pytest.approx(expected, abs=1e-9)


@given(NUMBERS)
def test_correlations_are_scipys_and_none_of_what_does_not_vary(rows):
    targets, predictions = (values / 7 for values in columns(rows))
    varies = len(set(targets)) > 1 and len(set(predictions)) > 1
    for name in ("spearman", "pearson"):
        found = METRICS[name](targets, predictions)
        if varies:
            expected = getattr(scipy.stats, f"{name}r")(targets, predictions).statistic
            assert found == pytest.approx(100 * expected, abs=1e-9)
        else:
            assert np.isnan(found)


@pytest.mark.parametrize("name", METRICS)
def test_many_resamples_are_scored_at_once_as_one_by_one(name):
    random = np.random.default_rng(1)
    targets, predictions = random.integers(2, size=(2, 5, 30))
    together = METRICS[name](targets, predictions)
    apart = [METRICS[name](*pair) for pair in zip(targets, predictions, strict=True)]
    assert together.shape == (5,) and together == pytest.approx(np.array(apart))


def test_each_task_has_its_metrics_in_order_and_a_constant_has_none_of_a_correlation():
    assert list(scores.scores("cola", np.array([1, 0]), np.array([1, 1]))) == ["matthews", "accuracy"]
    assert scores.scores("mrpc", np.array([1, 0, 1]), np.array([1, 1, 1])) == {
        "f1": pytest.approx(80),
        "accuracy": pytest.approx(200 / 3),
    }
    assert scores.scores("stsb", np.array([1.0, 2, 3]), np.full(3, 0.1)) == {"spearman": None, "pearson": None}
    assert scores.scores("trec", np.array([5, 3]), np.array([5, 4])) == {"accuracy": 50}
    for task in TEXT_TASKS.values():
        assert {*task.metrics, *task.fnet} <= set(METRICS)
        assert "accuracy" in task.metrics or task.regression


def test_fnets_tables_have_the_mean_of_f1_and_accuracy():
    assert fnet_score("mrpc", {"f1": 80.0, "accuracy": 70.0}) == 75
    assert fnet_score("cola", {"matthews": 0.0, "accuracy": 69.1}) == 69.1
    assert fnet_score("stsb", {"spearman": None, "pearson": None}) is None


def test_the_interval_of_an_accuracy_is_that_of_a_proportion():
    targets = np.ones(1000, int)
    predictions = (np.arange(1000) < 800).astype(int)
    low, high = interval("accuracy", targets, predictions, draws=4000)
    half = 1.96 * 100 * np.sqrt(0.8 * 0.2 / 1000)
    assert (low, high) == pytest.approx((80 - half, 80 + half), abs=0.25)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_the_interval_of_a_correlation_is_fishers_of_a_normal_pair(name):
    random = np.random.default_rng(0)
    targets = random.normal(size=800)
    predictions = 0.8 * targets + 0.6 * random.normal(size=800)
    found = METRICS[name](targets, predictions) / 100
    low, high = interval(name, targets, predictions)
    expected = 100 * np.tanh(np.arctanh(found) + np.array([-1.96, 1.96]) / np.sqrt(797))
    assert (low, high) == pytest.approx(expected, abs=1.0)


def test_an_interval_is_the_same_again_and_does_not_depend_on_how_much_is_drawn_at_a_time(monkeypatch):
    random = np.random.default_rng(2)
    targets, predictions = random.integers(2, size=(2, 50))
    before = interval("f1", targets, predictions)
    assert before == interval("f1", targets, predictions) != interval("f1", targets, predictions, seed=1)
    monkeypatch.setattr(scores, "CHUNK_ROWS", 120)
    assert interval("f1", targets, predictions) == before
    wide, narrow = interval("f1", targets, predictions, level=0.99), interval("f1", targets, predictions, level=0.5)
    assert wide[0] < before[0] < narrow[0] < narrow[1] < before[1] < wide[1]


def test_what_is_not_defined_has_no_interval():
    assert interval("spearman", np.arange(4.0), np.zeros(4)) is None
    assert interval("f1", np.zeros(4, int), np.zeros(4, int)) is None
