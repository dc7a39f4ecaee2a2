"""Generated data on disk: one .npz file a set, whose arrays have a checksum each, in the folder of all caches.

A file appears whole or not at all, is made anew where it is damaged, and can be deleted at any time.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from benchmarks.contract import called
from benchmarks.contract.errors import UserError
from benchmarks.contract.record import atomic_write
from benchmarks.tasks.cache import mark_cache_folder
from benchmarks.tasks.own import cache_folder

Arrays = dict[str, Any]  # NumPy arrays; along their first axis, the examples

log = logging.getLogger(__name__)


def keep(data_dir: Path, name: str, count: int, make: Callable[[range], Arrays]) -> Arrays:
    """The first examples of a procedural set: read from its file, and what is missing there made and added.

    Args:
        data_dir: its folder "cache" holds the file.
        name: of the file; all that the examples depend on is in it.
        count: examples.
        make: the examples of these numbers; example i is the same in whichever range it is.

    Raises:
        UserError: the file cannot be written.
    """
    path = cache_folder(data_dir) / f"{name}.npz"
    try:
        mark_cache_folder(path.parent)
        with filelock.FileLock(path.parent / f".{path.name}.lock"):
            arrays = read_kept(path)
            there = len(next(iter(arrays.values()))) if arrays else 0
            if there < count:
                log.info("%s: %d examples are made, once", name, count - there)
                arrays = _longer(arrays, make(range(there, count)))
                with atomic_write(path) as file:
                    np.savez(file, **arrays)
                log.info("%s: %d examples kept in %s (%.1f MB)", name, count, path, path.stat().st_size / 1e6)
    except OSError as error:
        raise UserError(
            f"generated data cannot be kept in {path.parent} ({error.strerror or error}); type "
            f"{called.option('data_dir')} with a folder that can be written"
        ) from error
    return {key: array[:count] for key, array in arrays.items()}


def read_kept(path: Path) -> Arrays:
    """The arrays of a file, held to their checksums; none where there is no file, or a damaged one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError:
        return {}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        log.warning("%s is damaged, and is made again", path)
        return {}


def _longer(arrays: Arrays, more: Arrays) -> Arrays:
    return {key: np.concatenate([arrays[key], more[key]]) if arrays else more[key] for key in more}
