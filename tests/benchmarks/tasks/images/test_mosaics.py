"""The mosaics: what they show, that they come again byte for byte, and that cells alone do not tell the class."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.contract.errors import UserError
from benchmarks.plan.trials import Plan, Request
from benchmarks.tasks.images import mosaics
from benchmarks.tasks.task import load_data
from benchmarks.training.train import train

SIZES = [(16, 16), (8, 8), (24, 24), (32, 32), (16, 32)]
SOME = 12_000


def halves(count: int, size: tuple[int, int] = (16, 16), **options) -> tuple[np.ndarray, np.ndarray]:
    """The middle of every half cell, (n, 3, half cells down, cells across), and labels; without noise."""
    images, labels = mosaics.render(count, size, split="train", **{"noise": 0.0, **options})
    down, across = size[0] // 8, size[1] // 4
    return images[:, :, down // 2 :: down, across // 2 :: across].numpy().astype(int), labels.numpy()


def test_the_stream_is_that_of_the_first_release():
    # records made with other images would not be comparable
    images, labels = mosaics.render(1100, (16, 16), split="train")
    digest = hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
    assert digest[:16] == "b944998e51d96274"


@pytest.mark.parametrize("size", SIZES)
def test_a_weave_is_its_pattern_shifted(size):
    cells, labels = halves(300, size)
    patterns = mosaics.weaves().numpy()
    for image, label in zip(cells, labels, strict=True):
        if label >= mosaics.WEAVES:
            continue
        assert (image == image[0]).all() and (image[0, ::2] == image[0, 1::2]).all()
        seen = np.sign(image[0, ::2] - 127.5)
        shifts = itertools.product(range(4), range(4))
        assert any((np.roll(patterns[label], shift, (0, 1)) == seen).all() for shift in shifts)


def test_weaves_differ_even_when_shifted_and_hold_as_much_light_as_dark():
    patterns = mosaics.weaves().numpy()
    assert (patterns.sum((1, 2)) == 0).all()
    for one, other in itertools.combinations(patterns, 2):
        assert not any((np.roll(one, shift, (0, 1)) == other).all() for shift in itertools.product(range(4), range(4)))


@pytest.mark.parametrize("size", SIZES)
def test_the_class_of_dominoes_is_the_colour_that_goes_with_the_one_asked_for(size):
    cells, labels = halves(400, size)
    colour = (255 * (mosaics.colours(mosaics.COLOURS).numpy() + 0.5)).round().astype(int)
    for image, label in zip(cells, labels, strict=True):
        if label < mosaics.WEAVES:
            continue
        tops, bottoms = (half.reshape(3, -1).T for half in (image[:, ::2], image[:, 1::2]))
        black = (bottoms == 0).all(1)
        asked = np.unique(tops[black], axis=0)
        assert black.sum() == mosaics.ASKED and len(asked) == 1
        answers = np.unique(bottoms[~black & (tops == asked).all(1)], axis=0)
        assert np.abs(answers - colour[label - mosaics.WEAVES]).max() <= 1 and len(answers) == 1
        grey = (np.ptp(tops, axis=1) == 0) & (np.ptp(bottoms, axis=1) == 0)
        assert (~grey).sum() == mosaics.KEYS * mosaics.COPIES + mosaics.ASKED


def test_no_cell_tells_which_weave_it_is():
    cells, labels = halves(SOME)
    light = (cells[:, 0, ::2] > 127).reshape(len(cells), -1)
    for place in range(16):
        table = [[(light[labels == c, place] == side).sum() for side in (0, 1)] for c in range(mosaics.WEAVES)]
        assert stats.chi2_contingency(table).pvalue > 1e-4
    assert (light[labels < mosaics.WEAVES].sum(1) == 8).all()


def test_what_is_asked_and_where_is_independent_of_the_class():
    cells, labels = halves(SOME)
    kind = labels >= mosaics.WEAVES
    cells, labels = cells[kind], labels[kind]
    black = (cells[:, :, 1::2] == 0).all(1).reshape(len(cells), -1)
    assert stats.chi2_contingency([black[labels == c].sum(0) for c in np.unique(labels)]).pvalue > 1e-4
    first = cells[:, :, ::2].reshape(len(cells), 3, -1)[np.arange(len(cells)), :, black.argmax(1)]
    _, which = np.unique(first, axis=0, return_inverse=True)
    table = np.zeros((mosaics.COLOURS, mosaics.KEYS))
    np.add.at(table, (labels - mosaics.WEAVES, which.ravel()), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_sums_over_cells_stay_at_the_ceiling_of_no_mixing():
    """By contents alone, one of three weaves and one of three lower halves, or a little more.

    Sums of what is asked and of what is in view can favour some pairs; by places too, one shift of each weave.
    """
    cells, labels = halves(SOME)
    flat = np.moveaxis(cells, 1, -1).reshape(len(cells), 4, 2, 4, 3).transpose(0, 1, 3, 2, 4).reshape(-1, 6)
    _, content = np.unique(flat // 8, axis=0, return_inverse=True)
    bags = np.zeros((len(cells), content.max() + 1))
    np.add.at(bags, (np.repeat(np.arange(len(cells)), 16), content.ravel()), 1)
    ceiling = 0.1 + 0.7 / mosaics.KEYS
    assert probe_accuracy(bags, labels) < ceiling + 0.04
    places = np.concatenate([bags, cells.reshape(len(cells), -1) / 255], axis=1)
    assert probe_accuracy(places, labels) < 0.35


def test_the_probe_would_notice():
    """The same probe reads the class from pairs of neighbours, so its result above means something."""
    cells, labels = halves(SOME)
    grey = np.sign(cells[:, 0, ::2] - 127.5)
    pairs = [(grey * np.roll(grey, shift, axis)).mean((1, 2)) for shift in (1, 2) for axis in (1, 2)]
    weave = labels < mosaics.WEAVES
    assert probe_accuracy(np.stack(pairs, 1)[weave], labels[weave]) > 0.95


def probe_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Least squares onto one-hot labels, fitted on one half and scored on the other."""
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    half = len(features) // 2
    weights = np.linalg.lstsq(features[:half], np.eye(10)[labels[:half]], rcond=None)[0]
    return float(((features[half:] @ weights).argmax(1) == labels[half:]).mean())


