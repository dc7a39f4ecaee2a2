"""A trained net on another folder of images."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import load_net
from benchmarks.cli import main as cli
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.finished.evaluate import Share, evaluate_on
from benchmarks.tasks.own import find_own
from benchmarks.tasks.task import build_net
from benchmarks.training.weights import save_weights
from tests.benchmarks.synthetic import make_trial

CLASSES = ("cat", "dog", "pine tree", "mouse", "bird", "horse", "ship", "truck", "frog", "deer")


def put_net(results: Path, classes: tuple[str, ...] | None = CLASSES, **changes) -> str:
    """A results folder with the weights of a net that was not trained; returns its id."""
    trial = make_trial("accuracy", "dct", patch_size=4, dim=8, depth=1, **changes)
    info = dataclasses.replace(DATASETS["constellations"], classes=classes)
    save_weights(results / "checkpoints" / f"accuracy-{trial.id()}.safetensors", build_net(trial), trial, info)
    (results / "records").mkdir(exist_ok=True)
    return trial.id()


def put_images(folder: Path, counts: dict[str, int], side: int = 16) -> None:
    draw = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    put_net(tmp_path / "results")
    put_images(tmp_path / "photos", {"Cat": 4, "pine_tree": 5, "unicorn": 3})
    return tmp_path


def test_classes_are_matched_by_name_and_the_share_is_the_nets(place):
    net = load_net(place / "results", "dct")
    found = evaluate_on(net, f"folder:{place / 'photos'}", place / "data")
    files = sorted([*(place / "photos" / "Cat").iterdir(), *(place / "photos" / "pine_tree").iterdir()])
    assert sorted(found.files) == [str(path) for path in files]
    images = torch.from_numpy(np.stack([np.asarray(Image.open(path)) for path in found.files])).permute(0, 3, 1, 2)
    truth = [0 if "Cat" in path else 2 for path in found.files]
    with torch.no_grad():
        order = net(images).argsort(1, descending=True).numpy()
    assert found.labels.tolist() == truth
    np.testing.assert_array_equal(found.best, order[:, :5])
    assert found.top1.hits == sum(a == b for a, b in zip(order[:, 0], truth, strict=True))
    assert found.top5 is not None and found.top5.hits == sum(b in a for a, b in zip(order[:, :5], truth, strict=True))
    assert dict(found.unknown) == {"unicorn": 3} and found.by_class["pine tree"].n == 5


def test_the_interval_is_wilsons():
    share = Share(8, 10)
    z, p, n = 1.959964, 0.8, 10
    middle, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert share.interval == pytest.approx([100 * (middle + s * half) / (1 + z**2 / n) for s in (-1, 1)], abs=1e-4)


def test_what_the_command_says_and_writes(place, capsys):
    words = ["evaluate", "--net=dct", f"--results={place / 'results'}", f"--dataset=folder:{place / 'photos'}"]
    words += [f"--data-dir={place / 'data'}", "--device=cpu"]
    assert cli.main([*words, f"--out={place / 'out'}"]) == 0
    said = capsys.readouterr().out
    assert "on folder:photos: 9 images of 2 of its 10 classes" in said and "n = 9" in said
    assert "left out: unicorn (3 images)" in said and "no images of: dog, mouse, bird" in said
    with (place / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 and {row["class"] for row in rows} == {"cat", "pine tree"}
    with (place / "out" / "classes.csv").open() as file:
        classes = list(csv.DictReader(file))
    assert sum(int(row["right"]) for row in classes) == sum(row["class"] == row["predicted"] for row in rows)
    assert not list((place / "results" / "records").iterdir())


def test_of_a_folder_with_a_test_split_that_is_taken(place):
    put_images(place / "divided" / "train", {"cat": 2, "dog": 2})
    put_images(place / "divided" / "test", {"cat": 3})
    found = evaluate_on(load_net(place / "results", "dct"), f"folder:{place / 'divided'}", place / "data")
    assert len(found.files) == 3 and found.data == "folder:divided, its test images"


def test_a_net_whose_classes_have_no_names_takes_their_numbers(place):
    put_net(place / "other", None)
    put_images(place / "numbers", {"0": 2, "7": 3, "x": 1})
    found = evaluate_on(load_net(place / "other", "dct"), f"folder:{place / 'numbers'}", place / "data")
    assert sorted(found.labels.tolist()) == [0, 0, 7, 7, 7]


def test_images_of_another_size_are_brought_to_the_nets(place):
    put_images(place / "large", {"cat": 2}, side=50)
    found = evaluate_on(load_net(place / "results", "dct"), f"folder:{place / 'large'}", place / "data")
    assert found.best.shape == (2, 5)


def refused(capsys, *words: str) -> str:
    assert cli.main(["evaluate", "--device=cpu", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_what_is_wrong_is_one_line(place, capsys):
    given = [f"--results={place / 'results'}", f"--data-dir={place / 'data'}"]
    assert "benchmarks evaluate --net dct --dataset folder:PATH" in refused(capsys, *given)
    given.append("--net=dct")
    for dataset in ([], ["--dataset=cifar100"]):
        assert "evaluate takes images of your own: folder:PATH" in refused(capsys, *given, *dataset)
    put_images(place / "strange", {"unicorn": 1, "griffin": 1})
    line = refused(capsys, *given, f"--dataset=folder:{place / 'strange'}")
    assert "no class of folder:strange is one of the net's; it has griffin, unicorn, the net cat, dog" in line
    (place / "photos" / "Cat" / "torn.png").write_bytes(b"\x89PNG")
    assert "torn.png cannot be read" in refused(capsys, *given, f"--dataset=folder:{place / 'photos'}")
    assert "--seed lists 2 seeds" in refused(capsys, *given, "--seed=0,1")
    assert "has seed=4" in refused(capsys, *given, "--seed=4")


def test_the_images_that_a_net_was_trained_on_are_refused(place, capsys):
    source = find_own(f"folder:{place / 'photos'}", place / "data").source
    name = put_net(place / "own", dataset_source=source)
    given = [f"--results={place / 'own'}", f"--data-dir={place / 'data'}", f"--dataset=folder:{place / 'photos'}"]
    assert (
        f"is what this net was trained on; what its test images came to is in its record, accuracy-{name}"
        in refused(capsys, *given, f"--net={name[:6]}")
    )
