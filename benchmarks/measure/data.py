"""Images to train on: decoded once, kept as uint8 on the device, the test split left alone until it is asked for."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import socket
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.contract import called
from benchmarks.contract.datasets import DatasetInfo, info_of
from benchmarks.contract.errors import UserError
from benchmarks.contract.trial import Trial
from benchmarks.measure import constellations, mosaics

CONNECT_TIMEOUT_S = 10
HOLD_OUT_SEED = 0  # one held-out part for all trials and seeds
MIN_VAL_IMAGES = 500  # of a procedural set, where half of the images allow it


RENDERED = {"constellations": constellations, "mosaics": mosaics}  # drawn by a program, from no files

Split = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set as published."""

    name: str
    digest: str
    algorithm: str  # of the digest: sha1 or md5
    size_bytes: int | None = None  # where the publisher says


RECORD_BYTES = 2 + 3 * 32 * 32  # coarse label, fine label, then the pixels, channel first
BINARY_FOLDER = "cifar-100-binary"
BINARY_FILES = {
    "train": SourceFile("train.bin", "e207cd2e05b73b1393c74c7f5e7bea451d63e08e", "sha1", 50_000 * RECORD_BYTES),
    "test": SourceFile("test.bin", "8fb6623e830365ff53cf14adec797474f5478006", "sha1", 10_000 * RECORD_BYTES),
}
PICKLE_FOLDER = "cifar-100-python"
# the sums that torchvision.datasets.CIFAR100 checks
PICKLE_FILES = {
    "train": SourceFile("train", "16019d7e3df5f24257cddd939b257f8d", "md5"),
    "test": SourceFile("test", "f0ef6b0ae62326f3e7ffdfab6717acfc", "md5"),
}


ARRAY_NAMES = {  # what NumPy's pickles call to make an array
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class ImageData:
    """A data set on its device.

    Attributes:
        info: the data set.
        train_images: uint8 (n, 3, height, width), at the trial's image size, as are all others.
        train_labels: int64 (n,).
        val_images: the part of the training split that is held out, to choose with.
        val_labels: int64.
        test_reads: how often the test split was read.
    """

    def __init__(self, info: DatasetInfo, train: Split, val: Split, test: Callable[[], Split]) -> None:
        self.info = info
        self.train_images, self.train_labels = train
        self.val_images, self.val_labels = val
        self.test_reads = 0
        self._test = test

    def read_test(self) -> Split:
        """Images and labels of the test split, read from their source now.

        Raises:
            RuntimeError: it was read before.
            UserError: its file is damaged.
        """
        self.test_reads += 1
        if self.test_reads > 1:
            raise RuntimeError("the test split is read once, when all choices are made; this is a second reading")
        return self._test()


def what_to_type() -> str:
    """What helps where the files of a data set are not there."""
    other = called.option("dataset", "mosaics")
    return f"type {called.option('data_dir', '...')} for the folder that holds it, or {other}, which needs no files"


def load_data(trial: Trial, data_dir: Path, device: str) -> ImageData:
    """Reads, or draws, the training split of the trial's data set and brings it to the trial's image size.

    Args:
        trial: its data set, image size and number of images count; its seed does not, so that seeds differ in
            initialisation and order alone.
        data_dir: where data sets lie; a missing one is downloaded there.
        device: as for torch.

    Raises:
        UserError: the data set is missing and cannot be downloaded, or a file of it is damaged.
    """
    load = _load_rendered if trial.dataset in RENDERED else _load_cifar100
    return load(trial, Path(data_dir).expanduser(), torch.device(device))


def test_labels(data_dir: Path, dataset: str, size: tuple[int, int]) -> np.ndarray | None:
    """The classes of a test split, int64 (n,), without its images; None where the data set is not in `data_dir`.

    Raises:
        UserError: a file of it is damaged.
    """
    if dataset in RENDERED:
        return RENDERED[dataset].render(info_of(dataset).test_images, size, split="test")[1].numpy()
    found = _find_cifar100_here(Path(data_dir).expanduser())
    if found is None:
        return None
    folder, files, decode = found
    return decode(read_checked(folder, files["test"]))[1].numpy()


def batches(
    count: int, batch_size: int, generator: torch.Generator, device: str | torch.device | None = None
) -> Iterator[Tensor]:
    """Indices of one epoch's batches in random order.

    The last batch may be smaller; where it would hold a single image it is left out, since normalising over one image
    is unlike all others.

    Args:
        count: images.
        batch_size: images a batch.
        generator: of the order.
        device: where the indices are needed; the generator's, if not given.

    Yields:
        int64 (batch,).
    """
    order = torch.randperm(count, generator=generator, device=generator.device).to(device or generator.device)
    for start in range(0, count, batch_size):
        batch = order[start : start + batch_size]
        if len(batch) > 1 or batch_size == 1:
            yield batch


def hold_out(labels: Tensor, num_classes: int, per_class: int, seed: int = HOLD_OUT_SEED) -> tuple[Tensor, Tensor]:
    """Splits a training set in two, `per_class` images of each class going to the second part.

    Returns:
        Indices that stay and indices held out, int64, each in ascending order.
    """
    # RandomState's stream is frozen by NumPy's compatibility policy: the same images in every release
    shuffle = np.random.RandomState(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in range(num_classes):
        of_class = np.flatnonzero(labels.numpy() == label)
        held[shuffle.permutation(of_class)[:per_class]] = True
    return torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))


