from __future__ import annotations

import hashlib
import pickle
import shutil
import socket
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import DATASETS
from benchmarks.contract.trial import Trial
from benchmarks.tasks import archive as archives
from benchmarks.tasks.images import cifar
from benchmarks.tasks.images.common import hold_out, labels_of_test, reader_of, resize
from benchmarks.tasks.task import batches, load_data

DRAWN = [name for name, info in DATASETS.items() if info.procedural and info.task == "images"]
NATIVE = 32


def trial(dataset: str, image_size: int | str = NATIVE, **fields) -> Trial:
    return Trial(
        kind="accuracy",
        mixer="conv1x1",
        dataset=dataset,
        image_size=image_size,
        patch_size=4,
        dim=64,
        depth=2,
        **fields,
    )


def write_records(path: Path, per_class: int, seed: int) -> np.ndarray:
    """A file in the official layout with `per_class` images of each of the 100 classes."""
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (100 * per_class, cifar.RECORD_BYTES), dtype=np.uint8)
    records[:, 1] = rng.permutation(np.arange(100).repeat(per_class))
    records[:, 0] = records[:, 1] // 5
    path.write_bytes(records.tobytes())
    return records


def published(path: Path, algorithm: str) -> cifar.SourceFile:
    content = path.read_bytes()
    return cifar.SourceFile(path.name, hashlib.new(algorithm, content).hexdigest(), algorithm, len(content))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small data set in the official layout, taken for the published one: (DATA_DIR, train records, test records)."""
    folder = tmp_path / "data" / cifar.BINARY_FOLDER
    folder.mkdir(parents=True)
    train, test = write_records(folder / "train.bin", 60, 0), write_records(folder / "test.bin", 3, 1)
    for split in ("train", "test"):
        monkeypatch.setitem(cifar.BINARY_FILES, split, published(folder / f"{split}.bin", "sha1"))
    no_network(monkeypatch)
    return folder.parent, train, test


def no_network(monkeypatch) -> None:
    def refuse(*args, **kwargs):
        raise OSError("network unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def images_of(records: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(records[:, 2:].reshape(-1, 3, 32, 32).copy())


def test_training_and_held_out_part_make_up_the_training_split(small):
    data_dir, train, test = small
    loaded = load_data(trial("cifar100"), data_dir, "cpu")
    assert loaded.train.inputs.shape == (1000, 3, 32, 32) and loaded.train.inputs.dtype == torch.uint8
    assert loaded.train.targets.dtype == loaded.val.targets.dtype == torch.int64
    assert loaded.val.targets.bincount().tolist() == [50] * 100
    given_pairs = {(r[2:].tobytes(), int(r[1])) for r in train}
    parts = [(loaded.train.inputs, loaded.train.targets), (loaded.val.inputs, loaded.val.targets)]
    pairs = [(i.numpy().tobytes(), int(y)) for images, labels in parts for i, y in zip(images, labels, strict=True)]
    assert len(pairs) == len(train) and set(pairs) == given_pairs
    images, labels = loaded.read_test()
    assert torch.equal(images, images_of(test)) and labels.tolist() == test[:, 1].tolist()


def test_the_test_split_is_read_late_and_once(small):
    data_dir, _, _ = small
    file = data_dir / cifar.BINARY_FOLDER / "test.bin"
    content = file.read_bytes()
    file.write_bytes(b"not read yet")
    loaded = load_data(trial("cifar100"), data_dir, "cpu")
    file.write_bytes(content)
    assert loaded.test_reads == 0
    loaded.read_test()
    assert loaded.test_reads == 1
    with pytest.raises(RuntimeError, match="the test split is read once"):
        loaded.read_test()


def test_the_held_out_part_is_the_same_for_all_trials_and_releases(small):
    data_dir, _, _ = small
    first, second = (load_data(trial("cifar100", seed=seed), data_dir, "cpu") for seed in (0, 7))
    assert torch.equal(first.val.inputs, second.val.inputs)
    labels = torch.arange(50_000) % 100
    stay, held = hold_out(labels, 100, 50)
    assert len(stay) == 45_000 and len(held) == 5_000
    assert torch.equal(torch.cat([stay, held]).sort().values, torch.arange(50_000))
    # another held-out part would make another training part, and records of it would not be comparable
    assert hashlib.sha256(held.numpy().astype("<i8").tobytes()).hexdigest()[:16] == "a306831b20fcd876"


def test_the_folder_itself_is_accepted(small):
    data_dir, train, _ = small
    loaded = load_data(trial("cifar100"), data_dir / cifar.BINARY_FOLDER, "cpu")
    assert len(loaded.train.inputs) + len(loaded.val.inputs) == len(train)
    other = data_dir.parent / "elsewhere"
    shutil.copytree(data_dir / cifar.BINARY_FOLDER, other)
    assert torch.equal(load_data(trial("cifar100"), other, "cpu").train.inputs, loaded.train.inputs)


DAMAGE = {
    "truncated": (lambda content: content[:-100], r"bytes, expected"),
    "longer": (lambda content: content + b"\0", r"bytes, expected"),
    "one bit": (lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:], r"SHA-1 \w+, expected"),
    "a web page": (lambda content: b"<!DOCTYPE html><title>503</title>", r"33 bytes, expected"),
    "empty": (lambda content: b"", r"0 bytes, expected"),
}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_and_nothing_is_downloaded(small, monkeypatch, split, damage):
    data_dir, _, _ = small
    file = data_dir / cifar.BINARY_FOLDER / f"{split}.bin"
    change, message = DAMAGE[damage]
    file.write_bytes(change(file.read_bytes()))
    monkeypatch.setattr(cifar, "download", lambda *args: pytest.fail("downloads"))
    with pytest.raises(UserError, match=message) as caught:
        load_data(trial("cifar100"), data_dir, "cpu").read_test()
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_real_sized_file_of_zeros_fails_its_checksum(tmp_path):
    folder = tmp_path / cifar.BINARY_FOLDER
    folder.mkdir()
    for file in cifar.BINARY_FILES.values():
        with (folder / file.name).open("wb") as stream:
            stream.truncate(file.size_bytes)
    with pytest.raises(UserError, match=r"train\.bin is damaged: SHA-1"):
        load_data(trial("cifar100"), tmp_path, "cpu")


@pytest.mark.parametrize("missing", ["train.bin", "test.bin"])
def test_half_a_data_set_is_reported_at_the_start(small, monkeypatch, missing):
    data_dir, _, _ = small
    (data_dir / cifar.BINARY_FOLDER / missing).unlink()
    monkeypatch.setattr(cifar, "download", lambda *args: pytest.fail("downloads"))
    with pytest.raises(UserError, match=f"lacks {missing}"):
        load_data(trial("cifar100"), data_dir, "cpu")


def test_nothing_there_and_no_network_says_what_to_type(tmp_path, monkeypatch, capfd):
    no_network(monkeypatch)
    socket.setdefaulttimeout(77)
    try:
        with pytest.raises(UserError) as caught:
            load_data(trial("cifar100"), tmp_path / "data", "cpu")
        assert socket.getdefaulttimeout() == 77
    finally:
        socket.setdefaulttimeout(None)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("cifar-100-binary", "cifar-100-python", str(tmp_path / "data"), "--data-dir", "--dataset mosaics"):
        assert part in message
    assert not list((tmp_path / "data").iterdir())
    assert capfd.readouterr() == ("", "")


def write_pickles(folder: Path, train: np.ndarray, test: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for name, records in (("train", train), ("test", test)):
        entries = {"data": records[:, 2:], "fine_labels": records[:, 1].tolist(), "coarse_labels": []}
        (folder / name).write_bytes(pickle.dumps(entries))


def test_torchvisions_layout_gives_the_same_images(small, monkeypatch):
    data_dir, train, test = small
    expected = load_data(trial("cifar100"), data_dir, "cpu")
    other = data_dir.parent / "other"
    write_pickles(other / cifar.PICKLE_FOLDER, train, test)
    for split in ("train", "test"):
        monkeypatch.setitem(cifar.PICKLE_FILES, split, published(other / cifar.PICKLE_FOLDER / split, "md5"))
    loaded = load_data(trial("cifar100"), other, "cpu")
    assert torch.equal(loaded.train.inputs, expected.train.inputs)
    assert torch.equal(loaded.val.targets, expected.val.targets)
    assert all(map(torch.equal, loaded.read_test(), expected.read_test()))
    file = other / cifar.PICKLE_FOLDER / "train"
    content = bytearray(file.read_bytes())
    content[-9000] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match="train is damaged: MD5"):
        load_data(trial("cifar100"), other, "cpu")


@pytest.mark.parametrize("layout", [cifar.BINARY_FOLDER, cifar.PICKLE_FOLDER])
@pytest.mark.parametrize("name", ["cifar-100-binary", "cifar-100-python", "elsewhere"])
def test_the_folder_itself_is_accepted_in_each_layout_and_under_any_name(small, monkeypatch, tmp_path, layout, name):
    data_dir, train, test = small
    expected = load_data(trial("cifar100"), data_dir, "cpu")
    folder = tmp_path / "own" / name
    if layout == cifar.BINARY_FOLDER:
        shutil.copytree(data_dir / layout, folder)
    else:
        write_pickles(folder, train, test)
        for split in ("train", "test"):
            monkeypatch.setitem(cifar.PICKLE_FILES, split, published(folder / split, "md5"))
    monkeypatch.setattr(cifar, "download", lambda *args: pytest.fail("downloads"))
    loaded = load_data(trial("cifar100"), folder, "cpu")
    assert torch.equal(loaded.train.inputs, expected.train.inputs)
    assert all(map(torch.equal, loaded.read_test(), expected.read_test()))
    assert len(labels_of_test(folder, "cifar100", (32, 32))) == len(test)
    (folder / ("test.bin" if layout == cifar.BINARY_FOLDER else "test")).unlink()
    if layout == name:
        with pytest.raises(UserError, match="lacks test"):
            load_data(trial("cifar100"), folder, "cpu")


@pytest.mark.parametrize("given", ["cifar-100-python", "cifar-100-python/", ".", "cifar-100-python.tar.gz"])
@pytest.mark.parametrize("lies", [".", "cifar-100-python"])
def test_an_archive_that_lies_there_is_unpacked_and_nothing_downloaded(small, monkeypatch, tmp_path, given, lies):
    _, train, test = small
    write_pickles(tmp_path / "model", train, test)
    for split in ("train", "test"):
        monkeypatch.setitem(cifar.PICKLE_FILES, split, published(tmp_path / "model" / split, "md5"))
    own = tmp_path / "own"
    (own / lies).mkdir(parents=True)
    archive = own / lies / torchvision.datasets.CIFAR100.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "model", cifar.PICKLE_FOLDER)
    monkeypatch.setattr(torchvision.datasets.CIFAR100, "tgz_md5", published(archive, "md5").digest)
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", lambda *args: pytest.fail("downloads"))
    given = {"cifar-100-python.tar.gz": f"{lies}/cifar-100-python.tar.gz", "binary": "cifar-100-binary"}.get(
        given, given
    )
    if lies != "." and given in (".", "cifar-100-binary"):
        pytest.skip("another folder")
    for _ in range(2):  # unpacked, then found
        loaded = load_data(trial("cifar100"), own / given, "cpu")
        assert len(loaded.train.inputs) == 1000
        monkeypatch.setattr(archives, "extract", lambda *args: pytest.fail("unpacks again"))
    assert archive.is_file()


@pytest.mark.parametrize("name", ["cifar-100-python", "cifar-100-binary"])
def test_an_empty_folder_of_the_official_name_is_not_filled_by_a_download(tmp_path, monkeypatch, name):
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", lambda *args: pytest.fail("downloads"))
    with pytest.raises(UserError, match=r"no train.* in .*--data-dir"):
        load_data(trial("cifar100"), tmp_path / name, "cpu")


def test_the_sums_are_those_that_torchvision_checks():
    theirs = dict(torchvision.datasets.CIFAR100.train_list + torchvision.datasets.CIFAR100.test_list)
    assert {file.name: file.digest for file in cifar.PICKLE_FILES.values()} == theirs


def test_a_download_is_quiet_and_arrives_whole(small, monkeypatch, capfd):
    _, train, test = small
    target = small[0].parent / "downloaded"

    def download(url, root, filename, md5):
        assert (url, md5) == (torchvision.datasets.CIFAR100.url, torchvision.datasets.CIFAR100.tgz_md5)
        assert socket.getdefaulttimeout() == archives.CONNECT_TIMEOUT_S
        print("Downloading ...")
        with tarfile.open(Path(root) / filename, "w:gz") as tar:
            tar.add(target.parent / "model", cifar.PICKLE_FOLDER)

    write_pickles(target.parent / "model", train, test)
    for split in ("train", "test"):
        monkeypatch.setitem(cifar.PICKLE_FILES, split, published(target.parent / "model" / split, "md5"))
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", download)
    loaded = load_data(trial("cifar100"), target, "cpu")
    assert len(loaded.train.inputs) == 1000
    assert [path.name for path in target.iterdir()] == [cifar.PICKLE_FOLDER]
    assert capfd.readouterr() == ("", "")


def test_a_damaged_archive_is_not_overwritten(tmp_path):
    archive = tmp_path / torchvision.datasets.CIFAR100.filename
    archive.write_bytes(b"half")
    with pytest.raises(UserError, match=r"cifar-100-python.tar.gz is damaged: MD5"):
        load_data(trial("cifar100"), tmp_path, "cpu")
    assert archive.read_bytes() == b"half"


@pytest.mark.parametrize("size", [16, 48, "16x40"])
def test_images_come_at_the_trials_size(small, size):
    loaded = load_data(trial("cifar100", image_size=size), small[0], "cpu")
    expected = trial("cifar100", image_size=size).size
    assert loaded.train.inputs.shape[2:] == loaded.val.inputs.shape[2:] == loaded.read_test()[0].shape[2:] == expected


@settings(deadline=None, max_examples=10)
@given(height=st.integers(8, 48), width=st.integers(8, 48), chunk=st.integers(1, 7))
def test_resizing_is_pillows_bicubic(height, width, chunk):
    small_images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(small_images.float(), (32, 32), mode="bilinear").to(torch.uint8)
    resized = resize(images, (height, width), chunk)
    for image, actual in zip(images, resized, strict=True):
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.BICUBIC)
        difference = np.asarray(pillow).astype(int) - actual.permute(1, 2, 0).numpy()
        # Pillow rounds to whole levels between its two passes, and its cubic has a = -0.5 as torch's antialiased one
        assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("rendered", DRAWN)
@pytest.mark.parametrize(("count", "val"), [(100, 50), (800, 400), (2000, 500), (20_000, 2000)])
def test_what_is_drawn_holds_out_a_balanced_tenth(rendered, count, val):
    loaded = load_data(trial(rendered, 16, train_images=count), Path("unused"), "cpu")
    assert len(loaded.val.inputs) == val and len(loaded.train.inputs) == count - val
    assert loaded.val.targets.bincount().tolist() == [val // 10] * 10
    images, labels = loaded.read_test()
    assert len(images) == len(labels) == DATASETS[rendered].test_images
    with pytest.raises(RuntimeError, match="once"):
        loaded.read_test()


@pytest.mark.parametrize("rendered", DRAWN)
def test_what_is_drawn_is_the_same_for_all_seeds_and_has_the_stated_statistics(rendered):
    first, second = (load_data(trial(rendered, 16, train_images=4000, seed=s), Path("unused"), "cpu") for s in (0, 1))
    assert torch.equal(first.train.inputs, second.train.inputs)
    pixels = first.train.inputs.float() / 255
    assert pixels.mean().item() == pytest.approx(DATASETS[rendered].mean[0], abs=0.002)
    assert pixels.std().item() == pytest.approx(DATASETS[rendered].std[0], abs=0.002)
    assert DATASETS[rendered].num_classes == reader_of(DATASETS[rendered]).NUM_CLASSES


@pytest.mark.parametrize("rendered", DRAWN)
def test_what_is_drawn_needs_a_number_of_images(rendered):
    with pytest.raises(UserError, match=f"--train-images.*{rendered}"):
        load_data(trial(rendered, 16), Path("unused"), "cpu")


@given(count=st.integers(1, 200), batch_size=st.integers(1, 70), seed=st.integers(0, 9))
def test_batches_visit_every_image_once_but_a_lonely_last(count, batch_size, seed):
    def epoch() -> list[torch.Tensor]:
        return list(batches(count, batch_size, torch.Generator().manual_seed(seed), "cpu"))

    lonely = batch_size > 1 and count % batch_size == 1
    found = [index for batch in epoch() for index in batch.tolist()]
    assert len(found) == len(set(found)) == count - lonely
    assert all(0 <= index < count for index in found)
    assert all(len(batch) == batch_size for batch in epoch()[:-1])
    assert found == [index for batch in epoch() for index in batch.tolist()]
    if count > 20 and not lonely:
        assert found != sorted(found)


def test_the_real_data_set_decodes_as_plain_slicing_says(cifar100_dir):
    records = np.fromfile(cifar100_dir / "train.bin", dtype=np.uint8).reshape(50_000, 3074)
    loaded = load_data(trial("cifar100"), cifar100_dir, "cpu")
    stay, held = hold_out(torch.from_numpy(records[:, 1].astype(np.int64)), 100, 50)
    for indices, images, labels in (
        (stay, loaded.train.inputs, loaded.train.targets),
        (held, loaded.val.inputs, loaded.val.targets),
    ):
        assert (labels.numpy() == records[indices, 1]).all()
        for channel in range(3):
            start = 2 + 1024 * channel
            plane = records[indices, start : start + 1024].reshape(-1, 32, 32)
            assert (images[:, channel].numpy() == plane).all()
    assert loaded.val.targets.bincount().tolist() == [50] * 100
    for channel in range(3):
        pixels = loaded.train.inputs[::5, channel].float() / 255
        assert pixels.mean().item() == pytest.approx(DATASETS["cifar100"].mean[channel], abs=5e-3)
        assert pixels.std().item() == pytest.approx(DATASETS["cifar100"].std[channel], abs=5e-3)
    images, labels = loaded.read_test()
    test = np.fromfile(cifar100_dir / "test.bin", dtype=np.uint8).reshape(10_000, 3074)
    assert (images.flatten(1).numpy() == test[:, 2:]).all() and (labels.numpy() == test[:, 1]).all()


@pytest.mark.parametrize("layout", ["cifar-10-batches-bin", "cifar-10-batches-py"])
def test_cifar10_is_read_from_its_five_files_in_either_layout(tmp_path, monkeypatch, layout):
    rng, folder = np.random.default_rng(0), tmp_path / layout
    folder.mkdir()
    cifar10 = cifar.CIFARS["cifar10"].layouts[layout]
    images, labels = {}, {}
    for key, file in cifar10.files.items():
        count = 1_200 if key != "test" else 30
        images[key] = rng.integers(0, 256, (count, cifar.PIXELS), dtype=np.uint8)
        labels[key] = rng.permutation(np.arange(count) % 10).astype(np.uint8)
        content = np.concatenate([labels[key][:, None], images[key]], axis=1).tobytes()
        if cifar10.record_bytes is None:
            content = pickle.dumps({"data": images[key], "labels": labels[key].tolist()})
        (folder / file.name).write_bytes(content)
        monkeypatch.setitem(cifar10.files, key, published(folder / file.name, "md5"))
    no_network(monkeypatch)
    loaded = load_data(trial("cifar10"), tmp_path, "cpu")
    assert loaded.val.targets.bincount().tolist() == [500] * 10
    assert len(loaded.train.targets) == 1_000
    every = torch.cat([loaded.train.inputs, loaded.val.inputs]).flatten(1).long().sum(1).sort().values
    wanted = np.sort(np.concatenate([images[key] for key in images if key != "test"]).astype(int).sum(1))
    assert every.tolist() == wanted.tolist()
    test = loaded.read_test()
    assert torch.equal(test.inputs.flatten(1), torch.from_numpy(images["test"]))
    assert test.targets.tolist() == labels["test"].tolist()
    (folder / cifar10.files["train3"].name).unlink()
    with pytest.raises(UserError, match=rf"{layout} lacks data_batch_3.*CIFAR-10 downloaded"):
        load_data(trial("cifar10"), tmp_path, "cpu")


def test_a_file_of_cifar10_without_a_published_sum_is_held_to_its_size_and_labels(tmp_path, monkeypatch):
    layout = cifar.CIFARS["cifar10"].layouts["cifar-10-batches-bin"]
    for key, file in layout.files.items():
        (tmp_path / file.name).write_bytes(bytes(10 * layout.record_bytes))
        monkeypatch.setitem(layout.files, key, cifar.SourceFile(file.name, None, "md5", 10 * layout.record_bytes))
    (tmp_path / "test_batch.bin").write_bytes(b"\x0a" + bytes(10 * layout.record_bytes - 1))
    with pytest.raises(UserError, match="has labels above 9"):
        layout.read(tmp_path, "test")
    (tmp_path / "data_batch_2.bin").write_bytes(bytes(99))
    with pytest.raises(UserError, match=r"data_batch_2.bin is damaged: 99 bytes"):
        layout.read(tmp_path, "train")


def test_the_sums_and_names_of_cifar10_are_those_of_torchvision():
    theirs = torchvision.datasets.CIFAR10
    files = {file.name: file.digest for file in cifar.CIFAR10_PICKLE_FILES.values()}
    assert files == dict(theirs.train_list + theirs.test_list)
    assert cifar.CIFARS["cifar10"].downloaded == theirs.base_folder
    assert cifar.CIFARS["cifar10"].archive.file == cifar.SourceFile(theirs.filename, theirs.tgz_md5, "md5")
