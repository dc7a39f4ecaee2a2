"""The files of CIFAR-100 and CIFAR-10: where they are, whether they are whole, what is in them, and a download."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.tasks import archive
from benchmarks.tasks.archive import Archive, SourceFile, read_checked

Split = tuple[Tensor, Tensor]
Files = dict[str, SourceFile]  # "test", and one or several whose keys begin with "train", in order


@dataclass(frozen=True)
class Layout:
    """One way in which a data set is published."""

    files: Files
    num_classes: int
    record_bytes: int | None  # of one image where a file is nothing but these
    label_key: str  # of the pickles

    def decode(self, content: bytes) -> Split:
        """Images, uint8 (n, 3, 32, 32), and labels, int64 (n,), of one file."""
        return (
            decode_pickle(content, self.label_key)
            if self.record_bytes is None
            else decode_binary(content, self.record_bytes)
        )

    def read(self, folder: Path, split: str) -> Split:
        """The same of a split, "train" or "test".

        Raises:
            UserError: a file of it is damaged.
        """
        parts = [self.decode(read_checked(folder, file)) for key, file in self.files.items() if key.startswith(split)]
        images, labels = zip(*parts, strict=True)
        if max(int(own.max()) for own in labels) >= self.num_classes:
            raise UserError(
                f"{folder} is damaged: it has labels above {self.num_classes - 1}; replace it by the original"
            )
        return (images[0], labels[0]) if len(parts) == 1 else (torch.cat(images), torch.cat(labels))


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets.

    Attributes:
        title: as people write it.
        layouts: by the name of the folder; the last one is downloaded.
        torch_name: of torchvision's class.
    """

    title: str
    layouts: dict[str, Layout]
    torch_name: str

    @property
    def downloaded(self) -> str:
        """The folder that a download makes."""
        return list(self.layouts)[-1]

    @property
    def archive(self) -> Archive:
        """What is downloaded."""
        import torchvision.datasets

        source = getattr(torchvision.datasets, self.torch_name)
        file = SourceFile(source.filename, source.tgz_md5, "md5")
        probe = self.layouts[self.downloaded].files["test"].name
        return Archive(self.title, file, source.url, self.downloaded, probe)


PIXELS = 3 * 32 * 32
RECORD_BYTES = 2 + PIXELS  # coarse label, fine label, then the pixels, channel first
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


CIFAR10_BINARY_FILES = {
    **{f"train{i}": SourceFile(f"data_batch_{i}.bin", None, "md5", 10_000 * (RECORD_BYTES - 1)) for i in range(1, 6)},
    "test": SourceFile("test_batch.bin", None, "md5", 10_000 * (RECORD_BYTES - 1)),
}
CIFAR10_PICKLE_FILES = {  # the sums that torchvision.datasets.CIFAR10 checks
    "train1": SourceFile("data_batch_1", "c99cafc152244af753f735de768cd75f", "md5"),
    "train2": SourceFile("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec", "md5"),
    "train3": SourceFile("data_batch_3", "54ebc095f3ab1f0389bbae665268c751", "md5"),
    "train4": SourceFile("data_batch_4", "634d18415352ddfa80567beed471001a", "md5"),
    "train5": SourceFile("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb", "md5"),
    "test": SourceFile("test_batch", "40351d587109b95175f43aff81a1287e", "md5"),
}
CIFARS = {
    "cifar100": Cifar(
        "CIFAR-100",
        {
            BINARY_FOLDER: Layout(BINARY_FILES, 100, RECORD_BYTES, "fine_labels"),
            PICKLE_FOLDER: Layout(PICKLE_FILES, 100, None, "fine_labels"),
        },
        "CIFAR100",
    ),
    "cifar10": Cifar(
        "CIFAR-10",
        {
            "cifar-10-batches-bin": Layout(CIFAR10_BINARY_FILES, 10, RECORD_BYTES - 1, "labels"),
            "cifar-10-batches-py": Layout(CIFAR10_PICKLE_FILES, 10, None, "labels"),
        },
        "CIFAR10",
    ),
}


def what_to_type() -> str:
    """What helps where the files of a data set are not there."""
    other = called.option("dataset", "mosaics")
    return f"type {called.option('data_dir', '...')} for the folder that holds it, or {other}, which needs no files"


