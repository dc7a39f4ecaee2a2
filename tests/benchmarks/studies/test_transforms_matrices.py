"""The study's matrices against what defines them, its predictors against numbers worked out by hand, its statistics."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import scipy.stats
import torch

from benchmarks.studies.transforms import analysis, matrices, predictors
from benchmarks.studies.transforms.matrices import HELD_BACK, SIDE, TOKENS, TRANSFORMS, matrix_of
from benchmarks.studies.transforms.measure import token_covariance

ROW, COLUMN = np.divmod(np.arange(TOKENS), SIDE)
DISTANCE = np.hypot(ROW[:, None] - ROW, COLUMN[:, None] - COLUMN)
COVARIANCE = np.exp(-DISTANCE / 6) * np.add.outer(ROW + 9.0, ROW + 9.0) / 20  # no two eigenvalues alike
MADE = {name: matrix_of(name, COVARIANCE) for name in TRANSFORMS}
X = np.random.default_rng(0).standard_normal((SIDE, SIDE))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_is_orthonormal_unless_it_says_otherwise(name):
    gram = MADE[name] @ MADE[name].T
    assert (np.abs(gram - np.eye(TOKENS)).max() < 2e-5) == TRANSFORMS[name].orthonormal
    assert np.array_equal(MADE[name], matrix_of(name, COVARIANCE))


def test_there_are_enough_and_the_held_back_ones_are_those_drawn():
    free = [name for name in TRANSFORMS if name not in matrices.ANCHORS]
    assert len(TRANSFORMS) >= 20 + len(HELD_BACK) and len(HELD_BACK) == 6
    assert tuple(random.Random(matrices.HELD_BACK_SEED).sample(free, 6)) == HELD_BACK


def test_the_dct_and_its_variants():
    wanted = scipy.fft.dctn(X, norm="ortho").ravel()
    np.testing.assert_allclose(MADE["dct"] @ X.ravel(), wanted, atol=1e-4)
    np.testing.assert_allclose(MADE["dct_transposed"] @ wanted, X.ravel(), atol=1e-4)
    blocks = X.reshape(4, 4, 4, 4).swapaxes(1, 2)
    in_blocks = scipy.fft.dctn(blocks, axes=(2, 3), norm="ortho").swapaxes(1, 2).ravel()
    np.testing.assert_allclose(MADE["dct_blocks_4"] @ X.ravel(), in_blocks, atol=1e-4)
    for name, side in (("dct_inputs_permuted", 0), ("dct_outputs_permuted", 1)):
        rows = [set(map(tuple, (m if side else m.T).round(4))) for m in (MADE[name], MADE["dct"])]
        assert rows[0] == rows[1] and not np.allclose(MADE[name], MADE["dct"])
    scale = np.linalg.norm(MADE["dct_condition_32"], axis=1)
    assert scale.max() / scale.min() == pytest.approx(32, rel=1e-3) and scale[0] == scale.max()
    assert (scale**2).sum() == pytest.approx(TOKENS, rel=1e-4)


@pytest.mark.parametrize(("name", "rank"), [("dct_rank_16", 16), ("dct_rank_64", 64), ("dct_rank_128", 128)])
def test_a_truncated_dct_keeps_the_lowest_frequencies(name, rank):
    kept = np.abs(MADE[name]).sum(1) > 0
    frequency = ROW**2 + COLUMN**2
    assert kept.sum() == rank and frequency[kept].max() <= frequency[~kept].min()
    np.testing.assert_array_equal(MADE[name][kept], MADE["dct"][kept])


def test_powers_of_the_dct_make_the_dct():
    quarter, half, three = (MADE[f"dct_power_{k}_4"] for k in (1, 2, 3))
    np.testing.assert_allclose(quarter @ quarter, half, atol=1e-4)
    np.testing.assert_allclose(half @ half, MADE["dct"], atol=1e-4)
    np.testing.assert_allclose(quarter @ three, MADE["dct"], atol=1e-4)


def test_a_real_root_pairs_eigenvalues_of_minus_one_and_leaves_an_odd_one():
    basis = scipy.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
    even = basis @ np.diag([-1.0, -1, 1, 1]) @ basis.T
    root = matrices.real_power(even, 0.5)
    np.testing.assert_allclose(root @ root, even, atol=1e-9)
    odd = matrices.real_power(basis @ np.diag([-1.0, 1, 1, 1]) @ basis.T, 0.5)
    np.testing.assert_allclose(odd @ odd.T, np.eye(4), atol=1e-9)
    assert np.isrealobj(odd) and np.linalg.det(odd) == pytest.approx(-1)


def test_the_other_bases():
    dft = scipy.fft.fft2(X, norm="ortho")
    np.testing.assert_allclose(MADE["hartley"] @ X.ravel(), (dft.real - dft.imag).ravel(), atol=1e-4)
    np.testing.assert_allclose(MADE["dft_real"] @ X.ravel(), dft.real.ravel(), atol=1e-4)
    assert np.linalg.matrix_rank(MADE["dft_real"], tol=1e-3) == 130
    np.testing.assert_allclose(matrices.haar(4) * 2, [[1, 1, 1, 1], [1, 1, -1, -1],
        [math.sqrt(2), -math.sqrt(2), 0, 0], [0, 0, math.sqrt(2), -math.sqrt(2)]], atol=1e-12)  # fmt: skip
    np.testing.assert_allclose(matrices.daubechies_4(16)[8:15] @ np.arange(16.0), 0, atol=1e-12)
    np.testing.assert_array_equal(MADE["hadamard"] * 16, scipy.linalg.hadamard(TOKENS))
    changes = (np.diff(np.sign(matrices.sequency(matrices.hadamard(16))), axis=1) != 0).sum(1)
    assert list(changes) == list(range(16))


def test_the_slant_transform_of_order_four_and_its_slope():
    five = math.sqrt(5)
    wanted = [[1, 1, 1, 1], [3 / five, 1 / five, -1 / five, -3 / five], [1, -1, -1, 1], [1 / five, -3 / five, 3 / five,
        -1 / five]]  # fmt: skip
    np.testing.assert_allclose(matrices.slant(4) * 2, wanted, atol=1e-12)
    steps = np.diff(matrices.slant(16)[1])
    np.testing.assert_allclose(steps, steps[0])


def test_the_karhunen_loeve_transform_diagonalises_the_covariance():
    diagonal = MADE["klt"] @ COVARIANCE @ MADE["klt"].T
    assert np.abs(diagonal - np.diag(np.diag(diagonal))).max() < 1e-3
    assert (np.diff(np.diag(diagonal)) < 1e-3).all()


def test_the_drawn_ones_have_the_property_they_are_named_for():
    shift = np.kron(np.roll(np.eye(SIDE), 1, 0), np.eye(SIDE))
    aside = np.kron(np.eye(SIDE), np.roll(np.eye(SIDE), 1, 0))
    circulant = MADE["random_circulant"]
    for move in (shift, aside):
        np.testing.assert_allclose(circulant @ move, move @ circulant, atol=1e-9)
    np.testing.assert_allclose(np.abs(np.fft.fft2(circulant[0].reshape(SIDE, SIDE))), 1, atol=1e-4)
    used = MADE["random_banded"] != 0
    assert (np.abs(ROW[:, None] - ROW)[used].max(), np.abs(COLUMN[:, None] - COLUMN)[used].max()) == (2, 2)
    assert (MADE["sparse_orthogonal"] != 0).sum(1).max() <= 4
    across = [np.ptp(np.roll(COLUMN.reshape(SIDE, SIDE), -4 * (i % 16 // 4) + 6, 1).ravel()[row != 0])
              for i, row in enumerate(MADE["random_local"])]  # fmt: skip
    assert (MADE["random_local"] != 0).sum(1).max() == 64 and max(across) < SIDE
    assert ((MADE["permutation"] == 1).sum(1) == 1).all() and not np.array_equal(MADE["permutation"], np.eye(TOKENS))


HAAR_2 = np.array([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
C_2 = np.array([[1.0, 0.5], [0.5, 1.0]])
LINE = np.exp(np.diag([0.0, 1, 2, 3])) * np.eye(4)


@pytest.mark.parametrize(
    ("name", "matrix", "covariance", "grid", "value"),
    [
        ("coding_gain_db", HAAR_2, C_2, (1, 2), 10 * math.log10(1 / math.sqrt(1.5 * 0.5))),
        ("coding_gain_db", np.eye(2), C_2, (1, 2), 0),
        ("coding_gain_db", np.diag([3.0, 1.0]) @ HAAR_2, C_2, (1, 2), 10 * math.log10(1 / math.sqrt(0.75))),
        ("coding_gain_db", np.diag([1.0, 0.0]) @ HAAR_2, C_2, (1, 2), 0),  # one output is left
        ("rank", np.ones((2, 2)), C_2, (1, 2), 0.5),
        ("condition", np.diag([1.0, 0.1]), C_2, (1, 2), 1),
        ("condition", np.ones((2, 2)), C_2, (1, 2), 0),
        ("reach", np.eye(2), C_2, (1, 2), 0),
        ("reach", np.eye(2)[::-1], C_2, (1, 2), 2),  # distance 1, and 1/2 for an even row
        ("spread", np.eye(4), np.eye(4), (2, 2), 0),
        ("spread", np.ones((4, 4)), np.eye(4), (2, 2), 1),
        ("spread", np.kron(np.eye(2), np.ones((2, 2))), np.eye(4), (2, 2), math.sqrt(0.5)),
        ("row_entropy", HAAR_2, C_2, (1, 2), 1),
        ("row_entropy", np.eye(2), C_2, (1, 2), 0),
        ("alignment", np.eye(4), np.eye(4), (1, 4), 1),
        ("alignment", np.eye(4)[::-1], np.eye(4), (1, 4), 0.5),  # the two in the middle
        ("coherence", HAAR_2, C_2, (1, 2), 0),
        ("coherence", np.eye(4), np.eye(4), (1, 4), 1),
        ("order", np.eye(4), LINE, (1, 4), 2.5 / 5.5),
        ("order", np.eye(4), np.eye(4), (2, 2), 1),
        ("shift_stability", np.eye(2), C_2, (1, 2), 0.75),  # up and down nothing moves
    ],
)
def test_predictors_by_hand(name, matrix, covariance, grid, value):
    assert predictors.predictors_of(matrix, covariance, grid)[name] == pytest.approx(value, abs=1e-9)


def test_no_orthonormal_transform_has_more_coding_gain_than_karhunen_loeve():
    gains = {
        n: predictors.coding_gain(MADE[n], COVARIANCE, (SIDE, SIDE)) for n in TRANSFORMS if TRANSFORMS[n].orthonormal
    }
    assert max(gains, key=lambda name: gains[name]) == "klt"
    assert gains["identity"] == pytest.approx(gains["permutation"])


def test_the_covariance_is_that_of_normalised_pixels_over_images():
    images = torch.randint(0, 256, (70, 3, 4, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
    x = (images.numpy() / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    wanted = np.mean([np.cov(x[:, c].reshape(70, 8).T, bias=True) for c in range(3)], axis=0)
    np.testing.assert_allclose(token_covariance(images, mean, std), wanted, atol=1e-5)


def test_rank_correlations_with_ties_are_those_of_scipy():
    x, y = np.array([1.0, 1, 2, 5, 4, 9]), np.array([3.0, 2, 2, 7, 9, 8])
    assert analysis.spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert analysis.spearman(np.ones(6), y) == 0


def test_the_interval_of_a_difference_is_welchs():
    one, other = [27.1, 27.9, 26.5, 28.0], [25.0, 25.3, 24.9, 25.2]
    wanted = scipy.stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert analysis.welch_interval(one, other) == pytest.approx((wanted.low, wanted.high))


def test_the_permutation_p_is_the_share_of_orders():
    # of the 5! orders of five, two have a correlation of 1 or -1
    p = analysis.permutation_p(np.arange(5.0), np.arange(5.0))
    assert p == pytest.approx(2 / 120, rel=0.1)
    assert analysis.permutation_p(np.ones(5), np.arange(5.0)) == 1


def test_the_prediction_interval_is_the_textbooks():
    x, y = np.array([0.0, 1, 2, 3, 4, 5]), np.array([1.0, 1.9, 3.2, 3.8, 5.1, 6.2])
    fit, wanted = analysis.line(x, y), scipy.stats.linregress(x, y)
    value, low, high = fit.predict(7)
    assert (fit.slope, value) == (pytest.approx(wanted.slope), pytest.approx(wanted.intercept + 7 * wanted.slope))
    residual = math.sqrt(((y - wanted.intercept - wanted.slope * x) ** 2).sum() / 4)
    half = scipy.stats.t.ppf(0.975, 4) * residual * math.sqrt(1 + 1 / 6 + (7 - 2.5) ** 2 / 17.5)
    assert (high - low) / 2 == pytest.approx(half)


def made_up(noise: float, n: int = 16):
    generator = np.random.default_rng(3)
    numbers = {f"t{i}": {"good": float(i), "bad": float(generator.random()), "constant": 1.0} for i in range(n)}
    scores = {
        name: [20 + row["good"] / 4 + noise * generator.normal() for _ in range(4)] for name, row in numbers.items()
    }
    return numbers, scores


def test_the_predictor_that_makes_the_accuracy_is_chosen():
    choice = analysis.choose(*made_up(0.3))
    assert choice is not None and (choice.predictor, choice.wins) == ("good", True)
    by_name = {row.predictor: row for row in choice.correlations}
    assert by_name["constant"].rho == 0 and by_name["constant"].holm_p == 1
    assert by_name["good"].low > 0.8 and by_name["good"].holm_p == pytest.approx(3 * by_name["good"].p)
    assert choice.fit.slope == pytest.approx(0.25, abs=0.03)
    assert analysis.Choice.from_dict(choice.to_dict()) == choice


def test_noise_is_called_noise_and_few_transforms_are_no_choice():
    numbers, scores = made_up(0.3)
    shuffled = dict(zip(scores, np.random.default_rng(1).permutation(list(scores.values())).tolist(), strict=True))
    choice = analysis.choose(numbers, shuffled)
    assert choice is not None and not choice.wins
    assert analysis.verdict(choice, {}, {})["outcome"] == "nothing predicts"
    assert analysis.choose(numbers, dict(list(scores.items())[:4])) is None


def test_the_verdict_needs_five_of_six_and_less_error_than_the_mean():
    choice = analysis.choose(*made_up(0.3))
    assert choice is not None
    predicted = {f"h{i}": [float(i), i - 1.0, i + 1.0] for i in range(6)}
    near = {name: values[0] + 0.5 for name, values in predicted.items()}
    assert analysis.verdict(choice, predicted, near)["outcome"] == "confirmed"
    one_off = near | {"h0": 9.0}
    assert analysis.verdict(choice, predicted, one_off)["outcome"] == "confirmed"
    two_off = one_off | {"h1": 9.0}
    found = analysis.verdict(choice, predicted, two_off)
    assert found["outcome"] == "not confirmed" and sum(found["hits"].values()) == 4
    assert analysis.verdict(choice, predicted, {"h0": 0.0})["outcome"] == "open"
    flat = dataclasses.replace(choice, mean_percent=3.0)
    of_mean = dict.fromkeys(predicted, 3.0)
    wide = {name: [values[0], -9.0, 9.0] for name, values in predicted.items()}
    assert analysis.verdict(flat, wide, of_mean)["outcome"] == "not confirmed"  # the mean does better


def test_the_interval_of_a_correlation_and_its_p_agree():
    draw = np.random.default_rng(3)
    for _ in range(40):
        x = draw.normal(size=22)
        y = 0.5 * x + draw.normal(size=22)
        rho, p = float(analysis.spearman(x, y)), analysis.permutation_p(x, y)
        low, high = analysis.rho_interval(rho, p, 22)
        assert -1 < low < rho < high < 1 and (p < 0.05) == (not low <= 0 <= high)
    low, high = analysis.rho_interval(0.0, 1.0, 22)
    assert high == -low == pytest.approx(0.43, abs=0.02)
