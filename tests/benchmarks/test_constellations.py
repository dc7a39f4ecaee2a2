from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.errors import UserError
from benchmarks.measure import constellations

SIZES = [(16, 16), (24, 24), (32, 32), (48, 48), (16, 32), (19, 16)]


def clean(count: int, size: tuple[int, int], **options) -> tuple[np.ndarray, np.ndarray]:
    """Images without noise as masks of dots, bool (n, h, w), and labels."""
    images, labels = constellations.render(count, size, split="train", noise=0.0, **options)
    return images[:, 0].numpy() == 255, labels.numpy()


def test_ten_classes_differ_in_at_least_three_dots_each_and_are_uncorrelated():
    classes = np.array(constellations.classes())
    assert classes.shape == (10, 5)
    assert (np.sort(classes, axis=1) == np.arange(5)).all()
    differences = (classes[:, None] != classes[None]).sum(-1)
    assert differences[~np.eye(10, dtype=bool)].min() >= 3
    assert np.abs(((np.arange(5) - 2) * (classes - 2)).sum(1)).max() <= 1


def test_classes_are_those_of_the_first_release():
    # records made with other classes would not be comparable
    assert constellations.classes()[:3] == ((0, 3, 4, 2, 1), (1, 2, 3, 4, 0), (2, 4, 0, 1, 3))
    assert constellations.classes()[-1] == (2, 3, 1, 0, 4)


@pytest.mark.parametrize("size", SIZES)
def test_each_image_shows_its_class_somewhere(size):
    masks, labels = clean(300, size)
    side = constellations.dot_side_px(*size)
    steps = [int(2 * i * min(size) / 16 + 0.5) for i in range(5)]
    for mask, label in zip(masks, labels, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        expected = np.zeros_like(mask)
        for i, p in enumerate(constellations.classes()[label]):
            top, left = rows[0] + steps[i], columns[0] + steps[p]
            expected[top : top + side, left : left + side] = True
        assert (mask == expected).all()


@pytest.mark.parametrize("size", SIZES)
def test_row_and_column_sums_are_the_same_for_all_classes(size):
    masks, labels = clean(200, size)
    for axis in (1, 2):
        sums = masks.sum(axis)
        profiles = {tuple(np.trim_zeros(row)) for row in sums}
        assert len(profiles) == 1
    assert len(set(labels)) == 10


def test_no_2x2_patch_holds_two_dots_at_16_px():
    masks, _ = clean(3000, (16, 16))
    windows = np.lib.stride_tricks.sliding_window_view(masks, (2, 2), axis=(1, 2))
    assert windows.sum((-1, -2)).max() == 1


def test_place_is_uniform_and_independent_of_the_class():
    masks, labels = clean(20_000, (16, 16))
    top, left = masks.any(2).argmax(1), masks.any(1).argmax(1)
    table = np.zeros((10, 8, 8))
    np.add.at(table, (labels, top, left), 1)
    assert table.sum() == 20_000
    assert stats.chisquare(table.sum(0).ravel()).pvalue > 1e-3
    assert stats.chi2_contingency(table.reshape(10, 64)).pvalue > 1e-3


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 60), height=st.integers(16, 50), width=st.integers(16, 50), clutter=st.integers(0, 3))
def test_any_size_is_drawn_balanced_and_reproducible(count, height, width, clutter):
    images, labels = constellations.render(count, (height, width), split="test", seed=3, clutter=clutter)
    assert images.shape == (count, 3, height, width) and images.dtype == torch.uint8
    assert labels.shape == (count,) and labels.dtype == torch.int64
    assert labels.bincount(minlength=10).max() - labels.bincount(minlength=10).min() <= 1
    again = constellations.render(count, (height, width), split="test", seed=3, clutter=clutter)
    assert torch.equal(images, again[0]) and torch.equal(labels, again[1])


def test_background_dots_and_noise_have_their_levels():
    images, _ = constellations.render(2000, (16, 16), split="train")
    masks, _ = clean(2000, (16, 16))
    pixels = images[:, 0].numpy() / 255
    assert pixels[~masks].mean() == pytest.approx(constellations.BACKGROUND, abs=0.002)
    assert pixels[~masks].std() == pytest.approx(constellations.NOISE, abs=0.002)
    assert pixels[masks].mean() > 0.95
    assert (images[:, :1] == images).all()


def test_splits_and_seeds_share_no_image():
    seen: set[bytes] = set()
    for split, seed in (("train", 0), ("test", 0), ("train", 1), ("test", 1)):
        images, _ = constellations.render(2000, (16, 16), split=split, seed=seed)
        new = {image.numpy().tobytes() for image in images[:, 0]}
        assert len(new) == 2000 and not new & seen
        seen |= new


def test_clutter_adds_dots():
    masks, _ = clean(500, (32, 32), clutter=4)
    dots = masks.sum((1, 2)) / constellations.dot_side_px(32, 32) ** 2
    assert dots.max() == 9 and 7 < dots.mean() < 9


def test_sums_of_single_pixels_do_not_tell_the_class():
    """A linear probe on row sums, column sums and a histogram of values stays at chance; on pixels it cannot."""
    images, labels = constellations.render(12_000, (16, 16), split="train")
    pixels = images[:, 0].numpy().astype(np.float64) / 255
    histogram = np.stack([(pixels > t).mean((1, 2)) for t in np.linspace(0.2, 0.95, 12)], axis=1)
    coordinate = np.linspace(-1, 1, 16)
    moments = [np.einsum("nhw,h,w->n", pixels, coordinate**a, coordinate**b) for a in range(3) for b in range(2)]
    features = np.concatenate([pixels.sum(1), pixels.sum(2), histogram, np.stack(moments, 1)], axis=1)
    assert probe_accuracy(features, labels.numpy()) < 0.125


def test_the_probe_would_notice():
    """The same probe reads the class where the place is fixed, so its chance result above means something."""
    images, labels = constellations.render(12_000, (16, 16), split="train")
    pixels = images[:, 0].numpy().astype(np.float64) / 255
    masks, _ = clean(12_000, (16, 16))
    top, left = masks.any(2).argmax(1), masks.any(1).argmax(1)
    boxes = np.stack([p[t : t + 9, x : x + 9].ravel() for p, t, x in zip(pixels, top, left, strict=True)])
    assert probe_accuracy(boxes, labels.numpy()) > 0.9


def probe_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Least squares onto one-hot labels, fitted on one half and scored on the other."""
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    half = len(features) // 2
    weights = np.linalg.lstsq(features[:half], np.eye(10)[labels[:half]], rcond=None)[0]
    return float(((features[half:] @ weights).argmax(1) == labels[half:]).mean())


def test_too_small_an_image_says_what_is_allowed():
    with pytest.raises(UserError, match=r"8x8.*16 px"):
        constellations.render(10, (8, 8), split="train")
    with pytest.raises(ValueError, match="split"):
        constellations.render(10, (16, 16), split="validation")
