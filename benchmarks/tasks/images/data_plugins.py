"""Data sets from outside: a class in a file or module, or one that another package registers.

path/to/file.py:MyData    pkg.module:MyData    or the name of an entry point in the group `token_mixers_data`

class MyData:                                # made as MyData(), or MyData(data_dir) where it takes that
    def train(self): return images, labels   # uint8 (n, 3, H, W), (n, 1, H, W) or (n, H, W); whole numbers from 0
    def test(self): return images, labels
    # where wanted:
    def val(self): ...                       # else a tenth of train is held out
    classes = ("cat", "dog")                 # their names
    augment_levels = ("none", "light")       # those that leave an image its class; else all
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contract.errors import UserError, nearest
from benchmarks.contract.trial import FACTS
from benchmarks.tasks.cache import digest_of
from benchmarks.tasks.images.folder import place_of
from benchmarks.tasks.images.pictures import Pixels, as_pixels
from mixers.registry import line_in, module_of_file

ENTRY_POINT_GROUP = "token_mixers_data"
SPLITS = ("train", "val", "test")


@cache
def entry_points() -> dict[str, str]:
    """What other packages register: name -> `pkg.module:MyData`."""
    return {point.name: point.value for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)}


class PluginData:
    """A data set by a class from outside, its images in memory; see `tasks.own.Source`.

    Raises:
        UserError: it cannot be loaded, or does not give what it has to.
    """

    note: str | None = None

    def __init__(self, dataset: str, data_dir: Path) -> None:
        where = entry_points().get(dataset, dataset)
        self.place, _, attribute = where.rpartition(":")
        is_file = self.place.endswith(".py")
        path = place_of(self.place)
        self.place = str(path) if is_file else self.place
        self.name = f"{path.name if is_file else self.place}:{attribute}"
        self.origin = f"{path.resolve()}:{attribute}" if is_file else where
        made = self._told(lambda: self._make(self._class(attribute), data_dir))
        self.images: dict[str, NDArray[np.uint8]] = {}
        self.labels: dict[str, NDArray[np.int64]] = {}
        for split in SPLITS:
            give = getattr(made, split, None)
            if give is None and split != "val":
                raise UserError(f"data set {self.name!r} has no {split}(); it gives (images, labels)")
            if give is not None:
                self.images[split], self.labels[split] = self._told(partial(_asked, split, give))
        self.classes = self._told(lambda: _classes(made, self.labels))
        self.augment_levels = self._told(lambda: _levels(made))
        self.source = hashlib.sha256(Path(inspect.getfile(type(made))).read_bytes()).hexdigest()

    def index(self, cache: Path) -> tuple[str, int]:
        """Source code and images make the fingerprint: code that reads files gives others once these have changed."""
        arrays = [array for split in self.images for array in (self.images[split], self.labels[split])]
        fingerprint = hashlib.sha256(f"{self.source}{digest_of(*arrays)}".encode()).hexdigest()
        return fingerprint, min(self.images["train"].shape[-2:])

    def pictures(self, split: str) -> Iterator[tuple[str, Callable[[tuple[int, int]], Pixels]]]:
        for number, image in enumerate(self.images[split]):
            yield f"image {number} of {split}", partial(as_pixels, image)

    def _class(self, attribute: str) -> type:
        if self.place.endswith(".py"):
            path = Path(self.place)
            if not path.is_file():
                raise UserError(f"there is no file {self.place!r}")
            module = module_of_file(path)
        else:
            module = importlib.import_module(self.place)
        found = getattr(module, attribute, None)
        if not isinstance(found, type):
            classes = [name for name, value in vars(module).items() if isinstance(value, type)]
            raise UserError(
                f"it has no class {attribute!r}; it has: {', '.join(classes) or 'none'}.{nearest(attribute, classes)}"
            )
        return found

    def _make(self, cls: type, data_dir: Path) -> Any:
        return cls(data_dir) if inspect.signature(cls).parameters else cls()

    def _told(self, call: Callable[[], Any]) -> Any:
        """What `call` gives; whatever goes wrong in the user's code is one line with name, file and line."""
        try:
            return call()
        except (Exception, SystemExit) as error:
            reason = " ".join(str(error).split())
            if not isinstance(error, UserError):
                reason = f"{type(error).__name__}: {reason}{line_in(self.place, error)}"
            raise UserError(f"data set {self.name!r} cannot be used: {reason}") from error


def _asked(split: str, give: Callable[[], Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return _checked(split, give())


def _checked(split: str, given: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images and labels as arrays.

    Raises:
        UserError: they are not what they have to be.
    """
    if not isinstance(given, tuple) or len(given) != 2:
        raise UserError(f"{split}() gives {type(given).__name__}; allowed: a pair (images, labels)")
    images, labels = (np.asarray(array) for array in given)  # of PyTorch too
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[1] not in (1, 3)):
        raise UserError(
            f"{split}() gives images of {images.dtype} {images.shape}; allowed: uint8 (n, 3, H, W), (n, 1, H, W) or "
            "(n, H, W)"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(images):
        raise UserError(
            f"{split}() gives labels of {labels.dtype} {labels.shape} for {len(images)} images; allowed: whole "
            "numbers, one each"
        )
    if not images.size or labels.min() < 0:
        raise UserError(f"{split}() gives " + ("no images" if not images.size else "labels below 0"))
    return images, labels.astype(np.int64)


def _classes(made: Any, labels: dict[str, NDArray[np.int64]]) -> tuple[str, ...]:
    highest = max(int(own.max()) for own in labels.values())
    names = getattr(made, "classes", None)
    if names is None:
        if lowest := min(int(own.min()) for own in labels.values()):
            raise UserError(f"labels begin at {lowest}; allowed: whole numbers from 0")
        if highest >= (images := sum(map(len, labels.values()))):
            raise UserError(f"a label is {highest}, of {images} images; allowed: whole numbers from 0, none left out")
        return tuple(str(number) for number in range(highest + 1))
    if highest >= len(names):
        raise UserError(f"label {highest} has no name; classes names {len(names)}")
    return tuple(str(name) for name in names)


def _levels(made: Any) -> tuple[str, ...]:
    levels = tuple(getattr(made, "augment_levels", FACTS["augment"].choices))
    if not levels:
        raise UserError(f"augment_levels is empty; allowed: {', '.join(FACTS['augment'].choices)}")
    if unknown := [level for level in levels if level not in FACTS["augment"].choices]:
        raise UserError(f"augment_levels has {unknown[0]!r}; allowed: {', '.join(FACTS['augment'].choices)}")
    return levels
