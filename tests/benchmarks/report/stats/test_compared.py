"""One comparison: its p and interval against scipy, and which spread it takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.report.stats.compared import Comparison, Spread, combined, holm, slopes, spreads


@pytest.mark.parametrize("n", [2, 3, 8, 30])
def test_over_seeds_alone_p_and_interval_are_those_of_scipys_t_test(n):
    for shift in (0.0, 0.5, -3.0, 40.0):
        values = np.random.default_rng(n).normal(shift, 1, n)
        found = scipy.stats.ttest_1samp(values, 0)
        one = Comparison(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n), n - 1, 0.0, n)
        assert one.p_value() == pytest.approx(found.pvalue, rel=1e-6, abs=1e-14)
        assert one.p_value(null=values.mean()) == 1
        assert one.interval(0.9) == pytest.approx(tuple(found.confidence_interval(0.9)))


def test_over_images_alone_they_are_those_of_the_normal():
    one = Comparison(1.5, 0.0, 4, 0.5, 5)
    assert one.p_value() == pytest.approx(2 * scipy.stats.norm.sf(3))
    assert one.half() == pytest.approx(0.5 * scipy.stats.norm.ppf(0.975))


def test_without_any_error_all_that_is_not_0_differs():
    assert Comparison(0.1, 0.0, 2, 0.0, 3).p_value() == 0 and Comparison(0.0, 0.0, 2, 0.0, 3).p_value() == 1


@given(
    st.floats(-20, 20), st.floats(0, 5), st.floats(1, 200), st.floats(0, 5), st.sampled_from([0.5, 0.9, 0.95, 0.999])
)
def test_the_interval_leaves_out_0_just_where_p_is_under_its_share(value, of_seeds, df, of_images, confidence):
    one = Comparison(value, of_seeds, df, of_images, 3)
    low, high = one.interval(confidence)
    p = one.p_value()
    if abs(p - (1 - confidence)) > 1e-9:  # to rounding
        assert (low > 0 or high < 0) == (p < 1 - confidence)


def test_two_nets_with_spreads_of_their_own_are_welchs_test():
    a, b = np.random.default_rng(0).normal(0, 1, 4), np.random.default_rng(1).normal(0, 3, 9)
    terms = [(f, Spread(x.var(ddof=1), len(x) - 1), len(x)) for f, x in ((1.0, a), (-1.0, b))]
    error, df = combined(terms)
    welch = scipy.stats.ttest_ind(a, b, equal_var=False)
    assert df == pytest.approx(welch.df)
    assert Comparison(a.mean() - b.mean(), error, df, 0.0, 4).p_value() == pytest.approx(welch.pvalue)


def test_two_nets_alike_are_students_test():
    a, b = [0.0, 1.0, 2.0], [10.0, 11.0, 12.0, 11.0]  # of which b is less spread than both together
    found = spreads([a, b])
    pooled = (2 * np.var(a, ddof=1) + 3 * np.var(b, ddof=1)) / 5
    assert found[1] == Spread(pytest.approx(pooled), 5)
    assert found[0] == Spread(1.0, 2)


def test_a_noisy_net_keeps_its_spread_and_a_lucky_one_has_that_of_all():
    noisy, lucky, usual = [0.0, 4.0, 8.0], [1.0, 1.0, 1.0], [0.0, 1.0, 2.0]
    found = spreads([noisy, lucky, usual, [3.0]])
    assert found == [Spread(16.0, 2), Spread(pytest.approx(17 / 3), 6), Spread(pytest.approx(17 / 3), 6), None]
    assert spreads([]) == [] and spreads([[1.0]]) == [None] and spreads([[1.0, 1.0]]) == [Spread(0.0, 1)]


def test_slopes_of_sums_and_ratios():
    assert slopes(lambda a, b: a - b, [30.3, 20.1]) == pytest.approx([1, -1], rel=1e-9)
    assert slopes(lambda a, b: 100 * a / b, [30.0, 20.0]) == pytest.approx([5, -7.5], rel=1e-5)


def test_holm_by_hand_and_between_no_correction_and_bonferroni():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 x .01; then 2 x .03, never falling
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0]) and holm([]) == []
    values = list(np.random.default_rng(0).random(9) / 10)
    assert all(p <= q <= min(1, 9 * p) for p, q in zip(values, holm(values), strict=True))
