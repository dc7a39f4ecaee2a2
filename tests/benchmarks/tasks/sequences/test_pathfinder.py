"""Pathfinder's images have the properties of their description, and nothing simple in them tells the class."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.contract.errors import UserError
from benchmarks.tasks.sequences import pathfinder
from benchmarks.tasks.sequences.parts import kept
from benchmarks.tasks.sequences.parts.pathfinder_images import LOOKS, Look, Picture, pictures, render, stamps_of

SIZES, PADDLES = (32, 64, 128), (6, 9, 14)
PADDLES_OF = {"pathfinder": 14, "pathfinder_middle": 9, "pathfinder_easy": 6}


@pytest.fixture(scope="module", params=list(itertools.product(SIZES, PADDLES)), ids=str)
def drawn(request: pytest.FixtureRequest) -> tuple[Look, int, list[Picture]]:
    """A look, paddles a curve, and some of its pictures."""
    size, paddles = request.param
    return LOOKS[size], paddles, list(pictures("test", LOOKS[size], paddles, range(12)))


def points(look: Look, picture: Picture, curve: int) -> NDArray[np.float64]:
    """Points along the middle lines of a curve's paddles, (n, 2)."""
    stamps = stamps_of(look, picture.margin)
    steps = np.linspace(0, look.paddle, 6)[:, None]
    found = []
    for direction, row, column in picture.curves[curve]:
        if direction < 360:  # a curve's first paddle lies ahead of its tip, all others behind theirs
            angle = math.radians(direction)
        else:
            down, across = stamps.ends[direction]
            angle = math.atan2(down, across) + math.pi
        found.append(np.array([row, column]) + steps * np.array([math.sin(angle), math.cos(angle)]))
    return np.concatenate(found)