def read(dataset: str, split: str, data_dir: Path) -> Split:
    """Images, uint8 (n, 3, 32, 32), and classes, int64 (n,), of a split, downloaded where they are missing.

    Raises:
        UserError: they are incomplete or damaged, or cannot be downloaded.
    """
    folder, layout = find_cifar(dataset, data_dir)
    return layout.read(folder, split)


def labels(dataset: str, split: str, data_dir: Path) -> torch.Tensor | None:
    """The classes alone; None where the data set is not here."""
    found = find_cifar_here(dataset, data_dir)
    return None if found is None else found[1].read(found[0], split)[1]


def find_cifar(dataset: str, data_dir: Path) -> tuple[Path, Layout]:
    """The folder that holds cifar100 or cifar10, and its layout; downloads where there is none.

    Raises:
        UserError: a folder with a part of it only, or no folder and no download.
    """
    found = find_cifar_here(dataset, data_dir)
    if found is not None:
        return found
    cifar = CIFARS[dataset]
    file, downloaded = cifar.archive.file, cifar.downloaded
    if data_dir.name == file.name and data_dir.is_file():
        data_dir = data_dir.parent
    for folder in (data_dir, data_dir.parent) if data_dir.name == downloaded else (data_dir,):
        if (folder / file.name).is_file():
            download(dataset, folder)  # which unpacks it
            return folder / downloaded, cifar.layouts[downloaded]
    if data_dir.name in cifar.layouts:  # a download would go into a folder of that name within it
        names = " and ".join(each.name for each in cifar.layouts[data_dir.name].files.values())
        raise UserError(f"no {names}, nor {file.name}, in {data_dir}; {what_to_type()}")
    download(dataset, data_dir)
    return data_dir / downloaded, cifar.layouts[downloaded]


def find_cifar_here(dataset: str, data_dir: Path) -> tuple[Path, Layout] | None:
    """The same, None where there is no folder of it: `data_dir` itself, or one in it, of either layout.

    Raises:
        UserError: a folder with a part of it only.
    """
    cifar = CIFARS[dataset]
    if data_dir.name == f"{cifar.downloaded}.tar.gz" and data_dir.is_file():
        return find_cifar_here(dataset, data_dir.parent)
    candidates = [(data_dir / name, name) for name in cifar.layouts]
    for name, layout in cifar.layouts.items():
        if data_dir.name == name or all((data_dir / file.name).is_file() for file in layout.files.values()):
            candidates.insert(0, (data_dir, name))
    for folder, name in candidates:
        files = cifar.layouts[name].files
        missing = [file.name for file in files.values() if not (folder / file.name).is_file()]
        if not missing:
            return folder, cifar.layouts[name]
        if len(missing) < len(files):
            raise UserError(
                f"{folder} lacks {', '.join(missing)}; complete it, or move it away to have {cifar.title} downloaded"
            )
    return None


def decode_binary(content: bytes, record_bytes: int = RECORD_BYTES) -> Split:
    """Images, uint8 (n, 3, 32, 32), and labels, int64 (n,), of the official binary layout: the last one of each."""
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, record_bytes)
    labels, pixels = record_bytes - PIXELS - 1, record_bytes - PIXELS
    images = np.ascontiguousarray(records[:, pixels:]).reshape(-1, 3, 32, 32)
    return torch.from_numpy(images), torch.from_numpy(records[:, labels].astype(np.int64))


def decode_pickle(content: bytes, label_key: str = "fine_labels") -> Split:
    """The same of torchvision's layout.

    Raises:
        pickle.UnpicklingError: the pickle names anything but arrays; one that does could run code.
    """
    entries = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    images = np.array(entries["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
    return torch.from_numpy(images), torch.tensor(entries[label_key], dtype=torch.int64)


class _ArraysOnly(pickle.Unpickler):
    """Reads dicts, lists, text and NumPy arrays, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy.core", "numpy._core"), name) not in ARRAY_NAMES:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a data set")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def download(dataset: str, data_dir: Path) -> None:
    """Downloads cifar100 or cifar10 into `data_dir`, or unpacks the archive that lies there.

    Raises:
        UserError: it cannot be downloaded, or not written, or the archive is damaged.
    """
    cifar = CIFARS[dataset]
    archive.download(cifar.archive, data_dir, f"neither {'/ nor '.join(cifar.layouts)}/", what_to_type())
