from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from benchmarks.contract.errors import UserError
from benchmarks.plan.trials import Plan, Request
from benchmarks.tasks.images import constellations
from benchmarks.tasks.task import load_data
from benchmarks.training.train import train

SIZES = [(16, 16), (24, 24), (32, 32), (48, 48), (16, 32), (19, 16)]


def clean(count: int, size: tuple[int, int], **options) -> tuple[np.ndarray, np.ndarray]:
    """Images without noise as masks of dots, bool (n, h, w), and labels."""
    images, labels = constellations.render(count, size, split="train", noise=0.0, **options)
    return images[:, 0].numpy() == 255, labels.numpy()


def test_ten_classes_span_the_box_and_keep_their_dots_apart():
    classes = np.array(constellations.classes())
    assert classes.shape == (10, 5, 2)
    assert (classes.min(1) == 0).all() and (classes.max(1) == 7).all()
    gaps = np.abs(classes[:, :, None] - classes[:, None]).max(-1)  # Chebyshev
    assert gaps[:, ~np.eye(5, dtype=bool)].min() >= 2
    assert all(list(map(tuple, dots)) == sorted(map(tuple, dots)) for dots in classes.tolist())
    shared = [len(set(a) & set(b)) for a, b in itertools.combinations(constellations.classes(), 2)]
    assert max(shared) <= 3


def test_classes_are_those_of_the_first_release():
    # records made with other classes would not be comparable
    assert constellations.classes()[0] == ((0, 5), (2, 3), (4, 4), (5, 0), (7, 7))
    assert constellations.classes()[9] == ((0, 7), (1, 1), (2, 7), (3, 0), (7, 5))


@pytest.mark.parametrize("size", SIZES)
def test_each_image_shows_its_class_somewhere(size):
    masks, labels = clean(300, size)
    side = constellations.dot_side_px(*size)
    steps = [int(unit * min(size) / 16 + 0.5) for unit in range(8)]
    for mask, label in zip(masks, labels, strict=True):
        top, left = np.flatnonzero(mask.any(1))[0], np.flatnonzero(mask.any(0))[0]
        expected = np.zeros_like(mask)
        for row, column in constellations.classes()[label]:
            y, x = top + steps[row], left + steps[column]
            expected[y : y + side, x : x + side] = True
        assert (mask == expected).all()


@pytest.mark.parametrize("size", SIZES)
def test_dots_are_whole_and_apart_at_every_size(size):
    masks, labels = clean(200, size)
    side = constellations.dot_side_px(*size)
    assert (masks.sum((1, 2)) == 5 * side**2).all()
    assert max(ndimage.label(mask)[1] for mask in masks) == min(ndimage.label(mask)[1] for mask in masks) == 5
    assert len(set(labels)) == 10


def test_no_2x2_patch_holds_two_dots_at_16_px():
    masks, _ = clean(3000, (16, 16))
    windows = np.lib.stride_tricks.sliding_window_view(masks, (2, 2), axis=(1, 2))
    assert windows.sum((-1, -2)).max() == 1


def test_place_is_uniform_and_independent_of_the_class():
    masks, labels = clean(20_000, (16, 16))
    top, left = masks.any(2).argmax(1), masks.any(1).argmax(1)
    assert constellations.places(16, 16) == (9, 9)
    table = np.zeros((10, 9, 9))
    np.add.at(table, (labels, top, left), 1)
    assert stats.chisquare(table.sum(0).ravel()).pvalue > 1e-3
    assert stats.chi2_contingency(table.reshape(10, 81)).pvalue > 1e-3


@pytest.mark.parametrize("size", SIZES)
def test_places_reach_from_edge_to_edge(size):
    masks, _ = clean(2000, size)
    for axis, (length, places) in enumerate(zip(size, constellations.places(*size), strict=True)):
        first = masks.any(2 - axis).argmax(1)
        assert set(first) == set(range(places))
        assert places - 1 + constellations.box_side_px(*size) == length


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


def test_sums_of_single_tokens_hardly_tell_the_class():
    """A linear probe on row sums, column sums, moments and a histogram of values stays under twice chance.

    They are all that a net which cannot mix tokens has after the pooling.
    """
    images, labels = constellations.render(12_000, (16, 16), split="train")
    pixels = images[:, 0].numpy().astype(np.float64) / 255
    histogram = np.stack([(pixels > t).mean((1, 2)) for t in np.linspace(0.2, 0.95, 12)], axis=1)
    coordinate = np.linspace(-1, 1, 16)
    moments = [np.einsum("nhw,h,w->n", pixels, coordinate**a, coordinate**b) for a in range(3) for b in range(3)]
    features = np.concatenate([histogram, np.stack(moments, 1)], axis=1)
    assert probe_accuracy(features, labels.numpy()) < 0.2
    patches = np.sort(pixels.reshape(-1, 8, 2, 8, 2).swapaxes(2, 3).reshape(-1, 64, 4), axis=2)
    features = np.concatenate([features, patches.mean(1), (patches**2).mean(1), (patches**3).mean(1)], axis=1)
    assert probe_accuracy(features, labels.numpy()) < 0.2


def test_absolute_places_tell_little():
    """A weight for every pixel and class: the most that a sum over tokens could learn, smooth or not."""
    images, labels = constellations.render(12_000, (16, 16), split="train")
    pixels = images[:, 0].numpy().astype(np.float64) / 255
    assert probe_accuracy(pixels.reshape(len(pixels), -1), labels.numpy()) < 0.35


def test_the_probe_would_notice():
    """The same probe reads the class where the place is fixed, so its chance result above means something."""
    images, labels = constellations.render(12_000, (16, 16), split="train")
    pixels = images[:, 0].numpy().astype(np.float64) / 255
    masks, _ = clean(12_000, (16, 16))
    top, left = masks.any(2).argmax(1), masks.any(1).argmax(1)
    boxes = np.stack([p[t : t + 8, x : x + 8].ravel() for p, t, x in zip(pixels, top, left, strict=True)])
    assert probe_accuracy(boxes, labels.numpy()) > 0.9


@pytest.mark.slow
def test_only_nets_that_mix_tokens_solve_it(tmp_path):
    """The quick profile with twice the images, one seed: about chance without mixing, far above with it."""

    def held_out_accuracy(mixer: str, norm: str) -> float:
        (trial,) = Plan(
            Request(
                mixer=mixer,
                norm=norm,
                dataset="constellations",
                train_images=12_000,
                profile="quick",
                device="cpu",
                threads=1,
            )
        ).accuracy(all_seeds=False)
        assert (trial.dataset, trial.image_size, trial.patch_size) == ("constellations", 16, 2)
        outcome = train(trial, load_data(trial, tmp_path, "cpu"), tmp_path / f"{mixer}.pt")
        return outcome.metrics["test_top1_percent"]

    assert held_out_accuracy("conv1x1", "token") < 14
    assert held_out_accuracy("attention", "image") > 30
    assert held_out_accuracy("fft_complex", "image") > 18


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
