"""Images as sequences of grey pixels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import CIFAR100_CLASSES
from benchmarks.tasks.images import cifar
from benchmarks.tasks.images.common import resize
from benchmarks.tasks.sequences import pixels, pixels100


def write(folder: Path, layout: cifar.Layout, label_bytes: int, monkeypatch) -> dict[str, np.ndarray]:
    """A small set in a binary layout, taken for the published one: the records by split, labels before pixels."""
    folder.mkdir()
    records = {}
    for seed, (key, file) in enumerate(layout.files.items()):
        made = np.random.RandomState(seed).randint(0, 256, (20, label_bytes + cifar.PIXELS)).astype(np.uint8)
        made[:, label_bytes - 1] = np.arange(20) * (5 if label_bytes == 2 else 1) % layout.num_classes
        (folder / file.name).write_bytes(made.tobytes())
        digest = hashlib.sha1(made.tobytes()).hexdigest()
        monkeypatch.setitem(layout.files, key, cifar.SourceFile(file.name, digest, "sha1", made.size))
        records[key] = made
    return records


@pytest.fixture
def ten(tmp_path, monkeypatch):
    layout = cifar.CIFARS["cifar10"].layouts["cifar-10-batches-bin"]
    return tmp_path, write(tmp_path / "cifar-10-batches-bin", layout, 1, monkeypatch)


@pytest.fixture
def hundred(tmp_path, monkeypatch):
    layout = cifar.CIFARS["cifar100"].layouts[cifar.BINARY_FOLDER]
    return tmp_path, write(tmp_path / cifar.BINARY_FOLDER, layout, 2, monkeypatch)


def pillow_grey(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L")).astype(int)


def test_tokens_are_the_brightness_of_the_pixels_row_by_row(ten):
    data_dir, records = ten
    tokens, labels = pixels.read("test", None, 1024, data_dir)
    assert tokens.shape == (20, 1024) and tokens.dtype == torch.int16 and labels.dtype == torch.int64
    assert int(tokens.min()) >= 1 and int(tokens.max()) <= pixels.VOCABULARY - 1
    assert labels.tolist() == (np.arange(20) % 10).tolist()
    for row, record in zip(tokens, records["test"], strict=True):
        theirs = pillow_grey(record[1:].reshape(3, 32, 32))
        assert np.abs(row.view(32, 32).numpy() - 1 - theirs).max() <= 1  # Pillow rounds


def test_the_training_split_is_all_five_files(ten):
    tokens, _ = pixels.read("train", None, 1024, ten[0])
    assert len(tokens) == 100
    assert torch.equal(pixels.read("train", 7, 1024, ten[0])[0], tokens[:7])


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
def test_grey_stays_as_it_is(level):
    assert pixels.grey(torch.full((1, 3, 2, 3), level, dtype=torch.uint8)).flatten().tolist() == [level] * 6


def test_colours_have_the_weights_of_itu_601():
    pure = torch.diag(torch.tensor([255, 255, 255], dtype=torch.uint8)).view(3, 3, 1, 1)
    assert pixels.grey(pure).flatten().tolist() == [76, 149, 29]  # as tf.image.rgb_to_grayscale: cut, not rounded


def test_256_tokens_are_the_images_of_16_pixels(ten):
    data_dir, records = ten
    tokens, _ = pixels.read("test", None, 256, data_dir)
    images = torch.from_numpy(records["test"][:, 1:].reshape(-1, 3, 32, 32))
    assert torch.equal(tokens - 1, pixels.grey(resize(images, (16, 16))).flatten(1).to(torch.int16))


def test_another_length_is_refused_with_those_that_are_there(ten):
    with pytest.raises(UserError, match=r"--length is 512; grey pixels allow 256 .* and 1024"):
        pixels.read("test", None, 512, ten[0])


def test_superclasses_are_those_that_the_classes_are_known_to_have(hundred):
    _, labels = pixels100.read("test", None, 1024, hundred[0])
    assert labels.tolist() == [pixels100.SUPERCLASS[5 * k % 100] for k in range(20)]
    of = {name: pixels100.SUPERCLASS[k] for k, name in enumerate(CIFAR100_CLASSES)}
    assert len({of[name] for name in ("beaver", "dolphin", "otter", "seal", "whale")}) == 1
    assert len({of[name] for name in ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree")}) == 1
    assert np.bincount(pixels100.SUPERCLASS).tolist() == [5] * 20


def test_the_bag_finds_brightness(ten):
    labels = torch.arange(400) % 10
    bright = (20 * labels[:, None] + torch.arange(16) % 20 + 1).to(torch.int16)
    assert pixels.baselines((bright, labels), (bright, labels)) == {
        "chance": 10.0, "majority": 10.0, "bag_of_tokens": 100.0,
    }  # fmt: skip


def test_a_part_of_the_files_is_told(ten):
    (ten[0] / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(UserError, match=r"lacks data_batch_3.bin"):
        pixels.read("train", None, 1024, ten[0])


def test_the_superclasses_of_the_real_images(cifar100_dir):
    for split, count in (("train", 50_000), ("test", 10_000)):
        records = np.fromfile(cifar100_dir / f"{split}.bin", np.uint8).reshape(-1, cifar.RECORD_BYTES)
        assert len(records) == count
        assert (np.array(pixels100.SUPERCLASS)[records[:, 1]] == records[:, 0]).all()
