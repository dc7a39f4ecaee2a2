"""Folders of images of the user's own: layouts, fingerprint, cache, streaming, and what is said of bad ones."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from own_images import TWO, make_folder
from PIL import Image

from benchmarks.contract.choices.profiles import PROFILES, profile_of
from benchmarks.contract.errors import UserError
from benchmarks.contract.facts.datasets import (
    DATASETS,
    DatasetInfo,
    add_found,
    facts_of,
    handed_on,
    info_of,
    is_own,
    take_over,
)
from benchmarks.contract.trial import Trial
from benchmarks.plan.trials import Plan, Request
from benchmarks.tasks import own
from benchmarks.tasks.images import stream
from benchmarks.tasks.images.folder import Folder
from benchmarks.tasks.own import cache_of, divide, find_own
from benchmarks.tasks.task import load_data
from benchmarks.training.train import train

SMALL = dict(mixer="conv1x1", profile="quick", device="cpu", dim=8, depth=1, epochs=2, threads=1, seed=(0,))


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch, forget_datasets):
    """What one test finds is not known in the next; messages are those to a reader who typed make."""
    monkeypatch.setenv("TOKEN_MIXERS_CALLED", "make")


@pytest.fixture
def photos(tmp_path) -> Path:
    return make_folder(tmp_path / "photos")


def planned(folder: Path, data_dir: Path, **fields) -> Trial:
    (trial,) = Plan(Request(dataset=f"folder:{folder}", data_dir=data_dir, **SMALL | fields)).accuracy(all_seeds=False)
    return trial


def names_of(folder: Folder) -> dict[str, list[str]]:
    return {part: [folder.files[split][i].name for i in indices] for part, (split, indices) in divide(folder).items()}


@pytest.mark.parametrize("words", [("train", "val", "test"), ("Training", "valid", "TEST")])
def test_train_val_and_test_are_what_they_say(tmp_path, words):
    for word, count in zip(words, (4, 2, 3), strict=True):
        make_folder(tmp_path / word, {"cat": count, "dog": count})
    parts = names_of(Folder(tmp_path))
    assert {part: {name.split("/")[0] for name in names} for part, names in parts.items()} == {
        part: {word} for part, word in zip(("train", "val", "test"), words, strict=True)
    }
    assert [len(parts[part]) for part in ("train", "val", "test")] == [8, 4, 6]


@pytest.mark.parametrize("word", ["val", "valid", "validation", "test"])
def test_where_there_is_one_split_beside_train_it_is_the_test_and_a_tenth_is_held_out(tmp_path, word):
    make_folder(tmp_path / "train", {"cat": 20, "dog": 4})
    make_folder(tmp_path / word, TWO)
    parts = names_of(Folder(tmp_path))
    assert all(name.startswith(f"{word}/") for name in parts["test"]) and len(parts["test"]) == 16
    held = [name.split("/")[1] for name in parts["val"]]
    assert held == ["cat", "cat", "dog"]  # one at least
    assert sorted(parts["train"] + parts["val"]) == sorted(f.name for f in Folder(tmp_path).files["train"])


def test_one_folder_is_divided_class_by_class_and_the_same_anywhere(tmp_path):
    first = make_folder(tmp_path / "photos", {"cat": 20, "dog": 10, "owl": 3})
    parts = names_of(Folder(first))
    counts = {
        part: [sum(n.startswith(c) for n in names) for c in ("cat", "dog", "owl")] for part, names in parts.items()
    }
    assert counts == {"train": [14, 7, 1], "val": [2, 1, 1], "test": [4, 2, 1]}
    assert len({name for names in parts.values() for name in names}) == 33
    second = tmp_path / "elsewhere" / "photos"
    shutil.copytree(first, second, copy_function=shutil.copyfile)  # other times of change
    assert names_of(Folder(second)) == parts
    assert Folder(second).index(tmp_path)[0] == Folder(first).index(tmp_path)[0]


def test_images_in_further_folders_and_links_count_and_what_is_no_image_does_not(tmp_path, caplog):
    folder = make_folder(tmp_path / "my photos\n2024", {"größe 1": 3, "dog": 3})
    (folder / "dog" / "more").mkdir()
    (folder / "dog" / "0.png").rename(folder / "dog" / "more" / "a\nb.PNG")
    (folder / "linked").symlink_to(folder / "dog", target_is_directory=True)
    for name in ("notes.txt", "dog/list.csv", ".DS_Store", "dog/Thumbs.db", "dog/._1.jpg"):
        (folder / name).write_text("no image")
    (folder / ".ipynb_checkpoints").mkdir()
    info = find_own(f"folder:{folder}", tmp_path / "data")
    assert info.classes == ("dog", "größe 1", "linked")
    assert info.train_images + info.val_images + info.test_images == 9
    assert info.name == "folder:my photos 2024" and is_own(info.name)
    # dog/list.csv is seen by both of its names
    assert [r.getMessage() for r in caplog.records] == [
        "folder:my photos 2024: 3 that are no images of a class are left out, such as list.csv"
    ]


def test_the_fingerprint_changes_with_a_byte_a_name_and_a_file_but_not_with_a_time(photos, tmp_path):
    def fingerprint() -> str:
        return Folder(photos).index(tmp_path)[0]

    seen = [fingerprint()]
    os.utime(photos / "cat" / "0.png", (1, 1))
    assert fingerprint() == seen[0]
    content = bytearray((photos / "cat" / "0.png").read_bytes())
    content[-1] ^= 1
    (photos / "cat" / "0.png").write_bytes(content)
    seen.append(fingerprint())
    (photos / "cat" / "0.png").rename(photos / "cat" / "00.png")
    seen.append(fingerprint())
    (photos / "cat" / "00.png").unlink()
    seen.append(fingerprint())
    assert len(set(seen)) == 4


def test_contents_are_read_again_only_where_names_sizes_or_times_changed(photos, tmp_path, monkeypatch):
    first = Folder(photos).index(tmp_path)
    monkeypatch.setattr(Folder, "_fingerprint", lambda *args: pytest.fail("reads all files"))
    assert Folder(photos).index(tmp_path) == first
    (index,) = tmp_path.glob("index-*.json")
    assert str(photos) not in index.read_text()
    index.write_text("{")
    monkeypatch.undo()
    assert Folder(photos).index(tmp_path) == first


def test_another_image_of_the_same_size_and_time_is_noticed(photos, tmp_path):
    first = Folder(photos).index(tmp_path)
    path, other = photos / "cat" / "0.png", tmp_path / "other.png"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert Folder(photos).index(tmp_path) != first


def empty_class(folder: Path) -> None:
    (folder / "empty").mkdir()


def loop(folder: Path) -> None:
    (folder / "dog" / "again").symlink_to(folder / "dog", target_is_directory=True)


def broken_link(folder: Path) -> None:
    (folder / "dog" / "gone.jpg").symlink_to(folder / "nowhere.jpg")


def one_class(folder: Path) -> None:
    shutil.rmtree(folder / "dog")


def three_images(folder: Path) -> None:
    for path in [*folder.glob("*/[1-9].*"), folder / "dog" / "0.png"]:
        path.unlink()
    make_folder(folder, {"cat": 1, "dog": 2})


def no_test_split(folder: Path) -> None:
    make_folder(folder / "train")


def no_train(folder: Path) -> None:
    for name in ("cat", "dog"):
        shutil.rmtree(folder / name)
    make_folder(folder / "val")


def new_class_in_test(folder: Path) -> None:
    make_folder(folder / "train")
    make_folder(folder / "test", TWO | {"owl": 1})


def two_vals(folder: Path) -> None:
    for name in ("train", "test", "val", "valid"):
        make_folder(folder / name)


def loose_images(folder: Path) -> None:
    for name in ("cat", "dog"):
        for path in (folder / name).iterdir():
            path.rename(folder / f"{name}-{path.name}")
        (folder / name).rmdir()


def named_pipe(folder: Path) -> None:
    os.mkfifo(folder / "dog" / "pipe.jpg")


def link_to_itself(folder: Path) -> None:
    (folder / "dog" / "self.jpg").symlink_to("self.jpg")


BAD = {
    link_to_itself: "{folder}/dog/self.jpg cannot be read",
    empty_class: "{folder}/empty is a class without images; add some",
    loop: "{folder}/dog/again is a link to a folder that it lies in",
    broken_link: "{folder}/dog/gone.jpg cannot be read",
    one_class: "has one class, cat; a net needs two",
    three_images: "class 'cat' has 1 image; it needs 3 or more",
    no_test_split: "has train/ and no test split; add test/ or val/",
    no_train: "has val/ and no train/",
    new_class_in_test: "{folder}/test/owl is a class that {folder}/train has not",
    two_vals: "has both val/ and valid/; keep one",
    loose_images: "holds 16 images and no folders",
    named_pipe: "{folder}/dog/pipe.jpg is no file",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_a_folder_that_is_not_as_it_has_to_be_is_told_in_one_line(photos, tmp_path, spoil):
    spoil(photos)
    with pytest.raises(UserError) as caught:
        find_own(f"folder:{photos}", tmp_path / "data")
    assert BAD[spoil].format(folder=photos) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("folder:{}/nowhere", "nowhere is not there; type DATASET=folder:PATH"),
        ("folder:{}/photos/cat/0.png", "0.png is a file; type DATASET=folder:PATH"),
        ("{}/photos", "photos', a folder; type DATASET=folder:"),
        ("folder:~nobody_of_this_name/x", "x is not there; type DATASET=folder:PATH"),
        ("folder:", "of no folder; type DATASET=folder:PATH"),
        ("", "--dataset is empty; allowed: cifar100"),
        ("cifra100", "Did you mean 'cifar100'?"),
        ("torch/", "type torch/NAME, such as torch/fashion_mnist"),
    ],
)
def test_a_place_where_there_is_nothing_is_told_in_one_line(photos, tmp_path, dataset, said):
    with pytest.raises(UserError) as caught:
        find_own(dataset.format(tmp_path), tmp_path / "data")
    assert said in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(photos, tmp_path):
    (photos / "dog").chmod(0)
    try:
        with pytest.raises(UserError, match="dog cannot be read: Permission denied"):
            find_own(f"folder:{photos}", tmp_path / "data")
    finally:
        (photos / "dog").chmod(0o700)


def test_images_that_cannot_be_read_are_all_looked_for_and_named(photos, tmp_path):
    whole = (photos / "cat" / "1.jpg").read_bytes()
    (photos / "cat" / "1.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "dog" / "2.bmp").write_text("no image")
    trial = planned(photos, tmp_path / "data")
    with pytest.raises(UserError) as caught:
        load_data(trial, tmp_path / "data", "cpu")
    said = str(caught.value)
    assert said.startswith(f"2 images of folder:photos cannot be read: {photos}/cat/1.jpg (")
    assert f"{photos}/dog/2.bmp (" in said and said.endswith("replace them, or move them out of the folder")
    assert not [p for p in (tmp_path / "data" / "cache").iterdir() if p.is_dir()]  # no half cache


def test_images_labels_and_facts_are_those_of_the_folder(photos, tmp_path):
    trial = planned(photos, tmp_path / "data")
    data = load_data(trial, tmp_path / "data", "cpu")
    info = info_of(trial.dataset)
    assert (trial.dataset, trial.dataset_source, trial.image_size) == ("folder:photos", info.source, 32)
    images = data.train.inputs
    assert images.shape == (info.train_images, 3, 32, 32) and images.dtype == torch.uint8
    assert info.classes == ("cat", "dog") and info.num_classes == 2
    for split in (data.train, data.val, data.read_test()):
        brightest = split.inputs.double().mean((2, 3))[:, :2].argmax(1)
        assert torch.equal(brightest, split.targets)
    pixels = images.double() / 255
    assert np.allclose(info.mean, pixels.mean((0, 2, 3)), atol=1e-12)
    assert np.allclose(info.std, pixels.permute(1, 0, 2, 3).reshape(3, -1).std(1, correction=0), atol=1e-9)


def test_a_cache_is_used_again_and_made_anew_where_it_is_damaged(photos, tmp_path, monkeypatch):
    trial = planned(photos, tmp_path)
    cache = cache_of(trial, tmp_path)
    before = {part: cache.images(part).copy() for part in ("train", "val", "test")}
    decoded, calls = own._decoded, []
    monkeypatch.setattr(own, "_decoded", lambda *args: calls.append(args) or decoded(*args))
    cache_of(trial, tmp_path)
    assert not calls
    file = cache.folder / "train.npy"
    content = bytearray(file.read_bytes())
    for spoiled in (content[:-1], content[:50], b"", content[:-1] + bytes([content[-1] ^ 1])):
        file.write_bytes(spoiled)
        again = cache_of(trial, tmp_path)
        assert all(np.array_equal(again.images(part), before[part]) for part in before)
    for spoiled in ("{", "[]", json.dumps({"version": 0})):
        (cache.folder / "meta.json").write_text(spoiled)
        cache_of(trial, tmp_path)
    (cache.folder / "val.npy").unlink()
    cache_of(trial, tmp_path)
    assert len(calls) == 8


def test_who_is_killed_while_decoding_leaves_nothing_that_counts(photos, tmp_path, monkeypatch):
    trial = planned(photos, tmp_path)
    left = tmp_path / "cache" / f".folder_photos-{trial.dataset_source[:16]}-32x32.77.part"
    left.mkdir()
    (left / "train.npy").write_bytes(b"half")
    cache = cache_of(trial, tmp_path)
    assert not left.exists() and cache.images("train").shape[0] == info_of(trial.dataset).train_images


def test_two_at_once_make_one_cache(photos, tmp_path, monkeypatch):
    trial = planned(photos, tmp_path)
    decoded, calls, found = own._decoded, [], []
    monkeypatch.setattr(own, "_decoded", lambda *args: calls.append(args) or decoded(*args))
    both = [threading.Thread(target=lambda: found.append(cache_of(trial, tmp_path))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(calls) == 1 and found[0].folder == found[1].folder
    assert np.array_equal(found[0].images("test"), found[1].images("test"))


def test_a_cache_that_cannot_be_written_and_one_without_room_are_told(photos, tmp_path, monkeypatch):
    trial = planned(photos, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"type DATA_DIR="):
        cache_of(trial, tmp_path / "file" / "below")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(UserError, match="0 MB are free"):
        cache_of(trial, tmp_path)


def test_a_cache_inside_the_folder_is_no_class(photos):
    first = planned(photos, photos)
    load_data(first, photos, "cpu")
    assert planned(photos, photos) == first


def test_images_that_change_while_a_run_goes_on_are_told(photos, tmp_path):
    trial = planned(photos, tmp_path)
    Image.new("RGB", (30, 30)).save(photos / "cat" / "0.png")
    with pytest.raises(UserError, match="folder:photos has changed since this run began"):
        load_data(trial, tmp_path, "cpu")


def test_streamed_images_train_to_the_same_numbers(photos, tmp_path, monkeypatch):
    trial = planned(photos, tmp_path, batch_size=4, augment="light")

    def outcome(name: str):
        data = load_data(trial, tmp_path, "cpu")
        kept = isinstance(data.train.inputs, torch.Tensor)
        return kept, train(trial, data, tmp_path / f"{name}.pt")

    kept, resident = outcome("resident")
    monkeypatch.setattr(stream, "RESIDENT_SHARE", 0.0)
    streamed_kept, streamed = outcome("streamed")
    assert kept and not streamed_kept
    timed = ("seconds", "images_per_s")
    rows = [[{k: v for k, v in row.items() if k not in timed} for row in o.history] for o in (resident, streamed)]
    assert rows[0] == rows[1] and np.array_equal(resident.predictions, streamed.predictions)


def test_a_streamed_batch_is_that_of_its_indices_in_any_order(photos, tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 4, 4), dtype=np.uint8)
    whole, streamed = torch.from_numpy(images), stream.StreamedImages(images, torch.device("cpu"))
    schedule = [torch.randperm(30)[:7] for _ in range(9)]
    streamed.ahead(schedule)
    for index in [*schedule[:2], torch.tensor([5, 5]), *schedule[2:6]]:
        streamed.stage(index)
        assert torch.equal(streamed.index_select(0, index), whole[index])
    streamed.ahead(schedule[::-1])
    for index in schedule[::-1]:
        streamed.stage(index)
        assert torch.equal(streamed.index_select(0, index), whole[index])
    for size in (1, 7, 30, 64):
        assert torch.equal(torch.cat(list(streamed.split(size))), whole)
    assert torch.equal(streamed.index_select(0, torch.arange(3)), whole[:3])  # not staged


def test_a_captured_step_finds_every_batch_of_a_size_in_one_place():
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 4, 4), dtype=np.uint8)
    whole, streamed = torch.from_numpy(images), stream.StreamedImages(images, torch.device("cpu"))
    streamed.captured = True
    schedule = [*torch.arange(30).split(8), *torch.arange(30).flip(0).split(8)]
    streamed.ahead(schedule)
    places = {}
    for index in schedule:
        streamed.stage(index)
        place = places.setdefault(len(index), streamed.index_select(0, index))
        assert torch.equal(place, whole[index])  # of the first one, read again
    assert len(places) == 2 and torch.equal(streamed[3:5], whole[3:5])


def test_more_than_256_classes_keep_their_number(tmp_path):
    data_dir = tmp_path / "data"
    folder = make_folder(tmp_path / "many", {f"c{i:03d}": 3 for i in range(300)}, side=4)
    trial = planned(folder, data_dir, epochs=1, image_size=(8,), patch_size=4)
    outcome = train(trial, load_data(trial, data_dir, "cpu"), tmp_path / "c.pt")
    assert outcome.predictions.dtype == np.uint16 and outcome.predictions.shape == (300,)


def test_a_record_of_ones_own_data_says_nothing_of_where_they_lie(photos, tmp_path):
    trial = planned(photos, tmp_path / "data")
    assert str(tmp_path) not in json.dumps(trial.to_dict())
    assert Trial.from_dict(trial.to_dict()) == trial
    assert set(trial.to_dict()["dataset_source"]) <= set("0123456789abcdef")


@pytest.mark.parametrize("name", ["folder:a b", "torch/mnist", "hfds/user/name", "x.py:MyData", "pkg.module:MyData"])
def test_names_of_ones_own_data_are_allowed_in_trials_and_in_the_schema(name):
    import jsonschema_rs

    from benchmarks.contract.make_schema import trial_schema

    fields = dict(kind="cost", mixer="dct", dataset=name, image_size=32, patch_size=4, dim=8, depth=1)
    trial = Trial(**fields)
    assert jsonschema_rs.is_valid(trial_schema(), trial.to_dict())
    with pytest.raises(UserError, match="not at hand; type DATASET="):
        info_of(name)


@pytest.mark.parametrize(
    "name", ["folder:../a", "folder:a/b", "folder:", "folder:..", "/etc:x", "nothing", "folder:a\nb"]
)
def test_other_names_are_not(name):
    import jsonschema_rs

    from benchmarks.contract.make_schema import trial_schema

    with pytest.raises(UserError, match="--dataset is"):
        facts_of(name)
    fields = dict(kind="cost", mixer="dct", dataset=name, image_size=32, patch_size=4, dim=8, depth=1)
    assert not jsonschema_rs.is_valid(trial_schema(), fields)


def test_what_is_known_goes_to_other_processes_as_json(photos, tmp_path, forget_datasets):
    info = find_own(f"folder:{photos}", tmp_path)
    content = json.loads(json.dumps(handed_on(info.name)))
    forget_datasets()
    take_over(content)
    assert info_of(info.name) == info
    assert handed_on("cifar100") is None


@pytest.mark.parametrize(
    ("side", "images", "quick", "full"),
    [
        (28, 54_000, (32, 4, 5, 64), (32, 4, 83, 256)),
        (60, 2_000, (64, 8, 50, 64), (64, 4, 300, 128)),
        (500, 210, (128, 16, 50, 16), (128, 8, 300, 16)),
    ],
)
def test_the_profile_of_any_data_follows_size_and_number(side, images, quick, full):
    info = DatasetInfo(**vars(DATASETS["cifar100"]) | {"name": "folder:x", "native_size": side, "train_images": images})
    add_found(info)
    for name, wanted in (("quick", quick), ("full", full)):
        profile = profile_of(name, "folder:x")
        assert (profile.image_size, profile.patch_size, profile.epochs, profile.batch_size) == wanted
        assert profile.warmup_epochs < profile.epochs / 2 and profile.tuned_lrs == PROFILES[name, "cifar100"].tuned_lrs
    assert profile_of("quick", "cifar100") is PROFILES["quick", "cifar100"]
