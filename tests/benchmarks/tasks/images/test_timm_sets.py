"""What timm reads under its own names, from files of each kind that are made here."""

from __future__ import annotations

import importlib.util
import io
import json
import socket
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from own_images import make_folder
from PIL import Image

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts import datasets
from benchmarks.plan.trials import Plan, Request
from benchmarks.tasks.own import find_own
from benchmarks.tasks.task import load_data

SMALL = dict(mixer="conv1x1", profile="quick", device="cpu", dim=8, depth=1, threads=1, seed=(0,))


@pytest.fixture(autouse=True)
def nothing_found_and_no_network(monkeypatch, forget_datasets):
    def refuse(*args, **kwargs):
        raise OSError("network unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def write_idx(folder: Path, prefix: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels in the format of MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    header = struct.pack(">IIII", 0x803, count, 28, 28)
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels.tobytes())
    return images, labels


def test_fashion_mnist_as_torchvision_lays_it_out(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    write_idx(raw, "train", 40)
    images, labels = write_idx(raw, "t10k", 20)
    request = Request(dataset="torch/fashion_mnist", data_dir=tmp_path, image_size=(28,), **SMALL)
    (trial,) = Plan(request).accuracy(all_seeds=False)
    data, info = load_data(trial, tmp_path, "cpu"), datasets.info_of(trial.dataset)
    assert (trial.dataset, info.classes[8], info.native_size) == ("torch/fashion_mnist", "Bag", 28)
    assert (len(data.train.targets), len(data.val.targets)) == (30, 10)
    test = data.read_test()
    assert torch.equal(test.inputs, torch.from_numpy(images)[:, None].expand(-1, 3, -1, -1))
    assert test.targets.tolist() == labels.tolist()


def test_characters_are_not_mirrored(tmp_path):
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / "MNIST" / "raw", prefix, 40)
    assert find_own("torch/mnist", tmp_path).augment_levels == ("none",)


def test_what_is_not_there_and_cannot_be_downloaded_is_told(tmp_path):
    with pytest.raises(UserError, match=r"torch/mnist is not in .*, and cannot be had \(RuntimeError"):
        find_own("torch/mnist", tmp_path)
    with pytest.raises(UserError, match=r"timm knows no torch/mnits \(Unknown torchvision dataset mnits\)"):
        find_own("torch/mnits", tmp_path)


@pytest.mark.parametrize(
    ("kind", "install"), [("tfds", "tensorflow-datasets"), ("wds", "webdataset"), ("hfds", "datasets")]
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, kind, install):
    there = {"tensorflow_datasets": True}  # of TensorFlow's two packages one alone
    monkeypatch.setattr(importlib.util, "find_spec", there.get)
    with pytest.raises(
        UserError, match=rf"{kind}/x needs a package that is not installed; type: pip install .*{install}$"
    ):
        find_own(f"{kind}/x", tmp_path)


