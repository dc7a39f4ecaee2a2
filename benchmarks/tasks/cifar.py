"""The files of CIFAR-100: where they are, whether they are whole, what is in them; downloaded where there are none."""

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
from torch import Tensor

from benchmarks.contract.errors import UserError

CONNECT_TIMEOUT_S = 10

Split = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set as published."""

    name: str
    digest: str
    algorithm: str  # of the digest: sha1 or md5
    size_bytes: int | None = None  # where the publisher says


WHAT_TO_TYPE = "type DATA_DIR=... for the folder that holds it, or DATASET=mosaics, which needs no files"
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


def find_cifar100(data_dir: Path) -> tuple[Path, dict[str, SourceFile], Callable[[bytes], Split]]:
    """The folder that holds CIFAR-100, the files in it, and how to decode one; downloads where there is none.

    Raises:
        UserError: a folder with a part of it only, or no folder and no download.
    """
    found = find_cifar100_here(data_dir)
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
        raise UserError(f"no {names}, nor {archive.name}, in {data_dir}; {WHAT_TO_TYPE}")
    download_cifar100(data_dir)
    return data_dir / PICKLE_FOLDER, PICKLE_FILES, decode_pickle


def find_cifar100_here(data_dir: Path) -> tuple[Path, dict[str, SourceFile], Callable[[bytes], Split]] | None:
    """The same, None where there is no folder of it: `data_dir` itself, or one in it, of either layout.

    Raises:
        UserError: a folder with a part of it only.
    """
    if data_dir.name == f"{PICKLE_FOLDER}.tar.gz" and data_dir.is_file():
        return find_cifar100_here(data_dir.parent)
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
            f"failed ({' '.join(str(error).split()) or type(error).__name__}); {WHAT_TO_TYPE}"
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
