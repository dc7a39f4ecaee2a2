"""Statistics of the report against scipy, numpy and cases computed by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ratios import Ratio
from benchmarks.report.plots.labels import spread
from benchmarks.report.stats.intervals import (
    find_crossing,
    mean_interval,
    median_interval,
    paired_ratios,
    pareto_front,
    scaling_exponent,
)

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(numbers, min_size=2, max_size=12))
def test_interval_is_scipys(values):
    estimate = mean_interval(values)
    assert estimate is not None and estimate.half is not None
    result = scipy.stats.ttest_1samp(values, 0) if len(set(values)) > 1 else None
    assert estimate.value == pytest.approx(np.mean(values), abs=1e-6)
    if result is not None and np.std(values) > 1e-6:
        interval = result.confidence_interval(0.95)
        assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-6)


def test_interval_by_hand():
    estimate = mean_interval([1.0, 2.0, 3.0])  # standard error 1 / sqrt 3, t(0.975, 2) = 4.3027
    assert estimate is not None
    assert (estimate.value, estimate.n) == (2.0, 3)
    assert estimate.half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


def test_one_value_has_no_interval_and_none_has_no_mean():
    single = mean_interval([5.0])
    assert single is not None and (single.value, single.low, single.high, single.half, single.n) == (
        5.0,
        None,
        None,
        None,
        1,
    )
    assert mean_interval([]) is None and median_interval([]) is None


@given(st.lists(numbers, min_size=1, max_size=40))
def test_median_is_numpys_and_its_interval_scipys(values):
    estimate = median_interval(values)
    assert estimate is not None and estimate.value == pytest.approx(np.median(values))
    if len(values) < 6:  # no interval reaches 95 %
        assert (estimate.low, estimate.high) == (min(values), max(values))
    else:
        expected = scipy.stats.quantile_test(values, p=0.5).confidence_interval(0.95)
        assert (estimate.low, estimate.high) == (expected.low, expected.high)


def test_ratios_pair_rounds_and_leave_out_what_either_lacks():
    assert paired_ratios({0: 2.0, 1: 9.0, 3: 4.0}, {0: 1.0, 2: 5.0, 3: 8.0}) == {0: 2.0, 3: 0.5}
    assert paired_ratios({0: 1.0}, {0: 0.0}) == {}


@given(st.floats(0.2, 3), st.lists(st.integers(1, 10_000), min_size=2, max_size=6, unique=True))
def test_exponent_of_a_power_law(exponent, sizes):
    latency = {n: {r: (r + 1) * 0.3 * n**exponent for r in range(3)} for n in sizes}
    estimate = scaling_exponent(latency)
    assert estimate is not None
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((exponent,) * 3, abs=1e-6)


def test_exponent_is_fitted_per_round_over_rounds_that_all_sizes_have():
    draw = np.random.default_rng(0)
    latency = {n: {r: n**1.2 * draw.uniform(0.8, 1.2) for r in range(5)} for n in (256, 1024, 2304)}
    del latency[1024][4]
    slopes = [
        scipy.stats.linregress(np.log(list(latency)), np.log([latency[n][r] for n in latency])).slope for r in range(4)
    ]
    estimate = scaling_exponent(latency)
    assert estimate is not None
    interval = scipy.stats.ttest_1samp(slopes, 0).confidence_interval(0.95)
    expected = (np.mean(slopes), interval.low, interval.high)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx(expected)
    assert (estimate.n, estimate.sittings) == (4, 1)


def test_a_size_timed_once_is_no_part_of_the_fit_of_others():
    latency = {n: {r: float(n) for r in range(3)} for n in (256, 1024)} | {4096: {0: 1e9}}
    assert scaling_exponent(latency) == Ratio(pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0), 3, 1)
    once = {n: {0: float(n)} for n in (256, 1024)}
    assert scaling_exponent(once) == Ratio(pytest.approx(1.0), None, None, 1, 1)


def test_no_exponent_without_two_sizes_or_a_common_round():
    assert scaling_exponent({256: {0: 1.0}}) is None
    assert scaling_exponent({256: {0: 1.0}, 1024: {1: 2.0}}) is None


@pytest.mark.parametrize(
    ("ratios", "tokens", "text"),
    [
        ({256: 0.9, 4096: 0.5}, None, "faster at every measured size (256-4,096)"),
        ({256: 0.9}, None, "faster at every measured size (256)"),
        ({256: 2.0, 4096: 1.0}, None, "never up to 4,096"),
        # log-log: 2 at 256 and 1/2 at 1024 meet 1 in the geometric middle
        ({256: 2.0, 1024: 0.5}, 512, "from 510 tokens"),
        ({4096: 0.1, 1024: 0.5, 256: 2.0}, 512, "from 510 tokens"),
        ({256: 0.5, 1024: 2.0}, 512, "only up to 510 tokens"),
        ({64: 0.5, 256: 2.0, 1024: 0.5}, 512, "from 510 tokens; crosses 2 times"),
        ({256: 4.0, 1024: 0.5}, 256 * 4 ** (2 / 3), "from 650 tokens"),
    ],
)
def test_crossing(ratios, tokens, text):
    crossing = find_crossing(ratios)
    assert crossing is not None
    assert str(crossing) == text
    assert crossing.tokens == (None if tokens is None else pytest.approx(tokens))


def test_no_crossing_of_nothing():
    assert find_crossing({}) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=15))
def test_pareto_front_by_its_definition(points):
    front = pareto_front(points)

    def beaten(p: tuple[int, int]) -> bool:
        return any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in points)

    assert {points[i] for i in front} == {p for p in points if not beaten(p)}
    assert [points[i][0] for i in front] == sorted({points[i][0] for i in front})


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12), st.integers(1, 8))
def test_spread_labels_never_overlap_and_keep_their_order(places, height):
    moved = spread(places, [height] * len(places), 0, 100)
    pairs = sorted(zip(places, moved, strict=True))
    gaps = [b[1] - a[1] for a, b in itertools.pairwise(pairs)]
    assert all(gap >= height - 1e-6 for gap in gaps)
    assert all(height / 2 - 1e-6 <= place <= 100 - height / 2 + 1e-6 for place in moved)


def test_spread_leaves_what_is_apart_and_splits_what_is_not():
    assert spread([20, 80], [10, 10], 0, 100) == pytest.approx([20, 80])
    assert spread([50, 50], [10, 10], 0, 100) == pytest.approx([45, 55])
    assert spread([0, 0, 50], [10, 20, 10], 0, 100) == pytest.approx([5, 20, 50])