def write_shards(folder: Path, counts: dict[str, int]) -> None:
    """WebDataset shards, one a split, with the info file that timm looks for."""
    folder.mkdir(parents=True)
    splits = {}
    for split, count in counts.items():
        with tarfile.open(folder / f"{split}-0.tar", "w") as tar:
            for i in range(count):
                file = io.BytesIO()
                Image.new("RGB", (20, 16), (10 * i, 0, 100 * (i % 2))).save(file, "JPEG")
                for ending, content in (("jpg", file.getvalue()), ("cls", str(i % 2).encode())):
                    member = tarfile.TarInfo(f"{i:03d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        splits[split] = dict(name=split, num_samples=count, filenames=[f"{split}-0.tar"], shard_lengths=[count])
    (folder / "_info.json").write_text(json.dumps({"splits": splits}))


@pytest.mark.parametrize(
    "splits", [{"train": 10, "validation": 4}, {"train": 10, "validation": 4, "test": 6}, {"train": 10}]
)
def test_shards_of_webdataset(tmp_path, splits):
    pytest.importorskip("webdataset")
    write_shards(tmp_path / "pets", splits)
    info = find_own("wds/pets", tmp_path)
    test = splits.get("test", splits.get("validation", 2))
    val = 4 if "test" in splits else 2
    assert (info.name, info.num_classes, info.native_size) == ("wds/pets", 2, 16)
    assert (info.test_images, info.val_images) == (test, val)
    (trial,) = Plan(Request(dataset="wds/pets", data_dir=tmp_path, **SMALL)).accuracy(all_seeds=False)
    images, labels = load_data(trial, tmp_path, "cpu").train
    assert torch.equal((images[:, 2].double().mean((1, 2)) > 50).long(), labels)


def test_a_torn_shard_is_told(tmp_path):
    pytest.importorskip("webdataset")
    write_shards(tmp_path / "pets", {"train": 10, "validation": 4})
    shard = tmp_path / "pets" / "train-0.tar"
    shard.write_bytes(shard.read_bytes()[:12_000])
    with pytest.raises(UserError, match=r"wds/pets: its train split has \d of 10 images; get it again"):
        find_own("wds/pets", tmp_path)


def test_a_folder_as_hugging_face_reads_it(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for split in ("train", "test"):
        make_folder(tmp_path / "pets" / split, {"cat": 5, "dog": 5})
    info = find_own(f"hfds/{tmp_path}/pets", tmp_path / "data")
    assert (info.name, info.classes) == ("hfds/pets", ("cat", "dog"))
    assert (info.train_images, info.val_images, info.test_images) == (8, 2, 10)
    assert find_own(f"hfds/{tmp_path}/pets", tmp_path / "data").source == info.source


def write_tfds(where: Path, name: str, splits: dict[str, int], label: bool = True) -> None:
    """A data set as TensorFlow datasets prepares it; timm first, as triton bears no TensorFlow before it."""
    pytest.importorskip("tensorflow")
    import timm.data  # noqa: F401

    tfds = pytest.importorskip("tensorflow_datasets")
    features = {"image": tfds.features.Image(shape=(None, None, 3))}
    features |= {"label": tfds.features.ClassLabel(names=["cat", "dog"])} if label else {}

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(count) for split, count in splits.items()}

        def _generate_examples(self, count):
            for i in range(count):
                example = {"image": np.full((16, 20, 3), 200 * (i % 2), np.uint8), "label": i % 2}
                yield i, {feature: example[feature] for feature in features}

    Prepared.name = name
    Prepared(data_dir=where).download_and_prepare()


@pytest.mark.parametrize(
    ("splits", "parts"),
    [
        ({"train": 10, "test": 4}, (8, 2, 4)),
        ({"train": 10, "validation": 4}, (8, 2, 4)),
        ({"train": 10, "validation": 4, "test": 6}, (10, 4, 6)),
        ({"train": 10}, (6, 2, 2)),
    ],
)
def test_what_tensorflow_datasets_prepared(tmp_path, splits, parts):
    write_tfds(tmp_path, "pets", splits)
    info = find_own("tfds/pets", tmp_path)
    assert (info.name, info.classes, info.native_size) == ("tfds/pets", ("cat", "dog"), 16)
    assert (info.train_images, info.val_images, info.test_images) == parts
    (trial,) = Plan(Request(dataset="tfds/pets", data_dir=tmp_path, **SMALL)).accuracy(all_seeds=False)
    images, labels = load_data(trial, tmp_path, "cpu").train
    assert torch.equal((images.double().mean((1, 2, 3)) > 50).long(), labels)
    assert find_own("tfds/pets", tmp_path).source == info.source


def test_what_is_no_prepared_set_of_classified_images_is_a_line(tmp_path):
    write_tfds(tmp_path, "plain", {"train": 4, "test": 4}, label=False)
    with pytest.raises(UserError, match=r"tfds/plain: its test split cannot be read \(KeyError: 'label'\); wanted: "):
        find_own("tfds/plain", tmp_path)
    with pytest.raises(UserError, match=r"cannot be had \(DatasetNotFoundError: Dataset plian not found.\)$"):
        find_own("tfds/plian", tmp_path)
    with pytest.raises(UserError, match=r"mnist is not prepared in .*; type: python -c .* t.load\('mnist', data_dir="):
        find_own("tfds/mnist", tmp_path)


def test_a_folder_without_classes_as_hugging_face_reads_it_is_a_line(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for split in ("train", "test"):
        make_folder(tmp_path / "pets" / split, {"cat": 5})
        for file in (tmp_path / "pets" / split / "cat").iterdir():
            file.rename(file.parent.parent / file.name)
        (tmp_path / "pets" / split / "cat").rmdir()
    with pytest.raises(UserError, match=r"hfds/pets"):
        find_own(f"hfds/{tmp_path}/pets", tmp_path / "data")
