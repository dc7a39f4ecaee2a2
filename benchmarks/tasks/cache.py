"""Decoded images on disk: one file of uint8 a split, mapped into memory by whoever needs them.

    DATA_DIR/cache/<name>-<fingerprint>-<height>x<width>/
        train.npy  val.npy  test.npy    uint8 (n, 3, height, width), as NumPy writes them
        meta.json                       labels, classes, mean and deviation, and the checksums of the above

The folder appears whole or not at all, and is made anew where a file of it is damaged. It can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import filelock
import numpy as np
from numpy.typing import NDArray

from benchmarks.contract import called
from benchmarks.contract.errors import UserError

CACHE_VERSION = 1  # raised by whoever changes what is made of a picture
CACHE_TAG = "CACHEDIR.TAG"  # by which others see what the folder is: https://bford.info/cachedir
TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# decoded images; can be deleted at any time\n"
META = "meta.json"
PARTS = ("train", "val", "test")
BLOCK_BYTES = 2**24  # that a checksum is of


@dataclasses.dataclass(frozen=True)
class Meta:
    """What is known of a cache's images."""

    version: int
    source: str  # fingerprint
    size: tuple[int, int]
    classes: tuple[str, ...]
    mean: tuple[float, float, float]  # of the training part, per channel, on [0, 1]
    std: tuple[float, float, float]
    labels: dict[str, list[int]]
    sums: dict[str, list[int]]  # of each file, CRC-32 of its blocks