def test_splits_and_seeds_share_no_image():
    seen: set[bytes] = set()
    for split, seed in (("train", 0), ("test", 0), ("train", 1), ("test", 1)):
        images, _ = mosaics.render(2000, (16, 16), split=split, seed=seed)
        new = {image.numpy().tobytes() for image in images}
        assert len(new) == 2000 and not new & seen
        seen |= new


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 60), height=st.integers(8, 50), width=st.integers(8, 50))
def test_any_size_is_drawn_balanced_and_reproducible(count, height, width):
    images, labels = mosaics.render(count, (height, width), split="test", seed=3)
    assert images.shape == (count, 3, height, width) and images.dtype == torch.uint8
    assert labels.shape == (count,) and labels.dtype == torch.int64
    assert labels.bincount(minlength=10).max() - labels.bincount(minlength=10).min() <= 1
    again = mosaics.render(count, (height, width), split="test", seed=3)
    assert torch.equal(images, again[0]) and torch.equal(labels, again[1])


def test_too_small_an_image_says_what_is_allowed():
    with pytest.raises(UserError, match=r"7x16.*8 px"):
        mosaics.render(10, (7, 16), split="train")
    with pytest.raises(UserError, match=r"4x4.*mosaics"):
        Plan(Request(image_size=(4,), patch_size=4, profile="quick", device="cpu", dataset="mosaics")).accuracy()
    with pytest.raises(ValueError, match="split"):
        mosaics.render(10, (16, 16), split="validation")


@pytest.mark.slow
def test_the_quick_profile_tells_mixers_apart(tmp_path):
    """One seed: about the ceiling of no mixing without it, above with a transform, and more with attention."""

    def held_out_accuracy(mixer: str) -> float:
        request = Request(mixer=mixer, dataset="mosaics", profile="quick", device="cpu", threads=1)
        (trial,) = Plan(request).accuracy(all_seeds=False)
        outcome = train(trial, load_data(trial, tmp_path, "cpu"), tmp_path / f"{mixer}.pt")
        return outcome.metrics["val_top1_percent"]

    without, transform, attending = (held_out_accuracy(mixer) for mixer in ("conv1x1", "dct", "attention"))
    assert without < 38 and without + 12 < transform and transform + 12 < attending