def resize(images: Tensor, size: tuple[int, int], chunk: int = 1024) -> Tensor:
    """Images, uint8 (n, c, h, w), at another size by antialiased bicubic interpolation; `chunk` images at a time."""
    if images.shape[-2:] == size:
        return images
    resized = images.new_empty(*images.shape[:2], *size)
    for start in range(0, len(images), chunk):
        part = images[start : start + chunk].float()
        part = F.interpolate(part, size, mode="bicubic", antialias=True, align_corners=False)
        resized[start : start + chunk] = part.round_().clamp_(0, 255).to(torch.uint8)
    return resized


def _load_rendered(trial: Trial, data_dir: Path, device: torch.device) -> ImageData:
    info, render = info_of(trial.dataset), RENDERED[trial.dataset].render
    count = trial.train_images
    if count is None:
        raise UserError(f"--train-images is not given; {info.name} needs a number of images, such as 20000")
    images, labels = render(count, trial.size, split="train")
    val_images = min(max(count // 10, MIN_VAL_IMAGES), count // 2)
    stay, held = hold_out(labels, info.num_classes, val_images // info.num_classes)

    def test() -> Split:
        test_images, test_labels = render(info.test_images, trial.size, split="test")
        return test_images.to(device), test_labels.to(device)

    train = images[stay].to(device), labels[stay].to(device)
    return ImageData(info, train, (images[held].to(device), labels[held].to(device)), test)


def _load_cifar100(trial: Trial, data_dir: Path, device: torch.device) -> ImageData:
    info = info_of("cifar100")
    folder, files, decode = _find_cifar100(data_dir)

    def prepare(images: Tensor, labels: Tensor) -> Split:
        return resize(images.to(device), trial.size), labels.to(device)

    images, labels = decode(read_checked(folder, files["train"]))
    assert info.val_images is not None
    stay, held = hold_out(labels, info.num_classes, info.val_images // info.num_classes)
    train, val = prepare(images[stay], labels[stay]), prepare(images[held], labels[held])
    return ImageData(info, train, val, lambda: prepare(*decode(read_checked(folder, files["test"]))))


def _find_cifar100(data_dir: Path) -> tuple[Path, dict[str, SourceFile], Callable[[bytes], Split]]:
    """The folder that holds CIFAR-100, the files in it, and how to decode one; downloads where there is none.

    Raises:
        UserError: a folder with a part of it only, or no folder and no download.
    """
    found = _find_cifar100_here(data_dir)
    if found is not None:
        return found
    archive = _archive()
    if data_dir.name == archive.name and data_dir.is_file():
        data_dir = data_dir.parent
    for folder in (data_dir, data_dir.parent) if data_dir.name == PICKLE_FOLDER else (data_dir,):
        if (folder / archive.name).is_file():
            download_cifar100(folder)  # which unpacks it
            return folder / PICKLE_FOLDER, PICKLE_FILES, decode_pickle
    if data_dir.name in LAYOUTS:  # a download would go into a folder of that name within it
        names = " and ".join(file.name for file in LAYOUTS[data_dir.name][0].values())
        raise UserError(f"no {names}, nor {archive.name}, in {data_dir}; {what_to_type()}")
    download_cifar100(data_dir)
    return data_dir / PICKLE_FOLDER, PICKLE_FILES, decode_pickle


def _find_cifar100_here(data_dir: Path) -> tuple[Path, dict[str, SourceFile], Callable[[bytes], Split]] | None:
    """The same, None where there is no folder of it: `data_dir` itself, or one in it, of either layout.

    Raises:
        UserError: a folder with a part of it only.
    """
    if data_dir.name == f"{PICKLE_FOLDER}.tar.gz" and data_dir.is_file():
        return _find_cifar100_here(data_dir.parent)
    candidates = [(data_dir / name, name) for name in LAYOUTS]
    for name, (files, _) in LAYOUTS.items():
        if data_dir.name == name or all((data_dir / file.name).is_file() for file in files.values()):
            candidates.insert(0, (data_dir, name))
    for folder, name in candidates:
        files, decode = LAYOUTS[name]
        missing = [file.name for file in files.values() if not (folder / file.name).is_file()]
        if not missing:
            return folder, files, decode
        if len(missing) < len(files):
            raise UserError(
                f"{folder} lacks {', '.join(missing)}; complete it, or move it away to have CIFAR-100 downloaded"
            )
    return None


def read_checked(folder: Path, file: SourceFile) -> bytes:
    """The content of a file, if it is what was published.

    Raises:
        UserError: it cannot be read, or its size or checksum is wrong.
    """
    path = folder / file.name
    advice = "replace it by the original, or move it and those beside it away to have CIFAR-100 downloaded"
    try:
        size_bytes = path.stat().st_size
        if file.size_bytes is not None and size_bytes != file.size_bytes:
            raise UserError(f"{path} is damaged: {size_bytes:,} bytes, expected {file.size_bytes:,}; {advice}")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}; {advice}") from error
    digest = hashlib.new(file.algorithm, content, usedforsecurity=False).hexdigest()
    if digest != file.digest:
        name = {"sha1": "SHA-1", "md5": "MD5"}[file.algorithm]
        raise UserError(f"{path} is damaged: {name} {digest}, expected {file.digest}; {advice}")
    return content


def decode_binary(content: bytes) -> Split:
    """Images, uint8 (n, 3, 32, 32), and fine labels, int64 (n,), of the official binary layout."""
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, RECORD_BYTES)
    images = np.ascontiguousarray(records[:, 2:]).reshape(-1, 3, 32, 32)
    return torch.from_numpy(images), torch.from_numpy(records[:, 1].astype(np.int64))


def decode_pickle(content: bytes) -> Split:
    """The same of torchvision's layout.

    Raises:
        pickle.UnpicklingError: the pickle names anything but arrays; one that does could run code.
    """
    entries = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    images = np.array(entries["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
    return torch.from_numpy(images), torch.tensor(entries["fine_labels"], dtype=torch.int64)


class _ArraysOnly(pickle.Unpickler):
    """Reads dicts, lists, text and NumPy arrays, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy.core", "numpy._core"), name) not in ARRAY_NAMES:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a data set")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


# by the name of the folder
LAYOUTS = {BINARY_FOLDER: (BINARY_FILES, decode_binary), PICKLE_FOLDER: (PICKLE_FILES, decode_pickle)}


def _archive() -> SourceFile:
    """The file that is downloaded."""
    import torchvision.datasets

    return SourceFile(torchvision.datasets.CIFAR100.filename, torchvision.datasets.CIFAR100.tgz_md5, "md5")


def download_cifar100(data_dir: Path) -> None:
    """Downloads CIFAR-100 through torchvision into `data_dir`; it appears there whole or not at all.

    An archive that lies there already is unpacked instead.

    Raises:
        UserError: it cannot be downloaded, or not written, or the archive is damaged.
    """
    import torchvision.datasets

    archive = _archive()
    unpack = (data_dir / archive.name).is_file()
    if unpack:
        read_checked(data_dir, archive)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as folder,
            _socket_timeout(CONNECT_TIMEOUT_S),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            if not unpack:
                url = torchvision.datasets.CIFAR100.url
                torchvision.datasets.utils.download_url(url, folder, archive.name, archive.digest)
            _extract((data_dir if unpack else Path(folder)) / archive.name, Path(folder))
            (Path(folder) / PICKLE_FOLDER).rename(data_dir / PICKLE_FOLDER)
    except Exception as error:
        if (data_dir / PICKLE_FOLDER / PICKLE_FILES["test"].name).is_file():
            return  # another process was faster
        how = f"unpacking {archive.name}" if unpack else "downloading it"
        raise UserError(
            f"no CIFAR-100: neither {BINARY_FOLDER}/ nor {PICKLE_FOLDER}/ is in {data_dir}, and {how} there "
            f"failed ({' '.join(str(error).split()) or type(error).__name__}); {what_to_type()}"
        ) from error


def _extract(archive: Path, folder: Path) -> None:
    """Unpacks a tar file; a member that is no plain file or folder within `folder` is an error."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
