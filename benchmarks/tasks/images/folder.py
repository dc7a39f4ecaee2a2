"""Folders of images, a folder a class: torchvision's ImageFolder layout, with training and test folders or without.

    photos/train/cat/*.jpg   photos/test/cat/*.jpg             also val, valid, validation; folders in folders count
    photos/cat/*.jpg         photos/dog/*.jpg                  divided here, by a fixed seed

A data set is what its images are called and what is in them: the fingerprint is the same on every machine, and another
one as soon as an image changes, comes or goes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.contract import called
from benchmarks.contract.errors import UserError, printable
from benchmarks.contract.record import cores, write_json
from benchmarks.contract.trial import FACTS
from benchmarks.tasks.cache import CACHE_TAG
from benchmarks.tasks.images.pictures import Pixels, read_picture

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
SPLITS = {  # by the name of the folder, in whatever letters
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip
LOOKED_AT = 200  # images of which the size is read, evenly spaced
LAYOUT = "it needs a folder of images for each class, or train/ and test/ with these in them"
INDEX_VERSION = 1


@dataclass(frozen=True)
class ImageFile:
    """One image: its name below the folder, and what tells whether it changed."""

    name: str  # with / between folders
    label: int
    size_bytes: int
    changed_ns: int


class Folder:
    """The images below `path`, found but not read.

    Attributes:
        name: as records keep it.
        origin: with the path.
        classes: their names, sorted.
        files: by split: "train", "test" and perhaps "val"; or "all".

    Raises:
        UserError: it is no folder of this layout.
    """

    def __init__(self, path: Path) -> None:
        self.path = _existing(path)
        self.name = f"folder:{_plain(self.path.name)}"
        self.origin = f"folder:{self.path}"
        self.left_out: Counter[str] = Counter()  # names of files that are no images
        self.notes: list[str] = []
        self.classes, found = self._find()
        self.files = {split: sorted(files, key=lambda file: _key(file.name)) for split, files in found.items()}
        self.labels: dict[str, NDArray[np.int64]] = {
            split: np.array([file.label for file in files], dtype=np.int64) for split, files in self.files.items()
        }
        self.note = self._note()
        self.augment_levels = FACTS["augment"].choices

    def _find(self) -> tuple[tuple[str, ...], dict[str, list[ImageFile]]]:
        children = self._folders_in(self.path)
        splits: dict[str, Path] = {}
        for child in children:
            if (split := SPLITS.get(child.name.lower())) is not None:
                if split in splits:
                    raise UserError(f"{self.path} has both {splits[split].name}/ and {child.name}/; keep one of them")
                splits[split] = child
        if "train" not in splits and not (splits and len(splits) == len(children)):
            return self._find_classes({"all": self.path})
        if "train" not in splits:
            raise UserError(
                f"{self.path} has {', '.join(f'{p.name}/' for p in splits.values())} and no train/; {LAYOUT}"
            )
        if len(splits) == 1:
            part = called.option("dataset", f"folder:{splits['train']}")
            raise UserError(
                f"{self.path} has {splits['train'].name}/ and no test split; add test/ or val/ with the same classes, "
                f"or type {part}, of which a part is then held out for the test"
            )
        for child in set(children) - set(splits.values()):
            self.left_out[f"{child.name}/"] += 1
        if "test" not in splits:
            splits["test"] = splits.pop("val")
        return self._find_classes(splits)

    def _find_classes(self, splits: dict[str, Path]) -> tuple[tuple[str, ...], dict[str, list[ImageFile]]]:
        folders = {split: {child.name: child for child in self._folders_in(path)} for split, path in splits.items()}
        first = next(split for split in ("train", "all") if split in splits)
        classes = sorted(folders[first], key=_key)
        if not classes:
            loose = sum(_is_image(entry.name) for entry in _entries(splits[first]))
            held = f"holds {loose} images and no folders" if loose else "has no folders of images in it"
            raise UserError(f"{splits[first]} {held}; {LAYOUT}")
        found: dict[str, list[ImageFile]] = {}
        for split, path in splits.items():
            if unknown := sorted(set(folders[split]) - set(classes)):
                raise UserError(
                    f"{path / unknown[0]} is a class that {splits[first]} has not; add it there, or remove it"
                )
            if missing := sorted(set(classes) - set(folders[split])):
                self.notes.append(f"{path} has no {', '.join(missing[:5])}")
            number = {name: i for i, name in enumerate(classes)}
            of_class = [self._images_of(child, number[name]) for name, child in folders[split].items()]
            found[split] = [file for files in of_class for file in files]
            self._count_loose(path)
        return tuple(classes), found

    def _images_of(self, folder: Path, label: int) -> list[ImageFile]:
        name = folder.relative_to(self.path).as_posix()
        files = list(self._walk(name, label, (str(folder.resolve()),)))
        if not files:
            raise UserError(f"{folder} is a class without images; add some, or remove the folder")
        return files

    def _walk(self, folder: str, label: int, above: tuple[str, ...]) -> Iterator[ImageFile]:
        """Images in a folder and in those in it; links are followed.

        Raises:
            UserError: a folder is linked into itself, or may not be read.
        """
        for entry in _entries(self.path / folder):
            path = self.path / folder / entry.name
            if _leads_to_folder(entry):
                if _is_hidden(path):
                    continue
                real = os.path.realpath(path)
                if real in above or real == str(self.path):
                    raise UserError(f"{path} is a link to a folder that it lies in, which has no end; remove it")
                yield from self._walk(f"{folder}/{entry.name}", label, (*above, real))
            elif not _is_image(entry.name):
                self._leave_out(entry.name)
            else:
                facts = _facts(entry)
                # another file put in its place can have its time of change, but not that of its entry
                changed_ns = max(facts.st_mtime_ns, facts.st_ctime_ns)
                yield ImageFile(f"{folder}/{entry.name}", label, facts.st_size, changed_ns)

    def _folders_in(self, path: Path) -> list[Path]:
        return [child for child in _listed(path) if child.is_dir() and not _is_hidden(child)]

    def _count_loose(self, path: Path) -> None:
        for child in _listed(path):
            if not child.is_dir():
                self._leave_out(child.name)

    def _leave_out(self, name: str) -> None:
        if not name.startswith(".") and name.lower() not in ("thumbs.db", "desktop.ini"):
            self.left_out[name] += 1

    def _note(self) -> str | None:
        """A line on classes that a split lacks, and on what lies about and is no image of a class."""
        notes = list(self.notes)
        if self.left_out:
            count, name = sum(self.left_out.values()), next(iter(self.left_out))
            notes.append(f"{count} that are no images of a class are left out, such as {name}")
        return f"{self.name}: {'; '.join(notes)}" if notes else None

    def pictures(self, split: str) -> Iterator[tuple[str, Callable[[tuple[int, int]], Pixels]]]:
        """For each image of a split its file's name, and what reads it at a size."""
        for file in self.files[split]:
            path = self.path / file.name
            yield str(path), partial(read_picture, path)

    def index(self, cache: Path) -> tuple[str, int]:
        """The fingerprint, and the median of the images' shorter sides in pixels.

        All files are read for the fingerprint, once: their names, sizes and times of change say whether it still holds.
        """
        every = [file for split in sorted(self.files) for file in self.files[split]]
        seen = hashlib.sha256()
        for file in every:
            seen.update(_key(file.name) + f"\0{file.size_bytes}\0{file.changed_ns}\0".encode())
        signature = seen.hexdigest()
        path = cache / f"index-{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]}.json"
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            if (known["version"], known["signature"]) == (INDEX_VERSION, signature):
                return str(known["fingerprint"]), int(known["side"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # none yet, or a broken one
        fingerprint, side = self._fingerprint(every), self._median_side(every)
        content = {"version": INDEX_VERSION, "signature": signature, "fingerprint": fingerprint, "side": side}
        write_json(path, content)
        return fingerprint, side

    def _fingerprint(self, files: list[ImageFile]) -> str:
        with ThreadPoolExecutor(cores()) as pool:  # hashing lets go of the interpreter
            digests = list(pool.map(lambda file: _digest(self.path / file.name), files))
        whole = hashlib.sha256()
        for file, digest in sorted(zip(files, digests, strict=True), key=lambda pair: _key(pair[0].name)):
            whole.update(_key(file.name) + f"\0{file.size_bytes}\0{digest}\n".encode())
        return whole.hexdigest()

    def _median_side(self, files: list[ImageFile]) -> int:
        sides = []
        for file in files[:: max(1, len(files) // LOOKED_AT)]:
            try:
                with Image.open(self.path / file.name) as image:
                    sides.append(min(image.size))
            except Exception:  # decoding says what is wrong with it
                continue
        return int(np.median(sides)) if sides else 1


def place_of(text: str) -> Path:
    """A path as typed, ~ being the home folder; that of a user who is not there stays as it is."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _plain(name: str) -> str:
    """A folder's name as records keep it: what a line can hold, and no path."""
    return printable(name.replace("\\", "_"))[:200].strip(". ") or "images"


def _key(name: str) -> bytes:
    """A name as it is sorted and hashed, the same on every system."""
    return os.fsencode(unicodedata.normalize("NFC", name))


def _existing(path: Path) -> Path:
    try:
        if not path.is_dir():
            what = "a file" if path.exists() else "not there"
            wanted = called.option("dataset", "folder:PATH")
            raise UserError(f"{path} is {what}; type {wanted} with the folder that holds your images")
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _listed(folder: Path) -> list[Path]:
    return [folder / entry.name for entry in _entries(folder)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted.

    Raises:
        UserError: it may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: _key(entry.name))
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror or error}") from error


def _is_hidden(folder: Path) -> bool:
    """Whether a folder is none of the user's: hidden, or a cache of ours."""
    return folder.name.startswith(".") or (folder / CACHE_TAG).exists()


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:  # such as a link to itself
        raise UserError(f"{entry.path} cannot be read: {error.strerror or error}; remove it") from error


def _facts(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        facts = entry.stat()
    except OSError as error:
        raise UserError(f"{entry.path} cannot be read: {error.strerror or error}; remove it") from error
    if not stat.S_ISREG(facts.st_mode):
        raise UserError(f"{entry.path} is no file; remove it")
    return facts


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
