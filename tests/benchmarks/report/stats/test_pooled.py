"""Effects over many mixers, against closed forms and drawn effects; the variance between cells by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from synthetic import save_accuracy

from benchmarks.report.frame import results_frame
from benchmarks.report.stats.compared import Spread
from benchmarks.report.stats.decomposition import (
    decompose,
    decomposition_table,
    find_grid,
    mixer_less_patch,
    share_interval,
    shares,
)
from benchmarks.report.stats.paired import Sample, mean_top1
from benchmarks.report.stats.pooled import effects_table, pairs, pooled_effect
from benchmarks.report.tables.write import make_tables, table_files


def test_with_equal_errors_it_is_the_plain_mean_with_its_t_interval():
    effects = [1.0, 2.0, 4.0, 9.0]
    found = pooled_effect(effects, [0.5] * 4)
    assert found is not None
    t_test = scipy.stats.ttest_1samp(effects, 0)
    assert found.mean.interval() == pytest.approx(tuple(t_test.confidence_interval(0.95)))
    assert found.mean.p_value() == pytest.approx(t_test.pvalue)
    assert found.tau == pytest.approx(math.sqrt(np.var(effects, ddof=1) - 0.25))  # what the errors do not explain
    q = np.var(effects, ddof=1) * 3 / 0.25
    assert found.i2_percent == pytest.approx(100 * (1 - 3 / q))
    half = scipy.stats.t.ppf(0.975, 3) * math.sqrt(found.tau**2 + np.var(effects, ddof=1) / 4)
    assert found.further.interval()[1] == pytest.approx(found.mean.value + half)


def test_effects_alike_by_chance_make_no_narrow_interval():
    found = pooled_effect([1.0, 1.001, 0.999], [0.6, 0.6, 0.6])
    assert found is not None and (found.tau, found.i2_percent) == (0, 0)
    half = scipy.stats.t.ppf(0.975, 2) * 0.6 / math.sqrt(3)
    assert found.mean.interval() == pytest.approx((1 - half, 1 + half))
    assert found.further.interval() == found.mean.interval()


def test_what_all_mixers_share_is_added_once():
    alone, together = (pooled_effect([1.0, 2.0, 4.0], [0.5] * 3, shared) for shared in (0.0, 3.0))
    assert alone is not None and together is not None
    assert together.mean.half() == pytest.approx(math.hypot(alone.mean.half(), 1.959964 * 3))


def test_effects_of_unequal_errors_hold_the_truth_as_often_as_they_say():
    random, inside, taus = np.random.default_rng(0), 0, []
    for _ in range(1000):
        errors = random.uniform(0.3, 1.5, 8)
        found = pooled_effect(list(random.normal(2, np.hypot(errors, 1.0))), list(errors))
        assert found is not None
        low, high = found.mean.interval()
        inside += low <= 2 <= high
        taus.append(found.tau**2)
    assert 0.93 <= inside / 1000 <= 0.975 and np.mean(taus) == pytest.approx(1, rel=0.15)


def test_the_net_that_all_are_held_against_is_counted_once():
    random, inside = np.random.default_rng(0), 0
    for _ in range(1000):
        reference = random.normal(0, 2, 4)
        effects = random.normal(3, math.hypot(0.5, 1.0), 7) - reference.mean()
        found = pooled_effect(list(effects), [0.5] * 7, reference=Spread(reference.var(ddof=1) / 4, 3))
        assert found is not None
        low, high = found.mean.interval()
        inside += low <= 3 <= high
    assert 0.93 <= inside / 1000 <= 0.98


def test_the_random_effects_of_thirteen_trials():
    # the BCG trials' log relative risks (Colditz et al., 1994), as metafor's rma(method="PM", test="knha") has them
    cases = [(4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
             (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232),
             (17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825)]  # fmt: skip
    effects = [math.log(a / (a + b) / (c / (c + d))) for a, b, c, d in cases]
    errors = [math.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)) for a, b, c, d in cases]
    found = pooled_effect(effects, errors)
    assert found is not None
    assert found.tau**2 == pytest.approx(0.3181, abs=1e-3)
    assert (found.mean.value, found.mean.standard_error) == pytest.approx((-0.7150, 0.1809), abs=5e-4)
    assert found.i2_percent == pytest.approx(92.12, abs=0.05)  # of Cochran's Q, 152.23


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


def test_the_interval_of_a_share_is_that_of_redrawn_means(folder):
    sample = Sample(results_frame(folder), folder)
    (grid,) = [found for runs in sample.settings(("patch_size",)) if (found := find_grid(runs)) is not None]
    interval = share_interval(sample, grid, mixer_less_patch)
    assert interval.low is not None and interval.high is not None
    means = [mean_top1(runs) for runs in grid.flat]
    errors = [sample.comparison(lambda mean: mean, runs).of_seeds for runs in grid.flat]
    of_means, random = shares(sample, grid), np.random.default_rng(0)
    drawn = [mixer_less_patch(of_means(*random.normal(means, errors))) for _ in range(2000)]
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.std(drawn), rel=0.15)
    assert interval.value == pytest.approx(mixer_less_patch(of_means(*means)))


def test_of_two_versions_the_latest_that_has_both_sides_counts(folder):
    for seed in range(4):
        save_accuracy(folder, "dct", 60.0 + seed / 10, seed, patch_size=4, mixer_version=9)
    sample = Sample(results_frame(folder), folder)
    (runs,) = [found for found in sample.settings(("norm",)) if {r.setting["patch_size"] for r in found} == {4}]
    found = pairs(runs, {"norm": "image"}, {"norm": "token"})
    assert list(found) == list(MIXERS)
    assert {one.setting["label"] for one in found["dct"]} == {"dct v1"}  # the version 9 has no token norm
    against = pairs(runs, {"norm": "image"}, {"norm": "image"}, "conv1x1")
    assert list(against) == ["attention", "dct", "linear"] and against["dct"][0].setting["label"] == "dct"


def test_mixers_that_are_one_function_count_once(folder):
    """At a grid of 2 x 2 tokens hadamard is dct; at any other they differ, and both count."""
    for r in results_frame(folder).query("mixer == 'dct'").to_dict("records"):
        same = r["patch_size"] == 8
        top1 = r["test_top1_percent"] + (0 if same else 0.5)
        save_accuracy(folder, "hadamard", top1, r["seed"], patch_size=r["patch_size"], norm=r["norm"])
    sample = Sample(results_frame(folder), folder)
    (runs,) = [found for found in sample.settings(("patch_size",)) if len(found) > 12]
    over = {patch: list(pairs(runs, *2 * ({"patch_size": patch},), "conv1x1")) for patch in (4, 8)}
    assert over == {4: ["attention", "dct", "hadamard", "linear"], 8: ["attention", "dct", "linear"]}


def test_one_seed_or_two_are_no_side(folder):
    frame = results_frame(folder)
    few = frame[(frame["mixer"] != "linear") | (frame["norm"] != "token") | (frame["seed"] < 2)]
    sample = Sample(few, folder)
    assert effects_table(sample).set_index("effect").loc["image less token", "over"] == "attention, conv1x1, dct"


def test_they_are_files_of_the_report_and_nothing_where_nothing_is_ablated(folder, tmp_path):
    frame = results_frame(folder)
    written = table_files(make_tables(frame, Sample(frame, folder)), frame, tmp_path / "tables")
    assert {"effects.md", "effects.csv", "decomposition.md", "decomposition.csv"} <= {path.name for path in written}
    text = (tmp_path / "tables" / "effects.md").read_text()
    assert "image less token" in text and "1 less 4" in text
    assert "without linear" in (tmp_path / "tables" / "decomposition.md").read_text()
    plain = frame[(frame["norm"] == "image") & (frame["patch_size"] == 4)]
    sample = Sample(plain, folder)
    assert effects_table(sample).empty and decomposition_table(sample).empty
