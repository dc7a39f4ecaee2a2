"""Scores of text and their spread over test rows, against leaving each row out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from benchmarks.report.stats.scores import f1_of_ones, headline_of, jackknife, ranks_without


def by_hand(metric, predicted, true):
    if metric == "test_spearman":
        return scipy.stats.spearmanr(predicted, true).statistic
    if metric == "test_pearson":
        return scipy.stats.pearsonr(predicted, true).statistic
    if metric == "test_matthews":
        return np.corrcoef(predicted, true)[0, 1]
    hits = ((predicted == 1) & (true == 1)).sum()
    return 2 * hits / ((predicted == 1).sum() + (true == 1).sum())


@pytest.mark.parametrize("metric", ["test_spearman", "test_pearson", "test_matthews", "test_f1"])
def test_leaving_out_a_row_is_leaving_out_a_row(metric):
    draw = np.random.default_rng(0)
    true = draw.integers(0, 5, 40).astype(float)  # with ties
    predicted = true + draw.normal(0, 2, 40)
    if metric in ("test_matthews", "test_f1"):
        true, predicted = (true > 2).astype(np.uint8), (predicted > 2).astype(np.uint8)
    whole, rows = jackknife(metric, predicted, true)
    assert whole == pytest.approx(by_hand(metric, predicted, true), abs=1e-12)
    for i in range(40):
        left = np.delete(np.arange(40), i)
        assert rows[i] == pytest.approx(40 * whole - 39 * by_hand(metric, predicted[left], true[left]), abs=1e-9)
    assert rows.mean() == pytest.approx(whole, abs=0.05)


def test_the_spread_is_that_of_drawing_rows_anew():
    draw = np.random.default_rng(1)
    true = draw.normal(size=300)
    predicted = true + draw.normal(size=300)
    _, rows = jackknife("test_spearman", predicted, true)
    drawn = [draw.integers(0, 300, 300) for _ in range(500)]
    anew = np.std([by_hand("test_spearman", predicted[at], true[at]) for at in drawn])
    assert rows.std(ddof=1) / np.sqrt(300) == pytest.approx(anew, rel=0.15)


def test_ranks_without_one():
    values = np.array([3.0, 1.0, 1.0, 2.0])
    for i, ranks in enumerate(ranks_without(values)):
        left = np.delete(np.arange(4), i)
        assert ranks[left].tolist() == scipy.stats.rankdata(values[left]).tolist()


def test_a_constant_answer_correlates_with_nothing():
    true = np.array([1, 0, 1, 1], np.uint8)
    assert jackknife("test_matthews", np.ones(4, np.uint8), true)[0] == 0
    assert jackknife("test_spearman", np.ones(4), true)[0] == 0
    assert f1_of_ones(true) == pytest.approx(100 * by_hand("test_f1", np.ones(4), true))


def test_each_task_has_its_headline():
    assert [headline_of(f"glue:{name}") for name in ("sst2", "cola", "mrpc", "stsb")] == [
        "test_top1_percent", "test_matthews", "test_f1", "test_spearman",
    ]  # fmt: skip
