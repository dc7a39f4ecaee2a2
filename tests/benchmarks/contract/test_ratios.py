"""The one estimate of a ratio of times, against scipy and by simulated sittings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from benchmarks.ratios import few_sittings, over_sittings, ratio_of, ratio_of_lists, round_key, sittings_of


def by_round(*sittings):
    return {round_key(s, r): value for s, values in enumerate(sittings) for r, value in enumerate(values)}


def test_one_sitting_has_the_t_interval_of_its_logarithms_and_settles_nothing():
    values = [0.5, 0.7, 0.6, 0.9]
    found = ratio_of(by_round(values))
    expected = scipy.stats.ttest_1samp(np.log(values), 0).confidence_interval(0.95)
    assert found.value == pytest.approx(scipy.stats.gmean(values))
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))
    assert (found.n, found.rounds, found.sittings, found.settled) == (4, 4, 1, False)
    ours, theirs = [1.0, 7.0, 3.0, 0.9], [2.0, 10.0, 5.0, 1.0]
    assert ratio_of_lists(ours, theirs) == found


def test_three_sittings_count_alike_whatever_their_rounds_and_the_interval_is_over_them():
    sittings = [0.5, 0.6], [0.8] * 9, [0.7, 0.4, 0.6]
    found = ratio_of(by_round(*sittings), confidence=0.9)
    means = [np.log(values).mean() for values in sittings]
    expected = scipy.stats.ttest_1samp(means, 0).confidence_interval(0.9)
    assert [found.value, found.low, found.high] == pytest.approx(np.exp([np.mean(means), expected.low, expected.high]))
    assert (found.n, found.rounds, found.sittings, found.settled) == (3, 14, 3, True)


def test_of_two_sittings_the_interval_is_of_their_rounds():
    first, second = [1.0, 2.0, 3.0], [5.0, 6.0, 7.0]
    found = over_sittings(by_round(first, second))
    # variance 1 in each, 4 degrees of freedom: of the mean of two means of three, 1 / 6
    assert found.high - found.value == pytest.approx(scipy.stats.t.ppf(0.975, 4) / math.sqrt(6))
    assert (found.value, found.n, found.settled) == (4.0, 6, False)


def test_a_single_round_has_no_interval_and_none_no_ratio():
    found = ratio_of({0: 0.5})
    assert (found.value, found.low, found.high, found.n) == (0.5, None, None, 1)
    assert ratio_of({}) is None and ratio_of_lists([], []) is None
    assert over_sittings(by_round([1.0], [3.0])).low is None


def test_intervals_over_sittings_hold_where_an_hour_is_common_to_its_rounds():
    draw = np.random.default_rng(0)
    covers = {1: 0, 3: 0}
    for _ in range(1000):
        hours = [draw.normal(0, 0.15) + draw.normal(0, 0.05, 7) for _ in range(3)]
        for count in covers:
            found = ratio_of(by_round(*np.exp(hours[:count])))
            covers[count] += found.low <= 1 <= found.high
    assert covers[1] < 500  # what a nominal 95 % was
    assert covers[3] == pytest.approx(950, abs=25)


def test_sittings_begin_when_rows_say_so_or_their_record():
    later, started = "2026-01-01T03:00:00+00:00", "2026-01-01T01:00:00+00:00"
    assert sittings_of([{"round": 0, "sitting": later}, {"round": 0}, {"round": 1}], started) == [started, later]
    assert [few_sittings(n) for n in range(5)] == ["no sitting", "one sitting", "two sittings", "", ""]
