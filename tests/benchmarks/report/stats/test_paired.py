"""Nets compared over seeds and test images, against scipy, resampling and closed forms."""

from __future__ import annotations

import dataclasses
import math
import operator
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from synthetic import make_trial, save, save_accuracy

from benchmarks.contract.errors import UserError
from benchmarks.report.claims.rules import share_percent
from benchmarks.report.frame import records_frame, results_frame
from benchmarks.report.stats.compared import spreads
from benchmarks.report.stats.noise import noise
from benchmarks.report.stats.paired import (
    OVER_BOTH,
    OVER_SEEDS,
    TOO_FEW,
    Runs,
    Sample,
    probability_of_improvement,
    verdict,
)
from benchmarks.report.stats.predictions import labels_of_test
from benchmarks.report.tables.differences import accuracy_intervals, paired_table
from benchmarks.report.tables.write import make_tables, people, table_files
from benchmarks.tasks.images import constellations

PUBLISHED = Path(__file__).parents[4] / "results" / "published"
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


def by_label(folder) -> tuple[Sample, dict[str, Runs]]:
    sample = Sample(results_frame(folder), folder)
    return sample, {runs.setting["label"]: runs for runs in sample.runs}


def test_the_chance_of_images_is_that_of_drawing_them_anew(folder):
    """Counted once: what chance within single runs adds is part of the spread over seeds."""
    sample, runs = by_label(folder)
    sides = runs["attention"], runs["conv1x1"]
    compared = sample.comparison(operator.sub, *sides)
    assert compared is not None
    means = [np.stack([sample.correct[side.ids[seed]] for seed in side.seeds]).mean(axis=0) for side in sides]
    difference, random = 100 * (means[0] - means[1]), np.random.default_rng(0)
    images = len(difference)
    drawn = [difference[random.integers(0, images, images)].mean() for _ in range(4000)]
    rest = sum(sample.answers(side).rest / 8 for side in sides) / images
    assert compared.of_images**2 + rest == pytest.approx(np.var(drawn), rel=0.1)
    assert compared.of_images**2 < 0.9 * np.var(drawn)


def test_nets_without_a_difference_are_told_apart_one_time_in_twenty():
    """Both new seeds and new images: the interval holds the true difference, 0, as often as it says."""
    random, images, found, over_seeds_alone = np.random.default_rng(0), 400, [], []
    sample = Sample(records_frame([]), ".")
    for number in range(500):
        sides = [net(sample, random, 5, images, f"{number} {side}") for side in "ab"]
        sample.__dict__["_spreads"] = {
            side.key: spread
            for side, spread in zip(sides, spreads([list(s.top1.values()) for s in sides]), strict=True)
        }
        compared = sample.comparison(operator.sub, *sides)
        assert compared is not None
        found.append(compared.p_value() < 0.05)
        over_seeds_alone.append(dataclasses.replace(compared, of_images=0.0).p_value() < 0.05)
    assert 0.01 <= np.mean(found) <= 0.06
    assert np.mean(over_seeds_alone) > 0.3


def net(sample: Sample, random: np.random.Generator, seeds: int, images: int, name: str) -> Runs:
    """Runs whose chances to be right differ by image more than by seed, of the same mean over all images there are."""
    return answered(sample, random, seeds, np.where(random.random(images) < 0.5, 0.95, 0.05), name)


def answered(sample: Sample, random: np.random.Generator, seeds: int, chance: np.ndarray, name: str) -> Runs:
    answers = [random.random(len(chance)) < chance + luck for luck in random.normal(0, 0.01, seeds)]
    sample.correct |= {f"{name} {seed}": correct for seed, correct in enumerate(answers)}
    top1 = {seed: 100 * float(correct.mean()) for seed, correct in enumerate(answers)}
    return Runs({"label": name}, top1, {seed: f"{name} {seed}" for seed in range(seeds)}, 0.0)


def test_images_shared_by_several_effects_are_what_their_own_errors_do_not_show():
    """Effects alike in their images share what those vary by; effects on other images each share nothing."""
    random, sample, images = np.random.default_rng(0), Sample(records_frame([]), "."), 20_000
    common = random.random(images) < 0.5
    for alike, expected in ((True, math.sqrt(2 / 3)), (False, 0.0)):
        nets = []
        for mixer in "abc":
            easy = common if alike else random.random(images) < 0.5
            chances = (np.where(easy, 0.8, 0.4), np.full(images, 0.5))
            nets.append(
                [answered(sample, random, 3, chance, f"{alike} {mixer} {i}") for i, chance in enumerate(chances)]
            )
        spread = 100 * 0.2 / math.sqrt(images)
        assert sample.shared_by_images(operator.sub, nets) == pytest.approx(expected * spread, abs=0.15 * spread)