class Cache:
    """A cache that is there and whole.

    Attributes:
        folder: that holds it.
        meta: of its images.
    """

    def __init__(self, folder: Path, meta: Meta) -> None:
        self.folder, self.meta = folder, meta

    def images(self, part: str) -> NDArray[np.uint8]:
        """uint8 (n, 3, height, width), mapped into memory."""
        # written to by nobody: "c" only spares PyTorch its warning of what cannot be written
        return np.load(self.folder / f"{part}.npy", mmap_mode="c", allow_pickle=False)

    def labels(self, part: str) -> NDArray[np.int64]:
        return np.array(self.meta.labels[part], dtype=np.int64)

    @property
    def bytes(self) -> int:
        """On disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir())


def find_cache(folder: Path, source: str, every_block: bool = True) -> Cache | None:
    """The cache of this fingerprint in a folder; None where there is none, or a damaged one.

    Args:
        folder: that of the cache.
        source: fingerprint of the images.
        every_block: whether all of it is read and compared with its checksums, not the first, middle and last block.
    """
    try:
        content = json.loads((folder / META).read_text(encoding="utf-8"))
        for name in ("size", "classes", "mean", "std"):
            content[name] = tuple(content[name])
        meta = Meta(**content)
        if (meta.version, meta.source) != (CACHE_VERSION, source):
            return None
        return Cache(folder, meta) if all(_is_whole(folder, meta, part, every_block) for part in PARTS) else None
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None


def make_cache(
    folder: Path,
    source: str,
    size: tuple[int, int],
    classes: tuple[str, ...],
    labels: dict[str, NDArray[np.int64]],
    pictures: Callable[[], Iterable[tuple[str, NDArray[np.uint8]]]],
) -> Cache:
    """Writes a cache, unless another process just has.

    Args:
        folder: that of the cache; made.
        source: fingerprint of the images.
        size: (height, width) in pixels.
        classes: their names.
        labels: of each part, in the order of its images.
        pictures: called once, gives each image with the part that it goes to.

    Raises:
        UserError: it cannot be written.
    """
    try:
        mark_cache_folder(folder.parent)
        with filelock.FileLock(folder.parent / f".{folder.name}.lock"):
            found = find_cache(folder, source)
            if found is not None:
                return found
            for left in folder.parent.glob(f".{folder.name}.*.part"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            _refuse_without_room(folder.parent, sum(map(len, labels.values())) * 3 * size[0] * size[1])
            place = folder.parent / f".{folder.name}.{os.getpid()}.part"
            place.mkdir()
            try:
                meta = _write(place, source, size, classes, labels, pictures())
                shutil.rmtree(folder, ignore_errors=True)  # a damaged one
                place.rename(folder)
            finally:
                shutil.rmtree(place, ignore_errors=True)
            return Cache(folder, meta)
    except OSError as error:
        raise UserError(
            f"decoded images cannot be kept in {folder.parent} ({error.strerror or error}); type "
            f"{called.option('data_dir')} with a folder that can be written"
        ) from error


def mark_cache_folder(folder: Path) -> None:
    """Makes the folder of all caches, with the tag by which other programs know it."""
    folder.mkdir(parents=True, exist_ok=True)
    tag = folder / CACHE_TAG
    if not tag.exists():
        tag.write_text(TAG_TEXT, encoding="utf-8")


def _refuse_without_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the decoded images take {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free in {folder}; type "
            f"{called.option('data_dir')} with a folder on a larger disk, or a smaller {called.option('image_size')}"
        )


def _write(
    folder: Path,
    source: str,
    size: tuple[int, int],
    classes: tuple[str, ...],
    labels: dict[str, NDArray[np.int64]],
    pictures: Iterable[tuple[str, NDArray[np.uint8]]],
) -> Meta:
    total, squares = np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)
    with contextlib.ExitStack() as stack:
        writers = {part: stack.enter_context(_part(folder, part, (len(labels[part]), 3, *size))) for part in PARTS}
        for part, picture in pictures:
            writers[part].write(picture.tobytes())
            if part == "train":
                values = picture.reshape(3, -1).astype(np.int64)
                total += values.sum(1)
                squares += (values * values).sum(1)
    count = max(1, len(labels["train"])) * size[0] * size[1]
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1.0))  # of images all alike, one level of grey
    meta = Meta(
        version=CACHE_VERSION,
        source=source,
        size=size,
        classes=classes,
        mean=_three(mean / 255),
        std=_three(std / 255),
        labels={part: labels[part].tolist() for part in PARTS},
        sums={part: writer.sums for part, writer in writers.items()},
    )
    (folder / META).write_text(json.dumps(dataclasses.asdict(meta)), encoding="utf-8")
    return meta


class _Writer:
    """A file that knows the checksums of its blocks."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sums, self.filled = file, [0], 0

    def write(self, content: bytes) -> None:
        self.file.write(content)
        while content:
            if self.filled == BLOCK_BYTES:
                self.sums.append(0)
                self.filled = 0
            here = content[: BLOCK_BYTES - self.filled]
            self.sums[-1] = zlib.crc32(here, self.sums[-1])
            self.filled += len(here)
            content = content[len(here) :]


@contextlib.contextmanager
def _part(folder: Path, part: str, shape: tuple[int, ...]) -> Iterator[_Writer]:
    """A .npy file that is filled image by image: writing through a map would die of a full disk."""
    with (folder / f"{part}.npy").open("wb") as file:
        header: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        writer = _Writer(file)
        yield writer
        file.flush()
        os.fsync(file.fileno())
        if file.tell() - start != int(np.prod(shape)):
            raise RuntimeError(f"{file.tell() - start} bytes of images for shape {shape}")


def _is_whole(folder: Path, meta: Meta, part: str, every_block: bool) -> bool:
    images = np.load(folder / f"{part}.npy", mmap_mode="r", allow_pickle=False)  # which compares size and shape
    if images.dtype != np.uint8 or images.shape != (len(meta.labels[part]), 3, *meta.size):
        return False
    content, sums = images.reshape(-1), meta.sums[part]
    if len(sums) != max(1, -(-len(content) // BLOCK_BYTES)):
        return False
    blocks = range(len(sums)) if every_block else sorted({0, len(sums) // 2, len(sums) - 1})
    return all(zlib.crc32(content[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES]) == sums[i] for i in blocks)


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def digest_of(*arrays: NDArray[np.generic]) -> str:
    """SHA-256 of arrays, shapes and types included."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(f"{array.dtype.str}{array.shape}".encode())
        whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()