def test_two_long_curves_and_short_ones(drawn: tuple[Look, int, list[Picture]]) -> None:
    look, paddles, images = drawn
    total = {32: 20, 64: 22, 128: 35}[look.size]
    for picture in images:
        assert [len(curve) for curve in picture.curves[:2]] == [paddles, paddles]
        assert {len(curve) for curve in picture.curves[2:]} <= {paddles // 3}
        assert len(picture.curves) - 2 <= total // (paddles // 3)
    assert sum(len(picture.curves) > 2 for picture in images) > len(images) / 2


def test_where_the_curves_begin(drawn: tuple[Look, int, list[Picture]]) -> None:
    look, _, images = drawn
    for picture in images:
        (first, _), (second, _) = picture.tips
        assert all(2 * look.seed_distance <= place < look.size - 2 * look.seed_distance for place in first)
        assert abs(math.dist(first, second) - look.seed_distance) < 0.75


def test_markers_are_on_one_curve_or_on_both(drawn: tuple[Look, int, list[Picture]]) -> None:
    _, _, images = drawn
    seen = set()
    for picture in images:
        ((a, end_of_a), (b, end_of_b)), label = picture.tips, picture.label
        assert picture.markers in ([(a, end_of_a), (b, end_of_b)] if label else [(a, end_of_b), (b, end_of_a)])
        seen.add((label, picture.markers[0] == a))
    assert len(seen) >= 3


def test_curves_keep_apart(drawn: tuple[Look, int, list[Picture]]) -> None:
    look, _, images = drawn
    for picture in images:
        curves = [points(look, picture, index) for index in range(len(picture.curves))]
        for one, other in itertools.combinations(curves, 2):
            assert np.hypot(*(one[:, None] - other).transpose(2, 0, 1)).min() >= 0.95 * picture.margin


def test_paddles_follow_each_other(drawn: tuple[Look, int, list[Picture]]) -> None:
    look, _, images = drawn
    for picture in images:
        length, gap = look.paddle, 2 * picture.margin
        for index, curve in enumerate(picture.curves):
            lines = points(look, picture, index).reshape(len(curve), 6, 2)
            lines[1:] = lines[1:, ::-1]  # from the inner end to the outer one
            gaps = np.hypot(*(lines[1:, 0] - lines[:-1, -1]).T)
            assert np.abs(gaps - gap).max() <= 2.1, gaps
            ways = lines[:, -1] - lines[:, 0]
            turns = (ways[1:] * ways[:-1]).sum(1) / length**2
            assert np.degrees(np.arccos(turns.clip(-1, 1))).max() <= 90 / look.continuity + 1e-6


def test_nothing_leaves_the_image(drawn: tuple[Look, int, list[Picture]]) -> None:
    look, _, images = drawn
    for picture in images:
        for index in range(len(picture.curves)):
            along = points(look, picture, index)
            assert along.min() >= 1 and along.max() <= look.size - 2


def test_brightest_of_what_is_there(drawn: tuple[Look, int, list[Picture]]) -> None:
    look, _, images = drawn
    whole = render(look, images)
    for index in (0, 1):  # both curves, whatever the class
        one = render(look, [dataclasses.replace(p, curves=[*p.curves[:2]][index : index + 1] * 2) for p in images])
        assert (whole >= one).all() and ((one > 0.5).sum((1, 2)) > 0).all()
    row, column = np.array([picture.markers for picture in images]).transpose(2, 1, 0)
    assert (whole[np.arange(len(images)), row, column] >= 0.98).all()


def test_distractors_are_brighter_where_the_arena_has_them_so() -> None:
    look = LOOKS[32]
    images = [picture for picture in pictures("bright", look, 9, range(20)) if len(picture.curves) > 4]
    hidden = [dataclasses.replace(picture, markers=((0, 0), (0, 0))) for picture in images]
    curves = render(look, [dataclasses.replace(picture, curves=picture.curves[:2]) for picture in hidden])[:, 4:, 4:]
    both = render(look, hidden)[:, 4:, 4:]
    assert both.max((1, 2)).mean() > 1.2 * curves.max((1, 2)).mean()


@pytest.mark.parametrize("name", PADDLES_OF)
def test_each_name_has_its_length_of_curves(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"benchmarks.tasks.sequences.{name}")
    tokens, labels = module.read("train", 8, 1024, tmp_path)
    assert (module.VOCABULARY, module.NUM_CLASSES, module.LEAST_LENGTH, module.LONGEST) == (257, 2, 1024, 16384)
    expected = list(pictures(f"pathfinder-{PADDLES_OF[name]}-32px-train-1", LOOKS[32], PADDLES_OF[name], range(8)))
    assert labels.tolist() == [picture.label for picture in expected]
    same = torch.from_numpy(render(LOOKS[32], expected)).flatten(1)
    assert tokens.dtype == torch.int16 and torch.corrcoef(torch.stack([tokens.flatten(), same.flatten()]))[0, 1] > 0.999


@pytest.mark.parametrize("length", (1024, 4096, 16384))
def test_tokens_are_grey_values_and_none_is_padding(length: int, tmp_path: Path) -> None:
    tokens, labels = pathfinder.read("test", 4, length, tmp_path)
    assert tokens.shape == (4, length) and tokens.dtype == torch.int16
    assert tokens.min() == 1 and tokens.max() <= 256
    assert labels.shape == (4,) and labels.dtype == torch.int64


def test_the_same_images_everywhere(tmp_path: Path) -> None:
    tokens, labels = pathfinder.read("train", 64, 1024, tmp_path)
    assert (zlib.crc32(tokens.numpy().tobytes()), labels.sum().item()) == (840703195, 27)


def test_more_images_begin_with_the_same(tmp_path: Path) -> None:
    few, labels = pathfinder.read("train", 10, 1024, tmp_path / "a")
    more, all_labels = pathfinder.read("train", 300, 1024, tmp_path / "a")
    at_once, _ = pathfinder.read("train", 300, 1024, tmp_path / "b")
    assert torch.equal(few, more[:10]) and torch.equal(labels, all_labels[:10]) and torch.equal(more, at_once)
    again, _ = pathfinder.read("train", 10, 1024, tmp_path / "a")
    assert torch.equal(again, few)


def test_splits_share_no_image(tmp_path: Path) -> None:
    train, _ = pathfinder.read("train", 50, 1024, tmp_path)
    test, _ = pathfinder.read("test", 50, 1024, tmp_path)
    assert len(torch.unique(torch.cat([train, test]), dim=0)) == 100


def test_images_are_drawn_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        first, _ = pathfinder.read("train", 20, 1024, tmp_path)
    assert [message for message in caplog.messages if "20 examples kept" in message and "MB" in message]
    monkeypatch.setattr(pathfinder, "draw", None)
    second, _ = pathfinder.read("train", 20, 1024, tmp_path)
    assert torch.equal(first, second)


@pytest.mark.parametrize("damage", ("cut", "flipped", "empty"))
def test_a_damaged_file_is_made_anew(damage: str, tmp_path: Path) -> None:
    first, labels = pathfinder.read("train", 20, 1024, tmp_path)
    (path,) = (tmp_path / "cache").glob("*.npz")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 255
    path.write_bytes({"cut": content[:middle], "flipped": content, "empty": b""}[damage])
    second, again = pathfinder.read("train", 20, 1024, tmp_path)
    assert torch.equal(first, second) and torch.equal(labels, again)
    assert kept.read_kept(path)["images"].shape == (20, 32, 32)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be kept in .*; type --data-dir"):
        pathfinder.read("train", 5, 1024, tmp_path)


@pytest.mark.parametrize("length", (1, 1000, 2048, 65536))
def test_other_lengths_are_refused(length: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"--length {length}: .*1024 .*4096 .*16384 .*; type --length 1024"):
        pathfinder.read("train", 5, length, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", SIZES)
def test_the_distance_of_the_markers_is_read_from_the_image(size: int) -> None:
    look = LOOKS[size]
    name, truth = "distance", []
    for picture in pictures(name, look, 9, range(40)):
        truth.append(math.dist(*picture.markers))
    tokens = pathfinder.draw(name, look, 9, range(40))["images"].reshape(40, -1).astype(np.int16) + 1
    off = np.abs(pathfinder.marker_distance(tokens) - np.array(truth))
    assert np.median(off) < 0.5 and (off < 2).mean() >= 0.75


def test_baselines_read_what_they_say() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 400)
    images = np.zeros((400, 32, 32), dtype=np.int16)
    marker = np.rint(255 / 1.427451)
    for image, label in zip(images, labels, strict=True):
        for column in (5, 12 + 10 * label):
            image[14:19, column - 2 : column + 3] = marker
    tokens = torch.from_numpy(images.reshape(400, -1) + 1)
    split = (tokens, torch.from_numpy(labels))
    found = pathfinder.baselines(split, split)
    assert found["chance"] == 50 and found["marker_distance"] == 100 and found["bag_of_tokens"] < 65
    assert found["majority"] == 100 * max(labels.mean(), 1 - labels.mean())
    dark = (torch.where(split[1][:, None] > 0, tokens // 2 + 1, tokens), split[1])
    assert pathfinder.baselines(dark, dark)["bag_of_tokens"] == 100


def held_out_accuracy(features: torch.Tensor, labels: torch.Tensor) -> float:
    """Of logistic regression on standardised features, fitted on the first three quarters."""
    cut = 3 * len(labels) // 4
    features = (features - features[:cut].mean(0)) / (features[:cut].std(0) + 1e-6)
    weights = torch.zeros(features.shape[1] + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=30)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = features[:cut] @ weights[:-1] + weights[-1]
        value = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[:cut].float())
        (value + 0.01 * weights.square().sum()).backward()
        return value

    optimizer.step(loss)
    said = features[cut:] @ weights[:-1] + weights[-1] > 0
    return float((said == labels[cut:]).float().mean())


def test_the_readout_finds_what_is_there() -> None:
    features = torch.randn(800, 20, generator=torch.Generator().manual_seed(0))
    assert held_out_accuracy(features, (features[:, 3] > 0).long()) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("paddles", PADDLES)
def test_nothing_simple_tells_the_class(paddles: int, tmp_path: Path) -> None:
    count = 6000
    tokens, labels = pathfinder.read("train", count, 1024, tmp_path, paddles)
    grey = (tokens - 1).float() / 255
    ink, brightness = (grey > 0.1).float().mean(1), grey.mean(1)
    assert abs(labels.double().mean() - 0.5) < 4 * 0.5 / math.sqrt(count)
    assert 0.13 < ink.mean() < 0.19  # the original code: 0.148 with curves of 14
    for feature in (ink, brightness, grey.amax(1)):
        of_one, of_other = feature[labels == 0], feature[labels == 1]
        error = math.sqrt(float(of_one.var() / len(of_one) + of_other.var() / len(of_other)))
        assert abs(float(of_one.mean() - of_other.mean())) < 4 * error
    for features in (grey, torch.stack([ink, brightness], dim=1)):
        assert abs(held_out_accuracy(features, labels) - 0.5) < 4 * 0.5 / math.sqrt(count / 4)


@pytest.mark.slow
def test_distances_between_the_markers() -> None:
    images = list(pictures("far", LOOKS[32], 14, range(2000)))
    far = np.array([math.dist(*picture.markers) for picture in images])
    assert far.min() >= 2 and far.max() < 29 and 11 < far.mean() < 14  # the original code: 2 to 19, mean 11.8
    central = [min(max(abs(place - 15.5) for place in tip) for tip, _ in picture.tips) for picture in images]
    assert max(central) <= 1.5
