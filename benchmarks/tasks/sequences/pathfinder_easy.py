"""Pathfinder with 6 paddles in each of its two curves, Long Range Arena's "easy"; else as `pathfinder`."""

from __future__ import annotations

import functools

from benchmarks.tasks.sequences import pathfinder
from benchmarks.tasks.sequences.pathfinder import (
    LEAST_LENGTH,
    LENGTHS,
    LONGEST,
    NUM_CLASSES,
    VOCABULARY,
    baselines,
)

__all__ = ["LEAST_LENGTH", "LENGTHS", "LONGEST", "NUM_CLASSES", "VOCABULARY", "baselines", "read"]

read = functools.partial(pathfinder.read, paddles=6)
