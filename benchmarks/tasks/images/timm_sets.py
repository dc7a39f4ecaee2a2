"""What timm's `create_dataset` reads, under timm's own names, from DATA_DIR.

    torch/fashion_mnist, torch/imagenet    torchvision's sets; small ones are downloaded
    hfds/NAME, hfids/NAME                  Hugging Face datasets, also hfds//path/to/folder
    tfds/NAME                              TensorFlow datasets
    wds/NAME                               WebDataset shards in DATA_DIR/NAME, beside their _info.json

A set with images as files, or as bytes, is known by these; of others the pixels count.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
import re
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.contract.errors import UserError
from benchmarks.contract.trial import FACTS
from benchmarks.tasks.archive import CONNECT_TIMEOUT_S
from benchmarks.tasks.images.pictures import Pixels, fitted, read_picture, to_rgb

PACKAGES = {  # kind -> modules, and what installs them
    "hfds": (("datasets",), "datasets"),
    "hfids": (("datasets",), "datasets"),
    "tfds": (("tensorflow", "tensorflow_datasets"), "tensorflow tensorflow-datasets"),
    "wds": (("webdataset",), "webdataset"),
}
SILENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}  # TensorFlow tells of oneDNN at any level
SPLITS = {"train": ("train", "training"), "test": ("test",), "val": ("validation", "valid", "val")}
WITHOUT_MIRRORS = ("mnist", "kmnist", "qmnist")  # a mirrored character is another one

Item = tuple[bytes | Image.Image, int]


class TimmSet:
    """One of timm's data sets; see `tasks.own.Source`.

    Raises:
        UserError: timm does not know it, a package is missing, or it is not there and cannot be downloaded.
    """

    note: str | None = None

    def __init__(self, dataset: str, data_dir: Path) -> None:
        kind, _, self.rest = dataset.partition("/")
        self.kind, self.data_dir = kind.lower(), data_dir
        if not self.rest:
            raise UserError(f"--dataset is {dataset!r}; type {self.kind}/NAME, such as torch/fashion_mnist")
        last = self.rest.rstrip("/").rpartition("/")[2] if self.rest[0] in "/.~" else self.rest
        self.name = self.kind + "/" + re.sub(r"[^\w./-]+", "_", last)
        self.origin = f"{self.kind}/{self.rest}"
        self._refuse_without_package()
        self.sets = self._open()
        self._digest, self._side = hashlib.sha256(), 1
        self.labels = self._read_all()
        self.classes = self._class_names()
        plain = self.kind == "torch" and self.rest.lower() in WITHOUT_MIRRORS
        self.augment_levels = ("none",) if plain else FACTS["augment"].choices

    def index(self, cache: Path) -> tuple[str, int]:
        return self._digest.hexdigest(), self._side

    def pictures(self, split: str) -> Iterator[tuple[str, Callable[[tuple[int, int]], Pixels]]]:
        for number, (image, _) in enumerate(_items(self.sets[split])):
            yield f"image {number} of {split}", partial(_picture, image)

    def _refuse_without_package(self) -> None:
        modules, install = PACKAGES.get(self.kind, (("torchvision",), "torchvision"))
        if any(importlib.util.find_spec(module) is None for module in modules):
            raise UserError(f"{self.name} needs a package that is not installed; type: pip install {install}")

    def _open(self) -> dict[str, Any]:
        """The splits that there are; where timm has one beside training, it is the test split."""
        if self.kind == "torch":  # timm asks for it by this name, whatever torchvision calls it
            return {"train": self._create("train"), "test": self._create("validation")}
        found: dict[str, Any] = {}
        why = ""
        for split, names in SPLITS.items():
            for name in names:
                try:
                    found[split] = self._create(name)
                    break
                except _NoSplit as error:
                    why = why or str(error)
        if "train" not in found and "`splits` is empty" in why:  # in the words of TensorFlow datasets
            load = f"import tensorflow_datasets as t; t.load({self.rest!r}, data_dir={str(self.data_dir)!r})"
            raise UserError(f'{self.name} is not prepared in {self.data_dir}; type: python -c "{load}"')
        if "train" not in found:
            raise UserError(f"{self.name} has no training split that timm can read ({why})")
        if "test" not in found and "val" in found:
            found["test"] = found.pop("val")
        return found if "test" in found else {"all": found["train"]}

    def _create(self, split: str) -> Any:
        for name, value in SILENT.items():
            os.environ.setdefault(name, value)
        from timm.data import create_dataset  # loads triton, which crashes where TensorFlow was loaded before it

        root = {"hfds": self.data_dir / "hfds", "hfids": self.data_dir / "hfds", "wds": self.data_dir / self.rest}
        where = root.get(self.kind, self.data_dir)
        make = partial(create_dataset, f"{self.kind}/{self.rest}", root=str(where), split=split)
        try:
            with _quiet():
                try:
                    return make()
                except RuntimeError as error:
                    if self.kind != "torch" or "not found" not in str(error):
                        raise
                    return make(download=True)
        except AssertionError as error:
            raise UserError(f"timm knows no {self.name} ({error}); see timm.data.create_dataset") from error
        except Exception as error:  # each of these libraries has its own
            if "split" in str(error).lower():
                raise _NoSplit(_why(error)) from error
            raise UserError(f"{self.name} is not in {where}, and cannot be had ({_why(error)})") from error

    def _read_all(self) -> dict[str, NDArray[np.int64]]:
        """One pass over all images, for their labels and the fingerprint."""
        labels: dict[str, list[int]] = {split: [] for split in self.sets}
        sides = []
        for split in sorted(self.sets):
            for image, label in self._told(split):
                if label < 0:
                    raise UserError(f"{self.name}: image {len(labels[split])} of {split} has no class")
                labels[split].append(label)
                content = image if isinstance(image, bytes) else f"{image.mode}{image.size}".encode() + image.tobytes()
                self._digest.update(f"{split}\0{label}\0{len(content)}\0".encode() + content)
                sides.append(_side(image))
            if not labels[split]:
                raise UserError(f"{self.name}: its {split} split has no images")
            if len(labels[split]) != (told := len(self.sets[split])):  # a torn shard just ends
                raise UserError(
                    f"{self.name}: its {split} split has {len(labels[split])} of {told} images; get it again"
                )
        self._side = int(np.median(sides))
        return {split: np.array(own, dtype=np.int64) for split, own in labels.items()}

    def _told(self, split: str) -> Iterator[Item]:
        """The items of a split; whatever goes wrong in reading them is one line."""
        try:
            yield from _items(self.sets[split])
        except Exception as error:  # each of these libraries has its own
            what = f"{self.name}: its {split} split cannot be read ({_why(error)})"
            raise UserError(f"{what}; wanted: images, each with one class, as timm reads them by default") from error

    def _class_names(self) -> tuple[str, ...]:
        first = next(iter(self.sets.values()))
        count = 1 + max(int(own.max()) for own in self.labels.values())
        found = getattr(first, "class_to_idx", None) or getattr(getattr(first, "reader", None), "class_to_idx", None)
        names = {number: str(name) for name, number in (found or {}).items()}
        return tuple(names.get(number, str(number)) for number in range(max(count, len(names))))


class _NoSplit(Exception):
    """There is no split of this name."""


def _why(error: Exception) -> str:
    """An error in a line, without the list of a thousand names that TensorFlow datasets gives."""
    return f"{type(error).__name__}: {' '.join(str(error).partition('Available datasets')[0].split())[:300]}"


def _items(data: Any) -> Iterator[Item]:
    """Image and class of all, in order: the file's bytes where there is a file."""
    if hasattr(data, "samples"):  # torchvision's sets of files
        yield from ((Path(path).read_bytes(), int(label)) for path, label in data.samples)
    elif hasattr(getattr(data, "reader", None), "__getitem__"):
        for number in range(len(data)):
            file, label = data.reader[number][:2]
            yield file.read(), -1 if label is None else int(label)
    elif hasattr(data, "__getitem__") and not hasattr(data, "reader"):
        yield from ((image, int(label)) for image, label in (data[number] for number in range(len(data))))
    else:
        yield from ((image, int(label)) for image, label in data)


def _picture(image: bytes | Image.Image, size: tuple[int, int]) -> Pixels:
    return read_picture(io.BytesIO(image), size) if isinstance(image, bytes) else fitted(to_rgb(image), size)


def _side(image: bytes | Image.Image) -> int:
    if not isinstance(image, bytes):
        return min(image.size)
    try:
        with Image.open(io.BytesIO(image)) as opened:
            return min(opened.size)
    except Exception:  # decoding says what is wrong with it
        return 1


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars, and with an end to waiting for a server that does not answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_TIMEOUT_S)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)
