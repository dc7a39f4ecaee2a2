"""Intervals over seeds and images and the tests of paired differences, against scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from synthetic import make_trial, save, save_accuracy

from benchmarks.errors import UserError
from benchmarks.measure import constellations
from benchmarks.report.frame import records_frame, results_frame
from benchmarks.report.paired import (
    OVER_BOTH,
    OVER_SEEDS,
    TOO_FEW,
    Sample,
    accuracy_intervals,
    holm,
    noise,
    p_value,
    paired_table,
    probability_of_improvement,
    resample_images,
    seed_weights,
    verdict,
)
from benchmarks.report.predictions import labels_of_test
from benchmarks.report.table_files import table_files

_LABELS = labels_of_test("constellations")
assert _LABELS is not None
LABELS = _LABELS


def save_answers(folder, mixer: str, seed: int, correct: np.ndarray, **changes) -> None:
    """An accuracy record with predictions that are right where `correct` says."""
    trial = make_trial("accuracy", mixer, seed=seed, **changes)
    top1 = 100 * float(correct.mean())
    save(folder, trial, {"test_top1_percent": top1, "val_top1_percent": top1})
    predictions = np.where(correct, LABELS, (LABELS + 1) % 10).astype(np.uint8)
    np.save(folder / "records" / f"accuracy-{trial.id()}.npy", predictions)


def draw(probability: float, seed: int, salt: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, salt]).random(len(LABELS)) < probability


@pytest.fixture
def folder(tmp_path):
    """Eight seeds of three mixers; attention is far better than conv1x1, dct as good as attention."""
    for seed in range(8):
        hard = np.random.default_rng(99).random(len(LABELS))  # the same images are hard for all
        shared = np.random.default_rng([7, seed]).random(len(LABELS)) * 0.3
        for mixer, level in (("attention", 0.7), ("dct", 0.7), ("conv1x1", 0.55)):
            luck = np.random.default_rng([seed, len(mixer)]).normal(0, 0.01)
            save_answers(tmp_path, mixer, seed, 0.7 * hard + shared < level + luck)
    return tmp_path


def test_the_labels_of_the_package_are_those_of_the_data_set():
    _, labels = constellations.render(len(LABELS), (16, 16), split="test")
    assert (labels.numpy() == LABELS).all()
    _, at_another_size = constellations.render(len(LABELS), (24, 32), split="test")
    assert (at_another_size.numpy() == LABELS).all()
    cifar = labels_of_test("cifar100")
    assert cifar is not None and np.array_equal(np.bincount(cifar), [100] * 100)


def test_images_alone_give_the_binomial_error():
    correct = draw(0.3, 0)
    replicates = resample_images(correct[None], 4000)[0]
    p, n = correct.mean(), len(correct)
    assert replicates.mean() == pytest.approx(100 * p, abs=0.1)
    assert replicates.std() == pytest.approx(100 * math.sqrt(p * (1 - p) / n), rel=0.05)


@pytest.mark.parametrize("n", [3, 5, 8, 20])
def test_seeds_alone_give_the_width_of_students_t(n):
    values = scipy.stats.norm.ppf((np.arange(n) + 0.5) / n)  # a normal sample without luck
    low, high = np.quantile(seed_weights(n, 0.95) @ values, [0.025, 0.975])
    half = scipy.stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert seed_weights(n).sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("n", [3, 8])
def test_the_interval_holds_the_truth_as_often_as_it_says(n):
    random, inside = np.random.default_rng(0), 0
    weights = seed_weights(n)
    for _ in range(600):
        values = random.normal(0, 1, n)
        low, high = np.quantile(weights @ values, [0.025, 0.975])
        inside += low <= 0 <= high
    assert 0.92 <= inside / 600 <= 0.99


@pytest.mark.parametrize("n", [2, 3, 8, 30])
def test_over_seeds_alone_p_is_that_of_scipys_t_test(n):
    for shift in (0.0, 0.5, -3.0, 40.0):
        d = list(np.random.default_rng(n).normal(shift, 1, n))
        assert p_value(d) == pytest.approx(scipy.stats.ttest_1samp(d, 0).pvalue, rel=1e-6, abs=1e-14)
    assert p_value([0.0] * n) == 1 and p_value([0.1] * n) == 0


def test_p_counts_the_chance_of_images_too():
    """Where no mixer is better, at most one in twenty is told apart, though all seeds share their test images."""
    random, seeds, images = np.random.default_rng(0), 8, 300
    found, over_seeds_alone = [], []
    for _ in range(800):
        answers = random.normal(0, 0.01, (seeds, 1)) + random.normal(0, 0.4, (1, images))
        answers = answers + random.normal(0, 0.3, (seeds, images))
        differences = list(100 * answers.mean(axis=1))
        found.append(p_value(differences, noise(answers).images) < 0.05)
        over_seeds_alone.append(p_value(differences) < 0.05)
    assert 0.01 <= np.mean(found) <= 0.06
    assert np.mean(over_seeds_alone) > 0.3


def test_the_interval_has_the_chance_of_seeds_and_of_images_once(folder):
    sample = Sample(results_frame(folder), folder)
    runs = {r.setting["label"]: r for r in sample.runs}
    mine, theirs = runs["attention"], runs["conv1x1"]
    estimate = sample.interval(lambda a, b: a - b, mine, theirs)
    assert estimate is not None and estimate.half is not None
    answers = np.stack([sample.correct[mine.ids[s]].astype(float) - sample.correct[theirs.ids[s]] for s in mine.seeds])
    of_seeds = scipy.stats.t.ppf(0.975, 7) * 100 * answers.mean(axis=1).std(ddof=1) / math.sqrt(8)
    of_images = 1.96 * 100 * answers.mean(axis=0).std(ddof=1) / math.sqrt(answers.shape[1])
    assert estimate.half == pytest.approx(math.hypot(of_seeds, of_images), rel=0.1)


def test_holm_by_hand_and_between_no_correction_and_bonferroni():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 x .01; then 2 x .03, never falling
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0]) and holm([]) == []
    values = list(np.random.default_rng(0).random(9) / 10)
    assert all(p <= q <= min(1, 9 * p) for p, q in zip(values, holm(values), strict=True))


def test_probability_of_improvement_is_mann_whitneys_u():
    a, b = [3.0, 4.0, 5.0, 5.0], [1.0, 4.0, 5.0]
    assert probability_of_improvement(a, b) == pytest.approx(scipy.stats.mannwhitneyu(a, b).statistic / 12)


def test_noise_of_seeds_and_images_is_told_apart():
    random = np.random.default_rng(0)
    images, seeds = 4000, 60
    of_seed, of_image = random.normal(0, 0.02, (seeds, 1)), random.normal(0, 0.3, (1, images))
    answers = 0.5 + of_seed + of_image + random.normal(0, 0.4, (seeds, images))
    found = noise(answers)
    assert found.seed == pytest.approx(2, rel=0.25)
    assert found.test == pytest.approx(100 * math.hypot(0.3, 0.4) / math.sqrt(images), rel=0.05)
    assert found.images == pytest.approx(100 * 0.3 / math.sqrt(images), rel=0.05)
    only_images = noise(answers - of_seed).seed
    assert only_images is not None and only_images < 0.5
    single = draw(0.3, 0)[None]
    alone = noise(single)
    assert alone.seed is None and alone.test == pytest.approx(100 * single.std(ddof=1) / math.sqrt(len(LABELS)))


def test_pairing_tells_what_two_intervals_do_not(folder):
    frame = results_frame(folder)
    table = paired_table(Sample(frame, folder)).set_index(["label", "reference"])
    row = table.loc["attention", "conv1x1"]
    assert (row["n"], row["interval_over"], row["verdict"]) == (8, OVER_BOTH, "higher")
    assert row["difference_points_low"] < row["difference_points"] < row["difference_points_high"]
    assert 0 < row["p_value"] <= row["holm_p"] < 1e-4 and row["compared"] == 2
    assert row["probability_of_improvement"] == 1
    other = table.loc["conv1x1", "attention"]
    assert other["difference_points"] == pytest.approx(-row["difference_points"]) and other["verdict"] == "lower"
    assert table.loc["dct", "attention"]["verdict"] == TOO_FEW
    # the images that are hard for all cancel
    alone = accuracy_intervals(Sample(frame, folder)).set_index("label")
    unpaired = math.hypot(*(alone.loc[name]["test_sd_points"] for name in ("attention", "conv1x1")))
    assert row["test_sd_points"] < 0.8 * unpaired
    assert "fft_real" not in {reference for _, reference in table.index}


@pytest.mark.parametrize(
    ("n", "low", "high", "holm_p", "told"),
    [
        (8, 0.1, 2.0, 0.04, "higher"),
        (8, -2.0, -0.1, 0.04, "lower"),
        (8, 0.1, 2.0, 0.06, "likely higher"),
        (3, -2.0, -0.1, 0.9, "likely lower"),
        (8, -0.1, 2.0, 0.01, TOO_FEW),
        (2, 0.1, 2.0, 0.01, TOO_FEW),
        (1, None, None, None, TOO_FEW),
    ],
)
def test_a_verdict_needs_the_interval_the_corrected_test_and_three_seeds(n, low, high, holm_p, told):
    row = {"n": n, "difference_points_low": low, "difference_points_high": high, "holm_p": holm_p}
    assert verdict(row) == told


def test_two_seeds_are_too_few(folder):
    frame = results_frame(folder)
    two = paired_table(Sample(frame[frame["seed"] < 2], folder))
    assert set(two["verdict"]) == {TOO_FEW}
    one = paired_table(Sample(frame[frame["seed"] < 1], folder))
    assert set(one["verdict"]) == {TOO_FEW} and set(one["difference_points_low"]) == {None}


def test_only_seeds_that_both_have_are_paired(folder):
    frame = results_frame(folder)
    some = frame[(frame["mixer"] != "dct") | (frame["seed"] > 4)]
    row = paired_table(Sample(some, folder)).set_index(["label", "reference"]).loc["dct", "attention"]
    assert (row["n"], row["seeds"]) == (3, "5 6 7")


def test_without_predictions_the_interval_is_students_t_and_says_so(tmp_path):
    for seed, (a, b) in enumerate([(40.0, 30.0), (41.0, 33.0), (43.0, 32.0)]):
        save_accuracy(tmp_path, "dct", a, seed)
        save_accuracy(tmp_path, "attention", b, seed)
    frame = results_frame(tmp_path)
    (row,) = paired_table(Sample(frame, tmp_path)).to_dict("records")
    interval = scipy.stats.ttest_1samp([10, 8, 11], 0).confidence_interval(0.95)
    assert (row["difference_points_low"], row["difference_points_high"]) == pytest.approx(tuple(interval))
    assert row["interval_over"] == OVER_SEEDS and row["seed_sd_points"] is None


def test_of_several_tunings_the_held_out_images_choose(tmp_path):
    for seed in range(2):
        save_accuracy(tmp_path, "attention", 50.0, seed)
        save_accuracy(tmp_path, "dct", 40.0, seed, lr=0.001)
        save_accuracy(tmp_path, "dct", 44.0, seed, lr=0.004, weight_decay=0.2)
    (setting,) = Sample(results_frame(tmp_path), tmp_path).settings()
    assert {runs.setting["label"]: runs.setting["lr"] for runs in setting} == {"attention": 0.002, "dct": 0.004}


def test_settings_never_meet(tmp_path):
    save_accuracy(tmp_path, "attention", 50.0, 0)
    save_accuracy(tmp_path, "dct", 40.0, 0, epochs=8)
    assert paired_table(Sample(results_frame(tmp_path), tmp_path)).empty


def test_predictions_of_another_run_are_told(folder):
    path = sorted((folder / "records").glob("*.npy"))[0]
    np.save(path, np.zeros(len(LABELS), dtype=np.uint8))
    with pytest.raises(UserError, match=path.name):
        accuracy_intervals(Sample(results_frame(folder), folder))


def test_the_same_records_make_the_same_bytes_in_any_order(folder, tmp_path):
    frame = results_frame(folder)
    shuffled = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    for name, rows in (("a", frame), ("b", shuffled)):
        table_files(rows, tmp_path / name, Sample(rows, folder))
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    assert (tmp_path / "a" / "differences.md").is_file()
    summary = (tmp_path / "a" / "summary.csv").read_text().splitlines()
    assert "test_top1_percent_resampled_low" in summary[0] and len(summary) == 4


def test_nothing_trained_makes_empty_tables():
    nothing = Sample(records_frame([]), ".")
    assert paired_table(nothing).empty and accuracy_intervals(nothing).empty