@pytest.mark.parametrize("function", [share_percent, lambda a, b: a - (b + 20) / 2])
def test_a_function_of_means_has_the_interval_of_drawn_means(folder, function):
    sample, runs = by_label(folder)
    sides = runs["attention"], runs["conv1x1"]
    estimate, compared = sample.interval(function, *sides), sample.comparison(function, *sides)
    assert compared is not None
    random = np.random.default_rng(0)
    means = [math.fsum(side.top1.values()) / 8 for side in sides]
    errors = [sample.comparison(lambda mean: mean, side).of_seeds for side in sides]
    drawn = [random.normal(mean, error, 40_000) for mean, error in zip(means, errors, strict=True)]
    assert compared.of_seeds == pytest.approx(function(*drawn).std(), rel=0.05)
    assert (estimate.value, estimate.low, estimate.high) == (function(*means), *compared.interval())


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


def test_pairing_images_tells_what_two_intervals_do_not(folder):
    frame = results_frame(folder)
    table = paired_table(Sample(frame, folder)).set_index(["label", "reference"])
    row = table.loc["attention", "conv1x1"]
    assert (row["n"], row["reference_n"], row["interval_over"], row["verdict"]) == (8, 8, OVER_BOTH, "higher")
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
    row = {"difference_points_low": low, "difference_points_high": high, "holm_p": holm_p}
    assert verdict(row | {"n": n, "reference_n": 8}) == told
    assert verdict(row | {"n": 8, "reference_n": n}) == told


def test_two_seeds_are_too_few(folder):
    frame = results_frame(folder)
    two = paired_table(Sample(frame[frame["seed"] < 2], folder))
    assert set(two["verdict"]) == {TOO_FEW}
    one = paired_table(Sample(frame[frame["seed"] < 1], folder))
    assert set(one["verdict"]) == {TOO_FEW} and set(one["difference_points_low"]) == {None}


def test_each_side_has_all_of_its_seeds(folder):
    frame = results_frame(folder)
    some = frame[(frame["mixer"] != "dct") | (frame["seed"] > 4)]
    table = paired_table(Sample(some, folder))
    row = table.set_index(["label", "reference"]).loc["dct", "attention"]
    assert (row["n"], row["seeds"], row["reference_n"]) == (3, "5 6 7", 8)
    assert row["reference_seeds"] == "0 1 2 3 4 5 6 7"
    means = some.groupby("mixer")["test_top1_percent"].mean()
    assert row["difference_points"] == pytest.approx(means["dct"] - means["attention"])
    assert "3 and 8" in people("differences", table, some)
    apart = frame[(frame["mixer"] == "dct") == (frame["seed"] > 4)]  # not one seed in common
    assert paired_table(Sample(apart, folder)).set_index(["label", "reference"]).loc["dct", "attention"]["n"] == 3


def test_the_interval_leaves_out_0_just_where_p_is_small(folder):
    frame = results_frame(folder)
    for seeds in ((0, 1, 2), (3, 4, 5, 6, 7)):
        table = paired_table(Sample(frame[frame["seed"].isin(seeds)], folder))
        agree(table)


def agree(table) -> None:
    assert len(table)
    ends = zip(table["difference_points_low"], table["difference_points_high"], strict=True)
    outside = [low > 0 or high < 0 for low, high in ends]
    assert outside == [p < 0.05 for p in table["p_value"]]


@pytest.mark.parametrize("name", ["cifar100-cpu", "residual-cpu", "mosaics-cpu"])
def test_no_published_interval_contradicts_its_p(name):
    folder = PUBLISHED / name
    frame = results_frame(folder)
    table = paired_table(Sample(frame, folder))
    agree(table[[p is not None for p in table["p_value"]]])


def test_without_predictions_the_interval_is_welchs_where_the_reference_is_the_noisy_one(tmp_path):
    values = {"dct": (40.0, 40.1, 40.2), "attention": (30.0, 34.0, 32.0, 33.0)}
    for mixer, several in values.items():
        for seed, top1 in enumerate(several):
            save_accuracy(tmp_path, mixer, top1, seed)
    (row,) = paired_table(Sample(results_frame(tmp_path), tmp_path)).to_dict("records")
    variances = {mixer: np.var(several, ddof=1) for mixer, several in values.items()}
    common = (2 * variances["dct"] + 3 * variances["attention"]) / 5
    assert variances["dct"] < common < variances["attention"]
    parts = common / 3, variances["attention"] / 4
    df = sum(parts) ** 2 / (parts[0] ** 2 / 5 + parts[1] ** 2 / 3)
    t = (np.mean(values["dct"]) - np.mean(values["attention"])) / math.sqrt(sum(parts))
    assert row["p_value"] == pytest.approx(2 * scipy.stats.t.sf(t, df), rel=1e-9)
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
        table_files(make_tables(rows, Sample(rows, folder)), rows, tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    assert (tmp_path / "a" / "differences.md").is_file()
    summary = (tmp_path / "a" / "summary.csv").read_text().splitlines()
    assert "test_top1_percent_resampled_low" in summary[0] and len(summary) == 4


def test_nothing_trained_makes_empty_tables():
    nothing = Sample(records_frame([]), ".")
    assert paired_table(nothing).empty and accuracy_intervals(nothing).empty
