"""Effects over many mixers, against closed forms and drawn effects; the variance between cells by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from synthetic import save_accuracy

from benchmarks.report.decomposition import decompose, decomposition_table
from benchmarks.report.frame import results_frame
from benchmarks.report.paired import Sample
from benchmarks.report.pooled import effects_table, pooled_effect
from benchmarks.report.table_files import table_files


def test_with_equal_errors_it_is_the_plain_mean_with_its_t_interval():
    effects = [1.0, 2.0, 4.0, 9.0]
    found = pooled_effect(effects, [0.5] * 4)
    assert found is not None
    t_test = scipy.stats.ttest_1samp(effects, 0)
    assert (found.low, found.high) == pytest.approx(tuple(t_test.confidence_interval(0.95)))
    assert found.p_value == pytest.approx(t_test.pvalue)
    assert found.tau == pytest.approx(math.sqrt(np.var(effects, ddof=1) - 0.25))  # what the errors do not explain
    q = np.var(effects, ddof=1) * 3 / 0.25
    assert found.i2_percent == pytest.approx(100 * (1 - 3 / q))
    half = scipy.stats.t.ppf(0.975, 3) * math.sqrt(found.tau**2 + np.var(effects, ddof=1) / 4)
    assert found.predicted_high == pytest.approx(found.value + half)


def test_effects_alike_by_chance_make_no_narrow_interval():
    found = pooled_effect([1.0, 1.001, 0.999], [0.6, 0.6, 0.6])
    assert found is not None and (found.tau, found.i2_percent) == (0, 0)
    half = scipy.stats.t.ppf(0.975, 2) * 0.6 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half))
    assert (found.predicted_low, found.predicted_high) == (found.low, found.high)


def test_what_all_mixers_share_is_added_once():
    alone, together = (pooled_effect([1.0, 2.0, 4.0], [0.5] * 3, shared) for shared in (0.0, 3.0))
    assert alone is not None and together is not None
    assert together.high - together.value == pytest.approx(math.hypot(alone.high - alone.value, 1.959964 * 3))


def test_effects_of_unequal_errors_hold_the_truth_as_often_as_they_say():
    random, inside, taus = np.random.default_rng(0), 0, []
    for _ in range(1000):
        errors = random.uniform(0.3, 1.5, 8)
        found = pooled_effect(list(random.normal(2, np.hypot(errors, 1.0))), list(errors))
        assert found is not None
        inside += found.low <= 2 <= found.high
        taus.append(found.tau**2)
    assert 0.93 <= inside / 1000 <= 0.975 and np.mean(taus) == pytest.approx(1, rel=0.15)


def test_two_mixers_are_not_pooled_and_an_error_of_0_is_told():
    assert pooled_effect([1.0, 2.0], [0.1, 0.1]) is None
    with pytest.raises(ValueError, match="above 0"):
        pooled_effect([1.0, 2.0, 3.0], [0.1, 0.0, 0.1])


MIXERS = ("attention", "conv1x1", "dct", "linear")


@pytest.fixture
def folder(tmp_path):
    """Token norm costs a point, more for dct; half the patch adds four, and ten more for linear at the smallest."""
    random = np.random.default_rng(0)
    for number, mixer in enumerate(MIXERS):
        for seed in range(4):
            for patch, more in ((1, 8.0 + 10 * (mixer == "linear")), (4, 4.0), (8, 0.0)):
                save_accuracy(tmp_path, mixer, 30 + number + more + random.normal(0, 0.3), seed, patch_size=patch)
            lost = 1.0 + (mixer == "dct")
            save_accuracy(tmp_path, mixer, 34 + number - lost + random.normal(0, 0.3), seed, patch_size=4, norm="token")
    return tmp_path


def test_effects_are_pooled_over_the_mixers_that_have_both_sides(folder):
    frame = results_frame(folder)
    frame = frame[(frame["mixer"] != "attention") | (frame["norm"] != "token")]
    table = effects_table(Sample(frame, folder)).set_index("effect")
    assert list(table.index) == ["image less token", "1 less 4", "4 less 8"]
    norm = table.loc["image less token"]
    assert (norm["mixers"], norm["over"], norm["seeds"]) == (3, "conv1x1, dct, linear", "4")
    means = frame.groupby(["mixer", "norm", "patch_size"])["test_top1_percent"].mean()
    each = [means[m, "image", 4] - means[m, "token", 4] for m in MIXERS[1:]]
    assert min(each) < norm["effect_points"] < max(each) and norm["tau_points"] > 0.3
    assert table.loc["1 less 4", "tau_points"] > 3 and table.loc["1 less 4", "i2_percent"] > 90
    assert table.loc["4 less 8", "p_value"] < 0.001


def test_the_variance_between_cells_by_hand():
    rows, columns = np.array([[-3.0], [3.0]]), np.array([[-1.0, 0.0, 1.0]])
    found = decompose(10 + rows + columns, np.zeros((2, 3)))
    # squares: 3 x 18 of rows, 2 x 2 of columns
    assert (found.rows, found.columns, found.both) == pytest.approx((100 * 54 / 58, 100 * 4 / 58, 0))
    assert found.cells_sd == pytest.approx(np.std(10 + rows + columns, ddof=1))
    crossed = decompose(rows * columns, np.zeros((2, 3)))
    assert (crossed.rows, crossed.columns, crossed.both) == pytest.approx((0, 0, 100))
    assert decompose(np.ones((2, 3)), np.ones((2, 3))).rows == 0


def test_what_seeds_add_is_taken_out():
    random = np.random.default_rng(0)
    truth = random.normal(0, 2, (4, 1)) + random.normal(0, 1, (1, 8))
    expected = decompose(truth, np.zeros((4, 8)))
    found = [decompose(truth + random.normal(0, 1, (4, 8)), np.ones((4, 8))) for _ in range(400)]
    assert np.mean([one.cells_sd**2 for one in found]) == pytest.approx(expected.cells_sd**2, rel=0.1)
    assert np.mean([one.rows for one in found]) == pytest.approx(expected.rows, abs=4)
    assert np.mean([one.both for one in found]) < 8


def test_a_share_that_rests_on_one_mixer_is_seen(folder):
    table = decomposition_table(Sample(results_frame(folder), folder)).set_index("without")
    assert [str(name) for name in table.index] == ["None", *MIXERS]
    assert set(table["patch_sizes_px"]) == {"1 4 8"}
    assert (table["patch_percent"] + table["mixer_percent"] + table["both_percent"]).map(float).to_numpy() == (
        pytest.approx(100)
    )
    shares = table["both_percent"]
    assert shares["linear"] < 3 and min(shares[name] for name in ("attention", "conv1x1", "dct")) > 12
    assert table["mixers"].tolist() == [4, 3, 3, 3, 3]


def test_they_are_files_of_the_report_and_nothing_where_nothing_is_ablated(folder, tmp_path):
    frame = results_frame(folder)
    _, written = table_files(frame, tmp_path / "tables", Sample(frame, folder))
    assert {"effects.md", "effects.csv", "decomposition.md", "decomposition.csv"} <= {path.name for path in written}
    text = (tmp_path / "tables" / "effects.md").read_text()
    assert "image less token" in text and "1 less 4" in text
    assert "without linear" in (tmp_path / "tables" / "decomposition.md").read_text()
    plain = frame[(frame["norm"] == "image") & (frame["patch_size"] == 4)]
    sample = Sample(plain, folder)
    assert effects_table(sample).empty and decomposition_table(sample).empty
